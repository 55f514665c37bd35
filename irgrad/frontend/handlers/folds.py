"""Methods of ufuncs: reduce, accumulate, reduceat, outer, at.

`add`, `multiply` and their like are reductions and scans of numpy's functions. An associative ufunc folds by halves, in log2(n)
operations on arrays; any other one from left to right, entry by entry.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.callbacks import python_function
from irgrad.frontend.handlers.core import (
    NO_VALUE,
    NP,
    PUBLIC,
    as_array,
    axis_index,
    axis_tuple,
    call,
    cast,
    dtype_of,
    full,
    join,
    open_trace,
    operand,
    refuse,
    reshape,
    run,
    shape_of,
    take_slice,
    transpose,
    unsupported,
)
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.handlers.writing import add_at, ufunc_at
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import FUNCTIONS, UFUNCS

_REDUCTIONS = {
    np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min", np.logical_or: "any", np.logical_and: "all",
}  # fmt: skip
_SCANS = {np.add: "cumsum", np.multiply: "cumprod"}
_ASSOCIATIVE = frozenset({
    np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot, np.bitwise_and, np.bitwise_or, np.bitwise_xor,
    np.logical_and, np.logical_or, np.logical_xor, np.gcd, np.lcm,
})  # fmt: skip


def ufunc_method(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``ufunc.reduce`` and the like on traced arrays.

    Raises UnsupportedError for a ufunc or a method that has no lowering.
    """
    if method == "__call__":
        if _known_late(ufunc):
            return UFUNCS[ufunc](*inputs, **kwargs)
        entrywise = python_function(ufunc)
        if entrywise is not None:
            return entrywise(*inputs, **kwargs)
        return unsupported(ufunc.__name__, library="numpy" if hasattr(np, ufunc.__name__) else "scipy.special")
    trace = open_trace(inputs, kwargs)
    assert trace is not None
    name = f"{ufunc.__name__}.{method}"
    if method == "reduce" and ufunc in _REDUCTIONS:
        return run(trace, name, _reduce, (_REDUCTIONS[ufunc], *inputs), kwargs)
    if method == "accumulate" and ufunc in _SCANS:
        return run(trace, name, _accumulate, (_SCANS[ufunc], *inputs), kwargs)
    if method == "at" and ufunc in (np.add, np.subtract):
        return run(trace, name, add_at, (ufunc, *inputs), kwargs, handles=True)
    if method == "at" and _known_late(ufunc) and ufunc.nout == 1:
        return run(trace, name, ufunc_at, (ufunc, *inputs), kwargs, handles=True)
    is_known = _known_late(ufunc) or python_function(ufunc) is not None
    if method == "outer" and is_known and len(inputs) == 2:
        return run(trace, name, _outer, (ufunc, *inputs), kwargs)
    if method in _FOLDS and is_known and ufunc.nin == 2 and ufunc.nout == 1:
        return run(trace, name, _FOLDS[method], (ufunc, *inputs), kwargs)
    return unsupported(name, "write it with irgrad.numpy functions that are traced")


def _reduce(trace: Trace, name: str, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, **more: Any) -> Any:
    if name in ("max", "min", "any", "all"):
        x = operand(trace, x)
        if dtype is not None:
            if name in ("any", "all") and np.dtype(dtype) != bool:
                raise TypeError(
                    f"No loop matching the specified signature and casting was found for ufunc logical_{'or' if name == 'any' else 'and'}"
                )
            x = cast(trace, x, np.dtype(dtype))
        return PUBLIC[getattr(np, name)](x, axis=axis, out=out, keepdims=keepdims, **more)
    return PUBLIC[getattr(np, name)](operand(trace, x), axis=axis, dtype=dtype, out=out, keepdims=keepdims, **more)


