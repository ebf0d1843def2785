"""From a command line to checked jobs, and completed overrides: `bp train` as a Hydra application.

Owns how Hydra is started, so that all its flags work and its errors reach the user as one message,
and the place where it ends: its launchers, ours or its own, hand every job over here. Training
starts when Hydra is done, so that whatever is wrong with any of the jobs is said first. How a
sweep's configs are composed quickly is left to `job_configs.py`, what is in range to `schema.py`.
"""

import io
import logging
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from bp_pipeline.config.errors import ConfigError, closest
from bp_pipeline.config.keys import conf_folder, default_options, flat
from bp_pipeline.config.overrides import (
    check_sweeper,
    checked_override,
    explain,
    with_first_options,
)
from bp_pipeline.config.run_names import run_names
from bp_pipeline.config.schema import KEYS, UNDECIDED, RunConfig, parse_config

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

    from bp_pipeline.config.job_configs import JobConfig

Parse = Callable[[Mapping[str, Any], Mapping[str, str]], RunConfig]
Keys = Mapping[str, Any]

_CONFIG = "config"
_NEEDS_A_SWEEP = "^(hydra.mode changed|Ambiguous value|Sweep parameters)"
_FULL_ERROR = "HYDRA_FULL_ERROR"
_SHOWS = re.compile("-[ci]|-sc|--(cf|i|s)")  # flags that ask to be shown something
_OF_SWEEPS = re.compile(r"\+*hydra(\.|=.*\b)sweeper\b")  # which Hydra uses in no single run
_MOST_PROBLEMS = 10  # which may take some lines each; more than a screen of them helps nobody


@dataclass(frozen=True)
class Job:
    """One checked job of a command: the name of its run, and its config."""

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Composition:
    """What a command line asks for.

    Attributes
    ----------
    jobs
        In the order of the sweep; none where Hydra was only asked to show something.
    sweep_name
        Its experiment, else the keys it varies; None for one run.
    command
        What was typed, quoted for a shell.
    n_repeated
        How many jobs are left out because they are asked for by another one, too.
    """

    jobs: tuple[Job, ...]
    sweep_name: str | None
    command: str
    n_repeated: int = 0

    def check_common(self, section: str, another: str) -> None:
        """Make sure that all jobs have one section of the config in common.

        Raises
        ------
        ConfigError
            Where they have not; `another` says what each would take one of.
        """
        first, *others = (getattr(job.config, section) for job in self.jobs)
        other = next((other for other in others if other != first), None)
        if other is not None:
            raise ConfigError(
                f"`{section}` must be the same for all jobs of a sweep, got {first} and {other}. "
                f"Start one sweep for each {another}."
            )


def compose(
    arguments: Sequence[str],
    *,
    program: str = "bp train",
    parse: Parse = parse_config,
    keys: Keys = KEYS,
    defaults: Sequence[str] = (),
) -> Composition:
    """Compose what the arguments of `program` ask for, with Hydra, and check every job.

    Parameters
    ----------
    arguments
        As they were typed.
    program
        What they were typed after.
    parse, keys
        What checks every job, and the keys that there are.
    defaults
        Overrides that stand before those that were typed.

    Raises
    ------
    ConfigError
        Where Hydra refuses, or any value of any job is wrong: all problems, and the jobs that have
        them.
    SystemExit
        Where Hydra has answered in full, as to `--help`.
    """
    command = shlex.join([*program.split(), *arguments])
    is_shown = any(map(_SHOWS.match, arguments))
    if not is_shown and any(word.startswith(("-p", "--p")) for word in arguments):
        raise ConfigError("`--package` must go with `--cfg`. Add `--cfg job`.")
    application, printed = Application(parse, keys), io.StringIO()
    overrides = [word for word in arguments if _is_override(word)]
    flags = [word for word in arguments if not _is_override(word)]
    try:
        typed = [checked_override(o, default_options()) for o in [*defaults, *overrides]]
        spelled = with_first_options(typed, default_options())
        with redirect_stderr(printed):
            _start_hydra(program, [*flags, *spelled], application)  # its parser wants them apart
    except SystemExit as end:
        if end.code:
            raise ConfigError(_unknown_flag(program, printed.getvalue())) from None
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            # What it shows cannot be written; Hydra's own kinds of OSError have no number.
            raise
        if os.environ.get(_FULL_ERROR) == "1":
            traceback.print_exc()
        raise ConfigError(explain(error, overrides, keys)) from error
    sys.stderr.write(printed.getvalue())
    if not is_shown and not application.n_seen:  # Hydra's own sweeper is content with that
        raise ConfigError(
            f"`{command}` must span at least one job, got none. Leave out what spans nothing."
        )
    jobs, sweep_name = application.checked()
    unused = next(filter(_OF_SWEEPS.match, overrides), None)
    if jobs and sweep_name is None and unused:
        raise ConfigError(f"`{unused}` must go with a sweep, and this is one run. Add `-m`.")
    return Composition(jobs, sweep_name, command, max(0, application.n_seen - len(jobs)))


