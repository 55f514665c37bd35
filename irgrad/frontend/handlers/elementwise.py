"""Elementwise functions that are no ufuncs: parts of complex numbers, clip, where, rounding, closeness, nan_to_num."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    alias,
    apply,
    as_array,
    call,
    cast,
    dtype_of,
    find_tracer,
    form_of,
    handles,
    handles_method,
    operand,
    refuse,
    run,
    scalar_where,
    unwrap,
    weak_of,
)
from irgrad.frontend.handlers.picking import nonzero
from irgrad.frontend.installed import warned
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import ATTRIBUTES, Tracer
from irgrad.ir.primitive import REGISTRY

# ---- parts ----


@handles(np.real)
def real(trace: Trace, val: Any) -> Any:
    x = operand(trace, val)
    if dtype_of(x).kind != "c":
        return alias(x)
    return call(trace, "real", x)


@handles(np.imag)
def imag(trace: Trace, val: Any) -> Any:
    x = operand(trace, val)
    if dtype_of(x).kind == "c":
        return call(trace, "imag", x)
    return apply(trace, "imag", lambda v: REGISTRY["imag"].evaluate(v), x)


ATTRIBUTES["real"] = lambda x: run(x._trace, "real", real, (x,), {})
ATTRIBUTES["imag"] = lambda x: run(x._trace, "imag", imag, (x,), {})


@handles(np.angle)
def angle(trace: Trace, z: Any, deg: bool = False) -> Any:
    x = operand(trace, z)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.angle(np.empty(0, dtype_of(x))).dtype)
    made = apply(trace, "angle", np.angle, x)
    return apply(trace, "mul", np.multiply, made, 180 / np.pi) if deg else made


@handles(np.real_if_close)
def real_if_close(trace: Trace, a: Any, tol: float = 100) -> Any:
    x = as_array(trace, a)
    if dtype_of(x).kind != "c":
        return alias(x)
    bound = float(tol) * float(np.finfo(dtype_of(x)).eps) if tol > 1 else float(tol)
    part = imag(trace, x)
    small = call(trace, "reduce_all", apply(trace, "less", np.less, apply(trace, "abs", np.absolute, part), bound), axes=_all(x))
    return real(trace, x) if bool(small) else alias(x)


def _all(x: Any) -> tuple[int, ...]:
    return tuple(range(np.ndim(form_of(x))))


@handles(np.iscomplex)
def iscomplex(trace: Trace, x: Any) -> Any:
    return apply(trace, "not_equal", np.not_equal, imag(trace, operand(trace, x)), 0)


@handles(np.isreal)
def isreal(trace: Trace, x: Any) -> Any:
    return apply(trace, "equal", operator.eq, imag(trace, operand(trace, x)), 0)


@handles(np.isposinf)
def isposinf(trace: Trace, x: Any, out: Any = None) -> Any:
    refuse("isposinf", out=out)
    return apply(trace, "equal", np.equal, _ordered(operand(trace, x)), np.inf)


@handles(np.isneginf)
def isneginf(trace: Trace, x: Any, out: Any = None) -> Any:
    refuse("isneginf", out=out)
    return apply(trace, "equal", np.equal, _ordered(operand(trace, x)), -np.inf)


def _ordered(x: Any) -> Any:
    if dtype_of(x).kind == "c":
        raise TypeError(f"This operation is not supported for {dtype_of(x)} values because it would be ambiguous.")
    return x


# ---- selection ----


@handles(np.where)
def where(trace: Trace, condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /) -> Any:
    if x is NO_VALUE and y is NO_VALUE:
        return nonzero(trace, condition)
    if x is NO_VALUE or y is NO_VALUE:
        raise ValueError("either both or neither of x and y should be given")
    x, y = operand(trace, x), operand(trace, y)
    if type(x) is int or type(y) is int:
        dtype = np.result_type(weak_of(x), weak_of(y))
        x, y = (_in_range(v, dtype, lambda v: np.where(False, np.zeros((), dtype), v)) for v in (x, y))  # an error from numpy 2.5 on
    return apply(trace, "where", np.where, operand(trace, condition), x, y)


def _in_range(x: Any, dtype: np.dtype[Any], converted: Callable[[int], Any]) -> Any:
    """A Python int that a small dtype does not hold, as numpy converts it there."""
    if type(x) is int and dtype.kind in "iu" and not np.iinfo(dtype).min <= x <= np.iinfo(dtype).max:
        return converted(x)[()]
    return x


@handles(np.select)
def select(trace: Trace, condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not condlist:
        raise ValueError("select with an empty condition list is not possible")
    choices = [operand(trace, c) for c in choicelist]
    made = operand(trace, default)
    dtype = np.result_type(*[weak_of(c) for c in (*choices, made)])
    made = cast(trace, _in_range(made, dtype, lambda v: np.asarray(v).astype(dtype)), dtype)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        if np.asarray(form_of(condition)).dtype.kind != "b":
            raise TypeError("invalid entry in condlist: should be boolean ndarray")
        made = apply(trace, "where", np.where, operand(trace, condition), cast(trace, choice, dtype), made)
    return made


@handles(np.clip, method="clip")
def clip(
    trace: Trace,
    a: Any,
    a_min: Any = NO_VALUE,
    a_max: Any = NO_VALUE,
    out: Any = None,
    *,
    min: Any = NO_VALUE,
    max: Any = NO_VALUE,
    **more: Any,
) -> Any:
    refuse("clip", out=out, **more)
    low, high = (given if given is not NO_VALUE else other for given, other in ((a_min, min), (a_max, max)))
    x = operand(trace, a)
    if dtype_of(x).kind in "iu":  # bounds that change nothing need not fit the dtype
        low = None if type(low) is int and low <= np.iinfo(dtype_of(x)).min else low
        high = None if type(high) is int and high >= np.iinfo(dtype_of(x)).max else high
    low = None if low is None or low is NO_VALUE else operand(trace, low)
    high = None if high is None or high is NO_VALUE else operand(trace, high)
    if low is None and high is None:
        return apply(trace, "identity", np.positive, x) if dtype_of(x).kind != "b" else alias(x)
    if high is None:
        return apply(trace, "maximum", lambda v, lo: np.clip(v, lo, None), x, low)
    if low is None:
        return apply(trace, "minimum", lambda v, hi: np.clip(v, None, hi), x, high)
    if "c" in [np.result_type(weak_of(each)).kind for each in (x, low, high)]:  # in the order of real, then imaginary parts
        return apply(trace, "minimum", np.minimum, apply(trace, "maximum", np.maximum, x, low), high)
    return apply(trace, "clip", np.clip, x, low, high)


# ---- rounding ----


@handles(np.round, np.around, method="round")
def round_(trace: Trace, a: Any, decimals: int = 0, out: Any = None) -> Any:
    refuse("round", out=out)
    x = operand(trace, a)
    kind = dtype_of(x).kind
    if kind == "b":
        x, kind = cast(trace, x, np.float16), "f"
    if kind in "iu" and decimals >= 0:
        return alias(x, np.round(unwrap(x), decimals))
    if decimals == 0:
        return apply(trace, "rint", lambda v: np.round(v), x)
    exact = np.round(unwrap(x), decimals)
    if kind in "iu":
        exact = exact.astype(np.float64)
    factor = float(10 ** abs(decimals))
    before, after = ("mul", "div") if decimals > 0 else ("div", "mul")
    scaled = apply(trace, before, np.multiply if decimals > 0 else np.divide, x, factor)
    made = apply(trace, after, lambda *_: exact, apply(trace, "rint", np.rint, scaled), factor)
    return cast(trace, made, dtype_of(x))


@handles(getattr(np, "fix", None))
def fix(trace: Trace, x: Any, out: Any = None) -> Any:
    refuse("fix", out=out)
    warned(np.fix, 0.5)  # deprecated from numpy 2.5 on
    return apply(trace, "trunc", np.trunc, operand(trace, x))


# ---- closeness ----


@handles(np.isclose)
def isclose(trace: Trace, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    if dtype_of(y).kind not in "fc":
        y = cast(trace, y, np.float64)
    relative, absolute = operand(trace, rtol), operand(trace, atol)
    with np.errstate(invalid="ignore"):
        distance = apply(trace, "abs", np.absolute, apply(trace, "sub", np.subtract, x, y))
        bound = apply(trace, "add", np.add, absolute, apply(trace, "mul", np.multiply, relative, apply(trace, "abs", np.absolute, y)))
        close = apply(trace, "less_equal", np.less_equal, distance, bound)
        close = apply(trace, "bitwise_and", np.bitwise_and, close, apply(trace, "isfinite", np.isfinite, y))
        close = apply(trace, "bitwise_or", np.bitwise_or, close, apply(trace, "equal", np.equal, x, y))
        if equal_nan:
            both = apply(trace, "bitwise_and", np.bitwise_and, apply(trace, "isnan", np.isnan, x), apply(trace, "isnan", np.isnan, y))
            close = apply(trace, "bitwise_or", np.bitwise_or, close, both)
    return close


@handles(np.allclose)
def allclose(trace: Trace, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> bool:
    close = isclose(trace, a, b, rtol, atol, equal_nan)
    return bool(call(trace, "reduce_all", close, axes=_all(close)))


@handles(np.array_equal)
def array_equal(trace: Trace, a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    x, y = operand(trace, a1), operand(trace, a2)
    if np.shape(form_of(x)) != np.shape(form_of(y)):
        return False
    same = apply(trace, "equal", np.equal, x, y)
    if equal_nan:
        both = apply(trace, "bitwise_and", np.bitwise_and, apply(trace, "isnan", np.isnan, x), apply(trace, "isnan", np.isnan, y))
        same = apply(trace, "bitwise_or", np.bitwise_or, same, both)
    return bool(call(trace, "reduce_all", same, axes=_all(same)))


@handles(np.array_equiv)
def array_equiv(trace: Trace, a1: Any, a2: Any) -> bool:
    x, y = operand(trace, a1), operand(trace, a2)
    try:
        np.broadcast_shapes(np.shape(form_of(x)), np.shape(form_of(y)))
    except ValueError:
        return False
    same = apply(trace, "equal", np.equal, x, y)
    return bool(call(trace, "reduce_all", same, axes=_all(same)))


# ---- repairs and special functions ----


@handles(np.nan_to_num)
def nan_to_num(trace: Trace, x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    if copy is False:
        refuse("nan_to_num", copy=copy)
    x = operand(trace, x)
    kind = dtype_of(x).kind
    if kind not in "fc":
        return alias(x, np.nan_to_num(unwrap(x)))
    if kind == "c":
        parts = [_repair(trace, part(trace, x), nan, posinf, neginf) for part in (real, imag)]
        return apply(trace, "complex_of", REGISTRY["complex_of"].evaluate, *parts)
    return _repair(trace, x, nan, posinf, neginf)


def _repair(trace: Trace, x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    if not trace.is_graph and find_tracer((nan, posinf, neginf)) is None:  # the values are known
        repaired = np.nan_to_num(unwrap(x), True, nan, posinf, neginf)
        return apply(trace, "where", lambda *_: repaired, np.isfinite(unwrap(x)), x, repaired)
    info = np.finfo(dtype_of(x))
    high = operand(trace, float(info.max) if posinf is None else posinf)
    low = operand(trace, float(info.min) if neginf is None else neginf)
    made = apply(trace, "where", scalar_where, apply(trace, "greater", np.greater, x, 0), high, low)
    made = apply(trace, "where", scalar_where, apply(trace, "isnan", np.isnan, x), operand(trace, nan), made)
    made = cast(trace, made, info.dtype)
    return apply(trace, "where", scalar_where, apply(trace, "isfinite", np.isfinite, x), x, made)  # one mask: 0 times inf passes none


@handles(np.sinc)
def sinc(trace: Trace, x: Any) -> Any:
    """sin(t) / t with t = pi x; near 0 the series, whose derivatives of every order are exact where those of the quotient cancel."""
    x = operand(trace, x)
    if (type(x) is Tracer and not isinstance(x.form, (np.ndarray, np.generic))) or dtype_of(x).kind in "biu":
        x = cast(trace, x, np.result_type(dtype_of(x), np.float64))
    scaled = apply(trace, "mul", np.multiply, np.pi, x)
    near = apply(trace, "less", np.less, apply(trace, "abs", np.absolute, scaled), 0.3)
    if not trace.is_graph and not np.any(unwrap(near)):  # the values are known
        return apply(trace, "div", np.divide, apply(trace, "sin", np.sin, scaled), scaled)
    small = apply(trace, "where", scalar_where, near, scaled, 0.0)
    square = apply(trace, "mul", np.multiply, small, small)
    series: Any = 1.0 / math.factorial(19)
    for k in range(8, -1, -1):
        series = apply(trace, "sub", np.subtract, 1.0 / math.factorial(2 * k + 1), apply(trace, "mul", np.multiply, square, series))
    safe = apply(trace, "where", scalar_where, near, 1.0, scaled)
    quotient = apply(trace, "div", np.divide, apply(trace, "sin", np.sin, safe), safe)
    return apply(trace, "where", scalar_where, near, series, quotient)


@handles_method("is_integer")
def is_integer(trace: Trace, x: Any) -> bool:
    whole = apply(trace, "equal", np.equal, x, apply(trace, "trunc", np.trunc, x))
    return bool(whole)
