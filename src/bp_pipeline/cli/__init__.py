"""`bp`: the command line.

Owns sub-commands, exit codes, and that whatever is wrong with a request is one message on stderr.
What a command does is left to the stages it hands over to. These are imported only then, so that
`bp --help`, tab completion and refusals do not wait for MLflow or Numba.

    process.py         streams, signals, exit codes after them
    commands.py        the commands; explain.py and playground.py, those with a page of arguments
    parsers.py         what their arguments have in common; requested_run.py, [OVERRIDES | RUN]
    completion.py      what Tab offers
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version

from bp_pipeline.cli.commands import COMMANDS
from bp_pipeline.cli.process import OK, WRONG_REQUEST, run_in_process

__all__ = ["COMMANDS", "main"]

_COMPLETION = ("-sc", "--shell-completion")


def main() -> int:
    """Run `bp` with the arguments of this process.

    Returns
    -------
    int
        0 where all is well, 1 where something ran and failed, 2 where the request is wrong; after
        a signal 128 and its number: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    return run_in_process(lambda: _exit_code(sys.argv[1:]))


def _exit_code(arguments: Sequence[str]) -> int:
    """Run a command, also where it ends itself as argument parsers do."""
    try:
        return _run(arguments)
    except SystemExit as end:
        return WRONG_REQUEST if end.code else OK


def _run(arguments: Sequence[str]) -> int:
    """Run a command; the one place where whatever is refused becomes a message."""
    name, *rest = arguments or [""]
    if name in COMMANDS or name in _COMPLETION:
        try:
            if name in _COMPLETION:
                return _complete(arguments)
            return _complete(rest) if _is_completion(name, rest) else COMMANDS[name](rest)
        except Exception as error:
            from bp_pipeline.config.errors import Refusal

            if isinstance(error, MemoryError):
                return _refuse(f"`bp {name}` must fit into memory: {error}. Ask for less.")
            if not isinstance(error, Refusal):
                raise
            return _refuse(str(error))
    if name in ("-h", "--help"):
        print(_HELP)
    elif name == "--version":
        print(f"bp {version('bp_pipeline')}")
    else:
        return _refuse(_no_such_command(name))
    return OK


def _no_such_command(name: str) -> str:
    if not name:
        return _HELP
    close = get_close_matches(name, COMMANDS, n=1)
    guess = f"Did you mean `bp {close[0]}`? " if close else ""
    names = ", ".join(COMMANDS)
    return f"`bp` must be followed by a command, got {name!r}. {guess}There are: {names}."


def _is_completion(name: str, words: Sequence[str]) -> bool:
    """Whether Hydra's flag stands behind the command that is Hydra's, as its help says."""
    return name == "train" and not set(_COMPLETION).isdisjoint(words)


def _complete(arguments: Sequence[str]) -> int:
    """Answer Hydra's completion script, which asks `bp` itself, or print that script."""
    query = next((word for word in arguments if word.startswith("query=")), None)
    if query:
        from bp_pipeline.cli.completion import candidates

        print("\n".join(candidates(query, os.environ.get("COMP_LINE", ""), COMMANDS)))
    else:
        from bp_pipeline.config import compose

        compose(arguments, program="bp")
    return OK


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return WRONG_REQUEST


_HELP = """\
usage: bp COMMAND …

When does back-propagation learn XOR? Sweeps, tracked in MLflow, and their reports.

  train       train one run, or a sweep of runs: bp train [OVERRIDES] [--multirun]
  map         train a network for every pixel of two axes: bp map [OVERRIDES] [--zoom N]
  report      write and print the report of a sweep: bp report [SWEEP] [--out DIR]
  list        list the sweeps and maps of this store, with what was best in each: bp list
  compare     what differs between two sweeps, tested: bp compare SWEEP SWEEP
  champion    make a sweep's champion the one that is served: bp champion SWEEP
  reproduce   train recorded runs again and compare bits: bp reproduce [RUN…] [--sweep ID]
  explain     show one training step, number by number: bp explain [OVERRIDES | RUN] …
  playground  write a page that trains in the browser: bp playground [OVERRIDES | RUN]
  ui          serve the MLflow UI, with a link to the comparison of a sweep: bp ui [SWEEP]

`bp COMMAND --help` says more. `bp --version` prints the version.
Tab completion in bash: eval "$(bp -sc install=bash)\""""