def compose_each(asked: Sequence[Sequence[str]]) -> list[RunConfig]:
    """Compose one run for each list of overrides, in half the time that `compose` takes.

    It is for overrides of our own: no message is made of what Hydra refuses, nor is a sweep one.
    """
    from hydra import compose as compose_with_hydra
    from hydra import initialize_config_dir

    from bp_pipeline.config.job_configs import job_config, without_hydra

    configs = []
    with _a_hydra_of_our_own(), initialize_config_dir(str(conf_folder()), **_version_base()):
        for overrides in asked:
            config = compose_with_hydra(_CONFIG, [*overrides], return_hydra_config=True)
            job = job_config(without_hydra(config), config.hydra)
            configs.append(parse_config(job.values, job.labels))
    return configs


def complete(query: str, line: str) -> list[str]:
    """Return the overrides that could stand at the end of a half-typed line.

    Parameters
    ----------
    query
        What the shell's completion script asks: `query=SHELL`.
    line
        `train …` without flags, as far as it is typed.
    """
    *before, last = line.split(" ")
    listed, comma, begun = last.rpartition(",")  # the values before it stay as they are
    key = last.partition("=")[0]
    os.environ["COMP_LINE"] = " ".join([*before, f"{key}={begun}" if comma else last])
    found = io.StringIO()
    with redirect_stdout(found):
        _start_hydra("bp", ["-sc", query], Application())
    # Hydra goes on into a list as if it were a group.
    candidates = [
        f"{word[:-1]}=" if word[-1] == "." and word[:-1] in KEYS else word
        for word in found.getvalue().split()
    ]
    return [word.replace(f"{key}=", f"{listed},") if comma else word for word in candidates]


