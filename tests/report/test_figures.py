"""Pictures, measured: where lines and bands lie; the axis is linear up to 1, then in powers."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from bp_pipeline.report import figures
from bp_pipeline.report.figures import Line, loss_panel, survival_panel
from bp_pipeline.report.statistics import Survival, kaplan_meier

Points = np.ndarray


@pytest.fixture(autouse=True)
def drawing() -> Iterator[None]:
    with figures.drawing():
        yield


def drawn(svg: str, colour: int) -> tuple[list[Points], list[Points]]:
    """Give the points of the lines and of the bands in a colour."""
    stroke, fill = f"stroke: var\\(--line-{colour}\\)", f"fill: var\\(--line-{colour}\\)"
    lines = re.findall(rf'<path d="([^"]*)"[^>]*{stroke}', svg)
    uses = re.findall(rf'<use xlink:href="#(\S+)" x="0" y="(\S+)" style="{fill}', svg)
    shapes = dict(re.findall(r'<path id="(\S+)" d="([^"]*)"', svg))
    bands = [_points(shapes[name]) + np.array([0, float(y)]) for name, y in uses]
    return [_points(line) for line in lines], bands


def _points(path: str) -> Points:
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path), dtype=float)


def line_of(svg: str, colour: int = 1) -> Points:
    [line], _ = drawn(svg, colour)
    return line


def survival(epochs: list[int], n: int, last: int) -> Line:
    """Make a curve of n replicates, of which some converge."""
    ends = np.array([*epochs, *[last] * (n - len(epochs))])
    return Line(1, kaplan_meier(ends, np.arange(n) < len(epochs)), last)


def test_epochs_are_drawn_in_powers_of_ten() -> None:
    line = line_of(survival_panel([survival([1, 10, 100], 4, 1000)], 1000, "x"))
    x = np.unique(line[:, 0])
    steps = np.diff(x)  # from 0 to 1, 10, 100 and 1,000
    assert len(steps) == 4
    assert steps[1:] == pytest.approx([steps[1]] * 3, rel=1e-3)
    assert 0 < steps[0] < 1.5 * steps[1]


def test_a_line_ends_where_its_run_does() -> None:
    lines = [survival([5], 2, 10), survival([5], 2, 1000)._replace(colour=2)]
    svg = survival_panel(lines, 1000, "x")
    short, long = line_of(svg, 1), line_of(svg, 2)
    assert short[:, 0].max() < long[:, 0].max()
    at_10 = line_of(survival_panel([survival([5], 2, 10)], 10, "x"))[:, 0]
    at_1000 = long[:, 0]
    assert (at_10.max() - at_10.min()) == pytest.approx(at_1000.max() - at_1000.min())
    bands = drawn(svg, 1)[1] + drawn(svg, 2)[1]
    assert len(bands) == 2
    assert bands[0][:, 0].max() == pytest.approx(short[:, 0].max())


def test_all_that_converged_stay_so_to_the_end_of_their_run() -> None:
    svg = survival_panel([survival([5, 6], 2, 50)], 1000, "x")
    reference = line_of(survival_panel([survival([5], 2, 50)], 1000, "x"))
    assert line_of(svg)[:, 0].max() == pytest.approx(reference[:, 0].max())


def test_a_survival_curve_has_its_band() -> None:
    line = survival([2, 3, 5, 8], 8, 100)
    svg = survival_panel([line], 100, "x")
    [points], [band] = drawn(svg, 1)
    top, bottom = points[:, 1].min(), points[:, 1].max()  # where 100 % and 50 % are
    share = (bottom - band[:, 1]) / (bottom - top) * 0.5 + 0.5
    curve = line.curve
    assert isinstance(curve, Survival)
    assert share.min() == pytest.approx(np.nanmin(curve.low), abs=1e-3)
    assert share.max() == pytest.approx(np.nanmax(curve.high), abs=1e-3)


def test_a_loss_curve_is_the_median_between_its_deciles() -> None:
    curve = pd.DataFrame({"epoch": [0, 10], "loss/p10": 1.0, "loss/median": 2.0, "loss/p90": 5.0})
    [line], [band] = drawn(loss_panel([Line(1, curve, 10)], 10, "x"), 1)
    low, high = band[:, 1].max(), band[:, 1].min()
    assert (low - line[:, 1]) / (low - high) == pytest.approx([0.25, 0.25], abs=1e-3)


def test_grey_lines_are_thin_and_have_no_band() -> None:
    line = survival([2, 3, 5, 8], 8, 100)._replace(colour=0)
    lines, bands = drawn(survival_panel([line], 100, "x"), 0)
    assert (len(lines), len(bands)) == (1, 0)
