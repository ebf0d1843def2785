"""The heat maps of a page: a row for each setting, a column for each learning rate.

Owns what a cell says and how strong its colour is, and how a grid of many rows is parted. How they
look is the template's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log1p

import pandas as pd

from bp_pipeline.report.findings import Findings
from bp_pipeline.report.ordering import in_order
from bp_pipeline.report.tables import DETERMINISTIC, MEDIAN, RATE, grid
from bp_pipeline.report.text import NONE, count, percent, plain
from bp_pipeline.report.words import name_of

_DARK_ENOUGH = 68  # % of the strongest colour, from which on text is light on it, and the reverse
_MOST_ROWS = 24  # that are seen at once; a map of more is parted, or folded


@dataclass(frozen=True)
class Cell:
    """A number on its colour, which is so many percent strong; None for none."""

    text: str
    strength: int | None

    @property
    def is_strong(self) -> bool:
        """Whether text on it needs the other colour."""
        return self.strength is not None and self.strength >= _DARK_ENOUGH


@dataclass(frozen=True)
class Row:
    """A setting and its cells."""

    label: str
    is_deterministic: bool
    cells: list[Cell]


@dataclass(frozen=True)
class HeatMap:
    """One measure."""

    columns: list[str]
    rows: list[Row]


@dataclass(frozen=True)
class Pair:
    """Both measures of the same runs, under a title where there are several such pairs."""

    title: str
    rates: HeatMap
    epochs: HeatMap

    @property
    def is_folded(self) -> bool:
        """Whether there are too many rows to be seen at once."""
        return len(self.rates.rows) > _MOST_ROWS


def heat_maps(findings: Findings, runs: pd.DataFrame) -> list[Pair]:
    """Lay out some runs of the summary: one pair of maps, or one for each value of a key."""
    keys = findings.keys_of_rows
    return [
        Pair(
            title,
            _heat_map(findings, part, left, RATE),
            _heat_map(findings, part, left, MEDIAN),
        )
        for title, part, left in _parts(runs, keys)
    ]


def _parts(
    runs: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, Sequence[str]]]:
    """Part runs of too many settings by the key of the fewest values."""
    sizes = {key: size for key in keys if (size := runs[key].nunique(dropna=False)) > 1}
    if len(runs[[*keys]].drop_duplicates()) <= _MOST_ROWS or len(sizes) < 2:
        yield "", runs, keys
        return
    key = min(sizes, key=lambda key: sizes[key])
    left = [other for other in keys if other != key]
    for value in in_order(runs[key].unique()):
        part = runs[runs[key].isna() if pd.isna(value) else runs[key] == value]
        yield f"{name_of(key)} {plain(value)}", part, left


def _heat_map(findings: Findings, runs: pd.DataFrame, keys: Sequence[str], measure: str) -> HeatMap:
    numbers = grid(runs, keys, measure)
    copies = grid(runs, keys, DETERMINISTIC).eq(True).any(axis=1)
    largest = float(findings.sweep.finished["training.epochs"].max())
    places = numbers.index.to_frame(index=False)
    rows = zip(places.iterrows(), copies, numbers.to_numpy(), strict=True)
    return HeatMap(
        columns=[plain(rate) for rate in numbers.columns],
        rows=[
            Row(findings.label(place, keys), is_one, [_cell(v, measure, largest) for v in values])
            for (_, place), is_one, values in rows
        ],
    )


def _cell(value: float, measure: str, largest: float) -> Cell:
    if pd.isna(value):
        return Cell(NONE, None)
    if measure == RATE:
        return Cell(percent(value), round(100 * value))
    # Fewer epochs are a stronger colour, on the scale of the figures' axis.
    return Cell(count(value), round(100 - 100 * log1p(value) / log1p(max(largest, 1))))
