"""What the tests of clusters share: real Dask schedulers and workers, each a process, over TCP."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from distributed import Client, Security

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


class ProcessCluster:
    """A scheduler and its workers; `folder` is for what they write, `tls` three files."""

    def __init__(self, folder: Path, tls: dict[str, str] | None = None) -> None:
        self.folder, self.tls = folder, tls or {}
        flags = [(f"--tls-{name}", path) for name, path in self.tls.items()]
        self.flags = [word for flag in flags for word in flag]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        where = (
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dashboard-address",
            "127.0.0.1:0",
        )
        self.scheduler = self._start("scheduler", *where, *self.flags)

    def start_worker(self, *flags: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread without a nanny, so that its process is the one to kill."""
        plain = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        where = ("--local-directory", str(self.folder))
        process = self._start(
            "worker", self.address, *plain, *where, *self.flags, *flags, **variables
        )
        self.workers.append(process)
        return process

    def _start(self, kind: str, *flags: str, **variables: str) -> subprocess.Popen[bytes]:
        environment = {"PYTHONPATH": str(HERE), **os.environ, **variables}
        number = len([*self.folder.glob("*.log")])
        with (self.folder / f"{number}-{kind}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", kind, *flags],
                env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def client(self) -> Client:
        """Return a client of the test's own."""
        mine = {"ca-file": "ca_file", "key": "client_key", "cert": "client_cert"}
        files = {f"tls_{mine[name]}": path for name, path in self.tls.items()}
        return Client(self.address, timeout=60, set_as_default=False, security=Security(**files))

    def await_workers(self, n_workers: int) -> None:
        with self.client() as client:
            await_(lambda: len(client.nthreads()) == n_workers)

    def is_busy(self) -> bool:
        """Whether a shard is being trained."""
        with self.client() as client:
            return any(client.processing().values())

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@contextmanager
def process_cluster(
    folder: Path, n_workers: int, tls: dict[str, str] | None = None
) -> Iterator[ProcessCluster]:
    """Start a scheduler and wait until so many workers have joined; kill them all in the end."""
    cluster = ProcessCluster(folder, tls)
    try:
        for _ in range(n_workers):
            cluster.start_worker()
        cluster.await_workers(n_workers)
        yield cluster
    finally:
        cluster.close()


def await_(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something holds."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end
        sleep(0.05)


def other_core(folder: Path) -> str:
    """Return a path for Python on which `core/` is another one."""
    shutil.copytree(SOURCE / "bp_pipeline", folder / "bp_pipeline")
    with (folder / "bp_pipeline/core/losses.py").open("a") as file:
        file.write("\nANOTHER = 1\n")
    return str(folder)


def other_numba(folder: Path) -> str:
    """Return a path for Python on which Numba says that it is another version."""
    package = folder / "numba-0.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: numba\nVersion: 0.1\n")
    return str(folder)


def other_numpy(folder: Path) -> str:
    """Return a path for Python on which NumPy, once imported, says that it is another version."""
    folder.mkdir(parents=True)
    (folder / "another_numpy.py").write_text("import numpy\nnumpy.__version__ = '2.0.0'\n")
    return str(folder)


# ------------------------------------------------------------------- what workers are to do


def square(number: int, progress: Callable[[int], None]) -> int:
    """Take no time, and fail on 3."""
    progress(1)
    if number == 3:
        raise ZeroDivisionError("three")
    return number * number


def wait_a_second(number: int, progress: Callable[[int], None]) -> int:
    """Be a shard."""
    sleep(1)
    return number


def wait_long(path: str, progress: Callable[[int], None]) -> None:
    """Run until stopped, and leave a mark where it was stopped."""
    try:
        for _ in range(600):
            sleep(0.1)
            progress(0)
    except InterruptedError:
        Path(path).touch()
        raise


def kill_itself(number: int, progress: Callable[[int], None]) -> None:
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)
