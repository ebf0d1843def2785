"""Sweeps made by hand: every replicate's end is written down, and nothing is trained."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.ensemble.summary import wilson_interval
from bp_pipeline.report import Sweep

LEARNING_RATE = "optimizer.learning_rate"
DIVERGED = -1
Ends = Sequence[int | None]  # of each replicate: the epoch of convergence, None, or DIVERGED
LAST = 100  # epochs of training


def run(ends: Ends, rate: float = 1.0, loss: float = 0.1, **params: Any) -> dict[str, Any]:
    """Describe a run by how its replicates end; `__` in a name stands for a dot."""
    keys = {key.replace("__", "."): value for key, value in params.items()}
    fixed = {"activation": "tanh", "init": "normal", "init.name": "normal", "training.epochs": LAST}
    return {
        **fixed,
        LEARNING_RATE: rate,
        "seed": 0,
        "final_loss/median": loss,
        **keys,
        "ends": ends,
    }


def by_hand(*runs: Mapping[str, Any], curves: pd.DataFrame | None = None) -> Sweep:
    """Make a sweep of runs, whose ids are their numbers."""
    rows = [_row(str(number), dict(run)) for number, run in enumerate(runs)]
    ends = [run["ends"] for run in runs]
    elsewhere = nullcontext(Path("/there is no such folder"))
    table = pd.DataFrame(rows)
    sweep = Sweep("parent", "a sweep", "d" * 64, len(runs), table, artifacts=lambda _: elsewhere)
    parts = [_replicates(str(number), of_run) for number, of_run in enumerate(ends)]
    places = sweep.finished[["run_id", *sweep.axes]]
    replicates = places.merge(pd.concat(parts, ignore_index=True), on="run_id")
    columns = ["run_id", "epoch", "loss/p10", "loss/median", "loss/p90"]
    vars(sweep)["_files"] = replicates, pd.DataFrame(columns=columns) if curves is None else curves
    return sweep


def _row(run_id: str, run: dict[str, Any]) -> dict[str, Any]:
    ends = run.pop("ends")
    n, converged = len(ends), sorted(end for end in ends if end is not None and end >= 0)
    low, high = wilson_interval(len(converged), n)
    middle = (n - 1) // 2
    return {
        "run_id": run_id, "name": f"run {run_id}", "status": "FINISHED", "replicates": n, **run,
        "converged/rate": len(converged) / n,
        "converged/rate_low": low, "converged/rate_high": high,
        "stalled/rate": list(ends).count(None) / n, "diverged/rate": list(ends).count(DIVERGED) / n,
        "epochs_to_converge/median": converged[middle] if len(converged) > middle else np.nan,
        "bp.result_digest": f"{run_id:0>64}",
    }  # fmt: skip


def _replicates(run_id: str, ends: Ends) -> pd.DataFrame:
    outcomes = {None: "stalled", DIVERGED: "diverged"}
    epochs = [np.nan if end in outcomes else end for end in ends]
    return pd.DataFrame(
        {
            "run_id": run_id,
            "replicate": range(len(ends)),
            "outcome": [outcomes.get(end, "converged") for end in ends],
            "epochs_to_converge": epochs,
            "final_loss": 0.1,
        }
    )
