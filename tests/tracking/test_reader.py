"""What is read of a store: sweeps by any name, runs, files; and that reading leaves no trace."""

import math
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from commands import run_bp
from mlflow import MlflowClient
from small_runs import DIGEST, record, start_sweep

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import (
    Reader,
    Recorded,
    RunsToVerify,
    TrackingError,
    Writer,
    open_for_reading,
    open_for_writing,
)


def test_a_sweep_is_found_as_the_newest(writer: Writer, parent: str) -> None:
    newer = start_sweep(writer, "newer", "6" * 64)
    assert writer.find_sweep().run_id == newer


@pytest.mark.parametrize("length", [6, None])
@pytest.mark.parametrize("what", ["id", "digest", "name"])
def test_a_sweep_is_found_by_any_of_its_names_or_their_beginning(
    writer: Writer, parent: str, what: str, length: int | None
) -> None:
    start_sweep(writer, "newer", "6" * 64)
    name = {"id": parent, "digest": DIGEST, "name": "two rates"}[what]
    assert writer.find_sweep(name[:length]).run_id == parent


def test_a_whole_name_wins_over_the_beginning_of_another(writer: Writer) -> None:
    ids = [start_sweep(writer, name, f"{n:064}") for n, name in enumerate(["xor", "xor_sweep"])]
    assert writer.find_sweep("xor").run_id == ids[0]


def test_what_fits_several_sweeps_is_refused_and_they_are_named(writer: Writer) -> None:
    ids = [start_sweep(writer, "a sweep", f"{n:064}") for n in range(17)]  # of 16 first digits
    first = Counter(run_id[0] for run_id in ids).most_common(1)[0][0]
    for name in (first, "a sweep"):
        with pytest.raises(TrackingError, match=rf"got '{name}', which fits \d+\. ") as caught:
            writer.find_sweep(name)
        [first_named, *_] = re.findall(r"Take an id: (\w+)", str(caught.value))
        assert writer.find_sweep(first_named).run_id in ids


def test_a_run_is_no_sweep(writer: Writer, config: RunConfig, result: RunResult) -> None:
    run_id = record(writer, config, result)
    for name in (None, run_id):
        with pytest.raises(TrackingError, match=r"There is no sweep .*in sqlite"):
            writer.find_sweep(name)


def test_a_run_that_was_replaced_is_no_row(
    writer: Writer, parent: str, config: RunConfig, result: RunResult
) -> None:
    sweep = (parent, DIGEST)
    writer.record_failure(config, ValueError(), name="a", sweep=sweep)
    run_id = record(writer, config, result, sweep=sweep)
    writer.record_failure(config, ValueError(), name="a", sweep=sweep)
    assert len(writer.runs_of(parent)) == 3
    assert writer.load_runs(parent)["run_id"].tolist() == [run_id]


