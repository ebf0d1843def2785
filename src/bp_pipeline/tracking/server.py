"""Whether a tracking server or a database is there, asked before anything is trained.

Owns one question with a deadline of its own, since MLflow's client by itself tries for minutes, and
a database's driver may wait for ever. What goes wrong later is said in `failures.py`.
"""

import os
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from bp_pipeline.config.errors import without_passwords
from bp_pipeline.tracking.failures import ADVICE_403, TrackingError, root_problem

DEADLINE = 4.0  # seconds, so that a command that has to say "no" does so within 5

_QUESTION = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="

# What to install, where a driver's package is not called as its module.
_DRIVERS = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}
# How PostgreSQL, MySQL and SQL Server say that a name or password is wrong.
_UNKNOWN_USER = ("authentication failed", "no password supplied", "access denied", "login failed")


class Problem(NamedTuple):
    """What is wrong with a place, and the one thing to do."""

    what: str
    advice: str = "Start it, or correct MLFLOW_TRACKING_URI or `tracking.uri`."


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
    kind, problem_of = _KINDS[scheme]
    answer: queue.SimpleQueue[Problem | None] = queue.SimpleQueue()
    # In a thread, because no timeout of requests covers looking up a name or a slow trickle, and
    # drivers have none by default.
    question = threading.Thread(target=lambda: answer.put(problem_of(uri, experiment)), daemon=True)
    question.start()
    try:
        problem = answer.get(timeout=DEADLINE)
    except queue.Empty:
        problem = Problem(f"no answer within {DEADLINE:g} s")
    if problem is not None:
        place = without_passwords(uri)
        raise TrackingError(f"The {kind} {place} cannot be used: {problem.what}. {problem.advice}")


def _problem_of_server(uri: str, experiment: str) -> Problem | None:
    import requests

    question = uri.rstrip("/") + _QUESTION + quote(experiment, safe="")
    try:
        response = requests.get(question, timeout=DEADLINE, **_credentials())
    except requests.Timeout:
        return Problem(f"no answer within {DEADLINE:g} s")
    except requests.exceptions.InvalidURL:  # which quotes a part of it, maybe of a password
        return Problem("that is no address of a server", "Write it as http://HOST:PORT.")
    except (requests.RequestException, ValueError, OSError) as error:
        return Problem(root_problem(error))
    return _problem_of_answer(response, experiment)


def _problem_of_answer(response: Any, experiment: str) -> Problem | None:
    status = response.status_code
    if status == 401:
        return Problem(
            "it refuses this name and password (HTTP 401)",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, both.",
        )
    if status == 403:
        return Problem(f"it refuses us the experiment {experiment!r} (HTTP 403)", ADVICE_403)
    if status >= 500:
        return Problem(f"it answers HTTP {status}", "Read its log, then type the same again.")
    if not _is_mlflow(response):
        correct = "Correct MLFLOW_TRACKING_URI or `tracking.uri`."
        return Problem("what answers there is not MLflow", correct)
    return None


def _credentials() -> dict[str, Any]:
    """Identify as MLflow's client will, which reads the same variables."""
    user, password, token, certificate, insecure = (
        os.environ.get(f"MLFLOW_TRACKING_{name}")
        for name in ("USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH", "INSECURE_TLS")
    )
    verify = (insecure or "").lower() not in ("1", "true")
    return {
        "auth": (user, password) if user and password else None,
        "headers": {"Authorization": f"Bearer {token}"} if token else None,
        "verify": certificate or verify,
    }


def _is_mlflow(response: Any) -> bool:
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and ("experiment" in body or "error_code" in body)


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
