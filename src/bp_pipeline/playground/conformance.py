"""Conformance vectors: arguments and results of the arithmetic, and wrong results to be noticed.

`python -m bp_pipeline.playground.conformance` writes them to stdout; docs/arithmetic.md, section 9,
describes the format. Owns which arguments and configs are chosen. Results are the core's, but for
the wrong ones, which are made here from exact rational numbers.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from bp_pipeline.config.compose import compose
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core import elementary
from bp_pipeline.core.initializers import standard_normal
from bp_pipeline.core.training import recorded_epochs
from bp_pipeline.digests import digest_arrays
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.playground.portable import portable_config

Vectors = dict[str, Any]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": elementary.exp,
    "expm1": elementary.expm1,
    "log": elementary.log,
    "tanh": elementary.tanh,
    "sigmoid": elementary.sigmoid,
    "softplus": elementary.softplus,
    "normal_quantile": standard_normal,
}
_ARGUMENTS = 300  # random words that arguments of each function are made of
_SPECIAL = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, -2.2250738585072014e-308)
# Where a formula changes over: reductions to k = 0, clips, and the tails.
_LIMITS = (
    0.17328679513998632,
    0.34657359027997264,
    2.0**-54,
    19.0,
    20.0,
    38.0,
    40.0,
    709.78,
    745.2,
)

STREAMS = [(0, (2, 1)), (1, (2, 3, 1)), (2**32, (2, 4, 3, 1)), (2**63 - 1, (10, 2**32 + 5, 1))]
RECORDED = [(0, 2), (1, 2), (20, 6), (2000, 60), (2000, 5000), (100_000, 7), (2**53, 60)]
INITIALIZERS = [
    "ones", "constant init.noise=0.3", "uniform", "normal", "normal init.bias=zero",
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal",
    "uniform network.bias=false",
]  # fmt: skip
TRAININGS = [
    "experiment=article",
    "training.epochs=500 replicates=3",
    "activation=sigmoid optimizer.momentum=0.9 training.epochs=300 seed=9007199254740993",
    "activation=relu init=he_normal network.hidden=[4,3] training.epochs=200 replicates=4",
    "activation=leaky_relu loss=squared_error loss.reduction=sum replicates=4 init.scale=0.3",
    "init=normal optimizer.layer_factors=[0.1,3] training.epochs=300 replicates=4",
    "activation=softplus optimizer=online_gd training.epochs=100 replicates=3 init=normal",
    "network.output=leaky_relu loss=squared_error activation=relu training.epochs=50 replicates=2",
    "network.hidden=[] task=and training.epochs=50 replicates=2 training.tolerance=0.5",
    "network.bias=false task=parity training.epochs=50 replicates=2",
    "network.train_bias=false training.stop_when_converged=true optimizer=online_gd replicates=3",
    "loss=squared_error network.output=identity optimizer.learning_rate=30 replicates=3",
    "activation=leaky_relu init=normal optimizer.learning_rate=30 training.epochs=100 replicates=6",
    "optimizer=online_gd loss=squared_error network.output=identity optimizer.learning_rate=1e200",
    "task=table task.inputs=[[0.5,-1],[2,0.25]] task.targets=[[0.3,1],[0,0.9]] training.epochs=100",
]  # fmt: skip

_COMMON = ("tracking=off", "training.record=12", "engine=numpy")


def conformance_vectors() -> Vectors:
    """Compute all vectors."""
    trained = [_trained(text) for text in TRAININGS]
    functions = {name: _pairs(name, function) for name, function in FUNCTIONS.items()}
    return {
        "functions": functions,
        "words": [_words(*stream) for stream in STREAMS],
        "recorded_epochs": [
            {"epochs": epochs, "record": record, "result": recorded_epochs(epochs, record).tolist()}
            for epochs, record in RECORDED
        ],
        "initial_weights": [_initial_weights(text) for text in INITIALIZERS],
        "trainings": [_training(config, result) for config, result in trained],
        "wrong": {
            "functions": {name: [_one_ulp_off(pairs)] for name, pairs in functions.items()},
            "trainings": list(_wrong_sums()),
        },
    }


def _pairs(name: str, function: Callable[..., Any]) -> list[list[str]]:
    arguments = np.array([*_arguments(name)])
    with np.errstate(all="ignore"):
        results = function(arguments)
    return [[_hex(x), _hex(y)] for x, y in zip(arguments.tolist(), results.tolist(), strict=True)]


def _arguments(name: str) -> Iterator[float]:
    """Choose arguments: special ones, and random ones of every size that training meets."""
    words = np.random.PCG64(len(name)).random_raw(2 * _ARGUMENTS).reshape(-1, 2).tolist()
    if name == "normal_quantile":
        yield from (0.425, -0.425, math.nextafter(0.425, 1), 0.5 - 2.0**-54, 2.0**-54 - 0.5)
        yield from (0.4999999999861, -0.49999999998612)  # about t = 5
        yield from ((2 * (word >> 11) + 1 - 2**53) * 2.0**-54 for word, _ in words)
        return
    yield from _SPECIAL
    yield from (sign * x for x in _LIMITS for sign in (1, -1))
    for word, other in words:
        size = math.ldexp(1 + (word >> 12) * 2.0**-52, other % 72 - 62)  # 2⁻⁶² to 2¹⁰
        yield size if name == "log" or other >> 63 else -size
        if name == "log":
            yield math.ldexp(1 + (word >> 12) * 2.0**-52, other % 2098 - 1074)
            yield 2.0**-1022 * (0.5 + (word >> 12) * 2.0**-52)  # below and above the subnormals
            yield _double(f"{0x3FE6A09E667F3BCD + (other >> 43) - 2**20:x}")  # about √½


def _words(seed: int, layer_sizes: Sequence[int]) -> Vectors:
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(layer_sizes)))
    words = [f"{word:016x}" for word in stream.random_raw(8).tolist()]
    return {"seed": str(seed), "layer_sizes": list(layer_sizes), "words": words}


def _initial_weights(overrides: str) -> Vectors:
    config, result = _trained(f"init={overrides} training.epochs=0 replicates=2 seed=7")
    layers = {name: _hexes(layer) for name, layer in result.initial_weights.items()}
    return {"config": portable_config(config), "weights": layers}


def _trained(overrides: str) -> tuple[RunConfig, RunResult]:
    [job] = compose([*_COMMON, *overrides.split()]).jobs
    [(_, result)] = train_runs([job.config])
    if isinstance(result, Exception):
        raise result
    return job.config, result


def _training(config: RunConfig, result: RunResult) -> Vectors:
    digests = {name: digest_arrays({name: array}) for name, array in result.arrays.items()}
    return {
        "config": portable_config(config),
        "arrays": digests,
        "result_digest": result.result_digest,
    }


def _one_ulp_off(pairs: Sequence[Sequence[str]]) -> Vectors:
    argument, result = pairs[-1]
    wrong = math.nextafter(_double(result), math.inf)
    return {"argument": argument, "result": _hex(wrong), "why": "one ulp"}


def _wrong_sums() -> Iterator[Vectors]:
    """Put the losses of wrong pre-activations into the result of a training of no epochs."""
    inputs = [0.1, 0.7, 0.3]
    config, result = _trained(
        "network.hidden=[] network.output=identity loss=squared_error task=table init=uniform "
        f"task.inputs=[{inputs}] task.targets=[[0]] training.epochs=0 replicates=20".replace(
            ", ", ","
        )
    )
    networks = result.initial_weights["layer_1"].reshape(20, -1).tolist()
    terms = [list(zip(weights, [1.0, *inputs], strict=True)) for weights in networks]
    wrong = {
        "sum from the last term to the first": [_sum(each[::-1]) for each in terms],
        "fused multiply-add": [_fused_sum(each) for each in terms],
    }
    assert (_losses([_sum(each) for each in terms]) == result.loss).all()
    for why, outputs in wrong.items():
        arrays = {**result.arrays, "loss": _losses(outputs)}
        assert (arrays["loss"] != result.loss).any()
        yield {
            "config": portable_config(config), "result_digest": digest_arrays(arrays), "why": why
        }  # fmt: skip


def _losses(outputs: Sequence[float]) -> np.ndarray:
    return np.array([[(0.5 * (0.0 - z)) * (0.0 - z)] for z in outputs])


def _sum(terms: Sequence[tuple[float, float]]) -> float:
    total = terms[0][0] * terms[0][1]
    for w, z in terms[1:]:
        total += w * z
    return total


def _fused_sum(terms: Sequence[tuple[float, float]]) -> float:
    total = terms[0][0] * terms[0][1]
    for w, z in terms[1:]:
        total = float(Fraction(w) * Fraction(z) + Fraction(total))  # rounded once
    return total


def _hex(x: float) -> str:
    bits = np.float64(x).view(np.uint64)
    return "7ff8000000000000" if math.isnan(x) else f"{int(bits):016x}"


def _double(text: str) -> float:
    return float(np.uint64(int(text, 16)).view(np.float64))


def _hexes(array: np.ndarray) -> list[str]:
    return [_hex(x) for x in array.ravel().tolist()]


def to_json(vectors: Vectors) -> str:
    """Write vectors with one entry of each list a line."""
    text = json.dumps(vectors, separators=(",", ":"), allow_nan=False)
    return text.replace("],[", "],\n[").replace("},{", "},\n{") + "\n"


if __name__ == "__main__":
    sys.stdout.write(to_json(conformance_vectors()))
