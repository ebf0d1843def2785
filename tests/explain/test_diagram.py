"""The page and its diagram: the numbers at its circles and lines are those of the step."""

import re
from collections import Counter
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pytest
from bs4 import BeautifulSoup, Tag
from cases import CASES, article, diverging, document, explained, page
from readers import soup, text_of, texts
from runs import make_config

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.explain import FORMATS, Explanation, explain_step
from bp_pipeline.explain.diagram import short

DRAWN = [case for case in CASES if case != "wide"]


def page_of(config: RunConfig, **step: int) -> tuple[Explanation, BeautifulSoup]:
    found = explain_step(config, **step)
    return found, soup(FORMATS["html"](found))


@cache
def page_of_case(case: str) -> tuple[Explanation, BeautifulSoup]:
    return explained(case), soup(page(case))


@cache
def page_of_hidden(*hidden: int) -> tuple[Explanation, BeautifulSoup]:
    return page_of(make_config({"network.hidden": [*hidden], "replicates": 1}, {"init": "uniform"}))


class Drawn(NamedTuple):
    """A diagram as read: units by name, links by name, labels as they stand."""

    values: dict[str, float]
    deltas: dict[str, float]
    places: dict[str, tuple[float, float]]
    links: dict[str, tuple[float, float]]
    ends: dict[str, list[tuple[float, float]]]
    negative: set[str]
    labels: dict[str, tuple[float, float]]


def read_diagram(root: BeautifulSoup) -> Drawn:
    drawn = Drawn({}, {}, {}, {}, {}, set(), {})
    for group in root.select("svg > g"):
        if group.circle:
            _read_unit(group, drawn)
        elif group.line:
            _read_link(group, drawn)
        else:
            [name] = texts(group, "tspan.name")
            drawn.labels[name] = _change(text_of(group).removeprefix(name))
    return drawn


def _read_unit(group: Tag, drawn: Drawn) -> None:
    name, value, *deltas = texts(group, "text")
    drawn.values[name] = float(value)
    for text in deltas:
        drawn.deltas[name] = float(text.removeprefix("δ "))
    x, y = re.findall(r"[0-9.]+", group["transform"])
    drawn.places[name] = float(x), float(y)


def _read_link(group: Tag, drawn: Drawn) -> None:
    name, _, change = texts(group, "title")[0].partition(": ")
    drawn.links[name] = _change(change)
    line, target = group.select("line")
    assert target["class"] == ["target"]
    assert all(line[end] == target[end] for end in ("x1", "y1", "x2", "y2"))
    drawn.ends[name] = [(float(line[f"x{n}"]), float(line[f"y{n}"])) for n in "12"]
    if group.get("class") == ["negative"]:
        drawn.negative.add(name)


def _change(text: str) -> tuple[float, float]:
    before, _, after = text.partition(" → ")
    return float(before), float(after or before)


def near(numbers: dict[str, float]) -> object:
    """Allow for rounding to two digits."""
    return {name: pytest.approx(number, rel=0.05) for name, number in numbers.items()}


@pytest.mark.parametrize("case", DRAWN)
def test_each_circle_has_its_units_activation_and_delta(case: str) -> None:
    found, root = page_of_case(case)
    drawn = read_diagram(root)
    values = {e.name: e.value for e in found.sections[0].equations if not e.name.startswith("a_")}
    inputs = {f"X{n}": x for n, x in enumerate(found.step.inputs, 1)}
    biases = {name: 1.0 for name in drawn.values if name.endswith(("0", "[0]")) and name != "D0"}
    kinds = found.step.setup.architecture
    assert len(biases) == (len(kinds.layer_sizes) - 1) * kinds.bias
    assert drawn.values == near({**inputs, **biases, **values})
    deltas = [e for e in found.sections[2].equations if e.name.startswith("δ_")]
    assert drawn.deltas == near({e.name.removeprefix("δ_"): e.value for e in deltas})


@pytest.mark.parametrize("case", DRAWN)
def test_each_link_has_its_weight_before_and_after(case: str) -> None:
    found, root = page_of_case(case)
    drawn = read_diagram(root)
    weights = {weight["name"]: weight for weight in document(found)["weights"]}
    assert drawn.links.keys() == weights.keys()
    for name, weight in weights.items():
        changed = pytest.approx((weight["before"], weight["after"]), rel=0.05)
        assert drawn.links[name] == changed
        assert drawn.ends[name] == [drawn.places[weight["from"]], drawn.places[weight["to"]]]
    assert drawn.negative == {name for name, w in weights.items() if w["before"] < 0}
    assert drawn.labels == drawn.links


# Labels


