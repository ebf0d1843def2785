"""The one writer to MLflow: sweeps, their runs, and the order of what is written.

What a run consists of is said in `format.py`, where it goes in `store.py`. A run is made RUNNING
and set FINISHED by the last of its writes. So one that is still RUNNING when nobody writes it any
more is half written.
"""

import tempfile
import time
import traceback
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import format as names
from bp_pipeline.tracking import models, saved_view
from bp_pipeline.tracking.failures import TrackingError, failures_explained
from bp_pipeline.tracking.reader import Reader

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run


class Writer(Reader):
    """One experiment of one store, open for writing, and for reading, until it is closed."""

    _to_write = True

    # ------------------------------------------------------------------------------------ sweeps

    def lock_sweep(self, sweep_digest: str) -> FileLock:
        """Return the lock that makes one process of this machine at a time the sweep's trainer."""
        return self._store.sweep_lock(sweep_digest)

    def unfinished(self, digest: str) -> Path:
        """Return the folder for what is trained of something that is not whole yet."""
        return self._store.unfinished / digest

    def start_sweep(self, name: str, frozen: names.FrozenSweep) -> str:
        """Make the parent run of a sweep, with its frozen list of jobs; return its id.

        Parameters
        ----------
        name
            What the parent run is called.
        frozen
            What its `sweep.yaml` is to hold.
        """
        tags = {names.SWEEP_DIGEST: frozen.sweep_digest, names.N_JOBS: str(len(frozen.jobs))}
        with self._recording(name, {**names.source_tags(), **tags}) as run:
            with self._new_artifacts(run) as folder:
                names.write_sweep(folder, frozen)
        return str(run.info.run_id)

    def resume_sweep(self, parent: "Run", frozen: names.FrozenSweep) -> str:
        """Set a sweep RUNNING again; return its id.

        Its `sweep.yaml` is written once more, in case a kill came before it was there.
        """
        with self._writing("resume a sweep"):
            self._client.update_run(parent.info.run_id, "RUNNING")
            with self._new_artifacts(parent) as folder:
                names.write_sweep(folder, frozen)
        return str(parent.info.run_id)

    def kill_unfinished(self, runs: "Iterable[Run]") -> None:
        """Mark those of some runs as KILLED that are half written."""
        for run in runs:
            if run.info.status == "RUNNING":
                self.finish(run.info.run_id, "KILLED")

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
                run_id = sweep.info.run_id
                if sweep.info.status == "RUNNING" and run_id not in others:
                    self.finish(run_id, "KILLED")
                    self.kill_unfinished(self.runs_of(run_id))
                    self.write_account(run_id, account)

    # -------------------------------------------------------------------------------------- runs

    def record(
        self,
        config: RunConfig,
        result: RunResult,
        *,
        name: str,
        sweep: tuple[str, str] | None,
        seconds: float,
        engine: str,
        colour: str | None = None,
    ) -> str:
        """Record a trained run, whole; return its id. It is FINISHED.

        Parameters
        ----------
        config, result
            What was trained, and what came of it.
        name
            What the run is called.
        sweep
            Run id and digest of the sweep it belongs to, if any.
        seconds
            How long training took; MLflow shows it as the run's duration.
        engine
            What trained it.
        colour
            In MLflow's charts, as in HTML; by default MLflow's own choice.
        """
        tags = {**names.run_tags(config, sweep), names.RESULT_DIGEST: result.result_digest}
        return self.record_files(
            config,
            partial(names.write_result, result=result),
            names.metrics(config, result),
            name=name,
            tags={**tags, names.COLOUR: colour} if colour else tags,
            seconds=seconds,
            engine=engine,
        )

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
        name, seconds, engine
            As in `record`.
        """
        with self._recording(name, tags, seconds) as run:
            with self._new_artifacts(run) as folder:
                names.write_config(folder, config)
                names.write_environment(folder, config, engine)
                write(folder)
            run_id = str(run.info.run_id)
            self._client.log_batch(run_id, metrics=metrics, params=names.params(config))
            self._client.log_inputs(run_id, datasets=[names.dataset(config)])
            self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def record_failure(
        self, config: RunConfig, error: BaseException, *, name: str, sweep: tuple[str, str] | None
    ) -> str:
        """Record a run that could not be trained, with its error; return its id. It is FAILED."""
        problem = _cut(f"{type(error).__name__}: {error}")
        tags = {**names.run_tags(config, sweep), names.ERROR: problem}
        with self._recording(name, tags) as run:
            with self._new_artifacts(run) as folder:
                names.write_config(folder, config)
                report = "".join(traceback.format_exception(error))
                (folder / "error.txt").write_text(report, encoding="utf-8")
            run_id = str(run.info.run_id)
            self._client.log_batch(run_id, params=names.params(config))
            self._client.set_terminated(run_id, "FAILED")
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
            tags = saved_view.tags(parent, axes, n_runs, known)
            for key, value in tags.items():
                self._client.set_experiment_tag(self.experiment_id, key, value)

    def register(
        self, network: models.TrainedNetwork, *, name: str, run_id: str, tags: Mapping[str, str]
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
            version = models.registered(self._client, name, tags) or models.register(
                self._client, network, name=name, run_id=run_id, tags=tags,
                served=self._store.is_served,
            )  # fmt: skip
            self._client.set_registered_model_alias(name, models.ALIAS, version)
            return version

    def write_description(self, parent_run_id: str, markdown: str) -> None:
        """Write the description of a sweep: its account, links, and a text in Markdown."""
        links = self.page_links(parent_run_id)
        shown = {"charts": "Compare its runs", "table": "as a table", "report": "Read its report"}
        line = [f"[{text}]({links[page]})" for page, text in shown.items()]
        with self._writing("describe a sweep"):
            data = self._client.get_run(parent_run_id).data
            first = data.tags.get(names.DESCRIPTION, "").partition("\n")[0]
            account = first.partition(" · ")[0]  # all of it, where only the account is written
            # In one line, because MLflow covers what is below until "Show more" is pressed.
            line.extend(names.speed_in_words(data.metrics))
            text = _cut(" · ".join([account, *line]) + f"\n\n{markdown}", whole_lines=True)
            self._client.set_tag(parent_run_id, names.DESCRIPTION, text)

    # ---------------------------------------------------------------------------------------- how

    @contextmanager
    def _recording(
        self, name: str, tags: Mapping[str, str], seconds: float = 0.0
    ) -> "Iterator[Run]":
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
        """Open a folder whose files become the run's artifacts.

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


def _cut(text: str, *, whole_lines: bool = False) -> str:
    """Shorten a text to what MLflow takes as a tag's value."""
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

    if len(text) <= MAX_TAG_VAL_LENGTH:
        return text
    return text[: text.rindex("\n", 0, MAX_TAG_VAL_LENGTH) if whole_lines else MAX_TAG_VAL_LENGTH]
