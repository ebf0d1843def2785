"""What `bp` does to its process: its streams, what stops it, and what its libraries print.

Owns that standard output and error can be written to, whatever a user has closed; that a signal
ends a command in good order; and that all this is undone where no signal came.
"""

import errno
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from types import FrameType
from typing import Any

OK, FAILED, WRONG_REQUEST = 0, 1, 2  # exit codes
_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, `kill` or scancel, and a terminal that is closed
_COLLECT_AFTER = 100_000  # objects; recording makes many, and with 700 spends a tenth on garbage
# What writing fails with where it cannot be helped, such as a full disk or a reader that has left.
_UNWRITTEN = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Stopped(KeyboardInterrupt):
    """A signal that asks this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def run_in_process(command: Callable[[], int]) -> int:
    """Run a command in a process that is prepared for it, and undo that, unless a signal came.

    Returns
    -------
    int
        What the command returned; 1 where what it printed could not be written; after a signal 128
        and its number: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    _open_streams()
    with _messages(), _others_silent(), _process() as stops:
        try:
            status = command()
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
    """Drop all that was printed, and will be, to where it cannot be written."""
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
        logging.lastResort = logging.NullHandler()  # None would have a message of its own
        try:
            yield
        finally:
            logging.lastResort = last_resort


def _ignore_signals() -> None:
    """Ignore what would cut short a process that has stopped, such as Ctrl-C pressed again."""
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
