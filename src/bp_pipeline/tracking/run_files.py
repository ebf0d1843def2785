"""The files of a run and of a sweep, both ways.

Owns the formats that people and checks rely on: whatever is written here is read here, and nowhere
else. Where the files lie is left to `store.py`, what MLflow shows beside them to `format.py`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import yaml

from bp_pipeline.arrays import layer_names, read_arrays, write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig, parse_config
from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking.provenance import environment

REPLICATES = (
    "replicate",
    "outcome",
    "epochs_to_converge",
    "final_loss",
    "solved",
)  # columns of a file
INITIAL_WEIGHTS, GIVEN_WEIGHTS = "weights/initial.npz", "weights/given.npz"
_WEIGHTS = {
    "initial_weights": INITIAL_WEIGHTS,
    "final_weights": "weights/final.npz",
    "trajectory": "weights/trajectory.npz",
}
# What it takes to train a run again and to compare the results.
NEEDED_FILES = ("config.yaml", "replicates.parquet", "curves.npz", *_WEIGHTS.values())

# Ten times faster, where they are built.
_YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def write_config(folder: Path, config: RunConfig) -> None:
    """Write what is enough to run again; given weights that are scaled are no initial weights."""
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    if config.given_weights is not None and config.init_scale != 1:
        names = layer_names(len(config.given_weights))
        write_arrays(folder / GIVEN_WEIGHTS, dict(zip(names, config.given_weights, strict=True)))


def read_config(folder: Path, parse: Callable[..., RunConfig] = parse_config) -> RunConfig:
    """Read a run's config so that it can be trained again from this folder alone.

    Initial weights that were given are those that the run logged. A file can name no code: YAML is
    read as plain values, and nothing interpolates or instantiates them.

    Parameters
    ----------
    folder
        With the run's files.
    parse
        What checks it; for what is more than a run another than `parse_config`.

    Raises
    ------
    ConfigError
        Where it is no config of a run.
    OSError
        Where there is none.
    """
    try:
        raw = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=_YAML_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(" ".join(str(error).split())) from None
    if not isinstance(raw, dict):
        raise ConfigError(f"it holds {raw!r}")
    given = folder / GIVEN_WEIGHTS
    return parse(raw, given_weights=given if given.is_file() else folder / INITIAL_WEIGHTS)


def write_environment(
    folder: Path, config: RunConfig, engine: str, cluster: Mapping[str, Any] | None = None
) -> None:
    """Write what the run was made with."""
    where = json.dumps(cluster)  # a value that the cache can take
    text = _environment_text(engine, config.threads or joblib.cpu_count(), where)
    (folder / "environment.json").write_text(text, encoding="utf-8")


@cache
def _environment_text(engine: str, threads: int, cluster: str) -> str:
    return json.dumps(environment(engine, threads, json.loads(cluster)), indent=1)


def read_environment(folder: Path) -> dict[str, Any]:
    """Read what the run was made with; nothing where that is not known."""
    try:
        made_with = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return made_with if isinstance(made_with, dict) else {}


def write_result(folder: Path, result: RunResult) -> None:
    """Write outcomes, curves and weights; of arrays without a copy, whatever their size."""
    _write_replicates(folder, result)
    write_arrays(folder / "curves.npz", {"epoch": result.epochs, "loss": result.loss})
    for kind, file in _WEIGHTS.items():
        write_arrays(folder / file, getattr(result, kind))


def read_result(folder: Path) -> RunResult:
    """Read back a result, as `write_result` wrote it; its norms are in no file, and NaN.

    Raises
    ------
    ValueError
        Where a file is missing or holds anything else; the text completes "must …".
    """
    weights = {kind: read_weights(folder, kind) for kind in _WEIGHTS}
    return result_of(read_replicates(folder), read_curves(folder), **weights)


def result_of(
    replicates: Mapping[str, np.ndarray],
    recorded: Mapping[str, np.ndarray],
    **weights: dict[str, np.ndarray],
) -> RunResult:
    """Put a result together from what `read_replicates` and `read_curves` return.

    Raises
    ------
    ValueError
        Where the two disagree, or hold anything else; the text completes "must …".
    """
    try:
        outcomes = [OUTCOMES.index(name) for name in replicates["outcome"]]
    except ValueError as error:
        raise ValueError(f"hold a run's result: {error}") from None
    loss = recorded["loss"]
    final_loss = np.nan_to_num(replicates["final_loss"].astype(float), nan=np.inf)
    last = np.where(np.isfinite(loss[:, -1]), loss[:, -1], np.inf)
    if not np.array_equal(last, final_loss):
        raise ValueError("agree: final_loss of replicates.parquet is not where curves.npz ends")
    epochs = np.nan_to_num(replicates["epochs_to_converge"].astype(float), nan=-1)
    return RunResult(
        epochs=recorded["epoch"],
        loss=loss,
        gradient_norm=np.full_like(loss, np.nan),
        weight_norm=np.full_like(loss, np.nan),
        outcome_code=np.array(outcomes, dtype=np.int8),
        epochs_to_converge=epochs.astype(np.int64),
        solved=replicates["solved"],
        final_loss=final_loss,
        **{kind: weights.get(kind, {}) for kind in _WEIGHTS},
    )


def read_weights(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """Read `initial` or `final` weights or the `trajectory`, by the names of their layers.

    Raises
    ------
    ValueError
        Where there is no such file, or it holds anything else; the text completes "must …".
    """
    return read_arrays(folder / f"weights/{kind.removesuffix('_weights')}.npz")


def read_curves(folder: Path) -> dict[str, np.ndarray]:
    """Read `epoch` (epoch), and `loss` (replicate, epoch) in nats.

    Raises
    ------
    ValueError
        Where there is no such file, or it holds anything else; the text completes "must …".
    """
    arrays = read_arrays(folder / "curves.npz")
    missing = {"epoch", "loss"} - set(arrays)
    if missing:
        raise ValueError(f"hold {', '.join(sorted(missing))}, got {', '.join(arrays)}.")
    epoch, loss = arrays["epoch"], arrays["loss"]
    if epoch.ndim != 1 or loss.shape[1:] != epoch.shape:
        raise ValueError(f"hold a loss for each epoch, got shapes {loss.shape} and {epoch.shape}.")
    return arrays


def read_replicates(folder: Path) -> dict[str, np.ndarray]:
    """Read the columns `REPLICATES`, one row a replicate; NaN where there is no such epoch or loss.

    Raises
    ------
    ValueError
        Where there is no such file, or it holds anything else; the text completes "must …".
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(folder / "replicates.parquet") as file:
            table = file.read(columns=[*REPLICATES], use_threads=False)
        return {name: table[name].to_numpy() for name in REPLICATES}
    except (OSError, KeyError, ArrowException) as error:
        raise ValueError(f"hold a run's result: {error}") from None


