"""Sorting and what follows from it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    NP,
    Shape,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    call,
    cast,
    dtype_of,
    handles,
    handles_method,
    opaque,
    refuse,
    reshape,
    shape_of,
    take_slice,
    transpose,
    unwrap,
)
from irgrad.frontend.handlers.joining import unstack
from irgrad.frontend.handlers.reduction import mean
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.installed import sorts_descending
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer


def _along(trace: Trace, name: str, a: Any, axis: Any) -> tuple[Any, int]:
    """An array and the axis to sort along; None sorts the flat array."""
    x = as_array(trace, a)
    if axis is None:
        n = 1
        for extent in shape_of(x):
            n *= extent
        return reshape(trace, x, (n,)), 0
    if name == "argsort" and not shape_of(x):  # one entry, where sort has no axis to sort along
        x = reshape(trace, x, (1,))
    return x, axis_index(axis, len(shape_of(x)))


def is_descending(name: str, given: Any) -> bool:
    """The option of `np.sort` and `np.argsort`. Raises TypeError where the installed numpy does not know it."""
    if given is not NO_VALUE and not sorts_descending():
        raise TypeError(f"{name}() got an unexpected keyword argument 'descending'")
    return given is not NO_VALUE and bool(given)


def mirrored(trace: Trace, x: Any) -> Any:
    """What is in descending order where `x` is in ascending: nan is last in both. Its own inverse."""
    return apply(trace, "neg", np.negative, x) if dtype_of(x).kind in "fc" else apply(trace, "invert", np.invert, x)


def ordered(trace: Trace, name: str, x: Any, axis: int, descending: bool) -> Any:
    """`sort` or `argsort` along an axis."""
    if not descending:
        return call(trace, name, x, axis=axis)
    made = call(trace, name, mirrored(trace, x), axis=axis)
    return made if name == "argsort" else mirrored(trace, made)


def _sorter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @handles(function)
    def sorter(
        trace: Trace, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None, descending: Any = NO_VALUE
    ) -> Any:
        refuse(name, order=order)
        x, at = _along(trace, name, a, axis)
        return ordered(trace, name, x, at, is_descending(name, descending))

    return sorter


sort = _sorter("sort", np.sort)
argsort = _sorter("argsort", np.argsort)
handles_method("argsort")(argsort)


def lexsorted(trace: Trace, keys: Sequence[Any]) -> Any:
    """The order by the last of flat keys, then the one before it, ...: stable sorts by one key after the other."""
    order = call(trace, "argsort", keys[0], axis=0)
    for key in keys[1:]:
        order = call(trace, "gather", order, call(trace, "argsort", call(trace, "gather", key, order), axis=0))
    return order


@handles(np.lexsort)
def lexsort(trace: Trace, keys: Any, axis: Any = -1) -> Any:
    rows = [
        as_array(trace, key) for key in (keys if isinstance(keys, (list, tuple)) and type(keys) is not Tracer else unstack(trace, keys))
    ]
    if not rows:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    shape = shape_of(rows[0])
    if any(shape_of(row) != shape for row in rows):
        raise ValueError("all keys need to be the same shape")
    if not shape:
        return take_slice(trace, call(trace, "argsort", reshape(trace, rows[0], (1,)), axis=0), 0, 0, 1, drop=True)
    at = axis_index(axis, len(shape))
    order = call(trace, "argsort", rows[0], axis=at)
    for row in rows[1:]:
        again = call(trace, "argsort", NP.take_along_axis(row, order, axis=at), axis=at)
        order = NP.take_along_axis(order, again, axis=at)
    return order


@handles(np.argpartition)
def argpartition(trace: Trace, a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """numpy's own, so that the order inside the parts is numpy's."""
    refuse("argpartition", order=order)
    x = as_array(trace, a)
    return opaque(trace, "argpartition", x, kth=_whole(kth), axis=axis)


def _whole(kth: Any) -> Any:
    return tuple(operator.index(k) for k in kth) if np.ndim(unwrap(kth)) else operator.index(kth)


handles_method("argpartition")(argpartition)


@handles(np.sort_complex)
def sort_complex(trace: Trace, a: Any) -> Any:
    made = sort(trace, as_array(trace, a))
    if dtype_of(made).kind == "c":
        return made
    return cast(trace, made, np.complex64 if dtype_of(made).char in "bhBH" else np.complex128)


@handles(np.partition)
def partition(trace: Trace, a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
    """A sorted copy, which is partitioned at every place: entries at `kth` are where sorting has them, smaller ones before and larger
    ones behind. numpy promises no more, and its order inside the parts differs. The derivative goes to the entries that were moved.
    """
    refuse("partition", order=order)
    check_kth(shape_of(a), kth, axis)
    return sort(trace, a, axis)


def check_kth(shape: Shape, kth: Any, axis: Any) -> None:
    """Raise numpy's errors for places that `partition` cannot take, by partitioning zeros."""
    n = shape[axis_index(axis, len(shape))] if axis is not None and shape else size_of(shape)
    np.partition(np.zeros(n), _whole(kth))


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
        return mean(trace, x, axis, keepdims=keepdims)
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
        return made if isinstance(x.form, np.ndarray) else made[()]

    return fn
