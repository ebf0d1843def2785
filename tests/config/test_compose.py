"""From command lines to checked jobs: which jobs, their names, and why a line is refused."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from runs import make_config

from bp_pipeline.config import ConfigError, Job, compose
from bp_pipeline.config.compose import Application, compose_each
from bp_pipeline.config.errors import no_such_key
from bp_pipeline.config.schema import KEYS

CONF = Path(__file__).parents[2] / "conf"
VERSION = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def add(elsewhere: Path) -> Callable[[str, str], None]:
    """Write an option file of one's own, below `mine/`."""

    def write(name: str, text: str) -> None:
        (elsewhere / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / "mine" / name).write_text(text)

    return write


def jobs_of(line: str) -> tuple[Job, ...]:
    return compose(shlex.split(line)).jobs


def refusal(line: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(shlex.split(line))
    return str(caught.value)


# -------------------------------------------------------------------------------- what is asked

TWO_GRIDS = """\
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params: {seed: 7, init: ones}
    grids:
      - {optimizer.learning_rate: "1,10"}
      - {init: normal, activation: relu}
"""
GROUPS = sorted({file.parent.name for file in CONF.glob("*/*.yaml")} - {"experiment", "map"})


def test_every_shipped_option_makes_a_run(elsewhere: Path) -> None:
    path = elsewhere / "weights.npz"
    np.savez(path, layer_1=np.ones((2, 3, 3)), layer_2=np.ones((2, 4, 1)))
    options = {
        group: sorted(file.stem for file in (CONF / group).glob("*.yaml")) for group in GROUPS
    }
    grids = [
        f'{{seed: {seed}, {group}: "{",".join(o for o in options[group] if o != "given")}"}}'
        for seed, group in enumerate(GROUPS)
    ]
    given = f"{{seed: {GROUPS.index('init')}, init: given, init.path: {path}}}"
    made: dict[str, list[str]] = {group: [] for group in GROUPS}
    for job in jobs_of(f"-m 'hydra.sweeper.grids=[{','.join([*grids, given])}]'"):
        group = GROUPS[job.config.seed]
        made[group].append(job.config.labels[group])
    assert {group: sorted(labels) for group, labels in made.items()} == options


def test_own_option_files_need_no_code(add: Callable[[str, str], None]) -> None:
    add("init/wide.yaml", "name: uniform\nbound: 4.0\nbias: same\n")
    [job] = jobs_of("--config-dir mine init=wide")
    assert job.config.initializer == {"name": "uniform", "bound": 4.0, "bias": "same"}
    assert job.name == "tanh · wide · lr=0.5"
    assert "Did you mean `wide`" in refusal("--config-dir mine init=wied")
    [scaled] = jobs_of("--config-dir mine init=wide +init.scale=2")
    assert scaled.config.init_scale == 2
    assert "`+init.scale=VALUE`" in refusal("--config-dir mine init=wide init.scale=2")


def test_hydras_own_launcher_asks_for_the_same_jobs(elsewhere: Path) -> None:
    sweep = "experiment=xor_sweep activation=tanh,relu init=ones,normal optimizer.learning_rate=1"
    expected = jobs_of(sweep)
    assert len(expected) == 4
    assert jobs_of(f"{sweep} hydra/launcher=basic") == expected
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("launcher", ["ensemble", "basic"])
def test_other_sweepers_are_refused_whatever_chooses_them(
    launcher: str, add: Callable[[str, str], None]
) -> None:
    add("own.yaml", "defaults: [config, _self_, {override hydra/sweeper: basic}]")
    asked = f"--config-dir mine --config-name own hydra/launcher={launcher}"
    assert "`hydra/sweeper` must be grid, got basic" in refusal(f"-m {asked} seed=1,2")
    nothing = {"ensemble": "must be grid, got basic", "basic": " must span at least one job"}
    assert nothing[launcher] in refusal(f"-m {asked} 'seed=range(3,3)'")
    assert len(jobs_of(f"{asked} seed=1")) == 1  # where nothing is swept, nothing is lost


@pytest.mark.parametrize("group", ["hydra/sweeper", "hydra/launcher"])
def test_a_sweep_without_what_makes_it_is_refused(
    group: str, add: Callable[[str, str], None]
) -> None:
    add("own.yaml", f"defaults: [config, _self_, {{override {group}: null}}]")
    for taken_away in (f"~{group}", "--config-dir mine --config-name own"):
        told = refusal(f"-m {taken_away} seed=1,2")
        assert told.startswith(f"`{group}` must be")
        assert "VALUE" not in told


def test_what_is_not_a_grid_is_several(add: Callable[[str, str], None]) -> None:
    add("experiment/two_grids.yaml", TWO_GRIDS)
    asked = "--config-dir mine experiment=two_grids"
    apart = [*jobs_of("-m init=ones seed=7 optimizer.learning_rate=1,10"),
             *jobs_of("-m init=normal seed=7 activation=relu")]  # fmt: skip
    digests = [job.config.config_digest for job in apart]
    assert [job.config.config_digest for job in jobs_of(asked)] == digests
    # The command line wins, in each grid.
    seeds = [job.config.seed for job in jobs_of(f"{asked} seed=1,2")]
    assert seeds == [1, 1, 2, 2, 1, 2]
    assert {job.config.labels["init"] for job in jobs_of(f"{asked} init=uniform")} == {"uniform"}


def test_studies_with_grids_of_their_own_become_one_sweep() -> None:
    asked = compose(["-m", "experiment=symmetry,tripwire", "seed=3"])
    apart = [*jobs_of("experiment=symmetry seed=3"), *jobs_of("experiment=tripwire seed=3")]
    assert [job.config for job in asked.jobs] == [job.config for job in apart]
    assert len(apart) == 48 + 144
    assert asked.sweep_name == "symmetry + tripwire"
    assert [job.name for job in asked.jobs] == [
        f"{job.config.labels['experiment']} · {job.name}" for job in apart
    ]


def test_what_two_studies_share_is_trained_once() -> None:
    assert len(jobs_of("experiment=corrections")) == 8
    assert len(jobs_of("-m experiment=article,article_init,corrections seed=0,1")) == 16


EACH_ONCE = {
    "seed=1,1": 1,
    "activation=tanh,relu,tanh init=ones,normal": 4,
    "optimizer.learning_rate=0.5,0.50,5e-1": 1,
    "'network.hidden=[3],[ 3 ]'": 1,
    "'optimizer={learning_rate: 1},{learning_rate: 1.0}'": 1,
    "init=given init.path=w.npz,./w.npz": 1,
    """'hydra.sweeper.grids=[{seed: "1,2"},{seed: "2,3"}]'""": 3,
}


@pytest.mark.parametrize(
    ("swept", "launcher"),
    [
        *((swept, "ensemble") for swept in EACH_ONCE),
        ("activation=tanh,relu,tanh init=ones,normal", "basic"),
    ],
)
def test_what_is_asked_for_twice_is_one_job(swept: str, launcher: str) -> None:
    np.savez("w.npz", layer_1=np.ones((2, 3, 3)), layer_2=np.ones((2, 4, 1)))
    asked = compose(shlex.split(f"-m {swept} hydra/launcher={launcher}"))
    assert len(asked.jobs) == EACH_ONCE[swept]
    assert asked.n_repeated > 0


def test_a_plus_before_an_option_is_as_none() -> None:
    line = "-m {0}experiment=article {0}init=ones,normal {0}hydra.verbose=true"
    assert jobs_of(line.format("+")) == jobs_of(line.format(""))
    assert len(jobs_of("""-m '+hydra.sweeper.params.seed="0,1"'""")) == 2


def test_keys_of_a_group_may_be_set_together() -> None:
    [job] = jobs_of("'optimizer={learning_rate: 2, momentum: 0.5}'")
    expected = {"optimizer.learning_rate": 2, "optimizer.momentum": 0.5}
    assert job.config.config_digest == make_config(expected).config_digest


def test_a_range_of_decimals_has_the_values_that_are_meant() -> None:
    up, down = "optimizer.learning_rate=range(0.1,0.5,0.1)", "optimizer.momentum=range(0.3,0,-0.1)"
    back = "training.tolerance=sort(range(0.1,0.4,0.1),reverse=true)"
    jobs = jobs_of(f"-m '{up}' '{down}' '{back}' seed=range(0,2)")
    typed = [
        (rate, momentum, tolerance, seed)
        for rate in (0.1, 0.2, 0.3, 0.4)
        for momentum in (0.3, 0.2, 0.1)
        for tolerance in (0.3, 0.2, 0.1)
        for seed in (0, 1)
    ]
    composed = [job.config for job in jobs]
    assert [
        (c.optimizer.learning_rate, c.optimizer.momentum, c.training.tolerance, c.seed)
        for c in composed
    ] == typed
    assert {job.name.split(" · ")[0] for job in jobs} == {f"lr={n}" for n in (0.1, 0.2, 0.3, 0.4)}
    [typed, _] = jobs_of("-m 'optimizer.learning_rate=range(0.12345678901234567,0.3,0.1)'")
    assert typed.config.optimizer.learning_rate == 0.12345678901234567


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("seed=sort(range(0,5,2),reverse=true)", ["4", "2", "0"]),
        ("optimizer.learning_rate=sort(range(0.5,0,-0.2))", ["0.1", "0.3", "0.5"]),
    ],
)
def test_a_range_that_is_turned_round_has_its_values_or_is_refused(
    override: str, meant: list[str]
) -> None:
    """Hydra 1.3 makes 3, 1 and -1 of the first."""
    line, key = f"-m '{override}'", override.partition("=")[0]
    if hydra.__version__ < "1.4":
        assert re.match(rf"`{key}` must be a range that ends .* Leave `sort` out\.$", refusal(line))
    else:
        names = [job.name.partition("=")[2].partition(" ")[0] for job in jobs_of(line)]
        assert names == meant


