"""The network as a diagram: where its circles, lines and labels are, and what is written there.

Owns the geometry and the short spelling of numbers. How it looks stands in `page.html.j2`.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from bp_pipeline.explain.explanation import Explanation
from bp_pipeline.explain.names import Names, Weight

RADIUS, LINE = 34, 18  # of a unit, and height of a label, pixels
_SHORT_DIGITS, _FEWER_DIGITS = 4, 2  # of numbers in the diagram, and of long ones
_WIDEST = 8  # characters of a number that a circle has room for
_ROW, _MARGIN = 130, 56  # pixels
_COLUMN, _COLUMN_WITHOUT_LABELS = 440, 240  # from layer to layer, pixels
_CHARACTER = 7.4  # width of a label's characters, pixels
_MOST_LABELS = 30  # weights written into the diagram; more would cover each other
_MOST_UNITS = 24  # in a layer that is drawn
_ROUNDS = 4  # in which labels make room for each other
_PLACES = (0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72, 0.24, 0.76)  # of labels along a link

Point = tuple[float, float]


class Unit(NamedTuple):
    """A circle of the diagram."""

    x: float
    y: float
    name: str
    value: str
    delta: str
    is_constant: bool


class Link(NamedTuple):
    """A line of the diagram, and where along it its label stands."""

    x1: float
    y1: float
    x2: float
    y2: float
    name: str
    before: str
    after: str
    weight: float
    place: float = 0.5

    @property
    def middle(self) -> Point:
        """Centre of the label."""
        return self.x1 + self.place * (self.x2 - self.x1), self.y1 + self.place * (
            self.y2 - self.y1
        )

    @property
    def angle(self) -> float:
        """By how much the label is turned, in degrees."""
        return math.degrees(math.atan2(self.y2 - self.y1, self.x2 - self.x1))

    @property
    def length(self) -> float:
        """Width of the label."""
        change = "" if self.before == self.after else f" → {self.after}"
        return _CHARACTER * (len(f"{self.name} {self.before}{change}") + 1)

    def cover(self) -> list[Point]:
        """List points along the label."""
        (x, y), angle = self.middle, math.radians(self.angle)
        steps = [self.length * share for share in (-0.5, -0.3, -0.1, 0.1, 0.3, 0.5)]
        return [(x + step * math.cos(angle), y + step * math.sin(angle)) for step in steps]


class Diagram(NamedTuple):
    """The network as circles and lines."""

    width: float
    height: float
    units: list[Unit]
    links: list[Link]
    is_labelled: bool


def draw(explanation: Explanation) -> Diagram | None:
    """Lay out the network; None where it is too large to be read."""
    step, names = explanation.step, explanation.equations.names
    n_units = [len(step.units[0]), *(len(units) for units in step.units[1:-1])]
    n_units.append(names.layer_sizes[-1])
    if max(n_units) > _MOST_UNITS:
        return None
    weights = explanation.weights
    is_labelled = len(weights) <= _MOST_LABELS
    column = _COLUMN if is_labelled else _COLUMN_WITHOUT_LABELS
    places = _places(n_units, names, column)
    units = [_unit(explanation, name, *place) for name, place in places.items()]
    links = [_link(explanation, weight, places) for weight in weights]
    links = _spread(links) if is_labelled else links
    width = 2 * _MARGIN + column * (len(n_units) - 1)
    height = 2 * _MARGIN + _ROW * (max(n_units) - 1)
    return Diagram(width, height, units, links, is_labelled)


def _places(n_units: Sequence[int], names: Names, column: int) -> dict[str, Point]:
    """Put each layer into a column of its own, centred."""
    places: dict[str, Point] = {}
    middle = _MARGIN + _ROW * (max(n_units) - 1) / 2
    for layer, n in enumerate(n_units):
        top = middle - _ROW * (n - 1) / 2
        first = names.bias if layer == len(n_units) - 1 else 0
        for index in range(n):
            name = names.unit(layer, index + first)
            places[name] = (_MARGIN + column * layer, top + _ROW * index)
    return places


def _unit(explanation: Explanation, name: str, x: float, y: float) -> Unit:
    values = explanation.equations.values
    delta = values.get(f"δ_{name}")
    is_constant = f"a_{name}" not in values
    return Unit(x, y, name, short(values[name]), "" if delta is None else short(delta), is_constant)


def _link(explanation: Explanation, weight: Weight, places: dict[str, Point]) -> Link:
    (x1, y1), (x2, y2) = places[weight.source], places[weight.target]
    step, at = explanation.step, (weight.row, weight.column)
    before, after = (
        float(layers[weight.layer - 1][at]) for layers in (step.weights, step.new_weights)
    )
    return Link(x1, y1, x2, y2, weight.name, short(before), short(after), before)


def _spread(links: Sequence[Link]) -> list[Link]:
    """Move each label along its link to where it covers the least of the others."""
    moved = list(links)
    for index in [*range(len(links))] * _ROUNDS:
        taken = [
            point for other in (*moved[:index], *moved[index + 1 :]) for point in other.cover()
        ]
        candidates = [moved[index]._replace(place=place) for place in _PLACES]
        moved[index] = min(candidates, key=partial(_overlap, taken))
    return moved


def _overlap(taken: Sequence[Point], link: Link) -> float:
    """Tell how much of a label lies on others or on the circles at its ends."""
    distances = (math.dist(ours, other) for ours in link.cover() for other in taken)
    on_others = sum(max(0.0, 1.4 * LINE - distance) for distance in distances)
    free = math.dist((link.x1, link.y1), (link.x2, link.y2)) / 2 - RADIUS - link.length / 2
    away = abs(link.place - 0.5) * math.dist((link.x1, link.y1), (link.x2, link.y2))
    return on_others + max(0.0, away - free)


def short(value: float) -> str:
    """Write a number with few digits; with fewer where they, or an exponent, need more room."""
    text = f"{value + 0.0:.{_SHORT_DIGITS}g}"
    is_long = "e" in text or len(text) > _WIDEST
    return f"{value:.{_FEWER_DIGITS}g}" if is_long else text
