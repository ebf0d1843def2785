"""Axes: pixel centres by one formula, zooming, and the plane of weights."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bp_pipeline.maps.axes import Axis, random_plane

positive = st.floats(1e-300, 1e300)


def axis(low: float, high: float, scale: str, n_pixels: int = 64) -> Axis:
    return Axis("optimizer.learning_rate", low, high, scale, n_pixels)


def test_linear_centres():
    assert axis(-1.0, 1.0, "linear", 4).centres.tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_logarithmic_centres_are_equally_wide_factors():
    centres = axis(1e-3, 1e6, "log", 9).centres
    with mpmath.workdps(40):
        exact = [float(mpmath.mpf(10) ** (-3 + (2 * i + 1) / mpmath.mpf(2))) for i in range(9)]
    np.testing.assert_allclose(centres, exact, rtol=4e-15)  # 2 ulp of ln 10⁶, and exp's own 2


# As bits: what every map so far was trained with.
def test_logarithmic_centres_are_what_they_always_were():
    centres = axis(0.1, 1000.0, "log", 1024).centres
    assert [float(centres[i]).hex() for i in (0, 511, 1023)] == [
        "0x1.9b723b3ce70bdp-4",
        "0x1.3e9069df79e96p+3",
        "0x1.f1c1a56d2e7c1p+9",
    ]


@given(st.lists(positive, min_size=2, max_size=2, unique=True), st.integers(1, 50))
def test_centres_lie_between_the_ends(ends, n_pixels):
    low, high = sorted(ends)
    for scale in ("linear", "log"):
        centres = axis(low, high, scale, n_pixels).centres
        assert len(centres) == n_pixels
        assert (centres >= low * (1 - 1e-12)).all()
        assert (centres <= high * (1 + 1e-12)).all()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_one_ulp_has_no_room_for_pixels(scale):
    assert axis(1.0, 2.0, scale).is_resolved
    assert not axis(1.0, np.nextafter(1.0, 2.0), scale).is_resolved


@given(st.floats(0.0, 1.0), st.sampled_from(["linear", "log"]))
def test_a_zoomed_window_is_a_tenth_within_the_one_before(share, scale):
    before = axis(1.0, 1024.0, scale)
    centre = 1024.0**share if scale == "log" else 1.0 + 1023.0 * share
    after = before.zoomed(centre)
    measure = np.log if scale == "log" else lambda x: x
    width = measure(before.high) - measure(before.low)
    assert measure(after.high) - measure(after.low) == pytest.approx(width / 10)
    assert before.low * (1 - 1e-12) <= after.low < after.high <= before.high * (1 + 1e-12)
    assert after.low * (1 - 1e-12) <= centre <= after.high * (1 + 1e-12)


@given(st.integers(0, 2**63 - 1), st.integers(2, 30))
def test_directions_are_orthonormal(seed, n_weights):
    plane = random_plane(seed, n_weights)
    directions = np.array([plane.u, plane.v])
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)


def test_directions_are_what_they_always_were():
    plane = random_plane(0, 9)
    assert [float(plane.u[0]).hex(), float(plane.v[8]).hex()] == [
        "-0x1.407a0842cc797p-1",
        "0x1.76248822ca961p-4",
    ]


def test_another_seed_is_another_plane():
    assert (random_plane(0, 9).u != random_plane(1, 9).u).all()
