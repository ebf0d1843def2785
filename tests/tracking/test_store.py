import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.version import VERSION
from small_runs import record

from bp_pipeline.config.errors import ConfigError, without_passwords
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import (
    FrozenSweep,
    TrackingError,
    Writer,
    open_for_reading,
    open_for_writing,
    store,
)


def problem_of(uri: str | None, *, to_write: bool = True) -> str:
    """Open a store that cannot be used; return the message, which is to be one line."""
    with pytest.raises(TrackingError) as caught:
        (open_for_writing if to_write else open_for_reading)(uri, "bp_pipeline")
    message = str(caught.value)
    assert "\n" not in message
    return message


def run_python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_default_store_is_what_plain_mlflow_ui_reads(folder: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, folder)
    with open_for_writing(None, "bp_pipeline") as writer:
        experiment = MlflowClient("sqlite:///mlflow.db").get_experiment_by_name("bp_pipeline")
        assert experiment.experiment_id == writer.experiment_id
        assert experiment.artifact_location == f"{folder}/mlruns/1"
        assert writer.uri == f"sqlite:///{folder}/mlflow.db"


def schema_of(path: Path) -> list[list[str]]:
    """Read the tables, line by line, since MLflow puts constraints in any order."""
    with closing(sqlite3.connect(path)) as file:
        rows = file.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        version = file.execute("SELECT version_num FROM alembic_version").fetchall()
        default = file.execute("SELECT name, lifecycle_stage FROM experiments").fetchall()
    tables = [sorted(line.strip(" ,\t") for line in sql.split("\n")) for (sql,) in rows]
    return [*sorted(tables), [str(version), str(default)]]


@pytest.fixture(scope="module")
def mlflows_schema(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Have MLflow make a store by itself."""
    place = tmp_path_factory.mktemp("mlflow")
    SqlAlchemyStore(f"sqlite:///{place}/mlflow.db", str(place)).engine.dispose()
    return schema_of(place / "mlflow.db")


@pytest.mark.parametrize("kept", ["none", "a good one", "a broken one", "half of one"])
def test_a_new_store_equals_one_that_mlflow_makes_whatever_was_kept(
    folder: Path,
    empty_database: Path,
    mlflows_schema: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    kept: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "caches"))
    file = folder / "caches" / "bp_pipeline" / f"empty-mlflow-{VERSION}.db"
    if kept != "none":
        file.parent.mkdir(parents=True)
        whole = empty_database.read_bytes()
        broken = whole[:4096] + b"x" * (len(whole) - 4096)
        file.write_bytes({"a broken one": broken, "half of one": whole[:8192]}.get(kept, whole))
    open_for_writing(None, "Default").close()
    assert [*file.parent.iterdir()] == [file]
    assert schema_of(folder / "mlflow.db") == mlflows_schema
    with closing(sqlite3.connect("mlflow.db")) as file:
        locations = file.execute("SELECT artifact_location FROM experiments").fetchall()
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert locations == [(f"{folder}/mlruns/0",)]


def test_artifacts_are_kept_beside_the_database_wherever_a_command_starts(
    tmp_path: Path, folder: Path, empty_database: Path
) -> None:
    place = tmp_path / "kept"
    place.mkdir()
    shutil.copy(empty_database, place)
    with open_for_writing(f"sqlite:///{place}/mlflow.db", "bp_pipeline/reproductions") as writer:
        experiment = MlflowClient(writer.uri).get_experiment(writer.experiment_id)
    assert experiment.artifact_location == f"{place}/mlruns/1"
    assert not (folder / "mlflow.db").exists()


def test_tracking_uri_of_the_environment_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.resolve_uri("sqlite:///mine.db") == f"sqlite:///{folder}/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert store.resolve_uri("sqlite:///mine.db") == "http://localhost:5000"


@pytest.mark.parametrize(
    "uri",
    [
        "mlruns", "./mlruns", "file:///srv/mlruns", "sqlite://", "sqlite:///:memory:",
        "sqlite:///~/mlflow.db", "sqlite:///what?x=1/mlflow.db", "sqlite:/mlflow.db", "databricks",
        "nothing://there",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["tracking.uri", "MLFLOW_TRACKING_URI"])
def test_places_that_are_not_just_one_file_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, uri: str, key: str
) -> None:
    """By the name of what says so, which alone helps to correct."""
    if key == "MLFLOW_TRACKING_URI":
        monkeypatch.setenv(key, uri)
    message = problem_of(uri)
    assert message.startswith(f"`{key}` must name a")
    assert repr(uri) in message
    assert "memory" not in message or uri in ("sqlite://", "sqlite:///:memory:")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"]
)
def test_a_variable_that_mlflow_cannot_take_is_named(
    folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In a folder whose database no client of this process has opened before."""
    shutil.copy(empty_database, folder)
    monkeypatch.setenv(name, "nonsense")
    assert problem_of(None).startswith(f"`{name}` must be such as MLflow takes it, got 'nonsense'.")


def test_reading_makes_no_store(folder: Path, empty_database: Path) -> None:
    message = problem_of(None, to_write=False)
    assert message.startswith("There is no store")
    assert "make " not in message  # which a wheel does not bring
    assert list(folder.iterdir()) == []
    shutil.copy(empty_database, folder)
    assert "There is no experiment 'bp_pipeline' yet" in problem_of(None, to_write=False)


def test_a_deleted_experiment_is_named(folder: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, folder)
    with open_for_writing(None, "bp_pipeline") as writer:
        MlflowClient(writer.uri).delete_experiment(writer.experiment_id)
        message = problem_of(None)
    assert "`mlflow experiments restore -x 1`" in message


def test_writes_go_through_the_write_ahead_log_without_a_flush_each(
    folder: Path, empty_database: Path
) -> None:
    shutil.copy(empty_database, folder)
    with open_for_writing(None, "bp_pipeline") as writer:
        database = SqlAlchemyStore(writer.uri, str(folder / "mlruns"))  # shares the connections
        with database.engine.connect() as connection:
            pragmas = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous")
            ]
    assert pragmas == ["wal", 1]
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["mlflow.db", "mlflow.db.lock"], "closing leaves everything in the one file"


