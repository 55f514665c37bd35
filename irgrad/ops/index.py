"""Reading and writing parts of arrays: by slices (static) and by index arrays (data).

``slice[start, count, step, drop]`` takes `count` entries from `start` by `step` along every axis and removes the axes
in `drop`, each of count 1. `slice_add` and `slice_update` change that region of a buffer; ``gather(x, *indices)`` reads
at index arrays over the leading axes and `scatter_add`, `scatter_update` write there. Writers return a changed copy; the
adjoint and kernels work in place where the buffer is dead. A read's cotangent is an `Update` into one buffer, so that
many small reads cost no zeros each.

``window[start, shape](x)`` reads `shape` out of the contiguous elements of a larger array with zeros in it, so that a value that is in `x`
has its first element at `start`; what is outside of the value is then zero.

In the graph of a template (`irgrad.ir.template`) a slice's start offsets may be data of each use; the param `dynamic` then
numbers them, and `start` is that of one use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from irgrad.errors import RuntimeGuardError, TraceError, TraceIndexError
from irgrad.ir.aval import Aval, dtype_name
from irgrad.ir.builder import Builder
from irgrad.ir.plan import contiguous
from irgrad.ir.primitive import LINEAR, PURE, UPDATE, VIEW, Update, nondiff, primitive
from irgrad.ops.rules import INDEX, Axes, Shape, broadcast_avals, broadcast_shapes, reject

# ---- slices ----


@lru_cache(maxsize=4096)
def region(start: Axes, count: Axes, step: Axes, drop: Axes) -> tuple[int | slice, ...]:
    """numpy's index for a slice's params."""
    parts: list[int | slice] = []
    for axis, (at, n, by) in enumerate(zip(start, count, step, strict=True)):
        stop = at + n * by
        parts.append(at if axis in drop else slice(at, None if stop < 0 else stop, by) if n else slice(0, 0))
    return tuple(parts)


def region_of(params: Mapping[str, Any]) -> tuple[int | slice, ...]:
    """The same for the params of a slice or an update."""
    return region(params["start"], params["count"], params["step"], params["drop"])


def _slice(x: Any, *, start: Axes, count: Axes, step: Axes, drop: Axes, dynamic: int | None = None) -> Any:
    return x[region(start, count, step, drop)]


def _slice_aval(x: Aval, *, start: Axes, count: Axes, step: Axes, drop: Axes, dynamic: int | None = None) -> Aval:
    if not len(start) == len(count) == len(step) == x.ndim:
        raise reject("slice", (x,), f"expected start, count and step for {x.ndim} axes, got {start}, {count}, {step}")
    for axis, (at, n, by, extent) in enumerate(zip(start, count, step, x.shape, strict=True)):
        if n < 0 or by == 0 or (n and not (0 <= at < extent and 0 <= at + (n - 1) * by < extent)):
            raise reject("slice", (x,), f"{n} entries from {at} by {by} leave axis {axis} of extent {extent}", TraceIndexError)
    if any(not 0 <= axis < x.ndim or count[axis] != 1 for axis in drop):
        raise reject("slice", (x,), f"dropped axes {drop} of counts {count}; expected axes of count 1")
    return Aval(tuple(n for axis, n in enumerate(count) if axis not in drop), x.dtype)


slice_ = primitive(
    "slice",
    evaluate=_slice,
    aval=_slice_aval,
    vjp=(lambda b, ct, out, x, **params: Update("slice_add", (ct,), params),),
    jvp=(lambda b, t, out, x, **params: b.slice(t, **params),),
    traits=VIEW | LINEAR | PURE,
)


def _slice_add(buffer: Any, x: Any, *, start: Axes, count: Axes, step: Axes, drop: Axes, dynamic: int | None = None) -> Any:
    out = buffer.copy(order="K")
    out[region(start, count, step, drop)] += x
    return out


def _slice_update(buffer: Any, x: Any, *, start: Axes, count: Axes, step: Axes, drop: Axes, dynamic: int | None = None) -> Any:
    out = buffer.copy(order="K")
    out[region(start, count, step, drop)] = x
    return out


def _slice_add_in_place(buffer: Any, x: Any, *, start: Axes, count: Axes, step: Axes, drop: Axes, dynamic: int | None = None) -> Any:
    part = buffer[region(start, count, step, drop)]
    if type(part) is np.ndarray:
        np.add(part, x, out=part, casting="same_kind")
    else:
        buffer[region(start, count, step, drop)] = part + x
    return buffer


def _slice_update_in_place(buffer: Any, x: Any, *, start: Axes, count: Axes, step: Axes, drop: Axes, dynamic: int | None = None) -> Any:
    buffer[region(start, count, step, drop)] = x
    return buffer


def _check_fits(op: str, buffer: Aval, x: Aval, shape: Shape, *others: Aval) -> None:
    """`x` broadcasts to the written region of `shape` and its values to the buffer's dtype."""
    avals = (buffer, x, *others)
    if broadcast_avals(op, (Aval(shape, x.dtype), x)) != shape:
        raise reject(op, avals, f"cannot write shape {x.shape} into a region of shape {shape}")
    if x.dtype.kind == "c" and buffer.dtype.kind != "c":
        raise reject(op, avals, "cannot write complex values into a real buffer", TraceError)


