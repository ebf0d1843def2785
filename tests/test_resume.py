"""A sweep is finished by typing its command again, whatever became of it before."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from select import select
from typing import Any

import pytest
import yaml
from commands import BP, run_bp, start_bp
from mlflow import MlflowClient
from mlflow.entities import Run
from runs import make_config

from bp_pipeline.config import Composition, Job
from bp_pipeline.sweep import run_jobs

SWEEP = (
    "train", "-m", "activation=tanh,relu,sigmoid", "optimizer.learning_rate=0.1,0.5,1,2",
    "replicates=20", "training.epochs=50", "training.record=5", "engine=numpy",
)  # fmt: skip
N_JOBS = 12


def command(*arguments: str) -> list[str]:
    return [BP, *arguments]


def bp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_bp(*arguments, cwd=folder, code=0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    bp(folder, *SWEEP)
    return folder


@pytest.fixture(autouse=True)
def _local_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def all_runs(folder: Path) -> tuple[list[Run], list[Run]]:
    """Read sweeps and runs as anybody would."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("bp_pipeline")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    sweeps = [run for run in found if "bp.n_jobs" in run.data.tags]
    return sweeps, [run for run in found if "bp.n_jobs" not in run.data.tags]


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that must not depend on how often a sweep was broken off."""
    [sweep], runs = all_runs(folder)
    finished = [run for run in runs if run.info.status == "FINISHED"]
    [report] = (folder / "reports").iterdir()
    account = re.findall("[0-9]+ runs expected: [^.]+", sweep.data.tags["mlflow.note.content"])
    counts = {key: n for key, n in sweep.data.metrics.items() if key.startswith("runs/")}
    return {
        "sweep": (sweep.info.status, counts, account),
        "jobs": (Path(sweep.info.artifact_uri) / "sweep.yaml").read_text(),
        "digests": Counter(
            (run.info.run_name, run.data.tags["bp.result_digest"]) for run in finished
        ),
        "report": {path.name: path.read_bytes() for path in report.iterdir()},
        "unfinished": {run.info.status for run in runs} - {"FINISHED", "KILLED"},
    }


def run_folders(folder: Path) -> set[Path]:
    return {*folder.glob("mlruns/*/*/artifacts/weights")}


def n_recorded(folder: Path) -> int:
    """Count the runs in the database, as soon as there are tables."""
    with suppress(sqlite3.OperationalError):
        database = sqlite3.connect(f"file:{folder}/mlflow.db?mode=ro", uri=True)
        with closing(database):
            query = "SELECT count(*) FROM tags WHERE key = 'mlflow.parentRunId'"
            return int(database.execute(query).fetchone()[0])
    return 0


# When to kill it: a folder is given, and which folders of runs there were before.
Moment = Callable[[Path, set[Path]], bool]
KILL_WHEN: dict[str, Moment] = {
    "making the store": lambda folder, _: any(folder.glob("*mlflow.db*")),
    "having made the store": lambda folder, _: (folder / "mlflow.db").exists(),
    "starting the sweep": lambda folder, _: any(folder.glob("mlruns/*/*/artifacts")),
    "beginning a batch": lambda folder, _: (folder / "mlflow.db.recording").exists(),
    "writing the first run": lambda folder, before: len(run_folders(folder) - before) >= 1,
    "writing the fourth run": lambda folder, before: len(run_folders(folder) - before) >= 4,
    "having recorded a batch": lambda folder, _: n_recorded(folder) >= 1,
    "having recorded all": lambda folder, _: n_recorded(folder) == N_JOBS,
    "writing the report": lambda folder, _: any(folder.glob("mlruns/*/*/artifacts/report/*")),
}


def kill_when(folder: Path, reached: Moment) -> None:
    """Run the sweep and kill it, with all its processes, as soon as it has come so far."""
    before = run_folders(folder)
    process, ended = start_bp(*SWEEP, cwd=folder)
    while not reached(folder, before):
        assert not select([ended], [], [], 0.001)[0], "it ended before it was killed"
    os.killpg(process, signal.SIGKILL)
    os.read(ended, 1)  # waits
    os.close(ended)


def test_a_sweep_killed_at_every_stage_ends_as_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path
) -> None:
    for reached in KILL_WHEN.values():
        kill_when(tmp_path, reached)
    done = bp(tmp_path, *SWEEP)
    assert "12 runs already done" in done.stderr
    assert outcome(tmp_path) == outcome(uninterrupted)
    _, runs = all_runs(tmp_path)
    assert [run.info.status for run in runs] == ["FINISHED"] * N_JOBS
    assert {path.parents[1].name for path in run_folders(tmp_path)} == {
        run.info.run_id for run in runs
    }
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_sweep_says_what_is_left_and_counts_its_runs(uninterrupted: Path, tmp_path: Path) -> None:
    kill_when(tmp_path, KILL_WHEN["having recorded a batch"])
    [sweep], runs = all_runs(tmp_path)
    assert sweep.info.status == "RUNNING"
    n_done = sum(run.info.status == "FINISHED" for run in runs)
    done = bp(tmp_path, *SWEEP)
    assert n_done == len(runs) > 0
    n_left = N_JOBS - n_done
    assert f"{n_left} runs, {20 * n_left} networks to train, {n_done} runs already" in done.stderr
    [sweep], _ = all_runs(tmp_path)
    assert sweep.info.status == "FINISHED"
    assert {name: sweep.data.metrics[f"runs/{name}"] for name in ("expected", "missing")} == {
        "expected": N_JOBS,
        "missing": 0,
    }
    assert "12 runs expected: 12 finished" in sweep.data.tags["mlflow.note.content"]


def test_mlflow_lists_runs_in_the_order_of_the_sweep(uninterrupted: Path) -> None:
    [sweep], runs = all_runs(uninterrupted)
    frozen = yaml.safe_load((Path(sweep.info.artifact_uri) / "sweep.yaml").read_text())
    assert [run.info.run_name for run in runs] == [job["name"] for job in frozen["jobs"]]


def test_a_complete_sweep_is_left_alone_and_trained_anew_on_request(uninterrupted: Path) -> None:
    before = all_runs(uninterrupted)
    done = bp(uninterrupted, *SWEEP)
    run_id = before[0][0].info.run_id
    assert done.stderr.startswith(f"Complete: 12 runs in sweep {run_id}.")
    assert len(done.stderr.splitlines()) == 1
    assert f"`bp report {run_id}`" in done.stderr, "a newer sweep may be there"
    assert done.stdout == ""
    assert [run.info for run in all_runs(uninterrupted)[1]] == [run.info for run in before[1]]


def test_a_complete_sweep_is_recognized_without_mlflow(uninterrupted: Path) -> None:
    look = "import sys; from bp_pipeline.cli import main; main(); print('mlflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", look, *SWEEP], cwd=uninterrupted, capture_output=True, text=True
    )
    assert done.stderr.startswith("Complete: 12 runs in sweep ")
    assert done.stdout == "False\n"


def test_a_complete_sweep_is_trained_anew_under_a_new_parent(tmp_path: Path) -> None:
    sweep = ("train", "-m", "seed=1,2", "replicates=2", "training.epochs=3", "engine=numpy")
    bp(tmp_path, *sweep)
    bp(tmp_path, *sweep, "sweep.rerun=true")
    sweeps, runs = all_runs(tmp_path)
    assert [sweep.info.status for sweep in sweeps] == ["FINISHED"] * 2
    digests = Counter(run.data.tags["bp.result_digest"] for run in runs)
    assert sorted(digests.values()) == [2, 2]
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 2


@pytest.mark.heavy
def test_two_sweeps_started_at_once_both_end_well(uninterrupted: Path, tmp_path: Path) -> None:
    both = [
        subprocess.Popen(command(*SWEEP), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Another process is training this sweep" in text for text in said) == 1
    assert sum("Complete: 12 runs" in text for text in said) == 1
    assert outcome(tmp_path) == outcome(uninterrupted)


def test_another_core_starts_a_new_parent_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = make_config({"replicates": 2, "training.epochs": 3, "engine": "numpy"})
    composition = Composition((Job("a", tiny),), "a", "bp train -m")
    assert run_jobs(composition) == 0
    [first], _ = all_runs(tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.set_tag(first.info.run_id, "bp.code_digest", "0" * 64)  # as if made by other code
    assert run_jobs(composition) == 0
    assert first.info.run_id in capsys.readouterr().err
    sweeps, runs = all_runs(tmp_path)
    assert (len(sweeps), len(runs)) == (2, 2)


def test_what_failed_is_tried_again_and_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = [
        make_config({"replicates": n, "training.epochs": 3, "engine": "numpy"})
        for n in (2, 10**15)  # more than any memory
    ]
    jobs = tuple(Job(f"replicates={config.replicates}", config) for config in configs)
    for _ in range(2):
        assert run_jobs(Composition(jobs, "two", "bp train -m")) == 1
    [sweep], runs = all_runs(tmp_path)
    assert sweep.info.status == "FAILED"
    assert Counter(run.info.status for run in runs) == {"FINISHED": 1, "FAILED": 2}
    names = ("expected", "finished", "failed", "missing")
    assert [sweep.data.metrics[f"runs/{name}"] for name in names] == [2, 1, 1, 0]
