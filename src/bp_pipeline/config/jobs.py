"""What a command line asks for: the jobs that Hydra composed, collected and then checked.

Owns the place where Hydra ends. Its launchers, ours or its own, hand every job over here. Training
starts when Hydra is done, so that whatever is wrong with any of the jobs is said first.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bp_pipeline.config.composition import Composer, Job, job_of, lines_of
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.hydra_errors import explain

Checked = TypeVar("Checked")

_MOST_PROBLEMS = 20  # more than a screen of them helps nobody


class Jobs:
    """The jobs of one command, in the order of the sweep.

    Hydra takes an instance for the application itself, and calls it once a job on launchers of its
    own; our launcher calls `compose` instead.
    """

    def __init__(self) -> None:
        self.is_sweep = False
        self.n_seen = 0
        self._jobs: list[Job] = []
        self._problems: dict[str, list[tuple[str, ...]]] = {}

    def __call__(self, config: DictConfig) -> None:
        """Take over one job from Hydra."""
        hydra = cast(DictConfig, HydraConfig.get())
        self.is_sweep = hydra.mode is RunMode.MULTIRUN
        overrides = tuple(lines_of(hydra.overrides.task))
        self._collect(overrides, config, partial(job_of, config, hydra))

    def compose(
        self,
        loader: ConfigLoaderImpl,
        master: DictConfig,
        job_overrides: Sequence[Sequence[str]],
        first_number: int,
    ) -> None:
        """Compose jobs of a sweep, of which the first one has this number."""
        self.is_sweep = True
        composer = Composer(loader, master)
        for number, overrides in enumerate(job_overrides, start=first_number):
            make = partial(composer.compose, overrides, number)
            self._collect(tuple(overrides), master, make)

    def check(self, parse: Callable[[dict[str, Any], dict[str, str]], Checked]) -> list[Checked]:
        """Turn every job into what `parse` makes of its config and its labels.

        Raises
        ------
        ConfigError
            Where a job could not be composed, or `parse` raises one: all problems, and the jobs
            that have them.
        """
        checked = []
        for job in self._jobs:
            try:
                checked.append(parse(job.config, job.labels))
            except ConfigError as error:
                for problem in str(error).splitlines():
                    self._note(problem, job.overrides)
        if self._problems:
            raise ConfigError(self._message())
        return checked

    @property
    def sweep_name(self) -> str | None:
        """What the sweep is called: its experiment, else the keys it varies; None for one run."""
        if not self.is_sweep:
            return None
        values: dict[str, set[str]] = {}
        for job in self._jobs:
            for override in job.overrides:
                key, _, value = override.partition("=")
                values.setdefault(key, set()).add(value)
        varied = [key for key, of_key in values.items() if len(of_key) > 1]
        return self._jobs[0].labels.get("experiment") or " × ".join(varied) or "sweep"

    def _collect(
        self, overrides: tuple[str, ...], known: DictConfig, make: Callable[[], Job]
    ) -> None:
        self.n_seen += 1
        try:
            self._jobs.append(make())
        except Exception as error:
            self._note(explain(error, overrides, lambda _: known), overrides)

    def _note(self, problem: str, overrides: tuple[str, ...]) -> None:
        self._problems.setdefault(problem, []).append(overrides)

    def _message(self) -> str:
        lines = [self._locate(problem, jobs) for problem, jobs in self._problems.items()]
        if len(lines) > _MOST_PROBLEMS:
            lines[_MOST_PROBLEMS:] = [f"… and {len(lines) - _MOST_PROBLEMS} more problems."]
        return "\n".join(lines)

    def _locate(self, problem: str, jobs: Sequence[tuple[str, ...]]) -> str:
        """Add to a problem of a sweep which jobs have it."""
        if self.n_seen == 1:
            return problem
        return f"{problem} ({len(jobs)} of {self.n_seen} jobs, the first: {' '.join(jobs[0])})"
