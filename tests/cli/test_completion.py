"""Tab completion in a real bash, at a real terminal."""

import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import BP, run_bp

from bp_pipeline.cli import COMMANDS
from bp_pipeline.cli.completion import candidates
from bp_pipeline.tracking import open_for_writing

BASH = shutil.which("bash")
PROMPT = "READY> "

# Nothing of the user's own set-up: plain echo, and all candidates at the first Tab.
INPUTRC = """\
set bell-style none
set enable-bracketed-paste off
set show-all-if-ambiguous on
set page-completions off
set completion-query-items 0
"""

pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed")


class Terminal:
    """An interactive bash in which one can type and read."""

    def __init__(self, folder: Path) -> None:
        (folder / "inputrc").write_text(INPUTRC)
        variables = {
            "INPUTRC": str(folder / "inputrc"),
            "PATH": f"{Path(BP).parent}{os.pathsep}{os.environ['PATH']}",
            "PS1": PROMPT,
            "TERM": "dumb",
        }
        inherited = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        self._master, slave = pty.openpty()
        self._bash = subprocess.Popen(
            [str(BASH), "--norc", "--noprofile", "-i"],
            cwd=folder,
            env={**inherited, **variables},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        """Press the keys, Tab and Return among them."""
        os.write(self._master, text.encode())

    def read_until(self, pattern: str, seconds: float = 30) -> str:
        """Read until the screen shows what is looked for; give what was read."""
        screen, end = "", time.monotonic() + seconds
        while not re.search(pattern, screen):
            ready, _, _ = select.select([self._master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern!r} did not appear in {screen!r}"
            screen += os.read(self._master, 4096).decode(errors="replace")
        return screen

    def close(self) -> None:
        """End bash."""
        self._bash.kill()
        self._bash.wait()
        os.close(self._master)


def keep_a_sweep(folder: Path) -> None:
    """Put a store there with one sweep, of a name, a digest and an id that are known."""
    with open_for_writing(f"sqlite:///{folder}/mlflow.db", "bp_pipeline"):
        pass
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        [experiment] = database.execute(
            "SELECT experiment_id FROM experiments WHERE name = 'bp_pipeline'"
        ).fetchone()
        database.execute(
            "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, experiment_id,"
            " artifact_uri, source_type, user_id) VALUES ('ab12', 'seed', 'FINISHED', 1, 'active',"
            " ?, '', 'LOCAL', '')",
            [experiment],
        )
        for key, value in {"bp.n_jobs": "1", "bp.sweep_digest": "cd34"}.items():
            database.execute("INSERT INTO tags VALUES (?, ?, 'ab12')", [key, value])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two studies and a store."""
    folder = tmp_path_factory.mktemp("terminal")
    for study in ("quick", "other"):
        (folder / "experiments" / study).mkdir(parents=True)
        (folder / "experiments" / study / "baseline.json").touch()
    keep_a_sweep(folder)
    return folder


@pytest.fixture(scope="module")
def terminal(folder: Path) -> Iterator[Terminal]:
    """Return a bash in which completion is installed as the help page says."""
    opened = Terminal(folder)
    opened.read_until(PROMPT)
    opened.type('eval "$(bp train -sc install=bash)"; echo inst""alled\n')
    opened.read_until("installed\r\n" + PROMPT)
    yield opened
    opened.close()


# Of every kind that a shell may take apart, one; the others differ only in what is offered.
IN_A_SHELL = [
    ("bp tra", "bp train"),
    ("bp train acti", "bp train activation"),
    ("bp explain --sample 1 experiment=articl", "experiment=article"),
    ("bp train activation=relu optimizer.l", "optimizer.learning_rate="),
    ("bp train -m activation=tanh,re", "activation=tanh,relu"),
    ("bp map --zo", "bp map --zoom"),
    ("bp reproduce --engine=n", "--engine=numpy"),
    ("bp report see", "bp report seed"),
]
OFFERED = [
    *IN_A_SHELL,
    ("bp repo", "bp report"),
    ("bp train activation=t", "bp train activation=tanh"),
    ("bp train optimizer.learning_rate=", "optimizer.learning_rate=0.5"),
    ("bp train network.hid", "bp train network.hidden="),
    ("bp train --multirun experiment=x", "experiment=xor_sweep"),
    ("bp train --mul", "bp train --multirun"),
    ("bp train -m optimizer=batch_gd,on", "optimizer=batch_gd,online_gd"),
    ("bp report --o", "bp report --out"),
    ("bp train --cfg hy", "bp train --cfg hydra"),
    ("bp explain --format m", "bp explain --format md"),
    ("bp reproduce --baselines quick ot", "--baselines quick other"),
    ("bp ui ab", "bp ui ab12"),
    ("bp reproduce --sweep cd", "--sweep cd34"),
    ("bp list --experiment bp", "--experiment bp_pipeline"),
    ("bp explain --experiment=bp", "--experiment=bp_pipeline"),
]


@pytest.mark.parametrize(("typed", "completed"), IN_A_SHELL)
def test_tab_completes(typed: str, completed: str, terminal: Terminal) -> None:
    terminal.type(f"{typed}\t")
    terminal.read_until(re.escape(completed))
    terminal.type("\x15")  # Ctrl-U clears the line


def test_what_is_offered_is_what_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COMP_LINE", "")
    for typed, completed in OFFERED:
        offered = candidates("query=bash", typed, COMMANDS)
        assert all(word.startswith(typed.split()[-1]) for word in offered), typed
        assert any(word.startswith(completed.split()[-1]) for word in offered), typed


def test_tab_lists_the_options(terminal: Terminal) -> None:
    terminal.type("bp train activation=\t")
    screen = terminal.read_until(r"activation=tanh\s")
    options = {"identity", "leaky_relu", "relu", "sigmoid", "softplus", "tanh"}
    assert set(re.findall(r"activation=(\w+)", screen)) == options
    terminal.type("\x15")


def test_a_half_typed_line_brings_no_error(terminal: Terminal) -> None:
    for line in ("bp train --nonsense", "bp train network.hidden=[", "bp nonsense x"):
        terminal.type(f'{line}\t; \x15echo still ""here\n')
        screen = terminal.read_until("still here\r\n")
        assert "rror" not in screen
        assert "usage" not in screen


@pytest.mark.parametrize("place", [["train"], []])
def test_the_script_is_for_bp_wherever_it_is_asked_for(place: list[str], tmp_path: Path) -> None:
    def script(command: str) -> str:
        return run_bp(*place, "-sc", command, cwd=tmp_path, code=0).stdout

    assert script("install=bash").rstrip().endswith("-F hydra_bash_completion bp")
    assert "unset hydra_bash_completion" in script("uninstall=bash")


def test_a_wrong_request_for_the_script_is_refused(tmp_path: Path) -> None:
    done = run_bp("-sc", "install=nosuch", cwd=tmp_path, code=2)
    assert done.stderr.startswith("`install=nosuch` cannot be had: ")
    assert "bash" in done.stderr
