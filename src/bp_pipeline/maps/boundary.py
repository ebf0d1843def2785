"""The boundary between the pixels that have a property and those that have not, and its dimension.

Owns how a boundary is counted and what is said beside the number: the range of box sizes, how far
the fit depends on single shares of the picture, the same at half the resolution, and whether there
is enough of it. Which property that is, is for the caller to say; so is who trains pixels again,
one ulp apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from jaxtyping import Bool, Int64

from bp_pipeline.terminal import counted

SMALLEST_BOX = 9  # pixels; below it sampling hides detail (a Koch curve measures 1.22 from 3 on)
LARGEST_BOX_SHARE = 8  # the largest box is this part of the shorter side
LEAST_RANGE = 2  # the largest box must be this many times the smallest
ENOUGH_PIXELS = 500
SHARES = 4  # on each side
_N_SIZES = 16  # sizes in the fit, equally far apart in their logarithm
_NORMAL_95 = 1.96  # standard errors to either side of a 95 % interval

Inside = Bool[np.ndarray, "y x"]
Corners = Bool[np.ndarray, "corner_y corner_x"]
Sizes = Int64[np.ndarray, " size"]


@dataclass(frozen=True)
class Boundary:
    """A boundary's length in pixels and its box-counting dimension.

    Attributes
    ----------
    pixels
        Pixels at a corner at which both sides meet.
    dimension
        −slope of the number of boxes over their size, both in logarithms, by least squares. The
        number is the mean over all positions of the grid of boxes: the area within (size − 1)/2 of
        the boundary, in the maximum norm, over the area of a box. None where nothing can be fitted.
    dimension_low, dimension_high
        Its 95 % interval, from leaving out one of 4 × 4 shares of the picture at a time; None where
        all of the boundary lies in one.
    dimension_half
        The dimension at half the resolution: of every second pixel in every second row.
    smallest_box, largest_box
        The range of sizes, in pixels.

    References
    ----------
    Efron & Stein (1981), The Jackknife Estimate of Variance.
    """

    pixels: int
    dimension: float | None
    dimension_low: float | None
    dimension_high: float | None
    dimension_half: float | None
    smallest_box: int
    largest_box: int

    @property
    def is_doubtful(self) -> bool:
        """Whether there is too little boundary, or too small a picture, for a dimension."""
        return self.pixels < ENOUGH_PIXELS or self.dimension_low is None


def measure_boundary(inside: Inside) -> Boundary:
    """Count the boundary of a picture and fit its dimension."""
    corners = mixed_corners(inside)
    dimension, low, high = _fit(corners)
    return Boundary(
        pixels=int(boundary_pixels(inside).sum()),
        dimension=dimension,
        dimension_low=low,
        dimension_high=high,
        dimension_half=_fit(mixed_corners(inside[::2, ::2]))[0],
        smallest_box=SMALLEST_BOX,
        largest_box=largest_box(corners),
    )


def mixed_corners(inside: Inside) -> Corners:
    """Find the corners between pixels at which both sides meet."""
    around = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    some, every = np.logical_or.reduce(around), np.logical_and.reduce(around)
    return np.asarray(some & ~every)


def boundary_pixels(inside: Inside) -> Inside:
    """Find the pixels at such a corner."""
    corners = mixed_corners(inside)
    pixels = np.zeros_like(inside)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            pixels[rows, columns] |= corners
    return pixels


def middle_of_boundary(inside: Inside) -> tuple[int, int] | None:
    """Return (row, column) of the pixel in the middle of the boundary's pixels in reading order.

    So the place where a zoom goes on is drawn by where the boundary is, and by nothing else. None
    where there is no boundary.
    """
    pixels = np.argwhere(boundary_pixels(inside))
    if not len(pixels):
        return None
    row, column = pixels[len(pixels) // 2]
    return int(row), int(column)


def largest_box(corners: Corners) -> int:
    """Return the largest odd box size for a picture with so many corners."""
    return (min(corners.shape) // LARGEST_BOX_SHARE - 1) // 2 * 2 + 1


def _fit(corners: Corners) -> tuple[float | None, float | None, float | None]:
    """Fit the dimension, with the interval from leaving out one share at a time."""
    if largest_box(corners) < LEAST_RANGE * SMALLEST_BOX or not corners.any():
        return None, None, None
    sizes, areas = _areas_by_share(corners)
    total, areas = areas.sum(axis=0), areas[areas[:, 0] > 0]
    dimension = _slope(sizes, total)
    if len(areas) == 1:
        return dimension, None, None
    without_one = np.array([_slope(sizes, total - area) for area in areas])
    margin = _NORMAL_95 * float(np.sqrt((len(areas) - 1) * without_one.var()))
    return dimension, dimension - margin, dimension + margin


def _areas_by_share(corners: Corners) -> tuple[Sizes, Int64[np.ndarray, "share size"]]:
    """Measure the area within (size − 1)/2 of the part of the boundary in each share."""
    from scipy.ndimage import distance_transform_cdt  # takes a while to import

    sizes = np.geomspace(SMALLEST_BOX, largest_box(corners), _N_SIZES).round().astype(np.int64)
    radii = np.unique((sizes - 1) // 2)
    distance, (row, column) = distance_transform_cdt(
        ~corners, metric="chessboard", return_indices=True
    )
    near = distance <= radii[-1]
    share = row[near] * SHARES // len(corners) * SHARES + column[near] * SHARES // corners.shape[1]
    reached = np.searchsorted(radii, distance[near])
    area = np.bincount(share * len(radii) + reached, minlength=SHARES**2 * len(radii))
    return 2 * radii + 1, area.reshape(SHARES**2, len(radii)).cumsum(axis=1)


def _slope(sizes: Sizes, areas: Sizes) -> float:
    """Fit log(number of boxes) = −dimension·log(size) + constant."""
    return float(-np.polyfit(np.log(sizes), np.log(areas / sizes**2), 1)[0])


# ------------------------------------------------------------------------------------- in words


def describe_boundary(boundary: Boundary, what: str, x_key: str, ulp_flips: int) -> list[str]:
    """Say what was measured, a sentence each; the first also stands above the picture.

    Parameters
    ----------
    boundary
        What was measured.
    what
        `map.boundary`.
    x_key, ulp_flips
        How many of its pixels change sides when this key moves up by one ulp.
    """
    found = f"Boundary of {what}: {counted(boundary.pixels, 'pixel')}"
    if boundary.dimension is None:
        return [f"{found}, too little for a dimension."]
    boxes = f"boxes of {boundary.smallest_box} – {boundary.largest_box} pixels"
    sentences = [f"{found}, dimension {_dimension_of(boundary)} by {boxes}."]
    if boundary.dimension_half is not None:
        sentences.append(f"At half the resolution the dimension is {boundary.dimension_half:.2f}.")
    sentences.append(
        f"When {x_key} moves up by one ulp, {ulp_flips:,} of its pixels would change sides."
    )
    if boundary.is_doubtful:
        sentences.append(
            f"This is too little for a claim: fewer than {ENOUGH_PIXELS} pixels, or all of them in "
            "one share of the picture."
        )
    return sentences


def describe_zooms(windows: Sequence[Boundary]) -> str:
    """Write a line for each window, then the median and the range of their dimensions."""
    lines = ["zoom  pixels of boundary  dimension"]
    lines += [f"{n:4}  {w.pixels:18,}  {_dimension_of(w)}" for n, w in enumerate(windows)]
    return "\n".join([*lines, f"median {spread([w.dimension for w in windows])}"])


def spread(dimensions: Sequence[float | None]) -> str:
    """Write the median and the range of those dimensions that are known."""
    known = sorted(value for value in dimensions if value is not None and value == value)
    if not known:
        return "–"
    ends = f"{known[0]:.2f} – {known[-1]:.2f}"
    return f"{median(known):.2f} ({ends}, {counted(len(known), 'window')})"


def dimension_in_words(value: float | None, low: float | None, high: float | None) -> str:
    """Write a dimension and its interval, which is rounded outwards; None and NaN are unknown."""
    if value is None or value != value:
        return "–"
    if low is None or high is None or low != low:
        return f"{value:.2f}"
    ends = f"{math.floor(100 * low) / 100:.2f} – {math.ceil(100 * high) / 100:.2f}"
    return f"{value:.2f} ({ends})"


def _dimension_of(found: Boundary) -> str:
    return dimension_in_words(found.dimension, found.dimension_low, found.dimension_high)
