"""An explanation as a page of its own: one HTML file with the network drawn as a diagram.

Owns what the template is given: the geometry of the diagram, the short spelling of numbers, tables
of weights. How it looks stands in `page.html.j2`. The page loads nothing, and follows the reader's
choice of light or dark.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bp_pipeline.explain.explanation import Explanation
from bp_pipeline.explain.notation import Weight, spell

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


class Circle(NamedTuple):
    """A unit of the diagram."""

    x: float
    y: float
    name: str
    value: str
    delta: str
    is_constant: bool


class Link(NamedTuple):
    """A weight of the diagram, a line, and where along it its label stands."""

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
        x = self.x1 + self.place * (self.x2 - self.x1)
        return x, self.y1 + self.place * (self.y2 - self.y1)

    @property
    def angle(self) -> float:
        """By how much the label is turned, in degrees."""
        return math.degrees(math.atan2(self.y2 - self.y1, self.x2 - self.x1))

    @property
    def length(self) -> float:
        """Width of the label."""
        change = "" if self.before == self.after else f" → {self.after}"
        return _CHARACTER * (len(f"{self.name} {self.before}{change}") + 1)

    @property
    def cover(self) -> list[Point]:
        """Points along the label."""
        (x, y), angle = self.middle, math.radians(self.angle)
        steps = [self.length * share for share in (-0.5, -0.3, -0.1, 0.1, 0.3, 0.5)]
        return [(x + step * math.cos(angle), y + step * math.sin(angle)) for step in steps]


class Diagram(NamedTuple):
    """The network as circles and lines."""

    width: float
    height: float
    circles: list[Circle]
    links: list[Link]
    is_labelled: bool


class WeightTable(NamedTuple):
    """A layer's weights: a column for each unit they lead to, a row for each they come from.

    A cell has the weight's name, and its value before and after the step in few digits.
    """

    layer: int
    to_units: list[str]
    rows: list[tuple[str, list[tuple[str, str, str]]]]


def render_page(explanation: Explanation, digits: int) -> str:
    """Return the page; numbers put into a formula are rounded to so many digits."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["spell"] = spell
    return environment.get_template("page.html.j2").render(
        explanation=explanation,
        diagram=draw(explanation),
        tables=list(_weight_tables(explanation)),
        digits=digits,
        radius=RADIUS,
        line=LINE,
    )


def _weight_tables(explanation: Explanation) -> Iterator[WeightTable]:
    """Yield all weights layer by layer, where a diagram has no room for them."""
    names = explanation.names
    for layer in range(1, names.last + 1):
        rows: dict[str, list[tuple[str, str, str]]] = {}
        for w in names.weights(layer):
            before, after = map(short, _change(explanation, w))
            rows.setdefault(w.from_unit, []).append((w.name, before, after))
        yield WeightTable(layer, names.units(layer), list(rows.items()))


def _change(explanation: Explanation, weight: Weight) -> tuple[float, float]:
    return weight.of(explanation.step.before.weights), weight.of(explanation.step.block.weights)


def draw(explanation: Explanation) -> Diagram | None:
    """Return the network as a diagram, None where it is too large to be read."""
    names, weights = explanation.names, explanation.names.all_weights()
    columns = [names.units(layer, with_bias=True) for layer in range(names.last + 1)]
    most = max(map(len, columns))
    if most > _MOST_UNITS:
        return None
    is_labelled = len(weights) <= _MOST_LABELS
    column = _COLUMN if is_labelled else _COLUMN_WITHOUT_LABELS
    places = {
        name: (_MARGIN + column * layer, _MARGIN + _ROW * ((most - len(units)) / 2 + index))
        for layer, units in enumerate(columns)
        for index, name in enumerate(units)
    }
    links = [_link(explanation, weight, places) for weight in weights]
    return Diagram(
        2 * _MARGIN + column * (len(columns) - 1),
        2 * _MARGIN + _ROW * (most - 1),
        [_circle(explanation, name, *place) for name, place in places.items()],
        _spread(links) if is_labelled else links,
        is_labelled,
    )


def _circle(explanation: Explanation, name: str, x: float, y: float) -> Circle:
    values = explanation.values
    delta = f"δ_{name}"
    written = short(values[delta]) if delta in values else ""
    return Circle(x, y, name, short(values[name]), written, f"a_{name}" not in values)


def _link(explanation: Explanation, weight: Weight, places: Mapping[str, Point]) -> Link:
    before, after = _change(explanation, weight)
    ends = *places[weight.from_unit], *places[weight.to_unit]
    return Link(*ends, weight.name, short(before), short(after), before)


def _spread(links: Sequence[Link]) -> list[Link]:
    """Return links whose labels stand where they cover the least of the others."""
    moved = list(links)
    for index in [*range(len(links))] * _ROUNDS:
        taken = [point for other in (*moved[:index], *moved[index + 1 :]) for point in other.cover]
        candidates = [moved[index]._replace(place=place) for place in _PLACES]
        moved[index] = min(candidates, key=partial(_overlap, taken))
    return moved


def _overlap(taken: Sequence[Point], link: Link) -> float:
    """Return how much of a label lies on others or on the circles at its ends."""
    distances = (math.dist(ours, other) for ours in link.cover for other in taken)
    on_others = sum(max(0.0, 1.4 * LINE - distance) for distance in distances)
    whole = math.dist((link.x1, link.y1), (link.x2, link.y2))
    free = whole / 2 - RADIUS - link.length / 2
    return on_others + max(0.0, abs(link.place - 0.5) * whole - free)


def short(value: float) -> str:
    """Return a number in few digits; in fewer where they, or an exponent, need more room."""
    text = f"{value + 0.0:.{_SHORT_DIGITS}g}"
    is_long = "e" in text or len(text) > _WIDEST
    return f"{value:.{_FEWER_DIGITS}g}" if is_long else text
