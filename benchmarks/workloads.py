"""What is timed: one ensemble, trained by ours and by others' code.

Each contender trains networks on parity in float64 (of two bits it is XOR). Ours and JAX's do the
same besides: they record the loss at the same epochs, note when a network first converged, and look
whether loss and weights are finite. PyTorch and scikit-learn train one network after the other, as
their users do.

A contender is a function that makes all ready and gives back another one, which trains once and
returns the number of network-epochs.

Run as a script it serves one contender: `python workloads.py NAME WORKLOAD CORES` trains each
time it reads a line, and answers with nanoseconds per network and epoch.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TOLERANCE, LEARNING_RATE, MOMENTUM = 0.4, 0.5, 0.0
SAFE = 1e150  # as in bp_pipeline.core.losses


class Workload(NamedTuple):
    """Networks of one architecture, trained with tanh, logistic loss and one update rule."""

    sizes: tuple[int, ...]
    n_networks: int
    epochs: int
    online: bool = False

    def weights(self) -> list[np.ndarray]:
        """Draw initial weights for each layer, (fan_in + 1, fan_out, network)."""
        rng = np.random.default_rng(0)
        return [rng.uniform(-1, 1, (i + 1, o, self.n_networks)) for i, o in pairwise(self.sizes)]

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the truth table, and what each of them is to give."""
        inputs = np.array(list(product((0.0, 1.0), repeat=self.sizes[0])))
        return inputs, inputs.sum(axis=1, keepdims=True) % 2


WORKLOADS = {
    "2-3-1 batch": Workload((2, 3, 1), 4096, 1000),
    "2-3-1 online": Workload((2, 3, 1), 4096, 500, online=True),
    "2-16-16-1 batch": Workload((2, 16, 16, 1), 1024, 200),
    "4-4-1 batch": Workload((4, 4, 1), 2048, 200),
    "10-10-1 batch": Workload((10, 10, 1), 512, 5),
}

Train = Callable[[], int]


def ours(workload: Workload, cores: int, engine: str) -> Train:
    """Train with one of our engines, shards shared out among threads as `bp train` does."""
    from concurrent.futures import ThreadPoolExecutor

    from bp_pipeline.core.network import Architecture
    from bp_pipeline.core.training import Setup
    from bp_pipeline.ensemble.engines import train_function

    architecture = Architecture(
        workload.sizes, True, True, "tanh", "sigmoid", 0.0, "logistic", True
    )
    inputs, targets = (tuple(map(tuple, rows.tolist())) for rows in workload.table())
    setup = Setup(
        architecture, inputs, targets, workload.online, workload.epochs, TOLERANCE, False, 60
    )
    layers = workload.weights()
    parameters = np.concatenate([w.reshape(-1, workload.n_networks) for w in layers])
    shards = np.array_split(parameters, 2 * cores, axis=1)
    train = train_function(engine)

    def one(shard: np.ndarray) -> None:
        n = shard.shape[1]
        rates = np.full((len(layers), n), LEARNING_RATE), np.full(n, MOMENTUM)
        train(setup, np.ascontiguousarray(shard), *rates)

    def run() -> int:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(one, shards))
        return workload.n_networks * workload.epochs

    return run


