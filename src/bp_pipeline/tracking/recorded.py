"""A run as a store has it, without its files, and the runs of a sweep read from the store's tables.

MLflow's client makes objects of every param, metric and tag of a run, which takes milliseconds a
run. Where the tables are known, as `transaction.py` writes them, they are read as they are, and
only what is asked for. A test compares what either reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlflow.entities import Run
    from sqlalchemy import Engine, Select


class Recorded(NamedTuple):
    """A run as the store has it, without its files; without params and metrics if not asked for."""

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str] = {}
    metrics: Mapping[str, float] = {}
    artifact_uri: str = ""


def of_mlflow(run: "Run", *, with_values: bool = False) -> Recorded:
    """Return what MLflow's client has found, with params and metrics if they are asked for."""
    info, data = run.info, run.data
    values = (data.params, data.metrics) if with_values else ({}, {})
    return Recorded(info.run_id, info.run_name, info.status, data.tags, *values, info.artifact_uri)


@dataclass(frozen=True)
class Tables:
    """A database whose tables are known, to be read.

    Attributes
    ----------
    engine
        Of the database.
    experiment_id
        MLflow's id of the experiment.
    """

    engine: "Engine"
    experiment_id: str

    def runs_tagged(self, key: str, value: str, *, with_values: bool) -> list[Recorded]:
        """Read the runs that have a tag, the newest first, as MLflow's search finds them.

        Parameters
        ----------
        key, value
            The tag.
        with_values
            Whether to read params and metrics as well.
        """
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag
        from sqlalchemy import case, null, select

        run, tag, param, metric = (
            model.__table__.c for model in (SqlRun, SqlTag, SqlParam, SqlLatestMetric)
        )
        tagged = select(tag.run_uuid).where(tag.key == key, tag.value == value)
        mine = (run.lifecycle_stage == "active") & (run.experiment_id == int(self.experiment_id))
        runs = (
            select(run.run_uuid, run.name, run.status, run.artifact_uri)
            .where(run.run_uuid.in_(tagged), mine)
            .order_by(run.start_time.desc(), run.run_uuid)
        )
        number = case((metric.is_nan, null()), else_=metric.value)
        queries = [
            select(tag.run_uuid, tag.key, tag.value).where(tag.run_uuid.in_(tagged)),
            select(param.run_uuid, param.key, param.value).where(param.run_uuid.in_(tagged)),
            select(metric.run_uuid, metric.key, number).where(metric.run_uuid.in_(tagged)),
        ]
        tags, params, metrics = (
            self._by_run(query) if with_values or n == 0 else {} for n, query in enumerate(queries)
        )
        with self.engine.connect() as connection:
            found = connection.execute(runs).all()
        return [
            Recorded(
                run_id, name, status, tags.get(run_id, {}), params.get(run_id, {}),
                metrics.get(run_id, {}), uri,
            )
            for run_id, name, status, uri in found
        ]  # fmt: skip

    def _by_run(self, query: "Select[Any]") -> dict[str, dict[str, Any]]:
        values: dict[str, dict[str, Any]] = {}
        with self.engine.connect() as connection:
            for run_id, key, value in connection.execute(query):
                values.setdefault(run_id, {})[key] = float("nan") if value is None else value
        return values
