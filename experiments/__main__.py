"""Make the studies anew and compare them with what is committed: `make studies`.

A study is made in a copy of its folder, and every file of that copy compared with the committed
one: exit code 1 where any differs. `--write` puts the new files in their place instead. What a
study asks and shows is in its own `study.py`.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from importlib import import_module
from pathlib import Path
from shutil import copy, copytree
from tempfile import TemporaryDirectory
from time import perf_counter

from bp_pipeline.digests import digest_arrays
from bp_pipeline.weights_file import read_arrays

FOLDER = Path(__file__).parent
_MOST_LINES = 40  # of a difference; more than a screen helps nobody


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the studies named on the command line, all of them by default."""
    known = sorted(path.parent.name for path in FOLDER.glob("*/study.py"))
    parser = ArgumentParser(prog="make studies", description="Make studies anew and compare them.")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(known)}")
    parser.add_argument("--write", action="store_true", help="replace what is committed")
    chosen = parser.parse_args(arguments)
    for name in chosen.studies:
        if name not in known:
            parser.error(f"`STUDY` must be one of {', '.join(known)}, got {name!r}.")
    differ = [name for name in chosen.studies or known if not _is_same(name, write=chosen.write)]
    return int(bool(differ) and not chosen.write)


def _is_same(name: str, *, write: bool) -> bool:
    """Make one study, tell and show whether its files are those that are committed."""
    committed, started = FOLDER / name, perf_counter()
    with TemporaryDirectory(prefix="bp_pipeline-") as scratch:
        made = Path(scratch) / name
        copytree(committed, made)
        import_module(f"experiments.{name}.study").make(made)
        differences = dict(_differences(committed, made))
        verdict = "differs: " + ", ".join(differences) if differences else "same"
        print(f"{name}: {verdict} ({perf_counter() - started:.0f} s)", flush=True)
        for file, lines in differences.items():
            if write:
                copy(made / file, committed / file)
            else:
                print("\n".join(lines))
    return not differences


def _differences(committed: Path, made: Path) -> Iterator[tuple[str, list[str]]]:
    """Compare the files of two folders: arrays by their values, all others byte by byte."""
    for path in sorted(made.iterdir()):
        old = committed / path.name
        if not path.is_file() or not is_comparable(old):
            continue
        before, after = _content(old), _content(path)
        if before != after:
            yield path.name, _diff(before, after, path.name)


def _content(path: Path) -> bytes:
    """Read what must come out again; an archive's own bytes depend on the version of Python."""
    if not path.is_file():
        return b""
    return digest_arrays(read_arrays(path)).encode() if path.suffix == ".npz" else path.read_bytes()


def is_comparable(committed: Path) -> bool:
    """Tell whether a file is one that must come out here: not a picture by another Matplotlib."""
    if committed.suffix != ".svg" or not committed.is_file():
        return True
    from matplotlib import __version__

    return f"Matplotlib v{__version__}," in committed.read_text(encoding="utf-8")


def _diff(before: bytes, after: bytes, name: str) -> list[str]:
    texts = [side.decode().splitlines() for side in (before, after)]
    lines = list(unified_diff(*texts, f"committed/{name}", f"made/{name}", lineterm="", n=0))
    rest = len(lines) - _MOST_LINES
    return [line[:200] for line in lines[:_MOST_LINES]] + [f"… {rest} more lines"] * (rest > 0)


if __name__ == "__main__":
    sys.exit(main())
