"""From MLflow to a sweep: its runs, the files of each, and the command that was typed.

Owns when a store is opened and closed, and that a file that cannot be read leaves a gap. What the
files hold is `tracking.format`'s, what a sweep is `sweep_data.py`'s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from bp_pipeline.arrays import read_arrays
from bp_pipeline.ensemble.summary import DECILES, quantiles
from bp_pipeline.report.sweep_data import (
    CURVE_COLUMNS,
    REPLICATE_COLUMNS,
    OpenFiles,
    Sweep,
    assemble,
)
from bp_pipeline.tracking import Tracker

_UNREADABLE = (OSError, ValueError, KeyError, IndexError)  # a file that is missing or half written
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where it is built

_Columns = dict[str, np.ndarray]


def load_sweep(
    sweep: str | None = None, *, uri: str | None = None, experiment: str = "bp_pipeline"
) -> Sweep:
    """Read a sweep from MLflow, and close the store.

    Parameters
    ----------
    sweep
        Run id of its parent; the newest sweep by default.
    uri, experiment
        Where to look; MLFLOW_TRACKING_URI, where set, wins.

    Raises
    ------
    TrackingError
        Where there is no such store or sweep.
    """

    @contextmanager
    def open_files(run_id: str) -> Iterator[Path]:
        with _store(uri, experiment) as reader, reader.artifacts(run_id) as folder:
            yield folder

    with _store(uri, experiment) as reader:
        return replace(read_sweep(reader, sweep), open_files=open_files)


def read_sweep(reader: Tracker, sweep: str | None = None) -> Sweep:
    """Read a sweep, the newest by default, from a store that is open.

    Its configs and weights can be read as long as the store stays open.
    """
    parent = reader.find_sweep(sweep)
    run_id = parent.info.run_id
    runs = reader.load_runs(run_id)
    replicates, curves = read_files(
        reader.artifacts, runs.loc[runs["status"] == "FINISHED", "run_id"], reader.n_readers
    )
    return assemble(
        runs,
        replicates,
        curves,
        run_id=run_id,
        name=parent.info.run_name,
        digest=parent.data.tags["bp.sweep_digest"],
        n_jobs=int(parent.data.tags["bp.n_jobs"]),
        command=_read_command(reader, run_id),
        open_files=reader.artifacts,
    )


def _store(uri: str | None, experiment: str) -> AbstractContextManager[Tracker]:
    return closing(Tracker.open(uri, experiment, create=False))


def read_files(
    open_files: OpenFiles, run_ids: Iterable[str], n_readers: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read replicates and curves, which lie side by side: a server sends a run's files once.

    Parameters
    ----------
    open_files
        Opens the folder with the files of a run, within a context.
    run_ids
        Which runs; the tables are in their order. A file that cannot be read is left out.
    n_readers
        How many runs' files to read at a time.
    """

    def read(run_id: str) -> tuple[_Columns | None, _Columns | None]:
        replicates = curves = None
        with open_files(run_id) as folder:
            with suppress(*_UNREADABLE):
                replicates = _read_replicates(folder)
            with suppress(*_UNREADABLE):
                curves = _read_curves(folder)
        return replicates, curves

    run_ids = list(run_ids)
    with ThreadPoolExecutor(n_readers) as readers:
        files = dict(zip(run_ids, readers.map(read, run_ids), strict=True))
    return (
        _stacked({run_id: of_run for run_id, (of_run, _) in files.items()}, REPLICATE_COLUMNS),
        _stacked({run_id: of_run for run_id, (_, of_run) in files.items()}, CURVE_COLUMNS),
    )


def _stacked(of_runs: Mapping[str, _Columns | None], names: Sequence[str]) -> pd.DataFrame:
    """Put columns below each other, all at once: a DataFrame for each run takes far longer."""
    parts = {run_id: columns for run_id, columns in of_runs.items() if columns is not None}
    lengths = [len(columns[names[0]]) for columns in parts.values()]
    stacked = {
        name: np.concatenate([columns[name] for columns in parts.values()] or [np.empty(0)])
        for name in names
    }
    return pd.DataFrame({"run_id": np.repeat(np.array([*parts], dtype=object), lengths), **stacked})


def _read_command(reader: Tracker, run_id: str) -> str | None:
    with reader.artifacts(run_id) as folder:
        try:
            made = yaml.load((folder / "sweep.yaml").read_bytes(), Loader=_YAML_LOADER)
        except (OSError, ValueError, yaml.YAMLError):
            return None
    command = made.get("command") if isinstance(made, dict) else None
    return command if isinstance(command, str) else None


def _read_replicates(folder: Path) -> _Columns:
    from pyarrow.parquet import read_table

    table = read_table(folder / "replicates.parquet", use_threads=False)
    return {name: table[name].to_numpy() for name in REPLICATE_COLUMNS}


def _read_curves(folder: Path) -> _Columns:
    arrays = read_arrays(folder / "curves.npz")
    return dict(
        zip(CURVE_COLUMNS, [arrays["epoch"], *quantiles(arrays["loss"], DECILES)], strict=True)
    )
