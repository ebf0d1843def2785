"""What studies of maps share: from a command to a measured map, its zooms, and its picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bp_pipeline.maps import MapConfig, compose_maps, parse_map
from bp_pipeline.maps.boundary import dimension_in_words
from bp_pipeline.maps.mapping import next_window
from bp_pipeline.maps.picture import paint, write_picture
from bp_pipeline.maps.pixel_shards import Drawing, count_ulp_flips
from bp_pipeline.maps.pixels import pixels_of
from bp_pipeline.maps.record import ULP_FLIPS, Map

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


def map_configs(*overrides: str) -> list[MapConfig]:
    """Return the configs of the maps that `bp map OVERRIDES` draws."""
    jobs = compose_maps(overrides).jobs
    return [job.config for job in jobs if isinstance(job.config, MapConfig)]


def draw(config: MapConfig) -> Map:
    """Draw a map; nothing is recorded."""
    pixels, engine = pixels_of(config), config.engine
    result = Drawing(pixels).finish(engine=engine)
    flips = count_ulp_flips(pixels, result, config.map.boundary, engine=engine)
    return Map("", "", "", config, result, {ULP_FLIPS: flips})


def draw_zooms(config: MapConfig, most: int) -> Iterator[Map]:
    """Draw a map, then a tenth of its window around the boundary, and so on while there is one."""
    further: MapConfig | None = config
    for _ in range(most + 1):
        if further is None:
            return
        window = draw(further)
        yield window
        further = next_window(window)


def at_resolution(config: MapConfig, side: int) -> MapConfig:
    """Return the same window with so many pixels a side."""
    raw = config.model_dump(exclude_none=True)
    return parse_map({**raw, "map": {**raw["map"], "resolution": side}})


def write_png(path: Path, drawn: Map, title: str) -> None:
    """Write a map's picture, whose file says which result it shows."""
    import matplotlib

    options = drawn.config.map
    x, y = options.axes()
    text = {
        "Title": title,
        "bp.result_digest": drawn.result.result_digest,
        "Drawn by": f"Matplotlib v{matplotlib.__version__}",
    }
    painting = paint(drawn.result, options.boundary)
    write_picture(path, painting, x, y, title=title, subtitle=drawn.verdict()[0], text=text)


def row(drawn: Map, **keys: Any) -> dict[str, Any]:
    """Return a row of a summary: what tells the map apart, then its measures."""
    found = drawn.boundary
    values = (
        float(drawn.result.inside(drawn.config.map.boundary).mean()),
        *drawn.result.rates().values(),
        found.pixels,
        *map(_rounded, (found.dimension, found.dimension_low, found.dimension_high)),
        _rounded(found.dimension_half),
        drawn.ulp_flips,
    )
    return {**keys, **dict(zip(MEASURES, values, strict=True))}


def _rounded(dimension: float | None) -> float | None:
    """Round what was fitted: its last digits depend on the machine."""
    return None if dimension is None else round(dimension, 6)


def dimension_of(measures: Mapping[str, Any]) -> str:
    """Write the dimension that a row has, with its interval."""
    return dimension_in_words(*(measures[name] for name in ("dimension", "low", "high")))
