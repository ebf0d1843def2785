"""The epoch loop: bit for bit a plain loop, whoever trains next to whom; and how it ends."""

import inspect
import sys
import types
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from setups import (
    XOR_INPUTS,
    XOR_TARGETS,
    Ensemble,
    assert_same_bits,
    drawn_ensemble,
    ensembles,
    make_ensemble,
    make_setup,
    select,
)

from bp_pipeline.core import network, training
from bp_pipeline.core.network import split_layers
from bp_pipeline.core.training import (
    CONVERGED,
    DIVERGED,
    NEVER,
    OUTCOMES,
    STALLED,
    recorded_epochs,
    train,
)

INF, NAN = float("inf"), float("nan")

# A network without hidden layer that computes y = x, and learns it from two samples.
LINEAR = {
    "layer_sizes": (1, 1), "activation": "identity", "output": "identity",
    "loss": "squared_error", "inputs": ((0.0,), (1.0,)), "targets": ((0.0,), (1.0,)),
}  # fmt: skip


def train_one(values: list[float], learning_rate: float, **changes: Any) -> training.Trained:
    """Train a single network from these weights."""
    parameters = np.array(values, dtype=np.float64)[:, None]
    setup, kept = make_setup(**changes), np.zeros(1, dtype=np.int64)
    rate = np.full((len(setup.architecture.shapes), 1), learning_rate)
    return train(setup, parameters, rate, np.zeros(1), kept=kept)


# -------------------------------------------------------------------------- equal to a plain loop


@settings(max_examples=60, deadline=None)
@given(ensembles(max_networks=3, max_epochs=8))
def test_an_ensemble_equals_a_plain_loop_over_its_networks(recipe):
    ensemble = drawn_ensemble(**recipe)
    assert_same_bits(ensemble.train_with(train), ensemble.train_with(reference.train))


CASES = {
    "batch": {},
    "sum": {"mean_gradient": False},
    "three samples": {"inputs": XOR_INPUTS[:3], "targets": XOR_TARGETS[:3]},  # ⅓ is rounded
    "online": {"online": True},
    "no bias": {"bias": False},
    "biases fixed": {"train_bias": False},
    "stop when converged": {"stop_when_converged": True},
    "stop when converged, online": {"stop_when_converged": True, "online": True},
    "diverging": {"activation": "identity", "output": "identity", "loss": "squared_error"},
    "stop when converged, diverging": {
        "activation": "identity", "output": "identity", "loss": "squared_error",
        "stop_when_converged": True, "targets": ((0.0,), (1.0,), (0.0,), (1.0,)), "tolerance": 0.5,
    },
    "deep": {"layer_sizes": (2, 3, 2, 1), "activation": "softplus", "loss": "squared_error"},
}  # fmt: skip


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_mixed_networks_equal_a_plain_loop(changes):
    ensemble = make_ensemble(5, epochs=25, **changes)
    trained = ensemble.train_with(train)
    assert_same_bits(trained, ensemble.train_with(reference.train))


def test_the_cases_above_end_in_every_way():
    ensembles = [make_ensemble(5, epochs=25, **changes) for changes in CASES.values()]
    codes = np.concatenate([ensemble.train_with(train).outcome for ensemble in ensembles])
    assert min(np.bincount(codes, minlength=3)) >= 2
    assert OUTCOMES == reference.OUTCOMES


REORDERINGS = [
    # the sum over inputs, from the last to the first
    ("for i in range(1, len(w)):", "for i in reversed(range(1, len(w))):"),
    # over the outputs, on the way back
    ("for o in range(1, w.shape[1]):", "for o in reversed(range(1, w.shape[1])):"),
    # over the samples
    ("for s in range(1, len(z)):", "for s in reversed(range(1, len(z))):"),
    # of velocity and gradient, with what it is added to
    (
        "np.add(self.parameters, self.velocity, out=self.parameters, where=networks)",
        "self.parameters[:] = (self.parameters - self._term) + (self.velocity + self._term)",
    ),
]


