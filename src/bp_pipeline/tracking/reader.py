"""The reader of MLflow: sweeps, their runs, and the files of a run.

Owns how sweeps and runs are found. It takes no lock and writes nothing, so that somebody else's
store can be read. Where the tables of an embedded store are known it goes without MLflow, which
takes seconds to import; elsewhere through `MlflowClient`, and leaves MLflow's global state alone.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from bp_pipeline.tracking import format as names
from bp_pipeline.tracking import saved_view
from bp_pipeline.tracking.failures import TrackingError, failures_explained
from bp_pipeline.tracking.store import A_SWEEP, Store, open_store
from bp_pipeline.tracking.store_tables import Points, Recorded, of_mlflow

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

AnyReader = TypeVar("AnyReader", bound="Reader")

_PAGE = 1000  # runs asked for at a time
_NAMED = 3  # ids in a message
_READERS = 8  # runs whose files a server sends at a time: 240 runs in 11 s instead of 57


class Reader:
    """One experiment of one store, open for reading until it is closed.

    Every method raises `TrackingError` where the store fails it, and may be called in any thread.
    """

    _to_write = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._artifact_uris: dict[str, str] = {}

    @cached_property
    def _client(self) -> "MlflowClient":
        return self._store.make_client()

    @classmethod
    def open(cls: type[AnyReader], uri: str | None, experiment: str) -> AnyReader:
        """Open a store; `open_for_reading` and `open_for_writing` say more."""
        return cls(open_store(uri, experiment, to_write=cls._to_write))

    def __enter__(self: AnyReader) -> AnyReader:
        """Be what a `with` statement closes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the store; nothing may be asked of it after."""
        self._store.close()

    @property
    def uri(self) -> str:
        """Where runs are kept, as MLflow takes it: for `mlflow ui --backend-store-uri`."""
        return self._store.uri

    @property
    def is_moved(self) -> bool:
        """Whether MLflow's own UI would not find the artifacts before somebody has written."""
        return self._store.is_moved

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the experiment, as in the addresses of its UI."""
        return self._store.experiment_id

    @property
    def n_readers(self) -> int:
        """How many threads may well read `artifacts`: one where they lie in folders."""
        return _READERS if self._store.is_served else 1

    def sweeps(self, sweep_digest: str | None = None) -> list[Recorded]:
        """Find all sweeps, or those of one digest, newest first: the parent runs."""
        return self._find({names.N_JOBS: None, names.SWEEP_DIGEST: sweep_digest})

    def find_sweep(self, name: str | None = None) -> Recorded:
        """Find the parent run of a sweep.

        Parameters
        ----------
        name
            Its run id, its digest or its name, or the beginning of one of these that fits no other
            sweep; the newest sweep by default.

        Raises
        ------
        TrackingError
            Where there is no sweep yet, or not just one of this name.
        """
        if name is None:
            found = self.sweeps()[:1]
        else:
            found = _called(name, self.sweeps())
        if not found:
            problem = "sweep" if name is None else f"sweep {name!r}"
            raise TrackingError(
                f"There is no {problem} in {self.uri}. "
                f"`bp list` names those that there are. {A_SWEEP}"
            )
        if len(found) > 1:
            raise TrackingError(
                f"`SWEEP` must fit one sweep, got {name!r}, which fits {len(found)}. "
                f"Take an id: {_some_ids(found)}"
            )
        return found[0]

    def find_of_kind(self, kind: str, name: str | None = None) -> Recorded:
        """Find a finished run of a kind that is no sweep's, by its tag `KIND`.

        Parameters
        ----------
        kind
            The tag's value, such as `map`.
        name
            Its run id, its digest or its name, or the beginning of one of these that fits no
            other; the newest by default.

        Raises
        ------
        TrackingError
            Where there is no such run, or not just one.
        """
        found = self.all_of_kind(kind, name)
        if not found:
            wanted = kind if name is None else f"{kind} {name!r}"
            raise TrackingError(f"There is no {wanted} in {self.uri}. `bp {kind}` makes one.")
        if name is not None and len(found) > 1:
            raise TrackingError(
                f"`RUN` must fit one {kind}, got {name!r}, which fits {len(found)}. "
                f"Take an id: {_some_ids(found)}"
            )
        return found[0]

    def is_of_kind(self, kind: str, name: str) -> bool:
        """Whether finished runs of this kind, and no sweeps, are called so.

        Raises
        ------
        TrackingError
            Where both are.
        """
        found = _called(name, [*self.all_of_kind(kind), *self.sweeps()])
        kinds = {run.tags.get(names.KIND) for run in found}
        if len(kinds) > 1:
            raise TrackingError(
                f"`SWEEP` must fit one sweep or {kind}, got {name!r}, which fits both. "
                f"Take an id: {_some_ids(found)}"
            )
        return kinds == {kind}

    def all_of_kind(self, kind: str, name: str | None = None) -> list[Recorded]:
        """Find the finished runs of a kind, those that are called so or all, newest first."""
        found = _finished(self._find({names.KIND: kind}, with_values=True))
        return found if name is None else _called(name, found)

    def find_same(self, config_digest: str, code_digest: str) -> Recorded | None:
        """Find the newest finished run of a config that this very code has trained."""
        same = {names.CONFIG_DIGEST: config_digest, names.CODE_DIGEST: code_digest}
        return next(iter(_finished(self._find(same))), None)

    def runs_of(self, parent_run_id: str, *, with_values: bool = False) -> list[Recorded]:
        """Find all runs of a sweep, newest first, also those that a later attempt has replaced.

        With their params and metrics, if `with_values` asks for them.
        """
        return self._find({names.PARENT: parent_run_id}, with_values=with_values)

    def run(self, run_id: str) -> Recorded | None:
        """Read a run of any experiment, also one that was deleted; None where there is none."""
        with failures_explained(self.uri, f"find run {run_id}"):
            if self._store.tables is not None:
                return self._store.tables.run(run_id)
            from mlflow.exceptions import MlflowException

            try:
                return of_mlflow(self._client.get_run(run_id))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                return None

    @property
    def knows_tables(self) -> bool:
        """Whether many values are read at once, and not one by one through MLflow."""
        return self._store.tables is not None

    @contextmanager
    def points(self) -> Iterator[Callable[[str], Points]]:
        """Yield what reads every step of a run's metrics, for one run after another.

        Where MLflow is asked, it reads those of `format.METRICS` alone.
        """
        read: Callable[[str], Points] = self._histories
        tables = self._store.tables
        with ExitStack() as opened:
            if tables is not None:
                with failures_explained(self.uri, "read metrics"):
                    read = opened.enter_context(tables.points())

            def read_or_explain(run_id: str) -> Points:
                with failures_explained(self.uri, f"read the metrics of run {run_id}"):
                    return read(run_id)

            yield read_or_explain

    def _histories(self, run_id: str) -> Points:
        return {
            name: [
                (point.step, point.value) for point in self._client.get_metric_history(run_id, name)
            ]
            for name in names.METRICS
        }

    def load_runs(self, parent_run_id: str) -> "pd.DataFrame":
        """Read the runs of a sweep into a table, one a job; `format.runs_table` has its columns."""
        return names.runs_table(latest_attempts(self.runs_of(parent_run_id, with_values=True)))

    @contextmanager
    def artifacts(self, run_id: str, *files: str) -> Iterator[Path]:
        """Open a folder with a run's artifacts, to be read only, and only within the context.

        Parameters
        ----------
        run_id
            Whose artifacts.
        files
            Which ones; all by default.

        Yields
        ------
        Path
            The store's own folder where it is one, in which files may be missing that were deleted
            or never written, and others may be; where artifacts are served, a copy.
        """
        if run_id not in self._artifact_uris:
            run = self.run(run_id)
            if run is None:
                raise TrackingError(f"There is no run {run_id!r} in {self.uri}.")
            self._artifact_uris[run_id] = run.artifact_uri
        place = self._store.artifacts.path(self._artifact_uris[run_id])
        if place is not None:
            yield place
            return
        with tempfile.TemporaryDirectory(prefix="bp_pipeline-") as folder:
            with failures_explained(self.uri, f"read the artifacts of run {run_id}"):
                self._download(run_id, files, folder)
            yield Path(folder)

    def _download(self, run_id: str, files: Sequence[str], folder: str) -> None:
        """Copy those of some files that there are, or all."""
        if not files:
            self._client.download_artifacts(run_id, "", folder)
        for parent in {Path(file).parent.as_posix() for file in files}:
            listed = self._client.list_artifacts(run_id, None if parent == "." else parent)
            place = Path(folder, parent)
            place.mkdir(exist_ok=True)
            for file in {entry.path for entry in listed}.intersection(files):
                self._client.download_artifacts(run_id, file, str(place))

    def has_comparison(self, parent_run_id: str) -> bool:
        """Whether MLflow's UI has been told what to show of a sweep."""
        key = saved_view.VIEW_TAG + parent_run_id
        with failures_explained(self.uri, "read the comparison of runs"):
            if self._store.tables is not None:
                return self._store.tables.has_tag(key)
            return key in self._client.get_experiment(self.experiment_id).tags

    def page_links(self, parent_run_id: str) -> dict[str, str]:
        """Return a sweep's pages in MLflow's UI, relative to its address.

        `charts` and `table` compare its runs, `sweep` is the parent run, `report` its report.
        """
        return saved_view.page_links(self.experiment_id, parent_run_id)

    def _find(self, tags: Mapping[str, str | None], *, with_values: bool = False) -> list[Recorded]:
        """Find the runs that have some tags, newest first; None stands for any value."""
        with failures_explained(self.uri, "read runs"):
            if self._store.tables is not None:
                found = self._store.tables.find(tags, with_values=with_values)
            else:
                found = [*self._search(tags)]
        # Each run on its own costs milliseconds; a report reads the artifacts of hundreds.
        self._artifact_uris |= {run.run_id: run.artifact_uri for run in found}
        return found

    def _search(self, tags: Mapping[str, str | None]) -> Iterator[Recorded]:
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id],
                " AND ".join(
                    f"tags.`{key}` != ''" if value is None else f"tags.`{key}` = '{value}'"
                    for key, value in tags.items()
                ),
                max_results=_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from map(of_mlflow, page)
            token = page.token
            if not token:
                return


