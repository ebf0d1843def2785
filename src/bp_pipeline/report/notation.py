"""How a report writes: what config keys are called, how numbers look, and the order of values.

Owns one name of each kind for every key that sweeps commonly vary (any other key is called by
itself), numbers with no more digits than mean something, and an order for values of several types,
since MLflow keeps lists as text. How MLflow's runs are named is `config`'s.
"""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, TypeVar

import numpy as np
import pandas as pd

NONE = "–"
INTERPLAY = "interplay"  # of all factors
_SMALLEST_P = 0.001
_NUMBER, _LIST, _TEXT, _MISSING = range(4)
Ordered = TypeVar("Ordered", pd.Series, pd.Index)
_SortKey = tuple[int, tuple[float, ...], str]


@dataclass(frozen=True)
class KeyNames:
    """The names of one config key.

    Attributes
    ----------
    beside
        Beside a value or above a column: `hidden layers` [2].
    one, many
        In a sentence: the `hidden layout`, 3 `hidden layouts`.
    """

    beside: str
    one: str
    many: str


_KEY_NAMES = {
    "task.bits": KeyNames("bits", "number of bits", "numbers of bits"),
    "task.inputs": KeyNames("inputs", "table of inputs", "tables of inputs"),
    "task.targets": KeyNames("targets", "table of targets", "tables of targets"),
    "network": KeyNames("network", "network", "networks"),
    "network.hidden": KeyNames("hidden layers", "hidden layout", "hidden layouts"),
    "network.bias": KeyNames("bias units", "use of bias units", "uses of bias units"),
    "network.output": KeyNames("output", "output activation", "output activations"),
    "activation.slope": KeyNames("slope", "slope", "slopes"),
    "init.bias": KeyNames("bias weights", "kind of bias weights", "kinds of bias weights"),
    "init.bound": KeyNames("bound", "bound", "bounds"),
    "init.noise": KeyNames("noise", "noise", "levels of noise"),
    "init.path": KeyNames("weights", "file of weights", "files of weights"),
    "init.std": KeyNames("std", "standard deviation", "standard deviations"),
    "init.value": KeyNames("value", "initial value", "initial values"),
    "loss": KeyNames("loss", "loss", "losses"),
    "loss.reduction": KeyNames("reduction", "reduction", "reductions"),
    "optimizer.learning_rate": KeyNames("learning rate", "learning rate", "learning rates"),
    "optimizer.momentum": KeyNames("momentum", "momentum", "values of momentum"),
    "training": KeyNames("training", "kind of training", "kinds of training"),
    "training.epochs": KeyNames("epochs", "training length", "training lengths"),
    "training.tolerance": KeyNames("tolerance", "tolerance", "tolerances"),
    "replicates": KeyNames("replicates", "number of replicates", "numbers of replicates"),
    **{
        key: KeyNames(key, key, f"{key}s")
        for key in ("activation", "init", "task", "optimizer", "experiment", "seed")
    },
}
_BRIEF = {"optimizer.learning_rate": "lr"}


def name_of(key: str) -> str:
    """Return what a config key is called beside its value."""
    return _KEY_NAMES[key].beside if key in _KEY_NAMES else key


def the(factor: str) -> str:
    """Return what a config key, or the interplay of several, is called in a sentence."""
    if factor == INTERPLAY:
        return "their interplay"
    return f"the {_KEY_NAMES[factor].one}" if factor in _KEY_NAMES else factor


def how_many(number: int, key: str) -> str:
    """Return the number of values of a config key: `2 losses`."""
    names = _KEY_NAMES.get(key, KeyNames(key, key, f"values of {key}"))
    return f"{number:,} {names.one if number == 1 else names.many}"


def brief(key: str) -> str:
    """Return a config key where there is little room: `hidden` in `hidden=[2]`."""
    return _BRIEF.get(key, key.rsplit(".", 1)[-1])


def as_typed(value: Any) -> str:
    """Write a config value as a user types it."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return NONE
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def percent(share: float) -> str:
    """Write a share as a whole percentage; 100 and 0 mean all and none."""
    return NONE if pd.isna(share) else _whole_percent(share, round(100 * share))


def percents(shares: Iterable[float]) -> list[str]:
    """Write shares as `percent` does, so that they add to 100 where they are parts of a whole.

    What is missing or too much goes to the one that is nearest to being rounded the other way;
    those below one half of a percent are left out.
    """
    parts = np.array([*shares], dtype=float)
    if not np.isclose(parts.sum(), 1.0):
        return [percent(share) for share in parts]
    whole = np.rint(100 * parts).astype(int)
    while gap := 100 - int(whole.sum()):
        step = 1 if gap > 0 else -1
        cost = np.where((whole > 0) & (whole + step > 0), step * (whole - 100 * parts), np.inf)
        if np.isinf(cost.min()):
            break  # more parts than there are hundredths
        whole[cost.argmin()] += step
    return [_whole_percent(share, int(n)) for share, n in zip(parts, whole, strict=True)]


def _whole_percent(share: float, rounded: int) -> str:
    if share > 0 and rounded <= 0:
        return "<1"
    return ">99" if share < 1 and rounded >= 100 else str(rounded)


def count(number: float) -> str:
    """Write a whole number with its thousands set apart; halves are rounded up."""
    return NONE if pd.isna(number) else f"{floor(number + 0.5):,}".replace("-", "−")


def nats(loss: float) -> str:
    """Write a loss to three significant digits; one that is not finite has none."""
    return f"{loss:.3g}" if np.isfinite(loss) else NONE


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


def listing(parts: Sequence[str]) -> str:
    """Write a list as a sentence has it: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Sort values: numbers by size, lists by length and numbers, texts by letters."""
    return sorted(values, key=_sort_key)


def sorted_rows(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Sort rows by the values of some columns, as `in_order` does."""
    if not keys:
        return table
    return table.sort_values([*keys], key=ranks, kind="stable", ignore_index=True)


def ranks(values: Ordered) -> Ordered:
    """Return the rank of each value, by which pandas sorts a column or an index."""
    keys = [_sort_key(value) for value in values]
    rank = {key: number for number, key in enumerate(sorted(set(keys)))}
    numbers = np.array([rank[key] for key in keys], dtype=np.int64)
    return pd.Index(numbers) if isinstance(values, pd.Index) else pd.Series(numbers, values.index)


def _sort_key(value: Any) -> _SortKey:
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
