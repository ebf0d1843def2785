"""The embedded store: one SQLite file that MLflow and its UI read, with `mlruns/` beside it.

Owns making that file so that no kill leaves half of it, and opening it for one writer at a time.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from bp_pipeline.tracking.failures import TrackingError

if TYPE_CHECKING:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

BUSY_DEADLINE = 20.0  # seconds, as long as MLflow waits while another program writes


def is_made(path: Path) -> bool:
    """Say whether there is a database; SQLite leaves an empty file where it only opened one."""
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def create(path: Path) -> None:
    """Make an embedded store, whole or not at all.

    MLflow makes its tables by migrating through all its versions, and a database in which that was
    cut short never opens again. So they are made in memory, which also takes half the time, copied
    to a file beside `path`, and that file is renamed.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # The query only keeps it apart from any other in-memory database of this process.
    uri = f"sqlite:///:memory:?timeout={BUSY_DEADLINE}"
    in_memory = SqlAlchemyStore(uri, artifact_root(path))  # type: ignore[no-untyped-call]
    new = path.with_name(f"{path.name}.new")
    try:
        for leftover in path.parent.glob(f"{new.name}*"):
            leftover.unlink()
        with closing(sqlite3.connect(new)) as file, in_memory.engine.connect() as connection:
            connection.connection.driver_connection.backup(file)  # type: ignore[union-attr]
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
        in_memory.engine.dispose()


def open_for_writing(path: Path) -> "SqlAlchemyStore":
    """Open an embedded store in WAL mode, in which readers and the writer do not wait.

    Raises
    ------
    TrackingError
        Where MLflow would migrate an existing database on its own, which a kill could break.
    sqlite3.Error
        Where the file cannot be written, or is no database.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event

    _check(path)
    uri = f"sqlite:///{path}"
    store = SqlAlchemyStore(uri, artifact_root(path))  # type: ignore[no-untyped-call]
    event.listen(store.engine, "connect", _flush_at_checkpoints)
    store.engine.dispose()  # so that all connections are made from here on
    return store


def artifact_root(path: Path) -> str:
    """Say where the artifacts of an embedded store belong: as MLflow has it, in `mlruns`."""
    return str(path.parent / "mlruns")


def _check(path: Path) -> None:
    """Ask SQLite itself, because MLflow tries for minutes to open what is no database."""
    from mlflow.store.db.base_sql_model import Base

    with closing(sqlite3.connect(path, timeout=BUSY_DEADLINE, isolation_level=None)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        missing = set(Base.metadata.tables) - tables
        if missing:
            raise TrackingError(
                f"{path} lacks {len(missing)} of MLflow's tables: another version of MLflow made "
                "it, or was stopped while it did. Back it up and run "
                f"`mlflow db upgrade sqlite:///{path}`, or move it away."
            )
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("BEGIN IMMEDIATE")  # fails where the file cannot be written
        database.execute("ROLLBACK")


def _flush_at_checkpoints(connection: sqlite3.Connection, _: object) -> None:
    """Spare a disk flush with each commit, which in WAL mode no kill can tell.

    A power failure may take the last runs, as it may take their files, but breaks nothing.
    """
    connection.execute("PRAGMA synchronous=NORMAL")
