"""Sweeps as a user runs them: real processes, a real store, read back through MLflow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

Bp = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("replicates=10", "training.epochs=50", "training.record=5")
SWEEP = ("-m", "activation=tanh,relu", "optimizer.learning_rate=0.1,1", *SMALL)


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("bp")), *arguments]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a store, in which one small sweep was run."""
    folder = tmp_path_factory.mktemp("store")
    done = subprocess.run(command("train", *SWEEP), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture
def bp(tmp_path: Path, store: Path) -> Bp:
    """Run `bp` in an empty folder, with a store of its own."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), cwd=tmp_path, capture_output=True, text=True, env=environment
        )

    return run


def load(folder: Path, sweep: str | None = None) -> pd.DataFrame:
    from bp_pipeline import load_sweep

    return load_sweep(sweep, uri=f"sqlite:///{folder}/mlflow.db").runs.set_index("name")


def digests(folder: Path) -> dict[str, str]:
    return load(folder)["bp.result_digest"].to_dict()


def test_runs_are_named_by_what_varies(store: Path) -> None:
    runs = load(store)
    assert sorted(runs.index) == [
        "relu · lr=0.1",
        "relu · lr=1.0",
        "tanh · lr=0.1",
        "tanh · lr=1.0",
    ]
    assert set(runs["status"]) == {"FINISHED"}


def test_says_what_it_does_and_ends_with_the_report(store: Path) -> None:
    assert "4 runs, 40 networks" in (store / "stderr").read_text()
    assert "All 4 runs finished; of 40 networks, " in (store / "stdout").read_text()


def test_leaves_no_litter(store: Path) -> None:
    kept = {
        "mlflow.db",
        "mlflow.db.lock",
        "mlflow.db.locks",
        "mlruns",
        "reports",
        "stdout",
        "stderr",
    }
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in store.iterdir()} <= kept


def test_artifacts_of_a_run_hold_what_was_trained(store: Path) -> None:
    import yaml
    from mlflow import MlflowClient

    from bp_pipeline.config.schema import parse_config
    from bp_pipeline.ensemble.shards import train_runs

    run = MlflowClient(f"sqlite:///{store}/mlflow.db").get_run(load(store)["run_id"].iloc[0])
    artifacts = Path(run.info.artifact_uri)
    config = parse_config(yaml.safe_load((artifacts / "config.yaml").read_text()))
    [(_, again)] = train_runs([config.model_copy(update={"engine": "numpy"})])
    assert not isinstance(again, Exception)
    assert again.result_digest == run.data.tags["bp.result_digest"]
    assert config.config_digest == run.data.tags["bp.config_digest"]
    with np.load(artifacts / "weights" / "final.npz") as final:
        np.testing.assert_array_equal(final["layer_1"], again.final_weights["layer_1"])
    replicates = pd.read_parquet(artifacts / "replicates.parquet")
    assert list(replicates) == ["replicate", "outcome", "epochs_to_converge", "final_loss"]
    np.testing.assert_array_equal(replicates["outcome"], again.outcome)


def test_parent_carries_the_report_and_the_frozen_jobs(store: Path) -> None:
    from mlflow import MlflowClient

    from bp_pipeline.tracking import Tracker

    tracker = Tracker.open(f"sqlite:///{store}/mlflow.db", "bp_pipeline", create=False)
    parent = tracker.find_sweep()
    assert parent.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    files = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert files > {"report/report.html", "report/report.md", "report/summary.csv"}
    assert (Path(parent.info.artifact_uri) / "sweep.yaml").read_text().count("config_digest") == 4


def test_another_store_gets_the_same_digests(bp: Bp, store: Path, tmp_path: Path) -> None:
    assert bp("train", *SWEEP, "engine=numpy", "threads=1").returncode == 0
    assert digests(tmp_path) == digests(store)


def test_hydras_own_launcher_and_sweeper_give_the_same_digests(
    bp: Bp, store: Path, tmp_path: Path
) -> None:
    done = bp("train", *SWEEP, "hydra/launcher=basic", "hydra/sweeper=basic")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path) == digests(store)
    assert not (tmp_path / "multirun").exists()


def test_a_failed_run_is_named_and_the_others_finish(bp: Bp, tmp_path: Path) -> None:
    done = bp("train", "-m", *SMALL, "replicates=10,1000000000000000")  # more than any memory
    assert done.returncode == 1
    assert "replicates=1000000000000000" in done.stderr
    assert "Traceback" not in done.stderr
    runs = load(tmp_path)
    assert runs.loc["replicates=10", "status"] == "FINISHED"
    assert runs.loc["replicates=1000000000000000", "status"] == "FAILED"


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_ctrl_c_ends_it_at_once_and_leaves_nothing_running(engine: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    arguments = ("train", "-m", "seed=1,2", "training.epochs=10000000", f"engine={engine}")
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    while "networks" not in process.stderr.readline():
        pass
    time.sleep(8)  # for MLflow to open the store and training to begin
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    rest = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert time.monotonic() - pressed < 10  # a second or two on an idle machine
    assert "Traceback" not in rest
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("bp_pipeline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"KILLED"}


def test_one_run_says_what_came_out_and_has_no_parent(bp: Bp, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    done = bp("train", *SMALL)
    assert done.returncode == 0
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("bp_pipeline")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    name = "tanh · glorot_uniform · lr=0.5 · epochs=50 · record=5 · replicates=10"
    assert run.info.run_name == name
    assert "mlflow.parentRunId" not in run.data.tags
    n_converged = round(10 * run.data.metrics["converged/rate"])
    said = f"{name}: {n_converged} of 10 converged ("
    assert done.stdout.startswith(said)
    assert done.stdout.endswith(f" nats. Run {run.info.run_id}.\n")


def test_runs_that_are_not_kept_say_what_came_out(bp: Bp) -> None:
    done = bp("train", "-m", *SMALL, "tracking=off", "seed=1,2")
    names = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert names == ["seed=1", "seed=2"]


def test_weights_of_a_run_can_start_another(bp: Bp, store: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    first = MlflowClient(f"sqlite:///{store}/mlflow.db").get_run(load(store)["run_id"].iloc[0])
    weights = Path(first.info.artifact_uri) / "weights" / "initial.npz"
    given = ("-m", "init=given", f"init.path={weights}", "activation=relu")
    rest = ("optimizer.learning_rate=0.1", "training.epochs=50", "training.record=5")
    assert bp("train", *given, *rest).returncode == 0
    [digest] = digests(tmp_path).values()
    assert digest == first.data.tags["bp.result_digest"]


@pytest.mark.parametrize("obstacle", ["reports is a file", "nobody reads"])
def test_a_sweep_is_whole_where_its_report_goes_nowhere(obstacle: str, tmp_path: Path) -> None:
    from bp_pipeline.tracking import Tracker

    if obstacle == "reports is a file":
        (tmp_path / "reports").touch()
    reader, writer = os.pipe()
    with subprocess.Popen(
        command("train", "-m", *SMALL, "seed=1,2", "optimizer.learning_rate=5"),
        cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(writer)
        os.close(reader)  # so that to write is a broken pipe
        errors = process.communicate()[1]
    assert process.returncode == 1
    assert "All runs are recorded; `bp report` is enough." in errors
    assert "Traceback" not in errors
    tracker = Tracker.open(f"sqlite:///{tmp_path}/mlflow.db", "bp_pipeline", create=False)
    parent = tracker.find_sweep()
    assert parent.info.status == "FINISHED"
    assert tracker.has_comparison(parent.info.run_id)
    assert "hampion" in parent.data.tags["mlflow.note.content"]


def test_a_terminal_without_a_character_still_gets_the_report(store: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("report"), cwd=store, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"All 4 runs finished" in done.stdout


def test_report_of_an_unknown_sweep_is_refused(bp: Bp, store: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    done = subprocess.run(
        command("report", "0" * 32), cwd=store, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert "There is no sweep" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["activation=tahn"], "Did you mean `tanh`?"),
        (["optimizer.learning_rate=-1"], "`optimizer.learning_rate` must be > 0, got -1"),
        (["loss=logistic", "network.output=identity"], "`network.output` must be sigmoid"),
        (["init=given", "init.path=missing.npz"], "`init.path` must be an existing .npz file"),
        (["-m", "tracking=local,off"], "`tracking` must be the same for all jobs"),
    ],
)
def test_a_bad_request_is_one_message_and_no_run(
    bp: Bp, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = bp("train", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
