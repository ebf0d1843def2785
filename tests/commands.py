"""`bp` as its users run it: a process with a folder, an environment and streams of its own.

`run_bp` and `start_bp` fork it from one process that has imported what is slow to import, which
saves most of a command's time. Tests of signals that are handled, of what starting costs, and of
variables that are read while modules are imported start the script `BP` itself.
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
        request = command, str(cwd), dict(environment or os.environ), True
        status = _ask(request, [stdout.fileno(), stderr.fileno()])
        streams = []
        for stream in (stdout, stderr):
            stream.seek(0)
            streams.append(stream.read())
    assert code in (None, status), streams[1]
    return subprocess.CompletedProcess(command, status, *streams)


def start_bp(*words: str | Path, cwd: Path) -> tuple[int, int]:
    """Start a command in a process group of its own, whose output nobody reads.

    Return its process id, and a descriptor that can be read once it, and all it started, is dead.
    """
    ours, theirs = os.pipe()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    request = [BP, *map(str, words)], str(cwd), dict(os.environ), False
    process = _ask(request, [nowhere, nowhere, theirs])
    os.close(theirs)
    os.close(nowhere)
    return process, ours


def _ask(request: tuple[list[str], str, dict[str, str], bool], streams: list[int]) -> int:
    """Have a command forked; return its exit code if it is waited for, else its process id."""
    parent, message = _parent(), pickle.dumps(request)
    socket.send_fds(parent, [len(message).to_bytes(8, "big")], streams)
    parent.sendall(message)
    return int.from_bytes(parent.recv(8), "big", signed=True)


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
        head, streams, _, _ = socket.recv_fds(client, 8, 3)
        if not head:
            return
        request = client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        *command, is_waited_for = pickle.loads(request)
        answer = os.fork()
        if answer == 0:
            client.close()
            if not is_waited_for:
                os.setsid()
            _become(*command, *streams)
        for stream in streams:
            os.close(stream)
        if is_waited_for:
            answer = os.waitstatus_to_exitcode(os.waitpid(answer, 0)[1])
        client.sendall(answer.to_bytes(8, "big", signed=True))


def _become(
    command: list[str], cwd: str, environment: dict[str, str], out: int, err: int, held: int = -1
) -> None:
    """Run a command in this process, and end it; until then hold a descriptor, as its input."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.dup2(os.open(os.devnull, os.O_RDONLY) if held < 0 else held, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 64)
    sys.argv = command
    from bp_pipeline.cli import main

    status = main()
    # As the interpreter ends: executors that nobody shut down let go of their threads first.
    threading._shutdown()
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
