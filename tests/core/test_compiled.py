"""The compiled engine: bit for bit the reference engine, on any CPU, however the work is cut up.

Run as a script it prints, for each engine named, the digests of what it makes of some ensembles.
The tests do so in fresh processes, since NumPy and Numba choose their instructions at import.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite.binding import get_host_cpu_features
from setups import (
    KINDS,
    MAZUR,
    MAZUR_WEIGHTS,
    XOR_TARGETS,
    Ensemble,
    assert_same_bits,
    drawn_ensemble,
    ensembles,
    make_ensemble,
    make_setup,
    select,
)

from bp_pipeline.core import compiled, training
from bp_pipeline.core.initializers import draw_words, initialize
from bp_pipeline.core.kinds import Kind, compile_
from bp_pipeline.core.network import Block, evaluate
from bp_pipeline.digests import digest_arrays

ENGINES = {"numpy": training.train, "compiled": compiled.train}
# To compile takes seconds: each kind has layer sizes and bias of its own, two those of `digests`.
SHAPES = [
    ((2, 2, 2, 1), True), ((2, 3, 1), True), ((2, 3, 1), True), ((2, 2, 2, 1), False),
    ((1, 3, 2), True), ((1, 3, 2), False), ((2, 3, 1), False),
]  # fmt: skip
COMPILED_IN = [(*kind, *shape) for kind, shape in zip(KINDS, SHAPES, strict=True)]
COMPILED_IN += [(*KINDS[0], (2, 1), bias) for bias in (True, False)]
TRAINED = ({}, {"online": True}, {"train_bias": False})
# Each way with one kind, as it takes seconds to compile; all of them with `-m heavy`.
TURNS = [
    pytest.param(*kind, how, marks=() if number == turn else pytest.mark.heavy)
    for number, kind in enumerate(COMPILED_IN)
    for turn, how in enumerate(TRAINED)
]
CPU_LEVELS = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
OLDEST_CPU = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "NPY_DISABLE_CPU_FEATURES": " ".join(CPU_LEVELS),
}


@pytest.fixture
def compiled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small jobs, too, be trained by kernels of their own."""
    monkeypatch.setattr(compiled, "_WORTH_COMPILING", 0)


def assert_engines_agree(ensemble: Ensemble) -> None:
    expected = ensemble.train_with(training.train)
    assert_same_bits(ensemble.train_with(compiled.train), expected)


# ------------------------------------------------------------------------------ the same bits


@settings(max_examples=60, deadline=None)
@given(ensembles(max_networks=40, kinds=KINDS), st.sampled_from([1, 1 << 22]))
def test_it_equals_the_reference_engine(recipe, products_per_call):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_PRODUCTS_PER_CALL", products_per_call)
        assert_engines_agree(drawn_ensemble(**recipe))


@pytest.mark.usefixtures("compiled_in")
@pytest.mark.parametrize(("activation", "pair", "sizes", "bias", "how"), TURNS)
def test_functions_and_layer_sizes_can_be_compiled_in(activation, pair, sizes, bias, how):
    rng = np.random.default_rng(0)
    table = {"inputs": rng.normal(size=(5, sizes[0])), "targets": rng.random((5, sizes[-1]))}
    rows = {key: tuple(map(tuple, values.tolist())) for key, values in table.items()}
    kind = {"activation": activation, "loss": pair[0], "output": pair[1]}
    shape = {"layer_sizes": sizes, "bias": bias, **how}
    assert_engines_agree(make_ensemble(20, epochs=20, **kind, **rows, **shape))
    compiled_kinds = [signature[0].kind for signature in compiled.kernel.signatures]
    assert Kind(activation, pair[1], pair[0], sizes, bias) in compiled_kinds


@pytest.mark.parametrize("online", [False, True], ids=["batch", "online"])
@pytest.mark.parametrize("stop_when_converged", [False, True])
def test_networks_that_freeze_leave_the_others_alone(stop_when_converged, online):
    changes = {"stop_when_converged": stop_when_converged, "online": online}
    ensemble = make_ensemble(100, epochs=300, **changes)
    ensemble.parameters[3, ::5] = 1e300
    ensemble.parameters[4, 7] = np.nan
    assert_engines_agree(ensemble)
    assert set(ensemble.train_with(compiled.train).outcome) == {0, 1, 2}


