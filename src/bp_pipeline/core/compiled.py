"""The compiled engine: the epoch loop of `training.py` as machine code, with the same bits.

Owns the order of loops and the memory they run over, nothing of the mathematics: activations,
losses and elementary functions are the very definitions that the reference engine uses, compiled
here for `lanes.FLOATS`. So what stands below reads as if for one network, and is done for LANES of
them at once, each with an epoch of its own: a network that is frozen or has come to its last epoch
leaves its lane to the next one that waits, whenever that is.

What is compiled in is a `Kind`; Numba compiles the kernel once for each and keeps it on disk.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import (
    NativeValue,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

from bp_pipeline.core import elementary, lanes
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.initializers import layer_shapes
from bp_pipeline.core.lanes import LANES, any_lane, as_row, matrix_from, row_from, spread
from bp_pipeline.core.losses import LOSSES, SAFE
from bp_pipeline.core.network import Architecture, Parameters, PerLayer, PerNetwork
from bp_pipeline.core.training import (
    CONVERGED,
    DIVERGED,
    STALLED,
    Kept,
    Progress,
    Setup,
    Trained,
    empty_result,
    mark_blown_up,
)

# A kernel that knows what it trains is faster by a third or so, but has to be compiled.
_WORTH_COMPILING = 1 << 22  # products of a weight and an activation in all; below, a millisecond
_SMALL = 32  # weights; above, compiling the layer sizes in gains next to nothing
_PRODUCTS_PER_CALL = 1 << 22  # so that a call into the kernel returns several times a second
_NOBODY = -1  # in place of the network of an idle lane

# Typed, because Numba compiles a function anew for every literal that it is called with.
_YES, _NO = np.bool_(True), np.bool_(False)

_COMPILING = Lock()
Index = Any  # an integer; Numba gives it its type where it is called


# ------------------------------------------------------------------------------ what is compiled in


@dataclass(frozen=True)
class Kind:
    """What is compiled in; what is empty is looked up while a kernel runs.

    Attributes
    ----------
    activation, output, loss, layer_sizes, bias
        As in `Architecture`.
    """

    activation: str = ""
    output: str = ""
    loss: str = ""
    layer_sizes: tuple[int, ...] = ()
    bias: bool = False


class _Layout(NamedTuple):
    """Where what belongs to a layer begins among the weights and among the units of a network."""

    sizes: Any  # units of each layer, bias units not counted
    bias: Any  # 1 with bias units, else 0
    weight_at: Any  # one more than there are layers with weights: the last one is where they end
    unit_at: Any  # of the bias unit, where there are any


class _KindType(types.Type):
    """A kind as Numba's type, so that there is a kernel for each."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        super().__init__(name=repr(kind))


register_model(_KindType)(models.OpaqueModel)
typeof_impl.register(Kind)(lambda kind, _: _KindType(kind))
unbox(_KindType)(lambda typ, obj, c: NativeValue(c.context.get_dummy_value()))


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function that compiled ones call, without fastmath and into its caller.

    Without the error model every division would be a branch. One that checks types at run time is
    left out.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False, **options}
    compile_ = numba.njit(nogil=True, error_model="numpy", **options)
    return compile_(inspect.unwrap(function))


def _inline(function: Callable[..., Any]) -> Any:
    return _compile(function, forceinline=True)


def _for_lanes(function: Callable[..., Any], source: Callable[..., Any]) -> None:
    """Let compiled code that calls `function` run `source`."""
    options = {"error_model": "numpy", "forceinline": True}
    overload(function, jit_options=options, strict=False)(lambda *_: source)


_where, _as_bits, _as_float = lanes.where, lanes.as_bits, lanes.as_float
_REPLACED: dict[str, Callable[..., Any]] = {
    "where": lambda condition, a, b: _where(condition, a, b),
    "as_bits": lambda x: _as_bits(x),
    "as_float": lambda bits: _as_float(bits),
}
for _name, _function in inspect.getmembers(elementary, inspect.isfunction):
    _for_lanes(_function, _REPLACED.get(_name, inspect.unwrap(_function)))


class _Choice:
    """Compiled functions by name, and one that calls that whose index is its first argument."""

    def __init__(self, functions: dict[str, Callable[..., Any]]) -> None:
        self.by_name = {name: _inline(function) for name, function in functions.items()}
        self.by_index = _look_up(list(self.by_name.values()))


