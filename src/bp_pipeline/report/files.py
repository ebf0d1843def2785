"""The files of a report: every table as CSV, Markdown and LaTeX, and all in one Markdown."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bp_pipeline.report.findings import Findings
from bp_pipeline.report.printed import Table


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write `<table>.csv` with all digits, and `.md` and `.tex` as the page shows it."""
    for table in tables:
        table.numbers.to_csv(folder / f"{table.name}.csv", index=False, lineterminator="\n")
        _write(folder / f"{table.name}.md", markdown(table.text))
        _write(folder / f"{table.name}.tex", latex(table.text, table.n_keys))


def write_markdown(findings: Findings, tables: Sequence[Table], path: Path) -> None:
    """Write what the page says, without its pictures: each table below what it shows."""
    if findings.summary.empty:
        _write(path, f"# {escape_markdown(findings.came_out())}")
        return
    parts = [
        f"# {escape_markdown(findings.winner())}",
        escape_markdown(f"{findings.asked()} {findings.criterion()}".strip()),
        escape_markdown(f"{findings.came_out()} {findings.luck()}".strip()),
    ]
    for sentences, names in (
        ([findings.rates()], ["rates", "median_epochs"]),
        ([findings.speed()], ["best_learning_rates"]),
        ([findings.losses()], []),
        (findings.differences(), ["factors", "activation_tests", "init_tests"]),
        (["Every run"], ["summary"]),
    ):
        headline, *others = map(escape_markdown, sentences)
        parts += [f"## {headline}", *others]
        for table in (table for table in tables if table.name in names):
            parts += [f"### {table.title}", markdown(table.text), escape_markdown(table.note)]
    _write(path, "\n\n".join(part for part in parts if part))


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
    return text.to_latex(index=False, escape=True, column_format=columns, longtable=len(text) > 40)


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
