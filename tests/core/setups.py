"""What the tests of training share: setups, drawn ensembles, comparison to the last bit."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.initializers import draw_words, initialize
from bp_pipeline.core.network import Architecture
from bp_pipeline.core.training import Setup, Trained

XOR_INPUTS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
XOR_TARGETS = ((0.0,), (1.0,), (1.0,), (0.0,))

# Each loss with the output activations that it goes with.
PAIRS = [("logistic", "sigmoid"), *(("squared_error", name) for name in ACTIVATIONS)]

ALL_KINDS = list(product(ACTIVATIONS, PAIRS))
# Each activation in hidden layers, and each pair, at least once: kernels take time to compile.
KINDS = list(zip([*ACTIVATIONS, "tanh"], [*PAIRS[1:], PAIRS[0]], strict=True))

# From slow to what diverges in an epoch or two, and overflows in one.
LEARNING_RATES = (0.01, 0.5, 3.0, 30.0, 1e4, 1e100)
MOMENTA = (0.0, 0.5, 0.9)
# Of the initial weights; the large ones overflow, or give pre-activations near where losses do.
SCALES = (1.0, 0.1, 30.0, 1e-160, 1e150, 1e300)


# "A Step by Step Backpropagation Example" (2015): 2-2-2, logistic units, sum of ½(t − o)², one
# sample, learning rate 0.5; a bias for each layer, shared by its units and never updated.
MAZUR = {
    "layer_sizes": (2, 2, 2), "activation": "sigmoid", "loss": "squared_error",
    "inputs": ((0.05, 0.10),), "targets": ((0.01, 0.99),),
}  # fmt: skip
MAZUR_WEIGHTS = [0.35, 0.35, 0.15, 0.25, 0.20, 0.30, 0.60, 0.60, 0.40, 0.50, 0.45, 0.55]


class Ensemble(NamedTuple):
    """The arguments of `train`."""

    setup: Setup
    parameters: np.ndarray
    learning_rate: np.ndarray
    momentum: np.ndarray
    kept: np.ndarray

    def train_with(self, train: Any, **options: Any) -> Trained:
        return train(*self[:4], kept=self.kept, **options)


def make_setup(**changes: Any) -> Setup:
    """2-3-1 on XOR, tanh, logistic, batch updates with the mean gradient; unless said otherwise."""
    architecture = {
        "layer_sizes": (2, 3, 1), "bias": True, "train_bias": True, "activation": "tanh",
        "output": "sigmoid", "slope": 0.01, "loss": "logistic", "mean_gradient": True,
    }  # fmt: skip
    training = {
        "inputs": XOR_INPUTS, "targets": XOR_TARGETS, "online": False, "epochs": 50,
        "tolerance": 0.4, "stop_when_converged": False, "record": 12,
    }  # fmt: skip
    for key, value in changes.items():
        (architecture if key in architecture else training)[key] = value
    return Setup(architecture=Architecture(**architecture), **training)


def draw_parameters(setup: Setup, n_networks: int, *, seed: int = 0, bound: float = 1) -> Any:
    """Draw every weight from the uniform distribution in ±`bound`."""
    sizes, bias = setup.architecture.layer_sizes, setup.architecture.bias
    words = draw_words(seed, sizes, bias=bias, n_networks=n_networks)
    return initialize(words, sizes, has_bias=bias, name="uniform", bias="same", bound=bound)


def make_ensemble(n_networks: int = 10, *, seed: int = 0, **changes: Any) -> Ensemble:
    """Make networks that differ in initial weights, learning rate and momentum."""
    setup = make_setup(**changes)
    rng = np.random.default_rng(seed)
    return Ensemble(
        setup,
        draw_parameters(setup, n_networks, seed=seed),
        rng.choice((0.1, 1.0, 10.0), (len(setup.architecture.shapes), n_networks)),
        rng.choice(MOMENTA, n_networks),
        np.arange(min(4, n_networks)),
    )


def ensembles(
    max_networks: int = 20, max_epochs: int = 30, kinds: Sequence[Any] = ALL_KINDS
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw arguments of `drawn_ensemble`: what is learnt, by which networks, trained how."""
    return st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32 - 1),
            "table": st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3)),
            "hidden": st.lists(st.integers(1, 6), max_size=3),
            "kind": st.sampled_from(kinds),
            "target_scale": st.sampled_from([1.0, 1.0, 1e200]),
            "n_networks": st.integers(1, max_networks),
            "n_kept": st.integers(0, max_networks),
            "n_rates": st.integers(1, len(LEARNING_RATES)),
            "n_scales": st.integers(1, len(SCALES)),
            "changes": st.fixed_dictionaries(
                {
                    "bias": st.booleans(),
                    "train_bias": st.booleans(),
                    "slope": st.sampled_from([0.01, 0.0, 0.3, 1e50]),
                    "mean_gradient": st.booleans(),
                    "online": st.booleans(),
                    "epochs": st.integers(0, max_epochs),
                    "tolerance": st.sampled_from([0.4, 0.5, 0.1]),
                    "stop_when_converged": st.booleans(),
                    "record": st.integers(2, 20),
                }
            ),
        }
    )


def drawn_ensemble(
    *,
    seed: int,
    table: tuple[int, int, int],
    hidden: list[int],
    kind: tuple[str, tuple[str, str]],
    target_scale: float,
    n_networks: int,
    n_kept: int,
    n_rates: int,
    n_scales: int,
    changes: dict[str, Any],
) -> Ensemble:
    """Make an ensemble, its numbers drawn from `seed`; `table` counts samples, inputs, outputs."""
    rng = np.random.default_rng(seed)
    (n_samples, n_inputs, n_outputs), (activation, (loss, output)) = table, kind
    targets = rng.integers(0, 2, (n_samples, n_outputs)) * 1.0
    if loss == "squared_error":
        targets *= target_scale * rng.normal(size=targets.shape)
    setup = make_setup(
        layer_sizes=(n_inputs, *hidden, n_outputs),
        inputs=_rows(rng.choice([0.0, 1.0, -1.0, 0.3], (n_samples, n_inputs))),
        targets=_rows(targets),
        activation=activation,
        loss=loss,
        output=output,
        **changes,
    )
    scale = rng.choice(SCALES[:n_scales], n_networks)
    return Ensemble(
        setup,
        draw_parameters(setup, n_networks, seed=int(rng.integers(2**32))) * scale,
        rng.choice(LEARNING_RATES[:n_rates], (len(hidden) + 1, n_networks)),
        rng.choice(MOMENTA, n_networks),
        rng.permutation(n_networks)[:n_kept],
    )


def _rows(array: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, array.tolist()))


def select(trained: Trained, networks: Any) -> dict[str, np.ndarray]:
    """Take some networks out of a result; the trajectory, which has its own, is left out."""
    return {name: a[..., networks] for name, a in trained._asdict().items() if name != "trajectory"}


def assert_same_bits(one: Any, other: Any) -> None:
    """Compare named arrays, or two results: shapes, types and bits, every NaN being the same."""
    one, other = (x._asdict() if isinstance(x, Trained) else x for x in (one, other))
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].shape == other[name].shape, name
        assert one[name].dtype == other[name].dtype, name
        differing = _bits(one[name]) != _bits(other[name])
        assert not differing.any(), (
            f"{name} differs in {differing.sum()} of {differing.size} places, first "
            f"{one[name][differing][0]!r} and {other[name][differing][0]!r} at "
            f"{np.argwhere(differing)[0]}"
        )


def _bits(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float64:
        return array
    return np.where(np.isnan(array), np.nan, array).view(np.int64)
