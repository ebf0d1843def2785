"""The `.npz` format of weights: what is written is read back; what does not fit is refused."""

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bp_pipeline.arrays import layer_names, read_arrays, read_weights, write_arrays

SIZES = (2, 3, 1)


def layers(n: int = 4, *, bias: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"layer_1": (n, 2 + bias, 3), "layer_2": (n, 3 + bias, 1)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def refusal(path: str | Path, *, bias: bool = True) -> str:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read_weights(path, SIZES, bias=bias)
    return str(caught.value)


def test_layers_are_counted_from_the_first_hidden_one():
    assert layer_names(3) == ["layer_1", "layer_2", "layer_3"]


@pytest.mark.parametrize("bias", [True, False])
def test_what_is_written_is_read_back(tmp_path, bias):
    path = tmp_path / "new" / "folder" / "weights.npz"
    written = layers(bias=bias)
    write_arrays(path, written)
    for array, name in zip(read_weights(path, SIZES, bias=bias), layer_names(2), strict=True):
        np.testing.assert_array_equal(array, written[name])
    assert read_arrays(path).keys() == written.keys()


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, ">f8"])
def test_any_numbers_become_float64(tmp_path, dtype):
    path = tmp_path / "weights.npz"
    numbers = {name: np.round(np.abs(array) * 9).astype(dtype) for name, array in layers().items()}
    write_arrays(path, numbers)
    for array, name in zip(read_weights(path, SIZES, bias=True), layer_names(2), strict=True):
        assert array.dtype == np.dtype(np.float64)
        np.testing.assert_array_equal(array, numbers[name])


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "weights.npz"
    write_arrays(path, layers(4))
    assert len(read_weights(path, SIZES, bias=True)[0]) == 4
    write_arrays(path, layers(7))
    os.utime(path, ns=(1, 1))  # another time, however coarse the clock of the file system
    assert len(read_weights(path, SIZES, bias=True)[0]) == 7


def changed(**changes: Any) -> dict[str, np.ndarray]:
    arrays = {**layers(), **changes}
    return {name: array for name, array in arrays.items() if array is not None}


NOT_FITTING = {
    "another fan-in": (
        changed(layer_1=np.zeros((4, 4, 3))),
        "hold layer_1 of shape (n, 3, 3) with n >= 1, got (4, 4, 3) in PATH.",
    ),
    "no bias row": (
        changed(layer_1=np.zeros((4, 2, 3))),
        "hold layer_1 of shape (n, 3, 3) with n >= 1, got (4, 2, 3) in PATH.",
    ),
    "another number of networks": (
        changed(layer_2=np.zeros((5, 4, 1))),
        "hold layer_2 of shape (n, 4, 1) with n >= 1, got (5, 4, 1) in PATH.",
    ),
    "no networks": (
        changed(layer_1=np.zeros((0, 3, 3)), layer_2=np.zeros((0, 4, 1))),
        "hold layer_1 of shape (n, 3, 3) with n >= 1, got (0, 3, 3) in PATH.",
    ),
    "no axes": (
        changed(layer_1=np.array(1.0)),
        "hold layer_1 of shape (n, 3, 3) with n >= 1, got () in PATH.",
    ),
    "a layer missing": (changed(layer_2=None), "hold layer_1, layer_2, got layer_1 in PATH."),
    "a layer too many": (
        changed(layer_3=np.zeros(1)),
        "hold layer_1, layer_2, got layer_1, layer_2, layer_3 in PATH.",
    ),
    "not a number": (
        changed(layer_1=np.full((4, 3, 3), np.nan)),
        "hold finite numbers in layer_1, got others in PATH.",
    ),
    "infinite": (
        changed(layer_2=np.full((4, 4, 1), np.inf)),
        "hold finite numbers in layer_2, got others in PATH.",
    ),
    "complex": (
        changed(layer_1=np.zeros((4, 3, 3), dtype=complex)),
        "hold finite numbers in layer_1, got others in PATH.",
    ),
    "text": (
        changed(layer_1=np.full((4, 3, 3), "1.0")),
        "hold finite numbers in layer_1, got others in PATH.",
    ),
    "booleans": (
        changed(layer_1=np.zeros((4, 3, 3), dtype=bool)),
        "hold finite numbers in layer_1, got others in PATH.",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), NOT_FITTING.values(), ids=NOT_FITTING.keys())
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, message):
    path = tmp_path / "weights.npz"
    write_arrays(path, arrays)
    assert refusal(path) == message.replace("PATH", repr(str(path)))


@pytest.mark.parametrize("kind", ["missing", "folder", "empty name"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = {"missing": str(tmp_path / "missing.npz"), "folder": str(tmp_path), "empty name": ""}[
        kind
    ]
    assert refusal(path) == f"be an existing .npz file, got {path!r}."


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    assert refusal(path).startswith(f"be an .npz file of plain arrays, got {str(path)!r}: ")


def test_a_single_array_is_refused(tmp_path):
    path = tmp_path / "weights.npy"
    np.save(path, np.zeros((4, 3, 3)))
    assert refusal(path).startswith(f"be an .npz file of plain arrays, got {str(path)!r}")


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "weights.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("layer_1", "a text")
        archive.writestr("layer_2", "another")
    assert refusal(path) == (
        f"be an .npz file of plain arrays, got layer_1, layer_2 in {str(path)!r}."
    )


class Trap:
    """An object whose unpickling would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    path, mark = tmp_path / "weights.npz", tmp_path / "mark"
    array = np.empty((4, 3, 3), dtype=object)
    array[:] = Trap(mark)
    np.savez(path, layer_1=array, layer_2=layers()["layer_2"])
    assert re.match(r"be an \.npz file of plain arrays, got ", refusal(path))
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06junk", b"\x93NUMPY", b"\x80\x04."])
def test_nobody_is_advised_to_load_what_is_corrupt_unsafely(tmp_path, content):
    path = tmp_path / "curves.npz"
    path.write_bytes(content)
    message = refusal(path)
    assert "pickle" not in message
    assert "unsafe" not in message
