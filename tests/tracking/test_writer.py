"""What is written to a store, and that nothing is left half written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import RestException
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH
from small_runs import DIGEST, JOBS, record, start_sweep

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import Account, FrozenSweep, TrackingError, Writer, run_files


def test_a_run_is_finished_and_lasted_as_long_as_its_training(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    info = client.get_run(record(writer, config, result, name="lr=5.0", seconds=2.5)).info
    assert (info.status, info.run_name) == ("FINISHED", "lr=5.0")
    assert 2500 <= info.end_time - info.start_time < 60_000


def test_a_sweep_keeps_what_was_typed_and_its_list_of_jobs(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    run = client.get_run(parent)
    assert run.info.status == "RUNNING"
    assert run.data.tags["bp.sweep_digest"] == DIGEST
    assert run.data.tags["bp.n_jobs"] == "2"
    frozen = FrozenSweep("bp train -m two rates", DIGEST, "c" * 64, JOBS)
    assert run_files.read_frozen_sweep(Path(run.info.artifact_uri)) == frozen


def test_a_sweep_is_ended_with_a_report(
    client: MlflowClient, writer: Writer, parent: str, tmp_path: Path
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "summary.csv").write_text("a,b\n")
    writer.log_report(parent, tmp_path / "report")
    writer.finish(parent, "FAILED")
    assert [file.path for file in client.list_artifacts(parent, "report")] == ["report/summary.csv"]
    assert client.get_run(parent).info.status == "FAILED"


def test_a_failed_run_is_recorded_with_its_error(
    writer: Writer, client: MlflowClient, parent: str, config: RunConfig
) -> None:
    try:
        raise MemoryError("cannot allocate 3 TB")
    except MemoryError as error:
        run_id = writer.record_failure(config, error, name="lr=1.0", sweep=(parent, DIGEST))
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["bp.error"] == "MemoryError: cannot allocate 3 TB"
    assert run.data.params["seed"] == "0"
    assert "Traceback" in (Path(run.info.artifact_uri) / "error.txt").read_text()
    assert [file.path for file in client.list_artifacts(run_id)] == ["config.yaml", "error.txt"]


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (OSError(28, "No space left on device"), TrackingError, "FAILED"),
        (KeyboardInterrupt(), KeyboardInterrupt, "KILLED"),
        (ZeroDivisionError(), ZeroDivisionError, "FAILED"),
    ],
)
def test_no_run_stays_running_when_recording_fails(
    one_by_one: Writer,
    config: RunConfig,
    result: RunResult,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    status: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(run_files, "write_result", fail)
    parent = start_sweep(one_by_one)
    with pytest.raises(raised) as caught:
        record(one_by_one, config, result, sweep=(parent, DIGEST))
    assert [run.status for run in one_by_one.runs_of(parent)] == [status]
    if raised is TrackingError:
        assert str(caught.value) == (
            f"Cannot record 'a' in {one_by_one.uri}: No space left on device. "
            "Free some space, then type the same again."
        )


def test_half_written_runs_are_killed_and_others_left(
    writer: Writer, client: MlflowClient, parent: str, config: RunConfig, result: RunResult
) -> None:
    run_id = record(writer, config, result, sweep=(parent, DIGEST))
    tags = {"mlflow.parentRunId": parent}
    half = client.create_run(writer.experiment_id, tags=tags).info.run_id
    elsewhere = client.create_run(writer.experiment_id).info.run_id
    writer.kill_unfinished(writer.runs_of(parent))
    statuses = [client.get_run(one).info.status for one in (half, elsewhere, run_id, parent)]
    assert statuses == ["KILLED", "RUNNING", "FINISHED", "RUNNING"]


def test_an_abandoned_sweep_is_accounted_for(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    tags = {"mlflow.parentRunId": parent}
    half = client.create_run(writer.experiment_id, tags=tags).info.run_id
    other = start_sweep(writer)  # of another machine
    writer.abandon(DIGEST, {other}, Account(expected=4, finished=2, failed=1))
    statuses = [client.get_run(one).info.status for one in (half, parent, other)]
    assert statuses == ["KILLED", "KILLED", "RUNNING"]
    metrics = client.get_run(parent).data.metrics
    counts = {name: metrics[f"runs/{name}"] for name in ("expected", "finished", "failed")}
    assert counts == {"expected": 4, "finished": 2, "failed": 1}
    assert metrics["runs/missing"] == 1


@pytest.mark.parametrize(
    ("account", "status"),
    [
        ((2, 2, 0), "FINISHED"),
        ((2, 1, 1), "FAILED"),
        ((2, 1, 0), "KILLED"),
        ((0, 0, 0), "FINISHED"),
    ],
)
def test_an_account_decides_what_a_sweep_is(account: tuple[int, int, int], status: str) -> None:
    assert Account(*account).status == status


def test_a_description_begins_with_what_was_found(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    account = Account(expected=2, finished=0, failed=0)
    writer.write_speed(parent, 2.0, 10**7)
    for text in ("| a |\n|---|\n", "again"):
        writer.write_description(parent, "Best is tanh.", text, account)
    parts = client.get_run(parent).data.tags["mlflow.note.content"].split("\n\n")
    assert parts[0].startswith("Best is tanh. [Compare its runs](#/")
    assert parts[1].startswith(f"{account} Trained ")
    assert parts[2] == "again"
    assert parts[1].endswith(" 2.0 s, 5,000,000 network-epochs a second.")
    speed = {"training/seconds": 2.0, "training/network_epochs_per_second": 5e6}
    assert client.get_run(parent).data.metrics == speed


def test_a_description_that_is_too_long_is_cut_after_a_line(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    table = "\n".join(["a line of a long table"] * 1000)
    writer.write_description(parent, "Best is tanh.", table, Account(2, 2, 0))
    long = client.get_run(parent).data.tags["mlflow.note.content"]
    assert MAX_TAG_VAL_LENGTH - 100 < len(long) <= MAX_TAG_VAL_LENGTH
    assert long.endswith("table")


def test_a_long_error_is_cut(writer: Writer, client: MlflowClient, config: RunConfig) -> None:
    run_id = writer.record_failure(config, ValueError("x" * 10**5), name="a", sweep=None)
    assert len(client.get_run(run_id).data.tags["bp.error"]) == MAX_TAG_VAL_LENGTH


def test_two_sweeps_may_be_written_by_one_writer(writer: Writer, parent: str) -> None:
    newer = start_sweep(writer, "newer", "6" * 64)
    assert [sweep.run_id for sweep in writer.sweeps()] == [newer, parent]
    assert [sweep.run_id for sweep in writer.sweeps("6" * 64)] == [newer]


def in_trouble(n_times: int, status: str, message: str = "no") -> Callable[..., None]:
    """Be a method of MLflow's client that a server answers with an error for a while."""
    answers = [RestException({"error_code": status, "message": message})] * n_times

    def answer(*_: object, **__: object) -> None:
        if answers:
            raise answers.pop()

    return answer


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("TEMPORARILY_UNAVAILABLE", "no"),
        ("BAD_REQUEST", '(psycopg.errors.UniqueViolation) duplicate key value violates "pk"'),
        ("BAD_REQUEST", "(1062, \"Duplicate entry '1' for key 'PRIMARY'\")"),
        ("BAD_REQUEST", "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.name"),
    ],
)
def test_a_server_in_trouble_is_waited_for(
    one_by_one: Writer, config: RunConfig, result: RunResult, monkeypatch: pytest.MonkeyPatch,
    status: str, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("bp_pipeline.tracking.writer._PAUSE", 0.01)
    monkeypatch.setattr(MlflowClient, "log_inputs", in_trouble(2, status, message))
    parent = start_sweep(one_by_one)
    run_id = record(one_by_one, config, result, sweep=(parent, DIGEST))
    one_by_one.kill_half_written(parent)
    statuses = {run.run_id: run.status for run in one_by_one.runs_of(parent)}
    assert statuses.pop(run_id) == "FINISHED"
    assert [*statuses.values()] == ["FAILED", "FAILED"]


@pytest.mark.parametrize(("patience", "status"), [(0.0, "INTERNAL_ERROR"), (60.0, "BAD_REQUEST")])
def test_it_is_not_waited_for_without_end_or_hope(
    one_by_one: Writer, config: RunConfig, result: RunResult, monkeypatch: pytest.MonkeyPatch,
    patience: float, status: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("bp_pipeline.tracking.writer._PATIENCE", patience)
    monkeypatch.setattr(MlflowClient, "log_inputs", in_trouble(1, status))
    with pytest.raises(TrackingError):
        record(one_by_one, config, result)
