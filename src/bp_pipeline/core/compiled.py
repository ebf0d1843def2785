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

    def row(index: int, rows: Any, a: int, z: int, slope: float, n: int) -> None:
        for c in range(n):
            rows[z, c] = f(rows[a, c], slope)

    return _compile(row)


def _derivative_row(derivative: Callable[..., Any]) -> Callable[..., Any]:
    derivative = _compile(derivative)

    def row(index: int, rows: Any, z: int, delta: int, slope: float, n: int) -> None:
        for c in range(n):
            rows[delta, c] = rows[delta, c] * derivative(rows[z, c], slope)

    return _compile(row)


def _loss_row(value: Callable[..., Any]) -> Callable[..., Any]:
    value = _compile(value)

    def row(index: int, rows: Any, a: int, z: int, y: float, n: int) -> None:
        for c in range(n):
            rows[_LOSS, c] = rows[_LOSS, c] + value(rows[a, c], rows[z, c], y)

    return _compile(row)


def _delta_row(delta: Callable[..., Any]) -> Callable[..., Any]:
    delta = _compile(delta)

    def row(index: int, rows: Any, z: int, y: float, derivative: int, n: int) -> None:
        for c in range(n):
            rows[derivative, c] = delta(rows[z, c], y, rows[derivative, c])

    return _compile(row)


_activate = _choice([_activation_row(a.f) for a in ACTIVATIONS.values()])
_derive = _choice([_derivative_row(a.derivative) for a in ACTIVATIONS.values()])
_add_loss = _choice([_loss_row(loss.value) for loss in LOSSES.values()])
_output_delta = _choice([_delta_row(loss.delta) for loss in LOSSES.values()])


class _Net(NamedTuple):
    """What the networks share, as numbers, and which rows of a block hold what.

    Rows of units count samples, then units; in one layer they follow each other.
    """

    sizes: np.ndarray  # units of each layer
    weight_at: np.ndarray  # for each layer with weights, its first among the rows of weights
    unit_at: np.ndarray  # for each such layer, its first among the rows of units
    n_weights: int
    weights: int  # first row of each kind; there are as many of velocity and gradient
    velocity: int
    gradient: int
    pre_activations: int
    activations: int
    deltas: int
    has_bias: bool
    train_bias: bool
    hidden: int  # index in ACTIVATIONS
    output: int
    slope: float
    loss: int  # index in LOSSES
    n_samples: int
    inputs: np.ndarray  # of sample 0, 1, …: bias and inputs
    targets: np.ndarray  # of sample 0, 1, …: outputs
    ones: np.ndarray  # (sample,), what bias units put in
    gradient_factor: float
    online: bool
    epochs: int
    tolerance: float
    stop_when_converged: bool
    recorded: np.ndarray


# A block is one array: a row for each value of a network, one column a network, of which the first
# `n` are learning. One array, because views of single rows cost Numba more than the sums over them.
# MISSES counts outputs that are not within the tolerance; DOUBTS is not 0 where the loss or a
# weight may not be finite; NOTHING is −0.0, which added to any number gives that number.
_LEARNING_RATE, _MOMENTUM, _LOSS, _GRADIENT_NORM, _WEIGHT_NORM = np.arange(5)
_MISSES, _DOUBTS, _NOTHING, _FIRST_WEIGHT = np.arange(5, 9)


@_compile
def _fill(rows: Any, at: Index, value: float, n: Index) -> None:
    for c in range(n):
        rows[at, c] = value


