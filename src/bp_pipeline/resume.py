"""What is left to do of a sweep that was begun before, perhaps to be killed.

Owns how a sweep and its jobs are recognized: by the digests of the configs and of the code that
trains. So the same command finishes an interrupted sweep, leaves a finished one alone, and starts
anew where `core/` has changed. Training, and what MLflow is told, are left to `sweep.py` and
`tracking/`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from filelock import FileLock, Timeout

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import code_digest
from bp_pipeline.terminal import counted, say
from bp_pipeline.tracking import Tracker


class Job(NamedTuple):
    """A run's name, what it is, and its colour in MLflow's charts."""

    name: str
    config: RunConfig
    colour: str | None = None


@contextmanager
def only_trainer(lock: FileLock) -> Iterator[None]:
    """Hold a sweep's lock, waiting for another process that does."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("Another process is training this sweep; waiting for it to end.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def find_or_start(
    jobs: Sequence[Job], name: str, sweep_digest: str, tracker: Tracker
) -> str | None:
    """Find the parent run of a sweep that was begun before, or start one.

    Returns
    -------
    str or None
        Id of the parent, which is RUNNING; None where the sweep is complete, which is said.
    """
    frozen = [{"name": job.name, "config_digest": job.config.config_digest} for job in jobs]
    begun = tracker.sweeps(sweep_digest)
    same = [run for run in begun if run.data.tags["bp.code_digest"] == code_digest()]
    if not same:
        if begun:
            _tell_of_other_code(begun[0].info.run_id, begun[0].data.tags["bp.code_digest"])
        return tracker.start_sweep(name, frozen, sweep_digest)
    parent = same[0].info
    if parent.status != "FINISHED" or undone(jobs, tracker.finished_jobs(parent.run_id)):
        tracker.resume_sweep(parent.run_id, frozen)
        return str(parent.run_id)
    if any(job.config.sweep.rerun for job in jobs):
        return tracker.start_sweep(name, frozen, sweep_digest)
    say(
        f"Complete: {counted(len(jobs), 'run')} in sweep {parent.run_id}. "
        "`bp report` shows what came out, `sweep.rerun=true` trains it anew."
    )
    return None


def undone(jobs: Sequence[Job], finished: Sequence[tuple[str, str]]) -> list[Job]:
    """Leave out the jobs that are done.

    Parameters
    ----------
    jobs
        All of the sweep.
    finished
        Name and config digest of each run that has its result. It stands for one job of this
        digest: that of its name, if there is one, since options may differ in their label only.
    """
    by_name = Counter(finished)
    others = by_name - Counter((job.name, job.config.config_digest) for job in jobs)
    by_digest = Counter(digest for _, digest in others.elements())
    left = []
    for job in jobs:
        digest = job.config.config_digest
        if by_name[job.name, digest]:
            by_name[job.name, digest] -= 1
        elif by_digest[digest]:
            by_digest[digest] -= 1
        else:
            left.append(job)
    return left


def _tell_of_other_code(run_id: str, then: str) -> None:
    say(
        f"The code that trains has changed since sweep {run_id} was begun "
        f"({then[:8]}… is now {code_digest()[:8]}…). Its runs stay; all are trained anew."
    )
