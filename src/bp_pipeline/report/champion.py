"""The champion of a task: which network of a sweep is the best.

It is of the best run, as `tables.ranked` orders them, in which a network still solves the task when
training ends: the one of these with the lowest final loss, the first one of equals. To have
converged is not enough, since a network may have been within the tolerance and left it again.
Registering it is `tracking/`'s, and
when it becomes the one that is served is `publish.py`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bp_pipeline.arrays import layer_names
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.report.networks import forward
from bp_pipeline.report.sweep_data import (
    FINAL_LOSS,
    LEARNING_RATE,
    LOW,
    MEDIAN,
    RATE,
    Sweep,
    UnreadableFile,
)
from bp_pipeline.report.tables import ranked
from bp_pipeline.tracking import TrainedNetwork
from bp_pipeline.tracking.format import RESULT_DIGEST

Weights = Mapping[str, Float64[np.ndarray, "replicate _row _fan_out"]]


@dataclass(frozen=True)
class Champion:
    """The best network of a task.

    Attributes
    ----------
    run_id, run_name, result_digest, replicate
        Which one it is.
    network
        What it is made of.
    unread
        What cannot be read of runs that may have a better one, a line each.
    """

    run_id: str
    run_name: str
    result_digest: str
    replicate: int
    network: TrainedNetwork
    unread: tuple[str, ...]


@dataclass(frozen=True)
class NoChampion:
    """Why a task has none: a sentence."""

    reason: str


def tasks(sweep: Sweep) -> list[str]:
    """Return the tasks of a sweep that have results."""
    return sorted(sweep.finished["task"].dropna().unique())


def choose_champion(sweep: Sweep, task: str) -> Champion | NoChampion:
    """Choose the champion of a task from a sweep whose store is open."""
    places = sweep.finished[sweep.finished["task"] == task]
    run_ids = places["run_ids"].explode().to_list()
    missing = set(run_ids) - set(sweep.replicates["run_id"])
    unread = [f"`replicates.parquet` of run {run_id} cannot be read" for run_id in sorted(missing)]
    for _, place in ranked(places[places[RATE] > 0]).iterrows():
        able = []
        for run_id in place["run_ids"]:
            try:
                config, weights = sweep.config(run_id), sweep.weights(run_id)
            except UnreadableFile as error:
                unread.append(str(error))
                continue
            losses = _losses(sweep, run_id)
            replicate = best_replicate(losses)
            if replicate is None:
                continue
            if not _has_loss(config, weights, replicate, losses[replicate]):
                unread.append(f"`weights/final.npz` of run {run_id} is not what was recorded")
            else:
                able.append((losses[replicate], run_id, replicate, config, weights))
        if able:
            _, run_id, replicate, config, weights = min(able, key=lambda network: network[0])
            run = sweep.runs.set_index("run_id").loc[run_id]
            who = run_id, run["name"], run[RESULT_DIGEST], replicate
            return Champion(*who, network_of(config, weights, replicate), tuple(unread))
    if unread:
        more = f" (and of {len(unread) - 1} more)" if unread[1:] else ""
        return NoChampion(f"No champion for {task} is known: {unread[0]}{more}")
    return NoChampion(f"No champion for {task}: no network solves it when training ends.")


def is_better(run: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """Whether a run is better than another as `tables.ranked` orders them, of which it takes rows.

    Of two that are equally good none is.
    """
    columns = [RATE, LOW, MEDIAN, FINAL_LOSS, LEARNING_RATE, "network.hidden"]
    both = pd.DataFrame([than, run]).reindex(columns=columns)
    return bool(ranked(both).index[0] == 1)


def best_replicate(losses: pd.Series) -> int | None:
    """Choose the network with the lowest final loss, by replicate, of those that solve the task."""
    able = losses.sort_values(kind="stable")
    return int(able.index[0]) if len(able) else None


def network_of(config: RunConfig, weights: Weights, replicate: int) -> TrainedNetwork:
    """Take one network out of a run, as a model is made from it."""
    return TrainedNetwork(
        weights={name: np.array(layer[replicate]) for name, layer in weights.items()},
        config={
            "activation": config.activation.name,
            "slope": config.slope,
            "output": config.network.output,
            "bias": config.network.bias,
        },
        inputs=config.truth_table.inputs,
    )


def _has_loss(config: RunConfig, weights: Weights, replicate: int, loss: float) -> bool:
    """Whether a network has this loss in nats: another run's would be served unseen."""
    shapes = [
        (1, n_in + config.network.bias, n_out) for n_in, n_out in pairwise(config.layer_sizes)
    ]
    names = layer_names(len(shapes))
    layers = [weights[name][replicate : replicate + 1] for name in names if name in weights]
    if [layer.shape for layer in layers] != shapes:
        return False
    # Not to the bit, since a version of the code may round otherwise than that which trained it.
    return bool(np.isclose(forward(config, layers).loss()[0], loss, rtol=1e-9))


def _losses(sweep: Sweep, run_id: str) -> pd.Series:
    """Return the final losses of a run's networks that solve its task, by replicate."""
    replicates = sweep.replicates
    of_run = replicates[(replicates["run_id"] == run_id) & replicates["solved"].astype(bool)]
    return of_run.set_index("replicate")["final_loss"].sort_index()
