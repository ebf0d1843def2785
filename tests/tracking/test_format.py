"""What a run is in MLflow's terms, and back: names, files, columns."""

import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH
from runs import make_config
from small_runs import DIGEST, JOBS, record, small_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble import INTERVALS, RunResult, train_runs
from bp_pipeline.tracking import FrozenSweep, Writer
from bp_pipeline.tracking import format as module


@pytest.fixture
def run(
    writer: Writer, client: MlflowClient, parent: str, config: RunConfig, result: RunResult
) -> Run:
    sweep = (parent, DIGEST)
    return client.get_run(record(writer, config, result, name="lr=5.0", sweep=sweep, seconds=2.5))


@pytest.fixture
def artifacts(run: Run) -> Path:
    return Path(run.info.artifact_uri)


def test_params_are_all_config_keys_as_python_prints_them(run: Run, config: RunConfig) -> None:
    assert run.data.params == {key: str(value) for key, value in config.params().items()}
    assert run.data.params["init"] == "uniform"
    assert run.data.params["network.hidden"] == "[3]"
    assert run.data.params["optimizer.learning_rate"] == "5.0"


def test_a_value_longer_than_a_param_may_be_is_cut(
    writer: Writer, client: MlflowClient, result: RunResult
) -> None:
    rows = [[float(k), 0.123456789] for k in range(600)]
    table = {"task.inputs": rows, "task.targets": [[0.0]] * 600}
    run_id = record(writer, small_config(table, task="table"), result)
    assert len(client.get_run(run_id).data.params["task.inputs"]) == MAX_PARAM_VAL_LENGTH


def test_curves_in_mlflow_are_points_of_the_recorded_ones(
    client: MlflowClient, run: Run, result: RunResult
) -> None:
    timestamps = set()
    for name, values in result.curves.items():
        recorded = list(zip(result.epochs.tolist(), values.tolist(), strict=True))
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda m: m.step)
        points = [(point.step, point.value) for point in history]
        assert {recorded[0], recorded[-1]} <= {*points} <= {*recorded}
        timestamps |= {point.timestamp for point in history}
    assert len(timestamps) == 1


def test_summary_metrics_are_those_of_the_result(run: Run, result: RunResult) -> None:
    expected = result.summary
    assert {name: run.data.metrics[name] for name in expected} == expected
    assert run.data.metrics["optimizer.learning_rate/log10"] == math.log10(5.0)
    assert set(run.data.metrics) == set(module.METRICS)


def test_copies_of_one_network_have_no_interval(
    writer: Writer, client: MlflowClient, result: RunResult
) -> None:
    run = client.get_run(record(writer, small_config(init="ones"), result))
    assert set(module.METRICS) - set(run.data.metrics) == set(INTERVALS)
    assert "%" not in run.data.tags["mlflow.note.content"]
    noisy = client.get_run(record(writer, small_config({"init.noise": 0.1}, init="ones"), result))
    assert set(noisy.data.metrics) == set(module.METRICS)


