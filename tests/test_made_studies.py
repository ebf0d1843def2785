"""The studies made anew: in full where that takes seconds, and with little training otherwise."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import experiments.__main__ as make_studies
from experiments import making

EXPERIMENTS = Path(make_studies.__file__).parent
MANY_NETWORKS = ("article", "xor_sweep")
LITTLE = ("replicates=2", "training.epochs=20")


@pytest.mark.parametrize(
    "name", ["published", *(pytest.param(n, marks=pytest.mark.heavy) for n in MANY_NETWORKS)]
)
def test_a_study_comes_out_as_committed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = make_studies.main([name])
    assert exit_code == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["depth_and_width", "kolen_pollack_1990", "symmetry"])
def test_a_study_is_made_from_little_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = import_module(f"experiments.{name}.study")
    monkeypatch.setattr(study, "train", lambda *words: making.train(*words, *LITTLE))
    made = make_studies.make_anew(name, tmp_path)
    assert make_studies.files(made) == make_studies.files(EXPERIMENTS / name)
    assert unmade(made) == unmade(EXPERIMENTS / name)


def unmade(folder: Path) -> str:
    """Return what of a README is not made."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return re.sub(r"(<!-- (?!end\b)[^>]*-->).*?<!-- end -->", r"\1", text, flags=re.DOTALL)