def _look_up(functions: list[Any]) -> Any:
    if len(functions) == 1:
        only = functions[0]
        return _inline(lambda index, *arguments: only(*arguments))
    first, others = functions[0], _look_up(functions[1:])

    def look_up(index: int, *arguments: Any) -> Any:
        if index == 0:
            return first(*arguments)
        return others(index - 1, *arguments)

    return _compile(look_up)


def _of_kind(name: str, choice: _Choice) -> Callable[..., Any]:
    """Make a function of a kind, an index and arguments.

    It is the one of the kind's `name`; where the kind has none, the one with that index.
    """
    by_name, by_index = choice.by_name, choice.by_index

    def of_kind(kind: Kind, index: int, *arguments: Any) -> Any:
        raise NotImplementedError("This is for compiled code.")

    def implement(kind: _KindType, index: Any, *arguments: Any) -> Callable[..., Any]:
        if not getattr(kind.kind, name):
            return lambda kind, index, *arguments: by_index(index, *arguments)
        function = by_name[getattr(kind.kind, name)]
        return lambda kind, index, *arguments: function(*arguments)

    overload(of_kind, jit_options={"forceinline": True}, strict=False)(implement)
    return of_kind


def _scaled(derivative: Callable[..., Any]) -> Callable[..., Any]:
    derivative = _inline(derivative)
    return lambda x, z, slope: x * derivative(z, slope)


_functions = _Choice({name: activation.f for name, activation in ACTIVATIONS.items()})
_derivatives = _Choice({name: _scaled(row.derivative) for name, row in ACTIVATIONS.items()})
_hidden, _output = _of_kind("activation", _functions), _of_kind("output", _functions)
_scaled_hidden = _of_kind("activation", _derivatives)
_scaled_output = _of_kind("output", _derivatives)
_loss = _of_kind("loss", _Choice({name: loss.value for name, loss in LOSSES.items()}))
_output_delta = _of_kind("loss", _Choice({name: loss.delta for name, loss in LOSSES.items()}))


def _layout(kind: Kind, given: Any) -> Any:
    """Return the layout that is compiled in, or the one that is given where there is none."""
    raise NotImplementedError("This is for compiled code.")


@overload(_layout, jit_options={"forceinline": True}, strict=False)
def _choose_layout(kind: Any, given: Any) -> Callable[..., Any]:
    constant = _layout_of(kind.kind.layer_sizes, kind.kind.bias)
    return (lambda kind, given: constant) if constant.sizes else (lambda kind, given: given)


def _layout_of(layer_sizes: tuple[int, ...], bias: bool) -> _Layout:
    n_weights = [rows * fan_out for rows, fan_out in layer_shapes(layer_sizes, bias=bias)]
    return _Layout(
        sizes=layer_sizes,
        bias=int(bias),
        weight_at=tuple(accumulate(n_weights, initial=0)),
        unit_at=tuple(accumulate((size + bias for size in layer_sizes[:-1]), initial=0)),
    )


# ------------------------------------------------------------------------------ what a kernel gets


class _Net(NamedTuple):
    """What all networks share, as numbers and arrays."""

    layout: _Layout
    part_at: tuple[int, ...]  # where the parts of a `_Group` begin
    train_bias: bool
    activation: int  # index in ACTIVATIONS
    output: int
    loss: int  # index in LOSSES
    slope: float
    inputs: np.ndarray  # and before them the bias unit's 1, where there are any
    targets: np.ndarray
    gradient_factor: float
    online: bool
    epochs: int
    tolerance: float
    stop_when_converged: bool
    recorded: np.ndarray


class _Group(NamedTuple):
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


class _Queue(NamedTuple):
    """Which network is in which lane, since when, and which one is the next."""

    network: np.ndarray  # in the ensemble, or _NOBODY
    began: np.ndarray  # step at which it was at epoch 0
    position: np.ndarray  # of its next recorded epoch
    step: np.ndarray  # one number: how many have been taken
    waiting: np.ndarray  # one number: the first network that waits


class _Ensemble(NamedTuple):
    """What the networks start from; arrays of shape (…, network), the last one being nobody: 0."""

    parameters: np.ndarray
    learning_rate: np.ndarray
    momentum: np.ndarray
    slot: np.ndarray  # place of its weights among the kept ones, or −1


# -------------------------------------------------------------------- the equations, for one sample


@_inline
def _forward(kind: Kind, net: _Net, group: _Group, s: Index) -> None:
    """Compute a and z of every layer; see `network.Block.forward`."""
    layout = _layout(kind, net.layout)
    _layer_forward(kind, net, group, s, 0, net.inputs[s])
    for layer in range(1, len(layout.sizes) - 1):
        _layer_forward(kind, net, group, s, layer, row_from(group.units, layout.unit_at[layer]))


