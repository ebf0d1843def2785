"""The default sweep: which activation, initialization and learning rate learn XOR.

What it found is what its own report says; the picture and the table of divergence add to that.
"""

from pathlib import Path
from shutil import copy

import pandas as pd

from experiments.making import fill, percent, picture, report

RATE, CONVERGED = "optimizer.learning_rate", "converged/rate"
COLORS = {
    "ones": "0.6", "uniform_small": "#984ea3", "uniform": "#4daf4a",
    "normal": "#ff7f00", "glorot_uniform": "#2171b5", "he_normal": "#cb181d",
}  # fmt: skip


def make(folder: Path) -> None:
    """Write the summary, the picture, and the report's text without its list of all runs."""
    with report("experiment=xor_sweep") as made:
        text = (made / "report.md").read_text(encoding="utf-8")
        copy(made / "summary.csv", folder)
    text = text.partition("\n## Every run\n")[0]
    table = pd.read_csv(folder / "summary.csv")
    lowered = "\n".join(map(_lowered, text.strip().splitlines()))
    fill(folder, diverged=_diverged(table), report=lowered)
    _draw(table, folder / "rates.svg")


def _lowered(line: str) -> str:
    """Put a heading one level lower, below those of the README."""
    return f"#{line}" if line.startswith("#") else line


def _diverged(table: pd.DataFrame) -> pd.DataFrame:
    """Give the share of networks that diverged, over all initializations."""
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