def _weighted_sum(factor: Callable[..., Any]) -> Callable[..., Any]:
    """Compile out = start + Σₖ x[k]·y[k] over rows, in order; up to four products a pass.

    `factor` says what y[k] is. What is added to has loops of its own: where two rows might be one,
    loops do not vectorize.
    """
    factor = _compile(factor)

    @_compile
    def add(
        rows: Any, out: Index, x: Index, x_step: Index, table: Any, y: Index, y_step: Index,
        count: Index, n: Index,
    ) -> None:  # fmt: skip
        while count >= 4:
            x1, y1, x2, y2 = x + x_step, y + y_step, x + 2 * x_step, y + 2 * y_step
            x3, y3 = x2 + x_step, y2 + y_step
            for c in range(n):
                total = rows[out, c] + rows[x, c] * factor(rows, table, y, c)
                total = total + rows[x1, c] * factor(rows, table, y1, c)
                total = total + rows[x2, c] * factor(rows, table, y2, c)
                rows[out, c] = total + rows[x3, c] * factor(rows, table, y3, c)
            x, y, count = x3 + x_step, y3 + y_step, count - 4
        while count > 0:
            for c in range(n):
                rows[out, c] = rows[out, c] + rows[x, c] * factor(rows, table, y, c)
            x, y, count = x + x_step, y + y_step, count - 1

    @_compile
    def set_to_sum(
        rows: Any, out: Index, start: Index, x: Index, x_step: Index, table: Any, y: Index,
        y_step: Index, count: Index, n: Index,
    ) -> None:  # fmt: skip
        x1, y1, x2, y2 = x + x_step, y + y_step, x + 2 * x_step, y + 2 * y_step
        x3, y3 = x2 + x_step, y2 + y_step
        if count == 1:
            for c in range(n):
                rows[out, c] = rows[start, c] + rows[x, c] * factor(rows, table, y, c)
        elif count == 2:
            for c in range(n):
                total = rows[start, c] + rows[x, c] * factor(rows, table, y, c)
                rows[out, c] = total + rows[x1, c] * factor(rows, table, y1, c)
        elif count == 3:
            for c in range(n):
                total = rows[start, c] + rows[x, c] * factor(rows, table, y, c)
                total = total + rows[x1, c] * factor(rows, table, y1, c)
                rows[out, c] = total + rows[x2, c] * factor(rows, table, y2, c)
        else:
            for c in range(n):
                total = rows[start, c] + rows[x, c] * factor(rows, table, y, c)
                total = total + rows[x1, c] * factor(rows, table, y1, c)
                total = total + rows[x2, c] * factor(rows, table, y2, c)
                rows[out, c] = total + rows[x3, c] * factor(rows, table, y3, c)
            x, y = x + 4 * x_step, y + 4 * y_step
            add(rows, out, x, x_step, table, y, y_step, count - 4, n)

    return set_to_sum


_sum_products = _weighted_sum(lambda rows, table, y, c: rows[y, c])
_sum_scaled = _weighted_sum(lambda rows, table, y, c: table[y])


@_compile
def _forward(net: _Net, rows: Any, first: Index, last: Index, n: Index) -> None:
    """Compute a and z of samples `first` … `last` − 1; see `network.Block.forward`."""
    n_layers = len(net.weight_at)
    for layer in range(n_layers):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        code = net.output if layer == n_layers - 1 else net.hidden
        n_rows = fan_in + int(net.has_bias)
        for s in range(first, last):
            for o in range(fan_out):
                unit = net.unit_at[layer] + s * fan_out + o
                a, w = net.pre_activations + unit, net.weights + net.weight_at[layer] + o
                if layer == 0:
                    _sum_scaled(
                        rows, a, _NOTHING, w, fan_out, net.inputs, s * n_rows, _ONE, n_rows, n
                    )
                else:
                    start = w if net.has_bias else _NOTHING
                    w += fan_out * int(net.has_bias)
                    z = net.activations + net.unit_at[layer - 1] + s * fan_in
                    _sum_products(rows, a, start, w, fan_out, net.inputs, z, _ONE, fan_in, n)
                _activate(code, rows, a, net.activations + unit, net.slope, n)


@_compile
def _backward(net: _Net, rows: Any, first: Index, last: Index, n: Index) -> None:
    """Compute deltas and the gradient over some samples; see `network.Block.backward`."""
    n_layers = len(net.weight_at)
    for layer in range(n_layers - 1, -1, -1):
        for s in range(first, last):
            for o in range(net.sizes[layer + 1]):
                _delta(net, rows, layer, s, o, n)
        _gradient(net, rows, layer, first, last, n)