def test_a_writer_waits_for_the_other_and_says_so_in_the_end(
    writer: Writer, config: RunConfig, result: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer._store.lock, "timeout", 0.1)
    with FileLock("mlflow.db.lock"), pytest.raises(TrackingError) as caught:
        record(writer, config, result)
    assert "mlflow.db.lock' could not be acquired" in str(caught.value)
    assert "Let the program that writes to it finish" in str(caught.value)
    record(writer, config, result)


def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "folder").mkdir()
    for path in ("file/mlflow.db", "folder", "/proc/nowhere/mlflow.db"):
        message = problem_of(f"sqlite:///{path}")
        assert message.startswith("Cannot open the experiment 'bp_pipeline' in sqlite:///")
        assert message.endswith("keep nothing with `tracking=off`.")


def test_a_file_that_is_no_database_is_named_at_once(folder: Path) -> None:
    (folder / "mlflow.db").write_bytes(b"This is not a database. " * 100)
    assert problem_of(None) == (
        "Cannot open the experiment 'bp_pipeline' in "
        f"sqlite:///{folder}/mlflow.db: file is not a database. "
        "Restore a backup, or move the file away."
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DROP TABLE inputs", "lacks 1 of MLflow's tables"),
        ("UPDATE alembic_version SET version_num = 'f00d'", "found version f00d"),
    ],
)
def test_another_schema_is_named_and_left_alone(
    folder: Path, empty_database: Path, change: str, expected: str
) -> None:
    shutil.copy(empty_database, folder)
    with closing(sqlite3.connect("mlflow.db")) as file:
        file.execute(change)
        file.commit()
        before = file.execute("SELECT sql FROM sqlite_master").fetchall()
    message = problem_of(None)
    with closing(sqlite3.connect("mlflow.db")) as file:
        assert file.execute("SELECT sql FROM sqlite_master").fetchall() == before
    assert expected in message
    assert f"`mlflow db upgrade sqlite:///{folder}/mlflow.db`" in message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 3 MB, which takes the right to do so."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root on Linux can mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_message(
    small_disk: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: RunConfig,
    result: RunResult,
) -> None:
    monkeypatch.chdir(small_disk)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_500_000))
    assert problem_of(None).endswith("Free some space, then type the same again.")
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "mlflow.db.lock"]
    filler.unlink()
    shutil.copy(empty_database, small_disk)

    def record_many(writer: Writer) -> None:
        for _ in range(100):
            record(writer, config, result)

    with open_for_writing(None, "bp_pipeline") as writer:
        with pytest.raises(TrackingError) as caught:
            record_many(writer)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("Free some space, then type the same again.")


def test_a_kill_while_the_store_is_made_leaves_none_or_a_whole_one(folder: Path) -> None:
    """Nor is anything to be seen but what the script prints: MLflow and Alembic are silent."""
    script = """
        import itertools, os, signal, threading
        from pathlib import Path
        from bp_pipeline.tracking import FrozenSweep, open_for_writing

        with open_for_writing("sqlite:///new/folder/mlflow.db", "bp_pipeline") as writer:
            run_id = writer.start_sweep("a", FrozenSweep("", "0" * 64, "0" * 64, []))
            writer.finish(run_id, "FINISHED")
        print(sorted(os.listdir("new/folder")))
        print(threading.active_count(), "MLFLOW_TRACKING_URI" in os.environ)

        from sqlalchemy import Engine, event

        statements = itertools.count()

        def show_what_a_kill_would_leave(*_):
            if next(statements) == 500:  # of about 1700 that migrate
                print(sorted(os.listdir()), flush=True)

        event.listen(Engine, "before_cursor_execute", show_what_a_kill_would_leave)
        os.environ["XDG_CACHE_HOME"] = os.devnull  # where no empty store can be kept
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        open_for_writing(None, "bp_pipeline")
    """
    done = run_python(script, folder)
    assert (done.stderr, done.returncode) == ("", -signal.SIGKILL)
    assert done.stdout.splitlines() == [
        "['mlflow.db', 'mlflow.db.lock', 'mlruns']",
        "1 False",
        "['mlflow.db.lock', 'new']",
    ]
    assert sorted(os.listdir()) == ["mlflow.db.lock", "mlflow.db.new", "new"]
    open_for_writing(None, "bp_pipeline").close()
    assert sorted(os.listdir()) == ["mlflow.db", "mlflow.db.lock", "new"]


