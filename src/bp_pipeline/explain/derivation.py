"""A step as equations: the formula of each quantity, and its value.

Owns which formula leads to which number, in the order of computing, and how activations and losses
are written: a row of these tables for each row of the core's. No formula is ever evaluated. A
value is one that `step.py` took from the core, with two exceptions: f′(a) is the core's derivative
of the core's activation, and the loss over several outputs is added up here, in their order.
"""

from collections.abc import Iterator
from typing import NamedTuple

from bp_pipeline.explain.notation import SYMBOL, Equation, Names, Section, Weight, spell, subscript
from bp_pipeline.explain.step import Step


class ActivationFormula(NamedTuple):
    """An activation in terms of `{a}` and `{slope}`, its derivative in terms of f(a), `{z}`."""

    f: str
    derivative: str


class LossFormula(NamedTuple):
    """A loss of one output and its delta, in terms of `{a}`, `{z}`, `{y}`, and f′(a)."""

    value: str
    delta: str
    remark: str


ACTIVATION_FORMULAS = {
    "identity": ActivationFormula("{a}", "1"),
    "sigmoid": ActivationFormula("1/(1 + e^(−{a}))", "{z}·(1 − {z})"),
    "tanh": ActivationFormula("tanh({a})", "1 − {z}²"),
    "relu": ActivationFormula("max(0, {a})", "1 if {z} > 0 else 0"),
    "leaky_relu": ActivationFormula("{a} if {a} ≥ 0 else {slope}·{a}", "1 if {z} > 0 else {slope}"),
    "softplus": ActivationFormula("ln(1 + e^{a})", "1 − e^(−{z})"),
}
LOSS_FORMULAS = {
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


class Derivation:
    """All equations of a step.

    Attributes
    ----------
    names
        Of its units and weights.
    values
        What every symbol stands for, before the update.
    sections
        The equations, in the order in which they are computed.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.architecture = step, step.setup.architecture
        loss = self.architecture.loss
        self.names = Names(self.architecture.layer_sizes, self.architecture.bias)
        self._loss_name = "L" if step.setup.online else f"L{subscript(step.sample)}"
        self._loss_formula = LOSS_FORMULAS.get(loss) or LossFormula(
            f"{loss}({{z}}, {{y}})", f"{loss}′({{z}}, {{y}}, {{derivative}})", ""
        )
        self._slope = spell(self.architecture.slope)
        self.values = self._known()
        self.sections = [
            Section("Forward pass", _forward_remark(step), list(self._forward())),
            Section("Loss", self._loss_formula.remark, list(self._loss())),
            Section("Deltas", _DELTA_REMARK, list(self._deltas())),
            Section("Gradient", _gradient_remark(step), list(self._gradients())),
            Section("Update", _update_remark(step), list(self._updates())),
        ]

    def _known(self) -> dict[str, float]:
        """Return the value of every symbol but losses and gradients, before the update."""
        step, names = self.step, self.names
        values = {"η": step.config.optimizer.learning_rate, "μ": step.config.optimizer.momentum}
        for layer, units in enumerate(step.block.units):
            of_sample = units[step.sample, :, 0].tolist()
            numbers = of_sample[self.architecture.bias * (layer == names.last) :]
            values |= zip(names.units(layer, with_bias=True), numbers, strict=True)
        for layer in range(1, names.last + 1):
            derivative = self.architecture.activations[layer - 1].derivative
            for column, unit in enumerate(names.units(layer)):
                at = step.sample, column, 0
                values[f"a_{unit}"] = float(step.block.pre_activations[layer - 1][at])
                values[f"δ_{unit}"] = float(step.block.deltas[layer - 1][at])
                slope = self.architecture.slope
                values[f"f′(a_{unit})"] = float(derivative(values[unit], slope))
        for weight in names.all_weights():
            values[weight.name] = weight.of(step.before.weights)
            values[f"v_{weight.name}"] = weight.of(step.velocity)
            values[f"∂L/∂{weight.name}"] = weight.of(step.block.gradients)
        return values | dict(zip(map(_target, names.outputs), step.targets, strict=True))

    def _equation(self, name: str, formula: str, value: float, sign: str = "=") -> Equation:
        used = {symbol: self.values[symbol] for symbol in SYMBOL.findall(formula)}
        return Equation(name, formula, used, value, sign)

    def _activation_formula(self, layer: int) -> ActivationFormula:
        kinds = self.architecture
        name = kinds.output if layer == self.names.last else kinds.activation
        by_name = ActivationFormula(f"{name}({{a}})", f"{name}′({{z}})")
        return ACTIVATION_FORMULAS.get(name, by_name)

    def _forward(self) -> Iterator[Equation]:
        for layer in range(1, self.names.last + 1):
            kind = self._activation_formula(layer)
            for unit in self.names.units(layer):
                incoming = [w for w in self.names.weights(layer) if w.to_unit == unit]
                total = " + ".join(f"{{{w.name}}}·{{{w.from_unit}}}" for w in incoming)
                yield self._equation(f"a_{unit}", total, self.values[f"a_{unit}"])
                formula = kind.f.format(a=f"{{a_{unit}}}", slope=self._slope)
                yield self._equation(unit, formula, self.values[unit])

    def _loss(self) -> Iterator[Equation]:
        outputs, name = self.names.outputs, self._loss_name
        parts = [name] if len(outputs) == 1 else [f"{name}({unit})" for unit in outputs]
        of_outputs = self.step.losses(self.step.before)
        for part, unit, value in zip(parts, outputs, of_outputs, strict=True):
            symbols = {"a": f"{{a_{unit}}}", "z": f"{{{unit}}}", "y": f"{{{_target(unit)}}}"}
            yield self._equation(part, self._loss_formula.value.format(**symbols), value)
            self.values[part] = value
        if len(parts) > 1:
            total = " + ".join(f"{{{part}}}" for part in parts)
            yield self._equation(name, total, self.step.loss(self.step.before))

    def _deltas(self) -> Iterator[Equation]:
        last = self.names.last
        for unit in self.names.outputs:
            yield from self._delta(last, unit, self._loss_formula.delta)
        for layer in range(last - 1, 0, -1):
            for column, unit in enumerate(self.names.units(layer)):
                yield from self._delta(layer, unit, f"{self._error(layer, column)}·{{derivative}}")

    def _error(self, layer: int, column: int) -> str:
        """Return what the next layer's deltas bring back to a unit, for `_delta` to format."""
        row = column + self.architecture.bias
        outgoing = [w for w in self.names.weights(layer + 1) if w.row == row]
        total = " + ".join(f"{{{{{w.name}}}}}·{{{{δ_{w.to_unit}}}}}" for w in outgoing)
        return total if len(outgoing) == 1 else f"({total})"

    def _delta(self, layer: int, unit: str, formula: str) -> Iterator[Equation]:
        """Yield a unit's delta, after the derivative of its activation where that is in it."""
        symbols = {"z": f"{{{unit}}}", "y": f"{{{_target(unit)}}}"}
        derivative, delta = f"f′(a_{unit})", f"δ_{unit}"
        if "{derivative}" in formula:
            of_activation = self._activation_formula(layer).derivative
            written = of_activation.format(**symbols, slope=self._slope)
            yield self._equation(derivative, written, self.values[derivative])
        written = formula.format(**symbols, derivative=f"{{{derivative}}}")
        yield self._equation(delta, written, self.values[delta])

    def _gradients(self) -> Iterator[Equation]:
        of_samples, online = self.step.contributions, self.step.setup.online
        part = of_samples[0 if online else self.step.sample]
        for weight in filter(self._is_trained, self.names.all_weights()):
            formula = f"{{{weight.from_unit}}}·{{δ_{weight.to_unit}}}"
            name = f"∂{self._loss_name}/∂{weight.name}"
            yield self._equation(name, formula, weight.of(part))
            if not online:
                yield self._reduced(weight)

    def _reduced(self, weight: Weight) -> Equation:
        """Return the gradient of the batch."""
        of_samples = {
            f"∂L{subscript(sample)}/∂{weight.name}": weight.of(part)
            for sample, part in enumerate(self.step.contributions)
        }
        self.values |= of_samples
        total = " + ".join(f"{{{name}}}" for name in of_samples)
        if self.architecture.mean_gradient and len(of_samples) > 1:
            total = f"({total})·1/{len(of_samples)}"
        return self._equation(f"∂L/∂{weight.name}", total, weight.of(self.step.block.gradients))

    def _updates(self) -> Iterator[Equation]:
        for weight in self.names.all_weights():
            name, value = weight.name, weight.of(self.step.block.weights)
            if not self._is_trained(weight):
                yield self._equation(name, f"{{{name}}}", value)
            elif self.values["μ"] == 0.0:
                yield self._equation(name, f"{{{name}}} − {{η}}·{{∂L/∂{name}}}", value, ":=")
            else:
                yield from self._momentum_update(weight, value)

    def _momentum_update(self, weight: Weight, value: float) -> Iterator[Equation]:
        name, velocity = weight.name, f"v_{weight.name}"
        moved = weight.of(self.step.new_velocity)
        formula = f"{{μ}}·{{{velocity}}} − {{η}}·{{∂L/∂{name}}}"
        yield self._equation(velocity, formula, moved, ":=")
        values = {name: self.values[name], velocity: moved}
        yield Equation(name, f"{{{name}}} + {{{velocity}}}", values, value, ":=")

    def _is_trained(self, weight: Weight) -> bool:
        is_bias = self.architecture.bias and weight.row == 0
        return self.architecture.train_bias or not is_bias


def _target(unit: str) -> str:
    return f"y_{unit}"


_DELTA_REMARK = (
    "δ is ∂loss/∂a of a unit, from the output backwards. Bias units have no inputs, so no delta."
)


def _forward_remark(step: Step) -> str:
    kinds = step.setup.architecture
    hidden = f"{kinds.activation} in hidden layers, " if len(kinds.layer_sizes) > 2 else ""
    bias = ", the bias unit's 1 first" if kinds.bias else ""
    return (
        f"Each unit adds up its inputs times their weights{bias}, and applies f. f is {hidden}"
        f"{kinds.output} at the output."
    )


def _gradient_remark(step: Step) -> str:
    rule = "The activation at the start of a link times the delta at its end."
    if step.setup.online:
        return rule
    if step.setup.architecture.mean_gradient:
        how = "the gradient is the mean over all samples, their sum times the rounded 1/n"
    else:
        how = "the gradient is the sum over all samples"
    return f"{rule} That is the share of sample {step.sample}; {how}."


def _update_remark(step: Step) -> str:
    optimizer, kinds = step.config.optimizer, step.setup.architecture
    rule = f"Against the gradient, with the learning rate η = {spell(optimizer.learning_rate)}"
    if optimizer.momentum:
        rule += f" and the momentum μ = {spell(optimizer.momentum)}; v is the velocity"
    is_held = kinds.bias and not kinds.train_bias
    kept = " Bias weights stay as they are: `network.train_bias=false`." if is_held else ""
    return f"{rule}.{kept}"
