"""A step as equations: what each quantity is called, its formula, and its value.

Owns the names, which are the article's (Z1, D0, W10, V01), and the formulas. Every value is one
that `step.py` took from the core; a formula says how it came about and is never evaluated here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bp_pipeline.explain.step import Layers, Step

_SYMBOL = re.compile(r"\{([^{}]*)\}")
_MOST_TERMS = 20  # of a sum; between the first and the last ones stands an ellipsis
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Equation:
    """One computed number.

    Attributes
    ----------
    name
        What it is called.
    formula
        How it is computed, with every symbol in braces.
    values
        What the symbols stand for.
    value
        What the core computed.
    sign
        "=", or ":=" where a new value takes the place of an old one.
    """

    name: str
    formula: str
    values: Mapping[str, float]
    value: float
    sign: str = "="

    @property
    def symbols(self) -> str:
        """The formula as one writes it."""
        return _SYMBOL.sub(lambda symbol: symbol[1], self.formula)

    def numbers(self, digits: int | None = None) -> str:
        """Put the numbers in: all their digits, or rounded to so many significant ones."""

        def number(symbol: re.Match[str]) -> str:
            value = self.values[symbol[1]]
            text = spell(value) if digits is None else f"{value + 0.0:.{digits}g}"
            before, after = self.formula[: symbol.start()], self.formula[symbol.end() :]
            stands_free = (not before or before.endswith(("(", "if "))) and after[:1] != "²"
            return text if stands_free or not text.startswith("-") else f"({text})"

        return _SYMBOL.sub(number, self.formula)


class Section(NamedTuple):
    """A part of the step; `remark` says what is done in it."""

    title: str
    remark: str
    equations: list[Equation]


class Weight(NamedTuple):
    """One weight: which, and what the step did to it; `row` and `column` are its place in files."""

    name: str
    layer: int
    row: int
    column: int
    source: str
    target: str


@dataclass(frozen=True)
class Names:
    """What units and weights are called.

    With one hidden layer of at most nine units: X1, Z1, D0, W10, V01 (to, from), as in the article.
    Deeper or wider networks have weights w[layer][from, to]; deeper ones, units Z[layer][unit].
    """

    layer_sizes: Sequence[int]
    bias: bool

    @property
    def _last(self) -> int:
        return len(self.layer_sizes) - 1

    def unit(self, layer: int, index: int) -> str:
        """Name the unit at this place of `Block.units`, where the bias unit comes first."""
        if layer == self._last:
            return f"D{index - self.bias}"
        number = index + (not self.bias)
        if layer == 0:
            return f"X{number}"
        return f"Z{number}" if self._last <= 2 else f"Z[{layer}][{number}]"

    def units(self, layer: int) -> list[str]:
        """Name the units of a layer that compute something."""
        return [self.unit(layer, i + self.bias) for i in range(self.layer_sizes[layer])]

    def weight(self, layer: int, row: int, column: int) -> str:
        """Name the weight at this place of the layer `layer` >= 1."""
        source = row + (not self.bias)
        target = column + (layer < self._last)
        if self._last <= 2 and max(self.layer_sizes) <= 9:
            return f"{'V' if layer == self._last else 'W'}{target}{source}"
        return f"w[{layer}][{source}, {target}]"

    def weights(self, layer: int) -> Iterator[Weight]:
        """List the weights of a layer, bias unit first."""
        for row in range(self.layer_sizes[layer - 1] + self.bias):
            for column in range(self.layer_sizes[layer]):
                yield Weight(
                    self.weight(layer, row, column),
                    layer,
                    row,
                    column,
                    self.unit(layer - 1, row),
                    self.unit(layer, column + self.bias),
                )

    def all_weights(self) -> list[Weight]:
        """List all weights, layer by layer."""
        return [weight for layer in range(1, self._last + 1) for weight in self.weights(layer)]


def spell(value: float) -> str:
    """Write a number in the shortest form that reads back as the same double, zero as 0."""
    return repr(float(value) + 0.0).removesuffix(".0")


def subscript(number: int) -> str:
    """Write a number as an index."""
    return str(number).translate(_SUBSCRIPTS)


class Equations:
    """All equations of a step, in the order in which they are computed."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.architecture = step.architecture
        self.names = Names(self.architecture.layer_sizes, self.architecture.bias)
        self.loss_name = "L" if step.setup.online else f"L{subscript(step.sample)}"
        self.values = self._known()

    def sections(self) -> list[Section]:
        """Write the whole step."""
        return [
            Section("Forward pass", _forward_remark(self.step), list(self._forward())),
            Section("Loss", _LOSS_REMARKS[self.architecture.loss], list(self._loss())),
            Section("Deltas", _DELTA_REMARK, list(self._deltas())),
            Section("Gradient", _gradient_remark(self.step), list(self._gradients())),
            Section("Update", _update_remark(self.step), list(self._updates())),
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
        values |= {_target(unit): y for unit, y in zip(self.outputs, step.targets, strict=True)}
        return values

    @property
    def outputs(self) -> list[str]:
        """Names of the output units."""
        return self.names.units(len(self.architecture.layer_sizes) - 1)

    def _derivative_value(self, layer: int, unit: str, z: float) -> float:
        activation = self.architecture.activations[layer - 1]
        return float(activation.derivative(z, self.architecture.slope))

    def _equation(self, name: str, formula: str, value: float, sign: str = "=") -> Equation:
        used = {symbol: self.values[symbol] for symbol in _SYMBOL.findall(formula)}
        return Equation(name, formula, used, value, sign)

    def _activation_name(self, layer: int) -> str:
        is_output = layer == len(self.architecture.layer_sizes) - 1
        return self.architecture.output if is_output else self.architecture.activation

    def _forward(self) -> Iterator[Equation]:
        for layer in range(1, len(self.architecture.layer_sizes)):
            kind = self._activation_name(layer)
            for unit in self.names.units(layer):
                incoming = [w for w in self.names.weights(layer) if w.target == unit]
                total = _sum([f"{{{w.name}}}·{{{w.source}}}" for w in incoming])
                yield self._equation(f"a_{unit}", total, self.values[f"a_{unit}"])
                formula = _FUNCTIONS[kind].format(a=f"{{a_{unit}}}", slope=self._slope)
                yield self._equation(unit, formula, self.values[unit])

    def _loss(self) -> Iterator[Equation]:
        step, name = self.step, self.loss_name
        of_outputs = step.losses(step.before)
        formula = _LOSSES[self.architecture.loss]
        parts = [name] if len(of_outputs) == 1 else [f"{name}({unit})" for unit in self.outputs]
        total = 0.0
        for part, unit, value in zip(parts, self.outputs, of_outputs, strict=True):
            symbols = {"a": f"{{a_{unit}}}", "z": f"{{{unit}}}", "y": f"{{{_target(unit)}}}"}
            yield self._equation(part, formula.format(**symbols), value)
            self.values[part] = value
            total += value
        if len(parts) > 1:
            yield self._equation(name, _sum([f"{{{part}}}" for part in parts]), total)

    def _deltas(self) -> Iterator[Equation]:
        last = len(self.architecture.layer_sizes) - 1
        for layer in range(last, 0, -1):
            for column, unit in enumerate(self.names.units(layer)):
                if layer < last:
                    outgoing = [
                        f"{{{self.names.weight(layer + 1, column + self.architecture.bias, o)}}}"
                        f"·{{δ_{target}}}"
                        for o, target in enumerate(self.names.units(layer + 1))
                    ]
                    total = _sum(outgoing)
                    error = total if len(outgoing) == 1 else f"({total})"
                else:
                    error = f"({{{unit}}} − {{{_target(unit)}}})"
                yield from self._delta(layer, unit, error)

    def _delta(self, layer: int, unit: str, error: str) -> Iterator[Equation]:
        is_output = layer == len(self.architecture.layer_sizes) - 1
        name, value = f"δ_{unit}", self.values[f"δ_{unit}"]
        if is_output and self.architecture.loss == "logistic":
            yield self._equation(name, error[1:-1], value)
            return
        kind = self._activation_name(layer)
        formula = _DERIVATIVES[kind].format(z=f"{{{unit}}}", slope=self._slope)
        derivative = f"f′(a_{unit})"
        yield self._equation(derivative, formula, self.values[derivative])
        yield self._equation(name, f"{error}·{{{derivative}}}", value)

    @property
    def _slope(self) -> str:
        return spell(self.architecture.slope)

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
        total = _sum([f"{{{name}}}" for name in names])
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


def _target(unit: str) -> str:
    return f"y_{unit}"


def _sum(terms: Sequence[str]) -> str:
    if len(terms) > _MOST_TERMS:
        terms = [*terms[: _MOST_TERMS - 2], "…", terms[-1]]
    return " + ".join(terms)


# As the core computes them; f′ in terms of the activation.
_FUNCTIONS = {
    "identity": "{a}",
    "sigmoid": "1/(1 + e^(−{a}))",
    "tanh": "tanh({a})",
    "relu": "max(0, {a})",
    "leaky_relu": "{a} if {a} ≥ 0 else {slope}·{a}",
    "softplus": "ln(1 + e^{a})",
}
_DERIVATIVES = {
    "identity": "1",
    "sigmoid": "{z}·(1 − {z})",
    "tanh": "1 − {z}²",
    "relu": "1 if {z} > 0 else 0",
    "leaky_relu": "1 if {z} > 0 else {slope}",
    "softplus": "1 − e^(−{z})",
}
_LOSSES = {
    "logistic": "ln(1 + e^{a}) − {y}·{a}",
    "squared_error": "½·({y} − {z})²",
}
_LOSS_REMARKS = {
    "logistic": "The cost of logistic regression, −y·ln p − (1 − y)·ln(1 − p) with p the output, "
    "written so that it is finite where p rounds to 0 or 1.",
    "squared_error": "Squared error, half the square of target minus output.",
}
_DELTA_REMARK = (
    "δ is ∂loss/∂a of a unit, from the output backwards. Bias units have no inputs, so no delta."
)


def _forward_remark(step: Step) -> str:
    kinds = step.architecture
    hidden = (
        f" f is {kinds.activation} in hidden layers," if len(kinds.layer_sizes) > 2 else " f is"
    )
    bias = ", the bias unit's 1 first" if kinds.bias else ""
    return (
        f"Each unit adds up its inputs times their weights{bias}, and applies f.{hidden} "
        f"{kinds.output} at the output."
    )


def _gradient_remark(step: Step) -> str:
    rule = "The activation at the start of a link times the delta at its end."
    if step.setup.online:
        return rule
    if step.architecture.mean_gradient:
        how = "the gradient is the mean over all samples, their sum times the rounded 1/n"
    else:
        how = "the gradient is the sum over all samples"
    return f"{rule} That is the share of sample {step.sample}; {how}."


def _update_remark(step: Step) -> str:
    optimizer = step.config.optimizer
    rule = f"Against the gradient, with the learning rate η = {spell(optimizer.learning_rate)}"
    if optimizer.momentum:
        rule += f" and the momentum μ = {spell(optimizer.momentum)}; v is the velocity"
    kept = "" if step.architecture.train_bias or not step.architecture.bias else (
        " Bias weights stay as they are: `network.train_bias=false`."
    )  # fmt: skip
    return f"{rule}.{kept}"
