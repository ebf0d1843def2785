"""The tables of a report, made with pandas from a sweep, as numbers.

Owns which rows and columns there are and how the best of a setting is chosen. Each table has one
row for each place in the grid, or setting, or factor; a missing number is NaN. Comparisons by tests
are `comparisons.py`'s, how tables look as text `printed_tables.py`'s.
"""

import ast
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import pandas as pd

from bp_pipeline.report.notation import INTERPLAY, ranks
from bp_pipeline.report.statistics import (
    Survival,
    eta_squared,
    kaplan_meier,
    median_interval,
    restricted_mean,
)
from bp_pipeline.report.sweep_data import (
    CONVERGED,
    DIVERGED,
    FINAL_LOSS,
    HIGH,
    LEARNING_RATE,
    LOW,
    MEDIAN,
    RATE,
    STALLED,
    Sweep,
    deterministic,
)

MEDIAN_LOW, MEDIAN_HIGH = "epochs_to_converge/low", "epochs_to_converge/high"
MEAN, MEAN_LOW, MEAN_HIGH = (f"epochs_to_converge/mean{end}" for end in ("", "_low", "_high"))
INTERVALS = [LOW, HIGH, MEDIAN_LOW, MEDIAN_HIGH, MEAN_LOW, MEAN_HIGH]
DETERMINISTIC = "deterministic"
_UNKNOWN = (np.nan, np.nan, np.nan)
_DIGITS = 12  # of a rate: versions of SciPy may differ in later ones of an interval


def outcomes_by_run(sweep: Sweep) -> pd.DataFrame:
    """Return one row a finished run: its place in the grid, outcomes, rates, epochs, final loss.

    Where an init draws nothing, the replicates are copies of one network: n is 1, and there are no
    intervals.
    """
    runs = sweep.finished
    table = runs[sweep.axes].copy()
    table[DETERMINISTIC] = deterministic(runs)
    read = sweep.replicates.groupby("place").size()
    n = runs["run_id"].map(read).fillna(runs["replicates"])
    table["n"] = n.where(~table[DETERMINISTIC], 1).astype(runs["replicates"].dtype)
    outcomes = [RATE, LOW, HIGH, CONVERGED, STALLED, DIVERGED, MEDIAN]
    table[outcomes] = runs[outcomes]
    ids, last = runs["run_id"].tolist(), horizon(sweep)
    intervals = [_median_interval(curve) for _, curve in survivals(sweep, ids)]
    table[[MEDIAN_LOW, MEDIAN_HIGH]] = np.array(intervals, dtype=float).reshape(-1, 2)
    watched = _watched(sweep)
    means = [restricted_mean(*watched[i], last) if i in watched else _UNKNOWN for i in ids]
    table[[MEAN, MEAN_LOW, MEAN_HIGH]] = np.array(means, dtype=float).reshape(-1, 3)
    table.loc[table[DETERMINISTIC], INTERVALS] = np.nan
    table[FINAL_LOSS] = runs[FINAL_LOSS]
    return table


def horizon(sweep: Sweep) -> int:
    """Return up to which epoch every run was watched, at least where it did not converge."""
    return int(sweep.finished["training.epochs"].min()) if len(sweep.finished) else 0


def survivals(sweep: Sweep, run_ids: Sequence[str]) -> Iterator[tuple[str, Survival | None]]:
    """Estimate the share not yet converged of each run; None where its replicates are missing.

    Copies of one network have no band.
    """
    watched = _watched(sweep)
    copies = set(sweep.finished.loc[deterministic(sweep.finished), "run_id"])
    for run_id in run_ids:
        curve = kaplan_meier(*watched[run_id]) if run_id in watched else None
        if curve is not None and run_id in copies:
            none = np.full_like(curve.low, np.nan)
            curve = replace(curve, low=none, high=none)
        yield run_id, curve


