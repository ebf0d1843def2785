"""What training one run comes to: its arrays, curves over its epochs, and outcomes as numbers.

Owns `RunResult`, what of it makes two results the same, and the statistics over replicates, which
tracking and reports share. None drops a replicate: one that diverged counts as +inf in quantiles,
and one that never converged as still on its way. How a result is trained is left to `shards.py`,
what MLflow keeps of it to `tracking/format.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import ceil, floor

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.digests import digest_arrays

DECILES = (0.1, 0.5, 0.9)
# MLflow's names of the curves and of the summary, in the order in which they are computed below.
CURVES = (
    "loss/median",
    "loss/p10",
    "loss/p90",
    "converged/fraction",
    "gradient_norm/median",
    "weight_norm/median",
)
SUMMARY = (
    "solved/rate",
    "solved/rate_low",
    "solved/rate_high",
    "converged/rate",
    "converged/rate_low",
    "converged/rate_high",
    "stalled/rate",
    "diverged/rate",
    "epochs_to_converge/median",
    "final_loss/median",
)
INTERVALS = tuple(name for name in SUMMARY if name.endswith(("_low", "_high")))

_BLOCK_VALUES = 1 << 22  # sorted at a time (32 MB), so that a large ensemble needs no full copy


@dataclass(frozen=True)
class RunResult:
    """What training one run gives: the arrays of `core.training.Trained`, network axis first.

    Attributes
    ----------
    epochs
        The recorded epochs.
    loss, gradient_norm, weight_norm
        At the recorded epochs; +inf from the epoch of divergence on. The loss is in nats, mean over
        samples.
    outcome_code
        Index into `core.training.OUTCOMES`.
    epochs_to_converge
        First epoch at which the replicate had converged, or −1.
    solved
        Whether every output is within the tolerance after the last epoch.
    final_loss
        In nats, mean over samples; +inf where it is not finite.
    initial_weights, final_weights
        `layer_1`, …: (replicate, row, fan_out), row 0 the bias unit's.
    trajectory
        `epoch`, and the same for the first `training.record_weights` replicates at every recorded
        epoch: (replicate, epoch, row, fan_out).
    """

    epochs: Int64[np.ndarray, " epoch"]
    loss: Float64[np.ndarray, "replicate epoch"]
    gradient_norm: Float64[np.ndarray, "replicate epoch"]
    weight_norm: Float64[np.ndarray, "replicate epoch"]
    outcome_code: Int8[np.ndarray, " replicate"]
    epochs_to_converge: Int64[np.ndarray, " replicate"]
    solved: Bool[np.ndarray, " replicate"]
    final_loss: Float64[np.ndarray, " replicate"]
    initial_weights: dict[str, Float64[np.ndarray, "replicate row fan_out"]]
    final_weights: dict[str, Float64[np.ndarray, "replicate row fan_out"]]
    trajectory: dict[str, np.ndarray]

    @property
    def outcome(self) -> np.ndarray:
        """Outcome of each replicate by name."""
        return np.array(OUTCOMES)[self.outcome_code]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What makes two results the same: weights, trajectory, outcomes, and loss curves."""
        weights = {
            f"{kind}/{name}": layer
            for kind in ("initial_weights", "final_weights", "trajectory")
            for name, layer in getattr(self, kind).items()
        }
        names = ("epochs", "loss", "outcome_code", "epochs_to_converge", "solved")
        return {**weights, **{name: getattr(self, name) for name in names}}

    @cached_property
    def result_digest(self) -> str:
        """SHA-256 over `arrays`."""
        return digest_arrays(self.arrays)

    @cached_property
    def curves(self) -> dict[str, Float64[np.ndarray, " epoch"]]:
        """What the replicates come to at each of `epochs`, by the names in `CURVES`.

        Quantiles over replicates of the loss in nats and of the norms, and the fraction of
        replicates that had converged by then. +inf where so many replicates had diverged.
        """
        low, median, high = quantiles(self.loss, DECILES)
        fraction = converged_fraction(self.epochs_to_converge, self.epochs)
        norms = [quantiles(norm, (0.5,))[0] for norm in (self.gradient_norm, self.weight_norm)]
        return dict(zip(CURVES, (median, low, high, fraction, *norms), strict=True))

    @cached_property
    def summary(self) -> dict[str, float]:
        """What the replicates come to at the end, by the names in `SUMMARY`.

        Rates in 0 … 1, epochs, loss in nats. A value that is not finite is left out, as is the
        median of the epochs to convergence where fewer than half converged.
        """
        outcomes, n = self.outcome, len(self.outcome)
        n_solved, n_converged = int(self.solved.sum()), int((outcomes == "converged").sum())
        values = (
            n_solved / n,
            *wilson_interval(n_solved, n),
            n_converged / n,
            *wilson_interval(n_converged, n),
            float((outcomes == "stalled").mean()),
            float((outcomes == "diverged").mean()),
            median_epochs_to_converge(self.epochs_to_converge),
            float(quantiles(self.final_loss[:, np.newaxis], (0.5,))[0, 0]),
        )
        named = zip(SUMMARY, values, strict=True)
        return {name: value for name, value in named if np.isfinite(value)}


def summary_of(result: RunResult, *, copies: bool) -> dict[str, float]:
    """Return the summary of a run, whose rates have no intervals where it trained copies."""
    left_out = INTERVALS if copies else ()
    return {name: value for name, value in result.summary.items() if name not in left_out}


def in_words(result: RunResult, *, copies: bool = False) -> str:
    """Describe in a sentence how a run's replicates ended, which may be `copies`, as in `summary`.

    >>> in_words(result)
    '2 of 2 solved (34 – 100 %), half of all converged by epoch 9; final loss (median) 0.02 nats.'
    """
    values, n = result.summary, len(result.outcome)
    n_solved = int(result.solved.sum())
    n_lost = int(((result.outcome == "converged") & ~result.solved).sum())
    low, high = floor(100 * values["solved/rate_low"]), ceil(100 * values["solved/rate_high"])
    sure = "copies of one network" if copies else f"{low} – {high} %"
    text = f"{n_solved:,} of {n:,} solved ({sure})"
    if n_lost:
        text += f", {n_lost:,} more converged and lost it again"
    if "epochs_to_converge/median" in values:
        text += f", half of all converged by epoch {values['epochs_to_converge/median']:,.0f}"
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
        ordered.partition(sorted({*below.tolist(), *above.tolist()}), axis=1)
        low, high = ordered[:, below].T, ordered[:, above].T
        with np.errstate(invalid="ignore"):  # inf − inf, where the values are equal
            result[:, columns] = np.where(low == high, low, low + weights * (high - low))
    return result


def converged_fraction(
    epochs_to_converge: Int64[np.ndarray, " replicate"], epochs: Int64[np.ndarray, " epoch"]
) -> Float64[np.ndarray, " epoch"]:
    """Return the fraction of replicates that had converged by each epoch."""
    converged = np.sort(epochs_to_converge[epochs_to_converge >= 0])
    return np.searchsorted(converged, epochs, side="right") / len(epochs_to_converge)


@cache  # SciPy takes milliseconds, and a sweep has few different counts
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
    """Compute the first epoch by which at least half of the replicates had converged.

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
