"""The tables of a report, as numbers."""

import re
from typing import Any

import numpy as np
import pytest
from report.by_hand import DIVERGED, LAST, by_hand, run
from report.conftest import Make, small_config

from bp_pipeline.report import Findings, Sweep
from bp_pipeline.report.sentences import rates
from bp_pipeline.report.sweep_data import MEDIAN, RATE
from bp_pipeline.report.tables import factors, grid, outcomes_by_run, ranked, survivals

LEARNING_RATE = "optimizer.learning_rate"
ONES = {"init": "ones", "init__name": "constant", "init__noise": 0.0}


@pytest.mark.parametrize(
    ("others", "best"),
    [
        (run([1, None, None]), run([9, 9, None])),
        (run([5]), run([9] * 99 + [None])),  # 1 of 1 is less sure than 99 of 100
        (run([5] * 99 + [None]), run([9] * 2, **ONES)),  # which is no chance
        (run([8, 11, 12]), run([8, 9, 12])),
        (run([None, None, 1]), run([None, None, 1], network__hidden="[2]")),
        (run([5], network__hidden="[5]"), run([5], network__hidden="[4]")),
        (run([5], network__hidden="[2, 2]"), run([5], network__hidden="[4]")),
        (run([5], 9.0), run([5], 8.0)),
        (run([None], loss=0.2), run([None], loss=0.1)),
        (run([5], status="FAILED"), run([None])),
        (run(None), run([None])),
    ],
)
def test_the_rule_from_the_rate_down_to_the_learning_rate(
    others: dict[str, Any], best: dict[str, Any]
) -> None:
    others = others | {"task": "other"}  # so that both have a place
    for runs in ([others, best], [best, others]):
        assert ranked(by_hand(*runs).finished)["task"].iloc[0] == "xor"


def test_what_is_shown_first_is_what_is_surest() -> None:
    few = [run([5], network__hidden=f"[{width}]") for width in (2, 4, 5)]
    findings = Findings(by_hand(*few, run([9] * 99 + [None], network__hidden="[3]")))
    [place] = findings.best_settings(1)
    assert findings.best.loc[place, "network.hidden"] == "[3]"
    assert re.findall(r"hidden layers (\S+) to (\d+)", rates(findings))[0] == ("[3]", "99")
    assert findings.top["n"] == 100


def test_axes_are_what_varies_without_what_goes_with_an_option(sweep: Sweep) -> None:
    assert sweep.axes == ["activation", "init", LEARNING_RATE]


def test_a_place_of_the_grid_has_one_run(make_sweep: Make) -> None:
    sweep = make_sweep(small_config(), small_config())
    assert len(sweep.runs) == 2
    assert len(outcomes_by_run(sweep)) == 1


def test_outcomes_marks_what_draws_nothing(sweep: Sweep) -> None:
    table = outcomes_by_run(sweep)
    ones = table[table["init"] == "ones"]
    assert ones["deterministic"].all()
    assert ones["n"].tolist() == [1] * 4
    assert ones["solved/rate_low"].isna().all()
    others = table[table["init"] != "ones"]
    assert others["n"].tolist() == [12] * 8
    assert (others["solved/rate_low"] <= others[RATE]).all()
    with_median = others.dropna(subset=[MEDIAN])
    assert (with_median["epochs_to_converge/low"] <= with_median[MEDIAN]).all()
    assert (with_median["epochs_to_converge/high"] >= with_median[MEDIAN]).all()


def test_grids_have_gaps_where_runs_are_missing(make_sweep: Make) -> None:
    sweep = make_sweep(
        small_config({LEARNING_RATE: 1.0}), small_config({LEARNING_RATE: 3.0}, init="ones")
    )
    laid_out = grid(outcomes_by_run(sweep), sweep.settings, RATE)
    assert laid_out.isna().to_numpy().tolist() == [[False, True], [True, False]]
    assert "interplay" not in set(factors(sweep, outcomes_by_run(sweep))["factor"])


def test_shares_of_a_complete_grid_add_up(sweep: Sweep) -> None:
    table = factors(sweep, outcomes_by_run(sweep))
    assert set(table["factor"]) == {*sweep.axes, "interplay"}
    assert table["eta_squared"].sum() == pytest.approx(1)


