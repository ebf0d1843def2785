"""A page that shows a map: its picture at full resolution, and the pixel under the pointer.

Owns what the page says, and the command that trains a pixel's networks alone. How colours are
chosen is left to `picture.py`.
"""

import base64
import json
import shlex
import zlib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bp_pipeline.config.keys import default_options, default_values
from bp_pipeline.config.schema import UNDECIDED
from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.files import page_template
from bp_pipeline.maps.options import INIT_SCALE, LAYER_FACTOR, PLANE_U, PLANE_V, MapConfig
from bp_pipeline.maps.picture import place
from bp_pipeline.maps.record import Map

_MOST_NETWORKS = 1 << 24  # whose values a page carries
_X, _Y = "{x}", "{y}"  # where a pixel's values stand in the command
_NOT_OF_A_NETWORK = {"map", "experiment", *UNDECIDED}


def write_viewer(path: Path, map_: Map, picture: Path) -> None:
    """Write the page, which is one file.

    Parameters
    ----------
    path
        The file.
    map_
        What it shows.
    picture
        The map's PNG.
    """
    x, y = map_.config.map.axes()
    data = {
        "keys": [x.key, y.key],
        "x": map_.result.x.tolist(),
        "y": map_.result.y.tolist(),
        "outcomes": OUTCOMES,
        "replicates": map_.result.n_replicates,
        "placement": asdict(place(x.n_pixels, y.n_pixels)),
        "command": pixel_command(map_.config, map_.run_id),
        "arrays": _packed(map_),
    }
    page = page_template(Path(__file__).with_name("viewer.html.jinja")).render(
        map=map_,
        digests={"config": map_.config.config_digest, "result": map_.result.result_digest},
        said=map_.verdict(),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )
    path.write_text(page, encoding="utf-8")


def pixel_command(config: MapConfig, run_id: str) -> str:
    """Return the command that trains one pixel's networks alone, as a template.

    `{x}` and `{y}` stand for the pixel's values, `{row}` and `{column}` for where it is.
    """
    axes = {config.map.x.key: _X, config.map.y.key: _Y}
    words = _differences(config, axes)
    if not {PLANE_U, PLANE_V}.isdisjoint(axes):
        words = [word for word in words if not word.startswith(("init=", "init."))]
        words += ["init=given", "init.path=pixel.npz"]
        axes = {k: v for k, v in axes.items() if k not in (PLANE_U, PLANE_V, INIT_SCALE)}
    words += [f"{key}={value}" for key, value in axes.items() if not key.startswith(LAYER_FACTOR)]
    if any(key.startswith(LAYER_FACTOR) for key in axes):
        factors = [
            axes.get(f"{LAYER_FACTOR}{layer}", repr(factor))
            for layer, factor in enumerate(config.layer_factors)
        ]
        words.append(f"'{LAYER_FACTOR[:-1]}=[{','.join(factors)}]'")
    command = " ".join(["bp train", *words])
    if "init.path=pixel.npz" not in words:
        return command
    if not run_id:
        return "A map that is not recorded has no weights to start from: leave out tracking=off."
    tracking = config.tracking
    place = {"experiment": tracking.experiment, **({"uri": tracking.uri} if tracking.uri else {})}
    words = [json.dumps(run_id), *(f"{name}={json.dumps(text)}" for name, text in place.items())]
    code = (
        f"from bp_pipeline import load_map; load_map({', '.join(words)})"
        '.write_weights("pixel.npz", {row}, {column})'
    )
    return f"python -c {shlex.quote(code)} && {command}"


def _differences(config: MapConfig, axes: Collection[str]) -> list[str]:
    """List, quoted for a shell, what differs from a run with nothing but its options chosen."""
    options = {**default_options(), **config.labels}
    usual, varied = {**default_values(options), **default_options()}, {*axes}
    if any(key.startswith(LAYER_FACTOR) for key in axes):
        varied.add(LAYER_FACTOR[:-1])
    return [
        shlex.quote(f"{key}={_typed(value)}")
        for key, value in config.params().items()
        if value != usual.get(key)
        and not key.endswith(".name")
        and key.partition(".")[0] not in _NOT_OF_A_NETWORK
        and key not in varied
    ]


def _typed(value: Any) -> str:
    """Write a value as Hydra reads it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def _packed(map_: Map) -> dict[str, str]:
    """Pack the values of pixels for the page, small enough for a browser; nothing of a vast map."""
    result = map_.result
    if result.outcome.size > _MOST_NETWORKS:
        return {}
    if result.n_replicates > 1:
        counts = {name: (result.outcome == code).sum(2) for code, name in enumerate(OUTCOMES)}
        counts["solved"] = result.solved.sum(2)
        return {name: _pack(count.astype("<u4")) for name, count in counts.items()}
    return {
        "outcome": _pack(result.outcome.astype("u1")),
        "solved": _pack(result.solved.astype("u1")),
        "epochs": _pack(result.epochs_to_converge.astype("<i4")),
        "loss": _pack(result.final_loss.astype("<f4")),
    }


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 1)).decode()
