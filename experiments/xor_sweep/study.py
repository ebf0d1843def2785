"""The default sweep: which activation, initialization and learning rate learn XOR."""

from pathlib import Path

import pandas as pd

from experiments.making import fill, percent, picture, summarize, thousands, train, write_summary

RATE, CONVERGED = "optimizer.learning_rate", "converged/rate"
DIVERGED, EPOCHS = "diverged/rate", "epochs_to_converge/median"
COLORS = {
    "ones": "0.6", "uniform_small": "#984ea3", "uniform": "#4daf4a",
    "normal": "#ff7f00", "glorot_uniform": "#2171b5", "he_normal": "#cb181d",
}  # fmt: skip


def make(folder: Path) -> None:
    """Write the summary, the picture and the tables."""
    table = summarize(train("experiment=xor_sweep"))
    write_summary(folder, table)
    fill(folder, rates=_rates(table), best=_best(table), diverged=_diverged(table))
    _draw(table, folder / "rates.svg")


def _rates(table: pd.DataFrame) -> pd.DataFrame:
    """Lay out the rates: learning rates across, everything else down, in the order of the sweep."""
    rows = []
    for (activation, init), part in table.groupby(["activation", "init"], sort=False):
        rates = {f"{run[RATE]:g}": percent(run[CONVERGED]) for run in part.to_dict("records")}
        rows.append({"activation": activation, "init": init, **rates})
    return pd.DataFrame(rows)


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Give the best initialization and learning rate of each activation: most, then fastest."""
    ranked = table.sort_values([CONVERGED, EPOCHS, RATE], ascending=[False, True, True])
    rows = []
    for activation in table["activation"].unique():
        run = ranked[ranked["activation"] == activation].iloc[0]
        low, high = percent(run[f"{CONVERGED}_low"]), percent(run[f"{CONVERGED}_high"])
        learns = run[CONVERGED] > 0
        rows.append(
            {
                "activation": activation,
                "best init": run["init"] if learns else "none",
                "learning rate": f"{run[RATE]:g}" if learns else "–",
                "converged, % (95 % interval)": f"{percent(run[CONVERGED])} ({low} – {high})",
                "median epochs": thousands(run[EPOCHS]),
            }
        )
    return pd.DataFrame(rows)


def _diverged(table: pd.DataFrame) -> pd.DataFrame:
    """Give the share of networks that diverged, over all initializations."""
    shares = table.pivot_table(index="activation", columns=RATE, values=DIVERGED, sort=False)
    shares = shares[sorted(shares.columns)].map(percent)
    shares.columns = [f"{rate:g}" for rate in shares.columns]
    return shares.reset_index()


def _draw(table: pd.DataFrame, path: Path) -> None:
    with picture(path, 1, 5, figsize=(9.0, 2.6), sharex=True, sharey=True) as axes:
        for axis, (activation, part) in zip(
            axes, table.groupby("activation", sort=False), strict=True
        ):
            for init, of_init in part.groupby("init", sort=False):
                rate = 100 * of_init[CONVERGED]
                axis.plot(of_init[RATE], rate, "o-", ms=3, color=COLORS[init], label=init)
            axis.set(xscale="log", xlabel="learning rate", title=activation, ylim=(-3, 103))
        axes[0].set_ylabel("converged, %")
        axes[0].legend(loc="upper left", fontsize=7.5, handlelength=1.5)
