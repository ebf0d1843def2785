"""From configs to results: runs become ensembles, ensembles shards, shards results.

Owns which networks are trained together and how their results find the way back to their run. A
shard is a value (arrays in, arrays out) and knows nothing of configs, so that it could travel to
another process. What training does is left to `core`; where results go, to `tracking/`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import joblib
import numpy as np
from jaxtyping import Float64, Int64

from bp_pipeline.arrays import layer_names
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.initializers import draw_words, initialize
from bp_pipeline.core.network import (
    Architecture,
    Parameters,
    PerLayer,
    PerNetwork,
    join_layers,
    split_layers,
)
from bp_pipeline.core.training import Setup, Trained
from bp_pipeline.ensemble.cluster import train_shards
from bp_pipeline.ensemble.engines import broken_cache, is_compiled, problem_with, train_function
from bp_pipeline.ensemble.result import RunResult

SHARD_NETWORKS = 1024  # small enough to finish runs in turn, large enough to hide the dispatch

ProgressCallback = Callable[[int], None]  # takes a number of network-epochs


class Part(NamedTuple):
    """Which replicates of a run are which networks of a shard, and which of its kept networks."""

    run: int
    replicates: slice
    networks: slice
    kept: slice


class Shard(NamedTuple):
    """A part of an ensemble, ready to be trained anywhere; the fields are `train`'s arguments."""

    setup: Setup
    parameters: Parameters
    learning_rate: PerLayer
    momentum: PerNetwork
    kept: Int64[np.ndarray, " kept"]


def train_runs(
    configs: Sequence[RunConfig], *, progress: ProgressCallback | None = None
) -> Generator[tuple[int, RunResult | Exception], None, None]:
    """Train runs side by side; return each as it finishes, with its index.

    Several calls may go on in one process at a time. Closing the iterator ends the training.

    Parameters
    ----------
    configs
        What to train. Runs that share engine and `Setup` become one ensemble; as many shards are
        trained at once as the largest `threads` says, on all cores by default.
    progress
        Called now and then with how many network-epochs were trained since the last call, by one
        thread at a time, but not always the same one.

    Yields
    ------
    tuple
        Index in `configs`, and the result, or what went wrong with this run alone.
    """
    runs = [_Gathering(index, config) for index, config in enumerate(configs)]
    shards = (shard for members in _ensembles(runs) for shard in _shards(members))
    threads = [config.threads or joblib.cpu_count() for config in configs]
    results = train_shards(_train_shard, shards, threads=max(threads, default=1), progress=progress)
    with closing(results):
        for parts, trained in results:
            for part in parts:
                run = runs[part.run]
                run.take(part, trained)
                if run.is_complete:
                    yield run.index, run.finish()
        yield from ((run.index, run.error) for run in runs if run.error is not None)


def remarks_on_engines(engines: Iterable[str]) -> Iterator[str]:
    """Make engines ready, before the clock of a progress bar runs; yield what to tell of it."""
    remarks = [*map(problem_with, engines)]
    if "compiled" in engines and not any(remarks):
        remarks.append(broken_cache())
        if not is_compiled():
            remarks.append("Compiling the engine for this machine, once; it takes some seconds.")
    yield from filter(None, remarks)


def _train_shard(
    task: tuple[list[Part], str, Shard | Exception], advance: ProgressCallback
) -> tuple[list[Part], Trained | Exception]:
    parts, engine, shard = task
    if isinstance(shard, Exception):
        return parts, shard
    try:
        train = train_function(engine)
        return parts, train(*shard[:4], kept=shard.kept, progress=advance)
    except InterruptedError:
        raise
    except Exception as error:  # of these runs alone: the others are to finish
        return parts, error


def setup_of(config: RunConfig) -> Setup:
    """Return what a run must share with its neighbours in an ensemble."""
    inputs, targets = config.truth_table
    architecture = Architecture(
        layer_sizes=config.layer_sizes,
        bias=config.network.bias,
        train_bias=config.network.train_bias,
        activation=config.activation.name,
        output=config.network.output,
        slope=config.slope,
        loss=config.loss.name,
        mean_gradient=config.loss.reduction == "mean",
    )
    return Setup(
        architecture=architecture,
        inputs=tuple(map(tuple, inputs.tolist())),
        targets=tuple(map(tuple, targets.tolist())),
        online=config.optimizer.name == "online_gd",
        epochs=config.training.epochs,
        tolerance=config.training.tolerance,
        stop_when_converged=config.training.stop_when_converged,
        record=config.training.record,
    )


def initial_parameters(config: RunConfig) -> Parameters:
    """Return a run's initial weights, one column a network: drawn from its seed, or as given.

    They are multiplied by `init.scale`, which changes no bit where it is 1.
    """
    given, bias = config.given_weights, config.network.bias
    if given is not None:
        return join_layers(given) * np.float64(config.init_scale)
    words = draw_words(config.seed, config.layer_sizes, bias=bias, n_networks=config.replicates)
    drawn = initialize(words, config.layer_sizes, has_bias=bias, **config.initializer)
    return drawn * np.float64(config.init_scale)


def learning_rates(config: RunConfig) -> Float64[np.ndarray, " layer"]:
    """Return the learning rate of each layer with weights: that of all, times its factor."""
    return np.float64(config.optimizer.learning_rate) * np.array(config.layer_factors)


