"""`backprop.mjs` in Node has the bits of the Python engines."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from checker import MODULE, conformance, failures, first_failures, needs_node, training_vectors
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from runs import CONF, make_config

from bp_pipeline.config.compose import compose
from bp_pipeline.playground.conformance import conformance_vectors

ROOT = Path(__file__).parents[2]
_EXACT = {"abs", "floor", "imul", "max", "min", "sign", "sqrt", "trunc"}
_BATCH = 50  # random configs for one start of Node
_N_BATCHES = int(os.environ.get("BP_RANDOM_CONFIGS", "100")) // _BATCH
_WITHOUT_EFFECT = {
    "1024n",  # a growth is found by trying, so its offset and its upper bound are free
    "2.0442631033899397e-15",  # its fourth digit is worth 10⁻¹⁸ of a result
}


def test_the_committed_vectors_are_those_of_the_core() -> None:
    assert json.loads(json.dumps(conformance_vectors())) == conformance()


@needs_node
def test_the_module_conforms() -> None:
    assert failures(conformance()) == []


@needs_node
def test_a_wrong_constant_is_noticed() -> None:
    constants = list(re.finditer(r"(?<![\w.])\d*\.?\d{4,}(?:e-?\d+)?n?\b|0x[0-9a-f]{7,}n?", MODULE))
    assert len(constants) > 70
    wrong = [MODULE[: c.start(0)] + _wrong(c[0]) + MODULE[c.end(0) :] for c in constants]
    found = first_failures(conformance(), wrong)
    unnoticed = {c[0] for c, ours in zip(constants, found, strict=True) if not ours}
    assert unnoticed == _WITHOUT_EFFECT


def _wrong(constant: str) -> str:
    """Change the fourth significant digit."""
    first = 2 if constant.startswith("0x") else 0
    digits = [at for at, c in enumerate(constant) if c in "123456789abcdef" and at >= first]
    at = digits[min(3, len(digits) - 1)]
    other = "2" if constant[at] == "1" else "1"
    return constant[:at] + other + constant[at + 1 :]


def test_only_functions_whose_bits_the_language_fixes_are_used() -> None:
    assert set(re.findall(r"\bMath\.(\w+)", MODULE)) <= _EXACT
    assert re.findall(r"\bMath\b(?!\.)|\bfround\b|import|require", MODULE) == []


@needs_node
@pytest.mark.parametrize("study", ["tripwire", "published"])
def test_studies_have_the_digests_of_the_engines(
    study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # where the weights of `published` are
    jobs = compose([f"experiment={study}", "tracking=off"]).jobs
    assert failures(training_vectors([job.config for job in jobs])) == []


@needs_node
def test_every_option_trains_as_in_the_engines() -> None:
    groups = ("task", "activation", "init", "loss", "optimizer")
    options = [
        {group: path.stem}
        for group in groups
        for path in sorted((CONF / group).glob("*.yaml"))
        if path.stem != "given"
    ]
    few = {"training.epochs": 5, "replicates": 2}
    assert failures(training_vectors([make_config(few, option) for option in options])) == []


Request = tuple[dict[str, Any], dict[str, str]]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Draw the changes and options of a config that is quickly trained."""
    activations = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus"]
    options = {
        "task": draw(st.sampled_from(["xor", "nand", "parity", "table"])),
        "activation": draw(st.sampled_from(activations)),
        "init": draw(st.sampled_from([
            "ones", "constant", "uniform", "normal", "glorot_normal", "he_uniform", "lecun_normal",
        ])),
        "loss": draw(st.sampled_from(["logistic", "squared_error"])),
        "optimizer": draw(st.sampled_from(["batch_gd", "online_gd"])),
    }  # fmt: skip
    changes: dict[str, Any] = {
        "network.hidden": draw(st.lists(st.integers(1, 4), max_size=3)),
        "network.bias": draw(st.booleans()),
        "network.train_bias": draw(st.booleans()),
        "init.bias": draw(st.sampled_from(["same", "zero"])),
        "init.scale": draw(st.floats(0.1, 3)),
        "loss.reduction": draw(st.sampled_from(["mean", "sum"])),
        "optimizer.learning_rate": draw(st.floats(0, 1e3, exclude_min=True)),
        "optimizer.momentum": draw(st.floats(0, 1, exclude_max=True)),
        "training.epochs": draw(st.integers(0, 200)),
        "training.tolerance": draw(st.floats(0, 0.5, exclude_min=True)),
        "training.stop_when_converged": draw(st.booleans()),
        "training.record": draw(st.integers(2, 20)),
        "training.record_weights": draw(st.integers(0, 4)),
        "replicates": draw(st.integers(1, 4)),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "engine": draw(st.sampled_from(["numpy", "compiled"])),
    }
    if draw(st.booleans()):
        n_layers = len(changes["network.hidden"]) + 1
        factors = st.lists(st.floats(0.01, 9), min_size=n_layers, max_size=n_layers)
        changes["optimizer.layer_factors"] = draw(factors)
    if options["loss"] == "squared_error":
        changes["network.output"] = draw(st.sampled_from(activations))
    if options["init"] in ("ones", "constant"):
        changes["init.noise"] = draw(st.floats(0, 2))
    if options["task"] == "table":
        n_rows = draw(st.integers(1, 5))
        for name, values in (("inputs", st.floats(-9, 9)), ("targets", st.floats(0, 1))):
            width = draw(st.integers(1, 3))
            row = st.lists(values, min_size=width, max_size=width)
            changes[f"task.{name}"] = draw(st.lists(row, min_size=n_rows, max_size=n_rows))
    return changes, options


@needs_node
@settings(max_examples=_N_BATCHES, phases=[Phase.generate])  # a failure names its config
@given(st.lists(requests(), min_size=_BATCH, max_size=_BATCH))
def test_random_configs_have_the_digests_of_the_engines(drawn: list[Request]) -> None:
    assert failures(training_vectors([make_config(*request) for request in drawn])) == []
