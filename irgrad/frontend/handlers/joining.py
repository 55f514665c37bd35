"""Joining and splitting arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    PUBLIC,
    Shape,
    alias,
    as_array,
    axis_index,
    cast,
    dtype_of,
    exact_axis,
    find_tracer,
    form_of,
    fresh,
    handles,
    join,
    refuse,
    reshape,
    run,
    shape_of,
    shape_tuple,
    take_slice,
    unsupported,
    weak_of,
)
from irgrad.frontend.handlers.shaping import at_least_2d, at_least_3d, flattened, size_of
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer

# ---- joining ----


def parts_of(trace: Trace, arrays: Any, dtype: Any = None) -> list[Any]:
    """The arrays of a sequence (or along the first axis of an array), in their common dtype."""
    if type(arrays) is Tracer or isinstance(arrays, np.ndarray):
        arrays = [arrays[i] for i in range(len(arrays))]
    xs = [as_array(trace, a) for a in arrays]
    if not xs:
        raise ValueError("need at least one array to concatenate")
    target = np.dtype(dtype) if dtype is not None else np.result_type(*[dtype_of(x) for x in xs])
    return [cast(trace, x, target) for x in xs]


def joined(trace: Trace, xs: list[Any], axis: Any) -> Any:
    """Arrays of one dtype joined along an axis, or flat for None."""
    if axis is None:
        xs = [flattened(trace, x) for x in xs]
        return fresh(trace, join(trace, xs, 0), *xs)
    if not all(shape_of(x) for x in xs):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    return fresh(trace, join(trace, xs, axis_index(exact_axis(axis), len(shape_of(xs[0])))), *xs)


@handles(np.concatenate)
def concatenate(trace: Trace, arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    refuse("concatenate", out=out)
    return joined(trace, parts_of(trace, arrays, dtype), axis)


@handles(np.stack)
def stack(trace: Trace, arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    refuse("stack", out=out)
    if isinstance(arrays, (list, tuple)) and arrays and all(type(a) is Tracer and isinstance(a.form, np.generic) for a in arrays):
        target = np.dtype(dtype) if dtype is not None else np.result_type(*[a.form.dtype for a in arrays])
        xs = [cast(trace, a, target) for a in arrays]  # numbers go where they belong at once
    else:
        xs = parts_of(trace, arrays, dtype)
    shape = shape_of(xs[0])
    if any(shape_of(x) != shape for x in xs):
        raise ValueError("all input arrays must have the same shape")
    at = axis_index(axis, len(shape) + 1)
    grown = (*shape[:at], 1, *shape[at:])
    return fresh(trace, join(trace, [reshape(trace, x, grown) for x in xs], at), *xs)


def _stacker(function: Callable[..., Any], grow: Callable[[Shape], Shape], axis: Callable[[Shape], int]) -> None:
    @handles(function)
    def stacked(trace: Trace, tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
        xs = [reshape(trace, x, grow(shape_of(x))) for x in parts_of(trace, tup, dtype)]
        return joined(trace, xs, axis(shape_of(xs[0])))


_stacker(np.vstack, at_least_2d, lambda shape: 0)
_stacker(np.hstack, lambda shape: shape or (1,), lambda shape: 0 if len(shape) == 1 else 1)
_stacker(np.dstack, at_least_3d, lambda shape: 2)


@handles(np.column_stack)
def column_stack(trace: Trace, tup: Any) -> Any:
    xs = parts_of(trace, tup)
    return joined(trace, [x if len(shape_of(x)) >= 2 else reshape(trace, x, (size_of(shape_of(x)), 1)) for x in xs], 1)


@handles(np.append)
def append(trace: Trace, arr: Any, values: Any, axis: Any = None) -> Any:
    return joined(trace, parts_of(trace, [arr, values]), axis)


@handles(np.block)
def block(trace: Trace, arrays: Any) -> Any:
    depth = _list_depth(arrays)
    ndim = max(depth, _leaf_ndim(arrays))
    return _assemble(trace, arrays, depth, ndim)


def _list_depth(item: Any) -> int:
    return 1 + max((_list_depth(i) for i in item), default=0) if isinstance(item, list) else 0


def _leaf_ndim(item: Any) -> int:
    return max((_leaf_ndim(i) for i in item), default=0) if isinstance(item, list) else np.ndim(form_of(item))


def _assemble(trace: Trace, item: Any, depth: int, ndim: int) -> Any:
    if not isinstance(item, list):
        x = as_array(trace, item)
        return reshape(trace, x, (1,) * (ndim - len(shape_of(x))) + shape_of(x))
    parts = [_assemble(trace, i, depth - 1, ndim) for i in item]
    return joined(trace, parts_of(trace, parts), -depth)


# ---- splitting ----


def split_at(trace: Trace, x: Any, cuts: Sequence[int], axis: int) -> list[Any]:
    """Pieces between the cuts, which follow the rules of slices."""
    n = shape_of(x)[axis]
    edges = [slice(a, b).indices(n) for a, b in zip((None, *cuts), (*cuts, None), strict=True)]
    return [alias(take_slice(trace, x, axis, start, max(stop - start, 0))) for start, stop, _ in edges]


def _split(trace: Trace, ary: Any, sections: Any, axis: Any, even: bool) -> list[Any]:
    x = as_array(trace, ary)
    at = axis_index(axis, len(shape_of(x)))
    n = shape_of(x)[at]
    if isinstance(sections, (list, tuple, np.ndarray)) and np.ndim(form_of(sections)) == 1:
        return split_at(trace, x, [operator.index(i) for i in sections], at)
    parts = shape_tuple(sections)[0]
    if parts <= 0:
        raise ValueError("number sections must be larger than 0.")
    if even and n % parts:
        raise ValueError("array split does not result in an equal division")
    small, extra = divmod(n, parts)
    sizes = [small + 1] * extra + [small] * (parts - extra)
    return split_at(trace, x, [sum(sizes[:i]) for i in range(1, parts)], at)


@handles(np.split)
def split(trace: Trace, ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    return _split(trace, ary, indices_or_sections, axis, True)


@handles(np.array_split)
def array_split(trace: Trace, ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    return _split(trace, ary, indices_or_sections, axis, False)


def _splitter(function: Callable[..., Any], axis: int, least: int) -> None:
    @handles(function)
    def split_along(trace: Trace, ary: Any, indices_or_sections: Any) -> list[Any]:
        ndim = np.ndim(form_of(ary))
        if ndim < least:
            raise ValueError(f"{function.__name__} only works on arrays of {least} or more dimensions")
        return _split(trace, ary, indices_or_sections, 0 if axis == 1 and ndim == 1 else axis, True)


_splitter(np.vsplit, 0, 2)
_splitter(np.hsplit, 1, 1)
_splitter(np.dsplit, 2, 3)


@handles(getattr(np, "unstack", None))
def unstack(trace: Trace, x: Any, /, *, axis: Any = 0) -> tuple[Any, ...]:
    x = as_array(trace, x)
    at = axis_index(axis, len(shape_of(x)))
    return tuple([take_slice(trace, x, at, i, 1, drop=True) for i in range(shape_of(x)[at])])


# ---- np.r_ and np.c_ ----


class Joiner:
    """``np.r_[...]`` or ``np.c_[...]``: traced pieces are joined, plain ones are numpy's business."""

    def __init__(self, plain: Any, columns: bool) -> None:
        self.plain = plain
        self.columns = columns

    def __getitem__(self, key: Any) -> Any:
        items = key if isinstance(key, tuple) else (key,)
        found = find_tracer(items)
        if found is None:
            return self.plain[key]
        return run(found._trace, "c_" if self.columns else "r_", self.join, (items,), {})

    def join(self, trace: Trace, items: tuple[Any, ...]) -> Any:
        axis, least, place = (-1, 2, 0) if self.columns else (0, 1, -1)
        if isinstance(items[0], str):
            axis, least, place = _directive(items[0], (axis, least, place))
            items = items[1:]
        if any(isinstance(item, str) for item in items):
            raise ValueError("special directives must be the first entry.")
        pieces = [self.plain[item] if isinstance(item, slice) else item for item in items]
        dtype = np.result_type(*[weak_of(p) if not isinstance(p, (list, tuple)) else dtype_of(as_array(trace, p)) for p in pieces])
        xs = parts_of(trace, pieces, dtype)
        return joined(trace, [_padded(trace, x, least, place) for x in xs], axis)


def _directive(text: str, default: tuple[int, int, int]) -> tuple[int, int, int]:
    """What the first entry says: the axis, the least number of axes, and where the axes of a piece with fewer are put."""
    if text in ("r", "c"):
        unsupported(f"r_[{text!r}, ...], a matrix", "use np.concatenate or np.stack")
    try:
        given = tuple(int(each) for each in text.split(","))
    except ValueError:
        raise ValueError(f"unknown special directive {text!r}") from None
    return (given + default[len(given) :])[:3]  # type: ignore[return-value]


def _padded(trace: Trace, x: Any, least: int, place: int) -> Any:
    """Axes of length one around those of `x`, which begin at `place` (from the end, if it is negative)."""
    shape = shape_of(x)
    more = least - len(shape)
    if more <= 0:
        return x
    if not shape:
        return reshape(trace, x, (1,) * least)
    before = max(0, min(place if place >= 0 else place + more + 1, more))
    return reshape(trace, x, (1,) * before + tuple(shape) + (1,) * (more - before))


PUBLIC[np.r_] = Joiner(np.r_, False)
PUBLIC[np.c_] = Joiner(np.c_, True)