def jax_by_hand(workload: Workload, cores: int, block_size: int) -> Train:
    """Train with JAX, back-propagation written out, the network axis last."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x, y = (jnp.asarray(rows)[:, :, None] for rows in workload.table())

    def forward(weights: Any, x: Any) -> Any:
        units = [x]
        for w in weights:
            a = w[0] + sum(w[i + 1] * units[-1][:, i, None] for i in range(w.shape[0] - 1))
            units.append(jnp.tanh(a))
        return a, [*units[:-1], jax.nn.sigmoid(a)]

    def total(terms: Any) -> Any:  # written out, it is one loop; of a large table it takes minutes
        return sum(terms) if len(terms) <= 16 else terms.sum(0)

    def gradient(weights: Any, units: Any, y: Any) -> Any:
        delta, gradients = units[-1] - y, []
        for w, z in zip(weights[::-1], units[-2::-1], strict=True):
            gradients.append(
                jnp.concatenate([total(delta)[None], total(z[:, :, None] * delta[:, None])])
            )
            back = sum(w[1:, o] * delta[:, o, None] for o in range(w.shape[1]))
            delta = (1 - z * z) * back
        return gradients[::-1]

    def update(weights: Any, velocity: Any, gradients: Any, factor: float) -> Any:
        step = LEARNING_RATE * factor
        velocity = [MOMENTUM * v - step * g for v, g in zip(velocity, gradients, strict=True)]
        return [w + v for w, v in zip(weights, velocity, strict=True)], velocity

    def epoch(carry: Any, number_and_slot: Any) -> Any:
        weights, velocity, converged_at, diverged, curves = carry
        number, slot = number_and_slot
        a, units = forward(weights, x)
        curves = jax.lax.cond(
            slot >= 0,
            lambda: curves.at[slot].set((jax.nn.softplus(a) - y * a).sum(1).mean(0)),
            lambda: curves,
        )
        within = (jnp.abs(units[-1] - y) < TOLERANCE).all((0, 1))
        converged_at = jnp.where(within & (converged_at < 0), number, converged_at)
        finite = sum(jnp.isfinite(w).all((0, 1)).astype(int) for w in weights) == len(weights)
        diverged = diverged | ~(finite & (jnp.abs(a) < SAFE).all((0, 1)))
        if workload.online:
            for s in range(len(x)):
                _, units = forward(weights, x[s : s + 1])
                weights, velocity = update(
                    weights, velocity, gradient(weights, units, y[s : s + 1]), 1.0
                )
        else:
            weights, velocity = update(weights, velocity, gradient(weights, units, y), 1 / len(x))
        return (weights, velocity, converged_at, diverged, curves), None

    return _jax_runner(workload, epoch, workload.weights(), block_size)


def jax_vmap(workload: Workload, cores: int, block_size: int) -> Train:
    """Train with JAX, `vmap(grad)` of one network's loss."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def forward(weights: Any, x: Any) -> Any:
        for w in weights:
            a = w[0] + x @ w[1:]
            x = jnp.tanh(a)
        return a

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        a = forward(weights, x)
        return (jax.nn.softplus(a) - y * a).sum(1).mean(), a

    def one(weights: Any, velocity: Any, x: Any, y: Any) -> Any:
        (loss, a), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, x, y)
        velocity = [
            MOMENTUM * v - LEARNING_RATE * g for v, g in zip(velocity, gradients, strict=True)
        ]
        updated = [w + v for w, v in zip(weights, velocity, strict=True)]
        within = (jnp.abs(jax.nn.sigmoid(a) - y) < TOLERANCE).all()
        finite = jnp.isfinite(loss) & jnp.stack([jnp.isfinite(w).all() for w in weights]).all()
        return updated, velocity, loss, within, finite

    step = jax.vmap(one, in_axes=(0, 0, None, None))
    x, y = map(jnp.asarray, workload.table())

    def epoch(carry: Any, number_and_slot: Any) -> Any:
        weights, velocity, converged_at, diverged, curves = carry
        number, slot = number_and_slot
        updated, moved, loss, within, finite = step(weights, velocity, x, y)
        if workload.online:
            for s in range(len(x)):
                weights, velocity, *_ = step(weights, velocity, x[s : s + 1], y[s : s + 1])
        else:
            weights, velocity = updated, moved
        converged_at = jnp.where(within & (converged_at < 0), number, converged_at)
        curves = jax.lax.cond(slot >= 0, lambda: curves.at[slot].set(loss), lambda: curves)
        return (weights, velocity, converged_at, diverged | ~finite, curves), None

    layers = [np.moveaxis(w, -1, 0) for w in workload.weights()]
    return _jax_runner(workload, epoch, layers, block_size, axis=0)


