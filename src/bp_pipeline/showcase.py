"""What a trained sweep shows: its report, here and in MLflow, its comparison and its champion.

Owns the order of things, and that each is tried whatever becomes of the others: the sweep itself is
safe by then. What they say is in `report/` and `tracking/`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from bp_pipeline.report import (
    Findings,
    NoChampion,
    Sweep,
    choose_champion,
    describe,
    escape_markdown,
    print_report,
    read_sweep,
    tasks,
    write_report,
)
from bp_pipeline.terminal import say
from bp_pipeline.tracking import Tracker, TrackingError

REPORTS = Path("reports")
_LONGEST_NAME = 80  # characters of a sweep's name in that of its folder


def show_sweep(tracker: Tracker, sweep: str | None = None, folder: Path | None = None) -> None:
    """Write a sweep's report, make its pages in MLflow, and print what matters.

    What MLflow refuses is said, and the rest is done.

    Parameters
    ----------
    tracker
        The store that the sweep is in.
    sweep
        Run id of the parent; the newest sweep by default.
    folder
        Where to write; by default a folder of `reports/` named after the sweep.

    Raises
    ------
    TrackingError
        Where there is no such sweep, it cannot be read, or the folder cannot be written.
    """
    findings = Findings(read_sweep(tracker, sweep))
    with TemporaryDirectory(prefix="bp_pipeline-") as made:
        write_report(findings, Path(made))
        show_sweep_in_mlflow(tracker, findings, Path(made))
        folder = folder or REPORTS / _folder_name(findings)
        _copy(Path(made), folder)
    print_report(findings)
    print(f"Written to {folder}")


def _folder_name(findings: Findings) -> str:
    """Name a folder after a sweep, without what a path had better not hold."""
    name = re.sub(r"[^\w.]+", "-", findings.sweep.name)[:_LONGEST_NAME]
    return f"{name}-{findings.sweep.digest[:8]}"


def _copy(made: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            copyfile(file, folder / file.name)
    except OSError as error:
        raise TrackingError(
            f"The report cannot be written to {folder}: {error}. "
            "Name another folder: bp report --out DIR."
        ) from error


def show_sweep_in_mlflow(tracker: Tracker, findings: Findings, report: Path) -> None:
    """Log a report, and make the comparison, the champions and the description.

    Parameters
    ----------
    tracker
        The store that the sweep is in.
    findings
        What the report is made of.
    report
        Folder with its files.
    """
    sweep, remarks = findings.sweep, []
    with _tried("The report"):
        tracker.log_report(sweep.run_id, report)
    with _tried("The comparison of runs"):
        tracker.log_comparison(sweep.run_id, sweep.axes, len(sweep.finished))
    for task in tasks(sweep):
        with _tried(f"The champion of {task}"):
            remark = _crown(tracker, sweep, task)
            say(remark)
            remarks.append(escape_markdown(remark))
    with _tried("The description"):
        tracker.describe(sweep.run_id, "\n\n".join([*remarks, describe(findings)]))


def _crown(tracker: Tracker, sweep: Sweep, task: str) -> str:
    """Register the champion of a task, once, and say which it is."""
    chosen = choose_champion(sweep, task)
    if isinstance(chosen, NoChampion):
        return chosen.reason
    name = f"bp_pipeline-{task}"
    tags = {"bp.result_digest": chosen.result_digest, "bp.replicate": str(chosen.replicate)}
    version = tracker.register(chosen.network, name=name, run_id=chosen.run_id, tags=tags)
    said = f"Champion: {chosen.run_name}, replicate {chosen.replicate}, is models:/{name}/{version}"
    others = "; ".join(chosen.unread)
    return f"{said} (others may be better: {others})" if others else said


@contextmanager
def _tried(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        say(f"{what} could not be recorded in MLflow: {reason}")
