"""`python benchmarks/cluster.py`: what a cluster costs; a part of `make bench`.

Two workers against two threads of this machine, in turns; what travels for a network; what this
process does with a network that has come back; and Dask's own scheduler with workers that sleep for
as long as a shard takes, from which follows how many workers one client keeps busy.
"""

import argparse
import asyncio
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import dask
from distributed import Client, LocalCluster, Worker

from bp_pipeline.config import RunConfig, compose
from bp_pipeline.config.keys import Cluster
from bp_pipeline.ensemble import RunResult, open_cluster, train_runs
from bp_pipeline.ensemble.cluster import train_shards
from bp_pipeline.ensemble.dask_cluster import DaskCluster
from bp_pipeline.tracking.run_files import write_result

N_RUNS = 10
SHARDS_A_WORKER = 8
SHARD_SECONDS = 1.0


def configs(n_networks: int, epochs: int = 500) -> list[RunConfig]:
    """Return runs of so many networks in all."""
    words = [f"replicates={n_networks // N_RUNS}", f"training.epochs={epochs}", "threads=2"]
    grid = ",".join(str(0.1 * (n + 1)) for n in range(N_RUNS))
    jobs = compose(["-m", f"optimizer.learning_rate={grid}", *words], program="bp train").jobs
    return [job.config for job in jobs]


def seconds(train: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    train()
    return time.perf_counter() - started


def train_all(asked: list[RunConfig], cluster: DaskCluster | None = None) -> None:
    """Train, and forget what came of it."""
    for _, result in train_runs(asked, cluster=cluster):
        assert isinstance(result, RunResult)


def compare(asked: list[RunConfig], rounds: int) -> list[float]:
    """Return, round by round, the time of two workers over that of two threads."""
    with open_cluster(Cluster(name="dask", workers=2), 2, print) as cluster:
        train_all(asked[:1]), train_all(asked[:1], cluster)  # both have compiled then
        return [
            seconds(partial(train_all, asked, cluster)) / seconds(partial(train_all, asked))
            for _ in range(rounds)
        ]


def client_work(config: RunConfig) -> tuple[float, float]:
    """Return bytes and microseconds of this process for a network that has come back."""
    [(_, result)] = train_runs([config])
    assert isinstance(result, RunResult)
    with tempfile.TemporaryDirectory() as folder:
        write_result(Path(folder), result)  # which imports what it takes
    started = time.process_time()
    n_bytes = len(pickle.dumps(pickle.loads(pickle.dumps(result))))
    _ = result.result_digest
    with tempfile.TemporaryDirectory() as folder:
        write_result(Path(folder), result)
    spent = time.process_time() - started
    return n_bytes / config.replicates, 1e6 * spent / config.replicates


def sleep(_: int, progress: Callable[[int], None]) -> None:
    """Be a shard."""
    time.sleep(SHARD_SECONDS)


def efficiency(n_workers: int) -> tuple[float, float]:
    """Return the share of time that sleeping workers sleep, and what a shard takes of this process.

    Here are the scheduler and the client; the milliseconds are of CPU. The workers are elsewhere.
    """
    quiet = {"distributed.admin.system-monitor.interval": "60s"}  # each would be alone
    with (
        dask.config.set(quiet),
        LocalCluster(
            n_workers=0, processes=False, memory_limit=0, dashboard_address="127.0.0.1:0",
            protocol="tcp://",
        ) as local,
        Client(local, set_as_default=False) as client,
    ):  # fmt: skip
        hosts = multiprocessing.get_context("spawn").Process(
            target=host, args=(local.scheduler_address, n_workers, quiet), daemon=True
        )
        hosts.start()
        client.wait_for_workers(n_workers, timeout=300)
        cluster, n_shards = DaskCluster(client, print), SHARDS_A_WORKER * n_workers
        started = time.process_time()
        took = seconds(lambda: list(train_shards(sleep, range(n_shards), cluster=cluster)))
        spent = time.process_time() - started
        hosts.kill()
        hosts.join()
    return SHARDS_A_WORKER * SHARD_SECONDS / took, 1000 * spent / n_shards


def host(scheduler: str, n_workers: int, settings: dict[str, str]) -> None:
    """Be the process with all the workers that sleep."""

    async def serve() -> None:
        workers = [
            Worker(scheduler, nthreads=1, memory_limit=0, dashboard=False) for _ in range(n_workers)
        ]
        await asyncio.gather(*workers)
        await asyncio.gather(*(worker.finished() for worker in workers))

    with dask.config.set(settings):
        asyncio.run(serve())


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=10**6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[16, 64, 256])
    parser.add_argument("--simulate-only", action="store_true")
    chosen = parser.parse_args()
    for n_workers in chosen.workers:
        share, milliseconds = efficiency(n_workers)
        print(f"{n_workers} workers that sleep: efficiency {share:.2f}, {milliseconds:.1f} ms of "
              "CPU a shard for scheduler and client", flush=True)  # fmt: skip
    if chosen.simulate_only:
        return
    n_bytes, microseconds = client_work(configs(10**5)[0])
    print(f"{n_bytes:,.0f} bytes and {microseconds:.2f} µs of the client a network")
    ratios = compare(configs(chosen.networks), chosen.rounds)
    print(f"two workers / two threads: {median(ratios):.2f}, rounds {[f'{r:.2f}' for r in ratios]}")


if __name__ == "__main__":
    main()
