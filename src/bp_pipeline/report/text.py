"""How a report writes numbers and lists: short, and never with more digits than mean something."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import numpy as np
import pandas as pd

NONE = "–"
_SMALLEST_P = 0.001


def plain(value: Any) -> str:
    """Write a config value as a user types it."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return NONE
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def percent(share: float) -> str:
    """Write a share as a whole percentage; 100 and 0 mean all and none."""
    if pd.isna(share):
        return NONE
    rounded = round(100 * share)
    return str(min(99, max(1, rounded)) if 0 < share < 1 else rounded)


def count(number: float) -> str:
    """Write a whole number with its thousands set apart."""
    return NONE if pd.isna(number) else f"{number:,.0f}".replace("-", "−")


def loss(value: float) -> str:
    """Write a loss to three significant digits."""
    return NONE if pd.isna(value) else f"{value:.3g}"


def percent_interval(low: float, high: float) -> str:
    """Write the interval of a rate, rounded outwards.

    So it is never narrower than it is, and holds the rate as `percent` writes it.
    """
    return NONE if pd.isna(low) else f"{floor(100 * low)} – {ceil(100 * high)}"


def epochs_interval(low: float, high: float) -> str:
    """Write the interval of a median, which may be open at its end, or have no end at all."""
    if pd.isna(low) or low == float("inf"):
        return NONE
    return f"≥ {count(low)}" if high == float("inf") else f"{count(low)} – {count(high)}"


def p_value(p: float) -> str:
    """Write a p-value to two significant digits."""
    if pd.isna(p):
        return NONE
    if p < _SMALLEST_P:
        return f"< {_SMALLEST_P}"
    return f"{p:.2g}" if p < 0.995 else "1"


def plural(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listing(parts: Sequence[str]) -> str:
    """Write a list as a sentence has it: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
