"""What trains, and where: the engines by name, and the cluster that a config asks for.

Owns the folder that keeps machine code between processes, and what happens where Numba or Dask is
not installed. An error in a kernel is one of the runs that it trains. The bits do not depend on any
of this.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import joblib

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.keys import Cluster
from bp_pipeline.core import training
from bp_pipeline.digests import code_digest

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster

Train = Callable[..., training.Trained]

_END_OF_PICKLE = b"."  # Numba's files are pickles, of which it checks nothing


def train_function(name: str) -> Train:
    """Return the `train` of an engine; that of the reference engine where it cannot be had."""
    return training.train if engine_in_use(name) == "numpy" else _compiled()


def engine_in_use(name: str) -> str:
    """Return the name of the engine that trains where this one is asked for."""
    return "numpy" if problem_with(name) else name


@cache
def problem_with(name: str) -> str | None:
    """Return why an engine cannot be had and what happens instead; None where it can."""
    if name == "numpy":
        return None
    choose_cache()
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return (
            f"The compiled engine needs Numba ({error}); `engine=numpy` takes over, slower. "
            "Install it: pip install 'bp_pipeline[compiled]'."
        )
    return None


def is_compiled() -> bool:
    """Whether machine code of this very source is there from an earlier process."""
    return any(_cache_folder().rglob("*.nbc"))


@cache
def broken_cache() -> str | None:
    """Throw machine code away of which a file is empty or cut off; return what was done, if any."""
    files = [*_cache_folder().rglob("*.nb[ci]")]
    if all(file.read_bytes().endswith(_END_OF_PICKLE) for file in files):
        return None
    for folder in {file.parent for file in files}:
        shutil.rmtree(folder, ignore_errors=True)
    return f"The machine code kept in {_cache_folder()} was broken; it is compiled again."


def _compiled() -> Train:
    choose_cache()
    broken_cache()
    import numba

    # For where it was imported before, as in a notebook.
    setattr(numba.config, "CACHE_DIR", str(_cache_folder()))  # noqa: B010
    from bp_pipeline.core import compiled

    return compiled.train


def choose_cache() -> None:
    """Set, before Numba is imported, where it keeps machine code.

    Its cache only looks at the file of the function that it keeps, not at those whose functions are
    compiled into it. So the folder bears the digest of all of `core/`.
    """
    os.environ["NUMBA_CACHE_DIR"] = str(_cache_folder())


@cache
def _cache_folder() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bp_pipeline"
    version = code_digest()[:16]
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or caches)
    folder = folder if folder.name == version else folder / version  # as a child process finds it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:  # as in a container without a home: compile for this process alone
        folder = Path(tempfile.mkdtemp(prefix="bp_pipeline-"))
    return folder


@contextmanager
def open_cluster(
    asked: Cluster, threads: int | None, tell: Callable[[str], None]
) -> "Iterator[DaskCluster | None]":
    """Connect to the cluster that a config asks for; None stands for the threads of this process.

    Parameters
    ----------
    asked
        The section `cluster` of a config.
    threads
        Of this machine, which workers that are started here share; all by default.
    tell
        Is called with a line about workers: those that may not train, or that there are none.

    Raises
    ------
    ConfigError
        Where Dask is not installed, the scheduler does not answer, or no worker may train.
    """
    if asked.name == "local":
        yield None
        return
    try:
        from bp_pipeline.ensemble.dask_connection import connect
    except ImportError as error:
        raise ConfigError(
            f"`cluster` must be local where Dask is not installed, got 'dask' ({error}). "
            "Install it: pip install 'bp_pipeline[cluster]'"
        ) from None
    with connect(asked, threads or joblib.cpu_count(), tell) as cluster:
        yield cluster
