"""A map as files and as a run in MLflow, both ways.

Owns what a map's run consists of beyond a config: its arrays, the initial weights of its
replicates, its measures. Where runs are kept is left to `tracking/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_pipeline.arrays import layer_names, read_arrays, write_arrays
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.core.network import split_layers
from bp_pipeline.ensemble import setup_of
from bp_pipeline.maps.boundary import Boundary, describe_boundary, measure_boundary
from bp_pipeline.maps.options import MapConfig, parse_map
from bp_pipeline.maps.pixels import MapResult, pixels_of
from bp_pipeline.tracking.format import COMMAND, MAP, RESULT_DIGEST, as_row
from bp_pipeline.tracking.run_files import read_config
from bp_pipeline.tracking.runs_to_verify import disagreement
from bp_pipeline.tracking.store_tables import Points

if TYPE_CHECKING:
    import xarray

    from bp_pipeline.tracking import Reader, Recorded

ULP_FLIPS, SECONDS = "boundary/ulp_flips", "training/seconds"
ARRAYS, PICTURE, WEIGHTS = "map.npz", "map.png", "weights/initial.npz"
MAP_FILES = ("config.yaml", ARRAYS, WEIGHTS)  # what it takes to draw it again and to compare


@dataclass(frozen=True)
class Map:
    """A map that is drawn.

    Attributes
    ----------
    run_id, name, command
        Of its run, the id empty where it is not recorded; the command is what was typed.
    config
        Of its networks, and its axes.
    result
        Its arrays.
    metrics
        What MLflow shows of it, by name; at least `ULP_FLIPS`.
    corrupt
        Where MLflow or its files are no longer what was recorded, as a clause.
    """

    run_id: str
    name: str
    command: str
    config: MapConfig
    result: MapResult
    metrics: Mapping[str, float]
    corrupt: str = ""

    @cached_property
    def boundary(self) -> Boundary:
        """What is measured of its boundary."""
        return measure_boundary(self.result.inside(self.config.map.boundary))

    @property
    def ulp_flips(self) -> int:
        """How many pixels of the boundary change sides one ulp further in x."""
        return int(self.metrics.get(ULP_FLIPS, 0))

    def verdict(self) -> list[str]:
        """Say what was measured of its boundary, a sentence each."""
        asked = self.config.map
        return describe_boundary(self.boundary, asked.boundary, asked.x.key, self.ulp_flips)

    def initial_weights(self, row: int, column: int) -> dict[str, np.ndarray]:
        """Return the initial weights of one pixel's networks, as `init=given` takes them."""
        pixels = pixels_of(self.config)
        first = np.ravel_multi_index((row, column, 0), pixels.shape)
        parameters, _, _ = pixels.networks(first + np.arange(pixels.shape[2]))
        return _layers(self.config, parameters)

    def write_weights(self, path: str | Path, row: int, column: int) -> None:
        """Write them as an .npz file that `init=given init.path=…` reads."""
        write_arrays(Path(path), self.initial_weights(row, column))

    def to_xarray(self) -> "xarray.Dataset":
        """Return the arrays with the axes' values as coordinates; needs xarray."""
        import xarray

        x, y = self.config.map.axes()
        sides = [y.key, x.key, "replicate"]
        arrays = self.result.arrays
        coordinates = {x.key: arrays.pop("x"), y.key: arrays.pop("y")}
        variables = {name: (sides[: array.ndim], array) for name, array in arrays.items()}
        return xarray.Dataset(variables, coordinates, {"run_id": self.run_id})


def write_map(folder: Path, config: MapConfig, result: MapResult) -> None:
    """Write the arrays of a map, and the initial weights that it starts from."""
    write_arrays(folder / ARRAYS, result.arrays)
    write_arrays(folder / WEIGHTS, _layers(config, pixels_of(config).initial))


def read_map_config(folder: Path) -> MapConfig:
    """Read a map's config; initial weights that were given are those that its run logged.

    Raises
    ------
    ConfigError
        Where it is no config of a map.
    OSError
        Where there is none.
    """
    config = read_config(folder, parse_map)
    assert isinstance(config, MapConfig)
    return config


