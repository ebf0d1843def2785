"""Where shards are trained: on threads of this process, each result as soon as it is there.

Owns how work is spread, counted and stopped. What a shard is, and what becomes of its result, is
left to the callers.
"""

import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

import joblib

from bp_pipeline.core.training import Progress

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def train_shards(
    train: Callable[[Task, Progress], Outcome],
    shards: Iterable[Task],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Generator[Outcome, None, None]:
    """Train shards side by side; return what comes of each as it finishes.

    Several calls may go on in one process at a time. Closing the iterator ends the training.

    Parameters
    ----------
    train
        Trains one shard; it calls its second argument now and then with how many network-epochs it
        has trained since, and ends with the `InterruptedError` that this may raise.
    shards
        What to train; made one at a time, when a thread is free for the next.
    threads
        How many are trained at a time; as many as there are cores by default.
    progress
        Called with the same numbers, by one thread at a time, but not always the same one.
    """
    stop, lock = threading.Event(), threading.Lock()

    def advance(network_epochs: int) -> None:
        if stop.is_set():
            raise InterruptedError("training was stopped")
        if progress is not None:
            with lock:
                progress(network_epochs)

    parallel = joblib.Parallel(
        n_jobs=threads or joblib.cpu_count(),
        prefer="threads",
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="1.5 * n_jobs",
    )
    results = parallel(joblib.delayed(train)(shard, advance) for shard in shards)
    try:
        for outcome in results:  # noqa: UP028 `yield from` would close them before the next lines
            yield outcome
    finally:
        stop.set()
        with warnings.catch_warnings():  # that shards were left undone is what we want here
            warnings.simplefilter("ignore")
            results.close()
