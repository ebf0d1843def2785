"""How a step is written: names of units and weights, numbers, equations.

Owns the spelling. The names are those of the article in `experiments/article`, Z1, D0, W10 and V01,
as far as they go. Which equations a step has is for `derivation.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

SYMBOL = re.compile(r"\{([^{}]*)\}")
_MOST_UNITS = 9  # in a layer, for W10 to be read as "to 1, from 0"
_MOST_TERMS = 20  # of a sum in short; between the first and the last ones stands an ellipsis
_PLUS = " + "
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Weight:
    """A weight: its name, its place in weight files, and the names of the units at its ends."""

    name: str
    layer: int
    row: int
    column: int
    from_unit: str
    to_unit: str

    def of(self, layers: Sequence[np.ndarray]) -> float:
        """Return its number in arrays of all weights, such as the gradient, layer by layer."""
        return float(layers[self.layer - 1][self.row, self.column, 0])


@dataclass(frozen=True)
class Names:
    """Names of units and weights.

    With at most one hidden layer, and at most nine units in a layer: X1, Z1, D0, W10, V01 (to,
    from). Deeper or wider networks have weights w[layer][from, to]; deeper ones have units
    Z[layer][unit], wider ones keep Z1.
    """

    layer_sizes: Sequence[int]
    bias: bool

    @property
    def last(self) -> int:
        """Number of the output layer."""
        return len(self.layer_sizes) - 1

    @property
    def outputs(self) -> list[str]:
        """Names of the output units."""
        return self.units(self.last)

    def unit(self, layer: int, index: int) -> str:
        """Return the name of the unit at this place of `Block.units`, where the bias is first."""
        if layer == self.last:
            return f"D{index - self.bias}"
        number = index + (not self.bias)
        if layer == 0:
            return f"X{number}"
        return f"Z{number}" if self.last <= 2 else f"Z[{layer}][{number}]"

    def units(self, layer: int, *, with_bias: bool = False) -> list[str]:
        """Return the names of a layer's units; the output layer has no bias unit."""
        first = 0 if with_bias and layer < self.last else int(self.bias)
        return [self.unit(layer, i) for i in range(first, self.bias + self.layer_sizes[layer])]

    def weights(self, layer: int) -> Iterator[Weight]:
        """Yield the weights into the units of a layer, those of the bias unit first."""
        for row in range(self.layer_sizes[layer - 1] + self.bias):
            for column in range(self.layer_sizes[layer]):
                ends = self.unit(layer - 1, row), self.unit(layer, column + self.bias)
                yield Weight(self._weight(layer, row, column), layer, row, column, *ends)

    def said_of_units(self) -> str:
        """Return what the letters of units mean."""
        by_layer = "Z[layer][unit] " if self.last > 2 else "Z "
        hidden = f", {by_layer}hidden units" if self.last > 1 else ""
        zero = "X0 and " + ("Z[1][0]" if self.last > 2 else "Z0") if hidden else "X0"
        bias = f"; {zero}: bias, always 1" if self.bias else ""
        return f"X inputs{hidden}, D outputs{bias}"

    def said_of_weights(self) -> str:
        """Return what the names of weights mean, by an example of each kind."""
        examples: dict[str, Weight] = {}
        for weight in sorted(self.all_weights(), key=_has_equal_numbers):
            examples.setdefault(weight.name[0], weight)
        said = [f"{w.name} leads to {w.to_unit} from {w.from_unit}" for w in examples.values()]
        order = "[layer][from, to]" if "w" in examples else "first where to, then where from"
        return f"{', '.join(said)}: {order}"

    def all_weights(self) -> list[Weight]:
        """Return all weights, layer by layer."""
        return [weight for layer in range(1, self.last + 1) for weight in self.weights(layer)]

    def _weight(self, layer: int, row: int, column: int) -> str:
        from_number = row + (not self.bias)
        to_number = column + (layer < self.last)
        if self.last <= 2 and max(self.layer_sizes) <= _MOST_UNITS:
            return f"{'V' if layer == self.last else 'W'}{to_number}{from_number}"
        return f"w[{layer}][{from_number}, {to_number}]"


@dataclass(frozen=True)
class Equation:
    """One computed number.

    Attributes
    ----------
    name, value
        What it is called, and what the core computed.
    formula, values
        How it is computed, with every symbol in braces, and what the symbols stand for.
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
        """Return the formula with numbers in, all their digits or so many significant ones."""

        def number(symbol: re.Match[str]) -> str:
            value = self.values[symbol[1]]
            text = spell(value) if digits is None else f"{value + 0.0:.{digits}g}"
            before, after = self.formula[: symbol.start()], self.formula[symbol.end() :]
            stands_free = (not before or before.endswith(("(", "if "))) and after[:1] != "²"
            return text if stands_free or not text.startswith("-") else f"({text})"

        return SYMBOL.sub(number, self.formula)

    def in_short(self, digits: int) -> tuple[str, str, str]:
        """Return formula, numbers and result as for a reader.

        Long sums are shortened, numbers rounded, and what only repeats the next part is empty.
        """
        short = replace(self, formula=shorten(self.formula))
        symbols, numbers, result = short.symbols, short.numbers(digits), spell(self.value)
        first = "" if symbols == numbers == result else symbols
        return first, "" if numbers in (symbols, result) else numbers, result


@dataclass(frozen=True)
class Section:
    """A part of the step; `remark` says what is done in it, `rules` derive what it uses."""

    title: str
    remark: str
    rules: list[str]
    equations: list[Equation]


def spell(value: float) -> str:
    """Return a number in the shortest form that reads back as the same double, zero as 0."""
    return repr(float(value) + 0.0).removesuffix(".0")


def subscript(number: int) -> str:
    """Return a number as an index."""
    return str(number).translate(_SUBSCRIPTS)


def shorten(formula: str) -> str:
    """Return a formula without the middle of a long sum; brackets and factors stay in place."""
    terms = formula.split(_PLUS)
    if len(terms) > _MOST_TERMS:
        terms = [*terms[: _MOST_TERMS - 2], "…", terms[-1]]
    return _PLUS.join(terms)


def _has_equal_numbers(weight: Weight) -> bool:
    """Whether the name does not show which of its numbers is which end."""
    to_number, from_number = re.findall("[0-9]", weight.name)[-2:]
    return to_number == from_number
