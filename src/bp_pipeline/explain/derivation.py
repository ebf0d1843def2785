"""A step as equations: the formula of each quantity, and its value.

Owns which formula leads to which number, in the order of computing. No formula is ever evaluated. A
value is one that `step.py` took from the core, but for f′(a), which is the core's derivative of the
core's activation. How a function is written, and its rule derived, is for `rules.py`.
"""

from collections.abc import Iterator, Sequence

from bp_pipeline.explain.notation import SYMBOL, Equation, Names, Section, Weight, spell, subscript
from bp_pipeline.explain.rules import (
    DELTA_REMARK,
    ActivationFormula,
    activation_formula,
    forward_remark,
    gradient_remark,
    gradient_rule,
    hidden_rule,
    loss_formula,
    output_rule,
    rates,
    update_remark,
)
from bp_pipeline.explain.step import Step


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
        self.names = Names(self.architecture.layer_sizes, self.architecture.bias)
        self._loss_name = "L" if step.setup.online else f"L{subscript(step.sample)}"
        self._loss_formula = loss_formula(self.architecture.loss)
        self._slope = spell(self.architecture.slope)
        self.values = self._known()
        deltas, gradients = list(self._deltas()), list(self._gradients())
        rules = self._delta_rules(deltas), self._gradient_rules(gradients[0])
        self.sections = [
            Section("Forward pass", forward_remark(step), [], list(self._forward())),
            Section("Loss", self._loss_formula.remark, [], list(self._loss())),
            Section("Deltas", DELTA_REMARK, rules[0], deltas),
            Section("Gradient", gradient_remark(step), rules[1], gradients),
            Section("Update", update_remark(step), [], list(self._updates())),
        ]

    def _known(self) -> dict[str, float]:
        """Return the value of every symbol but losses and gradients, before the update."""
        step, names = self.step, self.names
        values = {**rates(step), "μ": step.config.optimizer.momentum}
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
        return activation_formula(name)

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
                formula = f"{{{name}}} − {self._against(weight)}"
                yield self._equation(name, formula, value, ":=")
            else:
                yield from self._momentum_update(weight, value)

    def _momentum_update(self, weight: Weight, value: float) -> Iterator[Equation]:
        name, velocity = weight.name, f"v_{weight.name}"
        moved = weight.of(self.step.new_velocity)
        formula = f"{{μ}}·{{{velocity}}} − {self._against(weight)}"
        yield self._equation(velocity, formula, moved, ":=")
        values = {name: self.values[name], velocity: moved}
        yield Equation(name, f"{{{name}}} + {{{velocity}}}", values, value, ":=")

    def _against(self, weight: Weight) -> str:
        """Write the gradient of a weight times its layer's learning rate."""
        symbols = [*rates(self.step)]
        rate = symbols[weight.layer - 1] if len(symbols) > 1 else symbols[0]
        return f"{{{rate}}}·{{∂L/∂{weight.name}}}"

    def _delta_rules(self, deltas: Sequence[Equation]) -> list[str]:
        """Return how the first deltas of the output and of the last hidden layer are derived."""
        written = {equation.name: equation.symbols for equation in deltas}
        outputs, unit = self.names.outputs, self.names.units(self.names.last - 1)[0]
        loss = self._loss_name if len(outputs) == 1 else f"{self._loss_name}({outputs[0]})"
        rules = output_rule(self._loss_formula, outputs[0], loss, written[f"δ_{outputs[0]}"])
        if self.names.last > 1:
            delta, total = written[f"δ_{unit}"], self._total(outputs[0])
            rules += hidden_rule(unit, outputs, self._loss_name, delta, total)
        return rules

    def _gradient_rules(self, first: Equation) -> list[str]:
        """Return how the first gradient is derived."""
        weight = next(filter(self._is_trained, self.names.all_weights()))
        return gradient_rule(weight, self._loss_name, first.symbols, self._total(weight.to_unit))

    def _total(self, unit: str) -> str:
        """Return the sum that a unit's pre-activation is."""
        incoming = [w for w in self.names.all_weights() if w.to_unit == unit]
        return " + ".join(f"{w.name}·{w.from_unit}" for w in incoming)

    def _is_trained(self, weight: Weight) -> bool:
        is_bias = self.architecture.bias and weight.row == 0
        return self.architecture.train_bias or not is_bias


def _target(unit: str) -> str:
    return f"y_{unit}"
