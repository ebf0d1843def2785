"""What happens in a sweep, from checked jobs to the finished parent run and its report.

Owns the order of things: open the store, find the sweep or start it, train what is left, record
each run as it finishes while others train, account for all, and show what came out. A sweep and its
jobs are recognized by the digests of the configs and of the code that trains. So the same command
finishes an interrupted sweep, leaves a finished one alone, and starts anew where `core/` has
changed. How configs are composed is left to `config/`, how networks train to `ensemble/`, what
MLflow is told to `tracking/`, what a report says to `report/`.
"""

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter, time
from typing import TYPE_CHECKING, Literal

from bp_pipeline.config import Composition, ConfigError, Job, RunConfig, compose
from bp_pipeline.config.keys import Tracking
from bp_pipeline.digests import code_changed, code_digest, digest_json
from bp_pipeline.ensemble import (
    ClusterLost,
    RunResult,
    TimeShares,
    batches_of_results,
    engine_in_use,
    in_words,
    open_cluster,
    remarks_on_engines,
)
from bp_pipeline.terminal import counted, first_of, print_lines, say, training_progress
from bp_pipeline.tracking import (
    Account,
    EndedRun,
    FrozenSweep,
    Recorded,
    TrackingError,
    Writer,
    failed_run,
    finished_sweep,
    latest_attempts,
    open_for_reading,
    open_for_writing,
    resolve_uri,
    run_colours,
    trained_run,
)
from bp_pipeline.tracking.format import CODE_DIGEST, CONFIG_DIGEST, SWEEP_DIGEST

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster
    from bp_pipeline.report import Sweep

State = Literal["finished", "failed", "missing"]
Parent = tuple[str, str]  # a sweep's run id and digest


def train(overrides: Sequence[str] = ()) -> "Sweep":
    """Train a sweep as `bp train --multirun OVERRIDES` does, and read it.

    What was trained before is not trained again. Progress and what came out are printed.

    Parameters
    ----------
    overrides
        As typed, such as `["activation=tanh,relu", "optimizer.learning_rate=0.3,1"]`.

    Returns
    -------
    Sweep
        Whose `runs` have a `status` each: one that failed is no error here.

    Raises
    ------
    ConfigError
        Where a value is wrong, or nothing is to be kept, so that nothing could be read.
    TrackingError
        Where the store cannot be used.
    """
    from bp_pipeline.report import load_sweep

    composition = compose(["--multirun", *overrides])
    tracking = composition.jobs[0].config.tracking
    if tracking.name == "off":
        raise ConfigError("`tracking` must be a store that can be read, got off. Leave it out.")
    run_jobs(composition)
    with open_for_reading(tracking.uri, tracking.experiment) as reader:
        begun = reader.sweeps(_freeze(composition).sweep_digest)
        ours = (run for run in begun if run.tags[CODE_DIGEST] == code_digest())
        run_id = next(ours).run_id
    return load_sweep(run_id, uri=tracking.uri, experiment=tracking.experiment)


def run_jobs(composition: Composition) -> int:
    """Train runs together and record each as it finishes; report if they are a sweep.

    Parameters
    ----------
    composition
        The jobs, checked, with what was typed. Without a `sweep_name` they get no parent.

    Returns
    -------
    int
        Exit code: 0, or 1 where a run failed (the others are recorded all the same), the store or
        the cluster failed after training had begun, or the report could not be made.

    Raises
    ------
    ConfigError
        Where jobs ask for different stores or clusters, or the cluster cannot be used.
    TrackingError
        Where the store cannot be used; nothing was trained then.
    """
    training = _Training(composition.jobs)
    if composition.n_repeated:
        again = counted(composition.n_repeated, "job")
        say(f"{again} left out: a run is trained once, however often it is asked for.")
    for section, another in (("tracking", "store"), ("cluster", "place")):
        composition.check_common(section, another)
    tracking = composition.jobs[0].config.tracking
    try:
        if tracking.name == "off":
            with training.in_its_place():
                return training.run()
        frozen = None if composition.sweep_name is None else _freeze(composition)
        if frozen and _is_complete(composition, frozen, tracking):
            return 0
        with open_for_writing(tracking.uri, tracking.experiment) as writer:
            try:
                if frozen is not None:
                    return _run_sweep(composition, frozen, training, writer)
                with training.in_its_place():
                    return training.run(writer)
            except TrackingError as error:
                say(str(error))
                return 1
    except ClusterLost as error:
        say(str(error))
        return 1


