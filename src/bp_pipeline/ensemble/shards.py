"""From configs to results: runs become ensembles, ensembles shards, shards results.

Owns which networks are trained together and how their results find the way back to their run. A
shard is a value (numbers in, arrays out) and knows nothing of configs, so that it can travel to
another process: its networks are drawn where they are trained. What training does is left to
`core`; where results go, to `tracking/`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from jaxtyping import Float64

from bp_pipeline.arrays import layer_names
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.initializers import draw_words, initialize
from bp_pipeline.core.network import Architecture, Parameters, join_layers, split_layers
from bp_pipeline.core.training import Setup, Trained
from bp_pipeline.ensemble.cluster import SHARD_BYTES, train_shards
from bp_pipeline.ensemble.engines import broken_cache, is_compiled, problem_with, train_function
from bp_pipeline.ensemble.result import RunResult

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster

SHARD_NETWORKS = 1024  # small enough to finish runs in turn, large enough to hide the dispatch
# Of a shard for a cluster, weights × samples × epochs: about a second.
_SHARD_WORK = {"compiled": 3 << 29, "numpy": 3 << 26}
_FEWEST_NETWORKS = 64  # that keep the vector units busy
_SHARDS_A_THREAD = 4  # or more, so that no worker of a cluster waits long for the last one

ProgressCallback = Callable[[int], None]  # takes a number of network-epochs


@dataclass(frozen=True)
class Draws:
    """Initial weights of some replicates of a run, as little as it takes to make them anywhere."""

    seed: int
    layer_sizes: tuple[int, ...]
    bias: bool
    initializer: Mapping[str, Any]
    scale: float
    replicates: slice

    def parameters(self) -> Parameters:
        """Draw them, one column a network."""
        first, last = self.replicates.start, self.replicates.stop
        words = draw_words(
            self.seed, self.layer_sizes, bias=self.bias, n_networks=last - first, first=first
        )
        drawn = initialize(words, self.layer_sizes, has_bias=self.bias, **self.initializer)
        return drawn * np.float64(self.scale)


@dataclass(frozen=True)
class Part:
    """Replicates of one run in a shard, and what they have in common.

    Attributes
    ----------
    run
        Index of the run.
    replicates
        Which of its replicates.
    initial
        Their initial weights, or what these are drawn from.
    n_kept
        How many of them have their trajectory kept, from the first one on.
    """

    run: int
    replicates: slice
    initial: Parameters | Draws
    learning_rate: Float64[np.ndarray, " layer"]
    momentum: float
    n_kept: int

    @property
    def n_networks(self) -> int:
        """How many replicates it has."""
        return int(self.replicates.stop - self.replicates.start)


@dataclass(frozen=True)
class Shard:
    """A part of an ensemble, ready to be trained anywhere: parts of runs, one after another."""

    setup: Setup
    engine: str
    parts: list[Part]


def train_runs(
    configs: Sequence[RunConfig],
    *,
    progress: ProgressCallback | None = None,
    cluster: "DaskCluster | None" = None,
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
    cluster
        Where to train instead of on threads of this process.

    Yields
    ------
    tuple
        Index in `configs`, and the result, or what went wrong with this run alone.

    Raises
    ------
    ClusterLost
        Where the cluster is no longer there.
    """
    travels = cluster is not None
    runs = [_Gathering(index, config, travels) for index, config in enumerate(configs)]
    shards = (shard for members in _ensembles(runs) for shard in _shards(members, cluster))
    threads = [config.threads or joblib.cpu_count() for config in configs]
    results = train_shards(
        _train, shards, threads=max(threads, default=1), progress=progress, cluster=cluster
    )
    with closing(results):
        for shard, trained in results:
            first = first_kept = 0
            for part in shard.parts:
                run = runs[part.run]
                run.take(part, trained, first, first_kept)
                first, first_kept = first + part.n_networks, first_kept + part.n_kept
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


def _train(shard: Shard, advance: ProgressCallback) -> Trained:
    """Make the networks of a shard, and train them."""
    parts, sizes = shard.parts, [part.n_networks for part in shard.parts]
    initial = [
        part.initial.parameters() if isinstance(part.initial, Draws) else part.initial
        for part in parts
    ]
    rates = np.stack([part.learning_rate for part in parts], axis=-1)
    firsts = np.cumsum([0, *sizes[:-1]])
    kept = [first + np.arange(part.n_kept) for first, part in zip(firsts, parts, strict=True)]
    return train_function(shard.engine)(
        shard.setup,
        np.concatenate(initial, axis=-1),
        np.repeat(rates, sizes, axis=-1),
        np.repeat([part.momentum for part in parts], sizes),
        kept=np.concatenate(kept).astype(np.int64),
        progress=advance,
    )


