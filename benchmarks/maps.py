"""Time and memory of `bp map`, as a user types it: python benchmarks/maps.py [RESOLUTION EPOCHS]….

Without arguments the sizes that are promised: 1024² pixels for 500 epochs, and 4096² for 1,000.
Prints a line for each and writes benchmarks/maps.json. Memory is the largest that the process had.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

PROMISED = ((1024, 500), (4096, 1000))


def measure(resolution: int, epochs: int) -> dict[str, Any]:
    """Draw one map in a process of its own; the engine is compiled before."""
    bp = Path(sys.executable).with_name("bp")
    words = [f"map.resolution={resolution}", f"training.epochs={epochs}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    with TemporaryDirectory(prefix="bp_pipeline-") as folder:
        started, before = perf_counter(), _cpu_seconds()
        subprocess.run([bp, "map", *words], cwd=folder, env=environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        seconds = perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {
        "resolution": resolution,
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "cpu seconds": round(_cpu_seconds() - before, 1),
        "GiB": round(kilobytes / 2**20, 2),
        "million network-epochs a CPU second": round(
            resolution**2 * epochs / (_cpu_seconds() - before) / 1e6, 1
        ),
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure the sizes of the command line, the smallest first."""
    numbers = [int(word) for word in sys.argv[1:]]
    sizes = sorted(zip(numbers[::2], numbers[1::2], strict=True)) or PROMISED
    measure(64, 1)  # compiles what is not compiled
    found = []
    for resolution, epochs in sizes:
        found.append(measure(resolution, epochs))
        print(json.dumps(found[-1]))
    machine = {"machine": platform.machine(), "cores": os.cpu_count()}
    text = json.dumps({**machine, "maps": found}, indent=1)
    Path(__file__).with_name("maps.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