class Box(NamedTuple):
    """A rectangle: its centre, half its sizes, and by how much it is turned, in degrees."""

    x: float
    y: float
    half_width: float
    half_height: float
    angle: float = 0.0

    def corners(self) -> np.ndarray:
        turn = np.exp(1j * np.radians(self.angle))
        at = [complex(i * self.half_width, j * self.half_height) for i in (-1, 1) for j in (-1, 1)]
        return complex(self.x, self.y) + turn * np.array(at)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have points in common: no side of either has them on different sides."""
    for angle in (one.angle, one.angle + 90, other.angle, other.angle + 90):
        turned = [(box.corners() * np.exp(-1j * np.radians(angle))).real for box in (one, other)]
        if turned[0].max() < turned[1].min() or turned[1].max() < turned[0].min():
            return False
    return True


def labels_of(root: BeautifulSoup) -> dict[str, Box]:
    found = {}
    for group in root.select("svg > g:has(> rect)"):
        x, y, angle = map(float, re.findall(r"-?[0-9.]+", group["transform"]))
        size = float(group.rect["width"]) / 2, float(group.rect["height"]) / 2
        found[texts(group, "tspan.name")[0]] = Box(x, y, *size, angle)
    return found


def obstacles_of(root: BeautifulSoup) -> dict[str, Box]:
    """Return the circles, and the deltas below them, 7.4 pixels a character."""
    found = {}
    for group in root.select("svg > g:has(> circle)"):
        x, y = map(float, re.findall(r"[0-9.]+", group["transform"]))
        radius = float(group.circle["r"]) * np.sqrt(0.5)  # the square in it
        found[texts(group, "text")[0]] = Box(x, y, radius, radius)
        for delta in group.select("text.delta"):
            width = 7.4 * len(text_of(delta)) / 2
            found[text_of(delta)] = Box(x, y + float(delta["y"]), width, 6)
    return found


@pytest.mark.parametrize("case", DRAWN)
def test_no_label_covers_another_or_a_unit(case: str) -> None:
    covers_nothing(*page_of_case(case))


@pytest.mark.parametrize("hidden", [(2, 2), (2, 2, 2), (3, 2), (2, 3), (4, 2), (7,), (5,)])
def test_nor_does_it_in_networks_of_other_sizes(hidden: tuple[int, ...]) -> None:
    covers_nothing(*page_of_hidden(*hidden))


def covers_nothing(found: Explanation, root: BeautifulSoup) -> None:
    labels, obstacles = labels_of(root), obstacles_of(root)
    assert len(labels) == len(found.names.all_weights()) <= 30
    pairs = combinations(labels.items(), 2)
    assert [(a, b) for (a, one), (b, other) in pairs if overlap(one, other)] == []
    covered = product(labels.items(), obstacles.items())
    assert [(a, b) for (a, one), (b, other) in covered if overlap(one, other)] == []


@cache
def article_page() -> tuple[Explanation, BeautifulSoup]:
    return page_of(article())


def test_the_articles_weights_change_from_1_to_what_its_equations_give() -> None:
    _, root = article_page()
    links = read_diagram(root).links
    kept = {"W11", "W21", "W31", "W12", "W22", "W32"}
    assert links == {name: (1, 1 if name in kept else 0.6) for name in links}


@pytest.mark.parametrize("hidden", [(4, 4), (7, 2, 3), (40,)])
def test_weights_that_have_no_room_in_the_diagram_stand_in_tables(
    hidden: tuple[int, ...],
) -> None:
    found, root = page_of_hidden(*hidden)
    weights = {w["name"]: w for w in document(found)["weights"]}
    seen = {}
    for layer, table in enumerate(root.select("table.weights"), 1):
        assert str(layer) in table.caption.get_text()
        head, *rows = table.select("tr")
        _, *targets = texts(head, "th")
        for row in rows:
            [source] = texts(row, "th")
            for target, cell in zip(targets, row.select("td"), strict=True):
                name = cell["title"]
                assert (weights[name]["from"], weights[name]["to"]) == (source, target)
                assert weights[name]["array"] == f"layer_{layer}"
                seen[name] = _change(text_of(cell))
    assert seen == {
        name: pytest.approx((w["before"], w["after"]), rel=0.05) for name, w in weights.items()
    }
    if root.svg:
        drawn = read_diagram(root)
        assert drawn.labels == {}
        assert drawn.links == seen


def test_a_diagram_with_labels_needs_no_tables() -> None:
    _, root = article_page()
    assert root.svg
    assert root.select("table.weights") == []


def test_a_network_too_large_is_not_drawn() -> None:
    _, root = page_of_hidden(40)
    assert root.svg is None
    assert root.select("table.weights")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-6.401e65, "-6.4e+65"), (12345.678, "1.2e+04"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"),
        (0.123456, "0.1235"), (-0.00123456, "-0.0012"), (1.23e-7, "1.2e-07"), (np.inf, "inf"),
    ],
)  # fmt: skip
def test_numbers_of_the_diagram_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_numbers_of_a_diverging_network_fit_its_circles() -> None:
    _, root = page_of(diverging(), epoch=1)
    circles = [group for group in root.select("g") if group.circle]
    assert any("e+" in text_of(group) for group in circles)
    assert all(len(text) <= 9 for group in circles for text in texts(group, "text")[:2])


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_well_formed_and_loads_nothing(case: str) -> None:
    text = page(case)
    opened, closed = (Counter(re.findall(rf"<{end}([a-z0-9]+)", text)) for end in ("", "/"))
    alone = {"meta", "br", "circle", "rect", "line"}
    assert {tag: n for tag, n in opened.items() if tag not in alone} == closed
    assert soup(text).select("html > body circle")
    assert not re.search(r"(src|href)=|url\(|<script", text)


@pytest.mark.parametrize(("hidden", "n_hints"), [((3,), 1), ((4, 4), 3)])
def test_what_is_wider_than_a_phone_can_be_scrolled_by_keyboard_and_says_so(
    hidden: tuple[int, ...], n_hints: int
) -> None:
    _, root = page_of_hidden(*hidden)
    scrollers = root.select("div.wide")
    assert len(scrollers) >= 2
    assert all(node["tabindex"] == "0" and node["aria-label"] for node in scrollers)
    assert len(root.select("p.hint")) == n_hints
