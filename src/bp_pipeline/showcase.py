"""What makes a sweep worth looking at in MLflow: its comparison, its champion, its description.

Owns that each of them is tried, whatever becomes of the others: the sweep itself is safe by then.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from bp_pipeline.champion import crown
from bp_pipeline.progress import say
from bp_pipeline.tracking import Tracker


def show_sweep(
    tracker: Tracker,
    parent_run_id: str,
    runs: pd.DataFrame,
    axes: Sequence[str],
    markdown: Callable[[], str],
) -> None:
    """Make a sweep's pages in MLflow; say what could not be made.

    Parameters
    ----------
    tracker, parent_run_id
        The store, and the sweep in it.
    runs
        Its runs, as `load_sweep` gives them.
    axes
        Config keys that span its grid.
    markdown
        Gives what its description says after its account and links.
    """
    with _tried("The comparison of runs"):
        tracker.log_comparison(parent_run_id, axes, len(runs))
    remarks: list[str] = []
    with _tried("The champion"):
        for remark in crown(tracker, runs):
            remarks.append(remark)
            say(remark)
    with _tried("The description"):
        tracker.describe(parent_run_id, "\n\n".join([*remarks, markdown()]))


@contextmanager
def _tried(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        say(f"{what} could not be recorded: {reason}")
