"""A sweep as tidy tables: its runs, their replicates, their loss curves, and the files of a run.

Owns reading. What is concluded from it is said in the other modules; how MLflow keeps it, in
`tracking/`.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import yaml

from bp_pipeline.arrays import read_arrays
from bp_pipeline.config.naming import ALWAYS, varied_keys
from bp_pipeline.config.schema import RunConfig, parse_config
from bp_pipeline.ensemble.summary import DECILES, quantiles
from bp_pipeline.report.ordering import sorted_rows
from bp_pipeline.report.text import plain
from bp_pipeline.tracking import Tracker

LEARNING_RATE = ALWAYS[2]
_DESCRIBED = ("run_id", "name", "status")
_REPLICATES = ("replicate", "outcome", "epochs_to_converge", "final_loss")
_CURVES = ("epoch", "loss/p10", "loss/median", "loss/p90")
_UNREADABLE = (OSError, ValueError, KeyError, IndexError)  # a file that is missing or half written
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where it is built


_Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sweep:
    """A sweep, read from MLflow.

    Attributes
    ----------
    run_id, name, digest
        Of the parent run; the digest is the sweep's.
    n_jobs
        How many runs were asked for.
    runs
        One row a run: `run_id`, `name`, `status`, every config key, every summary metric, and the
        digests as `bp.config_digest` and so on.
    artifacts
        Gives a folder with the files of a run, within a context.
    n_readers
        How many runs' files to read at a time.
    """

    run_id: str
    name: str
    digest: str
    n_jobs: int
    runs: pd.DataFrame
    artifacts: Callable[[str], AbstractContextManager[Path]]
    n_readers: int = 1

    @cached_property
    def axes(self) -> list[str]:
        """Config keys that span the sweep's grid: activation, init, what else varies, then lr."""
        keys = [name for name in self.runs.columns if "/" not in name and name[:3] != "bp."]
        params = [row.dropna().to_dict() for _, row in self.runs[keys].iterrows()]
        varied = {key for key in varied_keys(params) if key not in (*_DESCRIBED, *ALWAYS)}
        return [*ALWAYS[:2], *sorted(varied), LEARNING_RATE]

    @cached_property
    def settings(self) -> list[str]:
        """The axes without the learning rate."""
        return self.axes[:-1]

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs that have a result, one for each place of the grid, in the grid's order.

        Files of weights go by their names, and values by their texts where some of a key are texts.
        """
        runs = self.runs[self.runs["status"] == "FINISHED"]
        runs = runs.reindex(columns=[*runs.columns, *(k for k in self.axes if k not in runs)])
        if "init.path" in runs:
            runs = runs.assign(**{"init.path": _file_names(runs["init.path"])})
        runs = runs.assign(**{axis: _of_one_type(runs[axis]) for axis in self.axes})
        decisive = [key for key in (*self.axes, "bp.result_digest", "run_id") if key in runs]
        ordered = sorted_rows(runs, decisive)
        return ordered.drop_duplicates(self.axes, ignore_index=True)

    @property
    def replicates(self) -> pd.DataFrame:
        """One row a replicate: its run's place in the grid, `replicate`, `outcome`, ….

        `epochs_to_converge` and `final_loss` are missing where there is none. Runs whose file is
        missing are left out.
        """
        return self._files[0]

    @property
    def curves(self) -> pd.DataFrame:
        """One row a run and recorded epoch: its run's place in the grid, `epoch`, and quantiles.

        Those are over replicates, in nats, as in MLflow: `loss/p10`, `loss/median`, `loss/p90`;
        +inf where so many had diverged.
        """
        return self._files[1]

    def config(self, run_id: str) -> RunConfig | None:
        """Read a run's config, or None where it cannot be read."""
        with self.artifacts(run_id) as folder:
            try:
                text = (folder / "config.yaml").read_text(encoding="utf-8")
                return parse_config(yaml.load(text, Loader=_YAML_LOADER))
            except (OSError, ValueError, yaml.YAMLError):
                return None

    def weights(self, run_id: str, kind: str) -> dict[str, np.ndarray] | None:
        """Read `initial`, `final` or `trajectory` weights of a run, or None where it cannot."""
        with self.artifacts(run_id) as folder:
            try:
                return read_arrays(folder / "weights" / f"{kind}.npz")
            except ValueError:
                return None

    @cached_property
    def _files(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Read replicates and curves, which lie side by side: a server sends a run's files once."""
        run_ids = self.finished["run_id"].tolist()
        with ThreadPoolExecutor(self.n_readers) as readers:
            read = dict(zip(run_ids, readers.map(self._files_of, run_ids), strict=True))
        replicates = {run_id: part for run_id, (part, _) in read.items() if part is not None}
        curves = {run_id: part for run_id, (_, part) in read.items() if part is not None}
        return self._placed(replicates, _REPLICATES), self._placed(curves, _CURVES)

    def _files_of(self, run_id: str) -> tuple[_Columns | None, _Columns | None]:
        """Read replicates and curves of a run, each of which may be missing."""
        replicates = curves = None
        with self.artifacts(run_id) as folder:
            with suppress(*_UNREADABLE):
                replicates = _read_replicates(folder)
            with suppress(*_UNREADABLE):
                curves = _read_curves(folder)
        return replicates, curves

    def _placed(self, columns_of: Mapping[str, _Columns], names: Sequence[str]) -> pd.DataFrame:
        """Put the columns of all runs below each other, with each run's place in the grid.

        All at once, since a DataFrame for each run would take longer than reading the files.
        """
        parts = list(columns_of.values())
        lengths = [len(part[names[0]]) for part in parts]
        columns = {
            name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0)
            for name in names
        }
        places = self.finished.set_index("run_id", drop=False)[["run_id", *self.axes]]
        placed = places.loc[[*columns_of]]
        placed = placed.iloc[np.repeat(np.arange(len(placed)), lengths)].reset_index(drop=True)
        return pd.concat([placed, pd.DataFrame(columns)], axis=1)


