"""Batching rules: an operation on batches of operands, recorded as one operation with an axis more.

``rule(b, op, operands, params)`` with `b` a `BatchBuilder`; at least one of `operands` is `Batched`. Writers into buffers take a further
argument, whether the buffer may be changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.ir.primitive import Primitive
from irgrad.ops.rules import Shape, removed


class Batched:
    """A value of this shape and dtype for each seed: `value` has an axis more.

    With a `place`, only entry ``place + j`` (in C order) of that of seed j is not zero, and `value` is the vector of those entries; None
    for ones. Without one, `value` is still to be multiplied with `by_seed`, a vector over the seeds, and `by_entry`, which broadcasts with
    the value of one seed, where these are not None: products of vectors are less work than products with all of the batch.
    """

    __slots__ = ("by_entry", "by_seed", "dtype", "place", "shape", "value")

    def __init__(
        self, value: Any, shape: Shape, dtype: np.dtype[Any], place: int | None = None, by_seed: Any = None, by_entry: Any = None
    ) -> None:
        self.value = value
        self.shape = shape
        self.dtype = dtype
        self.place = place
        self.by_seed = by_seed
        self.by_entry = by_entry

    def __repr__(self) -> str:
        return f"<batched {self.dtype}{list(self.shape)}{'' if self.place is None else f', one entry each from {self.place}'}>"


Rule = Callable[..., Any]
Write = Callable[..., Any]
Params = Mapping[str, Any]

# ---- shapes ----


def _reshape(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    (x,), shape = operands, params["shape"]
    if x.place is not None:  # C order is kept
        return Batched(x.value, shape, x.dtype, x.place)
    return b.rows(b.inner.reshape(b.dense(x).value, shape=b.whole(shape)), shape)


def _transpose(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    (x,), axes = operands, params["axes"]
    moved = [b.axis(a) for a in axes]
    whole = (*moved, len(axes)) if b.last else (0, *moved)
    return b.rows(b.inner.transpose(b.dense(x).value, axes=whole), tuple(x.shape[a] for a in axes))


def _broadcast_to(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    x, shape = operands[0], params["shape"]
    if x.shape == shape:
        return x
    value = b.aligned(x, len(shape))
    return b.rows(b.inner.broadcast_to(value, shape=b.whole(shape)), shape)


def _full(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    made = _broadcast_to(b, op, operands, params)
    return made if made.dtype.name == params["dtype"] else b.convert(made, dtype=params["dtype"])


def _concatenate(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    axis = params["axis"]
    shape = b.shape(operands[0])
    total = sum(b.shape(o)[axis] for o in operands)
    made = b.inner.concatenate(*[b.dense(o).value for o in operands], axis=b.axis(axis))
    return b.rows(made, (*shape[:axis], total, *shape[axis + 1 :]))


def _pad(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    x, value = operands
    if b.is_batched(value):
        return b.one_by_one(op, operands, params)
    low, high = params["low"], params["high"]
    made = b.inner.pad(b.dense(x).value, value, low=b.whole(low, 0), high=b.whole(high, 0))
    return b.rows(made, tuple(i + n + k for i, n, k in zip(low, x.shape, high, strict=True)))


# ---- parts ----


def _region(b: Any, params: Params) -> dict[str, Any]:
    """The params of a slice with all of the seeds' axis."""
    count = params["count"]
    drop = tuple(b.axis(a) for a in params["drop"])
    return {"start": b.whole(params["start"], 0), "count": b.whole(count), "step": b.whole(params["step"], 1), "drop": drop}


