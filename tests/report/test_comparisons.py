"""Comparisons: what is compared with what, on which replicates."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report.by_hand import by_hand, run
from report.conftest import Make, small_config, sweep_of

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.report import Findings, Sweep
from bp_pipeline.report.comparisons import axes_to_compare, best_of_halves, comparisons
from bp_pipeline.report.printed_tables import printed_tables
from bp_pipeline.report.sweep_data import RATE

LEARNING_RATE = "optimizer.learning_rate"


def test_tests_are_on_odd_replicates_of_what_draws(sweep: Sweep) -> None:
    table = comparisons(sweep, "init")
    compared = [[activation, "normal", "uniform"] for activation in ("sigmoid", "tanh")]
    assert table[["activation", "first", "second"]].to_numpy().tolist() == compared
    assert table["n"].tolist() == [6, 6]
    odd = sweep.replicates[sweep.replicates["replicate"] % 2 == 1]
    for between in comparisons(sweep, "activation").to_dict("records"):
        for side in ("first", "second"):
            place = {"activation": between[side], "init": between["init"]}
            place[LEARNING_RATE] = between[f"{side}/{LEARNING_RATE}"]
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
    assert halved["solved/rate_high"] == pytest.approx(0.390, abs=5e-4)  # z²/(6 + z²)


def test_few_replicates_are_chosen_only_where_they_are_surer() -> None:
    halved = best_of_halves(by_hand(run([5] * 4), run([9] * 198 + [None] * 2, 3.0)))
    assert halved is not None
    assert (halved["n"], halved["solved/rate"]) == (100, 0.99)


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


def test_each_axis_of_few_values_is_tested_with_all_else_the_same() -> None:
    runs = [
        run(of_halves(SIX, HALF), network__hidden=hidden, optimizer__momentum=momentum)
        for hidden in ("[2]", "[3]", "[10]")
        for momentum in (0.0, 0.5)
    ]
    sweep = by_hand(*runs)
    assert axes_to_compare(sweep) == ["network.hidden", "optimizer.momentum"]
    table = comparisons(sweep, "network.hidden")
    pairs = [("[2]", "[3]"), ("[2]", "[10]"), ("[3]", "[10]")]
    assert [*zip(table["first"], table["second"], strict=True)] == 2 * pairs
    assert table["optimizer.momentum"].tolist() == [0.0] * 3 + [0.5] * 3
    named = {table.name: len(table.numbers) for table in printed_tables(Findings(sweep))}
    assert (named["network_hidden_tests"], named["optimizer_momentum_tests"]) == (6, 3)


def test_learning_rates_are_compared_where_nothing_else_varies() -> None:
    rates = [run(of_halves(SIX, HALF), rate) for rate in (0.1, 1.0, 3.0)]
    assert axes_to_compare(by_hand(*rates)) == [LEARNING_RATE]
    assert len(comparisons(by_hand(*rates), LEARNING_RATE)) == 3
    assert axes_to_compare(by_hand(*rates, run(of_halves(SIX, HALF), init="he"))) == ["init"]


def test_tasks_and_axes_of_many_values_are_not_tested() -> None:
    many = [run(SIX, network__hidden=f"[{n}]", task=t) for n in range(1, 9) for t in ("xor", "and")]
    assert axes_to_compare(by_hand(*many)) == []


def test_pairs_are_of_one_seed_and_replicate() -> None:
    runs = [
        run(ends, seed=seed, activation=activation)
        for activation, seed, ends in (
            ("a", 0, [3, None]), ("a", 7, [1, 2]), ("b", 7, [9, 9]), ("b", 0, [5, 6]),
        )
    ]  # fmt: skip
    [row] = comparisons(by_hand(*runs), "activation").to_dict("records")
    assert [row[key] for key in ("n", "both", "only_second", "median_difference")] == [2, 1, 1, -7]


def test_it_is_known_whether_the_best_run_of_all_is_in_a_test() -> None:
    others = run(of_halves(HALF, HALF), activation="relu")
    assert Findings(by_hand(run(of_halves(SIX, SIX)), others)).is_top_tested
    copies = run([1] * 12, init="ones", init__name="constant", init__noise=0.0)
    assert not Findings(by_hand(copies, run(of_halves(HALF, HALF)), others)).is_top_tested
    # The best of all is at rate 1, on the even half at rate 0.1.
    assert not Findings(by_hand(LUCKY, GOOD, others)).is_top_tested
