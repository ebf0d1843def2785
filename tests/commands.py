"""`bp` as its users run it: a process with a folder, an environment and streams of its own.

`run_bp` forks it from one process that has imported what is slow to import, which saves most of a
command's time. Tests of signals, of what starting costs, and of variables that are read while
modules are imported start the script `BP` itself.
"""

import atexit
import gc
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

_SLOW = (
    "matplotlib.backends.backend_svg",
    "mlflow.store.tracking.sqlalchemy_store",
    "pyarrow.parquet",
    "scipy.stats",
    "bp_pipeline.config",
    "bp_pipeline.core.compiled",
    "bp_pipeline.cli.explain",
    "bp_pipeline.maps",
    "bp_pipeline.cli.playground",
    "bp_pipeline.reproduce",
    "bp_pipeline.sweep",
)

BP = str(Path(sys.executable).with_name("bp"))


def run_bp(
    *words: str | Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    code: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; fail where it ends with another exit code than the expected one."""
    command = [BP, *map(str, words)]
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        request = pickle.dumps((command, str(cwd), dict(environment or os.environ)))
        parent = _parent()
        socket.send_fds(
            parent, [len(request).to_bytes(8, "big")], [stdout.fileno(), stderr.fileno()]
        )
        parent.sendall(request)
        status = int.from_bytes(parent.recv(8), "big", signed=True)
        streams = []
        for stream in (stdout, stderr):
            stream.seek(0)
            streams.append(stream.read())
    assert code in (None, status), streams[1]
    return subprocess.CompletedProcess(command, status, *streams)


@cache
def _parent() -> socket.socket:
    """Start the process that others are forked from."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve(client: socket.socket) -> None:
    """Fork a command for every request, one at a time, until nobody can ask any more."""
    while True:
        head, streams, _, _ = socket.recv_fds(client, 8, 2)
        if not head:
            return
        request = client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        child = os.fork()
        if child == 0:
            client.close()
            _become(*pickle.loads(request), *streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        client.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))


def _become(command: list[str], cwd: str, environment: dict[str, str], out: int, err: int) -> None:
    """Run a command in this process, and end it."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 64)
    sys.argv = command
    from bp_pipeline.cli import main

    status = main()
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)  # without taking all modules apart, which takes longer than most commands


def _import_all() -> None:
    """Import what commands import, and what MLflow imports only when it opens a database."""
    from bp_pipeline.ensemble.engines import choose_cache

    choose_cache()  # before Numba is imported
    for name in _SLOW:
        import_module(name)


if __name__ == "__main__":
    _import_all()
    gc.freeze()  # so that a child does not copy what it collects
    _serve(socket.socket(fileno=int(sys.argv[1])))
