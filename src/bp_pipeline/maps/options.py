"""What a map is asked to be: a run's config with a section `map`, checked before anything trains.

Owns the keys that an axis may have, their ranges, and how the section goes with the rest. What a
value of a key does to a network is left to `pixels.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from bp_pipeline.config import Composition, ConfigError, compose
from bp_pipeline.config.keys import Section, declare, declared_keys, integer, number
from bp_pipeline.config.schema import RunConfig, parse_config
from bp_pipeline.digests import digest_json
from bp_pipeline.maps.axes import Axis

LEARNING_RATE, MOMENTUM, INIT_SCALE = "optimizer.learning_rate", "optimizer.momentum", "init.scale"
LAYER_FACTOR = "optimizer.layer_factors."  # and the number of a layer, 0 the first with weights
PLANE_U, PLANE_V = "plane.u", "plane.v"
LAST_LOSSES = 20  # whose mean `map.boundary=loss_falls` compares with the first
_LACKS_AXES = ("`map` must be given", "of the option chosen for `map")
DEFAULT = "map=learning_rate_by_scale"

_LARGEST_SIDE = 1 << 15  # pixels; Matplotlib draws pictures of up to 2¹⁶
_BYTES_OF_PIXEL = 64  # of the picture, and of counting boxes
_BYTES_OF_NETWORK = 32  # of results

_Holds = Callable[[float], bool]
_POSITIVE: tuple[str, _Holds] = ("be > 0", lambda value: value > 0)
_SHARE: tuple[str, _Holds] = ("be >= 0 and < 1", lambda value: 0 <= value < 1)
_ANY: tuple[str, _Holds] = ("be finite", lambda value: True)
_RANGES = {
    LEARNING_RATE: _POSITIVE,
    MOMENTUM: _SHARE,
    INIT_SCALE: _POSITIVE,
    PLANE_U: _ANY,
    PLANE_V: _ANY,
}


def _pixels_a_side(value: Any) -> Any:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if not all(type(side) is int and 1 <= side <= _LARGEST_SIDE for side in sides):
        raise ValueError(f"must be pixels a side, 1 to {_LARGEST_SIDE}, or [x, y]")
    return value


class AxisOptions(Section):
    """One side of a map."""

    key: str = declare("the config key that varies", f"{LAYER_FACTOR}0", 1, None)
    low: float = number("the edge at which the axis begins", "0.1", None)
    high: float = number("the edge at which it ends", "1000.0", None)
    scale: Literal["log", "linear"] = declare(
        "in what the pixels are equally wide", "log", "ln", None
    )


class MapOptions(Section):
    """The axes of a map, how fine it is, and which boundary is measured."""

    x: AxisOptions
    y: AxisOptions
    resolution: Annotated[int | list[int], BeforeValidator(_pixels_a_side)] = declare(
        "pixels a side, or [x, y]", "1024", 0, -1, 2.5, True, "1024", [1024], [4, 0], 2**16, None
    )
    boundary: Literal["solved", "converged", "diverged", "loss_falls"] = declare(
        "what separates pixels inside from those outside", "solved", "fractal", None,
        default="solved",
    )  # fmt: skip
    plane_seed: int = integer(
        "of the directions u and v, where plane.u or plane.v is an axis", "0", -1, 2**63, None,
        default=0, ge=0, le=2**63 - 1,
    )  # fmt: skip

    def axes(self) -> tuple[Axis, Axis]:
        """Return the axes x and y."""
        sides = self.resolution if isinstance(self.resolution, list) else [self.resolution] * 2
        x, y = (
            Axis(of.key, of.low, of.high, of.scale, n)
            for of, n in zip((self.x, self.y), sides, strict=True)
        )
        return x, y


class MapConfig(RunConfig):
    """A map: the config of its networks, and its axes."""

    map: MapOptions

    @cached_property
    def config_digest(self) -> str:
        """SHA-256 over what decides the map: its networks' config and the section `map`."""
        return digest_json({"run": super().config_digest, "map": self.map.model_dump()})

    @property
    def n_networks(self) -> int:
        """How many networks are trained: the replicates of each pixel."""
        x, y = self.map.axes()
        return x.n_pixels * y.n_pixels * self.replicates

    def _misfits(self, given_weights: Path | str | None) -> Iterator[str]:
        yield from super()._misfits(given_weights)
        if self.map.x.key == self.map.y.key:
            yield (
                f"`map.y.key` must be another one than `map.x.key`, got {self.map.y.key!r} twice. "
                f"Try `map.y.key={INIT_SCALE if self.map.x.key != INIT_SCALE else LEARNING_RATE}`."
            )
        problems = [*self._axis_misfits("x"), *self._axis_misfits("y")]
        yield from problems
        yield from [] if problems else self._window_misfits()
        if self.map.boundary == "loss_falls" and self.training.epochs < LAST_LOSSES:
            yield (
                f"`training.epochs` must be >= {LAST_LOSSES} for `map.boundary=loss_falls`, got "
                f"{self.training.epochs}. Try `training.epochs=500`."
            )

    def _axis_misfits(self, side: str) -> Iterator[str]:
        axis: AxisOptions = getattr(self.map, side)
        ranges = self._ranges()
        if axis.key not in ranges:
            yield f"`map.{side}.key` must be one of {', '.join(ranges)}, got {axis.key!r}."
        if axis.low >= axis.high:
            yield (
                f"`map.{side}.high` must be > map.{side}.low, got {axis.high} and {axis.low}. "
                f"Try `map.{side}.high={max(1.0, 10.0 * axis.low)}`."
            )
        if axis.scale == "log" and axis.low <= 0:
            yield (
                f"`map.{side}.low` must be > 0 on a logarithmic axis, got {axis.low}. "
                f"Try `map.{side}.low=0.1` or `map.{side}.scale=linear`."
            )

    def _window_misfits(self) -> Iterator[str]:
        """Check the values of pixels: an axis may begin at 0 where its first pixel does not."""
        axes = self.map.axes()
        for side, axis in zip("xy", axes, strict=True):
            if not axis.is_resolved:
                yield (
                    f"`map.{side}` must have room for {axis.n_pixels} different values, got "
                    f"{axis.low} … {axis.high}. Take a wider window or a lower `map.resolution`."
                )
            rule, holds = self._ranges()[axis.key]
            first, *_, last = 2 * axis.centres.tolist()
            for edge, value in (("low", first), ("high", last)):
                if not holds(value):
                    yield (
                        f"`map.{side}.{edge}` must be such that every pixel's {axis.key} can "
                        f"{rule}, got {getattr(axis, edge)}, where it is {value}."
                    )
        n_pixels = axes[0].n_pixels * axes[1].n_pixels
        needed = n_pixels * (_BYTES_OF_PIXEL + _BYTES_OF_NETWORK * self.replicates)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > memory:
            yield (
                f"`map.resolution` must fit into memory, got {self.map.resolution} with "
                f"{self.replicates} replicates: {needed / 2**30:,.1f} GiB, where there are "
                f"{memory / 2**30:,.1f}. Take a lower one."
            )

    def _ranges(self) -> Mapping[str, tuple[str, _Holds]]:
        factors = [f"{LAYER_FACTOR}{n}" for n in range(len(self.layer_sizes) - 1)]
        return {**_RANGES, **dict.fromkeys(factors, _POSITIVE)}


