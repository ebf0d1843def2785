"""MLflow's tables: a run as a store has it, a sweep's runs read at once, places that have moved.

MLflow takes seconds to import, and its client makes objects of every param, metric and tag, which
takes milliseconds a run. Where the tables are known they are read as they are, and only what is
asked for. They are no interface of MLflow's: all that this package knows of them by name comes from
here, and `TESTED_REVISIONS` says which versions that was tested with. What MLflow's client reads is
what a test compares. How rows are written is left to `transaction.py`.
"""

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bp_pipeline.tracking.paths import (
    ARTIFACTS,
    BUSY_DEADLINE,
    Artifacts,
    artifact_location,
    connect,
    database_path,
    local_path,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Table

TESTED_REVISIONS = frozenset({"dc11669786a5"})  # of MLflow 3.17, as `mlflow db upgrade` counts them

_REVISION = "SELECT version_num FROM alembic_version"
_EXPERIMENT = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
_NAMES_OF_EXPERIMENTS = "SELECT name FROM experiments WHERE lifecycle_stage = 'active'"
_RUNS = (
    "SELECT run_uuid, name, status, start_time, artifact_uri, lifecycle_stage, experiment_id "
    "FROM runs WHERE {} ORDER BY start_time DESC, run_uuid"
)
_THIS = "run_uuid = ?"
_TAGGED = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = coalesce(?, value))"
_VALUES = {
    table: f"SELECT run_uuid, key, {value} FROM {table} WHERE {{}}"
    for table, value in {
        "tags": "value",
        "params": "value",
        "latest_metrics": "iif(is_nan, NULL, value)",
    }.items()
}
_POINTS = "SELECT key, step, iif(is_nan, NULL, value) FROM metrics WHERE run_uuid = ?"
_HAS_TAG = "SELECT EXISTS (SELECT 1 FROM experiment_tags WHERE experiment_id = ? AND key = ?)"

# Where MLflow writes down places of artifacts. It has no call that changes them (its issue 3144),
# so that this is about its tables: a new one would be left as it is.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)

Points = Mapping[str, Sequence[tuple[int, float]]]  # by the names of metrics: steps and values


@dataclass(frozen=True)
class Recorded:
    """A run as the store has it, without its files; without params and metrics if not asked for.

    `start_time` is in milliseconds since 1970.
    """

    run_id: str
    name: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    experiment_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def of_mlflow(run: "Run") -> Recorded:
    """Return what MLflow's client has found."""
    info, data = run.info, run.data
    return Recorded(
        info.run_id, info.run_name, info.status, info.start_time, info.artifact_uri,
        info.lifecycle_stage, info.experiment_id, data.tags, data.params, data.metrics,
    )  # fmt: skip


