"""The files of a report: every table as CSV, Markdown and LaTeX, and all in one Markdown."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bp_pipeline.report import sentences
from bp_pipeline.report.behind import behind, how_again
from bp_pipeline.report.command import command_line
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.printed import Table

# Signs that pdfLaTeX has in math only, or that its default fonts lack or replace.
_IN_LATEX = str.maketrans(
    {"−": "$-$", "≥": r"$\ge$", "<": "$<$", ">": "$>$", "|": "$|$", "–": "--", "·": r"$\cdot$"}
    | {"×": r"$\times$", "²": "$^2$", "η": r"$\eta$"}
)


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write `<table>.csv` with all digits, and `.md` and `.tex` as the page shows it."""
    for table in tables:
        table.numbers.to_csv(folder / f"{table.name}.csv", index=False, lineterminator="\n")
        _write(folder / f"{table.name}.md", markdown(table.text))
        _write(folder / f"{table.name}.tex", latex(table.text, table.n_keys))


def write_markdown(findings: Findings, tables: Sequence[Table], path: Path) -> None:
    """Write what the page says, without its pictures: each table below what it shows."""
    if findings.summary.empty:
        _write(path, f"# {escape_markdown(sentences.came_out(findings))}")
        return
    outcome = f"{sentences.came_out(findings)} {sentences.luck(findings)}".strip()
    parts = [
        f"# {escape_markdown(sentences.winner(findings))}",
        escape_markdown(sentences.question(findings)),
        escape_markdown(outcome),
    ]
    for said, names in (
        ([sentences.rates(findings)], ["rates", "median_epochs"]),
        ([sentences.speed(findings)], ["best_learning_rates"]),
        ([sentences.losses(findings)], []),
        (sentences.differences(findings), ["factors", "activation_tests", "init_tests"]),
        (["Every run"], ["summary"]),
    ):
        headline, *others = map(escape_markdown, said)
        parts += [f"## {headline}", *others]
        for table in (table for table in tables if table.name in names):
            parts += [f"### {table.title}", markdown(table.text), escape_markdown(table.note)]
    _write(path, "\n\n".join(part for part in [*parts, *_behind(findings)] if part))


def _behind(findings: Findings) -> list[str]:
    """List what the report rests on, and the command that makes the sweep again."""
    facts = [f"- {name}: {escape_markdown(value)}" for name, value in behind(findings)]
    command = command_line(findings.sweep)
    indented = "" if command is None else f"    {command}"
    return ["## What is behind it", "\n".join(facts), how_again(command), indented]


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
    long = len(text) > 40
    table = text.to_latex(index=False, escape=True, column_format=columns, longtable=long)
    return str(table).translate(_IN_LATEX)


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
