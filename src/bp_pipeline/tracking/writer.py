"""The one writer to MLflow, and the reader: sweeps, their runs, and the order of what is written.

Goes through `MlflowClient` throughout and leaves MLflow's global state, such as the active run,
alone. What a run consists of is said in `records.py`, where it goes in `store.py`.

A run is made RUNNING and set FINISHED by the last of its writes. So one that is still RUNNING when
nobody writes it any more is half written.
"""

import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from filelock import FileLock

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble.shards import RunResult
from bp_pipeline.tracking import format as records
from bp_pipeline.tracking import models as registry
from bp_pipeline.tracking import saved_view as comparison
from bp_pipeline.tracking.account import Account, Status
from bp_pipeline.tracking.failures import TrackingError, failures_explained
from bp_pipeline.tracking.store import Store, open_store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

AnyTracker = TypeVar("AnyTracker", bound="Tracker")

_DESCRIPTION = "mlflow.note.content"  # a tag
_LONGEST_TAG = 5000  # characters, the lowest limit among MLflow's stores
_PAGE = 1000  # runs asked for at a time
_READERS = 8  # runs whose files a server sends at a time: 240 runs in 11 s instead of 57
_YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster, where it is built


class Tracker:
    """One experiment of one store, open for writing.

    Every method raises `TrackingError` where the store fails it, and may be called in any thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client = store.client
        self._sweep_digests: dict[str, str] = {}
        self._artifact_uris: dict[str, str] = {}

    @classmethod
    def open(
        cls: type[AnyTracker], uri: str | None, experiment: str, *, create: bool = True
    ) -> AnyTracker:
        """Open a store, and where `create` says so make what is missing.

        Parameters
        ----------
        uri
            `tracking.uri`; MLFLOW_TRACKING_URI, where set, wins.
        experiment
            MLflow's name of the experiment.
        create
            Whether a store and an experiment that are not there are made.
        """
        return cls(open_store(uri, experiment, create=create))

    @property
    def uri(self) -> str:
        """Where runs are kept, as MLflow takes it: for `mlflow ui --backend-store-uri`."""
        return self._store.uri

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the experiment, as in the addresses of its UI."""
        return self._store.experiment_id

    @property
    def n_readers(self) -> int:
        """How many threads may well read `artifacts`: one where they lie in folders."""
        return _READERS if self.uri.startswith("http") else 1

    def close(self) -> None:
        """Let go of the store; nothing may be called after."""
        self._store.close()

    def start_sweep(self, name: str, jobs: Sequence[Mapping[str, Any]], sweep_digest: str) -> str:
        """Make the parent run of a sweep, with its frozen list of jobs as `sweep.yaml`.

        Parameters
        ----------
        name
            What the parent run is called.
        jobs
            Plain values, one mapping for each run.
        sweep_digest
            What the sweep is recognized by.

        Returns
        -------
        str
            Id of the parent run, which is RUNNING.
        """
        tags = {"bp.sweep_digest": sweep_digest, "bp.n_jobs": str(len(jobs))}
        with self._recording(name, {**records.source_tags(), **tags}) as run:
            self._write_jobs(run, jobs, sweep_digest)
        self._sweep_digests[run.info.run_id] = sweep_digest
        return str(run.info.run_id)

    def resume_sweep(self, parent_run_id: str, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Set a sweep RUNNING again, and its half-written runs KILLED.

        Its `sweep.yaml` is written once more, in case a kill came before it was there.
        """
        with self._writing("resume a sweep"):
            parent = self._client.get_run(parent_run_id)
            self._client.update_run(parent_run_id, "RUNNING")
            self._write_jobs(parent, jobs, parent.data.tags["bp.sweep_digest"])
        self.kill_unfinished(parent_run_id)

    def lock_sweep(self, sweep_digest: str) -> FileLock:
        """Give the lock that makes one process of this machine at a time the sweep's trainer."""
        return self._store.sweep_lock(sweep_digest)

    def account(self, parent_run_id: str) -> Account:
        """Count how a sweep's jobs have ended; tell it in metrics and description of the parent."""
        with failures_explained(self.uri, "read a sweep"):
            parent = self._client.get_run(parent_run_id)
        runs = self._attempts(parent_run_id)
        statuses = [run.info.status for run in runs]
        account = Account(
            expected=int(parent.data.tags["bp.n_jobs"]),
            finished=statuses.count("FINISHED"),
            failed=statuses.count("FAILED"),
        )
        with self._writing("account for a sweep"):
            metrics = records.account_metrics(account)
            self._client.log_batch(parent_run_id, metrics=metrics)
            self._client.set_tag(parent_run_id, _DESCRIPTION, str(account))
        return account

    def log_speed(self, parent_run_id: str, seconds: float, network_epochs: int) -> None:
        """Say how long a sweep's training and recording took, the last time there was any."""
        with self._writing("write a sweep's speed"):
            metrics = records.speed_metrics(seconds, network_epochs)
            self._client.log_batch(parent_run_id, metrics=metrics)

    def finished_jobs(self, parent_run_id: str) -> list[tuple[str, str]]:
        """List name and config digest of the runs of a sweep that have their result."""
        return [
            (run.info.run_name, run.data.tags["bp.config_digest"])
            for run in self._attempts(parent_run_id)
            if run.info.status == "FINISHED"
        ]

    def record(
        self,
        config: RunConfig,
        result: RunResult,
        *,
        name: str,
        parent_run_id: str | None,
        seconds: float,
        engine: str,
        colour: str | None = None,
    ) -> str:
        """Record a trained run, whole.

        Parameters
        ----------
        config, result
            What was trained, and what came of it.
        name
            What the run is called.
        parent_run_id
            The sweep it belongs to, if any.
        seconds
            How long training took; MLflow shows it as the run's duration.
        engine
            What trained it.
        colour
            In MLflow's charts, as in HTML; by default MLflow's own choice.

        Returns
        -------
        str
            Id of the run, which is FINISHED.
        """
        metrics = records.metrics(config, result)
        tags = {**self._tags(config, parent_run_id), "bp.result_digest": result.result_digest}
        tags |= {"mlflow.runColor": colour} if colour else {}
        with self._recording(name, tags, seconds) as run:
            with self._new_artifacts(run) as folder:
                records.write_config(folder, config)
                records.write_environment(folder, config, engine)
                records.write_result(folder, result)
            run_id = str(run.info.run_id)
            self._client.log_batch(run_id, metrics=metrics, params=records.params(config))
            self._client.log_inputs(run_id, datasets=[records.dataset(config)])
            self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def record_failure(
        self, config: RunConfig, error: BaseException, *, name: str, parent_run_id: str | None
    ) -> str:
        """Record a run that could not be trained, with its error; return its id. It is FAILED."""
        problem = f"{type(error).__name__}: {error}"[:_LONGEST_TAG]
        tags = {**self._tags(config, parent_run_id), "bp.error": problem}
        with self._recording(name, tags) as run:
            with self._new_artifacts(run) as folder:
                records.write_config(folder, config)
                report = "".join(traceback.format_exception(error))
                (folder / "error.txt").write_text(report, encoding="utf-8")
            run_id = str(run.info.run_id)
            self._client.log_batch(run_id, params=records.params(config))
            self._client.set_terminated(run_id, "FAILED")
        return run_id

    def finish(self, run_id: str, status: Status) -> None:
        """End a run, most often a parent run."""
        with self._writing("end a run"):
            self._client.set_terminated(run_id, status)

    def kill_unfinished(self, parent_run_id: str) -> int:
        """Mark the half-written runs of a sweep as KILLED; return how many there were."""
        found = self._search(f"{_is_child_of(parent_run_id)} AND attributes.status = 'RUNNING'")
        unfinished = [run.info.run_id for run in found]
        for run_id in unfinished:
            self.finish(run_id, "KILLED")
        return len(unfinished)

    def abandon(self, parent_run_id: str) -> None:
        """End a sweep that was broken off: KILLED, as its half-written runs, and accounted for.

        It raises nothing, because what broke the sweep off is to be told. What the store refuses
        stays undone until the sweep is resumed; all of it at once where a server has died, since
        each request to it would be tried again and again.
        """
        if not self._store.answers():
            return
        with suppress(TrackingError):
            self.kill_unfinished(parent_run_id)
            self.account(parent_run_id)
        with suppress(TrackingError):
            self.finish(parent_run_id, "KILLED")

    def log_report(self, parent_run_id: str, directory: Path) -> None:
        """Copy a folder's files to the sweep's artifacts, under `report/`."""
        with self._writing("log the report"):
            self._client.log_artifacts(parent_run_id, str(directory), "report")

    def log_comparison(self, parent_run_id: str, axes: Sequence[str], n_runs: int) -> None:
        """Write what MLflow's UI is to show of a sweep; `comparison.links` lead there.

        Parameters
        ----------
        parent_run_id
            The sweep.
        axes
            Config keys that span its grid: the columns beside the measures.
        n_runs
            How many runs it has.
        """
        view = comparison.view(parent_run_id, axes, n_runs)
        with self._writing("write the comparison of runs"):
            tags = {**comparison.EXPERIMENT_TAGS, comparison.VIEW_TAG + parent_run_id: view}
            for key, value in tags.items():
                self._client.set_experiment_tag(self.experiment_id, key, value)

    def links(self, parent_run_id: str) -> dict[str, str]:
        """Give a sweep's pages in MLflow's UI, relative to its address.

        `charts` and `table` compare its runs, `sweep` is the parent run, `report` its report.
        """
        return comparison.links(self.experiment_id, parent_run_id)

    def has_comparison(self, parent_run_id: str) -> bool:
        """Say whether MLflow's UI has been told what to show of a sweep."""
        with failures_explained(self.uri, "read the comparison of runs"):
            experiment = self._client.get_experiment(self.experiment_id)
        return comparison.VIEW_TAG + parent_run_id in experiment.tags

    def register(
        self, network: registry.Network, *, name: str, run_id: str, tags: Mapping[str, str]
    ) -> str:
        """Register a run's network as a model, unless it is there; point alias `champion` to it.

        Parameters
        ----------
        network
            What the model computes.
        name
            Of the registered model.
        run_id
            What trained it.
        tags
            What it is recognized by.

        Returns
        -------
        str
            The model's version.
        """
        with self._writing(f"register {name}"):
            served = self.uri.startswith("http")
            version = registry.registered(self._client, name, tags) or registry.register(
                self._client, network, name=name, run_id=run_id, tags=tags, served=served
            )
            self._client.set_registered_model_alias(name, registry.ALIAS, version)
            return version

    def describe(self, parent_run_id: str, markdown: str) -> None:
        """Write the description of a sweep: its account, links, and a text in Markdown."""
        links = self.links(parent_run_id)
        shown = {"charts": "Compare its runs", "table": "as a table", "report": "Read its report"}
        line = [f"[{text}]({links[page]})" for page, text in shown.items()]
        with self._writing("describe a sweep"):
            data = self._client.get_run(parent_run_id).data
            first = data.tags.get(_DESCRIPTION, "").partition("\n")[0]
            account = first.partition(" · ")[0]  # all of it, where only `account` has written
            # In one line, because MLflow covers what is below until "Show more" is pressed.
            line.extend(records.speed(data.metrics))
            text = " · ".join([account, *line]) + f"\n\n{markdown}"
            if len(text) > _LONGEST_TAG:
                text = text[: text.rindex("\n", 0, _LONGEST_TAG)]
            self._client.set_tag(parent_run_id, _DESCRIPTION, text)

    def sweeps(self, sweep_digest: str | None = None) -> list["Run"]:
        """Find all sweeps, or those of one digest, newest first.

        Returns
        -------
        list of mlflow.entities.Run
            The parent runs: those with the tag `bp.n_jobs`, which no other run has.
        """
        same = f" AND tags.`bp.sweep_digest` = '{sweep_digest}'" if sweep_digest else ""
        return list(self._search(f"tags.`bp.n_jobs` != ''{same}"))

    def find_sweep(self, run_id: str | None = None) -> "Run":
        """Find the parent run of a sweep, the newest by default.

        Parameters
        ----------
        run_id
            Its id, or as much of its beginning as no other sweep's has.

        Raises
        ------
        TrackingError
            Where there is no sweep yet, or not just one of this id.
        """
        found = [run for run in self.sweeps() if run.info.run_id.startswith(run_id or "")]
        if not found:
            problem = f"sweep {run_id!r}" if run_id else "sweep"
            raise TrackingError(
                f"There is no {problem} in {self.uri}. "
                "Without an id the newest is taken; `make sweep` makes one."
            )
        if run_id and len(found) > 1:
            raise TrackingError(
                f"`SWEEP` must be the id of one sweep, got {run_id!r}, with which {len(found)} "
                "begin. Add more of it."
            )
        return found[0]

    def load_runs(self, parent_run_id: str) -> "pd.DataFrame":
        """Read the runs of a sweep into a table.

        Returns
        -------
        DataFrame
            One row a job, ordered by name: its finished run, or else its newest attempt. Columns
            are `run_id`, `name`, `status`, params by their key, with numbers, true, false and null
            as such, metrics by their name, and tags that start with `bp.`. What a run lacks is
            missing in its row.
        """
        import pandas as pd

        rows = [records.row(run) for run in self._attempts(parent_run_id)]
        rows.sort(key=lambda row: (row["name"], row["run_id"]))
        return pd.DataFrame(rows, columns=None if rows else ["run_id", "name", "status"])

    def _attempts(self, parent_run_id: str) -> list["Run"]:
        """Find the runs of a sweep without those that a later attempt has replaced."""
        attempts: dict[tuple[str, str | None], list[Run]] = {}
        for run in self._search(_is_child_of(parent_run_id)):  # the newest first
            job = (run.info.run_name, run.data.tags.get("bp.config_digest"))
            attempts.setdefault(job, []).append(run)
        return [
            run
            for of_job in attempts.values()
            for run in [run for run in of_job if run.info.status == "FINISHED"] or of_job[:1]
        ]

    def _write_jobs(
        self, parent: "Run", jobs: Sequence[Mapping[str, Any]], sweep_digest: str
    ) -> None:
        frozen = {"sweep_digest": sweep_digest, "code_digest": code_digest(), "jobs": [*jobs]}
        text = yaml.dump(frozen, Dumper=_YAML_DUMPER, sort_keys=False, allow_unicode=True)
        with self._new_artifacts(parent) as folder:
            (folder / "sweep.yaml").write_text(text, encoding="utf-8")

    @contextmanager
    def artifacts(self, run_id: str, *names: str) -> Iterator[Path]:
        """Give a folder with a run's artifacts, to be read only, and only within the context.

        It is the store's own where that is a folder; where the artifacts are served, it is a copy,
        of these files alone where any are named. Files may be missing in it that were deleted or
        never written.
        """
        reading = f"read the artifacts of run {run_id}"
        if run_id not in self._artifact_uris:
            with failures_explained(self.uri, reading):
                self._artifact_uris[run_id] = self._client.get_run(run_id).info.artifact_uri
        place = Path(self._artifact_uris[run_id])
        if place.is_absolute():
            yield place
            return
        with tempfile.TemporaryDirectory(prefix="bp_pipeline-") as folder:
            with failures_explained(self.uri, reading):
                for name in self._present(run_id, names) if names else [""]:
                    place = Path(folder, name).parent if name else Path(folder)
                    place.mkdir(exist_ok=True)  # a single file goes in without its own folder
                    self._client.download_artifacts(run_id, name, str(place))
            yield Path(folder)

    def _present(self, run_id: str, names: Sequence[str]) -> list[str]:
        """List those of these artifacts that are there."""
        folders = dict.fromkeys(name.rpartition("/")[0] for name in names)
        listed = [self._client.list_artifacts(run_id, folder or None) for folder in folders]
        return [name for name in names if any(name == f.path for found in listed for f in found)]

    @contextmanager
    def _recording(
        self, name: str, tags: Mapping[str, str], seconds: float = 0.0
    ) -> Iterator["Run"]:
        """Make a run that was begun so many seconds ago; where that fails, leave none RUNNING."""
        with self._writing(f"record {name!r}"):
            run = self._client.create_run(
                self.experiment_id,
                start_time=int((time.time() - seconds) * 1000),
                tags=dict(tags),
                run_name=name,
            )
            try:
                yield run
            except BaseException as error:
                status = "FAILED" if isinstance(error, Exception) else "KILLED"
                with suppress(Exception):  # the first error is the one to tell
                    if self._store.answers():
                        self._client.set_terminated(run.info.run_id, status)
                raise

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        with failures_explained(self.uri, doing), self._store.lock:
            yield

    @contextmanager
    def _new_artifacts(self, run: "Run") -> Iterator[Path]:
        """Give a folder whose files become the run's artifacts.

        Where those are kept in a folder it is that one; a copy would double a large run's writes.
        """
        place = Path(run.info.artifact_uri)
        if place.is_absolute():
            place.mkdir(parents=True, exist_ok=True)
            yield place
            return
        with tempfile.TemporaryDirectory(prefix="bp_pipeline-") as folder:
            yield Path(folder)
            self._client.log_artifacts(run.info.run_id, folder)

    def _tags(self, config: RunConfig, parent_run_id: str | None) -> dict[str, str]:
        tags = {**records.source_tags(), "bp.config_digest": config.config_digest}
        if parent_run_id is not None:
            tags["mlflow.parentRunId"] = parent_run_id
            tags["bp.sweep_digest"] = self._sweep_digest(parent_run_id)
        return tags

    def _sweep_digest(self, parent_run_id: str) -> str:
        if parent_run_id not in self._sweep_digests:
            with failures_explained(self.uri, "find the sweep"):
                parent = self._client.get_run(parent_run_id)
            self._sweep_digests[parent_run_id] = parent.data.tags["bp.sweep_digest"]
        return self._sweep_digests[parent_run_id]

    def _search(self, condition: str) -> Iterator["Run"]:
        token = None
        while True:
            with failures_explained(self.uri, "read runs"):
                page = self._client.search_runs(
                    [self.experiment_id],
                    condition,
                    max_results=_PAGE,
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
            # Each run on its own costs milliseconds; a report reads the artifacts of hundreds.
            self._artifact_uris |= {run.info.run_id: run.info.artifact_uri for run in page}
            yield from page
            token = page.token
            if not token:
                return


def _is_child_of(run_id: str) -> str:
    return f"tags.`mlflow.parentRunId` = '{run_id}'"
