"""A network as a registered model: its versions and its alias."""

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from small_runs import record

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import TrackingError, TrainedNetwork, Writer, model_name


@pytest.fixture
def run_id(writer: Writer, config: RunConfig, result: RunResult) -> str:
    return record(writer, config, result)


@pytest.fixture
def network(config: RunConfig, result: RunResult) -> TrainedNetwork:
    weights = {name: layer[0] for name, layer in result.final_weights.items()}
    names = {"activation": "tanh", "slope": 0.0, "output": "sigmoid", "bias": True}
    return TrainedNetwork(weights, names, config.truth_table.inputs)


def test_the_alias_moves_only_when_it_is_told_to(
    writer: Writer, client: MlflowClient, run_id: str, network: TrainedNetwork
) -> None:
    def register(replicate: str) -> str:
        tags = {"bp.replicate": replicate}
        return writer.register(
            network, name="xor", run_id=run_id, tags=tags, description=f"number {replicate}"
        )

    assert writer.champion("xor") is None
    assert register("0") == "1"
    assert writer.champion("xor") is None
    writer.crown("xor", "1")
    assert [register(replicate) for replicate in "101"] == ["2", "1", "2"]
    crowned = writer.champion("xor")
    assert crowned is not None
    assert (crowned[0], crowned[1]["run_id"]) == ("1", run_id)
    versions = client.search_model_versions("name = 'xor'")
    assert {version.description for version in versions} == {"number 0", "number 1"}
    client.delete_run(run_id)
    assert writer.champion("xor") is None


def test_a_model_that_may_not_be_registered_is_not_left_behind(
    writer: Writer,
    client: MlflowClient,
    run_id: str,
    network: TrainedNetwork,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        endpoint = "/api/2.0/mlflow/model-versions/create"
        raise MlflowException(f"API request to endpoint {endpoint} failed with error code 403")

    monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    with pytest.raises(TrackingError, match="Ask for permission to edit the model,"):
        writer.register(network, name="xor", run_id=run_id, tags={})
    assert client.search_logged_models([writer.experiment_id]) == []
    assert client.get_run(run_id).outputs.model_outputs == []


@pytest.mark.parametrize("task", ["mine/half", "mine:half", "a@b", "ä b", "xor"])
def test_a_task_of_any_name_has_a_model(
    writer: Writer, client: MlflowClient, config: RunConfig, result: RunResult, task: str
) -> None:
    name = model_name(task)
    client.create_registered_model(name)
    assert name == model_name(task)
    assert name != model_name(task + "x")
    assert model_name("mine/half") != model_name("mine-half") == "bp_pipeline-mine-half"
    assert model_name("mine/half") == "bp_pipeline-mine-half-7b219da5"  # in every process
    run_id = record(writer, config, result)
    client.create_model_version(name, f"runs:/{run_id}/weights", run_id)
    client.set_registered_model_alias(name, "champion", "1")
    assert client.get_model_version_by_alias(name, "champion").run_id == run_id
