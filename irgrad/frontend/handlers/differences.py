"""Differences along an axis."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    broadcast,
    cast,
    dtype_of,
    handles,
    join,
    operand,
    reshape,
    shape_of,
    take_slice,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.joining import joined, parts_of
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer


@handles(np.diff)
def diff(trace: Trace, a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Any:
    times = operator.index(n)
    if times == 0:
        return a
    if times < 0:
        raise ValueError(f"order must be non-negative but got {times}")
    x = as_array(trace, a)
    if not shape_of(x):
        raise ValueError("diff requires input that is at least one dimensional")
    at = axis_index(axis, len(shape_of(x)))
    parts = [x]
    for extra, before in ((prepend, True), (append, False)):
        if extra is not NO_VALUE:
            piece = as_array(trace, extra)
            if not shape_of(piece):
                piece = broadcast(trace, piece, tuple(1 if i == at else m for i, m in enumerate(shape_of(x))))
            parts.insert(0 if before else len(parts), piece)
    if len(parts) > 1:
        x = joined(trace, parts_of(trace, parts), at)
    name, fn = ("not_equal", np.not_equal) if dtype_of(x).kind == "b" else ("sub", np.subtract)
    for _ in range(times):
        m = max(shape_of(x)[at] - 1, 0)
        x = apply(trace, name, fn, take_slice(trace, x, at, min(1, shape_of(x)[at]), m), take_slice(trace, x, at, 0, m))
    return x


@handles(np.ediff1d)
def ediff1d(trace: Trace, ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    x = as_array(trace, ary)
    made = diff(trace, reshape(trace, x, (size_of(shape_of(x)),)))
    ends = [e if e is None else cast(trace, as_array(trace, e), dtype_of(made)) for e in (to_begin, to_end)]
    parts = [e if e is made else reshape(trace, e, (size_of(shape_of(e)),)) for e in (ends[0], made, ends[1]) if e is not None]
    return join(trace, parts, 0)


@handles(np.gradient)
def gradient(trace: Trace, f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    x = as_array(trace, f)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    axes = axis_tuple(axis, len(shape_of(x)))
    if edge_order != 1 or any(np.ndim(unwrap(h)) for h in varargs):
        unsupported("gradient with edge_order 2 or coordinates", "give the spacing as a number")
    spacing = [1.0] * len(axes) if not varargs else list(varargs) * len(axes) if len(varargs) == 1 else list(varargs)
    if len(spacing) != len(axes):
        raise TypeError("invalid number of arguments")
    made = [_central(trace, x, at, operand(trace, h)) for at, h in zip(axes, spacing, strict=True)]
    return made[0] if len(made) == 1 else tuple(made)


def _central(trace: Trace, x: Any, axis: int, h: Any) -> Any:
    n = shape_of(x)[axis]
    if n < 2:
        raise ValueError("Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required.")

    def slope(high: int, low: int, count: int, width: Any) -> Any:
        rise = apply(trace, "sub", np.subtract, take_slice(trace, x, axis, high, count), take_slice(trace, x, axis, low, count))
        return apply(trace, "div", np.divide, rise, width)

    twice = apply(trace, "mul", np.multiply, 2.0, h) if type(h) is Tracer else 2.0 * h
    middle = [slope(2, 0, n - 2, twice)] if n > 2 else []
    return join(trace, [slope(1, 0, 1, h), *middle, slope(n - 1, n - 2, 1, h)], axis)
