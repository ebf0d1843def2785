"""A store with one small sweep, and the means to spoil what it holds and to make it good again."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from runs import make_config
from stores import GIVEN, Store

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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Give a store in which a sweep of three runs is finished, and a run from given weights."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        drawn = [make_config(SMALL, {"activation": name}) for name in ("tanh", "relu", "sigmoid")]
        columns = initial_parameters(make_config({**SMALL, "seed": 5}))
        layers = {"layer_1": columns[:9].T.reshape(5, 3, 3), "layer_2": columns[9:].T[..., None]}
        write_arrays(folder / "given.npz", layers)
        given = make_config({**SMALL, "init.path": "given.npz"}, {"init": "given"})
        assert run_jobs(drawn, "small") == 0
        assert run_jobs([given], None) == 0
        (folder / "given.npz").unlink()
        tracker = Reproductions.open(None, "bp_pipeline")
        sweep = tracker.find_sweep().info.run_id
        runs = {run.name: run.run_id for run in tracker.sample(4, seed=0)}
        tracker.close()
        yield Store(folder, sweep, runs)


@pytest.fixture
def tanh(store: Store) -> Iterator[Path]:
    """Give the artifacts of the tanh run, to be spoiled."""
    yield from _restored(store.artifacts("tanh"))


@pytest.fixture
def given(store: Store) -> Iterator[Path]:
    """Give the artifacts of the run that started from given weights, to be spoiled."""
    yield from _restored(store.artifacts(GIVEN))


def _restored(folder: Path) -> Iterator[Path]:
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


@pytest.fixture
def change_array() -> Callable[[Path, str], None]:
    """Flip the last bit of a number in an `.npz` file."""

    def change(path: Path, name: str) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        arrays[name].flat[-1] = np.nextafter(arrays[name].flat[-1], np.inf)
        write_arrays(path, arrays)

    return change
