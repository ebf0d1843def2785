"""The equations of back-propagation, for many networks of one architecture side by side.

Owns forward pass, backward pass and update, and how weights are laid out: as parameters (one column
a network) or layer by layer. Arrays have the network axis last, so that one SIMD lane is one
network; every sum runs in index order, so that a network's bits do not depend on which others it is
computed with. When to do which step, and what to record, is decided in `training.py`.

A bias unit is a unit of constant value 1: it has index 0 of its layer, and its weights are row 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from bp_pipeline.core.activations import ACTIVATIONS, Activation
from bp_pipeline.core.initializers import count_weights, layer_shapes
from bp_pipeline.core.losses import LOSSES

Parameters = Float64[np.ndarray, "weight network"]
PerSample = Float64[np.ndarray, "sample unit network"]
PerNetwork = Float64[np.ndarray, " network"]
PerLayer = Float64[np.ndarray, "layer network"]
Layer = Float64[np.ndarray, "network _row _fan_out"]

_ALL = slice(None)


@dataclass(frozen=True)
class Architecture:
    """What networks must share to be computed side by side.

    Attributes
    ----------
    layer_sizes
        Units of each layer from input to output, bias units not counted.
    bias
        Whether each layer but the last has a bias unit; `train_bias`, whether its weights are
        updated.
    activation, output
        Names in `ACTIVATIONS` for the hidden layers and for the output layer.
    slope
        Slope of leaky_relu.
    loss
        Name in `LOSSES`.
    mean_gradient
        Whether the batch gradient is the mean over samples, rather than their sum.
    """

    layer_sizes: tuple[int, ...]
    bias: bool
    train_bias: bool
    activation: str
    output: str
    slope: float
    loss: str
    mean_gradient: bool

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, fan_out) of the weights of each layer."""
        return layer_shapes(self.layer_sizes, bias=self.bias)

    @property
    def n_weights(self) -> int:
        """Number of weights of a network."""
        return count_weights(self.layer_sizes, bias=self.bias)

    @property
    def activations(self) -> list[Activation]:
        """The activation of each layer with weights."""
        hidden = [self.activation] * (len(self.layer_sizes) - 2)
        return [ACTIVATIONS[name] for name in [*hidden, self.output]]


