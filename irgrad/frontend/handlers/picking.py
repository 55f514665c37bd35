"""Functions and methods that read by index: take, compress, nonzero, item."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.arranging import gather_axis
from irgrad.frontend.handlers.core import (
    Shape,
    alias,
    apply,
    as_array,
    axis_index,
    call,
    cast,
    dtype_of,
    form_of,
    handles,
    handles_method,
    iota,
    operand,
    refuse,
    reshape,
    shape_of,
    unwrap,
)
from irgrad.frontend.handlers.indexing import mask_positions
from irgrad.frontend.handlers.shaping import along, flattened
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import INDEXING


@handles(np.take, method="take")
def take(trace: Trace, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    refuse("take", out=out)
    x, axis = along(trace, as_array(trace, a), axis)
    if not shape_of(x):  # a 0-d array is one entry
        x = flattened(trace, x)
    at = axis_index(axis, len(shape_of(x)))
    n = shape_of(x)[at]
    index = operand(trace, indices)
    if dtype_of(index).kind not in "biu":
        raise TypeError(f"Cannot cast array data from {dtype_of(index)!r} to dtype('int64') according to the rule 'safe'")
    if dtype_of(index).kind == "b":
        index = cast(trace, index, np.int64)
    if mode == "wrap":
        index = apply(trace, "remainder", np.remainder, index, n)
    elif mode == "clip":
        index = apply(trace, "clip", np.clip, index, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    return gather_axis(trace, x, index, at)


@handles(np.take_along_axis)
def take_along_axis(trace: Trace, arr: Any, indices: Any, axis: Any = -1) -> Any:
    x, index = as_array(trace, arr), as_array(trace, indices)
    if dtype_of(index).kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None and len(shape_of(index)) != 1:
        raise ValueError("when axis=None, `indices` must have a single dimension.")
    x, axis = along(trace, x, axis)
    ndim = len(shape_of(x))
    at = axis_index(axis, ndim)
    if len(shape_of(index)) != ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    grids: list[Any] = []
    for i, n in enumerate(shape_of(x)):
        grids.append(index if i == at else reshape(trace, iota(trace, n), tuple(n if j == i else 1 for j in range(ndim))))
    return call(trace, "gather", x, *grids)


@handles(np.compress)
def compress(trace: Trace, condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    refuse("compress", out=out)
    x, axis = along(trace, as_array(trace, a), axis)
    return gather_axis(trace, x, mask_positions(trace, cast(trace, as_array(trace, condition), bool)), axis_index(axis, len(shape_of(x))))


@handles_method("compress")
def compress_method(trace: Trace, x: Any, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return compress(trace, condition, x, axis, out)


@handles(np.extract)
def extract(trace: Trace, condition: Any, arr: Any) -> Any:
    x, mask = as_array(trace, arr), cast(trace, as_array(trace, condition), bool)
    flat = flattened(trace, x)
    return call(trace, "gather", flat, mask_positions(trace, mask))


@handles(np.flatnonzero)
def flatnonzero(trace: Trace, a: Any) -> Any:
    return mask_positions(trace, cast(trace, as_array(trace, a), bool))


@handles(np.nonzero, method="nonzero")
def nonzero(trace: Trace, a: Any) -> tuple[Any, ...]:
    x = as_array(trace, a)
    shape = shape_of(x)
    if not shape:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero() instead.")
    flat = mask_positions(trace, cast(trace, x, bool))
    return _unravel(trace, flat, shape)


def _unravel(trace: Trace, flat: Any, shape: Shape) -> tuple[Any, ...]:
    out = []
    for n in reversed(shape[1:]):
        out.append(apply(trace, "remainder", np.remainder, flat, n))
        flat = apply(trace, "floor_divide", np.floor_divide, flat, n)
    return (flat, *reversed(out))


@handles(np.argwhere)
def argwhere(trace: Trace, a: Any) -> Any:
    x = as_array(trace, a)
    if not shape_of(x):
        return trace.lift(np.zeros((int(bool(x)), 0), np.int64))
    columns = nonzero(trace, x)
    parts = [reshape(trace, c, (*shape_of(c), 1)) for c in columns]
    return parts[0] if len(parts) == 1 else call(trace, "concatenate", *parts, axis=1)


@handles(np.unravel_index)
def unravel_index(trace: Trace, indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    sizes = tuple(operator.index(n) for n in shape) if isinstance(shape, (list, tuple)) else (operator.index(shape),)
    if order not in ("C", "F"):
        raise ValueError("only 'C' or 'F' order is permitted")
    flat = operand(trace, indices)
    values = np.asarray(unwrap(flat))
    if values.size and (values.min() < 0 or values.max() >= np.prod(sizes)):
        raise ValueError(f"index {values.max()} is out of bounds for array with size {np.prod(sizes)}")
    return _unravel(trace, flat, sizes) if order == "C" else _unravel(trace, flat, sizes[::-1])[::-1]


@handles_method("item")
def item(trace: Trace, x: Any, *args: Any) -> Any:
    """One element as a Python number, still traced."""
    if args:
        place = args[0] if len(args) == 1 else args
        if type(place) is not tuple and len(shape_of(x)) != 1:
            x = flattened(trace, x)
        x = INDEXING["get"](x, place)
    if np.size(form_of(x)) != 1:
        raise ValueError("can only convert an array of size 1 to a Python scalar")
    return python_number(trace, x)


def python_number(trace: Trace, x: Any) -> Any:
    """A one-element operand as a Python number."""
    if type(x.form) in (bool, int, float, complex):
        return alias(x)
    wide = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64, "c": np.complex128}[dtype_of(x).kind]
    made = cast(trace, x, wide)
    if shape_of(made):
        made = call(trace, "reshape", made, shape=())
    return alias(made, made.value.item())


@handles_method("tolist")
def tolist(trace: Trace, x: Any) -> Any:
    """Nested lists of Python numbers, still traced."""
    if not shape_of(x):
        return python_number(trace, x)
    if len(shape_of(x)) > 1:
        return [tolist(trace, INDEXING["get"](x, i)) for i in range(shape_of(x)[0])]
    return [python_number(trace, INDEXING["get"](x, i)) for i in range(shape_of(x)[0])]
