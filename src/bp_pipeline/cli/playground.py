"""`bp playground`: its arguments, and which result the page compares its own with."""

from collections.abc import Sequence
from pathlib import Path

from bp_pipeline.cli.requested_run import (
    RequestedRun,
    cannot_write,
    requested_run,
    run_parser,
    unusable,
)
from bp_pipeline.config import ConfigError
from bp_pipeline.playground import ARTICLE, RecordedResult, write_playground

_PROGRAM = "bp playground"
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
    ConfigError, TrackingError
        Where the request is wrong.
    """
    parser = run_parser(_PROGRAM, "[--out FILE]", _DESCRIPTION, _EPILOG)
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("playground.html"),
        help="write there (default: %(default)s)")  # fmt: skip
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.out.suffix.lower() not in ("", ".html", ".htm"):
        raise ConfigError(f"`--out` must end in .html, got {str(chosen.out)!r}: it is one page.")
    words = chosen.words or ARTICLE
    with requested_run(_PROGRAM, words, chosen.config_dir, chosen.experiment) as asked:
        recorded = _recorded_result(asked)
        try:
            write_playground(asked.config, chosen.out, recorded)
        except OSError as error:
            raise cannot_write(chosen.out, error) from None
    print(f"Wrote {chosen.out}: open it in a browser.")
    return 0


def _recorded_result(asked: RequestedRun) -> RecordedResult | None:
    if asked.recorded is None or asked.files is None:
        return None
    from bp_pipeline.tracking.format import RESULT_DIGEST
    from bp_pipeline.tracking.run_files import read_result

    run = asked.recorded
    try:
        arrays = read_result(asked.files).arrays
    except (OSError, ValueError) as error:
        raise unusable(run.run_id, "a result", error) from None
    return RecordedResult(f"{run.name} ({run.run_id})", run.tags.get(RESULT_DIGEST, ""), arrays)
