"""Train a study as other processors do, under emulation, and compare with its baseline.

    architectures.py [NAME…] [--whole | --remove]

Owns which processors and which runs, and the verdicts. NAME is one of `KNOWN`; by default those of
`EMULATED` are tried. How another processor's Python is had is left to `emulation.py`, and what
training does to `train_digests.py`, the program that runs there.

Exit code 0: everything was identical. 1: something was not. 2: nothing could be trained.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulation import CACHE, Architecture, CannotEmulateError, python_of

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.reproduce.baselines import EXPERIMENTS, study_configs

STUDY = "tripwire"
EMULATED = [
    Architecture("arm64", "aarch64-linux-gnu", "aarch64", ("numpy", "compiled")),
    Architecture("s390x", "s390x-linux-gnu", "s390x"),
    Architecture("riscv64", "riscv64-linux-gnu", "riscv64"),
    Architecture("ppc64el", "powerpc64le-linux-gnu", "ppc64le"),
    Architecture("armhf", "arm-linux-gnueabihf", "arm"),
]
HOST = Architecture("host", "", "")
I386 = Architecture("i386", "i386-linux-gnu", "i386")  # its Python's own floats round twice
KNOWN = {architecture.name: architecture for architecture in (*EMULATED, I386, HOST)}


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--whole", action="store_true", help="the compiled engine trains all runs")
    parser.add_argument("--remove", action="store_true", help="remove the roots instead")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in KNOWN]
    if unknown:
        parser.error(f"NAME must be one of {', '.join(KNOWN)}, got {unknown[0]!r}.")
    if arguments.remove:
        shutil.rmtree(CACHE, ignore_errors=True)
        return 0
    chosen = [KNOWN[name] for name in arguments.names] or EMULATED
    try:
        return verify(chosen, whole=arguments.whole)
    except (CannotEmulateError, ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def verify(architectures: list[Architecture], *, whole: bool) -> int:
    """Train the study on each architecture and engine, and print a line for each."""
    configs = study_configs(STUDY)
    runs = json.loads((EXPERIMENTS / STUDY / "baseline.json").read_text(encoding="utf-8"))["runs"]
    if {run["config_digest"] for run in runs} != {config.config_digest for config in configs}:
        print(f"The baseline is of other runs: bp reproduce --baselines {STUDY}", file=sys.stderr)
        return 1
    jobs = [
        (architecture.name, engine, python_of(architecture))
        for architecture in architectures
        for engine in architecture.engines
    ]
    all_identical = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shares = [configs if whole else share(configs, engine) for _, engine, _ in jobs]
        verdicts = pool.map(lambda job, part: judge(*job[1:], part, runs), jobs, shares)
        for (name, engine, _), (verdict, details) in zip(jobs, verdicts, strict=True):
            print(f"{name:8} {engine:9} {verdict:10} {details}", flush=True)
            all_identical &= verdict == "identical"
    return 0 if all_identical else 1


def share(configs: list[RunConfig], engine: str) -> list[RunConfig]:
    """Return the runs that an engine trains: those of every third kernel where it compiles kernels.

    Each takes a quarter of a minute under emulation. A third of them has every activation and loss
    in it, and both depths.
    """
    if engine != "compiled":
        return configs
    kernels = [(config.layer_sizes, config.activation.name, config.loss.name) for config in configs]
    chosen = list(dict.fromkeys(kernels))[::3]
    return [config for config, kernel in zip(configs, kernels, strict=True) if kernel in chosen]


def judge(
    engine: str, python: list[str], configs: list[RunConfig], runs: list[dict[str, str]]
) -> tuple[str, str]:
    """Train with this Python and engine; return the verdict, and what else is to be said."""
    raw = [config.model_dump(mode="json", exclude_none=True) for config in configs]
    raw = [{**config, "engine": engine, "threads": 1} for config in raw]
    program = [*python, str(Path(__file__).with_name("train_digests.py"))]
    start = time.perf_counter()
    done = subprocess.run(program, input=json.dumps(raw), capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        return "failed", (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    answer = json.loads(done.stdout)
    trained = {config.config_digest for config in configs}
    different = [
        run["name"]
        for run in runs
        if run["config_digest"] in trained
        and answer["runs"].get(run["config_digest"]) != run["result_digest"]
    ]
    if different:
        return "drifted", f"{len(different)} of {len(configs)} runs: {'; '.join(different[:3])}"
    return "identical", f"{len(configs)} runs, {answer['made_with']}, {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
