"""A store that tests verify, made by typing commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.cli import main
from bp_pipeline.ensemble.shards import initial_parameters
from bp_pipeline.tracking import RunsToVerify

SMALL = {
    "replicates": 5,
    "training.epochs": 40,
    "training.record": 8,
    "training.record_weights": 2,
    "engine": "numpy",
    "optimizer.learning_rate": 1.0,
}


class Store(NamedTuple):
    """Where the sweep is, its runs by name, and the name of the run from given weights."""

    folder: Path
    sweep: str
    runs: dict[str, str]
    given: str

    def artifacts(self, name: str) -> Path:
        [folder] = self.folder.glob(f"mlruns/*/{self.runs[name]}/artifacts")
        return folder


@contextmanager
def recorded_runs(folder: Path) -> Iterator[Store]:
    """Record a sweep of three runs and a run from given weights in a folder, and work there."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield record_runs(folder)


def record_runs(folder: Path) -> Store:
    """Record a sweep of three runs, and a run from given weights, whose file is gone since."""
    columns = initial_parameters(make_config({**SMALL, "seed": 5}))
    layers = {"layer_1": columns[:9].T.reshape(5, 3, 3), "layer_2": columns[9:].T[..., None]}
    path = folder / "given.npz"
    write_arrays(path, layers)
    _train("-m", "activation=tanh,relu,sigmoid")
    _train("init=given", f"init.path={path}")
    path.unlink()
    with RunsToVerify.open(None, "bp_pipeline") as store:
        drawn = {run.name: run.run_id for run in store.of_sweep(None)}
        runs = {run.name: run.run_id for run in store.sample(4, seed=0)}
        [given] = runs.keys() - drawn.keys()
        return Store(folder, store.find_sweep().run_id, runs, given)


def _train(*words: str) -> None:
    small = [f"{key}={value}" for key, value in SMALL.items()]
    with patch.object(sys, "argv", ["bp", "train", *small, *words]):
        assert main() == 0
