"""A report as text: every table as CSV, Markdown and LaTeX, all in one Markdown, and the terminal.

Owns how tables and escapes look in each. What is told, and in which order, is `sections.py`'s.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

import pandas as pd
from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bp_pipeline.report.findings import Findings
from bp_pipeline.report.printed_tables import PrintedTable, best_learning_rates, rates
from bp_pipeline.report.sections import Outline, Section
from bp_pipeline.report.sentences import came_out, headline
from bp_pipeline.terminal import Screen
from bp_pipeline.tracking.format import unbroken

_WIDTH_OF_FILES = 160  # columns, where no terminal says how many there are
_WIDTH_OF_ANY = 1_000_000
_MANY_COLUMNS = 20  # of which none can be read where they do not fit
_SETTINGS_ON_TERMINAL = 20
_LINES_OF_SETTINGS = 42  # of two tables, so that with all around them some 60 lines are printed
_LONG_TABLE = 40  # rows, from which on LaTeX breaks it over pages
# Signs that pdfLaTeX has in math only, or that its default fonts lack or replace.
_IN_LATEX = str.maketrans(
    {"−": "$-$", "≥": r"$\ge$", "<": "$<$", ">": "$>$", "|": "$|$", "–": "--", "·": r"$\cdot$"}
    | {"×": r"$\times$", "²": "$^2$", "η": r"$\eta$"}
)


def write_tables(tables: Sequence[PrintedTable], folder: Path) -> None:
    """Write `<table>.csv` with all digits, and `.md` and `.tex` as the page shows it."""
    for table in tables:
        table.numbers.to_csv(folder / f"{table.name}.csv", index=False, lineterminator="\n")
        _write(folder / f"{table.name}.md", markdown(table.text))
        _write(folder / f"{table.name}.tex", latex(table.text, table.n_keys))


def write_markdown(report: Outline, path: Path) -> None:
    """Write what the page says, without its pictures: each table below what it shows."""
    parts = [f"# {escape_markdown(report.headline)}", *map(escape_markdown, report.lead)]
    for section in report.sections:
        parts += _section(section)
    _write(path, "\n\n".join(part for part in parts if part))


def _section(section: Section) -> list[str]:
    facts = [
        f"- {escape_markdown(name)}: {escape_markdown(value)}" for name, value in section.facts
    ]
    sentences = map(escape_markdown, section.sentences)
    parts = [f"## {escape_markdown(section.headline)}", "\n".join(facts), *sentences]
    if section.command is not None:
        parts.append(f"    {section.command}")
    for table in section.tables:
        parts += [f"### {table.title}", markdown(table.text), escape_markdown(table.note)]
    return parts


def markdown(text: pd.DataFrame) -> str:
    """Write a table for Markdown, whatever its cells hold."""
    safe = text.map(escape_markdown)
    safe.columns = safe.columns.map(escape_markdown)
    return str(safe.to_markdown(index=False, disable_numparse=True))


def escape_markdown(text: str) -> str:
    """Keep a text from being markup or from ending its cell."""
    html = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"([\\`*|\[\]])|(?<!\w)_|_(?!\w)", lambda found: "\\" + found.group(), html)


def latex(text: pd.DataFrame, n_keys: int) -> str:
    """Write a table for LaTeX with the packages booktabs and longtable."""
    columns = "l" * n_keys + "r" * (text.shape[1] - n_keys)
    long = len(text) > _LONG_TABLE
    table = text.to_latex(index=False, escape=True, column_format=columns, longtable=long)
    return str(table).translate(_IN_LATEX)


def print_report(findings: Findings) -> None:
    """Print what came out, convergence rates, and the best learning rate of the best settings."""
    if findings.outcomes.empty:
        print_tables([came_out(findings)], [], 0)
        return
    sentences = [came_out(findings), headline(findings)]
    screen, most = _screen(), _SETTINGS_ON_TERMINAL
    if screen.is_terminal:  # where sentences take more lines
        n_more = sum(_wrapped(each, screen.width).plain.count("\n") for each in sentences)
        most = min(most, (_LINES_OF_SETTINGS - n_more) // 2)
    shown = findings.best_settings(max(1, most))
    best = best_learning_rates(findings)
    tables = [
        replace(table, text=table.text.iloc[shown, :n_columns])
        for table, n_columns in ((rates(findings), None), (best, best.n_keys + 4))
    ]
    print_tables(sentences, tables, len(shown))
    if left := len(best.text) - len(shown):
        print(f"The best of {len(best.text):,} settings; the report has {left:,} more.")


def print_tables(sentences: Sequence[str], tables: Sequence[PrintedTable], n_rows: int) -> None:
    """Print sentences, the first one in bold, and the first rows of some tables."""
    console = _screen()
    console.print()
    for number, sentence in enumerate(sentences):
        console.print(_wrapped(sentence, console.width), style=None if number else "bold")
    for table in tables:
        console.print(f"\n{table.title}", highlight=False)
        grid = _grid(table, table.text.iloc[:n_rows])
        unlimited = console.options.update(max_width=_WIDTH_OF_ANY)  # else the screen's at most
        width = Measurement.get(console, unlimited, grid).maximum
        if len(grid.columns) > _MANY_COLUMNS and width > console.width:
            console.print(f"Its {len(grid.columns)} columns do not fit; {table.name}.csv has them.")
            continue
        console.print(grid)
        if left := len(table.text[n_rows:]):
            console.print(f"{left:,} more rows are in {table.name}.csv.")


def _screen() -> Screen:
    console = Screen()
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    return console


def _wrapped(text: str, width: int) -> Text:
    """Break lines, but not within an interval."""
    lines = wrap(unbroken(text), width, break_on_hyphens=False, break_long_words=False)
    return Text("\n".join(lines).replace("\u00a0", " ").replace("\u2060", ""))


def _grid(table: PrintedTable, text: pd.DataFrame) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, column in enumerate(text.columns):
        is_key = number < table.n_keys
        grid.add_column(Text(column), justify="left" if is_key else "right", no_wrap=True)
    for row in text.itertuples(index=False):
        grid.add_row(*map(Text, row))
    return grid


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
