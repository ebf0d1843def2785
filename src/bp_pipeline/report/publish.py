"""What a sweep shows for itself: its report, and what MLflow says of it once it is trained.

Owns the order of things, and that what fails is told while the rest is done. Where it is the store
that fails, the same command is to do all this once more. What a report says is left to `report/`,
what MLflow is told to `tracking/`. `sweep.py` calls this last, so that whoever types the command of
a complete sweep does not wait for pandas.
"""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from bp_pipeline.config import ConfigError
from bp_pipeline.files import replacing
from bp_pipeline.report import (
    Findings,
    NoChampion,
    Sweep,
    best_measures,
    choose_champion,
    compare_two,
    describe,
    escape_markdown,
    is_better,
    percent,
    print_comparison,
    print_report,
    read_sweep,
    tasks,
    write_comparison,
    write_report,
)
from bp_pipeline.terminal import say
from bp_pipeline.tracking import (
    Account,
    Reader,
    TrackingError,
    Writer,
    is_refusal,
    model_name,
)
from bp_pipeline.tracking.format import RESULT_DIGEST, unbroken

REPORTS = Path("reports")
_MOST_NAMED = 20  # runs that are corrupt; more than a screen of them helps nobody
_LONGEST_NAME = 80  # characters of a sweep's name in that of its folder


def show(writer: Writer, run_id: str, account: Account) -> bool:
    """Report a sweep, which is whole also where that fails; return whether it did not.

    Raises
    ------
    TrackingError
        Where the store failed, which may be mended: the sweep has not shown what it has to.
    """
    left = "`bp report` and `bp champion` show what came out"
    try:
        findings = Findings(read_sweep(writer, run_id))
        with _report_of(findings) as made:
            is_well = _show_in_mlflow(writer, findings, made, account)
            left = "`bp report` is enough"
            _publish(findings, made)
        return _is_intact(findings.sweep) and is_well
    except Exception as error:  # whatever it is, it is told
        if _is_of_store(error):
            raise
        _tell(error, str(error) or type(error).__name__)
        say(f"All runs are recorded; {left}.")
        return False


def _show_in_mlflow(writer: Writer, findings: Findings, made: Path, account: Account) -> bool:
    """Log a report, and make the comparison, champions and description, as far as MLflow lets us.

    Returns
    -------
    bool
        Whether there was no bug of ours; what MLflow refuses is only told.
    """
    sweep, remarks, errors = findings.sweep, [], list[Exception]()
    with _tried("The report", errors):
        writer.log_report(sweep.run_id, made)
    with _tried("The comparison of runs", errors):
        writer.log_comparison(sweep.run_id, sweep.varied, sweep.n_finished)
    for task in tasks(sweep):
        with _tried(f"The champion of {task}", errors):
            remark = _crown(writer, sweep, task)
            say(remark)
            remarks.append(escape_markdown(remark))
    with _tried("The description", errors):
        writer.write_best(sweep.run_id, best_measures(findings))
        finding, text = describe(findings)
        text = "\n\n".join([text, *remarks])
        writer.write_description(sweep.run_id, finding, text, account)
    return not any(map(_is_bug, errors))


def _crown(writer: Writer, sweep: Sweep, task: str, *, at_any_rate: bool = False) -> str:
    """Register the champion of a task, once, serve it where it is better; return which it is."""
    chosen = choose_champion(sweep, task)
    if isinstance(chosen, NoChampion):
        return chosen.reason
    name = model_name(task)
    tags = {RESULT_DIGEST: chosen.result_digest, "bp.replicate": str(chosen.replicate)}
    who = f"{chosen.run_name}, replicate {chosen.replicate}"
    run = sweep.runs.set_index("run_id").loc[chosen.run_id].to_dict()
    rate = f"{percent(run['solved/rate'])} % of its {run['replicates']:,.0f} networks solve {task}"
    version = writer.register(
        chosen.network, name=name, run_id=chosen.run_id, tags=tags,
        description=unbroken(f"{who}, of sweep {sweep.name} ({sweep.run_id}): {rate}."),
    )  # fmt: skip
    said = f"Champion: {who}, is models:/{name}/{version}"
    crowned = writer.champion(name)
    if at_any_rate or crowned is None or crowned[0] == version or is_better(run, crowned[1]):
        writer.crown(name, version)
    else:
        said += f"; the alias stays with version {crowned[0]}, {crowned[1]['name']}, no worse"
    others = "; ".join(chosen.unread)
    return f"{said} (others may be better: {others})" if others else said


