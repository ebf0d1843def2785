"""The `.npz` format of weights: one array a layer, the network axis first.

Owns the names and shapes inside such a file, so that what one run logs another can start from.
Arrays of objects, which could name code to execute, are refused.
"""

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np


def layer_names(n_layers: int) -> list[str]:
    """Name the layers with weights, from the first hidden one: `layer_1`, `layer_2`, …."""
    return [f"layer_{number}" for number in range(1, n_layers + 1)]


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, uncompressed, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read named arrays.

    Raises
    ------
    ValueError
        Where there is no such file, or it holds anything but plain arrays; the text completes
        "must …".
    """
    if not Path(path).is_file():
        raise ValueError(f"be an existing .npz file, got {str(path)!r}.")
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        BadZipFile,
        zlib.error,
    ) as error:
        # NumPy advises to load it unsafely, as pickled objects, whatever is in it.
        problem = "it is none" if "pickle" in str(error) else error
        raise ValueError(
            f"be an .npz file of plain arrays, got {str(path)!r}: {problem}."
        ) from None
    others = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if others:
        problem = f"got {', '.join(others)} in {str(path)!r}"
        raise ValueError(f"be an .npz file of plain arrays, {problem}.")
    return arrays


def read_weights(path: str | Path, layer_sizes: Sequence[int], *, bias: bool) -> list[np.ndarray]:
    """Read initial weights for networks of these layer sizes.

    Returns
    -------
    list of arrays
        For each layer float64 weights of shape (n, fan_in + 1, fan_out), row 0 the bias unit's
        (no such row without bias units).

    Raises
    ------
    ValueError
        Where the file or the shapes in it do not fit; the text completes "must …".
    """
    modified = Path(path).stat().st_mtime_ns if Path(path).is_file() else 0
    return list(_read_weights(str(path), modified, tuple(layer_sizes), bias))


@lru_cache(maxsize=8)
def _read_weights(
    path: str, modified: int, layer_sizes: tuple[int, ...], bias: bool
) -> tuple[np.ndarray, ...]:
    arrays = read_arrays(path)
    names = layer_names(len(layer_sizes) - 1)
    if sorted(arrays) != sorted(names):
        raise ValueError(f"hold {', '.join(names)}, got {', '.join(sorted(arrays))} in {path!r}.")
    n_networks = len(arrays["layer_1"]) if arrays["layer_1"].ndim else 0
    for name, fan_in, fan_out in zip(names, layer_sizes[:-1], layer_sizes[1:], strict=True):
        expected = (n_networks, fan_in + bias, fan_out)
        if arrays[name].shape != expected or not n_networks:
            raise ValueError(
                f"hold {name} of shape (n, {fan_in + bias}, {fan_out}) with n >= 1, "
                f"got {arrays[name].shape} in {path!r}."
            )
        if arrays[name].dtype.kind not in "fiu" or not np.isfinite(arrays[name]).all():
            raise ValueError(f"hold finite numbers in {name}, got others in {path!r}.")
    return tuple(arrays[name].astype(np.float64) for name in names)
