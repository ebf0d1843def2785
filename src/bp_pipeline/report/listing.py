"""The sweeps and maps of a store, to find one again: what each is called, and what came of it.

Owns the table and how it is printed. It reads what MLflow itself has of runs, and no file: what a
sweep comes to is `findings.py`'s.
"""

import re
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from bp_pipeline.ensemble import wilson_interval
from bp_pipeline.report.notation import percent
from bp_pipeline.report.sweep_data import (
    FINAL_LOSS,
    LOW,
    MEDIAN,
    RATE,
    complete,
    grid_axes,
    grid_places,
)
from bp_pipeline.report.tables import ranked
from bp_pipeline.terminal import Screen
from bp_pipeline.tracking import MAP, Reader, Recorded
from bp_pipeline.tracking.format import CONFIG_DIGEST, N_JOBS, SWEEP_DIGEST

_SHORTEST = 8  # digits of an id or digest, as in the name of a report's folder
_MOST_ROWS = 40  # on a terminal
_WIDTH_OF_LINES = 200  # columns, where no terminal says how many there are
_KEYS = ("id", "digest", "name")  # by each of which a sweep can be named, and its beginnings


def list_sweeps(reader: Reader) -> pd.DataFrame:
    """Tabulate the sweeps and maps of an experiment, the newest first.

    Returns
    -------
    DataFrame
        `kind` (sweep or map), `id` and `digest` (whole), `name`, `started` (local time), `status`,
        `finished` and `jobs` (numbers of runs), `pixels` of a map, and of the best setting, as
        `tables.ranked` orders them with seeds pooled, `best` (its name) and `rate` (share of its
        replicates that solve the task); of a map the share of its networks. Empty and NaN where
        there is none.
    """
    rows = [*map(partial(_sweep_row, reader), reader.sweeps())]
    rows += map(_map_row, reader.all_of_kind(MAP))
    columns = ["kind", *_KEYS, "started", "status", "finished", "jobs", "pixels", "best", "rate"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("started", ascending=False, kind="stable", ignore_index=True)


def names_of_sweeps(reader: Reader) -> list[str]:
    """List the ids, digests and names of all sweeps that a shell takes for one word."""
    names = [
        name
        for sweep in reader.sweeps()
        for name in (sweep.run_id, sweep.tags[SWEEP_DIGEST], sweep.name)
    ]
    return [name for name in dict.fromkeys(names) if re.fullmatch(r"[\w.+-]+", name)]


def _sweep_row(reader: Reader, sweep: Recorded) -> dict[str, Any]:
    runs = reader.load_runs(sweep.run_id)
    finished = runs[runs["status"] == "FINISHED"]
    places = pooled(finished)
    best = None if finished.empty else ranked(places).iloc[0]
    return _row(
        sweep,
        kind="sweep",
        digest=sweep.tags[SWEEP_DIGEST],
        finished=len(finished),
        jobs=int(sweep.tags[N_JOBS]),
        best="" if best is None else best["name"],
        rate=float("nan") if best is None else best[RATE],
    )


def pooled(runs: pd.DataFrame) -> pd.DataFrame:
    """Pool runs that differ only in their seed, as a report does, from what MLflow shows.

    Medians cannot be pooled without the files; that of the seeds' medians stands for them.
    """
    if runs["seed"].nunique() < 2:
        return runs
    rows = []
    for run_ids in grid_places(complete(runs), grid_axes(runs))["run_ids"]:
        seeds = runs[runs["run_id"].isin(run_ids)]
        n = int(seeds["replicates"].sum())
        n_solved = round((seeds[RATE] * seeds["replicates"]).sum())
        low = wilson_interval(n_solved, n)[0] if seeds[LOW].notna().any() else np.nan
        medians = seeds[[MEDIAN, FINAL_LOSS]].median().to_dict()
        name = " · ".join(p for p in seeds["name"].iloc[0].split(" · ") if p[:5] != "seed=")
        rows.append(
            {**seeds.iloc[0], "name": name or "all seeds", RATE: n_solved / n, LOW: low, **medians}
        )
    return pd.DataFrame(rows)


def _map_row(run: Recorded) -> dict[str, Any]:
    sides = re.findall(r"\d+", run.params.get("map.resolution", ""))
    return _row(
        run,
        kind=MAP,
        digest=run.tags[CONFIG_DIGEST],
        finished=1,
        jobs=1,
        pixels=" × ".join(sides if len(sides) > 1 else sides * 2),
        rate=run.metrics.get(RATE, float("nan")),
    )


def _row(run: Recorded, **others: Any) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.start_time / 1000)
    of_run = {"id": run.run_id, "name": run.name, "status": run.status}
    return {**of_run, "started": started, "pixels": "", "best": "", **others}


def print_sweeps(sweeps: pd.DataFrame) -> None:
    """Print a table of them, with as many digits of an id as tell it from all others."""
    console = Screen()
    if not console.is_terminal:
        console.width = _WIDTH_OF_LINES
    lines = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("id", "digest", "started", "runs, pixels"):
        lines.add_column(title, no_wrap=True)
    lines.add_column("name", overflow="fold")
    lines.add_column("best setting: solved", overflow="fold")
    digits = {key: max(_SHORTEST, _shared(sweeps[key]) + 1) for key in ("id", "digest")}
    n_shown = _MOST_ROWS if console.is_terminal else len(sweeps)
    for sweep in sweeps[:n_shown].itertuples():
        best = sweep.best or ("of its networks" if sweep.pixels else "")
        state = "" if sweep.status == "FINISHED" else f", {str(sweep.status).lower()}"
        cells = (
            str(sweep.id)[: digits["id"]],
            str(sweep.digest)[: digits["digest"]],
            f"{sweep.started:%Y-%m-%d %H:%M}",
            sweep.pixels or f"{sweep.finished} of {sweep.jobs}{state}",
            str(sweep.name),
            f"{best}: {percent(sweep.rate)} %" if best else "",
        )
        lines.add_row(*map(Text, cells))
    console.print(lines)
    if left := len(sweeps[n_shown:]):
        console.print(f"{left:,} older ones are not shown: `bp list | less` has all.")


def _shared(texts: "pd.Series[str]") -> int:
    """Return how many characters any two different texts begin with in common, at most."""
    return max((_n_alike(*pair) for pair in pairwise(sorted(set(texts)))), default=0)


def _n_alike(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
