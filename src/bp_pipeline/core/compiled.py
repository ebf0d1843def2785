"""The compiled engine: the epoch loop of `training.py` as machine code, with the same bits.

Owns the order of loops and the memory they run over, nothing of the mathematics: activations,
losses and elementary functions are the very definitions that the reference engine uses, compiled
here. Every product and every sum is the same, in the same order; without fastmath Numba neither
contracts nor reorders them.

A network that is frozen leaves its block: the last column takes its place, and the loops get
shorter.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from jaxtyping import Int64
from numba.extending import overload

from bp_pipeline.core import elementary
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.losses import LOSSES, SAFE
from bp_pipeline.core.network import Parameters, PerNetwork
from bp_pipeline.core.training import (
    CONVERGED,
    DIVERGED,
    STALLED,
    Progress,
    Setup,
    Trained,
    empty_result,
)

BLOCK_SIZE = 512  # networks; a row of their float64 is 4 KiB
_PRODUCTS_PER_CALL = 1 << 24  # so that a call into the kernel returns several times a second

# Typed, because Numba compiles a function anew for every literal number it is called with.
_ZERO, _ONE = np.int64(0), np.int64(1)

Index = Any  # an integer; Numba gives it its type where it is called


def _compile(function: Callable[..., Any], *, keep: bool = False) -> Callable[..., Any]:
    """Compile a function, without fastmath and such that loops over networks vectorize.

    Without the error model every division would be a branch. `keep` is for the one function that
    Python calls: its machine code, with all that it calls, is stored for later processes, and the
    others are spared a wrapper, a quarter of all compilation. One that checks types at run time is
    left out.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": not keep, "no_cfunc_wrapper": True}
    compile_ = numba.njit(nogil=True, error_model="numpy", cache=keep, **options)
    return compile_(inspect.unwrap(function))


def _serve(function: Callable[..., Any], source: Callable[..., Any]) -> None:
    """Let compiled code that calls `function` run `source` on single numbers."""
    overload(function, jit_options={"error_model": "numpy"}, strict=False)(lambda *_: source)


_FOR_NUMBERS: dict[str, Callable[..., Any]] = {
    "where": lambda condition, a, b: a if condition else b,
    "as_bits": lambda x: np.float64(x).view(np.int64),
    "as_float": lambda bits: np.int64(bits).view(np.float64),
}
for _name, _function in inspect.getmembers(elementary, inspect.isfunction):
    _serve(_function, _FOR_NUMBERS.get(_name, inspect.unwrap(_function)))


def _choice(rows: Sequence[Callable[..., Any]], first: int = 0) -> Callable[..., Any]:
    """Compile one function that calls the row function whose index is its first argument."""
    if len(rows) == 1:
        return rows[0]
    middle = len(rows) // 2
    at = first + middle
    lower, upper = _choice(rows[:middle], first), _choice(rows[middle:], at)

    def choose(index: int, *arguments: Any) -> None:
        if index < at:
            lower(index, *arguments)
        else:
            upper(index, *arguments)

    return _compile(choose)


def _activation_row(f: Callable[..., Any]) -> Callable[..., Any]:
    f = _compile(f)

    def row(index: int, a: Any, z: Any, slope: float, n: int) -> None:
        for c in range(n):
            z[c] = f(a[c], slope)

    return _compile(row)


def _derivative_row(derivative: Callable[..., Any]) -> Callable[..., Any]:
    derivative = _compile(derivative)

    def row(index: int, z: Any, delta: Any, slope: float, n: int) -> None:
        for c in range(n):
            delta[c] = delta[c] * derivative(z[c], slope)

    return _compile(row)


def _loss_row(value: Callable[..., Any]) -> Callable[..., Any]:
    value = _compile(value)

    def row(index: int, a: Any, z: Any, y: float, total: Any, n: int) -> None:
        for c in range(n):
            total[c] = total[c] + value(a[c], z[c], y)

    return _compile(row)


def _delta_row(delta: Callable[..., Any]) -> Callable[..., Any]:
    delta = _compile(delta)

    def row(index: int, z: Any, y: float, derivative: Any, n: int) -> None:
        for c in range(n):
            derivative[c] = delta(z[c], y, derivative[c])

    return _compile(row)


_activate = _choice([_activation_row(a.f) for a in ACTIVATIONS.values()])
_derive = _choice([_derivative_row(a.derivative) for a in ACTIVATIONS.values()])
_add_loss = _choice([_loss_row(loss.value) for loss in LOSSES.values()])
_output_delta = _choice([_delta_row(loss.delta) for loss in LOSSES.values()])


