"""Many ended runs in one transaction: into MLflow's own tables, as its store does.

MLflow's client writes a run in a dozen transactions and one row at a time through the ORM, which
takes most of a sweep's time. Here the same rows of many runs are inserted together, after their
files. So a run is there whole or not at all: a journal beside the database names the runs whose
files are being written, and files without a row are removed by it.

This is used on databases of those schema revisions alone that it was tested with, as
`store_tables.py` names them; what MLflow's client would have written is what a test compares.
"""

import re
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bp_pipeline.tracking.ended_run import EndedRun
from bp_pipeline.tracking.store_tables import mlflow_tables

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from sqlalchemy import Connection, Engine

_RUN_ID = re.compile("[0-9a-f]{32}")
_Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Transactions:
    """A database whose tables are known, and where its files are.

    Attributes
    ----------
    engine
        Of the database.
    experiment_id
        MLflow's id of the experiment.
    location, artifacts
        The experiment's folder, as MLflow names it and as it is: that of a run's artifacts is
        `<run id>/artifacts` in it.
    journal
        Names the runs that are being written. It is there as long as they are.
    """

    engine: "Engine"
    experiment_id: str
    location: str
    artifacts: Path
    journal: Path

    def record(self, runs: Sequence[EndedRun]) -> list[str]:
        """Record all of some runs, or none where anything fails; return their ids."""
        self.remove_half_written()
        recorded = {_new_run_id(): run for run in runs}
        try:
            self.journal.write_text("".join(f"{run_id}\n" for run_id in recorded))
            for run_id, run in recorded.items():
                folder = self._folder(run_id) / "artifacts"
                folder.mkdir(parents=True)
                run.write_files(folder)
            with self.engine.begin() as connection:
                self._insert(connection, recorded)
        finally:
            self.remove_half_written()
        return [*recorded]

    def remove_half_written(self) -> None:
        """Remove the files of runs that were broken off before their rows were there."""
        from sqlalchemy import select

        if not self.journal.exists():
            return
        begun = _RUN_ID.findall(self.journal.read_text())
        run_id_column = mlflow_tables()["runs"].c.run_uuid
        whole = select(run_id_column).where(run_id_column.in_(begun))
        with self.engine.connect() as connection:
            recorded = {*connection.scalars(whole)}
        for run_id in {*begun} - recorded:
            shutil.rmtree(self._folder(run_id), ignore_errors=True)
        self.journal.unlink()

    def _folder(self, run_id: str) -> Path:
        return self.artifacts / run_id

    def _insert(self, connection: "Connection", runs: Mapping[str, EndedRun]) -> None:
        end_time = int(time.time() * 1000)
        points = [_metric_rows(*run) for run in runs.items()]
        rows: list[tuple[str, _Rows]] = [
            ("runs", [self._run_row(*run, end_time) for run in runs.items()]),
            ("tags", [row for run in runs.items() for row in _tag_rows(*run)]),
            ("params", [row for run in runs.items() for row in _param_rows(*run)]),
            ("metrics", [row for of_run in points for row in of_run]),
            ("latest_metrics", [row for of_run in points for row in _latest(of_run)]),
        ]
        tables = mlflow_tables()
        for table, some in [*rows, *self._input_rows(connection, runs)]:
            if some:
                connection.execute(tables[table].insert(), some)

    def _run_row(self, run_id: str, run: EndedRun, end_time: int) -> dict[str, Any]:
        return {
            "run_uuid": run_id,
            "name": run.name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "user_id": run.tags.get("mlflow.user", "unknown"),
            "status": run.status,
            "start_time": run.start_time,
            "end_time": end_time if run.end_time is None else run.end_time,
            "lifecycle_stage": "active",
            "artifact_uri": f"{self.location}/{run_id}/artifacts",
            "experiment_id": int(self.experiment_id),
        }

    def _input_rows(
        self, connection: "Connection", runs: Mapping[str, EndedRun]
    ) -> list[tuple[str, _Rows]]:
        """Return rows of datasets that are new, of which run has which, and of the tags of that."""
        used = [(run_id, dataset) for run_id, run in runs.items() for dataset in run.datasets]
        known = self._known_datasets(connection, (dataset for _, dataset in used))
        new, inputs, tags = dict[str, Any](), _Rows(), _Rows()
        for run_id, given in used:
            dataset = given.dataset
            key = dataset.name, dataset.digest
            if key not in known:
                known[key] = uuid.uuid4().hex
                new[known[key]] = {
                    "dataset_uuid": known[key],
                    "experiment_id": int(self.experiment_id),
                    "name": dataset.name,
                    "digest": dataset.digest,
                    "dataset_source_type": dataset.source_type,
                    "dataset_source": dataset.source,
                    "dataset_schema": dataset.schema,
                    "dataset_profile": dataset.profile,
                }
            input_id = uuid.uuid4().hex
            source = {"source_type": "DATASET", "source_id": known[key]}
            run = {"destination_type": "RUN", "destination_id": run_id}
            inputs.append({"input_uuid": input_id, **source, **run})
            tags.extend(
                {"input_uuid": input_id, "name": tag.key, "value": tag.value} for tag in given.tags
            )
        return [("datasets", [*new.values()]), ("inputs", inputs), ("input_tags", tags)]

    def _known_datasets(
        self, connection: "Connection", used: "Iterable[DatasetInput]"
    ) -> dict[tuple[str, str], str]:
        from sqlalchemy import select

        digests = {given.dataset.digest for given in used}
        column = mlflow_tables()["datasets"].c
        known = select(column.name, column.digest, column.dataset_uuid).where(
            column.experiment_id == int(self.experiment_id), column.digest.in_(digests)
        )
        return {(name, digest): known_id for name, digest, known_id in connection.execute(known)}


def _new_run_id() -> str:
    """Return an id as MLflow's, that begins with the time: so indices grow at their ends alone."""
    return f"{int(time.time() * 1000):012x}{uuid.uuid4().hex[12:]}"


def _tag_rows(run_id: str, run: EndedRun) -> _Rows:
    tags = {**run.tags, "mlflow.runName": run.name}
    return [{"run_uuid": run_id, "key": key, "value": value} for key, value in tags.items()]


def _param_rows(run_id: str, run: EndedRun) -> _Rows:
    return [{"run_uuid": run_id, "key": one.key, "value": one.value} for one in run.params]


def _metric_rows(run_id: str, run: EndedRun) -> _Rows:
    return [
        {
            "run_uuid": run_id,
            "key": metric.key,
            "value": metric.value,
            "timestamp": metric.timestamp,
            "step": metric.step,
            "is_nan": False,  # what is not finite is left out of a run's metrics
        }
        for metric in run.metrics
    ]


def _latest(of_run: _Rows) -> _Rows:
    """Return the row of each of a run's metrics that MLflow shows where it shows one value."""
    latest: dict[str, dict[str, Any]] = {}
    for row in of_run:
        latest[row["key"]] = max(latest.get(row["key"], row), row, key=_recency)
    return [*latest.values()]


def _recency(row: dict[str, Any]) -> tuple[int, int, float]:
    return row["step"], row["timestamp"], row["value"]
