"""Loss functions: what one sample costs, in nats, and the delta that starts back-propagation.

Owns which losses there are and with which output activation each may be paired. Sums over outputs
and samples are the business of `network.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from bp_pipeline.core.elementary import Real, softplus

SAFE = 1e150
"""Where |a| and |z − y| are below this, every loss is finite, summed over any table: the logistic
loss is at most |a| + 1, and the squared error at most 1e300/2."""


class Loss(NamedTuple):
    """A loss and its delta at the output.

    Attributes
    ----------
    value
        (a, z, y) -> loss of one output with pre-activation a, activation z and target y.
    delta
        (z, y, f'(a)) -> ∂loss/∂a of one output.
    required_output
        The one output activation that `delta` holds for, or None where any will do.
    """

    value: Callable[[Real, Real, Real], Real]
    delta: Callable[[Real, Real, Real], Real]
    required_output: str | None


def _logistic(a: Real, z: Real, y: Real) -> Real:
    # −y·ln p − (1 − y)·ln(1 − p) with p = sigmoid(a), finite also where p rounds to 0 or 1
    return softplus(a) - y * a


def _logistic_delta(z: Real, y: Real, derivative: Real) -> Real:
    return z - y  # f' = z(1 − z) of the sigmoid cancels


def _squared_error(a: Real, z: Real, y: Real) -> Real:
    return 0.5 * (y - z) * (y - z)


def _squared_error_delta(z: Real, y: Real, derivative: Real) -> Real:
    return (z - y) * derivative


LOSSES: dict[str, Loss] = {
    "logistic": Loss(_logistic, _logistic_delta, required_output="sigmoid"),
    "squared_error": Loss(_squared_error, _squared_error_delta, required_output=None),
}
