"""`bp`: the command line.

Owns sub-commands and exit codes, and that whatever is wrong with a request is one message on
stderr. What a command does is in the modules it hands over to. These are imported only then, so
that `bp --help`, tab completion and refusals do not wait for MLflow or Numba.
"""

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import date
from difflib import get_close_matches
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path

OK, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
_EXPERIMENT = "bp_pipeline"  # where `bp report` looks: the default of `tracking.experiment`
_COMPLETION = ("-sc", "--shell-completion")


def main() -> int:
    """Run `bp` with the arguments of this process.

    Returns
    -------
    int
        0 where all is well, 1 where something ran and failed, 2 where the request is wrong, 130
        after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):  # a character less is better than no report
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = _exit_code(sys.argv[1:])
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # who read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _exit_code(arguments: Sequence[str]) -> int:
    """Run a command, also where it ends itself as argument parsers do."""
    try:
        return _run(arguments)
    except SystemExit as end:
        return WRONG_REQUEST if end.code else OK


def _run(arguments: Sequence[str]) -> int:
    name, *rest = arguments or [""]
    if name in COMMANDS:
        return COMMANDS[name](rest)
    if name in ("-h", "--help"):
        print(_HELP)
    elif name == "--version":
        print(f"bp {version('bp_pipeline')}")
    elif name in _COMPLETION:
        return _complete(arguments)
    else:
        return _refuse(_no_such_command(name))
    return OK


def train(arguments: Sequence[str]) -> int:
    """Run `bp train [OVERRIDES] [--multirun]`: a Hydra application."""
    if not set(_COMPLETION).isdisjoint(arguments):
        return _complete(arguments)
    from bp_pipeline.config import ConfigError, compose

    try:
        asked = compose(arguments)
    except ConfigError as error:
        return _refuse(str(error))
    if not asked.jobs:  # Hydra was only asked to show something
        return OK
    from bp_pipeline.sweep import run_jobs
    from bp_pipeline.tracking import TrackingError

    try:
        return run_jobs([job.config for job in asked.jobs], asked.sweep_name)
    except (ConfigError, TrackingError) as error:
        return _refuse(str(error))


def report(arguments: Sequence[str]) -> int:
    """Run `bp report [SWEEP] [--out DIR]`."""
    parser = ArgumentParser(prog="bp report", description="Write and print the report of a sweep.")
    parser.add_argument("sweep", nargs="?", help="run id of the sweep (default: the newest sweep)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write to")
    parser.add_argument(
        "--experiment", metavar="NAME", default=_EXPERIMENT, help="of MLflow (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    from bp_pipeline.showcase import show_sweep
    from bp_pipeline.tracking import Tracker, TrackingError

    try:
        tracker = Tracker.open(None, chosen.experiment, create=False)
        show_sweep(tracker, chosen.sweep, chosen.out)
    except TrackingError as error:
        return _refuse(str(error))
    return OK


def reproduce(arguments: Sequence[str]) -> int:
    """Run `bp reproduce [RUN…] [--sweep ID] [--sample N] [--baselines [STUDY…]]`."""
    parser = _reproduce_parser()
    chosen = parser.parse_args(arguments)
    if chosen.studies is None and (chosen.update or chosen.quick):
        parser.error("--update and --quick belong to --baselines: add it")
    from bp_pipeline.config import ConfigError
    from bp_pipeline.reproduce import Request
    from bp_pipeline.reproduce import reproduce as verify
    from bp_pipeline.tracking import TrackingError

    try:
        return verify(Request(**vars(chosen)))
    except (ConfigError, TrackingError) as error:
        return _refuse(str(error))


def explain(arguments: Sequence[str]) -> int:
    """Run `bp explain [OVERRIDES] [--sample N] [--epoch E] [--replicate K] [--format F]`."""
    from bp_pipeline.config import ConfigError

    try:
        from bp_pipeline.explain.command import run

        return run(arguments)
    except ConfigError as error:
        return _refuse(str(error))


def ui(arguments: Sequence[str]) -> int:
    """Run `bp ui [SWEEP] [--port N] [--no-browser]`."""
    parser = ArgumentParser(prog="bp ui", description="Serve MLflow's UI and link to a sweep.")
    parser.add_argument("sweep", nargs="?", help="run id of the sweep (default: the newest sweep)")
    parser.add_argument("--port", metavar="N", type=_port, help="default: 5000, or a free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    parser.add_argument(
        "--experiment", metavar="NAME", default=_EXPERIMENT, help="of MLflow (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    from bp_pipeline.tracking import TrackingError
    from bp_pipeline.ui import run_ui

    try:
        return run_ui(chosen.experiment, chosen.sweep, chosen.port, browser=not chosen.no_browser)
    except TrackingError as error:
        return _refuse(str(error))


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "report": report,
    "reproduce": reproduce,
    "explain": explain,
    "ui": ui,
}

_HELP = """\
usage: bp COMMAND …