@_compile
def _delta(net: _Net, rows: Any, layer: Index, s: Index, o: Index, n: Index) -> None:
    unit = net.unit_at[layer] + s * net.sizes[layer + 1] + o
    z, delta = net.activations + unit, net.deltas + unit
    if layer == len(net.weight_at) - 1:
        _fill(rows, delta, 1.0, n)
        _derive(net.output, rows, z, delta, net.slope, n)
        y = net.targets[s * net.sizes[layer + 1] + o]
        _output_delta(net.loss, rows, z, y, delta, n)
        return
    fan_out = net.sizes[layer + 2]
    w = net.weights + net.weight_at[layer + 1] + (o + int(net.has_bias)) * fan_out
    following = net.deltas + net.unit_at[layer + 1] + s * fan_out
    _sum_products(rows, delta, _NOTHING, w, _ONE, net.inputs, following, _ONE, fan_out, n)
    _derive(net.hidden, rows, z, delta, net.slope, n)


@_compile
def _gradient(net: _Net, rows: Any, layer: Index, first: Index, last: Index, n: Index) -> None:
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    bias = int(net.has_bias)
    n_rows, count = fan_in + bias, last - first
    for i in range(n_rows):
        for o in range(fan_out):
            g = net.gradient + net.weight_at[layer] + i * fan_out + o
            delta = net.deltas + net.unit_at[layer] + first * fan_out + o
            if i < bias and not net.train_bias:
                _fill(rows, g, 0.0, n)
            elif i < bias:
                _sum_scaled(rows, g, _NOTHING, delta, fan_out, net.ones, _ZERO, _ONE, count, n)
            elif layer == 0:
                at = first * n_rows + i
                _sum_scaled(rows, g, _NOTHING, delta, fan_out, net.inputs, at, n_rows, count, n)
            else:
                z = net.activations + net.unit_at[layer - 1] + first * fan_in + i - bias
                _sum_products(rows, g, _NOTHING, z, fan_in, net.inputs, delta, fan_out, count, n)


@_compile
def _update(net: _Net, rows: Any, gradient_factor: float, n: Index) -> None:
    """Take one step; see `network.Block.update`."""
    for i in range(net.n_weights):
        w, v, g = net.weights + i, net.velocity + i, net.gradient + i
        for c in range(n):
            downhill = rows[_LEARNING_RATE, c] * (rows[g, c] * gradient_factor)
            step = rows[_MOMENTUM, c] * rows[v, c] - downhill
            rows[v, c] = step
            rows[w, c] = rows[w, c] + step


@_compile
def _step(net: _Net, rows: Any, n: Index) -> None:
    """Update once with the batch gradient, or after each sample."""
    if not net.online:
        _update(net, rows, net.gradient_factor, n)
        return
    for s in range(net.n_samples):
        _forward(net, rows, s, s + 1, n)
        _backward(net, rows, s, s + 1, n)
        _update(net, rows, 1.0, n)


@_compile
def _measure_loss(net: _Net, rows: Any, n: Index) -> None:
    _fill(rows, _LOSS, 0.0, n)
    for i in range(len(net.targets)):
        unit = net.unit_at[-1] + i
        a, z = net.pre_activations + unit, net.activations + unit
        _add_loss(net.loss, rows, a, z, net.targets[i], n)
    for c in range(n):
        rows[_LOSS, c] = rows[_LOSS, c] / net.n_samples


@_compile
def _norm(rows: Any, out: Index, first: Index, count: Index, factor: float, n: Index) -> None:
    _fill(rows, out, 0.0, n)
    for at in range(first, first + count):
        for c in range(n):
            value = rows[at, c] * factor
            rows[out, c] = rows[out, c] + value * value
    for c in range(n):
        rows[out, c] = np.sqrt(rows[out, c])