def _is_complete(composition: Composition, frozen: FrozenSweep, tracking: Tracking) -> bool:
    """Whether nothing is left to do of a sweep, found out and said without waiting for MLflow."""
    uri = resolve_uri(tracking.uri)
    found = finished_sweep(uri, tracking.experiment, frozen.sweep_digest, frozen.code_digest)
    if found is None or _is_to_be_rerun(composition):
        return False
    run_id, runs = found
    training = _Training(composition.jobs)
    training.leave_out(latest_attempts(runs))
    if not training.left:
        _say_complete(frozen, run_id)
    return not training.left


def _say_complete(frozen: FrozenSweep, run_id: str) -> None:
    say(
        f"Complete: {counted(len(frozen.jobs), 'run')} in sweep {run_id}. `bp report {run_id}` "
        "shows what came out, `sweep.rerun=true` trains it anew."
    )


def _is_to_be_rerun(composition: Composition) -> bool:
    return any(job.config.sweep.rerun for job in composition.jobs)


def _run_sweep(
    composition: Composition, frozen: FrozenSweep, training: "_Training", writer: Writer
) -> int:
    with writer.lock_sweep(frozen.sweep_digest, _say_waiting):
        begun = writer.sweeps(frozen.sweep_digest)
        parent = _of_this_code(begun)
        runs = [] if parent is None else writer.runs_of(parent.run_id)
        training.leave_out(latest_attempts(runs))
        if parent is not None and parent.status == "FINISHED" and not training.left:
            if not _is_to_be_rerun(composition):
                _say_complete(frozen, parent.run_id)
                return 0
            parent, runs, training = None, [], _Training(composition.jobs)
        others = {run.run_id for run in begun if run is not parent}
        with training.in_its_place():
            try:
                if parent is None:
                    name = str(composition.sweep_name)
                    _say_namesake(name, frozen.sweep_digest, composition.jobs, writer)
                    configs = [job.config for job in composition.jobs]
                    run_id = writer.start_sweep(name, frozen, configs)
                else:
                    run_id = writer.resume_sweep(parent, frozen)
                    writer.kill_unfinished(runs)
                return _finish_sweep(run_id, frozen.sweep_digest, training, writer)
            except BaseException:
                writer.abandon(frozen.sweep_digest, others, training.account)
                raise


def _say_waiting() -> None:
    say("Another process is training this sweep; waiting for it to end.")


def _say_namesake(name: str, digest: str, jobs: Sequence[Job], writer: Writer) -> None:
    """Say what differs from the newest sweep of this name that has another content."""
    from bp_pipeline.report import asked_in_words, what_was_asked

    named = (run for run in writer.sweeps() if run.name == name)
    other = next((run for run in named if run.tags[SWEEP_DIGEST] != digest), None)
    if other is None:
        return
    runs = writer.load_runs(other.run_id)
    if runs.empty:  # it has just begun, and nobody knows what it asks for
        return
    asked = what_was_asked(runs, [job.config.params() for job in jobs])
    said = f"Sweep {other.run_id} has the same name, and asked otherwise"
    say(f"{said}: {asked_in_words(asked)}.")


def _finish_sweep(run_id: str, digest: str, training: "_Training", writer: Writer) -> int:
    """Do what is left to do; the parent ends last, so that a kill before leaves it RUNNING."""
    writer.write_account(run_id, training.account)
    started = perf_counter()
    status = training.run(writer, (run_id, digest))
    if training.left:
        writer.kill_half_written(run_id)
        writer.write_speed(run_id, perf_counter() - started, training.network_epochs)
    writer.write_account(run_id, training.account)
    from bp_pipeline.report.publish import show  # with pandas, which a complete sweep does without

    is_shown = show(writer, run_id, training.account)
    writer.finish(run_id, training.account.status)
    return max(status, int(not is_shown))