@_inline
def _layer_forward(kind: Kind, net: _Net, group: _Group, s: Index, layer: Index, z: Any) -> None:
    """Compute a[o] = Σᵢ w[i, o]·z[i], bias first, and z_next[o] = f(a[o])."""
    layout = _layout(kind, net.layout)
    n_rows, fan_out = layout.sizes[layer] + layout.bias, layout.sizes[layer + 1]
    w = matrix_from(group.weights, layout.weight_at[layer], fan_out)
    z_next = row_from(group.units, layout.unit_at[layer + 1] + layout.bias)
    for o in range(fan_out):
        a = w[0, o] * z[0]
        for i in range(1, n_rows):
            a += w[i, o] * z[i]
        group.size[0] += abs(a)
        if layer < len(layout.sizes) - 2:
            z_next[o] = _hidden(kind, net.activation, a, net.slope)
        else:
            group.pre_activations[s * fan_out + o] = a
            group.outputs[s * fan_out + o] = _output(kind, net.output, a, net.slope)


@_inline
def _backward(kind: Kind, net: _Net, group: _Group, s: Index, is_first: bool) -> None:
    """Compute deltas, and add to the gradient or begin it; see `network.Block.backward`."""
    layout = _layout(kind, net.layout)
    last = len(layout.sizes) - 2
    n_outputs = layout.sizes[last + 1]
    delta = row_from(group.deltas, layout.unit_at[last + 1] + layout.bias)
    for o in range(n_outputs):
        z, y = group.outputs[s * n_outputs + o], net.targets[s, o]
        derivative = _scaled_output(kind, net.output, spread(1.0), z, net.slope)
        delta[o] = _output_delta(kind, net.loss, z, y, derivative)
    for layer in range(last, 0, -1):
        z = row_from(group.units, layout.unit_at[layer])
        _add_gradient(kind, net, group, layer, z, is_first)
        _hidden_deltas(kind, net, group, layer, z)
    _add_gradient(kind, net, group, 0, net.inputs[s], is_first)


@_inline
def _add_gradient(
    kind: Kind, net: _Net, group: _Group, layer: Index, z: Any, is_first: bool
) -> None:
    """Add z[i]·delta[o] to dL/dw[i, o], or set it to that."""
    layout = _layout(kind, net.layout)
    n_rows, fan_out = layout.sizes[layer] + layout.bias, layout.sizes[layer + 1]
    gradient = matrix_from(group.gradient, layout.weight_at[layer], fan_out)
    delta = row_from(group.deltas, layout.unit_at[layer + 1] + layout.bias)
    for i in range(n_rows):
        for o in range(fan_out):
            term = z[i] * delta[o]
            gradient[i, o] = term if is_first else gradient[i, o] + term


@_inline
def _hidden_deltas(kind: Kind, net: _Net, group: _Group, layer: Index, z: Any) -> None:
    """Compute delta[i] = f'(z[i])·Σₒ w[i, o]·delta_next[o]; bias units get none."""
    layout = _layout(kind, net.layout)
    n_rows, fan_out = layout.sizes[layer] + layout.bias, layout.sizes[layer + 1]
    w = matrix_from(group.weights, layout.weight_at[layer], fan_out)
    delta = row_from(group.deltas, layout.unit_at[layer])
    delta_next = row_from(group.deltas, layout.unit_at[layer + 1] + layout.bias)
    for i in range(layout.bias, n_rows):
        total = w[i, 0] * delta_next[0]
        for o in range(1, fan_out):
            total += w[i, o] * delta_next[o]
        delta[i] = _scaled_hidden(kind, net.activation, total, z[i], net.slope)


@_inline
def _update(kind: Kind, net: _Net, group: _Group, factor: float) -> None:
    """Take one step: v ← momentum·v − learning_rate·dL/dw; w ← w + v."""
    layout = _layout(kind, net.layout)
    momentum = group.momentum[0]
    for layer in range(len(layout.sizes) - 1):
        rate = group.learning_rate[layer]
        for k in range(layout.weight_at[layer], layout.weight_at[layer + 1]):
            velocity = momentum * group.velocity[k] - rate * (group.gradient[k] * factor)
            group.velocity[k] = velocity
            group.weights[k] += velocity


# ------------------------------------------------------------------------------ through the table


