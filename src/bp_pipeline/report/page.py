"""The page of a report: everything in one HTML file, without scripts or anything from elsewhere.

Owns what goes where; the template is `page.html.jinja`, with its styles. Text is escaped wherever
it comes from, pictures are the only markup that is let through.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from bp_pipeline.report import figures, networks, sentences
from bp_pipeline.report.behind import behind, how_again
from bp_pipeline.report.command import command_line
from bp_pipeline.report.figures import Line
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.heat_maps import Pair, heat_maps
from bp_pipeline.report.ordering import sorted_rows
from bp_pipeline.report.printed import Table
from bp_pipeline.report.sweep_data import LEARNING_RATE
from bp_pipeline.report.tables import DETERMINISTIC, RATE
from bp_pipeline.report.text import count, loss, plain

_OPEN_ROWS = 40  # longer tables are folded
_NO_BREAK = "\u00a0"
_DASH = f"{_NO_BREAK}–\u2060{_NO_BREAK}"  # after a dash, a no-break space alone would not hold


@dataclass(frozen=True)
class Panel:
    """What is shown of one activation."""

    title: str
    maps: list[Pair]
    survival: str | None
    loss: str | None


@dataclass(frozen=True)
class Stage:
    """A network at one epoch, as a diagram and a surface."""

    epoch: str
    diagram: str | None
    surface: str | None


@dataclass(frozen=True)
class Shown:
    """One network, from its first epoch to the last, and how it ended."""

    title: str
    text: str
    stages: list[Stage]
    outputs: list[str]


def write_page(findings: Findings, tables: Sequence[Table], path: Path) -> None:
    """Write the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bp_pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = _with_code
    template = environment.get_template("page.html.jinja")
    path.write_text(template.render(_content(findings, tables)), encoding="utf-8", newline="\n")


def unbroken(text: str) -> str:
    """Keep what belongs together on one line: 84 – 98 %."""
    return text.replace(" – ", _DASH).replace(" %", f"{_NO_BREAK}%")


def _with_code(text: str) -> Markup:
    """Mark what stands in backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _content(findings: Findings, tables: Sequence[Table]) -> dict[str, object]:
    content: dict[str, object] = {
        "title": sentences.title(findings),
        "empty": findings.summary.empty,
        "came_out": unbroken(sentences.came_out(findings)),
    }
    if findings.summary.empty:
        return content
    with figures.drawing():
        shown = networks.best_and_stalled(findings)
        learned = [_shown(network, f"network-{number}") for number, network in enumerate(shown)]
        command = command_line(findings.sweep)
        return {
            **content,
            **_said(findings),
            "tables": {table.name: table for table in tables},
            "open_rows": _OPEN_ROWS,
            "panels": _panels(findings),
            "has_copies": bool(findings.summary[DETERMINISTIC].any()),
            "legend": [(label, colour) for label, colour in _colours(findings).items() if colour],
            "has_grey": 0 in _colours(findings).values(),
            "learned": learned,
            "samples": _samples(shown),
            "behind": behind(findings),
            "command": command,
            "again": how_again(command),
        }


def _said(findings: Findings) -> dict[str, object]:
    """Make the sentences of the page, by the names that the template has for them."""
    said = {
        sentence.__name__: unbroken(sentence(findings))
        for sentence in (
            sentences.winner,
            sentences.question,
            sentences.luck,
            sentences.rates,
            sentences.speed,
            sentences.losses,
            sentences.which_shown,
        )
    }
    return {**said, "differences": [*map(unbroken, sentences.differences(findings))]}


def _panels(findings: Findings) -> list[Panel]:
    groups = findings.summary.groupby("activation", sort=True, dropna=False)
    colours = _colours(findings)
    curves = dict(list(findings.sweep.curves.groupby("run_id", sort=False)))
    ends = findings.sweep.finished.set_index("run_id")["training.epochs"].astype(int).to_dict()
    panels = []
    for number, (activation, rows) in enumerate(groups):
        of_it = findings.shown[findings.shown["activation"] == activation]
        lines = [(colours[_label(findings, row)], row["run_id"]) for _, row in of_it.iterrows()]
        survivals = [Line(colour, findings.survivals[i], ends[i]) for colour, i in lines]
        losses = [Line(colour, curves.get(i), ends[i]) for colour, i in lines]
        converges = bool((rows[RATE] > 0).any())
        panels.append(
            Panel(
                title=plain(activation),
                maps=heat_maps(findings, rows),
                survival=_survival(survivals, max(ends.values()), number) if converges else None,
                loss=_loss(losses, max(ends.values()), number),
            )
        )
    return panels


def _survival(lines: list[Line], last: int, number: int) -> str | None:
    """Draw survival curves, but not where there is none."""
    if all(line.curve is None for line in lines):
        return None
    return figures.survival_panel(lines, last, f"survival-{number}")


def _loss(lines: list[Line], last: int, number: int) -> str | None:
    """Draw loss curves, but not where none has two points."""
    curves = [line.curve for line in lines if isinstance(line.curve, pd.DataFrame)]
    if not any(np.isfinite(curve["loss/median"]).sum() > 1 for curve in curves):
        return None
    return figures.loss_panel(lines, last, f"loss-{number}")


def _colours(findings: Findings) -> dict[str, int]:
    """Give each line's label a colour; where there are too many, the best ones have it."""
    shown = sorted_rows(findings.shown, _keys_of_lines(findings))
    labels = pd.Series([_label(findings, row) for _, row in shown.iterrows()], shown.index)
    best = shown.groupby(labels, sort=False)[RATE].max()
    coloured = set(best.sort_values(ascending=False, kind="stable").index[: figures.N_COLOURS])
    numbers = {label: n for n, label in enumerate(filter(coloured.__contains__, best.index), 1)}
    return {label: numbers.get(label, 0) for label in best.index}


