"""What a report tells, in order: the page, its Markdown and the terminal are made from this list.

Owns which sentences and tables belong together, and what a report says of its own making. How a
section looks is `page.py`'s and `files.py`'s.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from bp_pipeline.digests import digest_json
from bp_pipeline.report import sentences
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.networks import NO_NETWORKS, ShownNetworks
from bp_pipeline.report.notation import NONE, as_typed, count, in_order
from bp_pipeline.report.printed_tables import PrintedTable
from bp_pipeline.report.sweep_data import DIVERGED
from bp_pipeline.terminal import counted

_AGAIN = (
    "This command makes it again; each run's environment.json has the versions of everything it "
    "was made with."
)
_NO_COMMAND = (
    "What was typed is not recorded: sweep.yaml, beside this report in MLflow, lists the jobs, "
    "and each run's config.yaml is enough to run it again."
)


class Section(NamedTuple):
    """A part of the report.

    Attributes
    ----------
    name, topic
        What it is about: for links and pictures, and for readers.
    headline, sentences
        What it shows, and what else there is to say.
    tables, facts, command
        What it rests on, values by their names, and what to type.
    """

    name: str
    topic: str
    headline: str
    sentences: Sequence[str] = ()
    tables: Sequence[PrintedTable] = ()
    facts: Sequence[tuple[str, str]] = ()
    command: str | None = None


class Outline(NamedTuple):
    """A report but for its pictures; it has no sections where no run has a result."""

    title: str
    headline: str
    lead: Sequence[str] = ()
    sections: Sequence[Section] = ()


def outline(
    findings: Findings, tables: Sequence[PrintedTable], shown: ShownNetworks = NO_NETWORKS
) -> Outline:
    """Put a report in order: its tables, and the networks that are drawn."""
    title = sentences.title(findings)
    if findings.outcomes.empty:
        return Outline(title, sentences.came_out(findings))
    ended = f"{sentences.came_out(findings)} {sentences.selection_bias(findings)}".strip()
    lead = [sentences.question(findings), ended]
    sections = _sections(findings, {table.name: table for table in tables}, shown)
    return Outline(title, sentences.winner(findings), lead, sections)


def _sections(
    findings: Findings, tables: dict[str, PrintedTable], shown: ShownNetworks
) -> list[Section]:
    def named(*names: str) -> list[PrintedTable]:
        return [tables[name] for name in names if name in tables]

    headline, *others = sentences.differences(findings)
    return [
        Section(
            "grid", "Where it converges", sentences.rates(findings),
            tables=named("rates", "median_epochs"),
        ),
        Section(
            "survival", "How long it takes", sentences.speed(findings),
            tables=named("best_learning_rates"),
        ),
        Section("loss", "How the loss falls", sentences.losses(findings)),
        Section(
            "tests", "What makes the difference", headline, others,
            named("factors", *(name for name in tables if name.endswith("_tests"))),
        ),
        *([_networks(shown)] if any(shown) else []),
        Section("runs", "In full", "Every run", tables=named("summary")),
        _basis(findings),
    ]  # fmt: skip


def _networks(shown: ShownNetworks) -> Section:
    headline = "One network that learned, and one that did not"
    if len(shown.networks) == 1:
        headline = shown.networks[0].title
    told = [f"{network.title}. {network.ending}" for network in shown.networks]
    return Section("networks", "What a network learned", headline, [*told, *shown.unreadable])


def _basis(findings: Findings) -> Section:
    """List what a report rests on; a digest of all results stands for them."""
    sweep, command = findings.sweep, findings.sweep.command
    runs = sweep.runs[sweep.runs["run_id"].isin(sweep.finished["run_ids"].explode())]
    results = sorted(map(str, runs["bp.result_digest"].dropna()))
    facts = [
        ("networks", _n_networks(findings)),
        ("training", _network_epochs(runs)),
        ("seed", _values(runs["seed"])),
        ("bp_pipeline", _values(runs["bp.version"])),
        ("code digest", _values(runs["bp.code_digest"])),
        ("sweep digest", sweep.digest),
        ("digest of all results", digest_json(results)),
    ]
    again = _NO_COMMAND if command is None else _AGAIN
    headline = "The same sweep gives the same bits, and this report"
    return Section("basis", "What is behind it", headline, [again], [], facts, command)


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