def read_map_result(folder: Path) -> MapResult:
    """Read back what `write_map` wrote.

    Raises
    ------
    ValueError
        Where there is no such file, or it holds anything else; the text completes "must …".
    """
    arrays = read_arrays(folder / ARRAYS)
    known = [field.name for field in fields(MapResult)]
    missing = {*known[:-1]} - set(arrays)
    if missing or set(arrays) - {*known}:
        raise ValueError(f"hold a map: {', '.join(known)}, got {', '.join(arrays)}.")
    shape = (len(arrays["y"]), len(arrays["x"]))
    for name, array in arrays.items():
        if name not in "xy" and array.shape[:2] != shape:
            raise ValueError(f"hold {name} of shape {shape}, got {array.shape}.")
    return MapResult(**arrays)


def metrics_of(map_: Map) -> dict[str, float]:
    """Return a map's measures by their names in MLflow; what cannot be computed is absent."""
    measures = {**map_.metrics, **_measures(map_)}
    return {name: float(value) for name, value in measures.items() if value is not None}


def altered_measure(map_: Map, points: Points) -> str:
    """Say where MLflow has another measure of a map than its arrays come to, as a clause.

    How a line is fitted to the boundary's boxes depends on the machine, in the last digits.
    """
    for name, value in _measures(map_).items():
        for shown in [map_.metrics.get(name), *(value for _, value in points.get(name, ()))]:
            if (shown is None) != (value is None) or not isclose(shown or 0, value or 0):
                return f"MLflow's {name} is {shown}, the files come to {value}"
    return ""


def _measures(map_: Map) -> dict[str, float | None]:
    """Return what the arrays of a map come to, None for what cannot be computed."""
    found = map_.boundary
    return {
        **{f"{name}/rate": rate for name, rate in map_.result.rates().items()},
        "boundary/pixels": found.pixels,
        "boundary/dimension": found.dimension,
        "boundary/dimension_low": found.dimension_low,
        "boundary/dimension_high": found.dimension_high,
        "boundary/dimension_half": found.dimension_half,
    }


def read_map(reader: "Reader", name: str | None = None) -> Map:
    """Read a recorded map, the newest by default.

    Parameters
    ----------
    reader
        The store it is in.
    name
        Its run id or its name, or the beginning of one of these that fits no other map.

    Raises
    ------
    TrackingError
        Where there is no such map, or its files cannot be read.
    """
    from bp_pipeline.tracking import TrackingError

    run = reader.find_of_kind(MAP, name)
    with reader.artifacts(run.run_id, *MAP_FILES) as folder:
        try:
            config = read_map_config(folder)
        except (OSError, ConfigError) as error:
            problem = "; ".join(str(error).splitlines())
            said = f"The config.yaml of map {run.run_id} cannot be used: {problem}"
            raise TrackingError(said) from None
        try:
            result = read_map_result(folder)
        except (OSError, ValueError) as error:
            raise TrackingError(f"The files of map {run.run_id} must {error}") from None
    map_ = Map(run.run_id, run.name, run.tags.get(COMMAND, ""), config, result, run.metrics)
    return replace(map_, corrupt=_alteration(map_, run, reader))


def _alteration(map_: Map, run: "Recorded", reader: "Reader") -> str:
    if map_.result.result_digest != run.tags.get(RESULT_DIGEST):
        return "map.npz no longer has the digest that was recorded"
    points: Points = {}
    if reader.knows_tables:
        with reader.points() as points_of:
            points = points_of(run.run_id)
    return disagreement(as_row(run), map_.config) or altered_measure(map_, points)


def load_map(
    run: str | None = None, *, uri: str | None = None, experiment: str = "bp_pipeline"
) -> Map:
    """Load a map of a store, the newest by default, for a notebook.

    Parameters
    ----------
    run
        Its run id or its name, or the beginning of one of these that fits no other map.
    uri
        `tracking.uri`; MLFLOW_TRACKING_URI, where set, wins.
    experiment
        MLflow's name of the experiment.
    """
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(uri, experiment) as reader:
        return read_map(reader, run)


def _layers(config: MapConfig, parameters: np.ndarray) -> dict[str, Any]:
    layers = split_layers(setup_of(config).architecture, parameters)
    views = [np.moveaxis(layer, -1, 0) for layer in layers]
    return dict(zip(layer_names(len(views)), views, strict=True))
