"""What a user does: types `bp ui`, reads its links, and looks whether anything is left of it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

BP = str(Path(sys.executable).with_name("bp"))
SWEEP = (
    "activation=sigmoid,tanh init=normal,uniform optimizer.learning_rate=0.3,1,3 "
    "replicates=10 training.epochs=400 training.record=20"
)
N_RUNS = 12


def environment(**variables: str) -> dict[str, str]:
    """Be in an activated environment, which MLflow's own subprocesses count on."""
    variables = {"PATH": f"{Path(BP).parent}:{os.environ['PATH']}", **variables}
    foreign = ("MLFLOW_TRACKING_URI", "BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return {**{k: v for k, v in os.environ.items() if k not in foreign}, **variables}


def start_ui(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BP, "ui", *arguments],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_links(process: subprocess.Popen[str]) -> dict[str, str]:
    """Wait for what `bp ui` prints when it serves."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    found = [re.search(r"http\S+", line) for line in lines]
    if not all(found):
        pytest.fail(f"{lines} {process.communicate()}")
    return dict(zip(("charts", "table", "sweep"), [m[0] for m in found if m], strict=True))


def group_of(process: subprocess.Popen[str]) -> int | None:
    """Find the process group of the server that a `bp ui` has started, if it has."""
    listed = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid="], text=True)
    pairs = (map(int, line.split()) for line in listed.splitlines())
    return next((pid for pid, parent in pairs if parent == process.pid), None)


def is_alive(group: int | None) -> bool:
    assert group is not None
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Occupy a port, unless somebody else does already."""
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            taken.bind(("127.0.0.1", port))
            taken.listen()
        yield
