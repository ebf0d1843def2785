"""An explanation as text: for a terminal, as Markdown, as JSON; `page.py` makes the page.

Owns layout and rounding. Results are written in the shortest form that reads back as the same
double; numbers put into a formula have `DIGITS` digits, except in JSON, which has all of them.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bp_pipeline.explain.article import Comparison
from bp_pipeline.explain.equation import Equation, Section, spell
from bp_pipeline.explain.explanation import Explanation
from bp_pipeline.explain.page import render_page

DIGITS = 6
ROUNDING = (
    f"Numbers put into a formula are rounded to {DIGITS} significant digits; results have all "
    "digits that tell them from other doubles."
)
_WIDTH_OF_FILES = 120  # columns, where no terminal says how many there are
_INDENT = 2
_GAP = 2  # columns between the parts of equations that fit on one line
_STYLES = ("", "dim", "bold")  # of formula, numbers and result
_SAME, _OTHER = "✓", "✗"


def to_terminal(explanation: Explanation, console: Console) -> None:
    """Print an explanation, in colour where there is some."""

    def put(content: RenderableType, indent: int = _INDENT) -> None:
        console.print(Padding(content, (0, 0, 0, indent)), highlight=False)

    def head(title: str, remark: str = "") -> None:
        console.print()
        put(Text(title, style="bold"), 0)
        if remark:
            put(Text(remark, style="dim"), 0)

    put(Text(explanation.title, style="bold"), 0)
    put(_facts(explanation))
    for section in explanation.sections:
        head(section.title, section.remark)
        put(_equations(section, console.width - _INDENT))
    head("What the step did")
    put(_effect(explanation))
    if explanation.comparison:
        head("The article beside it", "What it prints, and what its own equations give.")
        put(_comparison(explanation.comparison, console.width))
    console.print()
    for remark in [*explanation.remarks, ROUNDING]:
        put(Text(remark, style="dim"), 0)


def _facts(explanation: Explanation) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in explanation.facts:
        grid.add_row(Text(name, style="dim"), Text(value))
    return grid


def _equations(section: Section, width: int) -> Table | Text:
    """Lay equations out on one line each where all of them fit, else on a line for each part."""
    parts = [_parts(equation) for equation in section.equations]
    columns = [max(map(len, column)) for column in zip(*parts, strict=True)] if parts else []
    if sum(columns) + _GAP * (len(columns) - 1) <= width:
        return _in_lines(parts)
    return _stacked(parts)


def _parts(equation: Equation) -> list[str]:
    """Give name and sign, formula, numbers, result; nothing for what would only be repeated."""
    signs = (equation.sign, "=", "=")
    written = zip(signs, equation.in_short(DIGITS), strict=True)
    return [equation.name, *(f"{sign} {part}" if part else "" for sign, part in written)]


def _in_lines(parts: Sequence[Sequence[str]]) -> Table:
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    for style in _STYLES:
        grid.add_column(style=style, no_wrap=True)
    for row in parts:
        grid.add_row(*map(Text, row))
    return grid


def _stacked(parts: Sequence[Sequence[str]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column()
    for name, *lines in parts:
        styled = [(line, style) for line, style in zip(lines, _STYLES, strict=True) if line]
        labels = [name, *[""] * (len(styled) - 1)]
        for label, (line, style) in zip(labels, styled, strict=True):
            grid.add_row(label, _hanging(line, style))
    return grid


def _hanging(line: str, style: str) -> Table:
    """Wrap a part of an equation to the right of its sign."""
    sign, _, text = line.partition(" ")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(f"{sign:>2}"), Text(text, style=style))
    return grid


def _effect(explanation: Explanation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in ("before", "after"):
        table.add_column(name, justify="left", no_wrap=True)
    for change in explanation.effect:
        table.add_row(change.name, spell(change.before), spell(change.after))
    return table


def _comparison(comparison: Sequence[Comparison], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=False)
    table.add_column("quantity", max_width=24)
    table.add_column("article", justify="right", no_wrap=True)
    table.add_column("computed", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("place in the article, and why it differs", ratio=1)
    for entry in comparison:
        mark = Text(_OTHER, style="bold red") if entry.why else Text(_SAME, style="green")
        place = Text(entry.place, style="dim")
        text = Text.assemble(place, "\n", entry.why) if entry.why else place
        table.add_row(entry.title, spell(entry.prints), _computed(entry), mark, text)
    return table


def _computed(entry: Comparison) -> str:
    return "none" if entry.computed is None else spell(entry.computed)


def as_text(explanation: Explanation) -> str:
    """Write what a terminal shows, as wide and colourful as stdout is."""
    screen = Console()
    width = screen.width if screen.is_terminal else _WIDTH_OF_FILES
    console = Console(
        file=StringIO(), width=width, force_terminal=screen.is_terminal, color_system="auto"
    )
    to_terminal(explanation, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" +\n", "\n", text))


def as_markdown(explanation: Explanation) -> str:
    """Write tables."""
    parts = [f"# {_cell(explanation.title)}"]
    parts.append("\n".join(f"- {name}: {_cell(value)}" for name, value in explanation.facts))
    for section in explanation.sections:
        rows = [(f"{e.name} {e.sign}", *e.in_short(DIGITS)) for e in section.equations]
        table = _table(("", "formula", "with numbers", "result"), rows)
        parts += [f"## {section.title}", section.remark, table]
    changes = [(c.name, spell(c.before), spell(c.after)) for c in explanation.effect]
    parts += ["## What the step did", _table(("", "before", "after"), changes)]
    if explanation.comparison:
        entries = [
            (e.title, spell(e.prints), _computed(e), e.place, e.why or "")
            for e in explanation.comparison
        ]
        header = ("quantity", "article", "computed", "place in the article", "why they differ")
        parts += ["## The article beside it", _table(header, entries)]
    return "\n\n".join([*parts, *map(_cell, explanation.remarks), ROUNDING]) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Take from a text what means something in a Markdown table."""
    for special in ("\\", "|", "*", "_", "<", "[", "`"):
        text = text.replace(special, "\\" + special)
    return text.replace("\n", " ")


