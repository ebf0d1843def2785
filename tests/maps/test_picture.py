"""Pictures: the very pixels, told apart without colours, and what the file says of itself."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bp_pipeline.core.training import CONVERGED, DIVERGED, STALLED
from bp_pipeline.maps.axes import Axis
from bp_pipeline.maps.picture import (
    BLACK,
    DARK,
    LIGHT,
    RATE,
    ColourScale,
    paint,
    place,
    write_picture,
)
from bp_pipeline.maps.pixels import BOUNDARIES, MapResult

KINDS = (STALLED, CONVERGED, DIVERGED)


def axes(columns: int, rows: int) -> tuple[Axis, Axis]:
    return (
        Axis("optimizer.learning_rate", 0.1, 1000.0, "log", columns),
        Axis("init.scale", 1.0, 1.5, "linear", rows),
    )


def some_result(columns: int, rows: int, *replicates: int) -> MapResult:
    """Draw outcomes by lot, with losses and epochs that go with them."""
    rng = np.random.default_rng(0)
    shape = (rows, columns, *replicates)
    outcome = rng.choice(np.array(KINDS, dtype=np.int8), shape)
    epochs = np.where(outcome == CONVERGED, rng.integers(0, 500, shape), -1)
    loss = np.where(outcome == DIVERGED, np.inf, rng.exponential(size=shape))
    x, y = axes(columns, rows)
    return MapResult(x.centres, y.centres, outcome, epochs, loss, outcome == CONVERGED, loss)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """Compute L* of sRGB colours (CIE 15:2004, IEC 61966-2-1)."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    cube = np.cbrt(luminance)
    return np.where(luminance > 216 / 24389, 116 * cube - 16, luminance * 24389 / 27)


def colours(part: tuple[str, float, float]) -> np.ndarray:
    return ColourScale("", part, 0.0, 1.0, False).paint(np.linspace(0.0, 1.0, 256))


def test_kinds_are_told_apart_in_grey():
    light, dark = lightness(colours(LIGHT)), lightness(colours(DARK))
    assert light.min() - dark.max() > 10
    assert dark.min() - lightness(np.array(BLACK)) > 10


@pytest.mark.parametrize("part", [LIGHT, DARK, RATE])
def test_a_scale_only_gets_lighter_or_darker(part):
    steps = np.diff(lightness(colours(part)))
    assert (steps > -0.5).all() or (steps < 0.5).all()  # the last of 8 bits is worth up to 0.4


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_inside_is_light_outside_dark_and_diverged_black(boundary):
    result = some_result(40, 30)
    shade = lightness(paint(result, boundary).pixels)
    inside = result.inside("solved" if boundary == "diverged" else boundary)
    assert (shade[inside] > 50).all()
    assert (shade[~inside] < 40).all()
    diverged = ~inside & (result.outcome == DIVERGED)
    assert (shade[diverged] == 0).all()
    assert (shade[~inside & ~diverged] > 10).all()


def test_of_replicates_the_share_is_shown():
    result = some_result(5, 4, 8)
    [scale] = paint(result, "solved").scales
    share = result.solved.mean(axis=2)
    np.testing.assert_array_equal(paint(result, "solved").pixels, scale.paint(share))


@pytest.mark.parametrize(("columns", "rows"), [(700, 601), (100, 40), (1, 1)])
def test_pixels_are_copied_not_resampled(tmp_path, columns, rows):
    painting = paint(some_result(columns, rows), "solved")
    path = tmp_path / "map.png"
    write_picture(path, painting, *axes(columns, rows), title="t", subtitle="s",
                  text={"Command": "bp map", "Comment": "θ₀"})  # fmt: skip
    with Image.open(path) as picture:
        drawn = np.asarray(picture.convert("RGB"))
        assert picture.text == {"Command": "bp map", "Comment": "θ₀"}
    at = place(columns, rows)
    expected = painting.pixels[::-1].repeat(at.enlarged, axis=0).repeat(at.enlarged, axis=1)
    height, width = expected.shape[:2]
    there = drawn[at.top : at.top + height, at.left : at.left + width]
    np.testing.assert_array_equal(there, expected)


def test_a_window_of_a_few_ulp_can_be_drawn(tmp_path):
    low, high = 1.0, float(np.float64(1.0) + 64 * np.finfo(float).eps)
    x = Axis("init.scale", low, high, "log", 8)
    write_picture(tmp_path / "map.png", paint(some_result(8, 8), "solved"), x, x,
                  title="", subtitle="", text={})  # fmt: skip
    assert (tmp_path / "map.png").is_file()


def test_the_legend_of_one_value_is_one_colour(tmp_path):
    some = some_result(700, 600)
    all_alike = np.full_like(some.outcome, CONVERGED)
    solved = all_alike == CONVERGED
    result = replace(some, outcome=all_alike, solved=solved, epochs_to_converge=0 * all_alike + 7)
    write_picture(tmp_path / "map.png", paint(result, "solved"), *axes(700, 600),
                  title="", subtitle="", text={})  # fmt: skip
    with Image.open(tmp_path / "map.png") as picture:
        legend = np.asarray(picture.convert("RGB")).astype(int)[place(700, 600).top + 620 :]
    coloured = legend[(np.ptp(legend, axis=2) > 20) & (legend.max(axis=2) > 100)]  # no frame
    assert {*map(tuple, coloured)} == {tuple(paint(result, "solved").pixels[0, 0])}
