"""Numbers of which each is LANES numbers: what vector instructions work on, as types for Numba.

Owns the types: `FLOATS`, the same quantity of LANES networks; `BITS`, its integer bits; `FLAGS`, a
condition on it; and tables of such floats. An operation on them is one LLVM instruction on all
lanes, with the bits that IEEE 754 prescribes: none may be contracted or reordered. So what is
written as if for one network is computed for LANES of them, without a compiler having to find out
that it may be. What is computed is left to `equations.py`.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped,unused-ignore]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16  # measured: 8 wait for the latency of each operation, 32 leave the registers

Emit = Callable[..., ir.Value]  # (builder, operands of equal type) -> result


class Lanes(types.Type):
    """The type of LANES numbers of one kind, side by side in vector registers."""

    def __init__(self, kind: str) -> None:
        super().__init__(name=f"lanes({kind}, {LANES})")


class LaneTable(types.Type):
    """The type of FLOATS in memory, as a row (ndim 1) or as a matrix, row by row (ndim 2).

    An element has as many indices; with one more, the lane, it is the number in that lane.
    """

    def __init__(self, ndim: int) -> None:
        self.ndim = ndim
        super().__init__(name=f"lane_table({ndim}, {LANES})")


FLOATS, BITS, FLAGS = Lanes("float64"), Lanes("int64"), Lanes("bool")
ROW, MATRIX = LaneTable(1), LaneTable(2)
_SCALARS = {FLOATS: types.float64, BITS: types.int64, FLAGS: types.boolean}
_VECTORS = {
    FLOATS: ir.VectorType(ir.DoubleType(), LANES),
    BITS: ir.VectorType(ir.IntType(64), LANES),
    FLAGS: ir.VectorType(ir.IntType(1), LANES),
}


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _VECTORS[lanes])


@register_model(LaneTable)
class _LaneTableModel(models.StructModel):
    def __init__(self, manager: Any, table: LaneTable) -> None:
        members = [("data", types.CPointer(FLOATS)), ("n_columns", types.intp)]
        super().__init__(manager, table, members[: table.ndim])


def _spread(context: Any, builder: Any, value: ir.Value, given: Any, wanted: Lanes) -> ir.Value:
    """Put a number into every lane; lanes are left as they are."""
    if isinstance(given, Lanes):
        return value
    vector, index = _VECTORS[wanted], ir.IntType(32)
    number = context.cast(builder, value, given, _SCALARS[wanted])
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, index(0))
    return builder.shuffle_vector(first, nothing, ir.VectorType(index, LANES)([0] * LANES))


def _define(functions: Sequence[Any], operand: Lanes, result: Lanes, emit: Emit) -> None:
    """Define operators of two operands, at least one of which is lanes."""

    def type_of_result(context: Any) -> Callable[..., Any]:
        def typer(x: Any, y: Any) -> Any:
            is_number = [isinstance(t, types.Number | types.Boolean) for t in (x, y)]
            fits = [t == operand or number for t, number in zip((x, y), is_number, strict=True)]
            return result if all(fits) and not all(is_number) else None

        return typer

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        pairs = zip(values, signature.args, strict=True)
        return emit(builder, *(_spread(context, builder, v, t, operand) for v, t in pairs))

    for function in functions:
        type_callable(function)(type_of_result)
        for operands in ((operand, operand), (operand, types.Any), (types.Any, operand)):
            lower_builtin(function, *operands)(lower)


def _define_unary(functions: Sequence[Any], operand: Lanes, emit: Emit) -> None:
    def type_of_result(context: Any) -> Callable[..., Any]:
        return lambda x: operand if x == operand else None

    for function in functions:
        type_callable(function)(type_of_result)
        lower_builtin(function, operand)(lambda c, builder, s, values: emit(builder, *values))


def _instruction(name: str) -> Emit:
    """Call one of LLVM's own functions that are exact: it becomes an instruction or two."""

    def emit(builder: Any, *values: ir.Value) -> ir.Value:
        vector = _VECTORS[FLOATS]
        signature = ir.FunctionType(vector, [vector] * len(values))
        name_in_llvm = f"llvm.{name}.v{LANES}f64"
        function = cgutils.get_or_insert_function(builder.module, signature, name_in_llvm)
        return builder.call(function, values)

    return emit


