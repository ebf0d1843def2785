"""`bp playground` as it is typed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from bs4 import BeautifulSoup
from commands import run_bp


def bp(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return run_bp(*words, cwd=folder, environment=environment)


def data_of(path: Path) -> dict[str, Any]:
    script = BeautifulSoup(path.read_text("utf-8"), "html.parser").find(id="data")
    assert script is not None
    return yaml.safe_load(script.get_text())


def test_it_starts_from_the_article_unless_asked_otherwise(tmp_path: Path) -> None:
    assert bp(tmp_path, "playground").returncode == 0
    data = data_of(tmp_path / "playground.html")
    assert data["start"]["config"] == data["article"]["config"]
    assert bp(tmp_path, "playground", "activation=relu", "--out", "relu.html").returncode == 0
    assert data_of(tmp_path / "relu.html")["start"]["labels"]["activation"] == "relu"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    done = bp(folder, "train", "replicates=3", "training.epochs=50")
    assert done.returncode == 0, done.stderr
    return folder


def run_of(store: Path) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    [experiment] = client.search_experiments(filter_string="name = 'bp_pipeline'")
    runs = client.search_runs([experiment.experiment_id], "tags.`bp.result_digest` != ''")
    return runs[0].info.run_id


def test_a_run_brings_its_config_and_its_recorded_result(store: Path, tmp_path: Path) -> None:
    run_id = run_of(store)
    done = bp(store, "playground", run_id, "--out", str(tmp_path / "run.html"))
    assert done.returncode == 0, done.stderr
    data = data_of(tmp_path / "run.html")
    assert data["start"]["config"]["replicates"] == 3
    assert run_id in data["recorded"]["run"]
    assert len(data["recorded"]["digest"]) == 64


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.learning_rate=-1"],
        ["activation=tanh,relu", "-m"],
        ["deadbeef" * 4],
        ["deadbeef" * 4, "activation=tanh"],
        ["--out", "missing/page.html"],
        ["--out", "page.md"],
        ["--colour=red"],
    ],
)
def test_a_wrong_request_is_one_message(store: Path, words: list[str]) -> None:
    done = bp(store, "playground", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_run_whose_files_are_broken_is_refused_in_a_sentence(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "broken")
    [weights] = (tmp_path / "broken").glob("mlruns/*/*/artifacts/weights/final.npz")
    weights.write_text("none")
    done = bp(tmp_path / "broken", "playground", run_of(store))
    assert done.returncode == 2
    assert ": its files must be an .npz file of plain arrays, got " in done.stderr
    assert len(done.stderr.splitlines()) == 1
