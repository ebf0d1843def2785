"""Charts look as if MLflow had been told every point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bp_pipeline.tracking.chart_points import TOLERANCE, shown

VALUES = st.floats(-1e3, 1e3, allow_subnormal=False)
STEPS = st.lists(st.integers(1, 500), max_size=60)


@given(steps=STEPS, data=st.data())
def test_no_chart_leaves_the_curve_by_more_than_the_tolerance(
    steps: list[int], data: st.DataObject
) -> None:
    epochs = np.cumsum([0, *steps])
    n = len(epochs)
    y = np.array(data.draw(st.lists(VALUES, min_size=n, max_size=n)))
    chosen = shown(epochs.tolist(), y.tolist())
    assert chosen[0] == 0
    assert chosen[-1] == n - 1
    assert chosen == sorted({*chosen})
    for x in (epochs, np.log1p(epochs)):
        for heights in [y, np.log(y)] if (y > 0).all() else [y]:
            between = np.interp(x, x[chosen], heights[chosen])
            assert np.abs(between - heights).max() <= (TOLERANCE + 1e-9) * np.ptp(heights)


@pytest.mark.parametrize(
    ("y", "n"), [([3.0] * 60, 2), ([], 0), ([1.0], 1), ([0.0] * 40 + [1] * 20, 4)]
)
def test_what_a_line_shows_is_left_out(y: list[float], n: int) -> None:
    assert len(shown(range(len(y)), y)) == n


def test_a_loss_that_falls_over_decades_keeps_its_bends() -> None:
    epochs = np.unique(np.logspace(0, 3.3, 60).astype(int)) - 1
    loss = 0.69 / (1 + np.exp((np.log1p(epochs) - 5) * 4)) + 1e-4
    assert len(shown(epochs.tolist(), loss.tolist())) < len(epochs) / 2
