"""Elementary functions with the same bits on every machine.

Owns the bits and the accuracy of exp, expm1, log, log1p, tanh, sigmoid and softplus in float64.
They are made of operations whose results IEEE 754 fixes (+ − × ÷, comparison, selection) and of
integer ones on the bits; the order in which these stand here defines the result.

Errors, in units in the last place (ulp) of the exact value, subnormal or not:

    exp, expm1, log, log1p      <= 2 ulp
    tanh, sigmoid, softplus     <= 4 ulp; tanh(-x) is -tanh(x), bit for bit

Infinities, signed zeros and NaN give what C prescribes; a NaN's sign and payload are left open.

Leaves compilation to others: nothing branches, and the only calls out of this module are NumPy's
abs, minimum, maximum and copysign, so that the same definitions compile for single numbers as soon
as `where`, `as_bits` and `as_float` have a form for them. Leaves floating-point warnings to the
caller's `np.errstate`.

Values of our own making are updated in place: NumPy is about three times as fast while it stays
within arrays that the cache holds. Arguments are never changed.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

# Arrays of any shape, or single numbers; np.float64 is a float.
Real = Float64[np.ndarray, "..."] | float
Bits = Int64[np.ndarray, "..."] | np.int64
Condition = Bool[np.ndarray, "..."] | np.bool_ | bool

_EXPONENT_BIAS = 1023  # of a float64
_EXPONENT_MASK = 0x7FF0000000000000

# Adding 1.5·2⁵², whose last place is worth 1, rounds to an integer and leaves it in the low bits.
_ROUNDER = 1.5 * 2.0**52
_ROUNDER_BITS = 0x4338000000000000

# ½ln 2 in two parts; twelve trailing zero bits make k times the first exact for |k| < 2¹².
_HALF_LN2_HIGH = 0.3465735902798315
_HALF_LN2_LOW = 1.4117645281515789e-13
_TWO_OVER_LN2 = 2.8853900817779268
_54_LN2 = 37.42994775023705
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD  # of √½

# Polynomials, highest power first. Each interpolates its function at the Chebyshev nodes of the
# interval; the tests do so again with 300 bits. The errors are in units of 2⁻⁵³.

# (q·coth q − 1)/q² in q² on [0, (1.001·¼ln 2)²]; error of q·coth q: 0.04
_COTH = (
    2.121579360295946e-05,
    -0.00021163595318832105,
    0.0021164020706737627,
    -0.02222222222205029,
    0.3333333333333332,
)
# (2·artanh(v/2) − v)/v³ in v² on [0, (2/3)²]; error of 2·artanh(v/2)/v: 0.07
_ARTANH = (
    7.707617574664846e-08,
    1.6786076519288395e-07,
    9.156091926262446e-07,
    4.063154360856609e-06,
    1.8781213458201444e-05,
    8.877826873111747e-05,
    0.00043402778744976297,
    0.0022321428568053718,
    0.012500000000004558,
    0.08333333333333333,
)


def exp(x: Real) -> Real:
    """Compute eˣ."""
    n, q, t = _reduce(-0.5 * np.minimum(np.maximum(x, -750.0), 710.0), 2.0 * _EXPONENT_BIAS)
    t += 1.0
    y = t - q
    y /= t + q
    # 2ᵏ as 2^⌊k/2⌋ · 2^⌈k/2⌉, since alone it may be no normal number
    bits = as_bits(n)
    y *= as_float((bits << 51) & _EXPONENT_MASK)
    y *= as_float(((bits + 1) << 51) & _EXPONENT_MASK)
    return y


def expm1(x: Real) -> Real:
    """Compute eˣ − 1, to full relative accuracy near 0."""
    n, q, tau = _reduce(-0.5 * np.minimum(np.maximum(x, -40.0), 710.0), _EXPONENT_BIAS - 1.0)
    power = _power_of_two(n)  # 2ᵏ⁻¹, since 2ᵏ may overflow where eˣ does not
    # (T − q)/(T + q) = 1 − 2q + 2c with a small correction c = q·(τ + q)/(T + q)
    c = tau + q
    c /= 1.0 + c
    c *= q
    y = 0.5 * power
    y -= 0.25
    y -= power * q
    y += power * c
    y *= 4.0
    return where(np.abs(x) < 2.0**-54, x, y)


def log(x: Real) -> Real:
    """Compute ln x."""
    subnormal = x < 2.0**-1022
    y = _log(where(subnormal, 2.0**54 * x, x), where(subnormal, -_54_LN2, 0.0))
    return _with_log_limits(x, y)


def log1p(x: Real) -> Real:
    """Compute ln(1 + x), to full relative accuracy near 0."""
    u = 1.0 + x
    lost = x - (u - 1.0)  # to rounding
    y = _log(u, lost / np.maximum(u, 2.0**-53))
    return where(np.abs(x) < 2.0**-54, x, _with_log_limits(u, y))


def tanh(x: Real) -> Real:
    """Compute tanh x = (1 − e⁻²ˣ)/(1 + e⁻²ˣ), from |x|."""
    n, q, tau = _reduce(np.minimum(np.abs(x), 20.0), _EXPONENT_BIAS)
    tanh_q = q / (1.0 + tau)
    # (1 − p + (1 + p)·tanh q) / (1 + p + (1 − p)·tanh q) with p = 2ᵏ
    plus = _power_of_two(n)
    minus = 1.0 - plus
    plus += 1.0
    y = plus * tanh_q
    y += minus
    minus *= tanh_q
    minus += plus
    y /= minus
    return np.copysign(y, x)


def sigmoid(x: Real) -> Real:
    """Compute the logistic function 1/(1 + e⁻ˣ)."""
    # A factor of 2⁻⁶⁴ above and below keeps 2ᵏ a normal number, and the quotient is rounded once.
    n, q, t = _reduce(0.5 * np.minimum(np.maximum(x, -750.0), 40.0), _EXPONENT_BIAS - 64.0)
    t += 1.0
    denominator = _power_of_two(n)
    denominator *= t - q
    t += q
    t *= 2.0**-64
    denominator += t
    t /= denominator
    return t


def softplus(x: Real) -> Real:
    """Compute ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)."""
    # ln(1 + e) = 2·artanh(v/2) with v = e/(1 + e/2); a factor of 2⁶⁴ serves as in `sigmoid`
    n, q, t = _reduce(0.5 * np.minimum(np.abs(x), 750.0), _EXPONENT_BIAS + 64.0)
    t += 1.0
    y = _power_of_two(n)
    y *= t - q
    t += q
    t *= 2.0**64
    t += 0.5 * y
    y /= t
    correction = y * y
    correction *= _polynomial(correction, _ARTANH)
    correction *= y
    y += correction
    y += np.maximum(x, 0.0)
    return y


def where(condition: Condition, a: Real, b: Real) -> Real:
    """Select `a` where the condition holds, else `b`. Both are computed."""
    return np.where(condition, a, b)


def as_bits(x: Real) -> Bits:
    """Read the 64 bits of a float64 as an integer."""
    return np.asarray(x, np.float64).view(np.int64)


def as_float(bits: Bits) -> Real:
    """Read 64 bits as a float64."""
    return np.asarray(bits, np.int64).view(np.float64)


def _reduce(h: Real, bias: float) -> tuple[Real, Real, Real]:
    """Reduce e⁻²ʰ = 2ᵏ·(T − q)/(T + q), where T = q·coth q, q = h + k·½ln 2 and |q| <= ¼ln 2.

    Parameters
    ----------
    h
        At most 2⁹ in size.
    bias
        An integer to add to k.

    Returns
    -------
    A float whose low bits are k + `bias`; q; and τ = T − 1.
    """
    n = h * -_TWO_OVER_LN2
    n += _ROUNDER + bias
    k = n - (_ROUNDER + bias)
    q = k * _HALF_LN2_HIGH
    q += h
    k *= _HALF_LN2_LOW
    q += k
    tau = q * q
    tau *= _polynomial(tau, _COTH)
    return n, q, tau


def _power_of_two(n: Real) -> Real:
    """Return 2ᵏ, where the low bits of the float `n` are k + _EXPONENT_BIAS."""
    return as_float(as_bits(n) << 52)


def _log(u: Real, correction: Real) -> Real:
    """Compute ln u + correction for a normal u > 0.

    With u = 2ᵏ·(1 + f), √½ <= 1 + f < √2, and v = f/(1 + f/2), so that f = v·(1 + f/2):
    ln(1 + f) = 2·artanh(v/2) = f − (½f² − v·(¼f² + 2·artanh(v/2)/v − 1)).
    """
    bits = as_bits(u)
    exponent = (bits - _SQRT_HALF_BITS) >> 52
    k = as_float(exponent + _ROUNDER_BITS) - _ROUNDER
    f = as_float(bits - (exponent << 52)) - 1.0
    v = f / (1.0 + 0.5 * f)
    w = v * v
    half_square = 0.5 * f * f
    rest = v * (0.5 * half_square + w * _polynomial(w, _ARTANH))
    rest += k * (2.0 * _HALF_LN2_LOW) + correction
    return k * (2.0 * _HALF_LN2_HIGH) - ((half_square - rest) - f)


def _with_log_limits(u: Real, y: Real) -> Real:
    """Return y where 0 < u < ∞, and else the logarithm's limit, or NaN."""
    finite = where(u < np.inf, y, u)
    return where(u > 0.0, finite, where(u == 0.0, -np.inf, np.nan))


def _polynomial(x: Real, coefficients: tuple[float, ...]) -> Real:
    """Evaluate by Horner's rule, highest power first."""
    value = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        value += coefficient
        value *= x
    value += coefficients[-1]
    return value
