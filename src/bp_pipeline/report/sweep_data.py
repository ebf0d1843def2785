"""A sweep as a value: tidy tables of its runs, their replicates and their loss curves.

Owns which columns there are. A run's measures come from its files, and are missing where these
cannot be read, so that what is not known is never taken for what did not happen. How a sweep is
read is `sweep_reader.py`'s; what is concluded from it is said in the other modules.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bp_pipeline.arrays import read_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.run_names import ALWAYS, varied_keys
from bp_pipeline.config.schema import UNDECIDED, RunConfig, draws_nothing
from bp_pipeline.ensemble import median_epochs_to_converge, quantiles, wilson_interval
from bp_pipeline.report.notation import as_typed, in_order, sorted_rows
from bp_pipeline.tracking import TrackingError
from bp_pipeline.tracking.format import CODE_DIGEST, RESULT_DIGEST, VERSION
from bp_pipeline.tracking.run_files import REPLICATES, read_config

if TYPE_CHECKING:
    from bp_pipeline.report.two_sweeps import TwoSweeps

ACTIVATION, INIT, LEARNING_RATE = ALWAYS
RATE, LOW, HIGH = "solved/rate", "solved/rate_low", "solved/rate_high"  # when training ends
CONVERGED = "converged/rate"  # at some epoch
STALLED, DIVERGED = "stalled/rate", "diverged/rate"
MEDIAN, FINAL_LOSS = "epochs_to_converge/median", "final_loss/median"
MEASURES = (RATE, LOW, HIGH, CONVERGED, STALLED, DIVERGED, MEDIAN, FINAL_LOSS)
CURVE_COLUMNS = ("epoch", "loss/p10", "loss/median", "loss/p90")
_DESCRIBED = ("run_id", "name", "status")
_KEYS = (  # of a config, that a report needs, also where no run has them
    "activation", "init", "init.name", "init.noise", "init.path", "task", "task.name", "task.bits",
    "task.inputs", "task.targets", "network.hidden", LEARNING_RATE, "training.epochs",
    "training.tolerance", "training.stop_when_converged", "training.record_weights", "replicates",
    "seed", "experiment", RESULT_DIGEST, CODE_DIGEST, VERSION,
)  # fmt: skip
_UNDECIDED = {"bp", *UNDECIDED}  # groups of columns
_KINDS = ("initial", "final", "trajectory")  # of weights


class UnreadableFile(TrackingError):
    """A file of a run that is missing, or holds something else; its store is well."""


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
    axes
        Config keys that span the grid: activation, init, what else varies, then learning rate. The
        seed is none of them.
    finished
        One row for each place of the grid that has a result, in the grid's order, with the columns
        of `runs`. Runs that differ only in their seed are pooled: `run_ids` are all of theirs,
        `run_id` is the first, and measures are over all their replicates.
    replicates
        One row a replicate: its place in the grid (`place` is the `run_id` of its row in
        `finished`), `run_id`, `replicate`, `pair` (the same for replicates that start from the same
        draws), `outcome`, `epochs_to_converge` and `final_loss`, the last two missing where there
        is none.
    curves
        One row a place and recorded epoch: `epoch`, and quantiles over replicates in nats:
        `loss/p10`, `loss/median`, `loss/p90`; +inf where so many had diverged.
    open_files
        Opens the folder with the files of a run, within a context.
    corrupt
        By the ids of runs, where what MLflow shows of one and its files do not agree.
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
    corrupt: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> list[str]:
        """The axes without the learning rate."""
        return self.axes[:-1]

    @property
    def varied(self) -> list[str]:
        """The axes that have several values, or all where none has; the learning rate always."""
        several = [key for key in self.settings if self.finished[key].nunique(dropna=False) > 1]
        return [*(several or self.settings), LEARNING_RATE]

    @property
    def n_finished(self) -> int:
        """How many runs have finished, each seed's counted; `finished` has a row for a place."""
        return int((self.runs["status"] == "FINISHED").sum())

    def config(self, run_id: str) -> RunConfig:
        """Read a run's config.

        Raises
        ------
        UnreadableFile
            Where it cannot be read.
        """
        with self.open_files(run_id) as folder:
            try:
                return read_config(folder)
            except (OSError, ConfigError) as error:
                raise _unreadable("config.yaml", run_id, str(error)) from error

    def weights(self, run: str, kind: str = "final") -> dict[str, np.ndarray]:
        """Read weights of a run.

        Parameters
        ----------
        run
            The `run_id` or the `name` of one of `runs`.
        kind
            `initial`, `final` or `trajectory`.

        Returns
        -------
        dict
            `layer_1`, …: (replicate, fan_in + 1, fan_out), row 0 the bias unit's; of a trajectory
            (replicate, epoch, fan_in + 1, fan_out), with the recorded epochs as `epoch`.

        Raises
        ------
        UnreadableFile
            Where they cannot be read.
        """
        if kind not in _KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(_KINDS)}, got {kind!r}.")
        named = self.runs.loc[self.runs["name"] == run, "run_id"]
        run_id = str(named.iloc[0]) if len(named) == 1 else run
        if run_id not in set(self.runs["run_id"]):
            raise ValueError(f"`run` must be a run_id or name of one of `runs`, got {run!r}.")
        file = f"weights/{kind}.npz"
        with self.open_files(run_id) as folder:
            try:
                return read_arrays(folder / file)
            except ValueError as error:
                raise _unreadable(file, run_id, f"it must {error}") from error

    def compare(self, other: "Sweep") -> "TwoSweeps":
        """Compare it with another sweep: what was asked, and what came out, with tests."""
        from bp_pipeline.report.two_sweeps import compare_two  # which is made of sweeps

        return compare_two(self, other)


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
    corrupt: Mapping[str, str] | None = None,
) -> Sweep:
    """Make a sweep of what was read of it.

    Parameters
    ----------
    runs
        One row a run, as `Reader.load_runs` returns them; a column may be missing.
    replicates, curves
        Columns of files below each other: of runs, and of places, each with its `run_id`.
    run_id, name, digest, n_jobs, command, open_files, corrupt
        As in `Sweep`.
    """
    axes, runs = grid_axes(runs), complete(runs)
    places = grid_places(runs, axes)
    members = places.explode("run_ids")[["run_id", "run_ids", *axes]]
    members = members.set_axis(["place", "run_id", *axes], axis=1).astype({"run_id": object})
    paired = replicates.assign(pair=_pairs(runs, replicates))
    replicates = members.merge(paired[["run_id", "pair", *REPLICATES]], on="run_id")
    return Sweep(
        run_id=run_id,
        name=name,
        digest=digest,
        n_jobs=n_jobs,
        command=command,
        runs=_measured(runs, replicates, "run_id"),
        finished=_measured(places, replicates, "place"),
        axes=axes,
        replicates=replicates,
        curves=places[["run_id", *axes]].merge(curves[["run_id", *CURVE_COLUMNS]], on="run_id"),
        open_files=open_files,
        corrupt=corrupt or {},
    )


