"""The schema of a run: what it refuses and in which words, what goes to YAML and back, digests."""

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import CONF, DEFAULT_OPTIONS, make_config, raw_config

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.config import ConfigError, RunConfig, parse_config
from bp_pipeline.config.errors import closest, suggest
from bp_pipeline.config.schema import KEYS, GivenWeights
from bp_pipeline.core.activations import ACTIVATIONS

NAN, INF = math.nan, math.inf
XOR_ROWS = "[[0,0],[0,1],[1,0],[1,1]]"


def refusal(changes: dict[str, Any] | None = None, options: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        make_config(changes, options)
    return str(caught.value)


# --------------------------------------------------------------------------------- bad values

# An option that has the key, where the default one has not.
HOMES = {
    "task.bits": "parity", "task.inputs": "table", "task.targets": "table",
    "activation.slope": "leaky_relu", "init.bound": "uniform", "init.std": "normal",
    "init.value": "constant", "init.noise": "constant", "init.path": "given",
    "cluster.scheduler": "dask", "cluster.workers": "dask",
}  # fmt: skip
DECLARED = {key: info.json_schema_extra for key, info in KEYS.items() if info.json_schema_extra}
LOCATED = r"`{}(\[\d+\])*` must (.+), got .+\.( Try `{}={}`\.)?"


def home(key: str) -> dict[str, str]:
    return {key.split(".")[0]: HOMES[key]} if key in HOMES else {}


def test_every_key_is_declared() -> None:
    assert {key for key in KEYS if key not in DECLARED} == {
        f"{group}.name"
        for group in ("task", "activation", "init", "loss", "optimizer", "tracking", "cluster")
    }


@pytest.mark.parametrize("key", DECLARED)
def test_what_a_declaration_calls_bad_is_refused_in_one_line(key: str) -> None:
    example = re.escape(DECLARED[key]["example"])
    for value in (*DECLARED[key]["bad"], {"a": 1}, [[]], object()):
        message = refusal({key: value}, home(key))
        assert re.fullmatch(LOCATED.format(key, key, example), message), message


@pytest.mark.parametrize("key", sorted(set(DECLARED) - {"init.path"}))
def test_the_example_of_a_declaration_is_accepted(key: str) -> None:
    make_config({key: yaml.safe_load(DECLARED[key]["example"])}, home(key))


EDGES = {
    "training.epochs": (0, 2**53), "training.tolerance": (5e-324, 0.5), "training.record": (2,),
    "training.record_weights": (0,), "optimizer.momentum": (0, 0.9999999999999999),
    "optimizer.learning_rate": (5e-324,), "replicates": (1,), "seed": (0, 2**63 - 1),
    "threads": (1, None), "task.bits": (2, 10), "activation.slope": (0,), "init.noise": (0,),
    "init.value": (0, -1e308), "init.bound": (5e-324,), "init.std": (5e-324,),
    "init.scale": (5e-324,), "init.variance_factor": (5e-324,), "network.hidden": ([], [1]),
    "optimizer.layer_factors": (None, [5e-324, 1]), "tracking.experiment": ("x",),
    "tracking.uri": (None, ""),
}  # fmt: skip


@pytest.mark.parametrize("key", EDGES)
def test_the_ends_of_a_range_belong_to_it(key: str) -> None:
    for value in EDGES[key]:
        assert make_config({key: value}, home(key)).params()[key] == value


# What a declaration cannot say: the words of each kind of rule.
BAD_VALUES = [
    ("optimizer.learning_rate", -0.1, "be > 0", "0.5"),
    ("optimizer.learning_rate", NAN, "be finite", "0.5"),
    ("optimizer.learning_rate", "fast", "be a number", "0.5"),
    ("optimizer.momentum", 1, "be < 1", "0.9"),
    ("optimizer.name", "adam", "be 'batch_gd' or 'online_gd'", None),
    ("training.epochs", -1, "be >= 0", "2000"),
    ("training.epochs", 10.0, "be an integer", "2000"),
    ("training.epochs", 2**53 + 1, "be <= 9007199254740992", "2000"),
    ("training.tolerance", 0.51, "be <= 0.5", "0.4"),
    ("training.stop_when_converged", 1, "be true or false", "true"),
    ("network.hidden", 3, "be a list", "[3]"),
    ("network.output", "softmax", f"be one of {', '.join(ACTIVATIONS)}", "sigmoid"),
    ("network.output", True, "be text", "sigmoid"),
    ("activation.name", "tahn", f"be one of {', '.join(ACTIVATIONS)}", None),
    ("loss.name", "hinge", "be one of logistic, squared_error", None),
    ("init.fan", "both", "be 'in', 'out' or 'average'", "in"),
    ("tracking.experiment", "", "have at least 1 character", "bp_pipeline"),
    ("tracking.uri", 5000, "be text", "FILE.db"),
    ("network", None, "be a group of keys", None),
    ("sweep", 3, "be a group of keys", None),
    ("task", "xor", "be a group of keys", None),
    ("labels", 3, "be a group of keys", None),
    ("optimizer.nesterov", True, "be left out, there is no such key", None),
    ("momentum", 0.9, "be left out, there is no such key", None),
    ("task.bits", 3, "be left out, there is no such key", None),
    ("init.bound", 1.0, "be left out, there is no such key", None),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "rule", "example"), BAD_VALUES)
