"""Why a store cannot be used, in one line, and what to do about it.

Owns the wording, and which exceptions are a store's rather than mistakes of ours, which pass.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from bp_pipeline.config.errors import Refusal, without_passwords

ADVICE_403 = "Ask for permission to edit it, or name another experiment with `tracking.experiment`."
_MODEL = "Ask for permission to edit the model, which is one for all experiments of a server."
_ONCE_BACK = "Type the same again once the server is back."

# What to do, by words that the operating system, SQLite, filelock or MLflow put in their messages.
_ADVICE = {
    "disk is full": "Free some space, then type the same again.",
    "no space left": "Free some space, then type the same again.",
    "quota": "Free some space, then type the same again.",
    "locked": "Let the program that writes to it finish, then type the same again.",
    "could not be acquired": "Let the program that writes to it finish, then type the same again.",
    "malformed": "Restore a backup, or move the file away.",
    "not a database": "Restore a backup, or move the file away.",
    "schema": "Back it up, then run `mlflow db upgrade {uri}`, or install the MLflow that made it.",
    "/registered-models/": _MODEL,
    "/model-versions/": _MODEL,
    "error code 403": ADVICE_403,
    "403 client error": ADVICE_403,
    "connection refused": _ONCE_BACK,
    "connection reset": _ONCE_BACK,
    "connection aborted": _ONCE_BACK,
    "connection broken": _ONCE_BACK,
    "without response": _ONCE_BACK,
    "max retries": _ONCE_BACK,
    "timed out": _ONCE_BACK,
}
_OTHERWISE = "Name another place with `{key}`, or keep nothing with `tracking=off`."
# A variable that MLflow cannot convert; that of a pool it calls by another name.
_VARIABLE = re.compile(r"\b(MLFLOW_[A-Z_]+)\b")
_POOL = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"


def key_of_place() -> str:
    """Return what says where runs are kept, and is to be corrected where that is wrong."""
    return "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "tracking.uri"


def no_such_place(uri: str, problem: str) -> str:
    """Write what is wrong with a URI, whatever may be there."""
    return (
        f"`{key_of_place()}` must name a database or a server of MLflow, got {uri!r}: {problem}. "
        "Use http://HOST:PORT, or sqlite:////absolute/path/mlflow.db."
    )


class TrackingError(Refusal, RuntimeError):
    """A store that cannot be used."""


class NothingYet(TrackingError):
    """A store, or an experiment, that nobody has made yet."""


@contextmanager
def failures_explained(uri: str, doing: str) -> Iterator[None]:
    """Turn whatever goes wrong in a store into one message.

    Raises
    ------
    TrackingError
        Where the operating system, SQLite, MLflow or SQLAlchemy raises something.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and (name := _unreadable_variable(error)):
            raise TrackingError(
                f"`{name}` must be such as MLflow takes it, got {os.environ[name]!r}. Unset it."
            ) from error
        if not _is_of_a_store(error):
            raise
        problem, place = root_problem(error).rstrip("."), without_passwords(uri)
        if "unsupported URI" in problem:
            raise TrackingError(no_such_place(uri, "MLflow knows no such scheme")) from error
        known = (advice for words, advice in _ADVICE.items() if words in problem.lower())
        advice = next(known, _OTHERWISE).format(uri=place, key=key_of_place())
        raise TrackingError(f"Cannot {doing} in {place}: {problem}. {advice}") from error


def root_problem(error: BaseException) -> str:
    """Describe in one line what lies at the bottom of an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | sqlite3.Error) and str(cause):
            error = cause
        cause = cause.__cause__ or cause.__context__
    text = str(getattr(error, "orig", error))  # SQLAlchemy adds the statement to the driver's words
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(text.partition("\n")[0].split()) or type(error).__name__


def _unreadable_variable(error: ValueError) -> str | None:
    """Return the variable of this process's environment that MLflow cannot make sense of."""
    found = _VARIABLE.search(str(error))
    name = _POOL if "poolclass parameter" in str(error) else found[1] if found else ""
    return name if name in os.environ else None


def _is_of_a_store(error: Exception) -> bool:
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | sqlite3.Error) or package in ("mlflow", "sqlalchemy")
