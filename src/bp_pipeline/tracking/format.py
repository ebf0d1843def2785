"""What a run is in MLflow's terms, and back: params, metrics, tags, dataset, files, a table's row.

Owns the names and formats that people and checks rely on, both ways. Sending them anywhere is
`tracker.py`'s.
"""

import ast
import getpass
import json
import math
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import yaml

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig, parse_config
from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble.shards import RunResult
from bp_pipeline.ensemble.summary import curves, summary
from bp_pipeline.tracking.account import Account
from bp_pipeline.tracking.provenance import environment, git_state, package_version
from bp_pipeline.tracking.saved_view import LOG_LEARNING_RATE

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param, Run

_WEIGHTS = {
    "initial_weights": "weights/initial.npz",
    "final_weights": "weights/final.npz",
    "trajectory": "weights/trajectory.npz",
}
# What it takes to train a run again and to compare the results.
NEEDED_FILES = ("config.yaml", "replicates.parquet", "curves.npz", *_WEIGHTS.values())

_WALL_TIME, _SPEED = "training/seconds", "training/network_epochs_per_second"
_LONGEST_PARAM = 6000  # characters, MLflow's limit since 2.9; config.yaml has the whole value


def params(config: RunConfig) -> "list[Param]":
    """Give every config key with its value as Python prints it."""
    from mlflow.entities import Param

    return [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in config.params().items()]


def metrics(config: RunConfig, result: RunResult) -> "list[Metric]":
    """Give the curves, with the epoch as step, and the summary; what is not finite is left out.

    MLflow stores a NaN such that `metric < x` finds it, and an infinity as the largest number.
    """
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    epochs = result.epochs.tolist()
    points = [
        Metric(name, value, now, epoch)
        for name, values in curves(result).items()
        for epoch, value, is_finite in zip(
            epochs, values.tolist(), np.isfinite(values).tolist(), strict=True
        )
        if is_finite
    ]
    log_rate = {LOG_LEARNING_RATE: math.log10(config.optimizer.learning_rate)}
    values = {**summary(result), **log_rate}
    return points + [Metric(name, value, now, 0) for name, value in values.items()]


def account_metrics(account: Account) -> "list[Metric]":
    """Give `runs/expected`, `runs/finished`, `runs/failed` and `runs/missing` of a sweep."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    counts = {**account._asdict(), "missing": account.missing}
    return [Metric(f"runs/{name}", float(count), now, 0) for name, count in counts.items()]


def speed_metrics(seconds: float, network_epochs: int) -> "list[Metric]":
    """Give wall time in seconds and network-epochs per second of training a sweep."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    values = {_WALL_TIME: seconds, _SPEED: network_epochs / seconds}
    return [Metric(name, value, now, 0) for name, value in values.items()]


def speed(metrics: Mapping[str, float]) -> list[str]:
    """Say wall time and speed in words, where a sweep's metrics have them."""
    if _WALL_TIME not in metrics:
        return []
    return [
        f"trained and recorded in {metrics[_WALL_TIME]:,.1f} s, "
        f"{metrics[_SPEED] / 1e6:,.2f} million network-epochs a second"
    ]


