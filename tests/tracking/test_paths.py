"""Paths are neither URIs nor SQL, and artifacts are found where the database is now."""

import itertools
import os
import shutil
import sqlite3
import string
from contextlib import closing
from pathlib import Path

import pytest
from commands import run_bp
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.pyfunc import load_model
from small_runs import record, start_sweep
from sqlalchemy import make_url

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import TrackingError, open_for_reading, open_for_writing
from bp_pipeline.tracking.paths import database_path
from bp_pipeline.tracking.store import resolve_uri

PRINTABLE = "".join(sorted({*string.printable} - {*string.whitespace, "/"}))
MEANINGFUL = [
    "%41", "%2F", "%25", "b%20c", "run 7 :15", "what?x=1", "a'b\"c", "?uri=true", "#x", "a;b", "~",
    "file:a", "sqlite:", "a&b=c", "[x]*", "{0}", "${a}", "$HOME", "-m", "a\\b", "?", "%",
    ":memory:", " a ", "a b", "naïve·λ", "数据", "x" * 200, "ü" * 120,
]  # fmt: skip
NUMBERS = itertools.count(20)


def put_store(folder: Path, empty_database: Path) -> None:
    folder.mkdir()
    shutil.copy(empty_database, folder)


@pytest.mark.parametrize("name", [PRINTABLE, PRINTABLE[::-1], *MEANINGFUL])
def test_any_folder_name_will_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    empty_database: Path,
    config: RunConfig,
    result: RunResult,
    name: str,
) -> None:
    folder = tmp_path / name
    put_store(folder, empty_database)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with open_for_writing(None, "bp_pipeline") as writer:
        assert writer.remark is None  # many runs are written at once
        run_id = record(writer, config, result)
        client = MlflowClient(writer.uri)
        ours, theirs = client.get_run(run_id).info, client.create_run("1").info
        assert ours.artifact_uri == theirs.artifact_uri.replace(theirs.run_id, run_id)
        writer.log_report(run_id, (folder / "mlruns" / "1" / run_id / "artifacts" / "weights"))
        places = writer.uri, resolve_uri(writer.uri)
    assert places[0] == places[1]
    # The second is what plain `mlflow ui` opens; MLflow keeps one connection for each spelling.
    for uri in (places[0], f"sqlite:///mlflow.db?timeout={next(NUMBERS)}"):
        client = MlflowClient(uri)
        assert client.get_run(run_id).info.status == "FINISHED"
        assert "curves.npz" in [file.path for file in client.list_artifacts(run_id)]
    with open_for_reading(None, "bp_pipeline") as reader, reader.artifacts(run_id) as place:
        assert place == folder / "mlruns" / "1" / run_id / "artifacts"
        assert (place / "report" / "final.npz").is_file()
    assert os.listdir(tmp_path) == [name]
    assert {*os.listdir(folder)} - {"mlflow.db-shm", "mlflow.db-wal"} == {
        "mlflow.db", "mlflow.db.lock", "mlruns",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["run 7 :15", "a'b", "b%20c", "what?x=1"])
