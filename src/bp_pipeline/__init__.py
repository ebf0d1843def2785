"""A pipeline that trains small networks by back-propagation and tracks when they learn XOR."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bp_pipeline.maps import load_map
    from bp_pipeline.report import load_sweep
    from bp_pipeline.sweep import train

__all__ = ["load_map", "load_sweep", "train"]

_MODULES = {"load_map": "maps", "load_sweep": "report", "train": "sweep"}


def __getattr__(name: str) -> Any:
    """Load what a notebook wants only when it wants it, so that `import bp_pipeline` is quick."""
    if name in _MODULES:
        return getattr(import_module(f"bp_pipeline.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
