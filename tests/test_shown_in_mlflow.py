"""What MLflow has to show of a sweep and of its runs, and which champion it serves."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from small_runs import start_sweep

from bp_pipeline.cli import main
from bp_pipeline.tracking import open_for_writing

SMALL = "engine=numpy training.record=8 replicates=8 training.epochs"
MODEL = "bp_pipeline-xor"


def bp(*words: str) -> int:
    with patch.object(sys, "argv", ["bp", *" ".join(words).split()]):
        return main()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """Record a sweep that solves something, then a worse one of the same name."""
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for epochs, rates in (("300", "3,10"), ("100", "1,3")):
            grid = f"activation=tanh,sigmoid init=normal optimizer.learning_rate={rates}"
            assert bp("train -m", f"{SMALL}={epochs}", grid) == 0
        yield MlflowClient()


def sweeps(store: MlflowClient) -> list[Run]:
    return store.search_runs(["1"], "tags.`bp.n_jobs` != ''", order_by=["start_time ASC"])


def runs(store: MlflowClient, sweep: Run) -> list[Run]:
    return store.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{sweep.info.run_id}'")


def test_a_sweep_shows_what_its_runs_share_and_its_best_setting(store: MlflowClient) -> None:
    sweep = sweeps(store)[0]
    assert sweep.data.params["training.epochs"] == "300"
    assert sweep.data.params["init"] == "normal"
    assert {"activation", "optimizer.learning_rate"}.isdisjoint(sweep.data.params)
    best = max(runs(store, sweep), key=lambda run: run.data.metrics["solved/rate"])
    assert sweep.data.metrics["solved/rate"] == best.data.metrics["solved/rate"]
    learning_rate = sweep.data.metrics["optimizer.learning_rate"]
    assert learning_rate == float(best.data.params["optimizer.learning_rate"])
    assert sweep.data.tags["mlflow.note.content"].startswith("Best is ")


def test_a_run_has_a_sentence_a_picture_and_its_share_of_the_time(store: MlflowClient) -> None:
    sweep = sweeps(store)[0]
    of_sweep = runs(store, sweep)
    for run in of_sweep:
        said = run.data.tags["mlflow.note.content"]
        assert "8 solved" in said
        if "epochs_to_converge/median" in run.data.metrics:
            assert "half of all converged by epoch" in said  # another fact than `solved`
        assert " %" not in said  # a number and its sign are on one line
        picture = ET.parse(Path(run.info.artifact_uri) / "picture.svg").getroot()
        assert int(picture.get("width", 0)) > 0  # else MLflow shows nothing
        assert run.info.run_name in "".join(picture.itertext())
        paths = [path.get("d") for path in picture.iter("{http://www.w3.org/2000/svg}path")]
        assert len({path for path in paths if path}) == 5
        assert "nan" not in "".join(filter(None, paths))
    durations = [run.info.end_time - run.info.start_time for run in of_sweep]
    whole = sweep.info.end_time - sweep.info.start_time
    assert min(durations) >= 0
    assert sum(durations) <= whole


def test_the_experiment_links_to_its_sweeps(store: MlflowClient) -> None:
    note = store.get_experiment("1").tags["mlflow.note.content"]
    assert all(sweep.info.run_id in note for sweep in sweeps(store))


def test_a_sweep_of_the_same_name_is_told_apart(
    store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sweeps(store)
    assert first.info.run_name == second.info.run_name
    grid = "activation=tanh,sigmoid init=normal optimizer.learning_rate=1,30"
    assert bp("train -m", f"{SMALL}=100", grid) == 0
    said = capsys.readouterr().err
    assert f"Sweep {second.info.run_id} has the same name" in said
    assert "optimizer.learning_rate 1, 3 → 1, 30" in said


def test_the_alias_moves_to_what_is_better_or_as_it_is_told(
    store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sweeps(store)[:2]

    def served() -> str:
        run_id = store.get_model_version_by_alias(MODEL, "champion").run_id
        return str(store.get_run(run_id).data.tags["mlflow.parentRunId"])

    assert served() == first.info.run_id
    descriptions = [v.description for v in store.search_model_versions(f"name = '{MODEL}'")]
    for sweep in (first, second):
        [text] = [text for text in descriptions if sweep.info.run_id in text]
        assert sweep.info.run_name in text
        assert "lr=" in text
        assert "\u00a0% of its" in text  # on one line
    assert bp("champion", second.info.run_id[:8]) == 0
    assert served() == second.info.run_id
    assert bp("report", first.info.run_id) == 0
    assert served() == second.info.run_id
    assert bp("champion", first.info.run_id) == 0
    assert served() == first.info.run_id
    assert bp("champion nonsense") == 2


def test_two_sweeps_are_compared(
    store: MlflowClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ids = [sweep.info.run_id for sweep in sweeps(store)[:2]]
    assert bp("compare", *ids, "--out", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "training.epochs 300 → 100" in out
    assert (tmp_path / "comparison.html").is_file()
    assert bp("compare", ids[0], "nonsense") == 2


def test_a_sweep_without_a_run_yet_is_not_compared(
    store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_for_writing(None, "bp_pipeline") as writer:
        start_sweep(writer, str(sweeps(store)[0].info.run_name))
    grid = "activation=tanh,sigmoid init=normal optimizer.learning_rate=1,2"
    assert bp("train -m", f"{SMALL}=5", grid) == 0
    assert "has the same name" not in capsys.readouterr().err
