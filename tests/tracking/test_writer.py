import json
import math
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from bp_pipeline.config.schema import RunConfig, parse_config
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble.shards import RunResult
from bp_pipeline.ensemble.summary import curves, summary
from bp_pipeline.report.champion import network_of
from bp_pipeline.tracking import Network, Tracker, TrackingError
from bp_pipeline.tracking import format as records

JOBS = [{"name": "lr=5.0", "config_digest": "1" * 64}, {"name": "lr=1.0 · λ"}]


@pytest.fixture
def client(tracker: Tracker) -> MlflowClient:
    return MlflowClient(tracker.uri)


@pytest.fixture
def parent(tracker: Tracker) -> str:
    return tracker.start_sweep("two rates", JOBS, "5" * 64)


@pytest.fixture
def run(
    tracker: Tracker, client: MlflowClient, parent: str, config: RunConfig, result: RunResult
) -> Run:
    run_id = tracker.record(
        config, result, name="lr=5.0", parent_run_id=parent, seconds=2.5, engine="numpy"
    )
    return client.get_run(run_id)


@pytest.fixture
def artifacts(folder: Path, run: Run) -> Path:
    return folder / "mlruns" / run.info.experiment_id / run.info.run_id / "artifacts"


def test_a_run_is_finished_and_lasted_as_long_as_its_training(run: Run) -> None:
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "lr=5.0"
    assert 2500 <= run.info.end_time - run.info.start_time < 60_000


def test_params_are_all_config_keys_as_python_prints_them(run: Run, config: RunConfig) -> None:
    assert run.data.params == {key: str(value) for key, value in config.params().items()}
    assert run.data.params["init"] == "uniform_small"
    assert run.data.params["network.hidden"] == "[3]"
    assert run.data.params["optimizer.learning_rate"] == "5.0"


def test_curves_have_one_point_a_recorded_epoch(
    client: MlflowClient, run: Run, result: RunResult
) -> None:
    timestamps = set()
    for name, values in curves(result).items():
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda m: m.step)
        assert [point.step for point in history] == result.epochs.tolist()
        assert [point.value for point in history] == values.tolist()
        timestamps |= {point.timestamp for point in history}
    assert len(timestamps) == 1
    assert len(curves(result)) == 6


def test_summary_metrics_are_those_of_the_result(run: Run, result: RunResult) -> None:
    expected = summary(result)
    assert {"converged/rate", "epochs_to_converge/median", "final_loss/median"} <= set(expected)
    assert {name: run.data.metrics[name] for name in expected} == expected
    assert run.data.metrics["optimizer.learning_rate/log10"] == math.log10(5.0)
    others = {"optimizer.learning_rate/log10"}
    assert set(run.data.metrics) == set(expected) | set(curves(result)) | others


def test_what_is_not_finite_is_not_logged(
    tracker: Tracker, client: MlflowClient, config: RunConfig, result: RunResult
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
    run_id = tracker.record(
        config, diverged, name="diverged", parent_run_id=None, seconds=0.1, engine="numpy"
    )
    metrics = client.get_run(run_id).data.metrics
    assert "final_loss/median" not in metrics
    assert "epochs_to_converge/median" not in metrics
    assert metrics["diverged/rate"] == 1
    steps = [point.step for point in client.get_metric_history(run_id, "loss/median")]
    assert sorted(steps) == result.epochs[:4].tolist()


def test_tags_say_what_was_run(run: Run, parent: str, config: RunConfig, result: RunResult) -> None:
    tags = run.data.tags
    assert tags["bp.config_digest"] == config.config_digest
    assert tags["bp.code_digest"] == code_digest()
    assert tags["bp.result_digest"] == result.result_digest
    assert tags["bp.sweep_digest"] == "5" * 64
    assert tags["bp.version"]
    assert tags["mlflow.parentRunId"] == parent


def test_git_state_becomes_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"commit": "c" * 40, "dirty": True}
    monkeypatch.setattr(records, "git_state", lambda: state)
    tags = records.source_tags.__wrapped__()
    assert tags["mlflow.source.git.commit"] == "c" * 40
    assert tags["bp.git_dirty"] == "true"


def test_the_truth_table_is_the_dataset(run: Run) -> None:
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "xor"
    assert json.loads(used.dataset.profile)["features_shape"] == [4, 2]
    assert '\\"shape\\": [-1, 1]' in used.dataset.schema
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_equal_tables_are_one_dataset_and_others_are_not(
    make_config: Callable[..., RunConfig],
) -> None:
    xor, other = (records.dataset(make_config(seed=seed)).dataset for seed in (0, 1))
    nand = records.dataset(make_config(task={"name": "nand"})).dataset
    assert xor.digest == other.digest != nand.digest


