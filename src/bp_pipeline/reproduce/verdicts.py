"""A verdict for each run that was trained again, as a table for people and JSON for programs.

Owns the four verdicts, their details and their wording, and the training of whatever is to be
judged. What a run is compared with is for `recorded_runs.py` and `baselines.py`.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rich import box
from rich.table import Table

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult, remarks_on_engines
from bp_pipeline.files import replacing
from bp_pipeline.maps import MapResult, train_all
from bp_pipeline.reproduce.differences import Difference
from bp_pipeline.terminal import Screen, counted, say, training_progress

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster

VerdictName = Literal["identical", "drifted", "corrupt", "missing"]

_MOST_ROWS = 40  # above it, those that are identical are only counted; no more on a terminal
_WIDTH_OF_FILES = 160  # columns, where no terminal says how many there are


@dataclass(frozen=True)
class Verdict:
    """Whether a run came out again.

    Attributes
    ----------
    run_id, study
        Where it was recorded: in a store, or in the baseline of a study.
    name
        What the run is called.
    verdict
        `identical`; `drifted`, it comes out otherwise; `corrupt`, what is stored is no longer what
        was recorded; `missing`, something is not there that verifying takes.
    reason
        Why, where that needs words.
    difference
        Where the results part, as far as both are known.
    differs
        What differs around it: what it was when recorded, and what it is now.
    config_digest, result_digest
        Of what was trained now.
    """

    name: str
    verdict: VerdictName
    run_id: str | None = None
    study: str | None = None
    reason: str = ""
    difference: Difference | None = None
    differs: Mapping[str, Any] = field(default_factory=dict)
    config_digest: str | None = None
    result_digest: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values, the same keys for every verdict."""
        values = asdict(self)
        found = values.pop("difference") or {}
        names = ("array", "ulp", "largest_ulp", "relative")
        where = {"first_epoch": found.get("epoch"), **{name: found.get(name) for name in names}}
        return {**values, **where}


@dataclass(frozen=True)
class Case:
    """A run to be trained again, and who judges the result."""

    config: RunConfig
    judge: Callable[[RunResult | MapResult], Verdict]
    failed: Verdict  # where it cannot be trained, but for the reason


def retrain(cases: Sequence[Case | Verdict], cluster: "DaskCluster | None" = None) -> list[Verdict]:
    """Train all cases side by side, judge each as it finishes, and return all verdicts in order."""
    verdicts: list[Case | Verdict] = list(cases)
    places = [place for place, case in enumerate(cases) if isinstance(case, Case)]
    open_cases = [case for case in cases if isinstance(case, Case)]
    configs = [case.config for case in open_cases]
    n_networks = sum(config.n_networks for config in configs)
    network_epochs = sum(config.n_networks * config.training.epochs for config in configs)
    say(f"{counted(len(configs), 'run')} to train again, {counted(n_networks, 'network')}")
    for remark in remarks_on_engines({config.engine for config in configs}):
        say(remark)
    with training_progress(len(configs), network_epochs, "verified runs") as progress:
        count = progress.count_network_epochs
        for index, result in train_all(configs, progress=count, cluster=cluster):
            case = open_cases[index]
            verdicts[places[index]] = _judged(case, result)
            progress.count_run()
    return [verdict for verdict in verdicts if isinstance(verdict, Verdict)]


def write_json(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write a list of objects, one line each."""
    lines = (json.dumps(verdict.as_json(), ensure_ascii=False) for verdict in verdicts)
    with replacing(path) as new:
        new.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print one table, and the counts below it."""
    console = Screen(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    shown = [v for v in verdicts if v.verdict != "identical" or len(verdicts) <= _MOST_ROWS]
    n_shown = _MOST_ROWS if console.is_terminal else len(shown)
    if shown:
        table = Table("run", "", "verdict", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("details", overflow="fold")
        for verdict in shown[:n_shown]:
            place = verdict.study or verdict.run_id or ""
            table.add_row(verdict.name, place, verdict.verdict, details(verdict))
        console.print(table)
    if left := len(shown[n_shown:]):
        console.print(f"{left:,} more are not shown; `--json FILE` has all.")
    counts = Counter(verdict.verdict for verdict in verdicts)
    said = ", ".join(f"{counts[name]} {name}" for name in get_args(VerdictName) if counts[name])
    console.print(f"{counted(len(verdicts), 'run')}: {said or 'nothing to verify'}")


def details(verdict: Verdict) -> str:
    """Return in one line why a verdict is not `identical`."""
    parts = [verdict.reason] if verdict.reason else []
    if verdict.difference is not None:
        parts.append(_where(verdict.difference))
    if verdict.differs:
        parts.append("differs: " + ", ".join(starmap(_change, _flat(verdict.differs))))
    return "; ".join(parts)


def _where(difference: Difference) -> str:
    at = f"from epoch {difference.epoch} on, {difference.array}"
    if difference.relative is not None:
        return f"{at} by up to {difference.relative:.2g} of its largest value, across a sign"
    if difference.ulp is None:
        return at
    later = difference.largest_ulp or 0
    grows = f" there, {later:,} ulp later" if later > difference.ulp else ""
    return f"{at} by up to {difference.ulp:,} ulp{grows}"


def _flat(differs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in differs.items():
        flat += value.items() if isinstance(value, Mapping) else [(key, value)]
    return flat


def _change(name: str, values: Sequence[Any]) -> str:
    """Return what something was and is, or only its name where that is too long to read."""
    text = " → ".join("none" if value is None else str(value) for value in values)
    return f"{name} {text}" if len(text) < 40 else name


def _judged(case: Case, result: RunResult | MapResult | Exception) -> Verdict:
    if not isinstance(result, Exception):
        return case.judge(result)
    return replace(case.failed, reason=f"it could not be trained: {result}")
