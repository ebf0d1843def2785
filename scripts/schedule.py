"""The crontab entry that verifies, day after day: put in, taken out, and what it does.

    python scripts/schedule.py install ["0 4 * * *"]
    python scripts/schedule.py remove
    python scripts/schedule.py run [VARIABLE=VALUE …]

Owns one line of the user's crontab, which ends with a mark that names this folder; every other byte
stays as it is. (A library such as python-crontab would write all entries anew, in its own
way.) What is verified is said in the Makefile; the variables that `make schedule` was given for it,
which make puts into the environment, become part of the line.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "logs"
DAILY = "0 4 * * *"
VARIABLES = ("SAMPLE", "QUICK", "ARGS")  # of `make reproduce`
DAEMONS = {"cron", "crond", "fcron"}
KEPT_DAYS = 90  # of logs
LONGEST = 900  # characters; cron takes lines of 1000


def main() -> int:
    """Do what the command line says; return the exit code."""
    if shutil.which("crontab") is None and sys.argv[1:2] != ["run"]:
        print("There is no `crontab` here. Install cron, or let another scheduler run "
              "`make reproduce`.", file=sys.stderr)  # fmt: skip
        return 2
    try:
        match sys.argv[1:]:
            case ["install", *schedule] if len(schedule) < 2:
                return install(*filter(str.strip, schedule))
            case ["remove"]:
                return remove()
            case ["run", *variables]:
                return run(variables)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 2
    print(__doc__, file=sys.stderr)
    return 2


def install(schedule: str = DAILY) -> int:
    """Write the entry into the crontab, in place of an earlier one of this folder."""
    line = entry(schedule)
    try:
        write_crontab([*others(read_crontab()), line])
    except OSError as error:
        if "bad " not in str(error):
            raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"`SCHEDULE` must be such as cron takes it, as {DAILY!r}, got {schedule!r} ({reason})."
        ) from error
    daemon = cron_runs()
    done = "Written into the crontab" if daemon is False else "Scheduled"
    print(f"{done}, with logs in {LOGS}:\n{line}\nmake unschedule takes it out.", flush=True)
    if daemon is False:
        advice = "Start one, as root: service cron start (or systemctl start cron, crond)."
        print(f"Nothing will run it yet: no cron daemon runs here. {advice}", file=sys.stderr)
    return 0


def remove() -> int:
    """Take the entry out of the crontab, where it is there."""
    before = read_crontab()
    after = others(before)
    if after == before:
        print("Nothing to take out: no verification of this folder was scheduled.")
        return 0
    write_crontab(after)
    print("\n".join(["Taken out:", *(line for line in before if line not in after)]))
    return 0


def run(variables: list[str]) -> int:
    """Verify, with the output in a log of the day; print it where something is wrong."""
    LOGS.mkdir(exist_ok=True)
    for log in LOGS.glob("reproduce-*.log"):
        if time.time() - log.stat().st_mtime > KEPT_DAYS * 86400:
            log.unlink()
    started = datetime.now().astimezone()
    with (LOGS / f"reproduce-{started:%Y-%m-%d}.log").open("a+", encoding="utf-8") as log:
        start = log.tell()
        print(f"--- {started:%Y-%m-%d %H:%M:%S %z}", file=log, flush=True)
        try:
            with FileLock(LOGS / "reproduce.lock", timeout=0):
                command = make(started, variables)
                status = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log).returncode
        except Timeout:
            print("An earlier verification has not ended; this one is left out.", file=log)
            return 0
        if status:
            log.seek(start)
            print(log.read())  # cron mails it
        return status


def make(started: datetime, variables: list[str]) -> list[str]:
    """Return the command: on Sundays all studies, else the quick ones, unless QUICK is given."""
    places = [os.environ.get("PATH", os.defpath), "/usr/local/bin", "/opt/homebrew/bin"]
    program = shutil.which("make", path=os.pathsep.join(places)) or "make"
    return [program, "reproduce", *(["QUICK="] if started.isoweekday() == 7 else []), *variables]


def cron_runs() -> bool | None:
    """Whether a cron daemon runs; None where processes cannot be listed, as on macOS."""
    if not Path("/proc/1/comm").exists():
        return None
    return any(map(is_daemon, Path("/proc").glob("[0-9]*/comm")))


def is_daemon(process: Path) -> bool:
    """Whether a process, by its file in /proc, is a cron daemon."""
    try:
        return process.read_text(errors="replace").strip() in DAEMONS
    except OSError:  # it has ended
        return False


def entry(schedule: str) -> str:
    """Return the line: absolute paths, what the environment says, every % escaped."""
    check_variables()
    if "\n" in schedule or not schedule.strip():
        raise ValueError(f"`SCHEDULE` must be one line such as {DAILY!r}, got {schedule!r}.")
    # A relative URI means the same to cron, because the verification starts in this folder.
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    settings = [f"MLFLOW_TRACKING_URI={shlex.quote(uri)}"] if uri else []
    variables = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    words = [sys.executable, str(Path(__file__).resolve()), "run", *variables]
    command = " ".join([*settings, *map(shlex.quote, words)])
    line = f"{schedule.strip()} {escaped(command)} {mark()}"
    if len(line) > LONGEST:
        raise ValueError(f"cron takes lines of {LONGEST} characters, got {len(line)}: {line}")
    return line


def check_variables() -> None:
    """Raise ValueError where cron would be given what `make reproduce` cannot take."""
    sample = os.environ.get("SAMPLE", "1")
    if not sample.isdecimal() or int(sample) < 1:
        raise ValueError(f"`SAMPLE` must be a whole number >= 1, got {sample!r}. Try `SAMPLE=24`.")
    for name in VARIABLES:
        if "\n" in os.environ.get(name, ""):
            raise ValueError(f"`{name}` must be one line, got {os.environ[name]!r}.")


def mark() -> str:
    """Return the comment by which the entry of this folder is known."""
    return escaped(f"# bp_pipeline verifies {ROOT}")


def escaped(text: str) -> str:
    """Return a text in which cron does not take a % for the end of the line."""
    return text.replace("%", "\\%")


def others(lines: list[str]) -> list[str]:
    """Return lines without the entry of this folder."""
    return [line for line in lines if not line.endswith(f" {mark()}")]


def read_crontab() -> list[str]:
    """Return the lines of the user's crontab; none where there is no crontab."""
    done = subprocess.run(["crontab", "-l"], capture_output=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode == 0:
        return os.fsdecode(done.stdout).removesuffix("\n").split("\n") if done.stdout else []
    problem = os.fsdecode(done.stderr).strip()
    if "no crontab for" in problem:
        return []
    raise OSError(f"crontab -l: {problem}")


def write_crontab(lines: list[str]) -> None:
    """Install these lines as the user's crontab; none at all where there are none."""
    command = ["crontab", "-"] if lines else ["crontab", "-r"]
    text = os.fsencode("".join(f"{line}\n" for line in lines))
    done = subprocess.run(command, input=text, capture_output=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {os.fsdecode(done.stderr).strip()}")


if __name__ == "__main__":
    sys.exit(main())
