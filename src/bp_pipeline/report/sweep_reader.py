"""From MLflow to a sweep: its runs, the files of each, and the command that was typed.

Owns when a store is opened and closed, and that a file that cannot be read leaves a gap. What the
files hold is `tracking.run_files`'s, what a sweep is `sweep_data.py`'s.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.ensemble import DECILES, quantiles
from bp_pipeline.report.sweep_data import (
    CURVE_COLUMNS,
    OpenFiles,
    Sweep,
    assemble,
    complete,
    grid_axes,
    grid_places,
)
from bp_pipeline.tracking import Reader, open_for_reading
from bp_pipeline.tracking.format import N_JOBS, SWEEP_DIGEST
from bp_pipeline.tracking.run_files import (
    REPLICATES,
    read_config,
    read_curves,
    read_frozen_sweep,
    read_replicates,
    result_of,
)
from bp_pipeline.tracking.runs_to_verify import disagreement
from bp_pipeline.tracking.store_tables import Points

_Columns = dict[str, np.ndarray]
_READ: Mapping[str, Callable[[Path], _Columns]] = {
    "replicates.parquet": read_replicates,
    "curves.npz": read_curves,
}


def load_sweep(
    sweep: str | None = None, *, uri: str | None = None, experiment: str = "bp_pipeline"
) -> Sweep:
    """Read a sweep from MLflow, and close the store.

    Parameters
    ----------
    sweep
        Its run id, digest or name, or the beginning of one of these that fits no other; the newest
        by default.
    uri, experiment
        Where to look; MLFLOW_TRACKING_URI, where set, wins.

    Raises
    ------
    TrackingError
        Where there is no such store or sweep.
    """

    @contextmanager
    def open_files(run_id: str) -> Iterator[Path]:
        with open_for_reading(uri, experiment) as reader, reader.artifacts(run_id) as folder:
            yield folder

    with open_for_reading(uri, experiment) as reader:
        return replace(read_sweep(reader, sweep), open_files=open_files)


def read_sweep(reader: Reader, sweep: str | None = None) -> Sweep:
    """Read a sweep, the newest by default, from a store that is open.

    Its configs and weights can be read as long as the store stays open.
    """
    parent = reader.find_sweep(sweep)
    run_id = parent.run_id
    runs = reader.load_runs(run_id)
    places = grid_places(complete(runs), grid_axes(runs))
    shown = {row["run_id"]: row for row in runs.to_dict("records")}
    with reader.points() if reader.knows_tables else nullcontext() as points:
        replicates, curves, corrupt = read_files(
            reader.artifacts, places["run_ids"], reader.n_readers, shown, points
        )
    return assemble(
        runs,
        replicates,
        curves,
        run_id=run_id,
        name=parent.name,
        digest=parent.tags[SWEEP_DIGEST],
        n_jobs=int(parent.tags[N_JOBS]),
        command=_read_command(reader, run_id),
        open_files=reader.artifacts,
        corrupt=corrupt,
    )


def read_files(
    open_files: OpenFiles,
    places: Iterable[Sequence[str]],
    n_readers: int = 1,
    shown: Mapping[str, Mapping[str, Any]] | None = None,
    points: Callable[[str], Points] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Read replicates and curves, which lie side by side: a server sends a run's files once.

    Parameters
    ----------
    open_files
        Opens the folder with the files of a run, within a context.
    places
        Ids of the runs that are pooled, for each place of the grid.
    n_readers
        How many places' files to read at a time.
    shown
        What MLflow shows of each run, by its id, to be compared with the files.
    points
        Returns every step of a run's metrics, where that is cheap.

    Returns
    -------
    replicates, curves
        With the `run_id` of each replicate, and that of a place's first run, in the order given. A
        file that cannot be read is left out.
    corrupt
        By the ids of runs, where files or MLflow do not agree.
    """
    corrupt: dict[str, str] = {}

    def read(run_ids: Sequence[str]) -> tuple[dict[str, _Columns], _Columns | None]:
        replicates, curves = {}, {}
        for run_id in run_ids:
            with open_files(run_id) as folder:
                of_run, problem = _read(folder)
                if "replicates.parquet" in of_run:
                    replicates[run_id] = of_run["replicates.parquet"]
                if "curves.npz" in of_run:
                    curves[run_id] = of_run["curves.npz"]
                if shown and len(of_run) == len(_READ):
                    every_step = points(run_id) if points else None
                    problem = _problem(folder, of_run, shown[run_id], every_step)
                corrupt.update({run_id: problem} if problem else {})
        sound = [of_run for run_id, of_run in curves.items() if run_id not in corrupt]
        return replicates, _pooled(sound or [*curves.values()])

    places = list(places)
    with ThreadPoolExecutor(n_readers) as readers:
        files = list(readers.map(read, places))
    replicates = {run_id: columns for of_place, _ in files for run_id, columns in of_place.items()}
    curves = {ids[0]: of_place for ids, (_, of_place) in zip(places, files, strict=True)}
    return _stacked(replicates, REPLICATES), _stacked(curves, CURVE_COLUMNS), corrupt


def _read(folder: Path) -> tuple[dict[str, _Columns], str]:
    """Read the files of a run that there are; say of one that is there why it cannot be read."""
    files, problem = {}, ""
    for name, read in _READ.items():
        try:
            files[name] = read(folder)
        except ValueError as error:
            problem = f"{name} must {error}" if (folder / name).exists() else problem
    return files, problem


def _problem(
    folder: Path, files: Mapping[str, _Columns], shown: Mapping[str, Any], points: Points | None
) -> str:
    """Say where files and MLflow do not agree; a config that cannot be read says so elsewhere."""
    try:
        config = read_config(folder)
    except OSError:
        return ""
    except ConfigError as error:
        return f"config.yaml cannot be used: {error}"
    try:
        return disagreement(shown, config, result_of(*files.values()), points)
    except ValueError as error:
        return f"its files must {error}"


def _pooled(curves: Sequence[_Columns]) -> _Columns | None:
    """Take quantiles over the replicates of runs that were recorded at the first one's epochs."""
    if not curves:
        return None
    epochs = curves[0]["epoch"]  # others are those of another run, which was said to be corrupt
    losses = [of_run["loss"] for of_run in curves if np.array_equal(of_run["epoch"], epochs)]
    columns = [epochs, *quantiles(np.concatenate(losses), DECILES)]
    return dict(zip(CURVE_COLUMNS, columns, strict=True))


def _stacked(of_runs: Mapping[str, _Columns | None], names: Sequence[str]) -> pd.DataFrame:
    """Put columns below each other, all at once: a DataFrame for each run takes far longer."""
    parts = {run_id: columns for run_id, columns in of_runs.items() if columns is not None}
    lengths = [len(columns[names[0]]) for columns in parts.values()]
    stacked = {
        name: np.concatenate([columns[name] for columns in parts.values()] or [np.empty(0)])
        for name in names
    }
    return pd.DataFrame({"run_id": np.repeat(np.array([*parts], dtype=object), lengths), **stacked})


def _read_command(reader: Reader, run_id: str) -> str | None:
    with reader.artifacts(run_id, "sweep.yaml") as folder:
        try:
            return read_frozen_sweep(folder).command
        except ValueError:
            return None