@pytest.mark.parametrize(("original", "reordered"), REORDERINGS)
def test_a_reordered_operation_is_noticed(original, reordered, monkeypatch):
    source = inspect.getsource(network)
    assert source.count(original) == 1
    mutated = types.ModuleType("mutated_network")
    monkeypatch.setitem(sys.modules, "mutated_network", mutated)
    exec(compile(source.replace(original, reordered), "mutated_network", "exec"), mutated.__dict__)
    ensemble = make_ensemble(5, layer_sizes=(2, 4, 3, 1))
    expected = ensemble.train_with(train)
    for method in ("forward", "update", "_hidden_delta", "_gradient"):
        monkeypatch.setattr(network.Block, method, getattr(mutated.Block, method))
    with pytest.raises(AssertionError, match="differs in"):
        assert_same_bits(ensemble.train_with(train), expected)


# ------------------------------------------------------------------- nobody's neighbours matter


@settings(max_examples=40, deadline=None)
@given(ensembles(max_networks=12, max_epochs=15), st.data())
def test_position_and_neighbours_do_not_matter(recipe, data):
    ensemble = drawn_ensemble(**recipe)
    n_networks = len(ensemble.momentum)
    chosen = data.draw(
        st.permutations(range(n_networks)).map(lambda order: order[: n_networks // 2])
    )
    setup, *arrays, _ = ensemble
    alone = train(setup, *(a[..., chosen] for a in arrays), kept=np.arange(len(chosen)))
    together = ensemble._replace(kept=np.array(chosen, dtype=np.int64)).train_with(train)
    assert_same_bits(select(alone, slice(None)), select(together, chosen))
    assert_same_bits({"trajectory": alone.trajectory}, {"trajectory": together.trajectory})


@pytest.mark.parametrize(
    ("scale", "changes"),
    [
        pytest.param(1.0, {"targets": ((0.0,), (1e200,))}, id="large target"),
        pytest.param(1e140, {"output": "leaky_relu", "slope": 1e50}, id="steep leaky_relu"),
    ],
)
def test_a_loss_that_overflows_counts_as_divergence_with_any_neighbours(scale, changes):
    setup = make_setup(epochs=0, **{**LINEAR, **changes})
    parameters = np.array([[0.0, 0.0], [-scale, 1e200]])
    numbers = [parameters, np.full((1, 2), 0.1), np.zeros(2)]
    together = train(setup, *numbers)
    alone = train(setup, *(a[..., :1] for a in numbers))
    assert_same_bits(select(alone, slice(None)), select(together, slice(0, 1)))


def test_arguments_stay_as_they_are():
    ensemble = make_ensemble(5, stop_when_converged=True)
    before = [array.copy() for array in ensemble[1:]]
    ensemble.train_with(train)
    for array, copy in zip(ensemble[1:], before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_trajectory_holds_the_kept_networks_in_their_order():
    ensemble = make_ensemble(6)
    every = ensemble._replace(kept=np.arange(6)).train_with(train).trajectory
    some = ensemble._replace(kept=np.array([4, 1])).train_with(train).trajectory
    np.testing.assert_array_equal(some, every[..., [4, 1]])
    np.testing.assert_array_equal(every[0], ensemble.parameters)
    assert train(*ensemble[:4]).trajectory.shape[-1] == 0


# ------------------------------------------------------------------------------- how it ends


def test_divergence_is_infinite_from_its_epoch_on():
    # The error is multiplied by 1 − 30·λ = −38.3 an epoch, with λ = (1.5 + √1.25)/2 the larger
    # eigenvalue of mean(x·xᵀ); its square passes the largest float64 after about 98 epochs.
    ensemble = Ensemble(
        make_setup(**LINEAR, epochs=400, record=401),
        np.array([[0.0], [0.9]]), np.array([[30.0]]), np.zeros(1), np.zeros(1, dtype=np.int64),
    )  # fmt: skip
    trained = ensemble.train_with(train)
    loss = trained.loss[:, 0]
    end = int(np.argmax(np.isinf(loss)))
    assert 96 <= end <= 100
    assert np.isfinite(loss[:end]).all()
    for curve in (trained.loss, trained.gradient_norm, trained.weight_norm):
        assert (curve[end:] == INF).all()
    np.testing.assert_array_equal(
        trained.trajectory[end:],
        np.broadcast_to(trained.parameters, trained.trajectory[end:].shape),
    )
    assert trained.final_loss == [INF]


def test_divergence_after_convergence_counts_as_converged():
    trained = train_one([0.0, 0.9], 30.0, **LINEAR, epochs=400)
    assert trained.outcome == [CONVERGED]
    assert trained.epochs_to_converge == [0]
    assert not trained.solved
    assert trained.final_loss == [INF]
    assert trained.loss[-1] == [INF]
    assert not np.isfinite(trained.parameters).all() or (np.abs(trained.parameters) > 1e100).any()


def test_divergence_before_convergence_counts_as_diverged():
    trained = train_one([0.0, 9.0], 30.0, **LINEAR, epochs=400)
    assert trained.outcome == [DIVERGED]
    assert trained.epochs_to_converge == [NEVER]


# A weight that is to become 0, and is multiplied by 1 − learning rate an epoch.
SHRINKING = {**LINEAR, "bias": False, "inputs": ((1.0,),), "targets": ((0.0,),)}


@pytest.mark.parametrize(
    ("learning_rate", "outcome"), [(11.0, STALLED), (np.nextafter(11.0, 12.0), DIVERGED)]
)
def test_a_loss_of_more_than_100_times_the_first_is_divergence(learning_rate, outcome):
    trained = train_one([1.0], learning_rate, **SHRINKING, epochs=1)
    assert trained.outcome == [outcome]
    assert trained.final_loss == trained.loss[-1] == [0.5 * trained.parameters[0, 0] ** 2]


def test_what_was_learnt_can_be_lost_again():
    # 0.3, then 0.3·(1 − 3)ᵉ: within 0.4 at epoch 0, and outside of it ever after
    trained = train_one([0.3], 3.0, **SHRINKING, epochs=3)
    assert (trained.outcome, trained.epochs_to_converge, trained.solved) == (
        [CONVERGED],
        [0],
        [False],
    )
    stopped = train_one([0.3], 3.0, **SHRINKING, epochs=3, stop_when_converged=True)
    assert (stopped.outcome, stopped.epochs_to_converge, stopped.solved) == (
        [CONVERGED],
        [0],
        [True],
    )
    assert train_one([0.3], 0.5, **SHRINKING, epochs=3).solved


def test_each_layer_has_its_learning_rate():
    setup, weights = make_setup(epochs=1), np.full((13, 2), 0.5)
    trained = train(setup, weights, np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))
    moved = [(layer != 0.5).any(axis=(0, 1)) for layer in split_layers(
        setup.architecture, trained.parameters)]  # fmt: skip
    np.testing.assert_array_equal(moved, [[True, False], [False, True]])


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_weights_that_are_not_finite_diverge_at_once_and_alone(value, activation):
    ensemble = make_ensemble(4, activation=activation)
    expected = ensemble.train_with(train)
    ensemble.parameters[5, 2] = value
    trained = ensemble.train_with(train)
    assert trained.outcome[2] == DIVERGED
    assert (trained.loss[:, 2] == INF).all()
    np.testing.assert_array_equal(trained.parameters[:, 2], ensemble.parameters[:, 2])
    others = [0, 1, 3]
    assert_same_bits(select(trained, others), select(expected, others))


def test_an_infinite_weight_diverges_even_where_the_outputs_are_right():
    # tanh(∞) is 1, and sigmoid(10·1) is close to its target.
    table = {"inputs": ((1.0,),), "targets": ((1.0,),)}
    trained = train_one([0.0, INF, 0.0, 10.0], 0.1, layer_sizes=(1, 1, 1), **table)
    assert trained.outcome == [DIVERGED]
    assert trained.epochs_to_converge == [NEVER]


def test_a_saturated_loss_is_large_but_finite():
    # A pre-activation of 1e155 with target 0 costs 1e155 nats: suspect, but no divergence.
    trained = train_one([1e155, 0.0, 0.0], 1e-300, layer_sizes=(2, 1), epochs=1)
    assert trained.outcome == [STALLED]
    assert np.isfinite(trained.loss).all()


@pytest.mark.parametrize("online", [False, True])
def test_no_epochs_give_the_initial_network(online):
    ensemble = make_ensemble(3, epochs=0, online=online)
    trained = ensemble.train_with(train)
    assert ensemble.setup.recorded_epochs.tolist() == [0]
    assert trained.loss.shape == (1, 3)
    np.testing.assert_array_equal(trained.parameters, ensemble.parameters)
    np.testing.assert_array_equal(trained.final_loss, trained.loss[0])
    assert (trained.gradient_norm > 0).all()


def test_an_exact_solution_converges_at_epoch_0():
    trained = train_one([0.0, 1.0], 0.1, **LINEAR, epochs=3, tolerance=1e-9)
    assert trained.outcome == [CONVERGED]
    assert trained.epochs_to_converge == [0]
    assert (trained.loss == 0.0).all()
    assert (trained.gradient_norm == 0.0).all()


def test_an_output_of_exactly_a_half_is_on_no_side():
    trained = train_one([0.0, 0.0, 0.0], 0.5, layer_sizes=(2, 1), epochs=20, tolerance=0.5)
    assert (trained.loss == trained.loss[0]).all()  # the saddle: sigmoid(0) for all four samples
    assert trained.outcome == [STALLED]


@pytest.mark.parametrize("online", [False, True])
def test_what_stops_when_converged_stays_as_it_was_then(online):
    going_on = make_ensemble(20, epochs=80, record=81, online=online)
    stopping = going_on._replace(
        setup=make_setup(epochs=80, record=81, online=online, stop_when_converged=True)
    )
    long, short = going_on.train_with(train), stopping.train_with(train)
    np.testing.assert_array_equal(long.outcome, short.outcome)
    np.testing.assert_array_equal(long.epochs_to_converge, short.epochs_to_converge)
    assert (short.outcome == CONVERGED).sum() >= 3
    for c in np.flatnonzero(short.outcome == CONVERGED):
        end = short.epochs_to_converge[c]
        for frozen, full in zip(short[:3], long[:3], strict=True):
            np.testing.assert_array_equal(frozen[: end + 1, c], full[: end + 1, c])
            assert (frozen[end:, c] == full[end, c]).all()
        assert short.final_loss[c] == long.loss[end, c]
        if c in going_on.kept:
            np.testing.assert_array_equal(short.parameters[:, c], long.trajectory[end, :, c])


def test_a_symmetric_network_stays_symmetric():
    # Units that start equal get equal gradients for ever.
    setup = make_setup(epochs=300)
    trained = train(setup, np.ones((13, 1)), np.ones((2, 1)), np.zeros(1))
    hidden, output = trained.parameters[:9, 0].reshape(3, 3), trained.parameters[10:, 0]
    assert (hidden == hidden[:, :1]).all()
    assert (output == output[0]).all()
    assert trained.outcome == [STALLED]


# ----------------------------------------------------------------------------- recorded epochs


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**6) | st.integers(1, 2**53), st.integers(2, 500))
def test_recorded_epochs_are_few_sorted_and_have_both_ends(epochs, record):
    chosen = recorded_epochs(epochs, record).tolist()
    assert len(chosen) <= record
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, epochs)
    if record > epochs:
        assert chosen == list(range(epochs + 1))


