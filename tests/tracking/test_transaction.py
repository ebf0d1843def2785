"""Many runs in one transaction: what MLflow reads of them, and what a kill leaves."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from small_runs import DIGEST, small_config, start_sweep

from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.tracking import EndedRun, TrackingError, Writer, failed_run, open_for_writing
from bp_pipeline.tracking import trained_run as ended

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def runs() -> list[EndedRun]:
    """Return runs on two truth tables, one that diverges, and one that failed."""
    configs = [
        small_config(),
        small_config({"training.epochs": 3}, task="and"),
        small_config({"optimizer.learning_rate": 1e9}, activation="relu"),
        small_config({"seed": 1}),
    ]
    trained = [result for _, result in sorted(train_runs(configs), key=lambda pair: pair[0])]
    named = list(zip(configs, trained, strict=True))
    how = {
        "sweep": ("f" * 32, DIGEST),
        "start_time": 1_700_000_000_000,
        "engine": "numpy",
        "colour": "#aabbcc",
    }
    failed = failed_run(configs[0], ValueError("x" * 10**4), name="failed", sweep=None)
    return [failed] + [
        ended(config, result, name=f"run {n} · λ", **how)
        for n, (config, result) in enumerate(named)
        if isinstance(result, RunResult)
    ]


def read(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """Read everything that MLflow knows of a run, but for what differs between any two."""
    run = client.get_run(run_id)
    info = dict(run.info)
    assert info.pop("run_id") == info.pop("run_uuid", run_id) == run_id
    artifact_uri, end_time = Path(info.pop("artifact_uri")), info.pop("end_time")
    assert artifact_uri.parts[-2:] == (run_id, "artifacts")
    assert end_time >= info["start_time"]
    return {
        "info": info,
        "tags": run.data.tags,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "inputs": [one.to_dictionary() for one in run.inputs.dataset_inputs],
        "models": (run.inputs.model_inputs, run.outputs and run.outputs.model_outputs),
        "curves": {
            key: [dict(point) for point in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
        },
        "files": {
            str(path.relative_to(artifact_uri)): path.read_bytes()
            for path in artifact_uri.rglob("*.*")
        },
    }


def test_mlflow_reads_what_its_own_client_would_have_written(
    writer: Writer, one_by_one: Writer, client: MlflowClient, runs: list[EndedRun]
) -> None:
    together, alone = (
        [str(run_id) for run_id in by.record_all(runs)] for by in (writer, one_by_one)
    )
    assert [read(client, run_id) for run_id in together] == [read(client, one) for one in alone]


def found(client: MlflowClient, condition: str) -> list[str | None]:
    page = client.search_runs(["1"], condition, order_by=["attributes.run_name"])
    return [run.info.run_name for run in page]


def test_mlflow_finds_sorts_changes_and_deletes_them(
    writer: Writer, client: MlflowClient, runs: list[EndedRun]
) -> None:
    ids = [str(run_id) for run_id in writer.record_all(runs)]
    assert found(client, "params.`task` = 'and' and metrics.`converged/rate` >= 0") == ["run 1 · λ"]
    assert found(client, "datasets.name = 'and'") == ["run 1 · λ"]
    assert found(client, "status = 'FAILED'") == ["failed"]
    client.log_metric(ids[1], "loss/median", 0.0, step=10**6)
    assert client.get_run(ids[1]).data.metrics["loss/median"] == 0
    client.delete_run(ids[0])
    assert found(client, "status = 'FAILED'") == []
    # Both at once in a process of their own: whatever they set ends with it.
    gc = ["gc", "--backend-store-uri", writer.uri, "--tracking-uri", writer.uri]
    commands = [["db", "upgrade", writer.uri], gc]
    script = f"from mlflow.cli import cli; [cli(c, standalone_mode=False) for c in {commands}]"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {run.info.run_id for run in all_runs(client)} == {*ids[1:]}
    assert {path.parent.name for path in Path().glob("mlruns/1/*/artifacts")} == {*ids[1:]}


def all_runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs(["1"], run_view_type=ViewType.ALL))


def folders(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("mlruns/1/*")}


def broken(run: EndedRun, error: BaseException) -> EndedRun:
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error

    return EndedRun(run.name, run.status, run.start_time, run.tags, fail)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), TrackingError), (KeyboardInterrupt(), None)],
)
def test_a_transaction_that_breaks_leaves_nothing(
    writer: Writer,
    client: MlflowClient,
    runs: list[EndedRun],
    folder: Path,
    error: BaseException,
    raised: type[BaseException] | None,
) -> None:
    with pytest.raises(raised or type(error)):
        writer.record_all([*runs, broken(runs[0], error)])
    assert all_runs(client) == []
    assert folders(folder) == set()


def test_a_bug_in_one_run_is_of_this_run_alone(
    writer: Writer, client: MlflowClient, runs: list[EndedRun], folder: Path
) -> None:
    error = ZeroDivisionError()
    first, wrong, last = writer.record_all([runs[0], broken(runs[1], error), runs[2]])
    assert wrong is error
    assert {run.info.run_id for run in all_runs(client)} == {first, last} == folders(folder)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:]
from small_runs import small_config
from bp_pipeline.tracking import failed_run, open_for_writing
run = failed_run(small_config(), ValueError(), name="a", sweep=None)
def kill(folder):
    os.kill(os.getpid(), signal.SIGKILL)
object.__setattr__(last := failed_run(small_config(), ValueError(), name="b", sweep=None),
                   "write_files", kill)
with open_for_writing(None, "bp_pipeline") as writer:
    writer.record_all([run, run, last])
"""


def test_the_files_of_a_killed_transaction_are_removed_by_the_next(
    folder: Path, empty_database: Path, runs: list[EndedRun]
) -> None:
    shutil.copy(empty_database, folder)
    command = [sys.executable, "-c", KILLED, str(HERE), str(HERE.parent)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert len(folders(folder)) == 3
    with open_for_writing(None, "bp_pipeline") as writer:
        [run_id] = writer.record_all(runs[:1])
        assert [run.info.run_id for run in all_runs(MlflowClient(writer.uri))] == [run_id]
    assert folders(folder) == {run_id}
    assert not (folder / "mlflow.db.recording").exists()
    assert sqlite3.connect("mlflow.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_store_of_another_schema_is_written_through_mlflows_client(
    one_by_one: Writer, runs: list[EndedRun]
) -> None:
    assert one_by_one.remark
    sweep = start_sweep(one_by_one)
    one_by_one.record_all(runs)
    client = MlflowClient(one_by_one.uri)
    assert {run.info.status for run in all_runs(client)} == {"RUNNING", "FINISHED", "FAILED"}
    assert one_by_one.find_sweep(sweep).status == "RUNNING"
