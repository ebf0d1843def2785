"""A map as a PNG: its pixels one to one, with axes and a legend around them.

Owns colours and the layout. Three kinds of pixels differ in lightness, so that they are told apart
without colours too: those inside the boundary are light, by how soon they got there; those outside
dark, by how far they are; those that diverged black. The pixels themselves are copied into the
picture; nothing resamples them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from bp_pipeline.core.training import DIVERGED
from bp_pipeline.maps.axes import Axis
from bp_pipeline.maps.pixels import MapResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Parts of Matplotlib's perceptually uniform colour maps, from the low end of a scale to the high.
LIGHT = ("viridis", 1.0, 0.52)  # CIE lightness 91 down to 53
DARK = ("magma", 0.17, 0.42)  # 13 up to 38
RATE = ("cividis", 0.0, 1.0)
BLACK = (0, 0, 0)

_PERCENTILES = (0.5, 99.5)  # between which colours differ
_LEAST = 1e-16  # loss that has a colour of its own; smaller ones, 0 too, share that of this one
_SIDE = 1024  # pixels of a map for which the sizes below are meant
_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 32, 80, 148
_DPI, _FONT = 100, 11  # dots an inch, points
_LEAST_SIDE = 600  # smaller maps are enlarged by a whole number

Rgb = UInt8[np.ndarray, "*shape rgb"]
Mask = Bool[np.ndarray, "y x"]
Quantity = Float64[np.ndarray, "y x"]


@dataclass(frozen=True)
class ColourScale:
    """Colours of a quantity between two ends; beyond an end the colour is that of the end."""

    title: str
    colours: tuple[str, float, float]
    low: float
    high: float
    is_log: bool

    def paint(self, values: Float64[np.ndarray, "*shape"]) -> Rgb:
        """Return the colour of each value."""
        measure = np.log10 if self.is_log else np.asarray
        low, high = measure(self.low), measure(self.high)
        share = (measure(values) - low) / (high - low if high > low else 1.0)
        return _table(self.colours)[np.round(255 * np.clip(share, 0.0, 1.0)).astype(int)]


@dataclass(frozen=True)
class Painting:
    """The colours of a map, row 0 at the low end of y, and the scales that explain them."""

    pixels: UInt8[np.ndarray, "y x rgb"]
    scales: list[ColourScale]
    shows_black: bool


def paint(result: MapResult, boundary: str) -> Painting:
    """Choose each pixel's colour.

    Parameters
    ----------
    result
        The map.
    boundary
        `map.boundary`, which says what is inside. Of several replicates their share is shown.
    """
    if result.n_replicates > 1:
        share = result.has(boundary).mean(axis=2)
        scale = ColourScale(
            f"share of {result.n_replicates} networks: {boundary}", RATE, 0.0, 1.0, False
        )
        return Painting(scale.paint(share), [scale], False)
    inside = result.has("solved" if boundary == "diverged" else boundary)
    diverged = ~inside & ((result.outcome == DIVERGED) | ~np.isfinite(result.final_loss))
    pixels = np.zeros((*inside.shape, 3), dtype=np.uint8)
    scales = []
    for where, title, colours, values in _kinds(result, boundary, inside, ~inside & ~diverged):
        if where.any():
            low, high = np.percentile(values[where], _PERCENTILES)
            scale = ColourScale(title, colours, float(low), float(high), True)
            pixels[where] = scale.paint(values[where])
            scales.append(scale)
    return Painting(pixels, scales, bool(diverged.any()))


def _kinds(
    result: MapResult, boundary: str, inside: Mask, outside: Mask
) -> Iterator[tuple[Mask, str, tuple[str, float, float], Quantity]]:
    """List the two kinds of coloured pixels: where they are, and what their colour shows."""
    if boundary == "loss_falls":
        assert result.loss_ratio is not None
        ratio = np.maximum(result.loss_ratio, _LEAST)
        yield inside, "loss fell: end over start", LIGHT, ratio
        yield outside, "loss did not fall: end over start", DARK, ratio
        return
    what = "converged" if boundary == "converged" else "solved"
    epochs = np.maximum(result.epochs_to_converge, 1).astype(np.float64)
    yield inside, f"{what}: epochs to convergence", LIGHT, epochs
    yield outside, f"not {what}: final loss, nats", DARK, np.maximum(result.final_loss, _LEAST)


@dataclass(frozen=True)
class Placement:
    """Where the pixels of a map lie in its picture: their upper left corner and their size."""

    left: int
    top: int
    enlarged: int


def place(n_columns: int, n_rows: int) -> Placement:
    """Return where the pixels of a map of this size lie."""
    enlarged = -(-_LEAST_SIDE // max(n_columns, n_rows))
    unit = _unit(enlarged * max(n_columns, n_rows))
    return Placement(round(unit * _LEFT), round(unit * _TOP), enlarged)


def write_picture(
    path: Path,
    painting: Painting,
    x: Axis,
    y: Axis,
    *,
    title: str,
    subtitle: str,
    text: Mapping[str, str],
) -> None:
    """Draw axes and legend around the pixels and write all as a PNG.

    Parameters
    ----------
    path
        The file.
    painting, x, y
        The colours, and what columns and rows are.
    title, subtitle
        Two lines above the map.
    text
        What the file says of itself, as tEXt chunks.
    """
    from PIL import Image, PngImagePlugin

    pixels = painting.pixels[::-1]  # the low end of y is below
    at = place(x.n_pixels, y.n_pixels)
    pixels = pixels.repeat(at.enlarged, axis=0).repeat(at.enlarged, axis=1)
    canvas = _surroundings(painting, pixels.shape[:2], x, y, (title, subtitle))
    rows, columns = pixels.shape[:2]
    canvas[at.top : at.top + rows, at.left : at.left + columns] = pixels
    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    Image.fromarray(canvas).save(path, format="PNG", pnginfo=info)


def _unit(side: int) -> float:
    return side / _SIDE


def _surroundings(
    painting: Painting, shape: tuple[int, ...], x: Axis, y: Axis, titles: tuple[str, str]
) -> UInt8[np.ndarray, "row column rgb"]:
    """Draw all but the pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = shape
    unit = _unit(max(shape))
    left, right, top, bottom = (round(unit * m) for m in (_LEFT, _RIGHT, _TOP, _BOTTOM))
    total = np.array([left + width + right, top + height + bottom])
    columns, rows = (total / (_DPI * unit)).tolist()
    figure = Figure((columns, rows), dpi=_DPI * unit)
    canvas = FigureCanvasAgg(figure)
    frame = np.array([left, bottom, width, height]) / np.tile(total, 2)
    _draw_axes(figure.add_axes(tuple(frame)), x, y)
    for line, size, above in zip(titles, (_FONT + 1, _FONT - 2), (46, 22), strict=True):
        figure.text(frame[0], frame[1] + frame[3] + above * unit / total[1], line, fontsize=size)
    _draw_legend(figure, painting, frame, bottom / total[1])
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _draw_axes(axes: "Axes", x: Axis, y: Axis) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel(x.key, fontsize=_FONT)
    axes.set_ylabel(y.key, fontsize=_FONT)
    for axis, drawn in ((x, axes.xaxis), (y, axes.yaxis)):
        major, labels, minor = _ticks(axis, 6)
        drawn.set_ticks(major, labels, fontsize=_FONT - 1)
        drawn.set_ticks(minor, minor=True)
    axes.set_yticks(*_ticks(y, 6)[:2], rotation=90, va="center")


