"""A step as equations: the formula of each quantity, and its value.

Owns which formula leads to which number, in the order of computing. A value is one that `step.py`
took from the core, with two exceptions: f′(a) is the core's derivative of the core's activation,
and the loss over several outputs is added up here, in their order. No formula is ever evaluated.
"""

from collections.abc import Iterator

from bp_pipeline.explain.equation import SYMBOL, Equation, Section, spell
from bp_pipeline.explain.formulas import (
    DELTA_REMARK,
    ActivationFormula,
    activation_formula,
    forward_remark,
    gradient_remark,
    loss_formula,
    update_remark,
)
from bp_pipeline.explain.names import Names, Weight, subscript, target
from bp_pipeline.explain.step import Layers, Step


class Equations:
    """All equations of a step, in the order in which they are computed."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.architecture = step.architecture
        self.names = Names(self.architecture.layer_sizes, self.architecture.bias)
        self.loss_name = "L" if step.setup.online else f"L{subscript(step.sample)}"
        self.values = self._known()
        self._loss_formula = loss_formula(self.architecture.loss)
        self._slope = spell(self.architecture.slope)

    def sections(self) -> list[Section]:
        """Write the whole step."""
        return [
            Section("Forward pass", forward_remark(self.step), list(self._forward())),
            Section("Loss", self._loss_formula.remark, list(self._loss())),
            Section("Deltas", DELTA_REMARK, list(self._deltas())),
            Section("Gradient", gradient_remark(self.step), list(self._gradients())),
            Section("Update", update_remark(self.step), list(self._updates())),
        ]

    def _known(self) -> dict[str, float]:
        """Give every symbol that formulas use its value before the update."""
        step, names = self.step, self.names
        values = {"η": step.config.optimizer.learning_rate, "μ": step.config.optimizer.momentum}
        values |= {
            names.unit(layer, index): float(z)
            for layer, units in enumerate(step.units[:-1])
            for index, z in enumerate(units)
        }
        for layer in range(1, len(step.units)):
            for column, unit in enumerate(names.units(layer)):
                values[unit] = float(step.units[layer][column + self.architecture.bias])
                values[f"a_{unit}"] = float(step.pre_activations[layer - 1][column])
                values[f"δ_{unit}"] = float(step.deltas[layer - 1][column])
                values[f"f′(a_{unit})"] = self._derivative_value(layer, unit, values[unit])
        for weight in names.all_weights():
            values[weight.name] = _at(step.weights, weight)
            values[f"v_{weight.name}"] = _at(step.velocity, weight)
        values |= {target(unit): y for unit, y in zip(self.outputs, step.targets, strict=True)}
        return values

    @property
    def outputs(self) -> list[str]:
        """Names of the output units."""
        return self.names.units(len(self.architecture.layer_sizes) - 1)

    def _derivative_value(self, layer: int, unit: str, z: float) -> float:
        activation = self.architecture.activations[layer - 1]
        return float(activation.derivative(z, self.architecture.slope))

    def _equation(self, name: str, formula: str, value: float, sign: str = "=") -> Equation:
        used = {symbol: self.values[symbol] for symbol in SYMBOL.findall(formula)}
        return Equation(name, formula, used, value, sign)

    def _activation_formula(self, layer: int) -> ActivationFormula:
        kinds = self.architecture
        is_output = layer == len(kinds.layer_sizes) - 1
        return activation_formula(kinds.output if is_output else kinds.activation)

    def _forward(self) -> Iterator[Equation]:
        for layer in range(1, len(self.architecture.layer_sizes)):
            kind = self._activation_formula(layer)
            for unit in self.names.units(layer):
                incoming = [w for w in self.names.weights(layer) if w.target == unit]
                total = " + ".join(f"{{{w.name}}}·{{{w.source}}}" for w in incoming)
                yield self._equation(f"a_{unit}", total, self.values[f"a_{unit}"])
                formula = kind.f.format(a=f"{{a_{unit}}}", slope=self._slope)
                yield self._equation(unit, formula, self.values[unit])

    def _loss(self) -> Iterator[Equation]:
        step, name = self.step, self.loss_name
        of_outputs = step.losses(step.before)
        formula = self._loss_formula.value
        parts = [name] if len(of_outputs) == 1 else [f"{name}({unit})" for unit in self.outputs]
        total = 0.0
        for part, unit, value in zip(parts, self.outputs, of_outputs, strict=True):
            symbols = {"a": f"{{a_{unit}}}", "z": f"{{{unit}}}", "y": f"{{{target(unit)}}}"}
            yield self._equation(part, formula.format(**symbols), value)
            self.values[part] = value
            total += value
        if len(parts) > 1:
            yield self._equation(name, " + ".join(f"{{{part}}}" for part in parts), total)

    def _deltas(self) -> Iterator[Equation]:
        last = len(self.architecture.layer_sizes) - 1
        for unit in self.outputs:
            yield from self._delta(last, unit, self._loss_formula.delta)
        for layer in range(last - 1, 0, -1):
            for column, unit in enumerate(self.names.units(layer)):
                yield from self._delta(layer, unit, f"{self._error(layer, column)}·{{derivative}}")

    def _error(self, layer: int, column: int) -> str:
        """Write what the deltas of the next layer bring back to a unit, a template of `_delta`."""
        row = column + self.architecture.bias
        outgoing = [w for w in self.names.weights(layer + 1) if w.row == row]
        total = " + ".join(f"{{{{{w.name}}}}}·{{{{δ_{w.target}}}}}" for w in outgoing)
        return total if len(outgoing) == 1 else f"({total})"

    def _delta(self, layer: int, unit: str, formula: str) -> Iterator[Equation]:
        """Write a unit's delta, after the derivative of its activation where that is in it."""
        symbols = {"z": f"{{{unit}}}", "y": f"{{{target(unit)}}}"}
        derivative, delta = f"f′(a_{unit})", f"δ_{unit}"
        if "{derivative}" in formula:
            of_activation = self._activation_formula(layer).derivative
            written = of_activation.format(**symbols, slope=self._slope)
            yield self._equation(derivative, written, self.values[derivative])
        written = formula.format(**symbols, derivative=f"{{{derivative}}}")
        yield self._equation(delta, written, self.values[delta])

    def _gradients(self) -> Iterator[Equation]:
        for weight in filter(self._is_trained, self.names.all_weights()):
            yield self._contribution(weight)
            if not self.step.setup.online:
                yield self._reduced(weight)

    def _contribution(self, weight: Weight) -> Equation:
        """Write what this sample adds to the gradient."""
        step = self.step
        part = step.contributions[0 if step.setup.online else step.sample]
        formula = f"{{{weight.source}}}·{{δ_{weight.target}}}"
        return self._equation(f"∂{self.loss_name}/∂{weight.name}", formula, _at(part, weight))

    def _reduced(self, weight: Weight) -> Equation:
        """Write the gradient of the batch."""
        names = []
        for sample, part in enumerate(self.step.contributions):
            names.append(f"∂L{subscript(sample)}/∂{weight.name}")
            self.values[names[-1]] = _at(part, weight)
        total = " + ".join(f"{{{name}}}" for name in names)
        if self.architecture.mean_gradient and len(names) > 1:
            total = f"({total})·1/{len(names)}"
        return self._equation(f"∂L/∂{weight.name}", total, _at(self.step.gradient, weight))

    def _updates(self) -> Iterator[Equation]:
        for weight in self.names.all_weights():
            name, value = weight.name, _at(self.step.new_weights, weight)
            gradient = f"∂L/∂{name}"
            self.values[gradient] = _at(self.step.gradient, weight)
            if not self._is_trained(weight):
                yield self._equation(name, f"{{{name}}}", value)
            elif self.values["μ"] == 0.0:
                yield self._equation(name, f"{{{name}}} − {{η}}·{{{gradient}}}", value, ":=")
            else:
                yield from self._momentum_update(weight, value)

    def _momentum_update(self, weight: Weight, value: float) -> Iterator[Equation]:
        name, velocity = weight.name, f"v_{weight.name}"
        moved = _at(self.step.new_velocity, weight)
        formula = f"{{μ}}·{{{velocity}}} − {{η}}·{{∂L/∂{name}}}"
        yield self._equation(velocity, formula, moved, ":=")
        values = {name: self.values[name], velocity: moved}
        yield Equation(name, f"{{{name}}} + {{{velocity}}}", values, value, ":=")

    def _is_trained(self, weight: Weight) -> bool:
        is_bias = self.architecture.bias and weight.row == 0
        return self.architecture.train_bias or not is_bias


def _at(layers: Layers, weight: Weight) -> float:
    return float(layers[weight.layer - 1][weight.row, weight.column])
