"""What a run was made with: versions, machine, and the state of the source tree.

Owns finding these out, once a process; where they are kept is left to `format.py`. A result depends
on none of them; they are recorded so that, should one differ some day, there is something to
compare.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

_LONGEST_DIFF = 200_000  # characters; it is stored with every run
_GIT_TIMEOUT = 10.0  # seconds, for a tree on a slow network drive


def environment(
    engine: str, threads: int, cluster: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Describe what a run is made with, as JSON values.

    Parameters
    ----------
    engine
        The engine that trains.
    threads
        How many shards are trained at once in this process.
    cluster
        The scheduler and workers that train instead, if any, with their versions.
    """
    where = {"threads": threads} if cluster is None else {"cluster": cluster}
    return {"engine": engine, **where, **_of_this_process()}


@cache
def package_version() -> str:
    """Return the version of this package, or `unknown` where it was not installed."""
    try:
        return metadata.version("bp_pipeline")
    except metadata.PackageNotFoundError:
        return "unknown"


@cache
def git_state() -> dict[str, Any] | None:
    """Describe the source tree: commit, whether it is dirty, git's short status, and the diff.

    As in `git describe --dirty`, files that git does not know do not make a tree dirty; the status
    names them.

    The tree is the one that holds this package, where the package is under version control there,
    and otherwise the one of the current folder, whose configs are then what is versioned.

    Returns
    -------
    dict or None
        None where there is no commit, or no git.
    """
    here = Path(__file__)
    is_tracked = _git(here.parent, "ls-files", "--error-unmatch", here.name) is not None
    folder = here.parent if is_tracked else Path.cwd()
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    status = _git(folder, "status", "--porcelain")
    if commit is None or status is None:
        return None
    diff = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or ""
    return {
        "commit": commit.strip(),
        "dirty": any(not line.startswith("??") for line in status.splitlines()),
        "status": status.splitlines(),
        "diff": diff[:_LONGEST_DIFF],
        "diff_is_complete": len(diff) <= _LONGEST_DIFF,
    }


@cache
def _of_this_process() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "packages": _packages(),
        "os": platform.platform(),
        "cpu": {"model": _cpu_model(), "machine": platform.machine(), "features": _cpu_features()},
        "git": git_state(),
    }


def _packages() -> dict[str, str]:
    """Return the version of each installed package; of two on the path, the one imported."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            versions.setdefault(name.lower(), distribution.version)
    return dict(sorted(versions.items()))


def _cpu_model() -> str:
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def _cpu_features() -> list[str]:
    """Return the instruction sets that NumPy found on this CPU and may use."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*simd.get("baseline", []), *simd.get("found", [])]


def _git(folder: Path, *arguments: str) -> str | None:
    return _output("git", "-C", str(folder), *arguments)


def _output(*command: str) -> str | None:
    """Return what a program prints, or None where it fails or is missing."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_TIMEOUT,
            # git would otherwise rewrite its index, and block a `git commit` typed meanwhile
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
