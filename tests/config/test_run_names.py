"""Names of runs: the values that vary in their sweep."""

import pytest
from runs import make_config, raw_config

from bp_pipeline.config import RunConfig, parse_config
from bp_pipeline.config.run_names import run_names

ALONE, LR, HIDDEN = "tanh · glorot_uniform · lr=0.5", "lr=0.5", "hidden=[8] · "


def names(*configs: RunConfig) -> list[str]:
    return run_names(configs)


@pytest.mark.parametrize(
    ("changes", "options", "name"),
    [
        ({}, {}, "tanh · glorot_uniform · lr=0.5"),
        ({"optimizer.learning_rate": 2}, {"init": "ones"}, "tanh · ones · lr=2.0"),
        ({"network.hidden": [8]}, {"task": "parity"}, f"parity · {ALONE.replace(LR, HIDDEN + LR)}"),
        ({}, {"init": "uniform"}, "tanh · uniform · lr=0.5"),
        ({"init.bound": 1}, {"init": "uniform"}, "tanh · uniform · lr=0.5"),
        ({"init.bound": 2}, {"init": "uniform"}, "tanh · uniform · bound=2.0 · lr=0.5"),
        ({"seed": 3, "replicates": 5}, {}, f"{ALONE} · replicates=5 · seed=3"),
        ({"threads": 3, "engine": "numpy", "sweep.rerun": True}, {}, ALONE),
        ({"init.scale": 3}, {"init": "ones"}, "tanh · ones · scale=3.0 · lr=0.5"),
        ({}, {"loss": "squared_error"}, "tanh · glorot_uniform · squared_error · lr=0.5"),
    ],
)
def test_a_run_on_its_own_is_named_by_what_is_unusual(changes, options, name):
    assert names(make_config(changes, options)) == [name]


def test_a_run_with_an_option_of_ones_own_goes_by_its_label():
    raw = raw_config({"init.bound": 9}, {"init": "uniform"})
    assert names(parse_config(raw, {"init": "mine"})) == ["tanh · mine · lr=0.5"]


def test_what_varies_names_a_run():
    rates = [make_config({"optimizer.learning_rate": rate}) for rate in (0.01, 3, 30.0)]
    assert names(*rates) == ["lr=0.01", "lr=3.0", "lr=30.0"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"network.hidden": [3]}, {"network.hidden": [4, 3]}, ["hidden=[3]", "hidden=[4, 3]"]),
        ({"seed": 0}, {"seed": 1}, ["seed=0", "seed=1"]),
        ({"network.bias": True}, {"network.bias": False}, ["bias=True", "bias=False"]),
        ({"threads": 1}, {"threads": 2}, [ALONE, ALONE]),
        ({"engine": "numpy"}, {"engine": "compiled"}, [ALONE, ALONE]),
        ({"tracking.uri": "a"}, {"tracking.uri": "b"}, [ALONE, ALONE]),
    ],
)
def test_values_are_spelt_as_python_does_and_places_are_left_out(one, other, expected):
    assert names(make_config(one), make_config(other)) == expected


def test_groups_go_by_the_option_that_was_chosen():
    inits = ("uniform", "uniform_small", "ones")
    assert names(*(make_config(options={"init": init}) for init in inits)) == list(inits)


def test_what_varies_within_an_option_is_named_too():
    runs = [
        make_config(options={"init": "ones"}),
        make_config({"init.bound": 0.1}, {"init": "uniform"}),
        make_config({"init.bound": 2.0}, {"init": "uniform"}),
    ]
    assert names(*runs) == ["ones", "uniform · bound=0.1", "uniform · bound=2.0"]


def test_keys_that_only_some_options_have_name_no_run():
    runs = [make_config(options={"activation": name}) for name in ("relu", "leaky_relu")]
    assert names(*runs) == ["relu", "leaky_relu"]


def test_a_grid_is_named_by_its_axes_in_the_order_of_the_config():
    grid = [
        make_config({"optimizer.learning_rate": rate}, {"activation": activation})
        for activation in ("tanh", "relu")
        for rate in (0.1, 1.0)
    ]
    assert names(*grid) == ["tanh · lr=0.1", "tanh · lr=1.0", "relu · lr=0.1", "relu · lr=1.0"]


def test_a_long_value_is_named_by_its_beginning_and_its_digest():
    tables = [[[0.1 * i, 0.2 * i * seed] for i in range(9)] for seed in (1, 2)]
    targets = {"task.targets": [[0.0]] * 9}
    configs = [make_config({"task.inputs": t, **targets}, {"task": "table"}) for t in tables]
    names = run_names(configs)
    assert len({*names}) == 2
    assert max(map(len, names)) < 100
