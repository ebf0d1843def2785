"""Where runs are kept: MLflow's own database in the current folder, or whatever a URI names.

Owns finding that place, opening and closing it: for writing, with the lock that makes one process
at a time its writer; for reading, without a lock and without writing anything. How the embedded one
is made is left to `new_store.py`, what runs are to `format.py`.
"""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bp_pipeline.tracking import new_store
from bp_pipeline.tracking.failures import (
    NothingYet,
    TrackingError,
    failures_explained,
    no_such_place,
)
from bp_pipeline.tracking.paths import (
    ARTIFACTS,
    BUSY_DEADLINE,
    Artifacts,
    connect,
    database_path,
    database_uri,
    readable_uri,
)
from bp_pipeline.tracking.server import ask, variables
from bp_pipeline.tracking.store_tables import (
    Tables,
    find_artifacts,
    find_tables,
    mlflow_tables,
    sql_store,
    write_locations,
)
from bp_pipeline.tracking.transaction import Transactions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

DEFAULT_URI = "sqlite:///mlflow.db"  # MLflow's own, which plain `mlflow ui` reads
A_SWEEP = "`bp train experiment=xor_sweep` makes and fills one."
_NAMED = 10  # experiments that a message names; a server may have thousands
LOCK_DEADLINE = 120.0  # seconds; a run of a million replicates takes several to write

# What MLflow reads while it is imported and used, where a user has not set it: no usage statistics
# over the network, nothing on stderr (its errors reach users as one message), no links on stdout,
# and a quarter of a minute instead of four for each request to a server that has died.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Store:
    """A place where runs are kept, open.

    Attributes
    ----------
    uri
        As MLflow takes it, with the path of a database made absolute.
    make_client
        Makes what to ask and write with, for which MLflow is imported.
    experiment, experiment_id
        Where: MLflow's name of the experiment, and its id.
    lock
        To be held while writing.
    sweep_locks
        A folder for the locks of sweeps, of this machine alone where the store is a server.
    artifacts
        Where the files of runs are.
    transactions
        What writes many runs at once, where the store's tables are known.
    tables
        What reads many, where they are.
    """

    uri: str
    make_client: "Callable[[], MlflowClient]"
    experiment: str
    experiment_id: str
    lock: AbstractContextManager[object] = field(default_factory=nullcontext)
    sweep_locks: Path = Path(tempfile.gettempdir())
    artifacts: Artifacts = field(default_factory=Artifacts)
    opened: ExitStack = field(default_factory=ExitStack)
    transactions: Transactions | None = None
    tables: Tables | None = None

    @property
    def is_moved(self) -> bool:
        """Whether its artifacts are elsewhere than MLflow believes: nobody has written since."""
        return bool(self.artifacts.moved)

    @property
    def is_served(self) -> bool:
        """Whether it is a tracking server, which is asked over the network."""
        return self.uri.startswith("http")

    def close(self) -> None:
        """Close the database, which leaves everything in its one file."""
        self.opened.close()

    @property
    def unfinished(self) -> Path:
        """A folder beside it, of this machine alone where the store is a server."""
        return self.sweep_locks.with_suffix(".unfinished")

    def sweep_lock(self, sweep_digest: str) -> FileLock:
        """Return the lock to be held while training a sweep, by one process of this machine."""
        self.sweep_locks.mkdir(exist_ok=True)
        return FileLock(self.sweep_locks / f"{sweep_digest}.lock")

    def answers(self) -> bool:
        """Whether a server or a database is still there; a file is taken to be."""
        try:
            ask(self.uri, self.experiment)
        except TrackingError:
            return False
        return True


def open_store(configured: str | None, experiment: str, *, to_write: bool) -> Store:
    """Open a store: to write, and make what is missing; or only to read what is there.

    Raises
    ------
    TrackingError
        Where the store cannot be reached or, to write, written.
    NothingYet
        Where there is nothing to read.
    """
    uri, opened = resolve_uri(configured), ExitStack()
    try:
        opened.enter_context(variables(_SETTINGS, override=False))
        if uri.startswith("sqlite"):  # workspaces are a server's; MLflow finds no experiment else
            opened.enter_context(variables({"MLFLOW_ENABLE_WORKSPACES": None}, override=True))
        with failures_explained(uri, f"open the experiment {experiment!r}"):
            ask(uri, experiment)
            if uri.startswith("sqlite"):
                open_embedded = _open_to_write if to_write else _open_to_read
                return open_embedded(database_path(uri), experiment, opened)
            return _open_served(uri, experiment, opened, to_write)
    except BaseException:
        opened.close()
        raise


