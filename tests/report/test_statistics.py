"""Statistics against published worked examples, and their limits."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from bp_pipeline.report.statistics import (
    PairedTest,
    eta_squared,
    holm,
    kaplan_meier,
    mcnemar,
    median_interval,
    restricted_mean,
    signed_rank,
)

# Weeks of remission: Freireich et al. (1963), Blood 21, 699–716; a + is a censored one.
SIX_MP = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def times(text: str) -> tuple[np.ndarray, np.ndarray]:
    words = text.split()
    return (
        np.array([int(word.rstrip("+")) for word in words]),
        np.array(["+" not in word for word in words]),
    )


def test_kaplan_meier_of_the_remissions_under_6_mp() -> None:
    survival = kaplan_meier(*times(SIX_MP))
    at = np.searchsorted(survival.epochs, [6, 7, 10, 13, 16, 22, 23])
    # Kleinbaum and Klein (2012), Survival Analysis, 3rd ed., chapter 2
    expected = [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    np.testing.assert_allclose(survival.share[at], expected, atol=5e-5)
    # Collett (2015) equation 2.12, which R's survfit(conf.type="log-log") and SAS print likewise
    np.testing.assert_allclose(survival.low[at][[0, -1]], [0.620, 0.188], atol=5e-4)
    np.testing.assert_allclose(survival.high[at][[0, -1]], [0.952, 0.680], atol=5e-4)


@pytest.mark.parametrize(
    ("weeks", "interval"),
    # SAS's PROC LIFETEST prints these with its default, the log-log transformation.
    [(SIX_MP, (13, np.inf)), (PLACEBO, (4, 11))],
)
def test_interval_of_the_median_remission(weeks: str, interval: tuple[float, float]) -> None:
    assert median_interval(kaplan_meier(*times(weeks))) == interval


def test_bands_are_undefined_where_nothing_or_everything_has_converged() -> None:
    nothing = kaplan_meier(np.full(3, 9), np.zeros(3, dtype=bool))
    assert nothing.share.tolist() == [1]
    assert median_interval(nothing) == (np.inf, np.inf)
    everything = kaplan_meier(np.zeros(3, dtype=np.int64), np.ones(3, dtype=bool))
    assert everything.epochs.tolist() == [0]
    assert everything.share.tolist() == [0]
    assert median_interval(everything) == (0, np.inf)
    for curve in (nothing, everything):
        assert np.isnan([curve.low, curve.high]).all()


def test_mcnemar_of_the_approval_ratings() -> None:
    # Agresti (1990), Categorical Data Analysis, p. 350: 794 approved twice, 150 only at first, 86
    # only later, 570 never; exact p as in Fay (2010), The R Journal 2(1), 53–58.
    first = np.repeat([True, True, False, False], [794, 150, 86, 570])
    second = np.repeat([True, False, True, False], [794, 150, 86, 570])
    test = mcnemar(first, second)
    assert test.n == 236
    assert test.p_value == pytest.approx(3.716e-05, rel=1e-3)


def test_signed_rank_of_darwins_maize() -> None:
    # Fisher (1935), The Design of Experiments, section 17: differences of 15 pairs, in eighths of
    # an inch. Ranks of the negative ones: 11 + 14 − 1 = 24, p by counting 2¹⁵ signs.
    differences = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
    ranks = np.abs(differences).argsort().argsort() + 1
    lower = ranks[differences < 0].sum()
    sums = np.zeros(121)
    sums[0] = 1
    for rank in range(1, 16):
        sums[rank:] += sums[:-rank].copy()
    test = signed_rank(differences, np.zeros(15))
    assert test.n == 15
    assert test.p_value == pytest.approx(2 * sums[: lower + 1].sum() / 2**15)


@given(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=6))
@example([1] * 13)  # the most whose signs SciPy goes through
@example([1, -2] * 7)
def test_signed_rank_is_scipys(differences: list[int]) -> None:
    values = np.array(differences, dtype=float)
    assert signed_rank(values, np.zeros_like(values)).p_value == wilcoxon(values).pvalue


@pytest.mark.parametrize("pairs", [[], [1.0, 2.0]])
def test_pairs_without_a_difference_show_none(pairs: list[float]) -> None:
    values = np.array(pairs)
    assert signed_rank(values, values) == PairedTest(0, 1.0)
    assert mcnemar(values > 0, values > 0) == PairedTest(0, 1.0)


def test_holm_by_hand() -> None:
    # Holm (1979): of p(1) … p(4), compare 4·p(1), 3·p(2), 2·p(3), p(4), and stop at the first
    # that is too large.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], alpha: float) -> None:
    rejected = 0
    for rank, p in enumerate(sorted(p_values)):
        if p * (len(p_values) - rank) > alpha:
            break
        rejected += 1
    assert (holm(p_values) <= alpha).sum() == rejected


def test_eta_squared_by_hand() -> None:
    # Cells 1 2 / 3 6, rows by A and columns by B: mean 3, total 14; A: 2·(1.5² + 1.5²) = 9,
    # B: 2·(1² + 1²) = 4, interplay 1.
    cells = np.array([1.0, 2.0, 3.0, 6.0])
    assert eta_squared(cells, ["a", "a", "b", "b"]) == pytest.approx(9 / 14)
    assert eta_squared(cells, [1, 2, 1, 2]) == pytest.approx(4 / 14)
    assert np.isnan(eta_squared(np.ones(4), ["a", "a", "b", "b"]))


def test_restricted_mean_by_hand() -> None:
    # To 10: the times 4, 6, 10 and 10, mean 7.5, variance 9; Student's quantile for 3 degrees is
    # 3.182 (Fisher 1925, table IV).
    epochs, converged = np.array([4, 6, 12, 20]), np.array([True, True, True, False])
    mean, low, high = restricted_mean(epochs, converged, 10)
    assert mean == 7.5
    assert (low, high) == (pytest.approx(7.5 - 3.182 * np.sqrt(9 / 4), abs=2e-3), 10)
    # It is the area below the curve of Kaplan and Meier.
    curve = kaplan_meier(epochs, converged)
    steps = np.diff(np.concatenate([[0], curve.epochs[curve.epochs < 10], [10]]))
    assert (steps * np.concatenate([[1.0], curve.share])[: len(steps)]).sum() == mean


def test_a_restricted_mean_without_spread_has_no_interval() -> None:
    never = restricted_mean(np.full(3, 10), np.zeros(3, dtype=bool), 10)
    assert never[0] == 10
    assert np.isnan(never[1:]).all()
