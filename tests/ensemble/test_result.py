from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.ensemble import result as module
from bp_pipeline.ensemble.result import (
    RunResult,
    converged_fraction,
    in_words,
    median_epochs_to_converge,
    quantiles,
    wilson_interval,
)

finite = st.floats(0, 1e6)
tables = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=finite)
times = st.lists(st.integers(-1, 9), min_size=1, max_size=20).map(np.array)


def result_of(loss: list[list[float]], outcomes: list[str], epochs: list[int]) -> RunResult:
    values = np.array(loss, dtype=float)
    return RunResult(
        epochs=np.arange(values.shape[1]),
        loss=values,
        gradient_norm=values * 2,
        weight_norm=values * 3,
        outcome_code=np.array([OUTCOMES.index(name) for name in outcomes], dtype=np.int8),
        epochs_to_converge=np.array(epochs),
        solved=np.array(outcomes) == "converged",
        final_loss=values[:, -1],
        initial_weights={},
        final_weights={},
        trajectory={},
    )


@given(tables, st.floats(0, 1))
def test_quantiles_are_numpys_where_all_is_finite(values: np.ndarray, probability: float) -> None:
    expected = np.quantile(values, probability, axis=0)
    np.testing.assert_allclose(quantiles(values, [probability])[0], expected, rtol=1e-12)


@given(tables, st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_do_not_depend_on_the_size_of_blocks(
    values: np.ndarray, probabilities: list[float]
) -> None:
    whole = quantiles(values, probabilities)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_VALUES", 1)
        np.testing.assert_array_equal(quantiles(values, probabilities), whole)


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([3, 1, 2], 2),
        ([4, 1, 2, 3], 2.5),
        ([1, np.inf, 2], 2),
        ([1, np.inf, 2, np.inf], np.inf),
        ([np.inf, np.inf], np.inf),
        ([0.1, 0.1], 0.1),
        ([7], 7),
    ],
)
def test_medians_with_diverged_replicates(values: list[float], median: float) -> None:
    assert quantiles(np.array(values, dtype=float)[:, np.newaxis], [0.5])[0, 0] == median


def test_quantiles_leave_their_input_as_it_is() -> None:
    values = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    before = values.copy()
    quantiles(values, (0.1, 0.9))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3
    [((81, 263), 0.2553, 0.3662), ((15, 148), 0.0624, 0.1605), ((0, 20), 0, 0.1611),
     ((1, 29), 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_interval_of_newcombes_examples(
    counts: tuple[int, int], low: float, high: float
) -> None:
    assert wilson_interval(*counts) == pytest.approx((low, high), abs=5e-5)


@given(times)
def test_median_epochs_are_kaplan_meiers(epochs: np.ndarray) -> None:
    converged = epochs >= 0
    last = 10  # all that did not converge are censored at the end of training
    sample = stats.CensoredData.right_censored(np.where(converged, epochs, last), ~converged)
    survival = stats.ecdf(sample).sf
    reached = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    expected = reached[0] if reached.size and reached[0] < last else np.inf
    assert median_epochs_to_converge(epochs) == expected


@given(times)
def test_median_epochs_are_left_out_where_fewer_than_half_converge(epochs: np.ndarray) -> None:
    fewer = np.count_nonzero(epochs >= 0) < len(epochs) / 2
    assert np.isinf(median_epochs_to_converge(epochs)) == fewer


def test_converged_fraction_counts_from_the_epoch_of_convergence_on() -> None:
    fraction = converged_fraction(np.array([0, 5, 5, -1]), np.array([0, 4, 5, 100]))
    assert fraction.tolist() == [0.25, 0.25, 0.75, 0.75]


def test_curves_by_hand() -> None:
    result = result_of(
        [[4, 1], [2, 3], [6, np.inf]], ["converged", "stalled", "diverged"], [1, -1, -1]
    )
    assert {name: values.tolist() for name, values in result.curves.items()} == {
        "loss/median": [4, 3],
        "loss/p10": [2.4, 1.4],
        "loss/p90": [5.6, np.inf],
        "converged/fraction": [0, 1 / 3],
        "gradient_norm/median": [8, 6],
        "weight_norm/median": [12, 9],
    }


def test_summary_by_hand() -> None:
    outcomes = ["converged", "stalled", "diverged", "converged"]
    result = result_of([[4, 1], [2, 3], [6, np.inf], [1, 0.5]], outcomes, [1, -1, -1, 0])
    values = replace(result, solved=np.array([True, False, False, False])).summary
    low, high = values.pop("converged/rate_low"), values.pop("converged/rate_high")
    assert 0.1 < low < 0.5 < high < 0.9
    interval = values.pop("solved/rate_low"), values.pop("solved/rate_high")
    assert interval == wilson_interval(1, 4)
    assert values == {
        "solved/rate": 0.25,
        "converged/rate": 0.5,
        "stalled/rate": 0.25,
        "diverged/rate": 0.25,
        "epochs_to_converge/median": 1,
        "final_loss/median": 2,
    }


def test_summary_leaves_out_what_is_not_finite() -> None:
    values = result_of([[1, np.inf], [1, np.inf]], 2 * ["diverged"], [-1, -1]).summary
    assert values == {
        "solved/rate": 0,
        "solved/rate_low": 0,
        "solved/rate_high": wilson_interval(0, 2)[1],
        "converged/rate": 0,
        "converged/rate_low": 0,
        "converged/rate_high": wilson_interval(0, 2)[1],
        "stalled/rate": 0,
        "diverged/rate": 1,
    }


def test_a_run_is_told_with_its_interval_rounded_outwards_and_what_it_lost() -> None:
    ends = ["converged"] * 9 + ["stalled"]
    result = result_of([[1.0, 0.25]] * 10, ends, [5] * 9 + [-1])
    result = replace(result, solved=np.arange(10) < 8)
    # Wilson's interval of 8 of 10 is 49.02 to 94.33 %.
    assert in_words(result) == (
        "8 of 10 solved (49 – 95 %), 1 more converged and lost it again, "
        "half of all converged by epoch 5; final loss (median) 0.25 nats."
    )
    assert "%" not in in_words(result, copies=True)
