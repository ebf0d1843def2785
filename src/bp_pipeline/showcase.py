"""What makes a sweep worth looking at in MLflow: its comparison, its champion, its description.

Owns that each of them is tried, whatever becomes of the others: the sweep itself is safe by then.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from bp_pipeline.champion import crown
from bp_pipeline.progress import say
from bp_pipeline.report import Findings, describe
from bp_pipeline.tracking import Tracker


def show_sweep(tracker: Tracker, findings: Findings) -> None:
    """Make a sweep's pages in MLflow; say what could not be made.

    Parameters
    ----------
    tracker
        The store that the sweep is in.
    findings
        What its report is made of.
    """
    sweep = findings.sweep
    with _tried("The comparison of runs"):
        tracker.log_comparison(sweep.run_id, sweep.axes, len(sweep.runs))
    remarks: list[str] = []
    with _tried("The champion"):
        for remark in crown(tracker, sweep.runs):
            remarks.append(remark)
            say(remark)
    with _tried("The description"):
        tracker.describe(sweep.run_id, "\n\n".join([*remarks, describe(findings)]))


@contextmanager
def _tried(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        say(f"{what} could not be recorded: {reason}")
