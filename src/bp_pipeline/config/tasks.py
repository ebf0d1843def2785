"""Truth tables: the inputs and targets that networks are trained on.

Owns the rows of every task and their order (binary counting, the first input most significant).
Which task a run trains on, and whether its numbers are in range, is decided in `keys.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class TruthTable:
    """All samples of a task, in table order: an epoch is one pass over them."""

    inputs: Float64[np.ndarray, "sample input"]
    targets: Float64[np.ndarray, "sample output"]


def boolean(function: Callable[[tuple[int, ...]], int], *, bits: int = 2) -> TruthTable:
    """Tabulate a Boolean function of `bits` inputs; 0 is false and 1 is true."""
    rows = list(product((0, 1), repeat=bits))
    return table(inputs=rows, targets=[[function(row)] for row in rows])


def parity(*, bits: int) -> TruthTable:
    """Tabulate the parity of `bits` inputs: 1 where an odd number of them is 1 (two bits: XOR)."""
    return boolean(lambda row: sum(row) % 2, bits=bits)


def table(*, inputs: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]) -> TruthTable:
    """Take the rows as they are given."""
    return TruthTable(np.array(inputs, dtype=np.float64), np.array(targets, dtype=np.float64))


TASKS: dict[str, Callable[..., TruthTable]] = {
    "xor": lambda: boolean(lambda row: row[0] ^ row[1]),
    "and": lambda: boolean(lambda row: row[0] & row[1]),
    "or": lambda: boolean(lambda row: row[0] | row[1]),
    "nand": lambda: boolean(lambda row: 1 - (row[0] & row[1])),
    "nor": lambda: boolean(lambda row: 1 - (row[0] | row[1])),
    "xnor": lambda: boolean(lambda row: 1 - (row[0] ^ row[1])),
    "parity": parity,
    "table": table,
}


def truth_table(name: str, **numbers: Any) -> TruthTable:
    """Build the table of the task called `name` from the numbers of its option file."""
    return TASKS[name](**numbers)
