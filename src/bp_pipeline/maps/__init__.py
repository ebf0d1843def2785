"""Maps: a network, or a few, for every pixel of two dense axes, as one run.

A map is drawn from a checked config to its picture, in this order:

    options.py        what is asked for, checked before anything trains
    axes.py           from pixels to values of keys, with the same bits everywhere
    pixels.py         from values to networks, and what came of each
    pixel_shards.py   all networks, shard by shard
    boundary.py       how long and how ragged the boundary is, in numbers and in words
    picture.py        a PNG
    viewer.py         a page
    record.py         files and run of a map, both ways
    mapping.py        what happens in `bp map`
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bp_pipeline.maps.options import MapConfig, compose_maps, parse_any, parse_map

if TYPE_CHECKING:
    from bp_pipeline.maps.mapping import run_maps, show_map
    from bp_pipeline.maps.pixel_shards import train_all
    from bp_pipeline.maps.pixels import MapResult
    from bp_pipeline.maps.record import (
        MAP_FILES,
        Map,
        load_map,
        read_map_config,
        read_map_result,
    )

_HOMES = {
    "MAP_FILES": "record",
    "Map": "record",
    "MapResult": "pixels",
    "load_map": "record",
    "read_map_config": "record",
    "read_map_result": "record",
    "run_maps": "mapping",
    "show_map": "mapping",
    "train_all": "pixel_shards",
}

__all__ = [
    "MAP_FILES",
    "Map",
    "MapConfig",
    "MapResult",
    "compose_maps",
    "load_map",
    "parse_any",
    "parse_map",
    "read_map_config",
    "read_map_result",
    "run_maps",
    "show_map",
    "train_all",
]


def __getattr__(name: str) -> Any:
    """Load what draws and reads maps only when it is wanted, so that a refusal is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
