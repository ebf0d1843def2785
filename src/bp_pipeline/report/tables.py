"""The tables of a report, made with pandas from a sweep's runs (one row each, see `load_sweep`)."""

import pandas as pd

from bp_pipeline.naming import ALWAYS, varied_keys

LEARNING_RATE = "optimizer.learning_rate"
RATE = "converged/rate"
MEDIAN_EPOCHS = "epochs_to_converge/median"
MEASURES = [
    RATE,
    "converged/rate_low",
    "converged/rate_high",
    "stalled/rate",
    "diverged/rate",
    MEDIAN_EPOCHS,
    "final_loss/median",
]


def axes(runs: pd.DataFrame) -> list[str]:
    """List the config keys that span the sweep's grid, the learning rate last."""
    keys = [name for name in runs.columns if "/" not in name and not name.startswith("bp.")]
    params = [row.dropna().to_dict() for _, row in runs[keys].iterrows()]
    described = ("run_id", "name", "status")
    varied = [key for key in varied_keys(params) if key not in (*described, LEARNING_RATE)]
    return [*dict.fromkeys([*ALWAYS[:2], *varied]), LEARNING_RATE]


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep the runs that have a result."""
    return runs[runs["status"] == "FINISHED"]


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Give one row a finished run: where it is in the grid, and its measures, absent ones empty."""
    table = finished(runs).reindex(columns=[*axes(runs), *MEASURES])
    return table.sort_values(axes(runs), ignore_index=True)


def rates(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out the convergence rate: learning rates across, everything else down.

    A setting with several runs has the mean of their rates; one without has NaN.
    """
    return (
        finished(runs)
        .pivot_table(
            index=axes(runs)[:-1], columns=LEARNING_RATE, values=RATE, aggfunc="mean", dropna=False
        )
        .dropna(how="all")
    )


def best_learning_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """Choose the best learning rate of each setting.

    The highest convergence rate wins, then the smaller median of epochs, then the smaller learning
    rate; a setting in which nothing converged has no best one.
    """
    table = summary(runs)
    ranked = table.sort_values(
        [RATE, MEDIAN_EPOCHS, LEARNING_RATE], ascending=[False, True, True], na_position="last"
    )
    best = ranked.groupby(axes(runs)[:-1], sort=True, dropna=False).head(1)
    best = best.set_index(axes(runs)[:-1]).sort_index()
    measures = [LEARNING_RATE, RATE, "converged/rate_low", "converged/rate_high", MEDIAN_EPOCHS]
    best = best[measures]
    best.loc[best[RATE] == 0, [LEARNING_RATE, MEDIAN_EPOCHS]] = float("nan")
    return best
