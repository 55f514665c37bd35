"""Norms of vectors and matrices; the Euclidean ones have slope 0 at 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    PUBLIC,
    Shape,
    apply,
    as_array,
    axis_tuple,
    call,
    cast,
    dtype_of,
    handles,
    reshape,
    shape_of,
    transpose,
)
from irgrad.frontend.handlers.reduction import reduce
from irgrad.frontend.trace import Trace
from irgrad.ir.aval import real_dtype


def _magnitude(trace: Trace, x: Any) -> Any:
    return apply(trace, "abs", np.absolute, x)


def _euclidean(trace: Trace, x: Any, axes: Shape, keepdims: bool) -> Any:
    made = call(trace, "norm2", x, axes=tuple(sorted(axes)))
    return reshape(trace, made, tuple(1 if k in axes else n for k, n in enumerate(shape_of(x)))) if keepdims else made


def _largest(trace: Trace, name: str, x: Any, axes: Shape, keepdims: bool) -> Any:
    """A maximum or minimum of magnitudes; the maximum of none is 0."""
    shape = shape_of(x)
    if name == "reduce_max" and 0 in [shape[k] for k in axes]:
        name = "reduce_sum"
    return reduce(trace, name, x, axes, keepdims)


@handles(np.linalg.norm)
def norm(trace: Trace, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = as_array(trace, x)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    shape = shape_of(x)
    if axis is None and (ord is None or (ord in ("f", "fro") and len(shape) == 2) or (ord == 2 and len(shape) == 1)):
        return _euclidean(trace, x, tuple(range(len(shape))), keepdims)
    if isinstance(axis, list):
        raise TypeError("'axis' must be None, an integer or a tuple of integers")
    axes = axis_tuple(axis if axis is None or isinstance(axis, tuple) else int(axis), len(shape))
    if len(axes) == 1:
        return _vector_norm(trace, x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm(trace, x, ord, axes, keepdims)
    raise ValueError("Improper number of dimensions to norm.")


def _vector_norm(trace: Trace, x: Any, ord: Any, axes: Shape, keepdims: bool) -> Any:
    if ord in (np.inf, -np.inf):
        return _largest(trace, "reduce_max" if ord > 0 else "reduce_min", _magnitude(trace, x), axes, keepdims)
    if ord is None or ord == 2:
        return _euclidean(trace, x, axes, keepdims)
    if type(ord) is str:
        raise ValueError(f"Invalid norm order {ord!r} for vectors")
    if ord == 0:
        nonzero = apply(trace, "not_equal", np.not_equal, x, 0)
        return reduce(trace, "reduce_sum", cast(trace, nonzero, real_dtype(dtype_of(x))), axes, keepdims)
    size = _magnitude(trace, x)
    if ord == 1:
        return reduce(trace, "reduce_sum", size, axes, keepdims)
    if ord < 1:  # the slope of |x|**ord at 0 is not finite
        terms = _power_or(trace, size, ord, 0.0 if ord > 0 else np.inf)
    else:
        terms = PUBLIC[np.power](size, ord)
    return apply(trace, "root", _power, reduce(trace, "reduce_sum", terms, axes, keepdims), 1.0 / ord)


def _power(s: Any, exponent: float) -> Any:
    with np.errstate(divide="ignore"):
        return np.power(s, exponent)


def _power_or(trace: Trace, x: Any, exponent: Any, at_zero: float) -> Any:
    """x**exponent for x > 0 and `at_zero` elsewhere, flat there."""
    dtype = dtype_of(x)
    positive = apply(trace, "greater", np.greater, x, 0)
    base = apply(trace, "where", scalar_where, positive, x, dtype.type(1))
    return apply(trace, "where", scalar_where, positive, PUBLIC[np.power](base, exponent), dtype.type(at_zero))


def scalar_where(condition: Any, x: Any, y: Any) -> Any:
    made = np.where(condition, x, y)
    return made if isinstance(condition, np.ndarray) else made[()]


def _matrix_norm(trace: Trace, x: Any, ord: Any, axes: Shape, keepdims: bool) -> Any:
    if axes[0] == axes[1]:
        raise ValueError("Duplicate axes given.")
    if ord is None or ord in ("f", "fro"):
        return _euclidean(trace, x, axes, keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        sums = reduce(trace, "reduce_sum", _magnitude(trace, x), axes[0] if abs(ord) == 1 else axes[1], True)
        return _largest(trace, "reduce_max" if ord > 0 else "reduce_min", sums, axes, keepdims)
    if ord in (2, -2, "nuc"):
        rest = tuple(k for k in range(len(shape_of(x))) if k not in axes)
        s = call(trace, "svdvals", transpose(trace, x, (*rest, *axes)))
        kind = {2: "reduce_max", -2: "reduce_min", "nuc": "reduce_sum"}[ord]
        made = _largest(trace, kind, s, (len(rest),), False)
        return reshape(trace, made, tuple(1 if k in axes else n for k, n in enumerate(shape_of(x)))) if keepdims else made
    raise ValueError("Invalid norm order for matrices.")


@handles(np.linalg.vector_norm)
def vector_norm(trace: Trace, x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    x = as_array(trace, x)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    axes = axis_tuple(axis, len(shape_of(x)))
    return _vector_norm(trace, x, ord, tuple(sorted(axes)), keepdims)


@handles(np.linalg.matrix_norm)
def matrix_norm(trace: Trace, x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(trace, x, ord, (-2, -1), keepdims)
