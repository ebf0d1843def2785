"""Figure 1 of Kolen & Pollack (1990): how many networks have not learnt XOR after 50,000 epochs."""

from pathlib import Path

import pandas as pd

from experiments.making import Run, fill, percent, picture, summarize, train, write_summary

BOUND, RATE, MOMENTUM = "init.bound", "optimizer.learning_rate", "optimizer.momentum"
COLORS = {1.0: "#2171b5", 2.0: "#cb181d"}  # of the learning rates
STYLES = {0.0: "-", 0.5: "--", 0.9: ":"}  # of the momenta
UPDATES = {"batch_gd": "batch", "online_gd": "online"}


def make(folder: Path) -> None:
    """Write the summary, the picture and the tables."""
    runs = train("experiment=kolen_pollack_1990")
    table = summarize(runs)
    write_summary(folder, table)
    table["share"] = 1 - table["converged/rate"]  # not converged
    fill(
        folder,
        precision=_precision(runs, table),
        shares=_shares(table),
        claims=_claims(table),
        momentum=_by(table, MOMENTUM),
    )
    _draw(table, folder / "figure_1.svg")


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
    """Put what the paper says beside what comes out."""
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


def _by(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """Average over everything but one key, for small, middle and large weights."""
    parts = {"ρ = 0.1": (0.1, 0.1), "ρ 0.2 – 1": (0.2, 1), "ρ 2 – 10": (2, 10)}
    rows = []
    for (name, value), part in table.groupby(["optimizer", key]):
        row = {"updates": UPDATES[name], key: f"{value:g}"}
        for title, limits in parts.items():
            row[title] = percent(part.loc[part[BOUND].between(*limits), "share"].mean())
        rows.append(row)
    return pd.DataFrame(rows)


def _spans(table: pd.DataFrame) -> dict[str, str]:
    return {UPDATES[name]: _span(part) for name, part in table.groupby("optimizer")}


def _span(table: pd.DataFrame) -> str:
    return f"{percent(table['share'].min())} – {percent(table['share'].max())}"


def _draw(table: pd.DataFrame, path: Path) -> None:
    with picture(path, 1, 2, figsize=(7.4, 3.4), sharey=True) as axes:
        for axis, (name, of_name) in zip(axes, table.groupby("optimizer"), strict=True):
            axis.axhspan(5, 50, 0.2, 0.4, color="0.9", zorder=0)
            for (rate, momentum), part in of_name.groupby([RATE, MOMENTUM]):
                look = {"color": COLORS[rate], "linestyle": STYLES[momentum]}
                label = f"η = {rate:g}, momentum {momentum:g}"
                axis.plot(part[BOUND], 100 * part["share"], label=label, **look)
            axis.set(xlabel="range of the initial weights, ±ρ", title=f"{UPDATES[name]} updates")
        axes[0].set(ylabel="not converged after 50,000 epochs, %", xlim=(0, 10), ylim=(0, 100))
        axes[1].set(xlim=(0, 10))
        axes[1].legend(loc="upper left", fontsize=7.5)
        axes[0].text(3, 3.8, "theirs", ha="center", va="top", color="0.4", fontsize=7.5)