def test_a_bad_value_is_refused_in_these_words(key, value, rule, example):
    advice = f" Try `{key}={example}`." if example else ""
    assert refusal({key: value}) == f"`{key}` must {rule}, got {value!r}.{advice}"


@pytest.mark.parametrize(
    ("hidden", "place", "rule"),
    [
        ([0], 0, "be >= 1, got 0"),
        ([3, -1], 1, "be >= 1, got -1"),
        ([3.0], 0, "be an integer, got 3.0"),
        ([True], 0, "be an integer, got True"),
        ([3, [4]], 1, "be an integer, got [4]"),
    ],
)
def test_a_bad_width_is_named_by_its_place(hidden, place, rule):
    message = f"`network.hidden[{place}]` must {rule}. Try `network.hidden=[3]`."
    assert refusal({"network.hidden": hidden}) == message


@pytest.mark.parametrize(
    ("inputs", "place", "rule"),
    [
        ([[0], []], "[1]", "have at least 1 entry, got []"),
        ([0, [1]], "[0]", "be a list, got 0"),
        ([[0], [NAN]], "[1][0]", "be finite, got nan"),
        ([[0, -INF], [1, 1]], "[0][1]", "be finite, got -inf"),
        ([[0], ["1"]], "[1][0]", "be a number, got '1'"),
        ([[False], [1]], "[0][0]", "be a number, got False"),
    ],
)
def test_a_bad_number_in_a_table_is_named_by_its_place(inputs, place, rule):
    changes = {"task.inputs": inputs, "task.targets": [[0], [1]]}
    message = f"`task.inputs{place}` must {rule}. Try `task.inputs={XOR_ROWS}`."
    assert refusal(changes, {"task": "table"}) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task.inputs": [[0], [1, 2]], "task.targets": [[0], [1]]},
            "`task.inputs` must have rows of one length, got [[0.0], [1.0, 2.0]].",
        ),
        (
            {"task.targets": [[0], [1, 0], [1], [0]]},
            "`task.targets` must have rows of one length, got [[0.0], [1.0, 0.0], [1.0], [0.0]].",
        ),
        (
            {"task.targets": [[0], [1]]},
            "`task.targets` must have one row for each of the 4 rows of `task.inputs`, got 2.",
        ),
    ],
)
def test_tables_are_rectangular(changes, message):
    assert refusal(changes, {"task": "table"}) == message


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("task", "'xor', 'and', 'or', 'nand', 'nor', 'xnor', 'parity', 'table'"),
        ("init", "'constant', 'uniform', 'normal', 'variance_scaling', 'given'"),
    ],
)
@pytest.mark.parametrize("value", ["xro", "", NAN, None, True, 3])
def test_an_unknown_kind_is_answered_with_those_there_are(group, names, value):
    message = f"`{group}.name` must be one of {names}, got {value!r}."
    assert refusal({f"{group}.name": value}) == message


@pytest.mark.parametrize("key", ["task.name", "init.name", "activation.name", "seed", "network",
                                 "optimizer.momentum", "init.bias"])  # fmt: skip
