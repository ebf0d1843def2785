"""The elementary functions: their errors against mpmath, and their bits against pinned ones.

Run as a script, with "numpy" or "compiled", it prints the digest of each function's results. Some
tests do so in a new process, since NumPy and Numba choose their instructions on import.
"""

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np
import pytest

from bp_pipeline.core import elementary

INF, NAN = float("inf"), float("nan")
TINIEST, HUGE = 5e-324, 1.7976931348623157e308
LN2, SQRT2 = 0.6931471805599453, 1.4142135623730951
NAMES = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus")

# SHA-256, first 16 digits, of what each function gives for `all_sorts_of_values`. To change one is
# to change results that people have recorded.
DIGESTS = {
    "exp": "6114fb056ab88858",
    "expm1": "ff139313f2c4efce",
    "log": "5fcebe86b3ab0658",
    "log1p": "efd8f94e36315309",
    "tanh": "3e713d75b40957b2",
    "sigmoid": "573d685d54086765",
    "softplus": "89a432c3bab75ddb",
}


@pytest.fixture(autouse=True)
def _no_floating_point_warnings():
    with np.errstate(all="ignore"):
        yield


# Accuracy and special values

EXACT = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x))),
}
BOUNDS = {"exp": 2, "expm1": 2, "log": 2, "log1p": 2, "tanh": 4, "sigmoid": 4, "softplus": 4}

# Where a function overflows, underflows, is clamped or changes its formula.
SPECIAL = np.array(
    [0, TINIEST, 2.0**-1022, 2.0**-54, 2.0**-53, 0.5, SQRT2 / 2, 1, SQRT2, 2, 2.0**53, HUGE]
    + [(k + 0.5) * LN2 / 2 for k in range(8)]
    + [18.7, 19.1, 20, 36.7, 37.5, 40, 708.4, 709.78, 710, 744.4, 745.1, 745.2, 750, 1e4]
)


def hard_values(name: str) -> np.ndarray:
    """Give special values with their neighbours, and random ones of every order of magnitude."""
    rng = np.random.default_rng(0)
    spread = np.exp2(rng.uniform(-1074, 11, 800))
    scales = [np.repeat(scale, 600) for scale in (0.2, 0.6, 2, 40, 750)]
    uniform = rng.uniform(0, np.concatenate(scales))
    subnormal_results = rng.uniform(708, 745.2, 300)
    values = np.concatenate([with_neighbours(SPECIAL), spread, uniform, subnormal_results])
    values = np.concatenate([values, -values, rng.uniform(0.5, 2, 600), 2.0**-20 * values - 1])
    domain = {"log": values > 0, "log1p": values > -1}.get(name, np.isfinite(values))
    return values[domain & np.isfinite(values)]


def with_neighbours(x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.nextafter(x, -INF), x, np.nextafter(x, INF)])


def error_in_ulp(value: float, exact: mpmath.mpf) -> float:
    """Measure |value − exact| in units of the last place that `exact` has as a float64."""
    _, exponent = mpmath.frexp(exact)
    ulp = mpmath.ldexp(1, max(exponent - 53, -1074))
    rounded = mpmath.ldexp(1, 1024) if value == INF else mpmath.mpf(value)
    return float(abs(rounded - exact) / ulp) if value < INF or exact < rounded else 0.0