@pytest.mark.parametrize("options", ["uniform,uniform_small", "choice(uniform,uniform_small)"])
def test_a_key_that_all_swept_options_have_may_be_set(options: str) -> None:
    jobs = jobs_of(f"-m init.bound=0.5,0.25 init={options}")
    found = [(job.config.labels["init"], job.config.init.bound) for job in jobs]
    assert found == [(o, b) for b in (0.5, 0.25) for o in ("uniform", "uniform_small")]
    assert jobs == jobs_of(f"-m init.bound=0.5,0.25 init=ones init={options}")
    assert "(1 of 2 jobs, the first: init=ones" in refusal("-m init=uniform,ones init.bound=1")


@pytest.mark.parametrize("options", ["mine,uniform", "uniform,mine"])
def test_a_grid_that_a_swept_option_brings_along_is_its_own(
    options: str, add: Callable[[str, str], None]
) -> None:
    init = "init: {name: uniform, bound: 1.0, bias: same, scale: 1.0}"
    grid = "hydra: {sweeper: {params: {seed: '0,1,2'}}}"
    add("init/mine.yaml", f"# @package _global_\n{init}\n{grid}")
    jobs = jobs_of(f"-m --config-dir mine init={options} init.scale=2")
    labels = [job.config.labels["init"] for job in jobs]
    assert sorted(labels) == ["mine"] * 3 + ["uniform"]


