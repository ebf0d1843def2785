"""Initial weights: the stream of random words, and the distributions made of it."""

import math
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bp_pipeline.core.initializers import (
    INITIALIZERS,
    draw_words,
    initialize,
    layer_shapes,
    standard_normal,
)

SIZES = (2, 3, 1)
OPTIONS = Path(__file__).resolve().parents[2] / "conf" / "init"
DRAWN = ["uniform", "uniform_small", "normal", "glorot_uniform", "glorot_normal", "he_uniform",
         "he_normal", "lecun_normal"]  # fmt: skip


def option(name: str) -> dict[str, Any]:
    numbers = yaml.safe_load((OPTIONS / f"{name}.yaml").read_text(encoding="utf-8"))
    numbers.pop("scale", None)  # which multiplies whatever an initializer drew
    return numbers


def first_layer(name: str, fan_in: int, fan_out: int, n: int, **changes: Any) -> np.ndarray:
    """Draw the weights between two layers without bias units, for n networks."""
    words = draw_words(1, (fan_in, fan_out), bias=False, n_networks=n)
    return initialize(words, (fan_in, fan_out), has_bias=False, **{**option(name), **changes})


# --------------------------------------------------------------------------------- random words

# PCG64 with SeedSequence(seed, spawn_key=layer sizes): what every result so far started from.
FIRST_WORDS = {
    0: [0x62A25010E1029CC3, 0x338B0EDFC3260E1B, 0xE4C23B424949B962],
    2**63 - 1: [0x2B0605C7C5E00FA3, 0xF8A132769C215963, 0xBCC138D5A81E4C8E],
}


@pytest.mark.parametrize("seed", FIRST_WORDS)
def test_words_are_what_they_always_were(seed):
    words = draw_words(seed, SIZES, bias=True, n_networks=2)
    assert words.shape == (2, 13)
    assert words[0, :3].tolist() == FIRST_WORDS[seed]


def test_replicates_take_chunks_of_one_stream():
    stream = np.random.PCG64(np.random.SeedSequence(5, spawn_key=SIZES)).random_raw(3 * 13)
    words = draw_words(5, SIZES, bias=True, n_networks=3)
    np.testing.assert_array_equal(words, stream.reshape(3, 13))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(1, 5), st.integers(0, 5), st.booleans())
def test_more_replicates_leave_the_earlier_ones_as_they_are(seed, n, more, bias):
    few, many = (draw_words(seed, SIZES, bias=bias, n_networks=k) for k in (n, n + more))
    np.testing.assert_array_equal(few, many[:n])
    last = draw_words(seed, SIZES, bias=bias, n_networks=more, first=n)
    np.testing.assert_array_equal(last, many[n:])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_seeds_matter(one, other):
    words = [draw_words(seed, SIZES, bias=True, n_networks=1) for seed in (one, other)]
    assert (words[0] == words[1]).all() == (one == other)


def test_layer_sizes_matter():
    streams = [draw_words(0, sizes, bias=True, n_networks=1)[0, :3] for sizes in
               [(2, 3, 1), (3, 2, 1), (2, 3, 2), (2, 1), (2, 3, 1, 1)]]  # fmt: skip
    assert len({tuple(words) for words in streams}) == len(streams)


def test_shapes_have_a_row_for_the_bias_unit():
    assert layer_shapes((2, 3, 1), bias=True) == [(3, 3), (4, 1)]
    assert layer_shapes((2, 3, 1), bias=False) == [(2, 3), (3, 1)]
    assert layer_shapes((5, 2), bias=True) == [(6, 2)]


# ------------------------------------------------------------------------- from words to weights


@pytest.mark.parametrize("name", DRAWN)
def test_opposite_words_give_opposite_weights(name):
    words = draw_words(0, SIZES, bias=True, n_networks=500)
    draws = {"has_bias": True, **option(name)}
    np.testing.assert_array_equal(
        initialize(~words, SIZES, **draws), -initialize(words, SIZES, **draws)
    )


@pytest.mark.parametrize(("word", "expected"), [(0, -(1 - 2**-53)), (2**64 - 1, 1 - 2**-53)])
@pytest.mark.parametrize("bound", [1.0, 0.1])
def test_uniform_reaches_to_its_bounds_but_not_to_them(word, expected, bound):
    words = np.full((1, 2), word, dtype=np.uint64)
    drawn = initialize(words, (2, 1), has_bias=False, bias="same", name="uniform", bound=bound)
    assert (drawn == bound * expected).all()


def test_uniform_is_never_zero():
    # The two words in the middle: the smallest magnitudes there are.
    words = np.array([[2**63 - 1, 2**63]], dtype=np.uint64)
    drawn = initialize(words, (2, 1), has_bias=False, bias="same", name="uniform", bound=1.0)
    assert drawn[:, 0].tolist() == [-(2.0**-53), 2.0**-53]


