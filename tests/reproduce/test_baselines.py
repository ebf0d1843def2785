"""Baselines: the committed ones, and what becomes of one that was spoiled."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import BP, run_bp
from runs import make_config

import bp_pipeline.reproduce
from bp_pipeline.cli import commands
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.reproduce import Request, reproduce
from bp_pipeline.reproduce.baselines import QUICK, is_quick
from experiments.making import configs_of

ROOT = Path(__file__).resolve().parents[2]
STUDY = "tripwire"


def copy_baseline(folder: Path) -> None:
    """Copy the committed baseline of the tripwire, and nothing else."""
    name = Path("experiments") / STUDY / "baseline.json"
    (folder / name).parent.mkdir(parents=True)
    shutil.copy(ROOT / name, folder / name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a baseline but no store."""
    copy_baseline(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "experiments" / STUDY / "baseline.json"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take four runs of a study only, to spare the time of all."""
    one = ["init.distribution=normal", "loss=logistic", "optimizer=batch_gd"]
    few = [*one, "activation=tanh,relu", "network.hidden=[3],[4,3]"]
    monkeypatch.setattr(
        bp_pipeline.reproduce, "study_configs", lambda name: configs_of(f"experiment={name}", *few)
    )


@pytest.fixture
def verify(folder: Path) -> Callable[..., list[dict[str, Any]]]:
    def run(**request: Any) -> list[dict[str, Any]]:
        reproduce(Request(**{"studies": [STUDY], **request, "json": folder / "verdicts.json"}))
        return list(json.loads((folder / "verdicts.json").read_text()))

    return run


def verdicts(found: list[dict[str, Any]]) -> dict[str, str]:
    return {verdict["name"]: verdict["verdict"] for verdict in found}


def test_the_tripwire_is_identical_and_needs_no_store(folder: Path) -> None:
    done = run_bp("reproduce", "--baselines", "--engine", "numpy", cwd=folder, code=0)
    assert done.stdout.splitlines()[-1] == "144 runs: 144 identical"
    assert [path.name for path in folder.iterdir()] == ["experiments"]


def test_committed_baselines_are_whole() -> None:
    files = list((ROOT / "experiments").glob("*/baseline.json"))
    assert {"tripwire", "xor_sweep"} <= {path.parent.name for path in files}
    for path in files:
        baseline = json.loads(path.read_text(encoding="utf-8"))
        assert baseline["study"] == path.parent.name
        assert len({run["name"] for run in baseline["runs"]}) == len(baseline["runs"])
        assert (ROOT / "conf" / "experiment" / f"{path.parent.name}.yaml").is_file()


@pytest.mark.usefixtures("study")
def test_another_digest_is_drifted_and_another_config_is_told_apart(
    file: Path, verify: Callable[..., list[dict[str, Any]]]
) -> None:
    few = verify(update=True)  # names now say only what varies
    assert {verdict["verdict"] for verdict in few} == {"identical", "missing"}
    assert set(verdicts(verify(engine="numpy")).values()) == {"identical"}
    committed = file.read_text(encoding="utf-8")
    baseline = json.loads(committed)
    result, config, gone, renamed = baseline["runs"]
    result["result_digest"] = config["config_digest"] = gone["config_digest"] = "0" * 64
    gone["name"] = "gone"
    renamed["name"] = "as an older version named it"
    baseline["made_with"]["numpy"] = "1.0"
    file.write_text(json.dumps(baseline))
    found = {verdict["name"]: verdict for verdict in verify()}
    assert found[result["name"]]["verdict"] == found[config["name"]]["verdict"] == "drifted"
    assert found[result["name"]]["reason"] == "another result digest"
    assert found[config["name"]]["reason"] == "another config digest"
    assert found[result["name"]]["differs"]["numpy"][0] == "1.0"
    assert found["gone"]["verdict"] == "missing"
    assert sorted(verdicts(list(found.values())).values()) == [
        "drifted", "drifted", "identical", "missing", "missing",
    ]  # fmt: skip
    assert reproduce(Request(studies=[STUDY], update=True)) == 0
    assert file.read_text(encoding="utf-8") == committed
    os.utime(file, (0, 0))
    assert reproduce(Request(studies=[STUDY], update=True)) == 0
    assert file.stat().st_mtime == 0  # what did not change is left alone


def test_what_is_no_baseline_is_refused(
    file: Path, verify: Callable[..., list[dict[str, Any]]]
) -> None:
    with pytest.raises(ConfigError, match="must name studies with a baseline, got 'nonsense'"):
        verify(studies=["nonsense"])
    with pytest.raises(ConfigError, match="`experiment` must be one of its options"):
        verify(studies=["nonsense"], update=True)


@pytest.mark.usefixtures("study")
def test_no_baseline_is_written_where_a_run_cannot_be_trained(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps({"study": STUDY, "made_with": {}, "runs": []})
    file.write_text(text)

    def fail(engine: str) -> object:
        raise MemoryError("no room")

    monkeypatch.setattr("bp_pipeline.ensemble.shards.train_function", fail)
    assert reproduce(Request(studies=[STUDY], update=True)) == 1
    assert file.read_text() == text
    assert "not written" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["cluster=none"], [STUDY, "cluster=none"]])
@pytest.mark.usefixtures("folder")
def test_where_to_train_may_come_after_the_studies(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="`cluster` must be"):
        commands.reproduce(["--baselines", *words])


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("text", ["", "[]", '{"runs": [{"name": "x"}]}', '{"runs": 1}'])
def test_a_spoiled_baseline_is_refused(
    text: str, file: Path, verify: Callable[..., list[dict[str, Any]]]
) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"is not a baseline.*--baselines tripwire --update"):
        verify()


def test_a_study_is_quick_by_how_much_there_is_to_compute() -> None:
    config = make_config({"training.epochs": 1000})  # 13 weights, 4 samples, 100 replicates
    n = QUICK // (13 * 4 * 100 * 1000)
    assert is_quick([config] * n)
    assert not is_quick([config] * (n + 1))


@pytest.mark.heavy
def test_the_oldest_cpu_gives_the_same_bits(folder: Path) -> None:
    levels = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NPY_DISABLE_CPU_FEATURES": " ".join(levels),
    }
    command = [BP, "reproduce", "--baselines", "--engine", "compiled"]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "144 runs: 144 identical"