def test_what_is_not_finite_is_not_logged(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    n = len(result.final_loss)
    loss = result.loss.copy()
    loss[:, 4:] = np.inf
    diverged = replace(
        result,
        loss=loss,
        final_loss=np.full(n, np.inf),
        outcome_code=np.full(n, 2, dtype=np.int8),
        epochs_to_converge=np.full(n, -1),
    )
    run_id = record(writer, config, diverged)
    metrics = client.get_run(run_id).data.metrics
    assert "final_loss/median" not in metrics
    assert "epochs_to_converge/median" not in metrics
    assert metrics["diverged/rate"] == 1
    steps = [point.step for point in client.get_metric_history(run_id, "loss/median")]
    assert {0, result.epochs[3]} <= {*steps} <= {*result.epochs[:4].tolist()}


def test_more_points_than_a_batch_holds_are_all_logged(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    n = 300  # six curves of it are more than 1000, MLflow's limit for a batch
    curve = np.repeat(result.loss[:, :1], n, axis=1) * (1 + np.arange(n) % 2)  # no line fits it
    long = replace(result, epochs=np.arange(n), loss=curve, gradient_norm=curve, weight_norm=curve)
    run_id = record(writer, config, long)
    assert len(client.get_metric_history(run_id, "weight_norm/median")) == n


def test_tags_say_what_was_run(run: Run, parent: str, config: RunConfig, result: RunResult) -> None:
    tags = run.data.tags
    assert tags["bp.config_digest"] == config.config_digest
    assert tags["bp.code_digest"] == code_digest()
    assert tags["bp.result_digest"] == result.result_digest
    assert tags["bp.sweep_digest"] == DIGEST
    assert tags["bp.version"]
    assert tags["mlflow.parentRunId"] == parent


def test_git_state_becomes_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"commit": "c" * 40, "dirty": True}
    monkeypatch.setattr(module, "git_state", lambda: state)
    tags = module.source_tags.__wrapped__()
    assert tags["mlflow.source.git.commit"] == "c" * 40
    assert tags["bp.git_dirty"] == "true"


def test_the_truth_table_is_the_dataset(run: Run) -> None:
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "xor"
    assert json.loads(used.dataset.profile)["features_shape"] == [4, 2]
    assert '\\"shape\\": [-1, 1]' in used.dataset.schema
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_equal_tables_are_one_dataset_and_others_are_not() -> None:
    xor, other = (module.dataset(small_config({"seed": seed})).dataset for seed in (0, 1))
    nand = module.dataset(small_config(task="nand")).dataset
    assert xor.digest == other.digest != nand.digest


def test_a_config_is_read_back_as_it_was_written(artifacts: Path, config: RunConfig) -> None:
    again = module.read_config(artifacts)
    assert again == config
    assert again.config_digest == config.config_digest


def test_a_config_takes_given_weights_from_the_run_itself(
    tmp_path: Path, result: RunResult
) -> None:
    write_arrays(tmp_path / "moved.npz", result.initial_weights)
    given = small_config({"init.path": str(tmp_path / "moved.npz")}, init="given")
    ((_, trained),) = train_runs([given])
    assert isinstance(trained, RunResult)
    (tmp_path / "run").mkdir()
    module.write_config(tmp_path / "run", given)
    module.write_result(tmp_path / "run", trained)
    digest = given.config_digest
    (tmp_path / "moved.npz").unlink()
    assert module.read_config(tmp_path / "run").config_digest == digest


@pytest.mark.parametrize("text", ["[1]", "{", "seed: 0", "a: !!python/name:os.system"])
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        module.read_config(tmp_path)


def test_an_environment_names_engine_and_threads(artifacts: Path) -> None:
    made_with = module.read_environment(artifacts)
    assert (made_with["engine"], made_with["threads"]) == ("numpy", 1)
    assert made_with["packages"]["numpy"] == np.__version__


def test_replicates_have_a_row_each_with_nulls_where_there_is_nothing(
    tmp_path: Path, result: RunResult
) -> None:
    final_loss, epochs = result.final_loss.copy(), result.epochs_to_converge.copy()
    final_loss[0], epochs[1] = np.inf, -1
    written = replace(result, final_loss=final_loss, epochs_to_converge=epochs)
    module.write_result(tmp_path, written)
    table = pd.read_parquet(tmp_path / "replicates.parquet", dtype_backend="numpy_nullable")
    assert list(table) == ["replicate", "outcome", "epochs_to_converge", "final_loss", "solved"]
    assert table["replicate"].tolist() == list(range(9))
    assert table["outcome"].tolist() == result.outcome.tolist()
    assert table["final_loss"].isna().tolist() == [True] + 8 * [False]
    assert table["epochs_to_converge"].fillna(-1).tolist() == epochs.tolist()
    assert str(table["epochs_to_converge"].dtype) == "Int64"
    read = module.read_replicates(tmp_path)
    assert list(read) == list(table)
    np.testing.assert_array_equal(read["final_loss"], [np.nan, *final_loss[1:]])


def test_a_result_is_read_back_bit_for_bit(artifacts: Path, result: RunResult) -> None:
    assert module.read_result(artifacts).result_digest == result.result_digest
    recorded = module.read_curves(artifacts)
    np.testing.assert_array_equal(recorded["epoch"], result.epochs)
    np.testing.assert_array_equal(recorded["loss"], result.loss)
    for kind in ("initial", "final"):
        weights = module.read_weights(artifacts, kind)
        for name, layer in getattr(result, f"{kind}_weights").items():
            np.testing.assert_array_equal(weights[name], layer)
    assert list(module.read_weights(artifacts, "trajectory")) == list(result.trajectory)


@pytest.mark.parametrize("file", [*module.NEEDED_FILES[1:]])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a file"])
def test_a_file_that_is_missing_or_cut_is_named_in_one_way(
    tmp_path: Path, result: RunResult, file: str, content: bytes | None
) -> None:
    module.write_result(tmp_path, result)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says
        module.read_result(tmp_path)


def test_large_results_are_written_without_a_copy(tmp_path: Path) -> None:
    n = 500_000
    weights = {"layer_1": np.moveaxis(np.zeros((3, 4, n)), -1, 0)}  # 48 MB, as drawn
    large = RunResult(
        epochs=np.arange(20),
        loss=np.zeros((n, 20)),  # 80 MB
        gradient_norm=np.broadcast_to(0.0, (n, 20)),
        weight_norm=np.broadcast_to(0.0, (n, 20)),
        outcome_code=np.zeros(n, dtype=np.int8),
        epochs_to_converge=np.full(n, -1),
        final_loss=np.zeros(n),
        solved=np.zeros(n, dtype=bool),
        initial_weights=weights,
        final_weights=weights,
        trajectory={"epoch": np.arange(20)},
    )
    tracemalloc.start()
    module.write_result(tmp_path, large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # NumPy has two buffers of 16 MiB


def test_a_frozen_sweep_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    command = "bp train -m 'task.inputs=[[0, 1]]' " + "init=ones " * 50 + "λ"
    frozen = FrozenSweep(command, DIGEST, "c" * 64, JOBS)
    module.write_sweep(tmp_path, frozen)
    assert module.read_frozen_sweep(tmp_path) == frozen


def test_a_frozen_sweep_of_an_older_version_has_no_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold a sweep's jobs"):
        module.read_frozen_sweep(tmp_path)
    (tmp_path / "sweep.yaml").write_text("sweep_digest: a\ncode_digest: b\njobs: []\n")
    assert module.read_frozen_sweep(tmp_path) == FrozenSweep(None, "a", "b", [])


def test_runs_become_a_tidy_table(writer: Writer, parent: str, run: Run, result: RunResult) -> None:
    slow, sweep = small_config({"optimizer.learning_rate": 1e-05}), (parent, DIGEST)
    record(writer, slow, result, name="lr=1e-05", sweep=sweep)
    writer.record_failure(slow, ValueError(), name="a failure", sweep=sweep)
    record(writer, slow, result, name="alone")
    table = writer.load_runs(parent)
    assert table["name"].tolist() == ["a failure", "lr=1e-05", "lr=5.0"]
    assert table["status"].tolist() == ["FAILED", "FINISHED", "FINISHED"]
    assert table["run_id"][2] == run.info.run_id
    assert table["optimizer.learning_rate"].tolist() == [1e-05, 1e-05, 5.0]
    assert table["replicates"].dtype == np.int64
    assert table["network.bias"].dtype == np.bool_
    assert table["tracking.uri"].isna().all()
    assert table["network.hidden"][0] == "[3]"
    assert table["converged/rate"].isna().tolist() == [True, False, False]
    assert table["converged/rate"][2] == result.summary["converged/rate"]
    assert table["bp.result_digest"][1] == result.result_digest
    assert not any(column.startswith("mlflow.") for column in table)


def test_every_column_is_there_whatever_the_runs_have(
    writer: Writer, client: MlflowClient, parent: str, config: RunConfig
) -> None:
    empty = writer.load_runs(parent)
    assert empty.empty
    client.create_run(writer.experiment_id, tags={"mlflow.parentRunId": parent})  # of somebody
    for table in (empty, writer.load_runs(parent)):
        columns = {*table}
        assert {"run_id", "name", "status", *config.params(), *module.METRICS} <= columns
        assert {"init.noise", "init.path", "activation.slope", "task.bits"} <= columns
        assert {"bp.config_digest", "bp.result_digest", "bp.version"} <= columns
        assert "labels" not in columns
        assert {str(table[name].dtype) for name in module.METRICS} == {"float64"}
        assert table["bp.result_digest"].isna().all()


def test_given_weights_that_are_scaled_start_a_run_again(tmp_path: Path) -> None:
    first = make_config({"replicates": 3, "training.epochs": 4, "engine": "numpy"})
    [(_, result)] = train_runs([first])
    assert isinstance(result, RunResult)
    write_arrays(tmp_path / "given.npz", result.final_weights)
    changes = {"init.path": str(tmp_path / "given.npz"), "init.scale": 3.0, "engine": "numpy"}
    config = make_config({**changes, "training.epochs": 4}, {"init": "given"})
    [(_, scaled)] = train_runs([config])
    assert isinstance(scaled, RunResult)
    (tmp_path / "run").mkdir()
    module.write_config(tmp_path / "run", config)
    module.write_result(tmp_path / "run", scaled)
    (tmp_path / "given.npz").unlink()
    [(_, again)] = train_runs([module.read_config(tmp_path / "run")])
    assert isinstance(again, RunResult)
    assert again.result_digest == scaled.result_digest
