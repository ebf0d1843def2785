"""The equations: gradients against differences, and published examples digit for digit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from setups import MAZUR, MAZUR_WEIGHTS, PAIRS, make_setup

from bp_pipeline.core.activations import ACTIVATIONS, Activation
from bp_pipeline.core.losses import LOSSES, Loss
from bp_pipeline.core.network import Block, evaluate, join_layers, norm, split_layers
from bp_pipeline.core.training import Setup, train

HIDDEN = {0: (), 1: (3,), 2: (3, 2), 3: (2, 3, 2)}  # by depth
INPUTS = ((0.3, -1.0), (1.0, 0.0), (-0.7, 0.6))
TARGETS = ((0.0, 1.0), (1.0, 0.25), (0.5, 0.0))


def block_of(setup: Setup, parameters: np.ndarray) -> Block:
    return evaluate(setup.architecture, np.array(setup.inputs), parameters, np.array(setup.targets))


# ------------------------------------------------------------------------------------ gradients

STEP = 2.0**-17
KINK_MARGIN = 1e-3  # no pre-activation moves as far when a weight moves by STEP
# Central differences are off by STEP²/6 = 1e-11 times a third derivative, and by the rounding of
# the loss, 2⁻⁵³/STEP = 1.5e-11 times its size; both factors stay below 100 a sample here.
TOLERANCE = 1e-8


def gradient_setup(depth: int = 1, **changes: Any) -> Setup:
    table = {"inputs": INPUTS, "targets": TARGETS, "slope": 0.3, "epochs": 1}
    return make_setup(layer_sizes=(2, *HIDDEN[depth], 2), **{**table, **changes})


def weights_away_from_kinks(setup: Setup) -> np.ndarray:
    """Draw weights with which no unit is near the kink of a relu."""
    for seed in range(100):
        parameters = np.random.default_rng(seed).normal(size=(setup.architecture.n_weights, 1))
        pre_activations = block_of(setup, parameters).pre_activations
        if min(np.abs(a).min() for a in pre_activations) > KINK_MARGIN:
            return parameters
    raise AssertionError("no such weights found")


def differences(setup: Setup, parameters: np.ndarray) -> np.ndarray:
    """Differentiate the mean loss by every weight that is trained."""
    nudges = STEP * np.eye(len(parameters))  # one network for each weight that is moved
    upper, lower = (block_of(setup, parameters + sign * nudges).loss() for sign in (1, -1))
    slopes = (upper - lower)[:, None] / (2 * STEP)
    if setup.architecture.bias and not setup.architecture.train_bias:
        for layer in split_layers(setup.architecture, slopes):
            layer[0] = 0.0  # a view
    return slopes


def assert_gradient_fits(setup: Setup) -> None:
    """Check what back-propagation gives over all samples, and over a single one."""
    parameters = weights_away_from_kinks(setup)
    block = block_of(setup, parameters)
    block.backward()
    expected = len(setup.inputs) * differences(setup, parameters)
    np.testing.assert_allclose(block.gradient, expected, rtol=0, atol=TOLERANCE)
    block.backward(slice(1, 2))
    one_sample = replace(setup, inputs=setup.inputs[1:2], targets=setup.targets[1:2])
    expected = differences(one_sample, parameters)
    np.testing.assert_allclose(block.gradient, expected, rtol=0, atol=TOLERANCE)


BIASES = {
    "bias": {"bias": True},
    "bias fixed": {"bias": True, "train_bias": False},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("depth", HIDDEN)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_equals_the_differences(activation, loss, output, bias, depth):
    changes = {"activation": activation, "loss": loss, "output": output}
    assert_gradient_fits(gradient_setup(depth, **changes, **BIASES[bias]))


@pytest.mark.parametrize("depth", HIDDEN)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("update", ["mean", "sum", "online"])
def test_a_step_of_training_is_the_gradient(update, bias, depth):
    changes = {"mean_gradient": update == "mean", "online": update == "online", **BIASES[bias]}
    if update == "online":
        changes |= {"inputs": INPUTS[:1], "targets": TARGETS[:1]}
    setup = gradient_setup(depth, **changes)
    parameters = weights_away_from_kinks(setup)
    trained = train(setup, parameters, np.ones((depth + 1, 1)), np.zeros(1))
    step = parameters - trained.parameters
    expected = differences(setup, parameters) * (len(INPUTS) if update == "sum" else 1)
    np.testing.assert_allclose(step, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(trained.gradient_norm[0], norm(step), rtol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_wrong_derivative_is_noticed(activation, monkeypatch):
    f, derivative = ACTIVATIONS[activation]
    planted = Activation(f, lambda z, slope: derivative(z, slope) * (1 + 1e-6))
    monkeypatch.setitem(ACTIVATIONS, activation, planted)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_gradient_fits(gradient_setup(activation=activation))


@pytest.mark.parametrize(("loss", "output"), [("logistic", "sigmoid"), ("squared_error", "tanh")])
def test_a_wrong_delta_is_noticed(loss, output, monkeypatch):
    value, delta, required = LOSSES[loss]
    planted = Loss(value, lambda z, y, derivative: -delta(z, y, derivative), required)
    monkeypatch.setitem(LOSSES, loss, planted)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_gradient_fits(gradient_setup(loss=loss, output=output))


# ----------------------------------------------------------------------------------- the pieces


def test_momentum_adds_a_share_of_the_last_step():
    setup = make_setup(layer_sizes=(2, 1))
    block = block_of(setup, np.zeros((3, 1)))
    block.gradient[:] = [[1.0], [-2.0], [4.0]]
    rate, momentum = np.array([[0.5]]), np.array([0.25])
    block.update(rate, momentum)
    assert block.parameters[:, 0].tolist() == [-0.5, 1.0, -2.0]
    block.update(rate, momentum)  # velocity: 0.25·(−0.5) − 0.5 = −0.625, and so on
    assert block.parameters[:, 0].tolist() == [-1.125, 2.25, -4.5]


def test_norm_is_that_of_each_network():
    assert norm(np.array([[3.0, 1.0], [4.0, 0.0], [12.0, 0.0]])).tolist() == [13.0, 1.0]


def test_layers_are_views_of_the_columns():
    architecture = make_setup().architecture
    parameters = np.zeros((13, 2))
    first, second = split_layers(architecture, parameters)
    assert (first.shape, second.shape) == ((3, 3, 2), (4, 1, 2))
    first[2, 1, 0] = second[3, 0, 1] = 1.0
    assert np.argwhere(parameters).tolist() == [[7, 0], [12, 1]]
    joined = join_layers([np.moveaxis(layer, -1, 0) for layer in (first, second)])
    np.testing.assert_array_equal(joined, parameters)


# -------------------------------------------------------------------------------------- Mazur

# What the post prints; setups.py says what it trains.
W1_TO_W8 = [2, 4, 3, 5, 8, 10, 9, 11]  # their places among MAZUR_WEIGHTS


def mazur_after_one_update(*, train_bias: bool) -> tuple[np.ndarray, float]:
    """Give weights and loss."""
    setup = make_setup(**MAZUR, train_bias=train_bias, epochs=1)
    trained = train(setup, np.array(MAZUR_WEIGHTS)[:, None], np.full((2, 1), 0.5), np.zeros(1))
    return trained.parameters[:, 0], float(trained.final_loss[0])


def test_mazur_forward_and_backward():
    block = block_of(make_setup(**MAZUR), np.array(MAZUR_WEIGHTS)[:, None])
    block.backward()
    hidden, output = block.units[1][0, 1:, 0], block.outputs[0, :, 0]
    np.testing.assert_allclose(hidden, [0.593269992, 0.596884378], rtol=0, atol=5e-10)
    np.testing.assert_allclose(output, [0.75136507, 0.772928465], rtol=0, atol=5e-10)
    assert block.loss()[0] == pytest.approx(0.298371109, abs=5e-10, rel=0)
    gradient = block.gradient[W1_TO_W8, 0]
    assert gradient[4] == pytest.approx(0.082167041, abs=5e-10, rel=0)
    assert gradient[0] == pytest.approx(0.000438568, abs=5e-10, rel=0)


def test_mazur_after_one_update():
    weights, loss = mazur_after_one_update(train_bias=False)
    printed = ["0.149780716", "0.19956143", "0.24975114", "0.29950229",
               "0.35891648", "0.408666186", "0.511301270", "0.561370121"]  # fmt: skip
    updated = weights[W1_TO_W8].tolist()
    assert [f"{w:.{len(p) - 2}f}" for w, p in zip(updated, printed, strict=True)] == printed
    # The post prints .291027924: its hidden deltas use output weights that are updated already.
    assert loss == pytest.approx(0.291027773694, abs=5e-13, rel=0)
    assert weights[[0, 1, 6, 7]].tolist() == [0.35, 0.35, 0.60, 0.60]


def test_mazur_with_biases_trained_too():
    _, loss = mazur_after_one_update(train_bias=True)
    assert loss == pytest.approx(0.280471446791, abs=5e-13, rel=0)


# ------------------------------------------------------------------------------------ Brownlee


def test_brownlee_forward():
    # "How to Code a Neural Network with Backpropagation From Scratch" (2016), section 3
    table = {"inputs": ((1.0, 0.0),), "targets": ((0.0, 1.0),)}
    setup = make_setup(layer_sizes=(2, 1, 2), activation="sigmoid", **table)
    hidden = [0.763774618976614, 0.13436424411240122, 0.8474337369372327]
    output = [0.49543508709194095, 0.651592972722763, 0.2550690257394217, 0.4494910647887381]
    outputs = block_of(setup, np.array([*hidden, *output])[:, None]).outputs[0, :, 0]
    expected = [0.6629970129852887, 0.7253160725279748]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-15)


# ----------------------------------------------------------------------------------- the article

# A network 2-3-1 of identities, all 13 weights 1, learning rate 0.1; its first sample, (0, 0) -> 0.
ARTICLE = {
    "activation": "identity", "output": "identity", "loss": "squared_error", "online": True,
    "inputs": ((0.0, 0.0),), "targets": ((0.0,),),
}  # fmt: skip


def article_step(learning_rate: float) -> tuple[list[list[float]], float]:
    """Give each layer's weights after one step, row by row, and the next output."""
    setup = make_setup(**ARTICLE, epochs=1)
    trained = train(setup, np.ones((13, 1)), np.full((2, 1), learning_rate), np.zeros(1))
    layers = split_layers(setup.architecture, trained.parameters)
    rows = [row.tolist() for layer in layers for row in layer[..., 0]]
    return rows, float(block_of(setup, trained.parameters).outputs[0, 0, 0])


