"""The epoch loop of `training.py` as machine code: which network is in which lane, and until when.

Each lane has an epoch of its own: a network that is frozen or has come to its last epoch leaves its
lane to the next one that waits, whenever that is. Only what computes depends on the kind; all else
is compiled once, and is given no more than it needs: every array passed takes time to compile.
"""

from typing import Any, NamedTuple

import numpy as np

from bp_pipeline.core.equations import Group, Net, look, measure, pass_table, update
from bp_pipeline.core.kinds import Index, Kind, compile_, compile_for_all, inline
from bp_pipeline.core.lanes import LANES, as_row, row_from
from bp_pipeline.core.training import CONVERGED, DIVERGED, STALLED, Trained

NOBODY = -1  # in place of the network of an idle lane

# Typed, because Numba compiles a function anew for every literal that it is called with.
_YES, _NO = np.bool_(True), np.bool_(False)


class Schedule(NamedTuple):
    """How all networks are trained, and for how long; see `training.Setup`."""

    online: bool
    epochs: int
    stop_when_converged: bool
    recorded: np.ndarray  # epochs


class Queue(NamedTuple):
    """Which network is in which lane, since when, and which one is the next."""

    network: np.ndarray  # in the ensemble, or NOBODY
    began: np.ndarray  # step at which it was at epoch 0
    position: np.ndarray  # of its next recorded epoch
    step: np.ndarray  # one number: how many have been taken
    waiting: np.ndarray  # one number: the first network that waits


class Ensemble(NamedTuple):
    """What the networks start from; arrays of shape (…, network), the last one being nobody: 0."""

    parameters: np.ndarray
    learning_rate: np.ndarray
    momentum: np.ndarray
    slot: np.ndarray  # place of its weights among the kept ones, or −1


def _train_lanes(
    kind: Kind,
    net: Net,
    schedule: Schedule,
    memory: Any,
    part_at: tuple[int, ...],
    queue: Queue,
    ensemble: Ensemble,
    trained: Trained,
    n_steps: int,
) -> None:
    """Take a number of steps of an epoch with all lanes, or fewer where no network is left."""
    group = _cut(memory, part_at)
    wake, is_changed = np.int64(0), True
    for _ in range(n_steps):
        if is_changed:
            if _fill_lanes(group, queue, ensemble) == 0:
                return
            wake = _next_record(schedule, queue)
        is_recorded = queue.step[0] == wake
        pass_table(kind, net, group, is_recorded or not schedule.online, _NO)
        is_changed = look(kind, net, group) or is_recorded
        if is_changed:
            if schedule.online and not is_recorded:
                pass_table(kind, net, group, _YES, _NO)
            measure(kind, net, group)
            _settle(schedule, group, queue, ensemble, trained)
        if schedule.online:
            pass_table(kind, net, group, _YES, _YES)
        else:
            update(kind, net, group, net.gradient_factor)
        queue.step[0] += 1


# ------------------------------------------------------------------------- who comes, and who goes


@compile_for_all
def _fill_lanes(group: Group, queue: Queue, ensemble: Ensemble) -> int:
    """Fill idle lanes with networks that wait, or nobody; count the lanes that are not idle."""
    n_busy, nobody = 0, len(ensemble.momentum) - 1
    for c in range(LANES):
        if queue.network[c] == NOBODY:
            k = queue.waiting[0]
            for i in range(len(ensemble.parameters)):
                group.weights[i, c], group.velocity[i, c] = ensemble.parameters[i, k], 0.0
            for layer in range(len(ensemble.learning_rate)):
                group.learning_rate[layer, c] = ensemble.learning_rate[layer, k]
            group.momentum[0, c] = ensemble.momentum[k]
            group.undecided[0, c] = 0.0 if k == nobody else 1.0
            if k < nobody:
                queue.network[c], queue.began[c], queue.position[c] = k, queue.step[0], 0
                queue.waiting[0] += 1
        n_busy += int(queue.network[c] != NOBODY)
    return n_busy


@compile_for_all
def _next_record(schedule: Schedule, queue: Queue) -> Any:
    """Find the first step at which a network is at its next recorded epoch."""
    step = np.int64(np.iinfo(np.int64).max)
    for c in range(LANES):
        if queue.network[c] != NOBODY:
            step = min(step, queue.began[c] + schedule.recorded[queue.position[c]])
    return step


@compile_for_all
def _settle(
    schedule: Schedule, group: Group, queue: Queue, ensemble: Ensemble, trained: Trained
) -> None:
    """Set outcomes, record, and let go of the networks that are frozen or at their last epoch."""
    for c in range(LANES):
        k = queue.network[c]
        if k == NOBODY:
            continue
        epoch = queue.step[0] - queue.began[c]
        finite = _is_finite(group, c, len(trained.parameters))
        within = finite and group.misses[0, c] == 0.0
        is_over = not finite or epoch == schedule.epochs
        if trained.outcome[k] == STALLED and not finite:
            trained.outcome[k] = DIVERGED
        elif trained.outcome[k] == STALLED and within:
            trained.outcome[k], trained.epochs_to_converge[k] = CONVERGED, epoch
            is_over = is_over or schedule.stop_when_converged
        group.undecided[0, c] = 1.0 if trained.outcome[k] == STALLED else 0.0
        if not finite:
            group.loss[0, c] = group.gradient_norm[0, c] = group.weight_norm[0, c] = np.inf
        at = queue.position[c]
        if is_over:
            for later in range(at, len(schedule.recorded)):
                _record(group, ensemble, trained, later, c, k)
            trained.final_loss[k], trained.solved[k] = group.loss[0, c], within
            for i in range(len(trained.parameters)):
                trained.parameters[i, k] = group.weights[i, c]
            queue.network[c] = NOBODY
        elif epoch == schedule.recorded[at]:
            _record(group, ensemble, trained, at, c, k)
            queue.position[c] += 1


@inline
def _is_finite(group: Group, c: Index, n_weights: Index) -> bool:
    """Whether the loss and all weights of a lane are finite."""
    finite = np.isfinite(group.loss[0, c])
    for i in range(n_weights):
        finite = finite and np.isfinite(group.weights[i, c])
    return finite


@compile_
def _record(
    group: Group, ensemble: Ensemble, trained: Trained, at: Index, c: Index, k: Index
) -> None:
    trained.loss[at, k] = group.loss[0, c]
    trained.gradient_norm[at, k] = group.gradient_norm[0, c]
    trained.weight_norm[at, k] = group.weight_norm[0, c]
    slot = ensemble.slot[k]
    if slot >= 0:
        for i in range(len(trained.parameters)):
            trained.trajectory[at, i, slot] = group.weights[i, c]


@compile_for_all
def _cut(memory: Any, at: Any) -> Group:
    """Cut the memory of a group into its parts."""
    row = as_row(memory)
    return Group(
        row_from(row, at[0]), row_from(row, at[1]), row_from(row, at[2]), row_from(row, at[3]),
        row_from(row, at[4]), row_from(row, at[5]), row_from(row, at[6]), row_from(row, at[7]),
        row_from(row, at[8]), row_from(row, at[9]), row_from(row, at[10]), row_from(row, at[11]),
        row_from(row, at[12]), row_from(row, at[13]), row_from(row, at[14]),
    )  # fmt: skip


kernel = compile_(_train_lanes, cache=True, no_cpython_wrapper=False)
