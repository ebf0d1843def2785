"""Which network is the champion, and that the model computes what the trained network does."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.pyfunc import PythonModelContext
from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.network import Block
from bp_pipeline.ensemble.shards import RunResult, initial_parameters, setup_of, train_runs
from bp_pipeline.report import Findings, Sweep
from bp_pipeline.report.champion import best_replicate, crown, pick, solves, tasks
from bp_pipeline.report.tables import ranked
from bp_pipeline.showcase import show_sweep_in_mlflow
from bp_pipeline.tracking import Tracker, champion_model

NO_STORE = Tracker.__new__(Tracker)  # fails whatever is asked of it


def a_sweep(*rows: dict[str, Any]) -> Sweep:
    """Make a sweep of runs that were never trained; later rows are other learning rates."""
    defaults = {
        "run_id": "0", "status": "FINISHED", "task": "xor", "activation": "tanh", "init": "normal",
        "network.hidden": "[3]", "converged/rate": 0.5, "epochs_to_converge/median": 10.0,
    }  # fmt: skip
    runs = [
        {**defaults, "optimizer.learning_rate": 1.0 + n, "name": f"run {n}", **row}
        for n, row in enumerate(rows)
    ]
    return Sweep("0", "a sweep", "", len(runs), pd.DataFrame(runs), NO_STORE.artifacts)


@pytest.mark.parametrize(
    ("others", "best"),
    [
        ({"converged/rate": 0.4, "epochs_to_converge/median": 1.0}, {"converged/rate": 0.5}),
        ({"epochs_to_converge/median": 11.0}, {"epochs_to_converge/median": 9.0}),
        ({"epochs_to_converge/median": None}, {"network.hidden": "[9]"}),
        ({"network.hidden": "[5]"}, {"network.hidden": "[4]"}),
        ({"network.hidden": "[2, 2]"}, {"network.hidden": "[4]"}),
        ({"optimizer.learning_rate": 9.0}, {"optimizer.learning_rate": 8.0}),
        ({"status": "FAILED", "converged/rate": 1.0}, {"converged/rate": 0.1}),
    ],
)
def test_the_rule_from_the_rate_down_to_the_learning_rate(
    others: dict[str, Any], best: dict[str, Any]
) -> None:
    best = {**best, "run_id": "best"}
    for rows in ([others, best, others], [best, others]):
        assert ranked(a_sweep(*rows).finished)["run_id"].iloc[0] == "best"


def test_where_nothing_converged_there_is_none() -> None:
    none = "No champion for xor: no network solves it when training ends."
    nothing = a_sweep({"converged/rate": 0.0, "epochs_to_converge/median": None})
    assert crown(NO_STORE, nothing, "xor") == none
    without = replace(nothing, runs=nothing.runs.drop(columns="converged/rate"))
    assert crown(NO_STORE, without, "xor") == none
    assert tasks(a_sweep({"status": "FAILED"})) == []
    assert tasks(replace(nothing, runs=pd.DataFrame(columns=["run_id", "name", "status"]))) == []


def test_the_best_replicate_solves_the_task_with_the_lowest_loss() -> None:
    losses = {"run_id": ["0"] * 4 + ["1"], "replicate": [0, 1, 2, 3, 0],
              "final_loss": [0.01, 0.3, 0.2, 0.2, 0.0]}  # fmt: skip
    replicates = pd.DataFrame(losses)
    assert best_replicate(replicates, "0", np.array([False, True, True, True])) == 2
    assert best_replicate(replicates, "0", np.zeros(4, dtype=bool)) is None


def test_to_have_converged_once_is_not_to_solve_it() -> None:
    # A step of 10 takes relu networks from within the tolerance to where all units are off.
    changes = {"optimizer.learning_rate": 10.0}
    config = make_config(changes, {"activation": "relu", "init": "normal"})
    [(_, result)] = train_runs([config])
    assert isinstance(result, RunResult)
    solving = solves(config, result.final_weights)
    converged = result.outcome == "converged"
    assert (converged & ~solving).any()
    assert not (solving & ~converged).any()
    tolerance = config.training.tolerance
    bound = -np.log1p(-tolerance) * len(config.truth_table.inputs)
    assert (result.final_loss[solving] < bound).all()  # each sample costs less than −ln(1 − t)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("bias", [True, False])
def test_the_model_computes_what_the_trained_network_does(
    activation: str, bias: bool, tmp_path: Path
) -> None:
    changes = {"network.hidden": [4, 3], "network.bias": bias, "replicates": 3}
    config = make_config(changes, {"activation": activation, "init": "normal", "task": "parity"})
    setup, parameters = setup_of(config), initial_parameters(config)
    block = Block(setup.architecture, *config.truth_table, parameters)
    block.forward()
    layers = {f"layer_{n + 1}": np.moveaxis(w, -1, 0) for n, w in enumerate(block.weights)}
    network = pick(config, layers, 1)
    write_arrays(tmp_path / "weights.npz", network.weights)
    model = champion_model.Network()
    artifacts = {"weights": str(tmp_path / "weights.npz")}
    context = PythonModelContext(artifacts, dict(network.config))
    model.load_context(context)
    outputs = model.predict(context, network.inputs)
    np.testing.assert_allclose(outputs, block.outputs[..., 1], rtol=1e-13)
    assert yaml.safe_dump(dict(network.config))  # plain values, as MLflow writes them to a file


def test_what_mlflow_refuses_is_told_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = a_sweep({"converged/rate": 0.0, "epochs_to_converge/median": None})
    broken = replace(sweep, artifacts=lambda _: nullcontext(tmp_path))
    show_sweep_in_mlflow(NO_STORE, Findings(broken), tmp_path)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" could not")[0] for line in told] == [
        "The report",
        "The comparison of runs",
        "No champion for xor: no network solves it when training ends.",
        "The description",
    ]
