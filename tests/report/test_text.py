"""How numbers are written: short, and never so that they say something else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bp_pipeline.ensemble.summary import wilson_interval
from bp_pipeline.report.text import (
    count,
    epochs_interval,
    listing,
    p_value,
    percent,
    percent_interval,
    plain,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0"), (0.001, "1"), (0.125, "12"), (0.999, "99"), (1.0, "100"), (NAN, "–")],
)
def test_all_and_none_are_exact(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.9455, 0.9982, "94 – 100"),  # Wilson's of 99 of 100
        (0.9981, 0.9995, "99 – 100"),  # of 9,990 of 10,000
        (0.0, 0.0370, "0 – 4"),
        (NAN, NAN, "–"),
    ],
)
def test_an_interval_is_not_made_narrower(low: float, high: float, text: str) -> None:
    assert percent_interval(low, high) == text


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_the_rate_as_it_is_printed(outcome: tuple[int, int]) -> None:
    n_converged, n = outcome
    low, high = wilson_interval(n_converged, n)
    printed = [int(end) for end in percent_interval(low, high).split(" – ")]
    assert printed[0] <= int(percent(n_converged / n)) <= printed[1]
    assert printed[0] <= 100 * low <= 100 * high <= printed[1]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(20.0, 24.0, "20 – 24"), (1105.0, INF, "≥ 1,105"), (INF, INF, "–"), (NAN, NAN, "–")],
)
def test_an_interval_of_epochs_may_be_open(low: float, high: float, text: str) -> None:
    assert epochs_interval(low, high) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0164, "0.016"), (0.9961, "1"), (NAN, "–")]
)
def test_p_values_have_two_digits(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (1e-5, "1e-05"),
        (np.int64(3), "3"),
        (True, "true"),
        (np.bool_(False), "false"),
        (None, "–"),
        ("ones", "ones"),
    ],
)
def test_config_values_are_as_typed(value: object, text: str) -> None:
    assert plain(value) == text


def test_lists_and_counts() -> None:
    assert [listing(list(parts)) for parts in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert count(-1234.0) == "−1,234"
