import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from bp_pipeline.tracking import provenance as module
from bp_pipeline.tracking.provenance import environment, git_state


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a git repository with one commit, which does not hold the package."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages" / "environment.py"))
    tree = tmp_path / "tree"
    tree.mkdir()
    monkeypatch.chdir(tree)
    (tree / "config.yaml").write_text("seed: 0\n")
    git("init", "--quiet")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "one")
    git_state.cache_clear()
    yield tree
    git_state.cache_clear()


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_environment_is_json_with_what_a_run_was_made_with() -> None:
    made_with = environment("compiled", 3)
    assert json.loads(json.dumps(made_with)) == made_with
    assert (made_with["engine"], made_with["threads"]) == ("compiled", 3)
    assert made_with["python"] == ".".join(map(str, sys.version_info[:3]))
    assert made_with["packages"]["numpy"] == np.__version__
    assert made_with["packages"]["mlflow"] == metadata.version("mlflow")
    assert made_with["os"]
    assert made_with["cpu"]["machine"]
    assert all(isinstance(name, str) for name in made_with["cpu"]["features"])
    assert "git" in made_with


def test_environment_is_gathered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment("numpy", 1)
    monkeypatch.setattr(module, "_packages", pytest.fail)
    assert environment("compiled", 2)["packages"]


def test_a_clean_tree(repository: Path) -> None:
    (repository / "mlflow.db").touch()  # git does not know it
    state = git_state()
    assert state == {
        "commit": git("rev-parse", "HEAD"),
        "dirty": False,
        "status": ["?? mlflow.db"],
        "diff": "",
        "diff_is_complete": True,
    }


def test_a_changed_tree(repository: Path) -> None:
    (repository / "config.yaml").write_text("seed: 1\n")
    state = git_state()
    assert state is not None
    assert state["dirty"]
    assert state["status"] == [" M config.yaml"]
    assert state["diff"].endswith("-seed: 0\n+seed: 1\n")


def test_a_long_diff_is_cut_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_DIFF", 10)
    (repository / "config.yaml").write_text("seed: 1\n")
    state = git_state()
    assert state is not None
    assert (len(state["diff"]), state["diff_is_complete"]) == (10, False)


def test_the_tree_that_holds_the_package_comes_first(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "__file__", str(repository / "config.yaml"))
    monkeypatch.chdir(tmp_path)
    state = git_state()
    assert state is not None
    assert state["commit"] == git("-C", str(repository), "rev-parse", "HEAD")


def test_no_tree_and_no_git_are_no_error(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_state() is None
    git_state.cache_clear()
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", "")
    assert git_state() is None


def test_cpu_features_are_those_that_numpy_uses() -> None:
    names = "X86_V4 AVX512_ICL AVX512_SKX AVX512F AVX2 FMA3 X86_V3 ASIMDHP"
    script = "from bp_pipeline.tracking.provenance import environment as e; print(e('a', 1)['cpu'])"
    features = module._cpu_features()
    disabled = " ".join(name for name in names.split() if name in features)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled},
        capture_output=True,
        text=True,
        check=True,
    )
    baseline = np.show_config(mode="dicts")["SIMD Extensions"].get("baseline", [])
    for name in set(disabled.split()) - set(baseline):
        assert repr(name) not in done.stdout
