"""The files of a run and of a sweep are read back as they were written."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import make_config
from small_runs import DIGEST, JOBS, small_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.tracking import FrozenSweep, run_files


def test_a_config_is_read_back_as_it_was_written(artifacts: Path, config: RunConfig) -> None:
    again = run_files.read_config(artifacts)
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
    run_files.write_config(tmp_path / "run", given)
    run_files.write_result(tmp_path / "run", trained)
    digest = given.config_digest
    (tmp_path / "moved.npz").unlink()
    assert run_files.read_config(tmp_path / "run").config_digest == digest


@pytest.mark.parametrize("text", ["[1]", "{", "seed: 0", "a: !!python/name:os.system"])
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        run_files.read_config(tmp_path)


def test_an_environment_names_engine_and_threads(artifacts: Path) -> None:
    made_with = run_files.read_environment(artifacts)
    assert (made_with["engine"], made_with["threads"]) == ("numpy", 1)
    assert made_with["packages"]["numpy"] == np.__version__


def test_replicates_have_a_row_each_with_nulls_where_there_is_nothing(
    tmp_path: Path, result: RunResult
) -> None:
    final_loss, epochs = result.final_loss.copy(), result.epochs_to_converge.copy()
    final_loss[0], epochs[1] = np.inf, -1
    written = replace(result, final_loss=final_loss, epochs_to_converge=epochs)
    run_files.write_result(tmp_path, written)
    table = pd.read_parquet(tmp_path / "replicates.parquet", dtype_backend="numpy_nullable")
    assert list(table) == ["replicate", "outcome", "epochs_to_converge", "final_loss", "solved"]
    assert table["replicate"].tolist() == list(range(9))
    assert table["outcome"].tolist() == result.outcome.tolist()
    assert table["final_loss"].isna().tolist() == [True] + 8 * [False]
    assert table["epochs_to_converge"].fillna(-1).tolist() == epochs.tolist()
    assert str(table["epochs_to_converge"].dtype) == "Int64"
    read = run_files.read_replicates(tmp_path)
    assert list(read) == list(table)
    np.testing.assert_array_equal(read["final_loss"], [np.nan, *final_loss[1:]])


def test_a_result_is_read_back_bit_for_bit(artifacts: Path, result: RunResult) -> None:
    assert run_files.read_result(artifacts).result_digest == result.result_digest
    recorded = run_files.read_curves(artifacts)
    np.testing.assert_array_equal(recorded["epoch"], result.epochs)
    np.testing.assert_array_equal(recorded["loss"], result.loss)
    for kind in ("initial", "final"):
        weights = run_files.read_weights(artifacts, kind)
        for name, layer in getattr(result, f"{kind}_weights").items():
            np.testing.assert_array_equal(weights[name], layer)
    assert list(run_files.read_weights(artifacts, "trajectory")) == list(result.trajectory)


@pytest.mark.parametrize("file", [*run_files.NEEDED_FILES[1:]])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a file"])
def test_a_file_that_is_missing_or_cut_is_named_in_one_way(
    tmp_path: Path, result: RunResult, file: str, content: bytes | None
) -> None:
    run_files.write_result(tmp_path, result)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says
        run_files.read_result(tmp_path)


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
    run_files.write_result(tmp_path, large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # NumPy has two buffers of 16 MiB


def test_a_frozen_sweep_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    command = "bp train -m 'task.inputs=[[0, 1]]' " + "init=ones " * 50 + "λ"
    frozen = FrozenSweep(command, DIGEST, "c" * 64, JOBS)
    run_files.write_sweep(tmp_path, frozen)
    assert run_files.read_frozen_sweep(tmp_path) == frozen


def test_a_frozen_sweep_of_an_older_version_has_no_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold a sweep's jobs"):
        run_files.read_frozen_sweep(tmp_path)
    (tmp_path / "sweep.yaml").write_text("sweep_digest: a\ncode_digest: b\njobs: []\n")
    assert run_files.read_frozen_sweep(tmp_path) == FrozenSweep(None, "a", "b", [])


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
    run_files.write_config(tmp_path / "run", config)
    run_files.write_result(tmp_path / "run", scaled)
    (tmp_path / "given.npz").unlink()
    [(_, again)] = train_runs([run_files.read_config(tmp_path / "run")])
    assert isinstance(again, RunResult)
    assert again.result_digest == scaled.result_digest
