"""Which network is the champion, and that the model computes what the trained network does."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.pyfunc import PythonModelContext
from report.by_hand import by_hand, run
from report.conftest import Make, small_config, sweep_in, sweep_of
from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.network import Block
from bp_pipeline.ensemble import RunResult, initial_parameters, setup_of, train_runs
from bp_pipeline.report import Champion, NoChampion, choose_champion, is_better, tasks
from bp_pipeline.report.champion import best_replicate, network_of
from bp_pipeline.tracking import champion_model


def test_where_nothing_converged_there_is_none() -> None:
    sweep = by_hand(run([None]), run([1], 3.0, status="FAILED"), run([1], task="and"))
    chosen = choose_champion(sweep, "xor")
    assert isinstance(chosen, NoChampion)
    assert "xor" in chosen.reason
    assert tasks(sweep) == ["and", "xor"]
    assert tasks(by_hand(run([1], status="FAILED"))) == tasks(by_hand()) == []


def test_it_is_of_the_best_run_and_solves_the_task(make_sweep: Make) -> None:
    sweep = make_sweep(*(small_config({"optimizer.learning_rate": r}) for r in (0.01, 3.0)))
    chosen = choose_champion(sweep, "xor")
    assert isinstance(chosen, Champion)
    assert (chosen.run_id, chosen.unread) == ("1", ())
    weights = sweep.weights("1")
    solved = sweep.replicates.query("run_id == '1'").set_index("replicate")["solved"]
    assert solved[chosen.replicate]
    assert chosen.result_digest == sweep.runs["bp.result_digest"][1]
    np.testing.assert_equal(
        chosen.network.weights, {name: w[chosen.replicate] for name, w in weights.items()}
    )


@pytest.mark.parametrize("lost", ["config.yaml", "weights/final.npz", "replicates.parquet"])
@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_bytes(b"PK")], ids=["missing", "half"]
)
def test_what_cannot_be_read_is_no_failure_to_solve(
    lost: str, spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    configs = [small_config({"optimizer.learning_rate": rate}) for rate in (0.01, 1.0, 3.0)]
    runs = sweep_of(configs, tmp_path).runs
    spoil(tmp_path / "2" / lost)
    chosen = choose_champion(sweep_in(tmp_path, runs), "xor")
    assert isinstance(chosen, Champion)
    assert chosen.run_id == "1"
    assert [lost in line and "run 2" in line for line in chosen.unread] == [True]
    spoil(tmp_path / "1" / lost)
    none = choose_champion(sweep_in(tmp_path, runs), "xor")
    assert isinstance(none, NoChampion)
    assert lost in none.reason


@pytest.mark.parametrize("changes", [{"seed": 1}, {"network.hidden": [4]}])
def test_weights_of_another_run_are_not_served(changes: dict[str, Any], tmp_path: Path) -> None:
    mine, other = small_config(), small_config({"optimizer.learning_rate": 0.01, **changes})
    runs = sweep_of([mine, other], tmp_path).runs
    shutil.copy(tmp_path / "1/weights/final.npz", tmp_path / "0/weights/final.npz")
    none = choose_champion(sweep_in(tmp_path, runs), "xor")
    assert isinstance(none, NoChampion)
    assert "`weights/final.npz` of run 0 is not what was recorded" in none.reason


@pytest.mark.parametrize(
    ("than", "better"),
    [
        ({"solved/rate": 0.8}, True),
        ({"solved/rate": 0.9}, False),  # as good
        ({"solved/rate": 0.9, "epochs_to_converge/median": 30.0}, True),
        ({"solved/rate": 0.9, "epochs_to_converge/median": 10.0}, False),
        ({"solved/rate": 0.9, "network.hidden": "[4]"}, True),
        ({"solved/rate": 1.0, "solved/rate_low": 0.2}, True),  # 1 of 1
        ({}, True),  # of a version that did not know this measure
    ],
)
def test_a_run_is_better_as_the_report_ranks_them(
    than: dict[str, float | str], better: bool
) -> None:
    run = {"solved/rate": 0.9, "network.hidden": "[3]", "optimizer.learning_rate": 1.0}
    run |= {"epochs_to_converge/median": 20.0}
    base = {key: value for key, value in run.items() if key != "solved/rate"}
    assert is_better(run, {**base, **than}) == better


def test_the_best_replicate_has_the_lowest_loss() -> None:
    assert best_replicate(pd.Series({1: 0.3, 2: 0.2, 3: 0.2})) == 2
    assert best_replicate(pd.Series(dtype=float)) is None


def test_to_have_converged_once_is_not_to_solve_it() -> None:
    # A step of 10 takes relu networks from within the tolerance to where all units are off.
    changes = {"optimizer.learning_rate": 10.0}
    config = make_config(changes, {"activation": "relu", "init": "normal"})
    [(_, result)] = train_runs([config])
    assert isinstance(result, RunResult)
    converged = result.outcome == "converged"
    assert (converged & ~result.solved).any()
    assert not (result.solved & ~converged).any()
    bound = -np.log1p(-config.training.tolerance) * len(config.truth_table.inputs)
    assert (result.final_loss[result.solved] < bound).all()  # each sample costs < −ln(1 − t)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("bias", [True, False])
def test_the_model_computes_what_the_trained_network_does(
    activation: str, bias: bool, tmp_path: Path
) -> None:
    changes = {"network.hidden": [4, 3], "network.bias": bias, "replicates": 3}
    config = make_config(changes, {"activation": activation, "init": "normal", "task": "parity"})
    architecture, table = setup_of(config).architecture, config.truth_table
    block = Block(architecture, table.inputs, table.targets, initial_parameters(config))
    block.forward()
    layers = {f"layer_{n + 1}": np.moveaxis(w, -1, 0) for n, w in enumerate(block.weights)}
    network = network_of(config, layers, 1)
    write_arrays(tmp_path / "weights.npz", network.weights)
    model = champion_model.ServedNetwork()
    artifacts = {"weights": str(tmp_path / "weights.npz")}
    context = PythonModelContext(artifacts, dict(network.config))
    model.load_context(context)
    outputs = model.predict(context, network.inputs)
    np.testing.assert_allclose(outputs, block.outputs[..., 1], rtol=1e-13)
    assert yaml.safe_dump(dict(network.config))  # plain values, as MLflow writes them to a file


def test_pooled_runs_have_one_champion_among_all_their_networks(make_sweep: Make) -> None:
    sweep = make_sweep(*(small_config({"seed": seed}) for seed in (0, 1, 2)))
    assert len(sweep.finished) == 1
    chosen = choose_champion(sweep, "xor")
    assert isinstance(chosen, Champion)
    best = sweep.replicates.sort_values("final_loss").iloc[0]
    assert (chosen.run_id, chosen.replicate) == (best["run_id"], best["replicate"])
    [name] = sweep.runs.loc[sweep.runs["run_id"] == chosen.run_id, "name"]
    assert chosen.run_name == name
