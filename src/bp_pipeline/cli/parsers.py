"""What the arguments of several commands have in common.

Owns that what a parser refuses is a refusal in house form, and how a sweep and an experiment are
named. The arguments of one command stand with it.
"""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import NoReturn

EXPERIMENT = "bp_pipeline"  # where sweeps are looked for: the default of `tracking.experiment`
_SUFFIXES_OF_FILES = {".html", ".md", ".csv", ".tex", ".json", ".pdf", ".svg", ".png", ".txt"}


class Parser(ArgumentParser):
    """A parser whose refusals are ours."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was asked."""
        from bp_pipeline.config.errors import Refusal

        raise Refusal(f"`{self.prog}` cannot be asked so: {message}. See `{self.prog} --help`.")


def sweep_parser(program: str, description: str) -> Parser:
    """Make the parser of a command that is about one sweep."""
    parser = Parser(prog=program, description=description)
    sweep = "id, digest or name of the sweep, or its beginning (default: the newest sweep)"
    parser.add_argument("sweep", nargs="?", help=sweep)
    return in_experiment(parser)


def in_experiment(parser: Parser) -> Parser:
    """Add the experiment that is meant to the arguments of a command."""
    named = "of MLflow (default: %(default)s)"
    parser.add_argument("--experiment", metavar="NAME", default=EXPERIMENT, help=named)
    return parser


def add_folder(parser: Parser) -> None:
    """Add the folder of a report, which is several files, to the arguments of a command."""
    parser.add_argument("--out", metavar="DIR", type=_folder, help="folder to write to")


def _folder(text: str) -> Path:
    if Path(text).suffix in _SUFFIXES_OF_FILES:
        raise ArgumentTypeError(f"must be a folder, as a report is several files, got {text!r}")
    return Path(text)


def positive_number(text: str) -> int:
    """Read a count."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"must be a whole number >= 1, got {text!r}")
    return int(text)


def port_number(text: str) -> int:
    """Read the number of a port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ArgumentTypeError(f"must be a port, 1 to 65535, got {text!r}")
    return int(text)
