"""What a network learned: which two to show, and what they compute on the way.

Owns the choice of one network that converged and one that stalled, and asks the core's own forward
and backward pass about them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from bp_pipeline.arrays import layer_names
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.network import Block, norm
from bp_pipeline.ensemble.shards import setup_of
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.tables import ranked

_N_SHOWN = 4  # epochs
_TICKS = np.linspace(-0.25, 1.25, 61)  # a quarter around the unit square, in steps of 1/40


@dataclass(frozen=True)
class Learned:
    """One network on its way through training.

    Attributes
    ----------
    place, replicate, outcome
        Which one it is, and how it ended.
    config
        Of its run.
    epochs
        Some of the recorded ones, the first and the last among them.
    layers
        Weights of each layer at these epochs, row 0 the bias unit's.
    """

    place: str
    replicate: int
    outcome: str
    epochs_to_converge: float
    config: RunConfig
    epochs: Int64[np.ndarray, " epoch"]
    layers: list[Float64[np.ndarray, "epoch _row _fan_out"]]

    def block(self, inputs: Float64[np.ndarray, "sample input"]) -> Block:
        """Compute the network at each epoch, as neighbours in a block, for some inputs."""
        columns = [layer.reshape(len(layer), -1).T for layer in self.layers]
        outputs = self.config.layer_sizes[-1]
        targets = np.zeros((len(inputs), outputs))
        table = self.config.truth_table
        if len(inputs) == len(table.inputs):
            targets = table.targets
        block = Block(setup_of(self.config).architecture, inputs, targets, np.concatenate(columns))
        with np.errstate(all="ignore"):
            block.forward()
        return block

    def surface(self) -> tuple[Float64[np.ndarray, " x"], Float64[np.ndarray, "epoch y x"]] | None:
        """Evaluate the first output over both inputs; None for any other number of inputs."""
        samples = self.config.truth_table.inputs
        if samples.shape[1] != 2:
            return None
        low, high = samples.min(), samples.max()
        ticks = low + _TICKS * max(high - low, 1e-9)
        x, y = np.meshgrid(ticks, ticks)
        outputs = self.block(np.column_stack([x.ravel(), y.ravel()])).outputs[:, 0]
        return ticks, np.moveaxis(outputs.reshape(*x.shape, -1), -1, 0)

    def end(self) -> tuple[Float64[np.ndarray, "sample output"], float, float]:
        """Give the outputs at the end, the loss in nats, and the norm of the gradient."""
        block = self.block(self.config.truth_table.inputs)
        with np.errstate(all="ignore"):
            loss = float(block.loss()[-1])
            block.backward()
            block.scale_gradient(1.0 / len(block.inputs))
            return block.outputs[:, :, -1], loss, float(norm(block.gradient)[-1])


def best_and_stalled(findings: Findings) -> list[Learned]:
    """Choose the network to show, and one that stalled, the more alike in config the better.

    Both are among those whose weights were kept during training. The first is of the best run that
    has such a network which converged, and there the one with the lowest final loss. Either may be
    missing.
    """
    kept = _kept(findings)
    converged = kept[kept["outcome"] == "converged"].sort_values(
        ["rank", "final_loss"], kind="stable"
    )
    best = converged.iloc[0] if len(converged) else findings.top
    stalled = kept[kept["outcome"] == "stalled"]
    alike = sum((stalled[key] == best[key]).astype(int) for key in findings.sweep.axes)
    stalled = stalled.assign(alike=alike).sort_values(
        ["alike", "rank"], ascending=[False, True], kind="stable"
    )
    learned = [_load(findings, rows.iloc[0]) for rows in (converged, stalled) if len(rows)]
    return [network for network in learned if network is not None]


def _kept(findings: Findings) -> pd.DataFrame:
    """Take the replicates whose weights were kept, each with the rank of its run."""
    replicates = findings.sweep.replicates
    runs = ranked(findings.sweep.finished).reset_index(drop=True)
    ranks = pd.Series(runs.index, index=runs["run_id"])
    limits = runs.set_index("run_id").reindex(columns=["training.record_weights"]).squeeze(axis=1)
    is_kept = replicates["replicate"].astype(float) < replicates["run_id"].map(limits).astype(float)
    return replicates[is_kept].assign(rank=replicates["run_id"].map(ranks))


def _load(findings: Findings, row: pd.Series) -> Learned | None:
    config = findings.sweep.config(row["run_id"])
    trajectory = findings.sweep.weights(row["run_id"], "trajectory")
    if config is None or trajectory is None:
        return None
    replicate = int(row["replicate"])
    try:
        epochs = trajectory["epoch"]
        layers = [trajectory[name][replicate] for name in layer_names(len(trajectory) - 1)]
    except (KeyError, IndexError):
        return None
    chosen = _some(len(epochs))
    return Learned(
        place=findings.place(row),
        replicate=replicate,
        outcome=row["outcome"],
        epochs_to_converge=float(row["epochs_to_converge"]),
        config=config,
        epochs=epochs[chosen].astype(np.int64),
        layers=[layer[chosen] for layer in layers],
    )


def _some(n: int) -> list[int]:
    """Choose a few of n recorded epochs, evenly spread, the first and the last among them."""
    return sorted({round(k * (n - 1) / (_N_SHOWN - 1)) for k in range(_N_SHOWN)})
