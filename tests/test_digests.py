"""Digests: what changes them, what does not, and the bytes that are hashed."""

import compileall
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bp_pipeline import digests
from bp_pipeline.config.keys import conf_folder
from bp_pipeline.digests import code_digest, digest_arrays, digest_code, digest_json

NANS = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001,
        0xFFFFFFFFFFFFFFFF]  # fmt: skip


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

SOURCE = '''"""What it owns."""

LIMIT = 1.5  # of a kind
"""Where it is from."""


def add(x, y=f"{LIMIT!r} {'a'}"):
    """Add."""
    if x:
        return x + y
    return {"a": [1,
                  2]}
'''
SAID_ELSE = {
    "explained": ("# of a kind", "# of another"),
    "documented": ('"""Add."""', '"""Add two numbers.\n\n    Both."""'),
    "documented attribute": ('"""Where it is from."""', ""),
    "an empty line": ("\n    if x", "\n\n    if x"),
    "laid out": ("[1,\n                  2]", "[1, 2]"),
    "indented": ("        return x", "            return x"),
}
DOES_ELSE = {
    "a number": ("1.5", "1.25"),
    "a sum": ("x + y", "y + x"),
    "a string": ("{LIMIT!r} {", "{LIMIT!r}  {"),
    "a block": ("        return x", "        pass\n    return x"),
    "a statement": ('    """Add."""', '    """Add."""; x = y'),
}


def digest_edited(old: str, new: str) -> str:
    assert SOURCE.count(old) == 1
    return digest_code({"a": SOURCE.replace(old, new)})


@pytest.mark.parametrize("edit", SAID_ELSE.values(), ids=SAID_ELSE.keys())
def test_what_is_said_of_the_code_does_not_matter(edit):
    assert digest_edited(*edit) == digest_code({"a": SOURCE})


@pytest.mark.parametrize("edit", DOES_ELSE.values(), ids=DOES_ELSE.keys())
def test_what_it_does_matters(edit):
    assert digest_edited(*edit) != digest_code({"a": SOURCE})


def test_every_python_hashes_the_same():
    # Python 3.12 and later take f-strings apart.
    expected = "7176a7ee5d7067e65f08dbcc2e0ad92adc80d444afcba5b573829fbdbaed8fe6"
    assert digest_code({"a": SOURCE}) == expected


@pytest.mark.parametrize(
    "modules", [{"b": SOURCE}, {"a": SOURCE, "b": ""}, {"a": "", "b": SOURCE}, {"a": b"code"}]
)
def test_names_of_modules_matter(modules):
    assert digest_code(modules) != digest_code({"a": SOURCE})


REPORT = "from bp_pipeline.digests import code_changed, code_digest; print(code_digest())"


def run(code: str, path: Path, *options: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Copy the package to a path of its own."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(digests.__file__).parent, tmp_path / "bp_pipeline", ignore=ignore)
    return tmp_path


def test_a_process_speaks_of_the_code_that_it_loaded(copied):
    losses = copied / "bp_pipeline" / "core" / "losses.py"
    edit = f"""
from pathlib import Path
for text in ("# a comment", "SAFE = 1", "def"):
    with Path({str(losses)!r}).open("a") as file:
        print(text, file=file)
    print(code_changed(), code_digest())
"""
    digest, *rest = run(REPORT + edit, copied)
    assert digest == code_digest()
    assert rest == ["False", digest, "True", digest, "True", digest]


@pytest.mark.parametrize(("line", "times"), [("SAFE = 1.0", 1), ("# a comment", 0)])
def test_an_edit_while_a_command_trains_is_told(line, times, copied):
    losses = copied / "bp_pipeline" / "core" / "losses.py"
    shutil.copytree(conf_folder(), copied / "bp_pipeline" / "conf")
    code = f"""
from pathlib import Path
from bp_pipeline import digests
from bp_pipeline.cli import main
from bp_pipeline.core import losses
with Path({str(losses)!r}).open("a") as file:
    print({line!r}, file=file)
main()
"""
    environment = {**os.environ, "PYTHONPATH": str(copied)}
    words = ["train", "tracking=off", "engine=numpy", "replicates=2", "training.epochs=3"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "1 run, 2 networks" in done.stderr
    assert done.stderr.count("edited meanwhile") == times


@pytest.mark.parametrize("options", [("-OO",), ("-B",)])
def test_how_python_runs_does_not_matter(copied, options):
    assert run(REPORT, copied, *options) == [code_digest()]


def test_code_in_an_archive_is_hashed(copied):
    archive = shutil.make_archive(str(copied / "archive"), "zip", copied, "bp_pipeline")
    assert run(REPORT, Path(archive)) == [code_digest()]


def test_byte_code_alone_is_hashed(copied):
    compileall.compile_dir(copied, quiet=2, legacy=True)
    for path in copied.rglob("*.py"):
        path.unlink()
    (digest,) = run(REPORT, copied)
    assert digest != code_digest()
    assert run(REPORT, copied) == [digest]
