"""`bp ui` as a process: what it starts, says and leaves, however it ends."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run_bp
from mlflow import MlflowClient
from user import environment, free_port, group_of, is_alive, listening, read_links, start_ui


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not is_so() and time.monotonic() < deadline:
        pause.wait(0.05)
    return is_so()


def run_ui(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_bp("ui", *arguments, cwd=folder, environment=environment(**variables))


def unfinished_request(link: str) -> socket.socket:
    """Begin a request for which a server waits, even when it is told to end."""
    place = link.removeprefix("http://").partition("/")[0]
    host, _, port = place.partition(":")
    request = socket.create_connection((host, int(port)))
    head = [
        "POST /api/2.0/mlflow/experiments/search HTTP/1.1",
        f"Host: {place}",
        "Content-Length: 9",
    ]
    request.sendall("\r\n".join([*head, "", ""]).encode())
    return request


def write_browser(folder: Path, command: str) -> str:
    """Write a program that is started with an address, as a browser; return its path."""
    script = folder / "browser"
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.heavy
def test_a_server_that_dies_is_told_and_one_whose_parent_dies_ends(store: Path) -> None:
    orphaned, bereft = start_ui(store), start_ui(store)  # at once, as each takes seconds
    links = read_links(orphaned)
    read_links(bereft)
    groups = group_of(orphaned), group_of(bereft)
    request = unfinished_request(links["charts"])
    orphaned.kill()
    os.killpg(groups[1], signal.SIGKILL)
    _, errors = bereft.communicate(timeout=20)
    assert bereft.returncode == 1
    assert "MLflow's server ended by itself" in errors
    assert "Traceback" not in errors
    orphaned.communicate()
    try:
        assert within(20, lambda: not any(map(is_alive, groups)))
    finally:
        request.close()
        for group in filter(is_alive, groups):
            assert group is not None
            os.killpg(group, signal.SIGKILL)


def test_stopped_while_it_starts_it_leaves_nothing(store: Path) -> None:
    process = start_ui(store)
    assert within(10, lambda: group_of(process) is not None)
    group = group_of(process)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 143
    assert errors == "Interrupted.\n"
    assert not is_alive(group)


@pytest.mark.heavy
def test_a_browser_that_stays_open_does_not_keep_it_from_stopping(
    store: Path, tmp_path: Path
) -> None:
    browser = write_browser(tmp_path, f"echo $$ > {tmp_path}/pid\nexec sleep 100")
    process = start_ui(store, BROWSER=browser)
    read_links(process)
    group = group_of(process)
    assert within(10, lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    try:
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
        assert not is_alive(group)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        process.kill()
        process.communicate()


def test_it_takes_another_port_than_a_taken_one_and_opens_the_browser(
    store: Path, links: dict[str, str]
) -> None:
    assert ":5000" not in links["charts"]
    assert within(5, (store / "opened").exists)
    assert (store / "opened").read_text().strip() == links["charts"]


def test_a_port_that_is_asked_for_and_taken_is_refused(store: Path) -> None:
    port = free_port()
    with listening(port):
        done = run_ui(store, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr == (
        f"`--port` must be free, got {port}. Leave it out, and a free one is taken.\n"
    )


def test_without_a_store_it_is_one_message(tmp_path: Path) -> None:
    done = run_ui(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no store")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_sweep_is_one_message(store: Path) -> None:
    done = run_ui(store, "0" * 32)
    assert done.returncode == 2
    assert done.stderr.startswith("There is no sweep")
    assert len(done.stderr.splitlines()) == 1


def test_on_a_remote_server_it_starts_nothing_and_tells_no_password(
    links: dict[str, str], store: Path, tmp_path: Path
) -> None:
    server = links["charts"].partition("/#")[0].replace("://", "://ann:secret@")
    browser = write_browser(tmp_path, f'echo "$1" > {tmp_path}/opened')
    done = run_ui(store, MLFLOW_TRACKING_URI=server, BROWSER=browser)
    assert done.returncode == 0
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [*links.values()]
    assert done.stderr == ""
    assert (tmp_path / "opened").read_text().strip() == links["charts"]


def test_a_sweep_without_a_comparison_gets_one(store: Path, links: dict[str, str]) -> None:
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    run_id = links["sweep"].partition("/runs/")[2].partition("?")[0]
    tags = client.get_experiment("1").tags
    [tag] = [key for key in tags if key.startswith("mlflow.shared") and key.endswith(run_id)]
    client.delete_experiment_tag("1", tag)
    run_ui(store, MLFLOW_TRACKING_URI=links["charts"].partition("/#")[0])
    assert tag in client.get_experiment("1").tags
