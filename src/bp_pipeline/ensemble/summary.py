"""What a run comes to: curves over its epochs, and its outcomes as a handful of numbers.

Owns the statistics over replicates, so that tracking and reports share them. None
drops a replicate: one that diverged counts as +inf in quantiles, and one that never converged as
still on its way.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from bp_pipeline.ensemble.shards import RunResult

DECILES = (0.1, 0.5, 0.9)

_BLOCK_VALUES = 1 << 22  # sorted at a time (32 MB), so that a large ensemble needs no full copy


def curves(result: RunResult) -> dict[str, Float64[np.ndarray, " epoch"]]:
    """Summarize the replicates at each recorded epoch.

    Returns
    -------
    dict
        MLflow's name of each curve, and its value at every one of `result.epochs`: quantiles over
        replicates of the loss in nats and of the norms, and the fraction of replicates that had
        converged by then. +inf where so many replicates had diverged.
    """
    loss_p10, loss_median, loss_p90 = quantiles(result.loss, DECILES)
    return {
        "loss/median": loss_median,
        "loss/p10": loss_p10,
        "loss/p90": loss_p90,
        "converged/fraction": converged_fraction(result.epochs_to_converge, result.epochs),
        "gradient_norm/median": quantiles(result.gradient_norm, (0.5,))[0],
        "weight_norm/median": quantiles(result.weight_norm, (0.5,))[0],
    }


def summary(result: RunResult) -> dict[str, float]:
    """Summarize the outcomes of a run's replicates.

    Returns
    -------
    dict
        MLflow's name of each metric, and its value: rates in 0 … 1, epochs, loss in nats. A value
        that is not finite is left out, as is the median of the epochs to convergence where fewer
        than half converged.
    """
    outcomes, n = result.outcome, len(result.outcome)
    n_converged = int((outcomes == "converged").sum())
    low, high = wilson_interval(n_converged, n)
    values = {
        "converged/rate": n_converged / n,
        "converged/rate_low": low,
        "converged/rate_high": high,
        "stalled/rate": float((outcomes == "stalled").mean()),
        "diverged/rate": float((outcomes == "diverged").mean()),
        "epochs_to_converge/median": median_epochs_to_converge(result.epochs_to_converge),
        "final_loss/median": float(quantiles(result.final_loss[:, np.newaxis], (0.5,))[0, 0]),
    }
    return {name: value for name, value in values.items() if np.isfinite(value)}


def in_words(result: RunResult) -> str:
    """Say how a run's replicates ended, in a sentence.

    >>> in_words(result)
    '90 of 100 converged (83 – 94 %), half of all by epoch 99; final loss (median) 0.00267 nats.'
    """
    values, n = summary(result), len(result.outcome)
    n_converged = int((result.outcome == "converged").sum())
    low, high = (100 * values[f"converged/rate_{end}"] for end in ("low", "high"))
    text = f"{n_converged:,} of {n:,} converged ({low:.0f} – {high:.0f} %)"
    if "epochs_to_converge/median" in values:
        text += f", half of all by epoch {values['epochs_to_converge/median']:,.0f}"
    loss = values.get("final_loss/median")
    return f"{text}; final loss (median) {'infinite' if loss is None else f'{loss:.3g} nats'}."


def quantiles(
    values: Float64[np.ndarray, "replicate column"], probabilities: Sequence[float]
) -> Float64[np.ndarray, "probability column"]:
    """Interpolate linearly between order statistics, column by column.

    With n sorted values x[0], …, x[n−1], the quantile p is x at the position p·(n − 1): NumPy's
    default, so a median of an even number lies half-way between the two in the middle. Unlike
    NumPy's it is defined for +inf: between two equal values it is that value, and between a finite
    value and +inf it is +inf.

    References
    ----------
    Hyndman and Fan (1996), Sample Quantiles in Statistical Packages, definition 7.
    """
    n, n_columns = values.shape
    positions = np.asarray(probabilities) * (n - 1)
    below, above = np.floor(positions).astype(int), np.ceil(positions).astype(int)
    weights = (positions - below)[:, np.newaxis]
    result = np.empty((len(positions), n_columns))
    step = max(1, _BLOCK_VALUES // n)
    for start in range(0, n_columns, step):
        columns = slice(start, start + step)
        ordered = values[:, columns].T.copy()
        ordered.partition(np.union1d(below, above), axis=1)
        low, high = ordered[:, below].T, ordered[:, above].T
        with np.errstate(invalid="ignore"):  # inf − inf, where the values are equal
            result[:, columns] = np.where(low == high, low, low + weights * (high - low))
    return result


def converged_fraction(
    epochs_to_converge: Int64[np.ndarray, " replicate"], epochs: Int64[np.ndarray, " epoch"]
) -> Float64[np.ndarray, " epoch"]:
    """Give the fraction of replicates that had converged by each epoch."""
    converged = np.sort(epochs_to_converge[epochs_to_converge >= 0])
    return np.searchsorted(converged, epochs, side="right") / len(epochs_to_converge)


def wilson_interval(n_converged: int, n_replicates: int) -> tuple[float, float]:
    """Bound a rate with 95 % confidence, from n_converged of n_replicates.

    References
    ----------
    Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference.
    """
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(n_converged, n_replicates).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def median_epochs_to_converge(epochs_to_converge: Int64[np.ndarray, " replicate"]) -> float:
    """Give the first epoch by which at least half of the replicates had converged.

    That is the Kaplan–Meier median, the smallest t with S(t) ≤ 1/2: replicates that do not converge
    are censored after every convergence, so S is just the fraction that has not converged yet.

    Returns
    -------
    float
        In epochs; +inf where fewer than half converged.
    """
    never = np.iinfo(np.int64).max
    epochs = np.where(epochs_to_converge < 0, never, epochs_to_converge)
    middle = (len(epochs) - 1) // 2
    median = np.partition(epochs, middle)[middle]
    return np.inf if median == never else float(median)