def crown_champions(writer: Writer, name: str | None) -> None:
    """Make the champions of a sweep the ones that are served, whatever was; say which they are.

    Raises
    ------
    TrackingError
        Where there is no such sweep, or the store cannot be used.
    """
    sweep = read_sweep(writer, name)
    for task in tasks(sweep):
        say(_crown(writer, sweep, task, at_any_rate=True))


@contextmanager
def _tried(what: str, errors: list[Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the other parts are still to be done
        if _is_of_store(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        _tell(error, f"{what} could not be recorded in MLflow: {reason}")
        errors.append(error)


def _tell(error: Exception, line: str) -> None:
    """Print what went wrong, and of a bug of ours what its mender has to know."""
    say(line)
    if _is_bug(error):
        traceback.print_exception(error)


def _is_of_store(error: Exception) -> bool:
    """Whether a store has failed, and has not just refused what it was asked."""
    return isinstance(error, TrackingError) and not is_refusal(error.__cause__)


def _is_bug(error: Exception) -> bool:
    return not isinstance(error, TrackingError | ConfigError | OSError)


def report_sweep(reader: Reader, name: str | None = None, folder: Path | None = None) -> bool:
    """Write a sweep's report into a folder, and print what matters; MLflow stays as it is.

    Parameters
    ----------
    reader
        The store that the sweep is in.
    name
        What the sweep is called; the newest by default.
    folder
        Where to write; by default a folder of `reports/` named after the sweep.

    Returns
    -------
    bool
        Whether no run of it is corrupt; those that are have been named.

    Raises
    ------
    TrackingError
        Where there is no such sweep, or it cannot be read.
    ConfigError
        Where the folder cannot be written.
    """
    findings = Findings(read_sweep(reader, name))
    with _report_of(findings) as made:
        _publish(findings, made, folder)
    return _is_intact(findings.sweep)


def _is_intact(sweep: Sweep) -> bool:
    """Name the runs that are corrupt; return whether there are none."""
    runs = sweep.runs[sweep.runs["run_id"].isin(sweep.corrupt)]
    for run_id, run_name in runs[["run_id", "name"]].head(_MOST_NAMED).itertuples(index=False):
        say(f"Corrupt: {run_name} ({run_id}): {sweep.corrupt[run_id]}")
    if len(runs) > _MOST_NAMED:
        more = f"{len(runs) - _MOST_NAMED:,} more"
        say(f"… and {more}. `bp reproduce --sweep {sweep.run_id}` names all.")
    return runs.empty


def compare_sweeps(reader: Reader, first: str, second: str, folder: Path | None = None) -> bool:
    """Write what differs between two sweeps into a folder, and print what matters.

    Returns
    -------
    bool
        Whether no run of either is corrupt; those that are have been named.

    Raises
    ------
    TrackingError
        Where there is no such sweep, or it cannot be read.
    ConfigError
        Where the folder cannot be written.
    """
    sweeps = [read_sweep(reader, name) for name in (first, second)]
    two = compare_two(*sweeps)
    names = "-".join(sweep.digest[:8] for sweep in sweeps)
    with TemporaryDirectory(prefix="bp_pipeline-") as made:
        write_comparison(two, Path(made))
        folder = _copied(Path(made), folder or REPORTS / f"compare-{names}", "bp compare A B")
    print_comparison(two)
    print(f"Written to {folder}")
    return all([_is_intact(sweep) for sweep in sweeps])


@contextmanager
def _report_of(findings: Findings) -> Iterator[Path]:
    with TemporaryDirectory(prefix="bp_pipeline-") as made:
        write_report(findings, Path(made))
        yield Path(made)


def _publish(findings: Findings, made: Path, folder: Path | None = None) -> None:
    """Copy a report to where a user finds it, and print what matters."""
    if folder is None:
        # Named after the sweep, without what a path had better not hold.
        name = re.sub(r"[^\w.]+", "-", findings.sweep.name)[:_LONGEST_NAME]
        folder = REPORTS / f"{name}-{findings.sweep.digest[:8]}"
    _copied(made, folder, "bp report")
    print_report(findings)
    print(f"Written to {folder}")


def _copied(made: Path, folder: Path, command: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            with replacing(folder / file.name) as new:
                copyfile(file, new)
    except OSError as error:
        raise ConfigError(
            f"The report cannot be written to {folder}: {error.strerror or error}. "
            f"Name another folder: {command} --out DIR."
        ) from error
    return folder
