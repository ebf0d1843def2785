"""How activations and losses are written as formulas, and what is said of each part of a step.

Owns the text: a row of these tables for each row of the core's `ACTIVATIONS` and `LOSSES`, whose
functions do the computing. What stands in the braces is put in by `equations.py`.
"""

from typing import NamedTuple

from bp_pipeline.explain.equation import spell
from bp_pipeline.explain.step import Step


class ActivationFormula(NamedTuple):
    """An activation as the core computes it.

    Attributes
    ----------
    f
        In terms of `{a}`; leaky_relu has a `{slope}`.
    derivative
        In terms of the activation `{z}`.
    """

    f: str
    derivative: str


class LossFormula(NamedTuple):
    """A loss as the core computes it.

    Attributes
    ----------
    value
        Of one output, in terms of `{a}`, `{z}` and the target `{y}`.
    delta
        In terms of `{z}`, `{y}` and `{derivative}`, which is f′(a).
    remark
        What it is, in a sentence.
    """

    value: str
    delta: str
    remark: str


ACTIVATIONS = {
    "identity": ActivationFormula("{a}", "1"),
    "sigmoid": ActivationFormula("1/(1 + e^(−{a}))", "{z}·(1 − {z})"),
    "tanh": ActivationFormula("tanh({a})", "1 − {z}²"),
    "relu": ActivationFormula("max(0, {a})", "1 if {z} > 0 else 0"),
    "leaky_relu": ActivationFormula("{a} if {a} ≥ 0 else {slope}·{a}", "1 if {z} > 0 else {slope}"),
    "softplus": ActivationFormula("ln(1 + e^{a})", "1 − e^(−{z})"),
}
LOSSES = {
    "logistic": LossFormula(
        "ln(1 + e^{a}) − {y}·{a}",
        "{z} − {y}",
        "The cost of logistic regression, −y·ln p − (1 − y)·ln(1 − p) with p the output, written "
        "so that it is finite where p rounds to 0 or 1.",
    ),
    "squared_error": LossFormula(
        "½·({y} − {z})²",
        "({z} − {y})·{derivative}",
        "Squared error, half the square of target minus output.",
    ),
}


def activation_formula(name: str) -> ActivationFormula:
    """Look an activation up; one that has no row is written by its name."""
    return ACTIVATIONS.get(name) or ActivationFormula(f"{name}({{a}})", f"{name}′({{z}})")


def loss_formula(name: str) -> LossFormula:
    """Look a loss up; one that has no row is written by its name."""
    arguments = "({z}, {y}, {derivative})"
    return LOSSES.get(name) or LossFormula(f"{name}({{z}}, {{y}})", f"{name}′{arguments}", "")


DELTA_REMARK = (
    "δ is ∂loss/∂a of a unit, from the output backwards. Bias units have no inputs, so no delta."
)


def forward_remark(step: Step) -> str:
    """Say what a unit does."""
    kinds = step.architecture
    hidden = f"{kinds.activation} in hidden layers, " if len(kinds.layer_sizes) > 2 else ""
    bias = ", the bias unit's 1 first" if kinds.bias else ""
    return (
        f"Each unit adds up its inputs times their weights{bias}, and applies f. f is {hidden}"
        f"{kinds.output} at the output."
    )


def gradient_remark(step: Step) -> str:
    """Say what a gradient is made of."""
    rule = "The activation at the start of a link times the delta at its end."
    if step.setup.online:
        return rule
    if step.architecture.mean_gradient:
        how = "the gradient is the mean over all samples, their sum times the rounded 1/n"
    else:
        how = "the gradient is the sum over all samples"
    return f"{rule} That is the share of sample {step.sample}; {how}."


def update_remark(step: Step) -> str:
    """Say which way the weights go."""
    optimizer = step.config.optimizer
    rule = f"Against the gradient, with the learning rate η = {spell(optimizer.learning_rate)}"
    if optimizer.momentum:
        rule += f" and the momentum μ = {spell(optimizer.momentum)}; v is the velocity"
    kept = "" if step.architecture.train_bias or not step.architecture.bias else (
        " Bias weights stay as they are: `network.train_bias=false`."
    )  # fmt: skip
    return f"{rule}.{kept}"
