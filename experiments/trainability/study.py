"""Where XOR trains: maps of learning rate against scale and momentum, zooms, and a safe rate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bp_pipeline.maps import Map
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

STUDY = "experiment=trainability"
SIDES = (192, 384, 768)  # pixels of a zoom's windows
MOST_ZOOMS = 20  # doubles run out before
N_DRAWS, SAFE = 50, 0.9  # a rate is safe where this share of so many draws solves
SAFE_SIDES = "[96,24]"  # rates, scales
ACTIVATIONS = ("tanh", "sigmoid", "relu")


def make(folder: Path) -> None:
    """Make all files of the study."""
    maps = [draw(config) for config in map_configs(STUDY)]
    rows = []
    for drawn in maps:
        name = _name(drawn)
        write_png(folder / f"{name}.png", drawn, f"XOR on 2-3-1: {name.replace('_', ' ')}")
        rows.append(row(drawn, part="map", map=name, zoom=0, side=drawn.result.x.size))
    rows += _zooms(maps[0])
    write_summary(folder, pd.DataFrame(rows))
    write_summary(folder, pd.DataFrame(_safe_rates()), "safe.csv")
    show(folder)


def show(folder: Path) -> None:
    """Write the tables of README.md from the summaries."""
    table, safe = read_summary(folder), read_summary(folder, "safe.csv")
    fill(folder, maps=_map_table(table), zooms=_zoom_table(table), safe=_safe_table(safe))


def _name(drawn: Map) -> str:
    by = "momentum" if drawn.config.map.y.key.endswith("momentum") else "scale"
    return f"{drawn.config.labels['activation']}_by_{by}"


def _zooms(whole: Map) -> Iterator[dict[str, Any]]:
    """Zoom at the middle resolution, and measure each window at all three."""
    for zoom, window in enumerate(draw_zooms(at_resolution(whole.config, SIDES[1]), MOST_ZOOMS)):
        for side in SIDES:
            drawn = window if side == SIDES[1] else draw(at_resolution(window.config, side))
            yield row(drawn, part="zoom", map="tanh_by_scale", zoom=zoom, side=side)


def _safe_rates() -> Iterator[dict[str, Any]]:
    """Find, for each scale, the largest rate up to which the share that solves stays high."""
    words = (f"replicates={N_DRAWS}", f"map.resolution={SAFE_SIDES}")
    for activation in ACTIVATIONS:
        [config] = map_configs(f"activation={activation}", *words)
        drawn = draw(config)
        share = drawn.result.solved.mean(axis=2)
        for scale, of_rates in zip(drawn.result.y, share, strict=True):
            at = np.flatnonzero(of_rates >= SAFE)
            yield {
                "activation": activation,
                "init.scale": scale,
                "largest safe rate": drawn.result.x[at[-1]] if len(at) else np.nan,
                "smallest safe rate": drawn.result.x[at[0]] if len(at) else np.nan,
                "unsafe between": int(at[-1] - at[0] + 1 - len(at)) if len(at) else 0,
            }


def _map_table(table: pd.DataFrame) -> pd.DataFrame:
    maps = table[table["part"] == "map"]
    return pd.DataFrame(
        {
            "map": maps["map"].str.replace("_", " "),
            "solved": [f"{100 * share:.1f} %" for share in maps["solved"]],
            "diverged": [f"{100 * share:.1f} %" for share in maps["diverged"]],
            "boundary pixels": [f"{n:,}" for n in maps["boundary pixels"]],
            "dimension": [dimension_of(r) for r in maps[[*MEASURES]].to_dict("records")],
            "half the resolution": [_dimension(d) for d in maps["at half the resolution"]],
            "flipped by one ulp": [f"{n:,}" for n in maps["flipped by one ulp"]],
        }
    )


def _zoom_table(table: pd.DataFrame) -> pd.DataFrame:
    zooms = table[table["part"] == "zoom"]
    rows = []
    for zoom, of_zoom in zooms.groupby("zoom"):
        by_side = of_zoom.set_index("side")
        finest = by_side.loc[SIDES[-1]]
        share = finest["flipped by one ulp"] / max(1, finest["boundary pixels"])
        rows.append(
            {
                "window": f"1e-{zoom}" if zoom else "1",
                **{f"{side}²": dimension_of(by_side.loc[side]) for side in SIDES},
                f"flipped by one ulp, {SIDES[-1]}²": f"{100 * share:.1f} %",
            }
        )
    of_all = {f"{s}²": spread(zooms.loc[zooms["side"] == s, "dimension"].tolist()) for s in SIDES}
    return pd.DataFrame([*rows, {"window": "median (range)", **of_all}]).fillna("")


def _safe_table(safe: pd.DataFrame) -> pd.DataFrame:
    scales = safe["init.scale"].unique()[1::4]
    by_key = safe.set_index(["activation", "init.scale"])["largest safe rate"]
    return pd.DataFrame(
        {
            "init.scale": [f"{scale:.2g}" for scale in scales],
            **{a: [_rate(by_key[a, scale]) for scale in scales] for a in ACTIVATIONS},
        }
    )


def _dimension(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"


def _rate(value: float) -> str:
    return "–" if value != value else f"{value:.2g}"
