"""Our composition gives what Hydra's own gives, job by job, and asks Hydra rarely."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, product
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict

from bp_pipeline.config import ConfigError
from bp_pipeline.config.job_configs import Composer, JobConfig

CONF = Path(__file__).parents[2] / "conf"
VERSION = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}

# Files a user might add, each with something that is more than values in the place of its group.
ADDED = {
    "activation/with_interpolation.yaml": "name: tanh\nslope: ${seed}",
    "activation/with_environment.yaml": "name: ${oc.env:BP_TEST_UNSET,relu}",
    "activation/with_hydra.yaml": "name: ${hydra:job.num}",
    "activation/with_choice.yaml": "name: ${hydra:runtime.choices.init}",
    "activation/with_header.yaml": "# @package _global_\nactivation: {name: relu}\nseed: 5",
    "activation/with_defaults.yaml": "defaults: [tanh]\nslope: 3",
    "activation/with_missing.yaml": "name: ???",
    "activation/with_list.yaml": "[1, 2]",
    "activation/empty.yaml": "",
    "init/with_neighbour.yaml": "name: constant\nvalue: ${activation.name}\nbias: ${.name}",
    "init/with_override.yaml": "# @package _global_\ndefaults: [{override /activation: relu}]",
    "experiment/on_top.yaml": "# @package _global_\noptimizer: {learning_rate: 7}\ninit: {bias: x}",
    "experiment/sets_init.yaml": "# @package _global_\ninit: {bias: zero, scale: 2}",
    "init/adds_to_optimizer.yaml": "defaults: [ones, /loss@_global_.optimizer: logistic]",
    "experiment/open.yaml": "# @package _global_\ninit: {bound: '???'}",
    "experiment/chooses.yaml": "# @package _global_\ndefaults: [{override /activation: relu}]",
    "experiment/refers.yaml": "# @package _global_\nreplicates: ${seed}\nnetwork: ${training}",
}

# In a config.yaml of the user's own: a choice that follows another one.
COMPUTED_DEFAULT = "  - loss: logistic\n  - loss@other: ${loss}\n"

PLAIN = [
    [],
    ["activation=relu", "activation=tanh", "init=ones", "optimizer=online_gd", "task=parity"],
    ["optimizer.learning_rate=1e-3", "optimizer.learning_rate=-2", "network.hidden=[4,3]",
     "tracking.uri=nan", "seed=inf", "threads=-0.0", "tracking.experiment='a, b'"],
    ["network.hidden=null", "threads=[1,null,'x y',1.5,true]", "tracking.uri="],
    ["network.hidden=[]", "threads=[[1,2],{a: 1}]", 'tracking.experiment="it\'s ${seed}"',
     "tracking.uri='\\\\${seed}'"],
    ["replicates=${optimizer.learning_rate}", "optimizer.learning_rate=3", "seed=${replicates}"],
    ["seed=${hydra:job.num}"],
    ["tracking.experiment=${hydra:runtime.choices.init}"],
    ["experiment=article", "training.epochs=3", "init=normal"],
]  # fmt: skip
UNUSUAL = [
    ["+extra.deep=[1]", "activation=relu", "optimizer.learning_rate=2"],
    ["++optimizer.learning_rate=3", "optimizer.learning_rate=4"],
    ["optimizer.learning_rate=4", "++optimizer.learning_rate=3"],
    ["~optimizer.momentum", "optimizer.learning_rate=4"],
    ["optimizer.momentum=0.1", "~optimizer.momentum=0.1"],
    ["~init", "activation=relu"],
    ["init={name: mine}", "init.bias=zero"],
    ["optimizer={learning_rate: 9}", "optimizer=online_gd"],
    ["network.hidden.0=5"],
    ["+loss@other=squared_error", "loss.reduction=sum"],
    ["hydra.job.name=other", "seed=3"],
    ["hydra.verbose=true", "tracking.experiment=${hydra:verbose}"],
    ["optimizer={}", "optimizer.learning_rate=4"],
    ["network={hidden: [2], bias: false}", "seed={}"],
    ["~activation", "init=ones"],
    ["++init.bound=3", "init=uniform"],
    ["init.bound=3", "init=uniform", "activation=relu"],
]
COMBINED = [
    ["experiment=refers", "training.epochs=3"],
    ["experiment=refers", "training=default", "init=ones"],
    ["experiment=open", "init=uniform", "activation=relu"],
    ["activation=with_header", "init=ones"],
    ["init=with_override", "experiment=on_top"],
    ["init=with_override", "optimizer=online_gd"],
    ["activation=with_interpolation", "init=with_neighbour", "seed=2"],
    ["activation=relu", "experiment=chooses", "init=with_neighbour"],
    ["activation=relu", "experiment=on_top", "optimizer.learning_rate=0.25"],
    ["activation=with_missing", "activation.name=relu"],
    ["experiment=sets_init", "init=normal", "activation=relu"],
    ["experiment=sets_init", "init=ones", "activation=tanh"],
    ["init=adds_to_optimizer", "optimizer=online_gd"],
    ["init=adds_to_optimizer", "optimizer=online_gd", "experiment=on_top"],
]
REFUSED = [
    ["activation=tahn"],
    ["activation=tahn", "init=ones"],
    ["activation=null"],
    ["activation=3"],
    ["activation=with_missing"],
    ["optimizer.lr=1"],
    ["optimiser.learning_rate=1"],
    ["seed.deep=1"],
    ["experiment.x=1"],
    ["tracking.uri='???'"],
    ["+seed=1"],
    ["~nothing"],
    ["seed=${nothing}"],
    ["seed=[1"],
    ["seed=1,2"],
    ["loss@other=logistic"],
    ["experiment=open"],
]
FILES = [f"{Path(file).parent}={Path(file).stem}" for file in ADDED]
COMBINED += [[choice] for choice in FILES if choice not in {*chain(*COMBINED), *chain(*REFUSED)}]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConfigLoader]:
    """Hydra's loader of `conf/` with the added files in it."""
    conf = tmp_path_factory.mktemp("user") / "conf"
    shutil.copytree(CONF, conf)
    for name, text in ADDED.items():
        (conf / name).write_text(text)
    text = (conf / "config.yaml").read_text()
    (conf / "computed.yaml").write_text(text.replace("  - loss: logistic\n", COMPUTED_DEFAULT))
    with initialize_config_dir(str(conf), **VERSION):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture(scope="module")
