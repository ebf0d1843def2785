"""Shards on a Dask cluster come to the same bits as on threads, and only on workers that may."""

import pickle
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from clusters import (
    ProcessCluster,
    await_,
    other_core,
    other_numba,
    other_numpy,
    process_cluster,
    square,
    wait_a_second,
    wait_long,
)
from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.config import ConfigError, RunConfig
from bp_pipeline.config.keys import Cluster
from bp_pipeline.ensemble import (
    ClusterLost,
    RunResult,
    initial_parameters,
    open_cluster,
    train_runs,
)
from bp_pipeline.ensemble.cluster import train_shards
from bp_pipeline.ensemble.dask_cluster import DaskCluster

SMALL = {"engine": "numpy", "threads": 2, "replicates": 5, "training.epochs": 20,
         "training.record": 8, "training.record_weights": 2}  # fmt: skip


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    with process_cluster(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


@contextmanager
def opened(address: str) -> Iterator[tuple[DaskCluster, list[str]]]:
    """Connect as `bp` does; what it would tell is in the list."""
    told: list[str] = []
    with open_cluster(Cluster(name="dask", scheduler=address), None, told.append) as cluster:
        assert cluster is not None
        yield cluster, told


@pytest.fixture
def cluster(processes: ProcessCluster) -> Iterator[DaskCluster]:
    with opened(processes.address) as (cluster, told):
        assert told == []
        yield cluster


def digests(configs: Sequence[RunConfig], cluster: DaskCluster | None = None) -> dict[int, str]:
    """Train, and return the digest of each run; each comes once."""
    results = list(train_runs(configs, cluster=cluster))
    assert len({index for index, _ in results}) == len(results) == len(configs)
    assert all(isinstance(result, RunResult) for _, result in results), results
    return {index: result.result_digest for index, result in results}


def small(changes: dict[str, object] | None = None, **options: str) -> RunConfig:
    return make_config({**SMALL, **(changes or {})}, options)


# ------------------------------------------------------------------------------- the same bits


def test_digests_are_those_of_threads(cluster, tmp_path):
    columns = initial_parameters(small({"seed": 9}))
    layers = {"layer_1": columns[:9].T.reshape(5, 3, 3), "layer_2": columns[9:].T[..., None]}
    write_arrays(tmp_path / "given.npz", layers)
    configs = [
        small(),
        small({"seed": 3, "replicates": 2500, "training.record_weights": 1700}),
        small({"optimizer.learning_rate": 1e4, "init.scale": 2.0}, init="ones"),
        small({"init.path": str(tmp_path / "given.npz"), "init.scale": 0.5}, init="given"),
        small({"optimizer.layer_factors": [2.0, 0.5]}, optimizer="online_gd"),
        small({"training.record_weights": 0, "training.epochs": 0}, activation="relu"),
    ]
    assert digests(configs, cluster) == digests(configs)


def test_workers_of_this_machine_give_the_same_digests():
    with open_cluster(Cluster(name="dask", workers=2), 2, print) as cluster:
        assert cluster is not None
        assert cluster.n_at_a_time == 2
        assert cluster.description["scheduler"].startswith("tls://127.0.0.1")
        assert digests([small()], cluster) == digests([small()])


def test_seeds_travel_and_not_weights(cluster):
    sent = []

    class Watched(DaskCluster):
        """Keeps what is sent."""

        def __init__(self) -> None:
            """Connect to nothing."""

        def train_shards(self, train, shards, progress):
            yield from cluster.train_shards(train, map(self.see, shards), progress)

        def see(self, shard):
            sent.append(len(pickle.dumps(shard)))
            return shard

        n_at_a_time = 2

    list(train_runs([small({"replicates": 20_000, "training.epochs": 1})], cluster=Watched()))
    assert max(sent) < 3000
    assert len(sent) > 4  # no worker waits for the other one's


def test_what_is_in_flight_is_bounded(cluster):
    taken = count()
    trained = train_shards(square, (next(taken) for _ in range(100)), cluster=cluster)
    next(trained)
    assert next(taken) <= 5  # two for each thread of two workers, and one that has come
    trained.close()


def test_an_error_is_what_comes_of_its_shard_alone(cluster):
    counted: list[int] = []
    outcomes = dict(train_shards(square, range(6), cluster=cluster, progress=counted.append))
    error = outcomes.pop(3)
    assert outcomes == {n: n * n for n in (0, 1, 2, 4, 5)}
    assert isinstance(error, ZeroDivisionError)
    assert "in square" in error.__notes__[0]  # where it was raised
    assert sum(counted) == 6


def test_workers_stop_what_nobody_waits_for(processes, cluster, tmp_path):
    def stop_soon(_: int) -> None:
        if processes.is_busy():
            raise InterruptedError

    trained = train_shards(wait_long, [str(tmp_path / "1")], cluster=cluster, progress=stop_soon)
    with pytest.raises(InterruptedError):
        next(trained)
    await_((tmp_path / "1").exists, seconds=2)


# ------------------------------------------------------------------------- who may train


@pytest.mark.parametrize(
    ("plant", "flags", "reason"),
    [
        (other_core, (), "its code_digest is "),
        pytest.param(other_numba, (), "its Numba is 0.1, here it is ", marks=pytest.mark.heavy),
        pytest.param(
            other_numpy,
            ("--preload", "another_numpy"),
            "its NumPy is 2.0.0, here it is ",
            marks=pytest.mark.heavy,
        ),
        (None, ("--memory-limit", "240MiB"), "its 240 MiB of memory have no room for a shard"),
    ],
    ids=["core", "numba", "numpy", "memory"],
)
def test_a_worker_that_may_not_train_gets_no_shard_and_is_named(tmp_path, plant, flags, reason):
    path = {"PYTHONPATH": plant(tmp_path / "planted")} if plant else {}
    with process_cluster(tmp_path, 0) as processes:
        processes.start_worker(*flags, **path)
        processes.await_workers(1)
        with pytest.raises(ConfigError, match=r"No worker of this cluster may train.") as error:
            opened(processes.address).__enter__()
        assert reason in str(error.value)
        processes.start_worker(PYTHONPATH=str(Path(__file__).parent))
        processes.await_workers(2)
        with opened(processes.address) as (cluster, [told]):
            assert told.startswith("Worker tcp://127.0.0.1:")
            assert reason in told
            [good] = cluster.description["workers"]
            assert good["address"] not in told
            assert dict(train_shards(square, range(3), cluster=cluster)) == {0: 0, 1: 1, 2: 4}


def test_a_cluster_without_workers_waits_for_one(tmp_path):
    with process_cluster(tmp_path, 0) as processes, opened(processes.address) as (cluster, told):
        assert told == ["The cluster has no worker that may train; waiting for one to join."]
        trained = train_shards(square, [2], cluster=cluster)
        processes.start_worker()
        assert list(trained) == [(2, 4)]


# --------------------------------------------------------------------------------- who dies


@pytest.mark.heavy
def test_what_dies_is_made_up_for_as_long_as_there_is_a_scheduler(tmp_path):
    with process_cluster(tmp_path, 2) as processes, opened(processes.address) as (cluster, told):

        def train(numbers: range) -> Iterator[int]:
            for number, outcome in train_shards(wait_a_second, numbers, cluster=cluster):
                assert number == outcome
                yield number

        one_dies = train(range(6))
        first = next(one_dies)
        processes.workers[0].kill()  # while it trains one and has others to do
        assert sorted([first, *one_dies]) == [*range(6)]

        all_die = train(range(6))
        first = next(all_die)
        processes.workers[1].kill()
        processes.start_worker()
        assert sorted([first, *all_die]) == [*range(6)]

        scheduler_dies = train(range(6))
        next(scheduler_dies)
        processes.scheduler.kill()
        with pytest.raises(ClusterLost, match="is gone"):
            list(scheduler_dies)
        assert told in ([], ["The cluster has no worker that may train; waiting for one to join."])


# ---------------------------------------------------------------------------- who answers


@pytest.mark.parametrize("answers", [True, False], ids=["silent", "closed"])
def test_a_scheduler_that_does_not_answer_is_refused(answers):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if not answers:
            server.close()
        with pytest.raises(ConfigError, match="must be a Dask scheduler that answers"):
            opened(address).__enter__()


def test_a_place_has_to_be_named(monkeypatch, processes):
    with pytest.raises(ConfigError, match=r"`cluster.scheduler` must be an address, got None"):
        open_cluster(Cluster(name="dask"), None, print).__enter__()
    from dask import config

    with config.set({"scheduler-address": processes.address}):  # as DASK_SCHEDULER_ADDRESS does
        with open_cluster(Cluster(name="dask"), None, print) as cluster:
            assert cluster is not None
        with pytest.raises(ConfigError, match=r"`cluster.workers` must be left out"):
            open_cluster(Cluster(name="dask", workers=1), None, print).__enter__()


def test_tls_is_asked_for_through_dasks_own_configuration(tmp_path):
    from dask import config
    from distributed.security import Security

    temporary = Security.temporary()
    for name, text in (("ca", temporary.tls_ca_file), ("key", temporary.tls_client_key),
                       ("cert", temporary.tls_client_cert)):  # fmt: skip
        (tmp_path / f"{name}.pem").write_text(text)
    ca, key, cert = (str(tmp_path / f"{name}.pem") for name in ("ca", "key", "cert"))
    with process_cluster(tmp_path, 1, {"ca-file": ca, "key": key, "cert": cert}) as processes:
        with pytest.raises(ConfigError, match="must be a Dask scheduler that answers"):
            opened(processes.address).__enter__()
        tls = {"ca-file": ca, "client.key": key, "client.cert": cert}
        tls = {f"distributed.comm.tls.{name}": path for name, path in tls.items()}
        with config.set(tls), opened(processes.address) as (cluster, _):
            assert digests([small()], cluster) == digests([small()])
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            socket.create_connection(("127.0.0.1", processes.port)) as plain,
            closing(ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")),
        ):
            pass  # a stranger is not let in
