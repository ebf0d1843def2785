"""Wheel and editable install run anywhere; the pins and the Makefile keep their promises."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    "help", "sweep", "map", "report", "reproduce", "baseline", "architectures", "schedule",
    "unschedule", "ui", "studies", "test", "lint", "bench", "bench-peers", "torture", "pins",
    "clean",
}  # fmt: skip
# What the caller's shell, an outer make or a tracking server would otherwise bring into the test.
FOREIGN = {"PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MLFLOW_TRACKING_URI"}


def _run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key not in FOREIGN},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _build_wheel(folder: Path) -> Path:
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    return next(folder.glob("bp_pipeline-*.whl"))


def _environment(folder: Path) -> Path:
    """Make an environment that shares our dependencies but not our install; return its bin/.

    A path in a .pth file brings the packages found there and ignores the .pth files there, one of
    which is our own editable install.
    """
    _run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    purelib = sysconfig.get_path("purelib", "venv", vars={"base": str(folder)})
    Path(purelib, "dependencies.pth").write_text("\n".join(sorted(shared)))
    return folder / "bin"


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin/ of an environment with one of the two kinds of install."""
    folder = tmp_path_factory.mktemp(request.param)
    bin_folder = _environment(folder / "env")
    source = [_build_wheel(folder)] if request.param == "wheel" else ["--editable", ROOT]
    pip = [sys.executable, "-m", "pip", "--python", bin_folder / "python"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    _run(*pip, "install", "--quiet", *offline, *source, cwd=folder)
    return bin_folder


def test_it_runs_from_where_it_was_installed(installed: Path, tmp_path: Path) -> None:
    where = "import bp_pipeline; print(bp_pipeline.__file__)"
    package = Path(_run(installed / "python", "-c", where, cwd=tmp_path).strip()).parent
    editable = package == ROOT / "src" / "bp_pipeline"
    assert editable or package.is_relative_to(installed.parent)
    # An editable install that copied conf/ would go on with the copy when conf/ is edited.
    copies = list(installed.parent.glob("lib/*/site-packages/bp_pipeline/conf/config.yaml"))
    assert len(copies) == (0 if editable else 1)


def test_a_run_trains_in_any_folder_and_leaves_nothing(installed: Path, tmp_path: Path) -> None:
    # Not compiled: each wheel is installed in a new place, and Numba would compile for each anew.
    overrides = ["tracking=off", "training.epochs=5", "replicates=2", "engine=numpy"]
    _run(installed / "bp", "train", *overrides, cwd=tmp_path)
    _run(installed / "bp", "train", *overrides, "-m", "activation=tanh,relu", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_hydra_finds_the_options_and_the_plugins(installed: Path, tmp_path: Path) -> None:
    assert "glorot_uniform" in _run(installed / "bp", "train", "--help", cwd=tmp_path)
    plugins = _run(installed / "bp", "train", "--info", "plugins", cwd=tmp_path)
    assert "EnsembleLauncher" in plugins
    assert "GridSweeper" in plugins


def test_pins_are_hashed_and_name_no_place() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"://|^ *-(?!-hash)|@|index|/[a-z]+/", text, re.MULTILINE)
    pins = re.split(r"(?<!\\)\n", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(pins) > 50
    for pin in pins:
        first, *hashes = re.split(r" \\\n +", pin)
        assert re.fullmatch(r"[a-z0-9.-]+==[^ ]+( ; .*)?", first)
        assert hashes, first
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), first


def test_pins_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    text = (ROOT / "requirements.txt").read_text()
    pins = dict(re.findall(r"^([a-z0-9.-]+)==([^ \n]+)", text, re.MULTILINE))
    asked = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    for requirement in map(Requirement, asked + project["build-system"]["requires"]):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_help_lists_every_target() -> None:
    listed = re.findall(r"^  make ([\w-]+) +\w", _run("make", cwd=ROOT), re.MULTILINE)
    assert set(listed) == TARGETS
    phony = re.search(r"^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS


def test_clean_keeps_runs_and_reports(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = ["mlflow.db", "mlflow.db-wal", "mlruns/1/__pycache__/a", "reports/a.csv", "src/a.py"]
    gone = ["dist/a.whl", ".mypy_cache/a", "src/__pycache__/a.pyc", "tests/core/__pycache__/a.pyc"]
    gone += ["experiments/published/__pycache__/a.pyc"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    _run("make", "clean", cwd=tmp_path)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in gone)
