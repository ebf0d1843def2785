"""What the page claims about a network is so."""

import itertools
import json
import subprocess
from typing import Any

import numpy as np
import pytest
from checker import HERE, NODE, needs_node
from runs import make_config
from scipy.optimize import linprog

from bp_pipeline.config.compose import compose_each
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.playground.portable import portable_config

ONES, IDENTITY = "init=ones", "activation=identity"
THREE_AND = (
    "task=table task.inputs=[[0,0,0],[0,1,1],[1,0,1],[1,1,1]] task.targets=[[0],[0],[0],[1]]"
)
TRIANGLE = "task=table task.inputs=[[0,0],[3,0],[0,3],[1,1]] task.targets=[[0],[0],[0],[1]]"

NAMES = [
    ("experiment=article", 0, ["linear", "equal", "regression"]),
    ("experiment=article_loss", 0, ["linear", "equal"]),
    ("experiment=article_activation", 3, ["equal"]),
    ("experiment=article_init", 0, ["unknown"]),
    ("network.hidden=[1]", 0, ["one-unit"]),
    ("network.hidden=[1] activation=identity", 0, ["linear"]),
    ("network.hidden=[1,1]", 0, ["one-unit"]),
    ("network.hidden=[1,3]", 0, ["unknown"]),
    ("network.hidden=[]", 0, ["linear"]),
    (f"network.hidden=[3,2] {ONES}", 2, ["equal"]),
    (f"task=and {IDENTITY} {ONES}", 0, ["separable"]),
    (f"task=xnor {IDENTITY}", 0, ["linear"]),
    (f"task=parity task.bits=4 {IDENTITY}", 0, ["linear"]),
    ("task=parity task.bits=4 network.hidden=[1]", 0, ["one-unit"]),
    (THREE_AND, 0, ["separable"]),
    (f"{TRIANGLE} {IDENTITY}", 0, ["linear"]),
    (f"{TRIANGLE} network.hidden=[1]", 0, ["unknown"]),
    ("optimizer.learning_rate=1e300 loss=squared_error network.output=identity", 9, ["diverged"]),
]  # fmt: skip


def reasons(asked: list[tuple[str, int]]) -> list[list[dict[str, Any]]]:
    configs = compose_each([text.split() for text, _ in asked])
    return reasons_of([(c, n_epochs) for c, (_, n_epochs) in zip(configs, asked, strict=True)])


def reasons_of(asked: list[tuple[RunConfig, int]]) -> list[list[dict[str, Any]]]:
    given = [{"config": portable_config(config), "epochs": n} for config, n in asked]
    command = [NODE or "node", HERE / "reasons_in_node.mjs"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_each_network_has_the_reasons_that_hold_for_it() -> None:
    found = reasons([(text, epochs) for text, epochs, _ in NAMES])
    told = [[reason["name"] for reason in each] for each in found]
    assert told == [names for _, _, names in NAMES]


@needs_node
def test_what_it_cannot_prove_stands_in_no_ones_way() -> None:
    [triangle], [unknown] = reasons([(f"{TRIANGLE} {IDENTITY}", 0), ("init=normal", 0)])
    assert {triangle["kind"], unknown["kind"]} == {"neutral"}


@needs_node
def test_a_table_is_called_easy_or_impossible_only_where_it_is() -> None:
    """Whatever the targets of five rows, beside the answer of a linear program."""
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0.5]])
    tables = list(itertools.product((0, 1), repeat=len(inputs)))
    options = {"task": "table", "activation": "identity"}
    configs = [
        make_config({"task.inputs": inputs.tolist(), "task.targets": [[y] for y in table]}, options)
        for table in tables
    ]
    every = reasons_of([(config, 0) for config in configs])
    for table, found in zip(tables, every, strict=True):
        [reason] = found
        assert (reason["name"] == "separable") == _is_separable(inputs, np.array(table))


def _is_separable(inputs: np.ndarray, targets: np.ndarray) -> bool:
    signs = np.where(targets == 1, 1.0, -1.0)
    rows = -signs[:, None] * np.column_stack([np.ones(len(inputs)), inputs])
    return linprog(np.zeros(3), rows, -np.ones(len(inputs)), bounds=(None, None)).status == 0


@needs_node
@pytest.mark.parametrize("corrected", ["experiment=article_init", "experiment=article_activation"])
def test_no_reason_is_given_for_what_converges(corrected: str) -> None:
    [found] = reasons([(corrected, 2000)])
    kinds = [reason["kind"] for reason in found]
    assert kinds == (["fine"] if corrected.endswith("init") else ["wrong"])
