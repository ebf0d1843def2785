"""`bp list`, and that whatever it prints of a sweep names that sweep to every command."""

import os
import subprocess
from pathlib import Path

import pytest
from commands import run_bp

from bp_pipeline import load_sweep
from bp_pipeline.report import list_sweeps
from bp_pipeline.tracking import open_for_reading

SMALL = ["replicates=4", "training.epochs=200", "training.record=5", "engine=numpy"]


def bp(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return run_bp(*words, cwd=folder, environment=environment)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two sweeps; in the newer one the best run is known."""
    folder = tmp_path_factory.mktemp("listed")
    for sweep in ("seed=0,1", "optimizer.learning_rate=0.001,5"):
        done = bp(folder, "train", "-m", sweep, *SMALL)
        assert done.returncode == 0, done.stderr
    return folder


def test_sweeps_are_listed_with_what_was_best(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filled)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with open_for_reading(None, "bp_pipeline") as reader:
        listed = list_sweeps(reader)
    done = bp(filled, "list")
    lines = [line for line in done.stdout.splitlines() if line.strip()][2:]
    assert len(listed) == len(lines) == 2
    for line, row in zip(lines, listed.itertuples(), strict=True):
        assert line.split()[:2] == [row.id[:8], row.digest[:8]]
        sweep = load_sweep(row.id)
        best = sweep.runs.set_index("name")["converged/rate"]
        assert row.rate == best.max() == best[row.best]
        assert (row.name, row.digest) == (sweep.name, sweep.digest)
        assert row.best in line
    assert "lr=5" in listed["best"][0]
    assert (done.returncode, done.stderr) == (0, "")


def test_one_way_to_name_a_sweep_everywhere(filled: Path, tmp_path: Path) -> None:
    """The digest in the report folder's name is the one that commands refused once."""
    printed = [line.split() for line in bp(filled, "list").stdout.splitlines() if line.strip()][3]
    [folder] = (path.name for path in filled.glob(f"reports/*{printed[1]}"))
    for name in (printed[0], folder.rpartition("-")[2]):
        done = [
            bp(filled, "report", name, "--out", str(tmp_path / name)),
            bp(filled, "reproduce", "--sweep", name),
        ]
        assert [one.returncode for one in done] == [0, 0], done
        assert "2 identical" in done[1].stdout
        assert (tmp_path / name / "report.html").read_bytes() == (
            filled / "reports" / folder / "report.html"
        ).read_bytes()


def test_nothing_to_list_is_one_message(tmp_path: Path) -> None:
    done = bp(tmp_path, "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
