"""Sweeps as a user runs them: real processes, a real store, read back through MLflow."""

import os
import pty
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import BP, run_bp
from mlflow import MlflowClient
from mlflow.exceptions import PERMISSION_DENIED, MlflowException
from runs import make_config

from bp_pipeline import sweep
from bp_pipeline.config import Composition, Job
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import batches
from bp_pipeline.report import Sweep, publish
from bp_pipeline.sweep import run_jobs, states_of
from bp_pipeline.tracking import Recorded
from bp_pipeline.tracking.new_store import create

Bp = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("replicates=10", "training.epochs=50", "training.record=5")
SWEEP = ("-m", "activation=tanh,relu", "optimizer.learning_rate=0.1,1", *SMALL)


def command(*arguments: str) -> list[str]:
    return [BP, *arguments]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store, in which one small sweep was run."""
    folder = tmp_path_factory.mktemp("store")
    done = run_bp("train", *SWEEP, cwd=folder, code=0)
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture
def bp(tmp_path: Path, store: Path) -> Bp:
    """Run `bp` in an empty folder, with a store of its own."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_bp(*arguments, cwd=tmp_path, environment=environment)

    return run


def test_a_task_in_a_folder_has_a_champion(bp: Bp, tmp_path: Path) -> None:
    (tmp_path / "mine/task/boolean").mkdir(parents=True)
    (tmp_path / "mine/task/boolean/or.yaml").write_text("name: or\n")
    rates = "optimizer.learning_rate=3,5"
    asked = (
        "--config-dir",
        "mine",
        "task=boolean/or",
        rates,
        "replicates=5",
        "training.epochs=300",
    )
    done = bp("train", "-m", *asked)
    assert done.returncode == 0, done.stderr
    [model] = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_registered_models()
    assert model.name.startswith("bp_pipeline-boolean-or-")
    assert "champion" in model.aliases


def load(folder: Path, sweep: str | None = None) -> pd.DataFrame:
    from bp_pipeline import load_sweep

    return load_sweep(sweep, uri=f"sqlite:///{folder}/mlflow.db").runs.set_index("name")


def newest_sweep(folder: Path) -> Recorded:
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(f"sqlite:///{folder}/mlflow.db", "bp_pipeline") as reader:
        return reader.find_sweep()


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
    made = {"mlflow.db", "mlflow.db.lock", "mlflow.db.locks", "mlruns", "reports"}
    assert {path.name for path in store.iterdir()} <= {*made, "stdout", "stderr"}


def test_artifacts_of_a_run_hold_what_was_trained(store: Path) -> None:
    from mlflow import MlflowClient

    from bp_pipeline.ensemble import train_runs
    from bp_pipeline.tracking.run_files import read_config

    run = MlflowClient(f"sqlite:///{store}/mlflow.db").get_run(load(store)["run_id"].iloc[0])
    artifacts = Path(run.info.artifact_uri)
    config = read_config(artifacts)
    [(_, again)] = train_runs([config.model_copy(update={"engine": "numpy"})])
    assert not isinstance(again, Exception)
    assert again.result_digest == run.data.tags["bp.result_digest"]
    assert config.config_digest == run.data.tags["bp.config_digest"]
    with np.load(artifacts / "weights" / "final.npz") as final:
        np.testing.assert_array_equal(final["layer_1"], again.final_weights["layer_1"])
    replicates = pd.read_parquet(artifacts / "replicates.parquet")
    assert list(replicates) == [
        "replicate",
        "outcome",
        "epochs_to_converge",
        "final_loss",
        "solved",
    ]
    np.testing.assert_array_equal(replicates["outcome"], again.outcome)


def test_parent_carries_the_report_and_what_was_typed(store: Path) -> None:
    from mlflow import MlflowClient

    from bp_pipeline.tracking.run_files import read_frozen_sweep

    parent = newest_sweep(store)
    assert parent.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    files = {file.path for file in client.list_artifacts(parent.run_id, "report")}
    assert files > {"report/report.html", "report/report.md", "report/summary.csv"}
    frozen = read_frozen_sweep(Path(parent.artifact_uri))
    assert frozen.command == f"bp train {' '.join(SWEEP)}"
    assert {job["name"] for job in frozen.jobs} == {*load(store).index}


def test_another_store_gets_the_same_digests(bp: Bp, store: Path, tmp_path: Path) -> None:
    assert bp("train", *SWEEP, "engine=numpy", "threads=1").returncode == 0
    assert digests(tmp_path) == digests(store)


@pytest.mark.heavy
def test_hydras_own_launcher_gives_the_same_digests(bp: Bp, store: Path, tmp_path: Path) -> None:
    done = bp("train", *SWEEP, "hydra/launcher=basic")
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