@_inline
def _pass(kind: Kind, net: _Net, group: _Group, with_gradient: bool, online: bool) -> None:
    """Compute all samples, and their gradient where it is asked for; online: update after each."""
    group.size[0] = 0.0
    for s in range(len(net.inputs)):
        _forward(kind, net, group, s)
        if with_gradient:
            _backward(kind, net, group, s, s == 0 or online)
        if online:
            _fix_biases(kind, net, group)
            _update(kind, net, group, 1.0)
    if with_gradient and not online:
        _fix_biases(kind, net, group)


@_inline
def _fix_biases(kind: Kind, net: _Net, group: _Group) -> None:
    layout = _layout(kind, net.layout)
    if layout.bias and not net.train_bias:
        for layer in range(len(layout.sizes) - 1):
            first = layout.weight_at[layer]
            for k in range(first, first + layout.sizes[layer + 1]):
                group.gradient[k] = 0.0


@_inline
def _look(kind: Kind, net: _Net, group: _Group) -> bool:
    """Count misses; whether a network converges now, or its loss or a weight may not be finite.

    A weight that is not finite makes the pre-activations it goes into so, and with them the size.
    """
    layout = _layout(kind, net.layout)
    n_outputs = layout.sizes[len(layout.sizes) - 1]
    misses, size = spread(0.0), group.size[0]
    for s in range(len(net.targets)):
        for o in range(n_outputs):
            error = abs(group.outputs[s * n_outputs + o] - net.targets[s, o])
            misses += _where(error < net.tolerance, 0.0, 1.0)
            size += error
    group.misses[0] = misses
    converges = (misses == 0.0) & (group.undecided[0] > 0.0)
    return any_lane(~(size < SAFE)) or any_lane(converges)


@_compile
def _measure(kind: Kind, net: _Net, group: _Group) -> None:
    """Compute loss and norms."""
    layout = _layout(kind, net.layout)
    n_outputs = layout.sizes[len(layout.sizes) - 1]
    loss, gradient_square, weight_square = spread(0.0), spread(0.0), spread(0.0)
    for s in range(len(net.targets)):
        for o in range(n_outputs):
            a, z = group.pre_activations[s * n_outputs + o], group.outputs[s * n_outputs + o]
            loss += _loss(kind, net.loss, a, z, net.targets[s, o])
    for k in range(layout.weight_at[len(layout.sizes) - 1]):
        gradient = group.gradient[k] * net.gradient_factor
        gradient_square += gradient * gradient
        weight_square += group.weights[k] * group.weights[k]
    group.loss[0] = loss / len(net.targets)
    group.gradient_norm[0] = np.sqrt(gradient_square)
    group.weight_norm[0] = np.sqrt(weight_square)


# ------------------------------------------------------------------------- who comes, and who goes


@_compile
def _fill_lanes(group: _Group, queue: _Queue, ensemble: _Ensemble) -> int:
    """Give idle lanes to networks that wait, or to nobody; count the lanes that are not idle."""
    n_busy, nobody = 0, len(ensemble.momentum) - 1
    for c in range(LANES):
        if queue.network[c] == _NOBODY:
            k = queue.waiting[0]
            for i in range(len(ensemble.parameters)):
                group.weights[i, c], group.velocity[i, c] = ensemble.parameters[i, k], 0.0
            for layer in range(len(ensemble.learning_rate)):
                group.learning_rate[layer, c] = ensemble.learning_rate[layer, k]
            group.momentum[0, c] = ensemble.momentum[k]
            group.undecided[0, c] = 0.0 if k == nobody else 1.0
            if k < nobody:
                queue.network[c], queue.began[c], queue.position[c] = k, queue.step[0], 0
                queue.waiting[0] += 1
        n_busy += int(queue.network[c] != _NOBODY)
    return n_busy


@_compile
def _next_record(net: _Net, queue: _Queue) -> Any:
    """Find the first step at which a network is at its next recorded epoch."""
    step = np.int64(np.iinfo(np.int64).max)
    for c in range(LANES):
        if queue.network[c] != _NOBODY:
            step = min(step, queue.began[c] + net.recorded[queue.position[c]])
    return step


