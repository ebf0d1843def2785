"""The step that `bp explain` shows is one of training's own, bit for bit, and Mazur's."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, config_of, diverging, document, explained
from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.training import train
from bp_pipeline.ensemble.shards import initial_parameters, setup_of, train_runs
from bp_pipeline.explain import Explanation, explain_step
from bp_pipeline.explain.step import Layers, take_step


def in_json(explanation: Explanation, key: str) -> dict[str, list[float]]:
    """Read the weights of its JSON into arrays as they are in weight files."""
    found: dict[str, dict[tuple[int, int], float]] = {}
    for weight in document(explanation)["weights"]:
        row, column = weight["index"]
        found.setdefault(weight["array"], {})[row, column] = weight[key]
    return {name: [cells[at] for at in sorted(cells)] for name, cells in found.items()}


def flat(layers: Mapping[str, np.ndarray], replicate: int) -> dict[str, list[float]]:
    return {name: layer[replicate].ravel().tolist() for name, layer in layers.items()}


def named(layers: Layers) -> dict[str, list[float]]:
    return {f"layer_{n}": layer.ravel().tolist() for n, layer in enumerate(layers, 1)}


@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_those_that_training_has(case: str) -> None:
    epoch, replicate = 3, 2
    states = []
    for epochs in (epoch, epoch + 1):
        config = config_of(case, **{"training.epochs": epochs, "engine": "numpy"})
        [(_, result)] = train_runs([config])
        states.append(flat(result.final_weights, replicate))
    samples = range(len(config.truth_table.inputs))
    online = config.optimizer.name == "online_gd"
    steps = [
        take_step(config, sample=sample, epoch=epoch, replicate=replicate) for sample in samples
    ]
    assert named(steps[0].before.weights) == states[0]
    assert named(steps[-1].block.weights) == states[1]
    for earlier, later in pairwise(steps):
        expected = named((earlier.block if online else earlier.before).weights)
        assert named(later.before.weights) == expected
        if online:
            assert named(later.velocity) == named(earlier.new_velocity)


@pytest.mark.parametrize("case", CASES)
def test_json_has_the_arrays_of_the_step(case: str) -> None:
    found = explained(case)
    step = found.step
    assert in_json(found, "before") == named(step.before.weights)
    assert in_json(found, "after") == named(step.block.weights) == named(step.after.weights)
    assert in_json(found, "gradient") == named(step.block.gradients)
    assert in_json(found, "velocity_before") == named(step.velocity)
    assert in_json(found, "velocity_after") == named(step.new_velocity)


def test_they_are_those_of_the_compiled_engines_trajectory() -> None:
    config = config_of("online with momentum", **{"training.epochs": 7, "training.record": 8})
    [(_, result)] = train_runs([config])
    assert result.epochs.tolist() == list(range(8))
    for epoch in range(7):
        found = take_step(config, sample=3, epoch=epoch, replicate=1)
        layers = {name: result.trajectory[name][:, epoch + 1] for name in result.final_weights}
        assert named(found.block.weights) == flat(layers, 1)


@pytest.mark.parametrize("case", ["batch", "sum", "depth 2", "three samples, two outputs"])
def test_the_gradient_is_that_of_central_differences(case: str) -> None:
    config = config_of(case)
    found = explain_step(config, epoch=1)
    step, h = found.step, 1e-6
    setup = replace(setup_of(config), epochs=0)
    parameters = np.concatenate([layer.ravel() for layer in step.before.weights])[:, None]
    gradient = np.concatenate([layer.ravel() for layer in step.block.gradients])
    factor = 1 if setup.architecture.mean_gradient else len(setup.inputs)
    rate = np.ones((len(setup.architecture.shapes), 1))
    for index in range(len(parameters)):
        ends = []
        for change in (h, -h):
            moved = parameters.copy()
            moved[index] += change
            ends.append(train(setup, moved, rate, np.zeros(1)).final_loss[0])
        assert gradient[index] == pytest.approx(factor * (ends[0] - ends[1]) / (2 * h), abs=1e-8)


def test_replicates_are_those_of_the_run() -> None:
    config = config_of("batch")
    initial = initial_parameters(config)
    found = explain_step(config, replicate=3)
    assert [x for layer in found.step.before.weights for x in layer.ravel()] == initial[
        :, 3
    ].tolist()


# Networks that take no such step


def test_a_diverged_network_takes_no_further_step() -> None:
    explain_step(diverging(), epoch=1)
    with pytest.raises(ConfigError, match=r"must be < 2, where replicate 0 diverged and was froz"):
        explain_step(diverging(), epoch=5)


def frozen_at_the_start(folder: Path, weight: float, loss: str, output: str) -> RunConfig:
    path = folder / "given.npz"
    write_arrays(path, {"layer_1": np.full((2, 2, 1), weight)})
    return make_config(
        {
            "task.inputs": [[0.0]], "task.targets": [[1.0]], "network.hidden": [],
            "network.output": output, "init.path": str(path), "training.stop_when_converged": True,
        },
        {"task": "table", "init": "given", "loss": loss},
    )  # fmt: skip


@pytest.mark.parametrize("epoch", [0, 7])
def test_a_network_that_has_converged_before_its_first_step_is_told_apart(
    tmp_path: Path, epoch: int
) -> None:
    config = frozen_at_the_start(tmp_path, 9.0, "logistic", "sigmoid")
    with pytest.raises(ConfigError) as refused:
        explain_step(config, epoch=epoch, replicate=1)
    assert str(refused.value) == (
        "`--replicate` must be one that takes a step, got 1, which has converged before its first "
        "step and is frozen. Set `training.stop_when_converged=false`, or ask for another "
        "replicate."
    )
    training = config.training.model_copy(update={"stop_when_converged": False})
    explain_step(config.model_copy(update={"training": training}), epoch=epoch, replicate=1)


def test_so_is_one_that_has_diverged_before_its_first_step(tmp_path: Path) -> None:
    config = frozen_at_the_start(tmp_path, 1e200, "squared_error", "identity")
    ending = (
        r"got 0, which has diverged before its first step and is frozen\. Start it from smaller"
    )
    with pytest.raises(ConfigError, match=ending):
        explain_step(config)


# Mazur, "A Step by Step Backpropagation Example"


def test_mazurs_example_comes_out_digit_for_digit(tmp_path: Path) -> None:
    layers = {
        "layer_1": np.array([[[0.35, 0.35], [0.15, 0.25], [0.20, 0.30]]]),
        "layer_2": np.array([[[0.60, 0.60], [0.40, 0.50], [0.45, 0.55]]]),
    }
    write_arrays(tmp_path / "mazur.npz", layers)
    config = make_config(
        {
            "task.inputs": [[0.05, 0.10]], "task.targets": [[0.01, 0.99]], "network.hidden": [2],
            "network.train_bias": False, "init.path": str(tmp_path / "mazur.npz"),
        },
        {"task": "table", "activation": "sigmoid", "init": "given", "loss": "squared_error"},
    )  # fmt: skip
    found = explain_step(config)
    values = {equation.name: equation.value for equation in found.all_equations}
    expected = {
        "Z1": 0.593269992, "Z2": 0.596884378, "D0": 0.75136507, "D1": 0.772928465,
        "L₀": 0.298371109, "∂L/∂V01": 0.082167041, "∂L/∂W11": 0.000438568,
        "W11": 0.149780716, "W12": 0.19956143, "W21": 0.24975114, "W22": 0.29950229,
        "V01": 0.35891648, "V02": 0.408666186, "V11": 0.511301270, "V12": 0.561370121,
        "W10": 0.35, "V00": 0.60,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=5e-9)
    assert values["δ_D0"] == pytest.approx((0.75136507 - 0.01) * 0.186815602, abs=1e-8)
    assert found.effect[-1].after == pytest.approx(0.291027773694, abs=5e-13)
