"""Two sweeps beside each other: what differs in what was asked, and in what came out, tested.

Owns which places of the two grids are the same, and when their replicates are pairs. The tests
themselves are `statistics.py`'s, how it is written `files.py`'s and `page.py`'s.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.report.comparisons import ALPHA, holm_where_tested
from bp_pipeline.report.files import print_tables, write_markdown, write_tables
from bp_pipeline.report.notation import (
    NONE,
    as_typed,
    count,
    in_order,
    name_of,
    p_value,
    percent,
    percent_interval,
)
from bp_pipeline.report.page import write_page
from bp_pipeline.report.printed_tables import PrintedTable
from bp_pipeline.report.sections import Outline, Section
from bp_pipeline.report.statistics import fisher, mcnemar
from bp_pipeline.report.sweep_data import (
    HIGH,
    LEARNING_RATE,
    LOW,
    RATE,
    Sweep,
    deterministic,
    is_config_key,
)
from bp_pipeline.terminal import counted
from bp_pipeline.tracking.format import RESULT_DIGEST

_DRAWN_ALIKE = ("task", "network.hidden", "network.bias", "init.path")  # keys that choose the draws
_MOST_VALUES = 8  # of a key that are listed
_ON_TERMINAL = 20  # rows
_SIDES = ("first", "second")


@dataclass(frozen=True)
class TwoSweeps:
    """What differs between two sweeps.

    Attributes
    ----------
    names, only
        What each is called, with its digest, and how many of its settings the other lacks.
    is_same_request
        Whether both ask for the same runs.
    asked
        One row a config key that differs: `key`, and its values in `first` and in `second`.
    results
        One row a place that both grids have: what tells it from the others, the rates of both with
        their intervals, whether the bits are the `same`, `pairs` (none where the draws are not
        shared), how many of them only one solves, and the test's `p`, also as Holm adjusts it.
    alike
        What all these places share of the axes of either sweep, by key.
    """

    names: tuple[str, str]
    only: tuple[int, int]
    is_same_request: bool
    asked: pd.DataFrame
    results: pd.DataFrame
    alike: Mapping[str, str]


def compare_two(first: Sweep, second: Sweep) -> TwoSweeps:
    """Compare two sweeps, place by place of the grid that both have."""
    axes = [*dict.fromkeys([*first.settings, *second.settings, LEARNING_RATE])]
    sides = [_places(sweep, axes) for sweep in (first, second)]
    shared = [place for place in sides[0] if place in sides[1]]
    rows = []
    for place in shared:
        pair = [side[place] for side in sides]
        values = dict(zip(axes, (pair[0].get(axis) for axis in axes), strict=True))
        rows.append({**values, **_compared((first, second), pair)})
    results, alike = pd.DataFrame(rows), {}
    if rows:
        varied = [axis for axis in axes if results[axis].map(as_typed).nunique() > 1]
        left = [axis for axis in axes if axis not in (varied or axes[:1])]
        alike = {axis: as_typed(results[axis].iloc[0]) for axis in left}
        results = results.drop(columns=left).assign(p_holm=holm_where_tested(results["p"]))
    return TwoSweeps(
        (f"{first.name} ({first.digest[:8]})", f"{second.name} ({second.digest[:8]})"),
        (len(sides[0]) - len(shared), len(sides[1]) - len(shared)),
        first.digest == second.digest,
        what_was_asked(first.runs, second.runs),
        results,
        alike,
    )


def what_was_asked(
    first: pd.DataFrame, second: pd.DataFrame | Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Return the config keys whose values differ: `key`, and those of `first` and of `second`.

    Takes a row a run, whose columns are config keys, beside others.
    """
    # A store keeps lists as text.
    second = pd.DataFrame(second).map(lambda value: str(value) if type(value) is list else value)
    keys = dict.fromkeys([*first.columns, *second.columns])
    rows = []
    for key in keys:
        if not is_config_key(key) or key == "experiment" or key.endswith(".name"):
            continue
        values = [_values(runs, key) for runs in (first, second)]
        if values[0] != values[1]:
            rows.append({"key": key, **dict(zip(_SIDES, values, strict=True))})
    return pd.DataFrame(rows, columns=["key", *_SIDES])


