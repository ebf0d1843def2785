"""The sentences of a report, word for word, on sweeps made by hand."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from report.by_hand import DIVERGED, LAST, by_hand, run
from report.conftest import small_config

from bp_pipeline.report import sentences
from bp_pipeline.report.behind import behind
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.words import how_many, the

SLOW, FAST = [40, 41, 42, 43, 44, 45, 46, None], [2, 3, 4, 5, 6, 7, None, None]
NEVER = [None] * 8
# tanh: at 0.1 slow and at 1 faster with a lower rate; relu: at its best half never converge.
TWO = [
    run(SLOW, 0.1, loss=0.3),
    run(FAST, 1.0, loss=0.2),
    run([9, *NEVER[1:]], 0.1, loss=0.5, activation="relu"),
    run([DIVERGED] * 8, 1.0, loss=float("nan"), activation="relu"),
]
ONE = [run([3, 5, None, 9], rate) for rate in (1.0, 3.0)]


def findings_of(*runs: dict[str, Any], **config: object) -> Findings:
    findings = Findings(by_hand(*runs))
    vars(findings)["config"] = small_config(
        {key.replace("__", "."): v for key, v in config.items()}
    )
    return findings


def test_what_a_sweep_of_two_settings_says() -> None:
    findings = findings_of(*TWO, training__tolerance=0.25, training__epochs=LAST)
    assert sentences.winner(findings) == (
        "Best is tanh with normal, learning rate 0.1: 88 % converged (95 % interval 52 – 98 %), "
        "half of them by epoch 43."
    )
    assert sentences.question(findings) == (
        "4 runs were asked for, 2 activations × 2 learning rates, and each trains 8 networks "
        "(2-3-1) on xor for 100 epochs; a network has converged at the first epoch at which every "
        "output is within 0.25 of its target."
    )
    assert sentences.came_out(findings) == (
        "All 4 runs finished; of 32 networks, 44 % converged, 31 % stalled and 25 % diverged."
    )
    assert sentences.luck(findings) == (
        "The best of 4 runs is partly the luckiest: chosen on the even replicates alone, it is "
        "tanh with normal, learning rate 0.1, and 75 % of the odd ones converge (30 – 96 %)."
    )
    assert sentences.rates(findings) == (
        "The best settings bring tanh to 88 % and relu to 12 % convergence."
    )
    assert sentences.speed(findings) == (
        "With each setting at its best learning rate, half of the networks have converged by epoch "
        "43 (tanh with normal, learning rate 0.1); in 1 of 2 cases half never do."
    )
    assert sentences.losses(findings) == (
        "With each setting at its best learning rate, the lowest median loss at the end is 0.3 "
        "nats (tanh with normal, learning rate 0.1); in 1 of all 4 runs at least half of the "
        "networks diverge."
    )


def test_what_a_sweep_of_one_setting_says() -> None:
    fast, slow = run([3, 5, 9, None], 1.0), run([30, 50, None, None], 3.0, loss=0.05)
    findings = findings_of(fast, slow, training__tolerance=0.4)
    assert sentences.speed(findings) == (
        "Half of the networks have converged by epoch 5 at the earliest (tanh with normal, "
        "learning rate 1), and by epoch 50 at the latest (tanh with normal, learning rate 3)."
    )
    assert sentences.losses(findings) == (
        "The lowest median loss at the end is 0.05 nats (tanh with normal, learning rate 3)."
    )
    assert sentences.matters(findings) == (
        "All variance between runs goes with the learning rate: nothing else varies."
    )
    assert "is within 0.4 of its target." in sentences.question(findings)


def test_copies_of_a_network_count_once() -> None:
    ones = {"init": "ones", "init__name": "constant", "init__noise": 0.0}
    findings = findings_of(run([5, 5, None, None]), run(NEVER[:4], **ones), run(NEVER[:4], 3.0))
    assert sentences.came_out(findings) == (
        "All 3 runs finished; of 9 different networks among the 12 trained, 22 % converged and "
        "78 % stalled."
    )
    assert sentences.luck(findings).startswith("The best of 2 runs is partly")
    facts = dict(behind(findings))
    assert facts["networks"] == "12 trained, 9 of them different"
    assert facts["training"] == "1,200 network-epochs"


@pytest.mark.parametrize(
    "ends_early", [run(SLOW, training__stop_when_converged=True), run([*SLOW, DIVERGED])]
)
def test_training_that_ends_early_is_an_upper_limit(ends_early: dict[str, Any]) -> None:
    facts = dict(behind(findings_of(ends_early)))
    assert facts["training"].startswith("up to ")


def test_a_grid_is_what_was_asked_for_not_what_finished() -> None:
    sweep = by_hand(*(run(SLOW, rate, init=i) for rate in (0.1, 1.0) for i in ("normal", "he")))
    unfinished = replace(sweep, runs=sweep.runs.assign(status=["FINISHED", "FAILED"] * 2))
    vars(unfinished)["_files"] = vars(sweep)["_files"]
    text = sentences.question(Findings(unfinished))
    assert text == (
        "4 runs were asked for, 2 inits × 2 learning rates, and each trains 8 networks."
    )
    lost = replace(unfinished, runs=unfinished.runs.iloc[:3], n_jobs=4)
    vars(lost)["_files"] = vars(sweep)["_files"]
    assert sentences.question(Findings(lost)) == (
        "4 runs were asked for, and each trains 8 networks."
    )


def test_a_grid_with_gaps_says_so_and_gives_no_shares() -> None:
    findings = findings_of(run(SLOW, 0.1), run(FAST, 1.0), run(NEVER, 1.0, init="he"))
    assert "3 of 4 combinations of 2 inits and 2 learning rates" in sentences.question(findings)
    assert sentences.matters(findings) == (
        "The convergence rate varies most with the init; how much is no share of a whole, since "
        "this grid has gaps and its factors overlap."
    )


def test_interplay_that_is_larger_than_any_factor_is_said_to_be() -> None:
    # Rates 1 0 / 0 3/4: mean 7/16, total 51/64; init and learning rate 1/64 each.
    ends = {("a", 0.1): [1] * 4, ("a", 1.0): NEVER[:4], ("b", 0.1): NEVER[:4]}
    ends["b", 1.0] = [1, 1, 1, None]
    runs = [run(of_run, rate, init=init) for (init, rate), of_run in ends.items()]
    assert sentences.matters(findings_of(*runs)) == (
        "Of single factors the init matters most (2 % of the variance between runs), but their "
        "interplay more (96 %)."
    )


def test_the_factor_that_matters_most_comes_with_the_others() -> None:
    # Rates 1 1/2 / 0 0: mean 3/8, total 11/16; init 9/16, learning rate and interplay 1/16 each.
    ends = {("a", 0.1): [1] * 4, ("a", 1.0): [1, 1, None, None]}
    ends |= {("b", rate): NEVER[:4] for rate in (0.1, 1.0)}
    runs = [run(of_run, rate, init=init) for (init, rate), of_run in ends.items()]
    assert sentences.matters(findings_of(*runs)) == (
        "The init matters most: of the variance between runs, 82 % goes with it alone, 9 % with "
        "the learning rate and 9 % with their interplay."
    )


def test_nothing_is_capitalized_that_is_typed_in_small_letters() -> None:
    runs = [run(SLOW, 1.0, network__train_bias=True), run(NEVER, 1.0, network__train_bias=False)]
    runs += [run(of, 3.0, network__train_bias=bias) for of, bias in ((SLOW, True), (NEVER, False))]
    assert sentences.matters(findings_of(*runs)).startswith("network.train_bias matters most:")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("loss", "2 losses"),
        ("network.hidden", "2 hidden layouts"),
        ("training.epochs", "2 training lengths"),
        ("task.bits", "2 numbers of bits"),
        ("seed", "2 seeds"),
        ("optimizer.momentum", "2 values of momentum"),
        ("network.train_bias", "2 values of network.train_bias"),
    ],
)
def test_keys_have_a_plural(key: str, text: str) -> None:
    assert how_many(2, key) == text


def test_keys_in_a_sentence() -> None:
    assert [the(key) for key in ("task.bits", "seed", "interplay", "x.y")] == [
        "the number of bits",
        "the seed",
        "their interplay",
        "x.y",
    ]


def test_a_sweep_is_named_by_its_experiment_or_by_what_varies() -> None:
    sweep = by_hand(*ONE)
    assert sentences.title(Findings(replace(sweep, name="renamed"))) == "learning rate"
    runs = sweep.runs.assign(experiment="xor_sweep")
    assert sentences.title(Findings(replace(sweep, runs=runs))) == "xor_sweep"
    mixed = runs.assign(experiment=["xor_sweep", None], init=["normal", "he"])
    assert sentences.title(Findings(replace(sweep, runs=mixed))) == (
        "experiment, init and learning rate"
    )
    assert sentences.title(Findings(replace(sweep, runs=pd.DataFrame()))) == "a single run"