@pytest.mark.parametrize("name", NAMES)
def test_error_is_within_the_bound_for_all_magnitudes(name):
    values = hard_values(name)
    results = getattr(elementary, name)(values)
    with mpmath.workprec(140):
        pairs = zip(values.tolist(), results.tolist(), strict=True)
        errors = [error_in_ulp(y, EXACT[name](mpmath.mpf(x))) for x, y in pairs]
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUNDS[name], f"{errors[worst]} ulp at {values[worst]!r}"


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", INF, INF), ("exp", -INF, 0.0), ("exp", 0.0, 1.0), ("exp", -0.0, 1.0),
        ("exp", 709.79, INF), ("exp", -745.14, 0.0), ("exp", -745.13, TINIEST),
        ("expm1", INF, INF), ("expm1", -INF, -1.0), ("expm1", 0.0, 0.0), ("expm1", -0.0, -0.0),
        ("expm1", 709.79, INF), ("expm1", TINIEST, TINIEST), ("expm1", -TINIEST, -TINIEST),
        ("log", 0.0, -INF), ("log", -0.0, -INF), ("log", 1.0, 0.0), ("log", INF, INF),
        ("log", -TINIEST, NAN), ("log", -1.0, NAN), ("log", -INF, NAN),
        ("log", TINIEST, -744.4400719213812),
        ("log1p", -1.0, -INF), ("log1p", INF, INF), ("log1p", -1.1, NAN), ("log1p", -INF, NAN),
        ("log1p", 0.0, 0.0), ("log1p", -0.0, -0.0), ("log1p", -TINIEST, -TINIEST),
        ("tanh", INF, 1.0), ("tanh", -INF, -1.0), ("tanh", 0.0, 0.0), ("tanh", -0.0, -0.0),
        ("tanh", TINIEST, TINIEST), ("tanh", 19.1, 1.0),
        ("sigmoid", INF, 1.0), ("sigmoid", -INF, 0.0), ("sigmoid", 0.0, 0.5),
        ("sigmoid", -0.0, 0.5), ("sigmoid", -745.13, TINIEST),
        ("softplus", INF, INF), ("softplus", -INF, 0.0), ("softplus", 0.0, LN2),
        ("softplus", -0.0, LN2), ("softplus", HUGE, HUGE), ("softplus", -745.13, TINIEST),
        *((name, NAN, NAN) for name in NAMES),
    ],
)  # fmt: skip
def test_limits(name, x, expected):
    for argument in (x, np.float64(x), np.array(x), np.full((2, 3), x)):
        result = getattr(elementary, name)(argument)
        np.testing.assert_array_equal(result, np.full(np.shape(argument), expected))
        assert np.isnan(expected) or (np.signbit(result) == np.signbit(expected)).all()


def test_tanh_is_odd_bit_for_bit():
    x = all_sorts_of_values()
    positive, negative = elementary.tanh(x), elementary.tanh(-x)
    finite = ~np.isnan(x)
    np.testing.assert_array_equal(bits_of(positive)[finite], bits_of(-negative)[finite])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("exp", 0.0, INF), ("expm1", -1.0, INF), ("tanh", -1.0, 1.0), ("sigmoid", 0.0, 1.0)],
)
def test_rounding_never_leaves_the_range(name, low, high):
    results = getattr(elementary, name)(all_sorts_of_values())
    assert np.nanmin(results) == low
    assert np.nanmax(results) == high


@pytest.mark.parametrize("name", NAMES)
def test_position_and_layout_do_not_matter_and_arguments_stay_as_they_are(name):
    x = all_sorts_of_values()[-840:]
    before = x.copy()
    function = getattr(elementary, name)
    flat = function(x)
    np.testing.assert_array_equal(bits_of(x), bits_of(before))
    blocks = np.array(x.reshape(7, 120).T, order="F")[::-1]
    np.testing.assert_array_equal(function(blocks)[::-1].T.ravel(), flat)
    np.testing.assert_array_equal([function(value) for value in x], flat)


# The origin of the constants


def chebyshev_interpolation(
    function: Callable[[mpmath.mpf], mpmath.mpf], end: mpmath.mpf, n: int
) -> tuple[float, ...]:
    """Interpolate on [0, end] at n Chebyshev nodes; coefficients highest power first, rounded."""
    nodes = [end / 2 * (1 + mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * n))) for i in range(n)]
    powers = mpmath.matrix([[node ** (n - 1 - j) for j in range(n)] for node in nodes])
    values = mpmath.matrix([function(node) for node in nodes])
    return tuple(float(c) for c in mpmath.lu_solve(powers, values))


def coth_series(w: mpmath.mpf) -> mpmath.mpf:
    q = mpmath.sqrt(w)
    return (q * mpmath.coth(q) - 1) / w


def artanh_series(w: mpmath.mpf) -> mpmath.mpf:
    v = mpmath.sqrt(w)
    return (2 * mpmath.atanh(v / 2) - v) / (v * w)


def test_coefficients_are_those_of_the_interpolation():
    with mpmath.workprec(300):
        coth_end = (mpmath.mpf(1.001) * mpmath.ln(2) / 4) ** 2
        artanh_end = mpmath.mpf(4) / 9
        assert elementary._COTH == chebyshev_interpolation(coth_series, coth_end, 5)
        assert elementary._ARTANH == chebyshev_interpolation(artanh_series, artanh_end, 10)