def test_params_of_the_sweeper_may_be_typed() -> None:
    assert len(jobs_of("""-m 'hydra.sweeper.params={seed: "0,1"}'""")) == 2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("activation=relu", None),
        ("experiment=xor_sweep activation=tanh init=ones", "xor_sweep"),
        ("--multirun activation=relu,tanh seed=1 init=ones,normal", "activation × init"),
        ("seed=3 -m activation=relu", "sweep"),
    ],
)
def test_a_sweep_has_a_name(arguments: str, name: str | None) -> None:
    assert compose(arguments.split()).sweep_name == name


def test_what_was_typed_is_kept(add: Callable[[str, str], None]) -> None:
    add("init/wide.yaml", "name: uniform\nbound: 4.0\nbias: same\n")
    typed = ["seed=0,1", "-m", "tracking.experiment='a, b'", "--config-dir", "mine", "+init=wide"]
    asked = compose(typed)
    assert shlex.split(asked.command) == ["bp", "train", *typed]
    assert compose(shlex.split(asked.command)[2:]) == asked
    assert compose(["seed=1"], program="bp explain").command == "bp explain seed=1"


def test_what_hydra_only_shows_is_no_job(capsys: pytest.CaptureFixture[str]) -> None:
    asked = compose(["--cfg", "job", "seed=3"])
    assert (asked.jobs, asked.sweep_name) == ((), None)
    assert "seed: 3" in capsys.readouterr().out


