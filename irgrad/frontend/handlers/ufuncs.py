"""numpy's ufuncs as primitives, one to one or composed, with powers.

A literal exponent chooses the algorithm: 2 is `square`, another whole number up to 64 `integer_pow`, one half of an array
`sqrt`. The value is numpy's (or Python's) own in every case.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.errors import UnsupportedError
from irgrad.frontend.choices import powered
from irgrad.frontend.context import current
from irgrad.frontend.documented import of_primitive, of_samples, qualified, with_section
from irgrad.frontend.handlers.core import (
    NP,
    PUBLIC,
    alias,
    apply,
    call,
    cast,
    find_in_call,
    find_tracer,
    handles_method,
    has_data,
    open_trace,
    operand,
    run,
    store,
    unsupported,
    unwrap,
    weak_of,
)
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import FUNCTIONS, UFUNCS, Tracer, counted, is_deferred
from irgrad.ir.primitive import REGISTRY, Primitive

_PLAIN_KEYWORDS = {"casting": "same_kind", "order": "K", "subok": True, "where": True, "out": None, "dtype": None, "signature": None}
LARGEST_POWER = 64
_SQUARE = REGISTRY["square"]
_float64 = np.float64


# A ufunc of irgrad.numpy: records on traced values, otherwise numpy's own; its other attributes are numpy's.
class Ufunc:
    __slots__ = ("__name__", "compose", "op", "ufunc")

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        text = self.ufunc.__doc__
        known = of_samples(qualified(self.ufunc)) if self.op is None else of_primitive(text, self.ufunc, self.op)
        return with_section(text, [known]) if known else text

    def __init_subclass__(cls) -> None:
        setattr(cls, "__doc__", Ufunc.__dict__["__doc__"])

    def __init__(self, ufunc: np.ufunc, op: Primitive | None, compose: Callable[..., Any] | None = None) -> None:
        self.ufunc = ufunc
        self.op: Any = op  # None for a composition
        self.compose = compose
        self.__name__ = ufunc.__name__

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance(np.add, np.ufunc) holds
        return np.ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.slow(args, kwargs)

    def slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any call that is not just traced arrays and plain arrays and numbers."""
        trace = current()
        if trace is None:
            return self.ufunc(*args, **kwargs)
        if find_in_call(args, kwargs) is None and (not trace.is_graph or not has_data(args)):
            return self.ufunc(*args, **kwargs)
        return self.record(trace, args, kwargs)

    def protocol(self, *args: Any, **kwargs: Any) -> Any:
        """The entry for ``__array_ufunc__``."""
        trace = open_trace(args, kwargs)
        if trace is None:
            unsupported(f"{self.__name__} on this kind of argument")
        return self.record(trace, args, kwargs)

    def record(self, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record the call on `trace`, whatever its arguments."""
        ufunc = self.ufunc
        if len(args) > ufunc.nin:
            if any(a is not None for a in args[ufunc.nin :]):
                kwargs = {**kwargs, "out": args[ufunc.nin :]}
            args = args[: ufunc.nin]
        out = kwargs.get("out")
        if out is not None and (type(out) is not tuple or any(o is not None for o in out)):
            kwargs = {k: v for k, v in kwargs.items() if k != "out"}
            return self.into(trace, args, kwargs, out if type(out) is tuple else (out,))
        dtype = _keywords(ufunc, kwargs) if kwargs else None
        if len(args) != ufunc.nin:
            raise TypeError(f"{ufunc.__name__}() takes {ufunc.nin} positional arguments but {len(args)} were given")
        if dtype is None and self.op is not None:
            args = tuple([a if type(a) is Tracer else operand(trace, a) for a in args])
            return trace.apply(self.op, ufunc, *args)
        return run(trace, ufunc.__name__, self.general, args, {"dtype": dtype})

    def into(self, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], outs: tuple[Any, ...]) -> Any:
        """The call with ``out=``, and ``where=`` if given."""
        where = kwargs.pop("where", True)

        def impl(trace: Trace, *args: Any) -> Any:
            made = self.record(trace, args, kwargs)
            results = []
            for out, part in zip(outs, made if type(made) is tuple else (made,), strict=True):
                if out is None:
                    results.append(part)
                    continue
                if where is not True:
                    part = apply(trace, "where", np.where, operand(trace, where), part, out)
                store(trace, out, part, self.ufunc.__name__)
                results.append(out)
            return tuple(results) if type(made) is tuple else results[0]

        return run(trace, self.ufunc.__name__, impl, args, {}, handles=True)

    def general(self, trace: Trace, *args: Any, dtype: np.dtype[Any] | None) -> Any:
        operands = [operand(trace, a) for a in args]
        if dtype is not None:
            operands = [_loop_operand(trace, self.ufunc, a, dtype) for a in operands]
        if self.op is not None:
            return trace.apply(self.op, self.ufunc, *operands)
        assert self.compose is not None
        return self.compose(trace, *operands)

    def __getattr__(self, name: str) -> Any:
        if name in ("reduce", "accumulate", "outer", "reduceat", "at"):
            return lambda *args, **kwargs: self.method(name, args, kwargs)
        return getattr(self.ufunc, name)

    def method(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`reduce` and the like through irgrad.numpy."""
        trace = open_trace(args, kwargs)
        if trace is None or (find_tracer(args) is None and not has_data(args)):
            return getattr(self.ufunc, name)(*args, **kwargs)
        return FUNCTIONS["ufunc"](self.ufunc, name, args, kwargs)

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r}>"

    def __reduce__(self) -> Any:
        return (PUBLIC.__getitem__, (self.ufunc,))


