"""Paths as MLflow takes them: URIs of embedded databases, and where artifacts are.

A path may hold what means something else in a URI or in SQL (`%41`, `?x=1`, ` :15`, a quote); here
is the one place that quotes it. Owns, too, which folder a location of MLflow means, wherever the
database was moved to with it. How a store is opened is left to `store.py`.
"""

import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from bp_pipeline.tracking.failures import TrackingError, key_of_place

BUSY_DEADLINE = 20.0  # seconds, as long as MLflow waits while another program writes
ARTIFACTS = "mlruns"  # MLflow's own name of the folder beside the database

_PLAIN = re.compile(r"sqlite:///([\w./-]+)")  # where nothing has a meaning of its own


def database_path(uri: str) -> Path:
    """Return the file that a URI of SQLite names, as SQLAlchemy and so MLflow understand it.

    Raises
    ------
    TrackingError
        Where it names memory, a home folder as shells write it, or says more than a file's name.
    """
    if plain := _PLAIN.fullmatch(uri):
        return Path(os.path.abspath(plain[1]))
    from sqlalchemy import make_url  # takes half a second to import

    url = make_url(uri) if ":///" in uri else None
    path, query = (url.database or "", dict(url.query)) if url else ("", {})
    if path.startswith("file:") and query.get("uri") == "true":  # as `database_uri` writes it
        path = unquote(path.removeprefix("file:"), errors="surrogateescape")
        del query["uri"]
    problem = ""
    if not url and uri.partition(":")[2].strip("/"):
        problem = "the file stands after three slashes. Use sqlite:///mlflow.db."
    elif path in ("", ":memory:"):
        problem = "what is only in memory is lost. Use sqlite:///mlflow.db, or `tracking=off`."
    elif query:
        problem = "what follows its ? would be ignored. Leave that out."
    elif path.startswith("~"):
        home = os.path.expanduser(path)
        problem = f"MLflow takes ~ for a folder of that name. Use sqlite:///{home}."
    if problem:
        raise TrackingError(f"`{key_of_place()}` must name a file, got {uri!r}: {problem}")
    return Path(os.path.abspath(path))


def database_uri(path: Path) -> str:
    """Return the URI by which MLflow opens an embedded database, and no other file."""
    if str(path).isprintable() and not {"%", "?"} & set(str(path)):
        return f"sqlite:///{path}"
    return readable_uri(path, {})


def readable_uri(path: Path, query: dict[str, str]) -> str:
    """Return such a URI, with what SQLite is to heed when it opens the file.

    The path is quoted for SQLite, and once more where this SQLAlchemy takes quotes away (from 2.1).
    With the driver's name MLflow takes it as it is, and makes no folder for it.
    """
    from sqlalchemy import URL

    url = URL.create("sqlite+pysqlite", database=_file(path), query={**query, "uri": "true"})
    return url.render_as_string()


def connect(path: Path, query: dict[str, str], deadline: float) -> sqlite3.Connection:
    """Open a database without MLflow, in autocommit mode, for any thread, one at a time."""
    options = "&".join(f"{key}={value}" for key, value in query.items())
    file = f"{_file(path)}?{options}"
    return sqlite3.connect(
        file, timeout=deadline, isolation_level=None, uri=True, check_same_thread=False
    )


def artifact_location(folder: Path) -> str:
    """Return how MLflow has to be told of a folder: it takes `%41` in a plain path for `A`."""
    uri = folder.as_uri()
    return str(folder) if uri == f"file://{folder}" else uri


@dataclass(frozen=True)
class Artifacts:
    """Where the artifacts of a store are.

    Attributes
    ----------
    root
        The folder beside an embedded database.
    moved
        Locations of such folders, as MLflow wrote them down, whose files are in `root` now.
    """

    root: Path = Path()
    moved: Sequence[str] = ()

    def path(self, location: str) -> Path | None:
        """Return the folder that a location of MLflow means, or None where it is no folder."""
        for old in self.moved:
            if location.startswith(f"{old}/"):
                return self.root / location.removeprefix(f"{old}/")
        return local_path(location)


def local_path(location: str) -> Path | None:
    """Return the folder that MLflow's location of artifacts names, or None where it is none."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path, errors="surrogateescape"))
    return Path(location) if location.startswith("/") else None


def _file(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}"
