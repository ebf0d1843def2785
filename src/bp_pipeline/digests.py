"""SHA-256 digests: what makes two results, two configs or two versions of the code "the same".

Owns the byte layout that is hashed, and what of the code counts. Which values decide a result is
said by `RunConfig.config_digest` and `RunResult.result_digest`, which call these functions.
"""

import hashlib
import io
import json
import marshal
import pkgutil
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

_CORE = "bp_pipeline.core"  # read, not imported
_LAYOUT = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_FSTRING_START = getattr(tokenize, "FSTRING_START", None)  # from Python 3.12 on
_FSTRING_END = getattr(tokenize, "FSTRING_END", None)
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
    """Hash the code of `core/` that was loaded; it decides every bit of a result.

    The files are read when this module is imported, about when those of `core/` are, so what is
    edited while a process runs does not count. Nor do comments, docstrings and layout.
    """
    return digest_code(_LOADED)


def code_changed() -> bool:
    """Whether the code of `core/` on disk is no longer the one that was loaded."""
    try:
        now = _read_core()
        return now != _LOADED and digest_code(now) != code_digest()
    except (OSError, SyntaxError, tokenize.TokenError):  # as while it is being edited
        return True


def digest_code(modules: Mapping[str, str | bytes]) -> str:
    """Hash the tokens of some modules, in the order of their names.

    Parameters
    ----------
    modules
        Source by name; or byte code, of which every byte counts.
    """
    sha = hashlib.sha256()
    for name, code in sorted(modules.items()):
        content = code if isinstance(code, bytes) else "\n".join(_tokens(code)).encode()
        sha.update(f"{name} {len(content)} ".encode() + content)
    return sha.hexdigest()


def _read_core() -> dict[str, str | bytes]:
    """Read the modules from a folder or an archive.

    Byte code, which differs between Python versions, stands in where there is no source.
    """
    modules: dict[str, str | bytes] = {}
    spec = find_spec(_CORE)
    assert spec is not None
    for module in pkgutil.iter_modules(spec.submodule_search_locations, f"{_CORE}."):
        finder: Any = module.module_finder
        loader = finder.find_spec(module.name, None).loader
        source = loader.get_source(module.name)
        code = marshal.dumps(loader.get_code(module.name)) if source is None else source
        modules[module.name] = code
    return modules


_LOADED = _read_core()


def _tokens(source: str) -> Iterator[str]:
    """Yield what the source says: no comments, no docstrings, and of the layout what counts.

    A line of code that is nothing but strings is a docstring, wherever it stands.
    """
    line: list[tuple[int, str]] = []
    for kind, text in _python_tokens(source):
        if kind in (tokenize.COMMENT, tokenize.NL):
            continue
        line.append((kind, text))
        if kind in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if {kind for kind, _ in line} - _LAYOUT == {tokenize.STRING}:
                line = [part for part in line if part[0] in (tokenize.INDENT, tokenize.DEDENT)]
            yield from (tokenize.tok_name[k] if k in _LAYOUT else said for k, said in line)
            line = []


def _python_tokens(source: str) -> Iterator[tuple[int, str]]:
    """Yield kinds and texts; an f-string is one token, as it was before Python 3.12."""
    depth, start, lines = 0, (1, 0), source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == _FSTRING_START:
            start = start if depth else token.start
            depth += 1
        if depth == 0:
            yield token.type, token.string
        if token.type == _FSTRING_END:
            depth -= 1
            if depth == 0:
                (row, column), (last, end) = start, token.end
                text = "".join([*lines[row - 1 : last - 1], lines[last - 1][:end]])
                yield tokenize.STRING, text[column:]
