"""A sweep as a value: tidy tables of its runs, their replicates and their loss curves.

Owns which columns there are. A run's measures come from its files, and are missing where these
cannot be read, so that what is not known is never taken for what did not happen. How a sweep is
read is `sweep_reader.py`'s; what is concluded from it is said in the other modules.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from bp_pipeline.arrays import read_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.naming import ALWAYS, varied_keys
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble.summary import median_epochs_to_converge, quantiles, wilson_interval
from bp_pipeline.report.notation import as_typed, sorted_rows
from bp_pipeline.tracking import TrackingError
from bp_pipeline.tracking.format import read_config

ACTIVATION, INIT, LEARNING_RATE = ALWAYS
RATE, LOW, HIGH = "converged/rate", "converged/rate_low", "converged/rate_high"
STALLED, DIVERGED = "stalled/rate", "diverged/rate"
MEDIAN, FINAL_LOSS = "epochs_to_converge/median", "final_loss/median"
MEASURES = (RATE, LOW, HIGH, STALLED, DIVERGED, MEDIAN, FINAL_LOSS)
REPLICATE_COLUMNS = ("replicate", "outcome", "epochs_to_converge", "final_loss")
CURVE_COLUMNS = ("epoch", "loss/p10", "loss/median", "loss/p90")
_DESCRIBED = ("run_id", "name", "status")
_KEYS = (  # of a config, that a report needs, also where no run has them
    "activation", "init", "init.name", "init.noise", "init.path", "task", "task.name", "task.bits",
    "task.inputs", "task.targets", "network.hidden", LEARNING_RATE, "training.epochs",
    "training.tolerance", "training.stop_when_converged", "training.record_weights", "replicates",
    "seed", "experiment", "bp.result_digest", "bp.code_digest", "bp.version",
)  # fmt: skip
_KINDS = ("initial", "final", "trajectory")  # of weights

OpenFiles = Callable[[str], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Sweep:
    """A sweep, read from MLflow; `assemble` makes one.

    Attributes
    ----------
    run_id, name, digest
        Of the parent run; the digest is the sweep's.
    n_jobs
        How many runs were asked for.
    command
        What was typed; None where an older version did not keep it.
    runs
        One row a run: `run_id`, `name`, `status`, every config key, every measure (rates in 0 … 1,
        epochs, loss in nats), and the digests as `bp.config_digest` and so on.
    finished
        The runs that have a result, one for each place of the grid, in the grid's order.
    axes
        Config keys that span the grid: activation, init, what else varies, then learning rate.
    replicates
        One row a replicate: its run's place in the grid, `replicate`, `outcome`,
        `epochs_to_converge` and `final_loss`, the last two missing where there is none.
    curves
        One row a run and recorded epoch: the run's place in the grid, `epoch`, and quantiles over
        replicates in nats: `loss/p10`, `loss/median`, `loss/p90`; +inf where so many had diverged.
    open_files
        Opens the folder with the files of a run, within a context.
    """

    run_id: str
    name: str
    digest: str
    n_jobs: int
    command: str | None
    runs: pd.DataFrame
    finished: pd.DataFrame
    axes: list[str]
    replicates: pd.DataFrame
    curves: pd.DataFrame
    open_files: OpenFiles

    @property
    def settings(self) -> list[str]:
        """The axes without the learning rate."""
        return self.axes[:-1]

    def config(self, run_id: str) -> RunConfig:
        """Read a run's config.

        Raises
        ------
        TrackingError
            Where it cannot be read.
        """
        with self.open_files(run_id) as folder:
            try:
                return read_config(folder)
            except (OSError, ConfigError) as error:
                raise _unreadable("config.yaml", run_id, str(error)) from error

    def weights(self, run_id: str, kind: str = "final") -> dict[str, np.ndarray]:
        """Read weights of a run.

        Parameters
        ----------
        run_id
            One of `runs`.
        kind
            `initial`, `final` or `trajectory`.

        Returns
        -------
        dict
            `layer_1`, …: (replicate, fan_in + 1, fan_out), row 0 the bias unit's; of a trajectory
            (replicate, epoch, fan_in + 1, fan_out), with the recorded epochs as `epoch`.

        Raises
        ------
        TrackingError
            Where they cannot be read.
        """
        if kind not in _KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(_KINDS)}, got {kind!r}.")
        file = f"weights/{kind}.npz"
        with self.open_files(run_id) as folder:
            try:
                return read_arrays(folder / file)
            except ValueError as error:
                raise _unreadable(file, run_id, f"it must {error}") from error


def assemble(
    runs: pd.DataFrame,
    replicates: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    run_id: str,
    name: str,
    digest: str,
    n_jobs: int,
    command: str | None,
    open_files: OpenFiles,
) -> Sweep:
    """Make a sweep of what was read of it.

    Parameters
    ----------
    runs
        One row a run, as `Tracker.load_runs` returns them; a column may be missing.
    replicates, curves
        Columns of the runs' files below each other, with their `run_id`.
    run_id, name, digest, n_jobs, command, open_files
        As in `Sweep`.
    """
    axes = _axes(runs)
    runs = runs.reindex(columns=[*dict.fromkeys([*runs.columns, *_DESCRIBED, *_KEYS, *axes])])
    runs = runs.drop(columns=[*MEASURES], errors="ignore").join(measures(replicates), on="run_id")
    finished = _finished(runs, axes)
    places = finished[["run_id", *axes]]
    return Sweep(
        run_id=run_id,
        name=name,
        digest=digest,
        n_jobs=n_jobs,
        command=command,
        runs=runs,
        finished=finished,
        axes=axes,
        replicates=_placed(places, replicates, REPLICATE_COLUMNS),
        curves=_placed(places, curves, CURVE_COLUMNS),
        open_files=open_files,
    )


def measures(replicates: pd.DataFrame) -> pd.DataFrame:
    """Compute the measures of each run, by its id; what is not finite is missing, as in MLflow."""
    rows = {
        run_id: _measures(
            group["outcome"].to_numpy(dtype=str),
            group["epochs_to_converge"].fillna(-1).to_numpy(dtype=np.int64),
            group["final_loss"].fillna(np.inf).to_numpy(dtype=np.float64),
        )
        for run_id, group in replicates.groupby("run_id", sort=False)
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*MEASURES], dtype=float)
    return table.where(np.isfinite(table))


def _measures(
    outcomes: np.ndarray, epochs: np.ndarray, final_loss: np.ndarray
) -> tuple[float, ...]:
    """Compute MEASURES, in their order."""
    n, n_converged = len(outcomes), int((outcomes == "converged").sum())
    return (
        n_converged / n,
        *wilson_interval(n_converged, n),
        float((outcomes == "stalled").mean()),
        float((outcomes == "diverged").mean()),
        median_epochs_to_converge(epochs),
        float(quantiles(final_loss[:, np.newaxis], (0.5,))[0, 0]),
    )


def _axes(runs: pd.DataFrame) -> list[str]:
    keys = [name for name in runs.columns if "/" not in name and name[:3] != "bp."]
    params = [row.dropna().to_dict() for _, row in runs[keys].iterrows()]
    varied = {key for key in varied_keys(params) if key not in (*_DESCRIBED, *ALWAYS)}
    return [ACTIVATION, INIT, *sorted(varied), LEARNING_RATE]


def _finished(runs: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Choose one run for each place of the grid.

    Files of weights go by their names, and values by their texts where some of a key are texts.
    """
    runs = runs[runs["status"] == "FINISHED"]
    runs = runs.assign(**{"init.path": _file_names(runs["init.path"])})
    runs = runs.assign(**{axis: _of_one_type(runs[axis]) for axis in axes})
    ordered = sorted_rows(runs, [*axes, "bp.result_digest", "run_id"])
    return ordered.drop_duplicates(axes, ignore_index=True)


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
    return values.map(as_typed, na_action="ignore")


def _placed(places: pd.DataFrame, table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Put each run's place in the grid before the columns of its file, in the grid's order."""
    return places.merge(table[["run_id", *names]], on="run_id")


def _unreadable(file: str, run_id: str, reason: str) -> TrackingError:
    return TrackingError(f"`{file}` of run {run_id} cannot be read: {' '.join(reason.split())}")
