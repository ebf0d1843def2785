"""MLflow's server with its UI, as a child of this process that never outlives it.

Owns starting it, waiting until it answers, and ending it with every process that it started. The
parent holds one end of a pipe and the child reads the other: a byte says that the store may be
opened, and the end of the file, which also follows when the parent is killed, that it is over.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from urllib.error import URLError
from urllib.request import urlopen

HOST = "127.0.0.1"
DEFAULT_PORT = 5000  # MLflow's own

_PATIENCE = 5.0  # seconds that the server has to end by itself
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it starts a dozen processes for GenAI alone
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


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
        """Open a store and listen; `is_up` tells when."""
        self.url = f"http://{HOST}:{port}"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, as `problem` will tell
            self._process.stdin.write(f"{uri}\n{port}\n")
            self._process.stdin.flush()

    @property
    def is_up(self) -> bool:
        """Whether the server answers."""
        with suppress(URLError, OSError), urlopen(f"{self.url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    @property
    def problem(self) -> str | None:
        """Why the server has ended by itself, or None while it runs."""
        if self._process.poll() is None:
            return None
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def stop(self) -> None:
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


def is_free(port: int) -> bool:
    """Say whether nobody listens on a port of this machine."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) != 0


def free_port() -> int:
    """Give MLflow's own port, or another one where that is taken."""
    if is_free(DEFAULT_PORT):
        return DEFAULT_PORT
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _serve() -> None:
    """Be the server: import MLflow, wait for what to serve, and end with the parent."""
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
    _serve()