def test_constants_are_what_their_names_say():
    with mpmath.workprec(300):
        ln2 = mpmath.ln(2)
        high = elementary._HALF_LN2_HIGH
        assert bits_of(np.array(high)) == bits_of(np.array(float(ln2 / 2))) >> 12 << 12
        assert elementary._HALF_LN2_LOW == float(ln2 / 2 - high)
        assert elementary._TWO_OVER_LN2 == float(2 / ln2)
        assert elementary._54_LN2 == float(54 * ln2)
        assert elementary._SQRT_HALF_BITS == bits_of(np.array(float(mpmath.sqrt(0.5))))
        assert elementary._ROUNDER_BITS == bits_of(np.array(elementary._ROUNDER))


# The same bits everywhere


def all_sorts_of_values() -> np.ndarray:
    """Give a million values: all bit patterns, the ranges that matter, special values.

    Made of a raw random stream and exact operations, so that they are the same everywhere.
    """
    words = np.random.PCG64(1).random_raw(1_000_000)
    patterns, fractions = words[:600_000].view(np.float64), words[600_000:] >> np.uint64(11)
    signed = fractions.astype(np.float64) * 2.0**-52 - 1.0
    scaled = (signed.reshape(4, -1) * np.array([[1], [8], [64], [800]])).ravel()
    edges = with_neighbours(SPECIAL)
    return np.concatenate([patterns, scaled, edges, -edges, [INF, -INF, NAN]])


def bits_of(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64).view(np.int64)


def digest(results: np.ndarray) -> str:
    """Hash the bits, every NaN being the same."""
    canonical = np.where(np.isnan(results), np.nan, results).astype("<f8")
    return hashlib.sha256(canonical.tobytes()).hexdigest()[:16]


def compiled(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a loop over lanes of numbers."""
    import numba

    import bp_pipeline.core.compiled  # noqa: F401, teaches Numba the functions
    from bp_pipeline.core.lanes import LANES, as_row

    function = getattr(elementary, name)

    @numba.njit(nogil=True, error_model="numpy")
    def loop(x, results):
        numbers, values = as_row(x), as_row(results)
        for i in range(len(x)):
            values[i] = function(numbers[i])

    def apply(x: np.ndarray) -> np.ndarray:
        padded = np.concatenate([x, np.zeros(-len(x) % LANES)]).reshape(-1, LANES)
        results = np.empty_like(padded)
        loop(padded, results)
        return results.reshape(-1)[: len(x)]

    return apply


def digests(engine: str) -> dict[str, str]:
    functions = {
        name: compiled(name) if engine == "compiled" else getattr(elementary, name)
        for name in NAMES
    }
    with np.errstate(all="ignore"):
        values = all_sorts_of_values()
        return {name: digest(function(values)) for name, function in functions.items()}


def digests_of_new_process(engine: str, **environment: str) -> dict[str, str]:
    path = str(Path(elementary.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-W", "error", __file__, engine]
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(run.stdout)


# What NumPy can do without, on this machine; three levels, from the plainest on.
CPU_FEATURES = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
CPU_LEVELS = sorted({len(CPU_FEATURES) * i // 3 for i in range(3)})


def test_bits_are_the_pinned_ones():
    assert digests("numpy") == DIGESTS


@pytest.mark.parametrize("level", CPU_LEVELS)
def test_bits_do_not_depend_on_the_instructions_numpy_chooses(level):
    disabled = " ".join(CPU_FEATURES[level:])
    assert digests_of_new_process("numpy", NPY_DISABLE_CPU_FEATURES=disabled) == DIGESTS


def test_compiled_bits_are_the_same():
    assert digests("compiled") == DIGESTS


def test_compiled_bits_are_the_same_for_the_plainest_cpu():
    plainest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert digests_of_new_process("compiled", **plainest) == DIGESTS


ALLOWED = {
    "abs", "minimum", "maximum", "copysign", "where", "asarray", "view",
    "float64", "int64", "inf", "nan", "ndarray", "bool_",
}  # fmt: skip


def test_only_exact_operations_and_no_branches_are_used():
    tree = ast.parse(Path(elementary.__file__).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    assert {node.attr for node in nodes if isinstance(node, ast.Attribute)} <= ALLOWED
    imports = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imports |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    assert imports == {"numpy", "jaxtyping"}
    branches = (ast.If, ast.IfExp, ast.While, ast.BoolOp, ast.MatMult, ast.FloorDiv, ast.Mod)
    assert not [node for node in nodes if isinstance(node, branches)]
    powers = [n for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Pow)]
    assert all(ast.literal_eval(node.left) == 2.0 for node in powers)


if __name__ == "__main__":
    print(json.dumps(digests(sys.argv[1])))
