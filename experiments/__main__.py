"""Make the studies anew and compare them with what is committed: `make studies`.

A study is made in an empty folder that has only its README.md, and all its files are compared with
the committed ones: exit code 1 where any differs, is new, or is no longer made. `--write` puts what
was made in their place instead. What a study asks and shows is in its own `study.py`; its baseline
is for `bp reproduce` to verify.
"""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import chdir
from difflib import unified_diff
from importlib import import_module
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from time import perf_counter

from bp_pipeline.arrays import read_arrays
from bp_pipeline.digests import digest_arrays

FOLDER = Path(__file__).parent
_NOT_MADE = (".py", ".json", ".yaml")  # the study, its baseline, what its source prints
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
    """Make one study, print what differs, and return whether its files are the committed ones."""
    committed, started = FOLDER / name, perf_counter()
    with TemporaryDirectory(prefix="bp_pipeline-") as scratch:
        made = make_anew(name, Path(scratch))
        compared = dict(differences(committed, made))
        verdict = "differs: " + ", ".join(compared) if compared else "same"
        print(f"{name}: {verdict} ({perf_counter() - started:.0f} s)", flush=True)
        for file in uncompared(committed, made):
            print(f"{name}: {file} was not compared: another version of Matplotlib drew it")
        if write:
            _replace(committed, made)
        else:
            print("".join(f"{line}\n" for lines in compared.values() for line in lines), end="")
    return not compared


def make_anew(name: str, scratch: Path) -> Path:
    """Make a study as if `scratch` were the project's folder, and return the folder it is in."""
    study = import_module(f"experiments.{name}.study")
    made = scratch / "experiments" / name
    made.mkdir(parents=True)
    copy(FOLDER / name / "README.md", made)
    with chdir(scratch):  # so that `init.path` names the weights that are made here
        study.make(made)
    return made


def differences(committed: Path, made: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the files that differ, arrays by their values, all others byte by byte, and how."""
    skipped = uncompared(committed, made)
    for file in sorted(files(committed) | files(made)):
        before, after = _content(committed / file), _content(made / file)
        if before != after and file not in skipped:
            yield file, _diff(before, after, file)


def uncompared(committed: Path, made: Path) -> list[str]:
    """Return the pictures drawn by different versions of Matplotlib, which draw unlike."""
    pictures = (".svg", ".png")
    both = sorted(file for file in files(committed) & files(made) if file.endswith(pictures))
    return [file for file in both if _drawn_by(committed / file) != _drawn_by(made / file)]


def files(folder: Path) -> set[str]:
    """Return the names of the files that a study makes."""
    paths = (path for path in folder.iterdir() if path.is_file())
    return {path.name for path in paths if path.suffix not in _NOT_MADE}


def _drawn_by(picture: Path) -> str:
    """Return the version of Matplotlib that a picture names."""
    found = re.search(rb"Matplotlib v([\d.]+\w*)", picture.read_bytes())
    return found[1].decode() if found else ""


def _replace(committed: Path, made: Path) -> None:
    """Leave in the committed folder what was made, and nothing that was not."""
    for file in files(committed) - files(made):
        (committed / file).unlink()
    for file in files(made):
        if _content(made / file) != _content(committed / file):
            copy(made / file, committed / file)


def _content(path: Path) -> bytes | None:
    """Return what must come out again; an archive's own bytes depend on the version of Python."""
    if not path.is_file():
        return None
    return digest_arrays(read_arrays(path)).encode() if path.suffix == ".npz" else path.read_bytes()


def _diff(before: bytes | None, after: bytes | None, name: str) -> list[str]:
    if before is None or after is None:
        return [f"{name} is new" if before is None else f"{name} is no longer made"]
    if name.endswith(".png"):
        return [f"{name} shows something else"]
    texts = [side.decode().splitlines() for side in (before, after)]
    lines = list(unified_diff(*texts, f"committed/{name}", f"made/{name}", lineterm="", n=0))
    rest = len(lines) - _MOST_LINES
    return [line[:200] for line in lines[:_MOST_LINES]] + [f"… {rest} more lines"] * (rest > 0)


if __name__ == "__main__":
    sys.exit(main())
