"""How numbers are written: short, and never so that they say something else."""

import pytest

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


def test_an_interval_is_not_made_narrower() -> None:
    # Wilson's of 99 of 100
    assert percent_interval(0.9455, 0.9982) == "95 – 100"
    assert percent_interval(NAN, NAN) == "–"


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
    ("value", "text"), [(3.0, "3"), (1e-5, "1e-05"), (True, "true"), (None, "–"), ("ones", "ones")]
)
def test_config_values_are_as_typed(value: object, text: str) -> None:
    assert plain(value) == text


def test_lists_and_counts() -> None:
    assert [listing(list(parts)) for parts in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert count(-1234.0) == "−1,234"
