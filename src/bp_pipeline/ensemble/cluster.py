"""Shards side by side: on threads of this process, or on a cluster; each result as it comes.

Owns how work is spread over threads, counted and stopped. What a cluster takes is left to
`dask_cluster.py`; what a shard is, and what becomes of its result, to the callers.
"""

import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, TypeVar

import joblib

from bp_pipeline.core.training import Progress

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

SHARD_BYTES = 1 << 26  # of what a shard of networks comes to, at most


class ClusterLost(RuntimeError):
    """A cluster that was there when training began, and is no longer."""


def train_shards(
    train: Callable[[Task, Progress], Outcome],
    shards: Iterable[Task],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    cluster: "DaskCluster | None" = None,
) -> Generator[tuple[Task, Outcome | Exception], None, None]:
    """Train shards side by side; return each with what comes of it, as it finishes.

    Several calls may go on in one process at a time. Closing the iterator ends the training.

    Parameters
    ----------
    train
        Trains one shard; it calls its second argument now and then with how many network-epochs it
        has trained since, and ends with the `InterruptedError` that this may raise. Any other
        exception is what comes of this shard.
    shards
        What to train; made one at a time, when a thread is free for the next. For a cluster they
        and `train` are pickled, and small.
    threads
        How many are trained at a time; as many as there are cores by default.
    progress
        Called with the same numbers, by one thread at a time, but not always the same one.
    cluster
        Where to train instead of on threads of this process.

    Raises
    ------
    ClusterLost
        Where the cluster is no longer there.
    """
    if cluster is not None:
        return cluster.train_shards(train, shards, progress)
    return _on_threads(train, shards, threads or joblib.cpu_count(), progress)


def _on_threads(
    train: Callable[[Task, Progress], Outcome],
    shards: Iterable[Task],
    threads: int,
    progress: Progress | None,
) -> Generator[tuple[Task, Outcome | Exception], None, None]:
    stop, lock = threading.Event(), threading.Lock()

    def advance(network_epochs: int) -> None:
        if stop.is_set():
            raise InterruptedError("training was stopped")
        if progress is not None:
            with lock:
                progress(network_epochs)

    def attempt(shard: Task) -> tuple[Task, Outcome | Exception]:
        try:
            return shard, train(shard, advance)
        except InterruptedError:
            raise
        except Exception as error:  # of this shard alone: the others are to finish
            return shard, error

    parallel = joblib.Parallel(
        n_jobs=threads,
        prefer="threads",
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="1.5 * n_jobs",
    )
    results = parallel(joblib.delayed(attempt)(shard) for shard in shards)
    try:
        for outcome in results:  # noqa: UP028 `yield from` would close them before the next lines
            yield outcome
    finally:
        stop.set()
        with warnings.catch_warnings():  # that shards were left undone is what we want here
            warnings.simplefilter("ignore")
            results.close()
