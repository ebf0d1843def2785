"""An explanation as a page of its own: one HTML file with the network drawn as a diagram.

Owns what the template is given; the page itself stands in `page.html.j2`, the geometry of the
diagram in `diagram.py`. The page loads nothing, and follows the reader's choice of light or dark.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bp_pipeline.explain.diagram import LINE, RADIUS, draw, short
from bp_pipeline.explain.equation import spell
from bp_pipeline.explain.explanation import Explanation


class Cell(NamedTuple):
    """A weight before and after the step, in few digits."""

    name: str
    before: str
    after: str


class WeightTable(NamedTuple):
    """The weights of a layer: a column for each unit they lead to, a row for where from."""

    layer: int
    targets: list[str]
    rows: list[tuple[str, list[Cell]]]


def render_page(explanation: Explanation, digits: int = 6) -> str:
    """Write the page; numbers put into a formula are rounded to so many digits."""
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
    """Lay out all weights layer by layer, where a diagram has no room for them."""
    step, names = explanation.step, explanation.equations.names
    for layer, (before, after) in enumerate(zip(step.weights, step.new_weights, strict=True), 1):
        rows: dict[str, list[Cell]] = {}
        for w in names.weights(layer):
            numbers = (short(float(weights[w.row, w.column])) for weights in (before, after))
            rows.setdefault(w.source, []).append(Cell(w.name, *numbers))
        yield WeightTable(layer, names.units(layer), list(rows.items()))
