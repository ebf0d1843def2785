"""The champion of a sweep, loaded and served as a user does it, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from commands import run_bp
from mlflow import MlflowClient
from user import environment, free_port

XOR = [[0, 0], [0, 1], [1, 0], [1, 1]]
CHAMPION = "models:/bp_pipeline-xor@champion"


@pytest.fixture
def client(store: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{store}/mlflow.db")


def test_the_champion_loads_in_a_process_without_this_package(store: Path) -> None:
    code = f"""
import json, sys
import mlflow.pyfunc
outputs = mlflow.pyfunc.load_model({CHAMPION!r}).predict({XOR}).tolist()
assert not any(name.startswith("bp_pipeline") for name in sys.modules)
print(json.dumps(outputs))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=store, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [round(row[0]) for row in json.loads(done.stdout)] == [0, 1, 1, 0]


@pytest.mark.heavy
def test_the_champion_answers_over_http(store: Path) -> None:
    port = free_port()
    command = f"models serve -m {CHAMPION} --env-manager local -h 127.0.0.1 -p {port}".split()
    with open(store / "serve.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            cwd=store,
            env=environment(MLFLOW_TRACKING_URI=f"sqlite:///{store}/mlflow.db"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        answer = ask(f"http://127.0.0.1:{port}/invocations", process, store / "serve.log")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert [round(row[0]) for row in answer["predictions"]] == [0, 1, 1, 0]


def ask(url: str, process: subprocess.Popen[bytes], log: Path) -> dict[str, list[list[float]]]:
    """Send the truth table's inputs as soon as somebody listens."""
    while True:
        assert process.poll() is None, log.read_text()
        try:
            answer = requests.post(url, json={"inputs": XOR}, timeout=20)
        except requests.ConnectionError:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        else:
            assert answer.ok, answer.text
            return answer.json()


def test_the_model_says_what_it_takes_and_holds_no_pickle(
    store: Path, client: MlflowClient
) -> None:
    version = client.get_model_version_by_alias("bp_pipeline-xor", "champion")
    folder = Path(version.source)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    assert {"champion_model.py", "artifacts/weights.npz", "input_example.json"} <= names
    assert "bp_pipeline" not in (folder / "requirements.txt").read_text()
    assert "signature:" in (folder / "MLmodel").read_text()


def test_reporting_again_moves_no_champion(store: Path, client: MlflowClient) -> None:
    client.delete_registered_model_alias("bp_pipeline-xor", "champion")
    before = [path for path in store.rglob("*") if "reports" not in path.parts]
    assert run_bp("report", cwd=store, environment=environment(), code=0).stderr == ""
    assert "Warning" not in (store / "stderr").read_text()
    assert [path for path in store.rglob("*") if "reports" not in path.parts] == before
    assert client.get_registered_model("bp_pipeline-xor").aliases == {}
    client.set_registered_model_alias("bp_pipeline-xor", "champion", "1")
