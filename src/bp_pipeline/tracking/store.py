"""Where runs are kept: MLflow's own database in the current folder, or whatever a URI names.

Owns finding that place, making the embedded one so that no kill leaves half of it, and opening and
closing it: for writing, with the lock that makes one process at a time its writer; for reading,
without a lock and without writing anything. What runs are is left to `format.py`.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from filelock import FileLock

from bp_pipeline.tracking.failures import NothingYet, TrackingError, failures_explained
from bp_pipeline.tracking.server import ask, variables

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

DEFAULT_URI = "sqlite:///mlflow.db"  # MLflow's own, which plain `mlflow ui` reads
LOCK_DEADLINE = 120.0  # seconds; a run of a million replicates takes several to write
BUSY_DEADLINE = 20.0  # seconds, as long as MLflow waits while another program writes

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
        As a user writes it, with the path of a database made absolute.
    client, experiment, experiment_id
        What to ask and write with, and where: MLflow's name of the experiment, and its id.
    lock
        To be held while writing.
    sweep_locks
        A folder for the locks of sweeps, of this machine alone where the store is a server.
    """

    uri: str
    client: "MlflowClient"
    experiment: str
    experiment_id: str
    lock: AbstractContextManager[object] = field(default_factory=nullcontext)
    sweep_locks: Path = Path(tempfile.gettempdir())
    opened: ExitStack = field(default_factory=ExitStack)

    @property
    def is_served(self) -> bool:
        """Whether it is a tracking server, which is asked over the network."""
        return self.uri.startswith("http")

    def close(self) -> None:
        """Let go of the database, which leaves everything in its one file."""
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
    uri = resolve_uri(configured)
    with ExitStack() as opened:
        opened.enter_context(variables(_SETTINGS, override=False))
        ask(uri, experiment)
        with failures_explained(uri, f"open the experiment {experiment!r}"):
            if uri.startswith("sqlite:///"):
                open_embedded = _open_to_write if to_write else _open_to_read
                return open_embedded(uri, experiment, opened)
            return _open_served(uri, experiment, opened, to_write)


