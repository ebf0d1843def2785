"""What a map may be asked for, and every refusal before anything trains."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from some_maps import FACTOR_0, MOMENTUM, PLANE_U, RATE, SCALE, make_map

from bp_pipeline.config import ConfigError, compose
from bp_pipeline.config.keys import declared_keys
from bp_pipeline.maps.options import LAYER_FACTOR, MapConfig, compose_maps, zoomed

DECLARED = {
    key: info.json_schema_extra
    for key, info in declared_keys(MapConfig).items()
    if key.startswith("map.")
}


def asked(key: str, value: Any) -> dict[str, Any]:
    """Return the arguments of `make_map` that ask for this value."""
    _, side, *rest = key.split(".")
    if not rest:
        return {side: value}
    return {side: {**(RATE if side == "x" else SCALE), rest[0]: value}}


def refusal(**arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make_map(**arguments)
    return str(caught.value)


@pytest.mark.parametrize("key", DECLARED)
def test_what_a_declaration_calls_bad_is_refused_in_one_line(key):
    for value in (*DECLARED[key]["bad"], {"a": 1}, object()):
        message = refusal(**asked(key, value))
        assert re.fullmatch(rf"`{key}(\[\d\])?` must .+, got .+", message), message


@pytest.mark.parametrize("key", DECLARED)
def test_the_example_of_a_declaration_is_accepted(key):
    make_map(**asked(key, yaml.safe_load(DECLARED[key]["example"])))


NARROW = {**RATE, "low": 1.0, "high": 1.0000000000000002}
REFUSED = {
    "a key that cannot vary": ({"x": {**RATE, "key": "seed"}}, "map.x.key"),
    "a layer that is not there": ({"x": {**FACTOR_0, "key": f"{LAYER_FACTOR}2"}}, "map.x.key"),
    "one key twice": ({"y": RATE}, "map.y.key"),
    "nothing between the ends": ({"x": {**RATE, "high": 0.1}}, "map.x.high"),
    "the wrong way round": ({"x": {**RATE, "high": 0.01}}, "map.x.high"),
    "a logarithm of 0": ({"x": {**RATE, "low": 0.0}}, "map.x.low"),
    "a rate below 0": ({"x": {**RATE, "low": -99.0, "scale": "linear"}}, "map.x.low"),
    "a scale of 0": ({"y": {**SCALE, "low": -0.01, "high": 0.01, "scale": "linear"}}, "map.y.low"),
    "momentum of 1 and more": ({"y": {**MOMENTUM, "high": 1.2}}, "map.y.high"),
    "no room for doubles": ({"x": NARROW}, "map.x"),
    "a window without end": ({"x": {**PLANE_U, "low": -1e308, "high": 1e308}}, "map.x"),
    "more than memory holds": ({"resolution": 2**15, "changes": {"replicates": 10**6}},
                               "map.resolution"),
    "too few losses": ({"boundary": "loss_falls", "changes": {"training.epochs": 19}},
                       "training.epochs"),
    "a key of the run": ({"changes": {"optimizer.momentum": 2.0}}, "optimizer.momentum"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_house_form(name):
    arguments, key = REFUSED[name]
    lines = refusal(**arguments).splitlines()
    assert [re.match(r"`([^`]+)` must .+, got .+\.", line)[1] for line in lines] == [key]


def test_an_axis_may_begin_where_its_first_pixel_does_not():
    make_map(y={**MOMENTUM, "low": 0.0, "high": 1.0}, x={**RATE, "low": 0.0, "scale": "linear"})


def test_all_problems_are_told_at_once():
    message = refusal(x={**RATE, "key": "seed"}, y={**SCALE, "high": 0.0})
    assert [line.split("`")[1] for line in message.splitlines()] == ["map.x.key", "map.y.high"]


# -------------------------------------------------------------------------------- what it is


def test_a_map_can_be_read_back_from_its_file():
    config = make_map(resolution=(5, 4), boundary="diverged", plane_seed=7)
    again = MapConfig.model_validate(yaml.safe_load(config.to_yaml()))
    assert again == config
    assert again.config_digest == config.config_digest


def test_all_that_decides_a_map_decides_its_digest():
    changed = [
        make_map(),
        make_map({"seed": 1}),
        make_map(resolution=(24, 21)),
        make_map(x={**RATE, "low": 0.2}),
        make_map(y=MOMENTUM),
        make_map(plane_seed=1),
        make_map(boundary="diverged"),
    ]
    assert len({config.config_digest for config in changed}) == len(changed)
    assert make_map({"threads": 3}).config_digest == make_map().config_digest


def test_params_name_every_key_of_a_map():
    params = make_map(resolution=(5, 4)).params()
    assert params["map.x.key"] == RATE["key"]
    assert params["map.resolution"] == [5, 4]
    assert params["optimizer.momentum"] == 0.0


def windows(config: MapConfig) -> Iterator[MapConfig]:
    """Zoom around the eighth pixel of both sides until that is refused."""
    while True:
        yield config
        x, y = (axis.centres[7].item() for axis in config.map.axes())
        config = zoomed(config, x, y)


def test_zooming_ends_where_doubles_do():
    found = list[MapConfig]()
    with pytest.raises(ConfigError, match=r"`map\.[xy]` must have room"):
        found.extend(islice(windows(make_map()), 30))
    assert 10 < len(found) < 16
    first, second = (np.log(config.map.x.high / config.map.x.low) for config in found[:2])
    assert second == pytest.approx(first / 10)


# --------------------------------------------------------------------------------- what is typed

CONF = Path(__file__).resolve().parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "map").glob("*.yaml"))
STUDIES = ("trainability", "xor_basins")


def typed(*words: str) -> list[MapConfig]:
    return [job.config for job in compose_maps(words).jobs]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_shipped_option_makes_a_map(option):
    [config] = typed(f"map={option}", "map.resolution=[7,5]", "training.epochs=9")
    assert [axis.n_pixels for axis in config.map.axes()] == [7, 5]
    assert (config.labels["map"], config.training.epochs, config.replicates) == (option, 9, 1)


def test_without_a_word_the_rate_is_drawn_against_the_scale():
    [config] = typed()
    assert [axis.key for axis in config.map.axes()] == ["optimizer.learning_rate", "init.scale"]


def test_an_experiment_without_axes_needs_a_map():
    words = ("map.resolution=16", "map.x.low=3", "seed=1")
    for word in words:
        with pytest.raises(ConfigError, match="Add `map=learning_rate_by_scale`"):
            typed("experiment=article", word)
    [config] = typed("experiment=article", *words, "map=learning_rate_by_scale")
    assert (config.labels["init"], config.map.x.low, config.seed) == ("ones", 3, 1)


def test_a_sweep_over_maps_is_a_map_each():
    maps = "map=initial_weights,learning_rates_by_layer"
    configs = typed("-m", maps, "seed=1,2", "map.resolution=[7,5]")
    assert [config.map.resolution for config in configs] == 4 * [[7, 5]]
    drawn = [(config.labels["map"], config.seed) for config in configs]
    assert drawn == [(m, s) for m in ("initial_weights", "learning_rates_by_layer") for s in (1, 2)]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_may_sweep_over_maps(study):
    configs = typed(f"experiment={study}", "map.resolution=16")
    assert len({config.config_digest for config in configs}) == len(configs) > 1
    assert {config.map.resolution for config in configs} == {16}


def test_a_key_that_maps_lack_is_told_with_the_closest():
    with pytest.raises(ConfigError, match=r"`map\.resolutoin`.*`resolution`"):
        typed("map.resolutoin=3")


def test_a_run_has_no_axes():
    with pytest.raises(ConfigError, match="`map` must be left out"):
        compose(["map=initial_weights"])


def test_every_key_of_a_map_may_be_typed():
    examples = {key: declared["example"] for key, declared in DECLARED.items()}
    examples |= {"map.x.key": "plane.u", "map.y.key": "plane.v"}
    [config] = typed("map=learning_rates_by_layer", *map("=".join, examples.items()))
    params = config.params()
    assert {key: params[key] for key in examples} == {
        key: yaml.safe_load(text) for key, text in examples.items()
    }
