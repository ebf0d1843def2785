"""The article's setup, corrected one thing at a time, and with each combination of corrections.

Its wrong sign is no config (a learning rate must be positive): such runs are trained with a
negative one behind the check, which is gradient ascent. What the article claims is tested in
`claims.py`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from bp_pipeline.report.notation import count, percent
from experiments.article.claims import tested_claims
from experiments.making import (
    Run,
    fill,
    picture,
    read_summary,
    summarize,
    train,
    train_configs,
    unit_difference,
    write_summary,
)

STEPS = {  # experiment: what it changes
    "article": "sign",
    "article_loss": "loss: logistic, with a sigmoid output",
    "article_activation": "activation: tanh",
    "article_init": "initialization: glorot_uniform",
}
RATE, CONVERGED = "optimizer.learning_rate", "converged/rate"
EPOCHS, LOSS = "epochs_to_converge/median", "final_loss/median"
APART = "unit_difference/max"


def make(folder: Path) -> None:
    """Write `summary.csv`, the picture, and the tables of the README."""
    steps = dict(zip(STEPS, train("-m", f"experiment={','.join(STEPS)}"), strict=True))
    factors = train("experiment=corrections")
    printed, wrong_sign = (_uphill(run) for run in (steps["article"], steps["article_init"]))
    write_summary(folder, _summary([printed, *steps.values()], [*factors, wrong_sign]))
    show(folder)
    fill(folder, claims=tested_claims(steps, printed))
    _draw(folder / "steps.svg", steps, printed)


def show(folder: Path) -> None:
    """Write the tables that follow from `summary.csv`."""
    table = read_summary(folder)
    parts = {part: rows for part, rows in table.groupby("part")}
    fill(folder, steps=_steps(parts["step"]), factors=_factors(parts["factor"]))


def _uphill(run: Run) -> Run:
    """Return a run trained with the article's sign."""
    optimizer = run.config.optimizer
    ascent = optimizer.model_copy(update={"learning_rate": -optimizer.learning_rate})
    [trained] = train_configs([run.config.model_copy(update={"optimizer": ascent})])
    return trained


def _summary(steps: list[Run], factors: list[Run]) -> pd.DataFrame:
    """Return one row a run, the article's own first."""
    runs = [*steps, *factors]
    table = summarize(runs)
    table.insert(0, "part", ["step"] * len(steps) + ["factor"] * len(factors))
    weights = (run.result.final_weights["layer_1"] for run in runs)
    table[APART] = [float(unit_difference(layer).max()) for layer in weights]
    return table


def _steps(table: pd.DataFrame) -> pd.DataFrame:
    commands = [f"`bp train experiment={name}`" for name in STEPS]
    return pd.DataFrame(
        {
            "setup": ["as printed", *(f"+ {change}" for change in STEPS.values())],
            "command": ["–", *commands],
            "converged, %": table[CONVERGED].map(percent).to_list(),
            "median loss at the end": table[LOSS].map(_loss).to_list(),
            "median epochs": table[EPOCHS].map(count).to_list(),
        }
    )


def _factors(table: pd.DataFrame) -> pd.DataFrame:
    signs = table[RATE].map(lambda rate: "right" if rate > 0 else "wrong")
    return pd.DataFrame(
        {
            "sign": signs,
            **{key: table[key] for key in ("loss", "activation", "init")},
            "converged, %": table[CONVERGED].map(percent),
            "median loss at the end": table[LOSS].map(_loss),
            "largest difference between units": table[APART].map("{:.2g}".format),
        }
    )


def _loss(value: float) -> str:
    return "infinite" if pd.isna(value) else f"{value:.4g}"


def _draw(path: Path, steps: dict[str, Run], printed: Run) -> None:
    """Draw the median loss over the epochs, step by step."""
    labels = ["as printed", *(f"+ {change.split(',')[0]}" for change in STEPS.values())]
    with picture(path, figsize=(7.0, 3.6)) as [axes]:
        for run, label in zip([printed, *steps.values()], labels, strict=True):
            loss = np.median(run.result.loss, axis=0)
            finite = np.isfinite(loss)
            axes.plot(run.result.epochs[finite] + 1, loss[finite], label=label)
        axes.set(xscale="log", yscale="log", ylim=(1e-3, 1e3), xlabel="epoch + 1")
        axes.set_ylabel("median loss: squared error of\nthe first two, logistic of the others")
        axes.legend()
