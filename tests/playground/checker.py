"""What the tests of the module share: to have Node check it against vectors."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import bp_pipeline.playground
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import digest_arrays
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.playground.portable import portable_config

HERE = Path(__file__).parent
MODULE = Path(bp_pipeline.playground.__file__).with_name("backprop.mjs").read_text("utf-8")
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node; Debian's is `nodejs`")


@cache
def conformance() -> dict[str, Any]:
    """Read the committed vectors."""
    return json.loads((HERE.parent / "conformance.json").read_text("utf-8"))


def failures(vectors: Mapping[str, Any], module: str = MODULE) -> list[str]:
    """Name the vectors that a module fails."""
    [found] = _in_node([module], vectors, all_of_them=True)
    return found


def first_failures(vectors: Mapping[str, Any], modules: Sequence[str]) -> list[list[str]]:
    """Name the first vector that each module fails, or none."""
    return _in_node(modules, vectors, all_of_them=False)


def _in_node(
    modules: Sequence[str], vectors: Mapping[str, Any], *, all_of_them: bool
) -> list[list[str]]:
    request = json.dumps({"modules": modules, "vectors": vectors, "all": all_of_them})
    done = subprocess.run(
        [NODE or "node", HERE / "in_node.mjs"], input=request, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def training_vectors(configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Train configs by the Python engines, as vectors for the checker."""
    results = dict(train_runs(configs))
    return {"trainings": [_vector(config, results[k]) for k, config in enumerate(configs)]}


def _vector(config: RunConfig, result: RunResult | Exception) -> dict[str, Any]:
    assert isinstance(result, RunResult), result
    digests = {name: digest_arrays({name: array}) for name, array in result.arrays.items()}
    digest = result.result_digest
    return {"config": portable_config(config), "arrays": digests, "result_digest": digest}
