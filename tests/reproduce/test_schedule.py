"""The crontab entry: that it is put in and taken out without a trace, and that cron obeys it.

A developer's own crontab is not for tests to edit. So a program that keeps a crontab in a file
takes the place of `crontab`, except where BP_TEST_CRON says that the machine is there for tests, as
in CI: then the real one is edited, and a real cron daemon has to fire as often as that number says.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from stores import Store

import bp_pipeline

ROOT = Path(__file__).resolve().parents[2]
FIRINGS = int(os.environ.get("BP_TEST_CRON") or 0)
ANOTHER = "# mine\nMAILTO=''\n\n5 4 * * 7\techo 50\\% 'of  it' # bp_pipeline\n"
URI = "postgresql://me:50%@host/a b"

STAND_IN = """\
#!/bin/sh
case $1 in
-l) [ -e "$CRONTAB" ] && cat "$CRONTAB" || { echo "no crontab for me" >&2; exit 1; } ;;
-r) rm "$CRONTAB" ;;
-) cat > "$CRONTAB.new" && if grep -q "^every" "$CRONTAB.new"; then
    echo '"-":0: bad minute' >&2; exit 1; fi; mv "$CRONTAB.new" "$CRONTAB" ;;
esac
"""
BP = """\
#!/bin/sh
PYTHONPATH='{source}' exec '{python}' -c '
import sys; from bp_pipeline.cli import main; sys.exit(main())' "$@"
"""

Schedule = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project in a folder with a difficult name, ready to verify, without baselines."""
    project = tmp_path / "it's 100% mine"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "schedule.py", project / "scripts")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, project)
    bp = project / ".venv" / "bin" / "bp"
    bp.parent.mkdir(parents=True)
    source = Path(bp_pipeline.__file__).parents[1]
    bp.write_text(BP.format(source=source, python=sys.executable))
    bp.chmod(0o755)
    (project / ".venv" / ".pinned").touch()
    (project / ".venv" / ".ready").write_text(f"{project}\n")
    return project


@pytest.fixture(params=["stand-in", "real"])
def crontab(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Use an empty crontab."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if request.param == "stand-in":
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "crontab").write_text(STAND_IN)
        (tmp_path / "bin" / "crontab").chmod(0o755)
        monkeypatch.setenv("CRONTAB", str(tmp_path / "crontab"))
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        yield
        return
    if not FIRINGS:
        pytest.skip("BP_TEST_CRON is not set: the real crontab stays as it is")
    kept = read()
    subprocess.run(["crontab", "-r"], capture_output=True)
    yield
    subprocess.run(["crontab", "-r"], capture_output=True)
    if kept:
        write(kept)


@pytest.fixture
def schedule(project: Path, crontab: None) -> Schedule:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, project / "scripts" / "schedule.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def read() -> str:
    done = subprocess.run(["crontab", "-l"], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def write(text: str) -> None:
    subprocess.run(["crontab", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize("before", ["", ANOTHER, "\n", "# no entries\n"])
def test_other_entries_stay_as_they_are(before: str, schedule: Schedule) -> None:
    if before:
        write(before)
    assert schedule("remove").returncode == 0
    assert read() == before
    for _ in range(2):
        assert schedule("install", "*/5 * * * *").returncode == 0
        assert read().startswith(f"{before}*/5 * * * * ")
        assert read().count("\n") == before.count("\n") + 1
    assert schedule("install").returncode == 0
    assert read().startswith(f"{before}0 4 * * * ")
    for _ in range(2):
        assert schedule("remove").returncode == 0
        assert read() == before


def test_a_last_line_without_an_end_stays_a_line(
    schedule: Schedule, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "real" in request.node.name:
        pytest.skip("a real crontab refuses such a line")
    (tmp_path / "crontab").write_text(ANOTHER.removesuffix("\n"))
    schedule("install")
    assert read().startswith(f"{ANOTHER}0 4 * * * ")
    schedule("remove")
    assert read() == ANOTHER


def test_the_entry_of_another_folder_stays(schedule: Schedule, project: Path) -> None:
    schedule("install")
    [line] = read().splitlines()
    other = line.replace("mine", "mine, too")
    write(f"{other}\n{line}\n{line} more\n")
    schedule("remove")
    assert read() == f"{other}\n{line} more\n"


def test_the_entry_runs_make_with_the_uri_and_logs(
    schedule: Schedule, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URI)
    assert schedule("install", "@daily").returncode == 0
    [line] = read().splitlines()
    assert line.startswith("@daily ")
    assert "%" not in line.replace("\\%", "")
    (project / "Makefile").write_text(
        'QUICK ?= --quick\nreproduce:\n\t@echo "$$MLFLOW_TRACKING_URI" $(QUICK); exit $(STATUS)\n'
    )
    command = line.removeprefix("@daily ").replace("\\%", "%")  # as cron does
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}  # as cron has it
    for status in (0, 3):
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path, env={**bare, "STATUS": str(status)}, capture_output=True, text=True,
        )  # fmt: skip
        assert bool(done.returncode) == bool(status)
        assert (URI in done.stdout) == bool(status)  # cron mails what is printed
    [log] = (project / "logs").glob("reproduce-20??-??-??.log")
    assert log.read_text().count("\n" + URI) == 2


RECORDING = """\
SAMPLE ?= 24
QUICK ?= --quick
ARGS ?=
reproduce:
\t@printf '%s|' $(SAMPLE) '$(QUICK)' $(ARGS) > asked
"""


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, ["24", "--quick"]),
        ({"SAMPLE": "3"}, ["3", "--quick"]),
        ({"QUICK": ""}, ["24", ""]),
        ({"SAMPLE": "3", "ARGS": "--engine numpy --json 'a b%.json'"},
         ["3", "--quick", "--engine", "numpy", "--json", "a b%.json"]),
    ],
)  # fmt: skip
def test_what_is_typed_for_make_is_what_cron_runs(
    variables: dict[str, str], asked: list[str], schedule: Schedule, project: Path, tmp_path: Path
) -> None:
    recipe = (project / "Makefile").read_text().replace(".venv/bin/python", sys.executable)
    (project / "Makefile").write_text(recipe.replace("$(BIN)/python", sys.executable))
    words = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(["make", "schedule", *words], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (project / "Makefile").write_text(RECORDING)
    [line] = read().splitlines()
    command = line.removeprefix("0 4 * * * ").replace("\\%", "%")
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=bare, check=True)
    [*found, _] = (project / "asked").read_text().split("|")
    if datetime.now().isoweekday() == 7:  # on which all studies are verified
        asked = [asked[0], "", *asked[2:]]
    assert found == asked