@pytest.mark.parametrize(("epochs", "record"), [(2000, 60), (10**6, 20), (50_000, 200), (300, 50)])
def test_recorded_epochs_are_spread_over_the_logarithm(epochs, record):
    chosen = recorded_epochs(epochs, record)
    assert len(chosen) == record
    steps = np.diff(chosen)
    assert (np.diff(steps[:-1]) >= 0).all()  # the last one only goes as far as the end
    n = chosen + 1
    ratios = n[1:-1] / n[:-2]
    assert np.ptp(ratios[n[:-2] >= 100]) <= 1 / 100  # what rounding to whole epochs can change


def test_two_recorded_epochs_are_the_ends():
    assert recorded_epochs(12345, 2).tolist() == [0, 12345]
    assert recorded_epochs(0, 60).tolist() == [0]


def test_recorded_epochs_are_what_they_always_were():
    expected = [0, 1, 2, 3, 5, 8, 12, 18, 27, 41, 62, 93, 140, 210, 315, 473, 710, 1065, 1598, 2000]
    assert recorded_epochs(2000, 20).tolist() == expected
    assert recorded_epochs(2**53, 5).tolist() == [0, 9741, 94906563, 924579746487, 2**53]


# ----------------------------------------------------------------------------------- progress


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({}, STALLED), ({"stop_when_converged": True, **LINEAR, "tolerance": 0.5}, CONVERGED),
     ({**LINEAR, "tolerance": 1e-9}, DIVERGED)],
)  # fmt: skip
def test_progress_adds_up_to_all_network_epochs(changes, outcome):
    ensemble = make_ensemble(7, epochs=200, **changes)
    ensemble.learning_rate[:] = 10.0 if outcome == DIVERGED else 0.01
    done: list[int] = []
    trained = ensemble.train_with(train, progress=done.append)
    assert outcome in trained.outcome
    assert sum(done) == 7 * 200


def test_what_progress_raises_ends_training():
    def stop(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        make_ensemble(3).train_with(train, progress=stop)
