"""Covariances, interpolation, convolution and polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.frontend.handlers.arranging import flipped, gather_axis
from irgrad.frontend.handlers.contraction import conj, dot
from irgrad.frontend.handlers.core import (
    NP,
    apply,
    as_array,
    axis_tuple,
    call,
    cast,
    dtype_of,
    full,
    handles,
    opaque,
    operand,
    real64,
    reshape,
    shape_of,
    take_slice,
    transpose,
)
from irgrad.frontend.handlers.indexing import plain_places
from irgrad.frontend.handlers.joining import joined, parts_of
from irgrad.frontend.handlers.reduction import average, reduce, total
from irgrad.frontend.handlers.shaping import along, flattened, size_of
from irgrad.frontend.trace import Trace
from irgrad.ops.convolve import with_margin

# ---- covariance ----


@handles(np.cov)
def cov(
    trace: Trace,
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    x = _variables(trace, m, rowvar, dtype)
    if y is not None:
        x = joined(trace, parts_of(trace, [x, _variables(trace, y, rowvar, dtype)]), 0)
    n = shape_of(x)[1]
    less = (0 if bias else 1) if ddof is None else ddof
    weights = _observation_weights(trace, n, fweights, aweights)
    spread = NP.subtract(x, average(trace, x, 1, weights, keepdims=True))
    right = spread if weights is None else NP.multiply(spread, weights)
    made = dot(trace, spread, transpose(trace, conj(trace, right), (1, 0)))
    if weights is None:
        free: Any = max(n - less, 0.0)
    elif less == 0:
        free = NP.sum(weights)
    elif aweights is None:
        free = NP.subtract(NP.sum(weights), less)
    else:
        free = NP.sum(weights)
        free = NP.subtract(
            free, NP.divide(NP.multiply(less, NP.sum(NP.multiply(weights, cast(trace, as_array(trace, aweights), np.float64)))), free)
        )
    made = NP.true_divide(made, free if weights is None else NP.maximum(free, 0.0))
    shape = tuple(k for k in shape_of(made) if k != 1)
    return made if shape == shape_of(made) else call(trace, "reshape", made, shape=shape)


def _observation_weights(trace: Trace, n: int, fweights: Any, aweights: Any) -> Any:
    """Counts times weights, one per observation; None for none. Negative and fractional counts are refused, by a guard where traced."""
    made: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        w = cast(trace, as_array(trace, given), np.float64)
        if len(shape_of(w)) > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if shape_of(w)[0] != n:
            raise RuntimeError(f"incompatible numbers of samples and {name}")
        if bool(NP.any(NP.less(w, 0))):
            raise ValueError(f"{name} cannot be negative")
        if name == "fweights" and bool(NP.any(NP.not_equal(w, NP.round(w)))):
            raise TypeError("fweights must be integer")
        made = w if made is None else NP.multiply(made, w)
    return made


def _variables(trace: Trace, m: Any, rowvar: bool, dtype: Any) -> Any:
    """A matrix with one variable per row, in floating point."""
    x = as_array(trace, m)
    if len(shape_of(x)) > 2:
        raise ValueError("m has more than 2 dimensions")
    x = cast(trace, x, np.result_type(dtype_of(x), np.float64) if dtype is None else dtype)
    if len(shape_of(x)) < 2:
        return reshape(trace, x, (1, size_of(shape_of(x))))
    return x if rowvar or shape_of(x)[0] == 1 else transpose(trace, x, (1, 0))


@handles(np.corrcoef)
def corrcoef(trace: Trace, x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = cov(trace, x, y, rowvar, dtype=dtype)
    if not shape_of(c):
        return apply(trace, "div", np.true_divide, c, c)
    n = shape_of(c)[0]
    variance = take_slice(trace, reshape(trace, c, (n * n,)), 0, 0, n, n + 1)
    if dtype_of(c).kind == "c":
        variance = apply(trace, "real", np.real, variance)
    scale = apply(trace, "sqrt", np.sqrt, variance)
    made = apply(trace, "div", np.true_divide, c, reshape(trace, scale, (n, 1)))
    made = apply(trace, "div", np.true_divide, made, scale)
    if dtype_of(c).kind == "c":
        return made
    return apply(trace, "clip", np.clip, made, -1.0, 1.0)


# ---- interpolation ----


LARGEST_TABLE = 1 << 16  # comparisons beyond which numpy's binary search, a host call, is cheaper


@handles(np.searchsorted, method="searchsorted")
def searchsorted(trace: Trace, a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """The number of entries before each value, counted by comparison with all of them; a host call for large tables."""
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    edges, x = as_array(trace, a), operand(trace, v)
    if len(shape_of(edges)) != 1:
        raise ValueError("object of too small depth for desired array")
    if sorter is not None:
        edges = gather_axis(trace, edges, as_array(trace, sorter), 0)
    if shape_of(edges)[0] * size_of(shape_of(x)) > LARGEST_TABLE:
        return opaque(trace, "searchsorted", edges, x, side=side)
    column = reshape(trace, x, (*shape_of(x), 1))
    name, fn = ("less", np.less) if side == "left" else ("less_equal", np.less_equal)
    below = apply(trace, name, fn, edges, column)
    if dtype_of(x).kind in "fc":  # nan comes after every number
        missing = NP.isnan(column)
        if side == "left":
            missing = NP.logical_and(missing, NP.logical_not(NP.isnan(edges)))
        below = NP.logical_or(below, missing)
    return total(trace, below, -1)


@handles(np.interp)
def interp(trace: Trace, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    x, places, values = real64(trace, x), real64(trace, as_array(trace, xp)), as_array(trace, fp)
    if period is not None:
        x, places, values = _periodic(trace, x, places, values, period)
        left = right = None
    n = shape_of(places)[0]
    if n == 0 or shape_of(values) != (n,):
        raise ValueError("fp and xp are not of the same length." if n else "array of sample points is empty")
    values = values if dtype_of(values).kind == "c" else cast(trace, values, np.float64)
    first, last = (take_slice(trace, values, 0, i, 1, drop=True) for i in (0, n - 1))
    before, after = first if left is None else operand(trace, left), last if right is None else operand(trace, right)
    if n > 1:
        i = apply(trace, "sub", np.subtract, searchsorted(trace, places, x, "right"), 1)
        i = apply(trace, "clip", np.clip, i, 0, n - 2)
        here = [gather_axis(trace, a, i, 0) for a in (places, values)]
        above = apply(trace, "add", np.add, i, 1)
        there = [gather_axis(trace, a, above, 0) for a in (places, values)]
        run, rise = (apply(trace, "sub", np.subtract, b, a) for a, b in zip(here, there, strict=True))
        slope = apply(trace, "div", np.true_divide, rise, run)
        made = apply(trace, "mul", np.multiply, slope, apply(trace, "sub", np.subtract, x, here[0]))
        made = apply(trace, "add", np.add, made, here[1])
    else:
        made = first
    low, high = (take_slice(trace, places, 0, i, 1, drop=True) for i in (0, n - 1))
    made = apply(trace, "where", _where, apply(trace, "equal", np.equal, x, high), last, made)
    made = apply(trace, "where", _where, apply(trace, "greater", np.greater, x, high), after, made)
    return apply(trace, "where", _where, apply(trace, "less", np.less, x, low), before, made)


def _periodic(trace: Trace, x: Any, places: Any, values: Any, period: Any) -> tuple[Any, Any, Any]:
    """Points and a table within one period, the table continued by a point at each end."""
    if bool(NP.equal(period, 0)):
        raise ValueError("period must be a non-zero value")
    period = NP.absolute(period)
    x, places = NP.remainder(cast(trace, x, np.float64), period), NP.remainder(places, period)
    order = NP.argsort(places)
    places, values = gather_axis(trace, places, order, 0), gather_axis(trace, values, order, 0)
    n = shape_of(places)[0]
    first, last = take_slice(trace, places, 0, 0, 1), take_slice(trace, places, 0, n - 1, 1)
    places = NP.concatenate([NP.subtract(last, period), places, NP.add(first, period)])
    return x, places, NP.concatenate([take_slice(trace, values, 0, n - 1, 1), values, take_slice(trace, values, 0, 0, 1)])


def _where(condition: Any, yes: Any, no: Any) -> Any:
    made = np.where(condition, yes, no)
    return made if made.ndim else made[()]


# ---- convolution and polynomials ----


@handles(np.convolve)
def convolve(trace: Trace, a: Any, v: Any, mode: str = "full") -> Any:
    """A correlation with the shorter operand reversed; of integers and bools a product with the matrix of the longer one's windows."""
    xs = parts_of(trace, [a, v])
    x, y = (flattened(trace, p) if len(shape_of(p)) < 1 else p for p in xs)
    if len(shape_of(x)) != 1 or len(shape_of(y)) != 1:
        raise ValueError("object too deep for desired array")
    if shape_of(y)[0] > shape_of(x)[0]:
        x, y = y, x
    n, m = shape_of(x)[0], shape_of(y)[0]
    if m == 0:
        raise ValueError("v cannot be empty" if n else "a cannot be empty")
    low, count = {"full": (m - 1, n + m - 1), "same": ((m - 1) - (m - 1) // 2, n), "valid": (0, n - m + 1)}[mode]
    high = count + m - 1 - n - low
    if np.result_type(dtype_of(x), dtype_of(y)).kind in "fc":
        stacks = (reshape(trace, x, (1, 1, n)), reshape(trace, flipped(trace, y, (0,)), (1, 1, m)))
        return reshape(trace, call(trace, "correlate", *stacks, **with_margin((low,), (high,))), (count,))
    padded = call(trace, "pad", x, dtype_of(x).type(0), low=(low,), high=(high,))
    windows = gather_axis(trace, padded, trace.lift(np.add.outer(np.arange(count), np.arange(m))), 0)
    return call(trace, "dot", windows, flipped(trace, y, (0,)))


@handles(np.correlate)
def correlate(trace: Trace, a: Any, v: Any, mode: str = "valid") -> Any:
    x, y = as_array(trace, a), conj(trace, as_array(trace, v))
    if len(shape_of(x)) != 1 or len(shape_of(y)) != 1:
        raise ValueError("object too deep for desired array")
    made = convolve(trace, x, flipped(trace, y, (0,)), mode if shape_of(y)[0] <= shape_of(x)[0] else "full")
    if shape_of(y)[0] <= shape_of(x)[0] or mode == "full":
        return made
    n, m = shape_of(x)[0], shape_of(y)[0]  # of the longer operand second, numpy takes the window from the other side
    low, count = {"valid": (n - 1, m - n + 1), "same": (n // 2, m)}[mode]
    return take_slice(trace, made, 0, low, count)


@handles(np.polyval)
def polyval(trace: Trace, p: Any, x: Any) -> Any:
    coefficients, x = as_array(trace, p), operand(trace, x)
    made: Any = full(trace, shape_of(x), 0, np.result_type(dtype_of(x)))
    for i in range(shape_of(coefficients)[0]):
        made = apply(trace, "mul", np.multiply, made, x)
        made = apply(trace, "add", np.add, made, take_slice(trace, coefficients, 0, i, 1, drop=True))
    return made


@handles(np.trapezoid)
def trapezoid(trace: Trace, y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    values = as_array(trace, y)
    at = axis_tuple(axis, len(shape_of(values)))[0]
    n = shape_of(values)[at]
    width = operand(trace, dx)
    if x is not None:
        grid = as_array(trace, x)
        along = 0 if len(shape_of(grid)) == 1 else at
        m = shape_of(grid)[along]
        width = apply(trace, "sub", np.subtract, take_slice(trace, grid, along, 1, m - 1), take_slice(trace, grid, along, 0, m - 1))
        if len(shape_of(grid)) == 1:
            width = reshape(trace, width, tuple(m - 1 if i == at else 1 for i in range(len(shape_of(values)))))
    pairs = apply(trace, "add", np.add, take_slice(trace, values, at, 1, n - 1), take_slice(trace, values, at, 0, n - 1))
    areas = apply(trace, "div", np.true_divide, apply(trace, "mul", np.multiply, width, pairs), 2.0)
    return reduce(trace, "reduce_sum", areas, at, False)


@handles(np.delete)
def delete(trace: Trace, arr: Any, obj: Any, axis: Any = None) -> Any:
    x, axis = along(trace, as_array(trace, arr), axis)
    at = axis_tuple(axis, len(shape_of(x)))[0]
    kept = np.delete(np.arange(shape_of(x)[at]), plain_places(trace, obj))
    return gather_axis(trace, x, trace.lift(kept), at)
