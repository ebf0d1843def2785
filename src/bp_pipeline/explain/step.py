"""One update of one network, taken out of training as it happens.

Owns which update is meant by a sample, an epoch and a replicate, and the arrays around it. All of
them come from `core.training`, which is watched while it trains, or from the equations of
`core.network`; nothing is computed here. What they are called is for `names.py`.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.losses import LOSSES
from bp_pipeline.core.network import Architecture, Block, split_layers
from bp_pipeline.core.training import OUTCOMES, Progress, Setup, train
from bp_pipeline.ensemble.shards import initial_parameters, setup_of

_MOST_EPOCHS = 2**53  # as in `training.epochs`, the last of which is the one that is looked at
_WAY_OUT = {  # for a network that is frozen before it takes a step
    "converged": "Set `training.stop_when_converged=false`, or ask for another replicate.",
    "diverged": "Start it from smaller weights, or ask for another replicate.",
}

Column = Float64[np.ndarray, "_weight 1"]
Layers = list[Float64[np.ndarray, "_row _fan_out"]]


@dataclass(frozen=True)
class Step:
    """What one update was made from, and what came of it.

    Attributes
    ----------
    config
        Of the run.
    sample, epoch, replicate
        Which update: row of the truth table, epochs before it, and draw of initial weights.
    setup
        What the training core was given.
    units, pre_activations, deltas
        Of this sample, for each layer; as in `core.network.Block`.
    contributions
        Gradient of each sample that took part: only this one with online updates, all of them with
        batch updates.
    gradient
        What the weights were updated with.
    weights, velocity, new_weights, new_velocity
        Before and after the update.
    before, after
        The network with these weights, having computed the whole truth table.
    """

    config: RunConfig
    sample: int
    epoch: int
    replicate: int
    setup: Setup
    units: list[Float64[np.ndarray, " _unit"]]
    pre_activations: list[Float64[np.ndarray, " _unit"]]
    deltas: list[Float64[np.ndarray, " _unit"]]
    contributions: list[Layers]
    gradient: Layers
    weights: Layers
    velocity: Layers
    new_weights: Layers
    new_velocity: Layers
    before: Block
    after: Block

    @property
    def architecture(self) -> Architecture:
        """What kind of network it is."""
        return self.setup.architecture

    @property
    def inputs(self) -> Sequence[float]:
        """Row of the truth table."""
        return self.setup.inputs[self.sample]

    @property
    def targets(self) -> Sequence[float]:
        """What the outputs should be."""
        return self.setup.targets[self.sample]

    def losses(self, network: Block) -> list[float]:
        """Loss of each output for this sample, in nats."""
        value = LOSSES[self.architecture.loss].value
        a, z = network.pre_activations[-1][self.sample, :, 0], network.outputs[self.sample, :, 0]
        with np.errstate(all="ignore"):  # a network may be about to diverge
            return [float(loss) for loss in np.asarray(value(a, z, np.array(self.targets)))]

    @staticmethod
    def mean_loss(network: Block) -> float:
        """Loss of all samples, in nats a sample."""
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
    """Train one network until the update that is asked for.

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
    optimizer = config.optimizer
    rate = np.full((len(setup.architecture.shapes), 1), optimizer.learning_rate)
    momentum = np.array([optimizer.momentum])
    trained = train(setup, parameters, rate, momentum, progress=progress, watch=watch)
    if watch.block is None:
        raise ConfigError(_frozen(OUTCOMES[trained.outcome[0]], epoch, replicate, watch.n_epochs))
    return _step(config, setup, sample, epoch, replicate, watch)


class _Watch:
    """Sees every update, remembers the one that is looked for and the weights before it."""

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


def _step(
    config: RunConfig, setup: Setup, sample: int, epoch: int, replicate: int, watch: _Watch
) -> Step:
    block = watch.block
    assert block is not None

    def layers(column: Column) -> Layers:
        return [layer[..., 0] for layer in split_layers(setup.architecture, column)]

    before = _network(setup, watch.before)
    return Step(
        config=config,
        sample=sample,
        epoch=epoch,
        replicate=replicate,
        setup=setup,
        units=[units[sample, :, 0] for units in block.units],
        pre_activations=[a[sample, :, 0] for a in block.pre_activations],
        deltas=[delta[sample, :, 0] for delta in block.deltas],
        contributions=[layers(g) for g in _contributions(setup, watch.before, block.gradient)],
        gradient=layers(block.gradient),
        weights=layers(watch.before),
        velocity=layers(watch.velocity),
        new_weights=layers(block.parameters),
        new_velocity=layers(block.velocity),
        before=before,
        after=_network(setup, block.parameters),
    )


def _network(setup: Setup, parameters: Column) -> Block:
    """Let a network with these weights compute the whole truth table."""
    block = Block(
        setup.architecture, np.array(setup.inputs), np.array(setup.targets), parameters.copy()
    )
    with np.errstate(all="ignore"):
        block.forward()
    return block


def _contributions(setup: Setup, parameters: Column, gradient: Column) -> list[Column]:
    """Take the gradient of an update apart by samples."""
    if setup.online:
        return [gradient]
    block, parts = _network(setup, parameters), []
    with np.errstate(all="ignore"):
        for sample in range(len(setup.inputs)):
            block.backward(slice(sample, sample + 1))
            parts.append(block.gradient.copy())
    return parts


def _frozen(outcome: str, epoch: int, replicate: int, n_epochs: int) -> str:
    """Say why a network takes no such step: it was frozen in one of the epochs before."""
    if n_epochs == 0:
        return (
            f"`--replicate` must be one that takes a step, got {replicate}, which "
            f"has {outcome} before its first step and is frozen. {_WAY_OUT[outcome]}"
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
