"""Figure 1 of Kolen & Pollack (1990): how many networks have not learnt XOR after 50,000 epochs."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from bp_pipeline.report.notation import percent
from experiments.making import (
    Run,
    converged_within,
    fill,
    picture,
    read_summary,
    summarize,
    train,
    write_summary,
)

BOUND, RATE, MOMENTUM = "init.bound", "optimizer.learning_rate", "optimizer.momentum"
COLORS = {1.0: "#2171b5", 2.0: "#cb181d"}  # of the learning rates
STYLES = {0.0: "-", 0.5: "--", 0.9: ":"}  # of the momenta
UPDATES = {"batch_gd": "batch", "online_gd": "online"}
LONGER = (  # the slowest setting, ten times as long
    "init.bound=0.1",
    "optimizer.learning_rate=1",
    "optimizer.momentum=0",
    "replicates=300",
    "training.epochs=500000",
)
WITHIN = {50_000: "converged within 50000", 500_000: "converged/rate"}  # epochs: their column


def make(folder: Path) -> None:
    """Write the summaries, the picture and the tables."""
    runs = train("experiment=kolen_pollack_1990")
    write_summary(folder, summarize(runs))
    longer = train("experiment=kolen_pollack_1990", *LONGER)
    write_summary(folder, _within(longer), "longer.csv")
    show(folder)
    fill(folder, precision=_precision(runs, read_summary(folder)))


def show(folder: Path) -> None:
    """Write the picture and the tables that follow from the summaries."""
    table = read_summary(folder)
    table["share"] = 1 - table["converged/rate"]  # not converged
    fill(
        folder,
        shares=_shares(table),
        claims=_claims(table),
        learning_rate=_by(table, RATE, "η"),
        momentum=_by(table, MOMENTUM, "momentum"),
        longer=_longer(read_summary(folder, "longer.csv")),
    )
    _draw(table, folder / "figure_1.svg")


def _within(runs: list[Run]) -> pd.DataFrame:
    """Return the share that had converged within fewer epochs too, one row a run."""
    table = summarize(runs)
    early, column = next(iter(WITHIN.items()))
    table[column] = [converged_within(run, early) for run in runs]
    return table


def _longer(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "not converged, %": UPDATES[row["optimizer"]],
            **{f"after {epochs:,} epochs": percent(1 - row[key]) for epochs, key in WITHIN.items()},
        }
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _precision(runs: list[Run], table: pd.DataFrame) -> str:
    widest = (table["converged/rate_high"] - table["converged/rate_low"]).max() / 2
    diverged = int(sum((run.result.outcome == "diverged").sum() for run in runs))
    n_networks = sum(run.config.replicates for run in runs)
    return (
        f"{len(runs)} runs, {n_networks:,} networks, of which {diverged} diverged. "
        f"Each share is known to ±{100 * widest:.1f} percentage points (Wilson, 95 %)."
    )


def _shares(table: pd.DataFrame) -> pd.DataFrame:
    """Give, for each range of weights, the lowest and highest share among the six settings."""
    rows = [
        {"ρ": f"{bound:g}", **{UPDATES[name]: _span(part) for name, part in of_bound}}
        for bound, of_bound in (
            (bound, part.groupby("optimizer")) for bound, part in table.groupby(BOUND)
        )
    ]
    return pd.DataFrame(rows)


def _claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the paper says beside what comes out."""
    claims = {
        "ρ from 2 to 4: from 5 to 50 %": table[BOUND].between(2, 4),
        "ρ up to 0.5: low": table[BOUND] <= 0.5,
        "ρ from 0.2 to 0.5": table[BOUND].between(0.2, 0.5),
        "if ρ were the width (±ρ/2), ρ from 2 to 4": table[BOUND].between(1, 2),
    }
    rows = [
        {"not converged, %": claim, **_spans(table[chosen])} for claim, chosen in claims.items()
    ]
    return pd.DataFrame(rows)


def _by(table: pd.DataFrame, key: str, title: str) -> pd.DataFrame:
    """Average over everything but one key, for small, middle and large weights."""
    parts = {
        "ρ = 0.1": (0.1, 0.1),
        "ρ 0.2 – 1": (0.2, 1),
        "ρ = 2": (2, 2),
        "ρ 2 – 10": (2, 10),
        "ρ = 10": (10, 10),
    }
    rows = []
    for (name, value), part in table.groupby(["optimizer", key]):
        row = {"updates": UPDATES[name], title: f"{value:g}"}
        for column, limits in parts.items():
            row[column] = percent(part.loc[part[BOUND].between(*limits), "share"].mean())
        rows.append(row)
    return pd.DataFrame(rows)


def _spans(table: pd.DataFrame) -> dict[str, str]:
    return {UPDATES[name]: _span(part) for name, part in table.groupby("optimizer")}


def _span(table: pd.DataFrame) -> str:
    return f"{percent(table['share'].min())} – {percent(table['share'].max())}"


def _draw(table: pd.DataFrame, path: Path) -> None:
    """Draw all ρ as the paper does, and below them those up to 1, which are half of them."""
    with picture(path, 2, 2, figsize=(7.4, 6.0), sharey=True) as axes:
        for axis, (name, part) in zip(axes[:2], table.groupby("optimizer"), strict=True):
            axis.axhspan(5, 50, 0.2, 0.4, color="0.9", zorder=0)
            axis.text(3, 3.8, "theirs", ha="center", va="top", color="0.4", fontsize=7.5)
            axis.set(title=f"{UPDATES[name]} updates", xlim=(0, 10), ylim=(0, 100))
            _draw_settings(axis, part)
        for axis, (_, part) in zip(axes[2:], table.groupby("optimizer"), strict=True):
            _draw_settings(axis, part[part[BOUND] <= 1])
            axis.set(xlabel="range of the initial weights, ±ρ", xlim=(0, 1))
        for axis in axes[::2]:
            axis.set_ylabel("not converged after 50,000 epochs, %")
        axes[3].legend(loc="upper right", fontsize=7.5)


def _draw_settings(axis: Axes, table: pd.DataFrame) -> None:
    for (rate, momentum), part in table.groupby([RATE, MOMENTUM]):
        look = {"color": COLORS[rate], "linestyle": STYLES[momentum]}
        label = f"η = {rate:g}, momentum {momentum:g}"
        axis.plot(part[BOUND], 100 * part["share"], label=label, **look)
