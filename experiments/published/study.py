"""Three tutorials beside our runs: what they print, what we get, and how many digits agree.

The printed numbers and the initial weights are facts taken from the tutorials, each named where it
stands.
"""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd

from bp_pipeline.arrays import write_arrays
from bp_pipeline.core.elementary import exp
from experiments.making import Run, block_of, fill, outputs, train, write_summary

# "A Step by Step Backpropagation Example", 2015. Row 0 of a layer is the bias; then come the
# weights from each unit: w1 w3, w2 w4 to the hidden layer; w5 w7, w6 w8 to the output.
MAZUR_WEIGHTS = {
    "layer_1": [[0.35, 0.35], [0.15, 0.25], [0.20, 0.30]],
    "layer_2": [[0.60, 0.60], [0.40, 0.50], [0.45, 0.55]],
}
MAZUR_PRINTS = {
    "hidden unit 1": "0.593269992", "hidden unit 2": "0.596884378",
    "output 1": "0.75136507", "output 2": "0.772928465",
    "loss": "0.298371109",
    "∂E/∂w5": "0.082167041", "∂E/∂w1": "0.000438568",
    "w1, updated": "0.149780716", "w2, updated": "0.19956143",
    "w3, updated": "0.24975114", "w4, updated": "0.29950229",
    "w5, updated": "0.35891648", "w6, updated": "0.408666186",
    "w7, updated": "0.511301270", "w8, updated": "0.561370121",
    "loss after 1 update": "0.291027924",
    "loss after 10,000 updates": "0.0000351085",
}  # fmt: skip

# Not in the post: what an independent program computes where biases are trained as well.
MAZUR_BIASES_TRAINED = {"loss after 1 update, biases trained too": "0.280471446791"}
AS_POSTED = 9_999  # updates after which the post reads off the loss "after 10,000"

# "How to Code a Neural Network with Backpropagation From Scratch", 2016, section 3.
BROWNLEE_WEIGHTS = {
    "layer_1": [[0.763774618976614], [0.13436424411240122], [0.8474337369372327]],
    "layer_2": [
        [0.49543508709194095, 0.651592972722763],
        [0.2550690257394217, 0.4494910647887381],
    ],
}
BROWNLEE_PRINTS = {"output 1": "0.6629970129852887", "output 2": "0.7253160725279748"}

# "A Neural Network in 11 lines of Python" and its sequel, 2015: mean |error| after so many
# iterations, for each learning rate.
TRASK_ITERATIONS = (0, 10_000, 20_000, 30_000, 40_000, 50_000)
TRASK_ERRORS = {
    0.01: ("0.496410031903", "0.457431074442", "0.359097202563",
           "0.239358137159", "0.143070659013", "0.0985964298089"),
    0.1: ("0.496410031903", "0.0428880170001", "0.0240989942285",
          "0.0181106521468", "0.0149876162722", "0.0130144905381"),
    1.0: ("0.496410031903", "0.00858452565325", "0.00578945986251",
          "0.00462917677677", "0.00395876528027", "0.00351012256786"),
}  # fmt: skip
TRASK_PRINTS = {
    f"learning rate {rate:g}, {iterations:,} iterations": printed
    for rate, row in TRASK_ERRORS.items()
    for iterations, printed in zip(TRASK_ITERATIONS, row, strict=True)
}

SAME = "digits that agree"
PARTS = {  # of the summary, and what each compares ours with
    "mazur": MAZUR_PRINTS,
    "mazur_as_posted": MAZUR_PRINTS,
    "mazur_biases_trained": MAZUR_BIASES_TRAINED,
    "brownlee": BROWNLEE_PRINTS,
    "brownlee_by_formula": BROWNLEE_PRINTS,
    "trask": TRASK_PRINTS,
}
PRINTED = ("mazur", "brownlee", "trask")


def make(folder: Path) -> None:
    """Write the initial weights, every comparison, and the tables of the README."""
    write_initial_weights(folder)
    runs = train("experiment=published")
    mazur, brownlee, trask = (_of(runs, name) for name in PRINTED)
    ours = {
        "mazur": mazur_values(mazur),
        "mazur_as_posted": mazur_as_posted(mazur),
        "mazur_biases_trained": mazur_biases_trained(mazur),
        "brownlee": brownlee_values(brownlee),
        "brownlee_by_formula": brownlee_by_formula(brownlee),
        "trask": trask_values(trask),
    }
    tables = [_compare(ours[part], known).assign(part=part) for part, known in PARTS.items()]
    table = pd.concat(tables)
    write_summary(folder, table[["part", "what", "theirs", "ours", SAME]])
    show(folder)


def show(folder: Path) -> None:
    """Write the tables of the README, which are the parts of `summary.csv`."""
    table = pd.read_csv(folder / "summary.csv", dtype=str)
    of_part = {part: rows.drop(columns="part") for part, rows in table.groupby("part")}
    printed = table[table["part"].isin(PRINTED)]
    other = {"mazur_biases_trained": "another program"}
    parts = {
        part: rows.rename(columns={"theirs": other.get(part, "printed")})
        for part, rows in of_part.items()
    }
    n_same = int((printed[SAME] == "all").sum())
    answer = f"**Answer.** Of {len(printed)} printed numbers, {n_same} agree in every digit."
    fill(folder, answer=answer, updates=f"{AS_POSTED:,}", **parts)


