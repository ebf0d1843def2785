"""Initial weights: from a seed to random words, and from words to each layer's weights.

Owns the formulas and the order in which random words are used: replicate k takes the k-th chunk
of one stream, a word for each weight, whatever the initializer does with it. So runs that differ
in anything but seed and layer sizes start from the same draws. Which numbers an option uses
stands in its file in `conf/init/`.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt64

from bp_pipeline.core.elementary import log

Signed = Float64[np.ndarray, "..."]  # uniform in (−1, 1)

# Mass of the standard normal within 2σ, Φ(2) − Φ(−2), and the standard deviation of what lies
# there.
_MASS_WITHIN_2 = 0.9544997361036416
_STD_WITHIN_2 = 0.87962566103423978


def draw_words(
    seed: int, layer_sizes: Sequence[int], *, bias: bool, n_networks: int, first: int = 0
) -> UInt64[np.ndarray, "network weight"]:
    """Draw one 64-bit word for each weight of each network, from the network `first` on.

    The stream is PCG64's raw output, which NumPy keeps stable between versions; it depends on the
    seed and the layer sizes only. The words of earlier networks are skipped, which takes no time.
    """
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(layer_sizes)))
    n_weights = count_weights(layer_sizes, bias=bias)
    words = stream.advance(first * n_weights).random_raw(n_networks * n_weights)
    return np.asarray(words, dtype=np.uint64).reshape(n_networks, n_weights)


def layer_shapes(layer_sizes: Sequence[int], *, bias: bool) -> list[tuple[int, int]]:
    """Return (rows, fan_out) of each layer's weights; the bias unit, if any, has row 0."""
    return [(fan_in + bias, fan_out) for fan_in, fan_out in pairwise(layer_sizes)]


def count_weights(layer_sizes: Sequence[int], *, bias: bool) -> int:
    """Return the number of weights of a network."""
    return sum(rows * fan_out for rows, fan_out in layer_shapes(layer_sizes, bias=bias))


def initialize(
    words: UInt64[np.ndarray, "network weight"],
    layer_sizes: Sequence[int],
    *,
    has_bias: bool,
    name: str,
    bias: str,
    **numbers: Any,
) -> Float64[np.ndarray, "weight network"]:
    """Turn random words into initial weights, one column a network, layer by layer, row by row.

    Parameters
    ----------
    words
        Of `draw_words`.
    layer_sizes
        Units of each layer from input to output, bias units not counted.
    has_bias
        Whether the layers have bias units.
    name, numbers
        The initializer in `INITIALIZERS` and its numbers.
    bias
        "same" to draw the bias weights like the others, "zero" to set them to 0.
    """
    parameters = _signed_uniform(np.ascontiguousarray(words.T))
    start = 0
    for rows, fan_out in layer_shapes(layer_sizes, bias=has_bias):
        layer = parameters[start : start + rows * fan_out]
        layer[:] = INITIALIZERS[name](layer, rows - has_bias, fan_out, **numbers)
        if has_bias and bias == "zero":
            layer[:fan_out] = 0.0
        start += rows * fan_out
    return parameters


def _signed_uniform(words: UInt64[np.ndarray, "..."]) -> Signed:
    """Map words to the centres of 2⁵³ equal parts of (−1, 1): exact, symmetric, never 0."""
    odd = 2 * (words >> np.uint64(11)).astype(np.int64) + (1 - 2**53)
    return odd * 2.0**-53


def constant(
    signed: Signed, fan_in: int, fan_out: int, *, value: float, noise: float = 0.0
) -> Signed:
    """Set every weight to one value, plus uniform noise in ±`noise`."""
    return value + noise * signed


def uniform(signed: Signed, fan_in: int, fan_out: int, *, bound: float) -> Signed:
    """Draw from the uniform distribution in ±`bound`."""
    return bound * signed


def normal(signed: Signed, fan_in: int, fan_out: int, *, std: float) -> Signed:
    """Draw from the normal distribution with mean 0."""
    return std * standard_normal(0.5 * signed)


def variance_scaling(
    signed: Signed,
    fan_in: int,
    fan_out: int,
    *,
    variance_factor: float,
    fan: str,
    distribution: str,
) -> Signed:
    """Draw with variance `variance_factor` / fan, mean 0.

    Parameters
    ----------
    fan
        "in", "out" or "average": the fan that the variance is divided by.
    distribution
        "uniform" in ±√(3·variance); "normal"; or "truncated_normal", cut off at two standard
        deviations and widened so that the variance is the same.

    References
    ----------
    Glorot & Bengio (2010), eq. 16: factor 1, average. He et al. (2015), eq. 10: factor 2, in.
    LeCun et al. (1998), section 4.6: factor 1, in. Truncation as in Keras and JAX.
    """
    fans = {"in": fan_in, "out": fan_out, "average": np.float64(fan_in + fan_out) / 2}
    variance = np.float64(variance_factor) / fans[fan]  # no Python float: i386 rounds these twice
    if distribution == "uniform":
        return uniform(signed, fan_in, fan_out, bound=np.sqrt(3.0 * variance))
    std = np.sqrt(variance)
    if distribution == "normal":
        return normal(signed, fan_in, fan_out, std=std)
    std /= _STD_WITHIN_2
    return std * standard_normal(0.5 * _MASS_WITHIN_2 * signed)


INITIALIZERS: Mapping[str, Callable[..., Signed]] = {
    "constant": constant,
    "uniform": uniform,
    "normal": normal,
    "variance_scaling": variance_scaling,
}


def standard_normal(centred: Signed) -> Signed:
    """Invert the standard normal distribution function.

    Parameters
    ----------
    centred
        p − ½, in (−½, ½), where p is the probability to the left.

    References
    ----------
    Wichura (1988), Algorithm AS 241 (PPND16), accurate to about 1 part in 10¹⁶; the logarithm is
    ours.
    """
    tail = np.sqrt(-log(0.5 - np.abs(centred)))
    central = 0.180625 - centred * centred
    outer = np.where(tail <= 5.0, _ratio(tail - 1.6, _MIDDLE), _ratio(tail - 5.0, _FAR))
    inner = centred * _ratio(central, _CENTRAL)
    return np.where(np.abs(centred) <= 0.425, inner, np.copysign(outer, centred))


def _ratio(r: Signed, coefficients: tuple[Sequence[float], Sequence[float]]) -> Signed:
    numerator, denominator = (_horner(r, row) for row in coefficients)
    return numerator / denominator


def _horner(r: Signed, coefficients: Sequence[float]) -> Signed:
    total = coefficients[-1] * np.ones_like(r)
    for coefficient in coefficients[-2::-1]:
        total = total * r + coefficient
    return total


# AS 241's coefficients, numerator and denominator from the constant term up; |p − ½| <= 0.425, then
# √(−ln tail) up to 5, then beyond.
_CENTRAL = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_MIDDLE = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)