def test_article_forward_and_deltas():
    block = block_of(make_setup(**ARTICLE), np.ones((13, 1)))
    block.backward()
    assert block.units[1][0, 1:, 0].tolist() == [1.0, 1.0, 1.0]
    assert block.outputs[0, 0, 0] == 4.0
    assert block.deltas[1][0, :, 0].tolist() == [4.0]  # predicted − actual; the article prints −4
    assert block.deltas[0][0, :, 0].tolist() == [4.0, 4.0, 4.0]


def test_article_step_as_its_own_equations_give_it():
    rows, next_output = article_step(0.1)
    biases, *from_inputs = rows[:3]
    np.testing.assert_allclose(biases, [0.6] * 3, rtol=1e-15)
    assert from_inputs == [[1.0] * 3] * 2  # their input is 0, so their gradient is 0
    np.testing.assert_allclose(rows[3:], [[0.6]] * 4, rtol=1e-15)
    assert next_output == pytest.approx(1.68, rel=1e-15)  # 0.6 + 3·0.6·0.6


def test_article_step_with_its_sign_climbs():
    # What the article prints, as far as it is a step at all: 1.4 also for the weights from the
    # inputs, which no sign gives.
    rows, next_output = article_step(-0.1)
    np.testing.assert_allclose(rows[0], [1.4] * 3, rtol=1e-15)
    assert rows[1:3] == [[1.0] * 3] * 2
    np.testing.assert_allclose(rows[3:], [[1.4]] * 4, rtol=1e-15)
    assert next_output == pytest.approx(7.28, rel=1e-15)  # 1.4 + 3·1.4·1.4


def test_the_best_an_identity_network_can_do_on_xor_is_one_half():
    setup = make_setup(activation="identity", output="identity", loss="squared_error", epochs=900)
    weights = np.random.default_rng(0).normal(size=(13, 5))
    trained = train(setup, weights, np.full((2, 5), 0.05), np.full(5, 0.9))
    np.testing.assert_allclose(block_of(setup, trained.parameters).outputs, 0.5, atol=1e-6)
    np.testing.assert_allclose(trained.final_loss, 0.125, rtol=1e-9)  # ½·0.25
