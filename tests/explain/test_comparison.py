"""The article's numbers beside those of a step: which, where they are printed, and why they differ.

What it prints, and where, was read in the article; what its equations give, is arithmetic.
"""

import re

import pytest
from cases import article, evaluate

from bp_pipeline.explain import explain_step
from bp_pipeline.explain.article import Comparison

MODEL, TABLE, DELTAS = "model components", "truth table", "calculating the deltas"
UNITS, UPDATE = "units Z1, Z2, Z3", "updating the weights"
ALL = "W10 W20 W30 W11 W21 W31 W12 W22 W32 V00 V01 V02 V03"
NUMBERS: list[tuple[str, float, float | None, str]] = [  # printed, computed
    ("η", 0.1, 0.1, MODEL),
    (ALL, 1, 1, MODEL),
    ("X0 Z0", 1, 1, "our neural network"),
    ("X1 X2", 0, 0, TABLE),
    ("y_D0", 0, 0, TABLE),
    ("a_Z1 a_Z2 a_Z3", 1, 1, UNITS),
    ("Z1 Z2 Z3", 1, 1, UNITS),
    ("a_D0", 4, 4, "unit D0"),
    ("D0", 4, 4, "unit D0"),
    ("D0", 1, 4, "below unit D0"),
    ("y_D0", 1, 0, "where is back-propagation"),
    ("L", -4, 8, "loss"),
    ("f′(a_Z1) f′(a_Z2) f′(a_Z3) f′(a_D0)", 1, 1, DELTAS),
    ("f′(Z0)", 1, None, DELTAS),
    ("δ_D0", -4, 4, DELTAS),
    ("δ_Z0", -4, None, DELTAS),
    ("δ_Z1 δ_Z2 δ_Z3", -4, 4, DELTAS),
    ("W10 W20 W30", 1.4, 0.6, UPDATE),
    ("W11 W21 W31 W12 W22 W32", 1.4, 1, UPDATE),
    ("V00 V01 V02 V03", 1.4, 0.6, UPDATE),
]
WHY = [
    "The text under its own equation, which gives 4, calls the output 1.",
    "The text expects 1 of the output, but the target of (0, 0) is 0, as its truth table says.",
    "Actual minus predicted is an error, not a loss: squared error, to which its deltas belong but "
    "for their sign, is ½·4² = 8, and the cost of logistic regression, which it names, is "
    "undefined for an output of 4.",
    "A bias unit has no activation function, so no f′.",
    "The derivative of ½·(y − p)² with respect to the prediction p is p − y, which is 4 − 0 = 4, "
    "so the article's sign is the wrong one.",
    "A bias unit has no inputs to pass a delta on to, so it has none.",
    "They inherit the wrong sign of δ_D0, and with the right one are 1·4·1 = 4.",
    "The wrong sign of the deltas makes the step go uphill, and the right one gives "
    "1 − 0.1·1·4 = 0.6.",
    "Their input is 0, so their gradient is 0, and whatever its sign, 1 − 0.1·0·4 = 1.",
    "The wrong sign of δ_D0 makes the step go uphill, and the right one gives 1 − 0.1·1·4 = 0.6.",
]


@pytest.fixture(scope="module")
def comparison() -> list[Comparison]:
    return explain_step(article()).comparison


def test_the_articles_every_number_stands_beside_ours(comparison: list[Comparison]) -> None:
    rows = [(" ".join(e.names), e.prints, e.computed, e.place) for e in comparison]
    assert rows == NUMBERS
    assert [e.at_the_start for e in comparison] == [row[0] == ALL for row in NUMBERS]


def test_where_they_differ_it_says_why(comparison: list[Comparison]) -> None:
    assert [e.why for e in comparison if e.prints != e.computed] == WHY
    assert all(e.why is None for e in comparison if e.prints == e.computed)
    assert all(re.fullmatch(r"[A-Z].*\.", why) for why in WHY)


def test_what_is_reckoned_there_is_right(comparison: list[Comparison]) -> None:
    reckoned = r"(\S+(?: − \S+)?) = ([0-9.]*[0-9])"
    found = [(e, *parts) for e in comparison for parts in re.findall(reckoned, e.why or "")]
    for entry, left, right in found:
        assert evaluate(left) == pytest.approx(float(right)) == entry.computed
    assert len(found) == 6


def test_the_corrected_step_descends_as_far_as_its_equations_say() -> None:
    changes = {change.name: change for change in explain_step(article()).effect}
    assert changes["output D0"].before == 4
    assert changes["output D0"].after == pytest.approx(1.68)
    assert changes["loss of this sample"].after == pytest.approx(1.68**2 / 2)


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("task=or", {}),
        ("task=nand", {}),
        ("network.hidden=[2]", {}),
        ("network.bias=false", {}),
        ("network.train_bias=false", {}),
        ("network.output=relu", {}),
        ("activation=relu", {}),
        ("init=constant init.value=1.5", {}),
        ("init=uniform", {}),
        ("optimizer=batch_gd optimizer.learning_rate=0.1", {}),
        ("optimizer.learning_rate=0.2", {}),
        ("optimizer.momentum=0.5", {}),
        ("loss=logistic network.output=sigmoid", {}),
        ("seed=0", {"sample": 1}),
        ("seed=0", {"sample": 3}),
        ("seed=0", {"epoch": 1}),
    ],
)
def test_they_are_only_shown_where_they_belong(override: str, where: dict[str, int]) -> None:
    found = explain_step(article(*override.split()), **where)
    assert found.comparison == []
    assert "The article prints numbers only for its own setup, sample 0 and epoch 0." in (
        found.remarks
    )


@pytest.mark.parametrize("override", ["seed=5", "training.epochs=9", "replicates=2"])
def test_what_does_not_change_the_step_does_not_hide_them(override: str) -> None:
    assert explain_step(article(override), replicate=0).comparison