def test_config_artifact_is_enough_to_run_again(artifacts: Path, config: RunConfig) -> None:
    again = parse_config(yaml.safe_load((artifacts / "config.yaml").read_text(encoding="utf-8")))
    assert again == config
    assert again.config_digest == config.config_digest


def test_environment_artifact_names_engine_and_threads(artifacts: Path) -> None:
    made_with = json.loads((artifacts / "environment.json").read_text())
    assert (made_with["engine"], made_with["threads"]) == ("numpy", 1)
    assert made_with["packages"]["numpy"] == np.__version__


def test_replicates_artifact_has_a_row_a_replicate(artifacts: Path, result: RunResult) -> None:
    table = pd.read_parquet(artifacts / "replicates.parquet")
    assert list(table) == ["replicate", "outcome", "epochs_to_converge", "final_loss"]
    assert table["replicate"].tolist() == list(range(9))
    assert table["outcome"].tolist() == result.outcome.tolist()
    assert table["final_loss"].tolist() == result.final_loss.tolist()
    epochs = table["epochs_to_converge"].fillna(-1).astype(int)
    assert epochs.tolist() == result.epochs_to_converge.tolist()


def test_replicates_artifact_has_nulls_where_there_is_nothing(
    tmp_path: Path, result: RunResult
) -> None:
    final_loss, epochs = result.final_loss.copy(), result.epochs_to_converge.copy()
    final_loss[0], epochs[1] = np.inf, -1
    records.write_result(
        tmp_path, replace(result, final_loss=final_loss, epochs_to_converge=epochs)
    )
    table = pd.read_parquet(tmp_path / "replicates.parquet", dtype_backend="numpy_nullable")
    assert table["final_loss"].isna().tolist() == [True] + 8 * [False]
    assert table["epochs_to_converge"].isna()[1]
    assert str(table["epochs_to_converge"].dtype) == "Int64"