class _Net(NamedTuple):
    """What the networks share, as numbers. Rows of units count samples, then units."""

    sizes: np.ndarray  # units of each layer
    weight_at: np.ndarray  # for each layer with weights, its first row in `weights`
    unit_at: np.ndarray  # for each such layer, the first row of its units
    has_bias: bool
    train_bias: bool
    hidden: int  # index in ACTIVATIONS
    output: int
    slope: float
    loss: int  # index in LOSSES
    inputs: np.ndarray  # (sample, bias + input)
    targets: np.ndarray  # (sample, output)
    ones: np.ndarray  # (sample,), what bias units put in
    gradient_factor: float
    online: bool
    epochs: int
    tolerance: float
    stop_when_converged: bool
    recorded: np.ndarray


class _Block(NamedTuple):
    """Networks side by side: rows of one value each, of which the first `n` are learning."""

    network: np.ndarray  # which network of the result a column is
    learning_rate: np.ndarray
    momentum: np.ndarray
    weights: np.ndarray  # (weight, network), as are velocity and gradient
    velocity: np.ndarray
    gradient: np.ndarray
    pre_activations: np.ndarray  # (unit, network), as are activations and deltas
    activations: np.ndarray
    deltas: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray
    weight_norm: np.ndarray
    misses: np.ndarray  # outputs that are not within the tolerance
    doubts: np.ndarray  # not 0 where the loss or a weight may not be finite
    nothing: np.ndarray  # −0.0, which added to any number gives that number


@_compile
def _fill(row: Any, value: float, n: Index) -> None:
    for c in range(n):
        row[c] = value


@_compile
def _sum_products(
    out: Any, start: Any, x: Any, x_at: Index, x_step: Index, y: Any, y_at: Index, y_step: Index,
    count: Index, n: Index,
) -> None:  # fmt: skip
    """Set out = start + Σₖ x[k]·y[k], in order; up to four products a pass over the row."""
    k = 0
    while k < count:
        x0, y0 = x[x_at + k * x_step], y[y_at + k * y_step]
        if count - k >= 4:
            x1, y1 = x[x_at + (k + 1) * x_step], y[y_at + (k + 1) * y_step]
            x2, y2 = x[x_at + (k + 2) * x_step], y[y_at + (k + 2) * y_step]
            x3, y3 = x[x_at + (k + 3) * x_step], y[y_at + (k + 3) * y_step]
            for c in range(n):
                total = start[c] + x0[c] * y0[c]
                total = total + x1[c] * y1[c]
                total = total + x2[c] * y2[c]
                out[c] = total + x3[c] * y3[c]
            k += 4
        elif count - k >= 2:
            x1, y1 = x[x_at + (k + 1) * x_step], y[y_at + (k + 1) * y_step]
            for c in range(n):
                total = start[c] + x0[c] * y0[c]
                out[c] = total + x1[c] * y1[c]
            k += 2
        else:
            for c in range(n):
                out[c] = start[c] + x0[c] * y0[c]
            k += 1
        start = out


@_compile
def _sum_scaled(
    out: Any, start: Any, x: Any, x_at: Index, x_step: Index, factors: Any, n: Index
) -> None:
    """Set out = start + Σₖ x[k]·factors[k], in order, as `_sum_products` does."""
    k, count = 0, len(factors)
    while k < count:
        x0, f0 = x[x_at + k * x_step], factors[k]
        if count - k >= 4:
            x1, f1 = x[x_at + (k + 1) * x_step], factors[k + 1]
            x2, f2 = x[x_at + (k + 2) * x_step], factors[k + 2]
            x3, f3 = x[x_at + (k + 3) * x_step], factors[k + 3]
            for c in range(n):
                total = start[c] + x0[c] * f0
                total = total + x1[c] * f1
                total = total + x2[c] * f2
                out[c] = total + x3[c] * f3
            k += 4
        elif count - k >= 2:
            x1, f1 = x[x_at + (k + 1) * x_step], factors[k + 1]
            for c in range(n):
                total = start[c] + x0[c] * f0
                out[c] = total + x1[c] * f1
            k += 2
        else:
            for c in range(n):
                out[c] = start[c] + x0[c] * f0
            k += 1
        start = out


