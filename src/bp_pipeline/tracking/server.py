"""Whether an MLflow server is there, asked before anything is trained.

Owns one question with a deadline of its own, since MLflow's client by itself tries for minutes.
"""

import os
import queue
import threading
from typing import Any

from bp_pipeline.messages import without_passwords
from bp_pipeline.tracking.failures import TrackingError, root_problem

DEADLINE = 4.0  # seconds, so that a command that has to say "no" does so within 5

# Any endpoint would do, since MLflow answers every one in its own way, even with "does not exist".
_QUESTION = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=bp_pipeline"


def ask_server(uri: str) -> None:
    """Make sure that an MLflow server answers within `DEADLINE`.

    Raises
    ------
    TrackingError
        Where nothing answers in time, it is not MLflow, or it refuses.
    """
    answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # In a thread, because no timeout of requests covers looking up a name or a slow trickle.
    threading.Thread(target=lambda: answer.put(_problem(uri)), daemon=True).start()
    try:
        problem = answer.get(timeout=DEADLINE)
    except queue.Empty:
        problem = f"no answer within {DEADLINE:g} s"
    if problem is not None:
        raise TrackingError(
            f"The MLflow server {without_passwords(uri)} cannot be used: {problem}. "
            "Start it, or correct MLFLOW_TRACKING_URI or `tracking.uri`."
        )


def _problem(uri: str) -> str | None:
    import requests

    try:
        response = requests.get(uri.rstrip("/") + _QUESTION, timeout=DEADLINE, **_credentials())
    except requests.Timeout:
        return f"no answer within {DEADLINE:g} s"
    except (requests.RequestException, ValueError, OSError) as error:
        return root_problem(error)
    if response.status_code in (401, 403):
        return f"it refuses us with HTTP {response.status_code}, see MLFLOW_TRACKING_USERNAME"
    if response.status_code >= 500:
        return f"it answers HTTP {response.status_code}"
    if not _is_mlflow(response):
        return "what answers there is not MLflow"
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