def as_json(explanation: Explanation) -> str:
    """Write every number with all its digits; infinities and NaN are texts."""
    step = explanation.step
    document = {
        "sample": step.sample,
        "epoch": step.epoch,
        "replicate": step.replicate,
        "inputs": list(step.inputs),
        "targets": list(step.targets),
        "config": step.config.model_dump(exclude={"labels"}, exclude_none=True),
        "config_digest": step.config.config_digest,
        "sections": [_section(section) for section in explanation.sections],
        "weights": [_weight(explanation, index) for index in range(len(explanation.weights))],
        "effect": [change.__dict__ for change in explanation.effect],
        "article": [entry._asdict() for entry in explanation.comparison],
        "remarks": explanation.remarks,
    }
    return json.dumps(_finite(document), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _section(section: Section) -> dict[str, Any]:
    equations = [
        {"name": e.name, "formula": e.symbols, "numbers": e.numbers(), "value": e.value}
        for e in section.equations
    ]
    return {"title": section.title, "equations": equations}


def _weight(explanation: Explanation, index: int) -> dict[str, Any]:
    """Give one weight, its place in the arrays of `weights/*.npz`, and what the step did to it."""
    weight, step = explanation.weights[index], explanation.step
    numbers = {
        "before": step.weights,
        "gradient": step.gradient,
        "velocity_before": step.velocity,
        "velocity_after": step.new_velocity,
        "after": step.new_weights,
    }
    at = weight.layer - 1, (weight.row, weight.column)
    return {
        "name": weight.name,
        "from": weight.source,
        "to": weight.target,
        "array": f"layer_{weight.layer}",
        "index": [weight.row, weight.column],
        **{name: float(layers[at[0]][at[1]]) for name, layers in numbers.items()},
    }


def _finite(value: Any) -> Any:
    """Write what JSON has no number for as text."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


FORMATS: dict[str, Callable[[Explanation], str]] = {
    "terminal": as_text,
    "md": as_markdown,
    "html": render_page,
    "json": as_json,
}
