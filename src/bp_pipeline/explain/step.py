"""One update of one network, taken out of training as it happens.

Owns which update is meant by a sample, an epoch and a replicate, and the arrays around it. All of
them come from `core.training`, which is watched while it trains, or from the equations of
`core.network`; nothing is computed here. What they are called is for `notation.py`.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float64

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.losses import LOSSES
from bp_pipeline.core.network import Block, split_layers
from bp_pipeline.core.training import OUTCOMES, Progress, Setup, train
from bp_pipeline.ensemble import initial_parameters, learning_rates, setup_of

_MOST_EPOCHS = 2**53  # as in `training.epochs`, the last of which is the one that is looked at
_ADVICE = {  # for a network that is frozen before it takes a step
    "converged": "Set `training.stop_when_converged=false`, or ask for another replicate.",
    "diverged": "Start it from smaller weights, or ask for another replicate.",
}

Column = Float64[np.ndarray, "_weight 1"]
Layers = list[Float64[np.ndarray, "_row _fan_out 1"]]


@dataclass(frozen=True)
class Step:
    """What one update was made from, and what came of it.

    Attributes
    ----------
    config, setup
        Of the run, and what the training core was given.
    sample, epoch, replicate
        Which update: row of the truth table, epochs before it, draw of initial weights.
    block
        The network right after the update: its units, deltas and gradient are those that made it.
    before, after
        The network with the weights before and after it, having computed the whole truth table.
    velocity, new_velocity
        Before and after the update.
    contributions
        Gradient of each sample that took part: this one alone with online updates, all of them with
        batch updates.
    """

    config: RunConfig
    setup: Setup
    sample: int
    epoch: int
    replicate: int
    block: Block
    before: Block
    after: Block
    velocity: Layers
    new_velocity: Layers
    contributions: list[Layers]

    @property
    def inputs(self) -> Sequence[float]:
        """Row of the truth table."""
        return self.setup.inputs[self.sample]

    @property
    def targets(self) -> Sequence[float]:
        """Row of the truth table."""
        return self.setup.targets[self.sample]

    def losses(self, network: Block) -> list[float]:
        """Return the loss of each output for this sample, in nats."""
        value = LOSSES[self.setup.architecture.loss].value
        a, z = network.pre_activations[-1][self.sample, :, 0], network.outputs[self.sample, :, 0]
        with np.errstate(all="ignore"):  # a network may be about to diverge
            return [float(loss) for loss in np.asarray(value(a, z, np.array(self.targets)))]

    def loss(self, network: Block) -> float:
        """Return the loss of this sample in nats: that of its outputs, added in their order."""
        total = 0.0
        for loss in self.losses(network):  # `sum` compensates from Python 3.12 on
            total += loss
        return total

    @staticmethod
    def mean_loss(network: Block) -> float:
        """Return the mean loss of all samples, in nats a sample."""
        with np.errstate(all="ignore"):
            return float(network.loss()[0])


def take_step(
    config: RunConfig,
    *,
    sample: int = 0,
    epoch: int = 0,
    replicate: int = 0,
    progress: Progress | None = None,
) -> Step:
    """Train one network until the update that is asked for, and return that.

    Parameters
    ----------
    config
        Of the run; where its training would end does not matter.
    sample
        Row of the truth table, from 0. With online updates the rows above it have been applied in
        this epoch; with batch updates it says whose share is looked at.
    epoch
        Epochs before the update, from 0.
    replicate
        Draw of initial weights, from 0.
    progress
        Is called with the number of epochs trained since the last call.

    Raises
    ------
    ConfigError
        Where there is no such update: the number is out of range, or the network was frozen before.
    """
    setup = setup_of(config)
    _check("--sample", sample, len(setup.inputs), f"a row of the {config.task.name} table")
    _check("--replicate", replicate, config.replicates, "one of the run's `replicates`")
    _check("--epoch", epoch, _MOST_EPOCHS, "a number of epochs")
    setup = replace(setup, epochs=epoch + 1, record=2)
    parameters = np.ascontiguousarray(initial_parameters(config)[:, replicate : replicate + 1])
    watch = _Watch(epoch, sample, parameters)
    rates, momentum = learning_rates(config)[:, None], np.array([config.optimizer.momentum])
    trained = train(setup, parameters, rates, momentum, progress=progress, watch=watch)
    if watch.block is None:
        raise ConfigError(_frozen(OUTCOMES[trained.outcome[0]], epoch, replicate, watch.n_epochs))
    layers = partial(split_layers, setup.architecture)
    return Step(
        config,
        setup,
        sample,
        epoch,
        replicate,
        block=watch.block,
        before=_computed(setup, watch.before),
        after=_computed(setup, watch.block.parameters),
        velocity=layers(watch.velocity),
        new_velocity=layers(watch.block.velocity),
        contributions=[*map(layers, _contributions(setup, watch.before, watch.block.gradient))],
    )


class _Watch:
    """Sees every update, keeps the one that is looked for and the weights before it."""

    def __init__(self, epoch: int, sample: int, parameters: Column) -> None:
        self.epoch, self.sample, self.n_epochs = epoch, sample, 0
        self.before, self.velocity = parameters, np.zeros_like(parameters)
        self.block: Block | None = None

    def __call__(self, epoch: int, samples: slice, block: Block) -> None:
        self.n_epochs = epoch + 1
        if self.block is not None:
            return
        if epoch == self.epoch and samples.start in (None, self.sample):
            self.block = copy.deepcopy(block)
        else:
            self.before, self.velocity = block.parameters.copy(), block.velocity.copy()


def _computed(setup: Setup, parameters: Column) -> Block:
    """Return a network with these weights that has computed the whole truth table."""
    table = np.array(setup.inputs), np.array(setup.targets)
    block = Block(setup.architecture, *table, parameters.copy())
    with np.errstate(all="ignore"):
        block.forward()
    return block


def _contributions(setup: Setup, parameters: Column, gradient: Column) -> list[Column]:
    """Return the gradients of the samples that make up that of an update."""
    if setup.online:
        return [gradient]
    block, parts = _computed(setup, parameters), []
    with np.errstate(all="ignore"):
        for sample in range(len(setup.inputs)):
            block.backward(slice(sample, sample + 1))
            parts.append(block.gradient.copy())
    return parts


def _frozen(outcome: str, epoch: int, replicate: int, n_epochs: int) -> str:
    """Return why a network takes no such step: it was frozen in one of the epochs before."""
    if n_epochs == 0:
        return (
            f"`--replicate` must be one that takes a step, got {replicate}, which "
            f"has {outcome} before its first step and is frozen. {_ADVICE[outcome]}"
        )
    return (
        f"`--epoch` must be < {n_epochs}, where replicate {replicate} {outcome} and was frozen, "
        f"got {epoch}. Ask for an earlier step."
    )


def _check(flag: str, number: int, limit: int, what: str) -> None:
    if not 0 <= number < limit:
        raise ConfigError(
            f"`{flag}` must be {what}, 0 to {limit - 1}, got {number}. Try `{flag} 0`."
        )
