"""What the article claims, each claim tested by a run, and the verdict told from its numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd

from bp_pipeline.config import ConfigError, RunConfig
from bp_pipeline.core.network import Block, split_layers
from bp_pipeline.core.training import train as train_core
from bp_pipeline.ensemble import initial_parameters, setup_of
from bp_pipeline.explain import explain_step
from bp_pipeline.report.notation import percent
from experiments.making import Run, configs_of, outputs, unit_difference

LINEAR_LOSS = 0.125  # least mean squared error of a linear network on XOR: 0.5 for every sample
PRINTED_WEIGHT = 1.4  # what the article prints for every weight after its step

Row = tuple[str, str, str]


def tested_claims(steps: dict[str, Run], printed: Run) -> pd.DataFrame:
    """Test each claim; a row has what is claimed, what came out, and the verdict.

    Parameters
    ----------
    steps
        The runs from the article's setup with its sign corrected to the one that learns XOR.
    printed
        The article's setup with its own sign.
    """
    rows = [
        _step_reduces_loss(steps["article"]),
        _more_epochs_reduce_loss(steps["article"], printed),
        _more_samples_more_accuracy(steps),
        _weights_become_different(steps),
        _delta_is_the_loss(steps["article"]),
        _logistic_cost(steps["article"]),
        _batch_descent(),
        _blamed_units_get_smaller_weights(steps["article_init"]),
    ]
    return pd.DataFrame(rows, columns=["claim", "what came out", "verdict"])


def _step_reduces_loss(article: Run) -> Row:
    after = {n: np.full_like(w, PRINTED_WEIGHT) for n, w in article.result.initial_weights.items()}
    printed = _answers(article, after)[0]
    printed_loss = printed**2 / 2
    changes = {change.name: change for change in explain_step(article.config).effect}
    loss, output = changes["loss of this sample"], changes["output D0"]
    return (
        "The step reduces the loss.",
        f"The printed new weights move the output for (0, 0) from {output.before:g} to "
        f"{printed:.2f} and its loss from {loss.before:g} to {printed_loss:.1f}. With the sign "
        f"corrected: {output.after:.2f} and {loss.after:.2f}.",
        _with_either_sign(printed_loss < loss.before, loss.after < loss.before),
    )


def _more_epochs_reduce_loss(article: Run, printed: Run) -> Row:
    uphill, downhill = printed.result.loss[0], article.result.loss[0]
    infinite = printed.result.epochs[int(np.argmin(np.isfinite(uphill)))]
    return (
        "Repeated over all samples, it gets closer to the smallest loss.",
        f"With the printed sign the loss is {uphill[0]:g} at first, {uphill[1]:.3g} "
        f"after one epoch and infinite after {infinite}. Corrected, it falls from "
        f"{downhill[0]:g} to {downhill[-1]:.4f}; the least a linear network can have is "
        f"{LINEAR_LOSS}.",
        _with_either_sign(uphill[-1] < uphill[0], downhill[-1] < downhill[0]),
    )


def _with_either_sign(printed: bool, corrected: bool) -> str:
    return f"{_yes(printed)}; {_yes(corrected)} with the other sign"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _more_samples_more_accuracy(steps: dict[str, Run]) -> Row:
    article, corrected = steps["article"], steps["article_init"]
    answers = _answers(article, article.result.final_weights)
    rates = [float((run.result.outcome == "converged").mean()) for run in (article, corrected)]
    n_epochs = article.config.training.epochs
    return (
        "More samples give better accuracy.",
        f"After {n_epochs:,} epochs the outputs are {', '.join(f'{z:.2f}' for z in answers)} for "
        f"targets 0, 1, 1, 0: a linear network learns nothing of XOR. Converged: "
        f"{percent(rates[0])} %; {percent(rates[1])} % with all corrections.",
        f"{_yes(rates[0] > 0)}; {_yes(rates[1] > 0)} once it is not linear and its weights differ",
    )


def _weights_become_different(steps: dict[str, Run]) -> Row:
    runs = [steps[name] for name in ("article", "article_activation")]
    linear, curved = (unit_difference(r.result.final_weights["layer_1"]).max() for r in runs)
    n_epochs = runs[0].config.training.epochs
    return (
        "Training on different samples makes the weights of the units differ.",
        f"Largest difference between two hidden units after {n_epochs:,} epochs: {linear:g} as in "
        f"the article, {curved:g} with logistic loss and tanh. Equal units have equal gradients.",
        "never" if linear == curved == 0 else "yes",
    )


def _delta_is_the_loss(article: Run) -> Row:
    loss, delta, output = _values(article.config, "L", "δ_D0", "D0")
    is_derivative = delta == output - article.config.truth_table.targets[0, 0]
    other = "no, it is the derivative of the loss" if is_derivative else "no"
    return (
        "The loss of the output unit is that of the whole network: δ_D0 is the loss.",
        f"The loss is {loss:g}, its derivative δ_D0 is {delta:g}.",
        "yes" if delta == loss else other,
    )


def _logistic_cost(article: Run) -> Row:
    [output], refusal = _values(article.config, "D0"), ""
    try:
        configs_of("experiment=article", "loss=logistic")
    except ConfigError as error:
        refusal = str(error).split(". ")[0]
    return (
        "The loss is the cost of logistic regression.",
        f"`bp train experiment=article loss=logistic` is refused: {refusal}.",
        f"it cannot be, for an output of {output:g}" if refusal else "it can be",
    )


def _batch_descent() -> Row:
    new = []
    for optimizer in ("online_gd", "batch_gd"):
        overrides = ["experiment=article", f"optimizer={optimizer}", "optimizer.learning_rate=0.1"]
        [config] = configs_of(*overrides)
        new.append(_values(config, "W10", "W11"))
    (online, online_input), (batch, batch_input) = new
    size = abs(PRINTED_WEIGHT - 1)  # of the printed step of W10, whatever its sign
    is_online = bool(np.isclose(1 - online, size) and not np.isclose(1 - batch, size))
    return (
        "The update is batch gradient descent.",
        f"It is made after one sample, which gives W10 = {online:.3g} and "
        f"W11 = {online_input:.3g}. Batch descent waits for all four and gives, with the mean "
        f"gradient, {batch:.3g} and {batch_input:.3g}.",
        "no, it is online gradient descent" if is_online else "yes",
    )


def _blamed_units_get_smaller_weights(run: Run, n_epochs: int = 50) -> Row:
    into_blamed, into_others = _sizes_after_update(run, n_epochs)
    share, of_others = into_blamed.mean(), into_others.mean()
    return (
        "Units that are to blame get smaller weights.",
        f"In the first {n_epochs} epochs of `article_init`, at each sample, the hidden unit whose "
        f"δ is largest in size is to blame. Of {len(into_blamed):,} updates of its incoming "
        f"weights, {percent(share)} % made them smaller in size; of those of the other units, "
        f"{percent(of_others)} %.",
        "yes" if share == 1 else "no, a weight goes against its gradient, up or down",
    )


def _sizes_after_update(run: Run, n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return of each update of a hidden unit's weight whether it became smaller in size.

    Returns
    -------
    tuple
        Of the unit with the largest |δ| of its network at that sample, and of all others.
    """
    setup, parameters = (
        replace(setup_of(run.config), epochs=n_epochs),
        initial_parameters(run.config),
    )
    n_networks = parameters.shape[-1]
    before = split_layers(setup.architecture, parameters)[0].copy()
    smaller: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def watch(epoch: int, samples: slice, block: Block) -> None:
        size = np.abs(block.deltas[0][samples.start])  # unit, network
        is_blamed, after = size == size.max(axis=0), block.weights[0]
        for units, kept in zip((is_blamed, ~is_blamed), smaller, strict=True):
            kept.append((np.abs(after) < np.abs(before))[(after != before) & units])
        before[:] = after

    n_layers = len(setup.architecture.shapes)
    rate = np.full((n_layers, n_networks), run.config.optimizer.learning_rate)
    train_core(setup, parameters, rate, np.zeros(n_networks), watch=watch)
    return np.concatenate(smaller[0]), np.concatenate(smaller[1])


def _answers(run: Run, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return what the first network with these weights answers to each sample."""
    return outputs(run, weights)[-1][0, :, 0]


def _values(config: RunConfig, *names: str) -> list[float]:
    values = {equation.name: equation.value for equation in explain_step(config).all_equations}
    return [values[name] for name in names]
