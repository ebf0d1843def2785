"""Train configs that come in as JSON, and write the digests of what came of them as JSON.

Runs in the Python of another processor, in which only what training needs can be imported. What is
trained, and what the digests are compared with, is decided in `architectures.py`.
"""

import json
import platform
import sys

import numpy as np

from bp_pipeline.config.schema import parse_config
from bp_pipeline.ensemble.engines import engine_in_use
from bp_pipeline.ensemble.shards import train_runs

configs = [parse_config(raw) for raw in json.load(sys.stdin)]
for engine in {config.engine for config in configs}:
    if engine_in_use(engine) != engine:
        sys.exit(f"engine={engine} cannot be used")
runs = {}
for index, result in train_runs(configs):
    if isinstance(result, Exception):
        raise result
    runs[configs[index].config_digest] = result.result_digest
made_with = (
    f"Python {platform.python_version()}, NumPy {np.__version__}, "
    f"{platform.machine()}, {sys.byteorder}-endian"
)
json.dump({"made_with": made_with, "runs": runs}, sys.stdout)
