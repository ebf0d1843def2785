"""Python as other processors run it: roots with Debian's packages, and QEMU's emulators.

Owns the roots. A root is a folder with Debian's Python and NumPy for one processor, and the wheels
of what Debian lacks. Nothing is installed or started in it: the emulator of user programs runs its
Python with the root as the place of its libraries, so that chroot, binfmt_misc and an administrator
are only needed to install tools. What is run there is left to `architectures.py`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
SUITE = "forky"  # of Debian
PACKAGES = ("base-files", "python3-joblib", "python3-numpy", "python3-pydantic", "python3-yaml")
NOT_IN_DEBIAN = ("jaxtyping", "wadler-lindig")
COMPILER = ("llvmlite", "numba")  # Debian has others than are tested here
TOOLS = ("mmdebstrap", "qemu-user-static")  # packages
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bp_pipeline" / "roots"


class CannotEmulateError(Exception):
    """What is missing here; the text is the complete message."""


class Architecture(NamedTuple):
    """A kind of processor, and what can be trained on it.

    Attributes
    ----------
    name, libraries
        What Debian calls it, and its folder of libraries.
    emulator
        What QEMU calls it; "" is the processor of this machine, without emulation.
    engines
        Those that exist there.
    """

    name: str
    libraries: str
    emulator: str
    engines: tuple[str, ...] = ("numpy",)


def python_of(architecture: Architecture) -> list[str]:
    """Return the command that starts Python as on this architecture; make its root if need be.

    Raises
    ------
    CannotEmulateError
        Where a tool is missing and cannot be installed, or the root cannot be made.
    """
    if not architecture.emulator:
        return [sys.executable]
    emulator = find_emulator(architecture)
    root = root_of(architecture)
    libraries = root / "usr/lib" / architecture.libraries
    variables = {
        # Debian's own links to these two are made when a package is installed.
        "LD_LIBRARY_PATH": f"{libraries / 'blas'}:{libraries / 'lapack'}",
        "PYTHONPATH": f"{PROJECT / 'src'}:{root / 'site'}",
        "PYTHONPYCACHEPREFIX": root / "bytecode",
        "XDG_CACHE_HOME": root / "cache",
    }
    settings = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
    # Otherwise arm64's signatures of pointers are computed as specified, in 80 % of the time.
    cpu = ["-cpu", "max,pauth-impdef=on"] if architecture.emulator == "aarch64" else []
    return ["env", "-i", emulator, *cpu, "-L", str(root), *settings, str(root / "usr/bin/python3")]


def find_emulator(architecture: Architecture) -> str:
    """Return the path of the architecture's emulator, after installing what is missing."""
    names = f"qemu-{architecture.emulator}-static", f"qemu-{architecture.emulator}"
    for may_install in (True, False):
        found = next(filter(None, map(shutil.which, names)), None)
        if found and shutil.which("mmdebstrap"):
            return found
        if may_install and os.getuid() == 0 and shutil.which("apt-get"):
            run("apt-get", "update", "-qq")
            run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *TOOLS)
    raise CannotEmulateError(
        f"mmdebstrap and {names[0]} must be installed. As root: apt-get install {' '.join(TOOLS)}"
    )


def root_of(architecture: Architecture) -> Path:
    """Return the architecture's root; one that is missing or half made is made."""
    pins = pinned(NOT_IN_DEBIAN + (COMPILER if "compiled" in architecture.engines else ()))
    recipe = hashlib.sha256("\n".join((*PACKAGES, pins)).encode()).hexdigest()[:8]
    root = CACHE / f"{SUITE}-{architecture.name}-{recipe}"
    if not root.is_dir():
        print(f"Making a root for {architecture.name} in {CACHE}", file=sys.stderr)
        begun = root.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        begun.parent.mkdir(parents=True, exist_ok=True)
        unpack_packages(architecture, begun)
        unpack_wheels(architecture, pins, begun)
        begun.rename(root)
    return root


def unpack_packages(architecture: Architecture, root: Path) -> None:
    """Unpack Debian's packages, from where this machine has its own."""
    form = ["--format", "$(LABEL) $(SITE)", "Created-By: Packages"]
    listed = subprocess.run(["apt-get", "indextargets", *form], capture_output=True, text=True)
    mirrors = re.findall(r"^Debian (\S+)$", listed.stdout, re.MULTILINE)
    run(
        *("mmdebstrap", "--variant=extract", "--skip=chroot/mount"),
        *(f"--architectures={architecture.name}", f"--include={','.join(PACKAGES)}"),
        "--aptopt=Acquire::Check-Valid-Until false",  # a mirror may be a copy of some past day
        *(SUITE, str(root), *mirrors[:1]),
    )


def unpack_wheels(architecture: Architecture, pins: str, root: Path) -> None:
    """Unpack the wheels of these pins, for the root's version of Python."""
    requirements = root / "requirements.txt"
    requirements.write_text(pins, encoding="utf-8")
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    platform = f"manylinux_2_28_{architecture.emulator}"
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(root / "site")),
        *("--no-deps", "--only-binary=:all:", "--platform", platform, "--python-version", version),
        *("--require-hashes", "--requirement", str(requirements)),
    )


def pinned(packages: tuple[str, ...]) -> str:
    """Return the lines of requirements.txt that pin these packages."""
    text = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    return "".join(re.findall(rf"^(?:{'|'.join(packages)})==(?:.*\\\n)*.*\n", text, re.MULTILINE))


def run(*words: str) -> None:
    """Run a command, and show its output where it fails.

    Raises
    ------
    CannotEmulateError
        Where it fails.
    """
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise CannotEmulateError(f"{' '.join(words)}:\n{done.stdout.strip()}")
