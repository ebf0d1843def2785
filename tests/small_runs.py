"""Small runs and sweeps, and what records them where a test cares about little of it."""

from typing import Any

from runs import make_config

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import FrozenSweep, Writer

DIGEST = "5" * 64
JOBS = [{"name": "lr=5.0", "config_digest": "1" * 64}, {"name": "lr=1.0 · λ"}]
SMALL = {
    "engine": "numpy", "threads": 1, "replicates": 9, "optimizer.learning_rate": 5.0,
    "training.epochs": 200, "training.record": 12, "training.record_weights": 2,
}  # fmt: skip


def small_config(changes: dict[str, Any] | None = None, **options: str) -> RunConfig:
    """Return a small run on the readable engine."""
    return make_config({**SMALL, **(changes or {})}, {"init": "uniform", **options})


def start_sweep(writer: Writer, name: str = "two rates", digest: str = DIGEST) -> str:
    return writer.start_sweep(name, FrozenSweep(f"bp train -m {name}", digest, "c" * 64, JOBS))


def record(writer: Writer, config: RunConfig, result: RunResult, **how: Any) -> str:
    """Record a run; what a test does not care about is left to this."""
    chosen = {"name": "a", "sweep": None, "seconds": 0.0, "engine": "numpy", **how}
    return writer.record(config, result, **chosen)