@_compile
def _settle(net: _Net, group: _Group, queue: _Queue, ensemble: _Ensemble, trained: Trained) -> None:
    """Set outcomes, record, and let go of the networks that are frozen or at their last epoch."""
    for c in range(LANES):
        k = queue.network[c]
        if k == _NOBODY:
            continue
        epoch = queue.step[0] - queue.began[c]
        finite = _is_finite(group, c, len(trained.parameters))
        within = finite and group.misses[0, c] == 0.0
        is_over = not finite or epoch == net.epochs
        if trained.outcome[k] == STALLED and not finite:
            trained.outcome[k] = DIVERGED
        elif trained.outcome[k] == STALLED and within:
            trained.outcome[k], trained.epochs_to_converge[k] = CONVERGED, epoch
            is_over = is_over or net.stop_when_converged
        group.undecided[0, c] = 1.0 if trained.outcome[k] == STALLED else 0.0
        if not finite:
            group.loss[0, c] = group.gradient_norm[0, c] = group.weight_norm[0, c] = np.inf
        at = queue.position[c]
        if is_over:
            for later in range(at, len(net.recorded)):
                _record(group, ensemble, trained, later, c, k)
            trained.final_loss[k], trained.solved[k] = group.loss[0, c], within
            for i in range(len(trained.parameters)):
                trained.parameters[i, k] = group.weights[i, c]
            queue.network[c] = _NOBODY
        elif epoch == net.recorded[at]:
            _record(group, ensemble, trained, at, c, k)
            queue.position[c] += 1


@_inline
def _is_finite(group: _Group, c: Index, n_weights: Index) -> bool:
    """Whether the loss and all weights of a lane are finite."""
    finite = np.isfinite(group.loss[0, c])
    for i in range(n_weights):
        finite = finite and np.isfinite(group.weights[i, c])
    return finite


@_compile
def _record(
    group: _Group, ensemble: _Ensemble, trained: Trained, at: Index, c: Index, k: Index
) -> None:
    trained.loss[at, k] = group.loss[0, c]
    trained.gradient_norm[at, k] = group.gradient_norm[0, c]
    trained.weight_norm[at, k] = group.weight_norm[0, c]
    slot = ensemble.slot[k]
    if slot >= 0:
        for i in range(len(trained.parameters)):
            trained.trajectory[at, i, slot] = group.weights[i, c]


# ------------------------------------------------------------------------------------ the kernel


@_compile
def _cut(memory: Any, at: Any) -> _Group:
    """Cut the memory of a group into its parts."""
    row = as_row(memory)
    return _Group(
        row_from(row, at[0]), row_from(row, at[1]), row_from(row, at[2]), row_from(row, at[3]),
        row_from(row, at[4]), row_from(row, at[5]), row_from(row, at[6]), row_from(row, at[7]),
        row_from(row, at[8]), row_from(row, at[9]), row_from(row, at[10]), row_from(row, at[11]),
        row_from(row, at[12]), row_from(row, at[13]), row_from(row, at[14]),
    )  # fmt: skip


def _train_lanes(
    kind: Kind,
    net: _Net,
    memory: Any,
    queue: _Queue,
    ensemble: _Ensemble,
    trained: Trained,
    n_steps: int,
) -> None:
    """Take a number of steps of an epoch with all lanes, or fewer where no network is left."""
    group = _cut(memory, net.part_at)
    wake, is_changed = np.int64(0), True
    for _ in range(n_steps):
        if is_changed:
            if _fill_lanes(group, queue, ensemble) == 0:
                return
            wake = _next_record(net, queue)
        is_recorded = queue.step[0] == wake
        _pass(kind, net, group, is_recorded or not net.online, _NO)
        is_changed = _look(kind, net, group) or is_recorded
        if is_changed:
            if net.online and not is_recorded:
                _pass(kind, net, group, _YES, _NO)
            _measure(kind, net, group)
            _settle(net, group, queue, ensemble, trained)
        if net.online:
            _pass(kind, net, group, _YES, _YES)
        else:
            _update(kind, net, group, net.gradient_factor)
        queue.step[0] += 1


kernel = _compile(_train_lanes, cache=True, no_cpython_wrapper=False)


# ------------------------------------------------------------------------------------ from Python