def _accumulate(trace: Trace, name: str, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    return PUBLIC[getattr(np, name)](operand(trace, x), axis=axis, dtype=dtype, out=out)


def _outer(trace: Trace, ufunc: np.ufunc, x: Any, y: Any, **kwargs: Any) -> Any:
    x, y = operand(trace, x), operand(trace, y)
    ones = len(shape_of(y))
    if ones:
        x = call(trace, "reshape", x, shape=shape_of(x) + (1,) * ones)
    return _step(ufunc)(x, y, **kwargs)


def _known_late(ufunc: np.ufunc) -> bool:
    """Is it one of scipy's? Their handlers are loaded when the first of them meets a traced value."""
    if "scipy.special" in sys.modules:
        importlib.import_module("irgrad.frontend.handlers.special")
    return ufunc in UFUNCS


FUNCTIONS["ufunc"] = ufunc_method

# ---- folds of other ufuncs ----


def _step(ufunc: np.ufunc) -> Callable[..., Any]:
    return PUBLIC.get(ufunc) or python_function(ufunc) or unsupported(ufunc.__name__)


def _piece(trace: Trace, x: Any, start: int, count: int) -> Any:
    return take_slice(trace, x, 0, start, count)


def _folded(trace: Trace, ufunc: np.ufunc, x: Any) -> Any:
    """All rows of `x` combined, as one row."""
    step: Callable[[Any, Any], Any] = _step(ufunc)
    n = shape_of(x)[0]
    if ufunc not in _ASSOCIATIVE:
        made = _piece(trace, x, 0, 1)
        for i in range(1, n):
            made = step(made, _piece(trace, x, i, 1))
        return made
    while n > 1:
        half = n // 2
        paired = step(_piece(trace, x, 0, half), _piece(trace, x, half, half))
        x = paired if n == 2 * half else join(trace, [paired, cast(trace, _piece(trace, x, n - 1, 1), dtype_of(paired))], 0)
        n -= half
    return x


def _result_dtype(ufunc: np.ufunc, x: Any) -> np.dtype[Any]:
    if ufunc not in UFUNCS:  # of Python numbers
        return dtype_of(x)
    return ufunc.resolve_dtypes((None, dtype_of(x), None), reduction=True)[-1]


def _front(trace: Trace, x: Any, axes: tuple[int, ...]) -> Any:
    """`x` with `axes` joined into the first."""
    shape = shape_of(x)
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    rows = transpose(trace, x, (*axes, *rest))
    return reshape(trace, rows, (size_of([shape[i] for i in axes]), *(shape[i] for i in rest)))


def _reduce_any(
    trace: Trace,
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = NO_VALUE,
    where: Any = True,
) -> Any:
    refuse(f"{ufunc.__name__}.reduce", out=out)
    x = _in_dtype(trace, as_array(trace, array), dtype)
    shape = shape_of(x)
    axes = axis_tuple(None if not shape and axis in (0, -1) else axis, len(shape))
    if len(axes) > 1 and ufunc not in _ASSOCIATIVE:
        raise ValueError(f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified")
    rows = cast(trace, _front(trace, x, axes), _result_dtype(ufunc, x))
    rest = shape_of(rows)[1:]
    if where is not True:
        return _reduce_where(trace, ufunc, x, axes, keepdims, initial, where)
    first: Any = None if initial is NO_VALUE or initial is None else operand(trace, initial)
    if shape_of(rows)[0] == 0:
        if first is None and (initial is None or ufunc.identity is None):
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
        made = full(trace, (1, *rest), ufunc.identity, dtype_of(rows)) if first is None else NP.full((1, *rest), first)
    else:
        if first is not None:
            rows = join(trace, [NP.broadcast_to(cast(trace, first, dtype_of(rows)), (1, *rest)), rows], 0)
        made = _folded(trace, ufunc, rows)
    return _unfronted(trace, made, shape, axes, keepdims)


def _in_dtype(trace: Trace, x: Any, dtype: Any) -> Any:
    return x if dtype is None else cast(trace, x, np.dtype(dtype))


def _reduce_where(trace: Trace, ufunc: np.ufunc, x: Any, axes: tuple[int, ...], keepdims: bool, initial: Any, where: Any) -> Any:
    """From left to right, keeping the total where the mask says so; the first entry taken starts it where there is no initial value."""
    shape = shape_of(x)
    rows = cast(trace, _front(trace, x, axes), _result_dtype(ufunc, x))
    chosen = _front(trace, NP.broadcast_to(cast(trace, as_array(trace, where), bool), shape), axes)
    start: Any = initial if initial is not NO_VALUE else ufunc.identity
    if start is None:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where mask one has to specify 'initial'"
        )
    step: Callable[[Any, Any], Any] = _step(ufunc)
    made = NP.broadcast_to(cast(trace, as_array(trace, operand(trace, start)), dtype_of(rows)), (1, *shape_of(rows)[1:]))
    for i in range(shape_of(rows)[0]):
        made = NP.where(_piece(trace, chosen, i, 1), step(made, _piece(trace, rows, i, 1)), made)
    return _unfronted(trace, made, shape, axes, keepdims)


def _unfronted(trace: Trace, made: Any, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> Any:
    """One combined row as the result of a reduction, a scalar where no axis is left."""
    wanted = tuple(1 if i in axes else n for i, n in enumerate(shape)) if keepdims else shape_of(made)[1:]
    return reshape(trace, made, wanted) if wanted else call(trace, "slice", made, start=(0,), count=(1,), step=(1,), drop=(0,))


def _accumulate_any(trace: Trace, ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    refuse(f"{ufunc.__name__}.accumulate", out=out)
    x = _in_dtype(trace, as_array(trace, array), dtype)
    at = axis_index(axis, len(shape_of(x)))
    rows = cast(trace, NP.moveaxis(x, at, 0), _result_dtype(ufunc, x))
    n = shape_of(rows)[0]
    step: Callable[[Any, Any], Any] = _step(ufunc)
    if ufunc in _ASSOCIATIVE:
        reach = 1
        while reach < n:  # Hillis and Steele 1986
            later = step(_piece(trace, rows, 0, n - reach), _piece(trace, rows, reach, n - reach))
            rows = join(trace, [_piece(trace, rows, 0, reach), later], 0)
            reach *= 2
        return NP.moveaxis(rows, 0, at)
    made = [_piece(trace, rows, 0, min(n, 1))]
    for i in range(1, n):
        made.append(step(made[-1], _piece(trace, rows, i, 1)))
    return NP.moveaxis(join(trace, made, 0), 0, at)


def _reduceat(trace: Trace, ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    refuse(f"{ufunc.__name__}.reduceat", out=out)
    x = as_array(trace, array)
    at = axis_index(axis, len(shape_of(x)))
    n = shape_of(x)[at]
    places = [operator.index(i) for i in indices]
    if any(not 0 <= i < n for i in places):
        wrong = next(i for i in places if not 0 <= i < n)
        raise IndexError(f"index {wrong} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})")
    made = []
    for k, (start, stop) in enumerate(zip(places, [*places[1:], n], strict=True)):
        count = stop - start if stop > start or k + 1 == len(places) else 1
        part = take_slice(trace, x, at, start, max(count, 1))
        made.append(ufunc_method(ufunc, "reduce", (part,), {"axis": at, "keepdims": True, **({} if dtype is None else {"dtype": dtype})}))
    return join(trace, made, at) if made else take_slice(trace, x, at, 0, 0)


_FOLDS: dict[str, Callable[..., Any]] = {"reduce": _reduce_any, "accumulate": _accumulate_any, "reduceat": _reduceat}
