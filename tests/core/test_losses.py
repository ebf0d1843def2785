"""Losses against their definitions, and their deltas against differences."""

import mpmath
import numpy as np
import pytest

from bp_pipeline.core.activations import ACTIVATIONS, DEFAULT_SLOPE
from bp_pipeline.core.losses import LOSSES, SAFE

PRE_ACTIVATIONS = np.array([-700.0, -40.0, -3.0, -0.5, 0.0, 1e-3, 2.0, 40.0, 700.0])
TARGETS = (0.0, 0.25, 1.0)


def logistic_cost(a: float, y: float) -> float:
    """−y·ln p − (1 − y)·ln(1 − p), p = 1/(1 + e⁻ᵃ), to 700 digits: 1 − p may be e⁻⁷⁰⁰."""
    with mpmath.workdps(700):
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(a)))
        return float(-y * mpmath.log(p) - (1 - y) * mpmath.log(1 - p))


@pytest.mark.parametrize("y", TARGETS)
def test_logistic_is_the_cost_of_logistic_regression(y):
    a = PRE_ACTIVATIONS
    value = LOSSES["logistic"].value(a, ACTIVATIONS["sigmoid"].f(a, 0.0), y)
    expected = [logistic_cost(x, y) for x in a.tolist()]
    # softplus(a) − y·a cancels where y = 1: absolute errors are a few ulp of |a|
    np.testing.assert_allclose(value, expected, rtol=1e-15, atol=4e-16 * 700)


@pytest.mark.parametrize(
    ("a", "y", "expected"),
    [(0.0, 0.0, np.log(2)), (0.0, 1.0, np.log(2)), (1e300, 0.0, 1e300), (1e300, 1.0, 0.0),
     (-1e300, 0.0, 0.0), (-1e300, 1.0, 1e300), (1e4, 0.0, 1e4), (-1e4, 1.0, 1e4)],
)  # fmt: skip
def test_logistic_is_finite_where_p_rounds_to_0_or_1(a, y, expected):
    z = ACTIVATIONS["sigmoid"].f(np.array([a]), 0.0)
    assert LOSSES["logistic"].value(np.array([a]), z, y) == expected


def test_squared_error_is_half_the_square():
    z = np.array([-1.5, 0.0, 0.5, 4.0])
    expected = [3.125, 0.5, 0.125, 4.5]  # ½(1 − z)²
    np.testing.assert_array_equal(LOSSES["squared_error"].value(z, z, 1.0), expected)


@pytest.mark.parametrize("y", TARGETS)
@pytest.mark.parametrize(
    ("loss", "output"), [("logistic", "sigmoid"), *(("squared_error", f) for f in ACTIVATIONS)]
)
def test_delta_is_the_derivative_by_the_pre_activation(loss, output, y):
    value, delta, _ = LOSSES[loss]
    f, derivative = ACTIVATIONS[output]
    a, h = np.array([-3.0, -0.5, 1e-3, 2.0]), 2.0**-17
    upper, lower = (value(x, f(x, DEFAULT_SLOPE), y) for x in (a + h, a - h))
    z = f(a, DEFAULT_SLOPE)
    # off by about h²/6·|f'''| < 1e-10 and 2⁻⁵³·value/h < 2e-10
    np.testing.assert_allclose(
        delta(z, y, derivative(z, DEFAULT_SLOPE)), (upper - lower) / (2 * h), rtol=0, atol=1e-9
    )


def test_logistic_needs_a_sigmoid():
    assert {name: loss.required_output for name, loss in LOSSES.items()} == {
        "logistic": "sigmoid",
        "squared_error": None,
    }


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("a_sign", [-1, 1])
@pytest.mark.parametrize("error_sign", [-1, 1])
def test_where_numbers_are_safe_losses_are_finite(loss, a_sign, error_sign):
    edge = np.nextafter(SAFE, 0)
    y = float(error_sign < 0)  # z is of no account to logistic, whose targets are 0 … 1
    value = LOSSES[loss].value(np.array([a_sign * edge]), np.array([error_sign * edge]), y)
    assert np.isfinite(2.0**20 * value).all()  # over a thousand samples and outputs