def load_sweep(
    sweep: str | None = None, *, uri: str | None = None, experiment: str = "bp_pipeline"
) -> Sweep:
    """Read a sweep from MLflow.

    Parameters
    ----------
    sweep
        Run id of its parent; the newest sweep by default.
    uri, experiment
        Where to look; MLFLOW_TRACKING_URI, where set, wins.

    Returns
    -------
    Sweep
        With the tables `runs`, `replicates` and `curves`; the last two are read when asked for.

    Raises
    ------
    TrackingError
        Where there is no such store or sweep.
    """
    return read_sweep(Tracker.open(uri, experiment, create=False), sweep)


def read_sweep(tracker: Tracker, sweep: str | None = None) -> Sweep:
    """Read a sweep, the newest by default, from a store that is open."""
    parent = tracker.find_sweep(sweep)
    run_id = parent.info.run_id
    return Sweep(
        run_id=run_id,
        name=parent.info.run_name,
        digest=parent.data.tags["bp.sweep_digest"],
        n_jobs=int(parent.data.tags["bp.n_jobs"]),
        runs=tracker.load_runs(run_id),
        artifacts=tracker.artifacts,
        n_readers=tracker.n_readers,
    )


def _file_names(paths: pd.Series) -> pd.Series:
    """Shorten paths to the names of their files, with so many folders as tell them apart."""
    parts = {path: PurePath(str(path)).parts for path in paths.dropna().unique()}
    for n in range(1, max(map(len, parts.values()), default=0) + 1):
        names = {path: "/".join(of_path[-n:]) for path, of_path in parts.items()}
        if len(set(names.values())) == len(names):
            return paths.map(names)
    return paths


def _of_one_type(values: pd.Series) -> pd.Series:
    """Take values as texts where some are: an option called 7 beside one called normal."""
    is_text = values.map(lambda value: isinstance(value, str))
    if not is_text.any() or (is_text | values.isna()).all():
        return values
    return values.map(plain, na_action="ignore")


def _read_replicates(folder: Path) -> dict[str, np.ndarray]:
    from pyarrow.parquet import read_table

    table = read_table(folder / "replicates.parquet", use_threads=False)
    return {name: table[name].to_numpy() for name in _REPLICATES}


def _read_curves(folder: Path) -> dict[str, np.ndarray]:
    arrays = read_arrays(folder / "curves.npz")
    return dict(zip(_CURVES, [arrays["epoch"], *quantiles(arrays["loss"], DECILES)], strict=True))
