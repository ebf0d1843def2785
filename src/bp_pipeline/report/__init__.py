"""The report of a sweep: what was asked, what came out, and how sure that is.

`load_sweep` gives a sweep as tables, also for a notebook; `report_sweep` writes the report's files,
logs them to the parent run and prints what matters; `describe` says it in a paragraph. What else
MLflow shows of a sweep is `showcase.py`'s.

    sweep_data.py   MLflow → DataFrames
    statistics.py   survival curves, tests on pairs, shares of variance
    tables.py       DataFrames → the tables of the report, as numbers
    findings.py     the tables and the sentences drawn from them
    printed.py      the tables as text; text.py writes a number
    networks.py     what one network learned
    figures.py      pictures
    page.py         the page; files.py, CSV, Markdown and LaTeX; terminal.py, the terminal

The files are a function of the runs' configs and results: no clock, run id, path or machine decides
a byte of them. Versions of what draws and writes them can: `requirements.txt` pins these.
"""

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from bp_pipeline.report.files import escape_markdown, markdown, write_markdown, write_tables
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.page import write_page
from bp_pipeline.report.printed import best_learning_rates, printed_tables
from bp_pipeline.report.sweep_data import Sweep, load_sweep, read_sweep
from bp_pipeline.report.terminal import print_report
from bp_pipeline.tracking import Tracker, TrackingError

__all__ = [
    "Findings",
    "Sweep",
    "describe",
    "load_sweep",
    "read_sweep",
    "report_sweep",
    "write_report",
]

REPORTS = Path("reports")


def report_sweep(
    tracker: Tracker, sweep: str | None = None, folder: Path | None = None
) -> Findings:
    """Write a sweep's report, log it to the parent run, and print it.

    Parameters
    ----------
    tracker
        The store.
    sweep
        Run id of the parent; the newest sweep by default.
    folder
        Where to write; by default a folder of `reports/` named after the sweep.

    Returns
    -------
    Findings
        What the report is made of.

    Raises
    ------
    TrackingError
        Where the store fails, there is no such sweep, or the folder cannot be written.
    """
    read = read_sweep(tracker, sweep)
    folder = folder or REPORTS / f"{read.name}-{read.digest[:8]}".replace("/", "-")
    findings = Findings(read)
    with TemporaryDirectory(prefix="bp_pipeline-") as made:
        write_report(findings, Path(made))
        tracker.log_report(read.run_id, Path(made))
        try:
            copytree(made, folder, dirs_exist_ok=True)
        except OSError as error:
            raise TrackingError(
                f"The report cannot be written to {folder}: {error}. "
                "Name another folder: bp report --out DIR."
            ) from error
    print_report(findings)
    print(f"Written to {folder}")
    return findings


def write_report(findings: Findings, folder: Path) -> None:
    """Write `report.html`, `report.md`, and each table as CSV, Markdown and LaTeX."""
    tables = printed_tables(findings)
    write_tables(tables, folder)
    write_markdown(findings, tables, folder / "report.md")
    write_page(findings, tables, folder / "report.html")


def describe(findings: Findings) -> str:
    """Describe a sweep in Markdown: what was asked, what came out, and the best settings."""
    parts = [escape_markdown(" ".join(findings.sentences()))]
    if not findings.summary.empty:
        table = best_learning_rates(findings)
        parts += [f"**{table.title}**", markdown(table.text)]
    return "\n\n".join(parts)
