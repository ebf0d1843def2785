"""A whole explanation: the step's equations, its effect, and what a source prints beside it.

Owns what is told, in which order. The equations come from `derivation.py`, printed numbers from
`source_numbers.py`; how it looks is for `text.py` and `page.py`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bp_pipeline.config.run_names import ALWAYS, run_name
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.training import Progress
from bp_pipeline.digests import code_digest
from bp_pipeline.explain.derivation import Derivation
from bp_pipeline.explain.notation import Equation, Names, Section, spell
from bp_pipeline.explain.source_numbers import PrintedNumber, printed_beside, why_none
from bp_pipeline.explain.step import Step, take_step
from bp_pipeline.tracking import Recorded
from bp_pipeline.tracking.format import CODE_DIGEST


@dataclass(frozen=True)
class Change:
    """A number before and after the step."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class Explanation:
    """A step, its equations and what is told around them.

    Attributes
    ----------
    step, names, values
        The step, the names of its units and weights, and what symbols stand for before it.
    title, facts
        Which step it is, and of what.
    sections
        The equations in the order in which they are computed.
    effect
        What the step changed, for this sample and for the whole truth table.
    source, printed
        Who prints numbers of this very step ("article"), and these; empty where nobody does.
    remarks
        What a reader should know who expects something else.
    """

    step: Step
    names: Names
    values: Mapping[str, float]
    title: str
    facts: list[tuple[str, str]]
    sections: list[Section]
    effect: list[Change]
    source: str
    printed: list[PrintedNumber]
    remarks: list[str]

    @property
    def all_equations(self) -> list[Equation]:
        """The equations without sections."""
        return [equation for section in self.sections for equation in section.equations]


def explain_step(
    config: RunConfig,
    *,
    sample: int = 0,
    epoch: int = 0,
    replicate: int = 0,
    progress: Progress | None = None,
    recorded: Recorded | None = None,
) -> Explanation:
    """Return one update of one network as equations.

    Parameters
    ----------
    config, sample, epoch, replicate, progress
        As for `take_step`.
    recorded
        Where the run was recorded, if it was.

    Raises
    ------
    ConfigError
        Where there is no such update.
    """
    step = take_step(config, sample=sample, epoch=epoch, replicate=replicate, progress=progress)
    with np.errstate(all="ignore"):  # a network may be about to diverge
        derivation = Derivation(step)
    source, printed = printed_beside(step, derivation)
    return Explanation(
        step,
        derivation.names,
        derivation.values,
        f"One training step: sample {sample}, epoch {epoch}, replicate {replicate}",
        _facts(step, derivation.names, recorded),
        derivation.sections,
        _effect(step, derivation.names),
        source,
        printed,
        list(_remarks(step, bool(printed), recorded)),
    )


def _facts(step: Step, names: Names, recorded: Recorded | None) -> list[tuple[str, str]]:
    kinds = step.setup.architecture
    slope = f"({spell(kinds.slope)})" if kinds.activation == "leaky_relu" else ""
    hidden = f", hidden {kinds.activation}{slope}" if len(kinds.layer_sizes) > 2 else ""
    sizes, no_bias = "-".join(map(str, kinds.layer_sizes)), "" if kinds.bias else ", no bias units"
    x, y = (", ".join(map(spell, row)) for row in (step.inputs, step.targets))
    return [
        ("run", run_name(step.config, ALWAYS)),
        ("network", f"{sizes}{hidden}, output {kinds.output}{no_bias}"),
        ("units", names.said_of_units()),
        ("weights", names.said_of_weights()),
        ("sample", f"x = ({x}), y = ({y})"),
        ("update", _when(step)),
        *([("recorded", f"as {recorded.name!r}, run {recorded.run_id}")] if recorded else []),
    ]


def _when(step: Step) -> str:
    epochs = _epochs(step.epoch)
    if not step.setup.online:
        return f"one for all {len(step.setup.inputs)} samples (batch_gd), after {epochs}"
    earlier = {0: "", 1: " and sample 0"}.get(step.sample, f" and samples 0 to {step.sample - 1}")
    return f"one for this sample (online_gd), after {epochs}{earlier}"


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _effect(step: Step, names: Names) -> list[Change]:
    networks = step.before, step.after
    outputs = (network.outputs[step.sample, :, 0].tolist() for network in networks)
    ends = zip(names.outputs, *outputs, strict=True)
    return [
        *(Change(f"output {unit}", before, after) for unit, before, after in ends),
        Change("loss of this sample", *map(step.loss, networks)),
        Change("mean loss of all samples", *map(step.mean_loss, networks)),
    ]


def _remarks(step: Step, is_printed: bool, recorded: Recorded | None) -> Iterator[str]:
    if recorded is not None and recorded.tags.get(CODE_DIGEST) != code_digest():
        yield "The run was trained by another version of the core; this is the step of today's."
    epochs, study = step.config.training.epochs, step.config.labels.get("experiment")
    if step.epoch >= epochs:
        yield f"Training ends after {_epochs(epochs)}, before this step."
    if study and not is_printed:
        yield from filter(None, [why_none(study)])
    weights_are_finite = all(np.isfinite(layer).all() for layer in step.block.weights)
    if weights_are_finite and math.isfinite(step.mean_loss(step.after)):  # as in core.training
        return
    not_finite = "After this step a weight or the loss is not finite"
    if step.setup.online and step.sample < len(step.setup.inputs) - 1:
        yield f"{not_finite}; if that is still so after the epoch, the network has diverged."
    else:
        yield f"{not_finite}: the network has diverged, and takes no further step."