# One operand, one primitive.
class Unary(Ufunc):
    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:
            x = args[0]
            if type(x) is Tracer:
                return x._trace.apply(self.op, self.ufunc, x)
        return self.slow(args, kwargs)


# Two operands, one primitive.
class Binary(Ufunc):
    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 2 and not kwargs:
            x, y = args
            if type(x) is Tracer:
                kind = type(y)
                if kind is Tracer or kind is float or kind is int or kind is np.ndarray:
                    return x._trace.apply(self.op, self.ufunc, x, y)
            elif type(y) is Tracer:
                kind = type(x)
                if kind is float or kind is int or kind is np.ndarray:
                    return y._trace.apply(self.op, self.ufunc, x, y)
        return self.slow(args, kwargs)


def _keywords(ufunc: np.ufunc, kwargs: dict[str, Any]) -> np.dtype[Any] | None:
    """The dtype asked for; keywords at their defaults are ignored, others refused."""
    for name, value in kwargs.items():
        if name == "dtype" or (name in _PLAIN_KEYWORDS and (value is None or value is _PLAIN_KEYWORDS[name] or name == "casting")):
            continue
        if name == "out":
            if isinstance(value, tuple) and all(v is None for v in value):
                continue
            unsupported(f"{ufunc.__name__}(out=)", "use the returned array")
        if name == "where":
            unsupported(f"{ufunc.__name__}(where=)", "use irgrad.numpy.where on the result")
        unsupported(f"{ufunc.__name__}({name}=)", f"leave {name} out")
    dtype = kwargs.get("dtype")
    return None if dtype is None else np.dtype(dtype)


def _loop_operand(trace: Trace, ufunc: np.ufunc, x: Any, dtype: np.dtype[Any]) -> Any:
    """`x` in the dtype that numpy's loop with result `dtype` takes.

    Raises UnsupportedError where operands and result differ in dtype.
    """
    loop = ufunc.resolve_dtypes((dtype,) * ufunc.nin + (None,) * ufunc.nout)
    if any(t != dtype for t in loop):
        unsupported(f"{ufunc.__name__}(dtype={dtype})", "convert the operands with astype")
    if not np.can_cast(weak_of(x) if isinstance(weak_of(x), np.dtype) else np.asarray(weak_of(x)).dtype, dtype, "same_kind"):
        raise TypeError(f"Cannot cast ufunc {ufunc.__name__!r} input to {dtype!r} with casting rule 'same_kind'")
    return cast(trace, x, dtype)


# ---- one primitive each ----

_UNARY = (
    "exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal sin cos tan arcsin arccos arctan sinh cosh tanh "
    "arcsinh arccosh arctanh sign floor ceil trunc rint logical_not isnan isinf isfinite signbit invert"
)
_BINARY = (
    "add floor_divide remainder fmod arctan2 hypot logaddexp logaddexp2 maximum minimum fmax fmin copysign heaviside nextafter bitwise_and "
    "bitwise_or bitwise_xor left_shift right_shift greater greater_equal less less_equal equal not_equal logical_and logical_or logical_xor"
)
_RENAMED = {
    "negative": "neg", "absolute": "abs", "conjugate": "conj", "subtract": "sub", "multiply": "mul", "divide": "div",
}  # fmt: skip


