"""What the tests of `bp explain` share: runs of every kind, and a reader who computes formulas."""

import json
import math
import re
from functools import cache
from typing import Any

from runs import make_config

from bp_pipeline.config import RunConfig
from bp_pipeline.config.compose import compose_each
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.explain import FORMATS, Explanation, explain_step

ONLINE = {"optimizer": "online_gd"}
CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "batch": ({}, {}),
    "sum": ({"loss.reduction": "sum"}, {"activation": "sigmoid"}),
    "online": ({}, ONLINE),
    "momentum": ({"optimizer.momentum": 0.9}, {}),
    "online with momentum": ({"optimizer.momentum": 0.5}, {**ONLINE, "init": "normal"}),
    "layer factors": ({"optimizer.layer_factors": [0.1, 3.0], "optimizer.momentum": 0.5}, {}),
    "layer factors, no momentum": ({"optimizer.layer_factors": [0.1, 3.0]}, ONLINE),
    "depth 2": ({"network.hidden": [3, 2]}, {"init": "uniform"}),
    "depth 2, no bias": ({"network.hidden": [3, 2], "network.bias": False}, {"init": "normal"}),
    "no bias": ({"network.bias": False}, {"init": "normal"}),
    "biases held": ({"network.train_bias": False, "optimizer.momentum": 0.5}, {"init": "normal"}),
    "no hidden layer": ({"network.hidden": []}, {"init": "uniform"}),
    "wide": ({"network.hidden": [11]}, {"init": "normal"}),
    "relu": ({}, {"activation": "relu", "init": "normal"}),
    "steep leaky_relu": (
        {"activation.slope": 0.2, "network.output": "leaky_relu"},
        {"activation": "leaky_relu", "init": "normal", "loss": "squared_error"},
    ),
    "three samples, two outputs": (
        {"task.inputs": [[0.05, 0.1], [1, -2], [3, 0.5]],
         "task.targets": [[0.01, 1], [1, 0], [0, 0.25]]},
        {"task": "table"},
    ),
    "more than 20 samples": ({"task.bits": 5}, {"task": "parity"}),
    **{
        f"{name} everywhere": (
            {"network.output": name},
            {"activation": name, "init": "normal", "loss": "squared_error"},
        )
        for name in ACTIVATIONS
    },
}  # fmt: skip


def config_of(case: str, **changes: Any) -> RunConfig:
    values, options = CASES[case]
    return make_config({"replicates": 4, **values, **changes}, options)


def diverging() -> RunConfig:
    """Return a run that diverges in its second epoch."""
    return make_config(
        {"optimizer.learning_rate": 1e60, "network.output": "identity", "replicates": 1},
        {"activation": "identity", "loss": "squared_error"},
    )


@cache
def explained(case: str, sample: int = 1, epoch: int = 2) -> Explanation:
    """Explain a step of a case, once for all tests that only read it."""
    return explain_step(config_of(case), sample=sample, epoch=epoch)


@cache
def page(case: str) -> str:
    """Return the page of such an explanation."""
    return FORMATS["html"](explained(case))


@cache
def article(*overrides: str) -> RunConfig:
    [config] = compose_each([["experiment=article", *overrides]])
    return config


def document(explanation: Explanation) -> dict[str, Any]:
    return json.loads(FORMATS["json"](explanation))


def evaluate(formula: str) -> float:
    """Return what a formula with its numbers in comes to, as a reader would compute it."""
    text = formula.replace("−", "-").replace("·", "*").replace("½", "0.5").replace("²", "**2")
    text = text.replace("≥", ">=").replace("ln(1 + ", "log1p(")
    text = re.sub(r"e\^(\(|[0-9])", r"e**\1", text)
    if " if " in text:
        value, condition, other = re.split(" if | else ", text)
        text = f"({value}) if ({condition}) else ({other})"
    names = {"log1p": math.log1p, "tanh": math.tanh, "e": math.e, "max": max, "abs": abs}
    return eval(text, {"__builtins__": {}}, names)