def _compare(sign: str, builder: Any, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.fcmp_ordered(sign, x, y)  # false where either is NaN, as in C


def _smaller(builder: Any, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.select(_compare(">", builder, x, y), y, x)  # x where it is NaN


def _larger(builder: Any, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.select(_compare("<", builder, x, y), y, x)


_B = ir.IRBuilder
_define((operator.add, operator.iadd), FLOATS, FLOATS, _B.fadd)
_define((operator.sub, operator.isub), FLOATS, FLOATS, _B.fsub)
_define((operator.mul, operator.imul), FLOATS, FLOATS, _B.fmul)
_define((operator.truediv, operator.itruediv), FLOATS, FLOATS, _B.fdiv)
_define((np.minimum,), FLOATS, FLOATS, _smaller)
_define((np.maximum,), FLOATS, FLOATS, _larger)
_define((np.copysign,), FLOATS, FLOATS, _instruction("copysign"))
_define_unary((operator.neg,), FLOATS, _B.fneg)
_define_unary((abs, np.abs), FLOATS, _instruction("fabs"))
_define_unary((np.sqrt,), FLOATS, _instruction("sqrt"))
_define((operator.lt,), FLOATS, FLAGS, partial(_compare, "<"))
_define((operator.gt,), FLOATS, FLAGS, partial(_compare, ">"))
_define((operator.eq,), FLOATS, FLAGS, partial(_compare, "=="))
_define((operator.and_,), FLAGS, FLAGS, _B.and_)
_define_unary((operator.invert,), FLAGS, _B.not_)
_define((operator.add, operator.iadd), BITS, BITS, _B.add)
_define((operator.sub, operator.isub), BITS, BITS, _B.sub)
_define((operator.lshift,), BITS, BITS, _B.shl)
_define((operator.rshift,), BITS, BITS, _B.ashr)
_define((operator.and_,), BITS, BITS, _B.and_)


@intrinsic
def spread(typing_context: Any, number: Any) -> Any:
    """Put a number into every lane."""
    return FLOATS(number), lambda context, builder, signature, values: _spread(
        context, builder, values[0], number, FLOATS
    )


@intrinsic
def where(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    """Select, lane by lane; `elementary.where` for lanes."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        pairs = zip(values[1:], (a, b), strict=True)
        choices = (_spread(context, builder, value, given, FLOATS) for value, given in pairs)
        return builder.select(values[0], *choices)

    return FLOATS(condition, a, b), emit


def _reinterpret(result: Lanes) -> Callable[..., Any]:
    def reinterpret(typing_context: Any, x: Any) -> Any:
        """Read the same bits as another type; `elementary.as_bits` and `as_float` for lanes."""
        return result(x), lambda context, builder, signature, values: builder.bitcast(
            values[0], _VECTORS[result]
        )

    return intrinsic(reinterpret)


as_bits, as_float = _reinterpret(BITS), _reinterpret(FLOATS)


@intrinsic
def any_lane(typing_context: Any, condition: Any) -> Any:
    """Whether a condition holds in any lane."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        word = builder.bitcast(values[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", word, word.type(0))

    return types.boolean(condition), emit


# ------------------------------------------------------------------------------------------ tables


@intrinsic
def as_row(typing_context: Any, array: Any) -> Any:
    """View a contiguous float64 array (number, lane) as a row. It must outlive the row."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        data = context.make_array(array)(context, builder, values[0]).data
        return _make_table(context, builder, ROW, data)

    return ROW(array), emit


@intrinsic
def row_from(typing_context: Any, row: Any, start: Any) -> Any:
    """View a row from a place on."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        return _make_table(context, builder, ROW, _place(context, builder, signature, values))

    return ROW(row, start), emit


@intrinsic
def matrix_from(typing_context: Any, row: Any, start: Any, n_columns: Any) -> Any:
    """View a row from a place on as a matrix."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        data = _place(context, builder, signature, values)
        columns = context.cast(builder, values[2], n_columns, types.intp)
        return _make_table(context, builder, MATRIX, data, columns)

    return MATRIX(row, start, n_columns), emit


def _make_table(
    context: Any, builder: Any, table: Any, data: ir.Value, n_columns: ir.Value | None = None
) -> ir.Value:
    made = cgutils.create_struct_proxy(table)(context, builder)
    made.data = builder.bitcast(data, made.data.type)
    if n_columns is not None:
        made.n_columns = n_columns
    return made._getvalue()


def _place(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
    """Compute where an element is: i of a row, i·n_columns + j of a matrix; or a lane of it."""
    table, given = signature.args[:2]
    if isinstance(given, types.BaseTuple):
        pairs = zip(cgutils.unpack_tuple(builder, values[1]), given, strict=True)
    else:
        pairs = zip([values[1]], [given], strict=True)
    at = [context.cast(builder, index, kind, types.intp) for index, kind in pairs]
    memory = cgutils.create_struct_proxy(table)(context, builder, value=values[0])
    if table.ndim == 2:
        at[:2] = [builder.add(builder.mul(at[0], memory.n_columns), at[1])]
    place = builder.gep(memory.data, at[:1])
    if len(at) == 1:
        return place
    return builder.gep(builder.bitcast(place, ir.DoubleType().as_pointer()), at[1:])


def _element(table: Any, index: Any) -> Any:
    """Return the type of an element of a table, or None where that is no index."""
    if not isinstance(table, LaneTable):
        return None
    n_indices = len(index) if isinstance(index, types.BaseTuple) else 1
    return {table.ndim: FLOATS, table.ndim + 1: types.float64}.get(n_indices)


@type_callable(operator.getitem)
def _type_getitem(context: Any) -> Callable[..., Any]:
    return _element


@type_callable(operator.setitem)
def _type_setitem(context: Any) -> Callable[..., Any]:
    return lambda table, index, value: types.none if _element(table, index) else None


@lower_builtin(operator.getitem, LaneTable, types.Any)
def _load(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
    return builder.load(_place(context, builder, signature, values), align=8)


@lower_builtin(operator.setitem, LaneTable, types.Any, types.Any)
def _store(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
    table, index, given = signature.args
    place, value = _place(context, builder, signature, values), values[2]
    if _element(table, index) == FLOATS:
        value = _spread(context, builder, value, given, FLOATS)
    else:
        value = context.cast(builder, value, given, types.float64)
    builder.store(value, place, align=8)
    return context.get_dummy_value()