def test_a_weight_that_is_not_finite_is_noticed_where_no_output_is():
    # One step takes weights to ±∞, of which tanh is ±1.
    table = {"inputs": ((1.0, 1.0),), "targets": ((1.0,),)}
    ensemble = make_ensemble(20, epochs=30, record=2, **table)
    ensemble.parameters[:, 3] = [0.01] * 9 + [-8.0, 8.0, 8.0, 8.0]
    ensemble.learning_rate[:, 3] = 1.7e308, 1e-300
    one_step = ensemble._replace(setup=replace(ensemble.setup, epochs=1)).train_with(compiled.train)
    outputs = outputs_of(ensemble.setup, one_step.parameters)
    assert np.isinf(one_step.parameters[:, 3]).any()
    assert np.isfinite(outputs[..., 3]).all()
    assert one_step.outcome[3] == training.DIVERGED
    assert_engines_agree(ensemble)


def test_threads_do_not_matter():
    ensemble = make_ensemble(64, epochs=200, stop_when_converged=True)
    together = ensemble.train_with(compiled.train)
    parts = [slice(first, first + 16) for first in range(0, 64, 16)]

    def train_part(part: slice) -> training.Trained:
        return compiled.train(ensemble.setup, *(array[..., part] for array in ensemble[1:4]))

    for n_threads in (1, 2):
        with ThreadPoolExecutor(n_threads) as executor:
            results = list(executor.map(train_part, parts))
        for part, result in zip(parts, results, strict=True):
            assert_same_bits(select(result, slice(None)), select(together, part))


def test_a_reordered_sum_is_noticed(monkeypatch):
    def reversed_gradient(block: Block, layer: int, samples: slice) -> None:
        z, delta = block.units[layer][samples], block.deltas[layer][samples]
        block.gradients[layer][:] = 0.0
        for s in reversed(range(len(z))):
            block.gradients[layer][:] += z[s, :, None] * delta[s]

    monkeypatch.setattr(Block, "_gradient", reversed_gradient)
    with pytest.raises(AssertionError, match="differs in"):
        assert_engines_agree(make_ensemble(5))


# -------------------------------------------------------------------------- the same everywhere


def digests(engine: str) -> dict[str, str]:
    """Digest what an engine makes of ensembles with every activation, loss, and initializer."""
    he = {"name": "variance_scaling", "variance_factor": 2.0, "fan": "in"}
    options = {
        "normal": {"name": "normal", "std": 1.0},
        "truncated": {**he, "distribution": "truncated_normal"},
    }
    results = {}
    for number, (activation, (loss, output)) in enumerate(KINDS):
        for kind, numbers in options.items():
            changes = {"activation": activation, "loss": loss, "output": output}
            ensemble = make_ensemble(20, online=bool(number % 2), epochs=20, **changes)
            words = draw_words(number, (2, 3, 1), bias=True, n_networks=20)
            drawn = initialize(words, (2, 3, 1), has_bias=True, bias="same", **numbers)
            with pytest.MonkeyPatch.context() as patch:
                if number in (1, 2):  # these are compiled in
                    patch.setattr(compiled, "_WORTH_COMPILING", 0)
                trained = ensemble._replace(parameters=drawn).train_with(ENGINES[engine])
            arrays = {"initial": drawn, **trained._asdict()}
            results[f"{activation} {loss} {output} {kind}"] = digest_arrays(arrays)
    return results


# x86-64: vfmadd231pd and the like; arm64: fmadd, fmla and the like.
FUSED = re.compile(r"\b(vfn?m(add|sub)|fn?m(add|sub)|fml[as])")


@pytest.mark.usefixtures("compiled_in")
def test_no_product_is_fused_with_a_sum(monkeypatch):
    # What Numba has from disk it cannot show.
    kernel = compile_(compiled.kernel.py_func, no_cpython_wrapper=False)
    monkeypatch.setattr(compiled, "kernel", kernel)
    make_ensemble(1, epochs=1).train_with(compiled.train)
    for assembly in kernel.inspect_asm().values():
        assert re.search(r"\b(v?mulpd|fmul)\b", assembly)
        assert not FUSED.search(assembly)


@pytest.mark.skipif(not get_host_cpu_features().get("fma"), reason="this processor fuses nothing")
def test_a_fused_product_is_noticed():
    fused = numba.njit("f8(f8, f8, f8)", fastmath={"contract"})(lambda a, b, c: a * b + c)
    assert all(map(FUSED.search, fused.inspect_asm().values()))


@pytest.fixture(scope="module")
def expected_digests() -> dict[str, str]:
    return digests("numpy")