@pytest.mark.parametrize("sample", ["0", "x", "3.5", ""])
def test_a_sample_that_is_none_is_refused(
    sample: str, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPLE", sample)
    done = schedule("install")
    assert done.returncode == 2
    assert done.stderr.startswith("`SAMPLE` must be ")
    assert read() == ""


def test_taking_out_says_whether_something_was_there(schedule: Schedule) -> None:
    assert schedule("install").returncode == 0
    [line] = read().splitlines()
    done, again = schedule("remove"), schedule("remove")
    assert line in done.stdout
    assert line not in again.stdout
    assert done.stdout != again.stdout
    assert (done.returncode, again.returncode) == (0, 0)


@pytest.mark.skipif(not Path("/proc/1/comm").exists(), reason="processes cannot be listed here")
def test_whether_a_cron_daemon_runs_is_said(schedule: Schedule, tmp_path: Path) -> None:
    names = {path.read_text().strip() for path in Path("/proc").glob("[0-9]*/comm")}
    if names & {"cron", "crond"}:
        pytest.skip("a cron daemon runs here")
    without = schedule("install")
    daemon = tmp_path / "cron"
    daemon.write_text("#!/bin/sh\nread line\n")
    daemon.chmod(0o755)
    with subprocess.Popen([daemon], stdin=subprocess.PIPE):
        running = schedule("install")
    assert (without.returncode, running.returncode) == (0, 0)
    assert "Scheduled" in running.stdout
    assert "Scheduled" not in without.stdout
    assert "cron" in without.stderr
    assert running.stderr == ""


def test_two_at_once_do_not_run(schedule: Schedule, project: Path) -> None:
    (project / "Makefile").write_text("reproduce:\n\ttouch ran\n")
    (project / "logs").mkdir()
    old = project / "logs" / "reproduce-2020-01-01.log"
    old.touch()
    os.utime(old, (0, 0))
    with FileLock(project / "logs" / "reproduce.lock"):
        assert schedule("run").returncode == 0
    assert not (project / "ran").exists()
    assert not old.exists()
    assert schedule("run").returncode == 0
    assert (project / "ran").exists()


@pytest.mark.parametrize("when", ["* * * * *\n* * * * * echo", "*" * 900])
def test_what_is_no_schedule_is_refused(when: str, schedule: Schedule) -> None:
    write(ANOTHER)
    done = schedule("install", when)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert read() == ANOTHER


def test_what_cron_refuses_is_said(schedule: Schedule) -> None:
    write(ANOTHER)
    done = schedule("install", "every day")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("`SCHEDULE` must be ")
    assert "bad minute" in line
    assert read() == ANOTHER


def test_where_there_is_no_cron_it_is_said(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "/nowhere")
        done = [schedule(command) for command in ("install", "remove")]
    assert [each.returncode for each in done] == [2, 2]
    for each in done:
        [line] = each.stderr.splitlines()
        assert line.startswith("There is no `crontab` here.")


@pytest.mark.skipif(not FIRINGS, reason="BP_TEST_CRON is not set")
@pytest.mark.parametrize("crontab", ["real"], indirect=True)
def test_cron_fires(
    schedule: Schedule, project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{store.folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert schedule("install", "* * * * *").returncode == 0
    client = MlflowClient(uri)
    daemon = None
    if subprocess.run(["pgrep", "-x", "cron"], capture_output=True).returncode:
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        daemon = subprocess.Popen([*root, "cron", "-f"])
    try:
        deadline = time.monotonic() + 60 * FIRINGS + 50
        while len(reproductions(client)) < FIRINGS and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        schedule("remove")
        if daemon is not None:
            daemon.terminate()
            daemon.wait()
    logs = "".join(log.read_text() for log in (project / "logs").glob("*.log"))
    assert reproductions(client)[:FIRINGS] == [len(store.runs)] * FIRINGS, logs
    assert "4 runs: 4 identical" in logs


def reproductions(client: MlflowClient) -> list[float]:
    """Return the number of identical runs of each verification."""
    experiment = client.get_experiment_by_name("bp_pipeline/reproductions")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return [run.data.metrics.get("identical", 0) for run in runs if run.info.end_time]
