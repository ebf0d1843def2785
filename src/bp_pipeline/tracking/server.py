"""Whether a tracking server or a database is there, asked before anything is trained.

Owns one question with a deadline of its own, since MLflow's client by itself tries for minutes, and
a database's driver may wait for ever; and the settings of MLflow that hold while it is used. What
goes wrong later is said in `failures.py`.
"""

import os
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bp_pipeline.config.errors import without_passwords
from bp_pipeline.tracking.failures import (
    ADVICE_403,
    TrackingError,
    key_of_place,
    root_problem,
)

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

DEADLINE = 4.0  # seconds, so that a command that has to say "no" does so soon

# So that the question is asked once. Its own deadline comes after ours, which also covers the
# look-up of a name and an answer that trickles.
_ASKED_ONCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(int(DEADLINE) + 1),
}
# What to install, where a driver's package is not called as its module.
_DRIVERS = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}
# How PostgreSQL, MySQL and SQL Server say that a name or password is wrong.
_UNKNOWN_USER = ("authentication failed", "no password supplied", "access denied", "login failed")
# How MLflow's client, and requests below it, tell of an answer that is an error.
_STATUS = re.compile(r"(?:failed with error code|too many) (\d{3})\b")
# How databases say that another writer was the first with a row that both were to add: a dataset of
# several sweeps. MLflow calls that a bad request; asked once more, it finds the row.
_FORESTALLED = re.compile(
    r"duplicate key|duplicate entry|unique constraint failed|violation of (?:unique|primary) key",
    re.IGNORECASE,
)
_ASKING = threading.Lock()


@dataclass(frozen=True)
class Problem:
    """What is wrong with a place, and the one thing to do."""

    what: str
    advice: str = "Start it, or correct `{key}`."


_NOT_MLFLOW = Problem("what answers there is not MLflow", "Correct `{key}`.")


@contextmanager
def variables(values: Mapping[str, str | None], *, override: bool) -> Iterator[None]:
    """Set variables of this process's environment, and undo that.

    Parameters
    ----------
    values
        Values by their names; None for what is not to be set.
    override
        Whether to set those, too, that a user has set.
    """
    before = {name: os.environ.get(name) for name in values}
    before = {name: old for name, old in before.items() if override or old is None}
    _set({name: values[name] for name in before})
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def ask(uri: str, experiment: str) -> None:
    """Make sure that a server or a database answers within `DEADLINE`; nothing else is asked.

    Parameters
    ----------
    uri
        Where runs are kept.
    experiment
        Whose it is to be; a server may refuse one and open another.

    Raises
    ------
    TrackingError
        Where nothing answers in time, what answers is of no use, or it refuses.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in _KINDS:
        return
    import mlflow.tracking  # noqa: F401  now, since the deadline is the answer's alone

    kind, problem_of = _KINDS[scheme]
    answer: queue.SimpleQueue[Problem | None] = queue.SimpleQueue()
    question = threading.Thread(target=lambda: answer.put(problem_of(uri, experiment)), daemon=True)
    # Runs are recorded on several threads, which may ask at once, and there is one environment.
    with _ASKING, variables(_ASKED_ONCE, override=True):
        question.start()
        try:
            problem = answer.get(timeout=DEADLINE)
        except queue.Empty:
            problem = Problem(f"no answer within {DEADLINE:g} s")
    if problem is not None:
        place = without_passwords(uri)
        advice = problem.advice.format(key=key_of_place())
        raise TrackingError(f"The {kind} {place} cannot be used: {problem.what}. {advice}")


def _problem_of_server(uri: str, experiment: str) -> Problem | None:
    """Ask through MLflow's own client, which knows all ways of MLflow to identify oneself."""
    from mlflow import MlflowClient
    from mlflow.exceptions import InvalidUrlException, MlflowException

    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:  # as with any server that has no such page
            client.search_experiments(max_results=1)
        elif found.name != experiment:
            return _NOT_MLFLOW
    except InvalidUrlException:  # which quotes a part of it, maybe of a password
        return Problem("that is no address of a server", "Write it as http://HOST:PORT.")
    except MlflowException as error:
        return _problem_of_answer(error, experiment)
    except Exception as error:  # of an address, or of what a plugin of MLflow does
        return Problem(root_problem(error))
    return None


def _problem_of_answer(error: "MlflowException", experiment: str) -> Problem | None:
    status = _status_of(error)
    if status is None:
        unreadable = "response body" in str(error)
        return _NOT_MLFLOW if unreadable else Problem(root_problem(error))
    if status == 401:
        return Problem(
            "it refuses this name and password (HTTP 401)",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, both.",
        )
    if status == 403:
        return Problem(f"it refuses us the experiment {experiment!r} (HTTP 403)", ADVICE_403)
    if status >= 500:
        return Problem(f"it answers HTTP {status}", "Read its log, then type the same again.")
    return None if _is_of_mlflow(error) else _NOT_MLFLOW


def _status_of(error: "MlflowException") -> int | None:
    """Return the HTTP status of an answer, or None where there was none, or not of MLflow."""
    if _is_of_mlflow(error):
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def is_in_trouble(error: BaseException | None) -> bool:
    """Whether an error of MLflow's client is an answer that time may mend: HTTP 429 or 5xx.

    So is that another writer was the first.
    """
    from mlflow.exceptions import MlflowException

    status = _status_of(error) if isinstance(error, MlflowException) else None
    if status is None:
        return False
    return status == 429 or status >= 500 or bool(_FORESTALLED.search(str(error)))


def is_refusal(error: BaseException | None) -> bool:
    """Whether MLflow has understood what it was asked, and will refuse it again: HTTP 4xx."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    status = _status_of(error) or error.get_http_status_code()  # type: ignore[no-untyped-call]
    return 400 <= status < 500 and not is_in_trouble(error)


def _is_of_mlflow(error: "MlflowException") -> bool:
    """Whether an answer names MLflow's own code of an error."""
    return "error_code" in getattr(error, "json", {})


def _problem_of_database(uri: str, _: str) -> Problem | None:
    try:
        _connect(uri)
    except ModuleNotFoundError as error:
        package = _DRIVERS.get(str(error.name), error.name)
        return Problem(
            f"its driver {error.name} is not installed",
            f'Install it beside MLflow: `pip install "{package}"`.',
        )
    except ValueError:  # of a port that is no number, maybe a part of a password
        return Problem("that is no address of a database", _AS_CODES)
    except Exception as error:  # drivers have exceptions of their own
        problem = root_problem(error).rstrip(".")
        if any(words in problem.lower() for words in _UNKNOWN_USER):
            return Problem(problem, _AS_CODES)
        return Problem(problem)
    return None


def _connect(uri: str) -> None:
    from sqlalchemy import NullPool, create_engine, make_url

    url = make_url(uri)
    if "@" in (url.host or ""):  # it is the end of a password, which the driver would quote
        raise ValueError
    with create_engine(url, poolclass=NullPool).connect():
        pass


_AS_CODES = "Correct the name and password in it, with % codes for special characters (%40 for @)."
_Question = Callable[[str, str], Problem | None]
_SERVER, _DATABASE = ("MLflow server", _problem_of_server), ("database", _problem_of_database)
# The schemes that MLflow takes, but for SQLite's, which names a file.
_KINDS: dict[str, tuple[str, _Question]] = {
    **dict.fromkeys(("http", "https"), _SERVER),
    **dict.fromkeys(("postgresql", "mysql", "mssql"), _DATABASE),
}
