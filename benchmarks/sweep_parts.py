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

    from bp_pipeline.ensemble import train_runs
    from bp_pipeline.ensemble.engines import problem_with
    from bp_pipeline.report.publish import report_sweep
    from bp_pipeline.tracking import FrozenSweep, open_for_writing, trained_run
with part("load the compiled engine"):
    problem_with("compiled")
with part("make and open the store"):
    writer = open_for_writing(None, "bp_pipeline")
with part("train"):
    results = list(train_runs(configs))
with part("record"):
    digest = "0" * 64
    frozen = FrozenSweep(None, digest, digest, [{} for _ in configs])
    parent = writer.start_sweep("benchmark", frozen)
    runs = [
        trained_run(
            configs[index], result, name=str(index), sweep=(parent, digest), start_time=0,
            engine="compiled",
        )
        for index, result in results
    ]  # fmt: skip
    for first in range(0, len(runs), writer.n_at_once):
        writer.record_all(runs[first : first + writer.n_at_once])
with part("report"):
    report_sweep(writer, parent)
    writer.close()
print(json.dumps(seconds))
