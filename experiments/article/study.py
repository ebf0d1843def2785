"""The article's setup, corrected one thing at a time, and its claims, each tested by a run.

Its wrong sign is no config (a learning rate must be positive): that row is trained by the core with
a negative one, which is gradient ascent.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bp_pipeline.config import parse_config
from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.core.training import train as train_core
from bp_pipeline.ensemble import initial_parameters, setup_of
from bp_pipeline.explain import explain_step
from bp_pipeline.explain.step import take_step
from bp_pipeline.hydra_app import compose
from bp_pipeline.messages import ConfigError
from bp_pipeline.summary import summary
from experiments.making import (
    Run,
    block_of,
    fill,
    percent,
    picture,
    thousands,
    train,
    write_summary,
)

STEPS = {  # experiment: what it changes
    "article": "sign",
    "article_loss": "loss: logistic, with a sigmoid output",
    "article_activation": "activation: tanh",
    "article_init": "initialization: glorot_uniform",
}
FACTORS = (
    "-m",
    "experiment=article,article_loss",
    "activation=identity,tanh",
    "init=ones,glorot_uniform",
)
LINEAR_LOSS = 0.125  # least mean squared error of a linear network on XOR: 0.5 for every sample
PRINTED_WEIGHT = 1.4  # what the article prints for every weight after its step

MEASURES = [
    "converged/rate",
    "converged/rate_low",
    "converged/rate_high",
    "diverged/rate",
    "epochs_to_converge/median",
    "final_loss/median",
]


def make(folder: Path) -> None:
    """Write `summary.csv`, the picture, and the tables of the README."""
    steps = dict(zip(STEPS, train("-m", f"experiment={','.join(STEPS)}"), strict=True))
    factors = train(*FACTORS)
    ascent = _ascent(steps["article"])
    write_summary(folder, _summary(steps, factors, ascent))
    _draw(folder / "steps.svg", steps, ascent)
    fill(
        folder,
        steps=_steps(steps, ascent),
        factors=_factors(factors),
        claims=_claims(steps, ascent),
    )


class _Ascent:
    """The article's setup with the article's sign."""

    def __init__(self, article: Run, epochs: int) -> None:
        config = article.config
        setup = replace(setup_of(config), epochs=epochs, record=max(2, epochs + 1))
        rate = np.array([-config.optimizer.learning_rate])
        trained = train_core(setup, initial_parameters(config)[:, :1].copy(), rate, np.zeros(1))
        self.epochs, self.loss = setup.recorded_epochs, trained.loss[:, 0]
        self.outcome = OUTCOMES[trained.outcome[0]]
        self.diverged_at = int(np.argmin(np.isfinite(self.loss)))


def _ascent(article: Run) -> _Ascent:
    return _Ascent(article, epochs=20)


def _summary(steps: dict[str, Run], factors: list[Run], ascent: _Ascent) -> pd.DataFrame:
    """Give one row a run, the article's own first."""
    runs = [*steps.values(), *factors]
    kinds = ["step"] * len(steps) + ["factor"] * len(factors)
    keys = ["experiment", "activation", "network.output", "loss", "init"]
    rows = [{**config.params(), **summary(result)} for config, result in runs]
    table = pd.DataFrame(rows).reindex(columns=[*keys, *MEASURES])
    table.insert(0, "part", kinds)
    table["unit_difference/max"] = [_unit_difference(run) for run in runs]
    own = {
        "part": "step", "experiment": "article, with its own sign",
        "activation": "identity", "network.output": "identity",
        "loss": "squared_error", "init": "ones",
        "converged/rate": 0.0, "diverged/rate": float(ascent.outcome == "diverged"),
    }  # fmt: skip
    return pd.concat([pd.DataFrame([own]), table], ignore_index=True)[table.columns]


def _unit_difference(run: Run) -> float:
    """Give the largest difference between the incoming weights of two hidden units at the end."""
    hidden = run.result.final_weights["layer_1"]
    return float((hidden.max(axis=2) - hidden.min(axis=2)).max())