def resolve_uri(configured: str | None) -> str:
    """Return where runs are kept: MLFLOW_TRACKING_URI, else `tracking.uri`, else MLflow's default.

    Returns
    -------
    str
        The URI, with the path of a SQLite database made absolute.

    Raises
    ------
    TrackingError
        Where the URI names a folder of plain files, or not just one database.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured or DEFAULT_URI
    scheme, colon, _ = uri.partition(":")
    if scheme in ("databricks", "databricks-uc", "uc"):
        raise TrackingError(no_such_place(uri, "Databricks is not supported"))
    if not colon or scheme == "file":
        problem = "MLflow no longer maintains its store of plain files"
        raise TrackingError(no_such_place(uri, problem))
    return database_uri(database_path(uri)) if scheme.startswith("sqlite") else uri


def is_made(path: Path) -> bool:
    """Whether there is a database; SQLite leaves an empty file where it only opened one."""
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def _open_to_write(path: Path, experiment: str, opened: ExitStack) -> Store:
    """Open an embedded store in WAL mode, in which readers and the writer do not wait."""
    from mlflow import MlflowClient
    from sqlalchemy import event

    uri = database_uri(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=LOCK_DEADLINE)
    with lock:
        if not is_made(path):
            new_store.create(path)
        with closing(_checked(path, {"mode": "rw"})) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("BEGIN IMMEDIATE")  # fails where the file cannot be written
            write_locations(database, find_artifacts(database, path))
            database.execute("COMMIT")
        store = sql_store(uri, path.parent / ARTIFACTS)
        opened.callback(store.engine.dispose)
        event.listen(store.engine, "connect", _flush_at_checkpoints)
        store.engine.dispose()  # so that all connections are made from here on
        client = MlflowClient(uri)
        # The store knows that artifacts belong beside the database; the client alone would put
        # them into the folder that a scheduled command happens to start in.
        experiment_id = _experiment_id(client, experiment, store.create_experiment)
        tables = find_tables(path, {"mode": "rw"}, experiment)
        known = tables is not None
        transactions = _transactions(client, experiment_id, store.engine, path) if known else None
    locks, artifacts = Path(f"{path}.locks"), Artifacts(path.parent / ARTIFACTS)
    return Store(
        uri, lambda: client, experiment, experiment_id, lock, locks, artifacts, opened,
        transactions, tables,
    )  # fmt: skip


def _transactions(
    client: "MlflowClient", experiment_id: str, engine: "Engine", path: Path
) -> Transactions | None:
    """Return what writes many runs at once, where artifacts are in a folder."""
    location = str(client.get_experiment(experiment_id).artifact_location)
    folder = Artifacts().path(location)
    if folder is None:
        return None
    place = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(place, os.W_OK):  # MLflow finds out when a run is recorded, and not why
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
    return Transactions(engine, experiment_id, location, folder, Path(f"{path}.recording"))


def _open_to_read(path: Path, experiment: str, opened: ExitStack) -> Store:
    """Open an embedded store, whoever it belongs to, and leave no trace of that.

    Where its tables are known, MLflow is imported for what they do not tell, if at all.
    """
    if not is_made(path):
        raise NothingYet(f"There is no store {path} yet. {A_SWEEP}")
    is_ours = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    query = {} if is_ours else _read_only(path)
    mode = {"mode": "rw"} if is_ours else query

    def client() -> "MlflowClient":
        from mlflow import MlflowClient

        _checked(path, mode).close()
        readable = database_uri(path) if is_ours else readable_uri(path, query)
        opened.callback(sql_store(readable, path.parent / ARTIFACTS).engine.dispose)
        return MlflowClient(readable)

    tables = find_tables(path, mode, experiment)
    experiment_id = tables.experiment_id if tables else _experiment_id(client(), experiment, None)
    with closing(connect(path, mode, BUSY_DEADLINE)) as database:
        artifacts = find_artifacts(database, path)
    return Store(
        database_uri(path), client, experiment, experiment_id,
        artifacts=artifacts, opened=opened, tables=tables,
    )  # fmt: skip


def _open_served(uri: str, experiment: str, opened: ExitStack, to_write: bool) -> Store:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment_id = _experiment_id(
        client, experiment, client.create_experiment if to_write else None
    )
    name = sha256(uri.encode()).hexdigest()[:16]
    locks = Path(tempfile.gettempdir()) / f"bp_pipeline-{os.getuid()}-{name}.locks"
    return Store(uri, lambda: client, experiment, experiment_id, sweep_locks=locks, opened=opened)


def _experiment_id(client: "MlflowClient", name: str, make: Callable[[str], str] | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None and make is not None:
        return str(make(name))
    if found is None:
        known = ", ".join(repr(one.name) for one in client.search_experiments(max_results=_NAMED))
        raise NothingYet(f"There is no experiment {name!r} yet, but {known}. {A_SWEEP}")
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The experiment {name!r} was deleted. Bring it back with `mlflow experiments restore "
            f"-x {found.experiment_id}`, or name another one with `tracking.experiment`."
        )
    return str(found.experiment_id)


def _checked(path: Path, query: dict[str, str]) -> sqlite3.Connection:
    """Ask SQLite itself, because MLflow tries for minutes to open what is no database.

    Raises
    ------
    TrackingError
        Where MLflow would migrate an existing database on its own, which a kill could break.
    sqlite3.Error
        Where the file cannot be opened, or is no database.
    """
    database = connect(path, query, BUSY_DEADLINE)
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        missing = {*mlflow_tables()} - tables
        if missing:
            raise TrackingError(
                f"{path} lacks {len(missing)} of MLflow's tables: another version of MLflow made "
                "it, or was stopped while it did. Back it up and run "
                f"`mlflow db upgrade {database_uri(path)}`, or move it away."
            )
    except BaseException:
        database.close()
        raise
    return database


def _read_only(path: Path) -> dict[str, str]:
    """Return how SQLite opens a database in which nothing may be written.

    In WAL mode it needs the writer's own files, or has to be told that there is no writer.
    """
    with path.open("rb") as file:
        is_wal = file.read(19)[18:] == b"\2"
    return {"mode": "ro"} if not is_wal or Path(f"{path}-shm").exists() else {"immutable": "1"}


def _flush_at_checkpoints(connection: sqlite3.Connection, _: object) -> None:
    """Spare a disk flush with each commit, which in WAL mode no kill can tell.

    A power failure may take the last runs, as it may take their files, but breaks nothing.
    """
    connection.execute("PRAGMA synchronous=NORMAL")