def _ticks(axis: Axis, number: int) -> tuple[list[float], list[str], list[float]]:
    """Choose ticks as shares of an axis: (major, their labels, minor).

    Decades where there are two at least; on a shorter logarithmic axis 1, 2 and 5 times them; round
    numbers while six digits tell them apart; else, deep in a zoom, both ends.
    """
    from matplotlib.ticker import MaxNLocator

    def within(values: np.ndarray) -> np.ndarray:
        return values[(values >= axis.low) & (values <= axis.high)]

    if axis.scale == "log":
        exponents = np.arange(np.floor(np.log10(axis.low)), np.ceil(np.log10(axis.high)) + 1)
        decades, three = (within(np.outer(10.0**exponents, n).ravel()) for n in ([1], [1, 2, 5]))
        if axis.high / axis.low < 100 and len(three) > 2:
            return _shares(axis, three), [f"{value:g}" for value in three], []
    if axis.scale == "log" and axis.high / axis.low >= 100:
        if len(decades) > 2 * number:
            return _shares(axis, decades), _thinned(decades, number), []
        minor = within(np.outer(10.0**exponents, np.arange(2, 10)).ravel())
        return _shares(axis, decades), [f"{value:g}" for value in decades], _shares(axis, minor)
    width = axis.high - axis.low
    if width > 1e-4 * max(abs(axis.low), abs(axis.high)):
        values = within(np.array(MaxNLocator(number).tick_values(axis.low, axis.high)))
        return _shares(axis, values), [f"{value:.6g}" for value in values], []
    return [0.0, 1.0], [repr(axis.low), repr(axis.high)], []


