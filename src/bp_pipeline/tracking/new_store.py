"""A new embedded store: MLflow's tables in a file, whole or not at all.

Owns how the tables come to be there fast. MLflow makes them by migrating through all its versions,
which takes a second, and a database in which that was cut short never opens again. So they are made
in memory, once, and kept as an empty database beside the compiled engine, one for each version of
MLflow. Opening a store is left to `store.py`.
"""

import glob
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from shutil import copyfile

from bp_pipeline.files import replacing
from bp_pipeline.tracking.server import variables
from bp_pipeline.tracking.store_tables import mlflow_tables, sql_store

# The query only keeps it apart from any other in-memory database of this process.
_MEMORY = "sqlite:///:memory:?timeout=20"
# What is in memory is gone with its one connection, whatever pool a user has chosen.
_IN_MEMORY = {
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "SingletonThreadPool",
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": None,
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": None,
    "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": None,
}


def create(path: Path) -> None:
    """Make an embedded store beside `path`, then rename it."""
    new = path.with_name(f"{path.name}.new")
    for leftover in path.parent.glob(f"{glob.escape(new.name)}*"):
        leftover.unlink()
    try:
        if kept := _kept():
            copyfile(kept, new)
        else:
            _migrate(new)
            _keep(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _migrate(file: Path) -> None:
    """Make MLflow's tables, and write them to a file without any experiment."""
    with variables(_IN_MEMORY, override=True):
        store = sql_store(_MEMORY, file.parent)
    try:
        with store.engine.begin() as connection:  # its default one is where the store will be
            connection.execute(mlflow_tables()["experiments"].delete())
        with closing(sqlite3.connect(file)) as opened, store.engine.connect() as connection:
            connection.connection.driver_connection.backup(opened)  # type: ignore[union-attr]
    finally:
        store.engine.dispose()


def _place() -> Path:
    """Return where the empty database of this version of MLflow is kept."""
    from mlflow.version import VERSION

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches.absolute() / "bp_pipeline" / f"empty-mlflow-{VERSION}.db"


def _kept() -> Path | None:
    """Return the empty database that is kept, if there is one and it is whole."""
    with suppress(OSError, RuntimeError, sqlite3.DatabaseError):
        place = _place()
        with closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as opened:
            [(found,)] = opened.execute("PRAGMA quick_check(1)")
            tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master")}
        if found == "ok" and {*mlflow_tables()} <= tables:
            return place
    return None


def _keep(file: Path) -> None:
    """Keep an empty database for the next store, where that can be written."""
    with suppress(OSError, RuntimeError):  # nobody may have a home
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as new:
            copyfile(file, new)
