"""`bp` as a user meets it: real processes in an empty folder, their exit codes and words."""

import gc
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from commands import BP, run_bp

from bp_pipeline import cli

SLOW_TO_IMPORT = {"mlflow", "numba", "pandas", "scipy", "matplotlib"}
INITS = "ones,normal,uniform,he_normal,lecun_normal,he_uniform"
TINY = ["tracking=off", "engine=numpy", "training.epochs=5", "replicates=2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder to work in; beside it is the one for temporary files."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def bp(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `bp` to its end; with variables, which may be read by imports, as a fresh process."""
    if not variables:
        return run_bp(*arguments, cwd=folder, environment=_environment(folder, {}))
    return subprocess.run(
        [BP, *arguments],
        cwd=folder,
        env=_environment(folder, variables),
        capture_output=True,
        text=True,
        check=False,
    )


def _environment(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    foreign = ("HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI", "PYTHONUNBUFFERED")
    inherited = {key: value for key, value in os.environ.items() if key not in foreign}
    return {**inherited, "TMPDIR": str(folder.parent / "temporary"), **variables}


def _litter(folder: Path) -> list[Path]:
    return [*folder.iterdir(), *(folder.parent / "temporary").iterdir()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "nonsense",
            "`bp` must be followed by a command, got 'nonsense'. "
            f"There are: {', '.join(cli.COMMANDS)}.",
        ),
        (
            "trian",
            "`bp` must be followed by a command, got 'trian'. Did you mean `bp train`? "
            f"There are: {', '.join(cli.COMMANDS)}.",
        ),
        (
            "train activation=tahn",
            "`activation` must be one of its options, got 'tahn'. Did you mean `tanh`? There are: "
            "identity, leaky_relu, relu, sigmoid, softplus, tanh.",
        ),
        (
            "train activation.slop=1 activation=leaky_relu",
            "`activation.slop` must be a config key. `activation` has no key `slop`. "
            "Did you mean `slope`? There are: name, slope.",
        ),
        ("train network.hidden=[3", "`network.hidden=[3` must follow Hydra's grammar"),
        ("train tanh", "`tanh` is not an override. Write `key=value`, e.g. `activation=relu`."),
        ("train activation=tanh,relu", "`activation` must be one value, got tanh,relu."),
        ("train init=null", "`init` must be the name of an option, got null."),
        ("train --config-dir nowhere", "`--config-dir` must be a folder, got "),
        ("train --experimental-rerun no", "`--experimental-rerun` must be a file of Hydra's, got"),
        (
            "report --nonsense",
            "`bp report` cannot be asked so: unrecognized arguments: --nonsense.",
        ),
        ("report --out x.html", "`bp report` cannot be asked so: argument --out: must be a folder"),
        ("compare a b --out x.pdf", "`bp compare` cannot be asked so: argument --out: must be"),
        ("map seed=1,2", "`seed` must be one value, got 1,2. To sweep over them: `bp map -m"),
        ("reproduce --sample 0", "`bp reproduce` cannot be asked so: argument --sample: must be"),
        ("map --zoom x", "`bp map` cannot be asked so: argument --zoom: must be"),
        ("train --nonsense", "`bp train` cannot be asked so: unrecognized arguments: --nonsense."),
        ("train seed=${nothing}", "`seed` must be a value or lead to one: Interpolation key"),
        ("train optimizer.learning_rate=-1", "`optimizer.learning_rate` must be > "),
        ("train loss=logistic network.output=identity", "`network.output` must be sigmoid"),
        ("train init=given init.path=missing.npz", "`init.path` must be an existing .npz file"),
    ],
)
def test_a_wrong_request_is_one_message_and_code_2(
    arguments: str, message: str, folder: Path
) -> None:
    done = bp(folder, *arguments.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
    assert "HYDRA_FULL_ERROR" not in done.stderr
    assert done.stderr.count("must") <= 1
    assert done.stderr.count("\n") == 1
    assert _litter(folder) == []


@pytest.mark.parametrize("words", [["tracking=off", "seed=0,1"], []])
def test_a_sweep_of_many_runs_takes_a_screen_or_two_of_a_terminal(
    words: list[str], folder: Path
) -> None:
    tiny = ["replicates=1", "training.epochs=1", "training.record=2", "engine=numpy"]
    grid = ["task=xor,or", "activation=tanh,relu,sigmoid,softplus", f"init={INITS}"]
    terminal = {"FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"}
    environment = {**_environment(folder, {}), **terminal}
    done = run_bp("train", "-m", *tiny, *words, *grid, cwd=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(max(1, math.ceil(len(line) / 80)) for line in lines) <= 60
    assert " more" in done.stdout


def test_a_traceback_is_shown_to_who_asks_for_it(folder: Path) -> None:
    done = bp(folder, "train", "activation=tahn", HYDRA_FULL_ERROR="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "Did you mean `tanh`?" in done.stderr


def test_what_is_wrong_with_any_job_is_said_before_the_first_one_trains(folder: Path) -> None:
    arguments = (
        "experiment=xor_sweep activation=tahn,tanh optimizer.learning_rate=-1,1 tracking=off"
    )
    done = bp(folder, "train", *arguments.split())
    assert done.returncode == 2
    option, rate = done.stderr.splitlines()
    assert option.startswith("`activation` must be one of its options, got 'tahn'.")
    assert "(12 of 24 jobs, the first: activation=tahn init=ones" in option
    assert rate.startswith("`optimizer.learning_rate` must be > ")
    assert "(6 of 24 jobs, the first: activation=tanh init=ones" in rate


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--help", ["usage: bp COMMAND", *(f"  {name} " for name in cli.COMMANDS)]),
        ("--version", ["bp 0."]),
        ("train --help", ["usage: bp train", "identity, leaky_relu", "learning_rate: 0.5"]),
        ("train --help optimizer=online_gd", ["name: online_gd"]),
        ("explain --help", ["usage: bp explain [OVERRIDES | RUN]", "W10, V01", "--sample N"]),
        ("train --cfg job activation=relu", ["name: relu", "hidden:\n  - 3\n"]),
        ("train --cfg hydra -p hydra.launcher", ["EnsembleLauncher"]),
        ("train --info searchpath", ["conf |"]),
        ("train --hydra-help", ["--experimental-rerun"]),
    ],
)
def test_questions_are_answered(arguments: str, words: Sequence[str], folder: Path) -> None:
    done = bp(folder, *arguments.split())
    assert done.returncode == 0
    assert done.stderr == ""
    assert [word for word in words if word not in done.stdout] == []
    assert _litter(folder) == []


@pytest.mark.parametrize(
    "arguments", ["--help", "train --help", "train seed=-1", "explain --help", "explain --sample x"]
)
def test_short_answers_import_nothing_slow(arguments: str, folder: Path) -> None:
    done = bp(folder, *arguments.split(), PYTHONPROFILEIMPORTTIME="1")
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "bp_pipeline.cli" in imported
    assert imported & SLOW_TO_IMPORT == set()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error(unbuffered: str, folder: Path) -> None:
    left, right = os.pipe()
    os.close(left)
    for arguments in ("train --cfg all", "train --info all"):
        done = subprocess.run(
            [BP, *arguments.split()],
            cwd=folder,
            env=_environment(folder, {"PYTHONUNBUFFERED": unbuffered}),
            stdout=right,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert done.stderr == b""
    os.close(right)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{bp} --version >&-", 0),
        ("{bp} --version >&- 2>&- <&-", 0),
        ("{bp} train {tiny} >&-", 0),
        ("{bp} train {tiny} 2>/dev/full", 0),
        ("{bp} nonsense 2>&-", 2),
        ("{bp} nonsense 2>/dev/full", 2),
        ("{bp} explain >/dev/full", 1),
        ("{bp} --version >/dev/full", 1),
        ("{bp} --version >/dev/full 2>&1", 1),
        ("PYTHONUNBUFFERED=1 {bp} train --help >/dev/full", 1),
        ("PYTHONUNBUFFERED=1 {bp} train --cfg job >/dev/full", 1),
        ("PYTHONUNBUFFERED=1 {bp} -sc install=bash >/dev/full", 1),
    ],
)
def test_where_nothing_can_be_printed_the_work_is_done(line: str, code: int, folder: Path) -> None:
    """What could not be written to where it was asked for is a failure; what was closed is none."""
    command = line.format(bp=BP, tiny=" ".join(TINY))
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder, env=_environment(folder, {}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    if "nonsense" in line:
        assert done.stdout == "", "a message is no result"
    assert _litter(folder) == []


def test_what_is_closed_is_not_taken_by_a_file(folder: Path) -> None:
    """A database that were opened in its place would have a report printed into it."""
    line = f"{BP} train -m seed=0,1 {' '.join(TINY[1:])} >&- 2>&-"
    environment = _environment(folder, {})
    assert subprocess.run(["sh", "-c", line], cwd=folder, env=environment).returncode == 0
    done = bp(folder, "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2" in done.stdout


@pytest.mark.heavy
@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONWARNINGS": "always", "PYTHONDEVMODE": "1", "HOME": "/proc/nowhere",
         "XDG_CACHE_HOME": "/proc/nowhere", "NUMBA_OPT": "0"},
        {"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"},
    ],
    ids=lambda variables: variables["PYTHONWARNINGS"],
)  # fmt: skip
def test_what_libraries_warn_of_is_not_shown_and_keeps_no_sweep_from_its_report(
    variables: dict[str, str], folder: Path
) -> None:
    """Matplotlib logs a home that cannot be written, to nobody, while a sweep is reported."""
    tiny = ["seed=0,1", "replicates=2", "training.epochs=5"]
    done = bp(folder, "train", "-m", *tiny, **variables)
    assert done.returncode == 0, done.stderr
    assert not re.search("arning|logger", done.stderr)
    told = done.stderr.splitlines()
    assert (told[0], "2 of 2 runs done" in told) == ("2 runs, 4 networks", True)
    assert len([*folder.glob("mlruns/*/*/artifacts/replicates.parquet")]) == 2


@pytest.mark.parametrize("module", ["bp_pipeline", "bp_pipeline.cli"])
def test_the_package_is_the_command(module: str, folder: Path) -> None:
    for words, code in (["--version"], 0), (["train", "seed=-1"], 2), ([], 2):
        done, same = (
            subprocess.run(
                [*command, *words],
                cwd=folder, env=_environment(folder, {}), capture_output=True, check=False,
            )
            for command in ([sys.executable, "-m", module], [BP])
        )  # fmt: skip
        assert done.returncode == same.returncode == code
        assert (done.stdout, done.stderr) == (same.stdout, same.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        "init=ones",
        "init=ones,normal --multirun",
        "init=ones,normal --multirun hydra/launcher=basic",
    ],
)
def test_training_leaves_no_litter(arguments: str, folder: Path) -> None:
    done = bp(folder, "train", *arguments.split(), *TINY)
    assert done.returncode == 0
    assert _litter(folder) == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_training_with_its_code(name: str, code: int, folder: Path) -> None:
    endless = ["training.epochs=1000000000", "training.record=2", "threads=1"]
    process = subprocess.Popen(
        [BP, "train", "tracking=off", "engine=numpy", *endless],
        cwd=folder,
        env=_environment(folder, {}),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        process.stderr.readline()  # what it is going to do: training has begun, or is about to
        process.send_signal(signal.Signals[name])
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in errors


def test_a_command_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def state() -> object:
        return [*map(signal.getsignal, numbers)], gc.get_threshold(), gc.get_freeze_count()

    before = state()
    seen = []
    monkeypatch.setitem(cli.COMMANDS, "report", lambda _: seen.append(state()) or 0)
    monkeypatch.setattr(sys, "argv", ["bp", "report"])
    assert cli.main() == 0
    assert seen[0] != before
    assert state() == before
    other = threading.Thread(target=cli.main)  # where no signal arrives
    other.start()
    other.join()
    assert len(seen) == 2


@pytest.fixture
def signals() -> Iterator[None]:
    """Let signals be heard again, which a stopped command leaves ignored: its process is to end."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = [*map(signal.getsignal, numbers)]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_signal_in_a_command_that_clears_up_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cleared = []

    def command(_: object) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            with suppress(ZeroDivisionError):
                try:
                    raise ZeroDivisionError
                finally:
                    signal.raise_signal(signal.SIGHUP)
            cleared.append(True)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "report", command)
    monkeypatch.setattr(sys, "argv", ["bp", "report"])
    assert cli.main() == 143
    assert cleared == [True]
