"""`bp` on a cluster as a user meets it, and what is left where part of the cluster dies."""

import json
import os
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from clusters import ProcessCluster, await_, kill_itself, process_cluster
from commands import BP, run_bp
from distributed import KilledWorker
from mlflow import MlflowClient
from mlflow.entities import Run

from bp_pipeline.config import compose
from bp_pipeline.config.keys import Cluster
from bp_pipeline.ensemble import open_cluster, train_runs
from bp_pipeline.ensemble.cluster import train_shards

# Three ensembles, each a shard of some seconds.
SWEEP = (
    "train", "-m", "activation=tanh,relu,sigmoid", "optimizer.learning_rate=0.5,2",
    "replicates=20", "training.epochs=20000", "training.record=5", "engine=numpy",
)  # fmt: skip
# One run of four such shards.
RUN = ("train", "replicates=4096", "training.epochs=500", "training.record=5", "engine=numpy")
QUICK = ("replicates=5", "training.epochs=20", "engine=numpy")


@pytest.fixture(autouse=True)
def _local_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ProcessCluster]:
    (tmp_path / "cluster").mkdir()
    with process_cluster(tmp_path / "cluster", 2) as cluster:
        yield cluster


def start(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BP, *words], cwd=folder, env={**os.environ, **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    assert "Traceback" not in errors
    return process.returncode, errors


def bp(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    return end(start(folder, *words, **variables))


def on(cluster: ProcessCluster) -> tuple[str, str]:
    return "cluster=dask", f"cluster.scheduler={cluster.address}"


def recorded(folder: Path, experiment: str = "bp_pipeline") -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def digests(folder: Path) -> Counter[str]:
    """Return the digests of what is finished, after checking that nothing is RUNNING."""
    runs = recorded(folder)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    finished = [run for run in runs if run.info.status == "FINISHED"]
    return Counter(filter(None, (run.data.tags.get("bp.result_digest") for run in finished)))


def on_threads(*words: str) -> Counter[str]:
    """Train what a command asks for, undisturbed."""
    jobs = compose(words[1:], program="bp train").jobs
    results = dict(train_runs([job.config for job in jobs]))
    return Counter(result.result_digest for result in results.values())


@pytest.fixture(scope="module")
def expected() -> Counter[str]:
    return on_threads(*RUN)


def environment_of(run: Run) -> dict[str, object]:
    return json.loads((Path(run.info.artifact_uri) / "environment.json").read_text())


# ------------------------------------------------------------------------------ every command


@pytest.mark.heavy
def test_what_a_cluster_has_trained_is_what_threads_train(tmp_path, cluster):
    here, there = tmp_path / "here", tmp_path / "there"
    sweep = ("train", "-m", "activation=tanh,relu", *QUICK)
    drawing = ("map", "map.resolution=12", "activation=sigmoid", *QUICK)
    for folder, where in ((here, ()), (there, on(cluster))):
        folder.mkdir()
        assert bp(folder, *sweep, *where)[0] == 0
        assert bp(folder, *drawing, *where)[0] == 0
    assert digests(there) == digests(here)
    runs = [run for run in recorded(there) if "bp.result_digest" in run.data.tags]
    assert len(runs) == 3
    for run in runs:
        where = environment_of(run)["cluster"]
        assert where["scheduler"] == cluster.address
        assert len(where["workers"]) == 2
        for worker in where["workers"]:
            assert worker["code"] == run.data.tags["bp.code_digest"]
            assert {"numpy", "numba", "python", "dask", "host", "address"} <= worker.keys()
    status, _ = bp(there, "reproduce", "--sample", "3", *on(cluster))
    assert status == 0
    assert bp(there, "reproduce", "--sample", "3")[0] == 0  # and without it


@pytest.mark.parametrize("is_named_by", ["key", "variable"])
def test_a_silent_scheduler_is_one_message_soon_and_trains_nothing(tmp_path, is_named_by):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        words = [
            "cluster=dask",
            *([f"cluster.scheduler={address}"] if is_named_by == "key" else []),
        ]
        variables = {} if is_named_by == "key" else {"DASK_SCHEDULER_ADDRESS": address}
        environment = {**os.environ, **variables}
        done = run_bp("train", *QUICK, *words, cwd=tmp_path, environment=environment, code=2)
    [line] = done.stderr.splitlines()
    assert address in line
    assert not (tmp_path / "mlflow.db").exists() or not recorded(tmp_path)


# -------------------------------------------------------------------------------- what dies


def processes_of(group: int) -> list[str]:
    """Return the processes of a group that use the processor, as `ps` prints them."""
    done = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-g", str(group)], capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if "Z" not in line]


def busy_worker(cluster: ProcessCluster) -> subprocess.Popen[bytes]:
    """Return the process of a worker that is training."""
    with cluster.client() as client:
        await_(lambda: bool(client.call_stack()))
        [address, *_] = client.call_stack()
        pid = client.run(os.getpid, workers=[address])[address]
    return next(process for process in cluster.workers if process.pid == pid)


@pytest.mark.heavy
def test_a_worker_that_is_killed_has_its_shards_trained_by_others(tmp_path, cluster, expected):
    process = start(tmp_path, *RUN, *on(cluster))
    busy_worker(cluster).kill()
    assert end(process)[0] == 0
    assert digests(tmp_path) == expected


@pytest.mark.heavy
def test_new_workers_do_what_dead_ones_left(tmp_path, cluster, expected):
    process = start(tmp_path, *RUN, *on(cluster))
    busy_worker(cluster)
    for worker in cluster.workers:
        worker.kill()
    cluster.start_worker()
    assert end(process)[0] == 0
    assert digests(tmp_path) == expected


@pytest.mark.heavy
def test_a_scheduler_that_is_killed_ends_the_sweep_and_the_same_command_finishes_it(
    tmp_path, cluster
):
    expected = on_threads(*SWEEP)
    process = start(tmp_path, *SWEEP, *on(cluster))
    busy_worker(cluster)
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    status, errors = end(process)
    assert status == 1
    assert errors.count("is gone") == 1
    assert set(digests(tmp_path)) <= set(expected)
    for worker in cluster.workers:
        worker.wait(timeout=60)  # each ends when its scheduler has
    cluster.start_scheduler()
    cluster.start_worker()
    assert bp(tmp_path, *SWEEP, *on(cluster))[0] == 0
    assert digests(tmp_path) == expected


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_stop_within_two_seconds(tmp_path, cluster, number):
    process = start(tmp_path, *RUN, "training.epochs=10000000", *on(cluster))
    busy_worker(cluster)
    with cluster.client() as client:
        asked = monotonic()
        process.send_signal(number)
        await_(lambda: not client.call_stack())
        assert monotonic() - asked < 2
    process.communicate()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert digests(tmp_path) == Counter()


@pytest.mark.heavy
def test_workers_started_here_end_with_ctrl_c(tmp_path):
    words = ("cluster=dask", "cluster.workers=2", "training.epochs=10000000")
    process = subprocess.Popen(
        [BP, *RUN, *words], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    await_(lambda: len(processes_of(process.pid)) >= 3)  # this one, and two workers that train
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    status, errors = end(process)
    assert status == 130
    assert errors.splitlines()[-1] == "Interrupted."
    assert digests(tmp_path) == Counter()
    await_(lambda: processes_of(process.pid) == [], seconds=5)


@pytest.mark.heavy
def test_a_shard_that_kills_workers_fails_alone(cluster):
    where = Cluster(name="dask", scheduler=cluster.address)
    for _ in range(14):
        cluster.start_worker()
    cluster.await_workers(16)
    with open_cluster(where, None, print) as opened:
        [(_, error)] = train_shards(kill_itself, [1], cluster=opened)
    assert isinstance(error, KilledWorker)


@pytest.mark.heavy
def test_a_worker_without_a_writable_cache_trains(tmp_path, expected):
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), "/proc/nowhere")
    (tmp_path / "cluster").mkdir()
    with process_cluster(tmp_path / "cluster", 0) as cluster:
        cluster.start_worker(**nowhere)
        assert bp(tmp_path, *RUN, "engine=compiled", *on(cluster))[0] == 0
    assert digests(tmp_path) == expected
