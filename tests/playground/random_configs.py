"""Configs drawn at random, whose networks are quickly trained. BP_RANDOM_CONFIGS: how many."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

_BATCH = 50  # for one start of an engine
_N_BATCHES = int(os.environ.get("BP_RANDOM_CONFIGS", "100")) // _BATCH

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


def some_random_configs(test: Callable[..., None]) -> Callable[..., None]:
    """Call a test with a list of drawn configs, several times. A failure names its config."""
    lists = st.lists(requests(), min_size=_BATCH, max_size=_BATCH)
    n_batches = 1 + _N_BATCHES  # the first has the simplest config only, again and again
    return settings(max_examples=n_batches, phases=[Phase.generate])(given(drawn=lists)(test))
