"""Comparisons that chance could not fake: choices on even replicates, tests on odd ones.

Owns what is compared with what: two values of one key, everything else but the learning rate being
the same. The tests themselves are `statistics.py`'s.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from bp_pipeline.ensemble import wilson_interval
from bp_pipeline.report.notation import sorted_rows
from bp_pipeline.report.statistics import holm, mcnemar, signed_rank
from bp_pipeline.report.sweep_data import (
    HIGH,
    LEARNING_RATE,
    LOW,
    MEDIAN,
    RATE,
    Sweep,
    deterministic,
)
from bp_pipeline.report.tables import ranked

ALPHA = 0.05  # tests below it are called significant
_NEVER = ("task", "replicates")  # groups of keys between whose values no test makes sense
_FEW, _MOST_TESTS = 6, 300  # values of a key, tests of a family: in more nothing is significant


@dataclass(frozen=True)
class _Replicates:
    """Replicates of a place: the pair of each, and what came of it; NaN epochs where none did."""

    pair: Int64[np.ndarray, " replicate"]
    solved: Bool[np.ndarray, " replicate"]
    epochs: Float64[np.ndarray, " replicate"]


_NONE = _Replicates(np.empty(0, np.int64), np.empty(0, bool), np.empty(0))


def axes_to_compare(sweep: Sweep) -> list[str]:
    """Return the axes whose values are compared: those of few values that draw, tasks excepted.

    The learning rate is one of them only where nothing else varies.
    """
    drawn = sweep.finished[sweep.finished["run_id"].isin(drawn_replicates(sweep)["place"].unique())]
    sizes = {axis: drawn[axis].nunique(dropna=False) for axis in sweep.axes}
    varied = [axis for axis, size in sizes.items() if size > 1]
    n_settings = len(drawn[sweep.settings].drop_duplicates())
    return [
        axis
        for axis in [axis for axis in varied if axis != LEARNING_RATE] or varied
        if sizes[axis] <= _FEW
        and n_settings * (sizes[axis] - 1) / 2 <= _MOST_TESTS
        and axis.split(".")[0] not in _NEVER
    ]


def comparisons(sweep: Sweep, axis: str) -> pd.DataFrame:
    """Compare each two values of an axis, each at its best learning rate, all else being the same.

    The best learning rate is chosen on the even replicates; both tests are made on the odd ones.
    Replicate k of both starts from the same draws, unless their layers differ in size: they are
    pairs.

    Returns
    -------
    DataFrame
        One row a comparison: what was the same, `first`, `second` and their learning rates, the
        pairs and the share that solves the task, McNemar's test of solving it, and the signed-rank
        test of the epochs of pairs that both converged. p-values also as Holm adjusts them, over
        all rows.
    """
    draws = drawn_replicates(sweep)
    same = [key for key in sweep.settings if key != axis]
    best = _ranked_on_even(sweep, draws).drop_duplicates([*same, axis])
    odd = _by_place(_odd(draws))
    rows = []
    for context, places in best.groupby(same, sort=True, dropna=False):
        of_level = sorted_rows(places, [axis]).to_dict("records")
        for first, second in combinations(of_level, 2):
            row = _compare(*(odd.get(side["run_id"], _NONE) for side in (first, second)))
            if row["n"]:
                sides = _sides(axis, first, second)
                rows.append({**dict(zip(same, context, strict=True)), **sides, **row})
    table = pd.DataFrame(rows)
    for test in ("mcnemar", "signed_rank") if rows else ():
        table[f"{test}/p_holm"] = holm_where_tested(table[f"{test}/p"])
    return table


def best_of_halves(sweep: Sweep) -> pd.Series | None:
    """Choose the best place on the even replicates, and measure it on the odd ones.

    The best of many runs is partly the luckiest, and luck does not carry over to other replicates.

    Returns
    -------
    Series or None
        The place in the grid and, of its odd replicates, `n` and the rate of solving with Wilson's
        interval. None where there is nothing to choose from.
    """
    draws = drawn_replicates(sweep)
    if draws["place"].nunique() < 2:
        return None
    best = _ranked_on_even(sweep, draws).iloc[0]
    odd = _odd(draws[draws["place"] == best["run_id"]])
    n, n_solved = len(odd), int(odd["solved"].sum())
    if n == 0:
        return None
    low, high = wilson_interval(n_solved, n)
    return pd.Series({**best[sweep.axes], "n": n, RATE: n_solved / n, LOW: low, HIGH: high})


def drawn_replicates(sweep: Sweep) -> pd.DataFrame:
    """Return the replicates that start from the same draws, in all runs that draw.

    Weights that are given are no draws of ours: they are pairs only where all runs have the same.
    """
    runs = sweep.finished
    given = runs["init.name"] == "given"
    same_file = given.all() and runs["init.path"].nunique() == 1
    drawn = runs.loc[~deterministic(runs) & (~given | same_file), "run_id"]
    return sweep.replicates[sweep.replicates["place"].isin(set(drawn))]


def _odd(replicates: pd.DataFrame) -> pd.DataFrame:
    return replicates[replicates["replicate"].astype(int) % 2 == 1]


def _ranked_on_even(sweep: Sweep, replicates: pd.DataFrame) -> pd.DataFrame:
    """Rank places as `ranked` does, by what their even replicates came to."""
    even = replicates[replicates["replicate"].astype(int) % 2 == 0]
    even = even.assign(epochs=even["epochs_to_converge"].fillna(np.inf))
    scores = even.groupby("place", sort=False).agg(
        rate=("solved", "mean"), low=("solved", _wilson_low), median=("epochs", _lower_median)
    )
    places = sweep.finished[sweep.finished["run_id"].isin(scores.index)]
    scores = scores.loc[places["run_id"]].set_axis(places.index)
    measured = {RATE: scores["rate"], LOW: scores["low"], MEDIAN: scores["median"]}
    return ranked(places.assign(**measured))


def _wilson_low(solved: pd.Series) -> float:
    return wilson_interval(int(solved.sum()), len(solved))[0]


def _lower_median(epochs: pd.Series) -> float:
    """Compute the lower median, which is Kaplan and Meier's where all censoring comes last."""
    return float(np.sort(epochs.to_numpy())[(len(epochs) - 1) // 2])


def _by_place(replicates: pd.DataFrame) -> dict[str, _Replicates]:
    """Return the replicates of each place as arrays: a DataFrame for each would take far longer."""
    columns = [
        replicates["pair"].to_numpy(dtype=np.int64),
        replicates["solved"].to_numpy(dtype=bool),
        replicates["epochs_to_converge"].to_numpy(dtype=np.float64, na_value=np.nan),
    ]
    of_places = replicates.groupby("place").indices
    return {
        str(place): _Replicates(*(column[rows] for column in columns))
        for place, rows in of_places.items()
    }


def _compare(first: _Replicates, second: _Replicates) -> dict[str, Any]:
    pairs, *places = np.intersect1d(first.pair, second.pair, return_indices=True)
    did, times = (
        [of_side[rows] for of_side, rows in zip(of_sides, places, strict=True)]
        for of_sides in ((first.solved, second.solved), (first.epochs, second.epochs))
    )
    both = ~np.isnan(times[0]) & ~np.isnan(times[1])
    epochs = [of_side[both] for of_side in times]
    rate_test, epochs_test = mcnemar(*did), signed_rank(*epochs)
    return {
        "n": len(pairs),
        "first/rate": float(did[0].mean()) if len(pairs) else np.nan,
        "second/rate": float(did[1].mean()) if len(pairs) else np.nan,
        "only_first": int((did[0] & ~did[1]).sum()),
        "only_second": int((did[1] & ~did[0]).sum()),
        "mcnemar/p": rate_test.p_value,
        "both": int(both.sum()),
        "median_difference": float(np.median(epochs[0] - epochs[1])) if both.any() else np.nan,
        "signed_rank/p": epochs_test.p_value if both.any() else np.nan,
    }


def _sides(axis: str, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Hashable]:
    """Return what is compared, and the learning rate at which each of the two was best."""
    sides = {"first": first, "second": second}
    values = {side: row[axis] for side, row in sides.items()}
    if axis == LEARNING_RATE:
        return values
    return values | {f"{side}/{LEARNING_RATE}": row[LEARNING_RATE] for side, row in sides.items()}


def holm_where_tested(p_values: pd.Series) -> pd.Series:
    """Adjust a family of p-values as Holm does; what was not tested is none of it."""
    tested = p_values.notna()
    adjusted = p_values.copy()
    adjusted[tested] = holm(p_values[tested].to_list())
    return adjusted
