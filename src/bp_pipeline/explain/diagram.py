"""The network as a diagram: where its circles, lines and labels are, and what is written there.

Owns the geometry and the short spelling of numbers. How it looks stands in `page.html.jinja`.
"""

import cmath
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bp_pipeline.explain.explanation import Explanation
from bp_pipeline.explain.notation import Weight

RADIUS, LINE = 34, 18  # of a unit, and height of a label, pixels
DELTA = 46  # from the centre of a unit down to its delta, pixels
_SHORT_DIGITS, _FEWER_DIGITS = 4, 2  # of numbers in the diagram, and of long ones
_WIDEST = 8  # characters of a number that a circle has room for
_MARGIN, _ROW = 56, 130  # pixels; the row is from unit to unit
_COLUMN, _COLUMN_WITHOUT_LABELS = 440, 240  # from layer to layer, pixels
_GROWTH = (1.0, 1.25, 1.5, 1.75, 2.0)  # of columns and rows, until labels have room
_CHARACTER = 7.4  # width of a label's characters, pixels
_MOST_LABELS = 30  # weights written into the diagram; more would cover each other
_MOST_UNITS = 24  # in a layer that is drawn
_GAP = 3  # between labels, pixels
_ROUNDS = 12  # in which labels make room for each other
_PLACES = sorted((i / 50 for i in range(8, 43)), key=lambda place: abs(place - 0.5))  # on a link

Point = tuple[float, float]


@dataclass(frozen=True)
class Circle:
    """A unit of the diagram."""

    x: float
    y: float
    name: str
    value: str
    delta: str
    is_constant: bool


@dataclass(frozen=True)
class Link:
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
    def ends(self) -> tuple[complex, complex]:
        """Ends of the label's middle line."""
        direction = cmath.rect(self.length / 2, math.radians(self.angle))
        return complex(*self.middle) - direction, complex(*self.middle) + direction


@dataclass(frozen=True)
class Diagram:
    """The network as circles and lines."""

    width: float
    height: float
    circles: list[Circle]
    links: list[Link]
    is_labelled: bool


def draw(explanation: Explanation) -> Diagram | None:
    """Return the network as a diagram, None where it is too large to be read.

    It grows until no label covers another or a unit, and has none where that does not help.
    """
    names = explanation.names
    columns = [names.units(layer, with_bias=True) for layer in range(names.last + 1)]
    if max(map(len, columns)) > _MOST_UNITS:
        return None
    if len(names.all_weights()) <= _MOST_LABELS:
        for growth in _GROWTH:
            drawn = _laid_out(explanation, columns, _COLUMN * growth, _ROW * growth)
            labelled = _with_labels(drawn)
            if labelled is not None:
                return labelled
    return _laid_out(explanation, columns, _COLUMN_WITHOUT_LABELS, _ROW)


def _laid_out(
    explanation: Explanation, columns: Sequence[Sequence[str]], column: float, row: float
) -> Diagram:
    """Return the diagram without labels, each layer in a column of its own, centred."""
    most = max(map(len, columns))
    places = {
        name: (_MARGIN + column * layer, _MARGIN + row * ((most - len(units)) / 2 + index))
        for layer, units in enumerate(columns)
        for index, name in enumerate(units)
    }
    return Diagram(
        2 * _MARGIN + column * (len(columns) - 1),
        2 * _MARGIN + row * (most - 1),
        [_circle(explanation, name, *place) for name, place in places.items()],
        [_link(explanation, weight, places) for weight in explanation.names.all_weights()],
        is_labelled=False,
    )


def _circle(explanation: Explanation, name: str, x: float, y: float) -> Circle:
    values = explanation.values
    delta = f"δ_{name}"
    written = short(values[delta]) if delta in values else ""
    return Circle(x, y, name, short(values[name]), written, f"a_{name}" not in values)


