"""How far the jobs of a sweep have come, which decides the sweep's own status."""

from typing import Literal, NamedTuple

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Account(NamedTuple):
    """How many jobs a sweep has, and how many of them ended how.

    Attributes
    ----------
    expected
        Jobs of the grid.
    finished
        Those that have a run with its result.
    failed
        Those whose last attempt failed.
    """

    expected: int
    finished: int
    failed: int

    @property
    def missing(self) -> int:
        """How many jobs have no run, or one that was broken off."""
        return self.expected - self.finished - self.failed

    @property
    def status(self) -> Status:
        """What the sweep is, once nobody trains it any more."""
        if self.missing:
            return "KILLED"
        return "FAILED" if self.failed else "FINISHED"

    def __str__(self) -> str:
        """Say it in a sentence."""
        return (
            f"{self.expected:,} runs expected: {self.finished:,} finished, {self.failed:,} failed, "
            f"{self.missing:,} missing."
        )