def resolve_uri(configured: str | None) -> str:
    """Return where runs are kept: MLFLOW_TRACKING_URI, else `tracking.uri`, else MLflow's default.

    Returns
    -------
    str
        The URI, with the path of a SQLite database made absolute.

    Raises
    ------
    TrackingError
        Where the URI names a folder of plain files, or memory.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured or DEFAULT_URI
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme == "file":
        raise TrackingError(
            f"`tracking.uri` must name a database or a server, got {uri!r}: MLflow no longer "
            "maintains its store of plain files. Use sqlite:////absolute/path/mlflow.db."
        )
    if not scheme.startswith("sqlite"):
        return uri
    path = uri.partition(":///")[2].partition("?")[0]
    if path in ("", ":memory:"):
        raise TrackingError(
            f"`tracking.uri` must name a file, got {uri!r}: what is only in memory is lost. "
            "Use sqlite:///mlflow.db, or `tracking=off`."
        )
    return f"sqlite:///{os.path.abspath(path)}"


def is_made(path: Path) -> bool:
    """Whether there is a database; SQLite leaves an empty file where it only opened one."""
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def create(path: Path) -> None:
    """Make an embedded store, whole or not at all.

    MLflow makes its tables by migrating through all its versions, and a database in which that was
    cut short never opens again. So they are made in memory, which also takes half the time, copied
    to a file beside `path`, and that file is renamed.
    """
    # The query only keeps it apart from any other in-memory database of this process.
    in_memory = _sql_store(f"sqlite:///:memory:?timeout={BUSY_DEADLINE}", path)
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


def _open_to_write(uri: str, experiment: str, opened: ExitStack) -> Store:
    """Open an embedded store in WAL mode, in which readers and the writer do not wait."""
    from mlflow import MlflowClient
    from sqlalchemy import event

    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=LOCK_DEADLINE)
    with lock:
        if not is_made(path):
            create(path)
        with closing(_checked(path, f"file:{quote(str(path))}?mode=rw")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("BEGIN IMMEDIATE")  # fails where the file cannot be written
            database.execute("ROLLBACK")
        store = _sql_store(uri, path)
        opened.callback(store.engine.dispose)
        event.listen(store.engine, "connect", _flush_at_checkpoints)
        store.engine.dispose()  # so that all connections are made from here on
        client = MlflowClient(uri)
        # The store knows that artifacts belong beside the database; the client alone would put
        # them into the folder that a scheduled command happens to start in.
        experiment_id = _experiment_id(client, experiment, store.create_experiment)
    locks = Path(f"{path}.locks")
    return Store(uri, client, experiment, experiment_id, lock, locks, opened.pop_all())


def _open_to_read(uri: str, experiment: str, opened: ExitStack) -> Store:
    """Open an embedded store, whoever it belongs to, and leave no trace of that."""
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    if not is_made(path):
        raise NothingYet(f"There is no store {path} yet. `make sweep` makes and fills one.")
    is_ours = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    file = f"file:{quote(str(path))}?{'mode=rw' if is_ours else _read_only(path)}"
    _checked(path, file).close()
    # With the driver's name MLflow takes it as it is, and makes no folder for it.
    readable = uri if is_ours else f"sqlite+pysqlite:///{file}&uri=true"
    store = _sql_store(readable, path)
    opened.callback(store.engine.dispose)
    client = MlflowClient(readable)
    experiment_id = _experiment_id(client, experiment, None)
    return Store(uri, client, experiment, experiment_id, opened=opened.pop_all())


def _open_served(uri: str, experiment: str, opened: ExitStack, to_write: bool) -> Store:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment_id = _experiment_id(
        client, experiment, client.create_experiment if to_write else None
    )
    name = sha256(uri.encode()).hexdigest()[:16]
    locks = Path(tempfile.gettempdir()) / f"bp_pipeline-{os.getuid()}-{name}.locks"
    return Store(uri, client, experiment, experiment_id, nullcontext(), locks, opened.pop_all())


def _experiment_id(client: "MlflowClient", name: str, make: Callable[[str], str] | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None and make is not None:
        return str(make(name))
    if found is None:
        raise NothingYet(f"There is no experiment {name!r} yet. `make sweep` makes one.")
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The experiment {name!r} was deleted. Bring it back with `mlflow experiments restore "
            f"-x {found.experiment_id}`, or name another one with `tracking.experiment`."
        )
    return str(found.experiment_id)


def _sql_store(uri: str, path: Path) -> "SqlAlchemyStore":
    """Make MLflow's store of a database, whose connections are those of all clients of this URI."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore(uri, str(path.parent / "mlruns"))  # type: ignore[no-untyped-call]


def _checked(path: Path, uri: str) -> sqlite3.Connection:
    """Ask SQLite itself, because MLflow tries for minutes to open what is no database.

    Raises
    ------
    TrackingError
        Where MLflow would migrate an existing database on its own, which a kill could break.
    sqlite3.Error
        Where the file cannot be opened, or is no database.
    """
    from mlflow.store.db.base_sql_model import Base

    database = sqlite3.connect(uri, timeout=BUSY_DEADLINE, isolation_level=None, uri=True)
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        missing = set(Base.metadata.tables) - tables
        if missing:
            raise TrackingError(
                f"{path} lacks {len(missing)} of MLflow's tables: another version of MLflow made "
                "it, or was stopped while it did. Back it up and run "
                f"`mlflow db upgrade sqlite:///{path}`, or move it away."
            )
    except BaseException:
        database.close()
        raise
    return database


def _read_only(path: Path) -> str:
    """Return how SQLite opens a database in which nothing may be written.

    In WAL mode it needs the writer's own files, or has to be told that there is no writer.
    """
    with path.open("rb") as file:
        is_wal = file.read(19)[18:] == b"\2"
    return "mode=ro" if not is_wal or Path(f"{path}-shm").exists() else "immutable=1"


def _flush_at_checkpoints(connection: sqlite3.Connection, _: object) -> None:
    """Spare a disk flush with each commit, which in WAL mode no kill can tell.

    A power failure may take the last runs, as it may take their files, but breaks nothing.
    """
    connection.execute("PRAGMA synchronous=NORMAL")
