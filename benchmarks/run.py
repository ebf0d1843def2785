"""Measure: `make bench`. Prints tables, writes `benchmarks/results.json`.

Contenders take turns, round after round, each in a process of its own, so that what the machine
does besides falls on all of them; what counts is the ratio within a round, of which the median is
given. Peers are timed where they can be imported: `make bench-peers` installs them beside the
project.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from workloads import SIZES, WORKLOADS

HERE = Path(__file__).parent
PEERS = {
    **{f"JAX by hand, block {size}": "jax" for size in SIZES},
    "JAX vmap, block 512": "jax",
    "PyTorch loop": "torch",
    "scikit-learn": "sklearn",
}
PACKAGES = ("numpy", "numba", "mlflow", "jax", "torch", "scikit-learn")
BASE = "compiled"

Contender = tuple[str, str, int]  # name, workload, cores


class Worker:
    """A process that trains once each time it is asked."""

    def __init__(self, contender: Contender) -> None:
        name, workload, cores = contender
        command = [sys.executable, str(HERE / "workloads.py"), name, workload, str(cores)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read()

    def measure(self) -> float:
        """Give nanoseconds per network and epoch of one training."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        return line

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(contenders: list[Contender], rounds: int) -> list[dict[str, object]]:
    """Time contenders in turns; the first is what the others are compared with."""
    workers = [Worker(contender) for contender in contenders]
    times = [[worker.measure() for worker in workers] for _ in range(rounds)]
    for worker in workers:
        worker.close()
    columns = list(zip(*times, strict=True))
    return [
        {
            "contender": name,
            "workload": workload,
            "cores": cores,
            "nanoseconds": median(column),
            "ratio": median(t / t0 for t, t0 in zip(column, columns[0], strict=True)),
        }
        for (name, workload, cores), column in zip(contenders, columns, strict=True)
    ]


def show(title: str, rows: list[dict[str, object]]) -> None:
    """Print rows as a table."""
    table = Table("contender", "cores", "ns per network and epoch", "ratio", title=title)
    for row in rows:
        table.add_row(
            str(row["contender"]),
            str(row["cores"]),
            f"{row['nanoseconds']:,.1f}",
            f"{row['ratio']:.2f}",
        )
    Console().print(table)


def sweep_parts() -> dict[str, float]:
    """Time the parts of one default sweep, and the whole command, each in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "sweep_parts.py")]
        printed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    parts: dict[str, float] = json.loads(printed.stdout.splitlines()[-1])
    whole, _ = run_bp("experiment=xor_sweep")
    return {**parts, "the whole command": whole}


def run_bp(*overrides: str) -> tuple[float, float]:
    """Run `bp train` in a new folder; give its seconds and its largest memory in GB."""
    bp = str(Path(sys.executable).with_name("bp"))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [bp, "train", *overrides],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"bp train {' '.join(overrides)} failed")
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kB on Linux
    return time.perf_counter() - started, usage.ru_maxrss / unit


def machine() -> dict[str, object]:
    """Say what was measured on."""
    from bp_pipeline.tracking.provenance import environment

    found = environment(BASE, os.cpu_count() or 1)
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"cpu": found["cpu"], "python": platform.python_version(), "packages": packages}


def main() -> None:
    """Measure everything that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of each contender (default: 7)"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results.json", help="JSON file to write"
    )
    options = parser.parse_args()
    peers = [name for name, module in PEERS.items() if find_spec(module)]
    peers += ["JavaScript"] if shutil.which("node") else []
    cores = min(2, os.cpu_count() or 1)
    comparisons = {
        **{
            f"One core, {workload}": [(name, workload, 1) for name in (BASE, "numpy", *peers)]
            for workload in WORKLOADS
        },
        "Threads": [
            (name, "2-3-1 batch", n) for name in (BASE, "numpy") for n in range(1, cores + 1)
        ],
    }
    results: dict[str, object] = {"machine": machine()}
    for title, contenders in comparisons.items():
        rows = compare(contenders, options.rounds)
        show(title, rows)
        results[title] = rows
    results["One default sweep, seconds"] = parts = sweep_parts()
    table = Table("part of one default sweep", "seconds", "ms per run")
    for name, value in parts.items():
        table.add_row(name, f"{value:.2f}", f"{value / 240 * 1000:.1f}")
    Console().print(table)
    million = ("replicates=1000000", "training.epochs=500", "training.record=20")
    seconds, gigabytes = run_bp(*million, "training.record_weights=0")
    print(f"1,000,000 networks, 500 epochs: {seconds:.1f} s, {gigabytes:.2f} GB")
    results["A million networks"] = {"seconds": seconds, "gigabytes": gigabytes}
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
