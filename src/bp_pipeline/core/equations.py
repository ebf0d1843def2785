"""The equations of `network.py` for lanes: one sample at a time, through the table, and a step.

What stands here reads as if for one network, and is done for LANES of them at once. When to do it,
and with which networks, is decided in `kernel.py`.
"""

from typing import Any, NamedTuple

import numpy as np

from bp_pipeline.core.kinds import (
    Index,
    Kind,
    Layout,
    compile_,
    hidden,
    inline,
    layout_in,
    loss_value,
    output,
    output_delta,
    scaled_hidden,
    scaled_output,
)
from bp_pipeline.core.lanes import any_lane, matrix_from, row_from, spread, where
from bp_pipeline.core.losses import SAFE


class Net(NamedTuple):
    """What all networks share, as numbers and arrays."""

    layout: Layout  # empty where it is compiled in
    train_bias: bool
    activation: int  # index in ACTIVATIONS
    output: int
    loss: int  # index in LOSSES
    slope: float
    inputs: np.ndarray  # and before them the bias unit's 1, where there are any
    targets: np.ndarray
    gradient_factor: float
    tolerance: float


class Group(NamedTuple):
    """The networks in the lanes, as rows of lanes (`lanes.ROW`).

    Weights, velocity and gradient are as in `network.Block`; units (the bias unit's 1 and the
    activations of every layer) and deltas are those of one sample; pre-activations and activations
    of the output layer are those of all samples. `undecided` is 1 where the outcome is open, else
    0; `misses` counts outputs that are not within the tolerance; `size` is the sum of all |a|.
    """

    weights: Any
    velocity: Any
    gradient: Any
    units: Any
    deltas: Any
    pre_activations: Any
    outputs: Any
    learning_rate: Any  # one element a layer
    momentum: Any  # one element, as all that follow
    undecided: Any
    misses: Any
    size: Any
    loss: Any
    gradient_norm: Any
    weight_norm: Any


# -------------------------------------------------------------------- the equations, for one sample


@inline
def _forward(kind: Kind, net: Net, group: Group, s: Index) -> None:
    """Compute a and z of every layer; see `network.Block.forward`."""
    layout = layout_in(kind, net.layout)
    _layer_forward(kind, net, group, s, 0, net.inputs[s])
    for layer in range(1, len(layout.sizes) - 1):
        _layer_forward(kind, net, group, s, layer, row_from(group.units, layout.unit_at[layer]))


@inline
def _layer_forward(kind: Kind, net: Net, group: Group, s: Index, layer: Index, z: Any) -> None:
    """Compute a[o] = Σᵢ w[i, o]·z[i], bias first, and z_next[o] = f(a[o])."""
    layout = layout_in(kind, net.layout)
    n_rows, fan_out = layout.sizes[layer] + layout.bias, layout.sizes[layer + 1]
    w = matrix_from(group.weights, layout.weight_at[layer], fan_out)
    z_next = row_from(group.units, layout.unit_at[layer + 1] + layout.bias)
    for o in range(fan_out):
        a = w[0, o] * z[0]
        for i in range(1, n_rows):
            a += w[i, o] * z[i]
        group.size[0] += abs(a)
        if layer < len(layout.sizes) - 2:
            z_next[o] = hidden(kind, net.activation, a, net.slope)
        else:
            group.pre_activations[s * fan_out + o] = a
            group.outputs[s * fan_out + o] = output(kind, net.output, a, net.slope)


@inline
def _backward(kind: Kind, net: Net, group: Group, s: Index, is_first: bool) -> None:
    """Compute deltas, and add to the gradient or begin it; see `network.Block.backward`."""
    layout = layout_in(kind, net.layout)
    last = len(layout.sizes) - 2
    n_outputs = layout.sizes[last + 1]
    delta = row_from(group.deltas, layout.unit_at[last + 1] + layout.bias)
    for o in range(n_outputs):
        z, y = group.outputs[s * n_outputs + o], net.targets[s, o]
        derivative = scaled_output(kind, net.output, spread(1.0), z, net.slope)
        delta[o] = output_delta(kind, net.loss, z, y, derivative)
    for layer in range(last, 0, -1):
        z = row_from(group.units, layout.unit_at[layer])
        _add_gradient(kind, net, group, layer, z, is_first)
        _hidden_deltas(kind, net, group, layer, z)
    _add_gradient(kind, net, group, 0, net.inputs[s], is_first)


