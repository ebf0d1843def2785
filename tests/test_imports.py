"""Who imports whom: downwards in one direction, the core nobody, heavy packages late."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

import bp_pipeline

PACKAGE = Path(bp_pipeline.__file__).parent
CORE = {
    "elementary", "activations", "losses", "initializers", "network", "training",
    "lanes", "kinds", "equations", "kernel", "compiled",
}  # fmt: skip

COMPILED = {"lanes", "kinds", "compiled"}

# From the command line down to the mathematics; what has no place here serves one of these.
LAYERS = [
    {"core"},
    {"config"},
    {"tracking", "ensemble"},
    {"maps"},
    {"sweep", "report", "reproduce", "explain"},
    {"cli"},
]
HEIGHT = {unit: height for height, units in enumerate(LAYERS) for unit in units}


def imported_names(path: Path) -> set[str]:
    """List the modules a file imports anywhere, also inside of functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(unit: str) -> list[Path]:
    folder = PACKAGE / unit
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


# A unit is a module or a package right below bp_pipeline.
UNITS = sorted(
    {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
)
IMPORTS = {unit: set(chain(*map(imported_names, files_of(unit)))) for unit in UNITS}
UNIT_IMPORTS = {
    unit: {name.split(".")[1] for name in names if name.startswith("bp_pipeline.")} - {unit}
    for unit, names in IMPORTS.items()
}


def reachable(unit: str) -> set[str]:
    found, rest = set(), [unit]
    while rest:
        new = UNIT_IMPORTS[rest.pop()] - found
        found |= new
        rest += new
    return found


def test_the_mathematics_is_in_these_files():
    assert {path.stem for path in files_of("core")} == {*CORE, "__init__"}


def test_every_import_names_a_unit():
    assert set(chain(*UNIT_IMPORTS.values())) <= set(UNITS)


def test_nothing_imports_in_a_circle():
    assert set(TopologicalSorter(UNIT_IMPORTS).static_order()) == set(UNITS)


@pytest.mark.parametrize("unit", sorted(HEIGHT.keys() & set(UNITS)))
def test_imports_run_downwards(unit):
    above = {other for other in reachable(unit) if HEIGHT.get(other, 0) > HEIGHT[unit]}
    assert not above


def test_the_core_uses_numpy_and_numba_only():
    roots = {name.split(".")[0] for name in IMPORTS["core"]} - set(sys.stdlib_module_names)
    assert roots == {"bp_pipeline", "numpy", "numba", "llvmlite", "jaxtyping"}
    assert not UNIT_IMPORTS["core"]


def test_the_reference_engine_needs_no_numba():
    roots = {path.stem: {name.split(".")[0] for name in imported_names(path)}
             for path in files_of("core")}  # fmt: skip
    assert {name for name in roots if roots[name] & {"numba", "llvmlite"}} == COMPILED


def test_only_tracking_imports_mlflow():
    users = {unit for unit, names in IMPORTS.items() if any(
        name.split(".")[0] == "mlflow" for name in names)}  # fmt: skip
    assert users == {"tracking"}


def test_one_module_knows_what_mlflow_keeps_to_itself():
    users = {path.stem for path in files_of("tracking") if any(
        name.startswith("mlflow.store.") for name in imported_names(path))}  # fmt: skip
    assert users == {"store_tables"}


def test_nothing_private_of_others_is_imported():
    private = [name for name in chain(*IMPORTS.values()) if "._" in name.replace(".__", "")]
    assert not [name for name in private if not name.startswith("bp_pipeline.")]


def loaded_by(statement: str) -> set[str]:
    """List the top-level packages that are loaded after a statement, in a new process."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    return set(subprocess.check_output(command, env=environment, text=True).split())


CONFIG_AND_TRACKING = {"hydra", "omegaconf", "mlflow", "pandas"}


def test_importing_the_core_loads_neither_config_nor_tracking():
    modules = ", ".join(f"bp_pipeline.core.{name}" for name in sorted(CORE))
    loaded = loaded_by(f"import {modules}")
    assert "numba" in loaded
    assert not loaded & CONFIG_AND_TRACKING


def test_importing_the_config_loads_no_hydra():
    assert not loaded_by("import bp_pipeline.config") & {"hydra", "omegaconf", "numba"}


def test_importing_the_package_loads_next_to_nothing():
    assert not loaded_by("import bp_pipeline") & {*CONFIG_AND_TRACKING, "numpy", "numba"}


def test_what_the_package_offers_stands_in_its_dir():
    assert {"load_map", "load_sweep"} <= set(dir(bp_pipeline))
    assert not loaded_by("import bp_pipeline; dir(bp_pipeline)") & {"numpy", "pandas"}


@pytest.mark.parametrize("module", ["cli", "config", "ensemble.shards", "sweep"])
def test_slow_packages_are_imported_where_they_are_used(module):
    loaded = loaded_by(f"import bp_pipeline.{module}")
    assert not loaded & {"mlflow", "numba", "matplotlib"}
