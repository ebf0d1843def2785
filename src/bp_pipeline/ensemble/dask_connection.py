"""The connection to a Dask cluster: one that answers, or one of this machine's own processes.

Owns how long a scheduler may be silent, how workers are started here, and that nothing is left of
either in this process. What is done with a cluster is `dask_cluster.py`'s.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TypeVar

import dask
from distributed import Client, LocalCluster, Security, rpc

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.keys import Cluster
from bp_pipeline.ensemble.dask_cluster import DaskCluster

Made = TypeVar("Made")

_CONNECT = 2.5  # seconds; with the start of `bp`, a user waits five for a scheduler that is silent


@contextmanager
def connect(asked: Cluster, threads: int, tell: Callable[[str], None]) -> "Iterator[DaskCluster]":
    """Connect to a cluster, or start one here; see `ensemble.cluster.open_cluster`."""
    if not os.environ.get("HYDRA_FULL_ERROR"):  # which asks for what libraries log
        for name in ("distributed", "distributed.client"):  # to which Dask gives levels
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    scheduler = asked.scheduler or dask.config.get("scheduler-address", None)
    if asked.workers is None:
        with _client(scheduler) as client:
            yield DaskCluster(client, tell)
        return
    if scheduler is not None:
        raise ConfigError(
            f"`cluster.workers` must be left out where there is a scheduler, got {asked.workers} "
            f"and {scheduler!r}. Leave one out, `cluster.scheduler` or DASK_SCHEDULER_ADDRESS."
        )
    with _environment_restored():
        started = _start_workers(asked.workers, max(1, threads // asked.workers))
        try:
            with _client(started) as client:
                yield DaskCluster(client, tell)
        finally:
            with suppress(Exception):  # what is slow to end does so when this process has
                started.close(timeout=1)


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Take back the variables that Dask sets here for processes that it starts."""
    before = dict(os.environ)
    for_workers = {"PYTHONHASHSEED", *dask.config.get("distributed.nanny.pre-spawn-environ", ())}
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            if name in for_workers or "DASK" in name:
                del os.environ[name]


@contextmanager
def _client(scheduler: str | LocalCluster | None) -> Iterator[Client]:
    if scheduler is None:
        raise ConfigError(
            "`cluster.scheduler` must be an address, got None. Name one, as in "
            "`cluster.scheduler=tcp://HOST:8786`, or start workers here: `cluster.workers=2`."
        )
    try:
        if isinstance(scheduler, str):
            _in_thread(lambda: asyncio.run(asyncio.wait_for(_identity(scheduler), _CONNECT)))
        client = Client(
            scheduler,
            timeout=_CONNECT,
            set_as_default=False,
            name="bp_pipeline",
            direct_to_workers=not isinstance(scheduler, str),  # elsewhere it may not reach them
        )
    except Exception as error:  # what answers may be anything, and TLS may lack a key
        said = str(error.__cause__ or error).partition("\n")[0].rpartition("] ")[2]
        reason = said or f"no answer within {_CONNECT:g} seconds"
        raise ConfigError(
            f"`cluster.scheduler` must be a Dask scheduler that answers, got {scheduler!r} "
            f"({reason}). Start one: dask scheduler"
        ) from None
    try:
        yield client
    finally:
        with suppress(Exception):  # of one that is gone already
            client.close(timeout=1)


async def _identity(scheduler: str) -> None:
    """Ask a scheduler what it is; where it takes connections and is silent, `Client` would hang."""
    arguments = Security().get_connection_args("client")
    async with rpc(scheduler, timeout=_CONNECT, connection_args=arguments) as asked:
        await asked.identity(n_workers=0)


def _start_workers(n_workers: int, threads: int) -> LocalCluster:
    """Start scheduler and workers on this machine, which nobody else can use: they speak TLS.

    Their processes never see the Ctrl-C that is meant for this one: what a thread has blocked when
    it starts a process is blocked in that process, too. Python's own tracker of resources, which
    comes with the first process, takes the block away where it starts.
    """

    def start() -> LocalCluster:
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        return LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            security=True,
            dashboard_address="127.0.0.1:0",  # its port is a free one
            silence_logs=logging.CRITICAL + 1,
        )

    try:
        return _in_thread(start)
    except Exception as error:  # whatever keeps a machine from starting processes
        raise ConfigError(
            f"`cluster.workers` must be as many as can be started here, got {n_workers} "
            f"({type(error).__name__}: {error}). Try `cluster.workers=2`."
        ) from error


def _in_thread(make: Callable[[], Made]) -> Made:
    """Return what a thread of its own makes, or raise its error; a signal ends the waiting."""
    made: list[Made] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            made.append(make())
        except Exception as error:  # the caller raises it
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return made[0]
