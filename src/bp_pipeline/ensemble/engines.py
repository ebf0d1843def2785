"""Which code trains: the engines by name, and what has to be ready before the compiled one can.

Owns the folder that keeps machine code between processes, and the way back to the reference engine
where there is no compiler. The bits do not depend on any of this.
"""

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from bp_pipeline.core import training
from bp_pipeline.core.network import Architecture
from bp_pipeline.digests import code_digest

Train = Callable[..., training.Trained]


def train_function(name: str) -> Train:
    """Give the `train` of an engine; that of the reference engine where it cannot be had."""
    return training.train if engine_in_use(name) == "numpy" else _compiled()


def engine_in_use(name: str) -> str:
    """Name the engine that trains where this one is asked for."""
    return "numpy" if problem_with(name) else name


@cache
def problem_with(name: str) -> str | None:
    """Make an engine ready; say why not where that fails, and what happens instead."""
    if name == "numpy":
        return None
    try:
        _warm_up(_compiled())
    except Exception as error:  # whatever keeps Numba from working on a machine, it is not needed
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"The compiled engine cannot be used ({reason}); `engine=numpy` takes over, slower."
    return None


def is_compiled() -> bool:
    """Tell whether machine code of this very source is there from an earlier process."""
    return any(_cache_folder().rglob("*.nbc"))


def _compiled() -> Train:
    choose_cache()
    import numba

    # For where it was imported before, as in a notebook.
    setattr(numba.config, "CACHE_DIR", str(_cache_folder()))  # noqa: B010
    from bp_pipeline.core import compiled

    return compiled.train


def choose_cache() -> None:
    """Tell Numba, before it is imported, where to keep machine code.

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


def _warm_up(train: Train) -> None:
    """Look at one untrained network, which compiles the machine code or loads it."""
    architecture = Architecture(
        (1, 1), False, True, "identity", "identity", 0.0, "squared_error", True
    )
    setup = training.Setup(architecture, ((0.0,),), ((0.0,),), False, 0, 0.5, False, 2)
    train(setup, np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1))
