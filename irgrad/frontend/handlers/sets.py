"""Sets: unique values and what is made of them, from sorted arrays. How many there are is guarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NP,
    Shape,
    as_array,
    axis_index,
    call,
    dtype_of,
    full,
    handles,
    iota,
    join,
    operand,
    reshape,
    shape_of,
    take_slice,
    transpose,
)
from irgrad.frontend.handlers.indexing import mask_positions
from irgrad.frontend.handlers.joining import parts_of
from irgrad.frontend.handlers.ordering import lexsorted
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.trace import Trace


def _parts(trace: Trace, x: Any) -> tuple[Any, Any]:
    """All entries of an axis but the last, and all but the first."""
    n = shape_of(x)[0]
    return take_slice(trace, x, 0, 0, n - 1), take_slice(trace, x, 0, 1, n - 1)


class Distinct:
    """The distinct entries of a flat array, or rows of a matrix: where each group starts in sorted order."""

    def __init__(self, trace: Trace, x: Any, equal_nan: bool, needs_order: bool = True) -> None:
        self.trace = trace
        self.size = n = shape_of(x)[0]
        self.order: Any = None
        if len(shape_of(x)) > 1:
            columns = [take_slice(trace, x, 1, k, 1, drop=True) for k in reversed(range(shape_of(x)[1]))]
            self.order = lexsorted(trace, columns) if columns else iota(trace, n)
            ranked = call(trace, "gather", x, self.order) if n else x
        elif needs_order and n:
            self.order = call(trace, "argsort", x, axis=0)
            ranked = call(trace, "gather", x, self.order)
        else:
            ranked = call(trace, "sort", x, axis=0)
        self.ranked = ranked
        if n == 0:
            self.starts: Any = full(trace, (0,), 0, np.dtype(np.int64))
            self.first: Any = full(trace, (0,), False, np.dtype(bool))
            return
        before, after = _parts(trace, ranked)
        differs = NP.not_equal(before, after)
        if len(shape_of(x)) > 1:
            differs = NP.any(differs, axis=1)
        elif equal_nan and dtype_of(x).kind in "fc":
            differs = NP.logical_and(differs, NP.logical_not(NP.logical_and(NP.isnan(before), NP.isnan(after))))
        self.first = join(trace, [full(trace, (1,), True, np.dtype(bool)), differs], 0)
        self.starts = mask_positions(trace, self.first)

    def values(self) -> Any:
        return call(self.trace, "gather", self.ranked, self.starts)

    def index(self) -> Any:
        """Where each value first occurs."""
        return call(self.trace, "gather", self.order, self.starts) if self.size else self.starts

    def inverse(self) -> Any:
        """The place of each entry among the values."""
        if not self.size:
            return self.starts
        trace = self.trace
        group = NP.subtract(NP.cumsum(self.first), 1)
        return call(trace, "scatter_update", full(trace, (self.size,), 0, np.dtype(np.int64)), group, self.order)

    def counts(self) -> Any:
        ends = join(self.trace, [self.starts, full(self.trace, (1,), self.size, np.dtype(np.int64))], 0)
        before, after = _parts(self.trace, ends)
        return NP.subtract(after, before)


@handles(np.unique)
def unique(
    trace: Trace,
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    x = as_array(trace, ar)
    shape = shape_of(x)
    rest: Shape = ()
    at = 0
    if axis is None:
        rows = reshape(trace, x, (size_of(shape),))
    else:
        at = axis_index(axis, len(shape))
        x = transpose(trace, x, (at, *(k for k in range(len(shape)) if k != at)))
        rest = shape_of(x)[1:]
        rows = reshape(trace, x, (shape[at], size_of(rest)))
    found = Distinct(trace, rows, equal_nan, return_index or return_inverse)
    values = found.values()
    if axis is not None:
        values = reshape(trace, values, (shape_of(values)[0], *rest))
        values = transpose(trace, values, (*range(1, at + 1), 0, *range(at + 1, len(shape))))
    if not (return_index or return_inverse or return_counts):
        return values
    answers = [values]
    if return_index:
        answers.append(found.index())
    if return_inverse:
        answers.append(reshape(trace, found.inverse(), shape) if axis is None else found.inverse())
    if return_counts:
        answers.append(found.counts())
    return tuple(answers)


def _several(function: Callable[..., Any], **returns: bool) -> None:
    """The functions of the array API: a named tuple, every nan its own value."""
    kind: Any = type(function(np.zeros(1)))

    @handles(function)
    def several(trace: Trace, x: Any, /) -> Any:
        return kind(*unique(trace, x, equal_nan=False, **returns))


_several(np.unique_all, return_index=True, return_inverse=True, return_counts=True)
_several(np.unique_counts, return_counts=True)
_several(np.unique_inverse, return_inverse=True)


@handles(np.unique_values)
def unique_values(trace: Trace, x: Any, /) -> Any:
    return unique(trace, x, equal_nan=False)


def _pair(trace: Trace, x: Any, y: Any, assume_unique: bool) -> list[Any]:
    found = [flattened(trace, as_array(trace, a)) for a in (x, y)]
    return parts_of(trace, found if assume_unique else [unique(trace, a) for a in found])


@handles(np.union1d)
def union1d(trace: Trace, ar1: Any, ar2: Any) -> Any:
    return unique(trace, join(trace, parts_of(trace, [flattened(trace, as_array(trace, ar1)), flattened(trace, as_array(trace, ar2))]), 0))


@handles(np.intersect1d)
def intersect1d(trace: Trace, ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    first, second = (flattened(trace, as_array(trace, a)) for a in (ar1, ar2))
    places: list[Any] = []
    if not assume_unique:
        pair = [Distinct(trace, a, True, return_indices) for a in (first, second)]
        first, second = (p.values() for p in pair)
        places = [p.index() for p in pair] if return_indices else []
    both = join(trace, parts_of(trace, [first, second]), 0)
    n = shape_of(first)[0]
    if shape_of(both)[0] == 0:
        empty = full(trace, (0,), 0, np.dtype(np.int64))
        return (both, empty, empty) if return_indices else both
    order = call(trace, "argsort", both, axis=0)
    ranked = call(trace, "gather", both, order)
    at = mask_positions(trace, NP.equal(*_parts(trace, ranked)))
    values = call(trace, "gather", ranked, at)
    if not return_indices:
        return values
    left = call(trace, "gather", order, at)
    right = NP.subtract(call(trace, "gather", order, NP.add(at, 1)), n)
    if places:
        left, right = call(trace, "gather", places[0], left), call(trace, "gather", places[1], right)
    return values, left, right


@handles(np.setxor1d)
def setxor1d(trace: Trace, ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    both = join(trace, _pair(trace, ar1, ar2, assume_unique), 0)
    if shape_of(both)[0] == 0:
        return both
    ranked = call(trace, "sort", both, axis=0)
    edge = full(trace, (1,), True, np.dtype(bool))
    differs = join(trace, [edge, NP.not_equal(*_parts(trace, ranked)), edge], 0)
    return call(trace, "gather", ranked, mask_positions(trace, NP.logical_and(*_parts(trace, differs))))


@handles(np.isin)
def isin(trace: Trace, element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None) -> Any:
    """Every element against every test element."""
    x, tests = operand(trace, element), flattened(trace, as_array(trace, test_elements))
    column = reshape(trace, x, (*shape_of(x), 1))
    found = NP.all(NP.not_equal(column, tests), axis=-1) if invert else NP.any(NP.equal(column, tests), axis=-1)
    return as_array(trace, found)


@handles(np.setdiff1d)
def setdiff1d(trace: Trace, ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    first, second = flattened(trace, as_array(trace, ar1)), flattened(trace, as_array(trace, ar2))
    if not assume_unique:
        first = unique(trace, first)
    return call(trace, "gather", first, mask_positions(trace, isin(trace, first, second, invert=True)))
