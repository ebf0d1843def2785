"""How much noise breaks the symmetry of equal weights, and what becomes of too little."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bp_pipeline.report.notation import count, percent
from experiments.making import (
    Run,
    converged_within,
    fill,
    picture,
    read_summary,
    summarize,
    train,
    unit_difference,
    write_summary,
)

NOISE, CONVERGED = "init.noise", "converged/rate"
WITHIN = {  # epochs: their column, and their colour
    2_000: ("converged within 2000", "#9ecae1"),
    20_000: ("converged within 20000", "#4292c6"),
    200_000: (CONVERGED, "#08306b"),
}
GROWTH_OF = {1e-9: "#c6dbef", 1e-6: "#9ecae1", 1e-3: "#4292c6", 1e-2: "#2171b5", 1e-1: "#08306b"}


def make(folder: Path) -> None:
    """Write the summary, the pictures and the tables."""
    runs = train("experiment=symmetry")
    table = summarize(runs)
    for epochs, (column, _) in WITHIN.items():
        if column != CONVERGED:  # that is within all epochs
            table[column] = [converged_within(run, epochs) for run in runs]
    write_summary(folder, table)
    show(folder)
    fill(folder, growth=_growth(runs))
    _draw_growth(runs, folder / "growth.svg")


def show(folder: Path) -> None:
    """Write the table and the picture of the rates."""
    table = read_summary(folder)
    fill(folder, rates=_lay_out(table))
    _draw_rates(table, folder / "rates.svg")


def _lay_out(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a noise, with the measures of each activation beside each other."""
    rows: dict[float, dict[str, str]] = {}
    for run in table.to_dict("records"):
        row = rows.setdefault(run[NOISE], {"noise ±": f"{run[NOISE]:g}"})
        activation = run["activation"]
        row[f"{activation}: % within {' / '.join(f'{n:,}' for n in WITHIN)}"] = " / ".join(
            percent(run[column]) for column, _ in WITHIN.values()
        )
        row[f"{activation}: median epochs"] = count(run["epochs_to_converge/median"])
        row[f"{activation}: median loss"] = f"{run['final_loss/median']:.3f}"
    return pd.DataFrame(list(rows.values()))


def _apart(run: Run) -> np.ndarray:
    """Measure, at each recorded epoch, how far apart the hidden units of replicate 0 are."""
    return unit_difference(run.result.trajectory["layer_1"][0])


def _growth(runs: Sequence[Run]) -> pd.DataFrame:
    """Tabulate how far apart units are at first and at last where nothing converged."""
    rows = []
    for run in runs:
        first, last = _apart(run)[[0, -1]]
        if run.config.labels["activation"] == "tanh" and (run.result.epochs_to_converge < 0).all():
            grown = f"{last / first:.0f}" if first else "–"
            rows.append((f"{run.config.init.noise:g}", f"{first:.2g}", f"{last:.2g}", grown))
    columns = ["noise ±", "apart at first", "apart after 200,000 epochs", "times as far"]
    return pd.DataFrame(rows, columns=columns)


def _draw_rates(table: pd.DataFrame, path: Path) -> None:
    shown = table[table[NOISE] >= 1e-6].groupby("activation", sort=False)
    with picture(path, 1, 2, figsize=(7.4, 2.9), sharey=True) as axes:
        for axis, (activation, part) in zip(axes, shown, strict=True):
            for epochs, (column, color) in WITHIN.items():
                rate, label = 100 * part[column], f"by epoch {epochs:,}"
                axis.plot(part[NOISE], rate, "o-", color=color, label=label)
            axis.set(xscale="log", xlabel="noise added to weights of 1 (±)", title=activation)
        axes[0].set(ylabel="converged, %", ylim=(-3, 103))
        axes[0].legend(loc="upper left", handlelength=1.5)


def _draw_growth(runs: Sequence[Run], path: Path) -> None:
    with picture(path, figsize=(5.2, 3.2)) as [axis]:
        for run in runs:
            noise = run.config.init.noise
            if run.config.labels["activation"] == "tanh" and noise in GROWTH_OF:
                color, label = GROWTH_OF[noise], f"{noise:g}"
                axis.plot(run.result.epochs, _apart(run), color=color, label=label)
        axis.set(xscale="symlog", yscale="log", xlabel="epochs", xlim=(0, None))
        axis.set_title("tanh, replicate 0 of each")
        axis.set_ylabel("largest difference between two\nhidden units' incoming weights")
        axis.legend(title="noise (±)", loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
