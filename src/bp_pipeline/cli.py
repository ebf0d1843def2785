"""`bp`: the command line.

Owns sub-commands, exit codes, what the process does when a signal stops it, and that whatever is
wrong with a request is one message on stderr. What a command does is left to the modules it hands
over to. These are imported only then, so that `bp --help`, tab completion and refusals do not wait
for MLflow or Numba.
"""

import errno
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import date
from difflib import get_close_matches
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

OK, FAILED, WRONG_REQUEST = 0, 1, 2
_EXPERIMENT = "bp_pipeline"  # where `bp report` looks: the default of `tracking.experiment`
_COMPLETION = ("-sc", "--shell-completion")
_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, `kill` or scancel, and a terminal that is closed
_COLLECT_AFTER = 100_000  # objects; recording makes many, and with 700 spends a tenth on garbage
# What writing fails with where it cannot be helped, such as a full disk or a reader that has left.
_UNWRITTEN = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from bp_pipeline.config.errors import Refusal

        raise Refusal(f"`{self.prog}` cannot be asked so: {message}. See `{self.prog} --help`.")


class Stopped(KeyboardInterrupt):
    """A signal that asks this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def main() -> int:
    """Run `bp` with the arguments of this process.

    Returns
    -------
    int
        0 where all is well, 1 where something ran and failed, 2 where the request is wrong; after
        a signal 128 and its number: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    _open_streams()
    with _messages(), _others_silent(), _process() as stops:
        try:
            status = _exit_code(sys.argv[1:])
            sys.stdout.flush()
            return status
        except BaseException as error:
            if stops:  # whatever came of it, such as a terminal that is gone
                _ignore_signals()
                with suppress(OSError):
                    print("Interrupted.", file=sys.stderr)
                return stops[0].exit_code
            if not isinstance(error, OSError) or error.errno not in _UNWRITTEN:
                raise
            _discard(sys.stdout)
            if not isinstance(error, BrokenPipeError):  # who read it has left, as `head` does
                print(f"Not all could be written: {error.strerror}.", file=sys.stderr)
            return FAILED


def _open_streams() -> None:
    """Make sure that there is something to print to, also where a user has closed it.

    Else the next file that is opened, such as the database, would be in its place.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):  # a character less is better than no report
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard(stream: Any) -> None:
    """Let go of all that was printed, and will be, to where it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Messages:
    """Standard error, which no work depends on: what it cannot take is not worth a run."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._losses_allowed():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._losses_allowed():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _losses_allowed(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError:
            _discard(self._stream)


@contextmanager
def _messages() -> Iterator[None]:
    stream = sys.stderr
    sys.stderr = _Messages(stream)
    try:
        yield
    finally:
        sys.stderr = stream


@contextmanager
def _others_silent() -> Iterator[None]:
    """Keep what libraries warn of from users, who can do nothing about it, and from being errors.

    With `HYDRA_FULL_ERROR`, which asks for tracebacks, it is shown.
    """
    if os.environ.get("HYDRA_FULL_ERROR"):
        yield
        return
    last_resort = logging.lastResort
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.showwarning = lambda *_, **__: None  # of filters that libraries set
        logging.lastResort = None
        try:
            yield
        finally:
            logging.lastResort = last_resort


def _ignore_signals() -> None:
    """Let nothing cut short a process that has stopped, such as Ctrl-C pressed once too often."""
    for number in _stops():
        signal.signal(number, signal.SIG_IGN)


def _stops() -> list[int]:
    """Return what stops this process; no signal does, where it is only a thread of another's."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [getattr(signal, name) for name in _STOPS if hasattr(signal, name)]


@contextmanager
def _process() -> Iterator[list[Stopped]]:
    """Set how this process is stopped and how often it looks for garbage.

    All of it is undone, unless a signal came: what has been stopped is only to end.

    Yields
    ------
    list
        The signals that came. Each raises `Stopped` in the main thread, unless what the one before
        left behind is still being cleared up: a second Ctrl-C, too, leaves nothing RUNNING.
    """
    stops: list[Stopped] = []

    def stop(number: int, _: FrameType | None) -> None:
        error = sys.exc_info()[1]
        while error is not None and not isinstance(error, Stopped):
            error = error.__context__
        if error is None:
            stops.append(Stopped(number))
            raise stops[-1]

    # What is ignored stays so: by `nohup`, and by a shell that runs a script in the background.
    before = {n: signal.getsignal(n) for n in _stops() if signal.getsignal(n) != signal.SIG_IGN}
    thresholds = gc.get_threshold()
    try:
        for number in before:
            signal.signal(number, stop)
        gc.set_threshold(_COLLECT_AFTER, *thresholds[1:])
        yield stops
    finally:
        gc.set_threshold(*thresholds)
        for number, handler in before.items() if not stops else ():
            signal.signal(number, handler)


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
            return COMMANDS[name](rest) if name in COMMANDS else _complete(arguments)
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


