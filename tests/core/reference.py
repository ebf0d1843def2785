"""Back-propagation as a plain loop over single networks, in Python floats: the engines' judge.

Written from the equations of the design, every sum in index order, bias first. Of the core it uses
only the elementary functions, whose bits test_elementary.py judges, and the containers of what goes
in and what comes out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bp_pipeline.core import elementary
from bp_pipeline.core.training import Setup, Trained

INF = float("inf")
OUTCOMES = ("stalled", "converged", "diverged")

Sample = Sequence[float]
Forward = list[tuple[list[float], list[float]]]  # (a, z) of each layer, from the first hidden one


def _number(function: Callable[[float], float]) -> Callable[[float, float], float]:
    return lambda a, slope: float(function(a))


FUNCTIONS: dict[str, Callable[[float, float], float]] = {
    "identity": lambda a, slope: a,
    "sigmoid": _number(elementary.sigmoid),
    "tanh": _number(elementary.tanh),
    "relu": lambda a, slope: 0.0 if a < 0.0 else a,
    "leaky_relu": lambda a, slope: slope * a if a < 0.0 else a,
    "softplus": _number(elementary.softplus),
}
DERIVATIVES: dict[str, Callable[[float, float], float]] = {  # in terms of z
    "identity": lambda z, slope: 1.0,
    "sigmoid": lambda z, slope: z * (1.0 - z),
    "tanh": lambda z, slope: 1.0 - z * z,
    "relu": lambda z, slope: 1.0 if z > 0.0 else 0.0,
    "leaky_relu": lambda z, slope: 1.0 if z > 0.0 else slope,
    "softplus": lambda z, slope: -float(elementary.expm1(-z)),
}


class Network:
    """One network: w[l][i][o], with i = 0 the bias unit where there is one."""

    def __init__(self, setup: Setup, values: Sequence[float]) -> None:
        self.setup, self.architecture = setup, setup.architecture
        sizes, bias = self.architecture.layer_sizes, self.architecture.bias
        shapes = [(i + bias, o) for i, o in pairwise(sizes)]
        rest = iter(values)
        self.w = [[[next(rest) for _ in range(o)] for _ in range(i)] for i, o in shapes]
        self.velocity = [[[0.0] * o for _ in range(i)] for i, o in shapes]
        hidden = [self.architecture.activation] * (len(sizes) - 2)
        self.activations = [*hidden, self.architecture.output]

    def values(self) -> list[float]:
        return list(_flat(self.w))

    def forward(self, x: Sample) -> Forward:
        layers: Forward = []
        z = list(x)
        for w, name in zip(self.w, self.activations, strict=True):
            inputs = self._with_bias(z)
            a = [_sum(w[i][o] * inputs[i] for i in range(len(w))) for o in range(len(w[0]))]
            z = [FUNCTIONS[name](value, self.architecture.slope) for value in a]
            layers.append((a, z))
        return layers

    def gradient(self, x: Sample, y: Sample, layers: Forward) -> list[list[list[float]]]:
        """dL/dw of one sample, from its forward pass."""
        outputs = [list(x), *(z for _, z in layers)]
        delta = self._output_delta(layers[-1][1], y)
        gradients = []
        for layer in reversed(range(len(self.w))):
            z = self._with_bias(outputs[layer])
            gradients.append([[z_i * d for d in delta] for z_i in z])
            if layer > 0:
                delta = self._hidden_delta(layer, outputs[layer], delta)
        gradients.reverse()
        if self.architecture.bias and not self.architecture.train_bias:
            for g in gradients:
                g[0] = [0.0] * len(g[0])
        return gradients

    def _with_bias(self, z: list[float]) -> list[float]:
        return [1.0, *z] if self.architecture.bias else z

    def _output_delta(self, z: Sample, y: Sample) -> list[float]:
        if self.architecture.loss == "logistic":
            return [z_o - y_o for z_o, y_o in zip(z, y, strict=True)]
        derivative, slope = DERIVATIVES[self.architecture.output], self.architecture.slope
        return [(z_o - y_o) * derivative(z_o, slope) for z_o, y_o in zip(z, y, strict=True)]

    def _hidden_delta(self, layer: int, z: Sample, delta_next: Sample) -> list[float]:
        w = self.w[layer][self.architecture.bias :]
        derivative, slope = DERIVATIVES[self.architecture.activation], self.architecture.slope
        return [
            derivative(z_i, slope) * _sum(w_i[o] * delta_next[o] for o in range(len(delta_next)))
            for z_i, w_i in zip(z, w, strict=True)
        ]

    def update(
        self, gradients: list[list[list[float]]], learning_rate: Sequence[float], momentum: float
    ) -> None:
        layers = zip(self.w, self.velocity, gradients, learning_rate, strict=True)
        for w, velocity, g, rate in layers:
            for i in range(len(w)):
                for o in range(len(w[i])):
                    velocity[i][o] = momentum * velocity[i][o] - rate * g[i][o]
                    w[i][o] = w[i][o] + velocity[i][o]

    def loss(self, passes: Sequence[Forward]) -> float:
        """Mean over samples of the loss summed over outputs."""
        total = 0.0
        for layers, y in zip(passes, self.setup.targets, strict=True):
            for a_o, z_o, y_o in zip(*layers[-1], y, strict=True):
                if self.architecture.loss == "logistic":
                    total += float(elementary.softplus(a_o)) - y_o * a_o
                else:
                    total += 0.5 * (y_o - z_o) * (y_o - z_o)
        return total / len(passes)

    def batch_gradient(self, passes: Sequence[Forward]) -> list[list[list[float]]]:
        samples = zip(self.setup.inputs, self.setup.targets, passes, strict=True)
        of_samples = [self.gradient(x, y, layers) for x, y, layers in samples]
        factor = 1.0 / len(passes) if self.architecture.mean_gradient else 1.0
        return [
            [
                [_sum(g[layer][i][o] for g in of_samples) * factor for o in range(len(row))]
                for i, row in enumerate(rows)
            ]
            for layer, rows in enumerate(self.w)
        ]


@dataclass
class Result:
    """What one network gives; curves and trajectory at the recorded epochs."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    weight_norm: list[float] = field(default_factory=list)
    trajectory: list[list[float]] = field(default_factory=list)
    outcome: str = "stalled"
    epochs_to_converge: int = -1
    solved: bool = False
    final_loss: float = INF


