"""The equations of a step: their names are the article's, their formulas give their results."""

import re

import numpy as np
import pytest
from cases import CASES, config_of, document, evaluate, explained
from runs import make_config

from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.losses import LOSSES
from bp_pipeline.explain import explain_step
from bp_pipeline.explain.rules import ACTIVATION_FORMULAS, LOSS_FORMULAS

EPSILON = float(np.finfo(float).eps)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sample", [0, 1])
def test_every_formula_with_numbers_in_gives_its_result(case: str, sample: int) -> None:
    found = document(explained(case, sample))
    for section in found["sections"]:
        for equation in section["equations"]:
            value, near_0 = evaluate(equation["numbers"]), 0.0
            if section["title"] == "Loss" and found["config"]["loss"]["name"] == "logistic":
                near_0 = 4 * EPSILON  # ln(1 + eᵃ) and y·a, which are of order 1, cancel there
            expected = pytest.approx(equation["value"], rel=1e-12, abs=near_0)
            assert value == expected, equation


def test_formulas_are_evaluated_as_they_are_meant() -> None:
    assert evaluate("½·(1 − (-0.5))²") == 1.125
    assert evaluate("-2 if -2 ≥ 0 else 0.01·(-2)") == -0.02
    assert evaluate("1/(1 + e^(−(-0.5)))") == pytest.approx(1 / (1 + np.exp(0.5)))
    assert evaluate("ln(1 + e^(-0.5)) − 1·(-0.5)") == pytest.approx(np.log1p(np.exp(-0.5)) + 0.5)
    assert evaluate("(1 + 2 + 3)·1/4") == 1.5


def test_every_loss_and_activation_has_a_case_and_a_formula() -> None:
    configs = [config_of(case) for case in CASES]
    assert {config.loss.name for config in configs} == set(LOSSES) == set(LOSS_FORMULAS)
    hidden = {config.activation.name for config in configs}
    output = {config.network.output for config in configs}
    assert hidden == output == set(ACTIVATIONS) == set(ACTIVATION_FORMULAS)


def test_a_function_without_a_formula_is_written_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(ACTIVATION_FORMULAS, "tanh")
    monkeypatch.delitem(LOSS_FORMULAS, "squared_error")
    config = make_config({"network.output": "tanh"}, {"loss": "squared_error"})
    written = {e.name: e.symbols for e in explain_step(config).all_equations}
    assert written["Z1"] == "tanh(a_Z1)"
    assert written["f′(a_Z1)"] == "tanh′(Z1)"
    assert written["L₀"] == "squared_error(D0, y_D0)"
    assert written["δ_D0"] == "squared_error′(D0, y_D0, f′(a_D0))"


# Names


@pytest.mark.parametrize(
    ("case", "first", "last"),
    [
        ("batch", ["W10", "W20", "W30", "W11", "W21", "W31", "W12", "W22", "W32",
                   "V00", "V01", "V02"], "V03"),
        ("no bias", ["W11", "W21", "W31", "W12", "W22", "W32", "V01", "V02"], "V03"),
        ("no hidden layer", ["V00", "V01"], "V02"),
        ("depth 2", ["w[1][0, 1]", "w[1][0, 2]", "w[1][0, 3]", "w[1][1, 1]"], "w[3][2, 0]"),
        ("depth 2, no bias", ["w[1][1, 1]", "w[1][1, 2]", "w[1][1, 3]", "w[1][2, 1]"],
         "w[3][2, 0]"),
        ("wide", ["w[1][0, 1]", "w[1][0, 2]"], "w[2][11, 0]"),
    ],
)  # fmt: skip
def test_weights_have_the_articles_names(case: str, first: list[str], last: str) -> None:
    found = [weight.name for weight in explained(case).names.all_weights()]
    assert found[: len(first)] == first
    assert found[-1] == last
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("batch", ["Z1", "Z2", "Z3", "D0"]),
        ("no hidden layer", ["D0"]),
        ("wide", [*(f"Z{n}" for n in range(1, 12)), "D0"]),
        ("depth 2, no bias", ["Z[1][1]", "Z[1][2]", "Z[1][3]", "Z[2][1]", "Z[2][2]", "D0"]),
        ("three samples, two outputs", ["Z1", "Z2", "Z3", "D0", "D1"]),
    ],
)
def test_only_in_deeper_networks_are_units_numbered_by_layer(
    case: str, expected: list[str]
) -> None:
    forward = explained(case).sections[0].equations
    assert [e.name for e in forward if not e.name.startswith("a_")] == expected