def write_initial_weights(folder: Path) -> None:
    """Write the `init.path` of each tutorial."""
    # The legacy generator, as the post seeds it: first its (3, 4), then its (4, 1) numbers.
    random = np.random.RandomState(1)
    trask = {"layer_1": 2 * random.random_sample((3, 4)) - 1}
    trask["layer_2"] = 2 * random.random_sample((4, 1)) - 1
    for name, layers in (
        ("mazur", MAZUR_WEIGHTS),
        ("brownlee", BROWNLEE_WEIGHTS),
        ("trask", trask),
    ):
        arrays = {layer: np.array(weights)[np.newaxis] for layer, weights in layers.items()}
        write_arrays(folder / f"{name}.npz", arrays)


def mazur_values(runs: list[Run]) -> dict[str, float]:
    """Compute each number that the post prints, as its equations say."""
    start, after = _run(runs, 0), _run(runs, 1).result.final_weights
    block = block_of(start, start.result.initial_weights)
    block.forward()
    block.backward()
    hidden, output = block.units[1][0, 1:, 0], block.outputs[0, :, 0]
    w1_to_w4 = after["layer_1"][0, 1:].T.ravel()  # w1 and w2 are unit 1's, w3 and w4 unit 2's
    w5_to_w8 = after["layer_2"][0, 1:].T.ravel()
    values = [
        *hidden, *output, _loss(runs, 0),
        block.gradients[1][1, 0, 0], block.gradients[0][1, 0, 0],
        *w1_to_w4, *w5_to_w8, _loss(runs, 1), _loss(runs, 10_000),
    ]  # fmt: skip
    return {name: float(value) for name, value in zip(MAZUR_PRINTS, values, strict=True)}


def mazur_as_posted(runs: list[Run]) -> dict[str, float]:
    """Compute the two losses that differ in the way that gives what the post prints."""
    return {
        "loss after 1 update": _loss_after_updating_in_turn(_run(runs, 0)),
        "loss after 10,000 updates": _loss(runs, AS_POSTED),
    }


def _loss_after_updating_in_turn(run: Run) -> float:
    """Update the output layer first, and take the hidden deltas with its new weights."""
    block = block_of(run, run.result.initial_weights)
    block.forward()
    rate = run.config.optimizer.learning_rate
    for layer in (1, 0):
        block.backward()  # the outputs and the output deltas are still those of the forward pass
        block.weights[layer][:] -= rate * block.gradients[layer]
    block.forward()
    return float(block.loss()[0])


def mazur_biases_trained(runs: list[Run]) -> dict[str, float]:
    """Compute the loss that the post would have come to, had it updated its biases."""
    [name] = MAZUR_BIASES_TRAINED
    return {name: _loss(runs, 1, train_bias=True)}


def brownlee_values(runs: list[Run]) -> dict[str, float]:
    """Compute the outputs that the post prints."""
    [run] = runs
    values = outputs(run, run.result.final_weights)[-1].ravel()
    return dict(zip(BROWNLEE_PRINTS, values.tolist(), strict=True))


def brownlee_by_formula(runs: list[Run]) -> dict[str, float]:
    """Compute the outputs as the post does, with 1/(1 + exp(−a)); sums run as in `core`."""
    [run] = runs
    units = run.config.truth_table.inputs[0]
    for layer in run.result.final_weights.values():
        bias, *weights = layer[0]
        a = bias
        for unit, outgoing in zip(units, weights, strict=True):
            a = a + outgoing * unit
        units = 1.0 / (1.0 + exp(-a))
    return dict(zip(BROWNLEE_PRINTS, units.tolist(), strict=True))


def trask_values(runs: list[Run]) -> dict[str, float]:
    """Compute the mean |error| that the table holds, learning rate by learning rate."""
    values = []
    for run in runs:
        error = outputs(run, run.result.final_weights)[-1] - run.config.truth_table.targets
        values.append(float(np.abs(error).mean()))
    return dict(zip(TRASK_PRINTS, values, strict=True))


def _compare(ours: dict[str, float], theirs: dict[str, str]) -> pd.DataFrame:
    rows = [_row(what, value, theirs[what]) for what, value in ours.items()]
    return pd.DataFrame(rows, columns=["what", "theirs", "ours", SAME])


def _row(what: str, value: float, printed: str) -> tuple[str, str, str, str]:
    ours = as_printed(value, printed)
    pairs = list(zip(_digits(ours), _digits(printed), strict=False))
    n_same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return what, printed, ours, "all" if ours == printed else f"{n_same} of {len(pairs)}"


def as_printed(value: float, printed: str) -> str:
    """Round to as many decimals as a printed number has."""
    return f"{value:.{len(printed.partition('.')[2])}f}"


def _digits(number: str) -> str:
    return number.replace(".", "").lstrip("0")


def _of(runs: Iterable[Run], name: str) -> list[Run]:
    return [run for run in runs if Path(run.config.init.path).stem == name]


def _run(runs: list[Run], epochs: int, *, train_bias: bool = False) -> Run:
    wanted = epochs, train_bias
    [run] = [
        run for run in runs if (run.config.training.epochs, run.config.network.train_bias) == wanted
    ]
    return run


def _loss(runs: list[Run], epochs: int, *, train_bias: bool = False) -> float:
    return float(_run(runs, epochs, train_bias=train_bias).result.final_loss[0])
