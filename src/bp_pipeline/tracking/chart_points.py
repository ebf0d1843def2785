"""Which points of a curve MLflow is told, so that its charts look as if it had been told all.

MLflow keeps each point in a table and three indices, 273 bytes in all, which is most of a database.
Most points are where a straight line between others would lead. `curves.npz` keeps all of them.
"""

import math
from collections.abc import Sequence

# Of a chart's height. MLflow draws curves two pixels wide, in charts of some 250.
TOLERANCE = 0.01


def shown(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Choose points such that straight lines between them stay close to the others.

    A point is left out where the line passes within `TOLERANCE` of the chart's height, whether its
    axes are linear or logarithmic. From each point that was chosen, the line goes as far as it can:
    it stays within the cone that all points on the way leave open.

    Parameters
    ----------
    x
        From 0 on, increasing.
    y
        As many values, all finite. A chart has no logarithmic axis for those that are not positive.

    Returns
    -------
    list of int
        Indices, increasing; the first and the last point are among them.

    References
    ----------
    Reumann, K. & Witkam, A. P. M. (1974). Optimizing curve segmentation in computer graphics.
    Deviation: a cone in place of a strip, and lines that end in points of the curve.
    """
    charts = _charts(x, y)
    chosen = [0] if y else []
    while chosen and chosen[-1] < len(y) - 1:
        last = len(y) - 1
        for xs, ys in charts:
            last = _farthest(xs, ys, chosen[-1], last)
        chosen.append(last)
    return chosen


def _farthest(x: Sequence[float], y: Sequence[float], first: int, last: int) -> int:
    """Return up to which point, at most `last`, a line from `first` stays close to all others."""
    low, high = -math.inf, math.inf
    for n in range(first + 1, last + 1):
        width = x[n] - x[first]
        slope = (y[n] - y[first]) / width
        if not low <= slope <= high:
            return n - 1
        lowest, highest = slope - TOLERANCE / width, slope + TOLERANCE / width
        low, high = lowest if lowest > low else low, highest if highest < high else high
    return last


def _charts(x: Sequence[float], y: Sequence[float]) -> list[tuple[list[float], list[float]]]:
    """Return the curve as each chart would draw it, in parts of its height."""
    widths = [[*x], [math.log1p(value) for value in x]]
    positive = bool(y) and min(y) > 0
    heights = [[*y], [math.log(value) for value in y]] if positive else [[*y]]
    return [(xs, _scaled(ys)) for xs in widths for ys in heights]


def _scaled(values: list[float]) -> list[float]:
    height = max(values, default=0) - min(values, default=0)
    return [value / height for value in values] if height else values
