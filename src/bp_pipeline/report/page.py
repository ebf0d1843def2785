"""The page of a report: everything in one HTML file, without scripts or anything from elsewhere.

Owns what goes where; the template is `page.html.jinja`, with its styles. Text is escaped wherever
it comes from, pictures are the only markup that is let through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from pathlib import Path

import numpy as np
import pandas as pd

from bp_pipeline.digests import digest_json
from bp_pipeline.report import figures, networks
from bp_pipeline.report.command import command_line
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.printed import Table
from bp_pipeline.report.sweep_data import LEARNING_RATE
from bp_pipeline.report.tables import MEDIAN, RATE, grid
from bp_pipeline.report.text import NONE, count, loss, percent, plain, plural

_DARK_ENOUGH = 68  # % of the strongest colour, from which on text is light on it, and the reverse
_OPEN_ROWS = 40  # longer tables are folded


@dataclass(frozen=True)
class Cell:
    """A number on its colour, which is so many percent strong; None for none."""

    text: str
    strength: int | None

    @property
    def is_strong(self) -> bool:
        """Whether text on it needs the other colour."""
        return self.strength is not None and self.strength >= _DARK_ENOUGH


@dataclass(frozen=True)
class HeatMap:
    """One activation: a row for each setting, a column for each learning rate."""

    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class Panel:
    """What is shown of one activation."""

    title: str
    rates: HeatMap
    epochs: HeatMap
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
    template = environment.get_template("page.html.jinja")
    path.write_text(template.render(_content(findings, tables)), encoding="utf-8", newline="\n")


def _content(findings: Findings, tables: Sequence[Table]) -> dict[str, object]:
    content: dict[str, object] = {
        "findings": findings,
        "sentences": findings.sentences(),
        "empty": findings.summary.empty,
        "tables": {table.name: table for table in tables},
        "open_rows": _OPEN_ROWS,
    }
    if findings.summary.empty:
        return content
    with figures.drawing():
        shown = networks.best_and_stalled(findings)
        learned = [_shown(network, f"network-{number}") for number, network in enumerate(shown)]
        return {
            **content,
            "panels": _panels(findings),
            "legend": [(label, colour) for label, colour in _colours(findings).items() if colour],
            "has_grey": 0 in _colours(findings).values(),
            "learned": learned,
            "samples": _samples(shown),
            "behind": _behind(findings),
            "command": command_line(findings.sweep),
        }


def _panels(findings: Findings) -> list[Panel]:
    colours = _colours(findings)
    curves = dict(list(findings.sweep.curves.groupby("run_id", sort=False)))
    shown = findings.shown
    last = int(findings.sweep.finished["training.epochs"].max())
    panels = []
    for number, (activation, rows) in enumerate(
        findings.summary.groupby("activation", sort=True, dropna=False)
    ):
        of_it = shown[shown["activation"] == activation]
        lines = [(colours[_label(findings, row)], row["run_id"]) for _, row in of_it.iterrows()]
        survivals = [(colour, findings.survivals[run_id]) for colour, run_id in lines]
        losses = [(colour, curves.get(run_id)) for colour, run_id in lines]
        # Where nothing converged the curve is a line along the top: the sentence says it better.
        converges = (rows[RATE] > 0).any() and any(curve is not None for _, curve in survivals)
        finite = any(
            np.isfinite(curve["loss/median"]).sum() > 1 for _, curve in losses if curve is not None
        )
        panels.append(
            Panel(
                title=plain(activation),
                rates=_heat_map(findings, rows, RATE),
                epochs=_heat_map(findings, rows, MEDIAN),
                survival=figures.survival_panel(survivals, last, f"survival-{number}")
                if converges
                else None,
                loss=figures.loss_panel(losses, last, f"loss-{number}") if finite else None,
            )
        )
    return panels


def _colours(findings: Findings) -> dict[str, int]:
    """Give each line's label a colour; where there are too many, the best ones have it."""
    shown = findings.shown
    labels = [_label(findings, row) for _, row in shown.iterrows()]
    best = shown.groupby(labels)[RATE].max().sort_values(ascending=False, kind="stable")
    coloured = set(best.index[: figures.N_COLOURS])
    numbers = {label: number for number, label in enumerate(sorted(coloured), start=1)}
    return {label: numbers.get(label, 0) for label in sorted(best.index)}


def _label(findings: Findings, row: pd.Series) -> str:
    """Say what tells a line from the others in its panel."""
    axes = findings.sweep.axes
    settings = findings.summary[findings.sweep.settings].drop_duplicates()
    keys = findings.sweep.settings[1:] if len(settings) > 1 else [LEARNING_RATE]
    return _setting(row, keys, axes)


def _setting(row: pd.Series, keys: Sequence[str], axes: Sequence[str]) -> str:
    return " · ".join(
        plain(row[key]) if key in axes[:2] else f"{_short(key)}={plain(row[key])}" for key in keys
    )


def _short(key: str) -> str:
    return "lr" if key == LEARNING_RATE else key.rsplit(".", 1)[-1]


def _heat_map(findings: Findings, rows: pd.DataFrame, measure: str) -> HeatMap:
    keys = findings.sweep.settings[1:]
    numbers = grid(rows, keys, measure)
    largest = float(findings.sweep.finished["training.epochs"].max())
    index = numbers.index.to_frame(index=False)
    return HeatMap(
        columns=[plain(rate) for rate in numbers.columns],
        rows=[
            (
                _setting(place, keys, findings.sweep.axes),
                [_cell(v, measure, largest) for v in values],
            )
            for (_, place), values in zip(index.iterrows(), numbers.to_numpy(), strict=True)
        ],
    )


def _cell(value: float, measure: str, largest: float) -> Cell:
    if pd.isna(value):
        return Cell(NONE, None)
    if measure == RATE:
        return Cell(percent(value), round(100 * value))
    # Fewer epochs are a stronger colour, on the scale of the figures' axis.
    return Cell(count(value), round(100 - 100 * log1p(value) / log1p(max(largest, 1))))


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


def _behind(findings: Findings) -> list[tuple[str, str]]:
    """List what the report rests on; a digest of all results stands for them."""
    runs, sweep = findings.sweep.finished, findings.sweep
    networks_ = runs["replicates"].astype(float)
    results = (
        sorted(map(str, runs["bp.result_digest"].dropna())) if "bp.result_digest" in runs else []
    )
    return [
        ("networks", count(networks_.sum())),
        ("training", plural(int((networks_ * runs["training.epochs"]).sum()), "network-epoch")),
        ("seed", _values(runs, "seed")),
        ("bp_pipeline", _values(runs, "bp.version")),
        ("code digest", _values(runs, "bp.code_digest")),
        ("sweep digest", sweep.digest),
        ("digest of all results", digest_json(results)),
    ]


def _values(runs: pd.DataFrame, column: str) -> str:
    if column not in runs:
        return NONE
    return ", ".join(plain(value) for value in sorted(runs[column].dropna().unique()))
