"""The epoch loop: what is trained for how long, what is recorded, and how each replicate ends.

Owns recorded epochs, outcomes, freezing, and the reference engine, which steps through the
equations of `network.py`. `compiled.py` is the same loop as machine code. Which networks go
together, and on which core, is decided in `ensemble.py`.

Epoch e means "after e passes over the truth table"; epoch 0 is the initial network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from bp_pipeline.core.losses import SAFE
from bp_pipeline.core.network import Architecture, Block, Parameters, PerNetwork, PerSample, norm

OUTCOMES = ("stalled", "converged", "diverged")
STALLED, CONVERGED, DIVERGED = range(3)
NEVER = -1  # in place of the epochs to convergence of a replicate that did not converge

# Working set of a block: a larger one costs less Python, a smaller one less memory traffic.
CACHE_BYTES = 1 << 21
_COMPACT_BELOW = 0.875  # share of networks still learning at which a block is made smaller

Progress = Callable[[int], None]  # is told how many network-epochs were just done; may raise
Watch = Callable[[int, slice, Block], None]
"""Is shown every update: the epoch it starts from, its samples, and the block right after it."""

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Setup:
    """All that the networks of an ensemble have in common.

    Attributes
    ----------
    inputs, targets
        Rows of the truth table.
    online
        Whether weights are updated after every sample instead of once an epoch.
    epochs
        Passes over the table.
    tolerance
        A replicate has converged when every |output − target| is below it.
    stop_when_converged
        Whether a replicate is frozen when it converges.
    record
        Upper limit of recorded epochs, at least 2.
    """

    architecture: Architecture
    inputs: Rows
    targets: Rows
    online: bool
    epochs: int
    tolerance: float
    stop_when_converged: bool
    record: int

    @cached_property
    def recorded_epochs(self) -> Int64[np.ndarray, " epoch"]:
        """The epochs at which curves are recorded."""
        return recorded_epochs(self.epochs, self.record)

    def block_size(self) -> int:
        """Choose how many networks fit the cache together."""
        n_units = sum(self.architecture.layer_sizes)
        n_weights = sum(rows * columns for rows, columns in self.architecture.shapes)
        bytes_per_network = 8 * (4 * n_units * len(self.inputs) + 4 * n_weights)
        return min(4096, max(64, CACHE_BYTES // bytes_per_network))


class Trained(NamedTuple):
    """What training gives, for every network; see `Setup.recorded_epochs` for the epochs.

    Attributes
    ----------
    loss, gradient_norm, weight_norm
        At the recorded epochs: loss in nats, mean over samples; norm of the batch gradient; norm
        of the weights. From the epoch of divergence on +inf; constant once frozen by convergence.
    outcome
        Index into `OUTCOMES`.
    epochs_to_converge
        First epoch at which the replicate had converged, or `NEVER`.
    final_loss
        Loss after the last epoch; +inf where it is not finite.
    parameters
        Weights after the last epoch, or where the network was frozen.
    trajectory
        Weights of the kept networks at the recorded epochs.
    """

    loss: Float64[np.ndarray, "epoch network"]
    gradient_norm: Float64[np.ndarray, "epoch network"]
    weight_norm: Float64[np.ndarray, "epoch network"]
    outcome: Int8[np.ndarray, " network"]
    epochs_to_converge: Int64[np.ndarray, " network"]
    final_loss: PerNetwork
    parameters: Parameters
    trajectory: Float64[np.ndarray, "epoch weight kept"]


def recorded_epochs(epochs: int, record: int) -> Int64[np.ndarray, " epoch"]:
    """Choose at most `record` log-spaced epochs, 0 and the last one always among them.

    From n = e + 1 the next is ⌊n·(1024 + g)/1024⌋, at least n + 1, with the least growth g that
    keeps the number within the limit: integers only, so that every machine chooses alike.
    """
    if epochs == 0:
        return np.zeros(1, dtype=np.int64)
    too_little, enough = -1, 1024 * epochs
    while enough - too_little > 1:
        growth = (too_little + enough) // 2
        if len(_grow(epochs, growth, record)) <= record:
            enough = growth
        else:
            too_little = growth
    return np.array(_grow(epochs, enough, record), dtype=np.int64)


def _grow(epochs: int, growth: int, limit: int) -> list[int]:
    """List the epochs for one growth, stopping as soon as there are more than `limit`."""
    chosen = [0]
    while chosen[-1] < epochs and len(chosen) <= limit:
        n = chosen[-1] + 1
        chosen.append(min(max(n + 1, n * (1024 + growth) >> 10) - 1, epochs))
    return chosen


def train(
    setup: Setup,
    parameters: Parameters,
    learning_rate: PerNetwork,
    momentum: PerNetwork,
    *,
    kept: Int64[np.ndarray, " kept"] | None = None,
    block_size: int | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train networks with the reference engine, one block after another.

    Parameters
    ----------
    setup
        What the networks share.
    parameters
        Initial weights, one column a network, layer by layer, row by row, bias row first.
    learning_rate, momentum
        One value a network.
    kept
        Indices of the networks whose weights are kept at every recorded epoch; none by default.
    block_size
        Networks trained side by side; it does not change a bit of the result.
    progress
        Is called every epoch with the number of network-epochs done since the last call.
    watch
        Is called after every update; what it is shown, it may only read. Units, deltas and gradient
        are still those that the update was made from.

    Returns
    -------
    Trained
    """
    n_networks = parameters.shape[-1]
    kept = np.empty(0, dtype=np.int64) if kept is None else kept
    trained = empty_result(setup, parameters, kept)
    step = block_size or setup.block_size()
    with np.errstate(all="ignore"):
        for start in range(0, n_networks, step):
            networks = np.arange(start, min(start + step, n_networks))
            _BlockTraining(setup, parameters, learning_rate, momentum, kept, networks, trained).run(
                progress or (lambda _: None), watch or (lambda _epoch, _samples, _block: None)
            )
    return trained


