"""The studies: each composes and trains, and what is committed is what comes out."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree

import matplotlib
import pandas as pd
import pytest

import experiments.__main__ as make_studies
from experiments.making import fill, summarize, train

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/study.py"))
SWEEPS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SMALL = ("replicates=2", "training.epochs=20")
N_RUNS = {
    "xor_sweep": 240,  # 5 activations × 6 inits × 8 learning rates
    "symmetry": 48,  # 2 activations × 24 amounts of noise
    "published": 27,  # 2 × 4 of Mazur's, 1 of Brownlee's, 3 × 6 of Trask's
    "kolen_pollack_1990": 2 * 114,  # batch and online
    "depth_and_width": 432,  # 3 tasks × 3 learning rates × 3 depths × 16 widths
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where `experiments/published` has its weights."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_study_trains_at_a_reduced_size(name: str) -> None:
    runs = train(f"experiment={name}", *SMALL)
    assert {run.config.training.epochs for run in runs} == {20}
    if name in N_RUNS:
        # Where the sweep varies epochs, as Mazur's and Trask's, one value takes the place of many.
        assert len(runs) == (2 + 1 + 3 if name == "published" else N_RUNS[name])
        assert len(summarize(runs)) == len(runs)


@pytest.mark.parametrize("name", sorted(N_RUNS))
def test_what_is_committed_is_complete(name: str) -> None:
    folder = ROOT / "experiments" / name
    assert name in SWEEPS
    assert f"bp train experiment={name}" in (folder / "README.md").read_text(encoding="utf-8")
    table = pd.read_csv(folder / "summary.csv")
    if name != "published":  # has a row for each number that is printed
        assert len(table) == N_RUNS[name]
        assert not table.duplicated(
            list(table.columns[: list(table).index("converged/rate")])
        ).any()


def test_every_folder_is_a_study_with_a_config() -> None:
    assert set(N_RUNS) <= set(STUDIES) <= set(SWEEPS)


def test_published_numbers_agree_but_for_those_explained() -> None:
    table = pd.read_csv(ROOT / "experiments" / "published" / "summary.csv", dtype=str)
    others = table[table["digits that agree"] != "all"]
    assert others[["part", "what", "ours"]].to_numpy().tolist() == [
        ["mazur", "loss after 1 update", "0.291027774"],
        ["mazur", "loss after 10,000 updates", "0.0000351019"],
        ["brownlee", "output 1", "0.6629970129852886"],
    ]


def test_make_studies_compares_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = Path(copytree(ROOT / "experiments", tmp_path / "copy")) / "published" / "README.md"
    monkeypatch.setattr(make_studies, "FOLDER", tmp_path / "copy")
    committed = readme.read_text(encoding="utf-8")

    assert make_studies.main(["published"]) == 0
    assert capsys.readouterr().out.startswith("published: same ")

    readme.write_text(committed.replace("0.298371109", "0.298371110"), encoding="utf-8")
    assert make_studies.main(["published"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("published: differs: README.md ")
    assert "\n-| loss                      | 0.298371110 " in printed
    assert "\n+| loss                      | 0.298371109 " in printed

    assert make_studies.main(["published", "--write"]) == 0
    assert readme.read_text(encoding="utf-8") == committed


def test_pictures_of_another_matplotlib_are_left_alone(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.svg", tmp_path / "theirs.svg"
    ours.write_text(f"<dc:title>Matplotlib v{matplotlib.__version__}, ")
    theirs.write_text("<dc:title>Matplotlib v1.0, ")
    assert [make_studies.is_comparable(path) for path in (ours, theirs)] == [True, False]


def test_unknown_studies_are_refused() -> None:
    command = [sys.executable, "-m", "experiments", "symetry"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "got 'symetry'" in done.stderr


def test_a_part_that_is_made_needs_its_place(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# T\n<!-- a: made -->\nold\n<!-- end -->\n<!-- b -->\n<!-- end -->\n")
    fill(tmp_path, a="new", b=r"back\slash")
    expected = (
        "# T\n<!-- a: made -->\n\nnew\n\n<!-- end -->\n<!-- b -->\n\nback\\slash\n\n<!-- end -->\n"
    )
    assert readme.read_text() == expected
    with pytest.raises(ValueError, match="one place for c, got 0"):
        fill(tmp_path, c="")
