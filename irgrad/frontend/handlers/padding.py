"""numpy.pad: every mode. Modes that repeat entries read them by index; the others join computed edges."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.arranging import gather_axis
from irgrad.frontend.handlers.callbacks import call_user
from irgrad.frontend.handlers.core import (
    NP,
    Shape,
    as_array,
    call,
    cast,
    dtype_of,
    handles,
    join,
    operand,
    shape_of,
    take_slice,
    unwrap,
)
from irgrad.frontend.storage import identity
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import INDEXING, Tracer

_KEYWORDS = {
    "constant": "constant_values", "linear_ramp": "end_values", "maximum": "stat_length", "mean": "stat_length", "median": "stat_length",
    "minimum": "stat_length", "reflect": "reflect_type", "symmetric": "reflect_type", "edge": "", "wrap": "", "empty": "",
}  # fmt: skip


@handles(np.pad)
def pad(trace: Trace, array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    x = as_array(trace, array)
    widths = _pairs(trace, pad_width, len(shape_of(x)))
    if callable(mode):
        return _by_function(trace, x, widths, mode, kwargs)
    if mode not in _KEYWORDS:
        raise ValueError(f"mode '{mode}' is not supported")
    unknown = set(kwargs) - {_KEYWORDS[mode]}
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    if mode in ("constant", "empty"):
        return _constant(trace, x, widths, kwargs.get("constant_values", 0))
    odd = kwargs.get("reflect_type", "even") == "odd"
    if mode in ("edge", "wrap") or (mode in ("reflect", "symmetric") and not odd):
        for axis, (low, high) in enumerate(widths):
            if low or high:
                places = np.pad(np.arange(shape_of(x)[axis]), (low, high), mode)
                x = gather_axis(trace, x, trace.lift(places), axis)
        return x if type(x) is not Tracer else NP.copy(x)
    if mode in ("reflect", "symmetric"):
        return _odd(trace, x, widths, mode)
    if mode == "linear_ramp":
        return _ramp(trace, x, widths, kwargs.get("end_values", 0))
    return _statistic(trace, x, widths, mode, kwargs.get("stat_length"))


def _by_function(trace: Trace, x: Any, widths: list[tuple[int, int]], function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Zeros around `x`; the user's function writes into them, one row of each axis after the other."""
    padded = _constant(trace, x, widths, 0)
    padded = padded if type(padded) is Tracer else identity(trace, padded)
    for axis, pair in enumerate(widths):
        rows = NP.moveaxis(padded, axis, -1)
        for place in np.ndindex(*shape_of(rows)[:-1]):
            call_user(trace, function, INDEXING["get"](rows, place), np.array(pair), axis, options)
    return padded


def _pairs(trace: Trace, given: Any, ndim: int) -> list[tuple[int, int]]:
    """Low and high width of each axis."""
    if isinstance(given, dict):
        table = [(0, 0)] * ndim
        for axis, width in given.items():
            table[axis] = (width, width) if isinstance(width, int) else tuple(width)
        given = table
    plain = np.asarray(unwrap(given) if type(given) is not Tracer else operator.index(given))
    if plain.dtype.kind not in "iu":
        raise TypeError("`pad_width` must be of integral type.")
    rows = np.broadcast_to(plain, (ndim, 2)).tolist()
    if any(n < 0 for pair in rows for n in pair):
        raise ValueError("index can't contain negative values")
    return [(low, high) for low, high in rows]


def _both_sides(trace: Trace, values: Any, ndim: int) -> Callable[[int, int], Any]:
    """The value of an axis and a side in numpy's short forms."""
    if np.ndim(unwrap(values)) == 0:
        single = operand(trace, values)
        return lambda axis, side: single
    table = NP.broadcast_to(as_array(trace, values), (ndim, 2))
    if type(table) is not Tracer:
        return lambda axis, side: table[axis, side]
    return lambda axis, side: take_slice(trace, take_slice(trace, table, 0, axis, 1, drop=True), 0, side, 1, drop=True)


