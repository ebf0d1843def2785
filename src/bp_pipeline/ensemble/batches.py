"""Results in batches: those that have come while their taker was busy with the last ones.

Owns that training goes on meanwhile, and waits where too many results would pile up in memory; and
which share of the time a result took. What trains is left to `shards.py`.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble.result import RunResult
from bp_pipeline.ensemble.shards import ProgressCallback, train_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bp_pipeline.ensemble.dask_cluster import DaskCluster

Finished = tuple[int, RunResult | Exception]  # index of a config, and what came of it


class TimeShares:
    """Shares of the time since training began, of runs that train side by side.

    All of them together come to no more than has passed, and a run whose results waited for those
    of its neighbours has its share, too.
    """

    def __init__(self, count: ProgressCallback, clock: Callable[[], float] = perf_counter) -> None:
        self._count, self._clock, self._started = count, clock, clock()
        self._shared, self._trained, self._taken = 0.0, 0, 0

    def count_network_epochs(self, number: int) -> None:
        """Count work of training, and hand it on; any thread may call it, one at a time."""
        self._trained += number
        self._count(number)

    def pace(self, network_epochs: int) -> float:
        """Take what has finished; return the seconds for each of its network-epochs.

        That is the time that is not shared out yet, over the work that was done in it.
        """
        work = max(1, network_epochs, self._trained - self._taken)
        pace = (self._clock() - self._started - self._shared) / work
        self._taken += network_epochs
        self._shared += pace * network_epochs
        return pace


@contextmanager
def batches_of_results(
    configs: Sequence[RunConfig],
    size: int,
    *,
    progress: ProgressCallback | None = None,
    cluster: "DaskCluster | None" = None,
) -> "Iterator[Iterator[list[Finished]]]":
    """Train runs side by side, within the context.

    Parameters
    ----------
    configs, progress, cluster
        As `train_runs` takes them.
    size
        Results in a batch at most. Training waits where twice as many are not taken.

    Yields
    ------
    iterator of list
        What has finished since the last batch, one at least, as soon as there is one.
    """
    waiting = _Waiting(limit=2 * size)

    def advance(network_epochs: int) -> None:
        waiting.await_room()
        if progress is not None:
            progress(network_epochs)

    def train() -> None:
        try:
            with closing(train_runs(configs, progress=advance, cluster=cluster)) as results:
                for finished in results:
                    waiting.put(finished)
            waiting.end(None)
        except BaseException as error:  # the taker raises it
            waiting.end(error)

    trainer = threading.Thread(target=train, name="trainer")
    try:  # around the start too: a signal may come before it returns
        trainer.start()
        yield waiting.batches(size)
    finally:
        waiting.close()
        if trainer.is_alive():
            trainer.join()


class _Waiting:
    """Results between the thread that trains and the one that takes them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._results: deque[Finished] = deque()
        self._changed = threading.Condition()
        self._is_closed = self._has_ended = False
        self._error: BaseException | None = None

    def put(self, finished: Finished) -> None:
        with self._changed:
            self._results.append(finished)
            self._changed.notify_all()

    def await_room(self) -> None:
        """Wait where too many results do.

        Raises
        ------
        InterruptedError
            Where nobody will take them any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._results) < self._limit)
            if self._is_closed:
                raise InterruptedError("training was stopped")

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            self._has_ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def batches(self, size: int) -> Generator[list[Finished], None, None]:
        while batch := self._take(size):
            yield batch
        if self._error is not None:
            raise self._error

    def _take(self, size: int) -> list[Finished]:
        """Take some; nothing where there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._results or self._has_ended)
            batch = [self._results.popleft() for _ in range(min(size, len(self._results)))]
            self._changed.notify_all()
            return batch
