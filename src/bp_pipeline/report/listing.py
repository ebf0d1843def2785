"""The sweeps of a store, to find one again: what each is called, and what was best in it.

Owns the table and how it is printed. It reads what MLflow itself has of runs, and no file: what a
sweep comes to is `findings.py`'s.
"""

from datetime import datetime
from itertools import pairwise

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from bp_pipeline.report.notation import percent
from bp_pipeline.report.sweep_data import RATE
from bp_pipeline.report.tables import ranked
from bp_pipeline.terminal import Screen
from bp_pipeline.tracking import Reader

_SHORTEST = 8  # digits of an id or digest, as in the name of a report's folder
_WIDTH_OF_LINES = 200  # columns, where no terminal says how many there are
_KEYS = ("id", "digest", "name")  # by each of which a sweep can be named, and its beginnings


def list_sweeps(reader: Reader) -> pd.DataFrame:
    """Tabulate the sweeps of an experiment, the newest first.

    Returns
    -------
    DataFrame
        `id` and `digest` (whole), `name`, `started` (local time), `status`, `finished` and `jobs`
        (numbers of runs), and of the best run, as `tables.ranked` orders them, `best` (its name)
        and `rate` (share of its replicates that converged); None and NaN where nothing finished.
    """
    rows = []
    for sweep in reader.sweeps():
        runs = reader.load_runs(sweep.info.run_id)
        finished = runs[runs["status"] == "FINISHED"]
        best = None if finished.empty else ranked(finished).iloc[0]
        rows.append(
            {
                "id": sweep.info.run_id,
                "digest": sweep.data.tags["bp.sweep_digest"],
                "name": sweep.info.run_name,
                "started": datetime.fromtimestamp(sweep.info.start_time / 1000),
                "status": sweep.info.status,
                "finished": len(finished),
                "jobs": int(sweep.data.tags["bp.n_jobs"]),
                "best": None if best is None else best["name"],
                "rate": float("nan") if best is None else best[RATE],
            }
        )
    columns = [*_KEYS, "started", "status", "finished", "jobs", "best", "rate"]
    return pd.DataFrame(rows, columns=columns)


def print_sweeps(sweeps: pd.DataFrame) -> None:
    """Print them, a line each, with as many digits of an id as tell it from all others."""
    console = Screen()
    if not console.is_terminal:
        console.width = _WIDTH_OF_LINES
    lines = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("id", "digest", "started", "runs"):
        lines.add_column(title, no_wrap=True)
    lines.add_column("name", overflow="fold")
    lines.add_column("best setting", overflow="fold")
    digits = {key: max(_SHORTEST, _shared(sweeps[key]) + 1) for key in ("id", "digest")}
    for sweep in sweeps.itertuples():
        best = f"{sweep.best}: {percent(sweep.rate)} %" if sweep.best else ""
        state = "" if sweep.status == "FINISHED" else f", {str(sweep.status).lower()}"
        cells = (
            str(sweep.id)[: digits["id"]],
            str(sweep.digest)[: digits["digest"]],
            f"{sweep.started:%Y-%m-%d %H:%M}",
            f"{sweep.finished} of {sweep.jobs}{state}",
            str(sweep.name),
            best,
        )
        lines.add_row(*map(Text, cells))
    console.print(lines)


def _shared(texts: "pd.Series[str]") -> int:
    """Return how many characters any two different texts begin with in common, at most."""
    return max((_n_alike(*pair) for pair in pairwise(sorted(set(texts)))), default=0)


def _n_alike(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