def master(loader: ConfigLoader) -> DictConfig:
    """Return the config of a sweep."""
    return loader.load_configuration("config", ["hydra.mode=MULTIRUN"], RunMode.MULTIRUN)


@pytest.fixture(scope="module")
def composer(loader: ConfigLoader, master: DictConfig) -> Composer:
    """Return one composer for all jobs, so that what it remembers is tested too."""
    return Composer(loader, master)


def by_hydra(
    loader: ConfigLoader, master: DictConfig, overrides: Sequence[str], number: int
) -> tuple[Any, Any]:
    """Compose a job as Hydra's basic launcher does; return what the application gets."""
    config = loader.load_sweep_config(master, list(overrides))
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
    choices = config.hydra.runtime.choices.items()
    labels = {g: o for g, o in choices if isinstance(o, str) and not g.startswith("hydra/")}
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True), labels


def assert_same(job: JobConfig, expected: tuple[Any, Any]) -> None:
    """Compare with what Hydra composed; repr tells 1 from 1.0 and True, and nan equals nan."""
    assert repr(_sorted((job.values, job.labels))) == repr(_sorted(expected))


def _sorted(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _sorted(tree[key]) for key in sorted(tree)}
    return [_sorted(part) for part in tree] if isinstance(tree, list | tuple) else tree


@pytest.mark.parametrize("overrides", PLAIN + UNUSUAL + COMBINED, ids=" ".join)
def test_a_job_is_what_hydra_composes(
    overrides: list[str], composer: Composer, loader: ConfigLoader, master: DictConfig
) -> None:
    assert_same(composer.compose(overrides, 7), by_hydra(loader, master, overrides, 7))


@pytest.mark.parametrize("overrides", REFUSED, ids=" ".join)
def test_what_hydra_refuses_is_refused(
    overrides: list[str], composer: Composer, loader: ConfigLoader, master: DictConfig
) -> None:
    with pytest.raises(Exception, match=r".") as expected:
        by_hydra(loader, master, overrides, 7)
    with pytest.raises((type(expected.value), ConfigError)) as refusal:
        composer.compose(overrides, 7)
    if not isinstance(refusal.value, ConfigError | OverrideParseException):
        assert str(refusal.value) == str(expected.value)  # but of what Hydra is not asked for


FUZZED = {
    "activation": ["tanh", "relu", "leaky_relu", "with_interpolation", "with_header", "tahn"],
    "init": ["ones", "normal", "glorot_uniform", "with_neighbour"],
    "experiment": ["article", "on_top", "chooses", "refers", "null"],
}
KEYS = ["optimizer.learning_rate", "network.hidden", "init.bias", "seed", "activation.slope"]
VALUES = ["0.1", "-3", "null", "[1,2]", "'a,b'", "true", "${replicates}", "{a: 1}", ""]
OVERRIDE = st.one_of(
    st.sampled_from(sorted(FUZZED)).flatmap(
        lambda group: st.sampled_from([f"{group}={option}" for option in FUZZED[group]])
    ),
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "", "", "++", "+"]),
        st.sampled_from(KEYS),
        st.sampled_from(VALUES),
    ),
    st.sampled_from([f"~{key}" for key in KEYS]),
)


