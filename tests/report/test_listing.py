"""`bp list`, and that whatever it prints of a sweep names that sweep to every command."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from commands import run_bp
from report.by_hand import by_hand, run

from bp_pipeline import load_sweep
from bp_pipeline.report import Findings, list_sweeps
from bp_pipeline.report.listing import pooled
from bp_pipeline.report.tables import ranked
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
        places = sweep.finished
        assert row.rate == places["solved/rate"].max()
        assert (row.name, row.digest) == (sweep.name, sweep.digest)
        assert row.best in line
    assert listed["best"].tolist() == ["lr=5.0", "all seeds"]
    assert (done.returncode, done.stderr) == (0, "")


def test_what_varies_and_each_seeds_run_is_what_mlflow_compares() -> None:
    rates = (1.0, 3.0)
    runs = [
        run([10, None], rate, seed=seed, optimizer__momentum=momentum)
        for rate in rates
        for seed in (0, 1, 2)
        for momentum in (0.0, 0.9)
    ]
    sweep = by_hand(*runs)
    assert sweep.n_finished == 12
    assert len(sweep.finished) == 4
    assert sweep.varied == ["optimizer.momentum", "optimizer.learning_rate"]
    of_one_setting = by_hand(*(run([10], rate) for rate in rates))
    assert of_one_setting.varied == ["activation", "init", "optimizer.learning_rate"]


def test_runs_that_differ_in_their_seed_are_pooled() -> None:
    """A single seed of the worse setting solves all: the best of single runs."""
    solved, lost = [10] * 4, [None] * 4
    sweep = by_hand(
        run(solved, 1.0, seed=0), run(lost, 1.0, seed=1),
        run([10] * 3 + [None], 3.0, seed=0), run([10] * 3 + [None], 3.0, seed=1),
    )  # fmt: skip
    names = [f"lr={rate} · seed={seed}" for rate in (1, 3) for seed in (0, 1)]
    best = ranked(pooled(sweep.runs.assign(name=names))).iloc[0]
    top = Findings(sweep).top
    assert best["name"] == "lr=3"
    assert (best["solved/rate"], best["solved/rate_low"]) == (0.75, top["solved/rate_low"])


def test_maps_are_listed_with_their_pixels(tmp_path: Path) -> None:
    words = ["map.resolution=[3,2]", "training.epochs=20", "engine=numpy"]
    assert bp(tmp_path, "map", *words).returncode == 0
    [line] = [line for line in bp(tmp_path, "list").stdout.splitlines() if "3 × 2" in line]
    run_id = line.split()[0]
    done = bp(tmp_path, "report", run_id)
    assert done.returncode == 0, done.stderr
    [share] = re.findall(r"solved ([\d.]+) %", done.stdout)
    assert f"of its networks: {float(share):.0f}" in line
    assert bp(tmp_path, "train", "-m", "seed=0,1", *SMALL).returncode == 0
    kinds = [line.split()[4:8] for line in bp(tmp_path, "list").stdout.splitlines()[3:] if line]
    assert [kind[:3] for kind in kinds if kind] == [["2", "of", "2"], ["3", "×", "2"]]


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
