"""Activation functions against their definitions, and their derivatives against differences."""

import math

import numpy as np
import pytest

from bp_pipeline.core.activations import ACTIVATIONS, DEFAULT_SLOPE, Activation

SLOPE = 0.3  # of leaky_relu; not its default, so that a forgotten argument shows
DEFINITIONS = {
    "identity": lambda a: a,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "relu": lambda a: max(0.0, a),
    "leaky_relu": lambda a: max(SLOPE * a, a),
    "softplus": lambda a: math.log1p(math.exp(a)),
}
# Where f' is left to approach for a -> −∞ and a -> +∞.
SLOPES_AT_INFINITY = {
    "identity": (1.0, 1.0),
    "sigmoid": (0.0, 0.0),
    "tanh": (0.0, 0.0),
    "relu": (0.0, 1.0),
    "leaky_relu": (SLOPE, 1.0),
    "softplus": (0.0, 1.0),
}
VALUES = np.array([-30, -5, -1, -0.5, -1e-3, 1e-3, 0.25, 1, 2, 7, 30])


def assert_derivative_fits(activation: Activation) -> None:
    """Compare f', given z = f(a), with central differences of f.

    With steps of h = 2⁻¹⁷ they are off by about h²/6·|f'''| < 1e-10 and 2⁻⁵³·|z|/h < 5e-10.
    """
    h = 2.0**-17
    differences = (activation.f(VALUES + h, SLOPE) - activation.f(VALUES - h, SLOPE)) / (2 * h)
    derivative = activation.derivative(activation.f(VALUES, SLOPE), SLOPE)
    np.testing.assert_allclose(derivative * np.ones_like(VALUES), differences, rtol=0, atol=1e-9)


def test_there_are_these():
    assert list(ACTIVATIONS) == list(DEFINITIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_f_is_what_it_is_called(name):
    expected = [DEFINITIONS[name](a) for a in VALUES.tolist()]
    np.testing.assert_allclose(ACTIVATIONS[name].f(VALUES, SLOPE), expected, rtol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_derivative_is_the_slope(name):
    assert_derivative_fits(ACTIVATIONS[name])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_wrong_derivative_is_noticed(name):
    f, derivative = ACTIVATIONS[name]
    planted = Activation(f, lambda z, slope: derivative(z, slope) + 1e-8)
    with pytest.raises(AssertionError):
        assert_derivative_fits(planted)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("a", "side"), [(-1e4, 0), (-1e300, 0), (1e4, 1), (1e300, 1)])
def test_the_derivative_stays_finite_far_out(name, a, side):
    f, derivative = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        assert derivative(f(np.array([a]), SLOPE), SLOPE) == SLOPES_AT_INFINITY[name][side]


def test_kinks_have_the_left_hand_derivative():
    for zero in (np.array([0.0]), np.array([-0.0])):
        assert ACTIVATIONS["relu"].derivative(ACTIVATIONS["relu"].f(zero, SLOPE), SLOPE) == 0.0
        leaky = ACTIVATIONS["leaky_relu"]
        assert leaky.derivative(leaky.f(zero, SLOPE), SLOPE) == SLOPE


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_is_not_hidden(name):
    assert np.isnan(ACTIVATIONS[name].f(np.array([math.nan]), SLOPE)).all()


def test_default_slope_is_that_of_maas_hannun_and_ng():
    assert DEFAULT_SLOPE == 0.01  # 2013, section 2
