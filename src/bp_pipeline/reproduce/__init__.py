"""Verification: train again what was recorded, compare bits, and say why they differ.

Owns what a request means and the order of things: find, train all together, print, record.

    recorded_runs.py  runs of a store
    baselines.py      the committed digests of whole studies
    differences.py    where two results part
    verdicts.py       the four verdicts, and how they are printed
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.keys import LOCAL, Cluster
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import ClusterLost, open_cluster
from bp_pipeline.reproduce.baselines import (
    cases_of,
    could_be_trained,
    is_quick,
    studies_with_baselines,
    study_configs,
    write_baseline,
)
from bp_pipeline.reproduce.recorded_runs import case_of
from bp_pipeline.reproduce.verdicts import Case, Verdict, print_verdicts, retrain, write_json
from bp_pipeline.terminal import counted, say
from bp_pipeline.tracking import NothingYet, Recorded, RunsToVerify, TrackingError


@dataclass(frozen=True)
class Request:
    """What is to be verified; the newest sweep where nothing is named.

    Attributes
    ----------
    runs
        Ids of runs.
    sweep
        Id of a sweep, whose runs are meant.
    sample, seed
        How many of the store's finished runs to draw, and which.
    studies
        Whose baselines to compare with; none names all studies that have one, None no baseline.
    quick
        Whether to leave out studies that take long.
    update
        Whether to make what came out now the baselines.
    engine
        What trains; by default the engine that a run asked for.
    experiment
        MLflow's name of the experiment in which sweeps are looked for.
    json
        Where to write the verdicts.
    cluster
        Where to train.
    """

    runs: Sequence[str] = ()
    sweep: str | None = None
    sample: int | None = None
    seed: int = 0
    studies: Sequence[str] | None = None
    quick: bool = False
    update: bool = False
    engine: str | None = None
    experiment: str = "bp_pipeline"
    json: Path | None = None
    cluster: Cluster = LOCAL


def reproduce(request: Request) -> int:
    """Verify, print the verdicts, and record them in MLflow where its store may be written.

    Returns
    -------
    int
        Exit code: 0 where all is identical or was made the baseline, 1 where any run is not,
        its verdict could not be recorded in a store that may be written, or the cluster is lost.

    Raises
    ------
    ConfigError
        Where the request is wrong in itself, a study cannot be composed, or the cluster cannot be
        used.
    TrackingError
        Where the store lacks what was asked for, or cannot be used.
    """
    started = perf_counter()
    if request.json is not None:
        _check_writable(request.json)
    studies = _composed_studies(request)
    with ExitStack() as opened:
        store = _open_store(request, opened)
        cases = _cases(request, studies, store, opened)
        if not cases:
            baseline = "quick baseline" if request.quick else "baseline"
            raise NothingYet(f"There is nothing to verify: no finished run, and no {baseline}.")
        try:
            with open_cluster(request.cluster, None, say) as cluster:
                verdicts = retrain(cases, cluster)
        except ClusterLost as error:
            say(str(error))
            return 1
        print_verdicts(verdicts)
        if request.json is not None:
            write_json(verdicts, request.json)
        left = verdicts
        for study, configs in studies.items() if request.update else ():
            left = _made_baseline(study, configs, left)
        title, seconds = _title(request, studies), perf_counter() - started
        is_recorded = store is None or _record(store, title, verdicts, seconds)
    is_well = all(verdict.verdict == "identical" for verdict in left)
    return int(not (is_well and is_recorded))


def _made_baseline(
    study: str, configs: Sequence[RunConfig], verdicts: Sequence[Verdict]
) -> list[Verdict]:
    """Make what came out the baseline of a study; return the verdicts that this does not settle."""
    of_study = [verdict for verdict in verdicts if verdict.study == study]
    if not all(could_be_trained(verdict, configs) for verdict in of_study):
        say(f"{study}: not written, since not all of its runs could be trained")
        return [*verdicts]
    path = write_baseline(study, of_study)
    say(f"{study}: {f'written to {path}' if path else 'nothing changed'}")
    return [verdict for verdict in verdicts if verdict.study != study]


def _check_writable(path: Path) -> None:
    """Raise ConfigError before any training where a file could not be written after it."""
    folder = path.absolute().parent
    place = path if path.exists() else folder
    if path.is_dir() or not folder.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"`--json` must name a file that can be written, got {str(path)!r}.")


def _composed_studies(request: Request) -> dict[str, list[RunConfig]]:
    """Return the runs of the studies that are asked for."""
    if request.studies is None:
        return {}
    known = studies_with_baselines()
    unknown = [study for study in request.studies if study not in known]
    if unknown and not request.update:
        raise ConfigError(
            f"`--baselines` must name studies with a baseline, got {unknown[0]!r}. "
            f"There are: {', '.join(known) or 'none in experiments/ of this folder'}. "
            f"To make one: bp reproduce --baselines {unknown[0]} --update"
        )
    studies = {study: study_configs(study) for study in request.studies or known}
    return {
        study: configs
        for study, configs in studies.items()
        if not request.quick or is_quick(configs)
    }


def _cases(
    request: Request,
    studies: Mapping[str, list[RunConfig]],
    store: RunsToVerify | None,
    opened: ExitStack,
) -> list[Case | Verdict]:
    """Return everything that is asked for, ready to be trained again."""
    cases: list[Case | Verdict] = []
    if store is not None:
        runs = _stored_runs(request, store)
        cases += [case_of(store, run, request.engine, opened) for run in runs]
    for study, configs in studies.items():
        cases += cases_of(study, configs, request.engine)
    return cases


def _open_store(request: Request, opened: ExitStack) -> RunsToVerify | None:
    """Return the store, or None where it is not there and only baselines must be verified."""
    try:
        store = RunsToVerify.open(None, request.experiment)
    except TrackingError as error:
        only_baselines = request.studies is not None and not (request.runs or request.sweep)
        if only_baselines and isinstance(error, NothingYet):
            if request.sample is not None:
                say(f"{error} The studies alone are verified.")
            return None
        if only_baselines and request.sample is None:
            say(f"{error} This verification is not recorded.")
            return None
        raise
    opened.callback(store.close)
    return store


def _stored_runs(request: Request, store: RunsToVerify) -> list[Recorded]:
    """Return the runs that are asked for, each once."""
    runs = store.find(request.runs)
    names_something = request.runs or request.sample is not None or request.studies is not None
    if request.sweep is not None or not names_something:
        runs += store.of_sweep(request.sweep)
    if request.sample is not None:
        runs += store.sample(request.sample, request.seed)
    return list({run.run_id: run for run in runs}.values())


def _record(store: RunsToVerify, title: str, verdicts: Sequence[Verdict], seconds: float) -> bool:
    """Record the verification, or say why not; return False where it should have been possible.

    Somebody else's store can be verified by whoever may read it.
    """
    try:
        store.record_reproduction(title, [verdict.as_json() for verdict in verdicts], seconds)
    except TrackingError as error:
        say(f"{error} This verification is not recorded.")
        return _is_forbidden(error)
    return True


def _is_forbidden(error: BaseException | None) -> bool:
    """Whether a store refused to be written by this user: a file system, SQLite, or a server."""
    while error is not None:
        refusals = ("readonly database", "Read-only file system", "error code 403")
        if isinstance(error, PermissionError) or any(words in str(error) for words in refusals):
            return True
        error = error.__cause__ or error.__context__
    return False


def _title(request: Request, studies: Iterable[str]) -> str:
    """Return in words what is verified, the name of the verification's own run."""
    parts = [f"run {request.runs[0]}"] if len(request.runs) == 1 else []
    if len(request.runs) > 1:
        parts.append(counted(len(request.runs), "run"))
    if request.sweep is not None:
        parts.append(f"sweep {request.sweep}")
    if request.sample is not None:
        parts.append(f"sample {request.sample} of seed {request.seed}")
    parts += [f"baseline {study}" for study in studies]
    return " · ".join(parts) or "newest sweep"