def _slice_add_aval(buffer: Aval, x: Aval, **params: Any) -> Aval:
    _check_fits("slice_add", buffer, x, _slice_aval(buffer, **params).shape)
    return buffer.with_kind("array")


def _slice_update_aval(buffer: Aval, x: Aval, **params: Any) -> Aval:
    _check_fits("slice_update", buffer, x, _slice_aval(buffer, **params).shape)
    return buffer.with_kind("array")


def _slice_add_jvp(b: Builder, tangents: tuple[Any, Any], out: Any, buffer: Any, x: Any, **params: Any) -> Any:
    tb, tx = tangents
    if tx is None:
        return tb
    return b.slice_add(b.zeros_like(buffer) if tb is None else tb, tx, **params)


def _region_vjp(b: Builder, ct: Any, out: Any, buffer: Any, x: Any, **params: Any) -> Any:
    """The cotangent of what was written to a region: a value of its own, as the buffer that it is read from changes."""
    read = b.slice(ct, **params)
    return b.copy(read) if b.shape(read) else read


def _slice_update_jvp(b: Builder, tangents: tuple[Any, Any], out: Any, buffer: Any, x: Any, **params: Any) -> Any:
    tb, tx = tangents
    return b.slice_update(b.zeros_like(buffer) if tb is None else tb, 0.0 if tx is None else tx, **params)


slice_add = primitive(
    "slice_add",
    evaluate=_slice_add,
    aval=_slice_add_aval,
    vjp=(lambda b, ct, out, buffer, x, **params: ct, _region_vjp),
    jvp=_slice_add_jvp,
    traits=UPDATE | LINEAR | PURE,
    in_place=_slice_add_in_place,
)
slice_update = primitive(
    "slice_update",
    evaluate=_slice_update,
    aval=_slice_update_aval,
    vjp=(
        lambda b, ct, out, buffer, x, **params: Update("slice_update", (0.0,), params, ct),
        _region_vjp,
    ),
    jvp=_slice_update_jvp,
    traits=UPDATE | LINEAR | PURE,
    in_place=_slice_update_in_place,
)

# ---- a window of what has zeros around it (made by irgrad.passes.windows) ----


def first_element(whole: Shape, shape: Shape, start: Axes) -> int:
    """Where in `whole` a window of `shape` begins that has the first element which is not padding at `start`."""
    steps = contiguous(shape)
    return (whole[0] - shape[0]) * steps[0] - sum(at * step for at, step in zip(start, steps, strict=True))


def _window(x: Any, *, start: Axes, shape: Shape, dynamic: int | None = None) -> Any:
    first = first_element(np.shape(x), shape, start)
    return np.reshape(np.ravel(x)[first : first + math.prod(shape)], shape)


def _window_aval(x: Aval, *, start: Axes, shape: Shape, dynamic: int | None = None) -> Aval:
    if x.shape[1:] != shape[1:] or not len(start) == len(shape) == x.ndim > 0:
        raise reject("window", (x,), f"expected a shape and a start of {x.ndim} axes that differ in the first extent, got {shape}, {start}")
    first = first_element(x.shape, shape, start)
    if not 0 <= first <= math.prod(x.shape) - math.prod(shape):
        raise reject("window", (x,), f"{math.prod(shape)} elements from {first} leave {math.prod(x.shape)}", TraceIndexError)
    return Aval(shape, x.dtype)


