"""Recorded runs, trained again from what is stored of them alone.

Owns what a recorded run is compared with, its digests, then its arrays, then its environment, and
when its files are fetched. They are material, not instructions: read as plain values and arrays.
Where two results part is for `differences.py`.
"""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import code_digest, digest_arrays
from bp_pipeline.ensemble import RunResult, engine_in_use
from bp_pipeline.maps import MAP_FILES, Map, MapConfig, MapResult, parse_any, read_map_result
from bp_pipeline.maps.record import altered_measure
from bp_pipeline.reproduce.differences import changed_pixels, first_difference
from bp_pipeline.reproduce.verdicts import Case, Verdict
from bp_pipeline.tracking import Recorded, RunsToVerify, TrackingError
from bp_pipeline.tracking.format import CODE_DIGEST, CONFIG_DIGEST, RESULT_DIGEST, as_row
from bp_pipeline.tracking.provenance import environment
from bp_pipeline.tracking.run_files import (
    GIVEN_WEIGHTS,
    INITIAL_WEIGHTS,
    NEEDED_FILES,
    read_config,
    read_environment,
    read_result,
)
from bp_pipeline.tracking.runs_to_verify import disagreement
from bp_pipeline.tracking.store_tables import Points

Result = RunResult | MapResult

_CONFIG = "config.yaml"
_DIGESTS = (CONFIG_DIGEST, CODE_DIGEST, RESULT_DIGEST)


def case_of(
    store: RunsToVerify, run: Recorded, engine: str | None, opened: ExitStack
) -> Case | Verdict:
    """Return a run ready to be trained again, or the verdict that it cannot be.

    Its config is read, and of its other files only initial weights that were given, so that a
    server sends each result when it is judged.

    Parameters
    ----------
    store, run
        Where it is, and what is known of it there.
    engine
        What trains it; by default the engine that it asked for.
    opened
        Keeps given weights until the run has been trained.
    """
    missing = Verdict(run.name, "missing", run_id=run.run_id)
    if run.status != "FINISHED":
        return replace(missing, reason=f"the run is {run.status}, it has no result")
    untagged = [name for name in _DIGESTS if name not in run.tags]
    if untagged:
        return replace(missing, reason=f"no tag {', '.join(untagged)}")
    try:
        config = _read_config(store, run.run_id, opened)
    except (TrackingError, FileNotFoundError) as error:
        return replace(missing, reason=str(error))
    except (OSError, ConfigError) as error:
        reason = f"config.yaml cannot be used: {error}"
        return replace(missing, verdict="corrupt", reason=reason)
    config = config.model_copy(update={"engine": engine or config.engine, "threads": None})
    return Case(config, partial(_judge, store, run, config), missing)


def _read_config(store: RunsToVerify, run_id: str, opened: ExitStack) -> RunConfig:
    with store.artifacts(run_id, _CONFIG) as folder:
        _check_present(folder, _CONFIG)
        with suppress(ConfigError):  # it may name given weights, which a server has not sent yet
            return read_config(folder, parse_any)
    folder = opened.enter_context(store.artifacts(run_id, _CONFIG, INITIAL_WEIGHTS, GIVEN_WEIGHTS))
    _check_present(folder, _CONFIG, INITIAL_WEIGHTS)
    return read_config(folder, parse_any)


def _check_present(folder: Path, *names: str) -> None:
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise FileNotFoundError(f"no {', '.join(absent)}")


def _judge(store: RunsToVerify, run: Recorded, config: RunConfig, result: Result) -> Verdict:
    """Fetch what is stored of a run and compare a new result with it."""
    verdict = Verdict(
        run.name,
        "identical",
        run_id=run.run_id,
        config_digest=config.config_digest,
        result_digest=result.result_digest,
    )
    try:
        with store.artifacts(run.run_id) as folder:
            is_map = isinstance(config, MapConfig)
            _check_present(folder, *(MAP_FILES if is_map else NEEDED_FILES))
            with store.points() as points_of:
                points = points_of(run.run_id)
            return _compare(verdict, run, points, folder, config, result)
    except (TrackingError, FileNotFoundError) as error:
        return replace(verdict, verdict="missing", reason=str(error))


def _compare(
    verdict: Verdict,
    run: Recorded,
    points: Points,
    folder: Path,
    config: RunConfig,
    result: Result,
) -> Verdict:
    """Compare a new result with what was recorded and what is stored."""
    is_map = isinstance(config, MapConfig)
    disagree = partial(_disagreement, run, points, config)
    try:
        stored: Result = read_map_result(folder) if is_map else read_result(folder)
        is_intact = digest_arrays(stored.arrays) == run.tags[RESULT_DIGEST]
        altered = "" if is_intact else "what is stored no longer has the digest that was recorded"
    except Exception as error:  # whatever is wrong with a file that anybody may have altered
        altered = f"its files must {error}"
    altered = altered or disagree(stored)
    if altered:
        return replace(verdict, verdict="corrupt", reason=altered)
    if result.result_digest != run.tags[RESULT_DIGEST]:
        differs = _surroundings(run, folder, config)
        if is_map:
            reason = changed_pixels(stored.arrays, result.arrays)
            return replace(verdict, verdict="drifted", reason=reason, differs=differs)
        difference = first_difference(stored.arrays, result.arrays)
        return replace(verdict, verdict="drifted", difference=difference, differs=differs)
    if altered := disagree(result):  # of norms, which are in no file
        return replace(verdict, verdict="corrupt", reason=altered)
    if config.config_digest != run.tags[CONFIG_DIGEST]:
        reason = "the digest of its config is another one in this version"
        differs = _surroundings(run, folder, config)
        return replace(verdict, verdict="drifted", reason=reason, differs=differs)
    return verdict


def _disagreement(run: Recorded, points: Points, config: RunConfig, result: Result) -> str:
    if isinstance(result, RunResult):
        return disagreement(as_row(run), config, result, points)
    assert isinstance(config, MapConfig)
    map_ = Map(run.run_id, run.name, "", config, result, run.metrics)
    return disagreement(as_row(run), config) or altered_measure(map_, points)


def _surroundings(run: Recorded, folder: Path, config: RunConfig) -> dict[str, Any]:
    """Return what differs around a run: what it was when it was recorded, and what it is now."""
    then, now = read_environment(folder), environment(engine_in_use(config.engine), threads=1)
    digests = {"code": code_digest(), "config": config.config_digest}
    recorded = {name: run.tags[f"bp.{name}_digest"] for name in digests}
    differs = _changes({**_comparable(then), **recorded}, {**_comparable(now), **digests})
    packages = _changes(_mapping(then, "packages"), now["packages"])
    return {**differs, **({"packages": packages} if packages else {})}


def _comparable(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an environment could make a difference, apart from packages."""
    cpu = _mapping(made_with, "cpu")
    return {
        **{key: made_with.get(key) for key in ("engine", "python", "implementation", "os")},
        **{f"cpu {key}": cpu.get(key) for key in ("model", "machine", "features")},
    }


def _mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    both = {name: [then.get(name), now.get(name)] for name in {**now, **then}}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}
