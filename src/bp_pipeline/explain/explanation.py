"""A whole explanation: the step's equations, what the step achieved, and the article beside it.

Owns what is told, in which order. How it looks is for `formats.py` and `page.py`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bp_pipeline.config.naming import ALWAYS, run_name
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.training import Progress
from bp_pipeline.explain.article import Comparison, compare, is_article
from bp_pipeline.explain.equation import Equation, Section, spell
from bp_pipeline.explain.equations import Equations
from bp_pipeline.explain.names import Weight
from bp_pipeline.explain.step import Step, take_step


@dataclass(frozen=True)
class Change:
    """A number before and after the step."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class Explanation:
    """A step with its equations."""

    step: Step

    @cached_property
    def equations(self) -> Equations:
        """How its numbers came about."""
        return Equations(self.step)

    @cached_property
    def sections(self) -> list[Section]:
        """The equations in the order in which they are computed."""
        with np.errstate(all="ignore"):  # a network may be about to diverge
            return self.equations.sections()

    @property
    def all_equations(self) -> list[Equation]:
        """The same without sections."""
        return [equation for section in self.sections for equation in section.equations]

    @property
    def weights(self) -> list[Weight]:
        """All weights by name."""
        return self.equations.names.all_weights()

    @property
    def title(self) -> str:
        """Which step it is."""
        step = self.step
        numbers = f"sample {step.sample}, epoch {step.epoch}, replicate {step.replicate}"
        return f"One training step: {numbers}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the step is a step of."""
        step = self.step
        x, y = (", ".join(map(spell, row)) for row in (step.inputs, step.targets))
        return [
            ("run", run_name(step.config, ALWAYS)),
            ("network", _network(step)),
            ("sample", f"x = ({x}), y = ({y})"),
            ("update", _when(step)),
        ]

    @property
    def effect(self) -> list[Change]:
        """What came of the step, for this sample and for the whole truth table."""
        step = self.step
        outputs = [
            Change(f"output {unit}", float(before), float(after))
            for unit, before, after in zip(
                self.equations.outputs,
                step.before.outputs[step.sample, :, 0],
                step.after.outputs[step.sample, :, 0],
                strict=True,
            )
        ]
        losses = (sum(step.losses(network), 0.0) for network in (step.before, step.after))
        means = (step.mean_loss(network) for network in (step.before, step.after))
        return [
            *outputs,
            Change("loss of this sample", *losses),
            Change("mean loss of all samples", *means),
        ]

    @cached_property
    def comparison(self) -> list[Comparison]:
        """The article's numbers, where the step is its own."""
        known, equations = self.equations.values, self.all_equations
        start = {f"{weight.name} at the start": known[weight.name] for weight in self.weights}
        computed = {equation.name: equation.value for equation in equations}
        return compare(self.step, {**known, **start, **computed})

    @property
    def remarks(self) -> list[str]:
        """What a reader should know who expects something else."""
        step, found = self.step, []
        epochs = step.config.training.epochs
        if step.epoch >= epochs:
            found.append(f"Training ends after {_epochs(epochs)}, before this step.")
        if step.config.labels.get("experiment") == "article" and not is_article(step):
            found.append("The article prints numbers only for its own setup, sample 0 and epoch 0.")
        if not _is_finite(step):
            found.append(_divergence(step))
        return found


def explain_step(
    config: RunConfig,
    *,
    sample: int = 0,
    epoch: int = 0,
    replicate: int = 0,
    progress: Progress | None = None,
) -> Explanation:
    """Explain one update of one network; see `take_step` for the arguments.

    Raises
    ------
    ConfigError
        Where there is no such update.
    """
    return Explanation(
        take_step(config, sample=sample, epoch=epoch, replicate=replicate, progress=progress)
    )


def _network(step: Step) -> str:
    kinds = step.architecture
    slope = f"({spell(kinds.slope)})" if kinds.activation == "leaky_relu" else ""
    hidden = f", hidden {kinds.activation}{slope}" if len(kinds.layer_sizes) > 2 else ""
    sizes = "-".join(map(str, kinds.layer_sizes))
    return f"{sizes}{hidden}, output {kinds.output}{'' if kinds.bias else ', no bias units'}"


def _when(step: Step) -> str:
    epochs = _epochs(step.epoch)
    if not step.setup.online:
        return f"one for all {len(step.setup.inputs)} samples (batch_gd), after {epochs}"
    earlier = {0: "", 1: " and sample 0"}.get(step.sample, f" and samples 0 to {step.sample - 1}")
    return f"one for this sample (online_gd), after {epochs}{earlier}"


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _is_finite(step: Step) -> bool:
    """Tell whether the network has not diverged after the step, by the rule of `core.training`."""
    weights_are = all(np.isfinite(layer).all() for layer in step.new_weights)
    return weights_are and math.isfinite(step.mean_loss(step.after))


def _divergence(step: Step) -> str:
    not_finite = "After this step a weight or the loss is not finite"
    if step.setup.online and step.sample < len(step.setup.inputs) - 1:
        return f"{not_finite}; if that is still so after the epoch, the network has diverged."
    return f"{not_finite}: the network has diverged, and takes no further step."
