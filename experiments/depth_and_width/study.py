"""What width and depth do for the convergence rate of XOR and of parity of 3 and 4 bits."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from experiments.making import fill, percent, picture, summarize, thousands, train, write_summary

BITS, RATE = "task.bits", "optimizer.learning_rate"
CONVERGED, EPOCHS = "converged/rate", "epochs_to_converge/median"
COLORS = {1: "#9ecae1", 2: "#4292c6", 3: "#08306b"}  # of the depths
SHARES = (0.5, 0.95)


def make(folder: Path) -> None:
    """Write the summary, the pictures and the tables."""
    table = summarize(train("experiment=depth_and_width"))
    write_summary(folder, table)
    table["depth"] = table["network.hidden"].map(len)
    table["width"] = table["network.hidden"].map(lambda hidden: hidden[0])
    best = _best(table)
    fill(folder, needed=_needed(best), rates=_rates(best), learning_rates=_by_learning_rate(table))
    _draw_rates(best, folder / "rates.svg")
    _draw_epochs(table[table[RATE] == 0.3], folder / "epochs.svg")


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Choose for each size its best learning rate: most converged, then fewest epochs."""
    ranked = table.sort_values([CONVERGED, EPOCHS, RATE], ascending=[False, True, True])
    return ranked.groupby([BITS, "depth", "width"]).head(1).sort_values([BITS, "depth", "width"])


def _task(bits: int) -> str:
    return "XOR" if bits == 2 else f"parity of {bits} bits"


def _needed(best: pd.DataFrame) -> pd.DataFrame:
    """Find the least width from which on all wider networks reach a share, and its weights."""
    rows = []
    for (bits, depth), part in best.groupby([BITS, "depth"]):
        row = {"task": _task(bits), "hidden layers": str(depth)}
        for share in SHARES:
            width = 1 + part.loc[part[CONVERGED] < share, "width"].max()
            known = width <= part["width"].max()
            title = f"width for {percent(share)} %"
            row[title] = str(width) if known else "more"
            row[f"its weights ({percent(share)} %)"] = (
                str(_n_weights(bits, depth, width)) if known else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _n_weights(bits: int, depth: int, width: int) -> int:
    """Count the weights, those from bias units included."""
    return (bits + 1) * width + (depth - 1) * (width + 1) * width + width + 1


def _rates(best: pd.DataFrame) -> pd.DataFrame:
    """Lay out the best rates, widths down, tasks and depths across, up to where all are 100 %."""
    enough = 1 + best.loc[best[CONVERGED] < 1, "width"].max()
    rows = []
    for width, part in best[best["width"] <= enough].groupby("width"):
        row = {"width": f"{width} – {best['width'].max()}" if width == enough else str(width)}
        for bits, of_task in part.groupby(BITS):
            rates = of_task.sort_values("depth")[CONVERGED]
            row[f"{_task(bits)}: % with 1 / 2 / 3 layers"] = " / ".join(map(percent, rates))
        rows.append(row)
    return pd.DataFrame(rows)


def _by_learning_rate(table: pd.DataFrame) -> pd.DataFrame:
    """Average over widths from 4 on, where there is something to lose."""
    wide = table[table["width"] >= 4]
    rows = []
    for (bits, depth), part in wide.groupby([BITS, "depth"]):
        row = {"task": _task(bits), "hidden layers": str(depth)}
        for rate, of_rate in part.groupby(RATE):
            mean, epochs = of_rate[CONVERGED].mean(), of_rate[EPOCHS].median()
            row[f"lr {rate:g}: %, median epochs"] = f"{percent(mean)}, {thousands(epochs)}"
        rows.append(row)
    return pd.DataFrame(rows)


def _draw_rates(best: pd.DataFrame, path: Path) -> None:
    with picture(path, 1, 3, figsize=(7.4, 2.8), sharex=True, sharey=True) as axes:
        for axis, (bits, of_task) in zip(axes, best.groupby(BITS), strict=True):
            for depth, part in of_task.groupby("depth"):
                look = {"color": COLORS[depth], "label": _layers(depth)}
                axis.plot(part["width"], 100 * part[CONVERGED], "o-", **look)
                low, high = (100 * part[f"{CONVERGED}_{end}"] for end in ("low", "high"))
                axis.fill_between(part["width"], low, high, color=COLORS[depth], alpha=0.2, lw=0)
            _name_axis(axis, bits)
        axes[0].set(ylabel="converged, %", ylim=(-3, 103))
        axes[0].legend(loc="lower right")


def _draw_epochs(table: pd.DataFrame, path: Path) -> None:
    with picture(path, 1, 3, figsize=(7.4, 2.8), sharex=True, sharey=True) as axes:
        for axis, (bits, of_task) in zip(axes, table.groupby(BITS), strict=True):
            for depth, part in of_task.groupby("depth"):
                ordered = part.sort_values("width")
                look = {"color": COLORS[depth], "label": _layers(depth)}
                axis.plot(ordered["width"], ordered[EPOCHS], "o-", **look)
            _name_axis(axis, bits)
        axes[0].set(ylabel="median epochs to convergence", yscale="log")
        axes[0].legend(loc="upper right")


def _name_axis(axis: Axes, bits: int) -> None:
    axis.set(title=_task(bits), xlabel="units in each hidden layer", xticks=(1, 4, 8, 12, 16))


def _layers(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"
