"""What is compiled into a kernel, and how the functions it calls are had.

Owns `Kind`, for each of which Numba compiles a kernel, and what compiled code makes of it: its
layout, its activations, its loss. They are the definitions that the reference engine uses, compiled
here for `lanes.FLOATS`. What a kind has none of is looked up while a kernel runs.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numba
from numba import types
from numba.extending import (
    NativeValue,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

from bp_pipeline.core import elementary, lanes
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.initializers import layer_shapes
from bp_pipeline.core.losses import LOSSES

Index = Any  # an integer; Numba gives it its type where it is called

_INLINED = {"error_model": "numpy", "forceinline": True, "no_cfunc_wrapper": True, "_nrt": False}


@dataclass(frozen=True)
class Kind:
    """What is compiled in; what is empty is looked up while a kernel runs.

    Attributes
    ----------
    activation, output, loss, layer_sizes, bias
        As in `Architecture`.
    """

    activation: str = ""
    output: str = ""
    loss: str = ""
    layer_sizes: tuple[int, ...] = ()
    bias: bool = False


class Layout(NamedTuple):
    """Where what belongs to a layer begins among the weights and among the units of a network."""

    sizes: Any  # units of each layer, bias units not counted
    bias: Any  # 1 with bias units, else 0
    weight_at: Any  # one more than there are layers with weights: the last one is where they end
    unit_at: Any  # of the bias unit, where there are any


class KindType(types.Type):
    """A kind as Numba's type, so that there is a kernel for each."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        super().__init__(name=repr(kind))


register_model(KindType)(models.OpaqueModel)
typeof_impl.register(Kind)(lambda kind, _: KindType(kind))
unbox(KindType)(lambda typ, obj, c: NativeValue(c.context.get_dummy_value()))


def compile_(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function that compiled ones call, without fastmath.

    Without the error model every division would be a branch. One that checks types at run time is
    left out.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False, **options}
    compile_ = numba.njit(nogil=True, error_model="numpy", **options)
    return compile_(inspect.unwrap(function))


def inline(function: Callable[..., Any]) -> Any:
    """Compile a function that becomes part of the compiled ones that call it."""
    return compile_(function, forceinline=True)


def compile_for_all(function: Callable[..., Any]) -> Any:
    """Compile a function that is the same for every kind, once, and keep it on disk."""
    return compile_(function, cache=True)


def _for_lanes(function: Callable[..., Any], source: Callable[..., Any]) -> None:
    """Make compiled code that calls `function` run `source`."""
    overload(function, jit_options=_INLINED, strict=False)(lambda *_: source)


_where, _as_bits, _as_float = lanes.where, lanes.as_bits, lanes.as_float
_REPLACED: dict[str, Callable[..., Any]] = {
    "where": lambda condition, a, b: _where(condition, a, b),
    "as_bits": lambda x: _as_bits(x),
    "as_float": lambda bits: _as_float(bits),
}
for _name, _function in inspect.getmembers(elementary, inspect.isfunction):
    _for_lanes(_function, _REPLACED.get(_name, inspect.unwrap(_function)))


class _Choice:
    """Compiled functions by name, and one that calls that whose index is its first argument."""

    def __init__(self, functions: dict[str, Callable[..., Any]]) -> None:
        self.by_name = {name: inline(function) for name, function in functions.items()}
        self.by_index = _look_up(list(self.by_name.values()))


def _look_up(functions: list[Any]) -> Any:
    if len(functions) == 1:
        only = functions[0]
        return inline(lambda index, *arguments: only(*arguments))
    first, others = functions[0], _look_up(functions[1:])

    def look_up(index: int, *arguments: Any) -> Any:
        if index == 0:
            return first(*arguments)
        return others(index - 1, *arguments)

    return compile_(look_up)


def _of_kind(name: str, choice: _Choice) -> Callable[..., Any]:
    """Make a function of a kind, an index and arguments.

    It is the one of the kind's `name`; where the kind has none, the one with that index.
    """
    by_name, by_index = choice.by_name, choice.by_index

    def of_kind(kind: Kind, index: int, *arguments: Any) -> Any:
        raise NotImplementedError("This is for compiled code.")

    def implement(kind: KindType, index: Any, *arguments: Any) -> Callable[..., Any]:
        if not getattr(kind.kind, name):
            return lambda kind, index, *arguments: by_index(index, *arguments)
        function = by_name[getattr(kind.kind, name)]
        return lambda kind, index, *arguments: function(*arguments)

    overload(of_kind, jit_options=_INLINED, strict=False)(implement)
    return of_kind


def _scaled(derivative: Callable[..., Any]) -> Callable[..., Any]:
    derivative = inline(derivative)
    return lambda x, z, slope: x * derivative(z, slope)


_functions = _Choice({name: activation.f for name, activation in ACTIVATIONS.items()})
_derivatives = _Choice({name: _scaled(row.derivative) for name, row in ACTIVATIONS.items()})
hidden, output = _of_kind("activation", _functions), _of_kind("output", _functions)
scaled_hidden = _of_kind("activation", _derivatives)
scaled_output = _of_kind("output", _derivatives)
loss_value = _of_kind("loss", _Choice({name: loss.value for name, loss in LOSSES.items()}))
output_delta = _of_kind("loss", _Choice({name: loss.delta for name, loss in LOSSES.items()}))


def layout_in(kind: Kind, given: Any) -> Any:
    """Return the layout that is compiled in, or the one that is given where there is none."""
    raise NotImplementedError("This is for compiled code.")


@overload(layout_in, jit_options=_INLINED, strict=False)
def _choose_layout(kind: Any, given: Any) -> Callable[..., Any]:
    constant = layout_of(kind.kind.layer_sizes, kind.kind.bias)
    return (lambda kind, given: constant) if constant.sizes else (lambda kind, given: given)


def layout_of(layer_sizes: tuple[int, ...], bias: bool) -> Layout:
    """Lay out the networks of these layer sizes."""
    n_weights = [rows * fan_out for rows, fan_out in layer_shapes(layer_sizes, bias=bias)]
    return Layout(
        sizes=layer_sizes,
        bias=int(bias),
        weight_at=tuple(accumulate(n_weights, initial=0)),
        unit_at=tuple(accumulate((size + bias for size in layer_sizes[:-1]), initial=0)),
    )
