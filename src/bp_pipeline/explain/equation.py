"""One equation: a name, a formula with symbols, what they stand for, and the result.

Owns how an equation and a number are written. Which equations a step has is for `equations.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

SYMBOL = re.compile(r"\{([^{}]*)\}")
_MOST_TERMS = 20  # of a sum in short; between the first and the last ones stands an ellipsis
_PLUS = " + "


class Parts(NamedTuple):
    """What is read of an equation; empty where it would only repeat what comes after it."""

    symbols: str
    numbers: str
    result: str


@dataclass(frozen=True)
class Equation:
    """One computed number.

    Attributes
    ----------
    name
        What it is called.
    formula
        How it is computed, with every symbol in braces.
    values
        What the symbols stand for.
    value
        What the core computed.
    sign
        "=", or ":=" where a new value takes the place of an old one.
    """

    name: str
    formula: str
    values: Mapping[str, float]
    value: float
    sign: str = "="

    @property
    def symbols(self) -> str:
        """The formula as one writes it."""
        return SYMBOL.sub(lambda symbol: symbol[1], self.formula)

    def numbers(self, digits: int | None = None) -> str:
        """Put the numbers in: all their digits, or rounded to so many significant ones."""

        def number(symbol: re.Match[str]) -> str:
            value = self.values[symbol[1]]
            text = spell(value) if digits is None else f"{value + 0.0:.{digits}g}"
            before, after = self.formula[: symbol.start()], self.formula[symbol.end() :]
            stands_free = (not before or before.endswith(("(", "if "))) and after[:1] != "²"
            return text if stands_free or not text.startswith("-") else f"({text})"

        return SYMBOL.sub(number, self.formula)

    def in_short(self, digits: int) -> Parts:
        """Write it for a reader: long sums shortened, numbers rounded, nothing twice."""
        short = replace(self, formula=_shorten(self.formula))
        symbols, numbers, result = short.symbols, short.numbers(digits), spell(self.value)
        return Parts(
            "" if symbols == numbers == result else symbols,
            "" if numbers in (symbols, result) else numbers,
            result,
        )


class Section(NamedTuple):
    """A part of the step; `remark` says what is done in it."""

    title: str
    remark: str
    equations: list[Equation]


def spell(value: float) -> str:
    """Write a number in the shortest form that reads back as the same double, zero as 0."""
    return repr(float(value) + 0.0).removesuffix(".0")


def _shorten(formula: str) -> str:
    """Leave out the middle of a long sum; its brackets and factors stay where they are."""
    terms = formula.split(_PLUS)
    if len(terms) > _MOST_TERMS:
        terms = [*terms[: _MOST_TERMS - 2], "…", terms[-1]]
    return _PLUS.join(terms)
