"""The report of a sweep: what was asked, and what came out.

`load_sweep` gives a sweep's runs as a table, also for a notebook; `report_sweep` writes the
report's files, logs them to the parent run and prints them. The tables are made in `tables.py`,
from the runs' configs and results alone, so that the same sweep gives the same bytes.
"""

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from bp_pipeline.report.tables import axes, best_learning_rates, finished, rates, summary
from bp_pipeline.tracking import Tracker, TrackingError

REPORTS = Path("reports")
_WIDTH_OF_FILES = 160  # columns, where no terminal says how many there are


def load_sweep(
    sweep: str | None = None, *, uri: str | None = None, experiment: str = "bp_pipeline"
) -> pd.DataFrame:
    """Read a sweep from MLflow.

    Parameters
    ----------
    sweep
        Run id of its parent; the newest sweep by default.
    uri, experiment
        Where to look; MLFLOW_TRACKING_URI, where set, wins.

    Returns
    -------
    DataFrame
        One row a run: `run_id`, `name`, `status`, every config key, every summary metric, and the
        digests as `bp.config_digest` and so on.

    Raises
    ------
    TrackingError
        Where there is no such store or sweep.
    """
    tracker = Tracker.open(uri, experiment, create=False)
    return tracker.load_runs(tracker.find_sweep(sweep).info.run_id)


def report_sweep(tracker: Tracker, sweep: str | None = None, folder: Path | None = None) -> None:
    """Write a sweep's report, log it to the parent run, and print it.

    Parameters
    ----------
    tracker
        The store.
    sweep
        Run id of the parent; the newest sweep by default.
    folder
        Where to write; by default a folder of `reports/` named after the sweep.
    """
    parent = tracker.find_sweep(sweep)
    runs = tracker.load_runs(parent.info.run_id)
    digest = parent.data.tags["bp.sweep_digest"]
    folder = folder or REPORTS / f"{parent.info.run_name}-{digest[:8]}"
    with TemporaryDirectory(prefix="bp_pipeline-") as made:
        write_report(runs, Path(made))
        tracker.log_report(parent.info.run_id, Path(made))
        try:
            copytree(made, folder, dirs_exist_ok=True)
        except OSError as error:
            raise TrackingError(
                f"The report cannot be written to {folder}: {error}. "
                "Name another folder: bp report --out DIR."
            ) from error
    print_report(runs)
    print(f"Written to {folder}")


def write_report(runs: pd.DataFrame, folder: Path) -> None:
    """Write `summary.csv`, each finished run with its measures, and `report.md`, the tables."""
    summary(runs).to_csv(folder / "summary.csv", index=False, lineterminator="\n")
    sections = [f"# {_headline(runs)}"]
    for title, table in _tables(runs):
        sections.append(f"## {title}\n\n{table.to_markdown(index=False, disable_numparse=True)}")
    (folder / "report.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def print_report(runs: pd.DataFrame) -> None:
    """Print the report's tables; the default sweep's fit a terminal of 80 columns."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    console.print(f"\n{_headline(runs)}", style="bold", highlight=False)
    for title, table in _tables(runs):
        console.print(f"\n{title}", highlight=False)
        grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in table.columns:
            is_key = column in axes(runs)[:-1]
            grid.add_column(column, justify="left" if is_key else "right", no_wrap=True)
        for row in table.itertuples(index=False):
            grid.add_row(*row)
        console.print(grid)


def _headline(runs: pd.DataFrame) -> str:
    done = finished(runs)
    networks = int(done["replicates"].sum()) if len(done) else 0
    return f"{len(done)} of {len(runs)} runs finished, {networks:,} networks trained"


def _tables(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Make the tables as text, ready to be printed anywhere; none where no run has finished."""
    if finished(runs).empty:
        return []
    grid = rates(runs).map(_percent)
    grid.columns = [_number(rate) for rate in grid.columns]
    best = best_learning_rates(runs)
    lows, highs = best["converged/rate_low"], best["converged/rate_high"]
    shown = pd.DataFrame(
        {
            "best lr": best["optimizer.learning_rate"].map(_number),
            "converged": best["converged/rate"].map(_percent),
            "95 % interval": [
                f"{_percent(low)} – {_percent(high)}" for low, high in zip(lows, highs, strict=True)
            ],
            "median epochs": best["epochs_to_converge/median"].map(_number),
        },
        index=best.index,
    )
    return [
        ("Replicates that converged, in %, by learning rate", grid.reset_index().astype(str)),
        ("Best learning rate of each setting, rates in %", shown.reset_index().astype(str)),
    ]


def _percent(share: float) -> str:
    return "–" if pd.isna(share) else f"{100 * share:.0f}"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else repr(float(value)).removesuffix(".0")
