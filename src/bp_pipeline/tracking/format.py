"""What a run or a sweep is in MLflow's terms, both ways: params, metrics, tags, dataset.

Owns the names that people and checks rely on: whatever is written here is read here. Files are
`run_files.py`'s. Sending it anywhere is left to `writer.py`, finding it to `reader.py`.
"""

import ast
import getpass
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bp_pipeline.config.schema import KEYS, UNDECIDED, RunConfig
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble import CURVES, INTERVALS, SUMMARY, RunResult, summary_of
from bp_pipeline.tracking import chart_points
from bp_pipeline.tracking.provenance import git_state, package_version
from bp_pipeline.tracking.store_tables import Recorded

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput, Metric, Param

LEARNING_RATE = "optimizer.learning_rate"
LOG_LEARNING_RATE = f"{LEARNING_RATE}/log10"  # a metric, since a param's axis is never logarithmic
METRICS = (*SUMMARY, *CURVES, LOG_LEARNING_RATE)
ROUNDED = (*INTERVALS, LOG_LEARNING_RATE)  # by libraries, whose versions differ in the last digit
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
_NO_BREAK = "\u00a0"
_DASH = f"{_NO_BREAK}–\u2060{_NO_BREAK}"  # after a dash, a no-break space alone would not hold

# The keys of a config, and the groups, whose own key holds the option that was chosen.
_CONFIG_KEYS = dict.fromkeys(part for key in KEYS for part in (key.removesuffix(".name"), key))

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

    table = config.truth_table
    source = CodeDatasetSource({"mlflow.source.name": "bp_pipeline.config.tasks"})
    name = config.params()["task"]
    made = NumpyDataset(table.inputs, source, targets=table.targets, name=name)
    return DatasetInput(Dataset(**made.to_dict()), [InputTag("mlflow.data.context", "training")])


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
        if key.split(".")[0] not in UNDECIDED
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


# ------------------------------------------------------------------------------------- of a sweep


@dataclass(frozen=True)
class Account:
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
        counts = {**asdict(self), "missing": self.missing}
        return metrics_at_once({f"runs/{name}": count for name, count in counts.items()})


def speed_metrics(seconds: float, network_epochs: int) -> "list[Metric]":
    """Return wall time in seconds and network-epochs per second of training a sweep."""
    return metrics_at_once({WALL_TIME: seconds, SPEED: network_epochs / seconds})


def speed_in_words(metrics: Mapping[str, float]) -> list[str]:
    """Describe wall time and speed, where a sweep's metrics have them."""
    if WALL_TIME not in metrics:
        return []
    return [
        f"Trained and recorded in {metrics[WALL_TIME]:,.1f} s, "
        f"{float(f'{metrics[SPEED]:.3g}'):,.0f} network-epochs a second."
    ]


def unbroken(text: str) -> str:
    """Keep what belongs together on one line of a page: 84 – 98 %."""
    return text.replace(" – ", _DASH).replace(" %", f"{_NO_BREAK}%")