@cache
def source_tags() -> dict[str, str]:
    """Say which code makes the runs of this process, and for whom."""
    tags = {
        "bp.code_digest": code_digest(),
        "bp.version": package_version(),
        "mlflow.source.name": "bp_pipeline",
        "mlflow.source.type": "LOCAL",
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        pass
    git = git_state()
    if git is not None:
        tags["mlflow.source.git.commit"] = git["commit"]
        tags["bp.git_dirty"] = str(git["dirty"]).lower()
    return tags


def dataset(config: RunConfig) -> "DatasetInput":
    """Give the truth table as an MLflow dataset, which holds its shape, types and a digest."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.numpy_dataset import NumpyDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs, targets = config.truth_table
    source = CodeDatasetSource({"mlflow.source.name": "bp_pipeline.config.tasks"})
    table = NumpyDataset(inputs, source, targets=targets, name=config.params()["task"])
    return DatasetInput(Dataset(**table.to_dict()), [InputTag("mlflow.data.context", "training")])


def write_config(folder: Path, config: RunConfig) -> None:
    """Write what is enough to run again."""
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")


def write_environment(folder: Path, config: RunConfig, engine: str) -> None:
    """Write what the run was made with."""
    made_with = environment(engine, config.threads or joblib.cpu_count())
    (folder / "environment.json").write_text(json.dumps(made_with, indent=1), encoding="utf-8")


def write_result(folder: Path, result: RunResult) -> None:
    """Write outcomes, curves and weights; of arrays without a copy, whatever their size."""
    _write_replicates(folder / "replicates.parquet", result)
    write_arrays(folder / "curves.npz", {"epoch": result.epochs, "loss": result.loss})
    for kind, file in _WEIGHTS.items():
        write_arrays(folder / file, getattr(result, kind))


def read_config(folder: Path) -> RunConfig:
    """Read a run's config so that it can be trained again from this folder alone.

    Initial weights that were given are those that the run logged. A file can name no code: YAML is
    read as plain values, and nothing interpolates or instantiates them.

    Raises
    ------
    ConfigError
        Where it is no config of a run.
    """
    try:
        raw = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(" ".join(str(error).split())) from None
    if not isinstance(raw, dict):
        raise ConfigError(f"it holds {raw!r}")
    init = raw.get("init")
    if isinstance(init, dict) and init.get("name") == "given":
        raw["init"] = {**init, "path": str(folder / "weights" / "initial.npz")}
    return parse_config(raw)


def read_environment(folder: Path) -> dict[str, Any]:
    """Read what the run was made with; nothing where that is not known."""
    try:
        made_with = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return made_with if isinstance(made_with, dict) else {}


def read_result(folder: Path) -> dict[str, np.ndarray]:
    """Read back `RunResult.arrays`, as `write_result` wrote them.

    Raises
    ------
    ValueError
        Where a file holds anything else.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    curves = read_arrays(folder / "curves.npz")
    weights = {
        f"{kind}/{name}": array
        for kind, file in _WEIGHTS.items()
        for name, array in read_arrays(folder / file).items()
    }
    try:
        with ParquetFile(folder / "replicates.parquet") as file:
            replicates = file.read(columns=["outcome", "epochs_to_converge"])
        epochs = replicates["epochs_to_converge"].fill_null(-1).to_numpy()
        outcomes = [OUTCOMES.index(name) for name in replicates["outcome"].to_pylist()]
        loss, recorded = curves["loss"], curves["epoch"]
    except (OSError, KeyError, ArrowException) as error:
        raise ValueError(f"hold a run's result: {error}") from None
    outcome_code = np.array(outcomes, dtype=np.int8)
    named = {"outcome_code": outcome_code, "epochs_to_converge": epochs}
    return {**weights, "epochs": recorded, "loss": loss, **named}


def row(run: "Run") -> dict[str, Any]:
    """Read a run back: what it is, its params, its metrics, and its tags that start with `bp.`."""
    return {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        **{key: _plain(text) for key, text in run.data.params.items()},
        **run.data.metrics,
        **{key: text for key, text in run.data.tags.items() if key.startswith("bp.")},
    }


@lru_cache(maxsize=4096)
def _plain(text: str) -> bool | int | float | str | None:
    """Read a number, true, false or null as Python prints it; leave anything else as it is."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _write_replicates(path: Path, result: RunResult) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    epochs, final_loss = result.epochs_to_converge, result.final_loss
    table = pa.table(
        {
            "replicate": np.arange(len(epochs)),
            "outcome": result.outcome,
            "epochs_to_converge": pa.array(epochs, mask=epochs < 0),
            "final_loss": pa.array(final_loss, mask=~np.isfinite(final_loss)),
        }
    )
    write_table(table, path)
