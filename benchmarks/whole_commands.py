"""Whole commands as a user types them: seconds, memory, size of the database.

Times are given beside that of a fixed piece of MLflow's own work, done right before each: machines
differ, and what else they do changes. A server on PostgreSQL is measured where that is installed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from torture import find_initdb, postgresql, tracking_server

BP = str(Path(sys.executable).with_name("bp"))
SMALL = ("replicates=20", "training.epochs=500")
ACTIVATIONS = "activation=tanh,relu,sigmoid,leaky_relu,softplus"
INITS = (
    "init=uniform,uniform_small,normal,constant,"
    "glorot_uniform,glorot_normal,he_uniform,he_normal,lecun_normal,ones"
)
GRIDS = {  # number of runs: what spans them
    100: ("optimizer.learning_rate=0.1,1", "seed=0"),
    1000: (f"optimizer.learning_rate={','.join(str(n / 4) for n in range(1, 21))}", "seed=0"),
    10000: (
        f"optimizer.learning_rate={','.join(str(n / 4) for n in range(1, 21))}",
        "seed=range(10)",
    ),
}
MLFLOW_WORK = """
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
client = MlflowClient("sqlite:///work.db")
experiment = client.create_experiment("work", "work")
for n in range(20):
    run = client.create_run(experiment).info.run_id
    client.log_batch(run, [Metric("a", 1.0 * i, 0, i) for i in range(300)])
    client.set_terminated(run)
client.search_runs([experiment])
"""


class Measured(NamedTuple):
    """What a command took: seconds in all and of CPU, GB, and the seconds of MLflow's work."""

    what: str
    seconds: float
    cpu: float
    gigabytes: float
    unit: float
    n_runs: int = 0
    kilobytes: float = 0.0

    @property
    def ratio(self) -> float:
        """CPU seconds, in units of MLflow's work."""
        return self.cpu / self.unit


def timed(command: list[str], folder: Path, uri: str | None = None) -> tuple[float, float, float]:
    """Run a command; return its seconds, those of CPU, and its largest memory in GB."""
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment |= {"MLFLOW_TRACKING_URI": uri} if uri else {}
    started = time.perf_counter()
    process = os.fork()
    if not process:
        os.chdir(folder)
        nowhere = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.execve(command[0], command, environment)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{command} failed: {(folder / 'said.txt').read_text()[-2000:]}")
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kB on Linux
    seconds, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    return seconds, cpu, usage.ru_maxrss / unit


def measure(what: str, words: tuple[str, ...], folder: Path, uri: str | None = None) -> Measured:
    """Run `bp` with these words, after the fixed piece of MLflow's work."""
    with tempfile.TemporaryDirectory() as other:
        _, unit, _ = timed([sys.executable, "-c", MLFLOW_WORK], Path(other))
    return Measured(what, *timed([BP, *words], folder, uri), unit)


def default_sweep(folder: Path) -> list[Measured]:
    """Measure the first run of all, the default sweep, and the same again."""
    sweep = ("train", "experiment=xor_sweep")
    return [
        measure("first bp train", ("train",), folder),
        measure("make sweep", sweep, folder),
        measure("the same again", sweep, folder),
        measure("bp list", ("list",), folder),
    ]


def scale(n_runs: int, folder: Path) -> list[Measured]:
    """Measure a sweep of so many runs, its report, itself again, and with one run missing."""
    sweep = ("train", "-m", ACTIVATIONS, INITS, *GRIDS[n_runs], *SMALL)
    steps = [measure(f"{n_runs:,} runs", sweep, folder)]
    size = (folder / "mlflow.db").stat().st_size
    steps[0] = steps[0]._replace(n_runs=n_runs, kilobytes=size / n_runs / 1000)
    steps.append(measure("  bp report", ("report",), folder))
    steps.append(measure("  the same again", sweep, folder))
    _delete_a_run(folder)
    steps.append(measure("  the same, 1 run missing", sweep, folder))
    steps.append(measure("  bp list", ("list",), folder))
    return steps


def _delete_a_run(folder: Path) -> None:
    timed([sys.executable, "-c", "from mlflow import MlflowClient as C\n"
           "c = C('sqlite:///mlflow.db'); c.delete_run(next(r.info.run_id for r in "
           "c.search_runs(['1']) if 'bp.n_jobs' not in r.data.tags))"], folder)  # fmt: skip


def server(folder: Path) -> list[Measured]:
    """Measure the default sweep on a tracking server on PostgreSQL."""
    with ExitStack() as opened:
        _, store = opened.enter_context(postgresql(folder))
        _, uri = opened.enter_context(tracking_server(folder, store))
        sweep = ("train", "experiment=xor_sweep")
        return [
            measure("PostgreSQL server, 240 runs", sweep, folder, uri),
            measure("  the same again", sweep, folder, uri),
        ]


def million(folder: Path) -> list[Measured]:
    """Measure a million networks as one run."""
    words = ("replicates=1000000", "training.epochs=500", "training.record=20")
    return [measure("1,000,000 networks", ("train", *words, "training.record_weights=0"), folder)]


PARTS: dict[str, Callable[[Path], list[Measured]]] = {
    "default": default_sweep,
    **{str(n): lambda folder, n=n: scale(n, folder) for n in GRIDS},  # type: ignore[misc]
    "million": million,
    "server": server,
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    chosen = parser.parse_args()
    table = Table("command", "seconds", "CPU", "÷ MLflow's work", "GB", "ms a run", "kB a run")
    rows: list[Measured] = []
    measurable = [part for part in PARTS if part != "server" or find_initdb()]
    for part in chosen.parts or measurable:
        with tempfile.TemporaryDirectory() as folder:
            rows += PARTS[part](Path(folder))
    for row in rows:
        per_run = (
            (f"{row.cpu / row.n_runs * 1e3:.1f}", f"{row.kilobytes:.0f}") if row.n_runs else ()
        )
        table.add_row(
            row.what, f"{row.seconds:.1f}", f"{row.cpu:.1f}", f"{row.ratio:.2f}",
            f"{row.gigabytes:.2f}", *per_run,
        )  # fmt: skip
    Console().print(table)
    if chosen.out:
        chosen.out.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
