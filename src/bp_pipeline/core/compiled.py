"""The compiled engine: `training.train` as machine code, with the same bits.

Owns which kernel trains what, and the memory that it runs over. The kernel is in `kernel.py`, its
equations in `equations.py`, and the numbers they are about, LANES at once, in `lanes.py`; what is
compiled in is a `Kind`. Numba compiles the kernel once for each and keeps it on disk.
"""

from collections.abc import Callable
from itertools import accumulate
from threading import Lock

import numba
import numpy as np

from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.equations import Net
from bp_pipeline.core.kernel import NOBODY, Ensemble, Queue, Schedule, kernel
from bp_pipeline.core.kinds import Kind, Layout, layout_of
from bp_pipeline.core.lanes import LANES
from bp_pipeline.core.losses import LOSSES
from bp_pipeline.core.network import Architecture, Parameters, PerLayer, PerNetwork
from bp_pipeline.core.training import (
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

_COMPILING = Lock()


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
    while queue.waiting[0] < n_networks or (queue.network != NOBODY).any():
        step()
        total = _network_epochs(queue, setup.epochs)
        if progress:
            progress(total - done)
        done = total
    mark_blown_up(trained)
    return trained


def _kernel_for(
    setup: Setup,
    parameters: Parameters,
    learning_rate: PerLayer,
    momentum: PerNetwork,
    kept: Kept,
    queue: Queue,
    trained: Trained,
) -> Callable[[], None]:
    """Put together what the kernel works on; compile it where it is not yet."""
    slot = np.full(parameters.shape[-1] + 1, -1)
    slot[kept] = np.arange(len(kept))
    starts = [*map(_with_nobody, (parameters, learning_rate, momentum)), slot]
    n_products = len(setup.inputs) * setup.architecture.n_weights  # in an epoch of a network
    part_at, memory = _new_memory(setup)
    kind = _kind_of(setup.architecture, n_products * setup.epochs * parameters.shape[-1])
    arguments = (
        kind,
        _net_of(setup, kind),
        Schedule(setup.online, setup.epochs, setup.stop_when_converged, setup.recorded_epochs),
        memory,
        part_at,
        queue,
        Ensemble(*starts),
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


def _net_of(setup: Setup, kind: Kind) -> Net:
    architecture = setup.architecture
    inputs, ones = np.array(setup.inputs), np.ones(len(setup.inputs))
    return Net(
        layout=_given_layout(architecture, kind),
        train_bias=architecture.train_bias,
        activation=list(ACTIVATIONS).index(architecture.activation),
        output=list(ACTIVATIONS).index(architecture.output),
        loss=list(LOSSES).index(architecture.loss),
        slope=float(architecture.slope),
        inputs=np.column_stack([ones, inputs]) if architecture.bias else inputs,
        targets=np.array(setup.targets),
        gradient_factor=float(setup.gradient_factor),
        tolerance=setup.tolerance,
    )


def _given_layout(architecture: Architecture, kind: Kind) -> Layout:
    """Return the layout as arrays; empty where it is compiled in: what is passed costs, too."""
    if kind.layer_sizes:
        return Layout((), 0, (), ())
    sizes, bias, *places = layout_of(architecture.layer_sizes, architecture.bias)
    return Layout(np.array(sizes), bias, *map(np.array, places))


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


def _new_queue() -> Queue:
    idle = np.full(LANES, NOBODY)
    zeros = [np.zeros(n, dtype=np.int64) for n in (LANES, LANES, 1, 1)]
    return Queue(idle, *zeros)


def _network_epochs(queue: Queue, epochs: int) -> int:
    """Count what is done; what a frozen network is spared counts as done."""
    is_busy = queue.network != NOBODY
    n_finished = queue.waiting[0] - is_busy.sum()
    return int(n_finished * epochs + (queue.step[0] - queue.began)[is_busy].sum())
