"""What happens in a sweep, from composed configs to the finished parent run and its report.

Owns the order of things: open the store, announce, train, record each run as it finishes while
others train, name what failed, report. How configs are composed is Hydra's; what is left to do of a
sweep, `resume`'s; how networks train, `ensemble`'s; what MLflow is told, `tracking`'s.
"""

import signal
from collections.abc import Sequence
from time import perf_counter

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.naming import run_colours, run_names
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import digest_json
from bp_pipeline.ensemble.engines import engine_in_use
from bp_pipeline.ensemble.shards import RunResult, train_runs
from bp_pipeline.ensemble.summary import in_words
from bp_pipeline.resume import Job, find_or_start, only_trainer, undone
from bp_pipeline.showcase import show_sweep
from bp_pipeline.terminal import counted, make_ready, say, training_progress
from bp_pipeline.tracking import Tracker, TrackingError


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
        Exit code: 0, or 1 where a run failed (the others are recorded all the same), the store
        failed after training had begun, or the report could not be made.

    Raises
    ------
    ConfigError
        Where jobs ask for different stores.
    TrackingError
        Where the store cannot be used; nothing was trained then.
    """
    jobs = [*map(Job, run_names(configs), configs, run_colours(configs))]
    tracker = _open_tracker(configs)
    if tracker is None:
        return _name_failures(_train(jobs, None, None))
    try:
        return _track(jobs, name, tracker)
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


def _track(jobs: Sequence[Job], name: str | None, tracker: Tracker) -> int:
    """Train what is left to do under the sweep's parent run, account for it, and report."""
    if name is None:
        return _name_failures(_train(jobs, tracker, None))
    # Sorted, since the same jobs are the same sweep in whatever order they were typed.
    sweep_digest = digest_json(sorted(job.config.config_digest for job in jobs))
    with only_trainer(tracker.lock_sweep(sweep_digest)):
        parent_run_id = find_or_start(jobs, name, sweep_digest, tracker)
        if parent_run_id is None:
            return 0
        try:
            return _finish_sweep(jobs, tracker, parent_run_id)
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C leaves nothing RUNNING
            tracker.abandon(parent_run_id)
            raise


def _finish_sweep(jobs: Sequence[Job], tracker: Tracker, parent_run_id: str) -> int:
    """Do what is left to do; the parent ends last, so that a kill before leaves it RUNNING."""
    left = undone(jobs, tracker.finished_jobs(parent_run_id))
    tracker.account(parent_run_id)
    started = perf_counter()
    failures = _train(left, tracker, parent_run_id, n_done=len(jobs) - len(left))
    if left:
        work = _network_epochs([job.config for job in left])
        tracker.log_speed(parent_run_id, perf_counter() - started, work)
    account = tracker.account(parent_run_id)
    is_shown = _show(tracker, parent_run_id)
    tracker.finish(parent_run_id, account.status)
    return max(_name_failures(failures), int(not is_shown))


def _show(tracker: Tracker, parent_run_id: str) -> bool:
    """Report a sweep, which is whole also where that fails."""
    try:
        show_sweep(tracker, parent_run_id)
    except Exception as error:
        say(f"{str(error) or type(error).__name__}\nAll runs are recorded; `bp report` is enough.")
        return False
    return True


def _train(
    jobs: Sequence[Job], tracker: Tracker | None, parent_run_id: str | None, *, n_done: int = 0
) -> list[str]:
    """Train and record; give the name and error of each run that failed.

    What came of runs that no report will show is printed.
    """
    configs = [job.config for job in jobs]
    say(_announcement(configs, n_done))
    make_ready({config.engine for config in configs})
    started, failures, results = perf_counter(), [], {}
    with training_progress(len(configs), _network_epochs(configs)) as run_done:
        for index, result in train_runs(configs):
            name, config, _ = job = jobs[index]
            outcome: str | Exception = result if isinstance(result, Exception) else ""
            if tracker and not isinstance(result, Exception):
                seconds = perf_counter() - started
                outcome = _record(tracker, job, result, parent_run_id, seconds)
            if isinstance(outcome, Exception):
                failures.append(f"{name}: {outcome}")
                if tracker:
                    tracker.record_failure(config, outcome, name=name, parent_run_id=parent_run_id)
            elif parent_run_id is None and not isinstance(result, Exception):
                results[index] = f"{name}: {in_words(result)}" + f" Run {outcome}." * bool(outcome)
            run_done()
    for _, line in sorted(results.items()):
        print(line)
    return failures


def _network_epochs(configs: Sequence[RunConfig]) -> int:
    return sum(config.replicates * config.training.epochs for config in configs)


def _announcement(configs: Sequence[RunConfig], n_done: int) -> str:
    n_networks = sum(config.replicates for config in configs)
    work = f"{counted(len(configs), 'run')}, {counted(n_networks, 'network')}"
    return f"{work} to train, {counted(n_done, 'run')} already done" if n_done else work


def _record(
    tracker: Tracker,
    job: Job,
    result: RunResult,
    parent_run_id: str | None,
    seconds: float,
) -> str | Exception:
    """Record a run; give its id, or what is wrong with it, unless that concerns the whole store."""
    try:
        return tracker.record(
            job.config,
            result,
            name=job.name,
            parent_run_id=parent_run_id,
            seconds=seconds,
            engine=engine_in_use(job.config.engine),
            colour=job.colour,
        )
    except TrackingError:
        raise
    except Exception as error:
        return error


def _name_failures(failures: Sequence[str]) -> int:
    if failures:
        say("\n  ".join([f"{counted(len(failures), 'run')} failed:", *failures]))
    return int(bool(failures))
