"""What width and depth do for the convergence rate of XOR and of parity of 3 and 4 bits."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from bp_pipeline.core.initializers import layer_shapes
from bp_pipeline.report import tables
from bp_pipeline.report.notation import count, percent
from experiments.making import Run, fill, picture, read_summary, summarize, train, write_summary

BITS, RATE = "task.bits", "optimizer.learning_rate"
CONVERGED, EPOCHS = "converged/rate", "epochs_to_converge/median"
EVEN, ODD = "converged/even", "converged/odd"
COLORS = {1: "#9ecae1", 2: "#4292c6", 3: "#08306b"}  # of the depths
SIZE = [BITS, "depth", "width"]
SHARES = (0.5, 0.95)


def make(folder: Path) -> None:
    """Write the summary, the pictures and the tables."""
    runs = train("experiment=depth_and_width")
    table = summarize(runs)
    table[EVEN], table[ODD] = ([_rate(run, first) for run in runs] for first in (0, 1))
    write_summary(folder, table)
    show(folder)


def show(folder: Path) -> None:
    """Write the pictures and the tables, which follow from `summary.csv`."""
    table = read_summary(folder)
    hidden = table["network.hidden"].map(json.loads)
    table["depth"], table["width"] = hidden.map(len), hidden.map(lambda widths: widths[0])
    best = _best(table, CONVERGED)
    fill(
        folder,
        flattery=_selection_bias(table, best),
        needed=_needed(best),
        rates=_rates(best),
        learning_rates=_by_learning_rate(table),
    )
    _draw_rates(best, folder / "rates.svg")
    _draw_epochs(table[table[RATE] == 0.3], folder / "epochs.svg")


def _best(table: pd.DataFrame, share: str) -> pd.DataFrame:
    """Choose the best learning rate of each size by a share, of as many networks everywhere."""
    by_share = dict.fromkeys(("solved/rate", "solved/rate_low"), table[share])
    return tables.best(tables.ranked(table.assign(**by_share)), SIZE)


def _rate(run: Run, first: int) -> float:
    """Return the share that converged of every other network, from this one on."""
    return float((run.result.outcome[first::2] == "converged").mean())


def _selection_bias(table: pd.DataFrame, best: pd.DataFrame) -> str:
    """Return how much less it is where other networks are counted than those chosen by."""
    by_which = (best[CONVERGED] - _best(table, EVEN)[ODD]) * 100
    return f"{by_which.mean():.1f} points lower on average"


def _task(bits: int) -> str:
    return "XOR" if bits == 2 else f"parity of {bits} bits"


def _needed(best: pd.DataFrame) -> pd.DataFrame:
    """Return the least width from which on all wider ones reach a share, and its weights."""
    rows = []
    for (bits, depth), part in best.groupby([BITS, "depth"]):
        row = {"task": _task(bits), "hidden layers": str(depth)}
        for share in SHARES:
            width = 1 + int(part.loc[part[CONVERGED] < share, "width"].max())
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
    shapes = layer_shapes([bits, *[width] * depth, 1], bias=True)
    return sum(rows * columns for rows, columns in shapes)


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
            row[f"lr {rate:g}: %, median epochs"] = f"{percent(mean)}, {count(epochs)}"
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
