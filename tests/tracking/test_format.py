"""What MLflow shows of a run, and back: params, metrics, tags, columns."""

import getpass
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH
from small_runs import DIGEST, record, small_config

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble import INTERVALS, RunResult
from bp_pipeline.tracking import Writer
from bp_pipeline.tracking import format as module
from bp_pipeline.tracking.runs_to_verify import disagreement


def test_params_are_all_config_keys_as_python_prints_them(run: Run, config: RunConfig) -> None:
    assert run.data.params == {key: str(value) for key, value in config.params().items()}
    assert run.data.params["init"] == "uniform"
    assert run.data.params["network.hidden"] == "[3]"
    assert run.data.params["optimizer.learning_rate"] == "5.0"


def test_params_that_runs_share_are_alike_in_all_of_them() -> None:
    for seeds in ((0, 1, 1), (0, 1, 0), (0, 0, 1)):
        configs = [small_config({"seed": seed}) for seed in seeds]
        shared = {param.key for param in module.common_params(configs)}
        assert shared == configs[0].params().keys() - {"seed"}


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


def test_metrics_bear_the_time_in_milliseconds(config: RunConfig, result: RunResult) -> None:
    before = math.floor(1000 * time.time())
    logged = [*module.metrics(config, result), *module.metrics_at_once({"runs/expected": 3})]
    assert all(before <= metric.timestamp <= 1000 * time.time() for metric in logged)


def test_copies_of_one_network_have_no_interval(
    writer: Writer, client: MlflowClient, result: RunResult
) -> None:
    run = client.get_run(record(writer, small_config(init="ones"), result))
    assert set(module.METRICS) - set(run.data.metrics) == set(INTERVALS)
    assert "%" not in run.data.tags["mlflow.note.content"]
    noisy = client.get_run(record(writer, small_config({"init.noise": 0.1}, init="ones"), result))
    assert set(noisy.data.metrics) == set(module.METRICS)


@pytest.fixture
def diverged(result: RunResult) -> RunResult:
    """Let all replicates diverge, after the fourth recorded epoch."""
    n = len(result.final_loss)
    loss = result.loss.copy()
    loss[:, 4:] = np.inf
    return replace(
        result,
        loss=loss,
        final_loss=np.full(n, np.inf),
        outcome_code=np.full(n, 2, dtype=np.int8),
        epochs_to_converge=np.full(n, -1),
    )


def test_what_is_not_finite_is_not_logged(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult, diverged: RunResult
) -> None:
    run_id = record(writer, config, diverged)
    metrics = client.get_run(run_id).data.metrics
    assert "final_loss/median" not in metrics
    assert "epochs_to_converge/median" not in metrics
    assert metrics["diverged/rate"] == 1
    steps = [point.step for point in client.get_metric_history(run_id, "loss/median")]
    assert {0, result.epochs[3]} <= {*steps} <= {*result.epochs[:4].tolist()}


def test_files_come_to_what_is_logged_of_copies_and_of_what_diverged(
    config: RunConfig, result: RunResult, diverged: RunResult
) -> None:
    at_once = replace(diverged, loss=np.full_like(diverged.loss, np.inf))
    copies = small_config(init="ones")
    runs = [(config, result), (copies, result), (config, diverged), (config, at_once)]
    for config, result in runs:
        points: dict[str, list[tuple[int, float]]] = {}
        for metric in module.metrics(config, result):
            points.setdefault(metric.key, []).append((metric.step, metric.value))
        shown = {name: values[-1][1] for name, values in points.items()}
        said = module.shown_params(config) | module.run_tags(config, None)
        assert disagreement({**shown, **said}, config, result, points) == ""


def test_a_param_that_is_gone_is_noticed_unless_another_version_wrote_the_run(
    config: RunConfig,
) -> None:
    shown = module.shown_params(config) | module.run_tags(config, None)
    assert disagreement(shown, config) == ""
    del shown["seed"]
    for gone in (shown, {**shown, "seed": math.nan}):  # as of one run, and in a table
        assert "seed is missing" in disagreement(gone, config)
        assert disagreement({**gone, module.VERSION: "0.0.1"}, config) == ""


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
    assert tags["mlflow.user"] == getpass.getuser()
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("bp_pipeline", "LOCAL")


def test_a_colour_is_the_one_that_mlflow_draws_a_run_in(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    run = client.get_run(record(writer, config, result, colour="#4c72b0"))
    assert run.data.tags["mlflow.runColor"] == "#4c72b0"


def test_git_state_becomes_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"commit": "c" * 40, "dirty": True}
    monkeypatch.setattr(module, "git_state", lambda: state)
    tags = module.source_tags.__wrapped__()
    assert tags["mlflow.source.git.commit"] == "c" * 40
    assert tags["bp.git_dirty"] == "true"


def test_without_git_no_tag_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "git_state", lambda: None)
    assert not any("git" in tag for tag in module.source_tags.__wrapped__())


def test_the_truth_table_is_the_dataset(run: Run) -> None:
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "xor"
    assert json.loads(used.dataset.profile)["features_shape"] == [4, 2]
    assert '\\"shape\\": [-1, 1]' in used.dataset.schema
    source = json.loads(used.dataset.source)
    assert source["tags"] == {"mlflow.source.name": "bp_pipeline.config.tasks"}
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_equal_tables_are_one_dataset_and_others_are_not() -> None:
    xor, other = (module.dataset(small_config({"seed": seed})).dataset for seed in (0, 1))
    nand = module.dataset(small_config(task="nand")).dataset
    assert xor.digest == other.digest != nand.digest


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