def asked_in_words(asked: pd.DataFrame) -> str:
    """Write what was asked otherwise, key by key."""
    told = [f"{row.key} {row.first} → {row.second}" for row in asked.itertuples()]
    return "; ".join(told) or "the same values of every key, in other combinations"


def print_comparison(two: TwoSweeps) -> None:
    """Print what differs."""
    report = comparison(two)
    tables = [table for section in report.sections for table in section.tables]
    print_tables([report.headline, *report.lead], tables, _ON_TERMINAL)


def write_comparison(two: TwoSweeps, folder: Path) -> None:
    """Write `comparison.html`, `comparison.md`, and each table as CSV, Markdown and LaTeX."""
    report = comparison(two)
    write_tables([table for section in report.sections for table in section.tables], folder)
    write_markdown(report, folder / "comparison.md")
    write_page(report, folder / "comparison.html")


def comparison(two: TwoSweeps) -> Outline:
    """Put in order what is told of two sweeps, A and B."""
    alike = ", ".join(f"{name_of(key)} {value}" for key, value in two.alike.items())
    only = [f"{count(n)} only in {side}" for n, side in zip(two.only, "AB", strict=True) if n]
    lead = [
        f"A is {two.names[0]}, B is {two.names[1]}.",
        f"Asked otherwise: {'nothing' if two.is_same_request else asked_in_words(two.asked)}.",
        f"{counted(len(two.results), 'setting')} in both{f' ({alike})' if alike else ''}"
        + "".join(f", {part}" for part in only) + ".",
    ]  # fmt: skip
    sections = []
    if len(two.asked):
        told = two.asked.set_axis(["key", "A", "B"], axis=1)
        table = PrintedTable("asked", "Keys whose values differ", two.asked, told, 1)
        sections.append(Section("asked", 0, "What was asked", "What differs", tables=[table]))
    if len(two.results):
        table = _results_table(two.results)
        sections.append(Section("results", 0, "What came out", _headline(two), tables=[table]))
    return Outline("two sweeps", _headline(two), lead, sections)


def _headline(two: TwoSweeps) -> str:
    rows = two.results
    if rows.empty:
        return "The two sweeps have no setting in common"
    if rows["same"].all():
        return f"The same bits in all {counted(len(rows), 'setting')} that both have"
    n_tested = int(rows["p"].notna().sum())
    if not n_tested:
        return "Nothing to test: the sweeps share these runs, or the runs draw nothing"
    found = rows[rows["p_holm"] < ALPHA]
    higher = int((found["first/rate"] > found["second/rate"]).sum())
    n_same = int(rows["same"].sum())
    text = f"Tests find {len(found)} of {counted(n_tested, 'setting')} to differ in what is solved"
    if len(found):
        text = f"{text}: A is better in {higher}, B in {len(found) - higher}"
    return f"{text}; {counted(n_same, 'other')} came out with the same bits" if n_same else text


