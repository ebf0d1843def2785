"""The page of a report: everything in one HTML file, without scripts or anything from elsewhere.

Owns the pictures of each section, heat maps among them; the template is `page.html.jinja`, with its
styles. Text is escaped wherever it comes from, pictures are the only markup that is let through.
"""

from collections.abc import Iterator, Sequence
from math import log1p
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bp_pipeline.report import figures, sentences
from bp_pipeline.report.figures import Line
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.networks import Learned, ShownNetworks
from bp_pipeline.report.notation import NONE, as_typed, count, in_order, name_of, percent
from bp_pipeline.report.sections import Outline
from bp_pipeline.report.sweep_data import ACTIVATION, LEARNING_RATE, MEDIAN, RATE
from bp_pipeline.report.tables import DETERMINISTIC, grid

_OPEN_ROWS = 40  # longer tables are folded
_DARK_ENOUGH = 68  # % of the strongest colour, from which on text is light on it, and the reverse
_MOST_ROWS = 24  # of a heat map that are seen at once; a map of more is parted, or folded
_NO_BREAK = "\u00a0"
_DASH = f"{_NO_BREAK}–\u2060{_NO_BREAK}"  # after a dash, a no-break space alone would not hold


class HeatCell(NamedTuple):
    """A number on its colour, which is so many percent strong; None for none."""

    text: str
    strength: int | None


class HeatRow(NamedTuple):
    """A setting and its cells, one for each learning rate."""

    label: str
    is_deterministic: bool
    cells: list[HeatCell]


class HeatMaps(NamedTuple):
    """Rates and median epochs of the same runs, titled where there are several such pairs."""

    title: str
    learning_rates: list[str]
    rates: list[HeatRow]
    epochs: list[HeatRow]


class ActivationPanel(NamedTuple):
    """What is shown of one activation; None where there is no curve to draw."""

    title: str
    maps: list[HeatMaps]
    survival: str | None
    loss: str | None
    never_converged: bool


class DrawnNetwork(NamedTuple):
    """One network: a diagram and a surface for each epoch, and its outputs at the end."""

    title: str
    ending: str
    stages: list[tuple[str, str | None, str | None]]
    outputs: list[str]