def start(*engines: str, **environment: str) -> subprocess.Popen[str]:
    path = str(Path(training.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-W", "error", __file__, *engines]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, dict[str, str]]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(output)


@pytest.fixture(scope="module", autouse=True)
def oldest_cpu() -> Iterator[subprocess.Popen[str]]:
    """Start both engines for the oldest CPU first: they compile beside the other tests."""
    with start(*ENGINES, **OLDEST_CPU) as process:
        yield process
        process.kill()


def test_the_compiled_engine_gives_the_same_digests(expected_digests):
    assert digests("compiled") == expected_digests


@pytest.mark.parametrize("level", range(len(CPU_LEVELS)))
def test_the_instructions_numpy_chooses_do_not_matter(level, expected_digests):
    process = start("numpy", NPY_DISABLE_CPU_FEATURES=" ".join(CPU_LEVELS[level:]))
    assert finish(process) == {"numpy": expected_digests}


def test_the_oldest_cpu_gives_the_same_digests(oldest_cpu, expected_digests):
    assert finish(oldest_cpu) == dict.fromkeys(ENGINES, expected_digests)


# ---------------------------------------------------------------------------- the same manners


def test_arguments_stay_as_they_are():
    ensemble = make_ensemble(5, stop_when_converged=True)
    before = [array.copy() for array in ensemble[1:]]
    ensemble.train_with(compiled.train)
    for array, copy in zip(ensemble[1:], before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("products_per_call", [1, 10_000, 1 << 22])
def test_progress_adds_up_to_all_network_epochs(products_per_call, monkeypatch):
    monkeypatch.setattr(compiled, "_PRODUCTS_PER_CALL", products_per_call)
    ensemble = make_ensemble(40, epochs=40, stop_when_converged=True)
    done: list[int] = []
    ensemble.train_with(compiled.train, progress=done.append)
    assert sum(done) == 40 * 40
    assert min(done) >= 0


def test_what_progress_raises_ends_training():
    def stop(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        make_ensemble(3).train_with(compiled.train, progress=stop)


# ---------------------------------------------------------------------------------- worked

# Trask (2015), "A Neural Network in 11 lines of Python" and its sequel: mean |error| as printed,
# after so many iterations, for learning rates 0.01, 0.1 and 1.
TRASK_INPUTS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0))
TRASK_ERRORS = {
    0: ["0.496410031903", "0.496410031903", "0.496410031903"],
    10_000: ["0.457431074442", "0.0428880170001", "0.00858452565325"],
    20_000: ["0.359097202563", "0.0240989942285", "0.00578945986251"],
    30_000: ["0.239358137159", "0.0181106521468", "0.00462917677677"],
    40_000: ["0.143070659013", "0.0149876162722", "0.00395876528027"],
    50_000: ["0.0985964298089", "0.0130144905381", "0.00351012256786"],
}


def test_trask_prints_these_errors():
    setup = make_setup(
        layer_sizes=(3, 4, 1), bias=False, activation="sigmoid", loss="squared_error",
        mean_gradient=False, inputs=TRASK_INPUTS, targets=XOR_TARGETS, epochs=10_000,
    )  # fmt: skip
    weights = 2 * np.random.RandomState(1).random_sample(16) - 1  # first (3, 4), then (4, 1)
    parameters = np.repeat(weights[:, None], 3, axis=1)
    printed = {}
    for iterations in TRASK_ERRORS:
        error = np.abs(outputs_of(setup, parameters) - np.array(XOR_TARGETS)[..., None])
        printed[iterations] = [f"{mean:.12g}" for mean in error.mean(axis=(0, 1))]
        trained = compiled.train(setup, parameters, np.array([[0.01, 0.1, 1.0]] * 2), np.zeros(3))
        parameters = trained.parameters
    assert printed == TRASK_ERRORS


def test_mazur_prints_these_losses():
    # .0000351085 after "10,000" updates; it is the loss before the last of them.
    losses = []
    for updates in (9_999, 10_000):
        setup = make_setup(**MAZUR, train_bias=False, epochs=updates)
        weights = np.array(MAZUR_WEIGHTS)[:, None]
        trained = compiled.train(setup, weights, np.full((2, 1), 0.5), np.zeros(1))
        losses.append(float(trained.final_loss[0]))
    assert losses[0] == pytest.approx(0.0000351085, abs=5e-11, rel=0)
    assert losses[1] == pytest.approx(0.0000351018778, abs=5e-14, rel=0)


def outputs_of(setup: training.Setup, parameters: np.ndarray) -> np.ndarray:
    return evaluate(setup.architecture, np.array(setup.inputs), parameters).outputs


if __name__ == "__main__":
    print(json.dumps({engine: digests(engine) for engine in sys.argv[1:]}))
