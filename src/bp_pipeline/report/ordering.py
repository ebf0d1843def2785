"""The order of config values: numbers by size, lists by length and numbers, texts by letters.

Owns how rows and columns are put in order wherever a report lists values, since MLflow keeps lists
as text, by which `[10]` comes before `[2]`, and since a key's values may be of several types.
"""

import ast
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

Ordered = TypeVar("Ordered", pd.Series, pd.Index)
_Place = tuple[int, tuple[float, ...], str]
_NUMBER, _LIST, _TEXT, _MISSING = range(4)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Sort values."""
    return sorted(values, key=_place)


def sorted_rows(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Sort rows by the values of some columns."""
    if not keys:
        return table
    return table.sort_values([*keys], key=ranks, kind="stable", ignore_index=True)


def ranks(values: Ordered) -> Ordered:
    """Give each value its rank, the key by which pandas sorts a column or an index."""
    places = [_place(value) for value in values]
    rank = {place: number for number, place in enumerate(sorted(set(places)))}
    numbers = np.array([rank[place] for place in places], dtype=np.int64)
    return pd.Index(numbers) if isinstance(values, pd.Index) else pd.Series(numbers, values.index)


def _place(value: Any) -> _Place:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return _MISSING, (), ""
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return _NUMBER, (float(value),), ""
    numbers = _numbers(str(value))
    return (_TEXT, (), str(value)) if numbers is None else (_LIST, numbers, str(value))


def _numbers(text: str) -> tuple[float, ...] | None:
    """Read a list of numbers, its length first; None for any other text."""
    if not text.startswith("["):
        return None
    try:
        values = ast.literal_eval(text)
        return len(values), *map(float, values)
    except (ValueError, TypeError, SyntaxError):
        return None
