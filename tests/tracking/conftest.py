import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from small_runs import DIGEST, record, small_config, start_sweep

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.tracking import Writer, new_store, open_for_writing, store_tables


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
    new_store.create(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder without a tracking URI."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def writer(folder: Path, empty_database: Path) -> Iterator[Writer]:
    shutil.copy(empty_database, folder)
    with open_for_writing(None, "bp_pipeline") as writer:
        yield writer


@pytest.fixture
def one_by_one(
    folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Writer]:
    """Open the same store as one whose tables are not known, which MLflow's client writes."""
    if not (folder / "mlflow.db").exists():
        shutil.copy(empty_database, folder)
    monkeypatch.setattr(store_tables, "TESTED_REVISIONS", frozenset({"0" * 12}))
    with open_for_writing(None, "bp_pipeline") as writer:
        yield writer


@pytest.fixture
def client(writer: Writer) -> MlflowClient:
    return MlflowClient(writer.uri)


@pytest.fixture
def parent(writer: Writer) -> str:
    return start_sweep(writer)


@pytest.fixture
def run(
    writer: Writer, client: MlflowClient, parent: str, config: RunConfig, result: RunResult
) -> Run:
    sweep = (parent, DIGEST)
    return client.get_run(record(writer, config, result, name="lr=5.0", sweep=sweep, seconds=2.5))


@pytest.fixture
def artifacts(run: Run) -> Path:
    return Path(run.info.artifact_uri)
