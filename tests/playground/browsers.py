"""Real browsers without a driver: they open a page of a local server, which reports back to it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest

_LONGEST = 300  # seconds until a browser has answered
_TYPES = {".html": "text/html", ".mjs": "text/javascript", ".json": "application/json"}
_NAMES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}
_FLAGS = {
    "chromium": [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync",
        "--user-data-dir={profile}",
    ],
    "firefox": ["--headless", "--no-remote", "--profile", "{profile}"],
}  # fmt: skip
BROWSERS = list(_NAMES)


def answer_of(browser: str, pages: Mapping[str, str], address: str, profile: Path) -> Any:
    """Open an address in a browser; return what its page posts as JSON.

    Parameters
    ----------
    browser
        One of `BROWSERS`.
    pages
        What the server has, by name; `address` is one of them, perhaps with a `#…`.
    profile
        An empty folder for what the browser writes.
    """
    program = next(filter(None, map(shutil.which, _NAMES[browser])), None)
    if program is None and os.environ.get("BP_BROWSER") == "required":
        pytest.fail(f"There is no {browser}; .ci/install-browser should have installed it.")
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(_NAMES[browser])} is installed")
    with _server(pages) as (port, answers):
        url = f"http://127.0.0.1:{port}/{address}"
        command = [program, *(flag.format(profile=profile) for flag in _FLAGS[browser]), url]
        environment = {**os.environ, "HOME": str(profile)}
        silent = subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, stdout=silent, stderr=silent)
        try:
            return answers.get(timeout=_LONGEST)
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def _server(pages: Mapping[str, str]) -> Iterator[tuple[int, "Queue[Any]"]]:
    answers: Queue[Any] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = pages.get(self.path.removeprefix("/"))
            self.send_response(404 if text is None else 200)
            self.send_header("Content-Type", _TYPES.get(Path(self.path).suffix, "text/plain"))
            self.end_headers()
            self.wfile.write((text or "").encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            answers.put(json.loads(body))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, answers
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