def _watched(sweep: Sweep) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return how long each replicate was watched, and whether it converged then, by place.

    One that stalled or diverged is censored at `training.epochs`: it never converges.
    """
    replicates = sweep.replicates
    last = sweep.finished.set_index("run_id")["training.epochs"]
    epochs = replicates["epochs_to_converge"]
    until = epochs.fillna(replicates["place"].map(last)).to_numpy(dtype=np.int64)
    converged = epochs.notna().to_numpy(dtype=bool)
    of_places = replicates.groupby("place").indices
    return {str(place): (until[rows], converged[rows]) for place, rows in of_places.items()}


def grid(table: pd.DataFrame, settings: Sequence[str], measure: str) -> pd.DataFrame:
    """Lay out a measure of `outcomes_by_run`: learning rates across, everything else down."""
    laid_out = table.pivot(index=[*settings], columns=LEARNING_RATE, values=measure)
    return laid_out.sort_index(key=ranks).sort_index(axis=1)


def ranked(runs: pd.DataFrame) -> pd.DataFrame:
    """Order runs from the best to the worst.

    The highest rate that is sure wins: the lower end of Wilson's interval, so that 99 of 100 come
    before 1 of 1, and where there is no interval, because nothing is drawn, the rate itself. Then
    the smaller median of epochs, then the simpler network (fewer hidden units, then fewer layers),
    then the smaller final loss (of those at which nothing solves the task), then the smaller
    learning rate, then the order given.
    """
    hidden = [ast.literal_eval(str(text)) for text in runs["network.hidden"]]
    sure = runs[LOW].fillna(runs[RATE]).round(_DIGITS)
    keys = runs[[MEDIAN, LEARNING_RATE]].assign(
        sure=sure,
        units=[*map(sum, hidden)],
        layers=[*map(len, hidden)],
        loss=runs[FINAL_LOSS].where(runs[RATE] == 0),
    )
    order = keys.sort_values(
        ["sure", MEDIAN, "units", "layers", "loss", LEARNING_RATE],
        ascending=[False, True, True, True, True, True],
        na_position="last",
        kind="stable",
    )
    return runs.loc[order.index]


def best(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the first of some ranked rows for each combination of keys."""
    first = table.groupby([*keys], sort=True, dropna=False).head(1) if keys else table.head(1)
    return first.sort_values([*keys] or LEARNING_RATE, kind="stable", ignore_index=True)


def best_learning_rates(sweep: Sweep, table: pd.DataFrame) -> pd.DataFrame:
    """Choose the best learning rate of each setting; where no network solves it there is none."""
    rows = best(table.loc[ranked(sweep.finished).index], sweep.settings)
    columns = [DETERMINISTIC, "n", RATE, LOW, HIGH, MEDIAN, MEDIAN_LOW, MEDIAN_HIGH]
    columns += [MEAN, MEAN_LOW, MEAN_HIGH]
    rows = rows[[*sweep.settings, LEARNING_RATE, *columns]]
    rows.loc[~(rows[RATE] > 0), [LEARNING_RATE, MEDIAN, MEDIAN_LOW, MEDIAN_HIGH]] = np.nan
    return rows


def factors(sweep: Sweep, table: pd.DataFrame) -> pd.DataFrame:
    """Compute the share of the variance of the rates of solving that each axis explains.

    In a complete grid the last row is what no factor explains on its own.
    """
    table = table.dropna(subset=[RATE])
    values = table[RATE].to_numpy(dtype=np.float64)
    varied = [axis for axis in sweep.axes if table[axis].nunique(dropna=False) > 1]
    shares = [eta_squared(values, _levels(table[axis])) for axis in varied]
    rows = pd.DataFrame(
        {
            "factor": varied,
            "levels": [table[axis].nunique(dropna=False) for axis in varied],
            "eta_squared": shares,
        }
    ).sort_values("eta_squared", ascending=False, kind="stable", ignore_index=True)
    if len(varied) > 1 and not np.isnan(shares).any() and is_complete(sweep, table):
        rows.loc[len(rows)] = [INTERPLAY, None, max(0.0, 1.0 - sum(shares))]
    return rows


def is_complete(sweep: Sweep, table: pd.DataFrame) -> bool:
    """Whether every combination of values of the axes has a run."""
    return len(table) == prod(table[axis].nunique(dropna=False) for axis in sweep.axes)


def _median_interval(curve: Survival | None) -> tuple[float, float]:
    return (np.nan, np.nan) if curve is None else median_interval(curve)


def _levels(values: pd.Series) -> list[Hashable]:
    return values.astype(object).where(values.notna(), None).tolist()