def part_of(sweep: Sweep, places: pd.DataFrame) -> Sweep:
    """Return a sweep of some places of the grid, whose axes are what varies among them."""
    run_ids = places["run_ids"].explode()
    runs = sweep.runs[sweep.runs["run_id"].isin(run_ids)]
    replicates = sweep.replicates[sweep.replicates["run_id"].isin(run_ids)]
    return replace(
        sweep,
        n_jobs=len(runs),
        runs=runs,
        axes=grid_axes(runs),
        finished=places.reset_index(drop=True),
        replicates=replicates.reset_index(drop=True),
        curves=sweep.curves[sweep.curves["run_id"].isin(places["run_id"])],
    )


def complete(runs: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that no run has, and leave out MLflow's measures."""
    runs = runs.reindex(columns=[*dict.fromkeys([*runs.columns, *_DESCRIBED, *_KEYS])])
    return runs.drop(columns=[*MEASURES], errors="ignore")


def is_config_key(column: str) -> bool:
    """Whether a column of `Sweep.runs` is a config key that decides a result."""
    return "/" not in column and column.split(".")[0] not in (*_DESCRIBED, *_UNDECIDED)


def grid_axes(runs: pd.DataFrame) -> list[str]:
    """Return the config keys that span the grid of some runs."""
    keys = [name for name in runs.columns if "/" not in name and name[:3] != "bp."]
    rows = runs[keys].to_dict("records")
    params = [{str(key): value for key, value in row.items() if pd.notna(value)} for row in rows]
    varied = {key for key in varied_keys(params) if key not in (*_DESCRIBED, *ALWAYS, "seed")}
    return [ACTIVATION, INIT, *sorted(varied), LEARNING_RATE]


def grid_places(runs: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Return one row for each place of the grid that has a finished run, as in `Sweep.finished`.

    Files of weights go by their names, and values by their texts where some of a key are texts.
    """
    runs = runs[runs["status"] == "FINISHED"]
    runs = runs.assign(**{"init.path": file_names(runs["init.path"])})
    runs = runs.assign(**{axis: _of_one_type(runs[axis]) for axis in axes})
    ordered = sorted_rows(runs, [*axes, "seed", RESULT_DIGEST, "run_id"])
    one_a_seed = ordered.drop_duplicates([*axes, "seed"])
    of_places = one_a_seed.groupby([*axes], sort=False, dropna=False)
    places = one_a_seed.drop_duplicates(axes, ignore_index=True)
    run_ids = [tuple(of_place) for _, of_place in of_places["run_id"]]
    counts = of_places["replicates"].sum().to_numpy()
    return places.assign(run_ids=pd.Series(run_ids, dtype=object), replicates=counts)


def _pairs(runs: pd.DataFrame, replicates: pd.DataFrame) -> pd.Series:
    """Return one number for all replicates that start from the same draws."""
    seeds = {seed: number for number, seed in enumerate(in_order(runs["seed"].unique()))}
    seed_of = dict(zip(runs["run_id"], runs["seed"].map(seeds), strict=True))
    stride = 1 + int(replicates["replicate"].max()) if len(replicates) else 0
    return replicates["run_id"].map(seed_of) * stride + replicates["replicate"]


def deterministic(runs: pd.DataFrame) -> pd.Series:
    """Whether the init of each run draws nothing, so that its replicates are copies."""
    return draws_nothing(runs["init.name"], runs["init.noise"])


def _measured(runs: pd.DataFrame, replicates: pd.DataFrame, group: str) -> pd.DataFrame:
    """Add measures; where nothing is drawn there is no interval."""
    runs = runs.join(measures(replicates, group), on="run_id")
    runs.loc[deterministic(runs), [LOW, HIGH]] = np.nan
    return runs


def measures(replicates: pd.DataFrame, group: str) -> pd.DataFrame:
    """Compute the measures of each group; what is not finite is missing, as in MLflow."""
    interval = cache(wilson_interval)  # most runs have as many replicates
    columns = (  # a DataFrame for each group would take far longer
        replicates["solved"].to_numpy(dtype=bool),
        replicates["outcome"].to_numpy(dtype=str),
        replicates["epochs_to_converge"].fillna(-1).to_numpy(dtype=np.int64),
        replicates["final_loss"].fillna(np.inf).to_numpy(dtype=np.float64),
    )
    rows = {
        key: _measures(interval, *(column[part] for column in columns))
        for key, part in replicates.groupby(group).indices.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*MEASURES], dtype=float)
    table.index = table.index.astype(object)  # texts, also where there is none
    return table.where(np.isfinite(table))


def _measures(
    interval: Callable[[int, int], tuple[float, float]],
    solved: np.ndarray,
    outcomes: np.ndarray,
    epochs: np.ndarray,
    final_loss: np.ndarray,
) -> tuple[float, ...]:
    """Compute MEASURES, in their order."""
    n, n_solved = len(outcomes), int(solved.sum())
    return (
        n_solved / n,
        *interval(n_solved, n),
        float((outcomes == "converged").mean()),
        float((outcomes == "stalled").mean()),
        float((outcomes == "diverged").mean()),
        median_epochs_to_converge(epochs),
        float(quantiles(final_loss[:, np.newaxis], (0.5,))[0, 0]),
    )


def file_names(paths: pd.Series) -> pd.Series:
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


def _unreadable(file: str, run_id: str, reason: str) -> UnreadableFile:
    return UnreadableFile(f"`{file}` of run {run_id} cannot be read: {' '.join(reason.split())}")
