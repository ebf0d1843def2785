"""The heat maps of a page: a row for each setting, a column for each learning rate.

Owns what a cell says and how strong its colour is, and how a grid of many rows is parted. How they
look is the template's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log1p

import pandas as pd

from bp_pipeline.report.findings import Findings
from bp_pipeline.report.notation import NONE, as_typed, count, in_order, name_of, percent
from bp_pipeline.report.sweep_data import MEDIAN, RATE
from bp_pipeline.report.tables import DETERMINISTIC, grid

MOST_ROWS = 24  # that are seen at once; a map of more is parted, or folded


@dataclass(frozen=True)
class HeatCell:
    """A number on its colour, which is so many percent strong; None for none."""

    text: str
    strength: int | None


@dataclass(frozen=True)
class HeatRow:
    """A setting and its cells, one for each learning rate."""

    label: str
    is_deterministic: bool
    cells: list[HeatCell]


@dataclass(frozen=True)
class HeatMaps:
    """Rates and median epochs of the same runs, titled where there are several such pairs."""

    title: str
    learning_rates: list[str]
    rates: list[HeatRow]
    epochs: list[HeatRow]


def heat_maps(findings: Findings, runs: pd.DataFrame) -> list[HeatMaps]:
    """Lay out some runs of the outcomes: one pair of maps, or one for each value of a key."""
    return [
        HeatMaps(
            title,
            [as_typed(rate) for rate in grid(part, keys, RATE).columns],
            _heat_rows(findings, part, keys, RATE),
            _heat_rows(findings, part, keys, MEDIAN),
        )
        for title, part, keys in _parts(runs, findings.keys_of_rows)
    ]


def _parts(
    runs: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, Sequence[str]]]:
    """Part runs of too many settings by the key of the fewest values."""
    sizes = {key: size for key in keys if (size := runs[key].nunique(dropna=False)) > 1}
    if len(runs[[*keys]].drop_duplicates()) <= MOST_ROWS or len(sizes) < 2:
        yield "", runs, keys
        return
    key = min(sizes, key=lambda key: sizes[key])
    left = [other for other in keys if other != key]
    for value in in_order(runs[key].unique()):
        yield f"{name_of(key)} {as_typed(value)}", having(runs, key, value), left


def having(table: pd.DataFrame, key: str, value: object) -> pd.DataFrame:
    """Return the rows with a value of a key, which may be missing."""
    return table[table[key].isna() if pd.isna(value) else table[key] == value]


def _heat_rows(
    findings: Findings, runs: pd.DataFrame, keys: Sequence[str], measure: str
) -> list[HeatRow]:
    numbers = grid(runs, keys, measure)
    copies = grid(runs, keys, DETERMINISTIC).eq(True).any(axis=1)
    largest = float(findings.sweep.finished["training.epochs"].max())
    places = numbers.index.to_frame(index=False)
    rows = zip(places.iterrows(), copies, numbers.to_numpy(), strict=True)
    return [
        HeatRow(findings.label(place, keys), is_one, [_cell(v, measure, largest) for v in values])
        for (_, place), is_one, values in rows
    ]


def _cell(value: float, measure: str, largest: float) -> HeatCell:
    if pd.isna(value):
        return HeatCell(NONE, None)
    if measure == RATE:
        return HeatCell(percent(value), round(100 * value))
    # Fewer epochs are a stronger colour, on the scale of the figures' axis.
    return HeatCell(count(value), round(100 - 100 * log1p(value) / log1p(max(largest, 1))))
