"""Reductions and scans: sums, products, extremes, truth, moments, running sums.

Primitives reduce sorted axes and keep none; bools and small integers are converted to numpy's accumulator first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    NP,
    Handler,
    Shape,
    apply,
    axis_index,
    axis_tuple,
    call,
    cast,
    dtype_of,
    exact_axis,
    full,
    handles,
    join,
    operand,
    refuse,
    reshape,
    scalar_where,
    shape_of,
    transpose,
    unwrap,
)
from irgrad.frontend.handlers.decided import DECISIONS
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import real_dtype


def _given(value: Any) -> bool:
    return value is not NO_VALUE and value is not None


def keeps(keepdims: Any) -> bool:
    """Does a reduction keep its axes?"""
    return keepdims is not NO_VALUE and bool(keepdims)


def reduce(trace: Trace, name: str, x: Any, axis: Any, keepdims: Any) -> Any:
    """A reducing primitive over numpy's axis and keepdims."""
    shape = shape_of(x)
    axis = exact_axis(axis)
    if not shape and type(axis) is int and axis in (0, -1):
        axis = None  # as numpy's ufuncs see it
    axes = tuple(sorted(axis_tuple(axis, len(shape))))
    made = call(trace, name, x, axes=axes)
    if keeps(keepdims) and shape:  # numpy answers a scalar for a 0-d operand all the same
        return reshape(trace, made, tuple(1 if i in axes else n for i, n in enumerate(shape)))
    return made


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which numpy sums: the platform's integers for bools and smaller integers."""
    if dtype.kind in "bi" and dtype.itemsize < 8:
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" and dtype.itemsize < 8 else dtype


def numbers(trace: Trace, x: Any, dtype: Any) -> Any:
    """`x` in the dtype that sums and products accumulate in."""
    x = operand(trace, x)
    return cast(trace, x, np.dtype(dtype) if dtype is not None else accumulator(dtype_of(x)))


def total(trace: Trace, x: Any, axis: Any = None, keepdims: Any = False) -> Any:
    """The sum of an operand."""
    return reduce(trace, "reduce_sum", numbers(trace, x, None), axis, keepdims)


def _selected(trace: Trace, x: Any, where: Any, neutral: Any) -> Any:
    """`x` with the neutral element outside `where`."""
    if where is NO_VALUE or where is True or where is None:
        return x
    return apply(trace, "where", np.where, operand(trace, where), x, dtype_of(x).type(neutral))


def _folding(name: str, primitive: str, neutral: int, joint: str, ufunc: np.ufunc, function: Any) -> Handler:
    @handles(function, method=name)
    def folded(
        trace: Trace,
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE,
        where: Any = NO_VALUE,
    ) -> Any:
        refuse(name, out=out)
        x = _selected(trace, numbers(trace, a, dtype), where, neutral)
        made = reduce(trace, primitive, x, axis, keepdims)
        if dtype is not None:  # of small integers: sums modulo 2**64 have the bits of those modulo less
            made = cast(trace, made, np.dtype(dtype))
        return apply(trace, joint, ufunc, made, cast(trace, operand(trace, initial), dtype_of(made))) if _given(initial) else made

    return folded


sum_ = _folding("sum", "reduce_sum", 0, "add", np.add, np.sum)
prod = _folding("prod", "reduce_prod", 1, "mul", np.multiply, np.prod)


def _extreme(name: str, primitive: str, pick: str, ufunc: np.ufunc, *functions: Any) -> None:
    @handles(*functions, method=name)
    def extreme(
        trace: Trace, a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
    ) -> Any:
        refuse(name, out=out)
        x = operand(trace, a)
        first = cast(trace, operand(trace, initial), dtype_of(x)) if _given(initial) else None
        if _given(where) and where is not True:
            if first is None:
                raise ValueError(
                    f"reduction operation '{name}imum' does not have an identity, so to use a where mask one has to specify 'initial'"
                )
            x = apply(trace, "where", np.where, operand(trace, where), x, first)
        if first is not None and 0 in shape_of(x):  # an entry to begin with, so that there is one
            axes = axis_tuple(axis, len(shape_of(x)))
            x = NP.broadcast_to(first, tuple(1 if i in axes else n for i, n in enumerate(shape_of(x))))
        made = reduce(trace, primitive, x, axis, keepdims)
        return made if first is None else apply(trace, pick, ufunc, made, first)


_extreme("max", "reduce_max", "maximum", np.maximum, np.max, np.amax)
_extreme("min", "reduce_min", "minimum", np.minimum, np.min, np.amin)