@example(overrides=["network.hidden[0]=5"])  # since Hydra 1.4
@given(overrides=st.lists(OVERRIDE, max_size=5))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_overrides_compose_as_hydra_composes_them(
    overrides: list[str], composer: Composer, loader: ConfigLoader, master: DictConfig
) -> None:
    try:
        expected = by_hydra(loader, master, overrides, 7)
    except Exception as error:
        with pytest.raises((type(error), ConfigError)):
            composer.compose(overrides, 7)
    else:
        assert_same(composer.compose(overrides, 7), expected)


ACTIVATIONS = ["identity", "sigmoid", "tanh", "relu", "leaky_relu"]
INITS = ["ones", "uniform_small", "uniform", "normal", "glorot_uniform", "he_normal"]
RATES = ["0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30"]
DEFAULT_SWEEP = [
    [
        f"activation={activation}",
        f"init={init}",
        f"optimizer.learning_rate={rate}",
        "experiment=xor_sweep",
    ]
    for activation, init, rate in product(ACTIVATIONS, INITS, RATES)
]


def test_a_choice_may_follow_another_one(loader: ConfigLoader) -> None:
    master = loader.load_configuration("computed", ["hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
    composer = Composer(loader, master)
    for overrides in (["activation=relu"], ["loss=squared_error"]):
        job = composer.compose(overrides, 0)
        assert job.values["other"] == job.values["loss"]
        assert_same(job, by_hydra(loader, master, overrides, 0))


def test_options_are_found_on_a_search_path_too(loader: ConfigLoader, tmp_path: Path) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "far.yaml").write_text("name: far")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.yaml").write_text("name: one")
    path = [f"hydra.searchpath=[file://{tmp_path}]", "hydra.mode=MULTIRUN"]
    master = loader.load_configuration("config", path, RunMode.MULTIRUN)
    composer = Composer(loader, master)
    for overrides in (["init=far"], ["activation=relu", "init=far"], ["+more=one", "seed=1"]):
        assert_same(composer.compose(overrides, 0), by_hydra(loader, master, overrides, 0))


def test_times_in_values_are_those_of_the_sweep(loader: ConfigLoader) -> None:
    overrides = ["hydra.job.name=${now:%f}", "hydra.mode=MULTIRUN"]
    master = loader.load_configuration("config", overrides, RunMode.MULTIRUN)
    microsecond = master.hydra.job.name
    job = Composer(loader, master).compose(["tracking.experiment=${now:%f}"], 0)
    assert job.values["tracking"]["experiment"] == microsecond


class Counting:
    """Hydra's loader, with the number of configs it composed."""

    def __init__(self, loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_composed = 0
        compose = loader.load_sweep_config

        def counted(*arguments: Any) -> DictConfig:
            self.n_composed += 1
            return compose(*arguments)

        monkeypatch.setattr(loader, "load_sweep_config", counted)


def test_the_default_sweep_is_what_hydra_composes(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["hydra.mode=MULTIRUN", "experiment=xor_sweep"]
    master = loader.load_configuration("config", typed, RunMode.MULTIRUN)
    composer = Composer(loader, master)
    with monkeypatch.context() as patch:
        counting = Counting(loader, patch)
        jobs = [composer.compose(job, number) for number, job in enumerate(DEFAULT_SWEEP)]
    assert counting.n_composed == 1
    # 31 has no factor in common with the grid, so that the sample meets every value of every key.
    for number in range(0, 240, 31):
        expected = by_hydra(loader, master, DEFAULT_SWEEP[number], number)
        assert_same(jobs[number], expected)
    assert len({repr(job.values) for job in jobs}) == 240


@pytest.mark.parametrize(
    ("shared", "most"),
    [
        ([], 1),
        (["activation=tahn"], 6),
        (["optimizer.lr=1"], 1),
        (["+extra=1"], 1),
        (["tracking.uri=${oc.env:BP_TEST_UNSET,null}"], 1),
        (["experiment=sets_init"], 6),  # once for each init: it has them all changed
        (["activation=with_defaults"], 1),
    ],
)
def test_hydra_composes_once_where_it_can(
    shared: list[str],
    most: int,
    loader: ConfigLoader,
    master: DictConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composer = Composer(loader, master)
    counting = Counting(loader, monkeypatch)
    for number, (init, rate) in enumerate(product(INITS, RATES)):
        with suppress(Exception):
            composer.compose([f"init={init}", f"optimizer.learning_rate={rate}", *shared], number)
    assert counting.n_composed <= most
