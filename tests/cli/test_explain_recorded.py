"""`bp explain RUN`: the step of a recorded run is the one that it took."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from stores import Store, recorded_runs

from bp_pipeline.cli import main


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with recorded_runs(tmp_path_factory.mktemp("store")) as recorded:
        yield recorded


def explain(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["bp", "explain", *arguments])
    return main()


def explained(
    *arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    assert explain(*arguments, "--format", "json", monkeypatch=monkeypatch) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("is_given", [False, True])
def test_its_weights_are_those_that_the_run_recorded(
    is_given: bool,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = store.given if is_given else "relu"
    epochs = np.load(store.artifacts(name) / "curves.npz")["epoch"]
    trajectory = np.load(store.artifacts(name) / "weights" / "trajectory.npz")
    for at, epoch in enumerate(epochs[:-1].tolist()):
        step = [store.runs[name], "--epoch", str(epoch), "--replicate", "1"]
        weights = explained(*step, monkeypatch=monkeypatch, capsys=capsys)["weights"]
        for weight in weights:
            row, column = weight["index"]
            assert weight["before"] == trajectory[weight["array"]][1, at, row, column]


def test_it_says_which_run_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(store.runs["relu"], monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    assert store.runs["relu"] in printed
    assert "relu · glorot_uniform" in printed


def test_a_run_of_other_code_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = store.runs["sigmoid"]
    before = explained(run_id, monkeypatch=monkeypatch, capsys=capsys)["remarks"]
    MlflowClient().set_tag(run_id, "bp.code_digest", "0" * 64)
    after = explained(run_id, monkeypatch=monkeypatch, capsys=capsys)["remarks"]
    assert len(after) == len(before) + 1


def test_what_is_no_run_or_not_one_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown, relu = "0123456789abcdef" * 2, store.runs["relu"]
    for arguments in (
        [unknown], ["abc123"], [store.sweep], [relu, store.runs["tanh"]], [relu, "seed=3"],
        [relu, "--config-dir", "."], [relu, "--replicate", "5"], [relu, "--experiment", "none"],
    ):  # fmt: skip
        assert explain(*arguments, monkeypatch=monkeypatch) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1


def test_a_run_without_its_config_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = store.artifacts("tanh") / "config.yaml"
    kept = shutil.move(config, store.folder / "kept.yaml")
    assert explain(store.runs["tanh"], monkeypatch=monkeypatch) == 2
    shutil.copy(store.artifacts("relu") / "config.yaml", config)
    assert explain(store.runs["tanh"], monkeypatch=monkeypatch) == 2
    config.write_text("seed: x\n")
    assert explain(store.runs["tanh"], monkeypatch=monkeypatch) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    shutil.move(kept, config)


def test_without_a_store_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert explain("0123456789abcdef" * 2, monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.startswith("There is no store")
    assert list(tmp_path.iterdir()) == []
