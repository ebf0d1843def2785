"""A pipeline that trains small networks by back-propagation and tracks when they learn XOR."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bp_pipeline.maps import load_map
    from bp_pipeline.report import load_sweep

__all__ = ["load_map", "load_sweep"]


def __getattr__(name: str) -> Any:
    """Load what a notebook wants only when it wants it, so that `import bp_pipeline` is quick."""
    if name == "load_map":
        from bp_pipeline.maps import load_map

        return load_map
    if name == "load_sweep":
        from bp_pipeline.report import load_sweep

        return load_sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
