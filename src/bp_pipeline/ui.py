"""`bp ui`: MLflow's UI on the store, and the link that lands on the comparison of a sweep.

Owns the order of things and what the user reads. The server is `tracking/ui_server.py`'s, what the
link shows `tracking/comparison.py`'s.
"""

import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager

from bp_pipeline.config.errors import without_passwords
from bp_pipeline.report import read_sweep
from bp_pipeline.terminal import say
from bp_pipeline.tracking import Tracker, TrackingError, resolve_uri
from bp_pipeline.tracking.ui_server import UiServer, free_port, is_free

_POLL = 0.1  # seconds
_BROWSER_DEADLINE = 2.0  # seconds; most browsers start in a fraction of one
_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, `kill`, and a terminal that is closed


def run_ui(experiment: str, sweep: str | None, port: int | None, *, browser: bool) -> int:
    """Serve MLflow's UI until Ctrl-C; where runs are kept on a server, only print its link.

    Parameters
    ----------
    experiment
        MLflow's name of it.
    sweep
        Run id of the sweep to show; the newest by default.
    port
        To listen on; 5000 by default, or another one where that is taken.
    browser
        Whether to open one, where there is one.

    Returns
    -------
    int
        0 where the server was told to stop, 1 where it ended by itself, 130 where it was told to
        stop before it had started.

    Raises
    ------
    TrackingError
        Where the port is taken, or there is no such store or sweep.
    """
    if resolve_uri(None).startswith("http"):
        _show(*_links(experiment, sweep), browser=browser)
        return 0
    if port is not None and not is_free(port):
        raise TrackingError(
            f"`--port` must be free, got {port}. Leave it out, and a free one is taken."
        )
    with _stops() as stopped, closing_server() as server:
        uri, links = _links(experiment, sweep)
        server.serve(uri, port or free_port())
        while not (stopped.wait(_POLL) or server.problem or server.is_up):
            pass
        if stopped.is_set():
            return 130
        if server.problem is None:
            _show(server.url, links, browser=browser)
            say("Ctrl-C stops the server.")
        while not (stopped.wait(_POLL) or server.problem):
            pass
        if server.problem:
            say(f"MLflow's server ended by itself: {server.problem}")
        return int(server.problem is not None)


@contextmanager
def closing_server() -> Iterator[UiServer]:
    """Start a server, and leave nothing of it."""
    server = UiServer()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _stops() -> Iterator[threading.Event]:
    """Give an event that is set by whatever asks this process to stop, so that none is lost."""
    stopped = threading.Event()
    numbers = [getattr(signal, name) for name in _STOPS if hasattr(signal, name)]
    before = {n: signal.signal(n, lambda *_: stopped.set()) for n in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _links(experiment: str, sweep: str | None) -> tuple[str, dict[str, str]]:
    """Give the store's URI and the sweep's pages, having made sure that there is something."""
    with closing(Tracker.open(None, experiment, create=False)) as tracker:
        parent_run_id = tracker.find_sweep(sweep).info.run_id
        if not tracker.has_comparison(parent_run_id):  # as of a sweep that was broken off
            read = read_sweep(tracker, parent_run_id)
            tracker.log_comparison(parent_run_id, read.axes, len(read.finished))
        return tracker.uri, tracker.links(parent_run_id)


def _show(url: str, links: dict[str, str], *, browser: bool) -> None:
    address = without_passwords(url).rstrip("/")
    print(f"Runs compared in charts: {address}/{links['charts']}")
    print(f"The same in a table:     {address}/{links['table']}")
    print(f"The sweep, its report:   {address}/{links['sweep']}", flush=True)
    if browser and _has_browser():
        _open_browser(f"{address}/{links['charts']}")


def _open_browser(address: str) -> None:
    """Open a browser, without waiting for one that runs until its user closes it."""
    opening = threading.Thread(target=webbrowser.open, args=[address], daemon=True)
    opening.start()
    opening.join(_BROWSER_DEADLINE)


def _has_browser() -> bool:
    """Say whether a window can open: not where only a browser of the terminal would be found."""
    variables = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform != "linux" or any(os.environ.get(name) for name in variables)
