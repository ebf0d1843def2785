"""Break sweeps off at random moments, and see that the same command ends them well: `make torture`.

Each kind of breaking has a store of its own. A sweep is begun, broken off, and typed again until it
ends; then its digests, report, account and number of runs must be those of a sweep that nobody
broke off, no run may be there twice, and none RUNNING. A process starts with everything imported,
so that nearly all moments are in the work itself.

    sweep      kill -9 of a sweep on an embedded store
    client     kill -9 of a sweep on a tracking server
    server     kill -9 of that server, which then starts again
    database   kill -9 of the server's PostgreSQL, which then starts again
    full       the disk of an embedded store is full (Linux, as root)
    read-only  it takes no more writes, as after an error of the device (Linux, as root)
"""

import argparse
import itertools
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

SWEEP = (
    "bp", "train", "-m", "activation=tanh,relu,sigmoid", "init=uniform,normal",
    "optimizer.learning_rate=0.1,0.2,0.5,1,2,3,5,9", "replicates=20", "training.epochs=50",
    "training.record=5", "engine=numpy",
)  # fmt: skip
N_JOBS = 48
WHOLE = 0, 0, 0  # runs too many, folders without a run, runs without a folder
KILLS = {"sweep": 100, "client": 20, "server": 20, "database": 20, "full": 20, "read-only": 20}
_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "bp_pipeline.cli", "bp_pipeline.sweep", "hydra", "matplotlib.figure", "alembic.migration",
    "mlflow.store.tracking.sqlalchemy_store",
]  # fmt: skip
_PATIENCE = 300.0  # seconds; what takes longer hangs


class Place(NamedTuple):
    """Where a sweep is trained: the folder it is typed in, and MLflow's URI and experiment.

    Where its report cannot be written, a sweep is whole, and says that `bp report` is enough.
    """

    folder: Path
    uri: str
    experiment: str = "bp_pipeline"
    has_bad_disk: bool = False


# ----------------------------------------------------------------------------------- what comes out


