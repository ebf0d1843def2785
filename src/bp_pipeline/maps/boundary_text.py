"""What is said of a boundary: its dimension, and beside it what would refute it.

Owns the sentences. What is measured, and how, is said in `boundary.py`.
"""

import math
from collections.abc import Sequence
from statistics import median

from bp_pipeline.maps.boundary import ENOUGH_PIXELS, Boundary
from bp_pipeline.terminal import counted


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
    sentences = [f"{found}, dimension {_dimension(boundary)} by {boxes}."]
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
    """Write a line for each window, then the median and the spread of their dimensions."""
    lines = ["zoom  pixels of boundary  dimension"]
    lines += [f"{n:4}  {w.pixels:18,}  {_dimension(w)}" for n, w in enumerate(windows)]
    known = [window.dimension for window in windows if window.dimension is not None]
    if known:
        spread = f"{min(known):.2f} – {max(known):.2f}"
        lines.append(f"median {median(known):.2f}, {spread} over {counted(len(known), 'window')}")
    return "\n".join(lines)


def _dimension(boundary: Boundary) -> str:
    """Write the dimension and its interval, which is rounded outwards."""
    if boundary.dimension is None:
        return "–"
    low, high = boundary.dimension_low, boundary.dimension_high
    if low is None or high is None:
        return f"{boundary.dimension:.2f}"
    ends = f"{math.floor(100 * low) / 100:.2f} – {math.ceil(100 * high) / 100:.2f}"
    return f"{boundary.dimension:.2f} ({ends})"
