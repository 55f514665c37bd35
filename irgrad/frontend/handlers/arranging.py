"""The same elements elsewhere: flips, rolls, repetition, padding, diagonals."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from irgrad.frontend.handlers.core import (
    alias,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    broadcast,
    call,
    dtype_of,
    form_of,
    fresh,
    handles,
    join,
    refuse,
    reshape,
    shape_of,
    shape_tuple,
    take_slice,
    transpose,
    unwrap,
    whole,
)
from irgrad.frontend.handlers.creation import band
from irgrad.frontend.handlers.reduction import sum_
from irgrad.frontend.handlers.shaping import along, flattened, size_of, swapaxes
from irgrad.frontend.storage import follow, is_view, laid_out
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import dtype_name
from irgrad.ir.primitive import PART

# ---- order along axes ----


def flipped(trace: Trace, x: Any, axes: Sequence[int]) -> Any:
    """`x` reversed along axes."""
    shape = shape_of(x)
    if not axes or not size_of(shape):
        return alias(x)
    start = tuple(n - 1 if i in axes else 0 for i, n in enumerate(shape))
    step = tuple(-1 if i in axes else 1 for i in range(len(shape)))
    return call(trace, "slice", x, start=start, count=shape, step=step, drop=())


@handles(np.flip)
def flip(trace: Trace, m: Any, axis: Any = None) -> Any:
    x = as_array(trace, m)
    if not shape_of(x) and axis is None:
        return call(trace, "slice", x, start=(), count=(), step=(), drop=())
    return flipped(trace, x, axis_tuple(axis, len(shape_of(x))))


@handles(np.flipud)
def flipud(trace: Trace, m: Any) -> Any:
    x = as_array(trace, m)
    if not shape_of(x):
        raise ValueError("Input must be >= 1-d.")
    return flipped(trace, x, (0,))


@handles(np.fliplr)
def fliplr(trace: Trace, m: Any) -> Any:
    x = as_array(trace, m)
    if len(shape_of(x)) < 2:
        raise ValueError("Input must be >= 2-d.")
    return flipped(trace, x, (1,))


@handles(np.rot90)
def rot90(trace: Trace, m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    x = as_array(trace, m)
    ndim = len(shape_of(x))
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    first, second = (axis_index(a, ndim) for a in axes)
    if first == second:
        raise ValueError("Axes must be different.")
    turns = whole(k) % 4
    if turns == 0:
        return alias(x)
    if turns == 2:
        return flipped(trace, x, (first, second))
    return (
        swapaxes(trace, flipped(trace, x, (second,)), first, second)
        if turns == 1
        else flipped(trace, swapaxes(trace, x, first, second), (second,))
    )


@handles(np.roll)
def roll(trace: Trace, a: Any, shift: Any, axis: Any = None) -> Any:
    x = as_array(trace, a)
    shape = shape_of(x)
    if axis is None:
        flat = reshape(trace, x, (size_of(shape),))
        total = sum(int(s) for s in shift) if isinstance(shift, (tuple, list)) else int(shift)
        made = _rolled(trace, flat, total, 0)
        return made if len(shape) == 1 and made is not x else fresh(trace, reshape(trace, made, shape))
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    shifts = shift if isinstance(shift, (list, tuple)) else (shift,)
    for s, i in np.broadcast(np.asarray(unwrap(shifts)), np.asarray(axes)):
        x = _rolled(trace, x, int(s), axis_index(i, len(shape)))
    return fresh(trace, x)


def _rolled(trace: Trace, x: Any, shift: int, axis: int) -> Any:
    n = shape_of(x)[axis]
    by = shift % n if n else 0
    if not by:
        return x
    return join(trace, [take_slice(trace, x, axis, n - by, by), take_slice(trace, x, axis, 0, n - by)], axis)


# ---- repetition ----


@handles(np.tile)
def tile(trace: Trace, A: Any, reps: Any) -> Any:
    x = as_array(trace, A)
    counts = shape_tuple(reps)
    shape = shape_of(x)
    ndim = max(len(shape), len(counts))
    shape, counts = (1,) * (ndim - len(shape)) + shape, (1,) * (ndim - len(counts)) + counts
    spread = [extent for pair in zip(counts, shape, strict=True) for extent in pair]
    lifted = reshape(trace, x, tuple(extent for n in shape for extent in (1, n)))
    return fresh(trace, reshape(trace, broadcast(trace, lifted, tuple(spread)), tuple(c * n for c, n in zip(counts, shape, strict=True))))


@handles(np.repeat, method="repeat")
def repeat(trace: Trace, a: Any, repeats: Any, axis: Any = None) -> Any:
    x, axis = along(trace, as_array(trace, a), axis)
    if not shape_of(x):  # a 0-d array is one entry
        x = flattened(trace, x)
    shape = shape_of(x)
    at = axis_index(axis, len(shape))
    if np.ndim(form_of(repeats)) == 0 or (np.size(form_of(repeats)) == 1 and shape[at] != 1):
        count = whole(repeats if np.ndim(form_of(repeats)) == 0 else repeats[0])
        if count < 0:
            raise ValueError("repeats may not contain negative values.")
        grown = (*shape[: at + 1], 1, *shape[at + 1 :])
        spread = broadcast(trace, reshape(trace, x, grown), (*shape[: at + 1], count, *shape[at + 1 :]))
        return fresh(trace, reshape(trace, spread, (*shape[:at], shape[at] * count, *shape[at + 1 :])))
    counts = [operator.index(n) for n in repeats]
    places = np.repeat(np.arange(shape[at]), counts)
    return gather_axis(trace, x, trace.lift(places), at)


def gather_axis(trace: Trace, x: Any, index: Any, axis: int) -> Any:
    """`x` at an index operand along one axis; its axes take the place of that axis."""
    shape = shape_of(x)
    front = transpose(trace, x, (axis, *(i for i in range(len(shape)) if i != axis)))
    made = call(trace, "gather", front, index)
    n = len(shape_of(index))
    return transpose(trace, made, (*range(n, n + axis), *range(n), *range(n + axis, n + len(shape) - 1)))


# ---- diagonals ----


@handles(np.diagonal, method="diagonal")
def diagonal(trace: Trace, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    x = as_array(trace, a)
    ndim = len(shape_of(x))
    if ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    i, j = axis_index(axis1, ndim), axis_index(axis2, ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    offset = operator.index(offset)
    made = diagonal_of_view(trace, x, offset if i < j else -offset) if ndim == 2 else None
    if made is None:
        x = transpose(trace, x, (*(k for k in range(ndim) if k not in (i, j)), i, j))
        made = last_diagonal(trace, x, offset)
    if type(made) is Tracer:
        trace.fixed.add(made.index)
    return made


def diagonal_of_view(trace: Trace, x: Any, k: int) -> Any:
    """The k-th diagonal of a slice or transpose of an array in C order, as a slice of that: it sees what is written there.

    None where it is no such view.
    """
    if type(x) is not Tracer or not is_view(trace, x):
        return None
    root, chain, storage = follow(trace, x)
    memory = root if storage is None else storage.version
    own, seen = root.value, laid_out(trace, x)[0]
    n, m = seen.shape
    count = max(0, min(n, m - k) if k >= 0 else min(n + k, m))
    down, right = (stride // own.itemsize for stride in seen.strides)
    if not count or down + right <= 0 or not own.flags.c_contiguous or any(link.op is not None and link.op.traits & PART for link in chain):
        return None
    start = (byte_bounds(seen[:1, :1])[0] - byte_bounds(own)[0]) // own.itemsize + (k * right if k >= 0 else -k * down)
    return take_slice(trace, reshape(trace, memory, (own.size,)), 0, start, count, down + right)


def last_diagonal(trace: Trace, x: Any, k: int) -> Any:
    """The k-th diagonal of the last two axes: a strided slice of the flattened matrices."""
    *lead, n, m = shape_of(x)
    count = max(0, min(n, m - k) if k >= 0 else min(n + k, m))
    flat = reshape(trace, x, (*lead, n * m))
    return take_slice(trace, flat, len(lead), (k if k >= 0 else -k * m), count, m + 1)


@handles(np.linalg.diagonal)
def linalg_diagonal(trace: Trace, x: Any, /, *, offset: Any = 0) -> Any:
    return diagonal(trace, x, offset, -2, -1)


@handles(np.trace, method="trace")
def trace_(trace: Trace, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None) -> Any:
    refuse("trace", out=out)
    return sum_(trace, diagonal(trace, a, offset, axis1, axis2), -1, dtype)


@handles(np.linalg.trace)
def linalg_trace(trace: Trace, x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Any:
    return trace_(trace, x, offset, -2, -1, dtype)


@handles(np.diag)
def diag(trace: Trace, v: Any, k: Any = 0) -> Any:
    x = as_array(trace, v)
    shape = shape_of(x)
    shift = operator.index(k)
    if len(shape) == 2:
        return diagonal(trace, x, shift)
    if len(shape) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = shape[0] + abs(shift)
    if not trace.is_graph and shape[0]:  # written at once: a kernel rather selects
        zeros = call(trace, "zeros", shape=(n * n,), dtype=dtype_name(dtype_of(x)))
        first = shift if shift >= 0 else -shift * n
        return reshape(trace, call(trace, "slice_update", zeros, x, start=(first,), count=shape, step=(n + 1,), drop=()), (n, n))
    zero = dtype_of(x).type(0)
    row = call(trace, "pad", x, zero, low=(max(shift, 0),), high=(max(-shift, 0),)) if shift else x
    return apply(trace, "where", np.where, band(trace, n, n, shift, "equal", np.equal), row, zero)


@handles(np.diagflat)
def diagflat(trace: Trace, v: Any, k: Any = 0) -> Any:
    x = as_array(trace, v)
    return diag(trace, flattened(trace, x), k)
