"""What a notebook imports, and the documents that explain it."""

import re
import subprocess
import sys
from pathlib import Path
from shutil import copy

import nbformat
import numpy as np
import pandas as pd
import pytest

import bp_pipeline
import bp_pipeline.report
from bp_pipeline.config import ConfigError

DOCS = Path(__file__).parents[1] / "docs"
SMALL = ["engine=numpy", "replicates=6", "training.epochs=60", "training.record=8"]


def test_what_it_offers_is_listed() -> None:
    assert {"load_map", "load_sweep", "train"} <= {*dir(bp_pipeline)}
    assert all(callable(getattr(bp_pipeline, name)) for name in bp_pipeline.__all__)


def test_a_sweep_is_trained_read_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first = bp_pipeline.train([*SMALL, "init=normal,uniform", "optimizer.learning_rate=3"])
    assert len(first.finished) == 2
    again = bp_pipeline.train([*SMALL, "init=uniform,normal", "optimizer.learning_rate=3"])
    assert again.run_id == first.run_id == bp_pipeline.load_sweep(first.digest[:8]).run_id
    run_id = first.finished["run_id"].iloc[0]
    [name] = first.runs.loc[first.runs["run_id"] == run_id, "name"]
    for kind in ("initial", "final"):
        np.testing.assert_equal(first.weights(name, kind), first.weights(run_id, kind))
    with pytest.raises(ValueError, match="`run` must"):
        first.weights("no such run")
    other = bp_pipeline.train([*SMALL, "init=normal,uniform", "optimizer.momentum=0.5",
                               "optimizer.learning_rate=3"])  # fmt: skip
    assert first.compare(other).asked["key"].tolist() == ["optimizer.momentum"]
    assert first.compare(other).results["pairs"].tolist() == [6, 6]
    with pytest.raises(ConfigError, match="`tracking`"):
        bp_pipeline.train([*SMALL, "tracking=off"])
    _every_column_is_explained(first)


def _every_column_is_explained(sweep: bp_pipeline.report.Sweep) -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    explained = {*re.findall(r"`([^`\s]+)`", text), *re.findall(r"^\| `(\S+?)`", text, re.M)}
    config_keys = set(re.findall(r"`([a-z_.]+)`", (DOCS / "config.md").read_text(encoding="utf-8")))
    for table in (sweep.runs, sweep.finished, sweep.replicates, sweep.curves):
        assert isinstance(table, pd.DataFrame)
        groups = {key.partition(".")[0] for key in config_keys}
        unknown = [
            name
            for name in table.columns
            if name not in explained | config_keys and name.partition(".")[0] not in groups
        ]
        assert unknown == []


@pytest.mark.heavy
def test_the_tour_runs_from_sweep_to_figure(tmp_path: Path) -> None:
    copy(DOCS / "tour.ipynb", tmp_path)
    # In a process of its own: what runs a notebook leaves an event loop behind.
    command = [Path(sys.executable).with_name("jupyter-execute"), "--inplace", "tour.ipynb"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    tour = nbformat.read(tmp_path / "tour.ipynb", as_version=4)
    outputs = [output for cell in tour.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)
