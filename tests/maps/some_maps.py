"""Maps that the tests of several modules draw: small ones, of every key."""

from collections.abc import Mapping
from typing import Any

from runs import DEFAULT_OPTIONS, raw_config

from bp_pipeline.maps.options import MapConfig, parse_map
from bp_pipeline.maps.pixel_shards import Drawing
from bp_pipeline.maps.pixels import MapResult, pixels_of

RATE = {"key": "optimizer.learning_rate", "low": 0.1, "high": 1000.0, "scale": "log"}
MOMENTUM = {"key": "optimizer.momentum", "low": 0.0, "high": 1.0, "scale": "linear"}
SCALE = {"key": "init.scale", "low": 0.1, "high": 20.0, "scale": "log"}
FACTOR_0 = {"key": "optimizer.layer_factors.0", "low": 0.01, "high": 100.0, "scale": "log"}
FACTOR_1 = {**FACTOR_0, "key": "optimizer.layer_factors.1"}
PLANE_U = {"key": "plane.u", "low": -3.0, "high": 3.0, "scale": "linear"}
PLANE_V = {**PLANE_U, "key": "plane.v"}

SMALL = {"replicates": 1, "training.epochs": 60, "engine": "numpy"}


def make_map(
    changes: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    *,
    x: Mapping[str, Any] = RATE,
    y: Mapping[str, Any] = SCALE,
    resolution: Any = (24, 20),
    **others: Any,
) -> MapConfig:
    """Check the config of a map; `others` are further keys of its section `map`."""
    sides = list(resolution) if isinstance(resolution, tuple) else resolution
    section = {"x": dict(x), "y": dict(y), "resolution": sides, **others}
    raw = {**raw_config({**SMALL, **(changes or {})}, options), "map": section}
    labels = {**DEFAULT_OPTIONS, **(options or {}), "map": "of_a_test"}
    del labels["network"], labels["training"]
    return parse_map(raw, labels)


def drawn(config: MapConfig, *, threads: int = 1, size: int | None = None) -> MapResult:
    return Drawing(pixels_of(config), size=size).finish(engine=config.engine, threads=threads)