def open_for_reading(uri: str | None, experiment: str) -> Reader:
    """Open a store to read what is there, without a lock and without writing anything.

    Parameters
    ----------
    uri
        `tracking.uri`; MLFLOW_TRACKING_URI, where set, wins.
    experiment
        MLflow's name of the experiment.

    Raises
    ------
    NothingYet
        Where there is no such store or experiment.
    TrackingError
        Where it cannot be read.
    """
    return Reader.open(uri, experiment)


def latest_attempts(runs: Sequence[Recorded]) -> list[Recorded]:
    """Leave out of a sweep's runs, the newest first, those that a later attempt has replaced."""
    attempts: dict[tuple[str, str | None], list[Recorded]] = {}
    for run in runs:
        job = (run.name, run.tags.get(names.CONFIG_DIGEST))
        attempts.setdefault(job, []).append(run)
    return [
        run
        for of_job in attempts.values()
        for run in [run for run in of_job if run.status == "FINISHED"] or of_job[:1]
    ]


def _called(name: str, runs: Sequence[Recorded]) -> list[Recorded]:
    """Find the runs, sweeps or maps, of this id, digest or name, else those for which it begins so.

    An empty text is no name.
    """
    known = [(run, _names_of(run)) for run in runs if name]
    return [run for run, of_run in known if name in of_run] or [
        run for run, of_run in known if any(one.startswith(name) for one in of_run)
    ]


def _names_of(run: Recorded) -> tuple[str, str, str]:
    digest = run.tags.get(names.SWEEP_DIGEST) or run.tags[names.CONFIG_DIGEST]
    return run.run_id, digest, run.name


def _some_ids(runs: Sequence[Recorded]) -> str:
    """Write ids whole: those of runs that were recorded together begin alike."""
    ids = ", ".join(run.run_id for run in runs[:_NAMED])
    return f"{ids}, …" if len(runs) > _NAMED else ids


def _finished(runs: Sequence[Recorded]) -> list[Recorded]:
    return [run for run in runs if run.status == "FINISHED"]
