"""The networks of a map: from pixels to ensembles, shard by shard, and what came of each.

Owns what a value of each key does to a network, in the very operations of `ensemble`, so that a
pixel has the bits of a run with these values. A shard is a range of networks; it is made where it
is trained, from the values of two axes and the initial weights of one pixel, and only what a map
keeps of a network comes back.

In a map's arrays rows are y, columns x, both from the low end; where a pixel has several replicates
they are the last axis, and nowhere else is there one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64, Integer

from bp_pipeline.core.network import Parameters, PerNetwork
from bp_pipeline.core.training import DIVERGED, OUTCOMES, Progress, Setup, Trained
from bp_pipeline.digests import digest_arrays
from bp_pipeline.ensemble import initial_parameters, setup_of, train_function
from bp_pipeline.maps.axes import Plane, random_plane
from bp_pipeline.maps.options import (
    INIT_SCALE,
    LAST_LOSSES,
    LAYER_FACTOR,
    LEARNING_RATE,
    MOMENTUM,
    PLANE_U,
    PLANE_V,
    MapConfig,
)

# Sohl-Dickstein (2024): what is not finite, or larger, counts as 10⁶ times the first loss.
_LARGEST_RATIO = 1e6

Numbers = Int64[np.ndarray, " network"]
Outcomes = Mapping[str, np.ndarray]  # by the names of `MapResult`, each of shape (network,)
KEPT = ("outcome", "epochs_to_converge", "final_loss", "solved")  # of every network


@dataclass(frozen=True)
class Pixels:
    """All networks of a map, as little as it takes to make any of them.

    Network number k is replicate k mod R of pixel ⌊k/R⌋; pixels are numbered row by row.

    Attributes
    ----------
    setup
        What all of them share.
    initial
        Unscaled initial weights of the R replicates.
    fixed
        The value of each key that is not an axis, by its name.
    x, y
        Key and values of the columns and of the rows.
    plane
        The directions of u and v; None where a network has one weight.
    keeps_loss_ratio
        Whether `loss_ratio` is kept; all losses are recorded for it.
    """

    setup: Setup
    initial: Parameters
    fixed: Mapping[str, float]
    x: tuple[str, Float64[np.ndarray, " x"]]
    y: tuple[str, Float64[np.ndarray, " y"]]
    plane: Plane | None
    keeps_loss_ratio: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, replicates."""
        return len(self.y[1]), len(self.x[1]), self.initial.shape[1]

    @property
    def n_networks(self) -> int:
        """How many there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    def networks(
        self, numbers: Numbers
    ) -> tuple[Parameters, Float64[np.ndarray, "layer network"], PerNetwork]:
        """Make some of the networks.

        Returns
        -------
        tuple
            Initial weights, the learning rate of each layer, momentum: `train`'s arguments.
        """
        rows, columns, replicates = np.unravel_index(numbers, self.shape)
        values = {self.x[0]: self.x[1][columns], self.y[0]: self.y[1][rows]}

        def value_of(key: str) -> PerNetwork:
            return values[key] if key in values else np.full(len(numbers), self.fixed[key])

        parameters = self.initial[:, replicates] * value_of(INIT_SCALE)
        if self.plane is not None:
            for key, direction in ((PLANE_U, self.plane.u), (PLANE_V, self.plane.v)):
                if key in values:
                    parameters = parameters + np.multiply.outer(direction, values[key])
        rate = value_of(LEARNING_RATE)
        n_layers = len(self.setup.architecture.shapes)
        rates = [rate * value_of(f"{LAYER_FACTOR}{layer}") for layer in range(n_layers)]
        return parameters, np.array(rates), value_of(MOMENTUM)


def pixels_of(config: MapConfig) -> Pixels:
    """Work out what all networks of a map are made of."""
    unscaled = config.init.model_copy(update={"scale": 1.0})
    initial = initial_parameters(config.model_copy(update={"init": unscaled}))
    x, y = config.map.axes()
    factors = {f"{LAYER_FACTOR}{n}": factor for n, factor in enumerate(config.layer_factors)}
    optimizer, keeps_losses = config.optimizer, config.map.boundary == "loss_falls"
    return Pixels(
        setup=replace(setup_of(config), record=config.training.epochs + 1 if keeps_losses else 2),
        initial=initial,
        fixed={
            LEARNING_RATE: optimizer.learning_rate,
            MOMENTUM: optimizer.momentum,
            INIT_SCALE: config.init_scale,
            **factors,
        },
        x=(x.key, x.centres),
        y=(y.key, y.centres),
        plane=random_plane(config.map.plane_seed, len(initial)) if len(initial) > 1 else None,
        keeps_loss_ratio=keeps_losses,
    )


def train_pixels(
    pixels: Pixels, engine: str, numbers: Numbers, progress: Progress | None = None
) -> Outcomes:
    """Train some networks of a map."""
    trained = train_function(engine)(pixels.setup, *pixels.networks(numbers), progress=progress)
    outcomes = {name: getattr(trained, name) for name in KEPT}
    return outcomes | ({"loss_ratio": _loss_ratio(trained)} if pixels.keeps_loss_ratio else {})


def _loss_ratio(trained: Trained) -> PerNetwork:
    """Compute the mean of the last losses over the first one, in the order of the epochs."""
    losses = trained.loss[-1 - LAST_LOSSES : -1]
    with np.errstate(all="ignore"):
        ratios = losses / trained.loss[0]
    ratios = np.where(np.isfinite(ratios), np.minimum(ratios, _LARGEST_RATIO), _LARGEST_RATIO)
    total = np.zeros(losses.shape[1])
    for ratio in ratios:
        total = total + ratio
    return total / np.float64(LAST_LOSSES)


# ------------------------------------------------------------------------------------ a whole map


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
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
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