def _slice(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    made = b.inner.slice(b.dense(operands[0]).value, **_region(b, params))
    shape = removed(params["count"], params["drop"])
    return b.rows(made if shape else b.inner.copy(made), shape)  # rules rely on numbers that do not change with the buffer


def _written(b: Any, op: Primitive, buffer: Any, operands: Sequence[Any], params: Params, own: bool) -> Any:
    """An update of a buffer with the operands aligned; of a batch of its own where the buffer was not batched."""
    batch = b.dense(buffer)
    if batch is not buffer:
        own = b.is_batched(buffer)  # a buffer made for single entries
    made = b.change(op, batch.value, operands, params) if own else getattr(b.inner, op.name)(batch.value, *operands, **params)
    return Batched(made, batch.shape, batch.dtype)


def _write_slice(b: Any, op: Primitive, operands: Sequence[Any], params: Params, own: bool = False) -> Any:
    buffer, x = operands
    rank = len(params["count"]) - len(params["drop"])
    return _written(b, op, buffer, (b.aligned(x, rank),), _region(b, params), own)


def _indices(b: Any, indices: Sequence[Any]) -> list[Any]:
    """Index arrays that read the same places for each seed."""
    if b.last:
        return list(indices)
    rank = max(len(b.inner.shape(i)) for i in indices)
    seeds = b.inner.iota(n=b.count, dtype="int64")
    return [b.inner.reshape(seeds, shape=(b.count, *(1,) * rank)) if rank else seeds, *indices]


def _gather(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    x, *indices = operands
    if any(b.is_batched(i) for i in indices):
        return b.one_by_one(op, operands, params)
    made = b.inner.gather(b.dense(x).value, *_indices(b, indices))
    shape = b.inner.shape(made)
    return b.rows(made, shape[:-1] if b.last else shape[1:])


def _scatter(b: Any, op: Primitive, operands: Sequence[Any], params: Params, own: bool = False) -> Any:
    buffer, x, *indices = operands
    if any(b.is_batched(i) for i in indices):
        return b.one_by_one(op, operands, params)
    rank = max(len(b.inner.shape(i)) for i in indices) + len(b.shape(buffer)) - len(indices)
    return _written(b, op, buffer, (b.aligned(x, rank), *_indices(b, indices)), params, own)


# ---- along axes ----


def _reduce_sum(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    (x,), axes = operands, params["axes"]
    if x.place is not None and len(axes) == len(x.shape):  # one entry is the sum
        return b.rows(b.vector(x), ())
    return b.rows(b.inner.reduce_sum(b.dense(x).value, axes=tuple(b.axis(a) for a in axes)), removed(x.shape, axes))


def _along(name: str) -> Rule:
    """Of an operation that keeps all axes but the lengths of those in the param `name`."""

    def rule(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
        x, *others = operands
        if others:
            return b.one_by_one(op, operands, params)
        given = params[name]
        moved = tuple(b.axis(a) for a in given) if isinstance(given, tuple) else b.axis(given)
        made = getattr(b.inner, op.name)(b.dense(x).value, **{**params, name: moved})
        shape = b.inner.shape(made)
        return b.rows(made, shape[:-1] if b.last else shape[1:])

    return rule


# ---- products ----


def _product(b: Any, x: Any, axis: int, y: Any, by: int, left: bool) -> tuple[Any, list[int]]:
    """The sum over `axis` of the array x and `by` of the vector or matrix y, which is not batched.

    Returns an array and its axes: those of x without `axis` by their numbers, and -1 for what y brings, first where `left`.
    """
    shape = b.inner.shape(x)
    rest = [k for k in range(len(shape)) if k != axis]
    extents = tuple(shape[k] for k in rest)
    n, size = shape[axis], math.prod(extents)
    matrix = len(b.inner.shape(y)) == 2
    if (left and matrix) or (axis == 0 and len(shape) > 1 and not matrix):
        flat = x if axis == 0 else b.inner.transpose(x, axes=(axis, *rest))
        flat = b.inner.reshape(flat, shape=(n, size))
        y = b.inner.transpose(y, axes=(1, 0)) if matrix and by == 0 else y
        made = b.inner.dot(y, flat)
        return b.inner.reshape(made, shape=(*b.inner.shape(y)[:-1], *extents)), [-1] * matrix + rest
    flat = x if axis == len(shape) - 1 else b.inner.transpose(x, axes=(*rest, axis))
    flat = b.inner.reshape(flat, shape=(size, n))
    y = b.inner.transpose(y, axes=(1, 0)) if matrix and by == 1 else y
    made = b.inner.dot(flat, y)
    return b.inner.reshape(made, shape=(*extents, *b.inner.shape(y)[1:])), rest + [-1] * matrix


def _ordered(b: Any, made: Any, have: list[int], want: list[int], shape: tuple[int, ...]) -> Any:
    """The axes of a product, known by number, in the wanted order."""
    if have != want:
        made = b.inner.transpose(made, axes=tuple(have.index(k) for k in want))
    return b.rows(made, shape)


def _dot(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    x, y = operands
    if b.is_batched(x) and b.is_batched(y):
        return b.one_by_one(op, operands, params)
    first = b.is_batched(x)
    batch, other = (x, y) if first else (y, x)
    if batch.place is not None and len(batch.shape) == 1:
        return _rows_of(b, batch, other, first)
    summed = len(batch.shape) - 1 if first else 0
    by = 0 if first else len(b.inner.shape(other)) - 1
    value, rank = b.dense(batch).value, len(batch.shape)
    made, axes = _product(b, value, b.axis(summed), other, by, b.last if rank == 1 else not first)
    rest = [b.axis(k) for k in range(rank) if k != summed]
    mine = [-1] * (len(b.inner.shape(other)) - 1)
    logical = [*rest, *mine] if first else [*mine, *rest]
    shape = (*b.shape(x)[:-1], *b.shape(y)[1:])
    return _ordered(b, made, axes, [*logical, rank] if b.last else [0, *logical], shape)


def _rows_of(b: Any, batch: Any, other: Any, first: bool) -> Any:
    """A product with single entries takes rows (or columns) of the matrix."""
    inner, count = b.inner, b.count
    shape = inner.shape(other)
    axis = 0 if first else len(shape) - 1
    if count != batch.shape[0]:
        start = tuple(batch.place if k == axis else 0 for k in range(len(shape)))
        counts = tuple(count if k == axis else n for k, n in enumerate(shape))
        other = inner.slice(other, start=start, count=counts, step=(1,) * len(shape), drop=())
    if len(shape) == 1:
        return b.rows(other if batch.value is None else inner.mul(batch.value, other), ())
    if (axis == 0) is b.last:
        other = inner.transpose(other, axes=(1, 0))
    if inner.dtype(other) != batch.dtype:
        entries = b.vector(batch)
        return b.rows(inner.mul(other, entries if b.last else inner.reshape(entries, shape=(count, 1))), (shape[1 - axis],))
    return Batched(other, (shape[1 - axis],), batch.dtype, None, batch.value)


def _folded(b: Any, x: Any, axis: int) -> Any:
    """The array of a batch with the seeds in front of `axis`, in one with it."""
    value, rank = b.leading(x), len(x.shape)
    order = [k + 1 for k in range(rank)]
    order.insert(axis, 0)
    moved = value if order[0] == 0 else b.inner.transpose(value, axes=tuple(order))
    return b.inner.reshape(moved, shape=(*x.shape[:axis], b.count * x.shape[axis], *x.shape[axis + 1 :]))


def _unfolded(b: Any, made: Any, axis: int) -> Any:
    """The batch of a result with the seeds folded into `axis`."""
    whole = b.inner.shape(made)
    shape = (*whole[:axis], whole[axis] // b.count, *whole[axis + 1 :])
    split = b.inner.reshape(made, shape=(*whole[:axis], b.count, *shape[axis:]))
    order = (axis, *range(axis), *range(axis + 1, len(whole) + 1))
    return b.from_leading(split if axis == 0 else b.inner.transpose(split, axes=order), shape)


def _by_folding(places: Mapping[int, tuple[int, int]]) -> Rule:
    """Of operations that treat the entries along an axis of an operand alike: for each operand this axis and that of the result."""

    def rule(b: Any, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
        batched = [k for k, o in enumerate(operands) if b.is_batched(o)]
        k = batched[0]
        if len(batched) > 1 or k not in places:
            return b.one_by_one(op, operands, params)
        axis, out = places[k]
        rank = len(operands[k].shape)
        made = getattr(b.inner, op.name)(*operands[:k], _folded(b, operands[k], axis % rank), *operands[k + 1 :], **params)
        return _unfolded(b, made, out % len(b.inner.shape(made)))

    return rule


RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "full": _full,
    "concatenate": _concatenate,
    "pad": _pad,
    "slice": _slice,
    "slice_add": _write_slice,
    "slice_update": _write_slice,
    "gather": _gather,
    "scatter_add": _scatter,
    "scatter_update": _scatter,
    "reduce_sum": _reduce_sum,
    "cumsum": _along("axis"),
    "fft": _along("axes"),
    "rfft": _along("axis"),
    "irfft": _along("axis"),
    "dot": _dot,
    "batch_dot": _by_folding({0: (-2, -2), 1: (-1, -1)}),
    "correlate": _by_folding({0: (0, 0), 1: (0, 1)}),
    "solve": _by_folding({1: (-1, -1)}),
    "solve_triangular": _by_folding({1: (-1, -1)}),
}
