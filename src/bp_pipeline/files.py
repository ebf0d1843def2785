"""Files that are there whole or not at all, and the templates of those that are pages.

What is in them is left to who makes them; the files of a run, which has its own way to be whole, to
`tracking`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import get_native_id
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file that takes the place of `path` when it is whole, or not at all.

    A link stays, and what it points to is replaced. What is no plain file, as a pipe or a terminal,
    is written to as it is.
    """
    if path.exists() and not path.is_file():  # asked of the link: /dev/stdout leads to no path
        yield path
        return
    place = path.resolve()
    unfinished = place.with_name(f".bp-{os.getpid()}-{get_native_id()}.part")
    try:
        yield unfinished
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


@cache
def page_template(path: Path, **filters: Callable[..., object]) -> "Template":
    """Return the template of a page, in which what is no markup is escaped.

    Parameters
    ----------
    path
        Its file.
    filters
        What the template may apply to values, by name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.get_template(path.name)
