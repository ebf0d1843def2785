"""What a report tells, in order: the page, its Markdown and the terminal are made from this list.

Owns which sentences and tables belong together, and what a report says of its own making. How a
section looks is `page.py`'s and `files.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bp_pipeline.digests import digest_json
from bp_pipeline.report import question, sentences
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.networks import ShownNetworks, best_and_stalled
from bp_pipeline.report.notation import NONE, as_typed, count, in_order
from bp_pipeline.report.printed_tables import PrintedTable, every_run, printed_tables
from bp_pipeline.report.sweep_data import DIVERGED, file_names, is_config_key
from bp_pipeline.terminal import counted
from bp_pipeline.tracking.format import CODE_DIGEST, RESULT_DIGEST, VERSION

_AGAIN = (
    "This command makes it again; each run's environment.json has the versions of everything it "
    "was made with."
)
_NO_COMMAND = (
    "What was typed is not recorded: sweep.yaml, beside this report in MLflow, lists the jobs, "
    "and each run's config.yaml is enough to run it again."
)


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    kind, part
        Which pictures belong to it: what they show, and the number of the task that it is about.
    topic, headline, sentences
        What it is about, what it shows, and what else there is to say.
    tables, facts, command
        What it rests on, values by their names, and what to type.
    """

    kind: str
    part: int
    topic: str
    headline: str
    sentences: Sequence[str] = ()
    tables: Sequence[PrintedTable] = ()
    facts: Sequence[tuple[str, str]] = ()
    command: str | None = None

    @property
    def name(self) -> str:
        """What links to it end in."""
        return f"{self.kind}-{self.part}" if self.part else self.kind


_DEFINITIONS = Section(
    "definitions",
    0,
    "Definitions",
    "What the words mean",
    facts=[
        ("replicate", "one training of one network from one draw of initial weights"),
        ("converged", "at some epoch every output was within the tolerance of its target, for "
         "every sample; epochs to convergence count to the first such epoch"),
        ("solved", "that is so when training ends: a network may converge and lose it again"),
        ("diverged", "it never converged, and a weight or the loss was no longer finite, or the "
         "loss ended at more than 100 times its first value"),
        ("stalled", "neither converged nor diverged"),
        ("nats", "the unit of the loss, by natural logarithms: always to guess one half costs "
         "ln 2 = 0.693 nats a sample; losses are means over samples"),
        ("95 % interval", "of a rate Wilson's; it holds the true rate in about 95 of 100 such "
         "sweeps, less often where a setting was chosen for its rate, and is rounded outwards"),
        ("p", "how often chance alone would make at least so large a difference; p-values of a "
         "table are one family, corrected by Holm, and significant below 0.05"),
    ],
)  # fmt: skip


@dataclass(frozen=True)
class TaskPart:
    """What is told of one task: its name, empty where there is one, and the networks drawn."""

    name: str
    findings: Findings
    shown: ShownNetworks


@dataclass(frozen=True)
class Outline:
    """A report but for its pictures; it has no sections where no run has a result."""

    title: str
    headline: str
    lead: Sequence[str] = ()
    sections: Sequence[Section] = ()
    parts: Sequence[TaskPart] = ()


def outline(findings: Findings) -> Outline:
    """Put a report in order, task by task; networks to draw are read from the sweep's files."""
    title = question.title(findings)
    if findings.outcomes.empty:
        return Outline(title, sentences.came_out(findings))
    parts = [TaskPart(name, part, best_and_stalled(part)) for name, part in findings.tasks]
    sections = [section for n, part in enumerate(parts) for section in _task_sections(n, part)]
    ended = sentences.came_out(findings)
    if len(parts) == 1:
        ended = f"{ended} {sentences.selection_bias(findings)}".strip()
    every = Section("runs", 0, "In full", "Every run", tables=[every_run(findings)])
    lead = [question.question(findings), ended]
    told = [*sections, every, _DEFINITIONS, _setting(findings), _basis(findings)]
    return Outline(title, sentences.headline(findings), lead, told, parts)


