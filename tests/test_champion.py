"""Which network is the champion, and that the model computes what the trained network does."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.pyfunc import PythonModelContext
from runs import make_config

from bp_pipeline.champion import best_replicate, best_run, crown, read_network
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.network import Block
from bp_pipeline.ensemble import initial_parameters, setup_of
from bp_pipeline.report import Findings, Sweep
from bp_pipeline.showcase import show_sweep
from bp_pipeline.tracking import Tracker, champion_model
from bp_pipeline.weights_file import write_arrays

NO_STORE = Tracker.__new__(Tracker)  # fails whatever is asked of it


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    defaults = {
        "run_id": "0",
        "status": "FINISHED",
        "task": "xor",
        "network.hidden": "[3]",
        "converged/rate": 0.5,
        "epochs_to_converge/median": 10.0,
    }
    return pd.DataFrame([{**defaults, "name": f"run {n}", **row} for n, row in enumerate(rows)])


@pytest.mark.parametrize(
    ("others", "best"),
    [
        ({"converged/rate": 0.4, "epochs_to_converge/median": 1.0}, {"converged/rate": 0.5}),
        ({"epochs_to_converge/median": 11.0}, {"epochs_to_converge/median": 9.0}),
        ({"epochs_to_converge/median": None}, {"network.hidden": "[9]"}),
        ({"network.hidden": "[5]"}, {"network.hidden": "[4]"}),
        ({"network.hidden": "[2, 2]"}, {"network.hidden": "[4]"}),
        ({"name": "b"}, {"name": "a"}),
        ({"status": "FAILED", "converged/rate": 1.0}, {"converged/rate": 0.1}),
    ],
)
def test_the_rule_from_the_rate_down_to_the_name(
    others: dict[str, Any], best: dict[str, Any]
) -> None:
    best = {**best, "run_id": "best"}
    for rows in ([others, best, others], [best, others]):
        chosen = best_run(table(*rows))
        assert chosen is not None
        assert chosen["run_id"] == "best"


def test_where_nothing_converged_there_is_none() -> None:
    assert best_run(table({"converged/rate": 0.0})) is None
    assert best_run(table({"status": "FAILED"})) is None
    runs = table({"converged/rate": 0.0}).drop(columns="epochs_to_converge/median")
    assert best_run(runs) is None
    assert list(crown(NO_STORE, runs)) == ["No champion for xor: nothing converged."]
    assert list(crown(NO_STORE, runs[:0])) == []


def test_the_best_replicate_has_converged_with_the_lowest_loss(tmp_path: Path) -> None:
    replicates = {
        "replicate": [0, 1, 2, 3],
        "outcome": ["stalled", "converged", "converged", "converged"],
        "final_loss": [0.01, 0.3, 0.2, 0.2],
    }
    pd.DataFrame(replicates).to_parquet(tmp_path / "replicates.parquet")
    assert best_replicate(tmp_path) == 2


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
    write_arrays(tmp_path / "weights" / "final.npz", layers)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    network = read_network(tmp_path, 1)
    write_arrays(tmp_path / "weights.npz", network.weights)
    model = champion_model.Network()
    artifacts = {"weights": str(tmp_path / "weights.npz")}
    context = PythonModelContext(artifacts, dict(network.config))
    model.load_context(context)
    outputs = model.predict(context, network.inputs)
    np.testing.assert_allclose(outputs, block.outputs[..., 1], rtol=1e-13)
    assert yaml.safe_dump(dict(network.config))  # plain values, as MLflow writes them to a file


def test_what_cannot_be_shown_is_told_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = Sweep("0", "a sweep", "", 1, table({"converged/rate": 0.0}), NO_STORE.artifacts)
    show_sweep(NO_STORE, Findings(sweep))
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" could not")[0] for line in told] == [
        "The comparison of runs",
        "No champion for xor: nothing converged.",
        "The description",
    ]
