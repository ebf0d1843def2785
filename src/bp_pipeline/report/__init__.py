"""The report of a sweep: what was asked, what came out, and how sure that is.

`load_sweep` gives a sweep as tables, also for a notebook; `write_report` writes the report's files,
`print_report` prints what matters, `describe` says it in a paragraph. When that happens, and what
MLflow is told of it, is `showcase.py`'s.

    sweep_data.py   MLflow → DataFrames
    statistics.py   survival curves, tests on pairs, shares of variance
    tables.py       DataFrames → the tables of the report, as numbers
    findings.py     the tables, each made once, and the runs to show
    sentences.py    what they say; words.py, what keys are called; text.py, how numbers are written
    printed.py      the tables as text; ordering.py, the order of their rows
    networks.py     what one network learned
    figures.py      pictures; heat_maps.py, tables of colours
    behind.py       what a report rests on; command.py, the command that makes it again
    page.py         the page; files.py, CSV, Markdown and LaTeX; terminal.py, the terminal

The files are a function of the runs' configs and results: no clock, run id, path or machine decides
a byte of them. Versions of what draws and writes them can: `requirements.txt` pins these.
"""

from pathlib import Path

from bp_pipeline.report.files import escape_markdown, markdown, write_markdown, write_tables
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.page import write_page
from bp_pipeline.report.printed import best_learning_rates, printed_tables
from bp_pipeline.report.sentences import told
from bp_pipeline.report.sweep_data import Sweep, load_sweep, read_sweep
from bp_pipeline.report.terminal import print_report

__all__ = [
    "Findings",
    "Sweep",
    "describe",
    "load_sweep",
    "print_report",
    "read_sweep",
    "write_report",
]


def write_report(findings: Findings, folder: Path) -> None:
    """Write `report.html`, `report.md`, and each table as CSV, Markdown and LaTeX."""
    tables = printed_tables(findings)
    write_tables(tables, folder)
    write_markdown(findings, tables, folder / "report.md")
    write_page(findings, tables, folder / "report.html")


def describe(findings: Findings) -> str:
    """Describe a sweep in Markdown: what was asked, what came out, and the best settings."""
    parts = [escape_markdown(" ".join(told(findings)))]
    if not findings.summary.empty:
        table = best_learning_rates(findings)
        parts += [f"**{table.title}**", markdown(table.text)]
    return "\n\n".join(parts)