When does back-propagation learn XOR? Sweeps, tracked in MLflow, and their reports.

  train     train one run, or a sweep of runs: bp train [OVERRIDES] [--multirun]
  report    write and print the report of a sweep: bp report [SWEEP] [--out DIR]
  reproduce train recorded runs again and compare bits: bp reproduce [RUN…] [--sweep ID]
  explain   show one training step, number by number: bp explain [OVERRIDES] [--sample N] …
  ui        serve the MLflow UI, with a link to the comparison of a sweep: bp ui [SWEEP]

`bp COMMAND --help` says more. `bp --version` prints the version.
Tab completion in bash: eval "$(bp -sc install=bash)\""""


def _reproduce_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="bp reproduce",
        description="Train recorded runs again and compare bits; by default the newest sweep's. "
        "Exit code: 0 all identical, 1 any is not, 2 the request is wrong.",
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="*", help="run id")
    add("--sweep", metavar="ID", help="all runs of this sweep")
    add("--sample", metavar="N", type=_positive, help="N finished runs of the experiment")
    today = date.today().toordinal()
    add("--seed", metavar="S", type=int, default=today, help="which ones; consecutive seeds walk "
        "through all runs (default: today's number, %(default)s)")  # fmt: skip
    add("--baselines", metavar="STUDY", dest="studies", nargs="*",
        help="compare with experiments/STUDY/baseline.json (default: of all studies)")  # fmt: skip
    add("--quick", action="store_true", help="leave out studies that take longer than a minute")
    add("--update", action="store_true", help="make the results of --baselines the new baselines")
    add("--engine", choices=["numpy", "compiled"], help="what trains (default: as recorded)")
    add(
        "--experiment", metavar="NAME", default=_EXPERIMENT, help="of MLflow (default: %(default)s)"
    )
    add("--json", metavar="FILE", type=Path, help="write the verdicts as a list of objects")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"must be a whole number >= 1, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ArgumentTypeError(f"must be a port, 1 to 65535, got {text!r}")
    return int(text)


def _no_such_command(name: str) -> str:
    if not name:
        return _HELP
    close = get_close_matches(name, COMMANDS, n=1)
    guess = f"Did you mean `bp {close[0]}`? " if close else ""
    names = ", ".join(COMMANDS)
    return f"`bp` must be followed by a command, got {name!r}. {guess}There are: {names}."


def _complete(arguments: Sequence[str]) -> int:
    """Answer Hydra's completion script, which asks `bp` itself, or print that script."""
    query = next((word for word in arguments if word.startswith("query=")), None)
    if query:
        _, _, line = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
        command, space, _ = line.lstrip().partition(" ")
        if not space:
            print("\n".join(name for name in COMMANDS if name.startswith(command)))
        elif command in ("train", "explain"):
            from bp_pipeline.config import complete

            complete(query, _overrides_only(line.lstrip()))
        return OK
    from bp_pipeline.config import ConfigError, compose

    try:
        compose(arguments, program="bp")
    except ConfigError as error:
        return _refuse(str(error))
    return OK


def _overrides_only(line: str) -> str:
    """Leave out the options before the half-typed word, which Hydra does not know."""
    command, *words, last = line.split(" ")
    return " ".join([command, *(w for w in words if "=" in w and not w.startswith("-")), last])


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return WRONG_REQUEST
