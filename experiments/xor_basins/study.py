"""Basins in the space of weights: the same plane at three rates and five resolutions."""

from pathlib import Path

import pandas as pd

from experiments.making import fill, read_summary, write_summary
from experiments.maps import (
    MEASURES,
    at_resolution,
    dimension_of,
    draw,
    map_configs,
    row,
    write_png,
)

STUDY = "experiment=xor_basins"
SIDES = (256, 512, 1024, 2048, 4096)


def make(folder: Path) -> None:
    """Make all files of the study."""
    rows = []
    for config in map_configs(STUDY):
        rate = config.optimizer.learning_rate
        for side in SIDES:
            drawn = draw(at_resolution(config, side))
            rows.append(row(drawn, **{"optimizer.learning_rate": rate, "side": side}))
            if side == SIDES[1]:
                title = f"XOR on 2-2-1, ±1, learning rate {rate:g} on half the mean of squares"
                write_png(folder / f"rate_{rate:g}.png", drawn, title)
    write_summary(folder, pd.DataFrame(rows))
    show(folder)


def show(folder: Path) -> None:
    """Write the table of README.md from the summary."""
    table = read_summary(folder)
    shown = pd.DataFrame(
        {
            "rate": [f"{rate:g}" for rate in table["optimizer.learning_rate"]],
            "pixels": [f"{side}²" for side in table["side"]],
            **{
                name: [f"{100 * share:.1f} %" for share in table[name]]
                for name in ("solved", "stalled", "diverged")
            },
            "boundary pixels": [f"{n:,}" for n in table["boundary pixels"]],
            "dimension": [dimension_of(r) for r in table[[*MEASURES]].to_dict("records")],
            "flipped by one ulp": [f"{n:,}" for n in table["flipped by one ulp"]],
        }
    )
    fill(folder, basins=shown)
