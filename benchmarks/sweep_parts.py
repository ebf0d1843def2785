"""Where the time of the default sweep goes: each of its parts on its own, one after the other.

Prints JSON: seconds of each part. Run it in an empty folder; it makes a store there. In a real
sweep training and recording overlap, so the parts add up to more than the whole.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

ARGUMENTS = ["experiment=xor_sweep"]
seconds: dict[str, float] = {}


@contextmanager
def part(name: str) -> Iterator[None]:
    """Note how long a part takes."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


with part("import Hydra, compose the jobs and check them"):
    from bp_pipeline.config import compose

    configs = [job.config for job in compose(ARGUMENTS).jobs]
with part("import everything else"):
    import mlflow  # noqa: F401

    from bp_pipeline.ensemble.engines import problem_with
    from bp_pipeline.ensemble.shards import train_runs
    from bp_pipeline.showcase import show_sweep
    from bp_pipeline.tracking import Tracker
with part("load the compiled engine"):
    problem_with("compiled")
with part("make and open the store"):
    tracker = Tracker.open(None, "bp_pipeline")
with part("train"):
    results = list(train_runs(configs))
with part("record"):
    parent = tracker.start_sweep("benchmark", [{} for _ in configs], "0" * 64)
    for index, result in results:
        tracker.record(
            configs[index], result, name=str(index), parent_run_id=parent, seconds=0.0,
            engine="compiled",
        )  # fmt: skip
with part("report"):
    show_sweep(tracker, parent)
print(json.dumps(seconds))
