"""Index arrays and what reads or writes by them: choose, ix_, ravel_multi_index, triangles, insert, resize, trim_zeros, place."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.arranging import gather_axis
from irgrad.frontend.handlers.core import (
    NP,
    PUBLIC,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    call,
    cast,
    dtype_of,
    find_tracer,
    form_of,
    full,
    handles,
    inspects,
    iota,
    join,
    operand,
    reshape,
    shape_of,
    shape_tuple,
    take_slice,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.indexing import mask_positions, plain_places
from irgrad.frontend.handlers.joining import parts_of, unstack
from irgrad.frontend.handlers.shaping import along, flattened, size_of
from irgrad.frontend.handlers.writing import put, stored, writes
from irgrad.frontend.storage import resolve, update_all, write
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY

inspects(np.diag_indices_from, np.tril_indices_from, np.triu_indices_from, np.einsum_path)

# ---- reading ----


@handles(np.choose, method="choose")
def choose(trace: Trace, a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    index = as_array(trace, a)
    if out is not None:
        unsupported("choose(out=)", "use the returned array")
    if dtype_of(index).kind not in "biu":
        raise TypeError(f"Cannot cast array data from {dtype_of(index)!r} to dtype('int64') according to the rule 'safe'")
    rows = parts_of(trace, choices)
    n = len(rows)
    if mode == "wrap":
        index = apply(trace, "remainder", np.remainder, index, n)
    elif mode == "clip":
        index = NP.clip(index, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    elif not bool(NP.all(NP.logical_and(NP.greater_equal(index, 0), NP.less(index, n)))):
        raise ValueError("invalid entry in choice array")
    shape = np.broadcast_shapes(shape_of(index), *[shape_of(row) for row in rows])
    index = NP.broadcast_to(cast(trace, index, np.int64), shape)
    stacked = NP.stack([NP.broadcast_to(row, shape) for row in rows])
    picked = NP.take_along_axis(stacked, reshape(trace, index, (1, *shape)), axis=0)
    return take_slice(trace, picked, 0, 0, 1, drop=True)


@handles(np.ix_)
def ix_(trace: Trace, *args: Any) -> tuple[Any, ...]:
    out = []
    for k, given in enumerate(args):
        index = as_array(trace, given)
        if len(shape_of(index)) != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if dtype_of(index).kind == "b":
            index = mask_positions(trace, index)
        elif shape_of(index)[0] == 0:
            index = cast(trace, index, np.int64)
        out.append(reshape(trace, index, tuple(shape_of(index)[0] if i == k else 1 for i in range(len(args)))))
    return tuple(out)


@handles(np.ravel_multi_index)
def ravel_multi_index(trace: Trace, multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    sizes = shape_tuple(dims)
    indices = list(multi_index) if isinstance(multi_index, (list, tuple)) else list(unstack(trace, multi_index))
    if len(indices) != len(sizes):
        raise ValueError(f"parameter multi_index must be a sequence of length {len(sizes)}")
    modes = [mode] * len(sizes) if isinstance(mode, str) else list(mode)
    strides = [size_of(sizes[i + 1 :]) if order == "C" else size_of(sizes[:i]) for i in range(len(sizes))]
    made: Any = 0
    for index, n, stride, how in zip(indices, sizes, strides, modes, strict=True):
        place = operand(trace, index)
        if how == "wrap":
            place = NP.remainder(place, n)
        elif how == "clip":
            place = NP.clip(place, 0, n - 1)
        elif not bool(NP.all(NP.logical_and(NP.greater_equal(place, 0), NP.less(place, n)))):
            raise ValueError("invalid entry in coordinates array")
        made = NP.add(made, NP.multiply(place, stride))
    return made


@handles(np.mask_indices)
def mask_indices(trace: Trace, n: Any, mask_func: Callable[..., Any], k: Any = 0) -> Any:
    return NP.nonzero(NP.not_equal(mask_func(full(trace, (operator.index(n),) * 2, 1, np.dtype(np.int64)), k), 0))


@handles(np.resize)
def resize(trace: Trace, a: Any, new_shape: Any) -> Any:
    shape = shape_tuple(new_shape)
    if any(n < 0 for n in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    x = as_array(trace, a)
    n, count = size_of(shape_of(x)), size_of(shape)
    if n == 0:
        return full(trace, shape, 0, dtype_of(x))
    flat = reshape(trace, x, (n,))
    return reshape(trace, call(trace, "gather", flat, trace.lift(np.arange(count) % n)), shape)


@handles(np.require, creates=True)
def require(trace: Trace, a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    return NP.asanyarray(a, dtype=dtype)


@handles(np.trim_zeros)
def trim_zeros(trace: Trace, filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """Where the entries that are not zero begin and end is guarded."""
    wanted = trim.lower()
    if wanted not in ("fb", "bf", "f", "b"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    x = as_array(trace, filt)
    shape = shape_of(x)
    for at in axis_tuple(axis, len(shape)):
        filled = NP.not_equal(x, 0)
        others = tuple(i for i in range(len(shape)) if i != at)
        line = NP.any(filled, axis=others) if others else filled
        n = shape_of(line)[0]
        if not n or not bool(NP.any(line)):
            x = take_slice(trace, x, at, 0, 0)
            continue
        start = int(NP.argmax(line)) if "f" in wanted else 0
        stop = n - int(NP.argmax(NP.flip(line))) if "b" in wanted else n
        x = take_slice(trace, x, at, start, stop - start)
    return list(unstack(trace, x)) if isinstance(filt, list) else x if isinstance(filt, tuple) is False else tuple(unstack(trace, x))


@handles(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(trace: Trace, x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False) -> Any:
    """The windows as an array of their own: entries are read by index."""
    made = as_array(trace, x)
    shape, widths = shape_of(made), shape_tuple(window_shape)
    axes = tuple(range(len(shape))) if axis is None else tuple(axis_index(a, len(shape)) for a in np.atleast_1d(axis).tolist())
    if len(axes) != len(widths):
        raise ValueError(f"Must provide matching length window_shape and axis; got {len(widths)} and {len(axes)} axes")
    for at, width in zip(axes, widths, strict=True):
        count = shape_of(made)[at] - width + 1
        if width < 0 or count < 1:
            raise ValueError("window shape cannot be larger than input array shape" if width >= 0 else "negative window_shape")
        windows = gather_axis(trace, made, trace.lift(np.add.outer(np.arange(count), np.arange(width))), at)
        made = NP.moveaxis(windows, at + 1, -1)
    return made


class Enumerated:
    """`numpy.ndenumerate`: places and entries, which stay traced."""

    def __init__(self, arr: Any) -> None:
        traced = type(arr) is Tracer
        self.pairs = ((place, arr[place]) for place in np.ndindex(*shape_of(arr))) if traced else iter(np.ndenumerate(arr))

    def __iter__(self) -> Any:
        return self.pairs

    def __next__(self) -> Any:
        return next(self.pairs)


PUBLIC[np.ndenumerate] = Enumerated


def entries(op: Any, *args: Any, **kwargs: Any) -> Any:
    """`numpy.nditer`: of one traced array its entries, which stay traced."""
    if type(op) is Tracer and not args and not kwargs:
        return iter(PUBLIC[np.ravel](op, order="K"))
    if find_tracer(op if isinstance(op, (list, tuple)) else (op,)) is not None:
        unsupported("numpy.nditer of several traced arrays or with flags", "loop over x.flat or np.ndenumerate(x)")
    return np.nditer(op, *args, **kwargs)


PUBLIC[np.nditer] = entries

# ---- insertion ----


@handles(np.insert)
def insert(trace: Trace, arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Places are plain: which entries come from where is known while recording."""
    x, axis = along(trace, as_array(trace, arr), axis)
    at = axis_index(axis, len(shape_of(x)))
    n = shape_of(x)[at]
    obj = plain_places(trace, obj)
    single = np.ndim(form_of(obj)) == 0 and not isinstance(obj, slice)
    given = cast(trace, as_array(trace, values), dtype_of(x))
    if single and len(shape_of(given)) and len(shape_of(x)) > 1:
        # numpy moves the first axis of the values to the place of insertion
        if len(shape_of(given)) < len(shape_of(x)):
            given = reshape(trace, given, (1,) * (len(shape_of(x)) - len(shape_of(given))) + shape_of(given))
        given = NP.moveaxis(given, 0, at)
    elif len(shape_of(given)) < len(shape_of(x)):
        given = reshape(trace, given, (1,) * (len(shape_of(x)) - len(shape_of(given))) + shape_of(given))
    where = operator.index(obj) if single else obj if isinstance(obj, slice) else np.asarray(unwrap(obj))
    extra = shape_of(given)[at] if single else len(np.arange(n)[obj]) if isinstance(obj, slice) else _count(where, shape_of(given)[at], n)
    marks = np.insert(np.arange(n), where, -1 - np.arange(extra)) if extra else np.arange(n)
    given = NP.broadcast_to(given, tuple(extra if i == at else m for i, m in enumerate(shape_of(x))))
    both = join(trace, [x, given], at)
    return gather_axis(trace, both, trace.lift(np.where(marks >= 0, marks, n - 1 - marks)), at)


