"""The page of a report: everything in one HTML file, without scripts or anything from elsewhere.

Owns the pictures of each section; the template is `page.html.jinja`, with its
styles. Text is escaped wherever it comes from, pictures are the only markup that is let through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bp_pipeline.files import page_template
from bp_pipeline.report import figures, sentences
from bp_pipeline.report.figures import Caption, Line
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.heat_maps import MOST_ROWS, HeatMaps, having, heat_maps
from bp_pipeline.report.networks import Learned
from bp_pipeline.report.notation import (
    as_typed,
    how_many,
    in_order,
    nats,
    percent,
)
from bp_pipeline.report.sections import Outline, TaskPart
from bp_pipeline.report.sweep_data import CONVERGED, FINAL_LOSS
from bp_pipeline.report.tables import DETERMINISTIC
from bp_pipeline.tracking.format import unbroken

_OPEN_ROWS = 40  # longer tables are folded
_SHORT_ROWS = 12  # longer tables may go on on the next sheet of paper
MOST_LISTED = 1000  # rows of a table; with ten times as many a page would take seconds to open


@dataclass(frozen=True)
class Panel:
    """What is shown of one activation, or of what varies instead; None where no curve is drawn."""

    title: str
    maps: list[HeatMaps]
    survival: str | None
    loss: str | None
    never_converged: bool


@dataclass(frozen=True)
class DrawnNetwork:
    """One network: a diagram and a surface for each epoch, and its outputs at the end."""

    title: str
    ending: str
    stages: list[tuple[str, str | None, str | None]]
    outputs: list[str]


def write_page(report: Outline, path: Path, playgrounds: Mapping[str, str] | None = None) -> None:
    """Write the page, which links the playground of each task's champion."""
    template = page_template(Path(__file__).with_name("page.html.jinja"), unbroken=unbroken)
    with figures.drawing():
        parts = [_pictures(part, number) for number, part in enumerate(report.parts)]
    limits = {"open_rows": _OPEN_ROWS, "most_rows": MOST_ROWS, "most_listed": MOST_LISTED}
    limits["short_rows"] = _SHORT_ROWS
    html = template.render(report=report, parts=parts, playgrounds=playgrounds or {}, **limits)
    path.write_text(html, encoding="utf-8", newline="\n")


def _pictures(part: TaskPart, number: int) -> dict[str, object]:
    """Draw what is shown of one task; `number` tells its ids from those of the others."""
    findings, networks = part.findings, part.shown.networks
    colours = _colours(findings)
    return {
        "panels": _panels(findings, f"{number}-"),
        "panel_names": how_many(2, findings.panel_key).removeprefix("2 "),
        "which_shown": sentences.which_shown(findings),
        "has_copies": bool(findings.outcomes[DETERMINISTIC].any()),
        "legend": _legend(colours),
        "learned": [_drawn(network, f"network-{number}-{n}") for n, network in enumerate(networks)],
        "samples": _samples(networks),
        "unreadable": part.shown.unreadable,
    }


def _legend(colours: dict[str, int]) -> list[tuple[str, int, str]]:
    """Return label, colour and dashes of each line; all grey ones are one entry."""
    shown = [(label, colour) for label, colour in colours.items() if colour]
    shown += [("others", 0)] if 0 in colours.values() else []
    return [(name, n, " ".join(f"{2 * d:g}" for d in figures.DASHES[n])) for name, n in shown]


def _panels(findings: Findings, prefix: str) -> list[Panel]:
    colours = _colours(findings)
    curves = dict(list(findings.sweep.curves.groupby("run_id", sort=False)))
    ends = findings.sweep.finished.set_index("run_id")["training.epochs"].astype(int).to_dict()
    last = max(ends.values())
    limits = figures.loss_limits([curves[i] for i in findings.shown["run_id"] if i in curves])
    panels = []
    for number, value in enumerate(in_order(findings.outcomes[findings.panel_key].unique())):
        rows, of_it = (
            having(table, findings.panel_key, value)
            for table in (findings.outcomes, findings.shown)
        )
        title = findings.named(findings.panel_key, value)
        drawn = [(_label(findings, row), row) for _, row in of_it.iterrows()]
        best = min(of_it["run_id"], key=findings.ranks.__getitem__)
        survivals, losses = (
            [
                Line(colours[label], of(row["run_id"]), ends[row["run_id"]], row["run_id"] == best)
                for label, row in drawn
            ]
            for of in (findings.survivals.get, curves.get)
        )
        never = bool((rows[CONVERGED] == 0).all())
        panels.append(
            Panel(
                title=title,
                maps=heat_maps(findings, rows),
                survival=None
                if never
                else _survival(
                    survivals,
                    last,
                    Caption(
                        f"survival-{prefix}{number}",
                        f"{title}: share not yet converged, by epoch",
                        _ends(drawn, CONVERGED),
                    ),
                ),
                loss=_loss(
                    losses,
                    last,
                    limits,
                    Caption(
                        f"loss-{prefix}{number}",
                        f"{title}: median loss, by epoch",
                        _ends(drawn, FINAL_LOSS),
                    ),
                ),
                never_converged=never,
            )
        )
    return panels