def test_overrides_of_our_own_are_composed_as_if_they_were_typed() -> None:
    asked = [["experiment=article"], [], ["activation=relu", "seed=7"]]
    assert compose_each(asked) == [compose(overrides).jobs[0].config for overrides in asked]


def test_a_users_hydra_application_may_compose_too() -> None:
    with initialize_config_dir(str(CONF), **VERSION):
        theirs = GlobalHydra.instance().hydra
        assert compose_each([["seed=3"]])[0].seed == 3
        assert compose(["seed=3"]).jobs[0].config.seed == 3
        assert GlobalHydra.instance().hydra is theirs
    assert not GlobalHydra.instance().is_initialized()


def test_composing_leaves_the_process_as_it_was() -> None:
    arguments, variables = list(sys.argv), dict(os.environ)
    refusal("activation=tahn")
    jobs_of("-m seed=0,1")
    assert (sys.argv, dict(os.environ)) == (arguments, variables)


# ---------------------------------------------------------------------------------- refusals

# For each line: the key or word that is wrong, and what the advice names.
REFUSED = {
    "activation=[sigmoid,tanh]": ("activation", "`bp train -m activation=sigmoid,tanh`"),
    "-m optimizer=[batch_gd,online_gd]": ("optimizer", "-m optimizer=batch_gd,online_gd"),
    "-m init=[ones,normal],uniform": ("init", "-m init=ones,normal"),
    "init=[1.5]": ("init", "--help"),
    "experiment=[3]": ("experiment", "--help"),
    "-m 'init=glob(Nothing*)'": ("init", "glob(Nothing*)"),
    "-m 'seed=range(3,3)'": ("seed", "range(3,3)"),
    "-m hydra/sweeper=basic experiment=symmetry,tripwire": ("hydra/sweeper", "got basic"),
    "-m 'optimizer.learning_rate=range(0.1,inf,0.1)'": ("optimizer.learning_rate", "counted"),
    "-m 'optimizer.learning_rate=range(nan,1,0.1)'": ("optimizer.learning_rate", "counted"),
    "hydra.run={dir:x}": ("hydra.run.dir", "MLflow"),
    "hydra={sweep:{subdir:x}}": ("hydra.sweep.subdir", "MLflow"),
    "hydra.job.chdir=true": ("hydra.job.chdir", "MLflow"),
    "hydra.job.name=mine": ("hydra.job.name", "MLflow"),
    "+hydra.job.env_set.X=1": ("hydra.job.env_set.X", "MLflow"),
    "hydra/job_logging=default": ("hydra/job_logging", "MLflow"),
    "hydra.hydra_logging.version=2": ("hydra.hydra_logging.version", "MLflow"),
    "-m --cfg job seed=1": (
        "--run, --multirun, --cfg, --info and --shell_completion",
        "one at a time",
    ),
    "activation=[sigmoid,tahn]": ("activation", "`bp train --help`"),
    "network=[a,b]": ("network", "`bp train --help`"),
    "hydra/launcher=[basic,ensemble]": ("hydra/launcher", "`bp train --help`"),
    "-m hydra.sweeper.grids=[3]": ("hydra.sweeper.grids", "--cfg hydra"),
    "-m hydra.sweeper.params=3": ("hydra.sweeper.params", "--cfg hydra"),
    "hydra.mode=nothing": ("hydra.mode", "`-m`"),
    "hydra.callbacks=3": ("hydra.callbacks", "--cfg hydra"),
    "--resolve": ("--resolve", "--cfg job"),
    "--package x": ("--package", "--cfg job"),
    "--config-name nothing": ("--config-name", "Leave it out"),
    "--config-path nothing": ("--config-path", "Leave it out"),
    "-m hydra.sweeper.grids=[]": ("hydra.sweeper.grids", "Leave it out"),
    "tracking=off activation=null": ("activation", "--help"),
    "tracking=off init=1": ("init", "--help"),
    "'activation=???'": ("activation", "--help"),
    "'optimizer={lr: 0.1}'": ("optimizer.lr", "`learning_rate`"),
    "-m 'optimizer={lr: 0.1}' seed=0,1": ("optimizer.lr", "`learning_rate`"),
    "hydra.verbose=3": ("hydra.verbose", "--cfg hydra"),
    "-m hydra.sweeper=3": ("hydra.sweeper", "--cfg hydra"),
    "hydra.run.dir=there": ("hydra.run.dir", "MLflow"),
    "-m hydra.sweep.dir=there": ("hydra.sweep.dir", "MLflow"),
    "-m hydra.verbose=1,2": ("hydra.verbose", "one command for each"),
    "activation@network=relu": ("activation", "`activation=relu`"),
    "+init@network=ones": ("init", "`init=ones`"),
    "'seed=${oc.env:BP_NOPE}'": ("seed", "BP_NOPE"),
    "~task.name=or": ("~task.name=or", "is xor"),
    "~optimizer=3": ("~optimizer=3", "must be a string"),
    "+seed=1": ("seed", "`seed=VALUE`"),
    "~nothing": ("nothing", "--cfg job"),
    "lr=0.1": ("lr", "`optimizer.learning_rate`"),
    "-m hidden=[4],[5]": ("hidden", "`network.hidden`"),
    "activation.slope=1": ("activation.slope", "`leaky_relu`"),
    "activation=ReLU": ("activation", "`relu`"),
    "task=XOR": ("task", "`xor`"),
    "'optimizer.learning_rate=interval(0.1,1)'": ("optimizer.learning_rate", "range("),
    "-m 'optimizer.learning_rate=interval(0.1,1)'": ("optimizer.learning_rate", "range("),
    "optimizer.learning_rate=8,4": ("optimizer.learning_rate", "-m optimizer.learning_rate=8,4"),
    "experiment=article seed=0,1": ("seed", "`bp train -m seed=0,1`"),
    "'seed=range(0,3)'": ("seed", "`bp train -m 'seed=range(0,3)'`"),
    "--lr 0.1": ("bp train", "`optimizer.learning_rate=VALUE`"),
    "--cfg job --package nosuch": ("bp train", "nosuch"),
    "-m seed=0,1 hydra/launcher=joblib": ("hydra/launcher", "ensemble"),
    "-m 'init=ones,glob(h*)'": ("init", "--help"),
    "-m threads=1,2 seed=0,0": ("threads", "1 and 2"),
    "-m 'seed=range(0,3,0)'": ("seed", "range(0,3,0)"),
    "task=own/parity": ("task", "`parity`"),
    "+hydra.foo=1": ("hydra.foo", "--cfg hydra"),
    "-m +hydra.launcher.n_jobs=4": ("hydra.launcher.n_jobs", "--cfg hydra"),
    "-m ++hydra.sweeper.foo=4": ("hydra.sweeper.foo", "--cfg hydra"),
    "hydra.runtime.output_dir=x": ("hydra.runtime.output_dir", "MLflow"),
    "hydra.env=x": ("hydra.env", "MLflow"),
    "hydra.searchpath=[nowhere]": ("hydra.searchpath", "'nowhere'"),
    "seed=1 hydra.searchpath=3": ("hydra.searchpath=3", "list"),
    "'hydra.sweeper.params={seed: 1}'": ("hydra.sweeper.params={seed: 1}", "`-m`"),
    "'hydra={sweeper: {grids: [{seed: 1}]}}'": ("hydra={sweeper: {grids: [{seed: 1}]}}", "`-m`"),
    "seed=1 ~activation=relu": ("~activation=relu", "defaults"),
    "seed=1 ~hydra.sweeper": ("hydra.sweeper", "got nothing"),
    "~task": ("task", "`task=VALUE`"),
    "~seed seed=1": ("seed", "`~seed`"),
    "=1": ("=1", "grammar"),
    "''": ("''", "`key=value`"),
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_refusal_names_the_key_that_is_wrong_and_what_to_do(line: str) -> None:
    key, advice = REFUSED[line]
    first, *more = refusal(line).splitlines()
    assert first.startswith(f"`{key}` ")
    assert advice in first
    assert not more
    assert "Error" not in first


MISSPELT = {
    "learning_rate": "optimizer.learning_rate",
    "optimiser.learning_rate": "optimizer.learning_rate",
    "epochs": "training.epochs",
    "momentum": "optimizer.momentum",
    "hidden": "network.hidden",
    "activaton": "activation",
}


@pytest.mark.parametrize("key", MISSPELT)
def test_a_key_that_is_not_there_is_told_with_the_closest(key: str) -> None:
    told = no_such_key(key, KEYS)
    assert told.startswith(f"`{key}` ")
    assert f"`{MISSPELT[key]}`" in told


def test_what_decides_no_result_must_be_the_same_for_one_run() -> None:
    ways = {
        "engine": ("numpy", "compiled"),
        "threads": ("1", "2"),
        "sweep.rerun": ("True", "False"),
        "tracking.experiment": ("a", "b"),
    }
    grids = [
        f'{{seed: {seed}, {key}: "{",".join(values)}"}}'
        for seed, (key, values) in enumerate(ways.items())
    ]
    told = refusal(f"-m 'hydra.sweeper.grids=[{','.join(grids)}]'").splitlines()
    for line, (key, values) in zip(told, ways.items(), strict=True):
        assert line.startswith(f"`{key}` ")
        assert " and ".join(values) in line


def test_a_list_among_the_values_of_a_study_is_refused_too(add: Callable[[str, str], None]) -> None:
    params = "hydra: {sweeper: {params: {init: [ones, normal]}}}"
    add("experiment/swept.yaml", f"# @package _global_\n{params}")
    assert refusal("-m --config-dir mine experiment=swept").startswith("`init` must be one option")


def test_a_python_without_assertions_is_refused_by_name(elsewhere: Path) -> None:
    code = "from bp_pipeline.config import compose; compose(['seed=range(0,3)'])"
    environment = {**os.environ, "PYTHONOPTIMIZE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # Hydra 1.4 can do without them.
    assert re.search(r"ConfigError: `(PYTHONOPTIMIZE|seed)` must", done.stderr)


def test_launchers_that_run_jobs_elsewhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Application, "__call__", lambda *_: None)
    assert "`hydra/launcher` must run jobs in this process" in refusal(
        "-m seed=1,2 hydra/launcher=basic"
    )


def test_all_problems_of_all_jobs_are_said_each_once() -> None:
    lines = refusal("-m activation=tahn,tanh optimizer.learning_rate=-1,0,1").splitlines()
    assert [line.split("` ")[0].lstrip("`") for line in lines] == [
        "activation", "optimizer.learning_rate", "optimizer.learning_rate"]  # fmt: skip
    assert "(3 of 6 jobs, the first: activation=tahn optimizer.learning_rate=-1)" in lines[0]
    many = refusal(f"-m seed={','.join(str(-n) for n in range(1, 40))}").splitlines()
    assert len(many) == 11
    assert many[-1] == "… and 29 more problems."
