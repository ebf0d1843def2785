import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bp_pipeline.config.schema import RunConfig, parse_config
from bp_pipeline.ensemble.shards import RunResult, train_runs
from bp_pipeline.tracking import Tracker, database


def small_config(**sections: Any) -> RunConfig:
    """Give a small run on the readable engine; a mapping changes keys of its section."""
    raw: dict[str, Any] = {
        "task": {"name": "xor"},
        "network": {"hidden": [3], "bias": True, "train_bias": True, "output": "sigmoid"},
        "activation": {"name": "tanh"},
        "init": {"name": "uniform", "bound": 1.0, "bias": "same"},
        "loss": {"name": "logistic", "reduction": "mean"},
        "optimizer": {"name": "batch_gd", "learning_rate": 5.0, "momentum": 0.0},
        "training": {
            "epochs": 200,
            "tolerance": 0.4,
            "stop_when_converged": False,
            "record": 12,
            "record_weights": 2,
        },
        "replicates": 9,
        "seed": 0,
        "engine": "numpy",
        "threads": 1,
        "tracking": {"name": "local"},
        "sweep": {"rerun": False},
    }
    for key, value in sections.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
    return parse_config(raw, {"init": "uniform_small"})


@pytest.fixture(scope="session")
def make_config() -> Callable[..., RunConfig]:
    return small_config


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return small_config()


@pytest.fixture(scope="session")
def result(config: RunConfig) -> RunResult:
    ((_, result),) = train_runs([config])
    assert isinstance(result, RunResult)
    return result


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database once, because MLflow takes seconds for it."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    database.create(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder without a tracking URI."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def tracker(folder: Path, empty_database: Path) -> Iterator[Tracker]:
    shutil.copy(empty_database, folder)
    tracker = Tracker.open(None, "bp_pipeline")
    yield tracker
    tracker.close()