def _thinned(decades: np.ndarray, number: int) -> list[str]:
    """Label every so many decades, so that their labels do not meet."""
    step = -(-len(decades) // number)
    return [f"{value:g}" if n % step == 0 else "" for n, value in enumerate(decades)]


def _shares(axis: Axis, values: Float64[np.ndarray, " tick"]) -> list[float]:
    measure = np.log10 if axis.scale == "log" else np.asarray
    low, high = measure(axis.low), measure(axis.high)
    return [float(share) for share in (measure(values) - low) / (high - low)]


def _draw_legend(
    figure: "Figure", painting: Painting, frame: Float64[np.ndarray, " side"], bottom: float
) -> None:
    """Draw a bar for each scale, and the black square, side by side below the map."""
    left, _, width, _ = frame
    n = len(painting.scales) + painting.shows_black
    each = width / max(n, 1)
    for number, scale in enumerate(painting.scales):
        bar = figure.add_axes((left + number * each, 0.22 * bottom, 0.86 * each, 0.12 * bottom))
        _draw_bar(bar, scale)
    if painting.shows_black:
        place = left + (n - 1) * each, 0.22 * bottom, 0.06 * width, 0.12 * bottom
        square = figure.add_axes(place)
        square.imshow([[BLACK]], aspect="auto")
        square.set(xticks=[], yticks=[])
        square.set_title("diverged", fontsize=_FONT - 1, loc="left")


def _draw_bar(axes: "Axes", scale: ColourScale) -> None:
    n_colours = 256 if scale.high > scale.low else 1
    axes.imshow(_table(scale.colours)[None, :n_colours], aspect="auto", extent=(0, 1, 0, 1))
    axes.set_title(scale.title, fontsize=_FONT - 1, loc="left")
    axis = Axis("", scale.low, scale.high, "log" if scale.is_log else "linear", 2)
    if scale.high > scale.low:
        major, labels, minor = _ticks(axis, 4)
        if len(major) < 2:
            major, labels = [0.0, 1.0], [f"{scale.low:.3g}", f"{scale.high:.3g}"]
    else:
        major, labels, minor = [0.5], [f"{scale.low:.3g}"], []
    axes.set_xticks(major, labels, fontsize=_FONT - 1)
    axes.set_xticks(minor, minor=True)
    axes.set_yticks([])


def _table(colours: tuple[str, float, float]) -> UInt8[np.ndarray, "entry rgb"]:
    """Return 256 colours of a part of one of Matplotlib's colour maps."""
    from matplotlib import colormaps

    name, first, last = colours
    return np.asarray(colormaps[name](np.linspace(first, last, 256), bytes=True)[:, :3])
