"""The tables of a report, from runs as `load_sweep` gives them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bp_pipeline.report import print_report, write_report
from bp_pipeline.report.tables import axes, best_learning_rates, rates, summary

LEARNING_RATE, RATE, MEDIAN = (
    "optimizer.learning_rate",
    "converged/rate",
    "epochs_to_converge/median",
)


def make_runs(*rows: tuple[str, float, float, float | None], **more: Any) -> pd.DataFrame:
    """Make a sweep of activation, learning rate, rate and median epochs."""
    return pd.DataFrame(
        {
            "run_id": [str(number) for number in range(len(rows))],
            "name": "a run",
            "status": "FINISHED",
            "activation": [row[0] for row in rows],
            "init": "ones",
            "init.value": 1.0,
            LEARNING_RATE: [row[1] for row in rows],
            "replicates": 10,
            RATE: [row[2] for row in rows],
            "converged/rate_low": 0.0,
            "converged/rate_high": 1.0,
            MEDIAN: [row[3] for row in rows],
            "bp.config_digest": "0",
            **more,
        }
    )


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        pytest.param([(0.1, 0.5, 9.0), (1.0, 0.6, 90.0)], 1.0, id="the higher rate"),
        pytest.param([(0.1, 0.6, 90.0), (1.0, 0.6, 9.0)], 1.0, id="then the smaller median"),
        pytest.param([(1.0, 0.6, 9.0), (0.1, 0.6, 9.0)], 0.1, id="then the smaller learning rate"),
        pytest.param([(0.1, 0.4, None), (1.0, 0.3, None)], 0.1, id="without medians"),
    ],
)
def test_best_learning_rate(rows: list[tuple[float, float, float | None]], best: float) -> None:
    runs = make_runs(*(("tanh", *row) for row in rows))
    assert best_learning_rates(runs)[LEARNING_RATE].tolist() == [best]


def test_nothing_is_best_where_nothing_converged() -> None:
    table = best_learning_rates(make_runs(("tanh", 0.1, 0.0, None), ("tanh", 1.0, 0.0, None)))
    assert table[LEARNING_RATE].isna().tolist() == [True]
    assert table[RATE].tolist() == [0.0]


def test_rates_lie_in_a_grid_with_gaps() -> None:
    table = rates(make_runs(("relu", 0.1, 0.5, 3.0), ("tanh", 1.0, 0.25, 4.0)))
    assert list(table.columns) == [0.1, 1.0]
    assert table.loc[("relu", "ones"), 0.1] == 0.5
    assert pd.isna(table.loc[("relu", "ones"), 1.0])


def test_axes_are_what_varies_without_what_goes_with_an_option() -> None:
    runs = make_runs(("relu", 0.1, 0.5, 3.0), ("tanh", 1.0, 0.25, 4.0))
    runs["init"] = ["ones", "constant"]
    runs["init.value"] = [1.0, 2.0]
    runs["seed"] = [1, 2]
    assert axes(runs) == ["activation", "init", "seed", LEARNING_RATE]


def test_only_finished_runs_count() -> None:
    runs = make_runs(("tanh", 0.1, 0.5, 3.0), ("tanh", 1.0, 0.9, 3.0))
    runs["status"] = ["FINISHED", "FAILED"]
    assert summary(runs)[LEARNING_RATE].tolist() == [0.1]


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_a_sweep_without_results_has_a_report_too(
    status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = make_runs(("tanh", 0.1, 0.5, 3.0))[["run_id", "name", "status", "activation", "init"]]
    for no_results in (runs.assign(status=status), runs.iloc[:0]):
        print_report(no_results)
        write_report(no_results, tmp_path)
    assert "0 of 1 runs finished, 0 networks trained" in capsys.readouterr().out


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    write_report(make_runs(("tanh", 0.123456789, 0.5, 1234567.0)), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "0.123456789" in text
    assert "1234567" in text
    table = pd.read_csv(tmp_path / "summary.csv")
    assert table[LEARNING_RATE].tolist() == [0.123456789]
