"""A sweep in a real store: what is read of it, when, and that nothing of it stays open."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import run_bp
from report.conftest import small_config, sweep_of

from bp_pipeline import load_sweep
from bp_pipeline.arrays import write_arrays
from bp_pipeline.report import Champion, Findings, Sweep, choose_champion
from bp_pipeline.report.sentences import came_out
from bp_pipeline.report.sweep_reader import read_files
from bp_pipeline.tracking import TrackingError, run_files
from bp_pipeline.tracking.format import metric_values

ASKED = [
    "init=given", "init.path=given.npz", "optimizer.learning_rate=1,3", "training.epochs=300",
    "engine=numpy", "threads=1",
]  # fmt: skip


def bp(folder: Path, *arguments: str) -> str:
    done = run_bp(*arguments, cwd=folder, code=0)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a sweep of given weights, whose file moves away after."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    layers = {"layer_1": rng.normal(size=(9, 3, 3)), "layer_2": rng.normal(size=(9, 4, 1))}
    np.savez(folder / "given.npz", **layers)
    bp(folder, "train", "-m", *ASKED)
    (folder / "given.npz").rename(folder / "moved.npz")
    return folder


@pytest.fixture(scope="module")
def stored(trained: Path) -> Sweep:
    return load_sweep(uri=f"sqlite:///{trained / 'mlflow.db'}")


def test_nothing_of_the_store_stays_open(trained: Path) -> None:
    sweep = load_sweep(uri=f"sqlite:///{trained / 'mlflow.db'}")
    sweep.weights(sweep.finished["run_id"].iloc[0])
    assert list(trained.glob("mlflow.db-*")) == []


def test_given_weights_that_moved_do_not_fail_to_solve(stored: Sweep) -> None:
    chosen = choose_champion(stored, "xor")
    assert isinstance(chosen, Champion)
    assert chosen.unread == ()


def test_measures_are_what_mlflow_has(trained: Path, stored: Sweep) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    for run in stored.runs.to_dict("records"):
        metrics = client.get_run(run["run_id"]).data.metrics
        for name in ("solved/rate", "solved/rate_low", "final_loss/median"):
            assert run[name] == metrics[name]
        epochs = metrics.get("epochs_to_converge/median", np.nan)
        np.testing.assert_equal(run["epochs_to_converge/median"], epochs)


@pytest.mark.parametrize("table", ["latest_metrics", "metrics"])
@pytest.mark.parametrize("name", ["solved/rate", "loss/median"])
def test_a_metric_that_the_files_do_not_come_to_is_corrupt(
    name: str, table: str, trained: Path, stored: Sweep
) -> None:
    """Whether it is the value that MLflow's tables show, or the first point of a chart."""
    assert stored.corrupt == {}
    run = stored.runs.iloc[0]
    where = "WHERE run_uuid = :run AND key = :key"
    first = f"(SELECT min(step) FROM {table} {where})"
    uri = f"sqlite:///{trained / 'mlflow.db'}"

    def change(sign: str) -> None:
        with closing(sqlite3.connect(trained / "mlflow.db")) as database, database:
            database.execute(
                f"UPDATE {table} SET value = value {sign} 0.25 {where} AND step = {first}",
                {"run": run["run_id"], "key": name},
            )

    change("+")
    try:
        sweep = load_sweep(uri=uri)
    finally:
        change("-")
    assert set(sweep.corrupt) == {run["run_id"]}
    assert name in sweep.corrupt[run["run_id"]]
    assert sweep.runs.iloc[0]["solved/rate"] == run["solved/rate"]  # numbers are the files'
    assert "Corrupt" in came_out(Findings(sweep))