def write_page(findings: Findings, report: Outline, shown: ShownNetworks, path: Path) -> None:
    """Write the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bp_pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    template = environment.get_template("page.html.jinja")
    with figures.drawing():
        pictures = _pictures(findings, shown) if report.sections else {}
    limits = {"open_rows": _OPEN_ROWS, "dark": _DARK_ENOUGH, "most_rows": _MOST_ROWS}
    html = template.render(report=report, **limits, **pictures)
    path.write_text(html, encoding="utf-8", newline="\n")


def unbroken(text: str) -> str:
    """Keep what belongs together on one line: 84 – 98 %."""
    return text.replace(" – ", _DASH).replace(" %", f"{_NO_BREAK}%")


def heat_maps(findings: Findings, runs: pd.DataFrame) -> list[HeatMaps]:
    """Lay out some runs of the outcomes: one pair of maps, or one for each value of a key."""
    return [
        HeatMaps(
            title,
            [as_typed(rate) for rate in grid(part, keys, RATE).columns],
            _heat_rows(findings, part, keys, RATE),
            _heat_rows(findings, part, keys, MEDIAN),
        )
        for title, part, keys in _parts(runs, findings.keys_of_rows)
    ]


def _pictures(findings: Findings, shown: ShownNetworks) -> dict[str, object]:
    colours = _colours(findings)
    return {
        "panels": _panels(findings),
        "which_shown": sentences.which_shown(findings),
        "has_copies": bool(findings.outcomes[DETERMINISTIC].any()),
        "legend": [(label, colour) for label, colour in colours.items() if colour],
        "has_grey": 0 in colours.values(),
        "learned": [_drawn(network, f"network-{n}") for n, network in enumerate(shown.networks)],
        "samples": _samples(shown.networks),
        "unreadable": shown.unreadable,
    }


def _parts(
    runs: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, Sequence[str]]]:
    """Part runs of too many settings by the key of the fewest values."""
    sizes = {key: size for key in keys if (size := runs[key].nunique(dropna=False)) > 1}
    if len(runs[[*keys]].drop_duplicates()) <= _MOST_ROWS or len(sizes) < 2:
        yield "", runs, keys
        return
    key = min(sizes, key=lambda key: sizes[key])
    left = [other for other in keys if other != key]
    for value in in_order(runs[key].unique()):
        part = runs[runs[key].isna() if pd.isna(value) else runs[key] == value]
        yield f"{name_of(key)} {as_typed(value)}", part, left


def _heat_rows(
    findings: Findings, runs: pd.DataFrame, keys: Sequence[str], measure: str
) -> list[HeatRow]:
    numbers = grid(runs, keys, measure)
    copies = grid(runs, keys, DETERMINISTIC).eq(True).any(axis=1)
    largest = float(findings.sweep.finished["training.epochs"].max())
    places = numbers.index.to_frame(index=False)
    rows = zip(places.iterrows(), copies, numbers.to_numpy(), strict=True)
    return [
        HeatRow(findings.label(place, keys), is_one, [_cell(v, measure, largest) for v in values])
        for (_, place), is_one, values in rows
    ]


def _cell(value: float, measure: str, largest: float) -> HeatCell:
    if pd.isna(value):
        return HeatCell(NONE, None)
    if measure == RATE:
        return HeatCell(percent(value), round(100 * value))
    # Fewer epochs are a stronger colour, on the scale of the figures' axis.
    return HeatCell(count(value), round(100 - 100 * log1p(value) / log1p(max(largest, 1))))


def _panels(findings: Findings) -> list[ActivationPanel]:
    colours = _colours(findings)
    curves = dict(list(findings.sweep.curves.groupby("run_id", sort=False)))
    ends = findings.sweep.finished.set_index("run_id")["training.epochs"].astype(int).to_dict()
    last = max(ends.values())
    panels = []
    groups = findings.outcomes.groupby(ACTIVATION, sort=True, dropna=False)
    for number, (activation, rows) in enumerate(groups):
        of_it = findings.shown[findings.shown[ACTIVATION] == activation]
        lines = [(colours[_label(findings, row)], row["run_id"]) for _, row in of_it.iterrows()]
        survivals = [Line(colour, findings.survivals[i], ends[i]) for colour, i in lines]
        losses = [Line(colour, curves.get(i), ends[i]) for colour, i in lines]
        never = bool((rows[RATE] == 0).all())
        panels.append(
            ActivationPanel(
                title=as_typed(activation),
                maps=heat_maps(findings, rows),
                survival=None if never else _survival(survivals, last, number),
                loss=_loss(losses, last, number),
                never_converged=never,
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
    """Return the colour of each line's label; where there are too many, the best ones have it."""
    labels = pd.Series([_label(findings, row) for _, row in findings.shown.iterrows()], dtype=str)
    best = findings.shown.groupby(labels.array, sort=False)[RATE].max()
    coloured = set(best.sort_values(ascending=False, kind="stable").index[: figures.N_COLOURS])
    numbers = {label: n for n, label in enumerate(filter(coloured.__contains__, best.index), 1)}
    return {label: numbers.get(label, 0) for label in best.index}


def _keys_of_lines(findings: Findings) -> list[str]:
    several = len(findings.outcomes[findings.sweep.settings].drop_duplicates()) > 1
    return findings.keys_of_rows if several else [LEARNING_RATE]


def _label(findings: Findings, row: pd.Series) -> str:
    """Write what tells a line from the others in its panel."""
    return findings.label(row, _keys_of_lines(findings))


def _drawn(network: Learned, name: str) -> DrawnNetwork:
    largest = max(np.abs(w[np.isfinite(w)]).max(initial=1e-9) for w in network.layers)
    bias, surface = network.config.network.bias, network.surface()
    table = network.config.truth_table
    stages = []
    for number, epoch in enumerate(network.epochs.tolist()):
        layers = [layer[number] for layer in network.layers]
        diagram = figures.network_diagram(layers, bias, largest, f"{name}-diagram-{number}")
        drawn = None
        if surface is not None:
            ticks, values = surface
            drawn = figures.decision_surface(
                values[number], ticks, table.inputs, table.targets[:, 0], f"{name}-surface-{number}"
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
