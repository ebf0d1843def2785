"""What a map holds: two axes, and what came of the networks of each pixel.

Owns the arrays, their digest, and which pixels have the property whose boundary is measured. Rows
are y, columns x, both from the low end; where a pixel has several replicates they are the last
axis, and nowhere else is there one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int8, Integer

from bp_pipeline.core.training import DIVERGED, OUTCOMES
from bp_pipeline.digests import digest_arrays


@dataclass(frozen=True)
class MapResult:
    """What training a map gives.

    Attributes
    ----------
    x, y
        Values at the centres of columns and rows.
    outcome
        Index into `core.training.OUTCOMES`.
    epochs_to_converge
        First epoch at which the network had converged, or −1.
    final_loss
        In nats, mean over samples; +inf where it is not finite.
    solved
        Whether every output is within the tolerance after the last epoch.
    loss_ratio
        The mean of the last 20 losses over the first one, where `map.boundary=loss_falls`.
    """

    x: Float64[np.ndarray, " x"]
    y: Float64[np.ndarray, " y"]
    outcome: Int8[np.ndarray, "y x *replicate"]
    epochs_to_converge: Integer[np.ndarray, "y x *replicate"]
    final_loss: Float64[np.ndarray, "y x *replicate"]
    solved: Bool[np.ndarray, "y x *replicate"]
    loss_ratio: Float64[np.ndarray, "y x *replicate"] | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What makes two maps the same, and what `map.npz` holds."""
        names = ("x", "y", "outcome", "epochs_to_converge", "final_loss", "solved", "loss_ratio")
        arrays = {name: getattr(self, name) for name in names}
        return {name: array for name, array in arrays.items() if array is not None}

    @cached_property
    def result_digest(self) -> str:
        """SHA-256 over `arrays`."""
        return digest_arrays(self.arrays)

    @property
    def n_replicates(self) -> int:
        """Networks in each pixel."""
        return int(np.prod(self.outcome.shape[2:], dtype=int))

    def rates(self) -> dict[str, float]:
        """Return the share of networks that solved the task, and of each outcome."""
        shares = {name: float((self.outcome == code).mean()) for code, name in enumerate(OUTCOMES)}
        return {"solved": float(self.solved.mean()), **shares}

    def has(self, boundary: str) -> Bool[np.ndarray, "y x *replicate"]:
        """Whether each network has the property called `map.boundary`."""
        return np.asarray(BOUNDARIES[boundary](self))

    def inside(self, boundary: str) -> Bool[np.ndarray, "y x"]:
        """Whether a pixel has it; of several replicates, whether at least half have."""
        has = self.has(boundary)
        return has if has.ndim == 2 else has.mean(axis=2) >= 0.5


def _loss_falls(result: MapResult) -> Bool[np.ndarray, "y x *replicate"]:
    assert result.loss_ratio is not None
    return np.asarray(result.loss_ratio < 1.0)


BOUNDARIES: Mapping[str, Callable[[MapResult], np.ndarray]] = {
    "solved": lambda result: result.solved,
    "converged": lambda result: result.epochs_to_converge >= 0,
    "diverged": lambda result: result.outcome != DIVERGED,  # inside are those that did not
    # Sohl-Dickstein (2024), The boundary of neural network trainability is fractal
    "loss_falls": _loss_falls,
}
