"""The report's pictures: Matplotlib draws SVG, whose colours the page decides.

Owns how curves, networks and decision surfaces are drawn. Each colour is drawn as a stand-in and
replaced by a CSS variable, so that one picture serves light and dark pages. Nothing in a picture
depends on the clock or the user's Matplotlib settings.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bp_pipeline.report.statistics import Survival


@dataclass(frozen=True)
class Line:
    """A run's curve in a panel.

    Attributes
    ----------
    colour
        Number of its colour, and of its dashes.
    curve
        What it shows.
    last
        Epoch at which it ends.
    has_band
        Whether its band is drawn, as of the best line of a panel: many hide each other.
    """

    colour: int
    curve: Survival | pd.DataFrame | None
    last: int
    has_band: bool = True


@dataclass(frozen=True)
class Caption:
    """A picture for who cannot see it: ids begin with `name`; a title, and what it shows."""

    name: str
    title: str
    text: str


N_COLOURS = 7  # that can be told apart; lines beyond them are grey, which is colour 0
# Lines and gaps in widths of a line, for who cannot tell colours apart; colour 0 is grey.
DASHES = ((), (), (5, 2), (1, 1.5), (7, 2, 1, 2), (3, 1), (9, 2, 1, 2, 1, 2), (4, 4))
_INK, _FAINT = "#010101", "#020202"
_LINES = [f"#0300{number:02x}" for number in range(N_COLOURS + 1)]
_POSITIVE, _NEGATIVE = "#040000", "#040001"
_N_LEVELS = 10  # bands of a decision surface
_LEVELS = [f"#0500{number:02x}" for number in range(_N_LEVELS)]
_MOST_UNITS = 16  # in a layer, for a diagram that can be read


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with Matplotlib's defaults and ours, whatever the user has set."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.fonttype": "none",  # text stays text: small, and in the page's own font
                "svg.hashsalt": "bp_pipeline",
                "font.size": 9,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.edgecolor": _FAINT,
                "axes.labelcolor": _INK,
                "xtick.color": _INK,
                "ytick.color": _INK,
                "text.color": _INK,
                "axes.linewidth": 0.8,
            }
        )
        yield


def survival_panel(lines: Sequence[Line], last: int, caption: Caption) -> str:
    """Draw the share not yet converged against the epoch, with bands, as SVG.

    A line ends where its run does; the axis ends at `last`.
    """
    figure, axes = _panel(last, "not yet converged, %")
    for line in sorted(lines, key=lambda line: line.colour):
        curve = line.curve
        if not isinstance(curve, Survival):
            continue
        # Everything begins not converged; 0 takes part on the axis, and so does the last epoch.
        epochs = np.concatenate([[0], curve.epochs, [line.last]])
        share, low, high = (
            100 * np.concatenate([[first], values, values[-1:]])
            for first, values in ((1.0, curve.share), (np.nan, curve.low), (np.nan, curve.high))
        )
        axes.step(epochs, share, where="post", **_look(line.colour))
        if np.isfinite(low).any() and line.has_band:
            axes.fill_between(
                epochs, low, high, step="post", color=_LINES[line.colour], alpha=0.13, linewidth=0
            )
    axes.set_ylim(-3, 103)
    return _svg(figure, caption)


def loss_panel(
    lines: Sequence[Line], last: int, limits: tuple[float, float], caption: Caption
) -> str:
    """Draw the median loss against the epoch, both in powers, with the band from 10 % to 90 %.

    Parameters
    ----------
    lines
        Curves with `loss/p10`, `loss/median` and `loss/p90` in nats.
    last
        Epoch at which the axis ends.
    limits
        Of the loss, such as `loss_limits` returns; what lies outside is drawn at the edge.
    caption
        For who cannot see it.
    """
    figure, axes = _panel(last, "loss, nats")
    for line in sorted(lines, key=lambda line: line.colour):
        curve = line.curve
        if not isinstance(curve, pd.DataFrame):
            continue
        low, median, high = (
            np.where(np.isfinite(curve[column]), np.clip(curve[column], *limits), np.nan)
            for column in ("loss/p10", "loss/median", "loss/p90")
        )
        epochs = curve["epoch"].to_numpy()
        axes.plot(epochs, median, **_look(line.colour))
        if line.has_band:
            axes.fill_between(epochs, low, high, color=_LINES[line.colour], alpha=0.13, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    powers = np.arange(np.ceil(np.log10(limits[0])), np.floor(np.log10(limits[1])) + 1)
    ticks = 10.0 ** powers[:: max(1, len(powers) // 4)]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    return _svg(figure, caption)


def loss_limits(curves: Sequence[pd.DataFrame]) -> tuple[float, float]:
    """Return limits of a logarithmic axis that several panels share: whole powers of ten."""
    medians = [curve["loss/median"].to_numpy(dtype=float) for curve in curves]
    values = np.concatenate(medians or [np.empty(0)])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return 0.1, 1.0
    low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    return 10.0**low, 10.0 ** max(high, low + 1)


def network_diagram(
    layers: Sequence[Float64[np.ndarray, "_row _fan_out"]],
    bias: bool,
    largest: float,
    caption: Caption,
) -> str | None:
    """Draw a network from left to right: a line a weight, as wide as the weight is large.

    Parameters
    ----------
    layers
        Weights; row 0 is the bias unit's, if there are bias units.
    largest
        The weight that gets the widest line.

    Returns
    -------
    str or None
        None where a layer has too many units to be told apart.
    """
    sizes = [len(layers[0]) - bias, *(layer.shape[1] for layer in layers)]
    if max(sizes) > _MOST_UNITS:
        return None
    figure, axes = _canvas(2.2, 1.7)
    places = [_places(size, bias and number < len(layers)) for number, size in enumerate(sizes)]
    for number, weights in enumerate(layers):
        targets = places[number + 1][bias and number + 1 < len(layers) :]
        for row, start in zip(weights, places[number], strict=True):
            for weight, end in zip(row, targets, strict=True):
                width = 0.4 + 4 * min(1.0, abs(weight) / largest) if np.isfinite(weight) else 0
                colour = _POSITIVE if weight > 0 else _NEGATIVE
                axes.plot([number, number + 1], [start, end], color=colour, linewidth=width)
    for number, heights in enumerate(places):
        is_bias = [bias and number < len(layers) and i == 0 for i in range(len(heights))]
        for height, marker in zip(heights, np.where(is_bias, "s", "o"), strict=True):
            size = 5 if marker == "s" else 9
            axes.plot(number, height, marker, color=_INK, markersize=size, zorder=3)
    axes.set_xlim(-0.15, len(layers) + 0.15)
    axes.set_ylim(-1.15, 1.15)
    return _svg(figure, caption)


def decision_surface(
    values: Float64[np.ndarray, "y x"],
    ticks: Float64[np.ndarray, " x"],
    samples: Float64[np.ndarray, "sample 2"],
    targets: Float64[np.ndarray, " sample"],
    caption: Caption,
) -> str:
    """Draw the output over both inputs, the line half-way between the targets, and the samples."""
    figure, axes = _canvas(1.9, 1.9)
    low, high = targets.min(), max(targets.max(), targets.min() + 1e-9)
    shares = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    levels = np.linspace(0, 1, _N_LEVELS + 1)
    axes.contourf(ticks, ticks, shares, levels=levels, colors=_LEVELS)
    if shares.min() < 0.5 < shares.max():
        axes.contour(ticks, ticks, shares, levels=[0.5], colors=[_INK], linewidths=1)
    for (x, y), target in zip(samples, targets, strict=True):
        face = _INK if target > (low + high) / 2 else "none"
        axes.plot(x, y, "o", markersize=7, markerfacecolor=face, markeredgecolor=_INK)
    axes.set_aspect("equal")
    return _svg(figure, caption)


def _look(colour: int) -> dict[str, Any]:
    """Return how a line looks; grey ones are thin, since a hundred may be behind the others."""
    dashes = (0, DASHES[colour]) if DASHES[colour] else "-"
    return {"color": _LINES[colour], "linewidth": 1.6 if colour else 0.6, "linestyle": dashes}


def _panel(last: int, label: str) -> tuple:  # type: ignore[type-arg] # Matplotlib is imported late
    figure, axes = _canvas(3.5, 2.35, frame=True)
    axes.set_xscale("symlog", linthresh=1)
    powers = [10**power for power in range(19) if 10**power <= last]
    ticks = [0, *powers[:: max(1, len(powers) // 4)]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(0, max(last, 1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.grid(color=_FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _canvas(width: float, height: float, *, frame: bool = False) -> tuple:  # type: ignore[type-arg]
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.17, 0.19, 0.81, 0.77) if frame else (0, 0, 1, 1))
    if not frame:
        axes.axis("off")
    return figure, axes


def _places(size: int, bias: bool) -> list[float]:
    """Spread the units of a layer from top to bottom, the bias unit first."""
    n = size + bias
    return [0.0] if n == 1 else np.linspace(1, -1, n).tolist()


def _svg(figure, caption: Caption) -> str:  # type: ignore[no-untyped-def] # Matplotlib, see above
    """Write a figure as an SVG element with its caption."""
    name = caption.name
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # A style inside of a picture would hold for the whole page, which has it itself.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)  # the page sets the size
    svg = (
        f'{head} role="img" aria-labelledby="title text"><title id="title">{escape(caption.title)}'
    )
    svg += f'</title><desc id="text">{escape(caption.text)}</desc>{rest}'
    svg = re.sub(r"font(-family)?: ?[^;\"]*?'[^;\"]*;?", _font_size, svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace('"title text"', f'"{name}-title {name}-text"', 1)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg.strip()


def _font_size(found: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", found.group())
    return f"font-size: {size.group()};" if size else ""


_COLOURS: Mapping[str, str] = {
    _INK: "var(--ink)",
    _FAINT: "var(--rule)",
    **{stand_in: f"var(--line-{number})" for number, stand_in in enumerate(_LINES)},
    _POSITIVE: "var(--positive)",
    _NEGATIVE: "var(--negative)",
    **{
        stand_in: "color-mix(in oklab, var(--{}) {}%, var(--card))".format(
            "positive" if 2 * number >= _N_LEVELS else "negative",
            round(20 * abs(number - (_N_LEVELS - 1) / 2)),
        )
        for number, stand_in in enumerate(_LEVELS)
    },
}