def _keys_of_lines(findings: Findings) -> list[str]:
    several = len(findings.summary[findings.sweep.settings].drop_duplicates()) > 1
    return findings.keys_of_rows if several else [LEARNING_RATE]


def _label(findings: Findings, row: pd.Series) -> str:
    """Say what tells a line from the others in its panel."""
    return findings.label(row, _keys_of_lines(findings))


def _shown(network: networks.Learned, name: str) -> Shown:
    surface = network.surface()
    final = [np.abs(layer[np.isfinite(layer)]).max(initial=1e-9) for layer in network.layers]
    table = network.config.truth_table
    stages = []
    for number, epoch in enumerate(network.epochs.tolist()):
        layers = [layer[number] for layer in network.layers]
        bias = network.config.network.bias
        drawn = None
        if surface is not None:
            ticks, values = surface
            drawn = figures.decision_surface(
                values[number], ticks, table.inputs, table.targets[:, 0], f"{name}-surface-{number}"
            )
        diagram = figures.network_diagram(layers, bias, max(final), f"{name}-diagram-{number}")
        stages.append(Stage(f"{epoch:,}", diagram, drawn))
    outputs, end_loss, gradient = network.end()
    return Shown(
        title=f"{'Converged' if network.outcome == 'converged' else 'Stalled'}: {network.place}",
        text=_ending(network, end_loss, gradient),
        stages=stages,
        outputs=[", ".join(f"{value:.2f}" for value in row) for row in outputs],
    )


def _ending(network: networks.Learned, end_loss: float, gradient: float) -> str:
    text = f"Replicate {network.replicate} ends with a loss of {loss(end_loss)} nats"
    if network.outcome == "converged":
        return f"{text}; it had converged by epoch {count(network.epochs_to_converge)}."
    flat = "there is hardly a slope left" if gradient < 1e-3 else "it still moves"
    return f"{text}, where the gradient's norm is {gradient:.1g}: {flat}."


def _samples(shown: Sequence[networks.Learned]) -> list[tuple[str, str]]:
    """Give input and target of each sample, where all shown networks have the same few."""
    tables = [network.config.truth_table for network in shown]
    if not tables or len(tables[0].inputs) > 16:
        return []
    first = tables[0]
    if any(not _equal(first.inputs, table.inputs) for table in tables[1:]):
        return []
    return [
        (" ".join(map(plain, x)), " ".join(map(plain, y)))
        for x, y in zip(first.inputs.tolist(), first.targets.tolist(), strict=True)
    ]


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool((first == second).all())