def enter(ufunc: np.ufunc, made: Ufunc) -> Ufunc:
    """Make `made` the traced form of a ufunc."""
    UFUNCS[ufunc] = made.protocol
    PUBLIC[ufunc] = made
    return made


def _direct(name: str, op: str) -> None:
    ufunc: np.ufunc = getattr(np, name)
    enter(ufunc, (Unary if ufunc.nin == 1 else Binary)(ufunc, REGISTRY[op]))


for _name in f"{_UNARY} {_BINARY}".split():
    _direct(_name, _name)
for _name, _op in _RENAMED.items():
    _direct(_name, _op)

# ---- compositions ----


def composes(ufunc: np.ufunc) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register ``compose(trace, *operands)`` for a ufunc without a primitive of its own."""

    def register(compose: Callable[..., Any]) -> Callable[..., Any]:
        enter(ufunc, Ufunc(ufunc, None, compose))
        return compose

    return register


def in_loop(trace: Trace, ufunc: np.ufunc, *operands: Any) -> list[Any]:
    """The operands in the dtypes of numpy's own loop, so that a composition has numpy's result dtype."""
    loop = _loop_of(ufunc, tuple([_weak_type(weak_of(x)) for x in operands]))
    return [cast(trace, x, dtype) for x, dtype in zip(operands, loop, strict=True)]


@functools.lru_cache(maxsize=1024)
def _loop_of(ufunc: np.ufunc, weak: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dtypes that numpy converts operands to."""
    return ufunc.resolve_dtypes((*weak, *(None,) * ufunc.nout))[: ufunc.nin]


def _weak_type(key: Any) -> Any:
    if isinstance(key, np.dtype):
        return key
    return np.dtype(bool) if isinstance(key, bool) else type(key)


def _scaled(ufunc: np.ufunc, factor: float) -> None:
    @composes(ufunc)
    def compose(trace: Trace, x: Any) -> Any:
        (x,) = in_loop(trace, ufunc, x)
        return apply(trace, "mul", lambda v, _: ufunc(v), x, factor)


_ufunc: np.ufunc
for _ufunc in (np.deg2rad, np.radians):
    _scaled(_ufunc, np.pi / 180.0)
for _ufunc in (np.rad2deg, np.degrees):
    _scaled(_ufunc, 180.0 / np.pi)


@composes(np.fabs)
def fabs(trace: Trace, x: Any) -> Any:
    (x,) = in_loop(trace, np.fabs, x)
    return apply(trace, "abs", np.fabs, x)


@composes(np.positive)
def positive(trace: Trace, x: Any) -> Any:
    return apply(trace, "identity", np.positive, x)


@composes(np.float_power)
def float_power(trace: Trace, x: Any, y: Any) -> Any:
    x, y = in_loop(trace, np.float_power, x, y)
    return power(trace, x, y, np.float_power)


@composes(np.divmod)
def divmod_(trace: Trace, x: Any, y: Any) -> tuple[Any, Any]:
    return apply(trace, "floor_divide", np.floor_divide, x, y), apply(trace, "remainder", np.remainder, x, y)


@composes(np.modf)
def modf(trace: Trace, x: Any) -> tuple[Any, Any]:
    (x,) = in_loop(trace, np.modf, x)
    whole = apply(trace, "trunc", np.trunc, x)
    infinite = apply(trace, "isinf", np.isinf, x)
    part = apply(trace, "where", np.where, infinite, 0.0, apply(trace, "sub", np.subtract, x, whole))
    return apply(trace, "copysign", np.copysign, _scalar(part, x), x), whole


def _scalar(part: Any, x: Any) -> Any:
    """`part` as a numpy scalar where `x` is one."""
    return part if isinstance(x.form, np.ndarray) else alias(part, part.form[()])


@composes(np.ldexp)
def ldexp(trace: Trace, x: Any, n: Any) -> Any:
    """By three powers of two: one that takes a number from the least to the greatest is itself out of range."""
    x = in_loop(trace, np.ldexp, x, n)[0]
    limits = np.finfo(x.dtype)
    most = limits.maxexp - limits.minexp + limits.nmant + 4
    left = NP.clip(cast(trace, n, np.int64), -most, most)
    first = NP.floor_divide(left, 3)
    second = NP.floor_divide(NP.subtract(left, first), 2)
    made = x
    for part in (first, second, NP.subtract(NP.subtract(left, first), second)):
        scale = apply(trace, "exp2", np.exp2, cast(trace, part, np.float64))
        made = apply(trace, "mul", np.multiply, made, cast(trace, scale, x.dtype))
    return made