def train(arguments: Sequence[str]) -> int:
    """Run `bp train [OVERRIDES] [--multirun]`: a Hydra application."""
    if not set(_COMPLETION).isdisjoint(arguments):
        return _complete(arguments)
    from bp_pipeline.config import compose

    composition = compose(arguments)
    if not composition.jobs:  # Hydra was only asked to show something
        return OK
    from bp_pipeline.sweep import run_jobs

    return run_jobs(composition)


def draw_map(arguments: Sequence[str]) -> int:
    """Run `bp map [OVERRIDES] [--zoom N]`: a Hydra application."""
    parser = _Parser(prog="bp map", add_help=False, allow_abbrev=False)
    parser.add_argument("--zoom", type=_positive, default=0)
    chosen, rest = parser.parse_known_args(arguments)
    from bp_pipeline.maps import compose_maps

    composition = compose_maps(rest)
    if not composition.jobs:
        return OK
    from bp_pipeline.maps import run_maps

    return run_maps(composition, chosen.zoom)


def report(arguments: Sequence[str]) -> int:
    """Run `bp report [SWEEP] [--out DIR]`."""
    parser = _sweep_parser("bp report", "Write and print the report of a sweep, or of a map.")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write to")
    chosen = parser.parse_args(arguments)
    from bp_pipeline.maps import MAP, show_map
    from bp_pipeline.publish import report_sweep
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(None, chosen.experiment) as reader:
        is_map = chosen.sweep is not None and reader.is_of_kind(MAP, chosen.sweep)
        show = show_map if is_map else report_sweep
        show(reader, chosen.sweep, chosen.out)
    return OK


def list_(arguments: Sequence[str]) -> int:
    """Run `bp list`."""
    description = "List the sweeps and maps that are recorded here, the newest first."
    parser = _in_experiment(_Parser("bp list", description=description))
    experiment = parser.parse_args(arguments).experiment
    from bp_pipeline.report import list_sweeps, print_sweeps
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(None, experiment) as reader:
        listed = list_sweeps(reader)
    print_sweeps(listed)
    return OK


def champion(arguments: Sequence[str]) -> int:
    """Run `bp champion [SWEEP]`."""
    parser = _sweep_parser("bp champion", "Make the champion of a sweep the one that is served.")
    chosen = parser.parse_args(arguments)
    from bp_pipeline.publish import crown_champions
    from bp_pipeline.tracking import open_for_reading, open_for_writing

    with open_for_reading(None, chosen.experiment) as reader:  # which makes no store
        run_id = reader.find_sweep(chosen.sweep).info.run_id
    with open_for_writing(None, chosen.experiment) as writer:
        crown_champions(writer, run_id)
    return OK


def compare(arguments: Sequence[str]) -> int:
    """Run `bp compare SWEEP SWEEP [--out DIR]`."""
    description = "Compare two sweeps: what was asked, and what came out, with tests."
    parser = _Parser("bp compare", description=description)
    parser.add_argument("sweeps", nargs=2, metavar="SWEEP", help="id, digest or name, or beginning")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write to")
    chosen = _in_experiment(parser).parse_args(arguments)
    from bp_pipeline.publish import compare_sweeps
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(None, chosen.experiment) as reader:
        first, second = chosen.sweeps
        compare_sweeps(reader, first, second, chosen.out)
    return OK


def reproduce(arguments: Sequence[str]) -> int:
    """Run `bp reproduce [RUN…] [--sweep ID] [--sample N] [--baselines [STUDY…]]`."""
    parser = _reproduce_parser()
    chosen = parser.parse_args(arguments)
    if chosen.studies is None and (chosen.update or chosen.quick):
        parser.error("--update and --quick belong to --baselines: add it")
    overrides = [word for word in chosen.runs if word.startswith("cluster")]
    chosen.runs = [word for word in chosen.runs if word not in overrides]
    from bp_pipeline.config import compose
    from bp_pipeline.config.keys import LOCAL
    from bp_pipeline.reproduce import Request
    from bp_pipeline.reproduce import reproduce as verify

    jobs = compose(overrides, program="bp reproduce").jobs if overrides else ()
    cluster = jobs[0].config.cluster if jobs else LOCAL
    return verify(Request(**vars(chosen), cluster=cluster))


def explain(arguments: Sequence[str]) -> int:
    """Run `bp explain [OVERRIDES] [--sample N] [--epoch E] [--replicate K] [--format F]`."""
    from bp_pipeline.explain.command import run

    return run(arguments)


def playground(arguments: Sequence[str]) -> int:
    """Run `bp playground [OVERRIDES | RUN] [--out FILE]`."""
    from bp_pipeline.playground.command import run

    return run(arguments)


