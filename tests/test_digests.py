"""Digests: what changes them, what does not, and the bytes that are hashed."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bp_pipeline import digests
from bp_pipeline.digests import code_digest, digest_arrays, digest_json

NANS = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001,
        0xFFFFFFFFFFFFFFFF]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_code_digest():
    code_digest.cache_clear()
    yield
    code_digest.cache_clear()


# ---------------------------------------------------------------------------------------- JSON


def test_json_is_hashed_in_its_canonical_form():
    text = r'{"a":[0.1,1e+300,true,null],"b":{"x":"\u00e9"}}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert digest_json({"b": {"x": "é"}, "a": [0.1, 1e300, True, None]}) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_order_of_keys_does_not_matter(mapping):
    assert digest_json(dict(reversed(mapping.items()))) == digest_json(mapping)


@settings(max_examples=30, deadline=None)
@given(json_values)
def test_json_survives_being_written_and_read(value):
    assert digest_json(json.loads(json.dumps(value))) == digest_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_holds_finite_numbers_only(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json({"x": value})


# -------------------------------------------------------------------------------------- arrays


def test_these_bytes_are_hashed():
    nan = float("nan")
    arrays = {"b": np.array([[1.5, -0.0], [nan, np.inf]]), "a": np.arange(3, dtype=np.int8)}
    layout = (
        b"a (3,) " + struct.pack("<3d", 0, 1, 2)
        + b"b (2, 2) " + struct.pack("<2dQd", 1.5, -0.0, 0x7FF8000000000000, np.inf)
    )  # fmt: skip
    assert digest_arrays(arrays) == hashlib.sha256(layout).hexdigest()


def test_every_nan_is_the_same():
    arrays = [np.array([1, bits, 2], dtype=np.uint64).view(np.float64) for bits in NANS]
    assert all(np.isnan(array[1]) for array in arrays)
    assert len({digest_arrays({"x": array}) for array in arrays}) == 1


def test_the_array_itself_keeps_its_nans():
    array = np.array(NANS, dtype=np.uint64).view(np.float64)
    digest_arrays({"x": array})
    assert array.view(np.uint64).tolist() == NANS


def test_layout_in_memory_does_not_matter():
    array = np.arange(24.0).reshape(4, 6)
    variants = [
        array,
        np.asfortranarray(array),
        array.astype(">f8"),
        np.repeat(array, 2, 1)[:, ::2],
    ]
    assert len({digest_arrays({"x": variant}) for variant in variants}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.array([1.0, np.nextafter(2, 3)])},
        {"x": np.array([2.0, 1.0])},
        {"x": np.array([[1.0, 2.0]])},
        {"y": np.array([1.0, 2.0])},
        {"x": np.array([1.0, 2.0]), "y": np.array([])},
        {"x": np.array([1.0]), "y": np.array([2.0])},
        {},
    ],
)
def test_values_shapes_and_names_matter(other):
    assert digest_arrays(other) != digest_arrays({"x": np.array([1.0, 2.0])})


def test_signs_of_zeros_matter():
    assert digest_arrays({"x": np.array([0.0])}) != digest_arrays({"x": np.array([-0.0])})


def test_long_arrays_are_hashed_as_short_ones_are(monkeypatch):
    array = np.arange(1000.0).reshape(10, 100)
    whole = digest_arrays({"x": array})
    monkeypatch.setattr(digests, "_CHUNK", 7)
    assert digest_arrays({"x": array}) == whole


# ---------------------------------------------------------------------------------------- code


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of core/ that is hashed instead."""
    for path in (Path(digests.__file__).parent / "core").glob("*.py"):
        (tmp_path / "core" / path.name).parent.mkdir(exist_ok=True)
        (tmp_path / "core" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(digests, "__file__", str(tmp_path / "digests.py"))
    return tmp_path / "core"


def test_a_copy_of_the_code_has_the_same_digest(core, monkeypatch):
    copied = code_digest()
    monkeypatch.undo()
    code_digest.cache_clear()
    assert code_digest() == copied


def test_line_endings_do_not_matter(core):
    before = code_digest()
    for path in core.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    code_digest.cache_clear()
    assert code_digest() == before


@pytest.mark.parametrize("change", ["comment", "move", "new file", "rename"])
def test_any_change_matters(core, change):
    before = code_digest()
    losses, network = core / "losses.py", core / "network.py"
    if change == "comment":
        losses.write_bytes(losses.read_bytes() + b"# a comment\n")
    elif change == "move":
        first, rest = network.read_bytes().split(b"\n", 1)
        losses.write_bytes(losses.read_bytes() + first + b"\n")
        network.write_bytes(rest)
    elif change == "new file":
        (core / "new.py").write_bytes(b"")
    else:
        losses.rename(core / "costs.py")
    code_digest.cache_clear()
    assert code_digest() != before