def all_runs(place: Place) -> tuple[list[Run], list[Run]]:
    """Read sweeps and runs as anybody would."""
    client = MlflowClient(place.uri)
    experiment = client.get_experiment_by_name(place.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    sweeps = [run for run in found if "bp.n_jobs" in run.data.tags]
    return sweeps, [run for run in found if "bp.n_jobs" not in run.data.tags]


def outcome(place: Place) -> dict[str, Any]:
    """Return all that must not depend on how often a sweep was broken off."""
    [sweep], runs = all_runs(place)
    finished = [run for run in runs if run.info.status == "FINISHED"]
    [report] = (place.folder / "reports").iterdir()
    description = sweep.data.tags["mlflow.note.content"]
    finding, _, rest = description.partition(" [")  # then come links, and how long it took
    account = re.findall(r"\d+ runs expected: [^.]*", rest)
    counts = {key: n for key, n in sweep.data.metrics.items() if key.startswith("runs/")}
    jobs = download_artifacts(f"{sweep.info.artifact_uri}/sweep.yaml", tracking_uri=place.uri)
    return {
        "sweep": (sweep.info.status, counts, finding, account),
        "jobs": _anonymous(Path(jobs), place),
        "digests": Counter(
            (run.info.run_name, run.data.tags["bp.result_digest"]) for run in finished
        ),
        "report": {path.name: _anonymous(path, place) for path in report.iterdir()},
        "unfinished": {run.info.status for run in runs} - {"FINISHED", "KILLED", "FAILED"},
    }


def _anonymous(path: Path, place: Place) -> str:
    """Read a file without the name of its experiment, which is in the command that was typed."""
    return path.read_text().replace(place.experiment, "")


def check(place: Place, expected: dict[str, Any]) -> None:
    """Compare what came of a sweep with what comes of one that nobody broke off."""
    found, whole = _in_a_process(_read, place)
    differ = [name for name, value in expected.items() if found[name] != value]
    reports = found["report"], expected["report"]
    files = sorted(name for name, _ in reports[0].items() ^ reports[1].items())
    assert not differ, f"{place}: {', '.join(differ)} differ {files or ''}"
    assert whole == (WHOLE, "ok"), f"{place}: {whole}"


def _read(place: Place) -> tuple[dict[str, Any], tuple[tuple[int, ...], str]]:
    """Return the outcome, and whether all that lies there belongs to it."""
    found = outcome(place)
    if not place.uri.startswith("sqlite"):
        return found, (WHOLE, "ok")
    _, runs = all_runs(place)
    folders = {path.parents[1].name for path in place.folder.glob("mlruns/*/*/artifacts/weights")}
    ids = {run.info.run_id for run in runs}
    differ = len(runs) - N_JOBS, len(folders - ids), len(ids - folders)
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as database:
        [(problem,), *_] = database.execute("PRAGMA integrity_check").fetchall()
    return found, (differ, problem)


def _in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process that then ends: MLflow keeps databases open in its own."""
    with ProcessPoolExecutor(1, mp_context=_FORKS) as processes:
        return processes.submit(function, *arguments).result()


# ------------------------------------------------------------------------------ one command, killed


def _train(place: Place, command: list[str]) -> None:
    """Be a process that has just started, with its messages in a file."""
    os.setpgid(0, 0)
    os.chdir(place.folder)
    os.environ["MLFLOW_TRACKING_URI"] = place.uri
    log = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from bp_pipeline.cli import main

    sys.argv = command
    status = main()
    if status == 0 and place.has_bad_disk:
        sys.argv = ["bp", "report"]
        status = main()
    sys.exit(status)


def _command(place: Place) -> list[str]:
    return [*SWEEP, f"tracking.experiment={place.experiment}"]


def _start(place: Place) -> Any:
    place.folder.mkdir(exist_ok=True)
    process = _FORKS.Process(target=_train, args=(place, _command(place)))
    process.start()
    return process


def _end(process: Any) -> int:
    process.join(_PATIENCE)
    assert process.exitcode is not None, "it hangs"
    return int(process.exitcode)


def _until_it_ends(place: Place) -> None:
    for _ in range(3):
        if _end(_start(place)) == 0:
            return
    raise AssertionError(f"{place}: {(place.folder / 'said.txt').read_text()}")


def kill(process: Any) -> None:
    """Kill a process with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


# ------------------------------------------------------------------------------------------- places


class Disk:
    """A small file system of its own, in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._image = folder / "disk", folder / "disk.img"
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(96 << 20)
        self._run("mkfs.ext4", "-q", str(self._image))
        self._mount()

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass

    def empty(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def fail(self) -> None:
        """Take no more writes, as Linux does where a device has failed.

        What had been written until then is there: what a power failure takes is another matter.
        """
        os.sync()
        device = os.path.realpath(self._run("findmnt", "-no", "SOURCE", str(self.folder)).strip())
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        """Take writes again, once nobody has a file open."""
        self.close()
        subprocess.run(["e2fsck", "-fy", self._image], capture_output=True)
        self._mount()

    def close(self) -> None:
        """Unmount it."""
        self._run("umount", str(self.folder))

    def _mount(self) -> None:
        options = "loop,errors=remount-ro"
        self._run("mount", "-o", options, str(self._image), str(self.folder))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout


class Service:
    """A process that serves, on a port of its own, and starts again after a kill."""

    def __init__(self, command: list[str], port: int, url: str | None = None, **how: Any) -> None:
        self._command, self._port, self._url, self._how = command, port, url, how
        self.start()

    def start(self) -> None:
        """Start, and return once it answers.

        Again, should it end by itself: PostgreSQL refuses to start while a process of the one
        that was killed is still at work.
        """
        until = time.monotonic() + _PATIENCE
        self._process = self._popen()
        while not self._answers():
            assert time.monotonic() < until, self._command
            time.sleep(0.2)
            if self._process.poll() is not None:
                self._process = self._popen()

    def _popen(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._how,
        )

    def kill(self) -> None:
        """Kill it, with its children."""
        kill(self._process)
        self._process.wait()

    def _answers(self) -> bool:
        with suppress(OSError):
            if self._url:
                for _ in range(8):  # all of its workers
                    urllib.request.urlopen(self._url, timeout=2).close()
                return True
            socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
            return True
        return False


def free_port() -> int:
    """Return a port that nobody listens at."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_initdb() -> str | None:
    """Find the program that makes a database of PostgreSQL, where that is installed."""
    installed = map(str, Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which("initdb", path=os.pathsep.join([os.environ["PATH"], *installed]))


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[Service, str]]:
    """Run PostgreSQL, as Debian has it; yield it and the URI of an empty database."""
    initdb = find_initdb()
    assert initdb, "PostgreSQL is not installed; on Debian: apt-get install postgresql"
    binaries, data, port = Path(initdb).parent, folder / "postgresql", free_port()
    data.mkdir()
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # it refuses to be run by root
        shutil.chown(data, "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
    folder.chmod(0o755)
    options = ["-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run([initdb, *options], check=True, capture_output=True, **user)
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(data)]
    service = Service([*command, "-h", "127.0.0.1"], port, **user)
    try:
        yield service, f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        service.kill()


@contextmanager
def tracking_server(folder: Path, store: str, workers: int = 2) -> Iterator[tuple[Service, str]]:
    """Run a tracking server, that keeps artifacts itself; yield it and its address."""
    port = free_port()
    options = ["--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    command = [sys.executable, "-m", "mlflow", "server", *options, *where]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    uri = f"http://127.0.0.1:{port}"
    service = Service(
        command,
        port,
        f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=0",
        env=environment,
        cwd=folder,
    )
    try:
        yield service, uri
    finally:
        service.kill()


# -------------------------------------------------------------------------------------- the torture


def torture(
    n: int, rng: random.Random, places: Iterator[Place], strike: Callable[[Any], object]
) -> int:
    """Break sweeps off so often, one after the other; return how many were begun.

    Parameters
    ----------
    n
        How often to strike.
    rng
        Draws the moments.
    places
        Where to begin the next sweep.
    strike
        Breaks off what trains, given its process, and makes the place usable again.
    """
    place = next(places)
    started = time.monotonic()
    _until_it_ends(place)
    longest = time.monotonic() - started
    expected, _ = _in_a_process(_read, place)
    begun, struck, place = 1, 0, next(places)
    while struck < n:
        process = _start(place)
        process.join(rng.uniform(0, longest))
        if process.exitcode is None:
            strike(process)
            struck += 1
            print(".", end="", flush=True)
        if _end(process) == 0:
            check(place, expected)
            begun, place = begun + 1, next(places)
    _until_it_ends(place)
    check(place, expected)
    return begun


def run(kind: str, n: int, seed: int, folder: Path) -> int:
    """Torture one kind of store; return how many sweeps it took."""
    rng = random.Random(f"{kind} {seed}")
    if kind == "sweep":
        return torture(n, rng, _embedded(folder), kill)
    with ExitStack() as opened:
        if kind in ("full", "read-only"):
            disk = Disk(folder)
            opened.callback(disk.close)
            return torture(n, rng, _embedded(disk.folder, True), partial(_strike_disk, disk, kind))
        database, store = opened.enter_context(postgresql(folder))
        server, uri = opened.enter_context(tracking_server(folder, store))
        services = {"server": server, "database": database}
        strike = kill if kind == "client" else partial(_strike_service, services[kind])
        return torture(n, rng, _on_server(folder, uri), strike)


def _strike_service(service: Service, _: Any) -> None:
    service.kill()
    service.start()


def _strike_disk(disk: Disk, kind: str, process: Any) -> None:
    (disk.fill if kind == "full" else disk.fail)()
    _end(process)
    (disk.empty if kind == "full" else disk.mend)()


def _embedded(folder: Path, has_bad_disk: bool = False) -> Iterator[Place]:
    for n in itertools.count():
        place = folder / str(n)
        yield Place(place, f"sqlite:///{place}/mlflow.db", has_bad_disk=has_bad_disk)
        shutil.rmtree(place)  # it is whole


def _on_server(folder: Path, uri: str) -> Iterator[Place]:
    for n in itertools.count():
        yield Place(folder / str(n), uri, f"torture-{n}")


def main() -> None:
    """Torture what is asked for, and print how often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KILLS)}")
    parser.add_argument("-n", type=int, help="how often each is broken off")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments (default: 0)")
    chosen = parser.parse_args()
    _FORKS.set_forkserver_preload(_PRELOADED)
    for kind in chosen.kinds or KILLS:
        n, started = chosen.n or KILLS[kind], time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            begun = run(kind, n, chosen.seed, Path(folder))
        seconds = time.monotonic() - started
        print(f"\n{kind}: broken off {n} times, {begun} sweeps, all whole, {seconds:.0f} s")


if __name__ == "__main__":
    main()