def test_networks_and_weights_stand_in_the_order_of_their_words():
    words = draw_words(0, SIZES, bias=True, n_networks=4)
    drawn = initialize(words, SIZES, has_bias=True, bias="same", name="uniform", bound=1.0)
    assert drawn.shape == (13, 4)
    np.testing.assert_allclose(drawn.T, words / 2.0**63 - 1, rtol=0, atol=2.0**-52)


@pytest.mark.parametrize("name", DRAWN)
def test_all_initializers_share_the_draws(name):
    words = draw_words(0, SIZES, bias=True, n_networks=200)
    reference = initialize(words, SIZES, has_bias=True, name="uniform", bias="same", bound=1.0)
    drawn = initialize(words, SIZES, has_bias=True, **{**option(name), "bias": "same"})
    for row, reference_row in zip(drawn, reference, strict=True):
        np.testing.assert_array_equal(np.argsort(row), np.argsort(reference_row))


@pytest.mark.parametrize(("bias", "zero"), [("zero", True), ("same", False)])
def test_biases_are_drawn_or_zero(bias, zero):
    words = draw_words(0, SIZES, bias=True, n_networks=5)
    drawn = initialize(words, SIZES, has_bias=True, name="normal", std=1.0, bias=bias)
    bias_rows = drawn[[0, 1, 2, 9]]
    assert (bias_rows == 0.0).all() == zero
    assert (np.delete(drawn, [0, 1, 2, 9], axis=0) != 0.0).all()
    assert (bias_rows == 0.0).any() == zero


def test_without_bias_units_nothing_is_zero():
    words = draw_words(0, SIZES, bias=False, n_networks=5)
    drawn = initialize(words, SIZES, has_bias=False, name="normal", std=1.0, bias="zero")
    assert drawn.shape == (9, 5)
    assert (drawn != 0.0).all()


@pytest.mark.parametrize(("name", "value"), [("ones", 1.0), ("constant", 0.5)])
def test_constant_weights_are_all_alike(name, value):
    words = draw_words(0, SIZES, bias=True, n_networks=5)
    assert (initialize(words, SIZES, has_bias=True, **option(name)) == value).all()


def test_noise_is_uniform_around_the_constant():
    noisy = first_layer("constant", 3, 2, 1000, value=2.0, noise=0.25)
    plain = first_layer("uniform", 3, 2, 1000)
    np.testing.assert_array_equal(noisy, 2.0 + 0.25 * plain)


def test_words_stay_as_they_are():
    words = draw_words(0, SIZES, bias=True, n_networks=5)
    before = words.copy()
    for name in ["ones", *DRAWN]:
        initialize(words, SIZES, has_bias=True, **option(name))
    np.testing.assert_array_equal(words, before)


# -------------------------------------------------------------------------------- distributions


def test_standard_normal_inverts_the_distribution_function():
    rng = np.random.default_rng(0)
    edges = [0.425, 0.5 - math.exp(-25), 0.5 - 2.0**-54]  # AS 241 changes its formula; the end
    tails = 0.5 - 2.0 ** rng.uniform(-54, -1, 300)
    values = np.concatenate([edges, np.nextafter(edges[:2], 1), rng.uniform(0, 0.5, 300), tails])
    values = np.concatenate([values, [1e-300, 2.0**-54]])
    with mpmath.workdps(50):
        exact = [float(mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(v))) for v in values.tolist()]
    np.testing.assert_allclose(standard_normal(values), exact, rtol=2e-15)
    np.testing.assert_array_equal(standard_normal(-values), -standard_normal(values))
    assert standard_normal(np.zeros(1)) == 0.0


# PyTorch's torch/nn/init.py and Keras's initializers, as functions of fan_in and fan_out.
BOUNDS = {
    "uniform": lambda i, o: 1.0,
    "uniform_small": lambda i, o: 0.1,
    "glorot_uniform": lambda i, o: math.sqrt(6 / (i + o)),  # xavier_uniform_, gain 1
    "he_uniform": lambda i, o: math.sqrt(3) * math.sqrt(2) / math.sqrt(i),  # kaiming_uniform_, √2
}
STANDARD_DEVIATIONS = {
    "normal": lambda i, o: 1.0,
    "glorot_normal": lambda i, o: math.sqrt(2 / (i + o)),  # xavier_normal_, gain 1
    "he_normal": lambda i, o: math.sqrt(2) / math.sqrt(i),  # kaiming_normal_, √2
    "lecun_normal": lambda i, o: math.sqrt(1 / i),
}
TRUNCATED = ["glorot_normal", "he_normal", "lecun_normal"]
TRUNCATED_STD = 0.87962566103423978  # of a standard normal within ±2; Keras divides by it
FANS = [(2, 3), (50, 4), (1, 16)]


