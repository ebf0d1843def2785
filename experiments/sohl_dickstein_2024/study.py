"""Sohl-Dickstein's networks with a learning rate for each layer: maps, zooms, dimensions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.maps import MapConfig, parse_map
from experiments.making import fill, read_summary, write_summary
from experiments.maps import (
    MEASURES,
    at_resolution,
    dimension_in_words,
    draw,
    draw_zooms,
    map_configs,
    row,
    spread,
    write_png,
)

HERE = Path(__file__).parent
STUDY = "experiment=sohl_dickstein_2024"
SIDE, N_ZOOMS = 192, 10
FULL_BATCH_SIDE = 96
FILES = ("tanh.npz", "linear.npz", "samples.npz")
PUBLISHED = {"tanh, one sample": 1.41, "linear": 1.17, "tanh, 272 samples": 1.66,
             "relu, 272 samples": 1.20}  # fmt: skip


def make(folder: Path) -> None:
    """Make all files of the study; weights and samples are facts, and copied."""
    for file in FILES:
        write_arrays(folder / file, read_arrays(HERE / file))
    rows = []
    for config in map_configs(STUDY):
        name = "linear" if config.labels["activation"] == "identity" else "tanh, one sample"
        for zoom, drawn in enumerate(draw_zooms(at_resolution(config, SIDE), N_ZOOMS)):
            rows.append(row(drawn, network=name, zoom=zoom, side=SIDE))
            if zoom in (0, 3):
                write_png(folder / f"{_file(name)}_zoom_{zoom}.png", drawn, f"{name}, zoom {zoom}")
    for name, config in _full_batch():
        drawn = draw(at_resolution(config, FULL_BATCH_SIDE))
        rows.append(row(drawn, network=name, zoom=0, side=FULL_BATCH_SIDE))
        write_png(folder / f"{_file(name)}.png", drawn, name)
    write_summary(folder, pd.DataFrame(rows))
    show(folder)


def show(folder: Path) -> None:
    """Write the table of README.md from the summary."""
    table = read_summary(folder)
    rows = [
        {
            "network": name,
            "whole window": dimension_in_words(of_name[[*MEASURES]].iloc[0].to_dict()),
            "median over zooms (range)": spread(of_name["dimension"].tolist()),
            "published": f"{PUBLISHED[name]:.2f}",
            "converged": f"{100 * _inside(of_name):.1f} %",
        }
        for name, of_name in table.groupby("network", sort=False)
    ]
    fill(folder, dimensions=pd.DataFrame(rows))


def _inside(of_name: pd.DataFrame) -> float:
    return float(of_name["inside"].iloc[0])


def _file(name: str) -> str:
    return name.replace(", ", "_").replace(" ", "_")


def _full_batch() -> Iterator[tuple[str, MapConfig]]:
    """Return his tanh and relu networks on 272 samples; relu starts from the weights of tanh."""
    samples = read_arrays(HERE / "samples.npz")
    [tanh, _] = map_configs(STUDY)
    for activation in ("tanh", "relu"):
        raw: dict[str, Any] = tanh.model_dump(exclude_none=True)
        raw["task"] |= {name: np.asarray(rows).tolist() for name, rows in samples.items()}
        raw["activation"] = {"name": activation}
        yield f"{activation}, 272 samples", parse_map(raw)
