"""The experiments of the study `article`: one change at a time, and what each of them learns."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bp_pipeline.config import RunConfig
from bp_pipeline.core import compiled
from bp_pipeline.ensemble.shards import train_runs
from experiments.making import configs_of

STEPS = ("article", "article_loss", "article_activation", "article_init")


@pytest.fixture(scope="module")
def configs() -> list[RunConfig]:
    return [configs_of(f"experiment={name}")[0] for name in STEPS]


@pytest.fixture(scope="module", autouse=True)
def one_kernel() -> Iterator[None]:
    """Train with the kernel of any run, since to compile four takes longer than to train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_WORTH_COMPILING", 1 << 62)
        yield


def decisive(config: RunConfig) -> dict[str, Any]:
    return {key: value for key, value in config.params().items() if key != "experiment"}


def test_each_step_corrects_one_thing(configs: list[RunConfig]) -> None:
    changed = []
    for before, after in pairwise(map(decisive, configs)):
        keys = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        changed.append({key.split(".")[0] for key in keys})
    assert changed == [{"loss", "network"}, {"activation"}, {"init"}]


def test_only_the_last_step_learns_xor(configs: list[RunConfig]) -> None:
    results = dict(train_runs(configs))
    converged = [int((results[index].outcome == "converged").sum()) for index in range(4)]
    assert converged == [0, 0, 0, 92]


def test_units_that_start_equal_stay_equal_to_the_last_bit(configs: list[RunConfig]) -> None:
    for _, result in train_runs(configs[:3]):
        hidden = result.final_weights["layer_1"]
        assert np.array_equal(hidden, np.broadcast_to(hidden[..., :1], hidden.shape))


def test_a_linear_network_gets_to_the_least_loss_it_can_have(configs: list[RunConfig]) -> None:
    [(_, result)] = train_runs(configs[:1])
    assert result.loss[0, 0] == 23.5
    assert 0.125 <= result.final_loss[0] < 0.1251
