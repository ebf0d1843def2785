"""The default sweep: which activation, initialization and learning rate learn XOR.

What it found is what its own report says; the picture and the table of divergence add to that.
"""

from pathlib import Path
from shutil import copy

import pandas as pd

from bp_pipeline.report.notation import percent
from experiments.making import (
    converged_within,
    fill,
    picture,
    read_summary,
    report,
    summarize,
    train,
    write_summary,
)

RATE, CONVERGED = "optimizer.learning_rate", "converged/rate"
COLORS = {
    "ones": "0.6", "uniform_small": "#984ea3", "uniform": "#4daf4a",
    "normal": "#ff7f00", "glorot_uniform": "#2171b5", "he_normal": "#cb181d",
}  # fmt: skip
LONGER = (  # ten times as long, where it is in question whether networks are slow or lost
    ("activation=sigmoid", "init=uniform_small", "optimizer.learning_rate=3"),
    ("activation=relu,leaky_relu", "init=uniform,glorot_uniform", "optimizer.learning_rate=0.1,1"),
)
WITHIN = {2_000: "converged within 2000", 20_000: CONVERGED}  # epochs: their column


def make(folder: Path) -> None:
    """Write the summaries, the picture, and the report's text without its list of all runs."""
    with report("experiment=xor_sweep") as made:
        text = (made / "report.md").read_text(encoding="utf-8")
        copy(made / "summary.csv", folder)
    text = text.partition("\n## Every run\n")[0]
    fill(folder, report="\n".join(map(_lowered, text.strip().splitlines())))
    write_summary(folder, _train_longer(), "longer.csv")
    show(folder)


def show(folder: Path) -> None:
    """Write the picture and the tables that follow from the summaries."""
    table = read_summary(folder)
    fill(folder, diverged=_diverged(table), longer=_longer(read_summary(folder, "longer.csv")))
    _draw(table, folder / "rates.svg")


def _train_longer() -> pd.DataFrame:
    """Train a few settings for longer; give one row a run."""
    epochs = f"training.epochs={max(WITHIN)}"
    runs = [run for part in LONGER for run in train("experiment=xor_sweep", *part, epochs)]
    table = summarize(runs)
    table[WITHIN[2_000]] = [converged_within(run, 2_000) for run in runs]
    return table


def _longer(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["activation", "init", RATE]
    shown = table[columns].astype({RATE: str})
    for epochs, key in WITHIN.items():
        shown[f"% within {epochs:,} epochs"] = table[key].map(percent)
    return shown


def _lowered(line: str) -> str:
    """Return a line, a heading two levels lower, below that of the section it is in."""
    return f"##{line}" if line.startswith("#") else line


def _diverged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of networks that diverged, over all initializations."""
    shares = table.pivot_table(index="activation", columns=RATE, values="diverged/rate")
    return shares.map(percent).rename(columns="{:g}".format).reset_index()


def _draw(table: pd.DataFrame, path: Path) -> None:
    with picture(path, 1, 5, figsize=(9.0, 2.6), sharex=True, sharey=True) as axes:
        for axis, (activation, part) in zip(axes, table.groupby("activation"), strict=True):
            for init, color in COLORS.items():
                of_init = part[part["init"] == init]
                rate = 100 * of_init[CONVERGED]
                axis.plot(of_init[RATE], rate, "o-", ms=3, color=color, label=init)
            axis.set(xscale="log", xlabel="learning rate", title=activation, ylim=(-3, 103))
        axes[0].set_ylabel("converged, %")
        axes[0].legend(loc="upper left", fontsize=7.5, handlelength=1.5)
