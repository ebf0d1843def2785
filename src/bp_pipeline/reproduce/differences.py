"""Where two results part: the first recorded epoch, the array, and how far apart they are.

Owns the order in which differences are looked for and the unit of their size. Both results are the
named arrays of `RunResult.arrays`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bp_pipeline.core.training import NEVER
from bp_pipeline.digests import CANONICAL_NAN

Arrays = Mapping[str, np.ndarray]

_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Difference:
    """How two results differ.

    Attributes
    ----------
    epoch
        The first recorded epoch at which something differs.
    array
        What differs there; of several arrays the one that the others follow from.
    ulp
        The largest distance between two of its values at that epoch, in units in the last place:
        how many doubles one has to step over. None where the array holds no doubles, or the shapes
        or signs differ.
    largest_ulp
        The largest distance at any epoch in any array.
    relative
        Where values have other signs, between which steps say nothing: the largest difference at
        that epoch, as a share of the largest value there. None elsewhere.
    """

    epoch: int
    array: str
    ulp: int | None
    largest_ulp: int | None
    relative: float | None = None


def first_difference(stored: Arrays, again: Arrays) -> Difference | None:
    """Return where a stored result and the one that came now part, or None where they do not.

    Results with other recorded epochs are compared at those that both have.
    """
    differences = list(_differences(stored, again))
    if not differences:
        return None
    first = min(differences, key=lambda difference: difference.epoch)
    sizes = [size for difference in differences if (size := difference.largest_ulp) is not None]
    return replace(first, largest_ulp=max(sizes, default=None))


def changed_pixels(stored: Arrays, again: Arrays) -> str:
    """Write where two maps part: the arrays that differ, in how many pixels, and the first one."""
    told = []
    for name, array in again.items():
        before = stored.get(name)
        if before is None or before.shape != array.shape:
            told.append(f"{name} has another shape")
            continue
        places = np.argwhere(_ordered(before) != _ordered(array))
        if len(places):
            told.append(f"{len(places):,} of {name}, the first at {places[0].tolist()}")
    return "; ".join(told)


def across_signs(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return the largest difference relative to the largest value, where any two signs differ."""
    finite = np.isfinite(one) & np.isfinite(other)
    first, second = np.where(finite, one, 0.0), np.where(finite, other, 0.0)
    if not (np.sign(first) != np.sign(second)).any():
        return None
    return float(np.abs(first - second).max() / max(np.abs(first).max(), np.abs(second).max()))


def ulp_distance(one: np.ndarray, other: np.ndarray) -> int:
    """Return the largest number of doubles between two values of the same place."""
    first, second = _ordered(one), _ordered(other)
    distance = np.maximum(first, second) - np.minimum(first, second)
    return int(distance.max(initial=0))


def _ordered(values: np.ndarray) -> np.ndarray:
    """Return how many doubles there are up to each value from −inf on; all NaNs are one."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    bits = np.where(np.isnan(values), CANONICAL_NAN, bits)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _differences(stored: Arrays, again: Arrays) -> Iterator[Difference]:
    """Yield the first difference of each array, in the order in which one follows from another."""
    epochs = np.intersect1d(stored["epochs"], again["epochs"])
    layers = [name.partition("/")[2] for name in again if name.startswith("initial_weights/")]
    if {name for name in stored if name.startswith("initial_weights/")} != {
        f"initial_weights/{layer}" for layer in layers
    }:
        yield Difference(0, "initial_weights", None, None)
        return
    start, end = [0], [int(stored["epochs"][-1])]
    for layer in layers:
        name = f"initial_weights/{layer}"
        yield from _compared(name, start, stored[name][np.newaxis], again[name][np.newaxis])
    for layer in layers:
        yield from _compared_curves(f"trajectory/{layer}", epochs, stored, again)
    yield from _compared_curves("loss", epochs, stored, again)
    yield from _convergence(epochs, stored["epochs_to_converge"], again["epochs_to_converge"])
    if not np.array_equal(stored["outcome_code"], again["outcome_code"]):
        yield Difference(end[0], "outcome", None, None)
    yield from _other_epochs(stored["epochs"], again["epochs"])
    if stored["epochs"][-1] == again["epochs"][-1]:
        for layer in layers:
            name = f"final_weights/{layer}"
            yield from _compared(name, end, stored[name][np.newaxis], again[name][np.newaxis])


def _compared_curves(
    name: str, epochs: np.ndarray, stored: Arrays, again: Arrays
) -> Iterator[Difference]:
    """Compare arrays whose axes begin with replicate and epoch, at the epochs that both have."""
    common = [
        result[name][:, np.isin(result["epochs"], epochs)].swapaxes(0, 1)
        for result in (stored, again)
    ]
    return _compared(name, epochs, *common)


def _compared(
    name: str, epochs: np.ndarray | list[int], stored: np.ndarray, again: np.ndarray
) -> Iterator[Difference]:
    """Compare arrays whose first axis is the epoch."""
    if stored.shape != again.shape:
        yield Difference(int(epochs[0]), name, None, None)
        return
    differs = (_ordered(stored) != _ordered(again)).reshape(len(epochs), -1).any(axis=1)
    if differs.any():
        at = int(differs.argmax())
        relative = across_signs(stored[at], again[at])
        here = None if relative is not None else ulp_distance(stored[at], again[at])
        anywhere = None if across_signs(stored, again) is not None else ulp_distance(stored, again)
        yield Difference(int(epochs[at]), name, here, anywhere, relative)


def _convergence(epochs: np.ndarray, stored: np.ndarray, again: np.ndarray) -> Iterator[Difference]:
    """Compare epochs to convergence; the first that differs shows at the next recorded epoch."""
    if stored.shape != again.shape:
        yield Difference(int(epochs[-1]), "epochs_to_converge", None, None)
        return
    both = np.stack([stored, again])[:, stored != again]
    reached = both[both != NEVER]
    if both.size:
        at = min(np.searchsorted(epochs, reached.min()), len(epochs) - 1)
        yield Difference(int(epochs[at]), "epochs_to_converge", None, None)


def _other_epochs(stored: np.ndarray, again: np.ndarray) -> Iterator[Difference]:
    others = np.setxor1d(stored, again)
    if others.size:
        yield Difference(int(others[0]), "epochs", None, None)
