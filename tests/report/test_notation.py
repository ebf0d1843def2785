"""How numbers are written, and in which order values come, also those of several types."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.by_hand import by_hand, run

from bp_pipeline.ensemble import wilson_interval
from bp_pipeline.report import Findings, write_report
from bp_pipeline.report.notation import (
    as_typed,
    count,
    epochs_interval,
    in_order,
    listing,
    p_value,
    percent,
    percent_interval,
    percents,
    sorted_rows,
)
from bp_pipeline.report.sweep_data import RATE
from bp_pipeline.report.tables import grid

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("shares", "texts"),
    [
        ([0.307, 0.616, 0.077], ["31", "61", "8"]),
        ([0.254, 0.164, 0.1345, 0.4475], ["25", "16", "14", "45"]),
        ([0.333, 0.333, 0.334], ["33", "33", "34"]),
        ([0.996, 0.002, 0.002], [">99", "<1", "<1"]),
        ([0.0, 1.0], ["0", "100"]),
        ([0.005] * 200, ["<1"] * 200),
        ([0.254, 0.164], ["25", "16"]),
        ([NAN, 0.5], ["–", "50"]),
    ],
)
def test_shares_of_a_whole_add_to_100(shares: list[float], texts: list[str]) -> None:
    assert percents(shares) == texts


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0"), (0.001, "<1"), (0.125, "12"), (0.999, ">99"), (1.0, "100"), (NAN, "–")],
)
def test_all_and_none_are_exact(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.9455, 0.9982, "94 – 100"),  # Wilson's of 99 of 100
        (0.9981, 0.9995, "99 – 100"),  # of 9,990 of 10,000
        (0.0, 0.0370, "0 – 4"),
        (NAN, NAN, "–"),
    ],
)
def test_an_interval_is_not_made_narrower(low: float, high: float, text: str) -> None:
    assert percent_interval(low, high) == text


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_the_rate_as_it_is_printed(outcome: tuple[int, int]) -> None:
    n_converged, n = outcome
    low, high = wilson_interval(n_converged, n)
    printed = [int(end) for end in percent_interval(low, high).split(" – ")]
    assert printed[0] <= int(percent(n_converged / n).strip("<>")) <= printed[1]
    assert printed[0] <= 100 * low <= 100 * high <= printed[1]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(20.0, 24.0, "20 – 24"), (1105.0, INF, "≥ 1,105"), (INF, INF, "–"), (NAN, NAN, "–")],
)
def test_an_interval_of_epochs_may_be_open(low: float, high: float, text: str) -> None:
    assert epochs_interval(low, high) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0164, "0.016"), (0.9961, "1"), (NAN, "–")]
)
def test_p_values_have_two_digits(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (1e-5, "1e-05"),
        (np.int64(3), "3"),
        (True, "true"),
        (np.bool_(False), "false"),
        (None, "–"),
        ("ones", "ones"),
    ],
)
def test_config_values_are_as_typed(value: object, text: str) -> None:
    assert as_typed(value) == text


def test_lists_and_counts() -> None:
    assert [listing(list(parts)) for parts in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert [count(number) for number in (-1234.0, 1.5, 2.5)] == ["−1,234", "2", "3"]


ENDS = [5, 6, None, 7]


def test_numbers_by_size_then_lists_then_texts() -> None:
    mixed = ["b", "[10]", 10, "[2]", 9.5, "[2, 3]", None, "a", "[]", True, "[x", "[1, 20]"]
    ordered = [True, 9.5, 10, "[]", "[2]", "[10]", "[1, 20]", "[2, 3]", "[x", "a", "b", None]
    assert in_order(mixed) == ordered


def test_rows_are_sorted_key_by_key() -> None:
    table = pd.DataFrame({"a": ["[10]", "[2]", "[2]"], "b": [1.0, np.nan, 3.0]})
    assert sorted_rows(table, ["a", "b"])["b"].fillna(-1).tolist() == [3.0, -1.0, 1.0]
    assert sorted_rows(table, []) is table


def test_layouts_come_by_their_widths_everywhere() -> None:
    sweep = by_hand(*(run(ENDS, network__hidden=h) for h in ("[10]", "[2]", "[1, 1]")))
    findings = Findings(sweep)
    ordered = ["[2]", "[10]", "[1, 1]"]
    for table in (sweep.finished, findings.outcomes, findings.best, findings.shown):
        assert table["network.hidden"].tolist() == ordered
    laid_out = grid(findings.outcomes, sweep.settings, RATE)
    assert laid_out.index.get_level_values("network.hidden").tolist() == ordered


def test_a_label_that_reads_as_a_number_is_a_label(tmp_path: Path) -> None:
    sweep = by_hand(*(run(ENDS, rate, init=i) for rate in (1.0, 3.0) for i in ("normal", 7)))
    write_report(Findings(sweep), tmp_path)
    assert sweep.finished["init"].tolist() == ["7", "7", "normal", "normal"]


def test_the_order_of_columns_and_runs_does_not_matter() -> None:
    runs = [run(ENDS, optimizer__momentum=m, task__bits=b) for m in (0.0, 0.5) for b in (2, 3)]
    turned = [dict(reversed(run.items())) for run in reversed(runs)]
    first, second = by_hand(*runs), by_hand(*turned)
    assert first.axes == second.axes == [
        "activation", "init", "optimizer.momentum", "task.bits", "optimizer.learning_rate"
    ]  # fmt: skip
    places = first.axes
    pd.testing.assert_frame_equal(first.finished[places], second.finished[places])


def test_files_of_weights_go_by_their_names() -> None:
    def names(*paths: str) -> list[str]:
        sweep = by_hand(*(run(ENDS, init__path=path) for path in paths))
        return sweep.finished["init.path"].tolist()

    assert names("/home/b/x.npz", "/home/b/y.npz") == ["x.npz", "y.npz"]
    assert names("/home/b/x.npz", "/home/c/x.npz") == ["b/x.npz", "c/x.npz"]