def train_network(
    setup: Setup, values: Sequence[float], learning_rate: Sequence[float], momentum: float
) -> Result:
    """Train one network, one epoch after the other, one sample after the other."""
    network, result = Network(setup, values), Result()
    frozen: tuple[float, float, float] | None = None  # what is recorded once it is frozen
    for epoch in range(setup.epochs + 1):
        if frozen is None:
            passes = [network.forward(x) for x in setup.inputs]
            loss, gradients = network.loss(passes), network.batch_gradient(passes)
            numbers = loss, _norm(_flat(gradients)), _norm(network.values())
            diverged = not all(map(math.isfinite, [loss, *network.values()]))
            result.solved = not diverged and _all_within(setup, passes)
            newly_converged = result.outcome == "stalled" and result.solved
            if newly_converged:
                result.outcome, result.epochs_to_converge = "converged", epoch
            if diverged:
                result.outcome = "diverged" if result.outcome == "stalled" else result.outcome
                frozen = numbers = INF, INF, INF
            elif newly_converged and setup.stop_when_converged:
                frozen = numbers
        if epoch in setup.recorded_epochs:
            result.loss.append(numbers[0])
            result.gradient_norm.append(numbers[1])
            result.weight_norm.append(numbers[2])
            result.trajectory.append(network.values())
        result.final_loss = numbers[0]
        if frozen is None and epoch < setup.epochs:
            _pass(setup, network, gradients, learning_rate, momentum)
    if result.outcome == "stalled" and result.final_loss > 100 * result.loss[0]:
        result.outcome = "diverged"
    return result


def train(
    setup: Setup,
    parameters: np.ndarray,
    learning_rate: np.ndarray,
    momentum: np.ndarray,
    *,
    kept: np.ndarray,
) -> Trained:
    """Train the networks one by one; arguments and result are those of `training.train`."""
    steps = zip(parameters.T.tolist(), learning_rate.T.tolist(), momentum.tolist(), strict=True)
    results = [train_network(setup, *arguments) for arguments in steps]
    trajectory = np.array([result.trajectory for result in results])  # (network, epoch, weight)
    return Trained(
        loss=np.array([result.loss for result in results]).T,
        gradient_norm=np.array([result.gradient_norm for result in results]).T,
        weight_norm=np.array([result.weight_norm for result in results]).T,
        outcome=np.array([OUTCOMES.index(result.outcome) for result in results], dtype=np.int8),
        epochs_to_converge=np.array([result.epochs_to_converge for result in results]),
        solved=np.array([result.solved for result in results]),
        final_loss=np.array([result.final_loss for result in results]),
        parameters=trajectory[:, -1].T,  # the last epoch is always recorded
        trajectory=np.moveaxis(trajectory[kept], 0, -1),
    )


def _pass(
    setup: Setup,
    network: Network,
    gradients: list[list[list[float]]],
    learning_rate: Sequence[float],
    momentum: float,
) -> None:
    """One pass over the truth table: an update with these gradients, or one after each sample."""
    if not setup.online:
        network.update(gradients, learning_rate, momentum)
        return
    for x, y in zip(setup.inputs, setup.targets, strict=True):
        gradient = network.gradient(x, y, network.forward(x))
        network.update(gradient, learning_rate, momentum)


def _all_within(setup: Setup, passes: Sequence[Forward]) -> bool:
    return all(
        abs(z_o - y_o) < setup.tolerance
        for layers, y in zip(passes, setup.targets, strict=True)
        for z_o, y_o in zip(layers[-1][1], y, strict=True)
    )


def _sum(terms: Iterator[float]) -> float:
    total = next(terms)
    for term in terms:
        total = total + term
    return total


def _flat(layers: Sequence[Sequence[Sequence[float]]]) -> Iterator[float]:
    return (value for rows in layers for row in rows for value in row)


def _norm(values: Iterator[float] | Sequence[float]) -> float:
    total = 0.0
    for value in values:
        total += value * value
    return math.sqrt(total)
