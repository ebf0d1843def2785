"""`bp playground`: its arguments, and what is said where they are wrong.

Owns which config the page starts from: composed as `bp train` does, or that of a recorded run, with
whose result the page then compares its own.
"""

import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from bp_pipeline.config.compose import compose
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.playground import ARTICLE, RecordedResult, write_playground

Asked = tuple[RunConfig, RecordedResult | None]

_RUN_ID = re.compile("[0-9a-f]{6,}")  # as MLflow makes them, and no override
_DESCRIPTION = """\
Write a page that trains in the browser, with the same bits: one file that needs no network. It
starts from the article's network, which never learns, unless other overrides are given. With a RUN
it starts from that run's config, trains all its replicates anew, and compares the digest with the
recorded one.
"""
_EPILOG = """\
examples
  bp playground
  bp playground activation=relu init=he_normal --out relu.html
  bp playground RUN
"""


def run(arguments: Sequence[str]) -> int:
    """Write the page that the arguments of `bp playground` ask for; return the exit code.

    Raises
    ------
    ConfigError
        Where the request is wrong.
    """
    chosen = _parser().parse_intermixed_args(arguments)
    with _asked_for(chosen.words, chosen.experiment) as (config, recorded):
        try:
            write_playground(config, chosen.out, recorded)
        except OSError as error:
            raise ConfigError(
                f"`--out` must be a file that can be written, got {str(chosen.out)!r} "
                f"({error.strerror}). Name a file in a folder that exists."
            ) from None
    print(f"Wrote {chosen.out}: open it in a browser.")
    return 0


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"`{self.prog}` cannot be asked so: {message}. See `{self.prog} --help`.")


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="bp playground",
        usage="%(prog)s [OVERRIDES | RUN] [--out FILE]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="OVERRIDES | RUN",
        help="a run, as in `bp train OVERRIDES`, or the id of a recorded one")  # fmt: skip
    add("--out", metavar="FILE", type=Path, default=Path("playground.html"),
        help="write there (default: %(default)s)")  # fmt: skip
    add("--experiment", metavar="NAME", default="bp_pipeline",
        help="of MLflow, in whose store RUN is looked for (default: %(default)s)")  # fmt: skip
    return parser


@contextmanager
def _asked_for(words: Sequence[str], experiment: str) -> Iterator[Asked]:
    """Yield the config to start from, whose files are there meanwhile, and what was recorded."""
    if not any(map(_RUN_ID.fullmatch, words)):
        yield _composed(words or ARTICLE), None
        return
    from bp_pipeline.tracking import TrackingError

    if len(words) > 1:
        raise ConfigError(
            f"`bp playground` must be asked for overrides or for one RUN, got {' '.join(words)!r}. "
            "Leave out the others: a recorded run has its own config."
        )
    try:
        with _recorded(words[0], experiment) as found:
            yield found
    except TrackingError as error:
        raise ConfigError(str(error)) from error


def _composed(overrides: Sequence[str]) -> RunConfig:
    composition = compose(overrides, program="bp playground")
    if len(composition.jobs) != 1:
        raise ConfigError(
            f"`bp playground` must be asked for one run, got a sweep of {len(composition.jobs)} "
            f"({composition.sweep_name}). Give one value to every key that it varies."
        )
    return composition.jobs[0].config


@contextmanager
def _recorded(run_id: str, experiment: str) -> Iterator[Asked]:
    from bp_pipeline.tracking import RunsToVerify
    from bp_pipeline.tracking.format import RESULT_DIGEST, read_config, read_result

    with RunsToVerify.open(None, experiment) as store:
        [run] = store.find([run_id])
        with store.artifacts(run_id) as folder:
            try:
                config, arrays = read_config(folder), read_result(folder).arrays
            except (OSError, ValueError) as error:
                problem = "; ".join(str(error).splitlines())
                raise ConfigError(
                    f"`RUN` must have recorded a config and a result, got {run_id!r}: {problem}"
                ) from None
            digest = run.tags.get(RESULT_DIGEST, "")
            yield config, RecordedResult(f"{run.name} ({run_id})", digest, arrays)
