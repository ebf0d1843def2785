"""Boundaries: shapes of known dimension, and when a number would say nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import carpet, disc, half_plane, snowflake

from bp_pipeline.maps.boundary import (
    ENOUGH_PIXELS,
    boundary_pixels,
    measure_boundary,
    middle_of_boundary,
    mixed_corners,
)

SHAPES = {
    "edge": (half_plane(1024, 0.0), 1.0),
    "slanted edge": (half_plane(1024, 0.37), 1.0),
    "disc": (disc(1024), 1.0),
    "Koch curve": (snowflake(1024), np.log(4) / np.log(3)),
    "Koch curve, larger": (snowflake(2048), np.log(4) / np.log(3)),
    "Sierpiński carpet": (carpet(6), np.log(8) / np.log(3)),
    "noise": (np.random.default_rng(0).random((512, 512)) < 0.5, 2.0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_their_dimension(name):
    picture, exact = SHAPES[name]
    found = measure_boundary(picture)
    assert found.dimension == pytest.approx(exact, abs=0.03)
    assert found.dimension_half == pytest.approx(exact, abs=0.03)
    assert found.dimension_low <= found.dimension <= found.dimension_high
    assert not found.is_doubtful


def test_a_picture_smooth_here_and_rough_there_has_a_wide_interval():
    alone = measure_boundary(snowflake(1024))
    mixed = snowflake(1024)
    mixed[:, 512:] = half_plane(1024, 0.2)[:, :512]
    together = measure_boundary(mixed)
    assert together.dimension < alone.dimension
    assert (
        together.dimension_high - together.dimension_low
        > alone.dimension_high - alone.dimension_low
    )


# ------------------------------------------------------------------------------------- by hand


def test_pixels_and_corners_of_a_small_picture():
    picture = np.zeros((4, 5), dtype=bool)
    picture[2, 3] = True
    corners = np.zeros((3, 4), dtype=bool)
    corners[1:3, 2:4] = True
    np.testing.assert_array_equal(mixed_corners(picture), corners)
    pixels = np.zeros((4, 5), dtype=bool)
    pixels[1:4, 2:5] = True
    np.testing.assert_array_equal(boundary_pixels(picture), pixels)
    assert measure_boundary(picture).pixels == 9


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_boundary_is_where_four_pixels_differ(rows, columns, seed, share):
    picture = np.random.default_rng(seed).random((rows, columns)) < share
    expected = np.zeros_like(picture)
    for row, column in np.ndindex(rows - 1, columns - 1):
        four = slice(row, row + 2), slice(column, column + 2)
        expected[four] |= len(set(picture[four].flat)) == 2
    np.testing.assert_array_equal(boundary_pixels(picture), expected)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((1024, 1024), dtype=bool),
        np.ones((1, 1), dtype=bool),
        half_plane(64, 0.3),
        np.kron(np.eye(64, dtype=bool)[:1], np.ones((8, 8), dtype=bool)),
    ],
    ids=["nothing", "one pixel", "few pixels", "a strip"],
)
def test_too_little_is_said_to_be_too_little(picture):
    assert measure_boundary(picture).is_doubtful


def test_a_short_boundary_is_doubtful_whatever_was_fitted():
    picture = np.zeros((1024, 1024), dtype=bool)
    picture[300:320, 500:520] = True
    found = measure_boundary(picture)
    assert found.pixels < ENOUGH_PIXELS
    assert found.dimension is not None
    assert found.is_doubtful


def test_a_zoom_goes_on_in_the_middle_of_the_boundary():
    picture = half_plane(64, 0.0)
    row, column = middle_of_boundary(picture)
    assert boundary_pixels(picture)[row, column]
    assert row in (31, 32)
    assert middle_of_boundary(np.ones((8, 8), dtype=bool)) is None
