"""The playground's equations are those of `bp explain`."""

import json
import subprocess
from typing import Any

from checker import HERE, NODE, needs_node
from commands import run_bp

from bp_pipeline.config.compose import compose_each
from bp_pipeline.playground.portable import portable_config

STEPS = [
    ("experiment=article", 0, 0, 0),
    ("experiment=article optimizer.momentum=0.9", 1, 3, 0),
    ("activation=tanh", 10, 2, 4),
    ("optimizer.layer_factors=[0.1,3] optimizer.momentum=0.5", 2, 1, 0),
    ("optimizer.layer_factors=[2,2] optimizer=online_gd", 2, 1, 0),
    ("activation=softplus init=normal loss.reduction=sum optimizer.momentum=0.5", 3, 1, 1),
    ("activation=leaky_relu network.hidden=[4,3] network.train_bias=false", 5, 3, 2),
    ("activation=relu init=he_normal network.bias=false loss=squared_error", 2, 1, 0),
    ("network.hidden=[12] optimizer=online_gd optimizer.learning_rate=1e-7", 1, 2, 0),
    ("task=table task.inputs=[[1e20,0]] task.targets=[[0,1]] activation=sigmoid", 1, 0, 0),
    ("network.hidden=[] task=and optimizer.learning_rate=1e300", 1, 0, 0),
]
Equations = dict[tuple[str, str], dict[str, Any]]


@needs_node
def test_equations_are_those_of_bp_explain() -> None:
    expected = [_explained(*step) for step in STEPS]
    assert _in_node(STEPS) == expected


def _in_node(steps: list[tuple[str, int, int, int]]) -> list[Equations]:
    configs = compose_each([overrides.split() for overrides, *_ in steps])
    asked = [
        {
            "config": portable_config(config),
            "epoch": epoch,
            "sample": sample,
            "replicate": replicate,
        }
        for config, (_, epoch, sample, replicate) in zip(configs, steps, strict=True)
    ]
    command = [NODE or "node", HERE / "equations_in_node.mjs"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [_by_name(equations) for equations in json.loads(done.stdout, parse_int=float)]


def _explained(overrides: str, epoch: int, sample: int, replicate: int) -> Equations:
    flags = f"--epoch {epoch} --sample {sample} --replicate {replicate} --format json".split()
    explained = run_bp("explain", *overrides.split(), *flags, cwd=HERE, code=0)
    document = json.loads(explained.stdout)
    return _by_name([e for section in document["sections"] for e in section["equations"]])


def _by_name(equations: list[dict[str, Any]]) -> Equations:
    return {(e["name"], e["formula"]): e for e in equations}