def _results_table(rows: pd.DataFrame) -> PrintedTable:
    keys = [*rows.columns[: rows.columns.get_loc("first/rate")]]
    text = pd.DataFrame({name_of(key): rows[key].map(as_typed) for key in keys}, rows.index)
    for side, letter in zip(_SIDES, "AB", strict=True):
        text[f"{letter}, %"] = rows[f"{side}/rate"].map(percent)
        ends = zip(rows[f"{side}/rate_low"], rows[f"{side}/rate_high"], strict=True)
        text[f"{letter}: 95 % interval"] = [percent_interval(*pair) for pair in ends]
    text["bits"] = np.where(rows["same"], "same", NONE)
    for column, name in (("pairs", "pairs"), ("only_first", "only A"), ("only_second", "only B")):
        text[name] = rows[column].map(count)
    text["p"] = rows["p_holm"].map(p_value)
    note = (
        "Rates of solving the task when training ends, with Wilson's interval. Where both started "
        "from the same draws, replicates are pairs, and p is McNemar's exact test on those that "
        "only A or only B solves; elsewhere it is Fisher's exact test. One family, corrected by "
        "Holm. Bits are the same where all weights, losses and outcomes are: runs of which both "
        "sweeps have the bits are one result, not two, and no test counts them. Where nothing is "
        "drawn there is no test. A large p does not say that two are equal."
    )
    return PrintedTable("compared", "Setting by setting", rows, text, len(keys), note)


def _values(runs: pd.DataFrame, key: str) -> str:
    if key not in runs:
        return NONE
    values = [as_typed(value) for value in in_order(runs[key].dropna().unique())]
    shown = ", ".join(values[:_MOST_VALUES])
    return (f"{shown}, … ({len(values)})" if values[_MOST_VALUES:] else shown) or NONE


def _places(sweep: Sweep, axes: list[str]) -> dict[tuple[str, ...], dict[Hashable, Any]]:
    """Return the places of a grid by their values of some axes, as texts."""
    rows = sweep.finished.to_dict("records")
    return {tuple(as_typed(row.get(axis)) for axis in axes): row for row in rows}


def _compared(sweeps: tuple[Sweep, Sweep], places: list[dict[Hashable, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for side, place in zip(_SIDES, places, strict=True):
        row |= {f"{side}/{name.partition('/')[2]}": place[name] for name in (RATE, LOW, HIGH)}
    runs = [_runs(*side) for side in zip(sweeps, places, strict=True)]
    digests = [sorted(of_side[RESULT_DIGEST].astype(str)) for of_side in runs]
    both = set(digests[0]) & set(digests[1])
    ends = [_ends(*side, both) for side in zip(sweeps, runs, strict=True)]
    row |= {"same": digests[0] == digests[1], "pairs": np.nan, "only_first": np.nan}
    row |= {"only_second": np.nan, "p": np.nan}
    if deterministic(pd.DataFrame(places)).any() or not all(map(len, ends)):
        return row
    if _share_draws(*places):
        pairs = ends[0].merge(ends[1], on=["seed", "replicate"], suffixes=("_1", "_2"))
        did = [pairs[f"solved_{side}"].to_numpy(dtype=bool) for side in (1, 2)]
        if len(pairs):
            only = {f"only_{a}": int((did[i] & ~did[1 - i]).sum()) for i, a in enumerate(_SIDES)}
            return row | only | {"pairs": len(pairs), "p": mcnemar(*did).p_value}
    did = [side["solved"].to_numpy(dtype=bool) for side in ends]
    return row | {"p": fisher(*did)}


def _runs(sweep: Sweep, place: dict[Hashable, Any]) -> pd.DataFrame:
    return sweep.runs[sweep.runs["run_id"].isin(place["run_ids"])]


def _ends(sweep: Sweep, runs: pd.DataFrame, left_out: set[str]) -> pd.DataFrame:
    """Return what became of the replicates of runs, of these results excepted."""
    seeds = runs.loc[~runs[RESULT_DIGEST].isin(left_out)].set_index("run_id")["seed"]
    rows = sweep.replicates[sweep.replicates["run_id"].isin(seeds.index)]
    return rows[["replicate", "solved"]].assign(seed=rows["run_id"].map(seeds))


def _share_draws(first: dict[Hashable, Any], second: dict[Hashable, Any]) -> bool:
    """Whether the same seed gives both the same draws: those of equal layers."""
    keys = [key for key in first if str(key).startswith(_DRAWN_ALIKE)]
    return all(as_typed(first[key]) == as_typed(second.get(key)) for key in keys)