@_compile
def _check(net: _Net, rows: Any, n: Index) -> bool:
    """Fill the rows of misses and doubts; say whether any doubt is there."""
    _fill(rows, _MISSES, 0.0, n)
    _fill(rows, _DOUBTS, 0.0, n)
    for i in range(len(net.targets)):
        unit, y = net.unit_at[-1] + i, net.targets[i]
        a, z = net.pre_activations + unit, net.activations + unit
        for c in range(n):
            error = abs(rows[z, c] - y)
            rows[_MISSES, c] += 0.0 if error < net.tolerance else 1.0
            rows[_DOUBTS, c] += 0.0 if abs(rows[a, c]) < SAFE and error < SAFE else 1.0
    for w in range(net.weights, net.weights + net.n_weights):
        for c in range(n):
            rows[_DOUBTS, c] += rows[w, c] * 0.0  # NaN where a weight is not finite
    doubtful = 0
    for c in range(n):
        doubtful += 0 if rows[_DOUBTS, c] == 0.0 else 1
    return doubtful > 0


@_compile
def _settle(
    net: _Net, rows: Any, network: Any, trained: Trained, epoch: Index, doubtful: bool, n: Index
) -> int:
    """Set the outcomes that are decided at this epoch; mark in the misses who is to be frozen.

    Afterwards misses are +1 for the diverged, −1 for those frozen by convergence, else 0.
    """
    if doubtful:
        _measure_loss(net, rows, n)
    leaving = 0
    for c in range(n):
        k, miss = network[c], rows[_MISSES, c]
        mark = 0.0
        # not finite is NaN in the doubts; a large pre-activation only says to look at the loss
        finite = rows[_DOUBTS, c] * 0.0 == 0.0
        if doubtful and not (finite and np.isfinite(rows[_LOSS, c])):
            mark = 1.0
            if trained.outcome[k] == STALLED:
                trained.outcome[k] = DIVERGED
        elif miss == 0.0 and trained.outcome[k] == STALLED:
            trained.outcome[k] = CONVERGED
            trained.epochs_to_converge[k] = epoch
            if net.stop_when_converged:
                mark = -1.0
        rows[_MISSES, c] = mark
        leaving += 0 if mark == 0.0 else 1
    return leaving


@_compile
def _record(
    net: _Net, rows: Any, network: Any, trained: Trained, slot: Any, at: Index, c: Index
) -> None:
    """Write what one column is at the recorded epoch `at`."""
    k = network[c]
    trained.loss[at, k] = rows[_LOSS, c]
    trained.gradient_norm[at, k] = rows[_GRADIENT_NORM, c]
    trained.weight_norm[at, k] = rows[_WEIGHT_NORM, c]
    if slot[k] >= 0:
        for i in range(net.n_weights):
            trained.trajectory[at, i, slot[k]] = rows[net.weights + i, c]


@_compile
def _freeze(
    net: _Net, rows: Any, network: Any, trained: Trained, slot: Any, position: Index,
    is_last: bool, n: Index,
) -> int:  # fmt: skip
    """Write how the leaving columns end, close the gaps, and give how many columns are left."""
    for c in range(n - 1, -1, -1):
        if not (is_last or rows[_MISSES, c] != 0.0):
            continue
        if rows[_MISSES, c] > 0.0:
            rows[_LOSS, c] = rows[_GRADIENT_NORM, c] = rows[_WEIGHT_NORM, c] = np.inf
        for at in range(position, len(net.recorded)):
            _record(net, rows, network, trained, slot, at, c)
        k = network[c]
        trained.final_loss[k] = rows[_LOSS, c]
        for i in range(net.n_weights):
            trained.parameters[i, k] = rows[net.weights + i, c]
        n -= 1
        network[c] = network[n]  # the last column takes the place
        for at in range(net.pre_activations):
            rows[at, c] = rows[at, n]
    return n


