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

from irgrad.frontend.handlers.core import (
    FUNCTIONS,
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
from irgrad.frontend.tracer import UFUNCS

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
        if ufunc.__name__.endswith("(vectorized)"):
            return unsupported(f"frompyfunc object {ufunc.__name__}", "use np.vectorize, whose function is traced")
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
    if method == "outer" and ufunc in UFUNCS and len(inputs) == 2:
        return run(trace, name, _outer, (ufunc, *inputs), kwargs)
    if method in _FOLDS and _known_late(ufunc) and ufunc.nin == 2 and ufunc.nout == 1:
        return run(trace, name, _FOLDS[method], (ufunc, *inputs), kwargs)
    return unsupported(name, "write it with irgrad.numpy functions that are traced")


def _reduce(trace: Trace, name: str, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, **more: Any) -> Any:
    if name in ("max", "min", "any", "all"):
        if dtype is not None:
            unsupported("ufunc.reduce(dtype=)", "convert the operand with astype")
        return PUBLIC[getattr(np, name)](operand(trace, x), axis=axis, out=out, keepdims=keepdims, **more)
    return PUBLIC[getattr(np, name)](operand(trace, x), axis=axis, dtype=dtype, out=out, keepdims=keepdims, **more)


def _accumulate(trace: Trace, name: str, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    return PUBLIC[getattr(np, name)](operand(trace, x), axis=axis, dtype=dtype, out=out)


def _outer(trace: Trace, ufunc: np.ufunc, x: Any, y: Any, **kwargs: Any) -> Any:
    x, y = operand(trace, x), operand(trace, y)
    ones = len(shape_of(y))
    if ones:
        x = call(trace, "reshape", x, shape=shape_of(x) + (1,) * ones)
    return UFUNCS[ufunc](x, y, **kwargs)


def _known_late(ufunc: np.ufunc) -> bool:
    """Is it one of scipy's? Their handlers are loaded when the first of them meets a traced value."""
    if "scipy.special" in sys.modules:
        importlib.import_module("irgrad.frontend.handlers.special")
    return ufunc in UFUNCS


FUNCTIONS["ufunc"] = ufunc_method

# ---- folds of other ufuncs ----


def _piece(trace: Trace, x: Any, start: int, count: int) -> Any:
    return take_slice(trace, x, 0, start, count)


def _folded(trace: Trace, ufunc: np.ufunc, x: Any) -> Any:
    """All rows of `x` combined, as one row."""
    step: Callable[[Any, Any], Any] = PUBLIC[ufunc]
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
    refuse(f"{ufunc.__name__}.reduce", out=out, dtype=dtype)
    if where is not True:
        unsupported(f"{ufunc.__name__}.reduce(where=)", "replace the other entries with irgrad.numpy.where")
    x = as_array(trace, array)
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape))
    if len(axes) > 1 and ufunc not in _ASSOCIATIVE:
        raise ValueError(f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified")
    rows = cast(trace, _front(trace, x, axes), _result_dtype(ufunc, x))
    rest = shape_of(rows)[1:]
    first: Any = None if initial is NO_VALUE or initial is None else operand(trace, initial)
    if shape_of(rows)[0] == 0:
        if first is None and (initial is None or ufunc.identity is None):
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
        made = full(trace, (1, *rest), ufunc.identity, dtype_of(rows)) if first is None else NP.full((1, *rest), first)
    else:
        if first is not None:
            rows = join(trace, [NP.broadcast_to(cast(trace, first, dtype_of(rows)), (1, *rest)), rows], 0)
        made = _folded(trace, ufunc, rows)
    wanted = tuple(1 if i in axes else n for i, n in enumerate(shape)) if keepdims else rest
    return reshape(trace, made, wanted) if wanted else call(trace, "slice", made, start=(0,), count=(1,), step=(1,), drop=(0,))


def _accumulate_any(trace: Trace, ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    refuse(f"{ufunc.__name__}.accumulate", out=out, dtype=dtype)
    x = as_array(trace, array)
    at = axis_index(axis, len(shape_of(x)))
    rows = cast(trace, NP.moveaxis(x, at, 0), _result_dtype(ufunc, x))
    n = shape_of(rows)[0]
    step: Callable[[Any, Any], Any] = PUBLIC[ufunc]
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
