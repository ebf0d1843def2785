"""Sweeps made by hand: every replicate's end is written down, and nothing is trained."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.digests import digest_json
from bp_pipeline.report.sweep_data import CURVE_COLUMNS, Sweep, assemble
from bp_pipeline.tracking.run_files import REPLICATES

LEARNING_RATE = "optimizer.learning_rate"
DIVERGED = -1
Ends = Sequence[int | None]  # of each replicate: the epoch of convergence, None, or DIVERGED
LAST = 100  # epochs of training


def run(
    ends: Ends | None, rate: float = 1.0, loss: float | Sequence[float] = 0.1, **params: Any
) -> dict[str, Any]:
    """Describe a run by how its replicates end; `__` in a name stands for a dot.

    Where `ends` is None, its files cannot be read.
    """
    keys = {key.replace("__", "."): value for key, value in params.items()}
    fixed = {
        "activation": "tanh", "init": "normal", "init.name": "normal", "task": "xor",
        "task.name": "xor", "network.hidden": "[3]", "training.epochs": LAST,
        "training.tolerance": 0.4, LEARNING_RATE: rate, "seed": 0, "status": "FINISHED",
        "replicates": 8 if ends is None else len(ends),
    }  # fmt: skip
    return {**fixed, **keys, "ends": ends, "final_loss": loss}


def by_hand(*runs: Mapping[str, Any], n_jobs: int | None = None, **changes: Any) -> Sweep:
    """Make a sweep of runs, whose ids are their numbers."""
    parts = [_replicates(str(number), run) for number, run in enumerate(runs)]
    rows = [
        {
            **run,
            "run_id": str(n),
            "name": f"run {n}",
            "bp.result_digest": digest_json(repr(run)),
        }
        for n, run in enumerate(runs)
    ]
    table = pd.DataFrame(rows, columns=None if rows else ["run_id", "name", "status"])
    values = {
        "replicates": pd.concat([_replicates("", run([])), *parts], ignore_index=True),
        "curves": pd.DataFrame(columns=["run_id", *CURVE_COLUMNS]),
        "run_id": "parent", "name": "a sweep", "digest": "d" * 64, "command": "bp train -m …",
        "n_jobs": len(runs) if n_jobs is None else n_jobs,
        "open_files": lambda _: nullcontext(Path("/there is no such folder")),
    }  # fmt: skip
    table = table.drop(columns=["ends", "final_loss"], errors="ignore")
    return assemble(table, **{**values, **changes})


def _replicates(run_id: str, run: Mapping[str, Any]) -> pd.DataFrame:
    ends = run["ends"] or []
    outcomes = {None: "stalled", DIVERGED: "diverged"}
    columns = (
        np.arange(len(ends)),
        [outcomes.get(end, "converged") for end in ends],
        np.array([np.nan if end in outcomes else end for end in ends], dtype=float),
        np.broadcast_to(np.array(run["final_loss"], dtype=float), len(ends)),
        np.array([end not in outcomes for end in ends], dtype=bool),
    )
    table = dict(zip(REPLICATES, columns, strict=True))
    return pd.DataFrame({"run_id": run_id, **table}).astype({"run_id": object, "outcome": object})
