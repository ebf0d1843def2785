"""What a run or a sweep is in MLflow's terms, both ways: params, metrics, tags, dataset, files.

Owns the names and formats that people and checks rely on: whatever is written here is read here.
Sending it anywhere is left to `writer.py`, finding it to `reader.py`.
"""

import ast
import getpass
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import joblib
import numpy as np
import yaml

from bp_pipeline.arrays import layer_names, read_arrays, write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import KEYS, RunConfig, parse_config
from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble import CURVES, INTERVALS, SUMMARY, RunResult, summary_of
from bp_pipeline.tracking import chart_points
from bp_pipeline.tracking.provenance import environment, git_state, package_version
from bp_pipeline.tracking.recorded import Recorded

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput, Metric, Param

LEARNING_RATE = "optimizer.learning_rate"
LOG_LEARNING_RATE = f"{LEARNING_RATE}/log10"  # a metric, since a param's axis is never logarithmic
METRICS = (*SUMMARY, *CURVES, LOG_LEARNING_RATE)
WALL_TIME, SPEED = "training/seconds", "training/network_epochs_per_second"  # of a sweep

CONFIG_DIGEST, CODE_DIGEST = "bp.config_digest", "bp.code_digest"
RESULT_DIGEST, SWEEP_DIGEST = "bp.result_digest", "bp.sweep_digest"
VERSION, GIT_DIRTY, ERROR = "bp.version", "bp.git_dirty", "bp.error"
REPRODUCED, REPRODUCED_AT = "bp.reproduced", "bp.reproduced_at"
TAGS = (
    *(CONFIG_DIGEST, CODE_DIGEST, RESULT_DIGEST, SWEEP_DIGEST),
    *(VERSION, GIT_DIRTY, ERROR, REPRODUCED, REPRODUCED_AT),
)
KIND, MAP = "bp.kind", "map"  # a tag of what is no plain run, and its value for a map
COMMAND = "bp.command"  # what was typed, a tag where no sweep.yaml keeps it
N_JOBS = "bp.n_jobs"  # a tag of sweeps, which no other run has
PARENT, DESCRIPTION, COLOUR = "mlflow.parentRunId", "mlflow.note.content", "mlflow.runColor"

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

# The keys of a config, and the groups, whose own key holds the option that was chosen.
_CONFIG_KEYS = dict.fromkeys(part for key in KEYS for part in (key.removesuffix(".name"), key))

_UNDECIDED = ("engine", "threads", "tracking", "sweep", "cluster")  # keys that decide no result

# Ten times faster, where they are built.
_YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Status = Literal["FINISHED", "FAILED", "KILLED"]


# ------------------------------------------------------------------------- params, metrics, tags


def params(config: RunConfig) -> "list[Param]":
    """Return every config key with its value as Python prints it, cut where MLflow has a limit."""
    from mlflow.entities import Param
    from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

    return [Param(key, str(value)[:MAX_PARAM_VAL_LENGTH]) for key, value in config.params().items()]


def common_params(configs: Sequence[RunConfig]) -> "list[Param]":
    """Return the params that all of some runs share."""
    shared = params(configs[0]) if configs else []
    for config in configs[1:]:
        values = config.params()
        shared = [one for one in shared if str(values.get(one.key)).startswith(one.value)]
    return shared


def metrics(config: RunConfig, result: RunResult) -> "list[Metric]":
    """Return the curves, with the epoch as step, and the summary; what is not finite is left out.

    MLflow stores a NaN such that `metric < x` finds it, and an infinity as the largest number. Of
    a curve it gets the points that its charts need; `curves.npz` has those of all recorded epochs.
    """
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [
        Metric(name, value, now, epoch)
        for name, values in result.curves.items()
        for epoch, value in _shown(result.epochs[np.isfinite(values)], values[np.isfinite(values)])
    ]
    summarized = summary_of(result, copies=config.draws_nothing)
    log_rate = math.log10(config.optimizer.learning_rate)
    return points + metrics_at_once({**summarized, LOG_LEARNING_RATE: log_rate})


def _shown(epochs: np.ndarray, values: np.ndarray) -> list[tuple[int, float]]:
    every = list(zip(epochs.tolist(), values.tolist(), strict=True))
    return [every[n] for n in chart_points.shown(*zip(*every, strict=True))] if every else []


def run_tags(config: RunConfig, sweep: tuple[str, str] | None) -> dict[str, str]:
    """Return the tags of a run, and of its sweep's id and digest."""
    tags = {**source_tags(), CONFIG_DIGEST: config.config_digest}
    return tags if sweep is None else {**tags, PARENT: sweep[0], SWEEP_DIGEST: sweep[1]}


