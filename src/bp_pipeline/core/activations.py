"""Activation functions: z = f(a), and the derivative f' written in terms of z.

Owns which activations there are. Each is one definition that works on NumPy arrays and, compiled,
on single numbers; the bits of the transcendental ones are decided in `elementary.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from bp_pipeline.core.elementary import Real, expm1, sigmoid, softplus, tanh, where

DEFAULT_SLOPE = 0.01  # leaky_relu: Maas, Hannun & Ng (2013), section 2


class Activation(NamedTuple):
    """A function and its derivative.

    Both take two arguments, the second being leaky_relu's slope, so that one table holds them all.

    Attributes
    ----------
    f
        (a, slope) -> z.
    derivative
        (z, slope) -> f'(a), where z = f(a). At a kink, the left-hand derivative.
    """

    f: Callable[[Real, float], Real]
    derivative: Callable[[Real, float], Real]


def _identity(a: Real, slope: float) -> Real:
    return a


def _identity_derivative(z: Real, slope: float) -> Real:
    return 1.0


def _sigmoid(a: Real, slope: float) -> Real:
    return sigmoid(a)


def _sigmoid_derivative(z: Real, slope: float) -> Real:
    return z * (1.0 - z)


def _tanh(a: Real, slope: float) -> Real:
    return tanh(a)


def _tanh_derivative(z: Real, slope: float) -> Real:
    return 1.0 - z * z


def _relu(a: Real, slope: float) -> Real:
    return where(a < 0.0, 0.0, a)


def _relu_derivative(z: Real, slope: float) -> Real:
    return where(z > 0.0, 1.0, 0.0)


def _leaky_relu(a: Real, slope: float) -> Real:
    return where(a < 0.0, slope * a, a)


def _leaky_relu_derivative(z: Real, slope: float) -> Real:
    return where(z > 0.0, 1.0, slope)


def _softplus(a: Real, slope: float) -> Real:
    return softplus(a)


def _softplus_derivative(z: Real, slope: float) -> Real:
    return -expm1(-z)  # sigmoid(a) = 1 − 1/(1 + eᵃ) = 1 − e⁻ᶻ


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(_identity, _identity_derivative),
    "sigmoid": Activation(_sigmoid, _sigmoid_derivative),
    "tanh": Activation(_tanh, _tanh_derivative),
    "relu": Activation(_relu, _relu_derivative),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_derivative),
    "softplus": Activation(_softplus, _softplus_derivative),
}
