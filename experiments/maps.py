"""What studies of maps share: from a command to a measured map, its zooms, and its picture."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bp_pipeline.config import ConfigError
from bp_pipeline.maps import MapConfig, compose_maps, parse_map
from bp_pipeline.maps.boundary import Boundary, measure_boundary, middle_of_boundary
from bp_pipeline.maps.boundary_text import describe_boundary
from bp_pipeline.maps.drawing import Drawing, count_ulp_flips
from bp_pipeline.maps.options import zoomed
from bp_pipeline.maps.picture import paint, write_picture
from bp_pipeline.maps.pixels import pixels_of
from bp_pipeline.maps.values import MapResult

# What is said of a boundary, in the order of `summary.csv`.
MEASURES = (
    "inside",
    "solved",
    "stalled",
    "converged",
    "diverged",
    "boundary pixels",
    "dimension",
    "low",
    "high",
    "at half the resolution",
    "flipped by one ulp",
)


class StudyMap(NamedTuple):
    """A map of a study, and what was measured of its boundary."""

    config: MapConfig
    result: MapResult
    boundary: Boundary
    ulp_flips: int

    def measures(self) -> dict[str, Any]:
        """Return the values of `MEASURES`."""
        found = self.boundary
        values = (
            float(self.result.inside(self.config.map.boundary).mean()),
            *self.result.rates().values(),
            *(found.pixels, found.dimension, found.dimension_low, found.dimension_high),
            *(found.dimension_half, self.ulp_flips),
        )
        return dict(zip(MEASURES, values, strict=True))


def map_configs(*overrides: str) -> list[MapConfig]:
    """Return the configs of the maps that `bp map OVERRIDES` draws."""
    jobs = compose_maps(overrides).jobs
    return [job.config for job in jobs if isinstance(job.config, MapConfig)]


def draw(config: MapConfig) -> StudyMap:
    """Draw a map and measure its boundary; nothing is recorded."""
    pixels, engine = pixels_of(config), config.engine
    result = Drawing(pixels).finish(engine=engine)
    what = config.map.boundary
    boundary = measure_boundary(result.inside(what))
    return StudyMap(config, result, boundary, count_ulp_flips(pixels, result, what, engine=engine))


def draw_zooms(config: MapConfig, most: int) -> Iterator[StudyMap]:
    """Draw a map, then a tenth of its window around the boundary, and so on while there is one."""
    for _ in range(most + 1):
        window = draw(config)
        yield window
        middle = middle_of_boundary(window.result.inside(config.map.boundary))
        if middle is None:
            return
        row, column = middle
        try:
            config = zoomed(config, float(window.result.x[column]), float(window.result.y[row]))
        except ConfigError:  # doubles have run out
            return


def at_resolution(config: MapConfig, side: int) -> MapConfig:
    """Return the same window with so many pixels a side."""
    raw = config.model_dump(exclude_none=True)
    return parse_map({**raw, "map": {**raw["map"], "resolution": side}})


def write_png(path: Path, drawn: StudyMap, title: str) -> None:
    """Write a map's picture, whose file says which result it shows."""
    import matplotlib

    options = drawn.config.map
    x, y = options.axes()
    said = describe_boundary(drawn.boundary, options.boundary, options.x.key, drawn.ulp_flips)
    text = {
        "Title": title,
        "bp.result_digest": drawn.result.result_digest,
        "Drawn by": f"Matplotlib v{matplotlib.__version__}",
    }
    painting = paint(drawn.result, options.boundary)
    write_picture(path, painting, x, y, title=title, subtitle=said[0], text=text)


def row(drawn: StudyMap, **keys: Any) -> dict[str, Any]:
    """Return a row of a summary: what tells the map apart, then its measures."""
    return {**keys, **drawn.measures()}


def dimension_in_words(measures: Mapping[str, Any]) -> str:
    """Write a dimension with its interval, as a table has it."""
    value, low, high = (measures[name] for name in ("dimension", "low", "high"))
    if value != value:  # NaN: none
        return "–"
    if low != low:
        return f"{value:.2f}"
    ends = math.floor(100 * low) / 100, math.ceil(100 * high) / 100
    return f"{value:.2f} ({ends[0]:.2f} – {ends[1]:.2f})"


def spread(values: Sequence[float]) -> str:
    """Write the median and the range of dimensions."""
    known = sorted(value for value in values if value == value)
    if not known:
        return "–"
    middle = known[len(known) // 2] if len(known) % 2 else sum(known[len(known) // 2 - 1 :][:2]) / 2
    return f"{middle:.2f} ({known[0]:.2f} – {known[-1]:.2f}, {len(known)} windows)"
