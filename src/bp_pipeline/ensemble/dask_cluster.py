"""Shards on a Dask cluster: which workers may train, what each is given, and what is lost with it.

Owns what is asked of a cluster that answers. It uses Dask's client itself and not joblib's backend,
because it takes Dask's resources to keep shards from workers that may not train, and Dask's futures
to tell a shard that failed from a cluster that is gone. A worker may train where its `core/`, NumPy
and Numba are those of this process; it then offers a resource, named after these versions, which
shards ask for. So Dask itself hands the shards of a worker that died to others, also to ones that
join later.
"""

import pickle
import platform
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import numpy as np
from distributed import CancelledError, Client, KilledWorker, Worker, get_worker

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.core.training import Progress
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble.cluster import SHARD_BYTES, ClusterLost, Outcome, Task

_ANSWER = 30.0  # seconds that a scheduler may take later on, when it is busy
_TRANSFER = 600.0  # seconds for a shard's result on a slow network
_LOOK = 1.0  # seconds between looks at who has joined
_POLL = 0.1  # seconds in which a caller's wish to stop is noticed
_SHARDS_A_SLOT = 2  # one that is trained, and one that waits to be, or to be fetched
_SHARD_MEMORY = 4 * SHARD_BYTES  # of a thread: results of two shards, and their making
_PAUSE = 0.8  # of its memory: there Dask gives a worker no more work
_DEATHS = 12  # of workers that a shard survives; what it kills more of is its own fault
_DEATHS_IN_DASK = 4  # after which Dask gives a shard up: its default, three failures allowed

_DECISIVE = {"code": "code_digest", "numpy": "NumPy", "numba": "Numba"}