@pytest.mark.parametrize("file", ["curves.npz", "replicates.parquet"])
def test_half_a_file_is_corrupt_and_told(file: str, trained: Path, stored: Sweep) -> None:
    run_id = stored.finished["run_id"].iloc[0]
    command = {"curves.npz": ["report"], "replicates.parquet": ["compare", *2 * [stored.digest]]}
    with stored.open_files(run_id) as folder:
        before = (folder / file).read_bytes()
        (folder / file).write_bytes(before[: len(before) // 2])
        try:
            corrupt = load_sweep(uri=f"sqlite:///{trained / 'mlflow.db'}").corrupt
            done = run_bp(*command[file], cwd=trained)
        finally:
            (folder / file).write_bytes(before)
    assert set(corrupt) == {run_id}
    assert (done.returncode, run_id in done.stderr) == (1, True)


@pytest.mark.parametrize("spoilt", [0, 1])
@pytest.mark.parametrize("shape", [(3, 5), (3,), (3, 4)], ids=["others", "flat", "too few"])
def test_curves_of_another_run_are_left_out(
    shape: tuple[int, ...], spoilt: int, tmp_path: Path
) -> None:
    configs = [small_config({"seed": seed}) for seed in (0, 1)]
    runs = sweep_of(configs, tmp_path).runs
    shown = {row["run_id"]: row for row in runs.to_dict("records")}
    for run_id, config in zip(shown, configs, strict=True):
        values = metric_values(config, run_files.read_result(tmp_path / run_id))
        shown[run_id] |= {name: [*steps.values()][-1] for name, steps in values.items() if steps}
        shown[run_id]["bp.config_digest"] = config.config_digest
    whole = run_files.read_curves(tmp_path / str(1 - spoilt))
    write_arrays(
        tmp_path / str(spoilt) / "curves.npz", {"epoch": np.arange(5), "loss": np.ones(shape)}
    )

    def open_files(run_id: str) -> AbstractContextManager[Path]:
        return nullcontext(tmp_path / run_id)

    _, curves, corrupt = read_files(open_files, [["0", "1"]], shown=shown)
    assert curves["epoch"].to_list() == whole["epoch"].tolist()
    assert set(corrupt) == {str(spoilt)}


@pytest.mark.parametrize("file", ["config.yaml", "replicates.parquet"])
def test_a_file_that_was_altered_is_corrupt(file: str, trained: Path, stored: Sweep) -> None:
    run_id = stored.finished["run_id"].iloc[0]
    with stored.open_files(run_id) as folder:
        before = (folder / file).read_bytes()
        if file == "config.yaml":
            text = before.decode().replace("tolerance: 0.4", "tolerance: 0.39")
            (folder / file).write_text(text)
        else:
            table = pd.read_parquet(folder / file)
            table.assign(final_loss=table["final_loss"] * 0.999).to_parquet(folder / file)
        try:
            assert set(load_sweep(uri=f"sqlite:///{trained / 'mlflow.db'}").corrupt) == {run_id}
        finally:
            (folder / file).write_bytes(before)


def test_weights_and_configs_are_read_when_asked_for(stored: Sweep) -> None:
    run_id = stored.finished["run_id"].iloc[0]
    assert stored.weights(run_id)["layer_1"].shape == (9, 3, 3)
    trajectory = stored.weights(run_id, kind="trajectory")
    assert len(trajectory["epoch"]) == trajectory["layer_2"].shape[1]
    given = stored.config(run_id).given_weights
    assert given is not None
    np.testing.assert_equal(given[0], stored.weights(run_id, "initial")["layer_1"])
    with pytest.raises(ValueError, match="kind"):
        stored.weights(run_id, "finale")


def test_what_cannot_be_read_is_an_error(stored: Sweep) -> None:
    run_id = stored.finished["run_id"].iloc[0]
    with stored.open_files(run_id) as folder:
        aside = folder.rename(folder.with_name("aside"))
        try:
            with pytest.raises(TrackingError, match=r"weights/final\.npz"):
                stored.weights(run_id)
            with pytest.raises(TrackingError, match=r"config\.yaml"):
                stored.config(run_id)
        finally:
            aside.rename(folder)


def test_the_command_is_what_was_typed(trained: Path, stored: Sweep) -> None:
    with stored.open_files(stored.run_id) as folder:
        file = folder / "sweep.yaml"
        kept = yaml.safe_load(file.read_text(encoding="utf-8"))
        before = file.read_bytes()
        try:
            for command in ("bp train -m 'init=ones,normal' seed=1", None):
                text = yaml.safe_dump({**kept, "command": command}, allow_unicode=True)
                file.write_text(text, encoding="utf-8")
                again = load_sweep(uri=f"sqlite:///{trained / 'mlflow.db'}")
                assert again.command == command
            file.write_bytes(b"\xff: [")
            assert load_sweep(uri=f"sqlite:///{trained / 'mlflow.db'}").command is None
        finally:
            file.write_bytes(before)


def test_files_that_come_at_a_time_are_read_in_order(stored: Sweep) -> None:
    run_ids = stored.finished["run_id"].tolist()
    waiting = Barrier(len(run_ids))

    @contextmanager
    def at_a_time(run_id: str) -> Iterator[Path]:
        waiting.wait(10)
        with stored.open_files(run_id) as folder:
            yield folder

    places = [[run_id] for run_id in run_ids]
    several = read_files(at_a_time, places, n_readers=len(run_ids))[:2]
    for table, one in zip(several, read_files(stored.open_files, places)[:2], strict=True):
        assert len(table) > len(run_ids)
        pd.testing.assert_frame_equal(table, one)
