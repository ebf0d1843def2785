"""How the templates of pages are read: each page is one HTML file that loads nothing.

A template stands beside the code that fills it. What it is given is left to that code.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


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
