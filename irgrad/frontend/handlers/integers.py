"""Integer and bit functions: no derivative; numpy computes them. The parts of a floating-point number."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NP,
    apply,
    as_array,
    axis_index,
    cast,
    dtype_of,
    handles,
    join,
    opaque,
    operand,
    shape_of,
    take_slice,
    unwrap,
)
from irgrad.frontend.handlers.ufuncs import composes, in_loop
from irgrad.frontend.trace import Trace


def _whole(ufunc: np.ufunc) -> None:
    @composes(ufunc)
    def compose(trace: Trace, *operands: Any) -> Any:
        return opaque(trace, ufunc.__name__, *in_loop(trace, ufunc, *operands))


for _ufunc in (np.gcd, np.lcm, np.spacing, np.bitwise_count):
    _whole(_ufunc)


@composes(np.frexp)
def frexp(trace: Trace, x: Any) -> tuple[Any, Any]:
    """x = mantissa 2**exponent; in two steps, for 2**-exponent may be too large."""
    (x,) = in_loop(trace, np.frexp, x)
    exponent = opaque(trace, "frexp", x, part=1)
    half = apply(trace, "floor_divide", np.floor_divide, exponent, 2)
    made: Any = x
    for part in (half, apply(trace, "sub", np.subtract, exponent, half)):
        scale = apply(trace, "exp2", np.exp2, apply(trace, "neg", np.negative, cast(trace, part, dtype_of(x))))
        made = apply(trace, "mul", np.multiply, made, scale)
    return made, exponent


@handles(np.packbits)
def packbits(trace: Trace, a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    return opaque(trace, "packbits", as_array(trace, a), axis=axis, bitorder=bitorder)


@handles(np.unpackbits)
def unpackbits(trace: Trace, a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big") -> Any:
    return opaque(trace, "unpackbits", as_array(trace, a), axis=axis, count=count, bitorder=bitorder)


@handles(np.i0)
def i0(trace: Trace, x: Any) -> Any:
    importlib.import_module("irgrad.ops.special")
    values = operand(trace, x)
    if dtype_of(values).kind == "c":
        raise TypeError("i0 not supported for complex values")
    if dtype_of(values).kind != "f":
        values = cast(trace, values, np.float64)
    return apply(trace, "i0", np.i0, values)


@handles(np.unwrap)
def unwrap_phase(trace: Trace, p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 6.283185307179586) -> Any:
    """Jumps of more than half a period are whole periods: the derivative passes."""
    x = as_array(trace, p)
    at = axis_index(axis, len(shape_of(x)))
    steps = NP.diff(x, axis=at)
    dtype = np.result_type(dtype_of(steps), unwrap(period))
    is_whole = dtype.kind in "iu"
    high = NP.floor_divide(period, 2) if is_whole else NP.divide(period, 2)
    low = NP.negative(high)
    on_edge = NP.remainder(period, 2) == 0 if is_whole else True
    wrapped = NP.add(NP.remainder(NP.subtract(steps, low), period), low)
    if bool(on_edge):
        wrapped = NP.where(NP.logical_and(NP.equal(wrapped, low), NP.greater(steps, 0)), high, wrapped)
    correction = NP.subtract(wrapped, steps)
    limit = NP.divide(period, 2) if discont is None else discont
    correction = NP.where(NP.less(NP.absolute(steps), limit), 0, correction)
    first = take_slice(trace, x, at, 0, min(1, shape_of(x)[at]))
    rest = NP.add(take_slice(trace, x, at, 1, max(shape_of(x)[at] - 1, 0)), NP.cumsum(correction, axis=at))
    return join(trace, [cast(trace, first, dtype), cast(trace, rest, dtype)], at)