@_compile
def _forward(net: _Net, block: _Block, first: Index, last: Index, n: Index) -> None:
    """Compute a and z of samples `first` … `last` − 1; see `network.Block.forward`."""
    n_layers = len(net.weight_at)
    for layer in range(n_layers):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        code = net.output if layer == n_layers - 1 else net.hidden
        for s in range(first, last):
            for o in range(fan_out):
                row = net.unit_at[layer] + s * fan_out + o
                a, w = block.pre_activations[row], net.weight_at[layer] + o
                if layer == 0:
                    _sum_scaled(a, block.nothing, block.weights, w, fan_out, net.inputs[s], n)
                else:
                    start = block.nothing
                    if net.has_bias:
                        start = block.weights[w]
                        w += fan_out
                    z = net.unit_at[layer - 1] + s * fan_in
                    _sum_products(
                        a, start, block.weights, w, fan_out, block.activations, z, _ONE, fan_in, n
                    )
                _activate(code, a, block.activations[row], net.slope, n)


@_compile
def _backward(net: _Net, block: _Block, first: Index, last: Index, n: Index) -> None:
    """Compute deltas and the gradient over some samples; see `network.Block.backward`."""
    n_layers = len(net.weight_at)
    for layer in range(n_layers - 1, -1, -1):
        for s in range(first, last):
            for o in range(net.sizes[layer + 1]):
                _delta(net, block, layer, s, o, n)
        _gradient(net, block, layer, first, last, n)


@_compile
def _delta(net: _Net, block: _Block, layer: Index, s: Index, o: Index, n: Index) -> None:
    row = net.unit_at[layer] + s * net.sizes[layer + 1] + o
    z, delta = block.activations[row], block.deltas[row]
    if layer == len(net.weight_at) - 1:
        _fill(delta, 1.0, n)
        _derive(net.output, z, delta, net.slope, n)
        _output_delta(net.loss, z, net.targets[s, o], delta, n)
        return
    fan_out = net.sizes[layer + 2]
    w = net.weight_at[layer + 1] + (o + int(net.has_bias)) * fan_out
    following = net.unit_at[layer + 1] + s * fan_out
    _sum_products(
        delta, block.nothing, block.weights, w, _ONE, block.deltas, following, _ONE, fan_out, n
    )
    _derive(net.hidden, z, delta, net.slope, n)


@_compile
def _gradient(net: _Net, block: _Block, layer: Index, first: Index, last: Index, n: Index) -> None:
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    bias = int(net.has_bias)
    for i in range(bias + fan_in):
        for o in range(fan_out):
            g = block.gradient[net.weight_at[layer] + i * fan_out + o]
            delta = net.unit_at[layer] + first * fan_out + o
            if i < bias and not net.train_bias:
                _fill(g, 0.0, n)
            elif layer == 0 or i < bias:
                factors = net.ones[first:last] if i < bias else net.inputs[first:last, i]
                _sum_scaled(g, block.nothing, block.deltas, delta, fan_out, factors, n)
            else:
                z = net.unit_at[layer - 1] + first * fan_in + i - bias
                _sum_products(
                    g, block.nothing, block.activations, z, fan_in,
                    block.deltas, delta, fan_out, last - first, n,
                )  # fmt: skip


@_compile
def _update(block: _Block, n: Index) -> None:
    """Take one step; see `network.Block.update`."""
    for row in range(len(block.weights)):
        w, v, g = block.weights[row], block.velocity[row], block.gradient[row]
        for c in range(n):
            step = block.momentum[c] * v[c] - block.learning_rate[c] * g[c]
            v[c] = step
            w[c] = w[c] + step


@_compile
def _step(net: _Net, block: _Block, n: Index) -> None:
    """Update once with the batch gradient, or after each sample."""
    if not net.online:
        _update(block, n)
        return
    for s in range(len(net.targets)):
        _forward(net, block, s, s + 1, n)
        _backward(net, block, s, s + 1, n)
        _update(block, n)


@_compile
def _batch_gradient(net: _Net, block: _Block, n: Index) -> None:
    _backward(net, block, _ZERO, len(net.targets), n)
    for row in range(len(block.gradient)):
        g = block.gradient[row]
        for c in range(n):
            g[c] = g[c] * net.gradient_factor


@_compile
def _measure_loss(net: _Net, block: _Block, n: Index) -> None:
    _fill(block.loss, 0.0, n)
    row = net.unit_at[-1]
    for s in range(len(net.targets)):
        for o in range(net.targets.shape[1]):
            a, z = block.pre_activations[row], block.activations[row]
            _add_loss(net.loss, a, z, net.targets[s, o], block.loss, n)
            row += 1
    for c in range(n):
        block.loss[c] = block.loss[c] / len(net.targets)


