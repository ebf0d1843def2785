"""The command that a report prints: typed again, it asks for the same runs."""

import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import make_config

from bp_pipeline.config import RunConfig, compose
from bp_pipeline.report import Sweep
from bp_pipeline.report.command import command_line
from bp_pipeline.tracking.format import _plain

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def configs_of(command: str) -> list[RunConfig]:
    return [job.config for job in compose(shlex.split(command)[2:]).jobs]


def sweep_of(configs: list[RunConfig]) -> Sweep:
    """Give a sweep as read from a store, where every param is text."""
    rows = [{key: _plain(str(value)) for key, value in c.params().items()} for c in configs]
    metrics = {"optimizer.learning_rate/log10": -0.3, "converged/rate": 0.5, "bp.version": "0.1.0"}
    runs = pd.DataFrame(
        [{"run_id": str(n), "status": "FINISHED", **r, **metrics} for n, r in enumerate(rows)]
    )
    shuffled = runs.sample(frac=1, random_state=0)
    return Sweep("parent", "a sweep", "", len(configs), shuffled, artifacts=lambda _: nullcontext())


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where `experiments/published` has its weights."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Keep weights of a 2-4-1 network, as many as a run has by default."""
    path = tmp_path / "kept.npz"
    np.savez(path, layer_1=np.ones((100, 3, 4)), layer_2=np.ones((100, 5, 1)))
    return path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_needs_only_its_name(name: str) -> None:
    typed = f"bp train {'-m ' if name.startswith('article') else ''}experiment={name}"
    assert command_line(sweep_of(configs_of(typed))) == typed


@pytest.mark.parametrize(
    "typed",
    [
        "-m optimizer.learning_rate=0.5",
        "-m optimizer.learning_rate=3,1e-5,0.00002,0.1 activation=tanh,relu",
        "-m init=uniform,normal init.bias=same,zero seed=7",
        "-m init=uniform,glorot_uniform init.bias=zero,same",
        "-m init=ones,constant init.value=1,0.5",
        "-m init=uniform,uniform_small init.bound=0.1,1",
        "-m init=uniform,uniform_small,constant,glorot_uniform",
        "-m init=uniform init.bound=0.5,2",
        "-m init=constant init.noise=0,0.1 training.stop_when_converged=true,false",
        "-m network.hidden=[2],[4,3],[] network.bias=false",
        "-m task=parity task.bits=2,3 activation=leaky_relu,tanh",
        "-m task=xor,parity,and",
        "-m task=table 'task.inputs=[[0,0.5],[1,2]]' 'task.targets=[[1],[0]]' replicates=2,3",
        "-m optimizer=online_gd,batch_gd optimizer.momentum=0,0.9 loss.reduction=sum",
        "-m loss=squared_error network.output=identity,tanh training.epochs=0,9",
        # What an experiment sets, set back to a default or to anything else.
        "-m experiment=article init=glorot_uniform",
        "-m experiment=article init=glorot_uniform,ones optimizer=batch_gd",
        "-m experiment=article optimizer.learning_rate=0.5 network.hidden=[2]",
        "-m experiment=article,article_loss,article_activation,article_init",
        "-m experiment=article,article_loss activation=identity,tanh init=ones,glorot_uniform",
        "experiment=xor_sweep replicates=7 activation=tanh",
        "experiment=xor_sweep init=ones,normal training.epochs=5",
        "experiment=symmetry seed=1,2 activation=tanh",
        "experiment=kolen_pollack_1990 replicates=3",
        "experiment=published training.epochs=3 network.train_bias=true",
        "-m experiment=xor_sweep,tripwire",
    ],
)
def test_any_other_grid_is_asked_for_again(typed: str) -> None:
    configs = configs_of(f"bp train {typed}")
    command = command_line(sweep_of(configs))
    assert command is not None
    again = configs_of(command)
    assert sorted(c.config_digest for c in again) == sorted(c.config_digest for c in configs)


def test_a_path_with_anything_in_it(tmp_path: Path) -> None:
    path = tmp_path / "it's [a], \\ path = with $all {of} it.npz"
    np.savez(path, layer_1=np.ones((2, 3, 3)), layer_2=np.ones((2, 4, 1)))
    given = make_config({"init.path": str(path)}, {"init": "given"})
    command = command_line(sweep_of([given]))
    assert command is not None
    assert "replicates" not in command
    assert [c.config_digest for c in configs_of(command)] == [given.config_digest]


@pytest.mark.parametrize(
    "typed",
    [
        # No grid: two activations, each with a learning rate of its own.
        "-m 'hydra.sweeper.grids=[{activation: tanh, seed: 1},{activation: relu, seed: 2}]'",
        # What is said for one option would be said for the others, which have another default,
        # or no such key.
        "-m 'hydra.sweeper.grids=[{init: uniform, init.bias: zero},"
        "{init: glorot_uniform, init.bias: same}]'",
        "-m 'hydra.sweeper.grids=[{init: uniform, init.bound: 0.5},{init: normal}]'",
        "-m 'hydra.sweeper.grids=[{activation: leaky_relu, activation.slope: 0.2},"
        "{activation: tanh}]'",
        "-m network.hidden=[4] 'hydra.sweeper.grids=[{init: given, init.path: KEPT.npz},"
        "{init: uniform}]'",
        "-m init=glorot_uniform 'hydra.sweeper.grids="
        "[{experiment: article, seed: 1}, {experiment: article_loss, seed: 2}]'",
    ],
)
def test_what_is_no_grid_has_no_command(typed: str, kept: Path) -> None:
    configs = configs_of(f"bp train {typed.replace('KEPT.npz', str(kept))}")
    assert command_line(sweep_of(configs)) is None


def test_a_table_that_mlflow_has_cut_has_no_command() -> None:
    sweep = sweep_of(
        configs_of("bp train -m task=table task.inputs=[[0],[1]] task.targets=[[0],[1]]")
    )
    cut = sweep.runs.assign(**{"task.inputs": "[[0.0], [1"})
    assert command_line(replace(sweep, runs=cut)) is None


def test_a_sweep_that_lacks_runs_has_no_command() -> None:
    sweep = sweep_of(configs_of("bp train -m seed=1,2,3"))
    assert command_line(replace(sweep, runs=sweep.runs.iloc[:2])) is None