def _jax_runner(
    workload: Workload,
    epoch: Callable[..., Any],
    layers: list[np.ndarray],
    block_size: int,
    axis: int = -1,
) -> Train:
    """Scan over the epochs, one block of networks after another."""
    import jax
    import jax.numpy as jnp

    from bp_pipeline.core.training import recorded_epochs

    recorded = recorded_epochs(workload.epochs, 60)
    slots = np.full(workload.epochs, -1)
    slots[recorded[:-1]] = np.arange(len(recorded) - 1)
    numbers = jnp.arange(workload.epochs), jnp.asarray(slots)
    n_blocks = max(1, workload.n_networks // block_size)
    blocks = list(zip(*(np.array_split(w, n_blocks, axis=axis) for w in layers), strict=True))
    scan = jax.jit(lambda carry: jax.lax.scan(epoch, carry, numbers)[0])

    def start(block: tuple[np.ndarray, ...]) -> Any:
        weights = [jnp.asarray(w) for w in block]
        n = block[0].shape[axis]
        velocity = [jnp.zeros_like(w) for w in weights]
        outcomes = jnp.full(n, -1), jnp.zeros(n, bool)
        return weights, velocity, *outcomes, jnp.zeros((len(recorded), n))

    starts = [start(block) for block in blocks]

    def run() -> int:
        jax.block_until_ready([scan(carry) for carry in starts])
        return workload.n_networks * workload.epochs

    return run


def torch_loop(workload: Workload, cores: int) -> Train:
    """Train one network after the other with PyTorch, as its tutorials do."""
    import torch

    torch.set_num_threads(cores)
    torch.set_default_dtype(torch.float64)
    x, y = map(torch.tensor, workload.table())
    epochs, step = 200, 1 if workload.online else len(x)
    batches = [(x[s : s + step], y[s : s + step]) for s in range(0, len(x), step)]

    def run() -> int:
        layers: list[torch.nn.Module] = []
        for fan_in, fan_out in pairwise(workload.sizes[:-1]):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh()]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(workload.sizes[-2], 1))
        loss_of = torch.nn.BCEWithLogitsLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        for _ in range(epochs):
            for inputs, targets in batches:
                optimizer.zero_grad()
                loss_of(model(inputs), targets).backward()
                optimizer.step()
        return epochs

    return run


def javascript(workload: Workload, cores: int) -> Train:
    """Train with the playground's module in Node, one network after the other, on one core."""
    n_networks = workload.n_networks // 32  # enough for seconds
    config = {
        "task": {"name": "parity", "bits": workload.sizes[0]},
        "network": {
            "hidden": workload.sizes[1:-1], "bias": True, "train_bias": True, "output": "sigmoid"
        },
        "activation": {"name": "tanh"},
        "init": {"name": "uniform", "bound": 1.0, "bias": "same"},
        "loss": {"name": "logistic", "reduction": "mean"},
        "optimizer": {
            "name": "online_gd" if workload.online else "batch_gd",
            "learning_rate": LEARNING_RATE, "momentum": MOMENTUM,
        },
        "training": {
            "epochs": workload.epochs, "tolerance": TOLERANCE, "stop_when_converged": False
        },
        "replicates": n_networks, "seed": "0",
    }  # fmt: skip
    process = subprocess.Popen(
        ["node", Path(__file__).with_name("in_node.mjs"), json.dumps(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asks, answers = process.stdin, process.stdout

    def run() -> int:
        asks.write("\n")
        asks.flush()
        answers.readline()
        return n_networks * workload.epochs

    return run


def scikit_learn(workload: Workload, cores: int) -> Train:
    """Train one network after the other with scikit-learn's MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    (x, y), epochs = workload.table(), 500

    def run() -> int:
        model = MLPClassifier(
            workload.sizes[1:-1], activation="tanh", solver="sgd", learning_rate_init=LEARNING_RATE,
            momentum=MOMENTUM, nesterovs_momentum=False, alpha=0.0, max_iter=epochs,
            batch_size=1 if workload.online else len(x), shuffle=False, tol=0.0,
            n_iter_no_change=epochs,
        )  # fmt: skip
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y[:, 0])
        return epochs

    return run


SIZES = (8, 64, 512, 2048)  # networks in a block
CONTENDERS: dict[str, Callable[[Workload, int], Train]] = {
    "compiled": partial(ours, engine="compiled"),
    "numpy": partial(ours, engine="numpy"),
    **{f"JAX by hand, block {size}": partial(jax_by_hand, block_size=size) for size in SIZES},
    "JAX vmap, block 512": partial(jax_vmap, block_size=512),
    "PyTorch loop": torch_loop,
    "scikit-learn": scikit_learn,
    "JavaScript": javascript,
}


def serve(name: str, workload: str, cores: int) -> None:
    """Train whenever a line comes in; print nanoseconds per network and epoch.

    On one core they are those that the processor spent here, whatever else a machine is doing.
    """
    if hasattr(os, "sched_setaffinity"):  # on Linux; elsewhere JAX uses the cores it likes
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    run = CONTENDERS[name](WORKLOADS[workload], cores)
    clock = time.process_time if cores == 1 and name != "JavaScript" else time.perf_counter
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = clock()
        network_epochs = run()
        print((clock() - started) / network_epochs * 1e9, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