def _link(explanation: Explanation, weight: Weight, places: Mapping[str, Point]) -> Link:
    before, after = change_of(explanation, weight)
    ends = *places[weight.from_unit], *places[weight.to_unit]
    return Link(*ends, weight.name, short(before), short(after), before)


def _with_labels(diagram: Diagram) -> Diagram | None:
    """Return a diagram with each label where it covers nothing, None where they have no room."""
    choices = [[replace(link, place=place) for place in _PLACES] for link in diagram.links]
    shape = len(choices), len(_PLACES)
    labels = _segments(link.ends for of_link in choices for link in of_link)
    centres = [complex(circle.x, circle.y) for circle in diagram.circles]
    deltas = [
        (centre + complex(-width, DELTA), centre + complex(width, DELTA))
        for centre, circle in zip(centres, diagram.circles, strict=True)
        if (width := _CHARACTER * (len(circle.delta) + 2) / 2) and circle.delta
    ]
    is_blocked = (
        _distances(labels, _segments(zip(centres, centres, strict=True))) < RADIUS + LINE / 2
    ).any(1)
    is_blocked |= (_distances(labels, _segments(deltas)) < LINE).any(1)
    clashes = (_distances(labels, labels) < LINE + _GAP).reshape(*shape, *shape)
    chosen = _choose(is_blocked.reshape(shape), clashes)
    if chosen is None:
        return None
    links = [of_link[at] for of_link, at in zip(choices, chosen, strict=True)]
    return replace(diagram, links=links, is_labelled=True)


def _choose(is_blocked: np.ndarray, clashes: np.ndarray) -> list[int] | None:
    """Return the number of a place for each label such that none clashes, None where not found.

    Parameters
    ----------
    is_blocked
        Whether there is no room for a label at a place, (label, place).
    clashes
        Whether two labels at two places clash, (label, place, label, place).
    """
    everyone = np.arange(len(is_blocked))
    chosen = is_blocked.argmin(axis=1)
    for _ in range(_ROUNDS):
        for label in everyone:
            others = np.delete(everyone, label)
            costs = clashes[label][:, others, chosen[others]].sum(axis=1)
            chosen[label] = np.where(is_blocked[label], len(everyone), costs).argmin()
        meets = clashes[everyone[:, None], chosen[:, None], everyone, chosen]
        if not (meets.sum() > len(everyone) or is_blocked[everyone, chosen].any()):
            return chosen.tolist()
    return None


Segments = tuple[np.ndarray, np.ndarray]  # their ends, as complex numbers x + iy


def _segments(ends: Iterable[tuple[complex, complex]]) -> Segments:
    array = np.array(list(ends), dtype=np.complex128).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _distances(ones: Segments, others: Segments) -> np.ndarray:
    """Return the distance between each segment of `ones` and each of `others`."""
    a, b = (ends[:, None] for ends in ones)
    c, d = (ends[None, :] for ends in others)
    cross = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
    gaps = _gap(a, c, d), _gap(b, c, d), _gap(c, a, b), _gap(d, a, b)
    return np.where(cross, 0.0, np.minimum.reduce(np.broadcast_arrays(*gaps)))


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return a number whose sign says on which side of a line a point is."""
    return ((end - start).conj() * (point - start)).imag


def _gap(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance from a point to a segment."""
    along, length = end - start, np.maximum(np.abs(end - start) ** 2, 1e-9)
    share = np.clip(((point - start) * along.conj()).real / length, 0.0, 1.0)
    return np.abs(point - start - share * along)


def short(value: float) -> str:
    """Return a number in few digits; in fewer where they, or an exponent, need more room."""
    text = f"{value + 0.0:.{_SHORT_DIGITS}g}"
    is_long = "e" in text or len(text) > _WIDEST
    return f"{value:.{_FEWER_DIGITS}g}" if is_long else text


def change_of(explanation: Explanation, weight: Weight) -> tuple[float, float]:
    """Return a weight before and after the step."""
    return weight.of(explanation.step.before.weights), weight.of(explanation.step.block.weights)
