"""What a network learned: which two to show, and what they compute on the way.

Owns the choice of one network that converged and one that stalled, and asks the core's own forward
and backward pass about them. How they are drawn is `figures.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from bp_pipeline.arrays import layer_names
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.network import Block, evaluate, join_layers, norm
from bp_pipeline.ensemble import setup_of
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.notation import count, nats
from bp_pipeline.report.sweep_data import UnreadableFile

_N_EPOCHS = 4  # that are shown
_TICKS = np.linspace(-0.25, 1.25, 61)  # a quarter around the unit square, in steps of 1/40
_FLAT = 1e-3  # norm of the gradient below which a network hardly moves

Layers = Sequence[Float64[np.ndarray, "network _row _fan_out"]]


@dataclass(frozen=True)
class Learned:
    """One network on its way through training.

    Attributes
    ----------
    place, replicate, outcome, epochs_to_converge
        Which one it is, and how it ended; NaN epochs where it did not converge.
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

    @property
    def title(self) -> str:
        """How it ended, and where in the grid it is."""
        return f"{'Converged' if self.outcome == 'converged' else 'Stalled'}: {self.place}"

    @property
    def ending(self) -> str:
        """A sentence about its last epoch: loss in nats, and whether it still moves."""
        block = forward(self.config, self.layers)
        with np.errstate(all="ignore"):
            text = f"Replicate {self.replicate} ends with a loss of {nats(block.loss()[-1])} nats"
            block.backward()
            block.scale_gradient(1.0 / len(block.inputs))
            gradient = float(norm(block.gradient)[-1])
        if self.outcome == "converged":
            return f"{text}; it had converged by epoch {count(self.epochs_to_converge)}."
        flat = "there is hardly a slope left" if gradient < _FLAT else "it still moves"
        return f"{text}, where the gradient's norm is {gradient:.1g}: {flat}."

    def outputs(self) -> Float64[np.ndarray, "sample output"]:
        """Compute the outputs after the last epoch."""
        return forward(self.config, self.layers).outputs[:, :, -1]

    def surface(self) -> tuple[Float64[np.ndarray, " x"], Float64[np.ndarray, "epoch y x"]] | None:
        """Evaluate the first output over both inputs; None for any other number of inputs."""
        samples = self.config.truth_table.inputs
        if samples.shape[1] != 2:
            return None
        low, high = samples.min(), samples.max()
        ticks = low + _TICKS * max(high - low, 1e-9)
        x, y = np.meshgrid(ticks, ticks)
        block = forward(self.config, self.layers, np.column_stack([x.ravel(), y.ravel()]))
        return ticks, np.moveaxis(block.outputs[:, 0].reshape(*x.shape, -1), -1, 0)


@dataclass(frozen=True)
class ShownNetworks:
    """The networks to show, and a sentence for each that cannot be read."""

    networks: Sequence[Learned]
    unreadable: Sequence[str]


def forward(
    config: RunConfig, layers: Layers, inputs: Float64[np.ndarray, "sample input"] | None = None
) -> Block:
    """Compute networks of one run side by side, for some inputs or those of the truth table."""
    architecture, parameters = setup_of(config).architecture, join_layers(layers)
    table = config.truth_table
    if inputs is not None:
        return evaluate(architecture, inputs, parameters)
    return evaluate(architecture, table.inputs, parameters, table.targets)


def best_and_stalled(findings: Findings) -> ShownNetworks:
    """Choose the network to show, and one that stalled, the more alike in config the better.

    Both are among those whose weights were kept during training. The first is of the best run that
    has such a network which solves its task, and there the one with the lowest final loss. Either
    may be missing.
    """
    kept = _kept(findings)
    solving = kept[kept["solved"].eq(True)].sort_values(["rank", "final_loss"], kind="stable")
    best = solving.iloc[0] if len(solving) else findings.top
    stalled = kept[kept["outcome"] == "stalled"]
    alike = sum((stalled[key] == best[key]).astype(int) for key in findings.sweep.axes)
    stalled = stalled.assign(alike=alike).sort_values(
        ["alike", "rank"], ascending=[False, True], kind="stable"
    )
    networks, unreadable = [], []
    for row in (rows.iloc[0] for rows in (solving, stalled) if len(rows)):
        try:
            networks.append(_load(findings, row))
        except (UnreadableFile, KeyError, IndexError):
            place = f"{findings.place(row)}, replicate {row['replicate']}"
            unreadable.append(f"What {place} learned cannot be read from its files.")
    return ShownNetworks(networks, unreadable)


def _kept(findings: Findings) -> pd.DataFrame:
    """Return the replicates whose weights were kept, each with the rank of its run."""
    replicates = findings.sweep.replicates
    limits = findings.sweep.finished.set_index("run_id")["training.record_weights"]
    is_kept = replicates["replicate"].astype(float) < replicates["place"].map(limits).astype(float)
    return replicates[is_kept].assign(rank=replicates["place"].map(findings.ranks))


def _load(findings: Findings, row: pd.Series) -> Learned:
    config = findings.sweep.config(row["run_id"])
    trajectory = findings.sweep.weights(row["run_id"], "trajectory")
    replicate = int(row["replicate"])
    layers = [trajectory[name][replicate] for name in layer_names(len(trajectory) - 1)]
    chosen = _some(len(trajectory["epoch"]))
    return Learned(
        place=findings.place(row),
        replicate=replicate,
        outcome=row["outcome"],
        epochs_to_converge=float(row["epochs_to_converge"]),
        config=config,
        epochs=trajectory["epoch"][chosen].astype(np.int64),
        layers=[layer[chosen] for layer in layers],
    )


def _some(n: int) -> list[int]:
    """Choose a few of n recorded epochs, evenly spread, the first and the last among them."""
    return sorted({round(k * (n - 1) / (_N_EPOCHS - 1)) for k in range(_N_EPOCHS)})