def statuses(folder: Path) -> set[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("bp_pipeline")
    assert experiment is not None
    return {run.info.status for run in client.search_runs([experiment.experiment_id])}


def wait_for(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    """Wait until a process has made a file."""
    while not list(folder.glob(pattern)):
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.wait(0.05))


ENDLESS = ("train", "-m", "seed=1,2", "training.epochs=1000000000", "training.record=2")


@pytest.mark.parametrize(
    ("name", "engine", "code"),
    [
        ("SIGINT", "numpy", 130),
        pytest.param("SIGTERM", "numpy", 143, marks=pytest.mark.heavy),
        ("SIGHUP", "compiled", 129),
    ],
)
def test_a_signal_ends_it_at_once_and_leaves_nothing_running(
    name: str, engine: str, code: int, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(*ENDLESS, f"engine={engine}"), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    wait_for(process, tmp_path, "mlruns/*/*/artifacts/sweep.yaml")
    asked = time.monotonic()
    while process.poll() is None and time.monotonic() < asked + 20:  # an impatient user
        process.send_signal(signal.Signals[name])
        time.sleep(0.03)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert time.monotonic() - asked < 20  # a second or two on an idle machine
    assert "Traceback" not in rest
    assert statuses(tmp_path) == {"KILLED"}


@pytest.mark.heavy
def test_a_terminal_that_is_closed_leaves_nothing_running(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(BP, command(*ENDLESS, "engine=numpy"))
    while not list(tmp_path.glob("mlruns/*/*/artifacts/sweep.yaml")):
        os.read(terminal, 10_000)  # so that it never waits for us
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert statuses(tmp_path) == {"KILLED"}


@pytest.mark.heavy
def test_nohup_is_respected(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["nohup", *command("train", "-m", *SMALL, "training.epochs=4000", "engine=numpy")],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(process, tmp_path, "mlruns/*/*/artifacts/sweep.yaml")
    process.send_signal(signal.SIGHUP)
    assert process.communicate()[1]
    assert process.returncode == 0


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
    n_solved = round(10 * run.data.metrics["solved/rate"])
    said = f"{name}: {n_solved} of 10 solved ("
    assert done.stdout.startswith(said)
    assert done.stdout.endswith(f" nats. Run {run.info.run_id}.\n")


def test_runs_that_are_not_kept_say_what_came_out(bp: Bp) -> None:
    done = bp("train", "-m", *SMALL, "tracking=off", "seed=1,2")
    names = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert names == ["seed=1", "seed=2"]


def test_weights_of_a_run_can_start_another(bp: Bp, store: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run_id = load(store).loc["relu · lr=0.1", "run_id"]
    first = MlflowClient(f"sqlite:///{store}/mlflow.db").get_run(run_id)
    weights = Path(first.info.artifact_uri) / "weights" / "initial.npz"
    given = ("-m", "init=given", f"init.path={weights}", "activation=relu")
    rest = ("optimizer.learning_rate=0.1", "training.epochs=50", "training.record=5")
    assert bp("train", *given, *rest).returncode == 0
    [digest] = digests(tmp_path).values()
    assert digest == first.data.tags["bp.result_digest"]


@pytest.mark.parametrize(
    "obstacle", ["reports is a file", pytest.param("nobody reads", marks=pytest.mark.heavy)]
)
def test_a_sweep_is_whole_where_its_report_goes_nowhere(obstacle: str, tmp_path: Path) -> None:
    from bp_pipeline.tracking import open_for_reading

    words = ("train", "-m", *SMALL, "seed=1,2", "optimizer.learning_rate=5")
    if obstacle == "reports is a file":
        (tmp_path / "reports").touch()
        errors = run_bp(*words, cwd=tmp_path, code=1).stderr
    else:
        reader, writer = os.pipe()
        with subprocess.Popen(
            command(*words), cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True
        ) as process:
            os.close(writer)
            os.close(reader)  # so that to write is a broken pipe
            errors = process.communicate()[1]
        assert process.returncode == 1
    assert "All runs are recorded; `bp report` is enough." in errors
    assert "Traceback" not in errors
    with open_for_reading(f"sqlite:///{tmp_path}/mlflow.db", "bp_pipeline") as reader:
        parent = reader.find_sweep()
        assert reader.has_comparison(parent.run_id)
    assert parent.status == "FINISHED"
    assert "hampion" in parent.tags["mlflow.note.content"]


def test_a_terminal_without_a_character_still_gets_the_report(store: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("report"), cwd=store, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"All 4 runs finished" in done.stdout


def test_report_of_an_unknown_sweep_is_refused(store: Path) -> None:
    done = run_bp("report", "0" * 32, cwd=store, code=2)
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


# --------------------------------------------------------------------------- within this process


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database once, because MLflow takes seconds for it."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    create(path)
    return path


@pytest.fixture
def here(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with an empty store."""
    shutil.copy(database, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def composed(n_jobs: int = 2, **changes: Any) -> Composition:
    tiny = {"replicates": 2, "training.epochs": 3, "engine": "numpy", **changes}
    jobs = [Job(f"seed={n}", make_config({**tiny, "seed": n})) for n in range(n_jobs)]
    return Composition(tuple(jobs), "seeds", "bp train -m seed=0,1")


def break_off(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("thread", ["the main one", "another"])
def test_a_sweep_that_breaks_off_raises_what_broke_it_in_any_thread(
    here: Path, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    monkeypatch.setattr(batches, "train_runs", break_off)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    raised: list[BaseException] = []

    def run() -> None:
        try:
            run_jobs(composed())
        except BaseException as error:
            raised.append(error)

    if thread == "another":
        other = threading.Thread(target=run)
        other.start()
        other.join()
    else:
        run()
    assert [type(error) for error in raised] == [KeyboardInterrupt]
    assert statuses(here) == {"KILLED"}
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("what", ["write_report", "choose_champion"])
def test_a_bug_of_ours_keeps_its_traceback_and_the_sweep_is_whole(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, what: str
) -> None:
    monkeypatch.setattr(publish, what, lambda *_: 1 / 0)
    assert run_jobs(composed()) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err.partition("Traceback")[2]
    assert statuses(here) == {"FINISHED"}


def test_what_mlflow_refuses_is_said_without_a_traceback(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    refusal = MlflowException("not for you", error_code=PERMISSION_DENIED)
    monkeypatch.setattr(sweep.Writer, "log_comparison", failing("It may not be.", refusal))
    assert run_jobs(composed()) == 0
    said = capsys.readouterr().err
    assert "It may not be." in said
    assert "Traceback" not in said
    assert statuses(here) == {"FINISHED"}


@pytest.mark.parametrize(
    "part",
    [
        (sweep.Writer, "log_report"),
        (sweep.Writer, "log_comparison"),
        (sweep.Writer, "write_description"),
        (Sweep, "weights"),
    ],
    ids=str,
)
def test_a_store_that_fails_while_a_sweep_is_shown_is_asked_again(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    part: tuple[type, str],
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(*part, failing("It is away.", ConnectionError()))
        assert run_jobs(composed()) == 1
    assert "It is away." in capsys.readouterr().err
    assert newest_sweep(here).status == "KILLED"
    assert run_jobs(composed()) == 0
    assert statuses(here) == {"FINISHED"}
    assert "hampion" in newest_sweep(here).tags["mlflow.note.content"]


def failing(message: str, cause: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise sweep.TrackingError(message) from cause

    return fail


def test_a_bug_in_training_keeps_its_traceback_where_nothing_is_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Generator[tuple[int, Exception], None, None]:
        yield 0, ZeroDivisionError("no luck")

    monkeypatch.setattr(batches, "train_runs", fail)
    assert run_jobs(composed(1, **{"tracking.name": "off"})) == 1
    assert "ZeroDivisionError: no luck" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["mlflow.db"]


def test_the_runs_of_a_sweep_are_searched_twice_at_most(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = []
    search = sweep.Writer.runs_of

    def count(*asked: Any, **how: Any) -> Any:
        searches.append(asked)
        return search(*asked, **how)

    monkeypatch.setattr(sweep.Writer, "runs_of", count)
    for n_most in (2, 1):
        assert run_jobs(composed()) == 0
        assert len(searches) <= n_most
        searches.clear()


def test_every_run_has_its_share_of_the_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    shares = partial(sweep.TimeShares, clock=lambda: next(seconds))
    monkeypatch.setattr(sweep, "TimeShares", shares)
    monkeypatch.setattr(sweep.Writer, "n_at_once", 1)
    trained = [*batches.train_runs([job.config for job in composed(4).jobs])]
    monkeypatch.setattr(batches, "train_runs", lambda *_, **__: (result for result in trained))
    assert run_jobs(composed(4)) == 0
    ended = MlflowClient(f"sqlite:///{here}/mlflow.db").search_runs(["1"], max_results=9)
    children = [run.info for run in ended if "mlflow.parentRunId" in run.data.tags]
    assert [run.end_time - run.start_time for run in children] == 4 * [1000]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return make_config()


FINISHED, FAILED, MISSING = "finished", "failed", "missing"


def test_jobs_alike_are_told_apart_by_their_names(config: RunConfig) -> None:
    jobs, digest = [Job("a", config), Job("b", config)], config.config_digest
    assert states_of(jobs, [("b", digest)]) == [MISSING, FINISHED]
    assert states_of(jobs, [("a", digest)], [("b", digest)]) == [FINISHED, FAILED]


def test_a_run_under_another_name_stands_for_one_job(config: RunConfig) -> None:
    jobs, digest = [Job("a", config), Job("b", config)], config.config_digest
    assert states_of(jobs, [("renamed", digest)]) == [FINISHED, MISSING]
    assert states_of(jobs, [("b", digest), ("renamed", digest)]) == [FINISHED] * 2


def test_jobs_repeated_are_done_as_often_as_they_stand_there(config: RunConfig) -> None:
    jobs, digest = [Job("a", config)] * 3, config.config_digest
    assert states_of(jobs, [("a", digest)] * 2) == [FINISHED, FINISHED, MISSING]
    assert states_of(jobs, [("a", "0" * 64)] * 3) == [MISSING] * 3