# ---- powers ----


def power(trace: Trace, x: Any, y: Any, fn: Callable[..., Any] = np.power) -> Any:
    """x ** y with `fn`'s value; a literal exponent chooses the algorithm."""
    if trace.choices:
        x, y = powered(trace, x, y)
    if type(y) is Tracer and type(y.form) is int:
        y = operator.index(y)
    if type(x) is Tracer and type(y) in (int, float) and isinstance(x.form, (np.ndarray, np.bool_)) and x.dtype == bool:
        x = cast(trace, x, fn(x.form if isinstance(x.form, np.bool_) else np.empty(0, bool), y).dtype)
    base = x.form if type(x) is Tracer else x
    exponent = _whole(y)
    if type(x) is Tracer and exponent is not None:
        kind = x.dtype.kind if isinstance(base, (np.ndarray, np.generic)) else "i" if isinstance(base, int) else "f"
        if isinstance(base, int) and exponent < 0:
            return apply(trace, "div", lambda one, _: fn(base, y), 1.0, power(trace, x, -exponent, fn))
        if kind in "fc" or (kind in "iu" and type(y) is int and exponent >= 0):
            if exponent == 2:
                return apply(trace, "square", lambda v: fn(v, y), x)
            if abs(exponent) <= LARGEST_POWER:
                made = call(trace, "integer_pow", x, n=exponent)
                if not isinstance(base, np.ndarray) and not is_deferred(made):
                    value = fn(base, y)
                    if type(value) is not type(made.value):
                        made.value = made.form = value
                return made
    elif type(y) is float and y == 0.5 and isinstance(base, np.ndarray) and base.dtype.kind == "f":
        return apply(trace, "sqrt", lambda v: fn(v, y), x)
    made = apply(trace, "pow", fn, x, y)
    if type(made.form) is complex and not any(isinstance(unwrap(v), complex) for v in (x, y)):
        raise UnsupportedError(
            f"a negative Python number to a fractional power is complex, which is not traced ({here()}); use x + 0j or a numpy array"
        )
    return made


def _whole(y: Any) -> int | None:
    """A literal exponent as a whole number, if it is one of moderate size."""
    if type(y) is int:
        return y
    if type(y) is float and y.is_integer() and abs(y) <= LARGEST_POWER:
        return int(y)
    return None


def _power_ufunc(trace: Trace, x: Any, y: Any) -> Any:
    return power(trace, x, y, np.power)


enter(np.power, Ufunc(np.power, None, _power_ufunc))


def _squared(x: Any) -> Any:
    return x**2


def _pow(self: Tracer, other: Any, modulus: Any = None) -> Any:
    if modulus is not None:
        return NotImplemented
    trace = self._trace
    if type(other) is not Tracer and not isinstance(other, (bool, int, float, complex, np.generic, np.ndarray)):
        return NotImplemented
    self = counted(self, other)
    value = self.form
    if type(other) is int and other == 2 and (type(value) is _float64 or (type(value) is np.ndarray and value.dtype.kind in "fc")):
        return trace.apply(_SQUARE, _squared, self)
    if type(other) is int and other >= 0:  # one primitive: it finds its site itself
        return power(trace, self, other, operator.pow)
    return run(trace, "power", power, (self, other, operator.pow), {})


def _rpow(self: Tracer, other: Any) -> Any:
    if not isinstance(other, (bool, int, float, complex, np.generic, np.ndarray)):
        return NotImplemented
    return run(self._trace, "power", power, (other, counted(self, other), operator.pow), {})


def _divmod(self: Tracer, other: Any) -> Any:
    return (self // other, self % other)


def _rdivmod(self: Tracer, other: Any) -> Any:
    return (other // self, other % self)


def _pos(self: Tracer) -> Any:
    return self._trace.apply(REGISTRY["identity"], operator.pos, counted(self))


for _name, _fn in (("pow", _pow), ("rpow", _rpow), ("divmod", _divmod), ("rdivmod", _rdivmod), ("pos", _pos)):
    setattr(Tracer, f"__{_name}__", _fn)


@handles_method("conjugate", "conj")
def conjugate(trace: Trace, x: Any) -> Any:
    value = x.value
    if np.result_type(value).kind != "c":  # the method of a real array answers the array itself, where the ufunc makes one
        return alias(x)
    return apply(trace, "conj", np.conjugate if isinstance(value, (np.ndarray, np.generic)) else type(value).conjugate, x)
