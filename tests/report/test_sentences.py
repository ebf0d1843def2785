"""The sentences of a report: their numbers and names, on sweeps made by hand."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from report.by_hand import DIVERGED, by_hand, run

from bp_pipeline.report import Findings, Sweep, sentences
from bp_pipeline.report.notation import how_many, the
from bp_pipeline.report.question import question, title
from bp_pipeline.report.sections import outline

SLOW, FAST = [40, 41, 42, 43, 44, 45, 46, None], [2, 3, 4, 5, 6, 7, None, None]
NEVER = [None] * 8
# tanh: at 0.1 slow and at 1 faster with a lower rate; relu: at its best half never converge.
TWO = [
    run(SLOW, 0.1, loss=0.3),
    run(FAST, 1.0, loss=0.2),
    run([9, *NEVER[1:]], 0.1, loss=0.5, activation="relu"),
    run([DIVERGED] * 8, 1.0, loss=float("nan"), activation="relu"),
]


def numbers(text: str) -> list[str]:
    """List the numbers of a text, in its order."""
    return re.findall(r"\d[\d,]*(?:[.-]\d+)*", text)


def findings_of(*runs: dict[str, Any], **changes: Any) -> Findings:
    return Findings(by_hand(*runs, **changes))


def facts_of(sweep: Sweep) -> dict[str, str]:
    sections = outline(Findings(sweep)).sections
    return {name: value for section in sections for name, value in section.facts}


def test_the_numbers_of_a_sweep_of_two_settings() -> None:
    findings = findings_of(*(run | {"training.tolerance": 0.25} for run in TWO))
    # Learning rate, rate, 95 % interval, median.
    assert numbers(sentences.winner(findings)) == ["0.1", "88", "95", "52", "98", "43"]
    assert "tanh with normal" in sentences.winner(findings)
    # Runs, activations, learning rates, networks, layers, epochs, tolerance.
    asked = ["4", "2", "2", "8", "2-3-1", "100", "0.25"]
    assert numbers(question(findings)) == asked
    assert numbers(sentences.came_out(findings)) == ["4", "32", "44", "31", "25"]
    # Of the odd replicates 3 of 4 converge.
    assert numbers(sentences.selection_bias(findings)) == ["4", "0.1", "75", "30", "96"]
    assert re.findall(r"(\w+) to (\d+)", sentences.rates(findings)) == [
        ("tanh", "88"), ("relu", "12")
    ]  # fmt: skip
    # Epochs, where, and one of two settings in which half never do.
    assert numbers(sentences.speed(findings)) == ["43", "0.1", "1", "2"]
    # Loss, where, and one of four runs in which half diverge.
    assert numbers(sentences.losses(findings)) == ["0.3", "0.1", "1", "4"]


def test_networks_that_lost_their_convergence_and_runs_of_which_half_diverge_are_told() -> None:
    ends = [10, 10, DIVERGED, DIVERGED]
    first = by_hand(run(ends), run(ends, 3.0))
    findings = Findings(
        by_hand(
            run(ends),
            run(ends, 3.0),
            replicates=first.replicates.assign(solved=[True, False, False, False] * 2),
        )
    )
    # As a number, because their share of thousands is rounded away.
    assert numbers(sentences.came_out(findings))[-1] == "2"
    # Half have converged; a fourth solves it at the end.
    assert numbers(sentences.winner(findings))[:2] == ["1", "25"]
    assert numbers(sentences.rates(findings)) == ["25"]
    assert "2 of all 2 runs" in sentences.losses(findings)


def test_the_numbers_of_a_sweep_of_one_setting() -> None:
    findings = findings_of(run([3, 5, 9, None], 1.0), run([30, 50, None, None], 3.0, loss=0.05))
    assert numbers(sentences.speed(findings)) == ["5", "1", "50", "3"]
    assert numbers(sentences.losses(findings)) == ["0.05", "3"]
    assert numbers(sentences.matters(findings)) == []  # nothing else varies


def test_copies_of_a_network_count_once() -> None:
    ones = {"init": "ones", "init__name": "constant", "init__noise": 0.0}
    runs = run([5, 5, None, None]), run(NEVER[:4], **ones), run(NEVER[:4], 3.0)
    findings = findings_of(*runs)
    assert numbers(sentences.came_out(findings)) == ["3", "9", "12", "22", "78"]
    assert numbers(sentences.selection_bias(findings))[0] == "2"
    facts = facts_of(findings.sweep)
    assert (numbers(facts["networks"]), facts["training"]) == (["12", "9"], "1,200 network-epochs")


@pytest.mark.parametrize(
    "ends_early", [run(SLOW, training__stop_when_converged=True), run([*SLOW, DIVERGED])]
)
def test_training_that_ends_early_is_an_upper_limit(ends_early: dict[str, Any]) -> None:
    assert facts_of(by_hand(ends_early))["training"].startswith("up to ")


def test_a_grid_is_what_was_asked_for_not_what_finished() -> None:
    runs = [
        run(SLOW, rate, init=init, status=status)
        for rate in (0.1, 1.0)
        for init, status in (("normal", "FINISHED"), ("he", "FAILED"))
    ]
    rest = ["8", "2-3-1", "100", "0.4"]
    assert numbers(question(findings_of(*runs))) == ["4", "2", "2", *rest]
    assert numbers(question(findings_of(*runs[:3], n_jobs=4))) == ["4", *rest]


def test_a_grid_with_gaps_says_so_and_gives_no_shares() -> None:
    findings = findings_of(run(SLOW, 0.1), run(FAST, 1.0), run(NEVER, 1.0, init="he"))
    assert numbers(question(findings))[:5] == ["3", "3", "4", "2", "2"]
    assert "the init" in sentences.matters(findings)
    assert numbers(sentences.matters(findings)) == []


def test_interplay_that_is_larger_than_any_factor_is_said_to_be() -> None:
    # Rates 1 0 / 0 3/4: mean 7/16, total 51/64; init and learning rate 1/64 each.
    ends = {("a", 0.1): [1] * 4, ("a", 1.0): NEVER[:4], ("b", 0.1): NEVER[:4]}
    ends["b", 1.0] = [1, 1, 1, None]
    runs = [run(of_run, rate, init=init) for (init, rate), of_run in ends.items()]
    assert numbers(sentences.matters(findings_of(*runs))) == ["2", "96"]


def test_the_factor_that_matters_most_comes_with_the_others() -> None:
    # Rates 1 1/2 / 0 0: mean 3/8, total 11/16; init 9/16, learning rate and interplay 1/16 each.
    ends = {("a", 0.1): [1] * 4, ("a", 1.0): [1, 1, None, None]}
    ends |= {("b", rate): NEVER[:4] for rate in (0.1, 1.0)}
    runs = [run(of_run, rate, init=init) for (init, rate), of_run in ends.items()]
    text = sentences.matters(findings_of(*runs))
    assert text.startswith("The init")
    assert numbers(text) == ["82", "9", "9"]


def test_nothing_is_capitalized_that_is_typed_in_small_letters() -> None:
    runs = [run(SLOW, 1.0, network__train_bias=True), run(NEVER, 1.0, network__train_bias=False)]
    runs += [run(of, 3.0, network__train_bias=bias) for of, bias in ((SLOW, True), (NEVER, False))]
    assert sentences.matters(findings_of(*runs)).startswith("network.train_bias ")


CLAIMS = [
    sentences.winner, sentences.rates, sentences.speed, sentences.losses, sentences.came_out,
]  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
@pytest.mark.parametrize("others", [[], [run(NEVER, 3.0)]], ids=["alone", "beside others"])
def test_what_cannot_be_read_is_not_said_to_fail(
    claim: Callable[[Findings], str], others: list[dict[str, Any]]
) -> None:
    unread, never = findings_of(run(None), *others), findings_of(run(NEVER), *others)
    assert claim(unread) != claim(never)


def test_what_cannot_be_read_counts_nowhere() -> None:
    findings = findings_of(*TWO, run(None, 3.0), run(None, 3.0, activation="relu"))
    without = findings_of(*TWO)
    assert numbers(sentences.came_out(findings)) == ["6", "32", "44", "31", "25", "2"]
    for claim in CLAIMS[:3]:
        assert claim(findings) == claim(without)
    assert findings.factors["eta_squared"].tolist() == without.factors["eta_squared"].tolist()
    assert facts_of(findings.sweep)["training"].startswith("up to ")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("loss", "2 losses"),
        ("network.hidden", "2 hidden layouts"),
        ("seed", "2 seeds"),
        ("network.train_bias", "2 values of network.train_bias"),
    ],
)
def test_keys_have_a_plural(key: str, text: str) -> None:
    assert how_many(2, key) == text


def test_keys_in_a_sentence() -> None:
    keys = [the(key) for key in ("task.bits", "seed", "interplay", "x.y")]
    assert keys == ["the number of bits", "the seed", "their interplay", "x.y"]


def test_a_sweep_is_named_by_its_experiment_or_by_what_varies() -> None:
    runs = [run([3, 5, None, 9], rate) for rate in (1.0, 3.0)]
    assert title(findings_of(*runs, name="renamed")) == "learning rate"
    named = [run | {"experiment": "xor_sweep"} for run in runs]
    assert title(findings_of(*named)) == "xor_sweep"
    mixed = [named[0], runs[1] | {"init": "he"}]
    assert title(findings_of(*mixed)) == "experiment, init and learning rate"
