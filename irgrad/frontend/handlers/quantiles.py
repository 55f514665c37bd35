"""Quantiles: entries of sorted rows, or points between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NP,
    apply,
    as_array,
    axis_tuple,
    call,
    cast,
    dtype_of,
    find_tracer,
    handles,
    refuse,
    reshape,
    shape_of,
    take_slice,
    transpose,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer

_PLOTTING = {  # alpha and beta of Hyndman and Fan (1996)
    "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0), "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip
_DISCRETE = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")  # entries themselves


class Rows:
    """An array with the reduced axes last, as one, and sorted along it (nan last)."""

    def __init__(self, trace: Trace, a: Any, axis: Any) -> None:
        x = as_array(trace, a)
        self.shape = shape = shape_of(x)
        self.axes = axes = tuple(sorted(axis_tuple(axis, len(shape))))
        rest = tuple(i for i in range(len(shape)) if i not in axes)
        self.size = n = size_of([shape[i] for i in axes])
        self.order = rest + axes
        rows = reshape(trace, transpose(trace, x, self.order), (*(shape[i] for i in rest), n))
        self.rows = rows if dtype_of(x).kind in "fc" else cast(trace, rows, np.float64)
        self.last = len(rest)
        self.ordered = call(trace, "sort", self.rows, axis=self.last)


def shaped(trace: Trace, rows: Rows, made: Any, keepdims: bool) -> Any:
    """A result of rows, with the reduced axes if they are kept."""
    return reshape(trace, made, tuple(1 if i in rows.axes else n for i, n in enumerate(rows.shape))) if keepdims else made


def levels_of(trace: Trace, q: Any) -> list[Any]:
    """The levels one by one: plain numbers, or traced ones."""
    if find_tracer((q,)) is None:
        return [float(level) for level in np.asarray(q, float).ravel()]
    flat = as_array(trace, q)
    flat = reshape(trace, flat, (size_of(shape_of(flat)),))
    return [take_slice(trace, flat, 0, i, 1, drop=True) for i in range(shape_of(flat)[0])]


def plain_place(method: str, level: Any, count: Any) -> Any:
    """The place in a sorted row of `count` entries by the formula of a continuous method.

    Raises UnsupportedError for another one.
    """
    if method in ("lower", "higher", "midpoint"):
        place = NP.multiply(level, NP.subtract(count, 1))
        if method == "lower":
            return NP.floor(place)
        if method == "higher":
            return NP.ceil(place)
        return NP.multiply(0.5, NP.add(NP.floor(place), NP.ceil(place)))
    if method not in _PLOTTING:
        unsupported(f"quantile(method={method!r}) here", "use linear or another continuous method")
    alpha, beta = _PLOTTING[method]
    if method == "linear":
        return NP.multiply(level, NP.subtract(count, 1))
    shift = NP.add(alpha, NP.multiply(level, 1 - alpha - beta))
    return NP.clip(NP.subtract(NP.add(NP.multiply(count, level), shift), 1), 0, NP.subtract(count, 1))


def share(q: Any) -> Any:
    """Percent as a part of one; plain ones stay plain."""
    return np.true_divide(q, 100) if find_tracer((q,)) is None else NP.true_divide(q, 100)


@handles(np.quantile)
def quantile(
    trace: Trace,
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """Any method of numpy for plain levels, the continuous ones for traced levels; weights with method inverted_cdf."""
    refuse("quantile", out=out)
    levels = levels_of(trace, q)
    concrete = np.asarray(unwrap(q), float)
    inside = (concrete >= 0) & (concrete <= 1) if find_tracer((q,)) is None else NP.logical_and(NP.greater_equal(q, 0), NP.less_equal(q, 1))
    if not bool(NP.all(inside)):
        raise ValueError("Quantiles must be in the range [0, 1]")
    rows = Rows(trace, a, axis)
    if rows.size == 0:
        unsupported("quantile of an empty array", "check the size first")
    if weights is not None:
        made = _weighted(trace, rows, as_array(trace, weights), levels, axis, method)
    else:
        made = [_level(trace, rows, level, method) for level in levels]
    made = [shaped(trace, rows, m, bool(keepdims)) for m in made]
    if not concrete.ndim:
        return made[0]
    return reshape(trace, NP.stack(made) if made else NP.zeros((0,)), (*concrete.shape, *(shape_of(made[0]) if made else ())))


def _level(trace: Trace, rows: Rows, level: Any, method: str) -> Any:
    if type(level) is not Tracer:
        # the sorted row 0, 1, ... shows where numpy's method looks
        if method in _DISCRETE:
            place = int(_probe(rows.size, level, method))
            return _or_nan(trace, rows, take_slice(trace, rows.ordered, rows.last, place, 1, drop=True))
        return _at(trace, rows, float(level) * (rows.size - 1) if method == "linear" else _probe(rows.size, level, method))
    place = plain_place(method, level, rows.size)
    below = NP.clip(NP.floor(place), 0, max(rows.size - 2, 0))
    weight = NP.subtract(place, below)
    index = cast(trace, below, np.int64)
    low = _taken(trace, rows, index)
    high = _taken(trace, rows, NP.minimum(NP.add(index, 1), rows.size - 1))
    rise = NP.subtract(high, low)
    near = NP.add(low, NP.multiply(rise, weight))
    far = NP.subtract(high, NP.multiply(rise, NP.subtract(1, weight)))
    return _or_nan(trace, rows, NP.where(NP.less(weight, 0.5), near, far) if shape_of(near) else _scalar_where(trace, weight, near, far))


def _scalar_where(trace: Trace, weight: Any, near: Any, far: Any) -> Any:
    return apply(trace, "where", _where, NP.less(weight, 0.5), near, far)


def _taken(trace: Trace, rows: Rows, index: Any) -> Any:
    return NP.take(rows.ordered, index, axis=rows.last)


def _probe(n: int, level: float, method: str) -> float:
    return float(np.quantile(np.arange(n, dtype=float), level, method=method))  # type: ignore[call-overload]


def _at(trace: Trace, rows: Rows, place: float) -> Any:
    """The value at a fractional place of the last, sorted axis; nan where the axis has one (it sorts last)."""
    ordered, last, n = rows.ordered, rows.last, rows.size
    below = int(np.floor(place))
    weight = place - below
    low = take_slice(trace, ordered, last, below, 1, drop=True)
    high = take_slice(trace, ordered, last, min(below + 1, n - 1), 1, drop=True)
    rise = apply(trace, "sub", np.subtract, high, low)
    if weight < 0.5:  # numpy's lerp
        made = apply(trace, "add", np.add, low, apply(trace, "mul", np.multiply, rise, weight))
    else:
        made = apply(trace, "sub", np.subtract, high, apply(trace, "mul", np.multiply, rise, 1 - weight))
    return _or_nan(trace, rows, made)


def _or_nan(trace: Trace, rows: Rows, made: Any) -> Any:
    if dtype_of(rows.ordered).kind not in "fc":
        return made
    end = take_slice(trace, rows.ordered, rows.last, rows.size - 1, 1, drop=True)
    return apply(trace, "where", _where, apply(trace, "isnan", np.isnan, end), end, made)


def _where(missing: Any, yes: Any, no: Any) -> Any:
    chosen = np.where(missing, yes, no)
    return chosen if chosen.ndim else chosen[()]


def _weighted(trace: Trace, rows: Rows, weights: Any, levels: list[Any], axis: Any, method: str) -> list[Any]:
    """The first entry at which the running share of the weights reaches the level. Weights have no derivative."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    if shape_of(weights) != rows.shape:
        if axis is None or shape_of(weights) != tuple(rows.shape[i] for i in axis_tuple(axis, len(rows.shape))):
            raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
        given = axis_tuple(axis, len(rows.shape))
        weights = transpose(trace, weights, sorted(range(len(given)), key=given.__getitem__))
        weights = reshape(trace, weights, tuple(n if i in rows.axes else 1 for i, n in enumerate(rows.shape)))
        weights = NP.broadcast_to(weights, rows.shape)
    if bool(NP.any(NP.less(weights, 0))):
        raise ValueError("Weights must be non-negative.")
    flat = reshape(trace, transpose(trace, weights, rows.order), shape_of(rows.rows))
    order = call(trace, "argsort", rows.rows, axis=rows.last)
    share = NP.cumsum(NP.take_along_axis(flat, order, axis=-1), axis=-1, dtype=np.float64)
    share = NP.divide(share, take_slice(trace, share, rows.last, rows.size - 1, 1))
    share = NP.where(NP.equal(share, 0), -1.0, share)  # level 0 is the first entry that has weight
    made = []
    for level in levels:
        place = NP.minimum(NP.sum(NP.less(share, level), axis=-1, keepdims=True), rows.size - 1)
        picked = NP.take_along_axis(rows.ordered, place, axis=-1)
        made.append(_or_nan(trace, rows, take_slice(trace, picked, rows.last, 0, 1, drop=True)))
    return made


def in_percent(function: Callable[..., Any], by_share: Callable[..., Any]) -> None:
    """Register `function` as `by_share` with levels in percent."""

    @handles(function)
    def percentile(trace: Trace, a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        return by_share(trace, a, share(q), *args, **kwargs)


in_percent(np.percentile, quantile)