def test_where_nothing_varies_nothing_is_explained(make_sweep: Make) -> None:
    never = {"training.epochs": 1}
    sweep = make_sweep(
        *(
            small_config({**never, LEARNING_RATE: r}, init=i)
            for r in (1.0, 3.0)
            for i in ("normal", "uniform")
        )
    )
    assert factors(sweep, outcomes_by_run(sweep))["eta_squared"].isna().all()


def test_replicates_and_curves_are_tidy(sweep: Sweep) -> None:
    assert len(sweep.replicates) == 12 * 12
    assert list(sweep.replicates)[:5] == ["place", "run_id", *sweep.axes]
    converged = sweep.replicates["outcome"] == "converged"
    assert (sweep.replicates["epochs_to_converge"].notna() == converged).all()
    assert len(sweep.curves) == 12 * sweep.curves["epoch"].nunique()
    assert (sweep.curves["loss/p10"] <= sweep.curves["loss/p90"]).all()


def test_what_never_converges_is_censored_at_the_last_epoch() -> None:
    [(_, curve)] = survivals(by_hand(run([9, None, 5, DIVERGED])), ["0"])
    assert curve is not None
    assert curve.epochs.tolist() == [5, 9, LAST]
    assert curve.share.tolist() == [0.75, 0.5, 0.5]


def test_runs_that_differ_in_their_seed_only_are_pooled() -> None:
    runs = [
        run(ends, rate, seed=seed, activation=activation)
        for activation, rate, seed, ends in (
            ("a", 1.0, 0, [3, None]), ("a", 1.0, 7, [1, 2]), ("b", 1.0, 7, [9, 9]),
            ("b", 1.0, 0, [5, 6]), ("a", 3.0, 0, [None, None]), ("a", 3.0, 7, [None, None]),
        )
    ]  # fmt: skip
    sweep = by_hand(*runs)
    assert sweep.axes == ["activation", "init", LEARNING_RATE]
    table = outcomes_by_run(sweep)
    assert table["n"].tolist() == [4, 4, 4]
    assert table[RATE].tolist() == [0.75, 0.0, 1.0]
    assert table[MEDIAN].tolist()[::2] == [2, 6]
    assert len(sweep.runs) == 6


def test_curves_of_pooled_runs_are_quantiles_over_all_their_replicates(make_sweep: Make) -> None:
    pooled = make_sweep(*(small_config({"seed": seed}) for seed in (0, 1)))
    losses = []
    for run_id in pooled.runs["run_id"]:
        with pooled.open_files(run_id) as folder:
            losses.append(np.load(folder / "curves.npz")["loss"])
    median = np.median(np.concatenate(losses), axis=0)
    np.testing.assert_array_equal(pooled.curves["loss/median"], median)
    assert len(pooled.replicates) == 24


def test_the_restricted_mean_goes_to_the_sweeps_horizon_where_half_never_converge() -> None:
    runs = [run([10, None, None, None]), run([10, 150, None, None], 3.0, training__epochs=200)]
    table = outcomes_by_run(by_hand(*runs))
    assert table["epochs_to_converge/mean"].tolist() == [77.5, 77.5]
    assert (table["epochs_to_converge/mean_high"] == LAST).all()
    assert table[MEDIAN].tolist()[0] != table[MEDIAN].tolist()[0]  # there is none


def test_what_draws_nothing_has_no_interval_in_any_place() -> None:
    sweep = by_hand(run([5] * 4, **ONES), run([None] * 4, 3.0, **ONES))
    table = outcomes_by_run(sweep)
    ends = [name for name in table if name.endswith(("low", "high"))]
    assert len(ends) == 6
    assert table[ends].isna().all(axis=None)
    for tables in (sweep.runs, sweep.finished):
        assert tables[["solved/rate_low", "solved/rate_high"]].isna().all(axis=None)
    for _, curve in survivals(sweep, ["0", "1"]):
        assert curve is not None
        assert np.isnan([curve.low, curve.high]).all()
