"""Sorting and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    call,
    cast,
    dtype_of,
    handles,
    handles_method,
    refuse,
    reshape,
    shape_of,
    take_slice,
    transpose,
    unsupported,
)
from irgrad.frontend.trace import Trace


def _along(trace: Trace, a: Any, axis: Any) -> tuple[Any, int]:
    """An array and the axis to sort along; None sorts the flat array."""
    x = as_array(trace, a)
    if axis is None:
        n = 1
        for extent in shape_of(x):
            n *= extent
        return reshape(trace, x, (n,)), 0
    return x, axis_index(axis, len(shape_of(x)))


def _sorter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @handles(function)
    def sorter(trace: Trace, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
        refuse(name, order=order)
        x, at = _along(trace, a, axis)
        return call(trace, name, x, axis=at)

    return sorter


sort = _sorter("sort", np.sort)
argsort = _sorter("argsort", np.argsort)
handles_method("argsort")(argsort)


@handles(np.partition)
def partition(trace: Trace, a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
    """A sorted array is partitioned everywhere."""
    refuse("partition", order=order)
    return sort(trace, a, axis)


@handles(np.median)
def median(trace: Trace, a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    refuse("median", out=out)
    x = as_array(trace, a)
    shape = shape_of(x)
    axes = tuple(sorted(axis_tuple(axis, len(shape))))
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    n = 1
    for i in axes:
        n *= shape[i]
    if n == 0:
        unsupported("median of an empty array", "check the size first")
    rows = reshape(trace, transpose(trace, x, rest + axes), (*(shape[i] for i in rest), n))
    ordered = call(trace, "sort", rows, axis=len(rest))
    if dtype_of(x).kind in "biu":
        ordered = cast(trace, ordered, np.float64)
    last = len(rest)
    low, high = take_slice(trace, ordered, last, (n - 1) // 2, 1, drop=True), take_slice(trace, ordered, last, n // 2, 1, drop=True)
    made = low if n % 2 else cast(trace, apply(trace, "div", np.divide, apply(trace, "add", np.add, low, high), 2.0), dtype_of(ordered))
    if dtype_of(x).kind in "fc":  # nan sorts last
        end = take_slice(trace, ordered, last, n - 1, 1, drop=True)
        made = apply(trace, "where", _like(made), apply(trace, "isnan", np.isnan, end), end, made)
    if keepdims is not NO_VALUE and keepdims:
        made = reshape(trace, made, tuple(1 if i in axes else m for i, m in enumerate(shape)))
    return made


def _like(x: Any) -> Callable[..., Any]:
    """numpy.where with a scalar result where `x` is one."""

    def fn(condition: Any, yes: Any, no: Any) -> Any:
        made = np.where(condition, yes, no)
        return made if isinstance(x.value, np.ndarray) else made[()]

    return fn
