"""A store that tests verify."""

from pathlib import Path
from typing import NamedTuple

from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.ensemble.shards import initial_parameters
from bp_pipeline.sweep import run_jobs
from bp_pipeline.tracking import Reproductions

SMALL = {
    "replicates": 5,
    "training.epochs": 40,
    "training.record": 8,
    "training.record_weights": 2,
    "engine": "numpy",
    "optimizer.learning_rate": 1.0,
}


class Store(NamedTuple):
    """Where the sweep is, and its runs by name."""

    folder: Path
    sweep: str
    runs: dict[str, str]

    def artifacts(self, name: str) -> Path:
        [folder] = self.folder.glob(f"mlruns/*/{self.runs[name]}/artifacts")
        return folder


def record_runs(folder: Path) -> Store:
    """Record a sweep of three runs, and a run from given weights, whose file is gone since."""
    drawn = [make_config(SMALL, {"activation": name}) for name in ("tanh", "relu", "sigmoid")]
    columns = initial_parameters(make_config({**SMALL, "seed": 5}))
    layers = {"layer_1": columns[:9].T.reshape(5, 3, 3), "layer_2": columns[9:].T[..., None]}
    path = folder / "given.npz"
    write_arrays(path, layers)
    given = make_config({**SMALL, "init.path": str(path)}, {"init": "given"})
    assert run_jobs(drawn, "small") == 0
    assert run_jobs([given], None) == 0
    path.unlink()
    tracker = Reproductions.open(None, "bp_pipeline")
    sweep = tracker.find_sweep().info.run_id
    runs = {run.name: run.run_id for run in tracker.sample(4, seed=0)}
    tracker.close()
    return Store(folder, sweep, runs)
