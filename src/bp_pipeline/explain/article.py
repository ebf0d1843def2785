"""The article's printed numbers beside those of a step.

Owns whether a step is the article's, and the comparison. The numbers themselves, their places in
the article and why some are wrong stand in `article.yaml`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bp_pipeline.explain.step import Step


class Comparison(NamedTuple):
    """One printed number, of one quantity or of several that are alike.

    Attributes
    ----------
    names
        The quantities; `at_the_start` where weights before the update are meant.
    prints, computed
        The article's number and ours; None where there is no such quantity.
    place
        Where the article prints it.
    why
        In one sentence, why the two differ; None where they agree.
    """

    names: tuple[str, ...]
    at_the_start: bool
    prints: float
    computed: float | None
    place: str
    why: str | None

    @property
    def title(self) -> str:
        """The names in one line, a long list by its ends."""
        few = len(self.names) <= 4
        listed = ", ".join(self.names) if few else f"{self.names[0]} … {self.names[-1]}"
        return f"{listed} at the start" if self.at_the_start else listed


def compare(step: Step, values: Mapping[str, float]) -> list[Comparison]:
    """Put the article's numbers beside those of its step.

    Parameters
    ----------
    step
        Any step.
    values
        Every number of it by name; weights before the update as `"W10 at the start"`.

    Returns
    -------
    list of Comparison
        Nothing where the step is not the article's.
    """
    return [_compare(entry, values) for entry in _article()["numbers"]] if is_article(step) else []


def is_article(step: Step) -> bool:
    """Tell whether a step is the one that the article goes through."""
    kinds, optimizer = step.architecture, step.config.optimizer
    weights = {float(w) for layer in step.weights for w in layer.ravel()}
    ours = {
        "inputs": [list(row) for row in step.setup.inputs],
        "targets": [list(row) for row in step.setup.targets],
        "layer_sizes": list(kinds.layer_sizes),
        "bias": kinds.bias,
        "train_bias": kinds.train_bias,
        "activation": kinds.activation,
        "output": kinds.output,
        "loss": kinds.loss,
        "online": step.setup.online,
        "learning_rate": optimizer.learning_rate,
        "momentum": optimizer.momentum,
        "initial_weights": weights.pop() if len(weights) == 1 else None,
    }
    return step.sample == step.epoch == 0 and ours == _article()["setup"]


@cache
def _article() -> dict[str, Any]:
    text = Path(__file__).with_name("article.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _compare(entry: dict[str, Any], values: Mapping[str, float]) -> Comparison:
    names, at_the_start = tuple(entry["names"].split()), entry.get("at_the_start", False)
    keys = [f"{name} at the start" if at_the_start else name for name in names]
    [computed] = {values.get(key) for key in keys}  # an entry's quantities are alike
    why = None if computed == entry["prints"] else entry["why"]
    return Comparison(names, at_the_start, entry["prints"], computed, entry["place"], why)
