"""From configs to results: a run's bits depend on its config and nothing else."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from runs import make_config

from bp_pipeline.arrays import write_arrays
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.training import train
from bp_pipeline.ensemble import RunResult, initial_parameters, setup_of, shards, train_runs

SMALL = {"engine": "numpy", "threads": 1, "replicates": 5, "training.epochs": 20,
         "training.record": 8, "training.record_weights": 2}  # fmt: skip


def small_config(changes: dict[str, Any] | None = None, **options: str) -> RunConfig:
    return make_config({**SMALL, **(changes or {})}, options)


def results_of(configs: Sequence[RunConfig]) -> list[RunResult]:
    """Train, and return the results in the order of the configs."""
    results = trained_once(configs)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def trained_once(configs: Sequence[RunConfig]) -> list[RunResult | Exception]:
    """Give what came of each run, after checking that each came once."""
    pairs = sorted(train_runs(configs), key=itemgetter(0))
    assert [index for index, _ in pairs] == list(range(len(configs)))
    return [result for _, result in pairs]


def result_of(config: RunConfig) -> RunResult:
    return results_of([config])[0]


def digests_of(configs: Sequence[RunConfig]) -> list[str]:
    return [result.result_digest for result in results_of(configs)]


# A sweep whose runs share ensembles, or not: some differ in learning rate and initial weights only.
SWEEP = [
    small_config(),
    small_config({"optimizer.learning_rate": 30.0}),
    small_config({"replicates": 12, "seed": 3}),
    small_config({"optimizer.momentum": 0.9}, init="ones"),
    small_config({"training.record_weights": 0}, init="normal"),
    small_config({"training.record_weights": 100}, init="he_uniform"),
    small_config(activation="relu"),
    small_config(optimizer="online_gd"),
    small_config({"network.output": "identity", "optimizer.learning_rate": 1e4},
                 activation="identity", loss="squared_error"),
    small_config({"network.hidden": [2, 2], "network.bias": False}, task="parity"),
    small_config({"training.stop_when_converged": True, "training.epochs": 0}),
]  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """Return the digest of each run of the sweep, trained on its own."""
    return [result_of(config).result_digest for config in SWEEP]


# ------------------------------------------------------------------------------- the same bits


def columns_of(layers: dict[str, np.ndarray]) -> np.ndarray:
    """Put the weights of all layers side by side, a network's in one row."""
    arrays = layers.values()
    flat = [array.reshape(*array.shape[:-2], math.prod(array.shape[-2:])) for array in arrays]
    return np.concatenate(flat, axis=-1)


@pytest.mark.parametrize("index", range(len(SWEEP)))
def test_a_run_is_its_networks_trained(index):
    config = SWEEP[index]
    result = result_of(config)
    parameters = initial_parameters(config)
    n, n_kept = config.replicates, min(config.replicates, config.training.record_weights)
    rate, momentum = config.optimizer.learning_rate, config.optimizer.momentum
    setup = setup_of(config)
    rates = np.full((len(setup.architecture.shapes), n), rate)
    trained = train(setup, parameters, rates, np.full(n, momentum), kept=np.arange(n_kept))
    np.testing.assert_array_equal(result.loss, trained.loss.T)
    np.testing.assert_array_equal(result.gradient_norm, trained.gradient_norm.T)
    np.testing.assert_array_equal(result.weight_norm, trained.weight_norm.T)
    np.testing.assert_array_equal(result.outcome_code, trained.outcome)
    np.testing.assert_array_equal(result.epochs_to_converge, trained.epochs_to_converge)
    np.testing.assert_array_equal(result.final_loss, trained.final_loss)
    np.testing.assert_array_equal(columns_of(result.initial_weights), parameters.T)
    np.testing.assert_array_equal(columns_of(result.final_weights), trained.parameters.T)
    trajectory = {name: layer for name, layer in result.trajectory.items() if name != "epoch"}
    kept = trained.trajectory.transpose(2, 0, 1)
    np.testing.assert_array_equal(columns_of(trajectory), kept)
    np.testing.assert_array_equal(result.trajectory["epoch"], result.epochs)