@_compile
def _norm(values: Any, total: Any, n: Index) -> None:
    _fill(total, 0.0, n)
    for row in range(len(values)):
        for c in range(n):
            total[c] = total[c] + values[row, c] * values[row, c]
    for c in range(n):
        total[c] = np.sqrt(total[c])


@_compile
def _check(net: _Net, block: _Block, n: Index) -> bool:
    """Fill `misses` and `doubts`; say whether any doubt is there."""
    _fill(block.misses, 0.0, n)
    _fill(block.doubts, 0.0, n)
    row = net.unit_at[-1]
    for s in range(len(net.targets)):
        for o in range(net.targets.shape[1]):
            y, a, z = net.targets[s, o], block.pre_activations[row], block.activations[row]
            for c in range(n):
                block.misses[c] += 0.0 if abs(z[c] - y) < net.tolerance else 1.0
                block.doubts[c] += 0.0 if abs(a[c]) < SAFE and abs(z[c] - y) < SAFE else 1.0
            row += 1
    for row in range(len(block.weights)):
        w = block.weights[row]
        for c in range(n):
            block.doubts[c] += w[c] * 0.0  # NaN where w is not finite
    doubtful = 0
    for c in range(n):
        doubtful += 0 if block.doubts[c] == 0.0 else 1
    return doubtful > 0


@_compile
def _settle(
    net: _Net, block: _Block, trained: Trained, epoch: Index, doubtful: bool, n: Index
) -> int:
    """Set the outcomes that are decided at this epoch; mark in `misses` who is to be frozen.

    Afterwards `misses` is +1 for the diverged, −1 for those frozen by convergence, else 0.
    """
    if doubtful:
        _measure_loss(net, block, n)
    leaving = 0
    for c in range(n):
        network, miss = block.network[c], block.misses[c]
        block.misses[c] = 0.0
        # not finite is NaN in `doubts`; a large pre-activation alone only says to look at the loss
        if doubtful and not (block.doubts[c] * 0.0 == 0.0 and np.isfinite(block.loss[c])):
            block.misses[c] = 1.0
            if trained.outcome[network] == STALLED:
                trained.outcome[network] = DIVERGED
        elif miss == 0.0 and trained.outcome[network] == STALLED:
            trained.outcome[network] = CONVERGED
            trained.epochs_to_converge[network] = epoch
            if net.stop_when_converged:
                block.misses[c] = -1.0
        leaving += 0 if block.misses[c] == 0.0 else 1
    return leaving


@_compile
def _record(block: _Block, trained: Trained, slot: Any, at: Index, c: Index) -> None:
    """Write what one column is at the recorded epoch `at`."""
    network = block.network[c]
    trained.loss[at, network] = block.loss[c]
    trained.gradient_norm[at, network] = block.gradient_norm[c]
    trained.weight_norm[at, network] = block.weight_norm[c]
    if slot[network] >= 0:
        for row in range(len(block.weights)):
            trained.trajectory[at, row, slot[network]] = block.weights[row, c]


@_compile
def _freeze(
    net: _Net, block: _Block, trained: Trained, slot: Any, position: Index, is_last: bool, n: Index
) -> int:
    """Write how the leaving columns end, close the gaps, and give how many columns are left."""
    for c in range(n - 1, -1, -1):
        if not (is_last or block.misses[c] != 0.0):
            continue
        if block.misses[c] > 0.0:
            block.loss[c] = block.gradient_norm[c] = block.weight_norm[c] = np.inf
        for at in range(position, len(net.recorded)):
            _record(block, trained, slot, at, c)
        network = block.network[c]
        trained.final_loss[network] = block.loss[c]
        for row in range(len(block.weights)):
            trained.parameters[row, network] = block.weights[row, c]
        n -= 1
        _move(block, n, c)
    return n


@_compile
def _move(block: _Block, source: Index, target: Index) -> None:
    """Put one column in the place of another."""
    block.network[target] = block.network[source]
    block.learning_rate[target] = block.learning_rate[source]
    block.momentum[target] = block.momentum[source]
    block.loss[target] = block.loss[source]
    block.gradient_norm[target] = block.gradient_norm[source]
    block.weight_norm[target] = block.weight_norm[source]
    for row in range(len(block.weights)):
        block.weights[row, target] = block.weights[row, source]
        block.velocity[row, target] = block.velocity[row, source]
        block.gradient[row, target] = block.gradient[row, source]