def train(
    setup: Setup,
    parameters: Parameters,
    learning_rate: PerLayer,
    momentum: PerNetwork,
    *,
    kept: Kept | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train networks with compiled code; arguments and result are those of `training.train`."""
    kept = np.empty(0, dtype=np.int64) if kept is None else kept
    trained = empty_result(setup, parameters, kept)
    queue = _new_queue()
    step = _kernel_for(setup, parameters, learning_rate, momentum, kept, queue, trained)
    n_networks, done = parameters.shape[-1], 0
    while queue.waiting[0] < n_networks or (queue.network != _NOBODY).any():
        step()
        total = _network_epochs(queue, setup.epochs)
        if progress:
            progress(total - done)
        done = total
    mark_blown_up(trained)
    return trained


def make_ready(setup: Setup) -> None:
    """Compile the kernel for networks of this kind, or load it from disk; once a process."""
    nobody = np.empty((setup.architecture.n_weights, 0))
    rates = np.empty((len(setup.architecture.shapes), 0))
    train(setup, nobody, rates, np.empty(0))


def _kernel_for(
    setup: Setup,
    parameters: Parameters,
    learning_rate: PerLayer,
    momentum: PerNetwork,
    kept: Kept,
    queue: _Queue,
    trained: Trained,
) -> Callable[[], None]:
    """Put together what the kernel works on; compile it where it is not yet."""
    slot = np.full(parameters.shape[-1] + 1, -1)
    slot[kept] = np.arange(len(kept))
    starts = [*map(_with_nobody, (parameters, learning_rate, momentum)), slot]
    n_products = len(setup.inputs) * setup.architecture.n_weights  # in an epoch of a network
    part_at, memory = _new_memory(setup)
    arguments = (
        _kind_of(setup.architecture, n_products * setup.epochs * parameters.shape[-1]),
        _net_of(setup, part_at),
        memory,
        queue,
        _Ensemble(*starts),
        trained,
        max(1, _PRODUCTS_PER_CALL // n_products),
    )
    with _COMPILING:
        kernel.compile(tuple(map(numba.typeof, arguments)))
    return lambda: kernel(*arguments)


def _with_nobody(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array, shape=(*array.shape[:-1], 1))], axis=-1)


def _kind_of(architecture: Architecture, n_products: int) -> Kind:
    if n_products < _WORTH_COMPILING:
        return Kind()
    functions = architecture.activation, architecture.output, architecture.loss
    if architecture.n_weights > _SMALL:
        return Kind(*functions)
    return Kind(*functions, architecture.layer_sizes, architecture.bias)


def _net_of(setup: Setup, part_at: tuple[int, ...]) -> _Net:
    architecture = setup.architecture
    sizes, bias, *places = _layout_of(architecture.layer_sizes, architecture.bias)
    inputs, ones = np.array(setup.inputs), np.ones(len(setup.inputs))
    return _Net(
        layout=_Layout(np.array(sizes), bias, *map(np.array, places)),
        part_at=part_at,
        train_bias=architecture.train_bias,
        activation=list(ACTIVATIONS).index(architecture.activation),
        output=list(ACTIVATIONS).index(architecture.output),
        loss=list(LOSSES).index(architecture.loss),
        slope=float(architecture.slope),
        inputs=np.column_stack([ones, inputs]) if architecture.bias else inputs,
        targets=np.array(setup.targets),
        gradient_factor=float(setup.gradient_factor),
        online=setup.online,
        epochs=setup.epochs,
        tolerance=setup.tolerance,
        stop_when_converged=setup.stop_when_converged,
        recorded=setup.recorded_epochs,
    )


def _new_memory(setup: Setup) -> tuple[tuple[int, ...], np.ndarray]:
    """Make room for a group, and say where its parts begin; bias units are 1, all else is 0.

    It begins where a line of the cache does, 64 bytes, so that each row of lanes does.
    """
    sizes, n_weights = setup.architecture.layer_sizes, setup.architecture.n_weights
    n_units, n_outputs = sum(sizes) + len(sizes), len(setup.targets) * sizes[-1]
    parts = [n_weights] * 3 + [n_units] * 2 + [n_outputs] * 2 + [len(sizes) - 1] + [1] * 7
    part_at = list(accumulate(parts, initial=0))
    memory = np.zeros(part_at[-1] * LANES + 8)
    first = -memory.ctypes.data % 64 // 8
    rows = memory[first : first + part_at[-1] * LANES].reshape(-1, LANES)
    rows[part_at[3] : part_at[4]] = 1.0
    return tuple(part_at[:-1]), rows


def _new_queue() -> _Queue:
    idle = np.full(LANES, _NOBODY)
    zeros = [np.zeros(n, dtype=np.int64) for n in (LANES, LANES, 1, 1)]
    return _Queue(idle, *zeros)


def _network_epochs(queue: _Queue, epochs: int) -> int:
    """Count what is done; what a frozen network is spared counts as done."""
    is_busy = queue.network != _NOBODY
    n_finished = queue.waiting[0] - is_busy.sum()
    return int(n_finished * epochs + (queue.step[0] - queue.began)[is_busy].sum())
