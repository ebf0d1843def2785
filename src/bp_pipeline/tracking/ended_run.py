"""A run that has ended, as a value: all that MLflow is to be told of it, before it is told.

Owns what is put together for a run that was trained and for one that failed. How each part is
called and written is said in `format.py`; `writer.py` sends it, `transaction.py` many at once.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult, in_words
from bp_pipeline.tracking import format as names
from bp_pipeline.tracking import run_files
from bp_pipeline.tracking.run_picture import run_picture

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param


@dataclass(frozen=True)
class EndedRun:
    """All of a run but its id.

    Attributes
    ----------
    name, status
        What it is called, and how it ended.
    start_time, end_time
        Milliseconds since 1970; it ends when it is written by default.
    tags, params, metrics, datasets
        What MLflow is told of it.
    write_files
        Writes its artifacts into a folder.
    """

    name: str
    status: names.Status
    start_time: int
    tags: Mapping[str, str]
    write_files: Callable[[Path], None]
    params: "Sequence[Param]" = ()
    metrics: "Sequence[Metric]" = ()
    datasets: "Sequence[DatasetInput]" = ()
    end_time: int | None = None


def trained_run(
    config: RunConfig,
    result: RunResult,
    *,
    name: str,
    sweep: tuple[str, str] | None,
    start_time: int,
    engine: str,
    cluster: Mapping[str, Any] | None = None,
    colour: str | None = None,
    seconds: float | None = None,
) -> EndedRun:
    """Return a trained run; it is FINISHED.

    Parameters
    ----------
    config, result
        What was trained, and what came of it.
    name
        What the run is called.
    sweep
        Run id and digest of the sweep it belongs to, if any.
    start_time
        When training began, in milliseconds since 1970.
    engine, cluster
        What trained it, and where, if not in this process.
    colour
        In MLflow's charts, as in HTML; by default MLflow's own choice.
    seconds
        How long it trained: of what trained side by side, its share; by default until it is
        written.
    """

    def write_files(folder: Path) -> None:
        run_files.write_config(folder, config)
        run_files.write_environment(folder, config, engine, cluster)
        run_files.write_result(folder, result)
        (folder / "picture.svg").write_text(run_picture(name, result), encoding="utf-8")

    tags = {**names.run_tags(config, sweep), names.RESULT_DIGEST: result.result_digest}
    ended = in_words(result, copies=config.draws_nothing)
    tags[names.DESCRIPTION] = names.unbroken(ended)
    return EndedRun(
        name=name,
        status="FINISHED",
        start_time=start_time,
        tags=tags | ({names.COLOUR: colour} if colour else {}),
        write_files=write_files,
        params=names.params(config),
        metrics=names.metrics(config, result),
        datasets=[names.dataset(config)],
        end_time=None if seconds is None else start_time + round(1000 * seconds),
    )


def failed_run(
    config: RunConfig, error: BaseException, *, name: str, sweep: tuple[str, str] | None
) -> EndedRun:
    """Return a run that could not be trained, with its error; it is FAILED."""

    def write_files(folder: Path) -> None:
        run_files.write_config(folder, config)
        report = "".join(traceback.format_exception(error))
        (folder / "error.txt").write_text(report, encoding="utf-8")

    problem = cut_to_tag(f"{type(error).__name__}: {error}")
    return EndedRun(
        name=name,
        status="FAILED",
        start_time=time_before(0.0),
        tags={**names.run_tags(config, sweep), names.ERROR: problem},
        write_files=write_files,
        params=names.params(config),
    )


def cut_to_tag(text: str, *, whole_lines: bool = False) -> str:
    """Shorten a text to what MLflow takes as a tag's value."""
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

    if len(text) <= MAX_TAG_VAL_LENGTH:
        return text
    return text[: text.rindex("\n", 0, MAX_TAG_VAL_LENGTH) if whole_lines else MAX_TAG_VAL_LENGTH]


def time_before(seconds: float) -> int:
    """Return when it was so many seconds before now, in milliseconds since 1970."""
    return int((time.time() - seconds) * 1000)