class Application:
    """What Hydra runs: it takes every job over and trains none.

    Hydra calls an instance once a job on launchers of its own; our launcher calls `take` instead.
    """

    def __init__(self, parse: Parse = parse_config, keys: Keys = KEYS) -> None:
        self._parse, self._keys = parse, keys
        self.is_sweep = False
        self.n_seen = 0
        self.doubt: Exception | None = None  # what Hydra said before it was told to sweep
        self._composed: list[JobConfig] = []
        self._problems: dict[str, list[tuple[str, ...]]] = {}

    def __call__(self, config: "DictConfig") -> None:
        """Take over one job from Hydra."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from bp_pipeline.config.job_configs import job_config, lines_of

        hydra = cast("DictConfig", HydraConfig.get())
        self.is_sweep = hydra.mode is RunMode.MULTIRUN
        if self.is_sweep:
            check_sweeper(hydra.runtime.choices["hydra/sweeper"])
        self._collect(lines_of(hydra.overrides.task), partial(job_config, config, hydra))

    def take(
        self,
        loader: "ConfigLoader",
        master: "DictConfig",
        job_overrides: Sequence[Sequence[str]],
        first_number: int,
    ) -> None:
        """Compose jobs of a sweep, of which the first one has this number."""
        from bp_pipeline.config.job_configs import Composer, is_sweep_by_itself

        if self.doubt and not is_sweep_by_itself(loader, master):
            raise self.doubt
        check_sweeper(master.hydra.runtime.choices["hydra/sweeper"])
        self.is_sweep = True
        composer = Composer(loader, master)
        for number, overrides in enumerate(job_overrides, start=first_number):
            self._collect(overrides, partial(composer.compose, overrides, number))

    def checked(self) -> tuple[tuple[Job, ...], str | None]:
        """Check the jobs against the schema; return them, and what their sweep is called.

        Raises
        ------
        ConfigError
            Where a job could not be composed, or a value is wrong.
        """
        configs: dict[Any, RunConfig] = {}
        for job in self._composed:
            try:
                config = self._parse(job.values, job.labels)
                labels = {**config.labels, "experiment": ""}  # whichever study asks for it
                run = config.config_digest, frozenset(labels.items())
                _check_same_way(configs.setdefault(run, config), config)
            except ConfigError as error:
                self._note(str(error), job.overrides)
        if self._problems:
            raise ConfigError(self._message())
        jobs = tuple(map(Job, run_names([*configs.values()]), configs.values()))
        return jobs, self._sweep_name() if self.is_sweep else None

    def _sweep_name(self) -> str:
        experiments = dict.fromkeys(job.labels.get("experiment", "") for job in self._composed)
        values: dict[str, set[str]] = {}
        for job in self._composed:
            for override in job.overrides:
                key, _, value = override.partition("=")
                values.setdefault(key, set()).add(value)
        varied = [key for key, of_key in values.items() if len(of_key) > 1]
        return " + ".join(filter(None, experiments)) or " × ".join(varied) or "sweep"

    def _collect(self, overrides: Sequence[str], make: "Callable[[], JobConfig]") -> None:
        self.n_seen += 1
        try:
            self._composed.append(make())
        except Exception as error:
            self._note(explain(error, overrides, self._keys), tuple(overrides))

    def _note(self, problems: str, overrides: tuple[str, ...]) -> None:
        for problem in problems.splitlines():
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


def _check_same_way(config: RunConfig, again: RunConfig) -> None:
    """Refuse a run that is asked for twice, to be trained or kept in two ways."""
    ways = [dict(flat(c.model_dump(include={*UNDECIDED}))) for c in (config, again)]
    for key, value in ways[0].items():
        if ways[1][key] != value:
            raise ConfigError(
                f"`{key}` must be the same wherever one run is asked for, got {value} and "
                f"{ways[1][key]}. It decides no result: leave one out."
            )


def _start_hydra(program: str, arguments: Sequence[str], application: Application) -> None:
    import hydra
    from hydra.errors import ConfigCompositionException

    version = _version_base()
    settle = hydra.main(config_path=str(conf_folder()), config_name=_CONFIG, **version)
    start = settle(application)
    with _a_hydra_of_our_own(), _process(program, arguments):
        try:
            start()
        except ConfigCompositionException as error:
            # Since 1.4 a study cannot say that it is a sweep: it is asked, once its sweep is begun.
            if version or not re.search(_NEEDS_A_SWEEP, str(error)):
                raise
            application.doubt = error
            sys.argv.append("hydra.mode=MULTIRUN")
            start()


@contextmanager
def _a_hydra_of_our_own() -> Iterator[None]:
    """Put aside the one Hydra that a process may have, where the caller is its application."""
    from hydra.core.global_hydra import GlobalHydra

    callers = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = callers


def _version_base() -> dict[str, Any]:
    import hydra

    return {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


@contextmanager
def _process(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """Set the command line that Hydra reads, and make it raise what it would print and exit on."""
    argv, full_error = sys.argv, os.environ.get(_FULL_ERROR)
    sys.argv = [program, *arguments]
    os.environ[_FULL_ERROR] = "1"
    logging.raiseExceptions = False  # of `--info`, whose reader may leave as `head` does
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "provider=.* is not available")  # a search path
            yield
    finally:
        logging.raiseExceptions = True
        sys.argv = argv
        if full_error is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = full_error


def _is_override(word: str) -> bool:
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def _unknown_flag(program: str, printed: str) -> str:
    """Write what Hydra's argument parser printed before it gave up."""
    reason = printed.strip().rpartition("error: ")[2].rstrip(".")
    key = closest(reason.partition("arguments: --")[2].partition(" ")[0], list(KEYS))
    guess = f" Did you mean `{key}=VALUE`?" if key else ""
    return f"`{program}` cannot be asked so: {reason}.{guess} See `{program} --help`."