@cache
def source_tags() -> dict[str, str]:
    """Return which code makes the runs of this process, and for whom."""
    tags = {
        CODE_DIGEST: code_digest(),
        VERSION: package_version(),
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
        tags[GIT_DIRTY] = str(git["dirty"]).lower()
    return tags


def dataset(config: RunConfig) -> "DatasetInput":
    """Return the truth table as an MLflow dataset, which holds its shape, types and a digest."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.numpy_dataset import NumpyDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs, targets = config.truth_table
    source = CodeDatasetSource({"mlflow.source.name": "bp_pipeline.config.tasks"})
    table = NumpyDataset(inputs, source, targets=targets, name=config.params()["task"])
    return DatasetInput(Dataset(**table.to_dict()), [InputTag("mlflow.data.context", "training")])


def runs_table(runs: Iterable[Recorded]) -> "pd.DataFrame":
    """Read runs back into a table that has every column, whichever of them the runs have.

    Returns
    -------
    pandas.DataFrame
        One row a run: `run_id`, `name`, `status`; every config key, every one of `METRICS` (float,
        NaN where it is missing) and of `TAGS`, and what else the runs have of these.
    """
    import pandas as pd

    rows = [as_row(run) for run in runs]
    known = ("run_id", "name", "status", *_CONFIG_KEYS, *METRICS, *TAGS)
    columns = dict.fromkeys([*known, *(key for row in rows for key in row)])
    return pd.DataFrame(rows, columns=[*columns]).astype(dict.fromkeys(METRICS, float))


def as_row(run: Recorded) -> dict[str, Any]:
    """Read a run back, as `runs_table` does."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "status": run.status,
        **{key: _number_or_text(text) for key, text in run.params.items()},
        **run.metrics,
        **{key: text for key, text in run.tags.items() if key.startswith("bp.")},
    }


@lru_cache(maxsize=10_000)  # a sweep's params are mostly alike
def _number_or_text(text: str) -> bool | int | float | str | None:
    """Read a number, true, false or null as Python prints it; leave anything else as it is."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def shown_params(config: RunConfig) -> dict[str, Any]:
    """Return the params of a run that its config.yaml decides, as `runs_table` reads them back.

    Those that MLflow has cut are whole here.
    """
    return {
        key: _number_or_text(str(value))
        for key, value in config.params().items()
        if "." in key and key.split(".")[0] not in _UNDECIDED and key not in config.labels
    }


def metric_values(config: RunConfig, result: RunResult) -> dict[str, dict[int, float]]:
    """Return the values that a run's `METRICS` may have in MLflow, by their steps.

    What is not finite is left out, and norms where the result does not know them.
    """
    at_once = {**result.summary, LOG_LEARNING_RATE: math.log10(config.optimizer.learning_rate)}
    values = {name: {0: at_once[name]} if name in at_once else {} for name in METRICS}
    for name in INTERVALS if config.draws_nothing else ():  # older versions have recorded some
        del values[name]
    epochs = result.epochs.tolist()
    for name, curve in result.curves.items():
        if np.isnan(curve).all():
            del values[name]
        else:
            points = zip(epochs, curve.tolist(), strict=True)
            values[name] = {epoch: value for epoch, value in points if math.isfinite(value)}
    return values


def metrics_at_once(values: Mapping[str, float]) -> "list[Metric]":
    """Return metrics that are no curves."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in values.items()]


# --------------------------------------------------------------------------------- files of a run


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


class Account(NamedTuple):
    """How many jobs a sweep has, and how many of them ended how.

    Attributes
    ----------
    expected
        Jobs that were asked for.
    finished
        Those that have a run with its result.
    failed
        Those whose last attempt failed.
    """

    expected: int
    finished: int
    failed: int

    @property
    def missing(self) -> int:
        """How many jobs have no run, or one that was broken off."""
        return self.expected - self.finished - self.failed

    @property
    def status(self) -> Status:
        """What the sweep is, once nobody trains it any more."""
        if self.missing:
            return "KILLED"
        return "FAILED" if self.failed else "FINISHED"

    def __str__(self) -> str:
        """Write it as a sentence."""
        return (
            f"{self.expected:,} runs expected: {self.finished:,} finished, {self.failed:,} failed, "
            f"{self.missing:,} missing."
        )

    def metrics(self) -> "list[Metric]":
        """Return `runs/expected`, `runs/finished`, `runs/failed` and `runs/missing`."""
        counts = {**self._asdict(), "missing": self.missing}
        return metrics_at_once({f"runs/{name}": count for name, count in counts.items()})


def speed_metrics(seconds: float, network_epochs: int) -> "list[Metric]":
    """Return wall time in seconds and network-epochs per second of training a sweep."""
    return metrics_at_once({WALL_TIME: seconds, SPEED: network_epochs / seconds})


def speed_in_words(metrics: Mapping[str, float]) -> list[str]:
    """Describe wall time and speed, where a sweep's metrics have them."""
    if WALL_TIME not in metrics:
        return []
    return [
        f"trained and recorded in {metrics[WALL_TIME]:,.1f} s, "
        f"{metrics[SPEED] / 1e6:,.2f} million network-epochs a second"
    ]
