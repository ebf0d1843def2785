"""How functions are written, and how the rules of back-propagation follow from them.

Owns the text: a row of these tables for each row of the core's `ACTIVATIONS` and `LOSSES`, whose
functions do the computing; each rule in two lines of the chain rule; what is said of each part of a
step. Which numbers stand for the symbols is for `derivation.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bp_pipeline.ensemble import learning_rates
from bp_pipeline.explain.notation import Weight, shorten, spell, subscript
from bp_pipeline.explain.step import Step


@dataclass(frozen=True)
class ActivationFormula:
    """An activation in terms of `{a}` and `{slope}`, its derivative in terms of f(a), `{z}`."""

    f: str
    derivative: str


@dataclass(frozen=True)
class LossFormula:
    """A loss of one output and its delta, in terms of `{a}`, `{z}`, `{y}`, and f′(a).

    The rule derives the delta in two lines: ∂`{loss}`/∂`{a}` as a chain, and that it is `{delta}`.
    """

    value: str
    delta: str
    rule: tuple[str, str]
    remark: str


ACTIVATION_FORMULAS = {
    "identity": ActivationFormula("{a}", "1"),
    "sigmoid": ActivationFormula("1/(1 + e^(−{a}))", "{z}·(1 − {z})"),
    "tanh": ActivationFormula("tanh({a})", "1 − {z}²"),
    "relu": ActivationFormula("max(0, {a})", "1 if {z} > 0 else 0"),
    "leaky_relu": ActivationFormula("{a} if {a} ≥ 0 else {slope}·{a}", "1 if {z} > 0 else {slope}"),
    "softplus": ActivationFormula("ln(1 + e^{a})", "1 − e^(−{z})"),
}
_BY_OUTPUT = "∂{loss}/∂{z} · ∂{z}/∂{a}"
LOSS_FORMULAS = {
    "logistic": LossFormula(
        "ln(1 + e^{a}) − {y}·{a}",
        "{z} − {y}",
        (
            "∂(ln(1 + e^{a}) − {y}·{a})/∂{a}",
            "e^{a}/(1 + e^{a}) − {y} = {delta}, since {z} = 1/(1 + e^(−{a}))",
        ),
        "The cost of logistic regression, −y·ln p − (1 − y)·ln(1 − p) with p the output, written "
        "so that it is finite where p rounds to 0 or 1.",
    ),
    "squared_error": LossFormula(
        "½·({y} − {z})²",
        "({z} − {y})·{derivative}",
        (_BY_OUTPUT, "{delta}, since {loss} = ½·({y} − {z})² and {z} = f({a})"),
        "Squared error, half the square of target minus output.",
    ),
}


def activation_formula(name: str) -> ActivationFormula:
    """Return an activation's formula; one that has no row is written by its name."""
    by_name = ActivationFormula(f"{name}({{a}})", f"{name}′({{z}})")
    return ACTIVATION_FORMULAS.get(name, by_name)


def loss_formula(name: str) -> LossFormula:
    """Return a loss's formula; one that has no row is written by its name."""
    value, delta = f"{name}({{z}}, {{y}})", f"{name}′({{z}}, {{y}}, {{derivative}})"
    return LOSS_FORMULAS.get(name, LossFormula(value, delta, (_BY_OUTPUT, "{delta}"), ""))


# The chain rule: of each pair of lines the first takes a derivative apart, the second puts it in.


def output_rule(formula: LossFormula, unit: str, loss: str, delta: str) -> list[str]:
    """Return how the delta of an output unit follows from its loss."""
    names = {"a": f"a_{unit}", "z": unit, "y": f"y_{unit}", "loss": loss, "delta": delta}
    chain, result = (line.format(**names) for line in formula.rule)
    return [f"δ_{unit} = ∂{loss}/∂a_{unit} = {chain}", f"= {result}"]


def hidden_rule(unit: str, to_units: Sequence[str], loss: str, delta: str, total: str) -> list[str]:
    """Return how the delta of a hidden unit follows from those of the units that it leads to."""
    paths = " + ".join(f"δ_{to_unit}·∂a_{to_unit}/∂{unit}" for to_unit in to_units)
    paths = paths if len(to_units) == 1 else f"({paths})"
    return [
        f"δ_{unit} = ∂{loss}/∂a_{unit} = {shorten(paths)}·∂{unit}/∂a_{unit}",
        f"= {shorten(delta)}, since a_{to_units[0]} = {shorten(total)} and {unit} = f(a_{unit})",
    ]


def gradient_rule(weight: Weight, loss: str, gradient: str, total: str) -> list[str]:
    """Return how the gradient of a weight follows from the delta of the unit that it leads to."""
    a = f"a_{weight.to_unit}"
    return [
        f"∂{loss}/∂{weight.name} = ∂{loss}/∂{a}·∂{a}/∂{weight.name}",
        f"= {gradient}, since δ_{weight.to_unit} = ∂{loss}/∂{a} and {a} = {shorten(total)}",
    ]


# What is said of each part


DELTA_REMARK = (
    "δ is ∂loss/∂a of a unit, from the output backwards; f′ is the derivative of f. Bias units "
    "have no inputs, so no delta."
)


def forward_remark(step: Step) -> str:
    """Return what a unit does."""
    kinds = step.setup.architecture
    hidden = f"{kinds.activation} in hidden layers, " if len(kinds.layer_sizes) > 2 else ""
    bias = ", the bias unit's 1 first" if kinds.bias else ""
    return (
        f"Each unit adds up its inputs times their weights{bias}, and applies f. f is {hidden}"
        f"{kinds.output} at the output."
    )


def gradient_remark(step: Step) -> str:
    """Return what a gradient is made of."""
    rule = "The activation at the start of a link times the delta at its end."
    if step.setup.online:
        return rule
    if step.setup.architecture.mean_gradient:
        how = "the gradient is the mean over all samples, their sum times the rounded 1/n"
    else:
        how = "the gradient is the sum over all samples"
    return f"{rule} That is the share of sample {step.sample}; {how}."


def rates(step: Step) -> dict[str, float]:
    """Return the learning rate by its symbol, or that of each layer where they differ."""
    of_layers = learning_rates(step.config).tolist()
    if len(set(of_layers)) == 1:
        return {"η": of_layers[0]}
    return {f"η{subscript(layer)}": rate for layer, rate in enumerate(of_layers, start=1)}


def update_remark(step: Step) -> str:
    """Return which way the weights go."""
    optimizer, kinds = step.config.optimizer, step.setup.architecture
    of_layers = ", ".join(f"{symbol} = {spell(rate)}" for symbol, rate in rates(step).items())
    rule = f"Against the gradient, with the learning rate {of_layers}"
    if optimizer.momentum:
        rule += f" and the momentum μ = {spell(optimizer.momentum)}; v is the velocity"
    is_held = kinds.bias and not kinds.train_bias
    kept = " Bias weights stay as they are: `network.train_bias=false`." if is_held else ""
    return f"{rule}.{kept}"