@partial(_compile, keep=True)
def _train_epochs(
    net: _Net, block: _Block, trained: Trained, slot: Any, epoch: Index, stop: Index, n: Index
) -> int:
    """Go from `epoch` to before `stop`; give how many columns are still learning."""
    position = np.searchsorted(net.recorded, epoch)
    while epoch < stop and n > 0:
        _forward(net, block, _ZERO, len(net.targets), n)
        leaving = _settle(net, block, trained, epoch, _check(net, block, n), n)
        is_last, is_recorded = epoch == net.epochs, epoch == net.recorded[position]
        if is_recorded or leaving > 0 or not (net.online or is_last):
            _batch_gradient(net, block, n)
        if is_recorded or leaving > 0:
            _measure_loss(net, block, n)
            _norm(block.gradient, block.gradient_norm, n)
            _norm(block.weights, block.weight_norm, n)
        if is_recorded:
            for c in range(n):
                _record(block, trained, slot, position, c)
        if leaving > 0 or is_last:
            n = _freeze(net, block, trained, slot, position, is_last, n)
        if not is_last:
            _step(net, block, n)
        position += int(is_recorded)
        epoch += 1
    return n


def train(
    setup: Setup,
    parameters: Parameters,
    learning_rate: PerNetwork,
    momentum: PerNetwork,
    *,
    kept: Int64[np.ndarray, " kept"] | None = None,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train networks with compiled code; arguments and result are those of `training.train`."""
    kept = np.empty(0, dtype=np.int64) if kept is None else kept
    trained = empty_result(setup, parameters, kept)
    slot = np.full(parameters.shape[1], -1)  # of its weights among the kept ones
    slot[kept] = np.arange(len(kept))
    net, step = _net(setup), block_size or BLOCK_SIZE
    for start in range(0, parameters.shape[1], step):
        chosen = slice(start, min(start + step, parameters.shape[1]))
        block = _block(net, parameters, learning_rate, momentum, chosen)
        _train_block(net, block, trained, slot, progress or (lambda _: None))
    return trained


def _train_block(
    net: _Net, block: _Block, trained: Trained, slot: np.ndarray, progress: Progress
) -> None:
    n = n_networks = len(block.network)
    products = len(net.targets) * block.weights.size
    epochs_per_call = max(1, _PRODUCTS_PER_CALL // products)
    for epoch in range(0, net.epochs + 1, epochs_per_call):
        if n == 0:
            progress(n_networks * (net.epochs - epoch))
            return
        stop = min(epoch + epochs_per_call, net.epochs + 1)
        n = _train_epochs(net, block, trained, slot, epoch, stop, n)
        progress(n_networks * (min(stop, net.epochs) - epoch))


def _net(setup: Setup) -> _Net:
    architecture = setup.architecture
    inputs, targets = np.array(setup.inputs), np.array(setup.targets)
    ones = np.ones(len(inputs))
    sizes = np.array(architecture.layer_sizes)
    n_weights = [rows * fan_out for rows, fan_out in architecture.shapes]
    return _Net(
        sizes=sizes,
        weight_at=np.cumsum([0, *n_weights[:-1]]),
        unit_at=np.cumsum([0, *sizes[1:-1]]) * len(inputs),
        has_bias=architecture.bias,
        train_bias=architecture.train_bias,
        hidden=list(ACTIVATIONS).index(architecture.activation),
        output=list(ACTIVATIONS).index(architecture.output),
        slope=architecture.slope,
        loss=list(LOSSES).index(architecture.loss),
        inputs=np.column_stack([ones, inputs]) if architecture.bias else inputs,
        targets=targets,
        ones=ones,
        gradient_factor=1.0 / len(inputs) if architecture.mean_gradient else 1.0,
        online=setup.online,
        epochs=setup.epochs,
        tolerance=setup.tolerance,
        stop_when_converged=setup.stop_when_converged,
        recorded=setup.recorded_epochs,
    )


def _block(
    net: _Net,
    parameters: Parameters,
    learning_rate: PerNetwork,
    momentum: PerNetwork,
    chosen: slice,
) -> _Block:
    weights = parameters[:, chosen].copy()
    n = weights.shape[1]
    units = (int(net.sizes[1:].sum()) * len(net.targets), n)
    return _Block(
        network=np.arange(chosen.start, chosen.stop),
        learning_rate=learning_rate[chosen].copy(),
        momentum=momentum[chosen].copy(),
        weights=weights,
        velocity=np.zeros_like(weights),
        gradient=np.zeros_like(weights),
        pre_activations=np.empty(units),
        activations=np.empty(units),
        deltas=np.empty(units),
        loss=np.empty(n),
        gradient_norm=np.empty(n),
        weight_norm=np.empty(n),
        misses=np.empty(n),
        doubts=np.empty(n),
        nothing=np.full(n, -0.0),
    )