def _count(where: Any, have: int, n: int) -> int:
    places = np.flatnonzero(where) if where.dtype.kind == "b" else where
    return have if places.size == 1 else int(places.size)


# ---- writing ----


@writes(np.put_along_axis)
def put_along_axis(trace: Trace, arr: Tracer, indices: Any, values: Any, axis: Any) -> None:
    index = as_array(trace, indices)
    if axis is None:
        if len(shape_of(index)) != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        put(trace, arr, index, NP.broadcast_to(stored(trace, values, arr.dtype), shape_of(index)))
        return
    at = axis_index(axis, len(arr.shape))
    ndim = len(arr.shape)
    if len(shape_of(index)) != ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    shape = shape_of(index)
    grids = [
        index if i == at else reshape(trace, iota(trace, arr.shape[i]), tuple(arr.shape[i] if j == i else 1 for j in range(ndim)))
        for i in range(ndim)
    ]
    whole = np.broadcast_shapes(*[shape_of(g) for g in grids], shape)
    value = NP.broadcast_to(stored(trace, values, arr.dtype), whole)
    update_all(trace, arr, REGISTRY["scatter_update"], value, *grids)


@writes(np.place)
def place(trace: Trace, arr: Tracer, mask: Any, vals: Any) -> None:
    flat = mask_positions(trace, reshape(trace, cast(trace, as_array(trace, mask), bool), (arr.size,)))
    value = stored(trace, as_array(trace, vals), arr.dtype)
    value = flattened(trace, value)
    count, have = shape_of(flat)[0], shape_of(value)[0]
    if not count:
        return
    if not have:
        raise ValueError("Cannot insert from an empty array!")
    if have != count:
        value = call(trace, "gather", value, trace.lift(np.arange(count) % have))
    made = call(trace, "scatter_update", reshape(trace, resolve(trace, arr), (arr.size,)), value, flat)
    write(trace, arr, None, reshape(trace, made, arr.shape))