def _truth(name: str, primitive: str, neutral: bool, function: Any) -> None:
    @handles(function, method=name)
    def truth(trace: Trace, a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE) -> Any:
        refuse(name, out=out)
        x = _selected(trace, cast(trace, operand(trace, a), bool), where, neutral)
        return reduce(trace, primitive, x, axis, keepdims)


_truth("any", "reduce_any", False, np.any)
_truth("all", "reduce_all", True, np.all)


@handles(np.count_nonzero)
def count_nonzero(trace: Trace, a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    truth = cast(trace, operand(trace, a), bool)
    return total(trace, truth, axis, keepdims)


@handles(np.ptp)
def ptp(trace: Trace, a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE) -> Any:
    refuse("ptp", out=out)
    x = operand(trace, a)
    return apply(trace, "sub", np.subtract, reduce(trace, "reduce_max", x, axis, keepdims), reduce(trace, "reduce_min", x, axis, keepdims))


# ---- moments ----


def _extent(shape: Shape, axis: Any) -> int:
    """How many elements one result of a reduction combines."""
    count = 1
    for i in axis_tuple(axis, len(shape)):
        count *= shape[i]
    return count


def _moment_dtype(x: Any, dtype: Any) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The dtypes in which a mean is accumulated and answered."""
    have = dtype_of(x)
    if dtype is not None:
        return np.dtype(dtype), np.dtype(dtype)
    if have.kind in "biu":
        return np.dtype(np.float64), np.dtype(np.float64)
    return (np.dtype(np.float32), have) if have == np.float16 else (have, have)


def _mean(trace: Trace, x: Any, axis: Any, keepdims: Any, count: Any = None) -> Any:
    made = reduce(trace, "reduce_sum", x, axis, keepdims)
    return cast(trace, apply(trace, "div", np.true_divide, made, _extent(shape_of(x), axis) if count is None else count), dtype_of(x))


def _count(trace: Trace, shape: Shape, axis: Any, keepdims: Any, where: Any) -> Any:
    """Number of elements per result: a plain number, or traced where a mask selects them."""
    if where is NO_VALUE or where is None or where is True:
        return _extent(shape, axis)
    mask = call(trace, "broadcast_to", cast(trace, operand(trace, where), bool), shape=shape)
    return total(trace, mask, axis, keepdims)


@handles(np.mean, method="mean")
def mean(
    trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Any:
    refuse("mean", out=out)
    x = operand(trace, a)
    inner, outer = _moment_dtype(x, dtype)
    x = cast(trace, x, inner)
    count = _count(trace, shape_of(x), axis, keepdims, where)
    return cast(trace, _mean(trace, _selected(trace, x, where, 0), axis, keepdims, count), outer)


def _squares(trace: Trace, x: Any) -> Any:
    """|x|**2 as numpy computes it."""
    if dtype_of(x).kind != "c":
        return apply(trace, "mul", np.multiply, x, x)
    return apply(trace, "real", np.real, apply(trace, "mul", np.multiply, x, apply(trace, "conj", np.conjugate, x)))


def freedom(ddof: Any, correction: Any) -> Any:
    """numpy's `ddof`, which it also takes as `correction`."""
    if correction is NO_VALUE:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


@handles(np.var, method="var")
def var(
    trace: Trace,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:
    refuse("var", out=out)
    ddof = freedom(ddof, correction)
    x = operand(trace, a)
    inner, outer = _moment_dtype(x, dtype)
    x = cast(trace, x, inner)
    if _given(mean):
        center = operand(trace, mean)
    else:
        center = _mean(trace, _selected(trace, x, where, 0), axis, True, _count(trace, shape_of(x), axis, True, where))
    squares = _selected(trace, _squares(trace, apply(trace, "sub", np.subtract, x, center)), where, 0)
    made = reduce(trace, "reduce_sum", squares, axis, keepdims)
    count = _count(trace, shape_of(x), axis, keepdims, where)
    if type(count) is Tracer or type(ddof) is Tracer:
        free = apply(trace, "maximum", np.maximum, apply(trace, "sub", np.subtract, count, operand(trace, ddof)), 0)
    else:
        free = max(count - ddof, 0)
    made = cast(trace, apply(trace, "div", np.true_divide, made, free), dtype_of(made))
    return cast(trace, made, real_dtype(outer))


@handles(np.std, method="std")
def std(
    trace: Trace,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:
    x = operand(trace, a)
    narrow = dtype is None and dtype_of(x) == np.float16
    given = {"keepdims": keepdims, "where": where, "mean": mean, "correction": correction}
    options = {name: value for name, value in given.items() if value is not NO_VALUE}
    args = (x, axis, np.float32 if narrow else dtype, out, ddof)
    made = var(trace, *args, **options) if trace.storages else DECISIONS[var].run(trace, var, args, options)
    if dtype_of(made).kind == "f" and (trace.is_graph or not np.all(np.greater(unwrap(made), 0))):  # slope 0 where everything is equal
        positive = apply(trace, "greater", np.greater, made, 0)
        made = apply(trace, "where", scalar_where, positive, apply(trace, "sqrt", np.sqrt, made), made)
    else:
        made = apply(trace, "sqrt", np.sqrt, made)
    return cast(trace, made, np.float16) if narrow else made


@handles(np.average)
def average(trace: Trace, a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = NO_VALUE) -> Any:
    x = operand(trace, a)
    shape = shape_of(x)
    axis = axis if axis is None else axis_tuple(axis, len(shape))
    if weights is None:
        made = mean(trace, x, axis, keepdims=keepdims)
        scale: Any = full(trace, shape_of(made), _extent(shape, axis), dtype_of(made)) if returned else None
    else:
        w = _weights(trace, x, axis, operand(trace, weights))
        kind = dtype_of(x).kind
        dtype = np.result_type(dtype_of(x), dtype_of(w), *([np.float64] if kind in "biu" else []))
        scale = reduce(trace, "reduce_sum", cast(trace, w, dtype), axis, keepdims)
        if np.any(unwrap(scale) == 0.0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        weighted = apply(trace, "mul", np.multiply, cast(trace, x, dtype), cast(trace, w, dtype))
        made = apply(trace, "div", np.true_divide, reduce(trace, "reduce_sum", weighted, axis, keepdims), scale)
        if returned and shape_of(scale) != shape_of(made):
            scale = call(trace, "broadcast_to", scale, shape=shape_of(made))
    return (made, scale) if returned else made


def _weights(trace: Trace, x: Any, axis: Any, w: Any) -> Any:
    """Weights with the axes of `x`."""
    shape, have = shape_of(x), shape_of(w)
    if have == shape:
        return w
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = axis_tuple(axis, len(shape))
    if have != tuple(shape[i] for i in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    w = transpose(trace, w, sorted(range(len(axes)), key=axes.__getitem__))
    return reshape(trace, w, tuple(n if i in axes else 1 for i, n in enumerate(shape)))


# ---- places and scans ----


def _place(name: str, function: Any) -> None:
    @handles(function, method=name)
    def place(trace: Trace, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Any:
        refuse(name, out=out)
        x = operand(trace, a)
        shape = shape_of(x)
        flat = exact_axis(axis) is None or not shape
        if flat:
            axis_index(axis or 0, max(len(shape), 1))
            x = reshape(trace, x, (_extent(shape, None),))
        at = 0 if flat else axis_index(axis, len(shape))
        made = call(trace, name, x, axis=at)
        if keeps(keepdims) and shape:
            return reshape(trace, made, tuple(1 if flat or i == at else n for i, n in enumerate(shape)))
        return made


_place("argmax", np.argmax)
_place("argmin", np.argmin)


def _scan(trace: Trace, name: str, a: Any, axis: Any, dtype: Any) -> Any:
    x = numbers(trace, a, dtype)
    shape = shape_of(x)
    if exact_axis(axis) is None or not shape:
        axis_index(axis or 0, max(len(shape), 1))
        made = call(trace, name, reshape(trace, x, (_extent(shape, None),)), axis=0)
    else:
        made = call(trace, name, x, axis=axis_index(axis, len(shape)))
    return made if dtype is None else cast(trace, made, np.dtype(dtype))


@handles(np.cumsum, method="cumsum")
def cumsum(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    refuse("cumsum", out=out)
    return _scan(trace, "cumsum", a, axis, dtype)


@handles(np.cumprod, method="cumprod")
def cumprod(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    refuse("cumprod", out=out)
    return _scan(trace, "cumprod", a, axis, dtype)


def _cumulative(name: str, primitive: str, first: int, function: Any) -> None:
    @handles(function)
    def cumulative(trace: Trace, x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
        refuse(name, out=out)
        x = operand(trace, x)
        shape = shape_of(x)
        if not shape:
            x = reshape(trace, x, (1,))
        if axis is None:
            if len(shape) > 1:
                raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
            axis = 0
        at = axis_index(axis, max(len(shape), 1))
        made = _scan(trace, primitive, x, at, dtype)
        if not include_initial:
            return made
        edge = tuple(1 if i == at else n for i, n in enumerate(shape_of(made)))
        return join(trace, [full(trace, edge, first, dtype_of(made)), made], at)


_cumulative("cumulative_sum", "cumsum", 0, getattr(np, "cumulative_sum", None))
_cumulative("cumulative_prod", "cumprod", 1, getattr(np, "cumulative_prod", None))