def _write_replicates(folder: Path, result: RunResult) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    epochs, final_loss = result.epochs_to_converge, result.final_loss
    columns = (
        np.arange(len(epochs)),
        result.outcome,
        pa.array(epochs, mask=epochs < 0),
        pa.array(final_loss, mask=~np.isfinite(final_loss)),
        result.solved,
    )
    table = pa.table(dict(zip(REPLICATES, columns, strict=True)))
    with (folder / "replicates.parquet").open("wb") as file:  # of a path Arrow asks much more
        write_table(table, file)


# ------------------------------------------------------------------------------------- of a sweep


@dataclass(frozen=True)
class FrozenSweep:
    """What a sweep is, as `sweep.yaml` keeps it.

    Attributes
    ----------
    command
        What was typed, as a command line; None where an older version did not keep it.
    sweep_digest, code_digest
        What the sweep is recognized by.
    jobs
        `name` and `config_digest` of each.
    """

    command: str | None
    sweep_digest: str
    code_digest: str
    jobs: Sequence[Mapping[str, str]]


def write_sweep(folder: Path, sweep: FrozenSweep) -> None:
    """Write `sweep.yaml`."""
    values = {**vars(sweep), "jobs": [dict(job) for job in sweep.jobs]}
    text = yaml.dump(values, Dumper=_YAML_DUMPER, sort_keys=False, allow_unicode=True, width=10**6)
    (folder / "sweep.yaml").write_text(text, encoding="utf-8")


def read_frozen_sweep(folder: Path) -> FrozenSweep:
    """Read `sweep.yaml`.

    Raises
    ------
    ValueError
        Where it is missing, or holds anything else; the text completes "must …".
    """
    try:
        raw = yaml.load((folder / "sweep.yaml").read_text(encoding="utf-8"), Loader=_YAML_LOADER)
        return FrozenSweep(**{"command": None, **raw})
    except (OSError, TypeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"hold a sweep's jobs: {' '.join(str(error).split())}") from None