def ui(arguments: Sequence[str]) -> int:
    """Run `bp ui [SWEEP] [--port N] [--no-browser]`."""
    parser = _sweep_parser("bp ui", "Serve MLflow's UI and link to a sweep.")
    parser.add_argument("--port", metavar="N", type=_port, help="default: 5000, or a free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    chosen = parser.parse_args(arguments)
    return _serve_ui(chosen.experiment, chosen.sweep, chosen.port, browser=not chosen.no_browser)


def _serve_ui(experiment: str, sweep: str | None, port: int | None, *, browser: bool) -> int:
    """Serve MLflow's UI until a signal ends it; where a server keeps runs, only print its links."""
    from bp_pipeline.terminal import say
    from bp_pipeline.tracking import resolve_uri, ui_server

    if resolve_uri(None).startswith("http"):
        uri, pages = _sweep_pages(experiment, sweep)
        ui_server.show_pages(uri, pages, browser=browser)
        return OK
    if port is not None and not ui_server.is_free(port):
        return _refuse(f"`--port` must be free, got {port}. Leave it out, and a free one is taken.")
    is_shown = False
    try:
        with closing(ui_server.UiServer()) as server:
            uri, pages = _sweep_pages(experiment, sweep)
            server.serve(uri, port or ui_server.free_port())
            is_shown = True
            ui_server.show_pages(server.url, pages, browser=browser)
            say("Ctrl-C stops the server.")
            server.wait()
    except Stopped:
        if not is_shown:
            raise
    except ui_server.UiEnded as error:
        say(f"MLflow's server ended by itself: {error}")
        return FAILED
    return OK


def _sweep_pages(experiment: str, name: str | None) -> tuple[str, dict[str, str]]:
    """Return the store's URI and a sweep's pages, having made sure that there is something."""
    from bp_pipeline.report import read_sweep
    from bp_pipeline.tracking import TrackingError, open_for_reading, open_for_writing

    with open_for_reading(None, experiment) as reader:
        run_id = reader.find_sweep(name).info.run_id
        uri, pages = reader.uri, reader.page_links(run_id)
        if reader.has_comparison(run_id):
            if reader.is_moved:
                with suppress(TrackingError):  # somebody else's is shown as far as MLflow can
                    open_for_writing(None, experiment).close()
            return uri, pages
        sweep = read_sweep(reader, run_id)  # one that was broken off
    with open_for_writing(None, experiment) as writer:
        writer.log_comparison(run_id, sweep.axes, len(sweep.finished))
    return uri, pages


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "map": draw_map,
    "report": report,
    "list": list_,
    "compare": compare,
    "champion": champion,
    "reproduce": reproduce,
    "explain": explain,
    "playground": playground,
    "ui": ui,
}

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
  explain     show one training step, number by number: bp explain [OVERRIDES] [--sample N] …
  playground  write a page that trains in the browser: bp playground [OVERRIDES | RUN]
  ui          serve the MLflow UI, with a link to the comparison of a sweep: bp ui [SWEEP]

`bp COMMAND --help` says more. `bp --version` prints the version.
Tab completion in bash: eval "$(bp -sc install=bash)\""""


def _sweep_parser(program: str, description: str) -> _Parser:
    """Make the parser of a command that is about one sweep."""
    parser = _Parser(prog=program, description=description)
    sweep = "id, digest or name of the sweep, or its beginning (default: the newest sweep)"
    parser.add_argument("sweep", nargs="?", help=sweep)
    return _in_experiment(parser)


def _in_experiment(parser: _Parser) -> _Parser:
    named = "of MLflow (default: %(default)s)"
    parser.add_argument("--experiment", metavar="NAME", default=_EXPERIMENT, help=named)
    return parser


def _reproduce_parser() -> _Parser:
    parser = _Parser(
        prog="bp reproduce",
        description="Train recorded runs again and compare bits; by default the newest sweep's. "
        "Exit code: 0 all identical, 1 any is not, 2 the request is wrong.",
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="*", help="run id; or where to train, as in cluster=dask")
    add("--sweep", metavar="SWEEP", help="all runs of this sweep")
    add("--sample", metavar="N", type=_positive, help="N finished runs of the experiment")
    today = date.today().toordinal()
    add("--seed", metavar="S", type=int, default=today, help="which ones; consecutive seeds walk "
        "through all runs (default: today's number, %(default)s)")  # fmt: skip
    add("--baselines", metavar="STUDY", dest="studies", nargs="*",
        help="compare with experiments/STUDY/baseline.json (default: of all studies)")  # fmt: skip
    add("--quick", action="store_true", help="leave out studies that take longer than a minute")
    add("--update", action="store_true", help="make the results of --baselines the new baselines")
    add("--engine", choices=["numpy", "compiled"], help="what trains (default: as recorded)")
    add("--json", metavar="FILE", type=Path, help="write the verdicts as a list of objects")
    return _in_experiment(parser)


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
        from bp_pipeline.completion import candidates

        print("\n".join(candidates(query, os.environ.get("COMP_LINE", ""), COMMANDS)))
    else:
        from bp_pipeline.config import compose

        compose(arguments, program="bp")
    return OK


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return WRONG_REQUEST


if __name__ == "__main__":
    sys.exit(main())
