"""Differences along an axis."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    NP,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    broadcast,
    cast,
    dtype_of,
    find_tracer,
    form_of,
    handles,
    join,
    operand,
    reshape,
    shape_of,
    take_slice,
)
from irgrad.frontend.handlers.joining import joined, parts_of
from irgrad.frontend.handlers.shaping import flattened
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer


@handles(np.diff)
def diff(trace: Trace, a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Any:
    times = operator.index(n)
    if times == 0:
        return a
    if times < 0:
        raise ValueError(f"order must be non-negative but got {times}")
    x = as_array(trace, a)
    if not shape_of(x):
        raise ValueError("diff requires input that is at least one dimensional")
    at = axis_index(axis, len(shape_of(x)))
    parts = [x]
    for extra, before in ((prepend, True), (append, False)):
        if extra is not NO_VALUE:
            piece = as_array(trace, extra)
            if not shape_of(piece):
                piece = broadcast(trace, piece, tuple(1 if i == at else m for i, m in enumerate(shape_of(x))))
            parts.insert(0 if before else len(parts), piece)
    if len(parts) > 1:
        x = joined(trace, parts_of(trace, parts), at)
    name, fn = ("not_equal", np.not_equal) if dtype_of(x).kind == "b" else ("sub", np.subtract)
    for _ in range(times):
        m = max(shape_of(x)[at] - 1, 0)
        x = apply(trace, name, fn, take_slice(trace, x, at, min(1, shape_of(x)[at]), m), take_slice(trace, x, at, 0, m))
    return x


@handles(np.ediff1d)
def ediff1d(trace: Trace, ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    x = as_array(trace, ary)
    made = diff(trace, flattened(trace, x))
    ends = [e if e is None else cast(trace, as_array(trace, e), dtype_of(made)) for e in (to_begin, to_end)]
    parts = [e if e is made else flattened(trace, e) for e in (ends[0], made, ends[1]) if e is not None]
    return join(trace, parts, 0)


@handles(np.gradient)
def gradient(trace: Trace, f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Differentiable by `f`, by spacings and by coordinates."""
    x = as_array(trace, f)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    axes = axis_tuple(axis, len(shape_of(x)))
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    spacing: list[Any] = [1.0] * len(axes) if not varargs else list(varargs) * len(axes) if len(varargs) == 1 else list(varargs)
    if len(spacing) != len(axes):
        raise TypeError("invalid number of arguments")
    made = [_slopes(trace, x, at, _steps(trace, h, shape_of(x)[at]), edge_order) for at, h in zip(axes, spacing, strict=True)]
    return made[0] if len(made) == 1 else tuple(made)


def _steps(trace: Trace, h: Any, n: int) -> Any:
    """The spacing: a number, or one for each pair of neighbours where coordinates (n,) are given."""
    if not np.ndim(form_of(h)):
        return operand(trace, h)
    places = as_array(trace, h)
    if len(shape_of(places)) != 1:
        raise ValueError("distances must be either scalars or 1d")
    if shape_of(places)[0] != n:
        raise ValueError("when 1d, distances must match the length of the corresponding dimension")
    steps = NP.diff(cast(trace, places, np.float64) if dtype_of(places).kind in "biu" else places)
    plain = steps.value if type(steps) is Tracer and find_tracer((h,)) is None else steps
    return plain[0] if type(plain) is np.ndarray and plain.size and np.all(plain == plain[0]) else steps


def _slopes(trace: Trace, x: Any, axis: int, h: Any, edge_order: int) -> Any:
    """Second-order differences inside (Fornberg 1988), of first or second order at the ends."""
    n = shape_of(x)[axis]
    if n < edge_order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required.")
    even = not shape_of(h)

    def entries(start: int, count: int) -> Any:
        return take_slice(trace, x, axis, start, count)

    def step(start: int, count: int = 1) -> Any:
        if even:
            return h
        return reshape(trace, take_slice(trace, h, 0, start, count), tuple(count if i == axis else 1 for i in range(len(shape_of(x)))))

    def total(start: int, count: int, *weights: Any) -> Any:
        terms = [NP.multiply(w, entries(start + k, count)) for k, w in enumerate(weights)]
        return NP.add(NP.add(terms[0], terms[1]), terms[2])

    middle: list[Any] = []
    if n > 2 and even:
        middle = [NP.divide(NP.subtract(entries(2, n - 2), entries(0, n - 2)), NP.multiply(2.0, h))]
    elif n > 2:
        p, q = step(0, n - 2), step(1, n - 2)
        whole = NP.add(p, q)
        weights = (
            NP.divide(NP.negative(q), NP.multiply(p, whole)),
            NP.divide(NP.subtract(q, p), NP.multiply(p, q)),
            NP.divide(p, NP.multiply(q, whole)),
        )
        middle = [total(0, n - 2, *weights)]
    if edge_order == 1:
        first, last = (NP.divide(NP.subtract(entries(k + 1, 1), entries(k, 1)), step(k)) for k in (0, n - 2))
    else:
        first = total(0, 1, *_end_weights(step(0), step(1)))
        last = total(n - 3, 1, *(NP.negative(w) for w in reversed(_end_weights(step(n - 2), step(n - 3)))))
    return join(trace, [cast(trace, part, dtype_of(x)) for part in (first, *middle, last)], axis)


def _end_weights(near: Any, far: Any) -> list[Any]:
    """Of three entries, for the slope at the first: `near` and `far` are the steps from it on."""
    whole = NP.add(near, far)
    return [
        NP.negative(NP.divide(NP.add(near, whole), NP.multiply(near, whole))),
        NP.divide(whole, NP.multiply(near, far)),
        NP.negative(NP.divide(near, NP.multiply(far, whole))),
    ]
