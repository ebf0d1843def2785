"""`backprop.mjs` in Node has the bits of the Python engines."""

import json
import re
from pathlib import Path

import pytest
from checker import MODULE, conformance, failures, first_failures, needs_node, training_vectors
from random_configs import Request, some_random_configs
from runs import CONF, make_config

from bp_pipeline.config.compose import compose
from bp_pipeline.playground.conformance import conformance_vectors

ROOT = Path(__file__).parents[2]
_EXACT = {"abs", "floor", "imul", "max", "min", "sign", "sqrt", "trunc"}
_WITHOUT_EFFECT = {
    "1024n",  # a growth is found by trying, so its offset and its upper bound are free
    "2.0442631033899397e-15",  # its fourth digit is worth 10⁻¹⁸ of a result
}


@pytest.mark.untyped
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


@needs_node
@pytest.mark.untyped
@some_random_configs
def test_random_configs_have_the_digests_of_the_engines(drawn: list[Request]) -> None:
    assert failures(training_vectors([make_config(*request) for request in drawn])) == []
