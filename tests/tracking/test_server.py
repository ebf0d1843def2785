import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from mlflow import MlflowClient
from small_runs import DIGEST, record, start_sweep

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.report.champion import network_of
from bp_pipeline.tracking import Account, TrackingError, Writer, open_for_writing, run_files
from bp_pipeline.tracking import server as module

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve one answer to every request, on a port of its own."""
    methods = {"do_GET": answer, "do_POST": answer, "log_request": lambda *_: None}
    handler = type("Handler", (BaseHTTPRequestHandler,), methods)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def answering(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def problem_of(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Open a server that cannot be used; return the message, which is to be one line."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError) as caught:
        open_for_writing(None, "bp_pipeline")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_asking_on_several_threads_leaves_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = iter([0.3, 0.6])
    kinds = {"http": ("server", lambda *_: time.sleep(next(pauses)))}
    monkeypatch.setattr(module, "_KINDS", kinds)
    before = dict(os.environ)
    threads = [threading.Thread(target=module.ask, args=("http://", "")) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert dict(os.environ) == before


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    assert problem_of(uri, monkeypatch) == (
        f"The MLflow server {uri} cannot be used: Connection refused. "
        "Start it, or correct `MLFLOW_TRACKING_URI`."
    )


def test_the_name_is_unknown_and_the_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    message = problem_of("http://me:secret@no-such-host.invalid", monkeypatch)
    assert message.startswith("The MLflow server http://no-such-host.invalid cannot be used: ")
    assert "secret" not in message


def test_somebody_listens_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        message = problem_of(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
    assert "no answer within 0.5 s" in message


def test_an_answer_that_trickles_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.5)
    over = threading.Event()

    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(100):
            request.wfile.write(b" ")
            if over.wait(0.1):
                break

    with serving(trickle) as uri:
        assert "no answer within 0.5 s" in problem_of(uri, monkeypatch)
        over.set()


def test_the_deadline_leaves_time_to_say_so_within_five_seconds() -> None:
    assert module.DEADLINE <= 4


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answering(500, b"{}"), "it answers HTTP 500. Read its log, then type the same again."),
        (answering(200, b"<html>Hello</html>"), "is not MLflow. Correct `MLFLOW_TRACKING_URI`."),
        (answering(404, b"[]"), "what answers there is not MLflow"),
        (
            answering(401),
            "it refuses this name and password (HTTP 401). "
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, both.",
        ),
        (
            answering(403),
            "it refuses us the experiment 'bp_pipeline' (HTTP 403). "
            "Ask for permission to edit it, or name another experiment with `tracking.experiment`.",
        ),
        (answering(302, Location="http://127.0.0.1:1/"), "Connection refused. Start it, or"),
    ],
)
def test_what_answers_is_of_no_use(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, expected: str
) -> None:
    with serving(answer) as uri:
        assert expected in problem_of(uri, monkeypatch)


@pytest.mark.parametrize("uri", ["http://", "http://[::1", "https://127.0.0.1:99999"])
def test_a_uri_that_cannot_be_one_is_a_message_too(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    assert "cannot be used" in problem_of(uri, monkeypatch)


def test_a_part_of_a_password_is_not_taken_for_a_port_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert problem_of("http://ann:geheim#bad@localhost:5000", monkeypatch) == (
        "The MLflow server http://localhost:5000 cannot be used: that is no address of a server. "
        "Write it as http://HOST:PORT."
    )
    for uri in (
        "postgresql://ann:geheim:@bad@localhost/db",
        "postgresql://ann:@b:bad@localhost/db",
    ):
        message = problem_of(uri, monkeypatch)
        assert message.startswith("The database postgresql://localhost/db cannot be used: that is")
        assert "bad" not in message
        assert message.endswith("with % codes for special characters (%40 for @).")


NO_SUCH_EXPERIMENT = answering(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')


def listening(seen: list[BaseHTTPRequestHandler]) -> Answer:
    """Be a server without experiments, which remembers what it was asked."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request)
        empty = request.path.endswith("/search")
        (answering(200, b"{}") if empty else NO_SUCH_EXPERIMENT)(request)

    return answer