def _window_vjp(b: Builder, ct: Any, out: Any, x: Any, *, start: Axes, shape: Shape, dynamic: int | None = None) -> Any:
    whole, size = b.shape(x), math.prod(shape)
    first = first_element(whole, shape, start)
    flat = b.zeros(shape=(math.prod(whole),), dtype=dtype_name(b.dtype(ct)))
    made = b.slice_add(flat, b.reshape(ct, shape=(size,)), start=(first,), count=(size,), step=(1,), drop=())
    return b.reshape(made, shape=whole)


window = primitive(
    "window",
    evaluate=_window,
    aval=_window_aval,
    vjp=(_window_vjp,),
    jvp=(lambda b, t, out, x, **params: b.window(t, **params),),
    traits=VIEW | LINEAR | PURE,
)

# ---- index arrays ----


def _gather(x: Any, *indices: Any) -> Any:
    out = x[indices]
    if isinstance(out, np.ndarray) and not any(np.ndim(i) for i in indices):
        return out.copy()  # numpy answers scalar indices with a view
    return out


def _gather_shape(op: str, x: Aval, indices: tuple[Aval, ...], *others: Aval) -> Shape:
    avals = (x, *others, *indices)
    if not 0 < len(indices) <= x.ndim:
        raise reject(op, avals, f"{len(indices)} index arrays; expected between 1 and {x.ndim}", TraceIndexError)
    if any(i.dtype.kind not in "iu" for i in indices):
        raise reject(op, avals, "expected index arrays of integers", TraceIndexError)
    return broadcast_avals(op, indices) + x.shape[len(indices) :]


def _gather_aval(x: Aval, *indices: Aval) -> Aval:
    return Aval(_gather_shape("gather", x, indices), x.dtype)


def _gather_vjp(b: Builder, index: int, ct: Any, out: Any, x: Any, *indices: Any) -> Update | None:
    return Update("scatter_add", (ct, *indices), {}) if index == 0 else None


def _gather_jvp(b: Builder, tangents: tuple[Any, ...], out: Any, x: Any, *indices: Any) -> Any:
    return None if tangents[0] is None else b.gather(tangents[0], *indices)


gather = primitive("gather", evaluate=_gather, aval=_gather_aval, vjp=_gather_vjp, jvp=_gather_jvp, traits=PURE)


def _gather_sum(x: Any, *indices: Any) -> Any:
    return np.sum(x[indices], axis=np.broadcast(*indices).ndim - 1)


def _gather_sum_aval(x: Aval, *indices: Aval) -> Aval:
    found = broadcast_avals("gather_sum", indices)
    if not found:
        raise reject("gather_sum", (x, *indices), "expected index arrays with an axis to sum over", TraceIndexError)
    shape = _gather_shape("gather_sum", x, indices)
    return Aval(shape[: len(found) - 1] + shape[len(found) :], x.dtype)


def _gather_sum_vjp(b: Builder, index: int, ct: Any, out: Any, x: Any, *indices: Any) -> Update | None:
    if index:
        return None
    found = broadcast_shapes(tuple(b.shape(i) for i in indices))
    tail = b.shape(x)[len(indices) :]
    return Update("scatter_add", (b.reshape(ct, shape=(*found[:-1], 1, *tail)), *indices), {})


# sums of rows along the last axis of the index arrays: what `legalize` makes of a gather that only a sum reads
gather_sum = primitive(
    "gather_sum",
    evaluate=_gather_sum,
    aval=_gather_sum_aval,
    vjp=_gather_sum_vjp,
    jvp=lambda b, tangents, out, x, *indices: None if tangents[0] is None else b.gather_sum(tangents[0], *indices),
    traits=PURE,
)


def _scatter_add(buffer: Any, x: Any, *indices: Any) -> Any:
    out = buffer.copy(order="K")
    np.add.at(out, indices, x)
    return out


def _scatter_update(buffer: Any, x: Any, *indices: Any) -> Any:
    out = buffer.copy(order="K")
    out[indices] = x
    return out


def _scatter_add_in_place(buffer: Any, x: Any, *indices: Any) -> Any:
    np.add.at(buffer, indices, x)
    return buffer


def _scatter_update_in_place(buffer: Any, x: Any, *indices: Any) -> Any:
    buffer[indices] = x
    return buffer


def _scatter_add_aval(buffer: Aval, x: Aval, *indices: Aval) -> Aval:
    _check_fits("scatter_add", buffer, x, _gather_shape("scatter_add", buffer, indices, x), *indices)
    return buffer.with_kind("array")


