"""A store with one small sweep, and the means to spoil what it holds and to make it good again."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from stores import Store, recorded_runs

from bp_pipeline.arrays import write_arrays


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store in which a sweep of three runs is finished, and a run from given weights."""
    with recorded_runs(tmp_path_factory.mktemp("store")) as recorded:
        yield recorded


@pytest.fixture
def tanh(store: Store) -> Iterator[Path]:
    """Return the artifacts of the tanh run, to be spoiled."""
    yield from _restored(store.artifacts("tanh"))


@pytest.fixture
def given(store: Store) -> Iterator[Path]:
    """Return the artifacts of the run that started from given weights, to be spoiled."""
    yield from _restored(store.artifacts(store.given))


@pytest.fixture
def each(store: Store) -> Iterator[dict[str, Path]]:
    """Return the artifacts of every run, by its name, to be spoiled."""
    with ExitStack() as stack:
        folders = {name: store.artifacts(name) for name in store.runs}
        yield {name: stack.enter_context(_kept(folder)) for name, folder in folders.items()}


def _restored(folder: Path) -> Iterator[Path]:
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


_kept = contextmanager(_restored)


@pytest.fixture
def change_array() -> Callable[[Path, str], None]:
    """Flip the last bit of a number in an `.npz` file."""

    def change(path: Path, name: str) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        arrays[name].flat[-1] = np.nextafter(arrays[name].flat[-1], np.inf)
        write_arrays(path, arrays)

    return change