def test_many_runs_are_read_page_by_page(
    one_by_one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bp_pipeline.tracking.reader._PAGE", 2)
    client, parent = MlflowClient(one_by_one.uri), start_sweep(one_by_one)
    for _ in range(5):
        client.create_run(one_by_one.experiment_id, tags={"mlflow.parentRunId": parent})
    assert len(one_by_one.runs_of(parent)) == 5


def test_tables_say_of_runs_what_mlflows_client_says(
    writer: Writer, one_by_one: Writer, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    parent = start_sweep(writer)
    sweep = (parent, DIGEST)
    run_ids = [record(writer, config, result, name=name, sweep=sweep) for name in ("a", "b", "λ")]
    writer.record_failure(config, ValueError(), name="failed", sweep=sweep)
    record(writer, config, result, name="of no sweep")
    client.create_run(writer.experiment_id, tags={"mlflow.parentRunId": parent})
    client.log_metric(run_ids[0], "loss/median", math.nan, step=10**6)
    client.set_tag(run_ids[1], "mine", "1")
    client.delete_run(run_ids[2])
    for name in ("one", "two"):
        client.set_tag(record(writer, config, result, name=name), "bp.kind", "map")
    writer.log_comparison(parent, ["activation"], 4)
    found = writer.runs_of(parent, with_values=True)
    assert len(found) == 4
    asked = [
        lambda reader: reader.runs_of(parent, with_values=True),
        lambda reader: reader.find_of_kind("map", "one"),
        lambda reader: bare(reader.find_same(config.config_digest, code_digest())),
        *(partial(Reader.run, run_id=run_id) for run_id in (parent, *run_ids, "f" * 32, "?")),
    ]
    for question in asked:
        assert comparable(question(writer)) == comparable(question(one_by_one))
    for reader in (writer, one_by_one):
        assert [sweep.run_id for sweep in reader.sweeps()] == [parent]
        assert [reader.has_comparison(run_id) for run_id in (parent, run_ids[0])] == [True, False]
    assert writer.runs_of(parent) == [bare(run) for run in found]


def bare(run: Recorded) -> Recorded:
    return replace(run, params={}, metrics={})


def comparable(found: list[Recorded] | Recorded | None) -> list[str]:
    """Write runs such that NaN is NaN, in whatever order their values were read."""
    runs = [found] if isinstance(found, Recorded) else found or []
    return [
        repr([sorted(v.items()) if isinstance(v, dict) else v for v in vars(run).values()])
        for run in runs
    ]


def test_artifacts_are_read_where_they_are(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    run_id = record(writer, config, result)
    with writer.artifacts(run_id, "config.yaml") as place:
        assert place == Path(client.get_run(run_id).info.artifact_uri)


# ------------------------------------------------------------------------------ without a trace


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store, in which a small sweep was run."""
    folder = tmp_path_factory.mktemp("filled")
    options = "-m activation=tanh,relu replicates=3 training.epochs=20 engine=numpy"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    run_bp("train", *options.split(), cwd=folder, environment=environment, code=0)
    return folder


@pytest.fixture
def not_ours(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make that folder read-only, also for root."""
    monkeypatch.chdir(filled)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if os.getuid():
        done, undo = [["chmod", "-R", "a-w", filled]], ["chmod", "-R", "u+w", filled]
    else:
        done = [["mount", "--bind", filled, filled], ["mount", "-o", "remount,ro,bind", filled]]
        undo = ["umount", str(filled)]
    if any(subprocess.run(command, capture_output=True).returncode for command in done):
        pytest.skip("nothing makes a folder read-only here")
    yield filled
    subprocess.run(undo, check=True)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["report --out OUT", "reproduce", "reproduce --sample 1"])
def test_a_store_that_is_not_ours_can_be_read_by_commands(
    not_ours: Path, tmp_path: Path, command: str
) -> None:
    before = contents(not_ours)
    words = command.replace("OUT", str(tmp_path / "report")).split()
    done = run_bp(*words, cwd=not_ours)
    assert "Traceback" not in done.stderr
    assert contents(not_ours) == before
    if "report" in words:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "report" / "report.html").is_file()
    else:
        assert "2 identical" in done.stdout or "1 identical" in done.stdout


def test_a_store_that_is_not_ours_can_be_read_by_notebooks(not_ours: Path) -> None:
    from bp_pipeline import load_sweep

    sweep = load_sweep()
    assert len(sweep.runs) == 2
    assert len(sweep.replicates) == 6


def test_a_store_that_is_not_ours_is_read_while_its_owner_writes(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not yet in the one file is in a file beside it."""
    monkeypatch.chdir(filled)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with open_for_writing(None, "bp_pipeline") as writer:
        newer = start_sweep(writer, "newer", "6" * 64)
        monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
        with open_for_reading(None, "bp_pipeline") as reader:
            assert reader.find_sweep().run_id == newer
        MlflowClient(writer.uri).delete_run(newer)


def test_reading_leaves_only_the_one_file(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bp_pipeline import load_sweep

    monkeypatch.chdir(filled)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = sorted(path.name for path in filled.iterdir())
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]
    load_sweep()
    assert sorted(path.name for path in filled.iterdir()) == before
    with RunsToVerify.open(None, "bp_pipeline") as store:
        [run] = store.sample(1, 0)
        assert store.find([run.run_id]) == [run]
        assert run in store.of_sweep(None)
    with open_for_reading(None, "bp_pipeline") as reader, reader.artifacts(run.run_id) as place:
        assert (place / "config.yaml").is_file()
    assert sorted(path.name for path in filled.iterdir()) == before


def test_reading_takes_no_lock(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(filled)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with (
        open_for_writing(None, "bp_pipeline") as writer,
        writer._store.lock,
        open_for_reading(None, "bp_pipeline") as reader,
    ):
        assert reader.find_sweep().status == "FINISHED"


def test_the_environment_is_left_as_it_was(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(filled)
    before = dict(os.environ)
    with open_for_reading(f"sqlite:///{filled}/mlflow.db", "bp_pipeline"):
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
    assert dict(os.environ) == before