def _ends(drawn: Sequence[tuple[str, pd.Series]], measure: str) -> str:
    """Say where the lines of a panel end."""
    if measure == CONVERGED:
        ends = [f"{label} {percent(1 - row[CONVERGED])} %" for label, row in drawn]
        return f"Not converged by the last epoch: {', '.join(ends)}."
    ends = [f"{label} {nats(row[measure])}" for label, row in drawn]
    return f"Median loss after the last epoch, in nats: {', '.join(ends)}."


def _survival(lines: list[Line], last: int, caption: Caption) -> str | None:
    """Draw survival curves, but not where there is none."""
    if all(line.curve is None for line in lines):
        return None
    return figures.survival_panel(lines, last, caption)


def _loss(
    lines: list[Line], last: int, limits: tuple[float, float], caption: Caption
) -> str | None:
    """Draw loss curves, but not where none has two points."""
    curves = [line.curve for line in lines if isinstance(line.curve, pd.DataFrame)]
    if not any(np.isfinite(curve["loss/median"]).sum() > 1 for curve in curves):
        return None
    return figures.loss_panel(lines, last, limits, caption)


def _colours(findings: Findings) -> dict[str, int]:
    """Return the colour of each line's label; where there are too many, the best ones have it."""
    labels = pd.Series([_label(findings, row) for _, row in findings.shown.iterrows()], dtype=str)
    best = findings.shown["run_id"].map(findings.ranks).groupby(labels.array, sort=False).min()
    coloured = set(best.sort_values().index[: figures.N_COLOURS])
    numbers = {label: n for n, label in enumerate(filter(coloured.__contains__, best.index), 1)}
    return {label: numbers.get(label, 0) for label in best.index}


def _label(findings: Findings, row: pd.Series) -> str:
    """Write what tells a line from the others in its panel."""
    return findings.label(row, findings.keys_of_lines)


def _drawn(network: Learned, name: str) -> DrawnNetwork:
    largest = max(np.abs(w[np.isfinite(w)]).max(initial=1e-9) for w in network.layers)
    bias, surface = network.config.network.bias, network.surface()
    table = network.config.truth_table
    stages = []
    for number, epoch in enumerate(network.epochs.tolist()):
        layers = [layer[number] for layer in network.layers]
        what = f"{network.title}, epoch {epoch:,}"
        low, high = min(w.min() for w in layers), max(w.max() for w in layers)
        text = f"Weights from {low:.2g} to {high:.2g}."
        caption = Caption(f"{name}-diagram-{number}", f"{what}: its weights", text)
        diagram = figures.network_diagram(layers, bias, largest, caption)
        drawn = None
        if surface is not None:
            ticks, values = surface
            text = f"Outputs from {values[number].min():.2g} to {values[number].max():.2g}."
            caption = Caption(f"{name}-surface-{number}", f"{what}: output over both inputs", text)
            drawn = figures.decision_surface(
                values[number], ticks, table.inputs, table.targets[:, 0], caption
            )
        stages.append((f"{epoch:,}", diagram, drawn))
    outputs = [", ".join(f"{value:.2f}" for value in row) for row in network.outputs()]
    return DrawnNetwork(network.title, network.ending, stages, outputs)


def _samples(networks: Sequence[Learned]) -> list[tuple[str, str]]:
    """Return input and target of each sample, where all networks shown have the same few."""
    tables = [network.config.truth_table for network in networks]
    if not tables or len(tables[0].inputs) > 16:
        return []
    if not all(np.array_equal(tables[0].inputs, table.inputs) for table in tables):
        return []
    return [
        (" ".join(map(as_typed, x)), " ".join(map(as_typed, y)))
        for x, y in zip(tables[0].inputs.tolist(), tables[0].targets.tolist(), strict=True)
    ]
