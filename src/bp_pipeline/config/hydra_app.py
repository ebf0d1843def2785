"""`bp train` as a Hydra application: from a command line to jobs, and tab completion.

Owns where `conf/` is and how Hydra is started, so that all its flags work and its errors reach the
user as one message. What becomes of the jobs is for `sweep.py`.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

import hydra
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.hydra_errors import explain
from bp_pipeline.config.jobs import Jobs

_CONFIG, _VERSION_BASE = "config", "1.3"
_FULL_ERROR = "HYDRA_FULL_ERROR"


def compose(arguments: Sequence[str], *, program: str = "bp train") -> Jobs:
    """Let Hydra do what the arguments of `program` say.

    Returns
    -------
    Jobs
        What is to be trained; nothing where Hydra was asked for help, a config or the like.

    Raises
    ------
    ConfigError
        Where Hydra refuses, before any job.
    SystemExit
        Where Hydra has answered in full, as to `--help`.
    """
    jobs = Jobs()
    overrides = [word for word in arguments if _is_override(word)]
    flags = [word for word in arguments if not _is_override(word)]
    try:
        _start_hydra(program, [*flags, *overrides], jobs)  # Hydra's parser wants them apart
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(_FULL_ERROR) == "1":
            traceback.print_exc()
        message = explain(error, overrides, lambda key: _known_config(overrides, key))
        raise ConfigError(message) from error
    return jobs


def complete(query: str, line: str) -> None:
    """Print what could stand at the end of a half-typed line.

    Parameters
    ----------
    query
        What the shell's completion script asks: `query=SHELL`.
    line
        `train …`, as far as it is typed.
    """
    os.environ["COMP_LINE"] = line  # of which Hydra takes off the first word
    try:
        with redirect_stderr(StringIO()):  # a half-typed line is no mistake
            _start_hydra("bp", ["-sc", query], Jobs())
    except (Exception, SystemExit):
        return


def _start_hydra(program: str, arguments: Sequence[str], jobs: Jobs) -> None:
    # Hydra copies all its sources at every look into `conf/`. This one never changes, and is most
    # of that work: half of what `--help` takes.
    store = ConfigStore.instance()
    vars(store)["__deepcopy__"] = lambda memo: store
    application = hydra.main(
        version_base=_VERSION_BASE, config_path=str(conf_folder()), config_name=_CONFIG
    )(jobs)
    with _process(program, arguments):
        application()


@contextmanager
def _process(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """Give Hydra the command line it reads, and make it raise what it would print and exit on."""
    argv, full_error = sys.argv, os.environ.get(_FULL_ERROR)
    sys.argv = [program, *arguments]
    os.environ[_FULL_ERROR] = "1"
    logging.raiseExceptions = False  # of `--info`, whose reader may leave as `head` does
    try:
        yield
    finally:
        logging.raiseExceptions = True
        sys.argv = argv
        if full_error is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = full_error


def conf_folder() -> Path:
    """Find the option files: inside an installed package, or beside `src/` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def _is_override(word: str) -> bool:
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def _known_config(overrides: Sequence[str], refused_key: str) -> DictConfig:
    """Compose what the user asked for without the key that was refused, else the default."""
    others = [word for word in overrides if word.split("=")[0].lstrip("+~") != refused_key]
    with initialize_config_dir(str(conf_folder()), version_base=_VERSION_BASE):
        try:
            return hydra.compose(_CONFIG, others, return_hydra_config=True)
        except Exception:
            return hydra.compose(_CONFIG, return_hydra_config=True)
