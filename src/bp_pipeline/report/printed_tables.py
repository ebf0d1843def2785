"""The tables of a report as they are printed: title, text, and how the numbers were made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bp_pipeline.report.findings import Findings
from bp_pipeline.report.notation import (
    INTERPLAY,
    as_typed,
    brief,
    count,
    epochs_interval,
    how_many,
    name_of,
    nats,
    p_value,
    percent,
    percent_interval,
    percents,
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
)
from bp_pipeline.report.tables import (
    DETERMINISTIC,
    MEAN,
    MEAN_HIGH,
    MEAN_LOW,
    MEDIAN_HIGH,
    MEDIAN_LOW,
    grid,
    horizon,
)

_MEAN_NOTE = (
    "The mean counts what has not converged by then as that epoch, so that it exists where half "
    "never converge; its interval is Student's."
)


@dataclass(frozen=True)
class PrintedTable:
    """A table of the report.

    Attributes
    ----------
    name, title
        Of its files, and above it.
    numbers
        As they are, for CSV.
    text
        As they are shown; the first `n_keys` columns say what a row is about.
    note
        How it was made.
    """

    name: str
    title: str
    numbers: pd.DataFrame
    text: pd.DataFrame
    n_keys: int
    note: str = ""


def printed_tables(findings: Findings) -> list[PrintedTable]:
    """Make every table that has rows."""
    if findings.outcomes.empty:
        return []
    made = [
        rates(findings),
        median_epochs(findings),
        best_learning_rates(findings),
        shares_of_factors(findings),
        *(paired_tests(findings, axis) for axis in findings.tests),
        every_run(findings),
    ]
    return [table for table in made if len(table.numbers)]


def rates(findings: Findings) -> PrintedTable:
    """Lay out the rate of solving."""
    title = "Replicates that solve their task when training ends, in %, by learning rate"
    return _grid(findings, "rates", title, RATE, percent)


def median_epochs(findings: Findings) -> PrintedTable:
    """Lay out the median epochs to convergence."""
    title = "Median epochs to convergence, by learning rate"
    return _grid(findings, "median_epochs", title, MEDIAN, count)


def best_learning_rates(findings: Findings) -> PrintedTable:
    """Show the best learning rate of each setting."""
    rows, settings = findings.best, findings.sweep.settings
    text = _keys(rows, settings)
    text["best lr"] = rows[LEARNING_RATE].map(as_typed)
    text["solved"] = rows[RATE].map(percent)
    text["95 % interval"] = _intervals(rows, LOW, HIGH, percent_interval)
    text["median epochs"] = rows[MEDIAN].map(count)
    text["its interval"] = _median_intervals(rows)
    _add_means(text, rows, findings)
    note = (
        "The rate whose interval begins highest wins (where there is none, the rate counts), then "
        "the smaller median of epochs, then the smaller learning rate; where nothing is solved "
        "none does, and curves are those of the smallest final loss. Rates "
        "in %, with Wilson's interval; medians by Kaplan and Meier, with the interval that inverts "
        f"the log-log band. {_MEAN_NOTE} {_deterministic_note(rows)}"
    )
    title = "Best learning rate of each setting, rates in %"
    return PrintedTable("best_learning_rates", title, rows, text, len(settings), note.strip())


def shares_of_factors(findings: Findings) -> PrintedTable:
    """Show how much each factor matters."""
    rows = findings.factors
    text = pd.DataFrame(
        {
            "factor": rows["factor"].map(name_of),
            "levels": rows["levels"].map(count),
            "variance, %": percents(rows["eta_squared"]),
        }
    )
    note = (
        "η² of main effects: the share of the variance of the runs' rates of solving that lies "
        "between the levels of one factor, averaged over all others. It describes this grid: with "
        "other levels it would be another. It is no test, and does not say which level is good."
    )
    if len(rows) and INTERPLAY not in set(rows["factor"]) and len(rows) > 1:
        note += " This grid has gaps, so that the shares of its factors overlap."
    return PrintedTable("factors", "Which factor matters most", rows, text, 1, note)


def paired_tests(findings: Findings, axis: str) -> PrintedTable:
    """Show the tests between the values of an axis."""
    rows = findings.tests[axis]
    varied = [key for key in findings.sweep.settings if findings.outcomes[key].nunique() > 1]
    same = [key for key in varied if key != axis]
    text = _keys(rows, same)
    for side, letter in (("first", "A"), ("second", "B")):
        text[letter] = rows[side].map(as_typed)
        if axis != LEARNING_RATE:
            text[f"{letter}: lr"] = rows[f"{side}/{LEARNING_RATE}"].map(as_typed)
    text["pairs"] = rows["n"].map(count)
    text["A, %"] = rows["first/rate"].map(percent)
    text["B, %"] = rows["second/rate"].map(percent)
    text["only A"] = rows["only_first"].map(count)
    text["only B"] = rows["only_second"].map(count)
    text["p"] = rows["mcnemar/p_holm"].map(p_value)
    text["both"] = rows["both"].map(count)
    text["A − B, epochs"] = rows["median_difference"].map(count)
    text["p, epochs"] = rows["signed_rank/p_holm"].map(p_value)
    draws = "Pairs start from the same draws."
    if axis.split(".")[0] == "network":
        draws = "Layers of other sizes start from other draws: pairs are any two networks."
    best = "" if axis == LEARNING_RATE else ", each side at its best learning rate"
    note = (
        f"All else is the same on both sides{best}, which is chosen on the even replicates and "
        f"tested on the odd ones. {draws} Solving it: McNemar's exact test on the pairs of "
        "which only A or only B does. Epochs: the median difference of the pairs that both "
        "converged, and Wilcoxon's signed-rank test. The p-values of each column are one family "
        f"of {count(len(rows))}, corrected by Holm. Inits that draw nothing take no part. A large "
        "p-value says that these pairs do not tell the two apart, and not that they are equal."
    )
    title = f"Tests between {how_many(2, axis).removeprefix('2 ')}"
    n_keys = len(same) + (2 if axis == LEARNING_RATE else 4)
    return PrintedTable(f"{axis.replace('.', '_')}_tests", title, rows, text, n_keys, note)


def every_run(findings: Findings) -> PrintedTable:
    """Show every run."""
    rows, axes = findings.outcomes, findings.sweep.axes
    text = _keys(rows, axes)
    text["n"] = rows["n"].map(count)
    text["solved"] = rows[RATE].map(percent)
    text["95 % interval"] = _intervals(rows, LOW, HIGH, percent_interval)
    for name in (CONVERGED, STALLED, DIVERGED):
        text[name.partition("/")[0]] = rows[name].map(percent)
    text["median epochs"] = rows[MEDIAN].map(count)
    text["its interval"] = _median_intervals(rows)
    _add_means(text, rows, findings)
    text["final loss"] = rows[FINAL_LOSS].map(nats)
    note = (
        "Rates in % of the replicates: solved when training ends, converged at some epoch. Final "
        "loss: median, in nats. "
        f"{_MEAN_NOTE} {_deterministic_note(rows)}"
    )
    return PrintedTable("summary", "Every run", rows, text, len(axes), note.strip())


def _grid(
    findings: Findings, name: str, title: str, measure: str, write: Callable[[float], str]
) -> PrintedTable:
    numbers = grid(findings.outcomes, findings.sweep.settings, measure)
    text = numbers.map(write)
    text.columns = pd.Index([as_typed(rate) for rate in numbers.columns])
    keys = numbers.index.to_frame(index=False)
    shown = pd.concat([_keys(keys, list(keys.columns)), text.reset_index(drop=True)], axis=1)
    return PrintedTable(name, title, numbers.reset_index(), shown, len(keys.columns))


def _keys(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    named = {brief(key) if key == LEARNING_RATE else name_of(key): rows[key] for key in keys}
    return pd.DataFrame({name: values.map(as_typed) for name, values in named.items()}, rows.index)


def _intervals(
    rows: pd.DataFrame, low: str, high: str, write: Callable[[float, float], str]
) -> list[str]:
    intervals = zip(rows[DETERMINISTIC], rows[low], rows[high], strict=True)
    return [DETERMINISTIC if is_one else write(*ends) for is_one, *ends in intervals]


def _median_intervals(rows: pd.DataFrame) -> list[str]:
    ends = zip(rows[MEDIAN_LOW], rows[MEDIAN_HIGH], strict=True)
    return [epochs_interval(low, high) for low, high in ends]


def _add_means(text: pd.DataFrame, rows: pd.DataFrame, findings: Findings) -> None:
    """Add the restricted mean; its interval is rounded outwards."""
    last = horizon(findings.sweep)
    text[f"mean to {count(last)}"] = rows[MEAN].map(count)
    ends = zip(np.floor(rows[MEAN_LOW]), np.ceil(rows[MEAN_HIGH]), strict=True)
    text["its 95 % interval"] = [epochs_interval(low, high) for low, high in ends]


def _deterministic_note(rows: pd.DataFrame) -> str:
    if not rows[DETERMINISTIC].any():
        return ""
    inits = ", ".join(sorted(map(str, rows.loc[rows[DETERMINISTIC], "init"].unique())))
    return f"Deterministic ({inits}): nothing is drawn, so n is 1 and there is no interval."
