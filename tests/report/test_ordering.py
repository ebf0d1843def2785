"""The order of values in rows and columns, and of sweeps whose values are of several types."""

from pathlib import Path

import numpy as np
import pandas as pd
from report.by_hand import by_hand, run

from bp_pipeline.report import write_report
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.ordering import in_order, sorted_rows
from bp_pipeline.report.tables import RATE, grid

ENDS = [5, 6, None, 7]


def test_numbers_by_size_then_lists_then_texts() -> None:
    mixed = ["b", "[10]", 10, "[2]", 9.5, "[2, 3]", None, "a", "[]", True, "[x", "[1, 20]"]
    ordered = [True, 9.5, 10, "[]", "[2]", "[10]", "[1, 20]", "[2, 3]", "[x", "a", "b", None]
    assert in_order(mixed) == ordered


def test_rows_are_sorted_key_by_key() -> None:
    table = pd.DataFrame({"a": ["[10]", "[2]", "[2]"], "b": [1.0, np.nan, 3.0]})
    assert sorted_rows(table, ["a", "b"])["b"].fillna(-1).tolist() == [3.0, -1.0, 1.0]
    assert sorted_rows(table, []) is table


def test_layouts_come_by_their_widths_everywhere(tmp_path: Path) -> None:
    sweep = by_hand(*(run(ENDS, network__hidden=h) for h in ("[10]", "[2]", "[1, 1]")))
    findings = Findings(sweep)
    ordered = ["[2]", "[10]", "[1, 1]"]
    for table in (sweep.finished, findings.summary, findings.best, findings.shown):
        assert table["network.hidden"].tolist() == ordered
    laid_out = grid(findings.summary, sweep.settings, RATE)
    assert laid_out.index.get_level_values("network.hidden").tolist() == ordered


def test_a_label_that_reads_as_a_number_is_a_label(tmp_path: Path) -> None:
    sweep = by_hand(*(run(ENDS, rate, init=i) for rate in (1.0, 3.0) for i in ("normal", 7)))
    write_report(Findings(sweep), tmp_path)
    assert sweep.finished["init"].tolist() == ["7", "7", "normal", "normal"]


def test_the_order_of_columns_and_runs_does_not_matter() -> None:
    runs = [run(ENDS, seed=s, task__bits=b) for s in (0, 1) for b in (2, 3)]
    turned = [dict(reversed(run.items())) for run in reversed(runs)]
    first, second = by_hand(*runs), by_hand(*turned)
    assert first.axes == second.axes == [
        "activation", "init", "seed", "task.bits", "optimizer.learning_rate"
    ]  # fmt: skip
    places = first.axes
    pd.testing.assert_frame_equal(first.finished[places], second.finished[places])


def test_files_of_weights_go_by_their_names() -> None:
    def names(*paths: str) -> list[str]:
        return (
            by_hand(*(run(ENDS, init__path=path) for path in paths)).finished["init.path"].tolist()
        )

    assert names("/home/b/x.npz", "/home/b/y.npz") == ["x.npz", "y.npz"]
    assert names("/home/b/x.npz", "/home/c/x.npz") == ["b/x.npz", "c/x.npz"]
