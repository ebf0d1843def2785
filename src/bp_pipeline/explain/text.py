"""An explanation as text: for a terminal, as Markdown, as JSON.

Owns layout and rounding. Results are written in the shortest form that reads back as the same
double; numbers put into a formula have `DIGITS` digits, except in JSON, which has all of them. The
page is for `page.py`.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bp_pipeline.explain.explanation import Explanation
from bp_pipeline.explain.notation import Section, Weight, spell
from bp_pipeline.explain.page import render_page
from bp_pipeline.explain.source_numbers import PrintedNumber
from bp_pipeline.explain.step import Step

DIGITS = 6
ROUNDING = (
    f"Numbers put into a formula are rounded to {DIGITS} significant digits; results have all "
    "digits that tell them from other doubles."
)
_EFFECT, _SOURCE = "What the step did", "What it prints, and what its own equations give."
_WIDTH_OF_FILES = 120  # columns, where no terminal says how many there are
_GLUE = "\ue000"  # stands for a space at which no line ends; no text has it
_INDENT, _GAP = 2, 2  # columns; the gap is between parts of equations that fit on one line
_STYLES = ("", "dim", "bold")  # of formula, numbers and result


def as_text(explanation: Explanation, width: int | None = None) -> str:
    """Return what a terminal shows, so many columns wide, or as wide and colourful as stdout is."""
    screen, written = Console(), StringIO()
    is_terminal = width is None and screen.is_terminal
    width = width or (screen.width if is_terminal else _WIDTH_OF_FILES)
    _print(explanation, Console(file=written, width=width, force_terminal=is_terminal))
    text = re.sub(r" +\n", "\n", written.getvalue().replace(_GLUE, " "))
    return re.sub(r"\n{3,}", "\n\n", text)


def _print(explanation: Explanation, console: Console) -> None:
    def put(content: RenderableType, indent: int = _INDENT) -> None:
        console.print(Padding(content, (0, 0, 0, indent)), highlight=False)

    def head(title: str, remark: str = "") -> None:
        console.print()
        put(Text(title, style="bold"), 0)
        if remark:
            put(Text(remark, style="dim"), 0)

    put(Text(explanation.title, style="bold"), 0)
    facts = Table.grid(padding=(0, 2))
    for name, value in explanation.facts:
        facts.add_row(Text(name, style="dim"), _whole(value))
    put(facts)
    for section in explanation.sections:
        head(section.title, section.remark)
        for rule in section.rules:
            put(_whole(rule), 2 * _INDENT if rule.startswith("=") else _INDENT)
        if section.rules:
            console.print()
        put(_equations(section, console.width - _INDENT))
    head(_EFFECT)
    put(_effect(explanation))
    if explanation.printed:
        head(f"The {explanation.source} beside it", _SOURCE)
        put(_printed(explanation))
    console.print()
    for remark in [*explanation.remarks, ROUNDING]:
        put(Text(remark, style="dim"), 0)


def _whole(text: str, style: str = "") -> Text:
    """Return a text in which names such as w[2][0, 1] do not break."""
    return Text(text.replace(", ", f",{_GLUE}"), style=style)


def _equations(section: Section, width: int) -> Table:
    """Return equations on one line each where all of them fit, else with a line for each part."""
    rows = [
        (e.name, symbols and f"{e.sign} {symbols}", numbers and f"= {numbers}", f"= {result}")
        for e in section.equations
        for symbols, numbers, result in [e.in_short(DIGITS)]
    ]
    columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_narrow = sum(columns) + _GAP * (len(columns) - 1) <= width
    return _in_lines(rows) if is_narrow else _stacked(rows)


def _in_lines(rows: Sequence[Sequence[str]]) -> Table:
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    for style in _STYLES:
        grid.add_column(style=style, no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _stacked(rows: Sequence[Sequence[str]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, justify="right")
    for name, *parts in rows:
        styled = [(part, style) for part, style in zip(parts, _STYLES, strict=True) if part]
        for number, (part, style) in enumerate(styled):
            sign, _, text = part.partition(" ")  # the text wraps to the right of its sign
            hanging = Table.grid(padding=(0, 1))
            hanging.add_row(Text(f"{sign:>2}"), _whole(text, style))
            grid.add_row("" if number else name, hanging)
    return grid


def _effect(explanation: Explanation) -> Table:
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("before", "after"):
        table.add_column(name, justify="left", no_wrap=True)
    for change in explanation.effect:
        table.add_row(change.name, spell(change.before), spell(change.after))
    return table


def _printed(explanation: Explanation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=False)
    table.add_column("quantity", max_width=24)
    for name in (explanation.source, "computed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(f"place in the {explanation.source}, and why it differs", ratio=1)
    for entry in explanation.printed:
        mark = Text("✗", style="bold red") if entry.why else Text("✓", style="green")
        place = Text(entry.place, style="dim")
        text = Text.assemble(place, "\n", entry.why) if entry.why else place
        table.add_row(entry.title, spell(entry.prints), _computed(entry), mark, text)
    return table


def _computed(entry: PrintedNumber) -> str:
    return "none" if entry.computed is None else spell(entry.computed)


def as_markdown(explanation: Explanation) -> str:
    """Return Markdown, with a table for each section."""
    parts = [f"# {_cell(explanation.title)}"]
    parts.append("\n".join(f"- {name}: {_cell(value)}" for name, value in explanation.facts))
    for section in explanation.sections:
        rows = [(f"{e.name} {e.sign}", *e.in_short(DIGITS)) for e in section.equations]
        table = _table(("", "formula", "with numbers", "result"), rows)
        rules = ["\n".join(f"    {rule}" for rule in section.rules)] if section.rules else []
        parts += [f"## {section.title}", section.remark, *rules, table]
    changes = [(c.name, spell(c.before), spell(c.after)) for c in explanation.effect]
    parts += [f"## {_EFFECT}", _table(("", "before", "after"), changes)]
    if explanation.printed:
        entries = [
            (e.title, spell(e.prints), _computed(e), e.place, e.why or "")
            for e in explanation.printed
        ]
        source = explanation.source
        header = ("quantity", source, "computed", f"place in the {source}", "why they differ")
        parts += [f"## The {_cell(source)} beside it", _table(header, entries)]
    return "\n\n".join([*parts, *map(_cell, explanation.remarks), ROUNDING]) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return a text without what means something in a Markdown table."""
    for special in ("\\", "|", "*", "_", "<", "[", "`"):
        text = text.replace(special, "\\" + special)
    return text.replace("\n", " ")


