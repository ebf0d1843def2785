"""What `make architectures` says, without emulation: trained on this machine's own processor."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import raw_config

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path("experiments") / "tripwire" / "baseline.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the study's baseline, which a test may alter."""
    (tmp_path / BASELINE).parent.mkdir(parents=True)
    shutil.copy(ROOT / BASELINE, tmp_path / BASELINE)
    return tmp_path


def verify(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "architectures.py", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_this_machine_is_identical(project: Path) -> None:
    done = verify(project, "host")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["host", "numpy", "identical", "144"]
    assert f"{sys.byteorder}-endian" in done.stdout


@pytest.mark.parametrize("key", ["result_digest", "config_digest"])
def test_a_planted_difference_is_found(key: str, project: Path) -> None:
    baseline = json.loads((project / BASELINE).read_text(encoding="utf-8"))
    run = baseline["runs"][7]
    run[key] = run[key][::-1]
    (project / BASELINE).write_text(json.dumps(baseline), encoding="utf-8")
    done = verify(project, "host")
    assert done.returncode == 1
    assert "identical" not in done.stdout
    if key == "result_digest":
        assert done.stdout.split()[:5] == ["host", "numpy", "drifted", "1", "of"]
        assert run["name"] in done.stdout


def test_what_is_missing_is_named(project: Path) -> None:
    done = verify(project, "s390x", PATH=str(project), XDG_CACHE_HOME=str(project))
    assert done.returncode == 2
    assert "mmdebstrap" in done.stderr
    assert "qemu-user-static" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_processor_is_refused(project: Path) -> None:
    done = verify(project, "vax")
    assert done.returncode == 2
    assert "'vax'" in done.stderr


def test_the_reference_engine_does_not_stand_in_for_the_compiled_one(project: Path) -> None:
    (project / "numba.py").write_text("raise ImportError('no Numba on this processor')")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train_digests.py"],
        env={**os.environ, "PYTHONPATH": str(project)},
        input=json.dumps([raw_config({"training.epochs": 1, "replicates": 1})]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert not done.stdout
    assert "engine=compiled" in done.stderr
