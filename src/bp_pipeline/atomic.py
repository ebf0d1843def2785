"""Files that appear whole or not at all, however the process that writes them ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_native_id


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file that takes the place of `path` when it is whole.

    A link stays, and what it points to is replaced. What is no plain file, as a pipe or a terminal,
    is written to as it is.
    """
    place = path.resolve()
    if place.exists() and not place.is_file():
        yield path
        return
    unfinished = place.with_name(f".bp-{os.getpid()}-{get_native_id()}.part")
    try:
        yield unfinished
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)