def _constant(trace: Trace, x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    low, high = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
    value_at = _both_sides(trace, values, len(widths))
    if widths and np.ndim(unwrap(values)) == 0:
        return call(trace, "pad", x, cast(trace, value_at(0, 0), dtype_of(x)), low=low, high=high)
    zero = (0,) * len(widths)
    for axis in range(len(widths)):  # later axes fill the corners, as in numpy
        for side, amounts in enumerate((low, high)):
            if amounts[axis]:
                only = tuple(n if i == axis else 0 for i, n in enumerate(amounts))
                value = cast(trace, value_at(axis, side), dtype_of(x))
                x = call(trace, "pad", x, value, low=zero if side else only, high=only if side else zero)
    return NP.copy(x)


def _with_edges(trace: Trace, x: Any, axis: int, before: Any, after: Any) -> Any:
    parts = [cast(trace, p, dtype_of(x)) for p in (before, x, after) if p is not None]
    return join(trace, parts, axis)


def _rounded(trace: Trace, edge: Any, dtype: np.dtype[Any]) -> Any:
    """Computed edges of whole numbers are rounded to the nearest."""
    return cast(trace, NP.round(edge) if dtype.kind in "iu" and dtype_of(edge).kind == "f" else edge, dtype)


def _along(shape: Shape, axis: int, n: int) -> Shape:
    return tuple(n if i == axis else m for i, m in enumerate(shape))


def _statistic(trace: Trace, x: Any, widths: list[tuple[int, int]], mode: str, length: Any) -> Any:
    function = getattr(NP, {"maximum": "max", "minimum": "min"}.get(mode, mode))
    ndim = len(widths)
    lengths = None if length is None else np.broadcast_to(np.asarray(length), (ndim, 2)).tolist()
    for axis, pair in enumerate(widths):
        n = shape_of(x)[axis]
        edges: list[Any] = [None, None]
        for side, width in enumerate(pair):
            count = n if lengths is None else min(n, lengths[axis][side])
            if count == 0 and mode in ("maximum", "minimum"):
                raise ValueError("stat_length of 0 yields no value for padding")
            part = take_slice(trace, x, axis, n - count if side else 0, count)
            value = _rounded(trace, function(part, axis=axis, keepdims=True), dtype_of(x))
            edges[side] = NP.broadcast_to(value, _along(shape_of(x), axis, width)) if width else None
        x = _with_edges(trace, x, axis, *edges)
    return x if any(map(any, widths)) else NP.copy(x)


def _ramp(trace: Trace, x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    value_at = _both_sides(trace, values, len(widths))
    for axis, pair in enumerate(widths):
        n = shape_of(x)[axis]
        edges: list[Any] = [None, None]
        for side, width in enumerate(pair):
            if not width:
                continue
            edge = take_slice(trace, x, axis, n - 1 if side else 0, 1, drop=True)
            ramp = NP.linspace(value_at(axis, side), edge, width, endpoint=False, axis=axis)
            ramp = cast(trace, NP.trunc(ramp), dtype_of(x)) if dtype_of(x).kind in "iu" else cast(trace, ramp, dtype_of(x))
            edges[side] = NP.flip(ramp, axis) if side else ramp
        x = _with_edges(trace, x, axis, *edges)
    return x if any(map(any, widths)) else NP.copy(x)


def _odd(trace: Trace, x: Any, widths: list[tuple[int, int]], mode: str) -> Any:
    """Reflected through the edge value: each round of reflection moves on from the edge of the one before."""
    skip = 1 if mode == "reflect" else 0
    for axis, (low, high) in enumerate(widths):
        n = shape_of(x)[axis]
        if n == 1 and mode == "reflect":
            x = gather_axis(trace, x, trace.lift(np.zeros(low + 1 + high, np.int64)), axis)
            continue
        made, left, right = x, low, high
        while left or right:
            size = shape_of(made)[axis]
            period = n - skip if size == n else size - skip
            before = _mirror(trace, made, axis, min(left, period), skip, False) if left else None
            after = _mirror(trace, made, axis, min(right, period), skip, True) if right else None
            left, right = left - min(left, period), right - min(right, period)
            made = _with_edges(trace, made, axis, before, after)
        x = made
    return x if any(map(any, widths)) else NP.copy(x)


def _mirror(trace: Trace, x: Any, axis: int, width: int, skip: int, is_end: bool) -> Any:
    n = shape_of(x)[axis]
    edge = take_slice(trace, x, axis, n - 1 if is_end else 0, 1)
    start = n - skip - width if is_end else skip
    return NP.subtract(NP.multiply(2, edge), NP.flip(take_slice(trace, x, axis, start, width), axis))