@inline
def _add_gradient(kind: Kind, net: Net, group: Group, layer: Index, z: Any, is_first: bool) -> None:
    """Add z[i]·delta[o] to dL/dw[i, o], or set it to that."""
    layout = layout_in(kind, net.layout)
    n_rows, fan_out = layout.sizes[layer] + layout.bias, layout.sizes[layer + 1]
    gradient = matrix_from(group.gradient, layout.weight_at[layer], fan_out)
    delta = row_from(group.deltas, layout.unit_at[layer + 1] + layout.bias)
    for i in range(n_rows):
        for o in range(fan_out):
            term = z[i] * delta[o]
            gradient[i, o] = term if is_first else gradient[i, o] + term


@inline
def _hidden_deltas(kind: Kind, net: Net, group: Group, layer: Index, z: Any) -> None:
    """Compute delta[i] = f'(z[i])·Σₒ w[i, o]·delta_next[o]; bias units get none."""
    layout = layout_in(kind, net.layout)
    n_rows, fan_out = layout.sizes[layer] + layout.bias, layout.sizes[layer + 1]
    w = matrix_from(group.weights, layout.weight_at[layer], fan_out)
    delta = row_from(group.deltas, layout.unit_at[layer])
    delta_next = row_from(group.deltas, layout.unit_at[layer + 1] + layout.bias)
    for i in range(layout.bias, n_rows):
        total = w[i, 0] * delta_next[0]
        for o in range(1, fan_out):
            total += w[i, o] * delta_next[o]
        delta[i] = scaled_hidden(kind, net.activation, total, z[i], net.slope)


@inline
def update(kind: Kind, net: Net, group: Group, factor: float) -> None:
    """Take one step: v ← momentum·v − learning_rate·dL/dw; w ← w + v."""
    layout = layout_in(kind, net.layout)
    momentum = group.momentum[0]
    for layer in range(len(layout.sizes) - 1):
        rate = group.learning_rate[layer]
        for k in range(layout.weight_at[layer], layout.weight_at[layer + 1]):
            velocity = momentum * group.velocity[k] - rate * (group.gradient[k] * factor)
            group.velocity[k] = velocity
            group.weights[k] += velocity


# ------------------------------------------------------------------------------ through the table


@inline
def pass_table(kind: Kind, net: Net, group: Group, with_gradient: bool, online: bool) -> None:
    """Compute all samples, and their gradient where it is asked for; online: update after each."""
    group.size[0] = 0.0
    for s in range(len(net.inputs)):
        _forward(kind, net, group, s)
        if with_gradient:
            _backward(kind, net, group, s, s == 0 or online)
        if online:
            _fix_biases(kind, net, group)
            update(kind, net, group, 1.0)
    if with_gradient and not online:
        _fix_biases(kind, net, group)


@inline
def _fix_biases(kind: Kind, net: Net, group: Group) -> None:
    layout = layout_in(kind, net.layout)
    if layout.bias and not net.train_bias:
        for layer in range(len(layout.sizes) - 1):
            first = layout.weight_at[layer]
            for k in range(first, first + layout.sizes[layer + 1]):
                group.gradient[k] = 0.0


@inline
def look(kind: Kind, net: Net, group: Group) -> bool:
    """Count misses; whether a network converges now, or its loss or a weight may not be finite.

    A weight that is not finite makes the pre-activations it goes into so, and with them the size.
    """
    layout = layout_in(kind, net.layout)
    n_outputs = layout.sizes[len(layout.sizes) - 1]
    misses, size = spread(0.0), group.size[0]
    for s in range(len(net.targets)):
        for o in range(n_outputs):
            error = abs(group.outputs[s * n_outputs + o] - net.targets[s, o])
            misses += where(error < net.tolerance, 0.0, 1.0)
            size += error
    group.misses[0] = misses
    converges = (misses == 0.0) & (group.undecided[0] > 0.0)
    return any_lane(~(size < SAFE)) or any_lane(converges)


@compile_
def measure(kind: Kind, net: Net, group: Group) -> None:
    """Compute loss and norms."""
    layout = layout_in(kind, net.layout)
    n_outputs = layout.sizes[len(layout.sizes) - 1]
    loss, gradient_square, weight_square = spread(0.0), spread(0.0), spread(0.0)
    for s in range(len(net.targets)):
        for o in range(n_outputs):
            a, z = group.pre_activations[s * n_outputs + o], group.outputs[s * n_outputs + o]
            loss += loss_value(kind, net.loss, a, z, net.targets[s, o])
    for k in range(layout.weight_at[len(layout.sizes) - 1]):
        gradient = group.gradient[k] * net.gradient_factor
        gradient_square += gradient * gradient
        weight_square += group.weights[k] * group.weights[k]
    group.loss[0] = loss / len(net.targets)
    group.gradient_norm[0] = np.sqrt(gradient_square)
    group.weight_norm[0] = np.sqrt(weight_square)