class _Gathering:
    """A run whose replicates come back shard by shard."""

    def __init__(self, index: int, config: RunConfig) -> None:
        self.index, self.config = index, config
        self.setup = setup_of(config)
        self.n_kept = min(config.training.record_weights, config.replicates)
        self.missing = config.replicates
        self.error: Exception | None = None

    @property
    def is_complete(self) -> bool:
        return self.missing == 0 and self.error is None

    def begin(self) -> bool:
        """Make initial weights and room for the result; return whether that went well."""
        try:
            self.initial = initial_parameters(self.config)
            self._allocate()
        except Exception as error:  # of this run alone: the others are to finish
            self.error = error
        return self.error is None

    def _allocate(self) -> None:
        n, n_recorded = self.config.replicates, len(self.setup.recorded_epochs)
        self.curves = [np.empty((n, n_recorded)) for _ in range(3)]
        self.outcome_code = np.empty(n, dtype=np.int8)
        self.epochs_to_converge = np.empty(n, dtype=np.int64)
        self.solved = np.empty(n, dtype=bool)
        self.final_loss = np.empty(n)
        n_weights = len(self.initial)
        self.final = np.empty((n_weights, n))
        self.trajectory = np.empty((n_recorded, n_weights, self.n_kept))

    def take(self, part: Part, trained: Trained | Exception) -> None:
        """Put a shard's share of this run in its place."""
        self.missing -= part.replicates.stop - part.replicates.start
        if isinstance(trained, Exception):
            self.error = trained
            return
        ours, theirs = part.replicates, part.networks
        for curve, values in zip(self.curves, trained[:3], strict=True):
            curve[ours] = values[:, theirs].T
        self.outcome_code[ours] = trained.outcome[theirs]
        self.epochs_to_converge[ours] = trained.epochs_to_converge[theirs]
        self.solved[ours] = trained.solved[theirs]
        self.final_loss[ours] = trained.final_loss[theirs]
        self.final[:, ours] = trained.parameters[:, theirs]
        kept = slice(ours.start, ours.start + part.kept.stop - part.kept.start)
        self.trajectory[:, :, kept] = trained.trajectory[:, :, part.kept]

    def finish(self) -> RunResult:
        """Return the result and let go of its arrays."""
        epochs = self.setup.recorded_epochs
        loss, gradient_norm, weight_norm = self.curves
        result = RunResult(
            epochs=epochs,
            loss=loss,
            gradient_norm=gradient_norm,
            weight_norm=weight_norm,
            outcome_code=self.outcome_code,
            epochs_to_converge=self.epochs_to_converge,
            solved=self.solved,
            final_loss=self.final_loss,
            initial_weights=self._layers(self.initial),
            final_weights=self._layers(self.final),
            trajectory={"epoch": epochs, **self._layers(self.trajectory)},
        )
        del self.initial, self.curves, self.final, self.trajectory
        return result

    def _layers(self, parameters: np.ndarray) -> dict[str, np.ndarray]:
        """View columns of weights as named layers, the network axis first."""
        layers = split_layers(self.setup.architecture, parameters)
        views = [np.moveaxis(layer, -1, 0) for layer in layers]
        return dict(zip(layer_names(len(views)), views, strict=True))


def _ensembles(runs: Sequence[_Gathering]) -> list[list[_Gathering]]:
    """Put together the runs that share engine and setup."""
    ensembles: dict[tuple[str, Setup], list[_Gathering]] = {}
    for run in runs:
        ensembles.setdefault((run.config.engine, run.setup), []).append(run)
    return list(ensembles.values())


def _shards(runs: Sequence[_Gathering]) -> Iterator[tuple[list[Part], str, Shard | Exception]]:
    """Cut an ensemble into shards, run after run."""
    parts: list[Part] = []
    n_networks = n_kept = 0
    by_index = {run.index: run for run in runs}
    for run in runs:
        if not run.begin():
            continue
        first, n = 0, run.config.replicates
        while first < n:
            last = min(n, first + SHARD_NETWORKS - n_networks)
            kept = max(0, min(last, run.n_kept) - first)
            parts.append(
                Part(
                    run.index,
                    slice(first, last),
                    slice(n_networks, n_networks + last - first),
                    slice(n_kept, n_kept + kept),
                )
            )
            n_networks, n_kept, first = n_networks + last - first, n_kept + kept, last
            if n_networks == SHARD_NETWORKS:
                yield parts, run.config.engine, _try_assemble(parts, by_index)
                parts, n_networks, n_kept = [], 0, 0
    if parts:
        yield parts, runs[0].config.engine, _try_assemble(parts, by_index)


def _try_assemble(parts: list[Part], runs: dict[int, _Gathering]) -> Shard | Exception:
    try:
        return _assemble(parts, runs)
    except Exception as error:  # such as too little memory: of these runs alone
        return error


def _assemble(parts: list[Part], runs: dict[int, _Gathering]) -> Shard:
    """Copy the initial weights and step sizes of some replicates into the arrays of a shard."""
    members = [(part, runs[part.run]) for part in parts]
    sizes = [part.replicates.stop - part.replicates.start for part in parts]
    rates = np.stack([learning_rates(run.config) for _, run in members], axis=-1)
    momenta = [run.config.optimizer.momentum for _, run in members]
    kept = [
        np.arange(part.networks.start, part.networks.start + part.kept.stop - part.kept.start)
        for part in parts
    ]
    setup = members[0][1].setup
    return Shard(
        setup=setup,
        parameters=np.concatenate([run.initial[:, part.replicates] for part, run in members], -1),
        learning_rate=np.repeat(rates, sizes, axis=-1),
        momentum=np.repeat(momenta, sizes),
        kept=np.concatenate(kept).astype(np.int64),
    )