@pytest.mark.parametrize(("fan_in", "fan_out"), FANS)
@pytest.mark.parametrize("name", BOUNDS)
def test_uniform_options_have_the_bounds_of_pytorch_and_keras(name, fan_in, fan_out):
    words = np.full((1, fan_in * fan_out), 2**64 - 1, dtype=np.uint64)
    drawn = initialize(words, (fan_in, fan_out), has_bias=False, **option(name))
    np.testing.assert_allclose(drawn, BOUNDS[name](fan_in, fan_out), rtol=1e-15)


@pytest.mark.parametrize(("fan_in", "fan_out"), FANS)
@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_options_end_at_two_standard_deviations(name, fan_in, fan_out):
    words = np.full((1, fan_in * fan_out), 2**64 - 1, dtype=np.uint64)
    drawn = initialize(words, (fan_in, fan_out), has_bias=False, **option(name))
    end = 2 * STANDARD_DEVIATIONS[name](fan_in, fan_out) / TRUNCATED_STD
    np.testing.assert_allclose(drawn, end, rtol=1e-13)
    many = first_layer(name, fan_in, fan_out, 2000)
    assert np.abs(many).max() <= end


@pytest.mark.parametrize("name", [*BOUNDS, *TRUNCATED])
def test_a_bias_unit_is_no_input_to_count(name):
    words = draw_words(0, (3, 2), bias=True, n_networks=4)
    biased = initialize(words, (3, 2), has_bias=True, **option(name))
    plain = initialize(words[:, 2:], (3, 2), has_bias=False, **option(name))
    np.testing.assert_array_equal(biased[2:], plain)


# E(x⁴)/E(x²)²; that of the truncated normal is checked below
KURTOSIS = {"uniform": 9 / 5, "normal": 3.0, "truncated_normal": 2.3655}


@pytest.mark.parametrize(("fan_in", "fan_out"), FANS)
@pytest.mark.parametrize("name", DRAWN)
def test_mean_and_variance_are_the_published_ones(name, fan_in, fan_out):
    """Both are off by less than five of their standard errors.

    Those are σ/√n for the mean and σ²·√((kurtosis − 1)/n) for the mean square. By chance one in two
    million would be off by more; the draws here are always the same.
    """
    drawn = first_layer(name, fan_in, fan_out, 100_000 // (fan_in * fan_out)).ravel()
    kind = option(name).get("distribution", option(name)["name"])
    if name in BOUNDS:
        std = BOUNDS[name](fan_in, fan_out) / math.sqrt(3)
    else:
        std = STANDARD_DEVIATIONS[name](fan_in, fan_out)
    assert abs(drawn.mean()) < 5 * std / math.sqrt(drawn.size)
    error = 5 * math.sqrt((KURTOSIS[kind] - 1) / drawn.size)
    assert abs(np.mean(drawn**2) / std**2 - 1) < error


def test_kurtosis_of_the_truncated_normal_and_its_standard_deviation():
    with mpmath.workdps(30):
        moments = [mpmath.quad(lambda x, k=k: x**k * mpmath.npdf(x), [-2, 2]) for k in (0, 2, 4)]
        variance = moments[1] / moments[0]
        assert float(mpmath.sqrt(variance)) == TRUNCATED_STD
        assert (
            round(float(moments[2] / moments[0] / variance**2), 4) == KURTOSIS["truncated_normal"]
        )


@pytest.mark.parametrize(("name", "untruncated"), [("he_normal", 3.0), ("glorot_normal", 3.0)])
def test_without_truncation_tails_are_normal(name, untruncated):
    drawn = first_layer(name, 2, 3, 20_000, distribution="normal").ravel()
    std = STANDARD_DEVIATIONS[name](2, 3)
    outside = np.mean(np.abs(drawn) > 2 * std)
    expected = math.erfc(math.sqrt(2))  # P(|x| > 2σ) = 0.0455
    assert abs(outside - expected) < 5 * math.sqrt(expected * (1 - expected) / drawn.size)


def test_the_variance_may_go_with_the_fan_out():
    drawn = [first_layer("he_uniform", *fans, 10, fan=fan) for fans, fan in
             [((2, 50), "out"), ((50, 2), "in")]]  # fmt: skip
    assert np.abs(drawn[0]).max() <= math.sqrt(6 / 50)
    assert abs(np.abs(drawn[1]).max() / np.abs(drawn[0]).max() - 1) < 0.01


def test_there_is_an_option_for_every_initializer():
    used = {option(path.stem)["name"] for path in OPTIONS.glob("*.yaml")}
    assert used == {*INITIALIZERS, "given"}
