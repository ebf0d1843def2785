"""The report of a sweep: what was asked, what came out, and how sure that is.

`load_sweep` reads a sweep as tables, also for a notebook; `write_report` writes the report's files,
`print_report` prints what matters, `describe` says it in a paragraph. When that happens, and what
MLflow is told of it, is `publish.py`'s.

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
    two_sweeps.py      what differs between two sweeps
    publish.py         where a report goes: MLflow, `reports/`, the terminal

The files are a function of the runs' configs and results, and of the command that was typed: no
clock, run id, path or machine decides a byte of them. Versions of what draws and writes them can:
`requirements.txt` pins these.
"""

import re
from pathlib import Path

import numpy as np

from bp_pipeline.playground import RecordedResult, write_playground
from bp_pipeline.report.champion import (
    Champion,
    NoChampion,
    choose_champion,
    is_better,
    tasks,
)
from bp_pipeline.report.files import (
    escape_markdown,
    markdown,
    print_report,
    write_markdown,
    write_tables,
)
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.listing import list_sweeps, print_sweeps
from bp_pipeline.report.notation import percent
from bp_pipeline.report.page import write_page
from bp_pipeline.report.printed_tables import best_learning_rates, printed_tables
from bp_pipeline.report.sections import outline
from bp_pipeline.report.sentences import came_out, headline, overview
from bp_pipeline.report.sweep_data import LEARNING_RATE, MEASURES, Sweep
from bp_pipeline.report.sweep_reader import load_sweep, read_sweep
from bp_pipeline.report.two_sweeps import (
    asked_in_words,
    compare_two,
    print_comparison,
    what_was_asked,
    write_comparison,
)
from bp_pipeline.tracking.format import unbroken
from bp_pipeline.tracking.run_files import read_config, read_result

__all__ = [
    "Champion",
    "Findings",
    "NoChampion",
    "Sweep",
    "asked_in_words",
    "best_measures",
    "choose_champion",
    "compare_two",
    "describe",
    "escape_markdown",
    "is_better",
    "list_sweeps",
    "load_sweep",
    "percent",
    "print_comparison",
    "print_report",
    "print_sweeps",
    "read_sweep",
    "tasks",
    "what_was_asked",
    "write_comparison",
    "write_report",
]


def write_report(findings: Findings, folder: Path) -> None:
    """Write `report.html`, `report.md`, each table as CSV, Markdown and LaTeX, and playgrounds."""
    report = outline(findings)
    write_tables(printed_tables(findings), folder)
    write_markdown(report, folder / "report.md")
    write_page(report, folder / "report.html", _write_playgrounds(findings, folder))


def _write_playgrounds(findings: Findings, folder: Path) -> dict[str, str]:
    """Write a page that trains the champion of each task anew; return its file by the task."""
    sweep, written = findings.sweep, {}
    rows = sweep.runs.set_index("run_id")
    for task in tasks(sweep):
        champion = choose_champion(sweep, task)
        file = "playground-" + re.sub(r"[^\w.]+", "-", task) + ".html"  # a task may be `mine/half`
        if isinstance(champion, NoChampion):
            continue
        try:
            with sweep.open_files(champion.run_id) as run:
                config, result = read_config(run), read_result(run)
                place = findings.place(rows.loc[champion.run_id])
                recorded = RecordedResult(place, champion.result_digest, result.arrays)
                write_playground(config, folder / file, recorded, champion.replicate)
        except (OSError, ValueError):  # the report says so where it reads them
            continue
        written[task] = file
    return written


def describe(findings: Findings) -> tuple[str, str]:
    """Describe a sweep in Markdown: what it found; what was asked, came out, and is best."""
    if findings.outcomes.empty:
        return escape_markdown(came_out(findings)), ""
    table = best_learning_rates(findings)
    text = unbroken(escape_markdown(" ".join(overview(findings))))
    parts = [text, f"**{table.title}**", markdown(table.text)]
    return unbroken(escape_markdown(headline(findings))), "\n\n".join(parts)


def best_measures(findings: Findings) -> dict[str, float]:
    """Return the measures of the best setting, as MLflow has them of a run; of one task only."""
    if findings.outcomes.empty or len(findings.tasks) > 1:
        return {}
    values = findings.sweep.finished.set_index("run_id").loc[findings.top["run_id"]]
    values = values[[*MEASURES, LEARNING_RATE]].astype(float)
    return {name: value for name, value in values.items() if np.isfinite(value)}