def test_databricks_is_no_store_of_plain_files(folder: Path) -> None:
    for uri in ("databricks", "databricks://profile", "databricks-uc", "uc:http://localhost"):
        message = problem_of(uri)
        assert repr(uri) in message
        assert "Databricks" in message


def test_workspaces_are_a_servers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    for _ in range(2):
        with open_for_writing(None, "bp_pipeline") as writer:
            writer.start_sweep("a", FrozenSweep("", "0" * 64, "0" * 64, []))
    with open_for_reading(None, "bp_pipeline") as reader:
        assert len(list(reader.sweeps())) == 2
    assert os.environ["MLFLOW_ENABLE_WORKSPACES"] == "true"


def test_an_experiment_of_another_name_is_named(folder: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, folder)
    with open_for_writing(None, "bp_pipeline") as writer:
        MlflowClient(writer.uri).rename_experiment(writer.experiment_id, "mine")
    message = problem_of(None, to_write=False)
    assert "'mine'" in message
    assert "make " not in message


@pytest.mark.heavy
@pytest.mark.parametrize("chosen", ["POOLCLASS=NullPool", "POOLCLASS=QueuePool MAX_OVERFLOW=2"])
def test_a_store_is_made_whatever_pool_is_chosen(folder: Path, chosen: str) -> None:
    variables = dict(f"MLFLOW_SQLALCHEMYSTORE_{word}".split("=") for word in chosen.split())
    script = f"""
        import os
        from bp_pipeline.tracking import open_for_writing

        os.environ.update({variables}, XDG_CACHE_HOME=os.getcwd())  # where no store is kept yet
        open_for_writing(None, "bp_pipeline").close()
        print([os.environ[name] for name in {variables}])
    """
    done = run_python(script, folder)
    assert (done.stderr, done.stdout) == ("", f"{[*variables.values()]}\n")
    assert len(schema_of(folder / "mlflow.db")) > 30


def test_a_folder_of_artifacts_that_cannot_be_written_is_named(
    folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_database, folder)
    (folder / "mlruns").mkdir()
    can = os.access
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "mlruns" and can(path, 0))
    message = problem_of(None)
    assert "Permission denied" in message
    assert f"{folder}/mlruns" in message


def test_an_empty_file_is_no_store(folder: Path, empty_database: Path) -> None:
    assert not store.is_made(folder / "mlflow.db")
    (folder / "mlflow.db").touch()  # as a killed `sqlite3.connect` leaves it
    assert not store.is_made(folder / "mlflow.db")
    assert store.is_made(empty_database)


def test_importing_is_cheap(tmp_path: Path) -> None:
    script = """
        import sys
        import bp_pipeline.tracking, bp_pipeline.tracking.ui_server, bp_pipeline.ensemble
        print({"mlflow", "pandas", "sqlalchemy", "requests", "scipy.stats"} & set(sys.modules))
    """
    done = run_python(script, tmp_path)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://me:secret@host:5000/#/experiments/1", "http://host:5000/#/experiments/1"),
        ("http://me@host", "http://host"),
        ("postgresql://me:se/c@r:e#t?@db.org:5432/mlflow", "postgresql://db.org:5432/mlflow"),
        ("of 'postgres://me:secret@db' and http://a:b@c", "of 'postgres://db' and http://c"),
        ("db://h/d?user=me&password=secret&a=1", "db://h/d?user=me&password=…&a=1"),
        ("in db://h/d?sslPassword=se.cr,et: no", "in db://h/d?sslPassword=…: no"),
        ("`passwd='secret'` and `pwd=secret`.", "`passwd=…` and `pwd=…`."),
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
        ("http://host:5000: models:/xor@champion", "http://host:5000: models:/xor@champion"),
        ("http://host:5000/: no password.", "http://host:5000/: no password."),
    ],
)
def test_messages_hold_no_password(text: str, told: str) -> None:
    assert without_passwords(text) == told
    assert without_passwords(told) == told
    for error in (TrackingError, ConfigError):
        assert str(error(text)) == told


@pytest.mark.parametrize("scheme", ["postgres", "sqlite+x", "file"])
def test_mlflow_quotes_what_it_does_not_know_and_the_password_is_not_told(
    folder: Path, scheme: str
) -> None:
    message = problem_of(f"{scheme}://mlflow:secret@localhost/mlflow")
    assert f"{scheme}://localhost/mlflow" in message
    assert "secret" not in message
