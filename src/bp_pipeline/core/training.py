"""The epoch loop: what is trained for how long, what is recorded, and how each replicate ends.

Owns recorded epochs, outcomes, freezing, and the reference engine: one ensemble that steps through
the equations of `network.py`, written to be read. `compiled.py` is the same loop as machine code.
Which networks go together, and on which core, is decided in `ensemble/`.

Epoch e means "after e passes over the truth table"; epoch 0 is the initial network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from bp_pipeline.core.network import (
    Architecture,
    Block,
    Parameters,
    PerLayer,
    PerNetwork,
    norm,
)

OUTCOMES = ("stalled", "converged", "diverged")
STALLED, CONVERGED, DIVERGED = range(3)
NEVER = -1  # in place of the epochs to convergence of a replicate that did not converge
BLOWN_UP = 100.0  # times the loss at epoch 0: a larger final loss is divergence cut short

Progress = Callable[[int], None]  # is called with the network-epochs just done; may raise
Watch = Callable[[int, slice, Block], None]
"""Is shown every update: the epoch it starts from, its samples, and the block right after it."""

Flags = Bool[np.ndarray, " network"]
Kept = Int64[np.ndarray, " kept"]
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

    @property
    def gradient_factor(self) -> np.float64:
        """What the summed batch gradient is multiplied by: 1, or the rounded double 1/n_samples."""
        n_samples = len(self.inputs) if self.architecture.mean_gradient else 1
        return np.float64(1.0) / np.float64(n_samples)  # on i386 Python's floats round twice

    @cached_property
    def recorded_epochs(self) -> Int64[np.ndarray, " epoch"]:
        """The epochs at which curves are recorded."""
        return recorded_epochs(self.epochs, self.record)


class Trained(NamedTuple):
    """What came of training, for every network; see `Setup.recorded_epochs` for the epochs.

    Attributes
    ----------
    loss, gradient_norm, weight_norm
        At the recorded epochs: loss in nats, mean over samples; norm of the batch gradient; norm
        of the weights. From the epoch of divergence on +inf; constant once frozen by convergence.
    outcome
        Index into `OUTCOMES`.
    epochs_to_converge
        First epoch at which the replicate had converged, or `NEVER`.
    solved
        Whether every output is within the tolerance after the last epoch.
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
    solved: Bool[np.ndarray, " network"]
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
    learning_rate: PerLayer,
    momentum: PerNetwork,
    *,
    kept: Kept | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train an ensemble with the reference engine.

    Parameters
    ----------
    setup
        What the networks share.
    parameters
        Initial weights, one column a network, layer by layer, row by row, bias row first.
    learning_rate
        One value a network for each layer with weights.
    momentum
        One value a network.
    kept
        Indices of the networks whose weights are kept at every recorded epoch; none by default.
    progress
        Is called every epoch with the number of network-epochs done since the last call.
    watch
        Is called after every update; what it is shown, it may only read. Units, deltas and gradient
        are still those that the update was made from.

    Returns
    -------
    Trained
    """
    kept = np.empty(0, dtype=np.int64) if kept is None else kept
    trained, n_networks = empty_result(setup, parameters, kept), parameters.shape[-1]
    table = np.array(setup.inputs), np.array(setup.targets)
    block = Block(setup.architecture, *table, parameters.copy())
    not_finite = np.zeros(n_networks, dtype=bool)
    position = 0  # of the next recorded epoch
    with np.errstate(all="ignore"):
        for epoch in range(setup.epochs + 1):
            block.forward()
            loss = block.loss()
            not_finite |= ~(np.isfinite(loss) & np.isfinite(block.parameters).all(axis=0))
            within = block.solves(setup.tolerance) & ~not_finite
            _mark(trained, epoch, within, not_finite)
            frozen = not_finite | (setup.stop_when_converged & (trained.outcome == CONVERGED))
            is_over = epoch == setup.epochs or frozen.all()
            is_recorded = is_over or epoch == setup.recorded_epochs[position]
            if is_recorded or not setup.online:
                block.backward()
                block.scale_gradient(setup.gradient_factor)
            if is_recorded:
                rest = slice(position, None if is_over else position + 1)
                _record(trained, rest, block, loss, not_finite, kept)
                position += 1
            if is_over:
                break
            for samples in _steps(setup):
                if setup.online:
                    block.forward(samples)
                    block.backward(samples)
                block.update(learning_rate, momentum, ~frozen)
                if watch:
                    watch(epoch, samples, block)
            if progress:
                progress(n_networks)
    if progress:
        progress(n_networks * (setup.epochs - epoch))
    trained.parameters[:], trained.solved[:] = block.parameters, within
    trained.final_loss[:] = np.where(not_finite, np.inf, loss)
    mark_blown_up(trained)
    return trained


def _mark(trained: Trained, epoch: int, within: Flags, not_finite: Flags) -> None:
    """Set the outcomes that are decided at this epoch."""
    undecided = trained.outcome == STALLED
    trained.outcome[undecided & not_finite] = DIVERGED
    trained.outcome[undecided & within] = CONVERGED
    trained.epochs_to_converge[undecided & within] = epoch


def _record(
    trained: Trained, at: slice, block: Block, loss: PerNetwork, not_finite: Flags, kept: Kept
) -> None:
    """Write curves and trajectory at some of the recorded epochs."""
    curves = trained.loss, trained.gradient_norm, trained.weight_norm
    values = loss, norm(block.gradient), norm(block.parameters)
    for curve, value in zip(curves, values, strict=True):
        curve[at] = np.where(not_finite, np.inf, value)
    trained.trajectory[at] = block.parameters[:, kept]


def _steps(setup: Setup) -> list[slice]:
    """List the samples of each update of an epoch."""
    n_samples = len(setup.inputs)
    return [slice(s, s + 1) for s in range(n_samples)] if setup.online else [slice(None)]


def mark_blown_up(trained: Trained) -> None:
    """Count as diverged what stalled with a final loss of more than 100 times that at epoch 0.

    Both are finite: what stalled never had another loss. 100 times a loss that would overflow is
    +inf, which none exceeds; and above a loss of 0, which squared errors below 1e-162 round to, is
    any other.
    """
    undecided = trained.outcome == STALLED
    blown_up = trained.final_loss > BLOWN_UP * trained.loss[0]
    trained.outcome[undecided & blown_up] = DIVERGED


def empty_result(setup: Setup, parameters: Parameters, kept: Kept) -> Trained:
    """Allocate the arrays of a result."""
    (n_weights, n_networks), n_recorded = parameters.shape, len(setup.recorded_epochs)
    return Trained(
        loss=np.empty((n_recorded, n_networks)),
        gradient_norm=np.empty((n_recorded, n_networks)),
        weight_norm=np.empty((n_recorded, n_networks)),
        outcome=np.full(n_networks, STALLED, dtype=np.int8),
        epochs_to_converge=np.full(n_networks, NEVER, dtype=np.int64),
        solved=np.zeros(n_networks, dtype=bool),
        final_loss=np.empty(n_networks),
        parameters=np.empty((n_weights, n_networks)),
        trajectory=np.empty((n_recorded, n_weights, len(kept))),
    )