def test_what_is_missing_must_be_given(key):
    raw = raw_config()
    *groups, name = key.split(".")
    del (raw[groups[0]] if groups else raw)[name]
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    try_ = f"Try `{key}={DECLARED[key]['example']}`." if key in DECLARED else f"Set `{key}=VALUE`."
    assert str(caught.value) == f"`{key}` must be given. {try_}"


def test_all_problems_are_said_at_once_one_a_line():
    changes = {"optimizer.learning_rate": -1, "training.epochs": 1.5, "network.hidden": [0, 3, 0]}
    assert refusal(changes).splitlines() == [
        "`network.hidden[0]` must be >= 1, got 0. Try `network.hidden=[3]`.",
        "`network.hidden[2]` must be >= 1, got 0. Try `network.hidden=[3]`.",
        "`optimizer.learning_rate` must be > 0, got -1. Try `optimizer.learning_rate=0.5`.",
        "`training.epochs` must be an integer, got 1.5. Try `training.epochs=2000`.",
    ]


def _keys(tree: dict[str, Any], prefix: str = "") -> list[str]:
    nested = [_keys(v, f"{prefix}{k}.") if isinstance(v, dict) else [prefix + k]
              for k, v in tree.items()]  # fmt: skip
    return [key for keys in nested for key in keys]


# ----------------------------------------------------------------------- what goes together


def test_logistic_needs_a_sigmoid_output():
    assert refusal({"network.output": "identity"}) == (
        "`network.output` must be sigmoid for `loss=logistic`, got 'identity'. "
        "Use `network.output=sigmoid` or `loss=squared_error`."
    )
    make_config({"network.output": "identity"}, {"loss": "squared_error"})


@pytest.mark.parametrize("target", [2, -0.1])
def test_logistic_needs_targets_that_are_probabilities(target):
    changes = {"task.inputs": [[0], [1]], "task.targets": [[0], [target]]}
    assert refusal(changes, {"task": "table"}) == (
        f"`task.targets` must lie in 0 … 1 for `loss=logistic`, got [[0.0], [{float(target)}]]. "
        "Use `loss=squared_error network.output=identity`."
    )
    make_config(changes, {"task": "table", "loss": "squared_error"})


@pytest.mark.parametrize(
    ("option", "slope", "spelt"), [("leaky_relu", None, "None"), ("tanh", 0.1, "0.1")]
)
def test_slope_belongs_to_leaky_relu(option, slope, spelt):
    assert refusal({"activation.slope": slope}, {"activation": option}) == (
        f"`activation.slope` must be given for leaky_relu, and only for it, got {spelt} "
        f"with {option}."
    )


def test_a_run_has_no_axes_of_a_map():
    assert "`bp map`" in refusal({"map": {"x": {"key": "seed"}}})


def test_a_slope_that_is_given_is_the_one_that_is_trained_with():
    for slope in (0.3, 0):
        assert make_config({"activation.slope": slope}, {"activation": "leaky_relu"}).slope == slope


# ------------------------------------------------------------------------------ given weights


@pytest.fixture
def given_weights(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "weights.npz"
    arrays = {"layer_1": rng.normal(size=(7, 3, 3)), "layer_2": rng.normal(size=(7, 4, 1))}
    write_arrays(path, arrays)
    return path


def given_config(path: Path, changes: dict[str, Any] | None = None) -> RunConfig:
    return make_config({"init.path": str(path), **(changes or {})}, {"init": "given"})


def test_given_weights_count_the_replicates(given_weights):
    assert given_config(given_weights).replicates == 7
    assert given_config(given_weights, {"replicates": 3}).replicates == 7


def test_given_weights_of_one_layer_count_the_replicates_too(tmp_path):
    write_arrays(tmp_path / "weights.npz", {"layer_1": np.ones((5, 3, 1))})
    assert given_config(tmp_path / "weights.npz", {"network.hidden": []}).replicates == 5


def test_given_weights_are_hashed_by_content(given_weights, tmp_path):
    copy = tmp_path / "folder" / "copy.npz"
    arrays = read_arrays(given_weights)
    write_arrays(copy, arrays)
    digest = given_config(given_weights).config_digest
    assert given_config(copy).config_digest == digest
    arrays["layer_2"][0, 0, 0] = np.nextafter(arrays["layer_2"][0, 0, 0], 1)
    write_arrays(tmp_path / "other.npz", arrays)
    assert given_config(tmp_path / "other.npz").config_digest != digest


def test_given_weights_are_read_once(given_weights, tmp_path):
    config = given_config(given_weights)
    digest, first = config.config_digest, config.given_weights[0].copy()
    write_arrays(given_weights, {"layer_1": np.zeros((1, 3, 3)), "layer_2": np.zeros((1, 4, 1))})
    copy = config.model_copy(update={"threads": None})
    given_weights.unlink()
    np.testing.assert_array_equal(config.given_weights[0], first)
    assert config == copy == pickle.loads(pickle.dumps(config))
    assert copy.model_copy(deep=True).config_digest == digest
    with pytest.raises(ValueError, match="read-only"):
        config.given_weights[0][:] = 0


def test_given_weights_are_a_value_that_their_digest_names():
    one, other = (GivenWeights((np.full(2, number),), "a digest") for number in (0.0, 1.0))
    assert one == other != GivenWeights(one.layers, "another")
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)


