"""A map trained shard by shard on threads, and its boundary a second time, one ulp further.

Owns the order of shards, what is in memory at a time (the result, and one shard a thread), and the
shards of an unfinished map that are kept in a folder. What a shard is, is said in `pixels.py`.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.training import Progress
from bp_pipeline.ensemble import ClusterLost, RunResult, train_runs
from bp_pipeline.ensemble.cluster import train_shards
from bp_pipeline.maps.boundary import boundary_pixels
from bp_pipeline.maps.options import MapConfig
from bp_pipeline.maps.pixels import (
    KEPT,
    MapResult,
    Numbers,
    Outcomes,
    Pixels,
    pixels_of,
    train_pixels,
)

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster

_SHARD_WORK = 1 << 29  # weights × samples × epochs: a third of a second
_SHARD_NETWORKS = 64, 1 << 16  # at least, at most
_SHARD_BYTES = 1 << 26  # of recorded losses and norms


class KeptShards:
    """The finished shards of a map that is not whole yet, a file each.

    A file is there whole or not at all, and one that cannot be read counts as not there.

    Parameters
    ----------
    folder
        Of this map alone; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, numbers: Numbers) -> Outcomes | None:
        """Return what was kept of these networks, if anything was."""
        if self._folder is None or not self._path(numbers).is_file():
            return None
        try:
            arrays = read_arrays(self._path(numbers))
        except ValueError:  # cut off by a power failure
            return None
        is_whole = all(array.shape == numbers.shape for array in arrays.values())
        return arrays if is_whole and arrays.keys() >= {*KEPT} else None

    def write(self, numbers: Numbers, outcomes: Outcomes) -> None:
        """Keep what came of these networks."""
        if self._folder is not None:
            path = self._path(numbers)
            new = path.with_suffix(".new.npz")
            write_arrays(new, outcomes)
            new.replace(path)

    def remove(self) -> None:
        """Forget everything, once the map is whole."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, numbers: Numbers) -> Path:
        assert self._folder is not None
        return self._folder / f"{numbers[0]}-{numbers[-1]}.npz"


def shard_size(pixels: Pixels) -> int:
    """Return how many networks are trained at a time; it changes no bit."""
    setup, n_weights = pixels.setup, len(pixels.initial)
    work = n_weights * len(setup.inputs) * max(1, setup.epochs)
    recorded = 24 * len(setup.recorded_epochs)  # bytes of a network's losses and norms
    return int(np.clip(min(_SHARD_WORK // work, _SHARD_BYTES // recorded), *_SHARD_NETWORKS))


def shards_of(n_networks: int, size: int) -> Iterator[Numbers]:
    """Cut the numbers of networks into shards."""
    for first in range(0, n_networks, size):
        yield np.arange(first, min(first + size, n_networks))


class Drawing:
    """A map on its way: what is known of it, and which shards are missing.

    Parameters
    ----------
    pixels
        The map.
    kept
        Where finished shards are read from and written to.
    size
        Networks of a shard; by default about a third of a second's work.
    """

    def __init__(
        self, pixels: Pixels, kept: KeptShards | None = None, size: int | None = None
    ) -> None:
        self._pixels, self._kept = pixels, kept or KeptShards(None)
        self._flat = _room(pixels, pixels.n_networks)
        self._missing: list[tuple[int, int]] = []
        for numbers in shards_of(pixels.n_networks, size or shard_size(pixels)):
            outcomes = self._kept.read(numbers)
            if outcomes is None:
                self._missing.append((int(numbers[0]), int(numbers[-1]) + 1))
            else:
                _fill(self._flat, numbers, outcomes)

    @property
    def n_missing(self) -> int:
        """How many networks are still to be trained."""
        return sum(end - first for first, end in self._missing)

    @property
    def n_missing_shards(self) -> int:
        """In how many shards they are."""
        return len(self._missing)

    def finish(
        self,
        *,
        engine: str,
        threads: int | None = None,
        progress: Progress | None = None,
        shard_done: Callable[[], None] | None = None,
        cluster: "DaskCluster | None" = None,
    ) -> MapResult:
        """Train what is missing.

        Parameters
        ----------
        engine, threads
            What trains, and how many shards at a time.
        progress
            Called with how many network-epochs were trained since the last call.
        shard_done
            Called after each shard.
        cluster
            Where to train instead of on threads of this process.
        """
        shards = (np.arange(first, end) for first, end in self._missing)
        train = partial(train_pixels, self._pixels, engine)
        trained = train_shards(train, shards, threads=threads, progress=progress, cluster=cluster)
        with closing(trained):
            for numbers, outcomes in trained:
                if isinstance(outcomes, Exception):
                    raise outcomes
                _fill(self._flat, numbers, outcomes)
                self._kept.write(numbers, outcomes)
                if shard_done is not None:
                    shard_done()
        self._missing = []
        return _as_map(self._pixels, self._flat)


def train_all(
    configs: Sequence[RunConfig],
    *,
    progress: Progress | None = None,
    cluster: "DaskCluster | None" = None,
) -> Iterator[tuple[int, RunResult | MapResult | Exception]]:
    """Train runs side by side, then maps one after another; return each with its index."""
    maps = {index: config for index, config in enumerate(configs) if isinstance(config, MapConfig)}
    runs = [index for index in range(len(configs)) if index not in maps]
    trained = train_runs([configs[n] for n in runs], progress=progress, cluster=cluster)
    with closing(trained):
        for index, result in trained:
            yield runs[index], result
    for index, config in maps.items():
        try:
            drawing = Drawing(pixels_of(config))
            drawn = drawing.finish(
                engine=config.engine, threads=config.threads, progress=progress, cluster=cluster
            )
            yield index, drawn
        except ClusterLost:
            raise
        except Exception as error:  # of this map alone: the others are to be drawn
            yield index, error


def count_ulp_flips(
    pixels: Pixels,
    result: MapResult,
    boundary: str,
    *,
    engine: str,
    threads: int | None = None,
    progress: Progress | None = None,
    cluster: "DaskCluster | None" = None,
) -> int:
    """Count the boundary's pixels that change sides when the x value moves up by one ulp."""
    inside = result.inside(boundary)
    rows, columns = np.nonzero(boundary_pixels(inside))
    if not len(rows):
        return 0
    key, values = pixels.x
    moved, n_replicates = replace(pixels, x=(key, np.nextafter(values, np.inf))), pixels.shape[2]
    first = np.ravel_multi_index((rows, columns, np.zeros_like(rows)), pixels.shape)
    numbers = (first[:, None] + np.arange(n_replicates)).ravel()
    flat = _room(pixels, len(numbers))
    shards = (numbers[places] for places in shards_of(len(numbers), shard_size(pixels)))
    train = partial(train_pixels, moved, engine)
    trained = train_shards(train, shards, threads=threads, progress=progress, cluster=cluster)
    with closing(trained):
        for shard, outcomes in trained:
            if isinstance(outcomes, Exception):
                raise outcomes
            _fill(flat, np.searchsorted(numbers, shard), outcomes)
    a_row = replace(pixels, x=(key, values[columns]), y=(pixels.y[0], pixels.y[1][:1]))
    return int((_as_map(a_row, flat).inside(boundary)[0] != inside[rows, columns]).sum())


def _room(pixels: Pixels, n_networks: int) -> Outcomes:
    epochs = np.int32 if pixels.setup.epochs < 2**31 else np.int64
    types = dict(zip(KEPT, (np.int8, epochs, np.float64, np.bool_), strict=True))
    types |= {"loss_ratio": np.float64} if pixels.keeps_loss_ratio else {}
    return {name: np.empty(n_networks, dtype=of) for name, of in types.items()}


def _fill(flat: Outcomes, numbers: Numbers, outcomes: Outcomes) -> None:
    for name, array in flat.items():
        array[numbers[0] : numbers[-1] + 1] = outcomes[name]


def _as_map(pixels: Pixels, flat: Outcomes) -> MapResult:
    rows, columns, n_replicates = pixels.shape
    shape = (rows, columns, *([n_replicates] if n_replicates > 1 else []))
    arrays = {name: array.reshape(shape) for name, array in flat.items()}
    return MapResult(pixels.x[1], pixels.y[1], **arrays)
