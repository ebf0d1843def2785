"""Pictures, measured: where lines and bands lie; the axis is linear up to 1, then in powers."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from bp_pipeline.report import figures
from bp_pipeline.report.figures import (
    DASHES,
    N_COLOURS,
    Caption,
    Line,
    loss_limits,
    loss_panel,
    survival_panel,
)
from bp_pipeline.report.statistics import Survival, kaplan_meier

Points = np.ndarray
CAPTION = Caption("x", "a < b", "what it shows")


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
    line = line_of(survival_panel([survival([1, 10, 100], 4, 1000)], 1000, CAPTION))
    x = np.unique(line[:, 0])
    steps = np.diff(x)  # from 0 to 1, 10, 100 and 1,000
    assert len(steps) == 4
    assert steps[1:] == pytest.approx([steps[1]] * 3, rel=1e-3)
    assert 0 < steps[0] < 1.5 * steps[1]


def test_a_line_ends_where_its_run_does() -> None:
    lines = [survival([5], 2, 10), replace(survival([5], 2, 1000), colour=2)]
    svg = survival_panel(lines, 1000, CAPTION)
    short, long = line_of(svg, 1), line_of(svg, 2)
    assert short[:, 0].max() < long[:, 0].max()
    at_10 = line_of(survival_panel([survival([5], 2, 10)], 10, CAPTION))[:, 0]
    at_1000 = long[:, 0]
    assert (at_10.max() - at_10.min()) == pytest.approx(at_1000.max() - at_1000.min())
    bands = drawn(svg, 1)[1] + drawn(svg, 2)[1]
    assert len(bands) == 2
    assert bands[0][:, 0].max() == pytest.approx(short[:, 0].max())


def test_all_that_converged_stay_so_to_the_end_of_their_run() -> None:
    svg = survival_panel([survival([5, 6], 2, 50)], 1000, CAPTION)
    reference = line_of(survival_panel([survival([5], 2, 50)], 1000, CAPTION))
    assert line_of(svg)[:, 0].max() == pytest.approx(reference[:, 0].max())


def test_a_survival_curve_has_its_band() -> None:
    line = survival([2, 3, 5, 8], 8, 100)
    svg = survival_panel([line], 100, CAPTION)
    [points], [band] = drawn(svg, 1)
    top, bottom = points[:, 1].min(), points[:, 1].max()  # where 100 % and 50 % are
    share = (bottom - band[:, 1]) / (bottom - top) * 0.5 + 0.5
    curve = line.curve
    assert isinstance(curve, Survival)
    assert share.min() == pytest.approx(np.nanmin(curve.low), abs=1e-3)
    assert share.max() == pytest.approx(np.nanmax(curve.high), abs=1e-3)


def test_a_loss_curve_is_the_median_between_its_deciles() -> None:
    curve = pd.DataFrame({"epoch": [0, 10], "loss/p10": 1.0, "loss/median": 2.0, "loss/p90": 5.0})
    [line], [band] = drawn(loss_panel([Line(1, curve, 10)], 10, (0.1, 10.0), CAPTION), 1)
    low, high = band[:, 1].max(), band[:, 1].min()
    share = np.log(2) / np.log(5)  # of the way from 1 to 5 nats, on a logarithmic axis
    assert (low - line[:, 1]) / (low - high) == pytest.approx([share, share], abs=1e-3)


def test_losses_are_on_one_logarithmic_axis_in_all_panels() -> None:
    curves = [
        pd.DataFrame({"epoch": [0, 1, 2], "loss/p10": loss, "loss/median": loss, "loss/p90": loss})
        for loss in ([10.0, 1.0, 0.1], [0.7, 0.03, np.inf], [0.7, 0.0, 0.0])
    ]
    limits = loss_limits(curves)
    assert limits == (0.01, 10)
    heights = [line_of(loss_panel([Line(1, c, 2)], 2, limits, CAPTION))[:, 1] for c in curves]
    steps = np.diff(heights[0])
    assert steps[0] == pytest.approx(steps[1], rel=1e-3)
    assert heights[2][-1] > heights[0].max()  # 0 is at the edge
    assert loss_limits([]) == loss_limits(curves[2].tail(1).pipe(lambda c: [c]))


def test_a_line_may_have_no_band() -> None:
    line = replace(survival([2, 3, 5, 8], 8, 100), colour=0, has_band=False)
    lines, bands = drawn(survival_panel([line], 100, CAPTION), 0)
    assert (len(lines), len(bands)) == (1, 0)


def test_lines_can_be_told_apart_without_colours() -> None:
    assert len(set(DASHES[1:])) == len(DASHES) - 1 == N_COLOURS
    lines = [replace(survival([2, n], 8, 100), colour=n) for n in range(1, N_COLOURS + 1)]
    svg = survival_panel(lines, 100, CAPTION)
    styles = re.findall(r'style="fill: none; ([^"]*); stroke: var\(--line-[1-7]\)', svg)
    assert len({*styles}) == N_COLOURS - 1  # and one that is whole


def test_a_picture_says_what_it_shows() -> None:
    picture = BeautifulSoup(survival_panel([survival([2], 8, 100)], 100, CAPTION), "html.parser")
    assert picture.svg["role"] == "img"
    told = [picture.find(id=name).get_text() for name in picture.svg["aria-labelledby"].split()]
    assert told == [CAPTION.title, CAPTION.text]