def empty_result(setup: Setup, parameters: Parameters, kept: Int64[np.ndarray, " kept"]) -> Trained:
    """Allocate the arrays of a result."""
    (n_weights, n_networks), n_recorded = parameters.shape, len(setup.recorded_epochs)
    return Trained(
        loss=np.empty((n_recorded, n_networks)),
        gradient_norm=np.empty((n_recorded, n_networks)),
        weight_norm=np.empty((n_recorded, n_networks)),
        outcome=np.full(n_networks, STALLED, dtype=np.int8),
        epochs_to_converge=np.full(n_networks, NEVER, dtype=np.int64),
        final_loss=np.empty(n_networks),
        parameters=np.empty((n_weights, n_networks)),
        trajectory=np.empty((n_recorded, n_weights, len(kept))),
    )


class _BlockTraining:
    """One block on its way through the epochs, writing into the arrays of the result.

    `networks` says which column of the result each column of the block is; `learning` which columns
    are not frozen yet. Frozen columns go on being computed, unheeded, until enough of them have
    gathered to make the block smaller.
    """

    def __init__(
        self,
        setup: Setup,
        parameters: Parameters,
        learning_rate: PerNetwork,
        momentum: PerNetwork,
        kept: Int64[np.ndarray, " kept"],
        networks: Int64[np.ndarray, " column"],
        trained: Trained,
    ) -> None:
        self.setup, self.trained, self.networks = setup, trained, networks
        self.learning_rate, self.momentum = learning_rate[networks], momentum[networks]
        self.learning = np.ones(len(networks), dtype=bool)
        self.kept_slot = np.full(parameters.shape[-1], -1)
        self.kept_slot[kept] = np.arange(len(kept))
        self.block = self._make_block(parameters[:, networks])

    def _make_block(self, parameters: Parameters) -> Block:
        setup = self.setup
        return Block(
            setup.architecture, np.array(setup.inputs), np.array(setup.targets), parameters
        )

    def run(self, progress: Progress, watch: Watch) -> None:
        """Train until the last epoch, or until every network is frozen."""
        setup, n_networks = self.setup, len(self.networks)
        recorded = setup.recorded_epochs
        position = 0  # of the first recorded epoch that is not over
        for epoch in range(setup.epochs + 1):
            self.block.forward()
            error = np.abs(self.block.outputs - self.block.targets[..., None])
            diverged = self._diverged(error)
            converged = self._mark_converged(epoch, error, diverged)
            is_last, is_recorded = epoch == setup.epochs, epoch == recorded[position]
            leaving = self.learning & (diverged | (converged & setup.stop_when_converged))
            if is_recorded or leaving.any() or not (setup.online or is_last):
                self._batch_gradient()
            if is_recorded:
                self._record(slice(position, position + 1), self.learning)
            if leaving.any() or is_last:
                self._freeze(slice(position, None), self.learning if is_last else leaving, diverged)
            if is_last or not self.learning.any():
                progress(n_networks * (setup.epochs - epoch))
                return
            self._step(partial(watch, epoch))
            position += int(is_recorded)
            progress(n_networks)

    def _step(self, updated: Callable[[slice, Block], None]) -> None:
        if not self.setup.online:
            self.block.update(self.learning_rate, self.momentum)
            updated(slice(None), self.block)
            return
        for s in range(len(self.setup.inputs)):
            sample = slice(s, s + 1)
            self.block.forward(sample)
            self.block.backward(sample)
            self.block.update(self.learning_rate, self.momentum)
            updated(sample, self.block)

    def _batch_gradient(self) -> None:
        self.block.backward()
        if self.setup.architecture.mean_gradient:
            self.block.scale_gradient(1.0 / len(self.setup.inputs))

    def _diverged(self, error: PerSample) -> Bool[np.ndarray, " network"]:
        """Find the networks of which a weight or the loss is not finite."""
        block = self.block
        is_safe = (error < SAFE).all() and (np.abs(block.pre_activations[-1]) < SAFE).all()
        diverged = np.zeros_like(self.learning) if is_safe else ~np.isfinite(block.loss())
        finite = np.isfinite(block.parameters)
        if not finite.all():
            diverged |= ~finite.all(axis=0)
        return diverged

    def _mark_converged(
        self, epoch: int, error: PerSample, diverged: Bool[np.ndarray, " network"]
    ) -> Bool[np.ndarray, " network"]:
        """Note which networks have converged at this epoch for the first time."""
        within = (error < self.setup.tolerance).all(axis=(0, 1)) & ~diverged & self.learning
        first: Bool[np.ndarray, " network"] = within & (
            self.trained.outcome[self.networks] == STALLED
        )
        self.trained.outcome[self.networks[first]] = CONVERGED
        self.trained.epochs_to_converge[self.networks[first]] = epoch
        return first

    def _record(self, at: slice, columns: Bool[np.ndarray, " network"]) -> None:
        """Write loss, norms and kept weights of these columns at some recorded epochs."""
        trained, block, networks = self.trained, self.block, self.networks[columns]
        trained.loss[at, networks] = block.loss(columns)
        trained.gradient_norm[at, networks] = norm(block.gradient[:, columns])
        trained.weight_norm[at, networks] = norm(block.parameters[:, columns])
        slots = self.kept_slot[networks]
        is_kept = slots >= 0
        trained.trajectory[at, :, slots[is_kept]] = block.parameters[:, columns][:, is_kept]

    def _freeze(
        self,
        rest: slice,
        columns: Bool[np.ndarray, " network"],
        diverged: Bool[np.ndarray, " network"],
    ) -> None:
        """Write how these columns end, for the rest of the recorded epochs, and let go of them."""
        trained, networks = self.trained, self.networks[columns]
        if len(trained.loss[rest]):
            self._record(rest, columns)
        trained.parameters[:, networks] = self.block.parameters[:, columns]
        trained.final_loss[networks] = self.block.loss(columns)
        self._mark_diverged(rest, self.networks[columns & diverged])
        self.learning &= ~columns
        self._idle(columns)
        if self.learning.any() and self.learning.mean() < _COMPACT_BELOW:
            self._compact()

    def _mark_diverged(self, rest: slice, networks: Int64[np.ndarray, " network"]) -> None:
        trained = self.trained
        stalled = networks[trained.outcome[networks] == STALLED]
        trained.outcome[stalled] = DIVERGED
        trained.final_loss[networks] = np.inf
        for curve in (trained.loss, trained.gradient_norm, trained.weight_norm):
            curve[rest, networks] = np.inf

    def _idle(self, columns: Bool[np.ndarray, " network"]) -> None:
        """Give frozen columns numbers that stay finite and small, and so cost no second look."""
        self.learning_rate[columns] = 0.0
        for values in (self.block.parameters, self.block.velocity, self.block.gradient):
            values[:, columns] = 0.0

    def _compact(self) -> None:
        """Take the frozen networks out of the block."""
        learning = self.learning
        block = self.block
        self.block = self._make_block(block.parameters[:, learning])
        self.block.velocity[:] = block.velocity[:, learning]
        self.block.gradient[:] = block.gradient[:, learning]
        self.networks = self.networks[learning]
        self.learning_rate, self.momentum = self.learning_rate[learning], self.momentum[learning]
        self.learning = self.learning[learning]
