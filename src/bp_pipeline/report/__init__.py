"""The report of a sweep: what was asked, what came out, and how sure that is.

`load_sweep` reads a sweep as tables, also for a notebook; `write_report` writes the report's files,
`print_report` prints what matters, `describe` says it in a paragraph. When that happens, and what
MLflow is told of it, is `sweep.py`'s.

    sweep_data.py      a sweep as a value; sweep_reader.py, MLflow → this value
    statistics.py      survival curves, tests on pairs, shares of variance
    tables.py          DataFrames → the tables of the report, as numbers; comparisons.py, tests
    findings.py        the tables, each made once, and the runs to show
    notation.py        how a report writes: names of keys, numbers, order of values
    question.py        what was asked; sentences.py, what came out
    printed_tables.py  the tables as text
    networks.py        what one network learned; champion.py, which is the best
    sections.py        what is told, in which order
    figures.py         pictures
    listing.py         the sweeps of a store
    page.py            the page, with heat_maps.py; files.py, CSV, Markdown, LaTeX, the terminal

The files are a function of the runs' configs and results, and of the command that was typed: no
clock, run id, path or machine decides a byte of them. Versions of what draws and writes them can:
`requirements.txt` pins these.
"""

from pathlib import Path

from bp_pipeline.playground import RecordedResult, write_playground
from bp_pipeline.report.champion import Champion, NoChampion, choose_champion, tasks
from bp_pipeline.report.files import (
    escape_markdown,
    markdown,
    print_report,
    write_markdown,
    write_tables,
)
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.listing import list_sweeps, print_sweeps
from bp_pipeline.report.page import write_page
from bp_pipeline.report.printed_tables import best_learning_rates, printed_tables
from bp_pipeline.report.sections import outline
from bp_pipeline.report.sentences import overview
from bp_pipeline.report.sweep_data import Sweep
from bp_pipeline.report.sweep_reader import load_sweep, read_sweep
from bp_pipeline.tracking import TrackingError
from bp_pipeline.tracking.format import read_config, read_result

__all__ = [
    "Champion",
    "Findings",
    "NoChampion",
    "Sweep",
    "choose_champion",
    "describe",
    "escape_markdown",
    "list_sweeps",
    "load_sweep",
    "print_report",
    "print_sweeps",
    "read_sweep",
    "tasks",
    "write_report",
]


def write_report(findings: Findings, folder: Path) -> None:
    """Write `report.html`, `report.md`, each table as CSV, Markdown and LaTeX, and playgrounds."""
    report = outline(findings)
    write_tables(printed_tables(findings), folder)
    write_markdown(report, folder / "report.md")
    write_page(report, folder / "report.html", _write_playgrounds(findings.sweep, folder))


def _write_playgrounds(sweep: Sweep, folder: Path) -> dict[str, str]:
    """Write a page that trains the champion of each task anew; return its file by the task."""
    written = {}
    for task in tasks(sweep):
        champion, file = choose_champion(sweep, task), f"playground-{task}.html"
        if isinstance(champion, NoChampion):
            continue
        try:
            with sweep.open_files(champion.run_id) as run:
                config, arrays = read_config(run), read_result(run)
                recorded = RecordedResult(champion.run_name, champion.result_digest, arrays)
                write_playground(config, folder / file, recorded, champion.replicate)
        except (OSError, ValueError, TrackingError):  # the report says so where it reads them
            continue
        written[task] = file
    return written


def describe(findings: Findings) -> str:
    """Describe a sweep in Markdown: what was asked, what came out, and the best settings."""
    parts = [escape_markdown(" ".join(overview(findings)))]
    if not findings.outcomes.empty:
        table = best_learning_rates(findings)
        parts += [f"**{table.title}**", markdown(table.text)]
    return "\n\n".join(parts)
