"""What studies share: from a config to results, and from results to the files of a study.

Owns how a study's numbers get into its folder: `summary.csv`, the parts of README.md that are
made, and pictures. What a study asks and shows is in its own `study.py`: `make(folder)` writes
these files into a folder that has its README.md. What can be told from `summary.csv` alone is
written by `show(folder)`, so that it can be made anew without training.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bp_pipeline.config import RunConfig, compose
from bp_pipeline.config.run_names import varied_keys
from bp_pipeline.core.network import Block, join_layers
from bp_pipeline.ensemble import RunResult, setup_of, summary_of, train_runs

# The summary metrics of a run, in the order of `summary.csv`; one that a run lacks stays empty.
MEASURES = [
    "converged/rate",
    "converged/rate_low",
    "converged/rate_high",
    "stalled/rate",
    "diverged/rate",
    "epochs_to_converge/median",
    "final_loss/median",
]

STYLE = {
    "svg.hashsalt": "bp_pipeline",  # ids in the file, which are random otherwise
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
}


class Run(NamedTuple):
    """A run of a study: what was asked, and what came out."""

    config: RunConfig
    result: RunResult


def configs_of(*overrides: str, program: str = "bp train") -> list[RunConfig]:
    """Return the configs of the runs that `PROGRAM OVERRIDES` asks for."""
    return [job.config for job in compose(overrides, program=program).jobs]


def train(*overrides: str) -> list[Run]:
    """Return the runs that `bp train OVERRIDES` trains, in their order; nothing is recorded."""
    return train_configs(configs_of(*overrides))


def train_configs(configs: Sequence[RunConfig]) -> list[Run]:
    """Train runs side by side, and return them in their order."""
    results: dict[int, RunResult] = {}
    for index, result in train_runs(configs):
        if isinstance(result, Exception):
            raise result
        results[index] = result
    return [Run(config, results[index]) for index, config in enumerate(configs)]


@contextmanager
def report(*overrides: str) -> Iterator[Path]:
    """Run `bp train OVERRIDES` in an empty folder; yield the folder with the sweep's report."""
    bp = Path(sys.executable).with_name("bp")
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    with TemporaryDirectory(prefix="bp_pipeline-") as folder:
        subprocess.run(
            [bp, "train", *overrides],
            cwd=folder,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        [made] = Path(folder).glob("reports/*")
        yield made


def tabulate(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row a run, with what MLflow has of it: every config key and summary metric."""
    rows = [
        {**config.params(), **summary_of(result, copies=config.draws_nothing)}
        for config, result in runs
    ]
    return pd.DataFrame(rows).reindex(columns=list(dict.fromkeys([*rows[0], *MEASURES])))


def summarize(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row a run: the config keys that tell runs apart, then the measures."""
    keys = varied_keys([config.params() for config, _ in runs])
    return tabulate(runs)[[*keys, *MEASURES]]


def write_summary(folder: Path, table: pd.DataFrame, name: str = "summary.csv") -> None:
    """Write a table, every number in its shortest round-trip form."""
    table.to_csv(folder / name, index=False, lineterminator="\n")


def read_summary(folder: Path, name: str = "summary.csv") -> pd.DataFrame:
    """Return a table that `write_summary` wrote."""
    return pd.read_csv(folder / name)


def converged_within(run: Run, epochs: int) -> float:
    """Return the share of a run's networks that had converged after so many epochs."""
    taken = run.result.epochs_to_converge
    return float(((taken >= 0) & (taken <= epochs)).mean())


def unit_difference(incoming: np.ndarray) -> np.ndarray:
    """Return the largest difference between two units' weights from the same unit.

    Parameters
    ----------
    incoming
        A layer's weights, (…, fan_in + 1, unit), such as `run.result.final_weights["layer_1"]`.
    """
    return np.ptp(incoming, axis=-1).max(axis=-1)


def outputs(run: Run, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the activations of each layer after the input, (replicate, sample, unit).

    Parameters
    ----------
    run
        Whose network, and whose truth table.
    weights
        Layer by layer, such as `run.result.final_weights`.
    """
    block = block_of(run, weights)
    block.forward()
    bias = block.architecture.bias
    return [np.moveaxis(units[:, bias:], -1, 0) for units in block.units[1:]]


def block_of(run: Run, weights: dict[str, np.ndarray]) -> Block:
    """Return weights of a run in the core's own form, to compute what a run does not record."""
    architecture, table = setup_of(run.config).architecture, run.config.truth_table
    return Block(architecture, table.inputs, table.targets, join_layers([*weights.values()]))


def fill(folder: Path, **parts: str | pd.DataFrame) -> None:
    """Replace the made parts of README.md: what stands between `<!-- NAME -->` and `<!-- end -->`.

    A part is a paragraph where a line ends behind its name, and within a sentence otherwise.

    Raises
    ------
    ValueError
        Where the README has not exactly one such place for each part.
    """
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, part in parts.items():
        body = part if isinstance(part, str) else to_markdown(part)
        pattern = rf"(<!-- {name}\b[^>]*-->)(\n?).*?(<!-- end -->)"
        text, n_found = re.subn(pattern, partial(_filled, body), text, flags=re.DOTALL)
        if n_found != 1:
            raise ValueError(f"{readme} must have one place for {name}, got {n_found}")
    readme.write_text(text, encoding="utf-8")


def _filled(body: str, place: re.Match[str]) -> str:
    start, line_end, end = place.groups()
    return f"{start}\n\n{body}\n\n{end}" if line_end else f"{start}{body}{end}"


def to_markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table of cells that are text already."""
    return table.to_markdown(index=False, disable_numparse=True)


@contextmanager
def picture(
    path: Path, n_rows: int = 1, n_columns: int = 1, **options: Any
) -> Iterator[list[Axes]]:
    """Yield axes to draw on, row by row, and write an SVG of them.

    Its bytes depend on what is drawn and on the version of Matplotlib alone.
    """
    with rc_context(STYLE):
        figure = Figure(layout="constrained", figsize=options.pop("figsize"))
        axes = figure.subplots(n_rows, n_columns, squeeze=False, **options)
        yield list(axes.flat)
        figure.savefig(path, metadata={"Date": None})
    path.write_text(number_clips(path.read_text()))


def number_clips(svg: str) -> str:
    """Name clipping paths by their order: Matplotlib's names hash floats in their last bits."""
    for number, name in enumerate(dict.fromkeys(re.findall(r'clipPath id="(\w+)"', svg)), 1):
        svg = svg.replace(name, f"clip-{number}")
    return svg
