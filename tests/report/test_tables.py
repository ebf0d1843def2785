"""The tables of a report, as numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report.by_hand import DIVERGED, LAST, by_hand, run
from report.conftest import Make, small_config, sweep_of

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.report import Sweep
from bp_pipeline.report.sweep_data import MEDIAN, RATE
from bp_pipeline.report.tables import (
    best_of_halves,
    comparisons,
    factors,
    grid,
    outcomes_by_run,
    ranked,
    survivals,
)

LEARNING_RATE = "optimizer.learning_rate"


@pytest.mark.parametrize(
    ("others", "best"),
    [
        (run([1, None, None]), run([9, 9, None])),
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
    assert ones["converged/rate_low"].isna().all()
    others = table[table["init"] != "ones"]
    assert others["n"].tolist() == [12] * 8
    assert (others["converged/rate_low"] <= others[RATE]).all()
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


def test_tests_are_on_odd_replicates_of_what_draws(sweep: Sweep) -> None:
    table = comparisons(sweep, "init")
    assert table[["first", "second"]].to_numpy().tolist() == [["normal", "uniform"]]
    assert table["n"].tolist() == [6]
    between = comparisons(sweep, "activation").iloc[0]
    odd = sweep.replicates[sweep.replicates["replicate"] % 2 == 1]
    for side in ("first", "second"):
        place = {
            "activation": between[side],
            "init": between[f"{side}/init"],
            LEARNING_RATE: between[f"{side}/{LEARNING_RATE}"],
        }
        run = odd[(odd[list(place)] == pd.Series(place)).all(axis=1)]
        assert (run["outcome"] == "converged").mean() == between[f"{side}/rate"]


def test_given_weights_are_pairs_only_among_themselves(make_sweep: Make, tmp_path: Path) -> None:
    for name in ("one", "other"):
        np.savez(tmp_path / f"{name}.npz", layer_1=np.ones((12, 3, 3)), layer_2=np.ones((12, 4, 1)))

    def given(name: str, **options: str) -> RunConfig:
        return small_config({"init.path": f"{tmp_path}/{name}.npz"}, init="given", **options)

    two = [given("one"), given("one", activation="sigmoid")]
    assert len(comparisons(make_sweep(*two), "activation")) == 1
    for number, others in enumerate(([given("other")], [small_config()])):
        mixed = sweep_of([*two, *others], tmp_path / f"runs {number}")
        assert comparisons(mixed, "activation").empty
        assert comparisons(mixed, "init").empty


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


def test_a_single_run_that_draws_is_no_choice(make_sweep: Make) -> None:
    assert best_of_halves(make_sweep(small_config(init="ones"), small_config())) is None


def test_what_else_varies_is_the_same_on_both_sides(make_sweep: Make) -> None:
    sweep = make_sweep(
        *(
            small_config({"optimizer.momentum": momentum}, activation=activation)
            for momentum in (0.0, 0.5)
            for activation in ("tanh", "sigmoid")
        )
    )
    table = comparisons(sweep, "activation")
    assert table["optimizer.momentum"].tolist() == [0.0, 0.5]
    assert comparisons(sweep, "init").empty


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


def of_halves(even: list[int | None], odd: list[int | None]) -> list[int | None]:
    return [end for pair in zip(even, odd, strict=True) for end in pair]


# At 0.1 all of the even half converge and none of the odd one; at 1 half of the even ones and all
# of the odd ones: on all replicates together 1 would be the best.
SIX, NONE, HALF = [5] * 6, [None] * 6, [5, 5, 5, None, None, None]
LUCKY, GOOD = run(of_halves(SIX, NONE), 0.1), run(of_halves(HALF, SIX), 1.0)


def test_only_the_even_half_chooses_the_best_of_all() -> None:
    halved = best_of_halves(by_hand(LUCKY, GOOD))
    assert halved is not None
    assert halved[[LEARNING_RATE, "n", RATE]].tolist() == [0.1, 6, 0.0]
    assert halved["converged/rate_high"] == pytest.approx(0.390, abs=5e-4)  # z²/(6 + z²)


def test_only_the_even_half_chooses_what_is_compared() -> None:
    other = {"activation": "relu"}
    table = comparisons(
        by_hand(
            LUCKY, GOOD, run(of_halves(HALF, HALF), 0.1, **other), run([None] * 12, 1.0, **other)
        ),
        "activation",
    )
    [row] = table.to_dict("records")
    assert (row["first"], row["second"]) == ("relu", "tanh")
    assert row[f"second/{LEARNING_RATE}"] == 0.1
    assert (row["first/rate"], row["second/rate"]) == (0.5, 0.0)


def test_replicates_are_pairs_in_their_order() -> None:
    first = run(of_halves(SIX, [10, 20, 30, None, None, None]), activation="a")
    second = run(of_halves(SIX, [9, 18, None, None, None, 1]), activation="b")
    [row] = comparisons(by_hand(first, second), "activation").to_dict("records")
    assert [row[key] for key in ("n", "only_first", "only_second", "both")] == [6, 1, 1, 2]
    assert row["median_difference"] == 1.5
    assert row["mcnemar/p"] == 1
    assert row["signed_rank/p"] == 0.5  # of 2 pairs with the same sign: 2 · 1/4


def test_p_values_are_adjusted_over_the_table() -> None:
    ends = {"a": SIX, "b": [5, None, None, None, None, None], "c": NONE}
    table = comparisons(
        by_hand(*(run(of_halves(SIX, odd), activation=name) for name, odd in ends.items())),
        "activation",
    )
    # Discordant pairs: 5, 6 and 1, all in one direction; p = 2 · 2⁻ⁿ.
    assert table["mcnemar/p"].tolist() == [0.0625, 0.03125, 1.0]
    assert table["mcnemar/p_holm"].tolist() == [0.125, 0.09375, 1.0]


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
    # Pairs are (seed, replicate), of which the odd ones are compared.
    [row] = comparisons(sweep, "activation").to_dict("records")
    assert [row[key] for key in ("n", "both", "only_second", "median_difference")] == [2, 1, 1, -7]


def test_curves_of_pooled_runs_are_quantiles_over_all_their_replicates(make_sweep: Make) -> None:
    pooled = make_sweep(*(small_config({"seed": seed}) for seed in (0, 1)))
    losses = []
    for run_id in pooled.runs["run_id"]:
        with pooled.open_files(run_id) as folder:
            losses.append(np.load(folder / "curves.npz")["loss"])
    median = np.median(np.concatenate(losses), axis=0)
    np.testing.assert_array_equal(pooled.curves["loss/median"], median)
    assert len(pooled.replicates) == 24
