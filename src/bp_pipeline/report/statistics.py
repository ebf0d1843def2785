"""Statistics of convergence: survival curves, and tests on replicates that start alike.

Takes and gives arrays and numbers. SciPy does the estimates and the tests; what it lacks is ours:
the interval of a median, Holm's correction, and a factor's share of the variance. Wilson's interval
and the median itself are in `ensemble/result.py`, since runs carry them as metrics.
"""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

CONFIDENCE = 0.95
_MOST_TIED = 13  # pairs, some of them tied, up to which SciPy tests exactly


@dataclass(frozen=True)
class Survival:
    """Share not yet converged, S(t), as a step function of the epoch.

    Attributes
    ----------
    epochs
        Where it is given; from each of them on, up to the next.
    share
        S at these epochs.
    low, high
        Band of 95 % confidence for each epoch on its own; NaN where it is undefined.
    """

    epochs: Float64[np.ndarray, " step"]
    share: Float64[np.ndarray, " step"]
    low: Float64[np.ndarray, " step"]
    high: Float64[np.ndarray, " step"]


@dataclass(frozen=True)
class PairedTest:
    """What a test on pairs found: the number of pairs that tell something, and the p-value."""

    n: int
    p_value: float


def kaplan_meier(
    epochs: Int64[np.ndarray, " replicate"], converged: Bool[np.ndarray, " replicate"]
) -> Survival:
    """Estimate the share not yet converged by the product limit, with a log-log band.

    Parameters
    ----------
    epochs
        To convergence, or, where a replicate did not converge, how long it was watched.
    converged
        Which did.

    References
    ----------
    Kaplan and Meier (1958), Nonparametric Estimation from Incomplete Observations. Kalbfleisch and
    Prentice (1980), The Statistical Analysis of Failure Time Data, section 1.3: the band. It is
    undefined while nothing has converged, and where everything has.
    """
    from scipy.stats import CensoredData, ecdf

    survival = ecdf(CensoredData.right_censored(epochs, ~converged)).sf
    with warnings.catch_warnings():  # that the band is undefined somewhere is expected, and NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        band = survival.confidence_interval(CONFIDENCE, method="log-log")
    epochs_, share, low, high = (
        np.asarray(values, dtype=np.float64)
        for values in (
            survival.quantiles, survival.probabilities,
            band.low.probabilities, band.high.probabilities,
        )
    )  # fmt: skip
    return Survival(epochs_, share, low, high)


def median_interval(survival: Survival) -> tuple[float, float]:
    """Bound the median by inverting the band: the epochs at which it holds S = 1/2 possible.

    Returns
    -------
    tuple
        First epoch at which the lower bound is 1/2 or less, and first at which the upper bound is;
        +inf where there is none.

    References
    ----------
    Brookmeyer and Crowley (1982), A Confidence Interval for the Median Survival Time.
    """
    # Once everything has converged, and the band is undefined, 0 is possible, but nothing is sure.
    low = np.where(np.isnan(survival.low), survival.share, survival.low)
    return _first_half(survival.epochs, low), _first_half(survival.epochs, survival.high)


def restricted_mean(
    epochs: Int64[np.ndarray, " replicate"], converged: Bool[np.ndarray, " replicate"], horizon: int
) -> tuple[float, float, float]:
    """Compute the mean epochs to convergence up to a horizon, with Student's 95 % interval.

    The area below S(t) from 0 to the horizon: what has not converged by then counts as the horizon.
    As all are watched that long, it is the mean of min(t, horizon).

    Parameters
    ----------
    epochs, converged
        As in `kaplan_meier`.
    horizon
        In epochs; no more than any replicate was watched for.

    Returns
    -------
    tuple
        Mean and the ends of its interval, cut at 0 and the horizon; NaN where there is no spread.

    References
    ----------
    Royston and Parmar (2013), Restricted Mean Survival Time, BMC Medical Research Methodology 13.
    """
    from scipy.stats import t

    times = np.where(converged, np.minimum(epochs, horizon), horizon).astype(np.float64)
    n, mean = len(times), float(times.mean())
    if n < 2 or not np.ptp(times):
        return mean, np.nan, np.nan
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * times.std(ddof=1) / np.sqrt(n))
    return mean, max(0.0, mean - half), min(float(horizon), mean + half)


