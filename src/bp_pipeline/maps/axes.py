"""The two axes of a map: from a pixel's number to a value of a config key, with the same bits.

Owns the formula of pixel centres and the plane through the initial weights. Which keys there are,
and what a value of one does to a network, is said in `pixels.py`.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from bp_pipeline.core.elementary import exp, log
from bp_pipeline.core.initializers import draw_words, initialize

ZOOM = 10  # a zoomed window is this much smaller on each side

Values = Float64[np.ndarray, " pixel"]
Direction = Float64[np.ndarray, " weight"]


@dataclass(frozen=True)
class Axis:
    """One side of a map: `n_pixels` values of a config key between `low` and `high`.

    Attributes
    ----------
    key
        The dotted config key.
    low, high
        The outer edges of the first and the last pixel.
    scale
        "linear" or "log": in what the pixels are equally wide.
    """

    key: str
    low: float
    high: float
    scale: str
    n_pixels: int

    @property
    def centres(self) -> Values:
        """The value at the centre of each pixel i = 0 … n − 1.

        With t = (2i + 1)/(2n), a linear axis has low + (high − low)·t, and a logarithmic one
        exp(ln low + (ln high − ln low)·t) with the exp and ln of `core`, so that every machine
        computes the same bits. Each operation is rounded once, to float64, in this order.
        """
        n = self.n_pixels
        t = (2 * np.arange(n) + 1) / np.float64(2 * n)
        low, high = self._ends
        with np.errstate(all="ignore"):
            centres = low + (high - low) * t
            return np.asarray(exp(centres) if self.scale == "log" else centres, dtype=np.float64)

    @property
    def is_resolved(self) -> bool:
        """Whether every pixel's value is larger than that of the pixel before."""
        centres = self.centres
        return bool(np.isfinite(centres).all() and (np.diff(centres) > 0).all())

    def zoomed(self, centre: float) -> "Axis":
        """Return a tenth of this axis around a value, moved so that it stays within."""
        (low, high), middle = self._ends, self._scaled(centre)
        width = (high - low) / ZOOM
        start = min(max(middle - width / 2, low), high - width)
        return replace(self, low=self._unscaled(start), high=self._unscaled(start + width))

    @property
    def _ends(self) -> tuple[np.float64, np.float64]:
        return self._scaled(self.low), self._scaled(self.high)

    def _scaled(self, value: float) -> np.float64:
        with np.errstate(all="ignore"):
            return np.float64(log(np.float64(value)) if self.scale == "log" else value)

    def _unscaled(self, value: np.float64) -> float:
        return float(exp(value) if self.scale == "log" else value)


@dataclass(frozen=True)
class Plane:
    """Two directions in the space of weights, of length 1 and at right angles to each other."""

    u: Direction
    v: Direction


def random_plane(seed: int, n_weights: int) -> Plane:
    """Draw the directions u and v of the plane θ₀ + u·a + v·b.

    Two vectors of standard normals, drawn like the weights of a layer from `n_weights` inputs to
    two outputs, made orthonormal by Gram and Schmidt's procedure; all sums in index order.

    Parameters
    ----------
    seed
        `map.plane_seed`.
    n_weights
        Weights of one network, those of bias units included.
    """
    sizes = (n_weights, 2)
    words = draw_words(seed, sizes, bias=False, n_networks=1)
    drawn = initialize(words, sizes, has_bias=False, name="normal", bias="zero", std=1.0)
    first, second = drawn.reshape(sizes).T
    u = first / _length(first)
    v = second - _dot(second, u) * u
    return Plane(u, v / _length(v))


def _length(vector: Direction) -> np.float64:
    return np.sqrt(_dot(vector, vector))


def _dot(x: Direction, y: Direction) -> np.float64:
    total = np.float64(0.0)
    for term in x * y:
        total = total + term
    return total
