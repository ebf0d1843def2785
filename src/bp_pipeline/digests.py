"""SHA-256 digests: what makes two results, two configs or two versions of the code "the same".

Owns the byte layout that is hashed. Which values decide a result is said by
`RunConfig.config_digest` and `RunResult.result_digest`, which call these functions.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

CANONICAL_NAN = np.uint64(0x7FF8000000000000)  # IEEE 754 leaves a NaN's sign and payload open
_CHUNK = 1 << 17  # float64 values hashed at a time, so that large arrays need no copy


def digest_json(value: Any) -> str:
    """Hash a value's canonical JSON: sorted keys, no spaces, shortest round-trip numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash named arrays, in the order of their names.

    Parameters
    ----------
    arrays
        Numbers of any shape.

    Returns
    -------
    str
        SHA-256 in hex over each array's name, shape and values: little-endian float64 in C
        order with every NaN as 0x7ff8000000000000.
    """
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.shape} ".encode())
        flat = np.ascontiguousarray(array).reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            sha.update(_canonical_bytes(flat[start : start + _CHUNK]))
    return sha.hexdigest()


def _canonical_bytes(values: np.ndarray) -> bytes:
    values = values.astype("<f8")
    values.view("<u8")[np.isnan(values)] = CANONICAL_NAN
    return values.tobytes()


@cache
def code_digest() -> str:
    """Hash the source of `core/`, the code that decides every bit of a result.

    Line endings are normalized, so that a checkout on another system has the same digest.
    """
    sha = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "core").glob("*.py")):
        source = path.read_bytes().replace(b"\r\n", b"\n")
        sha.update(f"{path.name} {len(source)} ".encode() + source)
    return sha.hexdigest()
