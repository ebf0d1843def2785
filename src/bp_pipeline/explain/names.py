"""What units, weights and losses are called.

Owns the names, which are the article's (Z1, D0, W10, V01) as far as those go. What stands behind a
name is for `equations.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_MOST_UNITS = 9  # in a layer, for W10 to be read as "to 1, from 0"
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Weight(NamedTuple):
    """One weight: which, and what the step did to it; `row` and `column` are its place in files."""

    name: str
    layer: int
    row: int
    column: int
    source: str
    target: str


@dataclass(frozen=True)
class Names:
    """What units and weights are called.

    With at most one hidden layer, and at most nine units in a layer: X1, Z1, D0, W10, V01 (to,
    from), as in the article. Deeper or wider networks have weights w[layer][from, to]; deeper ones
    have units Z[layer][unit], wider ones keep Z1.
    """

    layer_sizes: Sequence[int]
    bias: bool

    @property
    def _last(self) -> int:
        return len(self.layer_sizes) - 1

    def unit(self, layer: int, index: int) -> str:
        """Name the unit at this place of `Block.units`, where the bias unit comes first."""
        if layer == self._last:
            return f"D{index - self.bias}"
        number = index + (not self.bias)
        if layer == 0:
            return f"X{number}"
        return f"Z{number}" if self._last <= 2 else f"Z[{layer}][{number}]"

    def units(self, layer: int) -> list[str]:
        """Name the units of a layer that compute something."""
        return [self.unit(layer, i + self.bias) for i in range(self.layer_sizes[layer])]

    def weight(self, layer: int, row: int, column: int) -> str:
        """Name the weight at this place of the layer `layer` >= 1."""
        source = row + (not self.bias)
        target = column + (layer < self._last)
        if self._last <= 2 and max(self.layer_sizes) <= _MOST_UNITS:
            return f"{'V' if layer == self._last else 'W'}{target}{source}"
        return f"w[{layer}][{source}, {target}]"

    def weights(self, layer: int) -> Iterator[Weight]:
        """List the weights of a layer, bias unit first."""
        for row in range(self.layer_sizes[layer - 1] + self.bias):
            for column in range(self.layer_sizes[layer]):
                yield Weight(
                    self.weight(layer, row, column),
                    layer,
                    row,
                    column,
                    self.unit(layer - 1, row),
                    self.unit(layer, column + self.bias),
                )

    def all_weights(self) -> list[Weight]:
        """List all weights, layer by layer."""
        return [weight for layer in range(1, self._last + 1) for weight in self.weights(layer)]


def target(unit: str) -> str:
    """Name what an output should be."""
    return f"y_{unit}"


def subscript(number: int) -> str:
    """Write a number as an index."""
    return str(number).translate(_SUBSCRIPTS)