def sql_store(uri: str, folder: Path) -> "SqlAlchemyStore":
    """Make MLflow's store of a database, whose connections are those of all clients of this URI.

    Parameters
    ----------
    uri
        Of the database.
    folder
        Where new experiments keep their artifacts.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore(uri, artifact_location(folder))  # type: ignore[no-untyped-call]


def mlflow_tables() -> "Mapping[str, Table]":
    """Return the tables that this version of MLflow makes, by name, as SQLAlchemy takes them."""
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking import sqlalchemy_store  # noqa: F401  (Base knows what it imports)

    return Base.metadata.tables


@dataclass(frozen=True)
class Tables:
    """An embedded database whose tables are known, to be read.

    Attributes
    ----------
    path, query
        Its file, and how SQLite is to open it.
    experiment_id
        MLflow's id of the experiment.
    """

    path: Path
    query: Mapping[str, str]
    experiment_id: str

    def find(self, tags: Mapping[str, str | None], *, with_values: bool = False) -> list[Recorded]:
        """Read the runs of the experiment that have some tags, newest first, as MLflow finds them.

        Parameters
        ----------
        tags
            Their values; None stands for any.
        with_values
            Whether to read params and metrics as well.
        """
        arguments = [text for tag in tags.items() for text in tag]
        runs = self._read(" AND ".join([_TAGGED] * len(tags)), arguments, with_values)
        here = self.experiment_id, "active"
        return [run for run in runs if (run.experiment_id, run.lifecycle_stage) == here]

    def run(self, run_id: str) -> Recorded | None:
        """Read a run of any experiment, also one that was deleted."""
        return next(iter(self._read(_THIS, [run_id], with_values=True)), None)

    def has_tag(self, key: str) -> bool:
        """Whether the experiment has a tag."""
        with closing(self._connect()) as database:
            [found] = database.execute(_HAS_TAG, (int(self.experiment_id), key)).fetchone()
        return bool(found)

    @contextmanager
    def points(self) -> Iterator[Callable[[str], Points]]:
        """Yield what reads every step of every metric of a run, of which `find` reads the latest.

        The database is opened once: that takes ten times as long as reading a run.
        """
        with closing(self._connect()) as database:

            def read(run_id: str) -> Points:
                points: dict[str, list[tuple[int, float]]] = {}
                for key, step, value in database.execute(_POINTS, (run_id,)):
                    points.setdefault(key, []).append((step, math.nan if value is None else value))
                return points

            yield read

    def _read(
        self, condition: str, arguments: Sequence[str | None], with_values: bool
    ) -> list[Recorded]:
        with closing(self._connect()) as database:
            runs = database.execute(_RUNS.format(condition), arguments).fetchall()
            tags, params, metrics = (
                _by_run(database.execute(select.format(condition), arguments))
                if with_values or table == "tags"
                else {}
                for table, select in _VALUES.items()
            )
        return [
            Recorded(
                run_id, name, status, start_time, uri, stage, str(experiment_id),
                tags.get(run_id, {}), params.get(run_id, {}), metrics.get(run_id, {}),
            )
            for run_id, name, status, start_time, uri, stage, experiment_id in runs
        ]  # fmt: skip

    def _connect(self) -> sqlite3.Connection:
        return connect(self.path, {**self.query}, BUSY_DEADLINE)


def find_tables(path: Path, query: Mapping[str, str], experiment: str) -> Tables | None:
    """Find an experiment in an embedded database; None where either is missing or not known."""
    if not path.is_file():
        return None
    try:
        with closing(connect(path, {**query}, BUSY_DEADLINE)) as database:
            revisions = {one for (one,) in database.execute(_REVISION)}
            found = database.execute(_EXPERIMENT, (experiment,)).fetchall()
    except sqlite3.Error:  # who opens it in earnest says what is wrong
        return None
    is_known = bool(found) and revisions <= TESTED_REVISIONS
    return Tables(path, query, str(found[0][0])) if is_known else None


def find_artifacts(database: sqlite3.Connection, path: Path) -> Artifacts:
    """Find out which artifacts have moved together with their database, or were copied with it.

    MLflow's own locations end with the experiment's id. Those in a folder of the same name
    elsewhere have moved when one of them is here; of a store that holds no runs, when they are no
    longer there. All others were chosen by somebody, or stayed where they were.
    """
    root = path.parent / ARTIFACTS
    experiments: dict[str, list[str]] = {}
    for number, location in database.execute(
        "SELECT experiment_id, artifact_location FROM experiments"
    ):
        old, _, name = str(location).rpartition("/")
        if name == str(number) and old != artifact_location(root) and local_path(old) is not None:
            experiments.setdefault(old, []).append(name)
    [is_used] = database.execute("SELECT EXISTS (SELECT 1 FROM runs)").fetchone()
    moved = [
        old
        for old, names in experiments.items()
        if old.endswith(f"/{ARTIFACTS}")
        and (any((root / name).exists() for name in names) or not (is_used or _exists(old)))
    ]
    return Artifacts(root, moved)


def write_locations(database: sqlite3.Connection, artifacts: Artifacts) -> None:
    """Write down where artifacts are now, so that MLflow's own UI and clients find them."""
    new = artifact_location(artifacts.root)
    for old in artifacts.moved:
        for table, column in _LOCATIONS:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )


def finished_sweep(
    uri: str, experiment: str, sweep_digest: str, code_digest: str
) -> tuple[str, list[Recorded]] | None:
    """Find the newest sweep of these digests in an embedded store, if it is FINISHED.

    It is found without MLflow; whatever is not as it should be is left to who opens the store.

    Returns
    -------
    tuple
        Its run id and its runs, the newest first.
    """
    if not uri.startswith("sqlite"):
        return None
    path = database_path(uri)
    tables = find_tables(path, {"mode": "rw"}, experiment)
    same = {"bp.sweep_digest": sweep_digest, "bp.code_digest": code_digest, "bp.n_jobs": None}
    newest = next(iter(tables.find(same)), None) if tables else None
    if tables is None or newest is None or newest.status != "FINISHED":
        return None
    with closing(connect(path, {"mode": "rw"}, BUSY_DEADLINE)) as database:
        if find_artifacts(database, path).moved:  # MLflow is to be told where they are now
            return None
    return newest.run_id, tables.find({"mlflow.parentRunId": newest.run_id})


def experiment_names(uri: str) -> list[str]:
    """List the experiments of an embedded store; none of a server, which takes seconds to ask."""
    if not uri.startswith("sqlite"):
        return []
    with closing(connect(database_path(uri), {"mode": "ro"}, BUSY_DEADLINE)) as database:
        return [name for (name,) in database.execute(_NAMES_OF_EXPERIMENTS)]


def _by_run(rows: Iterable[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for run_id, key, value in rows:
        values.setdefault(run_id, {})[key] = math.nan if value is None else value
    return values


def _exists(location: str) -> bool:
    place = local_path(location)
    return place is not None and place.exists()
