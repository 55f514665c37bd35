"""Quantiles: entries of sorted rows, or points between two of them."""

from __future__ import annotations

import inspect
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
    form_of,
    handles,
    refuse,
    reshape,
    shape_of,
    take_slice,
    transpose,
    unwrap,
)
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer

_PLOTTING = {  # alpha and beta of Hyndman and Fan (1996)
    "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0), "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip
ENTRIES = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")  # methods whose results are entries themselves


class Rows:
    """An array with the reduced axes last, as one, and sorted along it (nan last)."""

    def __init__(self, trace: Trace, a: Any, axis: Any, wide: bool = True, real: bool = True) -> None:
        x = as_array(trace, a)
        if real and dtype_of(x).kind == "c":
            raise TypeError("a must be an array of real numbers")
        self.shape = shape = shape_of(x)
        self.axes = axes = tuple(sorted(axis_tuple(axis, len(shape))))
        rest = tuple(i for i in range(len(shape)) if i not in axes)
        self.size = n = size_of([shape[i] for i in axes])
        self.order = rest + axes
        rows = reshape(trace, transpose(trace, x, self.order), (*(shape[i] for i in rest), n))
        self.rows = rows if not wide or dtype_of(x).kind in "fc" else cast(trace, rows, np.float64)
        self.last = len(rest)
        self.ordered = call(trace, "sort", self.rows, axis=self.last)


def shaped(trace: Trace, rows: Rows, made: Any, keepdims: bool) -> Any:
    """A result of rows, with the reduced axes if they are kept."""
    return reshape(trace, made, tuple(1 if i in rows.axes else n for i, n in enumerate(rows.shape))) if keepdims else made


def levels_of(trace: Trace, q: Any) -> list[Any]:
    """The levels one by one: plain numbers, or traced ones. Whether they are in range is guarded.

    Raises ValueError for one that is not.
    """
    if find_tracer((q,)) is None:
        plain = np.asarray(q, float)
        if not np.all((plain >= 0) & (plain <= 1)):
            raise ValueError("Quantiles must be in the range [0, 1]")
        return [float(level) for level in plain.ravel()]
    if not bool(NP.all(NP.logical_and(NP.greater_equal(q, 0), NP.less_equal(q, 1)))):
        raise ValueError("Quantiles must be in the range [0, 1]")
    flat = as_array(trace, q)
    flat = flattened(trace, flat)
    return [take_slice(trace, flat, 0, i, 1, drop=True) for i in range(shape_of(flat)[0])]


def stacked(trace: Trace, rows: Rows, q: Any, made: list[Any], keepdims: bool, method: str) -> Any:
    """The results of all levels as one, in numpy's dtype: a level that is a plain number does not widen it."""
    level = unwrap(q)
    dtype = dtype_of(rows.ordered)
    if method not in ENTRIES and type(level) not in (int, float):
        dtype = np.result_type(dtype, np.asarray(level, None if np.size(level) else float).dtype)
    shape = shape_of(rows.ordered)[:-1]
    made = [shaped(trace, rows, cast(trace, m, dtype), keepdims) for m in made]
    if not np.ndim(level):
        return made[0]
    kept = shape_of(made[0]) if made else shape
    return reshape(trace, NP.stack(made) if made else NP.zeros((0,), dtype), (*np.shape(level), *kept))


def place_of(method: str, level: Any, count: Any) -> Any:
    """The place in a sorted row of `count` entries, by numpy's formula of a method (Hyndman and Fan 1996).

    Raises ValueError for a method that does not exist.
    """
    last = NP.subtract(count, 1)
    if method == "linear":
        return NP.multiply(level, last)
    if method == "midpoint":
        place = NP.multiply(level, last)
        return NP.multiply(0.5, NP.add(NP.floor(place), NP.ceil(place)))
    if method in ("lower", "higher", "nearest"):
        return {"lower": NP.floor, "higher": NP.ceil, "nearest": NP.round}[method](NP.multiply(level, last))
    if method in _PLOTTING:
        alpha, beta = _PLOTTING[method]
        shift = NP.add(alpha, NP.multiply(level, 1 - alpha - beta))
        return NP.clip(NP.subtract(NP.add(NP.multiply(count, level), shift), 1), 0, last)
    place = NP.subtract(NP.multiply(count, level), 1)
    if method == "inverted_cdf":
        return NP.clip(NP.ceil(place), 0, last)
    if method == "averaged_inverted_cdf":
        whole = NP.equal(place, NP.floor(place))
        return NP.clip(NP.where(whole, NP.add(NP.floor(place), 0.5), NP.ceil(place)), 0, last)
    if method == "closest_observation":
        place = NP.subtract(place, 0.5)
        before = NP.floor(place)
        stays = NP.logical_and(NP.equal(place, before), NP.equal(NP.remainder(before, 2), 1))
        return NP.clip(NP.where(stays, before, NP.add(before, 1)), 0, last)
    raise ValueError(f"{method!r} is not a valid method. Use one of: {[*_PLOTTING, *ENTRIES, 'averaged_inverted_cdf', 'midpoint']}")


def share(q: Any) -> Any:
    """Percent as a part of one; plain ones stay plain."""
    if find_tracer((q,)) is None:
        return q / 100 if type(q) in (int, float) else np.true_divide(q, 100)
    return NP.true_divide(q, 100)


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
    """Differentiable by `a` and by `q`, in which the methods that answer entries are constant; weights, which have no derivative,
    with method inverted_cdf.
    """
    refuse("quantile", out=out)
    rows = Rows(trace, a, axis, method not in ENTRIES)
    levels = levels_of(trace, q)
    if rows.size == 0:
        raise IndexError("index -1 is out of bounds for axis 0 with size 0")
    if weights is not None:
        made = weighted(trace, rows, as_array(trace, weights), levels, axis, method, q)
        made = [or_nan(trace, rows, m) for m in made]
    else:
        wide = type(form_of(q)) not in (int, float)
        made = [_level(trace, rows, level, method, wide) for level in levels]
    return stacked(trace, rows, q, made, bool(keepdims), method)


def _level(trace: Trace, rows: Rows, level: Any, method: str, wide: bool) -> Any:
    if type(level) is not Tracer:
        # the sorted row 0, 1, ... shows where numpy's method looks
        if method in ENTRIES:
            entry = int(_probe(rows.size, level, method))
            return or_nan(trace, rows, take_slice(trace, rows.ordered, rows.last, entry, 1, drop=True))
        place = float(level) * (rows.size - 1) if method == "linear" else _probe(rows.size, level, method)
        return _at(trace, rows, place, np.float64 if wide else float)
    place = place_of(method, level, rows.size)
    if method in ENTRIES:
        return or_nan(trace, rows, _taken(trace, rows, cast(trace, place, np.int64)))
    below = NP.clip(NP.floor(place), 0, max(rows.size - 2, 0))
    weight = NP.subtract(place, below)
    index = cast(trace, below, np.int64)
    low = _taken(trace, rows, index)
    high = _taken(trace, rows, NP.minimum(NP.add(index, 1), rows.size - 1))
    rise = NP.subtract(high, low)
    near = NP.add(low, NP.multiply(rise, weight))
    far = NP.subtract(high, NP.multiply(rise, NP.subtract(1, weight)))
    return or_nan(trace, rows, NP.where(NP.less(weight, 0.5), near, far) if shape_of(near) else _scalar_where(trace, weight, near, far))


def _scalar_where(trace: Trace, weight: Any, near: Any, far: Any) -> Any:
    return apply(trace, "where", _where, NP.less(weight, 0.5), near, far)


def _taken(trace: Trace, rows: Rows, index: Any) -> Any:
    return NP.take(rows.ordered, index, axis=rows.last)


def _probe(n: int, level: float, method: str) -> float:
    return float(np.quantile(np.arange(n, dtype=float), level, method=method))  # type: ignore[call-overload]


def _at(trace: Trace, rows: Rows, place: float, number: type[float]) -> Any:
    """The value at a fractional place of the last, sorted axis; nan where the axis has one (it sorts last).

    `number` is the type of the weights: numpy's levels widen single precision, Python's do not.
    """
    ordered, last, n = rows.ordered, rows.last, rows.size
    below = int(np.floor(place))
    weight = number(place - below)
    low = take_slice(trace, ordered, last, below, 1, drop=True)
    high = take_slice(trace, ordered, last, min(below + 1, n - 1), 1, drop=True)
    rise = apply(trace, "sub", np.subtract, high, low)
    if weight < 0.5:  # numpy's lerp
        made = apply(trace, "add", np.add, low, apply(trace, "mul", np.multiply, rise, weight))
    else:
        made = apply(trace, "sub", np.subtract, high, apply(trace, "mul", np.multiply, rise, number(1 - weight)))
    return or_nan(trace, rows, made)


def or_nan(trace: Trace, rows: Rows, made: Any) -> Any:
    if dtype_of(rows.ordered).kind not in "fc":
        return made
    end = take_slice(trace, rows.ordered, rows.last, rows.size - 1, 1, drop=True)
    return apply(trace, "where", _where, apply(trace, "isnan", np.isnan, end), end, made)


def _where(missing: Any, yes: Any, no: Any) -> Any:
    chosen = np.where(missing, yes, no)
    return chosen if chosen.ndim or isinstance(no, np.ndarray) else chosen[()]


def weighted(trace: Trace, rows: Rows, weights: Any, levels: list[Any], axis: Any, method: str, q: Any, missing: Any = None) -> list[Any]:
    """The first entry at which the running share of the weights reaches the level; entries that are `missing` have no weight.

    Raises ValueError for weights that are negative or all zero, which is guarded.
    """
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    if shape_of(weights) != rows.shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        given = axis_tuple(axis, len(rows.shape))
        if shape_of(weights) != tuple(rows.shape[i] for i in given):
            raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
        weights = transpose(trace, weights, sorted(range(len(given)), key=given.__getitem__))
        weights = reshape(trace, weights, tuple(n if i in rows.axes else 1 for i, n in enumerate(rows.shape)))
        weights = NP.broadcast_to(weights, rows.shape)
    if bool(NP.any(NP.less(weights, 0))):
        raise ValueError("Weights must be non-negative.")
    flat = reshape(trace, transpose(trace, weights, rows.order), shape_of(rows.rows))
    if missing is not None:
        flat = NP.where(missing, 0, flat)
    order = call(trace, "argsort", rows.rows, axis=rows.last)
    share = NP.cumsum(NP.take_along_axis(flat, order, axis=-1), axis=-1, dtype=np.float64)
    whole = take_slice(trace, share, rows.last, rows.size - 1, 1)
    usable = NP.logical_and(NP.greater(whole, 0), NP.isfinite(whole))
    if missing is not None:
        usable = NP.logical_or(usable, NP.all(missing, axis=-1, keepdims=True))
    if not bool(NP.all(usable)):
        raise ValueError("Weights included NaN, inf or were all zero.")
    share = NP.divide(share, whole)
    if dtype_of(q).kind == "f":  # as numpy compares
        share = cast(trace, share, dtype_of(q))
    share = NP.where(NP.equal(share, 0), -1.0, share)  # level 0 is the first entry that has weight
    made = []
    for level in levels:
        place = NP.minimum(NP.sum(NP.less(share, level), axis=-1, keepdims=True), rows.size - 1)
        picked = NP.take_along_axis(rows.ordered, place, axis=-1)
        made.append(reshape(trace, picked, shape_of(picked)[:-1]))  # where nothing is left an array of no axes, as in numpy
    return made


def in_percent(function: Callable[..., Any], by_share: Callable[..., Any]) -> None:
    """Register `function` as `by_share` with levels in percent."""
    names = [name for name in inspect.signature(by_share).parameters if name != "trace"]

    @handles(function)
    def percentile(trace: Trace, a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        for unknown in kwargs.keys() - set(names):
            raise TypeError(f"{function.__name__}() got an unexpected keyword argument {unknown!r}")
        if len(args) > len(names) - 3:
            raise TypeError(f"{function.__name__}() takes from 2 to {len(names) - 1} positional arguments but {len(args) + 2} were given")
        try:
            return by_share(trace, a, share(q), *args, **kwargs)
        except ValueError as error:
            if str(error).startswith("Quantiles"):
                raise ValueError("Percentiles must be in the range [0, 100]") from error
            raise

    percentile.__doc__ = f"As `{by_share.__name__}`, with levels in percent."


in_percent(np.percentile, quantile)
