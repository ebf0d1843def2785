"""`[OVERRIDES | RUN]`: the one run that `bp explain` and `bp playground` are about.

Overrides are composed as `bp train` does; the id of a recorded run leads to its store. Owns what is
said where that is no single run, or none that can be used; and where what is asked for is written.
"""

import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bp_pipeline.cli.parsers import Parser, in_experiment
from bp_pipeline.config import ConfigError, RunConfig, compose

if TYPE_CHECKING:
    from bp_pipeline.tracking import Recorded

_RUN_ID = re.compile("[0-9a-f]{6,}")  # as MLflow makes them, and no override


@dataclass(frozen=True)
class RequestedRun:
    """What to start from.

    Attributes
    ----------
    config
        Its given weights are there as long as the run is asked about.
    recorded, files
        Where it was recorded, and the folder of its files; None where it was not.
    """

    config: RunConfig
    recorded: "Recorded | None" = None
    files: Path | None = None


def run_parser(program: str, options: str, description: str, epilog: str) -> Parser:
    """Make the parser of a command that is about one run."""
    parser = Parser(
        prog=program,
        usage=f"%(prog)s [OVERRIDES | RUN] {options}",
        description=description,
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="OVERRIDES | RUN",
        help="a run, as in `bp train OVERRIDES`, or the id of a recorded one")  # fmt: skip
    parser.add_argument("--config-dir", metavar="DIR", help="take option files from DIR too")
    return in_experiment(parser)


@contextmanager
def requested_run(
    program: str, words: Sequence[str], config_dir: str | None, experiment: str
) -> Iterator[RequestedRun]:
    """Yield the run that a command asks for.

    Raises
    ------
    ConfigError
        Where it is no single run, or its config cannot be used.
    TrackingError
        Where it is not recorded, or the store cannot be read.
    """
    if not any(map(_RUN_ID.fullmatch, words)):
        yield RequestedRun(_composed(program, words, config_dir))
    elif len(words) > 1 or config_dir is not None:
        raise ConfigError(
            f"`{program}` must be asked for overrides or for one RUN, got {' '.join(words)!r}. "
            "Leave out the others: a recorded run has its own config."
        )
    else:
        with _recorded(words[0], experiment) as run:
            yield run


def _composed(program: str, words: Sequence[str], config_dir: str | None) -> RunConfig:
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(
            f"`--config-dir` must be a folder, got {config_dir!r}. Name one that has option files."
        )
    flags = [] if config_dir is None else ["--config-dir", config_dir]
    composition = compose([*flags, *words], program=program)
    if len(composition.jobs) != 1:
        raise ConfigError(
            f"`{program}` must be asked for one run, got a sweep of {len(composition.jobs)} "
            f"({composition.sweep_name}). Give one value to every key that it varies."
        )
    return composition.jobs[0].config


@contextmanager
def _recorded(run_id: str, experiment: str) -> Iterator[RequestedRun]:
    from bp_pipeline.tracking import MAP, RunsToVerify
    from bp_pipeline.tracking.format import KIND, as_row
    from bp_pipeline.tracking.run_files import read_config
    from bp_pipeline.tracking.runs_to_verify import disagreement

    with RunsToVerify.open(None, experiment) as store:
        [run] = store.find([run_id])
        if run.tags.get(KIND) == MAP:
            raise ConfigError(
                f"`RUN` must be a run, got the map {run_id!r}. `bp report {run_id}` shows it, and "
                "what to type for each of its pixels."
            )
        with store.artifacts(run_id) as folder:
            try:
                config = read_config(folder)
            except (OSError, ConfigError) as error:
                raise unusable(run_id, "a config.yaml", error) from None
            if problem := disagreement(as_row(run), config):
                raise unusable(run_id, "a config.yaml", ConfigError(problem))
            yield RequestedRun(config, run, folder)


def unusable(run_id: str, what: str, error: Exception) -> ConfigError:
    """Return what is raised where a recorded run lacks something."""
    problem = "; ".join(str(error).splitlines())
    if isinstance(error, ValueError) and not isinstance(error, ConfigError):
        problem = f"its files must {problem}"  # as readers of files complete it
    return ConfigError(f"`RUN` must have {what} that can be used, got {run_id!r}: {problem}")


def cannot_write(path: Path, error: OSError) -> ConfigError:
    """Return what is raised where `--out` is no file that can be written."""
    return ConfigError(
        f"`--out` must be a file that can be written, got {str(path)!r} ({error.strerror}). "
        "Name a file in a folder that is there and can be written to."
    )