def test_a_run_of_the_past_is_told_where_its_weights_are(given_weights, tmp_path):
    config = given_config(given_weights)
    own = given_weights.rename(tmp_path / "initial.npz")
    back = parse_config(yaml.safe_load(config.to_yaml()), given_weights=own)
    assert back == config
    assert back.config_digest == config.config_digest
    assert back.init.path == str(given_weights)
    with pytest.raises(ConfigError, match=r"`init\.path`"):
        parse_config(yaml.safe_load(config.to_yaml()))


def test_given_weights_must_be_there(tmp_path):
    path = str(tmp_path / "missing.npz")
    message = f"`init.path` must be an existing .npz file, got {path!r}."
    assert refusal({"init.path": path}, {"init": "given"}) == message


def test_given_weights_must_fit(given_weights):
    changes = {"init.path": str(given_weights), "network.hidden": [4]}
    assert refusal(changes, {"init": "given"}) == (
        "`init.path` must hold layer_1 of shape (n, 3, 4) with n >= 1, "
        f"got (7, 3, 3) in {str(given_weights)!r}."
    )


def test_given_weights_must_not_be_pickled(tmp_path):
    path = tmp_path / "pickled.npz"
    np.savez(path, layer_1=np.array([{}]), layer_2=np.array([{}]))
    message = refusal({"init.path": str(path)}, {"init": "given"})
    assert message.startswith(
        f"`init.path` must be an .npz file of plain arrays, got {str(path)!r}"
    )
    assert message.count("\n") == 0


# -------------------------------------------------------------------------- to YAML and back

OPTIONS = [(folder.name, path.stem) for folder in sorted(CONF.iterdir()) if folder.is_dir()
           for path in sorted(folder.glob("*.yaml"))
           if folder.name in DEFAULT_OPTIONS and path.stem != "given"]  # fmt: skip


def there_and_back(config: RunConfig) -> RunConfig:
    return parse_config(yaml.safe_load(config.to_yaml()))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_yaml_gives_an_equal_config(group, option):
    config = make_config(options={group: option})
    back = there_and_back(config)
    assert back == config
    assert back.config_digest == config.config_digest
    assert back.params() == config.params()


positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
CHANGES = st.fixed_dictionaries(
    {
        "optimizer.learning_rate": positive,
        "optimizer.momentum": st.floats(0, 1, exclude_max=True),
        "training.tolerance": st.floats(0, 0.5, exclude_min=True),
        "training.epochs": st.integers(0, 2**53),
        "init.variance_factor": positive,
        "init.scale": positive,
        "optimizer.layer_factors": st.none(),
        "seed": st.integers(0, 2**63 - 1),
        "network.hidden": st.lists(st.integers(1, 9), max_size=4),
        "network.bias": st.booleans(),
        "threads": st.none() | st.integers(1, 9),
        "tracking.experiment": st.text(min_size=1),
        "tracking.uri": st.none() | st.text(),
    }
)


@settings(max_examples=30, deadline=None)
@given(CHANGES)
def test_yaml_keeps_every_value(changes):
    config = make_config(changes)
    back = there_and_back(config)
    assert back == config
    assert back.config_digest == config.config_digest


