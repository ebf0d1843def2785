"""Where runs are kept: MLflow's own database in the current folder, or whatever a URI names.

Owns finding that place and opening it, with the lock that makes one process at a time its writer.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

from bp_pipeline.tracking import database
from bp_pipeline.tracking.failures import NothingYet, TrackingError, failures_explained
from bp_pipeline.tracking.server import ask

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"  # MLflow's own, which plain `mlflow ui` reads
LOCK_DEADLINE = 120.0  # seconds; a run of a million replicates takes several to write

# MLflow reads these when it is first imported, where a user has not set them: no usage statistics
# over the network, nothing on stderr (its errors reach users as one message), no links on stdout,
# and a quarter of a minute instead of four for each request to a server that has died.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Store(NamedTuple):
    """A place where runs are kept, open.

    Attributes
    ----------
    uri
        As MLflow takes it.
    client, experiment, experiment_id
        What to write with, and where: MLflow's name of the experiment, and its id.
    lock
        To be held while writing.
    sweep_locks
        A folder for the locks of sweeps, of this machine alone where the store is a server.
    close
        Lets go of the database, which leaves everything in its one file.
    """

    uri: str
    client: "MlflowClient"
    experiment: str
    experiment_id: str
    lock: AbstractContextManager[object]
    sweep_locks: Path
    close: Callable[[], object]

    def sweep_lock(self, sweep_digest: str) -> FileLock:
        """Give the lock to be held while training a sweep, by one process of this machine."""
        self.sweep_locks.mkdir(exist_ok=True)
        return FileLock(self.sweep_locks / f"{sweep_digest}.lock")

    def answers(self) -> bool:
        """Say whether a server or a database is still there; a file is taken to be."""
        try:
            ask(self.uri, self.experiment)
        except TrackingError:
            return False
        return True


def open_store(configured: str | None, experiment: str, *, create: bool) -> Store:
    """Open a store, and where `create` says so make what is missing.

    Raises
    ------
    TrackingError
        Where the store cannot be reached or written, or does not exist and must not be made.
    """
    uri = resolve_uri(configured)
    ask(uri, experiment)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with failures_explained(uri, f"open the experiment {experiment!r}"):
        if uri.startswith("sqlite:///"):
            return _open_embedded(uri, experiment, create)
        return _open_served(uri, experiment, create)


def resolve_uri(configured: str | None) -> str:
    """Say where runs are kept: MLFLOW_TRACKING_URI, else `tracking.uri`, else MLflow's default.

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


def _open_embedded(uri: str, experiment: str, create: bool) -> Store:
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    if not create and not database.is_made(path):
        raise NothingYet(f"There is no store {path} yet. `make sweep` makes and fills one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=LOCK_DEADLINE)
    with lock:
        if not database.is_made(path):
            database.create(path)
        store = database.open_for_writing(path)
        client = MlflowClient(uri)
        # The store knows that artifacts belong beside the database; the client alone would put
        # them into the folder that a scheduled command happens to start in.
        make = store.create_experiment if create else None
        experiment_id = _experiment_id(client, experiment, make)
    locks = Path(f"{path}.locks")
    return Store(uri, client, experiment, experiment_id, lock, locks, store.engine.dispose)


def _open_served(uri: str, experiment: str, create: bool) -> Store:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    make = client.create_experiment if create else None
    experiment_id = _experiment_id(client, experiment, make)
    name = sha256(uri.encode()).hexdigest()[:16]
    locks = Path(tempfile.gettempdir()) / f"bp_pipeline-{os.getuid()}-{name}.locks"
    return Store(uri, client, experiment, experiment_id, nullcontext(), locks, lambda: None)


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
