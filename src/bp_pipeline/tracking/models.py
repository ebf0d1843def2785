"""A network as a registered model of MLflow: its files, its versions, its alias.

Owns what MLflow wants to know of a model. Which network it is, is left to `report/champion.py`, how
it computes to `champion_model.py`. MLflow's `log_model` is not used, because it works on global
state and looks for what the model imports by running it in another process.
"""

import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_pipeline.arrays import write_arrays

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"
_CODE = Path(__file__).with_name("champion_model.py")


@dataclass(frozen=True)
class TrainedNetwork:
    """One trained network.

    Attributes
    ----------
    weights
        `layer_1`, …: (row, fan_out), row 0 the bias unit's where there are bias units.
    config
        `activation`, `slope`, `output` and `bias`, as in `core.network.Architecture`.
    inputs
        Rows to show as an example.
    """

    weights: Mapping[str, np.ndarray]
    config: Mapping[str, Any]
    inputs: np.ndarray


def model_name(task: str) -> str:
    """Return what the champion of a task is registered as, always the same, and as MLflow takes it.

    Where signs had to be replaced, digits of a digest keep two tasks from sharing a model.
    """
    plain = re.sub(r"[^\w.-]+", "-", task)
    digits = "" if plain == task else "-" + sha256(task.encode()).hexdigest()[:8]
    return f"bp_pipeline-{plain}{digits}"


def registered(client: "MlflowClient", name: str, tags: Mapping[str, str]) -> str | None:
    """Find the version of a model that has all of these tags."""
    versions: list[ModelVersion] = client.search_model_versions(f"name = '{name}'")
    same = (v for v in versions if tags.items() <= v.tags.items())
    return next((str(v.version) for v in same), None)


def champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """Find the version of a model that the alias points to, if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def register(
    client: "MlflowClient",
    network: TrainedNetwork,
    *,
    name: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
    served: bool,
) -> str:
    """Log a network as a model of a run, and register it; return its version.

    Where the registry refuses it, the logged model goes too: each try would leave one more.
    """
    from mlflow.entities import LoggedModelOutput

    experiment_id = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, ALIAS, run_id, dict(tags), model_type=ALIAS)
    try:
        with tempfile.TemporaryDirectory(prefix="bp_pipeline-") as folder:
            _write(Path(folder) / "model", network, model.model_id, run_id)
            client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(model.model_id, "READY")
        _make_registered_model(client, name)
        # An embedded registry would look the model's id up in the store of MLflow's global state.
        source = f"models:/{model.model_id}" if served else model.artifact_location
        version = client.create_model_version(
            name, source, run_id, dict(tags), description=description, model_id=model.model_id
        )
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            client.delete_logged_model(model.model_id)
        raise
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return str(version.version)


def _make_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _write(folder: Path, network: TrainedNetwork, model_id: str, run_id: str) -> None:
    """Write the model's files: weights, code, signature and example, nothing pickled."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    n_inputs = network.inputs.shape[1]
    n_outputs = list(network.weights.values())[-1].shape[-1]
    signature = ModelSignature(  # columns without names take lists, arrays and tables alike
        Schema([ColSpec(DataType.double)] * n_inputs),
        Schema([TensorSpec(np.dtype(np.float64), (-1, n_outputs))]),
    )
    with tempfile.TemporaryDirectory(prefix="bp_pipeline-") as made:
        write_arrays(Path(made) / "weights.npz", network.weights)
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=str(_CODE),
            artifacts={"weights": str(Path(made) / "weights.npz")},
            model_config=dict(network.config),
            signature=signature,
            input_example=network.inputs,
            pip_requirements=[f"mlflow=={mlflow.__version__}", f"numpy=={np.__version__}"],
            mlflow_model=Model(model_id=model_id, model_uuid=model_id, run_id=run_id),
        )