def versions() -> dict[str, str | None]:
    """Describe this process, as a worker or as what workers are compared with."""
    return {
        "code": code_digest(),
        "numpy": np.__version__,
        "numba": _version("numba"),
        "python": platform.python_version(),
        "dask": _version("distributed"),
        "machine": platform.machine(),
        "host": platform.node(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class _Waiting:
    """A shard on its way: what it is, the future of its result, and how many workers it had."""

    shard: Any
    future: Any
    deaths: int


class DaskCluster:
    """A cluster that answers, and those of its workers that may train."""

    def __init__(self, client: Client, tell: Callable[[str], None]) -> None:
        self._client, self._tell = client, tell
        mine = versions()
        self._versions = {key: mine[key] for key in _DECISIVE}
        self._resource = f"bp_pipeline {mine['code']} {mine['numpy']} {mine['numba']}"
        self._slots: dict[str, int] = {}  # of each worker that is there; 0 where it may not train
        self._described: dict[str, dict[str, Any]] = {}
        self._is_alone = False
        self._looked = monotonic()
        _, refusals = self._admit_new()
        if refusals and not any(self._slots.values()):
            raise ConfigError("\n".join(["No worker of this cluster may train.", *refusals]))
        for line in refusals:
            tell(line)
        self._tell_if_alone()

    @property
    def n_at_a_time(self) -> int:
        """How many shards the workers train at a time; 1 where there is no worker yet."""
        return max(1, sum(self._slots.values()))

    @property
    def description(self) -> dict[str, Any]:
        """Scheduler and workers that have trained or may train, as JSON values."""
        address = self._client.scheduler.address
        return {"scheduler": address, "workers": [*self._described.values()]}

    def train_shards(
        self,
        train: Callable[[Task, Progress], Outcome],
        shards: Iterable[Task],
        progress: Progress | None,
    ) -> Generator[tuple[Task, Outcome | Exception], None, None]:
        """Train shards on the workers; see `ensemble.cluster.train_shards`.

        What is in flight is bounded, and nothing of it is in the memory of this process.
        """
        count, left = progress or (lambda _: None), iter(shards)
        in_flight: dict[str, _Waiting] = {}
        ended: SimpleQueue[str] = SimpleQueue()

        def send(shard: Task, deaths: int = 0) -> None:
            self._check_connection()
            future = self._client.submit(
                _on_worker,
                pickle.dumps((train, shard)),
                resources={self._resource: 1},
                pure=False,
            )
            in_flight[future.key] = _Waiting(shard, future, deaths)
            future.add_done_callback(lambda future: ended.put(future.key))

        try:
            while True:
                room = _SHARDS_A_SLOT * self.n_at_a_time - len(in_flight)
                for shard in islice(left, max(0, room)):
                    send(shard)
                if not in_flight:
                    return
                key = self._next(ended, count)
                if key is None:  # the workers that had them are gone, and Dask would wait for these
                    again = [*in_flight.values()]
                    self._forget([waiting.future for waiting in again])
                    in_flight.clear()
                    for waiting in again:
                        send(waiting.shard, waiting.deaths + 1)
                    continue
                if key not in in_flight:  # one that was sent again
                    continue
                waiting = in_flight.pop(key)
                shard, result = waiting.shard, self._result_of(waiting.future)
                if isinstance(result, KilledWorker) and waiting.deaths < _DEATHS:
                    send(shard, waiting.deaths + _DEATHS_IN_DASK)
                    continue
                outcome, network_epochs = (result, 0) if isinstance(result, Exception) else result
                del waiting, result  # so that workers forget it
                count(network_epochs)
                yield shard, outcome
        finally:
            self._forget([waiting.future for waiting in in_flight.values()])

    def _next(self, ended: "SimpleQueue[str]", count: Progress) -> str | None:
        """Wait for a shard to end, and return its key; None where all workers are new ones."""
        while True:
            if monotonic() - self._looked > _LOOK:
                was_alone, refusals = self._admit_new()
                for line in refusals:
                    self._tell(line)
                self._tell_if_alone()
                self._looked = monotonic()
                if was_alone and any(self._slots.values()):
                    return None
            try:
                return ended.get(timeout=_POLL)
            except Empty:
                count(0)  # which raises where the caller wants to stop

    def _result_of(self, future: Any) -> Any:
        """Fetch what came of a shard: the worker's answer, or why Dask has none."""
        try:
            return future.result(timeout=_TRANSFER)
        except (CancelledError, OSError) as error:  # a worker's own errors are answers
            raise self._lost(error) from error
        except Exception as error:
            return error

    def _check_connection(self) -> None:
        if self._client.status != "running":
            raise self._lost(ConnectionError())

    def _lost(self, error: BaseException) -> ClusterLost:
        address = getattr(self._client.scheduler, "address", "")
        reason = type(error).__name__
        return ClusterLost(
            f"The Dask scheduler {address} is gone ({reason}). What is recorded stays; where there "
            "is a scheduler again, the same command does the rest."
        )

    def _forget(self, futures: list[Any]) -> None:
        """Have workers stop what nobody waits for; a scheduler that is gone has told them."""
        if futures and self._client.status == "running":
            with suppress(Exception):
                self._client.cancel(futures)

    # ------------------------------------------------------------------------------- workers

    def _admit_new(self) -> tuple[bool, list[str]]:
        """Make workers that have joined offer what shards ask for.

        Returns
        -------
        tuple
            Whether none of the workers from before is left, and why new ones may not train.
        """
        self._check_connection()
        try:
            present = self._client.nthreads(callback_timeout=_ANSWER)
        except (OSError, AttributeError) as error:  # of a connection that was closed meanwhile
            raise self._lost(error) from error
        self._slots = {address: n for address, n in self._slots.items() if address in present}
        was_alone = not any(self._slots.values())
        new = [address for address in present if address not in self._slots]
        if not new:
            return was_alone, []
        answers = self._client.run(versions, workers=new, on_error="return")
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        refusals = []
        for address in new:
            answer, facts = answers.get(address), known.get(address)
            if answer is None or facts is None or isinstance(answer, OSError):
                continue  # it has left again
            reason = self._problem_with(answer, facts)
            self._slots[address] = 0 if reason else _slots(facts)
            if reason:
                refusals.append(f"Worker {address} gets no work: {reason}.")
            else:
                self._described[address] = {
                    "address": address, "threads": facts["nthreads"], **answer
                }  # fmt: skip
        for n_slots in {*self._slots.values()} - {0}:
            same = [address for address in new if self._slots.get(address) == n_slots]
            if same:
                self._client.run(_offer, self._resource, n_slots, workers=same, on_error="ignore")
        return was_alone, refusals

    def _problem_with(
        self, answer: Mapping[str, str | None] | Exception, facts: Mapping[str, Any]
    ) -> str | None:
        if isinstance(answer, Exception):
            return f"bp_pipeline cannot be used there ({type(answer).__name__}: {answer})"
        for key, mine in self._versions.items():
            if answer.get(key) != mine:
                theirs, ours = (str(value)[:8] for value in (answer.get(key), mine))
                return f"its {_DECISIVE[key]} is {theirs}, here it is {ours}"
        if not _slots(facts):
            return (
                f"its {facts['memory_limit'] / 2**20:,.0f} MiB of memory have no room for a shard "
                f"({_SHARD_MEMORY / 2**20:,.0f} MiB)"
            )
        return None

    def _tell_if_alone(self) -> None:
        is_alone = not any(self._slots.values())
        if is_alone and not self._is_alone:
            self._tell("The cluster has no worker that may train; waiting for one to join.")
        self._is_alone = is_alone


def _slots(facts: Mapping[str, Any]) -> int:
    """Return how many shards a worker has threads and memory for."""
    if not facts["memory_limit"]:
        return int(facts["nthreads"])
    free = _PAUSE * facts["memory_limit"] - facts["metrics"].get("memory", 0)
    return max(0, min(int(facts["nthreads"]), int(free // _SHARD_MEMORY)))


# ---------------------------------------------------------------------------- on the workers


async def _offer(resource: str, quantity: int, dask_worker: Worker) -> None:
    await dask_worker.set_resources(**{resource: quantity})


def _on_worker(pickled: bytes) -> tuple[Any, int]:
    """Train a shard; return what came of it, and how many network-epochs it took."""
    worker, done = get_worker(), 0
    key = worker.get_current_task()

    def advance(network_epochs: int) -> None:
        nonlocal done
        done += network_epochs
        # The public signs of a future that is cancelled, or whose client is gone, are for tasks
        # that ask the scheduler again and again; this one is read where the task runs.
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise InterruptedError("training was stopped")

    train, shard = pickle.loads(pickled)  # what a client has sent, as all of Dask's tasks
    try:
        return train(shard, advance), done
    except Exception as error:  # of this shard alone; the traceback would not travel
        error.add_note("".join(traceback.format_exception(error)))
        return _travelling(error), done


def _travelling(error: Exception) -> Exception:
    """Return an error that survives pickling."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an exception's class makes of it
        return RuntimeError("\n".join([repr(error), *error.__notes__]))
    return error
