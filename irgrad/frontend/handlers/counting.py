"""Counting: bins, histograms, digitize. Counts have no derivative; edges and weights have one."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.bin_widths import WIDTHS, estimated
from irgrad.frontend.handlers.core import (
    NP,
    as_array,
    call,
    cast,
    dtype_of,
    form_of,
    full,
    handles,
    operand,
    real64,
    reshape,
    shape_of,
)
from irgrad.frontend.handlers.joining import unstack
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.trace import Trace


def _counted(trace: Trace, places: Any, weights: Any, count: int) -> Any:
    """Sums of weights (or ones) by place."""
    if weights is None:
        weights = full(trace, shape_of(places), 1, np.dtype(np.int64))
    return call(trace, "scatter_add", full(trace, (count,), 0, dtype_of(weights)), weights, places)


@handles(np.bincount)
def bincount(trace: Trace, x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    """Weighted counts of integers; the largest of them is guarded."""
    places = as_array(trace, x)
    if len(shape_of(places)) != 1:
        raise ValueError("object too deep for desired array")
    if dtype_of(places).kind not in "biu":
        raise TypeError(f"Cannot cast array data from {dtype_of(places)!r} to dtype('int64') according to the rule 'safe'")
    least = operator.index(minlength)
    if least < 0:
        raise ValueError("'minlength' must not be negative")
    if weights is not None:
        weights = real64(trace, as_array(trace, weights))
        if shape_of(weights) != shape_of(places):
            raise ValueError("The weights and list don't have the same length.")
    size = 0
    if shape_of(places)[0]:
        if int(NP.min(places)) < 0:
            raise ValueError("'list' argument must have no negative elements")
        size = int(NP.max(places)) + 1
    return _counted(trace, cast(trace, places, np.int64), weights, max(size, least))


@handles(np.digitize)
def digitize(trace: Trace, x: Any, bins: Any, right: bool = False) -> Any:
    """The bin of each value. Whether bins rise or fall is guarded."""
    value, edges = operand(trace, x), as_array(trace, bins)
    if dtype_of(value).kind == "c":
        raise TypeError("x may not be complex")
    if len(shape_of(edges)) != 1:
        raise ValueError("object too deep for desired array")
    side = "left" if right else "right"
    steps = NP.diff(edges)
    if bool(NP.all(NP.greater_equal(steps, 0))):
        return NP.searchsorted(edges, value, side=side)
    if not bool(NP.all(NP.less_equal(steps, 0))):
        raise ValueError("bins must be monotonically increasing or decreasing")
    other = "right" if right else "left"
    return NP.subtract(shape_of(edges)[0], NP.searchsorted(NP.flip(edges), value, side=other))


# ---- histograms ----


def _numeric(trace: Trace, a: Any) -> Any:
    x = flattened(trace, as_array(trace, a))
    return cast(trace, x, np.uint8) if dtype_of(x).kind == "b" else x


def _edges(trace: Trace, x: Any, bins: Any, range: Any, weights: Any = None) -> Any:
    """Edges of bins as numpy chooses them: the range of the data is part of them, so they have a derivative."""
    if np.ndim(form_of(bins)) == 1:
        edges = as_array(trace, bins)
        if not bool(NP.all(NP.less_equal(edges[:-1], edges[1:]))):
            raise ValueError("`bins` must increase monotonically, when an array")
        return edges
    if isinstance(bins, str):
        if bins not in WIDTHS:
            raise ValueError(f"{bins!r} is not a valid estimator for `bins`")
        if weights is not None:
            raise TypeError("Automated estimation of the number of bins is not supported for weighted data")
    elif operator.index(bins) < 1:
        raise ValueError("`bins` must be positive, when an integer")
    if range is not None:
        low, high = range
        if bool(NP.greater(low, high)):
            raise ValueError("max must be larger than min in range parameter.")
    elif not shape_of(x)[0]:
        low, high = 0, 1
    else:
        low, high = NP.min(x), NP.max(x)
    if not bool(NP.all(NP.isfinite(NP.asarray([low, high])))):
        raise ValueError(f"{'supplied' if range is not None else 'autodetected'} range of [{low}, {high}] is not finite")
    if bool(NP.equal(low, high)):
        low, high = NP.subtract(low, 0.5), NP.add(high, 0.5)
    count = estimated(trace, x, bins, low, high, range is not None) if isinstance(bins, str) else operator.index(bins)
    dtype = np.result_type(form_of(low), form_of(high), dtype_of(x))
    return NP.linspace(low, high, count + 1, endpoint=True, dtype=np.result_type(dtype, float) if dtype.kind in "iu" else dtype)


@handles(np.histogram_bin_edges)
def histogram_bin_edges(trace: Trace, a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    return _edges(trace, _numeric(trace, a), bins, range, weights)


@handles(np.histogram)
def histogram(trace: Trace, a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> tuple[Any, Any]:
    x = _numeric(trace, a)
    w = None if weights is None else flattened(trace, as_array(trace, weights))
    if w is not None and shape_of(w) != shape_of(x):
        raise ValueError("weights should have the same shape as a.")
    edges = _edges(trace, x, bins, range, weights)
    count = _cells(trace, [x], [edges], w)
    if w is not None:
        count = cast(trace, count, dtype_of(w))
    if not density:
        return count, edges
    return NP.divide(NP.divide(count, NP.diff(edges)), NP.sum(count)), edges


def _cells(trace: Trace, columns: list[Any], edges: list[Any], weights: Any) -> Any:
    """Sums of weights by cell of a grid; the last bin of each axis holds its upper edge; what lies outside counts nowhere."""
    flat: Any = None
    inside: Any = None
    for x, axis in zip(columns, edges, strict=True):
        n = shape_of(axis)[0] - 1
        place = NP.subtract(NP.searchsorted(axis, x, side="right"), 1)
        place = NP.where(NP.equal(x, axis[-1]), n - 1, place)
        valid = NP.logical_and(NP.greater_equal(place, 0), NP.less(place, n))
        inside = valid if inside is None else NP.logical_and(inside, valid)
        flat = place if flat is None else NP.add(NP.multiply(flat, n), place)
    sizes = tuple(shape_of(axis)[0] - 1 for axis in edges)
    if weights is None:
        weights = full(trace, shape_of(flat), 1, np.dtype(np.int64))
    elif dtype_of(weights).kind == "b":
        weights = cast(trace, weights, np.int64)
    weights = NP.where(inside, weights, dtype_of(weights).type(0))
    return reshape(trace, _counted(trace, NP.where(inside, flat, 0), weights, size_of(sizes)), sizes)


@handles(np.histogramdd)
def histogramdd(trace: Trace, sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> tuple[Any, Any]:
    if isinstance(sample, (list, tuple)):
        sample = NP.transpose(NP.atleast_2d(NP.stack([as_array(trace, column) for column in sample])))
    rows = as_array(trace, sample)
    rows = reshape(trace, rows, (shape_of(rows)[0], 1)) if len(shape_of(rows)) == 1 else rows
    ndim = shape_of(rows)[1]
    columns = unstack(trace, rows, axis=1)
    wanted = list(bins) if hasattr(bins, "__len__") else [bins] * ndim
    if len(wanted) != ndim:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    ranges = [None] * ndim if range is None else list(range)
    if len(ranges) != ndim:
        raise ValueError("range argument must have one entry per dimension")
    edges = [_grid_edges(trace, x, b, r) for x, b, r in zip(columns, wanted, ranges, strict=True)]
    hist = cast(trace, _cells(trace, list(columns), edges, None if weights is None else flattened(trace, as_array(trace, weights))), float)
    if density:
        whole = NP.sum(hist)
        for i, axis in enumerate(edges):
            hist = NP.divide(hist, reshape(trace, NP.diff(axis), _one_axis(axis, i, ndim)))
        hist = NP.divide(hist, whole)
    return hist, tuple(edges)


def _one_axis(edges: Any, axis: int, ndim: int) -> tuple[int, ...]:
    shape = [1] * ndim
    shape[axis] = shape_of(edges)[0] - 1
    return tuple(shape)


def _grid_edges(trace: Trace, x: Any, bins: Any, range: Any) -> Any:
    if np.ndim(form_of(bins)) == 1:
        return _edges(trace, x, bins, range)
    edges = _edges(trace, x, bins, range)
    return edges if dtype_of(edges).kind == "f" else cast(trace, edges, float)


@handles(np.histogram2d)
def histogram2d(
    trace: Trace, x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Any, Any, Any]:
    if len(x) != len(y):
        raise ValueError("x and y must have the same length.")
    one_grid = hasattr(bins, "__len__") and np.ndim(form_of(bins[0])) == 0 and len(bins) not in (1, 2)
    both = [as_array(trace, bins)] * 2 if one_grid else bins
    hist, edges = histogramdd(trace, [x, y], both, range, density, weights)
    return hist, edges[0], edges[1]
