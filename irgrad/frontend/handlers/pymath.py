"""The `math` module for traced code: `MATH` maps each of its names to a form that records on traced values.

The value of a result is math's own, a Python number. Rounding to an integer keeps the integer traced. Functions of integers
(factorial, gcd, comb) see the integer and guard it; what has no primitive refuses the traced value, as ``float(t)`` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import alias, apply, as_array, call, cast, dtype_of, find_tracer, run, shape_of
from irgrad.frontend.handlers.picking import python_number
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer

MATH: dict[str, Any] = {name: getattr(math, name) for name in dir(math) if not name.startswith("_")}


def _traced(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a form for traced arguments; plain ones go to math."""
    plain: Any = getattr(math, name, None)

    def register(impl: Callable[..., Any]) -> Callable[..., Any]:
        if plain is None:
            return impl

        def function(*args: Any, **kwargs: Any) -> Any:
            found = find_tracer(args)
            if found is None:
                return plain(*args, **kwargs)
            return run(found._trace, name, impl, args, kwargs)

        function.__name__ = function.__qualname__ = name
        function.__doc__ = plain.__doc__
        MATH[name] = function
        return impl

    return register


def _double(trace: Trace, x: Any) -> Any:
    """A number or 0-d array in double precision.

    Raises TypeError for anything that float() refuses.
    """
    if type(x) is not Tracer:
        return float(x)
    if shape_of(x) or dtype_of(x).kind == "c":
        raise TypeError("only real numbers and 0-dimensional arrays can be converted to Python scalars")
    return x if type(x.value) is float else cast(trace, x, np.float64)


def _one(name: str, op: str) -> None:
    fn = getattr(math, name, None)

    @_traced(name)
    def unary(trace: Trace, x: Any, /) -> Any:
        return apply(trace, op, fn, _double(trace, x))  # type: ignore[arg-type]


def _two(name: str, op: str) -> None:
    fn = getattr(math, name, None)

    @_traced(name)
    def binary(trace: Trace, x: Any, y: Any, /) -> Any:
        return apply(trace, op, fn, _double(trace, x), _double(trace, y))  # type: ignore[arg-type]


for _name, _op in (
    ("exp", "exp"),
    ("exp2", "exp2"),
    ("expm1", "expm1"),
    ("log2", "log2"),
    ("log10", "log10"),
    ("log1p", "log1p"),
    ("sqrt", "sqrt"),
    ("cbrt", "cbrt"),
    ("sin", "sin"),
    ("cos", "cos"),
    ("tan", "tan"),
    ("asin", "arcsin"),
    ("acos", "arccos"),
    ("atan", "arctan"),
    ("sinh", "sinh"),
    ("cosh", "cosh"),
    ("tanh", "tanh"),
    ("asinh", "arcsinh"),
    ("acosh", "arccosh"),
    ("atanh", "arctanh"),
    ("fabs", "abs"),
    ("isnan", "isnan"),
    ("isinf", "isinf"),
    ("isfinite", "isfinite"),
):
    _one(_name, _op)
for _name, _op in (("atan2", "arctan2"), ("pow", "pow"), ("copysign", "copysign"), ("fmod", "fmod")):
    _two(_name, _op)


@_traced("log")
def log(trace: Trace, x: Any, base: Any = None, /) -> Any:
    x = _double(trace, x)
    top = apply(trace, "log", math.log, x) if type(x) is Tracer else math.log(x)
    if base is None:
        return top
    base = _double(trace, base)
    return apply(trace, "div", lambda a, b: a / b, top, apply(trace, "log", math.log, base) if type(base) is Tracer else math.log(base))


def _scaled(name: str, factor: float) -> None:
    fn = getattr(math, name)

    @_traced(name)
    def scaled(trace: Trace, x: Any, /) -> Any:
        return apply(trace, "mul", lambda v, _: fn(v), _double(trace, x), factor)


_scaled("radians", math.pi / 180.0)
_scaled("degrees", 180.0 / math.pi)


def _rounding(name: str, op: str) -> None:
    fn = getattr(math, name)

    @_traced(name)
    def rounded(trace: Trace, x: Any, /) -> Any:
        if dtype_of(x).kind in "iu":
            return python_number(trace, x)
        x = _double(trace, x)
        whole = apply(trace, op, lambda v: float(fn(v)), x)
        return alias(cast(trace, whole, np.int64), fn(float(x.value)))


for _name in ("floor", "ceil", "trunc"):
    _rounding(_name, _name)


@_traced("modf")
def modf(trace: Trace, x: Any, /) -> tuple[Any, Any]:
    x = _double(trace, x)
    whole = apply(trace, "trunc", lambda v: math.modf(v)[1], x)
    return apply(trace, "sub", lambda a, _: math.modf(a)[0], x, whole), whole


@_traced("hypot")
def hypot(trace: Trace, *coordinates: Any) -> Any:
    parts = [_double(trace, x) for x in coordinates]
    if len(parts) == 1:
        return apply(trace, "abs", math.fabs, parts[0])
    made = parts[0]
    for x in parts[1:]:
        made = apply(trace, "hypot", math.hypot, made, x)
    return made


@_traced("dist")
def dist(trace: Trace, p: Any, q: Any, /) -> Any:
    if len(p) != len(q):
        raise ValueError("both points must have the same number of dimensions")
    return hypot(trace, *[_double(trace, a) - _double(trace, b) for a, b in zip(p, q, strict=True)]) if len(p) else 0.0


@_traced("fsum")
def fsum(trace: Trace, seq: Any, /) -> Any:
    return _folded(trace, "reduce_sum", seq, math.fsum)


@_traced("prod")
def prod(trace: Trace, iterable: Any, /, *, start: Any = 1) -> Any:
    made = start
    for x in iterable:
        made = made * x
    return made


@_traced("sumprod")
def sumprod(trace: Trace, p: Any, q: Any, /) -> Any:
    total: Any = 0
    for a, b in zip(p, q, strict=True):
        total = total + a * b
    return total


def _folded(trace: Trace, op: str, values: Any, fn: Callable[..., Any]) -> Any:
    """A reduction of a sequence to a Python float."""
    stacked = as_array(trace, values if isinstance(values, (list, tuple)) or type(values) is Tracer else list(values), np.float64)
    return alias(call(trace, op, stacked, axes=(0,)), fn(stacked.value))


@_traced("isclose")
def isclose(trace: Trace, a: Any, b: Any, *, rel_tol: float = 1e-09, abs_tol: float = 0.0) -> bool:
    x, y = _double(trace, a), _double(trace, b)
    if bool(x == y):
        return True
    if not all(bool(apply(trace, "isfinite", math.isfinite, v)) if type(v) is Tracer else math.isfinite(v) for v in (x, y)):
        return False
    size = apply(trace, "maximum", max, _size(trace, x), _size(trace, y))
    bound = apply(trace, "maximum", max, size * rel_tol, abs_tol)
    return bool(_size(trace, x - y) <= bound)


def _size(trace: Trace, x: Any) -> Any:
    return apply(trace, "abs", math.fabs, x) if type(x) is Tracer else math.fabs(x)
