"""Sohl-Dickstein's networks with a learning rate for each layer: maps, zooms, dimensions."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.maps import MapConfig, parse_map
from bp_pipeline.maps.boundary import spread
from experiments.making import fill, read_summary, write_summary
from experiments.maps import (
    MEASURES,
    at_resolution,
    dimension_of,
    draw,
    draw_zooms,
    map_configs,
    row,
    write_png,
)

HERE = Path(__file__).parent
STUDY = "experiment=sohl_dickstein_2024"
SIDE, N_ZOOMS = 160, 10
FILES = ("tanh.npz", "linear.npz", "samples.npz")
PUBLISHED = {
    "tanh, one sample": 1.41,
    "linear": 1.17,
    "tanh, 272 samples": 1.66,
    "relu, 272 samples": 1.20,
}


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
    for config in _with_272_samples():
        name = f"{config.labels['activation']}, 272 samples"
        drawn = draw(config)
        rows.append(row(drawn, network=name, zoom=0, side=SIDE))
        write_png(folder / f"{_file(name)}.png", drawn, name)
    write_summary(folder, pd.DataFrame(rows))
    show(folder)


def _with_272_samples() -> Iterator[MapConfig]:
    """Yield his other networks: the weights of that of one sample, their √2 with relu too."""
    raw = at_resolution(map_configs(STUDY)[0], SIDE).model_dump(exclude_none=True)
    samples = {name: array.tolist() for name, array in read_arrays(HERE / "samples.npz").items()}
    for name in ("tanh", "relu"):
        changed = {"task": {**raw["task"], **samples}, "activation": {"name": name}}
        labels = {"labels": {**raw["labels"], "activation": name}}
        yield parse_map({**raw, **changed, **labels})


def show(folder: Path) -> None:
    """Write the table of README.md from the summary."""
    table = read_summary(folder)
    rows = [
        {
            "network": name,
            "whole window": dimension_of(of_name[[*MEASURES]].iloc[0].to_dict()),
            "median over zooms (range)": _over_zooms(of_name),
            "published": f"{PUBLISHED[name]:.2f}",
            "loss falls": f"{100 * _inside(of_name):.1f} %",
        }
        for name, of_name in table.groupby("network", sort=False)
    ]
    fill(folder, dimensions=pd.DataFrame(rows))


def _over_zooms(of_name: pd.DataFrame) -> str:
    return spread(of_name["dimension"].tolist()) if len(of_name) > 1 else "one window"


def _inside(of_name: pd.DataFrame) -> float:
    return float(of_name["inside"].iloc[0])


def _file(name: str) -> str:
    return name.replace(", ", "_").replace(" ", "_")