def _task_sections(number: int, part: TaskPart) -> list[Section]:
    """Put in order what is told of one task."""
    name, findings, shown = part.name, part.findings, part.shown
    tables = {table.name: table for table in printed_tables(findings)}
    of = f" · {name}" if name else ""
    told = [sentences.winner(findings), sentences.selection_bias(findings)] if name else []
    headline, *others = sentences.differences(findings)

    def section(kind: str, topic: str, headline: str, texts: Sequence[str], *names: str) -> Section:
        made = [tables[name] for name in names if name in tables]
        return Section(kind, number, topic + of, headline, [*filter(None, texts)], made)

    rates, speed, losses = (
        f(findings) for f in (sentences.rates, sentences.speed, sentences.losses)
    )
    tests = [name for name in tables if name.endswith("_tests")]
    sections = [
        section("grid", "Where it is solved", rates, told, "rates", "median_epochs"),
        section("survival", "How long it takes", speed, [], "best_learning_rates"),
        section("loss", "How the loss falls", losses, []),
        section("tests", "What makes the difference", headline, others, "factors", *tests),
    ]
    if shown.networks or shown.unreadable:
        headline, texts = _networks(shown)
        sections.append(section("networks", "What a network learned", headline, texts))
    return sections


def _networks(shown: ShownNetworks) -> tuple[str, list[str]]:
    headline = "One network that learned, and one that did not"
    if len(shown.networks) == 1:
        headline = shown.networks[0].title
    told = [f"{network.title}. {network.ending}" for network in shown.networks]
    return headline, [*told, *shown.unreadable]


def _basis(findings: Findings) -> Section:
    """List what a report rests on; a digest of all results stands for them."""
    sweep, command = findings.sweep, findings.sweep.command
    runs = sweep.runs[sweep.runs["run_id"].isin(sweep.finished["run_ids"].explode())]
    results = sorted(map(str, runs[RESULT_DIGEST].dropna()))
    facts = [
        ("networks", _n_networks(findings)),
        ("training", _network_epochs(runs)),
        ("seed", _values(runs["seed"])),
        ("bp_pipeline", _values(runs[VERSION])),
        ("code digest", _values(runs[CODE_DIGEST])),
        ("sweep digest", sweep.digest),
        ("digest of all results", digest_json(results)),
    ]
    again = _NO_COMMAND if command is None else _AGAIN
    headline = "The same sweep gives the same bits, and this report"
    return Section("basis", 0, "What is behind it", headline, [again], [], facts, command)


def _setting(findings: Findings) -> Section:
    """List every key that decides a result, with the values it has, and what each init draws."""
    runs = findings.sweep.runs
    runs = runs.assign(**{"init.path": file_names(runs["init.path"])})
    keys = [name for name in runs.columns if is_config_key(name) and name != "experiment"]
    own = [key for key in keys if key.startswith("init.")]
    facts = [
        (key, _values(runs[key])) for key in keys if key not in own and runs[key].notna().any()
    ]
    for init, rows in runs.groupby("init", sort=True):
        drawn = [(key, _values(rows[key])) for key in own if rows[key].notna().any()]
        told = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in drawn)
        facts.append((f"init {init}", told))
    headline = "All that decides a result, and its values"
    return Section("setting", 0, "The whole setting", headline, facts=facts)


def _n_networks(findings: Findings) -> str:
    trained = int(findings.sweep.finished["replicates"].sum())
    different = int(findings.outcomes["n"].sum())
    copies = "" if trained == different else f" trained, {count(different)} of them different"
    return f"{count(trained)}{copies}"


def _network_epochs(runs: pd.DataFrame) -> str:
    """Count the epochs of all networks, which end early where they diverge or are told to."""
    planned = int((runs["replicates"].astype(float) * runs["training.epochs"]).sum())
    stops = runs["training.stop_when_converged"].eq(True).any()
    may_end_early = stops or not (runs[DIVERGED] == 0).all()
    return f"{'up to ' if may_end_early else ''}{counted(planned, 'network-epoch')}"


def _values(column: pd.Series) -> str:
    return ", ".join(map(as_typed, in_order(column.dropna().unique()))) or NONE