def _scatter_update_aval(buffer: Aval, x: Aval, *indices: Aval) -> Aval:
    _check_fits("scatter_update", buffer, x, _gather_shape("scatter_update", buffer, indices, x), *indices)
    return buffer.with_kind("array")


def _scatter_add_vjp(b: Builder, index: int, ct: Any, out: Any, buffer: Any, x: Any, *indices: Any) -> Any:
    if index > 1:
        return None
    return b.gather(ct, *indices) if index else ct


def _scatter_add_jvp(b: Builder, tangents: tuple[Any, ...], out: Any, buffer: Any, x: Any, *indices: Any) -> Any:
    tb, tx = tangents[:2]
    if tx is None:
        return tb
    return b.scatter_add(b.zeros_like(buffer) if tb is None else tb, tx, *indices)


def _last_writes(b: Builder, shape: Shape, indices: tuple[Any, ...]) -> Any:
    """Mask over the index arrays' shape: True where no later entry writes the same place. None if all are True."""
    written = broadcast_shapes(tuple(b.shape(i) for i in indices))
    size = int(np.prod(written))
    if size <= 1:
        return None
    places: Any = None
    for axis, index in enumerate(indices):
        extent = b.number(shape[axis])
        index = b.convert(index, dtype="int64")
        index = b.where(b.less(index, 0), b.add(index, extent), index)
        places = index if places is None else b.add(b.mul(places, extent), index)
    places = b.reshape(b.broadcast_to(places, shape=written), shape=(size,))
    order = b.argsort(places, axis=0)  # stable: of equal places the last entry comes last
    ranked = b.gather(places, order)
    earlier = {"count": (size - 1,), "step": (1,), "drop": ()}
    differs = b.not_equal(b.slice(ranked, start=(0,), **earlier), b.slice(ranked, start=(1,), **earlier))
    last = b.concatenate(differs, b.full(True, shape=(1,), dtype="bool"), axis=0)
    mask = b.scatter_update(b.zeros(shape=(size,), dtype="bool"), last, order)
    return b.reshape(mask, shape=written + (1,) * (len(shape) - len(indices)))


def _scatter_update_vjp(b: Builder, index: int, ct: Any, out: Any, buffer: Any, x: Any, *indices: Any) -> Any:
    if index > 1:
        return None
    if index == 0:
        return Update("scatter_update", (0.0, *indices), {}, ct)
    mask = _last_writes(b, b.shape(buffer), indices)
    read = b.gather(ct, *indices)
    return read if mask is None else b.where(mask, read, 0.0)


def _scatter_update_jvp(b: Builder, tangents: tuple[Any, ...], out: Any, buffer: Any, x: Any, *indices: Any) -> Any:
    tb, tx = tangents[:2]
    return b.scatter_update(b.zeros_like(buffer) if tb is None else tb, 0.0 if tx is None else tx, *indices)


scatter_add = primitive(
    "scatter_add",
    evaluate=_scatter_add,
    aval=_scatter_add_aval,
    vjp=_scatter_add_vjp,
    jvp=_scatter_add_jvp,
    traits=UPDATE | PURE,
    in_place=_scatter_add_in_place,
)
scatter_update = primitive(
    "scatter_update",
    evaluate=_scatter_update,
    aval=_scatter_update_aval,
    vjp=_scatter_update_vjp,
    jvp=_scatter_update_jvp,
    traits=UPDATE | PURE,
    in_place=_scatter_update_in_place,
)

# ---- masks ----


def _mask_indices(mask: Any, *, count: int) -> Any:
    found = np.flatnonzero(mask)
    if found.size != count:
        raise RuntimeGuardError(f"mask_indices: the mask selects {found.size} elements; expected {count}, as when it was recorded")
    return found.astype(INDEX, copy=False)


def _mask_indices_aval(mask: Aval, *, count: int) -> Aval:
    if mask.dtype.kind != "b":
        raise reject("mask_indices", (mask,), "expected a bool mask", TraceIndexError)
    return Aval((count,), INDEX)


mask_indices = primitive(
    "mask_indices",
    evaluate=_mask_indices,
    aval=_mask_indices_aval,
    vjp=nondiff("indices are integers"),
    jvp=nondiff("indices are integers"),
    traits=PURE,
    host=True,
)