def as_json(explanation: Explanation) -> str:
    """Return JSON, every number with all its digits; infinities and NaN are texts."""
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
        "weights": [_weight(step, weight) for weight in explanation.names.all_weights()],
        "effect": [asdict(change) for change in explanation.effect],
        "printed": [asdict(entry) for entry in explanation.printed],
        "remarks": explanation.remarks,
    }
    return json.dumps(_finite(document), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _section(section: Section) -> dict[str, Any]:
    equations = [
        {"name": e.name, "formula": e.symbols, "numbers": e.numbers(), "value": e.value}
        for e in section.equations
    ]
    return {"title": section.title, "rules": section.rules, "equations": equations}


def _weight(step: Step, weight: Weight) -> dict[str, Any]:
    """Return a weight, its place in the arrays of `weights/*.npz`, and what the step did to it."""
    return {
        "name": weight.name,
        "from": weight.from_unit,
        "to": weight.to_unit,
        "array": f"layer_{weight.layer}",
        "index": [weight.row, weight.column],
        "before": weight.of(step.before.weights),
        "gradient": weight.of(step.block.gradients),
        "velocity_before": weight.of(step.velocity),
        "velocity_after": weight.of(step.new_velocity),
        "after": weight.of(step.block.weights),
    }


def _finite(value: Any) -> Any:
    """Return values in which what JSON has no number for is text."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


FORMATS: dict[str, Callable[[Explanation], str]] = {
    "terminal": as_text,
    "md": as_markdown,
    "html": partial(render_page, digits=DIGITS),
    "json": as_json,
}