def test_yaml_keeps_labels(tmp_path):
    config = make_config(options={"init": "uniform_small"})
    assert there_and_back(config).labels["init"] == "uniform_small"


def test_yaml_has_all_keys_in_their_order_but_those_that_are_null():
    config = make_config()
    given = {key: value for key, value in config.params().items() if key not in config.labels}
    written = yaml.safe_load(config.to_yaml())
    del written["labels"]
    assert _keys(written) == [key for key, value in given.items() if value is not None]


def test_without_labels_options_go_by_their_names():
    config = parse_config(raw_config(options={"init": "uniform_small"}))
    assert config.labels["init"] == "uniform"


def test_params_are_all_keys_dotted_and_groups_their_options():
    params = make_config({"network.hidden": [4, 3]}, {"init": "uniform_small"}).params()
    assert params["init"] == "uniform_small"
    assert params["activation"] == "tanh"
    assert str(params["network.hidden"]) == "[4, 3]"
    assert set(_keys(raw_config(options={"init": "uniform_small"}))) <= set(params)
    assert not any(key.startswith("labels") for key in params)


# ------------------------------------------------------------------------------------ digests

DECISIVE = {
    "network.hidden": [4], "network.bias": False, "network.train_bias": False,
    "loss.reduction": "sum", "optimizer.learning_rate": 0.25, "optimizer.momentum": 0.5,
    "training.epochs": 1999, "training.tolerance": 0.3, "training.stop_when_converged": True,
    "training.record": 59, "training.record_weights": 3, "replicates": 99, "seed": 1,
    "init.scale": 2.0, "init.variance_factor": 2.0, "optimizer.layer_factors": [1, 2],
    "init.bias": "same", "init.fan": "in", "init.distribution": "normal",
}  # fmt: skip
DECISIVE_OPTIONS = {
    "task": "and", "activation": "relu", "init": "he_normal", "loss": "squared_error",
    "optimizer": "online_gd",
}  # fmt: skip
INDIFFERENT = {
    "engine": "compiled", "threads": 2, "tracking.experiment": "other", "tracking.uri": "x",
    "cluster.scheduler": "tcp://HOST:8786", "cluster.workers": 2, "sweep.rerun": True,
}  # fmt: skip


def test_every_decisive_key_changes_the_digest():
    configs = [make_config(), *(make_config({key: value}) for key, value in DECISIVE.items()),
               *(make_config(options=dict([option])) for option in DECISIVE_OPTIONS.items()),
               make_config({"network.output": "tanh"}, {"loss": "squared_error"}),
               make_config({"activation.slope": 0.1}, {"activation": "leaky_relu"}),
               make_config(options={"activation": "leaky_relu"})]  # fmt: skip
    assert len({config.config_digest for config in configs}) == len(configs)


def test_every_key_is_either_decisive_or_indifferent():
    keys = set(_keys(raw_config()))
    names = {f"{group}.name" for group in [*DECISIVE_OPTIONS, "tracking", "cluster"]}
    assert keys == {*DECISIVE, *INDIFFERENT, *names, "network.output"}


@pytest.mark.parametrize("start", ["numpy", "compiled"])
def test_place_and_engine_do_not_change_the_digest(start):
    digest = make_config({"engine": start}).config_digest
    for key, value in INDIFFERENT.items():
        assert make_config({"engine": start, key: value}, home(key)).config_digest == digest
    assert make_config(options={"tracking": "off"}).config_digest == digest


def test_labels_do_not_change_the_digest():
    changed = make_config({"init.bound": 0.1}, {"init": "uniform"})
    assert changed.config_digest == make_config(options={"init": "uniform_small"}).config_digest


def test_factors_of_one_leave_no_trace_in_a_digest():
    digest = make_config().config_digest
    for changes in ({"optimizer.layer_factors": [1, 1.0]}, {"init.scale": 1}):
        assert make_config(changes).config_digest == digest


def test_layers_have_a_factor_each():
    assert make_config().layer_factors == (1, 1)
    assert make_config({"network.hidden": []}).layer_factors == (1,)
    assert make_config({"optimizer.layer_factors": [2, 3]}).layer_factors == (2, 3)
    assert refusal({"optimizer.layer_factors": [2.0], "network.hidden": [4, 3]}) == (
        "`optimizer.layer_factors` must have one number for each of the 3 layers with weights, "
        "got [2.0]. Try `optimizer.layer_factors=[1, 1, 1]`."
    )
    assert refusal({"optimizer.layer_factors": [1, 0]}) == (
        "`optimizer.layer_factors[1]` must be > 0, got 0. Try `optimizer.layer_factors=null`."
    )


