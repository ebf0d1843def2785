"""What happens in a sweep, from composed configs to the finished parent run and its report.

Owns the order of things: open the store, announce, train, record each run as it finishes while
others train, name what failed, report. How configs are composed is Hydra's; how networks train,
`ensemble`'s; what MLflow is told, `tracking`'s.
"""

import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from time import perf_counter

from bp_pipeline.config import RunConfig
from bp_pipeline.digests import digest_json
from bp_pipeline.engines import is_compiled, problem_with
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.messages import ConfigError
from bp_pipeline.naming import ALWAYS, run_name, varied_keys
from bp_pipeline.progress import say, training_progress
from bp_pipeline.report import report_sweep
from bp_pipeline.tracking import Tracker, TrackingError

Job = tuple[str, RunConfig]  # a run's name, and what it is


def run_jobs(configs: Sequence[RunConfig], name: str | None) -> int:
    """Train runs together and record each as it finishes; report if they are a sweep.

    Parameters
    ----------
    configs
        The jobs, checked.
    name
        What the sweep is called; None for a run on its own, which gets no parent.

    Returns
    -------
    int
        Exit code: 0, or 1 where a run failed (the others are recorded all the same), or where the
        store failed after training had begun.

    Raises
    ------
    ConfigError
        Where jobs ask for different stores.
    TrackingError
        Where the store cannot be used; nothing was trained then.
    """
    keys = varied_keys([config.params() for config in configs]) or ALWAYS
    jobs = [(run_name(config, keys), config) for config in configs]
    tracker = _open_tracker(configs)
    say(_announcement(configs))
    _make_ready({config.engine for config in configs})
    if tracker is None:
        return _name_failures(_train(jobs, None, None))
    try:
        return _name_failures(_track(jobs, name, tracker))
    except TrackingError as error:
        say(str(error))
        return 1
    finally:
        tracker.close()


def _open_tracker(configs: Sequence[RunConfig]) -> Tracker | None:
    tracking = configs[0].tracking
    other = next((c.tracking for c in configs if c.tracking != tracking), None)
    if other is not None:
        raise ConfigError(
            f"`tracking` must be the same for all jobs of a sweep, got {tracking} and {other}. "
            "Start one sweep for each store."
        )
    return None if tracking.name == "off" else Tracker.open(tracking.uri, tracking.experiment)


def _announcement(configs: Sequence[RunConfig]) -> str:
    n_networks = sum(config.replicates for config in configs)
    return f"{_count(len(configs), 'run')}, {_count(n_networks, 'network')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _make_ready(engines: Iterable[str]) -> None:
    """Compile what has to be, before the clock of the progress bar runs."""
    if "compiled" in engines and find_spec("numba") and not is_compiled():
        say("Compiling the engine for this machine, once; it takes a quarter of a minute.")
    for remark in filter(None, map(problem_with, engines)):
        say(remark)


def _track(jobs: Sequence[Job], name: str | None, tracker: Tracker) -> list[str]:
    """Train under a parent of this name, close it by how that went, and report."""
    if name is None:
        return _train(jobs, tracker, None)
    frozen = [{"name": run, "config_digest": config.config_digest} for run, config in jobs]
    sweep_digest = digest_json([job["config_digest"] for job in frozen])
    parent_run_id = tracker.start_sweep(name, frozen, sweep_digest)
    try:
        failures = _train(jobs, tracker, parent_run_id)
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C is to leave nothing RUNNING
        with suppress(TrackingError):  # what went wrong first is the one to tell
            tracker.kill_unfinished(parent_run_id)
        with suppress(TrackingError):
            tracker.finish(parent_run_id, "KILLED")
        raise
    tracker.finish(parent_run_id, "FAILED" if failures else "FINISHED")
    report_sweep(tracker, parent_run_id)
    return failures


def _train(jobs: Sequence[Job], tracker: Tracker | None, parent_run_id: str | None) -> list[str]:
    """Train and record; give the name and error of each run that failed."""
    started, failures = perf_counter(), []
    configs = [config for _, config in jobs]
    network_epochs = sum(config.replicates * config.training.epochs for config in configs)
    with training_progress(len(configs), network_epochs) as run_done:
        for index, result in train_runs(configs):
            name, config = jobs[index]
            error = result if isinstance(result, Exception) else None
            if tracker and not isinstance(result, Exception):
                seconds = perf_counter() - started
                error = _record(tracker, config, result, name, parent_run_id, seconds)
            if error is not None:
                failures.append(f"{name}: {error}")
                if tracker:
                    tracker.record_failure(config, error, name=name, parent_run_id=parent_run_id)
            run_done()
    return failures


def _record(
    tracker: Tracker,
    config: RunConfig,
    result: RunResult,
    name: str,
    parent_run_id: str | None,
    seconds: float,
) -> Exception | None:
    """Record a run; give what is wrong with it, unless that concerns the whole store."""
    try:
        tracker.record(
            config,
            result,
            name=name,
            parent_run_id=parent_run_id,
            seconds=seconds,
            engine="numpy" if problem_with(config.engine) else config.engine,
        )
    except TrackingError:
        raise
    except Exception as error:
        return error
    return None


def _name_failures(failures: Sequence[str]) -> int:
    if failures:
        say("\n  ".join([f"{_count(len(failures), 'run')} failed:", *failures]))
    return int(bool(failures))
