"""Verification on a real MLflow server: what is fetched of a run, when, and how long it is kept."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from stores import record_runs
from urllib3.util import Retry

from bp_pipeline.reproduce.recorded_runs import case_of
from bp_pipeline.reproduce.verdicts import Case, Verdict, retrain
from bp_pipeline.tracking import Recorded, RunsToVerify


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a real MLflow server, which keeps artifacts itself, that has four runs."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    settings = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open("server.log", "w") as log:
        process = subprocess.Popen(
            command, env=settings, stdout=log, stderr=log, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        with requests.Session() as session:  # asks until it is up
            session.mount(
                uri, HTTPAdapter(max_retries=Retry(99, backoff_factor=0.2, backoff_max=0.5))
            )
            assert session.get(f"{uri}/health").ok, Path("server.log").read_text()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        record_runs(tmp_path)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.heavy
def test_only_configs_are_fetched_before_training_and_a_result_is_let_go_once_judged(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def fetched() -> set[str]:
        return {path.name for path in scratch.rglob("*") if path.is_file()}

    with ExitStack() as opened:
        store = opened.enter_context(RunsToVerify.open(None, "bp_pipeline"))
        runs: list[Recorded] = store.sample(4, seed=0)
        cases = [case_of(store, run, None, opened) for run in runs]
        assert fetched() <= {"config.yaml", "initial.npz"}
        kept = []

        def noting(case: Case | Verdict) -> Case | Verdict:
            assert isinstance(case, Case)
            return replace(case, judge=lambda result: _noted(case.judge(result)))

        def _noted(verdict: Verdict) -> Verdict:
            kept.append(fetched())
            return verdict

        verdicts = retrain([noting(case) for case in cases])
    assert len(kept) == len(runs) == 4
    assert all(files <= {"config.yaml", "initial.npz"} for files in kept)
    assert {verdict.verdict for verdict in verdicts} == {"identical"}
    assert fetched() == set()
