"""The tables of a report, made with pandas from a sweep, as numbers.

Owns which rows and columns there are and how the best of a setting is chosen. Each table has one
row for each place in the grid, or setting, or comparison; a missing number is NaN. How they look as
text is `printed_tables.py`'s.
"""

import ast
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.ensemble.summary import wilson_interval
from bp_pipeline.report.notation import INTERPLAY, ranks
from bp_pipeline.report.statistics import (
    Survival,
    eta_squared,
    holm,
    kaplan_meier,
    mcnemar,
    median_interval,
    signed_rank,
)
from bp_pipeline.report.sweep_data import (
    DIVERGED,
    FINAL_LOSS,
    HIGH,
    LEARNING_RATE,
    LOW,
    MEDIAN,
    RATE,
    STALLED,
    Sweep,
)

MEDIAN_LOW, MEDIAN_HIGH = "epochs_to_converge/low", "epochs_to_converge/high"
DETERMINISTIC = "deterministic"
ALPHA = 0.05  # tests below it are called significant


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
    outcomes = [RATE, LOW, HIGH, STALLED, DIVERGED, MEDIAN]
    table[outcomes] = runs[outcomes]
    intervals = [_median_interval(curve) for _, curve in survivals(sweep, runs["run_id"].tolist())]
    table[[MEDIAN_LOW, MEDIAN_HIGH]] = np.array(intervals, dtype=float).reshape(-1, 2)
    table.loc[table[DETERMINISTIC], [LOW, HIGH, MEDIAN_LOW, MEDIAN_HIGH]] = np.nan
    table[FINAL_LOSS] = runs[FINAL_LOSS]
    return table


def deterministic(runs: pd.DataFrame) -> pd.Series:
    """Whether the init of each run draws nothing: a constant without noise."""
    return (runs["init.name"] == "constant") & (runs["init.noise"] == 0)


def survivals(sweep: Sweep, run_ids: Sequence[str]) -> Iterator[tuple[str, Survival | None]]:
    """Estimate the share not yet converged of each run; None where its replicates are missing.

    A replicate that stalled or diverged is censored at `training.epochs`: it never converges.
    """
    groups = dict(list(sweep.replicates.groupby("place", sort=False)))
    last = sweep.finished.set_index("run_id")["training.epochs"]
    for run_id in run_ids:
        if run_id not in groups:
            yield run_id, None
            continue
        epochs = groups[run_id]["epochs_to_converge"]
        watched = epochs.fillna(last[run_id]).to_numpy(dtype=np.int64)
        yield run_id, kaplan_meier(watched, epochs.notna().to_numpy(dtype=bool))


def grid(table: pd.DataFrame, settings: Sequence[str], measure: str) -> pd.DataFrame:
    """Lay out a measure of `outcomes_by_run`: learning rates across, everything else down."""
    laid_out = table.pivot(index=[*settings], columns=LEARNING_RATE, values=measure)
    return laid_out.sort_index(key=ranks).sort_index(axis=1)