@settings(max_examples=6, deadline=None, phases=[Phase.generate])  # one takes a second
@given(st.permutations(range(len(SWEEP))), st.sampled_from([1, 3, 7, 1024]), st.integers(1, 2))
def test_neighbours_shards_and_threads_do_not_matter(alone, order, shard_networks, threads):
    configs = [SWEEP[index].model_copy(update={"threads": threads}) for index in order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_NETWORKS", shard_networks)
        assert digests_of(configs) == [alone[index] for index in order]


def test_engines_do_not_matter(alone):
    compiled = [config.model_copy(update={"engine": "compiled"}) for config in SWEEP]
    assert digests_of(compiled) == alone


def test_all_runs_of_the_sweep_differ(alone):
    assert len(set(alone)) == len(SWEEP)


def test_more_replicates_leave_the_earlier_ones_as_they_are():
    few, many = results_of([small_config({"replicates": n}) for n in (3, 8)])
    np.testing.assert_array_equal(few.loss, many.loss[:3])
    for name, layer in few.final_weights.items():
        np.testing.assert_array_equal(layer, many.final_weights[name][:3])


def test_seeds_matter():
    digests = digests_of([small_config({"seed": seed}) for seed in range(4)])
    assert len(set(digests)) == 4


def test_runs_of_a_sweep_start_from_the_same_draws():
    one, tenth = results_of([small_config(init=init) for init in ("uniform", "uniform_small")])
    for name, layer in one.initial_weights.items():
        np.testing.assert_array_equal(0.1 * layer, tenth.initial_weights[name])


# ------------------------------------------------------------------------------ what is given


def test_shapes_have_the_replicates_first():
    result = result_of(small_config({"network.hidden": [4, 3]}))
    epochs = len(result.epochs)
    assert (
        result.loss.shape == result.gradient_norm.shape == result.weight_norm.shape == (5, epochs)
    )
    shapes = {"layer_1": (3, 4), "layer_2": (5, 3), "layer_3": (4, 1)}
    for name, shape in shapes.items():
        assert result.initial_weights[name].shape == (5, *shape)
        assert result.final_weights[name].shape == (5, *shape)
        assert result.trajectory[name].shape == (2, epochs, *shape)
    assert result.initial_weights.keys() == shapes.keys()
    assert list(result.trajectory) == ["epoch", *shapes]


def test_outcomes_have_names():
    outcomes = {name for result in results_of(SWEEP) for name in result.outcome.tolist()}
    assert outcomes <= {"stalled", "converged", "diverged"}
    assert {"stalled", "diverged"} <= outcomes


def test_given_weights_start_a_run(tmp_path):
    first = result_of(small_config({"training.epochs": 10}))
    write_arrays(tmp_path / "final.npz", first.final_weights)
    changes = {"training.epochs": 10, "init.path": str(tmp_path / "final.npz")}
    second = result_of(small_config(changes, init="given"))
    straight = result_of(small_config({"training.epochs": 20}))
    for name, layer in first.final_weights.items():
        np.testing.assert_array_equal(second.initial_weights[name], layer)
        np.testing.assert_array_equal(second.final_weights[name], straight.final_weights[name])


DIGESTED = {"epochs", "loss", "outcome_code", "epochs_to_converge", "solved", "initial_weights",
            "final_weights", "trajectory"}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(RunResult)])
def test_the_result_digest_covers_what_was_learnt(name):
    result = result_of(small_config())
    value = getattr(result, name)
    if isinstance(value, dict):
        changed = {key: array.copy() for key, array in value.items()}
        changed["layer_2"].flat[-1] = np.nextafter(changed["layer_2"].flat[-1], 9)
    else:
        changed = value.copy()
        changed.flat[-1] = not changed.flat[-1] if name == "solved" else changed.flat[-1] + 1
    other = replace(result, **{name: changed})
    assert (other.result_digest != result.result_digest) == (name in DIGESTED)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_factor_of_a_layer_is_a_learning_rate_of_its_own(engine):
    changes = {"engine": engine, "optimizer.learning_rate": 0.5}
    plain = result_of(small_config({**changes, "optimizer.layer_factors": [1.0, 1.0]}))
    assert plain.result_digest == result_of(small_config(changes)).result_digest
    halved = result_of(small_config({**changes, "optimizer.layer_factors": [1.0, 1e-300]}))
    first, last = "layer_1", "layer_2"
    np.testing.assert_allclose(
        halved.final_weights[last], halved.initial_weights[last], rtol=0, atol=1e-200
    )
    assert (halved.final_weights[first] != halved.initial_weights[first]).any()
    doubled = small_config({"engine": engine, "optimizer.learning_rate": 1.0})
    same = small_config({**changes, "optimizer.layer_factors": [2.0, 2.0]})
    assert result_of(same).result_digest == result_of(doubled).result_digest


@pytest.mark.parametrize("factor", [1.0, 0.1, 3.0])
def test_a_scale_multiplies_the_initial_weights(factor):
    plain, scaled = (result_of(small_config({"init.scale": s})) for s in (1.0, factor))
    for name, layer in plain.initial_weights.items():
        np.testing.assert_array_equal(scaled.initial_weights[name], layer * factor)


# --------------------------------------------------------------------------- what goes wrong


def test_one_run_that_fails_lets_the_others_finish(monkeypatch, alone):
    def failing(config: RunConfig) -> np.ndarray:
        if config.seed == 3:
            raise MemoryError("no room")
        return initial_parameters(config)

    monkeypatch.setattr(shards, "initial_parameters", failing)
    results = trained_once(SWEEP)
    assert isinstance(results.pop(2), MemoryError)
    assert [result.result_digest for result in results] == alone[:2] + alone[3:]


def test_an_engine_that_fails_fails_the_runs_of_its_shard(monkeypatch):
    def failing(*_: Any, **__: Any) -> None:
        raise FloatingPointError("no luck")

    monkeypatch.setattr(shards, "train_function", lambda name: failing)
    results = trained_once(SWEEP[:3])
    assert {type(result) for result in results} == {FloatingPointError}


def test_no_runs_give_no_results():
    assert list(train_runs([])) == []


def test_leaving_early_stops_the_training():
    endless = small_config({"training.epochs": 10**9})
    results = train_runs([small_config(), endless.model_copy(update={"threads": 2})])
    index, _ = next(results)
    assert index == 0
    results.close()  # returns, although the other run has not finished


def test_progress_adds_up_to_all_network_epochs():
    counts: list[int] = []
    configs = [small_config(), small_config({"seed": 1})]
    assert len(list(train_runs(configs, progress=counts.append))) == 2
    assert sum(counts) == 2 * 5 * 20


def test_two_trainings_in_one_process_do_not_disturb_each_other(alone):
    slow = small_config({"training.epochs": 2_000})
    counts: dict[str, list[int]] = {"slow": [], "quick": []}
    first = train_runs([SWEEP[0], slow], progress=counts["slow"].append)
    next(first)
    second = list(train_runs(SWEEP[:1], progress=counts["quick"].append))
    assert sum(counts["quick"]) == 5 * 20
    [(_, rest)] = first
    assert not isinstance(rest, Exception)
    assert sum(counts["slow"]) == 5 * 20 + 5 * 2_000
    assert [result.result_digest for _, result in second] == alone[:1]
