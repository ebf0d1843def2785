"""MLflow's server with its UI, as a child of this process that never outlives it.

Owns starting it, waiting until it answers, showing its pages, and ending it with every process that
it started. The parent holds one end of a pipe and the child reads the other: two lines say which
store may be opened and where to listen, and the end of the file, which also follows when the parent
is killed, that it is over. When it is to stop is left to `cli/`.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Mapping
from contextlib import closing, suppress
from urllib.error import URLError
from urllib.request import urlopen

from bp_pipeline.config.errors import without_passwords

HOST = "127.0.0.1"
DEFAULT_PORT = 5000  # MLflow's own

_PATIENCE = 5.0  # seconds that the server has to end by itself
_POLL = 0.1  # seconds
_BROWSER_DEADLINE = 2.0  # seconds; most browsers start in a fraction of one
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it starts a dozen processes for GenAI alone
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class UiEnded(RuntimeError):
    """The server has ended by itself; the text says why."""


class UiServer:
    """A server that is starting; it opens no store before `serve`.

    Importing MLflow takes the server as long as its parent needs to look at the store, so that both
    are done at once.
    """

    def __init__(self) -> None:
        self.url = ""
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env={**_ENVIRONMENT, **os.environ},
            text=True,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends all of them
        )

    def serve(self, uri: str, port: int) -> None:
        """Open a store and listen; wait until it answers.

        Raises
        ------
        UiEnded
            Where it has ended by itself.
        """
        self.url = f"http://{HOST}:{port}"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, as it will turn out
            self._process.stdin.write(f"{uri}\n{port}\n")
            self._process.stdin.flush()
        while not self._answers():
            self._wait(_POLL)

    def wait(self) -> None:
        """Wait until the server ends by itself.

        Raises
        ------
        UiEnded
            Where it has.
        """
        self._wait(None)

    def close(self) -> None:
        """End the server and all that it started; wait until they are gone."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self._log.close()

    def _answers(self) -> bool:
        with suppress(URLError, OSError), urlopen(f"{self.url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def _wait(self, seconds: float | None) -> None:
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(seconds)
            self._log.seek(0)
            lines = [line.strip() for line in self._log if line.strip()]
            raise UiEnded(lines[-1] if lines else f"exit code {code}")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) != 0


def free_port() -> int:
    """Return MLflow's own port, or another one where that is taken."""
    if is_free(DEFAULT_PORT):
        return DEFAULT_PORT
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def show_pages(url: str, pages: Mapping[str, str], *, browser: bool) -> None:
    """Print the pages of a sweep, and open the first one where there is a browser.

    Parameters
    ----------
    url
        Of the UI; a password in it is not shown.
    pages
        As from `Reader.page_links`.
    browser
        Whether one may be opened.
    """
    address = without_passwords(url).rstrip("/")
    print(f"Runs compared in charts: {address}/{pages['charts']}")
    print(f"The same in a table:     {address}/{pages['table']}")
    print(f"The sweep, its report:   {address}/{pages['sweep']}", flush=True)
    if browser and _has_browser():
        page = f"{address}/{pages['charts']}"
        opening = threading.Thread(target=webbrowser.open, args=[page], daemon=True)
        opening.start()
        opening.join(_BROWSER_DEADLINE)  # and not for one that runs until its user closes it


def _has_browser() -> bool:
    """Whether a window can open: not where only a browser of the terminal would be found."""
    variables = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform != "linux" or any(os.environ.get(name) for name in variables)


def _be_the_server() -> None:
    """Import MLflow, wait for what to serve, and end with the parent."""
    from mlflow.cli import cli

    uri, port = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    if not port:
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    options = ["--backend-store-uri", uri, "--host", HOST, "--port", port, "--workers", "1"]
    cli(["server", *options], standalone_mode=True)


def _end_with_parent() -> None:
    """End all of the server when its parent has gone; SIGTERM lets it finish its requests."""
    sys.stdin.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(_PATIENCE)  # no longer, as a request may never end
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    _be_the_server()
