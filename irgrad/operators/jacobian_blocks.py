"""Blocks of a Jacobian from what walks answer: plain arrays, or recorded values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irgrad.frontend.tracer import Tracer
from irgrad.ir.value import Static
from irgrad.operators.jacobian_structure import Entries, Leaf
from irgrad.passes.adjoint import CONCRETE
from irgrad.passes.batch import BatchBuilder
from irgrad.passes.sparsity import Colouring

_ndarray = np.ndarray


class Blocks:
    """What makes blocks, through a builder."""

    def __init__(self, b: Any) -> None:
        self.b = b
        self.concrete = b is CONCRETE

    def constant(self, value: Any) -> Any:
        return value if self.concrete else self.b.trace.lift(value)

    def number(self, value: Any) -> Any:
        return value if self.concrete else Static(value)

    def ones(self, leaf: Leaf) -> Any:
        one = self.number(leaf.dtype.type(1))
        return self.b.full(one, shape=leaf.shape, dtype=leaf.dtype.name) if leaf.shape else one

    def dense(self, c: Any, count: int, shape: tuple[int, ...], dtype: np.dtype[Any], last: bool) -> Any:
        """What came out of a walk as an array with the axis of the seeds."""
        whole = (*shape, max(count, 1)) if last else (max(count, 1), *shape)
        if c is None:
            return self.b.zeros(shape=whole, dtype=dtype.name)
        if count:
            c = BatchBuilder(self.b, count, last).dense(c).value
        elif type(c) is Static or not isinstance(c, (Tracer, np.ndarray, np.generic)):
            return self.b.full(c, shape=whole, dtype=dtype.name)
        if self.b.dtype(c) != dtype:
            c = self.b.convert(c, dtype=dtype.name)
        return c if self.b.shape(c) == whole else self.b.reshape(c, shape=whole)

    def joined(self, pieces: list[Any], axis: int) -> Any:
        return pieces[0] if len(pieces) == 1 else self.b.concatenate(*pieces, axis=axis)

    def finished(self, whole: Any, out: Leaf, mark: Leaf, colouring: Colouring | None, entries: Entries | None, last: bool) -> Any:
        """A block from the derivatives for all seeds, with the zeros that it has by construction."""
        b, shape = self.b, out.shape + mark.shape
        if entries is not None:
            rows, columns = entries
            if colouring is not None:
                if last:
                    places = rows * colouring.count + colouring.colours[columns]
                else:
                    places = colouring.colours[rows] * mark.size + columns
                whole = self.spread(whole, places, rows * mark.size + columns, out.size * mark.size)
            elif len(rows) < out.size * mark.size:
                mask = np.zeros((out.size, mark.size), bool)
                mask[rows, columns] = True
                whole = b.where(self.constant(mask.reshape(shape)), self.reshaped(whole, shape), self.number(whole.dtype.type(0)))
        return self.shaped(whole, out, mark, colouring is not None)

    def from_both(self, across: Any, back: Any, out: Leaf, mark: Leaf, columns: Colouring | None, rows: Colouring, entries: Entries) -> Any:
        """A block of which some rows are those of `back` and the others have their entries in `across`."""
        b = self.b
        row, column = entries
        count = mark.size if columns is None else columns.count
        seeds = column if columns is None else columns.colours[column]
        own = rows.colours[row]
        places = np.where(own < 0, row * count + seeds, out.size * count + own * mark.size + column)
        parts = [self.reshaped(x, (math.prod(b.shape(x)),)) for x in (across, back) if x is not None]
        whole = self.spread(self.joined(parts, 0), places, row * mark.size + column, out.size * mark.size)
        return self.shaped(whole, out, mark, True)

    def shaped(self, whole: Any, out: Leaf, mark: Leaf, is_new: bool) -> Any:
        """All entries of a block as what the operator returns."""
        b, shape = self.b, out.shape + mark.shape
        whole = self.reshaped(whole, shape)
        if self.concrete:
            whole = whole if is_new else np.array(whole)
        elif not shape and not isinstance(out.form, _ndarray) and not isinstance(mark.form, _ndarray):
            return b.slice(whole, start=(), count=(), step=(), drop=())
        return of_kind(whole, out, mark)

    def reshaped(self, value: Any, shape: tuple[int, ...]) -> Any:
        return value if self.b.shape(value) == shape else self.b.reshape(value, shape=shape)

    def spread(self, whole: Any, read: Any, write: Any, size: int) -> Any:
        """A vector of zeros but for entries `write`, which are entries `read` of `whole`."""
        b = self.b
        dtype = b.dtype(whole)
        flat = self.reshaped(whole, (math.prod(b.shape(whole)),))
        zeros = b.zeros(shape=(size,), dtype=dtype.name)
        if not len(read):
            return zeros
        order = np.argsort(write)
        read, write = read[order], write[order]
        by, step = _even(read), _even(write)
        if by and step:
            part = b.slice(flat, start=(int(read[0]),), count=(len(read),), step=(by,), drop=())
            region = {"start": (int(write[0]),), "count": (len(write),), "step": (step,), "drop": ()}
            return b.slice_update(zeros, part, **region)
        return b.scatter_add(zeros, b.gather(flat, self.constant(read)), self.constant(write))


def _even(places: Any) -> int:
    """The step of evenly spaced places, 0 for others."""
    if len(places) == 1:
        return 1
    steps = np.diff(places)
    return int(steps[0]) if (steps == steps[0]).all() else 0


def block_dtype(out: Leaf, mark: Leaf) -> np.dtype[Any]:
    """Of one block: complex where output or argument is. A real argument of a complex output takes two walks."""
    return np.result_type(mark.dtype, np.complex64) if out.dtype.kind == "c" else mark.dtype


def of_kind(block: Any, out: Leaf, mark: Leaf) -> Any:
    """A plain block of no axes is a number where neither is an array."""
    return block if isinstance(out.form, _ndarray) or isinstance(mark.form, _ndarray) or type(block) is Tracer else block[()]
