"""The one writer to MLflow: sweeps, their runs, and the order of what is written.

What a run consists of is said in `ended_run.py`, how it is written in `format.py`, and where it
goes in `store.py`. On the embedded store `transaction.py` writes many runs at once. Elsewhere a run
is made RUNNING and set FINISHED by the last of its writes. So one that is still RUNNING when nobody
writes it any more is half written.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import format as names
from bp_pipeline.tracking import models, run_files, saved_view
from bp_pipeline.tracking.ended_run import (
    EndedRun,
    cut_to_tag,
    failed_run,
    time_before,
    trained_run,
)
from bp_pipeline.tracking.failures import TrackingError, failures_explained
from bp_pipeline.tracking.reader import Reader
from bp_pipeline.tracking.server import is_in_trouble
from bp_pipeline.tracking.store_tables import Recorded, of_mlflow

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_BATCH = 20  # runs in a transaction: 27 ms of SQLite for 20, where one at a time took 61
_WRITERS = 8  # runs that a server is sent at a time
_PATIENCE = 120.0  # seconds that a server may answer with errors, as while its database restarts
_PAUSE = 2.0  # seconds between two tries; MLflow's client has tried several times in each


class Writer(Reader):
    """One experiment of one store, open for writing, and for reading, until it is closed."""

    _to_write = True

    # ------------------------------------------------------------------------------------ sweeps

    @contextmanager
    def lock_sweep(self, digest: str, waiting: Callable[[], object]) -> Iterator[None]:
        """Be the one process of this machine that trains a sweep, or a map, of this digest.

        `waiting` is called where another one does, for whose end is waited then.
        """
        lock = self._store.sweep_lock(digest)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def unfinished(self, digest: str) -> Path:
        """Return the folder for what is trained of something that is not whole yet."""
        return self._store.unfinished / digest

    def start_sweep(
        self, name: str, frozen: run_files.FrozenSweep, configs: Sequence[RunConfig] = ()
    ) -> str:
        """Make the parent run of a sweep, with its frozen list of jobs; return its id.

        Parameters
        ----------
        name
            What the parent run is called.
        frozen
            What its `sweep.yaml` is to hold.
        configs
            Of its jobs, whose common values are its params.
        """
        tags = {names.SWEEP_DIGEST: frozen.sweep_digest, names.N_JOBS: str(len(frozen.jobs))}
        with self._recording(name, {**names.source_tags(), **tags}) as run:
            with self._new_artifacts(of_mlflow(run)) as folder:
                run_files.write_sweep(folder, frozen)
            self._client.log_batch(run.info.run_id, params=names.common_params(configs))
        return str(run.info.run_id)

    def resume_sweep(self, parent: Recorded, frozen: run_files.FrozenSweep) -> str:
        """Set a sweep RUNNING again; return its id.

        Its `sweep.yaml` is written once more, in case a kill came before it was there.
        """
        with self._writing("resume a sweep"):
            if self._store.transactions:
                self._store.transactions.remove_half_written()
            self._client.update_run(parent.run_id, "RUNNING")
            with self._new_artifacts(parent) as folder:
                run_files.write_sweep(folder, frozen)
        return parent.run_id

    def kill_half_written(self, parent_run_id: str) -> None:
        """Mark the runs of a sweep as KILLED that were begun anew, which happens on a server."""
        if self._store.transactions is None:
            self.kill_unfinished(self.runs_of(parent_run_id))

    def kill_unfinished(self, runs: Iterable[Recorded]) -> None:
        """Mark those of some runs as KILLED that are half written."""
        for run in runs:
            if run.status == "RUNNING":
                self.finish(run.run_id, "KILLED")

    def write_account(self, parent_run_id: str, account: names.Account) -> None:
        """Write into metrics and description of a sweep how its jobs have ended."""
        with self._writing("account for a sweep"):
            self._client.log_batch(parent_run_id, metrics=account.metrics())
            self._client.set_tag(parent_run_id, names.DESCRIPTION, str(account))

    def write_speed(self, parent_run_id: str, seconds: float, network_epochs: int) -> None:
        """Write how long a sweep's training and recording took, the last time there was any."""
        with self._writing("write a sweep's speed"):
            metrics = names.speed_metrics(seconds, network_epochs)
            self._client.log_batch(parent_run_id, metrics=metrics)

    def finish(self, run_id: str, status: names.Status) -> None:
        """End a run, most often a parent run."""
        with self._writing("end a run"):
            self._client.set_terminated(run_id, status)

    def abandon(self, sweep_digest: str, others: Container[str], account: names.Account) -> None:
        """End a sweep that was broken off: KILLED, as its half-written runs, and accounted for.

        It is whatever sweep of this digest is RUNNING, apart from some others: whoever broke it off
        may not have come to know its id.

        It raises nothing, because what broke the sweep off is to be told. What the store refuses
        stays undone until the sweep is resumed; all of it at once where a server has died, since
        each request to it would be tried again and again.
        """
        if not self._store.answers():
            return
        with suppress(TrackingError):
            for sweep in self.sweeps(sweep_digest):
                run_id = sweep.run_id
                if sweep.status == "RUNNING" and run_id not in others:
                    self.finish(run_id, "KILLED")
                    self.kill_unfinished(self.runs_of(run_id))
                    self.write_account(run_id, account)

    # -------------------------------------------------------------------------------------- runs

    @property
    def n_at_once(self) -> int:
        """How many runs had better be recorded together."""
        return _BATCH if self._store.transactions else _WRITERS

    @property
    def remark(self) -> str | None:
        """What to tell of how runs are recorded here, if anything."""
        if self._store.transactions:
            return None
        return f"Runs are recorded through MLflow's client here, {self._n_writers} at a time."

    def record_all(self, runs: Sequence[EndedRun]) -> list[str | Exception]:
        """Record ended runs, each whole or not at all.

        On the embedded store all are recorded in one transaction. Elsewhere MLflow's client records
        each on its own, and those that were recorded before the store failed stay.

        Returns
        -------
        list
            Of each run its id, or what went wrong with this run alone.
        """
        if self._store.transactions is None:
            stopped = threading.Event()
            with ThreadPoolExecutor(self._n_writers) as writers:
                recording = [
                    writers.submit(self._record_through_client, run, stopped) for run in runs
                ]
                try:
                    return [_id_or_error(future) for future in recording]
                finally:
                    stopped.set()
                    writers.shutdown(wait=False, cancel_futures=True)
        try:
            with self._writing(f"record {runs[0].name!r}"):
                return [*self._store.transactions.record(runs)]
        except TrackingError:
            raise
        except Exception as error:  # of one run: the others are to be recorded
            return [error] if len(runs) == 1 else [self.record_all([run])[0] for run in runs]

    def record(self, config: RunConfig, result: RunResult, *, seconds: float, **how: Any) -> str:
        """Record one run that began so long ago, else as `trained_run` takes it; return its id."""
        return self._record_one(trained_run(config, result, start_time=time_before(seconds), **how))

    def record_failure(self, config: RunConfig, error: BaseException, **how: Any) -> str:
        """Record one run that failed, as `failed_run` takes it; return its id."""
        return self._record_one(failed_run(config, error, **how))

    def record_files(
        self,
        config: RunConfig,
        write: Callable[[Path], None],
        metrics: "Sequence[Metric]",
        *,
        name: str,
        tags: Mapping[str, str],
        seconds: float,
        engine: str,
        cluster: Mapping[str, Any] | None = None,
    ) -> str:
        """Record what was trained, whole, whatever it consists of; return its id. It is FINISHED.

        Parameters
        ----------
        config
            What was trained.
        write
            Writes what came of it into a folder.
        metrics, tags
            What MLflow shows of it.
        name, seconds, engine, cluster
            What it is called, how long ago it began, what trained it, and where.
        """

        def write_files(folder: Path) -> None:
            run_files.write_config(folder, config)
            run_files.write_environment(folder, config, engine, cluster)
            write(folder)

        run = EndedRun(
            name=name,
            status="FINISHED",
            start_time=time_before(seconds),
            tags=tags,
            write_files=write_files,
            params=names.params(config),
            metrics=metrics,
            datasets=[names.dataset(config)],
        )
        return self._record_one(run)

    def _record_one(self, run: EndedRun) -> str:
        [recorded] = self.record_all([run])
        if isinstance(recorded, Exception):
            raise recorded
        return recorded

    @property
    def _n_writers(self) -> int:
        return 1 if self._store.uri.startswith("sqlite") else _WRITERS

    def _record_through_client(self, run: EndedRun, stopped: threading.Event) -> str:
        """Record a run; wait for a server in trouble, then begin anew, until it is to stop."""
        until = time.monotonic() + _PATIENCE
        while True:
            begun: list[str] = []
            try:
                return self._record_once(run, begun)
            except TrackingError as error:
                may_wait = is_in_trouble(error.__cause__) and time.monotonic() < until
                if not may_wait or stopped.wait(_PAUSE):
                    raise
            with suppress(Exception):  # it may have ended the run, and its answer was lost
                if begun and self._client.get_run(begun[0]).info.status == run.status:
                    return begun[0]

    def _record_once(self, run: EndedRun, begun: list[str]) -> str:
        with self._recording(run.name, run.tags, run.start_time) as made:
            begun.append(run_id := str(made.info.run_id))
            with self._new_artifacts(of_mlflow(made)) as folder:
                run.write_files(folder)
            self._client.log_batch(run_id, metrics=run.metrics, params=run.params)
            if run.datasets:
                self._client.log_inputs(run_id, datasets=run.datasets)
            self._client.set_terminated(run_id, run.status, run.end_time)
        return run_id

    # ------------------------------------------------------------------- what MLflow shows of them

    def log_report(self, parent_run_id: str, directory: Path) -> None:
        """Copy a folder's files to the sweep's artifacts, under `report/`."""
        with self._writing("log the report"):
            self._client.log_artifacts(parent_run_id, str(directory), "report")

    def log_comparison(self, parent_run_id: str, axes: Sequence[str], n_runs: int) -> None:
        """Write what MLflow's UI is to show of a sweep; `page_links` lead there.

        Parameters
        ----------
        parent_run_id
            The sweep.
        axes
            Config keys that span its grid: the columns beside the measures.
        n_runs
            How many runs it has.
        """
        with self._writing("write the comparison of runs"):
            parent = self._client.get_run(parent_run_id)
            known = self._client.get_experiment(self.experiment_id).tags
            tags = saved_view.tags(self.experiment_id, parent, axes, n_runs, known)
            for key, value in tags.items():
                self._client.set_experiment_tag(self.experiment_id, key, value)

    def register(
        self,
        network: models.TrainedNetwork,
        *,
        name: str,
        run_id: str,
        tags: Mapping[str, str],
        description: str = "",
    ) -> str:
        """Register a run's network as a model, unless it is there.

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
        description
            Which network it is, in words.

        Returns
        -------
        str
            The model's version.
        """
        with self._writing(f"register {name}"):
            return models.registered(self._client, name, tags) or models.register(
                self._client, network, name=name, run_id=run_id, tags=tags,
                description=description, served=self._store.is_served,
            )  # fmt: skip

    def champion(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Find the version of a model that alias `champion` points to, and what its run shows.

        None where there is none, or its run is gone.
        """
        with self._writing(f"find the champion of {name}"):
            version = models.champion(self._client, name)
            if version is None or version.run_id is None:
                return None
            run = self._client.get_run(version.run_id)
            is_there = run.info.lifecycle_stage == "active"
            return (str(version.version), names.as_row(of_mlflow(run))) if is_there else None

    def crown(self, name: str, version: str) -> None:
        """Point alias `champion` of a model to one of its versions."""
        with self._writing(f"crown version {version} of {name}"):
            self._client.set_registered_model_alias(name, models.ALIAS, version)

    def write_description(
        self, parent_run_id: str, finding: str, markdown: str, account: names.Account
    ) -> None:
        """Write the description of a sweep: what it found, links, its account, then a text.

        Three lines are seen: MLflow covers what is below until "Show more" is pressed.
        """
        links = self.page_links(parent_run_id)
        shown = {"charts": "Compare its runs", "table": "as a table", "report": "Read its report"}
        line = [f"[{text}]({links[page]})" for page, text in shown.items()]
        with self._writing("describe a sweep"):
            speed = names.speed_in_words(self._client.get_run(parent_run_id).data.metrics)
            parts = [f"{finding} {' · '.join(line)}", " ".join([str(account), *speed]), markdown]
            text = cut_to_tag("\n\n".join(parts), whole_lines=True)
            self._client.set_tag(parent_run_id, names.DESCRIPTION, text)

    def write_best(self, parent_run_id: str, measures: Mapping[str, float]) -> None:
        """Write the measures of a sweep's best setting as its own."""
        with self._writing("write a sweep's best setting"):
            self._client.log_batch(parent_run_id, metrics=names.metrics_at_once(measures))

    # ---------------------------------------------------------------------------------------- how

    @contextmanager
    def _recording(
        self, name: str, tags: Mapping[str, str], start_time: int | None = None
    ) -> "Iterator[Run]":
        """Make a run, that begins now by default; where that fails, leave none RUNNING."""
        with self._writing(f"record {name!r}"):
            run = self._client.create_run(
                self.experiment_id,
                start_time=start_time,
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
    def _new_artifacts(self, run: Recorded) -> Iterator[Path]:
        """Open a folder whose files become the run's artifacts.

        Where those are kept in a folder it is that one; a copy would double a large run's writes.
        """
        place = self._store.artifacts.path(run.artifact_uri)
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            yield place
            return
        with tempfile.TemporaryDirectory(prefix="bp_pipeline-") as folder:
            yield Path(folder)
            self._client.log_artifacts(run.run_id, folder)


def open_for_writing(uri: str | None, experiment: str) -> Writer:
    """Open a store to write to, and make what is missing.

    Parameters
    ----------
    uri
        `tracking.uri`; MLFLOW_TRACKING_URI, where set, wins.
    experiment
        MLflow's name of the experiment.

    Raises
    ------
    TrackingError
        Where it cannot be reached or written.
    """
    return Writer.open(uri, experiment)


def _id_or_error(recording: "Future[str]") -> str | Exception:
    try:
        return recording.result()
    except TrackingError:
        raise
    except Exception as error:  # of this run alone
        return error