@pytest.mark.parametrize("case", ["depth 2", "depth 2, no bias"])
def test_a_weight_leads_from_the_unit_to_the_unit_of_its_name(case: str) -> None:
    for weight in document(explained(case))["weights"]:
        layer, source, target = (int(n) for n in re.findall(r"[0-9]+", weight["name"]))
        assert weight["array"] == f"layer_{layer}"
        before = {1: f"X{source}"}.get(layer, f"Z[{layer - 1}][{source}]")
        after = {3: f"D{target}"}.get(layer, f"Z[{layer}][{target}]")
        assert (weight["from"], weight["to"]) == (before, after)


# Remarks


@pytest.mark.parametrize(
    ("case", "part", "words"),
    [
        ("batch", "Forward pass", ["tanh", "sigmoid", "bias unit"]),
        ("no bias", "Forward pass", ["tanh", "sigmoid"]),
        ("no hidden layer", "Forward pass", ["sigmoid", "bias unit"]),
        ("batch", "Gradient", ["sample 1", "mean"]),
        ("sum", "Gradient", ["sample 1", "sum over"]),
        ("online", "Gradient", []),
        ("batch", "Update", ["η = 0.5"]),
        ("momentum", "Update", ["η = 0.5", "μ = 0.9", "velocity"]),
        ("layer factors, no momentum", "Update", ["η₁ = 0.05", "η₂ = 1.5"]),
        ("biases held", "Update", ["η = 0.5", "μ = 0.5", "velocity", "network.train_bias=false"]),
    ],
)
def test_a_remark_fits_the_run(case: str, part: str, words: list[str]) -> None:
    remarks = {section.title: section.remark for section in explained(case).sections}
    told = ["tanh", "sigmoid", "bias unit", "sample 1", "mean", "sum over", "η = 0.5", "μ = 0.5"]
    told += ["η₁ = 0.05", "η₂ = 1.5", "μ = 0.9", "velocity", "network.train_bias=false"]
    said = [word for word in told if word in remarks[part]]
    assert said == words


# Rules


@pytest.mark.parametrize("case", CASES)
def test_deltas_and_gradients_are_derived_in_two_lines_each(case: str) -> None:
    found = explained(case)
    rules = {section.title: section.rules for section in found.sections}
    is_deep = len(found.step.setup.architecture.layer_sizes) > 2
    assert {title: len(lines) for title, lines in rules.items()} == {
        "Forward pass": 0, "Loss": 0, "Deltas": 4 if is_deep else 2, "Gradient": 2, "Update": 0,
    }  # fmt: skip
    for section in found.sections:
        for chain, result in zip(section.rules[::2], section.rules[1::2], strict=True):
            derived, _, chained = chain.partition(" = ")
            [equation] = [e for e in section.equations if e.name == derived]
            assert equation.in_short(6)[0] in result
            assert chained.count("∂") >= 2


@pytest.mark.parametrize("case", CASES)
def test_a_chain_of_derivatives_is_of_what_the_network_has(case: str) -> None:
    found = explained(case)
    known = {*found.values, *(e.name for e in found.all_equations)}
    for line in (line for section in found.sections for line in section.rules):
        for derivative in re.findall(r"∂([^∂/()]+)/∂(w\[\d+\]\[\d+, \d+\]|[^ ·,)]+)", line):
            assert set(derivative) <= known, line


def test_the_chain_comes_out_as_the_core_computes_it() -> None:
    values = explained("three samples, two outputs").values
    h = 1e-6

    def loss(a: float, unit: str) -> float:
        return float(np.log1p(np.exp(a)) - values[f"y_{unit}"] * a)

    for unit in ("D0", "D1"):
        a = values[f"a_{unit}"]
        slope = (loss(a + h, unit) - loss(a - h, unit)) / (2 * h)
        assert values[f"δ_{unit}"] == pytest.approx(slope, abs=1e-8)


# Names of this network


@pytest.mark.parametrize("case", CASES)
def test_it_says_which_units_a_weight_of_each_kind_connects(case: str) -> None:
    found = explained(case)
    said = dict(found.facts)["weights"]
    ends = {w.name: (w.to_unit, w.from_unit) for w in found.names.all_weights()}
    examples = re.findall(r"(\w+(?:\[\d+\]\[\d+, \d+\])?) leads to (\S+) from ([^\s,:]+)", said)
    assert {name[0] for name, *_ in examples} == {name[0] for name in ends}
    assert all(ends[name] == (to, source) for name, to, source in examples)


@pytest.mark.parametrize("case", CASES)
def test_it_says_what_units_are(case: str) -> None:
    found = explained(case)
    said = dict(found.facts)["units"]
    letters = {
        name[0] for layer in range(found.names.last + 1) for name in found.names.units(layer)
    }
    assert set(re.findall(r"\b[XZD]\b", said)) == letters
    assert ("bias" in said) == found.names.bias


@pytest.mark.parametrize("case", CASES)
def test_each_part_has_a_remark(case: str) -> None:
    assert all(section.remark for section in explained(case).sections)