def mcnemar(first: Bool[np.ndarray, " pair"], second: Bool[np.ndarray, " pair"]) -> PairedTest:
    """Test whether two settings converge equally often, exactly, on the discordant pairs.

    References
    ----------
    McNemar (1947), Note on the Sampling Error of the Difference between Correlated Proportions.
    """
    from scipy.stats import binomtest

    n_first, n_second = int((first & ~second).sum()), int((second & ~first).sum())
    n = n_first + n_second
    return PairedTest(n, float(binomtest(n_first, n).pvalue) if n else 1.0)


def fisher(first: Bool[np.ndarray, " one"], second: Bool[np.ndarray, " other"]) -> float:
    """Test exactly whether two settings without pairs converge equally often; return p.

    References
    ----------
    Fisher (1935), The Logic of Inductive Inference, Journal of the Royal Statistical Society 98.
    """
    from scipy.stats import fisher_exact

    counts = [[int(one.sum()), int((~one).sum())] for one in (first, second)]
    return float(fisher_exact(counts).pvalue)


def signed_rank(
    first: Float64[np.ndarray, " pair"], second: Float64[np.ndarray, " pair"]
) -> PairedTest:
    """Test whether the differences of pairs lie symmetrically about 0; equal pairs tell nothing.

    SciPy's choice: without ties exact for up to 50 pairs; with ties, over all signs of the ranks,
    for up to 13, where that is exact too; else the normal approximation, corrected for ties. Going
    over the signs is ours, since SciPy ranks anew for each of them: 1 s for 13 pairs, not 1 ms.

    References
    ----------
    Wilcoxon (1945), Individual Comparisons by Ranking Methods.
    """
    from scipy.stats import rankdata, wilcoxon

    differences = first - second
    differences = differences[differences != 0]
    n, sizes = len(differences), np.abs(differences)
    if not n:
        return PairedTest(0, 1.0)
    if n <= _MOST_TIED and len(np.unique(sizes)) < n:
        return PairedTest(n, _over_all_signs(differences > 0, rankdata(sizes)))
    return PairedTest(n, float(wilcoxon(differences).pvalue))


def holm(p_values: Sequence[float]) -> Float64[np.ndarray, " test"]:
    """Adjust the p-values of a family, so that the chance of any false finding stays bounded.

    The j-th smallest of m is multiplied by m − j + 1, then made no smaller than those before it
    and no larger than 1.

    References
    ----------
    Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    factors = np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def eta_squared(values: Float64[np.ndarray, " cell"], levels: Sequence[Hashable]) -> float:
    """Compute the share of the variance between cells that lies between the levels of one factor.

    η² = Σ n(level)·(mean(level) − mean)² / Σ (value − mean)², the sum of squares of the factor's
    main effect over the total. In a complete grid the shares of all factors add up to at most 1,
    and what is missing is their interplay. NaN where the values do not vary.

    References
    ----------
    Fisher (1925), Statistical Methods for Research Workers, chapter VIII; Cohen (1973),
    Eta-squared and Partial Eta-squared in Fixed Factor ANOVA Designs.
    """
    total = float(((values - values.mean()) ** 2).sum())
    if total <= 0:
        return float("nan")
    groups: dict[Hashable, list[float]] = {}
    for level, value in zip(levels, values.tolist(), strict=True):
        groups.setdefault(level, []).append(value)
    between = (len(group) * (np.mean(group) - values.mean()) ** 2 for group in groups.values())
    return float(sum(between)) / total


def _over_all_signs(
    is_positive: Bool[np.ndarray, " pair"], ranks: Float64[np.ndarray, " pair"]
) -> float:
    """Return the two-sided p-value of a sum of positive ranks, as all signs are equally likely."""
    n = len(ranks)
    sums = (np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1) @ ranks  # halves, thus exact
    observed = ranks @ is_positive
    return min(1.0, 2 * float(min((sums <= observed).mean(), (sums >= observed).mean())))


def _first_half(epochs: Float64[np.ndarray, " step"], bound: Float64[np.ndarray, " step"]) -> float:
    reached = bound <= 0.5
    return float(epochs[reached.argmax()]) if reached.any() else np.inf