@pytest.mark.parametrize("option", ["ones", "uniform", "normal", "he_normal"])
def test_every_init_has_a_scale(option):
    config = make_config({"init.scale": 3}, {"init": option})
    assert config.init_scale == 3
    assert "scale" not in config.initializer or option == "he_normal"
    assert config.initializer == make_config(options={"init": option}).initializer


def test_files_of_when_the_variance_factor_was_called_scale_are_read():
    raw = raw_config(options={"init": "he_normal"})
    old = {**raw["init"], "scale": raw["init"]["variance_factor"]}
    del old["variance_factor"]
    assert parse_config({**raw, "init": old}) == parse_config(raw)


def test_the_rows_of_a_task_are_hashed_not_its_name():
    xor = make_config().config_digest
    assert make_config({"task.bits": 2}, {"task": "parity"}).config_digest == xor
    assert make_config(options={"task": "table"}).config_digest == xor  # holds the rows of xor


@pytest.mark.parametrize(
    ("key", "integer", "options"),
    [
        ("optimizer.learning_rate", 1, {}),
        ("optimizer.momentum", 0, {}),
        ("init.scale", 2, {}),
        ("init.variance_factor", 2, {}),
        ("optimizer.layer_factors", [2, 3], {}),
        ("init.value", 1, {"init": "ones"}),
        ("init.bound", 1, {"init": "uniform"}),
        ("activation.slope", 0, {"activation": "leaky_relu"}),
        ("task.targets", [[0], [1], [1], [0]], {"task": "table"}),
    ],
)
def test_integers_and_floats_of_one_value_have_one_digest(key, integer, options):
    as_float = np.asarray(integer, dtype=np.float64).tolist()
    one, other = (make_config({key: value}, options) for value in (integer, as_float))
    assert one == other
    assert one.config_digest == other.config_digest


def test_the_digest_is_what_it_always_was(tmp_path):
    # Of the default config, and of what is only in the digests of some; runs that are recorded are
    # found again by it.
    digest = "ab2bfafbff00b5d92e58f6d45c8c4379bfef3a27d480c925793663c6a4586e8c"
    assert make_config().config_digest == digest
    digest = "9691a8d59b446166a7ef1b213b007cf4f2db080e482a96b70c375db7fcab8759"
    scaled = make_config({"optimizer.layer_factors": [1, 2], "init.scale": 2})
    assert scaled.config_digest == digest
    digest = "d24b0c533c76e4605d17bcdf1f598c08767d7ae585ea71f0745ed2510750f83d"
    path, (first, second) = tmp_path / "weights.npz", np.split(np.arange(26.0), [18])
    write_arrays(path, {"layer_1": first.reshape(2, 3, 3), "layer_2": second.reshape(2, 4, 1)})
    assert given_config(path).config_digest == digest


# -------------------------------------------------------------------------------- suggestions


def test_a_misspelt_name_is_answered_with_the_closest():
    message = suggest("tahn", ["identity", "tanh", "relu"])
    assert message == "Did you mean `tanh`? There are: identity, tanh, relu."
    assert suggest("zzz", ["identity", "tanh"]) == "There are: identity, tanh."


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "optimizer.learning_rate"),
        ("LR", "optimizer.learning_rate"),
        ("Momentum", "optimizer.momentum"),
        ("momentm", "optimizer.momentum"),
        ("m", None),
        ("optimizer.momentm", "optimizer.momentum"),
        ("zzz", None),
    ],
)
def test_a_key_is_found_by_its_last_word_or_initials(typed: str, meant: str | None) -> None:
    assert closest(typed, ["optimizer.momentum", "optimizer.learning_rate"]) == meant


def test_a_password_is_used_but_not_recorded() -> None:
    uri = "postgresql://ann:secret@host/db"
    config = make_config({"tracking.uri": uri})
    assert config.tracking.uri == uri
    assert config.params()["tracking.uri"] == "postgresql://host/db"
    assert "secret" not in config.to_yaml()
