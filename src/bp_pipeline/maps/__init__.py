"""Maps: a network, or a few, for every pixel of two dense axes, as one run.

options.py   what is asked for, checked before anything trains
axes.py      from pixels to values of keys, with the same bits everywhere
pixels.py    from values to networks, and what came of each
drawing.py   all networks, shard by shard
values.py    what a map holds
boundary.py  how long and how ragged the boundary is
picture.py   a PNG
viewer.py    a page
record.py    files and run of a map, both ways
mapping.py   what happens in `bp map`
"""

from bp_pipeline.maps.mapping import run_maps, show_map
from bp_pipeline.maps.options import MapConfig, parse_map
from bp_pipeline.maps.record import MAP, Map, load_map

__all__ = ["MAP", "Map", "MapConfig", "load_map", "parse_map", "run_maps", "show_map"]