@partial(_compile, keep=True)
def _train_epochs(
    net: _Net, rows: Any, network: Any, trained: Trained, slot: Any, epoch: Index, stop: Index,
    n: Index,
) -> int:  # fmt: skip
    """Go from `epoch` to before `stop`; give how many columns are still learning."""
    position = np.searchsorted(net.recorded, epoch)
    while epoch < stop and n > 0:
        _forward(net, rows, _ZERO, net.n_samples, n)
        doubtful = _check(net, rows, n)
        leaving = _settle(net, rows, network, trained, epoch, doubtful, n)
        is_last, is_recorded = epoch == net.epochs, epoch == net.recorded[position]
        if is_recorded or leaving > 0 or not (net.online or is_last):
            _backward(net, rows, _ZERO, net.n_samples, n)
        if is_recorded or leaving > 0:
            _measure_loss(net, rows, n)
            factor = net.gradient_factor
            _norm(rows, _GRADIENT_NORM, net.gradient, net.n_weights, factor, n)
            _norm(rows, _WEIGHT_NORM, net.weights, net.n_weights, 1.0, n)
        if is_recorded:
            for c in range(n):
                _record(net, rows, network, trained, slot, position, c)
        if leaving > 0 or is_last:
            n = _freeze(net, rows, network, trained, slot, position, is_last, n)
        if not is_last:
            _step(net, rows, n)
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
        rows = _rows(net, parameters[:, chosen], learning_rate[chosen], momentum[chosen])
        network = np.arange(chosen.start, chosen.stop)
        _train_block(net, rows, network, trained, slot, progress or (lambda _: None))
    return trained


def _train_block(
    net: _Net,
    rows: np.ndarray,
    network: np.ndarray,
    trained: Trained,
    slot: np.ndarray,
    progress: Progress,
) -> None:
    """Train one block, of whose columns `network` says which network of the result each is."""
    n = n_networks = len(network)
    epochs_per_call = max(1, _PRODUCTS_PER_CALL // (net.n_samples * net.n_weights * n))
    for epoch in range(0, net.epochs + 1, epochs_per_call):
        if n == 0:
            progress(n_networks * (net.epochs - epoch))
            return
        stop = min(epoch + epochs_per_call, net.epochs + 1)
        n = _train_epochs(net, rows, network, trained, slot, epoch, stop, n)
        progress(n_networks * (min(stop, net.epochs) - epoch))


def _net(setup: Setup) -> _Net:
    architecture = setup.architecture
    inputs, targets = np.array(setup.inputs), np.array(setup.targets)
    n_samples, ones = len(inputs), np.ones(len(inputs))
    sizes = np.array(architecture.layer_sizes)
    n_weights = [rows * fan_out for rows, fan_out in architecture.shapes]
    kinds = 3 * [sum(n_weights)] + 2 * [n_samples * int(sizes[1:].sum())]
    weights, velocity, gradient, pre_activations, activations, deltas = np.cumsum(
        [_FIRST_WEIGHT, *kinds]
    ).tolist()
    return _Net(
        sizes=sizes,
        weight_at=np.cumsum([0, *n_weights[:-1]]),
        unit_at=np.cumsum([0, *sizes[1:-1]]) * n_samples,
        n_weights=sum(n_weights),
        weights=weights,
        velocity=velocity,
        gradient=gradient,
        pre_activations=pre_activations,
        activations=activations,
        deltas=deltas,
        has_bias=architecture.bias,
        train_bias=architecture.train_bias,
        hidden=list(ACTIVATIONS).index(architecture.activation),
        output=list(ACTIVATIONS).index(architecture.output),
        slope=architecture.slope,
        loss=list(LOSSES).index(architecture.loss),
        n_samples=n_samples,
        inputs=(np.column_stack([ones, inputs]) if architecture.bias else inputs).reshape(-1),
        targets=targets.reshape(-1),
        ones=ones,
        gradient_factor=1.0 / n_samples if architecture.mean_gradient else 1.0,
        online=setup.online,
        epochs=setup.epochs,
        tolerance=setup.tolerance,
        stop_when_converged=setup.stop_when_converged,
        recorded=setup.recorded_epochs,
    )


def _rows(
    net: _Net, parameters: Parameters, learning_rate: PerNetwork, momentum: PerNetwork
) -> np.ndarray:
    rows = np.zeros((2 * net.deltas - net.activations, parameters.shape[1]))
    rows[_LEARNING_RATE], rows[_MOMENTUM], rows[_NOTHING] = learning_rate, momentum, -0.0
    rows[net.weights : net.velocity] = parameters
    return rows