def test_the_experiment_that_is_wanted_is_the_one_asked_for() -> None:
    seen: list[BaseHTTPRequestHandler] = []
    with serving(listening(seen)) as uri:
        module.ask(uri, "a b/λ&c")
    query = parse_qs(urlsplit(seen[0].path).query)
    assert query == {"experiment_name": ["a b/λ&c"]}


@pytest.mark.parametrize(
    ("uri", "driver", "package"),
    [
        ("postgresql+psycopg://mlflow:PW@localhost/mlflow", "psycopg", "psycopg[binary]"),
        ("postgresql+psycopg2://mlflow:PW@localhost/mlflow", "psycopg2", "psycopg2-binary"),
        ("mysql://mlflow:PW@localhost/mlflow", "MySQLdb", "mysqlclient"),
        ("mssql+pymssql://mlflow:PW@localhost/mlflow", "pymssql", "pymssql"),
    ],
)
def test_a_driver_that_is_missing_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, driver: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)  # as where it is not installed
    assert problem_of(uri, monkeypatch) == (
        f"The database {uri.replace('mlflow:PW@', '')} cannot be used: its driver {driver} is not "
        f'installed. Install it beside MLflow: `pip install "{package}"`.'
    )


def test_a_database_that_never_answers_is_waited_for_no_longer_than_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The drivers are not installed here; what they do is connect, and read."""

    def connect(uri: str) -> None:
        port = int(uri.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.recv(1)

    monkeypatch.setattr(module, "_connect", connect)
    monkeypatch.setattr(module, "DEADLINE", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        uri = f"postgresql://mlflow:PW@127.0.0.1:{silent.getsockname()[1]}/mlflow"
        message = problem_of(uri, monkeypatch)
    place = uri.replace("mlflow:PW@", "")
    assert message.startswith(f"The database {place} cannot be used: no answer within 0.5 s. Start")
    assert "Connection refused. Start it" in problem_of(uri, monkeypatch)


def test_a_database_that_refuses_a_password_is_not_told_to_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OperationalError(Exception):
        orig = 'connection failed: FATAL:  password authentication failed for user "ann"\nMore.'

    def connect(_: str) -> None:
        raise OperationalError

    monkeypatch.setattr(module, "_connect", connect)
    assert problem_of("postgresql://ann:PW@localhost/db", monkeypatch) == (
        "The database postgresql://localhost/db cannot be used: "
        'connection failed: FATAL: password authentication failed for user "ann". '
        "Correct the name and password in it, with % codes for special characters (%40 for @)."
    )


CREDENTIALS = "mlflow_tracking_username = me\nmlflow_tracking_password = secret"


@pytest.mark.parametrize(
    ("variables", "file", "sent"),
    [
        ({}, "", None),
        ({"TOKEN": "t0ken"}, "", "Bearer t0ken"),
        ({"USERNAME": "me", "PASSWORD": "secret"}, "", "Basic bWU6c2VjcmV0"),
        ({}, CREDENTIALS, "Basic bWU6c2VjcmV0"),
    ],
)  # fmt: skip
def test_we_identify_ourselves_as_mlflow_does(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    file: str,
    sent: str | None,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(f"[mlflow]\n{file}\n")
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    seen: list[BaseHTTPRequestHandler] = []
    with serving(listening(seen)) as uri:
        module.ask(uri, "bp_pipeline")
    assert {request.headers["Authorization"] for request in seen} == {sent}


@pytest.mark.parametrize("answer", [answering(200, b"{}"), answering(503), NO_SUCH_EXPERIMENT])
def test_asking_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    before = dict(os.environ)
    with serving(answer) as uri, suppress(TrackingError):
        module.ask(uri, "bp_pipeline")
    assert dict(os.environ) == before


class Server(NamedTuple):
    uri: str
    kill: Callable[[], object]


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a real MLflow server, which keeps artifacts itself."""
    uri = f"http://127.0.0.1:{free_port()}"
    options = f"--host 127.0.0.1 --port {uri.rpartition(':')[2]} --workers 1".split()
    with open("server.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not is_up(uri):
            assert process.poll() is None, Path("server.log").read_text()
            time.sleep(0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield Server(uri, lambda: os.killpg(process.pid, signal.SIGKILL))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_up(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=5).ok
    except requests.RequestException:
        return False


def test_runs_on_a_real_server_read_back_as_on_the_embedded_store(
    server: Server, folder: Path, config: RunConfig, result: RunResult, capfd: pytest.CaptureFixture
) -> None:
    writer = open_for_writing("sqlite:///elsewhere.db", "bp_pipeline")
    parent = start_sweep(writer)
    run_id = record(writer, config, result, sweep=(parent, DIGEST))
    writer.finish(parent, "FINISHED")
    client = MlflowClient(server.uri)
    run = client.get_run(run_id)
    table = writer.load_runs(parent)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert run.data.tags["bp.result_digest"] == result.result_digest
    assert table["optimizer.learning_rate"].tolist() == [5.0]
    assert [sweep.run_id for sweep in writer.sweeps()] == [parent]
    assert [file.path for file in client.list_artifacts(run_id, "weights")] == [
        f"weights/{name}.npz" for name in ("final", "initial", "trajectory")
    ]
    with writer.artifacts(run_id) as copy:
        network = network_of(config, run_files.read_weights(copy, "final"), 0)
        assert {str(path.relative_to(copy)) for path in copy.rglob("*.*")} == {
            *run_files.NEEDED_FILES, "environment.json", "picture.svg"
        }  # fmt: skip
    wanted = ("config.yaml", "weights/initial.npz", "no/such.file")
    with writer.artifacts(run_id, *wanted) as copy:
        assert {str(path.relative_to(copy)) for path in copy.rglob("*.*")} == {*wanted[:2]}
    assert not copy.exists()
    assert capfd.readouterr() == ("", "")
    versions = [
        writer.register(network, name="bp_pipeline-xor", run_id=run_id, tags={"bp.replicate": "0"})
        for _ in range(2)
    ]
    assert versions == ["1", "1"]
    writer.crown("bp_pipeline-xor", "1")
    version = client.get_model_version_by_alias("bp_pipeline-xor", "champion")
    assert (version.version, version.run_id) == ("1", run_id)
    writer.log_comparison(parent, ["activation"], 1)
    assert writer.has_comparison(parent)
    assert writer.n_readers > 1
    assert not (folder / "elsewhere.db").exists()
    writer.close()


@pytest.mark.heavy
def test_a_server_that_dies_in_a_sweep_is_not_waited_for_again_and_again(
    server: Server, config: RunConfig, result: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, client = open_for_writing(None, "bp_pipeline"), MlflowClient(server.uri)
    parent, account = start_sweep(writer), Account(2, 0, 0)
    half = client.create_run(writer.experiment_id, tags={"mlflow.parentRunId": parent})
    writer.abandon(DIGEST, (), account)
    statuses = [client.get_run(run_id).info.status for run_id in (half.info.run_id, parent)]
    assert statuses == ["KILLED", "KILLED"]

    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        patch.setattr(run_files, "write_result", lambda *_: server.kill())
        with pytest.raises(TrackingError) as caught:
            record(writer, config, result, sweep=(parent, DIGEST))
        # Refused, or reset where a connection was still open.
        assert str(caught.value).startswith(f"Cannot record 'a' in {server.uri}: ")
        assert str(caught.value).endswith(". Type the same again once the server is back.")
        patch.setattr(writer, "_client", None)  # so that whatever is asked of it fails
        writer.abandon(DIGEST, (), account)
    writer.close()


def test_a_request_to_a_dead_server_is_tried_for_seconds_unless_a_user_wants_more(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
        open_for_writing(None, "bp_pipeline").close()
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"