def _outputs(run: Run, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Give what the first network with these weights answers to each sample."""
    block = block_of(run, weights)
    block.forward()
    return block.outputs[:, 0, 0]


def _steps(steps: dict[str, Run], ascent: _Ascent) -> pd.DataFrame:
    rows = [("as printed", "–", "0", f"diverged in epoch {ascent.diverged_at}", "–")]
    for (name, run), change in zip(steps.items(), STEPS.values(), strict=True):
        measures = summary(run.result)
        rows.append(
            (
                f"+ {change}",
                f"`bp train experiment={name}`",
                percent(measures["converged/rate"]),
                f"{measures['final_loss/median']:.4f}",
                thousands(measures.get("epochs_to_converge/median", np.nan)),
            )
        )
    columns = ["setup", "command", "converged, %", "median loss at the end", "median epochs"]
    return pd.DataFrame(rows, columns=columns)


def _factors(runs: list[Run]) -> pd.DataFrame:
    rows = [
        (
            config.labels["loss"],
            config.labels["activation"],
            config.labels["init"],
            percent(float((result.outcome == "converged").mean())),
            f"{_unit_difference(Run(config, result)):.2g}",
        )
        for config, result in runs
    ]
    columns = ["loss", "activation", "init", "converged, %", "largest difference between units"]
    return pd.DataFrame(rows, columns=columns)


def _claims(steps: dict[str, Run], ascent: _Ascent) -> pd.DataFrame:
    """Test each claim; a row has what is claimed, what came out, and the verdict."""
    rows = [
        _step_reduces_loss(steps["article"]),
        _more_epochs_reduce_loss(steps["article"], ascent),
        _more_samples_more_accuracy(steps),
        _weights_become_different(steps),
        _delta_is_the_loss(steps["article"]),
        _logistic_cost(),
        _batch_descent(),
        _guilty_units_get_smaller_weights(steps["article_init"]),
    ]
    return pd.DataFrame(rows, columns=["claim", "what came out", "verdict"])


Row = tuple[str, str, str]


def _step_reduces_loss(article: Run) -> Row:
    after = {n: np.full_like(w, PRINTED_WEIGHT) for n, w in article.result.initial_weights.items()}
    printed = float(_outputs(article, after)[0])
    changes = {change.name: change for change in explain_step(article.config).effect}
    loss, output = changes["loss of this sample"], changes["output D0"]
    return (
        "The step reduces the loss.",
        f"The printed new weights move the output for (0, 0) from {output.before:g} to "
        f"{printed:.2f} and its loss from {loss.before:g} to {printed**2 / 2:.1f}. With the sign "
        f"corrected: {output.after:.2f} and {loss.after:.2f}.",
        "no; yes with the other sign",
    )


def _more_epochs_reduce_loss(article: Run, ascent: _Ascent) -> Row:
    losses = article.result.loss[0]
    return (
        "Repeated over all samples, it gets closer to the smallest loss.",
        f"With the printed sign the loss is {ascent.loss[0]:g} at first, {ascent.loss[1]:.3g} "
        f"after one epoch and infinite after {ascent.diverged_at}. Corrected, it falls from "
        f"{losses[0]:g} to {losses[-1]:.4f}; the least a linear network can have is {LINEAR_LOSS}.",
        "no; yes with the other sign",
    )


def _more_samples_more_accuracy(steps: dict[str, Run]) -> Row:
    article = steps["article"]
    final = _outputs(article, article.result.final_weights)
    rates = [percent(float((steps[n].result.outcome == "converged").mean())) for n in STEPS]
    return (
        "More samples give better accuracy.",
        f"After 2,000 epochs the outputs are {', '.join(f'{z:.2f}' for z in final)} for targets "
        f"0, 1, 1, 0: a linear network learns nothing of XOR. Converged: {rates[0]} %; "
        f"{rates[-1]} % with all corrections.",
        "no; yes once it is not linear and its weights differ",
    )


def _weights_become_different(steps: dict[str, Run]) -> Row:
    linear, curved = (_unit_difference(steps[n]) for n in ("article", "article_activation"))
    return (
        "Training on different samples makes the weights of the units differ.",
        f"Largest difference between two hidden units after 2,000 epochs: {linear:g} as in the "
        f"article, {curved:g} with logistic loss and tanh. Equal units have equal gradients.",
        "never",
    )


def _delta_is_the_loss(article: Run) -> Row:
    values = {e.name: e.value for e in explain_step(article.config).all_equations}
    return (
        "The loss of the output unit is that of the whole network: δ_D0 is the loss.",
        f"The loss is {values['L']:g}, its derivative δ_D0 is {values['δ_D0']:g}.",
        "no, it is the derivative of the loss",
    )


def _logistic_cost() -> Row:
    try:
        compose(["experiment=article", "loss=logistic"]).check(parse_config)
    except ConfigError as error:
        refusal = str(error).split(". ")[0]
    return (
        "The loss is the cost of logistic regression.",
        f"`bp train experiment=article loss=logistic` is refused: {refusal}.",
        "it cannot be, for an output of 4",
    )


def _batch_descent() -> Row:
    new = []
    for optimizer in ("online_gd", "batch_gd"):
        [config] = compose(["experiment=article", f"optimizer={optimizer}",
                            "optimizer.learning_rate=0.1"]).check(parse_config)  # fmt: skip
        values = {e.name: e.value for e in explain_step(config).all_equations}
        new.append((values["W10"], values["W11"]))
    (online, online_input), (batch, batch_input) = new
    return (
        "The update is batch gradient descent.",
        f"It is made after one sample, which gives W10 = {online:.3g} and "
        f"W11 = {online_input:.3g}. Batch descent waits for all four and gives {batch:.3g} "
        f"and {batch_input:.3g}.",
        "no, it is online gradient descent",
    )


def _guilty_units_get_smaller_weights(run: Run, epoch: int = 10, sample: int = 3) -> Row:
    n_changed = n_grown = 0
    for replicate in range(run.config.replicates):
        step = take_step(run.config, sample=sample, epoch=epoch, replicate=replicate)
        for before, after in zip(step.weights, step.new_weights, strict=True):
            n_changed += int((before != after).sum())
            n_grown += int((np.abs(after) > np.abs(before)).sum())
    return (
        "Units that are to blame get smaller weights.",
        f"At epoch {epoch}, sample {sample} of `article_init`, {n_grown:,} of {n_changed:,} "
        f"updated weights ({percent(n_grown / n_changed)} %) become larger in size.",
        "no, a weight goes against its gradient, up or down",
    )


def _draw(path: Path, steps: dict[str, Run], ascent: _Ascent) -> None:
    """Draw the median loss over the epochs, step by step."""
    with picture(path, figsize=(7.0, 3.6)) as [axes]:
        finite = np.isfinite(ascent.loss)
        axes.plot(ascent.epochs[finite] + 1, ascent.loss[finite], label="as printed")
        for run, change in zip(steps.values(), STEPS.values(), strict=True):
            loss = np.median(run.result.loss, axis=0)
            axes.plot(run.result.epochs + 1, loss, label=f"+ {change.split(',')[0]}")
        axes.set(xscale="log", yscale="log", ylim=(1e-3, 1e3))
        axes.set(xlabel="epoch + 1", ylabel="median loss, nats")
        axes.legend()
