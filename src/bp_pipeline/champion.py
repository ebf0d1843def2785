"""The champion of a sweep: which of its networks is the best, and that MLflow serves it.

The best run of a task is the one with

1. the highest convergence rate; then
2. the smallest median of epochs to convergence; then
3. the fewest hidden units, then the fewest layers; then
4. the name that comes first.

Its best network is the converged replicate with the lowest final loss, the first one of equals. A
sweep in which nothing converged has none. What the model is in MLflow is `tracking/registry.py`'s.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from bp_pipeline.core.activations import DEFAULT_SLOPE
from bp_pipeline.tasks import truth_table
from bp_pipeline.tracking import Network, Tracker
from bp_pipeline.weights_file import read_arrays

_RATE, _EPOCHS = "converged/rate", "epochs_to_converge/median"


def crown(tracker: Tracker, runs: pd.DataFrame) -> Iterator[str]:
    """Register the champion of each task, and say which it is; none is registered twice.

    Parameters
    ----------
    tracker
        The store.
    runs
        The sweep's runs, as `load_sweep` gives them.

    Yields
    ------
    str
        A line for the user about each task.
    """
    if runs.empty or "task" not in runs:
        return
    for task, of_task in runs.groupby("task", sort=True):
        name = f"bp_pipeline-{task}"
        run = best_run(of_task)
        if run is None:
            yield f"No champion for {task}: nothing converged."
            continue
        with tracker.artifacts(run["run_id"]) as folder:
            replicate = best_replicate(folder)
            network = read_network(folder, replicate)
        tags = {"bp.result_digest": run["bp.result_digest"], "bp.replicate": str(replicate)}
        version = tracker.register(network, name=name, run_id=run["run_id"], tags=tags)
        yield f"Champion: {run['name']}, replicate {replicate}, is models:/{name}/{version}"


def best_run(runs: pd.DataFrame) -> pd.Series | None:
    """Choose the best run by the rule above, or None where nothing converged."""
    runs = runs[runs["status"] == "FINISHED"]
    if _RATE not in runs or not (runs[_RATE] > 0).any():
        return None
    hidden = runs["network.hidden"].map(ast.literal_eval)
    ranked = runs.assign(units=hidden.map(sum), layers=hidden.map(len))
    ranked = ranked.reindex(columns=[*ranked.columns.union([_EPOCHS], sort=False)])
    keys = [_RATE, _EPOCHS, "units", "layers", "name", "run_id"]
    order = ranked.sort_values(keys, ascending=[False, *[True] * 5], na_position="last")
    return order.iloc[0]


def best_replicate(artifacts: Path) -> int:
    """Choose a run's best network among the converged ones, of which there is one."""
    replicates = pd.read_parquet(artifacts / "replicates.parquet")
    converged = replicates[replicates["outcome"] == "converged"]
    return int(converged.sort_values(["final_loss", "replicate"])["replicate"].iloc[0])


def read_network(artifacts: Path, replicate: int) -> Network:
    """Read one network of a run from its artifacts."""
    config: dict[str, Any] = yaml.safe_load((artifacts / "config.yaml").read_text("utf-8"))
    weights = read_arrays(artifacts / "weights" / "final.npz")
    slope = config["activation"].get("slope")
    return Network(
        weights={name: np.array(layer[replicate]) for name, layer in weights.items()},
        config={
            "activation": config["activation"]["name"],
            "slope": DEFAULT_SLOPE if slope is None else slope,
            "output": config["network"]["output"],
            "bias": config["network"]["bias"],
        },
        inputs=truth_table(**config["task"]).inputs,
    )