def setup_of(config: RunConfig) -> Setup:
    """Return what a run must share with its neighbours in an ensemble."""
    table = config.truth_table
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
        inputs=tuple(map(tuple, table.inputs.tolist())),
        targets=tuple(map(tuple, table.targets.tolist())),
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
    given = config.given_weights
    if given is not None:
        return join_layers(given) * np.float64(config.init_scale)
    return _draws(config, slice(0, config.replicates)).parameters()


def _draws(config: RunConfig, replicates: slice) -> Draws:
    return Draws(
        config.seed,
        config.layer_sizes,
        config.network.bias,
        config.initializer,
        config.init_scale,
        replicates,
    )


def learning_rates(config: RunConfig) -> Float64[np.ndarray, " layer"]:
    """Return the learning rate of each layer with weights: that of all, times its factor."""
    return np.float64(config.optimizer.learning_rate) * np.array(config.layer_factors)


class _Gathering:
    """A run whose replicates come back shard by shard.

    Where they come from a cluster, there are no arrays before the first of them is back.
    """

    def __init__(self, index: int, config: RunConfig, travels: bool) -> None:
        self.index, self.config = index, config
        self.is_drawn_there = travels and config.given_weights is None
        self.setup = setup_of(config)
        self.n_kept = min(config.training.record_weights, config.replicates)
        self.missing = config.replicates
        self.is_begun = False
        self.error: Exception | None = None

    @property
    def is_complete(self) -> bool:
        return self.missing == 0 and self.error is None

    def begin(self) -> bool:
        """Make initial weights and room for the result, once; return whether that went well."""
        if not self.is_begun and self.error is None:
            try:
                self.initial = initial_parameters(self.config)
                self._allocate()
                self.is_begun = True
            except Exception as error:  # of this run alone: the others are to finish
                self.error = error
        return self.error is None

    def part(self, first: int, last: int) -> Part:
        """Return some replicates, to be trained."""
        replicates, config = slice(first, last), self.config
        return Part(
            run=self.index,
            replicates=replicates,
            initial=_draws(config, replicates)
            if self.is_drawn_there
            else self.initial[:, replicates],
            learning_rate=learning_rates(config),
            momentum=config.optimizer.momentum,
            n_kept=max(0, min(last, self.n_kept) - first),
        )

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

    def take(self, part: Part, trained: Trained | Exception, first: int, first_kept: int) -> None:
        """Put a part's share of what came of a shard, from these networks on, in its place."""
        self.missing -= part.n_networks
        if isinstance(trained, Exception):
            self.error = trained
        if not self.begin() or isinstance(trained, Exception):
            return
        ours, theirs = part.replicates, slice(first, first + part.n_networks)
        for curve, values in zip(self.curves, trained[:3], strict=True):
            curve[ours] = values[:, theirs].T
        self.outcome_code[ours] = trained.outcome[theirs]
        self.epochs_to_converge[ours] = trained.epochs_to_converge[theirs]
        self.solved[ours] = trained.solved[theirs]
        self.final_loss[ours] = trained.final_loss[theirs]
        self.final[:, ours] = trained.parameters[:, theirs]
        kept = trained.trajectory[:, :, first_kept : first_kept + part.n_kept]
        self.trajectory[:, :, ours.start : ours.start + part.n_kept] = kept

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


def _shards(runs: Sequence[_Gathering], cluster: "DaskCluster | None") -> Iterator[Shard]:
    """Cut an ensemble into shards, run after run."""
    setup, engine = runs[0].setup, runs[0].config.engine
    size = SHARD_NETWORKS if cluster is None else _networks_for(runs, cluster.n_at_a_time)
    parts: list[Part] = []
    room = size
    for run in runs:
        if not run.is_drawn_there and not run.begin():
            continue
        first, n = 0, run.config.replicates
        while first < n:
            last = min(n, first + room)
            parts.append(run.part(first, last))
            room, first = room - (last - first), last
            if room == 0:
                yield Shard(setup, engine, parts)
                parts, room = [], size
    if parts:
        yield Shard(setup, engine, parts)


def _networks_for(runs: Sequence[_Gathering], n_at_a_time: int) -> int:
    """Return how many networks make a shard for a cluster.

    That is about a second of work, or less: where the result would be too large, or there would be
    too few shards for so many threads. It changes no bit.
    """
    setup, engine = runs[0].setup, runs[0].config.engine
    n_weights = sum(rows * columns for rows, columns in setup.architecture.shapes)
    n_recorded = len(setup.recorded_epochs)
    n_networks = sum(run.config.replicates for run in runs)
    share_kept = sum(run.n_kept for run in runs) / n_networks
    work = n_weights * len(setup.inputs) * max(1, setup.epochs)
    n_bytes = 8 * (3 * n_recorded + 2 * n_weights + share_kept * n_recorded * n_weights)
    share = max(SHARD_NETWORKS, n_networks // (_SHARDS_A_THREAD * n_at_a_time))
    return max(
        _FEWEST_NETWORKS, min(_SHARD_WORK[engine] // work, int(SHARD_BYTES / n_bytes), share)
    )
