"""What a user sees while long work runs: a progress bar on a terminal, plain lines elsewhere.

Owns the wording and the pace of it, on stderr; results go to stdout and are printed by their
makers.
"""

import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bp_pipeline.ensemble.engines import is_compiled, problem_with
from bp_pipeline.ensemble.shards import WORK

_SECONDS_BETWEEN_LINES = 5.0


class RunDone(Protocol):
    """What the maker of progress calls once a run is recorded."""

    def __call__(self) -> None:
        """Count one more run."""


class Screen(Console):
    """A terminal, or whatever reads in its place and may leave early, as `head` does."""

    def on_broken_pipe(self) -> None:
        """Leave it to the caller, where rich would end the process."""
        raise  # rich calls this while it handles the BrokenPipeError


def say(line: str) -> None:
    """Print one line for the user, unwrapped where stderr is not a terminal."""
    Screen(stderr=True, highlight=False, markup=False).print(line, soft_wrap=True)


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 run`, `24,000 networks`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def make_ready(engines: Iterable[str]) -> None:
    """Compile what has to be, before the clock of the progress bar runs."""
    if "compiled" in engines and find_spec("numba") and not is_compiled():
        say("Compiling the engine for this machine, once; it takes a quarter of a minute.")
    for remark in filter(None, map(problem_with, engines)):
        say(remark)
    gc.freeze()  # what was imported is never garbage; to look through it costs a tenth of recording


@contextmanager
def training_progress(
    n_runs: int, network_epochs: int, done: str = "recorded runs"
) -> Iterator[RunDone]:
    """Show how far training, and what is done with each run then, have come.

    Parameters
    ----------
    n_runs
        Runs to be trained.
    network_epochs
        Networks times epochs to be trained.
    done
        What becomes of a run once it is trained.

    Yields
    ------
    RunDone
        To be called once for each run with which that was done.
    """
    console = Screen(stderr=True)
    if not console.is_terminal:
        yield _Lines(n_runs)
        return
    with _Bar(console, n_runs, network_epochs, done) as bar:
        yield bar.run_done


class _Lines:
    def __init__(self, n_runs: int) -> None:
        self.n_runs, self.done, self.last = n_runs, 0, time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.last >= _SECONDS_BETWEEN_LINES or self.done == self.n_runs:
            self.last = now
            say(f"{self.done} of {self.n_runs} runs done")


class _Bar(Progress):
    """Two bars: networks trained, read from the trainers' own count, and runs done with."""

    def __init__(self, console: Console, n_runs: int, network_epochs: int, done: str) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.millions = self.add_task("training, 10⁶ network-epochs", total=network_epochs // 10**6)
        self.runs = self.add_task(done, total=n_runs)

    def run_done(self) -> None:
        self.advance(self.runs)

    def get_renderable(self) -> RenderableType:
        if self.tasks:
            self.update(self.millions, completed=WORK.network_epochs // 10**6)
        return super().get_renderable()