def test_array_artifacts_hold_the_result_bit_for_bit(artifacts: Path, result: RunResult) -> None:
    expected = {
        "curves": {"epoch": result.epochs, "loss": result.loss},
        "weights/initial": result.initial_weights,
        "weights/final": result.final_weights,
        "weights/trajectory": result.trajectory,
    }
    for name, arrays in expected.items():
        with np.load(artifacts / f"{name}.npz") as file:
            assert sorted(file.files) == sorted(arrays)
            for key, array in arrays.items():
                np.testing.assert_array_equal(file[key], array)


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
        initial_weights=weights,
        final_weights=weights,
        trajectory={"epoch": np.arange(20)},
    )
    tracemalloc.start()
    records.write_result(tmp_path, large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # NumPy has two buffers of 16 MiB


def test_artifacts_are_read_where_they_are(tracker: Tracker, run: Run, artifacts: Path) -> None:
    with tracker.artifacts(run.info.run_id) as place:
        assert place == artifacts


def test_a_sweep_keeps_its_list_of_jobs(
    client: MlflowClient, folder: Path, tracker: Tracker, parent: str
) -> None:
    run = client.get_run(parent)
    assert run.info.status == "RUNNING"
    assert run.data.tags["bp.sweep_digest"] == "5" * 64
    assert run.data.tags["bp.n_jobs"] == "2"
    path = folder / "mlruns" / tracker.experiment_id / parent / "artifacts" / "sweep.yaml"
    frozen = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert frozen == {"sweep_digest": "5" * 64, "code_digest": code_digest(), "jobs": JOBS}


def test_a_sweep_is_ended_with_a_report(
    client: MlflowClient, tracker: Tracker, parent: str, tmp_path: Path
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "summary.csv").write_text("a,b\n")
    tracker.log_report(parent, tmp_path / "report")
    tracker.finish(parent, "FAILED")
    assert [file.path for file in client.list_artifacts(parent, "report")] == ["report/summary.csv"]
    assert client.get_run(parent).info.status == "FAILED"


def test_a_run_joins_a_sweep_that_another_process_started(
    tracker: Tracker, client: MlflowClient, parent: str, config: RunConfig, result: RunResult
) -> None:
    other = Tracker.open(None, "bp_pipeline")
    run_id = other.record(
        config, result, name="late", parent_run_id=parent, seconds=0, engine="numpy"
    )
    assert client.get_run(run_id).data.tags["bp.sweep_digest"] == "5" * 64


def test_a_failed_run_is_recorded_with_its_error(
    tracker: Tracker, client: MlflowClient, parent: str, config: RunConfig
) -> None:
    try:
        raise MemoryError("cannot allocate 3 TB")
    except MemoryError as error:
        run_id = tracker.record_failure(config, error, name="lr=1.0", parent_run_id=parent)
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["bp.error"] == "MemoryError: cannot allocate 3 TB"
    assert run.data.params["seed"] == "0"
    paths = [file.path for file in client.list_artifacts(run_id)]
    assert paths == ["config.yaml", "error.txt"]


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (OSError(28, "No space left on device"), TrackingError, "FAILED"),
        (KeyboardInterrupt(), KeyboardInterrupt, "KILLED"),
        (ZeroDivisionError(), ZeroDivisionError, "FAILED"),
    ],
)
def test_no_run_stays_running_when_recording_fails(
    tracker: Tracker,
    client: MlflowClient,
    parent: str,
    config: RunConfig,
    result: RunResult,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    status: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(records, "write_result", fail)
    with pytest.raises(raised) as caught:
        tracker.record(config, result, name="a", parent_run_id=parent, seconds=0, engine="numpy")
    table = tracker.load_runs(parent)
    assert table["status"].tolist() == [status]
    if raised is TrackingError:
        assert str(caught.value) == (
            f"Cannot record 'a' in {tracker.uri}: No space left on device. "
            "Free some space, then type the same again."
        )


def test_half_written_runs_are_killed_and_others_left(
    tracker: Tracker, client: MlflowClient, parent: str, run: Run
) -> None:
    tags = {"mlflow.parentRunId": parent}
    half = client.create_run(tracker.experiment_id, tags=tags).info.run_id
    elsewhere = client.create_run(tracker.experiment_id).info.run_id
    assert tracker.kill_unfinished(parent) == 1
    assert client.get_run(half).info.status == "KILLED"
    assert client.get_run(elsewhere).info.status == "RUNNING"
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert client.get_run(parent).info.status == "RUNNING"


def test_sweeps_are_parents_newest_first(tracker: Tracker, parent: str, run: Run) -> None:
    newer = tracker.start_sweep("newer", [], "6" * 64)
    assert [sweep.info.run_id for sweep in tracker.sweeps()] == [newer, parent]


def test_the_beginning_of_an_id_is_enough_where_no_other_has_it(tracker: Tracker) -> None:
    ids = [tracker.start_sweep("a sweep", [], f"{n:064}") for n in range(17)]  # of 16 first digits
    assert tracker.find_sweep(ids[0][:20]).info.run_id == ids[0]
    first = Counter(run_id[0] for run_id in ids).most_common(1)[0][0]
    with pytest.raises(TrackingError, match=rf"got '{first}', with which \d+ begin"):
        tracker.find_sweep(first)


def test_a_sweep_is_found_by_id_or_as_the_newest(tracker: Tracker, parent: str, run: Run) -> None:
    newer = tracker.start_sweep("newer", [], "6" * 64)
    assert tracker.find_sweep().info.run_id == newer
    assert tracker.find_sweep(parent).info.run_id == parent
    with pytest.raises(TrackingError, match=f"There is no sweep '{run.info.run_id}' in sqlite"):
        tracker.find_sweep(run.info.run_id)


def test_runs_are_read_as_a_tidy_table(
    tracker: Tracker,
    parent: str,
    run: Run,
    make_config: Callable[..., RunConfig],
    result: RunResult,
) -> None:
    slow = make_config(optimizer={"learning_rate": 1e-05})
    tracker.record(slow, result, name="lr=1e-05", parent_run_id=parent, seconds=0, engine="numpy")
    tracker.record_failure(slow, ValueError(), name="a failure", parent_run_id=parent)
    tracker.record(slow, result, name="alone", parent_run_id=None, seconds=0, engine="numpy")
    table = tracker.load_runs(parent)
    assert table["name"].tolist() == ["a failure", "lr=1e-05", "lr=5.0"]
    assert table["status"].tolist() == ["FAILED", "FINISHED", "FINISHED"]
    assert table["run_id"][2] == run.info.run_id
    assert table["optimizer.learning_rate"].tolist() == [1e-05, 1e-05, 5.0]
    assert table["replicates"].dtype == np.int64
    assert table["network.bias"].dtype == np.bool_
    assert table["tracking.uri"].isna().all()
    assert table["network.hidden"][0] == "[3]"
    assert table["converged/rate"].isna().tolist() == [True, False, False]
    assert table["converged/rate"][2] == summary(result)["converged/rate"]
    assert table["bp.result_digest"][1] == result.result_digest
    assert not any(column.startswith("mlflow.") for column in table)


def test_a_sweep_without_runs_is_an_empty_table(tracker: Tracker, parent: str) -> None:
    table = tracker.load_runs(parent)
    assert table.empty
    assert list(table) == ["run_id", "name", "status"]


def test_many_runs_are_read_page_by_page(
    tracker: Tracker, client: MlflowClient, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bp_pipeline.tracking.writer._PAGE", 2)
    for _ in range(5):
        client.create_run(tracker.experiment_id, tags={"mlflow.parentRunId": parent})
    assert len(tracker.load_runs(parent)) == 5


def test_more_points_than_a_batch_holds_are_all_logged(
    tracker: Tracker, client: MlflowClient, config: RunConfig, result: RunResult
) -> None:
    n = 300  # six curves of it are more than 1000, MLflow's limit for a batch
    curve = np.repeat(result.loss[:, :1], n, axis=1)
    long = replace(result, epochs=np.arange(n), loss=curve, gradient_norm=curve, weight_norm=curve)
    run_id = tracker.record(
        config, long, name="long", parent_run_id=None, seconds=0, engine="numpy"
    )
    assert len(client.get_metric_history(run_id, "weight_norm/median")) == n


def test_a_value_longer_than_a_param_may_be_is_cut(
    tracker: Tracker, client: MlflowClient, make_config: Callable[..., RunConfig], result: RunResult
) -> None:
    rows = [[float(k), 0.123456789] for k in range(600)]
    table = {"name": "table", "inputs": rows, "targets": [[0.0]] * 600}
    config = make_config(task=table)
    run_id = tracker.record(
        config, result, name="long", parent_run_id=None, seconds=0, engine="numpy"
    )
    assert len(client.get_run(run_id).data.params["task.inputs"]) == 6000


@pytest.fixture
def network(config: RunConfig, result: RunResult) -> Network:
    return network_of(config, result.final_weights, 0)


def test_the_alias_points_to_the_champion_that_was_registered_last(
    tracker: Tracker, client: MlflowClient, run: Run, network: Network
) -> None:
    def register(replicate: str) -> str:
        tags = {"bp.replicate": replicate}
        return tracker.register(network, name="xor", run_id=run.info.run_id, tags=tags)

    def champion() -> str:
        return str(client.get_model_version_by_alias("xor", "champion").version)

    assert (register("0"), champion()) == ("1", "1")
    assert (register("1"), champion()) == ("2", "2")
    assert (register("0"), champion()) == ("1", "1")
    client.delete_registered_model_alias("xor", "champion")
    assert (register("1"), champion()) == ("2", "2")
    assert len(client.search_model_versions("name = 'xor'")) == 2


def test_a_model_that_may_not_be_registered_is_not_left_behind(
    tracker: Tracker,
    client: MlflowClient,
    run: Run,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        endpoint = "/api/2.0/mlflow/model-versions/create"
        raise MlflowException(f"API request to endpoint {endpoint} failed with error code 403")

    monkeypatch.setattr(tracker._client, "create_model_version", refuse)
    with pytest.raises(TrackingError, match="Ask for permission to edit the model,"):
        tracker.register(network, name="xor", run_id=run.info.run_id, tags={})
    assert client.search_logged_models([tracker.experiment_id]) == []
    assert client.get_run(run.info.run_id).outputs.model_outputs == []


def test_a_description_keeps_the_account_whatever_is_written_twice(
    tracker: Tracker, client: MlflowClient, parent: str
) -> None:
    tracker.account(parent)
    for text in ("| a |\n|---|\n", "again"):
        tracker.describe(parent, text)
    first, _, rest = client.get_run(parent).data.tags["mlflow.note.content"].partition("\n\n")
    assert first.startswith(
        "2 runs expected: 0 finished, 0 failed, 2 missing. · [Compare its runs](#/"
    )
    assert rest == "again"
    tracker.describe(parent, "\n".join(["a line of a long table"] * 1000))
    long = client.get_run(parent).data.tags["mlflow.note.content"]
    assert 4900 < len(long) <= 5000
    assert long.endswith("table")


def test_the_comparison_is_what_mlflow_reads_and_fits_into_a_tag(
    tracker: Tracker, client: MlflowClient, parent: str
) -> None:
    others = [f"a.rather.long.key_{n}" for n in range(30)]
    axes = ["activation", "init", *others, "optimizer.learning_rate"]
    assert not tracker.has_comparison(parent)
    for n_runs in (240, 12):
        tracker.log_comparison(parent, axes, n_runs)
    assert tracker.has_comparison(parent)
    tags = client.get_experiment(tracker.experiment_id).tags
    view = json.loads(tags[f"mlflow.sharedViewState.{parent}"])
    assert view["searchFilter"].startswith(f"tags.`mlflow.parentRunId` = '{parent}'")
    columns = [column.partition("`")[2][:-1] for column in view["selectedColumns"]]
    assert columns[:9] == [*axes[:8], "optimizer.learning_rate"]
    assert view["compareRunSections"][0]["name"] == "All 12 runs"
    assert len(tags[f"mlflow.sharedViewState.{parent}"]) < 5000