def _freeze(composition: Composition) -> FrozenSweep:
    digests = [job.config.config_digest for job in composition.jobs]
    named = zip(composition.jobs, digests, strict=True)
    return FrozenSweep(
        command=composition.command,
        # Sorted, since the same jobs are the same sweep in whatever order they were typed.
        sweep_digest=digest_json(sorted(digests)),
        code_digest=code_digest(),
        jobs=[{"name": job.name, "config_digest": digest} for job, digest in named],
    )


def _of_this_code(begun: Sequence[Recorded]) -> Recorded | None:
    """Return the newest of some sweeps that this very code has begun."""
    same = [run for run in begun if run.tags[CODE_DIGEST] == code_digest()]
    if begun and not same:
        then = begun[0].tags[CODE_DIGEST]
        say(
            f"The code that trains has changed since sweep {begun[0].run_id} was begun "
            f"({then[:8]}… is now {code_digest()[:8]}…). Its runs stay; all are trained anew."
        )
    return same[0] if same else None


class _Training:
    """The jobs of a command, what is left to do of them, and how each has ended."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._colours = run_colours([job.config for job in jobs])
        self._states: list[State] = ["missing"] * len(jobs)
        self.left = [*range(len(jobs))]
        self._cluster: DaskCluster | None = None

    @contextmanager
    def in_its_place(self) -> Iterator[None]:
        """Connect to the cluster that the jobs ask for, if there is something to train."""
        config = self._jobs[0].config
        with ExitStack() as opened:
            if self.left:
                self._cluster = opened.enter_context(
                    open_cluster(config.cluster, config.threads, say)
                )
            yield

    def leave_out(self, attempts: Sequence[Recorded]) -> None:
        """Leave out the jobs that have a run with its result."""
        ended = [(run.status, (run.name, run.tags.get(CONFIG_DIGEST, ""))) for run in attempts]
        self._states = states_of(
            self._jobs,
            finished=[run for status, run in ended if status == "FINISHED"],
            failed=[run for status, run in ended if status == "FAILED"],
        )
        self.left = [n for n, state in enumerate(self._states) if state != "finished"]

    @property
    def account(self) -> Account:
        """How many jobs there are, and how many have ended how by now."""
        counts = Counter(self._states)
        return Account(len(self._jobs), counts["finished"], counts["failed"])

    @property
    def network_epochs(self) -> int:
        """Networks times epochs that are left to be trained."""
        return _network_epochs([self._jobs[n].config for n in self.left])

    def run(self, writer: Writer | None = None, sweep: Parent | None = None) -> int:
        """Train what is left and record each run as it finishes; return the exit code.

        What came of runs that no report will show is printed, as are the errors of runs.
        """
        configs = [self._jobs[n].config for n in self.left]
        say(self._announcement(configs))
        for remark in remarks_on_engines({config.engine for config in configs}):
            say(remark)
        if writer is not None and writer.remark:
            say(writer.remark)
        started, failures, printed = time(), [], {}
        with ExitStack() as opened:
            progress = opened.enter_context(training_progress(len(configs), self.network_epochs))
            shares = TimeShares(progress.count_network_epochs)
            size, count = writer.n_at_once if writer else 1, shares.count_network_epochs
            batches = batches_of_results(configs, size, progress=count, cluster=self._cluster)
            for trained in opened.enter_context(batches):
                batch = [(self.left[index], result) for index, result in trained]
                pace = shares.pace(_network_epochs([self._jobs[n].config for n, _ in batch]))
                recorded = self._record(batch, started, pace, writer, sweep)
                for (n, result), outcome in zip(batch, recorded, strict=True):
                    job = self._jobs[n]
                    self._states[n] = "failed" if isinstance(outcome, Exception) else "finished"
                    if isinstance(outcome, Exception):
                        failures.append(f"{job.name}: {outcome}")
                        is_first = len(failures) == 1  # others are like it
                        if writer is None and is_first and not isinstance(outcome, MemoryError):
                            traceback.print_exception(outcome)  # which MLflow would have kept
                    elif sweep is None and isinstance(result, RunResult):
                        named = f" Run {outcome}." if outcome else ""
                        ended = in_words(result, copies=job.config.draws_nothing)
                        printed[n] = f"{job.name}: {ended}{named}"
                    progress.count_run()
        print_lines([line for _, line in sorted(printed.items())])
        if code_changed():
            say(
                "The code that trains was edited meanwhile. These are results of the code as it "
                f"was when the command began ({code_digest()[:8]}…)."
            )
        if failures:
            shown = first_of(failures, "")
            say("\n  ".join([f"{counted(len(failures), 'run')} failed:", *shown]))
        return int(bool(failures))

    def _announcement(self, configs: Sequence[RunConfig]) -> str:
        n_networks, n_done = sum(c.replicates for c in configs), len(self._jobs) - len(configs)
        work = f"{counted(len(configs), 'run')}, {counted(n_networks, 'network')}"
        return f"{work} to train, {counted(n_done, 'run')} already done" if n_done else work

    def _record(
        self,
        batch: Sequence[tuple[int, RunResult | Exception]],
        started: float,
        pace: float,
        writer: Writer | None,
        sweep: Parent | None,
    ) -> list[str | Exception]:
        """Record runs; return of each its id, or its error, which is recorded then.

        As they trained side by side, each lasted as long as its networks times epochs take at their
        pace, in seconds for each of these.
        """
        if writer is None:
            return [result if isinstance(result, Exception) else "" for _, result in batch]
        ended = [
            self._ended_run(
                n, result, started, pace * _network_epochs([self._jobs[n].config]), sweep
            )
            for n, result in batch
        ]
        outcomes = writer.record_all([run for run, _ in ended])
        for (n, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                job = self._jobs[n]
                writer.record_failure(job.config, outcome, name=job.name, sweep=sweep)
        return [error or run_id for (_, error), run_id in zip(ended, outcomes, strict=True)]

    def _ended_run(
        self,
        n: int,
        result: RunResult | Exception,
        started: float,
        seconds: float,
        sweep: Parent | None,
    ) -> tuple[EndedRun, Exception | None]:
        """Return what is to be recorded of a job, and its error, if there is one."""
        name, config = self._jobs[n].name, self._jobs[n].config
        try:
            if isinstance(result, Exception):
                raise result
            run = trained_run(
                config, result, name=name, sweep=sweep, engine=engine_in_use(config.engine),
                cluster=self._cluster.description if self._cluster else None,
                # MLflow's lists begin with the newest: a millisecond makes it the sweep's order.
                start_time=int(started * 1000) - n, colour=self._colours[n],
                seconds=seconds,
            )  # fmt: skip
        except Exception as error:  # of this run alone: the others are to be recorded
            return failed_run(config, error, name=name, sweep=sweep), error
        return run, None


def _network_epochs(configs: Sequence[RunConfig]) -> int:
    return sum(config.replicates * config.training.epochs for config in configs)


def states_of(
    jobs: Sequence[Job], finished: Sequence[tuple[str, str]], failed: Sequence[tuple[str, str]] = ()
) -> list[State]:
    """Determine how far the jobs of a sweep have come.

    Parameters
    ----------
    jobs
        All of the sweep.
    finished
        Name and config digest of each run that has its result. It stands for one job of this
        digest: that of its name, if there is one, since options may differ in their label only.
    failed
        The same of each whose last attempt failed.
    """
    by_name = Counter(finished)
    others = by_name - Counter((job.name, job.config.config_digest) for job in jobs)
    by_digest = Counter(digest for _, digest in others.elements())
    states: list[State] = []
    for job in jobs:
        run = job.name, job.config.config_digest
        if by_name[run]:
            by_name[run] -= 1
            states.append("finished")
        elif by_digest[run[1]]:
            by_digest[run[1]] -= 1
            states.append("finished")
        else:
            states.append("failed" if run in failed else "missing")
    return states
