"""An explanation as a page of its own: one HTML file with the network drawn as a diagram.

Owns what the template is given, among it tables of weights; how it looks stands in
`page.html.jinja`, the geometry of the diagram in `diagram.py`. The page loads nothing, and follows
the reader's choice of light or dark.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bp_pipeline.explain.diagram import DELTA, LINE, RADIUS, change_of, draw, short
from bp_pipeline.explain.explanation import Explanation
from bp_pipeline.explain.notation import spell
from bp_pipeline.files import page_template

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_SHRINKS_TO = 0.85  # of its size, at which a diagram's text of 12 pixels can still be read


@dataclass(frozen=True)
class WeightTable:
    """A layer's weights: a column for each unit they lead to, a row for each they come from.

    A cell has the weight's name, and its value before and after the step in few digits.
    """

    layer: int
    to_units: list[str]
    rows: list[tuple[str, list[tuple[str, str, str]]]]


def render_page(explanation: Explanation, digits: int) -> str:
    """Return the page; numbers put into a formula are rounded to so many digits."""
    return page_template(_TEMPLATE, spell=spell, whole=_whole).render(
        explanation=explanation,
        diagram=draw(explanation),
        tables=list(_weight_tables(explanation)),
        digits=digits,
        name_width=max(8, *(len(equation.name) for equation in explanation.all_equations)),
        radius=RADIUS,
        line=LINE,
        delta=DELTA,
        shrinks_to=_SHRINKS_TO,
    )


def _whole(text: str) -> str:
    """Return a text in which names such as w[2][0, 1] do not break."""
    return text.replace(", ", ",\N{NBSP}").replace("][", "]\N{WORD JOINER}[")


def _weight_tables(explanation: Explanation) -> Iterator[WeightTable]:
    """Yield all weights layer by layer, where a diagram has no room for them."""
    names = explanation.names
    for layer in range(1, names.last + 1):
        rows: dict[str, list[tuple[str, str, str]]] = {}
        for w in names.weights(layer):
            before, after = map(short, change_of(explanation, w))
            rows.setdefault(w.from_unit, []).append((w.name, before, after))
        yield WeightTable(layer, names.units(layer), list(rows.items()))