def test_a_new_store_is_made_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    open_for_writing(None, "bp_pipeline").close()
    assert os.listdir(tmp_path) == [name]
    assert sorted(os.listdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_uri_means_what_it_means_to_mlflow(folder: Path, empty_database: Path) -> None:
    """Which of both files it is depends on SQLAlchemy: 2.1 decodes the path, 2.0 does not."""
    for name in ("a b.db", "a%20b.db"):
        shutil.copy(empty_database, folder / name)
    uri = f"sqlite:///{folder}/a%20b.db"
    with open_for_writing(uri, "bp_pipeline") as writer:
        start_sweep(writer)
    assert len(MlflowClient(uri).search_experiments()) == 2
    [lock] = folder.glob("*.lock")
    assert lock.stem in ("a b.db", "a%20b.db")


def test_a_quoted_uri_makes_one_file(folder: Path) -> None:
    open_for_writing(f"sqlite:///{folder}/new%20one.db", "bp_pipeline").close()
    [made] = folder.glob("*.db")
    assert made.name in ("new one.db", "new%20one.db")


# ------------------------------------------------------------------------------- moved or copied


@pytest.fixture(params=["plain", "odd % ?"])
def made(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    empty_database: Path,
    config: RunConfig,
    result: RunResult,
) -> tuple[Path, str]:
    """Return a folder with a store, and the id of its run."""
    folder = tmp_path / request.param
    put_store(folder, empty_database)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with open_for_writing(None, "bp_pipeline") as writer:
        run_id = record(writer, config, result)
    open_for_writing(None, "bp_pipeline/reproductions").close()  # which has no artifacts
    return folder, run_id


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_artifacts_are_found_where_the_database_is_now(
    made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, config: RunConfig,
    result: RunResult, how: object,
) -> None:  # fmt: skip
    old, run_id = made
    new = old.parent / "else %41 :x ?y=1 é数"
    assert callable(how)
    how(str(old), str(new))
    monkeypatch.chdir(new)
    before = (new / "mlflow.db").read_bytes()
    with open_for_reading(None, "bp_pipeline") as reader, reader.artifacts(run_id) as place:
        assert place == new / "mlruns" / "1" / run_id / "artifacts"
        assert reader.is_moved
    assert (new / "mlflow.db").read_bytes() == before, "reading wrote"
    with open_for_writing(None, "bp_pipeline") as writer:
        assert not writer.is_moved
        again = record(writer, config, result)
    open_for_writing(None, "bp_pipeline/reproductions").close()
    shutil.rmtree(old, ignore_errors=True)
    client = MlflowClient(f"sqlite:///mlflow.db?timeout={next(NUMBERS)}")
    for one in (run_id, again):
        assert "curves.npz" in [file.path for file in client.list_artifacts(one)]
        assert (new / "mlruns" / "1" / one / "artifacts" / "curves.npz").is_file()
    with closing(sqlite3.connect("mlflow.db")) as database:
        everything = "\n".join(database.iterdump())
    assert "plain/mlruns" not in everything
    assert "odd%20" not in everything


@pytest.mark.parametrize("name", ["data", "disk/mlruns"])
def test_what_somebody_keeps_elsewhere_stays_there(made: tuple[Path, str], name: str) -> None:
    folder, run_id = made
    root = folder.parent / name
    root.parent.mkdir(exist_ok=True)
    (folder / "mlruns").rename(root)
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("UPDATE experiments SET artifact_location = ?", [f"{root}/1"])
        database.execute("UPDATE runs SET artifact_uri = ?", [f"{root}/1/{run_id}/artifacts"])
        database.commit()
    open_for_writing(None, "bp_pipeline").close()
    with open_for_reading(None, "bp_pipeline") as reader, reader.artifacts(run_id) as place:
        assert place == root / "1" / run_id / "artifacts"


def test_a_champion_is_found_after_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model is loaded by MLflow alone, which is told where it is."""
    options = "-m seed=0,1 replicates=3 training.epochs=300 optimizer.learning_rate=5 engine=numpy"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    (tmp_path / "before").mkdir()
    for folder in ("before", "after"):
        if folder == "after":
            (tmp_path / "before").rename(tmp_path / "after")
        run_bp("train", *options.split(), cwd=tmp_path / folder, environment=environment, code=0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/after/mlflow.db")
    model = load_model("models:/bp_pipeline-xor@champion")
    assert len(model.predict([[0.0, 1.0]])) == 1


def test_a_home_folder_is_written_out_in_the_advice(folder: Path) -> None:
    with pytest.raises(TrackingError) as caught:
        resolve_uri("sqlite:///~/mlflow.db")
    assert f"sqlite:///{Path.home()}/mlflow.db" in str(caught.value)


@given(st.text(alphabet=st.sampled_from("aZ09_./-é数~%?:@ #"), min_size=1, max_size=20))
def test_a_path_is_what_sqlalchemy_takes_it_for(text: str) -> None:
    uri = f"sqlite:///{text}"
    try:
        path = database_path(uri)
    except TrackingError:
        return
    assert str(path) == os.path.abspath(make_url(uri).database or "")
