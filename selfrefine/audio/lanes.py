"""Sixteen float32 as one numba value, for recursions over time on sixteen signals at once.

LLVM does not vectorise such loops, because it cannot prove that the arrays they write do not
overlap. Here the vector is a numba type, and a loop carries it in one AVX-512 register; LLVM splits
it into two or four where registers are narrower.

After a change to this file, also touch the files whose cached functions use it: numba's cache looks
for changes only in the file of the cached function.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Lanes{LANES}")


_lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: _Lanes) -> None:
        super().__init__(manager, lanes, _VECTOR)


def _integers(value: int) -> ir.Constant:
    return ir.Constant(_INTEGERS, [value] * LANES)


def _elementwise(arity: int, emit: Callable[..., Any]) -> Any:
    """An intrinsic from vectors to a vector; `emit(builder, *vectors)` writes its instructions."""

    def codegen(context: Any, builder: Any, signature: Any, vectors: Any) -> Any:
        return emit(builder, *vectors)

    declared = _lanes(*[_lanes] * arity), codegen
    # numba does not lower *arguments here, so each arity has its own function.
    declarations: dict[int, Callable[..., Any]] = {
        1: lambda typing_context, a: declared,
        2: lambda typing_context, a, b: declared,
        3: lambda typing_context, a, b, c: declared,
        4: lambda typing_context, a, b, c, d: declared,
    }
    return intrinsic(declarations[arity])


def _llvm(name: str) -> Callable[..., Any]:
    def emit(builder: Any, *vectors: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors))
        function = cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f32")
        return builder.call(function, vectors)

    return emit


def _where_greater(builder: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), then, otherwise)


# A positive normal float32 is mantissa * 2^exponent, with the mantissa in [sqrt 1/2, sqrt 2). Its
# bits minus those of sqrt 1/2 (0x3F3504F3) hold the exponent from bit 23 on.
def _exponent(builder: Any, a: Any) -> Any:
    bits = builder.sub(builder.bitcast(a, _INTEGERS), _integers(0x3F3504F3))
    return builder.sitofp(builder.ashr(bits, _integers(23)), _VECTOR)


def _mantissa(builder: Any, a: Any) -> Any:
    bits = builder.bitcast(a, _INTEGERS)
    exponent = builder.and_(builder.sub(bits, _integers(0x3F3504F3)), _integers(-1 << 23))
    return builder.bitcast(builder.sub(bits, exponent), _VECTOR)


def _times_power_of_two(builder: Any, a: Any, power: Any) -> Any:
    shift = builder.shl(builder.fptosi(power, _INTEGERS), _integers(23))
    return builder.bitcast(builder.add(builder.bitcast(a, _INTEGERS), shift), _VECTOR)


_add = _elementwise(2, lambda builder, a, b: builder.fadd(a, b))
_subtract = _elementwise(2, lambda builder, a, b: builder.fsub(a, b))
_multiply = _elementwise(2, lambda builder, a, b: builder.fmul(a, b))
fma = _elementwise(3, _llvm("llvm.fmuladd"))  # a * b + c, fused where the processor can
absolute = _elementwise(1, _llvm("llvm.fabs"))
round_to_integer = _elementwise(1, _llvm("llvm.rint"))
where_greater = _elementwise(4, _where_greater)  # (a, b, then, otherwise): a > b ? then : otherwise
exponent_of = _elementwise(1, _exponent)
mantissa_of = _elementwise(1, _mantissa)
times_power_of_two = _elementwise(2, _times_power_of_two)


def _overload_operator(function: Callable[..., Any], implementation: Any) -> None:
    @overload(function, strict=False)
    def between_lanes(a: Any, b: Any) -> Any:
        if isinstance(a, _Lanes) and isinstance(b, _Lanes):
            return lambda a, b: implementation(a, b)
        return None


_overload_operator(operator.add, _add)
_overload_operator(operator.sub, _subtract)
_overload_operator(operator.mul, _multiply)


@intrinsic
def splat(typing_context: Any, value: Any) -> Any:
    """A vector with the same float32 in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, _integers(0))

    return _lanes(types.float32), codegen


def _vector_pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to the sixteen float32 that begin at flat `index` of a contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context: Any, rows: Any, row: Any) -> Any:
    """Loads row `row` of a contiguous float32 array `(rows, LANES)`; the index is not checked."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        index = builder.mul(arguments[1], ir.Constant(arguments[1].type, LANES))
        pointer = _vector_pointer(context, builder, signature.args[0], arguments[0], index)
        return builder.load(pointer, align=4)

    return _lanes(rows, types.intp), codegen


@intrinsic
def store(typing_context: Any, rows: Any, row: Any, value: Any) -> Any:
    """Writes row `row` of a contiguous float32 array `(rows, LANES)`; the index is not checked."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        index = builder.mul(arguments[1], ir.Constant(arguments[1].type, LANES))
        pointer = _vector_pointer(context, builder, signature.args[0], arguments[0], index)
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(rows, types.intp, _lanes), codegen


def _transposed(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """Transposes sixteen vectors: swaps off-diagonal halves, quarters, eighths and sixteenths."""
    rows = list(rows)
    step = LANES // 2
    while step:
        upper = [j if not j & step else LANES + j - step for j in range(LANES)]
        lower = [j + step if not j & step else LANES + j for j in range(LANES)]
        for i in range(LANES):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i] = builder.shuffle_vector(a, b, ir.Constant(_INTEGERS, upper))
                rows[i + step] = builder.shuffle_vector(a, b, ir.Constant(_INTEGERS, lower))
        step //= 2
    return rows


def _tile_pointers(context: Any, builder: Any, kinds: Any, arguments: Any) -> tuple[Any, Any]:
    """Pointers to 16 samples of each of 16 items, and to 16 rows of lanes."""
    audio, starts, offset, rows, row = arguments
    first_item = context.make_array(kinds[1])(context, builder, starts).data
    lane_count = ir.Constant(row.type, LANES)
    items, lanes = [], []
    for i in range(LANES):
        start = builder.load(builder.gep(first_item, [ir.Constant(offset.type, i)]))
        index = builder.add(start, offset)
        items.append(_vector_pointer(context, builder, kinds[0], audio, index))
        index = builder.add(builder.mul(row, lane_count), ir.Constant(row.type, i * LANES))
        lanes.append(_vector_pointer(context, builder, kinds[3], rows, index))
    return items, lanes


def _move_tile(to_lanes: bool) -> Any:
    def declare(
        typing_context: Any, audio: Any, starts: Any, offset: Any, rows: Any, row: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            items, lanes = _tile_pointers(context, builder, signature.args, arguments)
            source, target = (items, lanes) if to_lanes else (lanes, items)
            vectors = [builder.load(pointer, align=4) for pointer in source]
            for vector, pointer in zip(_transposed(builder, vectors), target, strict=True):
                builder.store(vector, pointer, align=4)
            return context.get_dummy_value()

        return types.void(audio, starts, types.intp, rows, types.intp), codegen

    return intrinsic(declare)


# Both take (audio, starts, offset, rows, row). `tile_to_lanes` moves 16 samples of 16 items to the
# rows from `row` to `row + 15`; those of item i begin at flat index starts[i] + offset.
# `tile_from_lanes` moves them back.
tile_to_lanes = _move_tile(to_lanes=True)
tile_from_lanes = _move_tile(to_lanes=False)