def parse_map(
    raw: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    *,
    given_weights: Path | str | None = None,
) -> MapConfig:
    """Check a composed config against the schema of maps; see `parse_config`."""
    return parse_config(raw, labels, given_weights=given_weights, schema=MapConfig)


def parse_any(
    raw: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    *,
    given_weights: Path | str | None = None,
) -> RunConfig:
    """Check the config of a map where it has axes, else that of a run."""
    parse = parse_map if "map" in raw else parse_config
    return parse(raw, labels, given_weights=given_weights)


def compose_maps(arguments: Sequence[str], *, program: str = "bp map") -> Composition:
    """Compose what the arguments of `bp map` ask for; every job's config is a `MapConfig`.

    Raises
    ------
    ConfigError, SystemExit
        As `compose` does.
    """
    groups = {word.lstrip("+").partition("=")[0] for word in arguments}
    by_default = [] if groups & {"map", "experiment"} else [DEFAULT]
    known = declared_keys(MapConfig)
    try:
        return compose(
            arguments,
            program=program,
            parse=parse_map,
            keys=known,
            defaults=["hydra/help=bp_map", *by_default],
        )
    except ConfigError as error:
        text = str(error)
        if "map" not in groups and any(said in text for said in _LACKS_AXES):
            text = f"`map` must be chosen, since this experiment has no axes. Add `{DEFAULT}`."
        # What it advises to type is a map too.
        raise ConfigError(text.replace("`bp train", f"`{program}")) from error


def zoomed(config: MapConfig, x: float, y: float) -> MapConfig:
    """Return a map of a tenth of the window, around a point.

    Raises
    ------
    ConfigError
        Where doubles have no room for so many values in it.
    """
    raw = config.model_dump(exclude_none=True)
    for side, axis, centre in zip("xy", config.map.axes(), (x, y), strict=True):
        window = axis.zoomed(centre)
        raw["map"][side] |= {"low": window.low, "high": window.high}
    return parse_map(raw)
