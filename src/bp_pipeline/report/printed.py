"""The tables of a report as they are printed: title, text, and how the numbers were made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from bp_pipeline.report.findings import Findings
from bp_pipeline.report.sweep_data import LEARNING_RATE
from bp_pipeline.report.tables import (
    DETERMINISTIC,
    DIVERGED,
    FINAL_LOSS,
    HIGH,
    LOW,
    MEDIAN,
    MEDIAN_HIGH,
    MEDIAN_LOW,
    RATE,
    STALLED,
    grid,
)
from bp_pipeline.report.text import (
    count,
    epochs_interval,
    loss,
    p_value,
    percent,
    percent_interval,
    plain,
)
from bp_pipeline.report.words import INTERPLAY, brief, name_of


@dataclass(frozen=True)
class Table:
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
    note: str


def printed_tables(findings: Findings) -> list[Table]:
    """Make every table that has rows."""
    if findings.summary.empty:
        return []
    made = [
        rates(findings),
        median_epochs(findings),
        best_learning_rates(findings),
        shares_of_factors(findings),
        paired_tests(findings, "activation"),
        paired_tests(findings, "init"),
        every_run(findings),
    ]
    return [table for table in made if len(table.numbers)]


def rates(findings: Findings) -> Table:
    """Lay out the convergence rate."""
    return _grid(
        findings, "rates", "Replicates that converged, in %, by learning rate", RATE, percent
    )


def median_epochs(findings: Findings) -> Table:
    """Lay out the median epochs to convergence."""
    title = "Median epochs to convergence, by learning rate"
    return _grid(findings, "median_epochs", title, MEDIAN, count)


def best_learning_rates(findings: Findings) -> Table:
    """Show the best learning rate of each setting."""
    rows, settings = findings.best, findings.sweep.settings
    text = _keys(rows, settings)
    text["best lr"] = rows[LEARNING_RATE].map(plain)
    text["converged"] = rows[RATE].map(percent)
    text["95 % interval"] = _intervals(rows, LOW, HIGH, percent_interval)
    text["median epochs"] = rows[MEDIAN].map(count)
    text["its interval"] = _median_intervals(rows)
    note = (
        "The highest rate wins, then the smaller median of epochs, then the smaller learning rate; "
        "where nothing converged none does, and curves are those of the smallest final loss. Rates "
        "in %, with Wilson's interval; medians by Kaplan and Meier, with the interval that inverts "
        f"the log-log band. {_deterministic_note(rows)}"
    )
    title = "Best learning rate of each setting, rates in %"
    return Table("best_learning_rates", title, rows, text, len(settings), note.strip())


def shares_of_factors(findings: Findings) -> Table:
    """Show how much each factor matters."""
    rows = findings.factors
    text = pd.DataFrame(
        {
            "factor": rows["factor"].map(name_of),
            "levels": rows["levels"].map(count),
            "variance, %": rows["eta_squared"].map(percent),
        }
    )
    note = (
        "η² of main effects: the share of the variance of the runs' convergence rates that lies "
        "between the levels of one factor, averaged over all others. It describes this grid: with "
        "other levels it would be another. It is no test, and does not say which level is good."
    )
    if len(rows) and INTERPLAY not in set(rows["factor"]) and len(rows) > 1:
        note += " This grid has gaps, so that the shares of its factors overlap."
    return Table("factors", "Which factor matters most", rows, text, 1, note)


def paired_tests(findings: Findings, axis: str) -> Table:
    """Show the paired tests between activations, or between inits."""
    rows = findings.activations if axis == "activation" else findings.inits
    other = "init" if axis == "activation" else "activation"
    same = findings.sweep.settings[2:]
    text = pd.DataFrame()
    if len(rows):
        text = _keys(rows, same)
        for side in ("first", "second"):
            places = zip(
                rows[side], rows[f"{side}/{other}"], rows[f"{side}/{LEARNING_RATE}"], strict=True
            )
            text[{"first": "A", "second": "B"}[side]] = [
                f"{level} ({with_}, lr={plain(rate)})" for level, with_, rate in places
            ]
        text["A, %"] = rows["first/rate"].map(percent)
        text["B, %"] = rows["second/rate"].map(percent)
        text["only A"] = rows["only_first"].map(count)
        text["only B"] = rows["only_second"].map(count)
        text["p"] = rows["mcnemar/p_holm"].map(p_value)
        text["both"] = rows["both"].map(count)
        text["A − B, epochs"] = rows["median_difference"].map(count)
        text["p, epochs"] = rows["signed_rank/p_holm"].map(p_value)
    note = (
        "Each side at its best, chosen on the even replicates and tested on the odd ones, which "
        "are pairs: both start from the same draws. Converging at all: McNemar's exact test on the "
        "pairs of which only A or only B converged. Epochs: the median difference of the pairs "
        "that both converged, and Wilcoxon's signed-rank test. p-values after Holm's correction "
        "over this table. Inits that draw nothing take no part."
    )
    title = f"Tests between {axis}s"
    return Table(f"{axis}_tests", title, rows, text, len(same) + 2, note)


def every_run(findings: Findings) -> Table:
    """Show every run."""
    rows, axes = findings.summary, findings.sweep.axes
    text = _keys(rows, axes)
    text["n"] = rows["n"].map(count)
    for name, column in (("converged", RATE), ("stalled", STALLED), ("diverged", DIVERGED)):
        text[name] = rows[column].map(percent)
        if column == RATE:
            text["95 % interval"] = _intervals(rows, LOW, HIGH, percent_interval)
    text["median epochs"] = rows[MEDIAN].map(count)
    text["its interval"] = _median_intervals(rows)
    text["final loss"] = rows[FINAL_LOSS].map(loss)
    note = f"Rates in % of the replicates; final loss: median, in nats. {_deterministic_note(rows)}"
    return Table("summary", "Every run", rows, text, len(axes), note.strip())


def _grid(
    findings: Findings, name: str, title: str, measure: str, write: Callable[[float], str]
) -> Table:
    numbers = grid(findings.summary, findings.sweep.settings, measure)
    text = numbers.map(write)
    text.columns = pd.Index([plain(rate) for rate in numbers.columns])
    keys = numbers.index.to_frame(index=False)
    shown = pd.concat([_keys(keys, list(keys.columns)), text.reset_index(drop=True)], axis=1)
    return Table(name, title, numbers.reset_index(), shown, len(keys.columns), "")


def _keys(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    named = {brief(key) if key == LEARNING_RATE else name_of(key): rows[key] for key in keys}
    return pd.DataFrame({name: values.map(plain) for name, values in named.items()}, rows.index)


def _intervals(
    rows: pd.DataFrame, low: str, high: str, write: Callable[[float, float], str]
) -> list[str]:
    intervals = zip(rows[DETERMINISTIC], rows[low], rows[high], strict=True)
    return [DETERMINISTIC if is_one else write(*ends) for is_one, *ends in intervals]


def _median_intervals(rows: pd.DataFrame) -> list[str]:
    ends = zip(rows[MEDIAN_LOW], rows[MEDIAN_HIGH], strict=True)
    return [epochs_interval(low, high) for low, high in ends]


def _deterministic_note(rows: pd.DataFrame) -> str:
    if not rows[DETERMINISTIC].any():
        return ""
    inits = ", ".join(sorted(map(str, rows.loc[rows[DETERMINISTIC], "init"].unique())))
    return f"Deterministic ({inits}): nothing is drawn, so n is 1 and there is no interval."
