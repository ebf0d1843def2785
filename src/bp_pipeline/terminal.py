"""What a user sees while long work runs: a progress bar on a terminal, plain lines elsewhere.

Owns the wording and the pace of it, on stderr. Results go to stdout and are printed by their
makers; what the work is, and who does it, is left to those who count it here.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 5.0
MOST_LINES = 20  # on a terminal, of what may be many and take some rows each


class WorkCounter(Protocol):
    """Where training, and what is done with each run then, are counted."""

    def count_network_epochs(self, number: int) -> None:
        """Count work of training; any thread may call it, one at a time."""

    def count_run(self) -> None:
        """Count one more run with which everything is done."""


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


def first_of(lines: Sequence[str], rest: str) -> list[str]:
    """Return the first lines of many, and how many are left, with what shows the rest."""
    left = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"… and {left:,} more.{rest}"] if left > 0 else [*lines]


def print_lines(lines: Sequence[str]) -> None:
    """Print results, on a terminal only the first ones."""
    is_terminal = Screen().is_terminal
    for line in first_of(lines, " Redirected to a file, all are there.") if is_terminal else lines:
        print(line)


@contextmanager
def training_progress(
    n_runs: int, network_epochs: int, done: str = "recorded runs", noun: str = "run"
) -> Iterator[WorkCounter]:
    """Show how far training, and what is done with each run then, have come.

    Parameters
    ----------
    n_runs
        Runs to be trained.
    network_epochs
        Networks times epochs to be trained.
    done
        What becomes of a run once it is trained.
    noun
        What takes the place of runs.

    Yields
    ------
    WorkCounter
        Where to count both.
    """
    console = Screen(stderr=True)
    if not console.is_terminal:
        yield _Lines(n_runs, noun)
        return
    with _Bars(console, n_runs, network_epochs, done) as bars:
        yield bars


class _Lines:
    def __init__(self, n_runs: int, noun: str) -> None:
        self.n_runs, self.n_done, self.last = n_runs, 0, time.monotonic()
        self.noun = noun

    def count_network_epochs(self, number: int) -> None:
        """Lines are about runs alone."""

    def count_run(self) -> None:
        self.n_done += 1
        now = time.monotonic()
        if now - self.last >= _SECONDS_BETWEEN_LINES or self.n_done == self.n_runs:
            self.last = now
            say(f"{self.n_done} of {counted(self.n_runs, self.noun)} done")


class _Bars(Progress):
    """Two bars: work of training in millions of network-epochs, and runs that are done."""

    def __init__(self, console: Console, n_runs: int, network_epochs: int, done: str) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.network_epochs = 0
        self.millions = self.add_task("training, 10⁶ network-epochs", total=network_epochs // 10**6)
        self.runs = self.add_task(done, total=n_runs)

    def count_network_epochs(self, number: int) -> None:
        self.network_epochs += number

    def count_run(self) -> None:
        self.advance(self.runs)

    def get_renderable(self) -> RenderableType:
        if self.tasks:
            self.update(self.millions, completed=self.network_epochs // 10**6)
        return super().get_renderable()