def ranked(runs: pd.DataFrame) -> pd.DataFrame:
    """Order runs from the best to the worst.

    The highest convergence rate wins, then the smaller median of epochs, then the simpler network
    (fewer hidden units, then fewer layers), then the smaller final loss (of those at which nothing
    converged), then the smaller learning rate, then the order given.
    """
    hidden = [ast.literal_eval(str(text)) for text in runs["network.hidden"]]
    keys = runs[[RATE, MEDIAN, LEARNING_RATE]].assign(
        units=[*map(sum, hidden)],
        layers=[*map(len, hidden)],
        loss=runs[FINAL_LOSS].where(runs[RATE] == 0),
    )
    order = keys.sort_values(
        [RATE, MEDIAN, "units", "layers", "loss", LEARNING_RATE],
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
    """Choose the best learning rate of each setting; where nothing converged there is none."""
    rows = best(table.loc[ranked(sweep.finished).index], sweep.settings)
    columns = [DETERMINISTIC, "n", RATE, LOW, HIGH, MEDIAN, MEDIAN_LOW, MEDIAN_HIGH]
    rows = rows[[*sweep.settings, LEARNING_RATE, *columns]]
    rows.loc[~(rows[RATE] > 0), [LEARNING_RATE, MEDIAN, MEDIAN_LOW, MEDIAN_HIGH]] = np.nan
    return rows


def factors(sweep: Sweep, table: pd.DataFrame) -> pd.DataFrame:
    """Compute the share of the variance of convergence rates that each axis explains.

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


def comparisons(sweep: Sweep, axis: str) -> pd.DataFrame:
    """Compare each two values of `axis`, the activation or the init, each at its best.

    The best learning rate of a value, and its best init or activation, are chosen on the even
    replicates; both tests are made on the odd ones. Whatever else varies is the same on both sides.
    Replicate k of both starts from the same draws: they are pairs.

    Returns
    -------
    DataFrame
        One row a comparison: what was the same, `first`, `second` and where they were best, the
        pairs and the share that converged, McNemar's test of converging at all, and the signed-rank
        test of the epochs of pairs that both converged. p-values also as Holm adjusts them, over
        all rows.
    """
    draws = drawn_replicates(sweep)
    same = sweep.settings[2:]
    rows = []
    for context, runs in _groups(draws, same):
        chosen = {
            level: _odd_at_best(sweep, of_level) for (level,), of_level in _groups(runs, [axis])
        }
        for first, second in combinations(chosen, 2):
            row = _compare(chosen[first], chosen[second])
            if row["n"]:
                places = _places(sweep, axis, chosen[first], chosen[second])
                rows.append({**dict(zip(same, context, strict=True)), **places, **row})
    table = pd.DataFrame(rows)
    for test in ("mcnemar", "signed_rank") if rows else ():
        table[f"{test}/p_holm"] = _holm_where_tested(table[f"{test}/p"])
    return table


def best_of_halves(sweep: Sweep) -> pd.Series | None:
    """Choose the best run on the even replicates, and measure it on the odd ones.

    The best of many runs is partly the luckiest, and luck does not carry over to other replicates.

    Returns
    -------
    Series or None
        The run's place in the grid and, of its odd replicates, `n` and the convergence rate with
        Wilson's interval. None where there is nothing to choose from.
    """
    draws = drawn_replicates(sweep)
    if draws["place"].nunique() < 2:
        return None
    odd = _odd_at_best(sweep, draws)
    n, n_converged = len(odd), int((odd["outcome"] == "converged").sum())
    if n == 0:
        return None
    low, high = wilson_interval(n_converged, n)
    measures = {"n": n, RATE: n_converged / n, LOW: low, HIGH: high}
    return pd.Series({**odd.iloc[0][sweep.axes], **measures})


def drawn_replicates(sweep: Sweep) -> pd.DataFrame:
    """Return the replicates that start from the same draws, in all runs that draw.

    Weights that are given are no draws of ours: they are pairs only where all runs have the same.
    """
    runs = sweep.finished
    given = runs["init.name"] == "given"
    same_file = given.all() and runs["init.path"].nunique() == 1
    drawn = runs.loc[~deterministic(runs) & (~given | same_file), "run_id"]
    return sweep.replicates[sweep.replicates["place"].isin(set(drawn))]


def _odd_at_best(sweep: Sweep, replicates: pd.DataFrame) -> pd.DataFrame:
    """Choose the best run, as runs are ranked, on the even replicates; return its odd ones."""
    is_even = replicates["replicate"].astype(int) % 2 == 0
    even = replicates[is_even]
    even = even.assign(
        converged=even["outcome"] == "converged",
        epochs=even["epochs_to_converge"].fillna(np.inf),
    )
    scores = even.groupby("place", sort=False).agg(
        rate=("converged", "mean"), median=("epochs", _lower_median)
    )
    runs = sweep.finished.set_index("run_id").loc[scores.index]
    runs = runs.assign(**{RATE: scores["rate"], MEDIAN: scores["median"]})
    return replicates[~is_even & (replicates["place"] == ranked(runs).index[0])]


def _lower_median(epochs: pd.Series) -> float:
    """Compute the lower median, which is Kaplan and Meier's where all censoring comes last."""
    return float(np.sort(epochs.to_numpy())[(len(epochs) - 1) // 2])


def _compare(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    columns = ["pair", "outcome", "epochs_to_converge"]
    pairs = first[columns].merge(second[columns], on="pair", suffixes=("_1", "_2"))
    did = [(pairs[f"outcome_{side}"] == "converged").to_numpy(dtype=bool) for side in (1, 2)]
    both = did[0] & did[1]
    epochs = [pairs[f"epochs_to_converge_{side}"][both].to_numpy(dtype=float) for side in (1, 2)]
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


def _places(
    sweep: Sweep, axis: str, first: pd.DataFrame, second: pd.DataFrame
) -> dict[str, Hashable]:
    """Return what is compared, and where in the rest of the grid each of the two was best."""
    other = next(key for key in sweep.settings[:2] if key != axis)
    sides = {"first": first.iloc[0], "second": second.iloc[0]}
    places = {side: row[axis] for side, row in sides.items()}
    for side, row in sides.items():
        places[f"{side}/{other}"] = row[other]
        places[f"{side}/{LEARNING_RATE}"] = row[LEARNING_RATE]
    return places


def _holm_where_tested(p_values: pd.Series) -> pd.Series:
    tested = p_values.notna()
    adjusted = p_values.copy()
    adjusted[tested] = holm(p_values[tested].to_list())
    return adjusted


def _median_interval(curve: Survival | None) -> tuple[float, float]:
    return (np.nan, np.nan) if curve is None else median_interval(curve)


def _groups(
    table: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    """Group by any number of keys, also none."""
    if table.empty:
        return
    if not keys:
        yield (), table
        return
    yield from table.groupby([*keys], sort=True, dropna=False)


def _levels(values: pd.Series) -> list[Hashable]:
    return values.astype(object).where(values.notna(), None).tolist()