class Block:
    """Networks that train side by side, with preallocated arrays for every quantity.

    Attributes
    ----------
    parameters, velocity, gradient
        All weights of a network in one column, (weight, network): layer by layer, row by row.
    weights, gradients
        Views of `parameters` and `gradient` for each layer, (row, fan_out, network).
    units
        For each layer from the input on, the bias unit's 1 and the activations z:
        (sample, bias + unit, network).
    pre_activations, deltas
        For each layer with weights, (sample, unit, network).
    """

    def __init__(
        self,
        architecture: Architecture,
        inputs: Float64[np.ndarray, "sample input"],
        targets: Float64[np.ndarray, "sample output"],
        parameters: Parameters,
    ) -> None:
        self.architecture = architecture
        self.inputs, self.targets = inputs, targets
        self.parameters = parameters
        self.velocity, self.gradient = np.zeros_like(parameters), np.zeros_like(parameters)
        self._term = np.empty_like(parameters)
        self.weights = split_layers(architecture, self.parameters)
        self.gradients = split_layers(architecture, self.gradient)
        self._weight_terms = split_layers(architecture, self._term)
        n_samples, n_networks = len(inputs), parameters.shape[-1]
        sizes, bias = architecture.layer_sizes, architecture.bias
        self.pre_activations = [np.empty((n_samples, size, n_networks)) for size in sizes[1:]]
        self.deltas = [np.empty_like(a) for a in self.pre_activations]
        self._terms = [np.empty_like(a) for a in self.pre_activations]
        self.units = [np.ones((n_samples, bias + sizes[0], 1))]
        self.units[0][:, bias:, 0] = inputs
        self.units += [np.ones((n_samples, bias + size, n_networks)) for size in sizes[1:]]

    @property
    def outputs(self) -> PerSample:
        """Activations of the output layer."""
        return self.units[-1][:, self.architecture.bias :]

    def forward(self, samples: slice = _ALL) -> None:
        """Compute pre-activations and activations of every layer.

        a[s, o] = Σᵢ w[i, o]·z[s, i], bias first; z[s, o] = f(a[s, o]).
        """
        bias, slope = self.architecture.bias, self.architecture.slope
        for layer, (w, activation) in enumerate(
            zip(self.weights, self.architecture.activations, strict=True)
        ):
            z, a = self.units[layer][samples], self.pre_activations[layer][samples]
            term = self._terms[layer][samples]
            np.multiply(w[0], z[:, 0, None], out=a)
            for i in range(1, len(w)):
                np.multiply(w[i], z[:, i, None], out=term)
                np.add(a, term, out=a)
            self.units[layer + 1][samples, bias:] = activation.f(a, slope)

    def backward(self, samples: slice = _ALL) -> None:
        """Compute deltas and the gradient summed over the samples, from the forward pass's values.

        delta = ∂loss/∂a at the output; delta[s, i] = f'(z[s, i])·Σₒ w[i, o]·delta_next[s, o];
        dL/dw[i, o] = Σₛ z[s, i]·delta[s, o].
        """
        self._output_delta(samples)
        for layer in reversed(range(len(self.weights))):
            if layer < len(self.weights) - 1:
                self._hidden_delta(layer, samples)
            self._gradient(layer, samples)

    def scale_gradient(self, factor: float) -> None:
        """Multiply the gradient, as `reduction=mean` asks for with the rounded 1/n_samples."""
        np.multiply(self.gradient, factor, out=self.gradient)

    def update(
        self,
        learning_rate: PerLayer,
        momentum: PerNetwork,
        networks: Bool[np.ndarray, " network"] | bool = True,
    ) -> None:
        """Take one step: v ← momentum·v − learning_rate·dL/dw; w ← w + v, for these networks."""
        for term, rate, gradient in zip(
            self._weight_terms, learning_rate, self.gradients, strict=True
        ):
            np.multiply(gradient, rate, out=term)
        np.multiply(self.velocity, momentum, out=self.velocity)
        np.subtract(self.velocity, self._term, out=self.velocity)
        np.add(self.parameters, self.velocity, out=self.parameters, where=networks)

    def loss(self) -> PerNetwork:
        """Average the loss over samples, summed over outputs."""
        value = LOSSES[self.architecture.loss].value
        a, z = self.pre_activations[-1], self.outputs
        per_output = np.asarray(value(a, z, self.targets[..., None]))
        total = np.zeros(a.shape[-1])
        for of_sample in per_output:
            for term in of_sample:
                total += term
        return total / len(self.targets)

    def solves(self, tolerance: float) -> Bool[np.ndarray, " network"]:
        """Whether |output − target| is below the tolerance for every output and sample."""
        error = np.abs(self.outputs - self.targets[..., None])
        return np.asarray((error < tolerance).all(axis=(0, 1)))

    def _output_delta(self, samples: slice) -> None:
        z, y = self.outputs[samples], self.targets[samples, :, None]
        derivative = self.architecture.activations[-1].derivative(z, self.architecture.slope)
        delta = LOSSES[self.architecture.loss].delta(z, y, derivative)
        self.deltas[-1][samples] = delta

    def _hidden_delta(self, layer: int, samples: slice) -> None:
        bias, slope = self.architecture.bias, self.architecture.slope
        w, delta_next = self.weights[layer + 1][bias:], self.deltas[layer + 1][samples]
        delta, term = self.deltas[layer][samples], self._terms[layer][samples]
        np.multiply(w[:, 0], delta_next[:, 0, None], out=delta)
        for o in range(1, w.shape[1]):
            np.multiply(w[:, o], delta_next[:, o, None], out=term)
            np.add(delta, term, out=delta)
        z = self.units[layer + 1][samples, bias:]
        activation = self.architecture.activations[layer]
        np.multiply(delta, activation.derivative(z, slope), out=delta)

    def _gradient(self, layer: int, samples: slice) -> None:
        z, delta = self.units[layer][samples], self.deltas[layer][samples]
        g, term = self.gradients[layer], self._weight_terms[layer]
        np.multiply(z[0, :, None], delta[0], out=g)
        for s in range(1, len(z)):
            np.multiply(z[s, :, None], delta[s], out=term)
            np.add(g, term, out=g)
        if self.architecture.bias and not self.architecture.train_bias:
            g[0] = 0.0


def evaluate(
    architecture: Architecture,
    inputs: Float64[np.ndarray, "sample input"],
    parameters: Parameters,
    targets: Float64[np.ndarray, "sample output"] | None = None,
) -> Block:
    """Compute what networks with these weights make of some inputs.

    Parameters
    ----------
    targets
        What losses and deltas are measured against; all 0 by default.

    Returns
    -------
    Block
        After its forward pass, with a copy of the weights.
    """
    if targets is None:
        targets = np.zeros((len(inputs), architecture.layer_sizes[-1]))
    block = Block(architecture, inputs, targets, parameters.copy())
    with np.errstate(all="ignore"):  # of networks that diverged
        block.forward()
    return block


def norm(values: Parameters) -> PerNetwork:
    """Euclidean norm over all weights of each network, summed in index order."""
    total = np.zeros(values.shape[-1])
    for row in values:
        total += row * row
    return np.sqrt(total)


def split_layers(
    architecture: Architecture, parameters: Float64[np.ndarray, "*any weight network"]
) -> list[np.ndarray]:
    """View each layer's part of such columns as (…, row, fan_out, network)."""
    layers, start = [], 0
    for rows, fan_out in architecture.shapes:
        part = parameters[..., start : start + rows * fan_out, :]
        layers.append(part.reshape(*part.shape[:-2], rows, fan_out, part.shape[-1]))
        start += rows * fan_out
    return layers


def join_layers(layers: Sequence[Layer]) -> Parameters:
    """Copy layers of weights, the network axis first, into one column a network."""
    return np.concatenate([layer.reshape(len(layer), -1).T for layer in layers])
