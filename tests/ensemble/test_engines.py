"""Which engine trains, where its machine code is kept, and what happens where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import BP

import bp_pipeline
from bp_pipeline.config.keys import conf_folder

PACKAGE = Path(bp_pipeline.__file__).parent
DIGEST = """
import sys
from bp_pipeline.ensemble.engines import problem_with, train_function
from bp_pipeline.core.network import Architecture
from bp_pipeline.core.training import Setup
import numpy as np

architecture = Architecture((2, 3, 1), True, True, "tanh", "sigmoid", 0.01, "logistic", True)
inputs, targets = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)), ((0.0,), (1.0,), (1.0,), (0.0,))
setup = Setup(architecture, inputs, targets, False, 50, 0.4, False, 5)
weights = np.linspace(-1, 1, 13 * 4).reshape(13, 4)
for engine in ("numpy", "compiled"):
    assert problem_with(engine) is None, problem_with(engine)
    trained = train_function(engine)(setup, weights, np.full((2, 4), 0.5), np.zeros(4))
    print(trained.parameters.tobytes().hex())
"""


@pytest.mark.heavy
def test_an_edit_to_an_imported_function_changes_the_bits(tmp_path: Path) -> None:
    """Numba's own cache would not notice: it looks at the file of the kernel alone."""
    shutil.copytree(PACKAGE, tmp_path / "bp_pipeline")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "NUMBA_CACHE_DIR": str(tmp_path / "c"),
    }

    def weights_of_both_engines() -> list[str]:
        command = [sys.executable, "-c", DIGEST]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    before = weights_of_both_engines()
    elementary = tmp_path / "bp_pipeline" / "core" / "elementary.py"
    source = elementary.read_text()
    elementary.write_text(source.replace("0.3333333333333332,", "0.3333333333333331,"))
    assert elementary.read_text() != source
    after = weights_of_both_engines()
    assert before[0] == before[1]
    assert after[0] == after[1]
    assert before[0] != after[0]


def test_without_numba_the_reference_engine_takes_over(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('no numba here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [BP, "train", "tracking=off", "replicates=2", "training.epochs=3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "engine=numpy" in line] != []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile with an empty cache; return it."""
    cache = tmp_path_factory.mktemp("compiled") / "cache"
    trained_with(cache)
    return cache


def trained_with(cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [BP, "train", "tracking=off", "replicates=2", "training.epochs=3"]
    return subprocess.run(
        command, cwd=cache.parent, env=environment, capture_output=True, text=True, check=True
    )


def break_one(cache: Path, kind: str, keep: int) -> Path:
    """Cut off the index or the machine code of one of several functions."""
    file = min(cache.rglob(f"*.{kind}"))
    file.write_bytes(file.read_bytes()[:keep])
    return file


@pytest.mark.parametrize(("kind", "keep"), [("nbi", 100), ("nbc", 0)], ids=["index", "code"])
def test_a_broken_cache_is_noticed(kind: str, keep: int, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "copy")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "copy")}
    code = "from bp_pipeline.ensemble.engines import broken_cache; print(broken_cache())"

    def told() -> str:
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)

    assert told() == "None\n"
    break_one(tmp_path / "copy", kind, keep)
    assert "broken" in told()
    assert told() == "None\n"


@pytest.mark.heavy
def test_a_broken_cache_is_made_again(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "copy")
    first = trained_with(tmp_path / "copy")
    file = break_one(tmp_path / "copy", "nbc", 0)
    again = trained_with(tmp_path / "copy")
    assert again.stdout == first.stdout
    assert "broken" in again.stderr
    assert file.stat().st_size > 0
    assert "broken" not in first.stderr + trained_with(tmp_path / "copy").stderr


def test_a_bug_in_the_kernel_is_no_other_engine(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "bp_pipeline")
    shutil.copytree(conf_folder(), tmp_path / "bp_pipeline" / "conf")
    kernel = tmp_path / "bp_pipeline" / "core" / "compiled.py"
    kernel.write_text(kernel.read_text() + "\n\ndef train(*_, **__):\n    return 1 / 0\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = ["train", "tracking=off", "replicates=2", "training.epochs=3"]
    command = [sys.executable, "-c", "from bp_pipeline.cli import main; exit(main())", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr.partition("Traceback")[2]
