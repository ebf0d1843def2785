"""The champion of a task: which network of a sweep is the best, and that MLflow serves it.

It is of the best run, as `report.tables.ranked` orders them, in which a network still solves the
task when training ends: the one of these with the lowest final loss, the first one of equals. To
have converged is not enough, since a network may have been within the tolerance and left it again.
Where no network solves the task there is none. What the model is in MLflow is
`tracking/registry.py`'s.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.network import Block
from bp_pipeline.ensemble.shards import setup_of
from bp_pipeline.report import Sweep
from bp_pipeline.report.tables import RATE, ranked
from bp_pipeline.tracking import Network, Tracker

Weights = Mapping[str, Float64[np.ndarray, "replicate _row _fan_out"]]


def tasks(sweep: Sweep) -> list[str]:
    """List the tasks of a sweep that have results."""
    return sorted(sweep.finished["task"].unique()) if "task" in sweep.finished else []


def crown(tracker: Tracker, sweep: Sweep, task: str) -> str:
    """Register the champion of a task, once, and say which it is."""
    runs = sweep.finished
    runs = ranked(runs[runs["task"] == task])
    for _, run in runs[runs.reindex(columns=[RATE])[RATE] > 0].iterrows():
        config, weights = sweep.config(run["run_id"]), sweep.weights(run["run_id"], "final")
        if config is None or weights is None:
            continue
        replicate = best_replicate(sweep.replicates, run["run_id"], solves(config, weights))
        if replicate is None:
            continue
        name = f"bp_pipeline-{task}"
        tags = {"bp.result_digest": run["bp.result_digest"], "bp.replicate": str(replicate)}
        network = pick(config, weights, replicate)
        version = tracker.register(network, name=name, run_id=run["run_id"], tags=tags)
        return f"Champion: {run['name']}, replicate {replicate}, is models:/{name}/{version}"
    return f"No champion for {task}: no network solves it when training ends."


def best_replicate(
    replicates: pd.DataFrame, run_id: str, solving: Bool[np.ndarray, " replicate"]
) -> int | None:
    """Choose the network of a run with the lowest final loss among those that solve its task."""
    of_run = replicates[replicates["run_id"] == run_id]
    able = of_run[solving[of_run["replicate"].astype(int)]]
    order = able.sort_values(["final_loss", "replicate"])["replicate"]
    return int(order.iloc[0]) if len(order) else None


def solves(config: RunConfig, weights: Weights) -> Bool[np.ndarray, " replicate"]:
    """Tell which networks have every output within the tolerance of its target."""
    inputs, targets = config.truth_table
    columns = [layer.reshape(len(layer), -1).T for layer in weights.values()]
    parameters = np.ascontiguousarray(np.concatenate(columns))
    block = Block(setup_of(config).architecture, inputs, targets, parameters)
    with np.errstate(all="ignore"):  # of networks that diverged
        block.forward()
        distances = np.abs(block.outputs - targets[..., np.newaxis])
    return np.asarray((distances < config.training.tolerance).all(axis=(0, 1)))


def pick(config: RunConfig, weights: Weights, replicate: int) -> Network:
    """Take one network out of a run, as a model is made from it."""
    return Network(
        weights={name: np.array(layer[replicate]) for name, layer in weights.items()},
        config={
            "activation": config.activation.name,
            "slope": config.slope,
            "output": config.network.output,
            "bias": config.network.bias,
        },
        inputs=config.truth_table.inputs,
    )
