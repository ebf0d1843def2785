"""What happens in a sweep, from composed configs to the finished parent run and its report.

Owns the order of things: open the store, announce, train, record each run as it finishes while
others train, name what failed, report. How configs are composed is Hydra's; how networks train,
`ensemble`'s; what MLflow is told, `tracking`'s.
"""

from collections.abc import Iterable, Sequence
from time import perf_counter

from bp_pipeline.config import RunConfig
from bp_pipeline.digests import digest_json
from bp_pipeline.engines import is_compiled, problem_with
from bp_pipeline.ensemble import train_runs
from bp_pipeline.messages import ConfigError
from bp_pipeline.naming import ALWAYS, run_name, varied_keys
from bp_pipeline.progress import say, training_progress
from bp_pipeline.report import report_sweep
from bp_pipeline.tracking import Tracker


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
        Exit code: 0, or 1 where a run failed; then the others are recorded all the same.

    Raises
    ------
    ConfigError
        Where jobs ask for different stores.
    TrackingError
        Where the store cannot be used. If training had begun, the parent is marked KILLED.
    """
    keys = varied_keys([config.params() for config in configs]) or ALWAYS
    names = [run_name(config, keys) for config in configs]
    tracker = _open_tracker(configs)
    say(_announcement(configs))
    _make_ready({config.engine for config in configs})
    if tracker is None or name is None:
        return _name_failures(_train(configs, names, tracker, None))
    jobs = [
        {"name": run, "config_digest": config.config_digest}
        for run, config in zip(names, configs, strict=True)
    ]
    sweep_digest = digest_json([job["config_digest"] for job in jobs])
    parent_run_id = tracker.start_sweep(name, jobs, sweep_digest)
    try:
        failures = _train(configs, names, tracker, parent_run_id)
        report_sweep(tracker, parent_run_id)
        tracker.finish(parent_run_id, "FAILED" if failures else "FINISHED")
    except BaseException:
        tracker.kill_unfinished(parent_run_id)
        tracker.finish(parent_run_id, "KILLED")
        raise
    finally:
        tracker.close()
    return _name_failures(failures)


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
    if "compiled" in engines and not is_compiled():
        say("Compiling the engine for this machine, once; it takes a quarter of a minute.")
    for remark in filter(None, map(problem_with, engines)):
        say(remark)


def _train(
    configs: Sequence[RunConfig],
    names: Sequence[str],
    tracker: Tracker | None,
    parent_run_id: str | None,
) -> list[str]:
    """Train and record; give the name and error of each run that failed."""
    started, failures = perf_counter(), []
    network_epochs = sum(config.replicates * config.training.epochs for config in configs)
    with training_progress(len(configs), network_epochs) as run_done:
        for index, result in train_runs(configs):
            config, name = configs[index], names[index]
            if isinstance(result, Exception):
                failures.append(f"{name}: {result}")
                if tracker:
                    tracker.record_failure(config, result, name=name, parent_run_id=parent_run_id)
            elif tracker:
                tracker.record(
                    config,
                    result,
                    name=name,
                    parent_run_id=parent_run_id,
                    seconds=perf_counter() - started,
                    engine=config.engine,
                )
            run_done()
    return failures


def _name_failures(failures: Sequence[str]) -> int:
    if failures:
        say("\n  ".join([f"{_count(len(failures), 'run')} failed:", *failures]))
    return int(bool(failures))
