"""Elementwise primitives: one scalar in per operand, one scalar out, numpy's broadcasting.

Derivative rules ignore broadcasting. Holomorphic ops multiply by the plain derivative; for the others a cotangent of
complex z = x + iy means du/dx - i du/dy. Slopes at kinks and singular points are declared here: abs'(0) = 0, ties of
maximum share equally, x**0 at 0 and 0**y with respect to y are flat, hypot and arctan2 at the origin are flat.
"""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import COMMUTATIVE, ELEMENTWISE, IDENTITY, LINEAR, PART, PURE, Masked, Primitive, primitive
from irgrad.ir.value import Value
from irgrad.ops.rules import (
    Emit,
    Rule,
    broadcast_avals,
    declare,
    flat,
    holomorphic,
    is_complex,
    is_inexact,
    kinds,
    nonzero,
    ordered,
    pass_on,
    promote,
    reject,
    same_aval,
    ufunc_aval,
)

LN2 = math.log(2.0)
LN10 = math.log(10.0)


# ---- sign, powers, roots ----

neg = holomorphic(
    "neg", np.negative, lambda b, ct, out, x: b.neg(ct), emit=dict.fromkeys("iufc", "-{0}"), traits=LINEAR, operator=python.neg
)


def _sign_vjp(b: Builder, ct: Any, out: Any, x: Any) -> Any:
    """Of z / |z|: i Im(ct s) conj(s) / |z|."""
    if not is_complex(b, x):
        return None
    turn = b.div(b.imag(b.mul(ct, out)), nonzero(b, b.abs(x)))
    return b.mul(b.mul(1j, turn), b.conj(out))


def _sign_jvp(b: Builder, t: Any, out: Any, x: Any) -> Any:
    if not is_complex(b, x):
        return None
    turn = b.div(b.imag(b.mul(t, b.conj(out))), nonzero(b, b.abs(x)))
    return b.mul(b.mul(1j, turn), out)


sign = declare("sign", np.sign, (_sign_vjp,), (_sign_jvp,), "sign({0})")


def _abs_vjp(b: Builder, ct: Any, out: Any, x: Any) -> Any:
    slope = b.sign(x)
    return b.mul(ct, b.conj(slope) if is_complex(b, x) else slope)


def _abs_jvp(b: Builder, t: Any, out: Any, x: Any) -> Any:
    return b.real(b.mul(t, b.conj(b.sign(x)))) if is_complex(b, x) else b.mul(t, b.sign(x))


abs_ = declare(
    "abs",
    np.absolute,
    (_abs_vjp,),
    (_abs_jvp,),
    kinds("{0}", f="fabs({0})", c="hypot(real({0}), imag({0}))", i="select({0} < 0, -{0}, {0})"),
    operator=python.abs,
)
square = holomorphic("square", np.square, lambda b, ct, out, x: b.mul(ct, b.mul(2.0, x)), emit=kinds("{0} * {0}", b="{0}"))
sqrt = holomorphic("sqrt", np.sqrt, lambda b, ct, out, x: b.div(b.mul(ct, 0.5), out), emit="sqrt({0})")
cbrt = holomorphic("cbrt", np.cbrt, lambda b, ct, out, x: b.div(ct, b.mul(3.0, b.square(out))), emit="cbrt({0})")
reciprocal = holomorphic(
    "reciprocal", np.reciprocal, lambda b, ct, out, x: b.neg(b.mul(ct, b.square(out))), emit={"f": "1.0 / {0}", "c": "1.0 / {0}"}
)


def _integer_pow(x: Any, *, n: int) -> Any:
    return np.power(x, n) if isinstance(x, (int, float, complex)) else x**n


def _integer_pow_aval(x: Aval, *, n: int) -> Aval:
    if n < 0 and x.dtype.kind in "biu":
        raise reject("integer_pow", (x,), f"integers to the negative power {n}; expected a float or complex operand")
    return _power_aval(x, _INT)


def _integer_pow_rule(b: Builder, ct: Any, out: Any, x: Any, *, n: int) -> Any:
    if n in (0, 1):
        return ct if n else None
    return b.mul(ct, b.mul(float(n), x if n == 2 else b.integer_pow(x, n=n - 1)))


_power_aval = ufunc_aval("integer_pow", np.power)
_INT = Aval((), np.dtype(np.int64), "python")
integer_pow = primitive(
    "integer_pow",
    evaluate=_integer_pow,
    aval=_integer_pow_aval,
    vjp=(_integer_pow_rule,),
    jvp=(_integer_pow_rule,),
    traits=ELEMENTWISE | PURE,
)

# ---- exponentials and logarithms ----

exp = holomorphic("exp", np.exp, lambda b, ct, out, x: b.mul(ct, out), emit="exp({0})")
exp2 = holomorphic("exp2", np.exp2, lambda b, ct, out, x: b.mul(ct, b.mul(LN2, out)), emit="exp2({0})")
expm1 = holomorphic("expm1", np.expm1, lambda b, ct, out, x: b.mul(ct, b.add(out, 1.0)), emit="expm1({0})")
log = holomorphic("log", np.log, lambda b, ct, out, x: b.div(ct, x), emit="log({0})")
log2 = holomorphic("log2", np.log2, lambda b, ct, out, x: b.div(ct, b.mul(LN2, x)), emit="log2({0})")
log10 = holomorphic("log10", np.log10, lambda b, ct, out, x: b.div(ct, b.mul(LN10, x)), emit="log10({0})")
log1p = holomorphic("log1p", np.log1p, lambda b, ct, out, x: b.div(ct, b.add(x, 1.0)), emit="log1p({0})")

# ---- circular and hyperbolic functions ----


def _one_minus_square(b: Builder, x: Any) -> Any:
    """1 - x**2 without cancellation near 1."""
    return b.mul(b.sub(1.0, x), b.add(1.0, x))


sin = holomorphic("sin", np.sin, lambda b, ct, out, x: b.mul(ct, b.cos(x)), emit="sin({0})")
cos = holomorphic("cos", np.cos, lambda b, ct, out, x: b.neg(b.mul(ct, b.sin(x))), emit="cos({0})")
tan = holomorphic("tan", np.tan, lambda b, ct, out, x: b.mul(ct, b.add(1.0, b.mul(out, out))), emit="tan({0})")
arcsin = holomorphic("arcsin", np.arcsin, lambda b, ct, out, x: b.div(ct, b.sqrt(_one_minus_square(b, x))), emit="asin({0})")
arccos = holomorphic("arccos", np.arccos, lambda b, ct, out, x: b.neg(b.div(ct, b.sqrt(_one_minus_square(b, x)))), emit="acos({0})")
arctan = holomorphic("arctan", np.arctan, lambda b, ct, out, x: b.div(ct, b.add(1.0, b.mul(x, x))), emit="atan({0})")
sinh = holomorphic("sinh", np.sinh, lambda b, ct, out, x: b.mul(ct, b.cosh(x)), emit="sinh({0})")
cosh = holomorphic("cosh", np.cosh, lambda b, ct, out, x: b.mul(ct, b.sinh(x)), emit="cosh({0})")
tanh = holomorphic("tanh", np.tanh, lambda b, ct, out, x: b.mul(ct, b.sub(1.0, b.mul(out, out))), emit="tanh({0})")
arcsinh = holomorphic("arcsinh", np.arcsinh, lambda b, ct, out, x: b.div(ct, b.sqrt(b.add(1.0, b.mul(x, x)))), emit="asinh({0})")
arccosh = holomorphic(  # two roots: one root of x**2 - 1 is wrong in the left half plane
    "arccosh", np.arccosh, lambda b, ct, out, x: b.div(ct, b.mul(b.sqrt(b.sub(x, 1.0)), b.sqrt(b.add(x, 1.0)))), emit="acosh({0})"
)
arctanh = holomorphic("arctanh", np.arctanh, lambda b, ct, out, x: b.div(ct, _one_minus_square(b, x)), emit="atanh({0})")

# ---- rounding ----

_WHOLE = {"b": "{0}", "i": "{0}", "u": "{0}"}
floor = flat("floor", np.floor, {"f": "floor({0})", **_WHOLE})
ceil = flat("ceil", np.ceil, {"f": "ceil({0})", **_WHOLE})
trunc = flat("trunc", np.trunc, {"f": "trunc({0})", **_WHOLE})
rint = flat("rint", np.rint, {"f": "rint({0})"})

# ---- complex parts ----


def _copy_of(part: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`part` returns views; a result that is no view must not share memory with its operand."""

    def evaluate(x: Any) -> Any:
        y = part(x)
        return y.copy() if isinstance(y, np.ndarray) else y

    return evaluate


def _part_aval(x: Aval) -> Aval:
    return Aval(x.shape, np.real(np.empty(0, x.dtype)).dtype)


_angle_of_parts = ufunc_aval("angle", np.arctan2)


def _angle_aval(x: Aval) -> Aval:
    part = _part_aval(x)
    return _angle_of_parts(_INT, part)


def _angle_vjp(b: Builder, ct: Any, out: Any, x: Any) -> Any:
    """ct conj(iz) / |z|**2, with z = s |z|."""
    if not is_complex(b, x):
        return None
    return b.mul(b.div(ct, nonzero(b, b.abs(x))), b.mul(-1j, b.conj(b.sign(x))))


def _angle_jvp(b: Builder, t: Any, out: Any, x: Any) -> Any:
    return b.div(b.imag(b.mul(t, b.conj(b.sign(x)))), nonzero(b, b.abs(x))) if is_complex(b, x) else None


conj = declare(
    "conj",
    np.conjugate,
    (lambda b, ct, out, x: b.conj(ct) if is_complex(b, ct) else ct,),
    (lambda b, t, out, x: b.conj(t) if is_complex(b, t) else t,),
    kinds("{0}", c="conj({0})"),
    LINEAR,
)
real = primitive(
    "real",
    evaluate=_copy_of(np.real),
    aval=_part_aval,
    vjp=(pass_on,),
    jvp=(lambda b, t, out, x: b.real(t),),
    emit=kinds("{0}", c="real({0})"),
    traits=ELEMENTWISE | PURE | LINEAR | PART,
    captures=(np.real,),
)
imag = primitive(
    "imag",
    evaluate=_copy_of(np.imag),
    aval=_part_aval,
    vjp=(lambda b, ct, out, x: b.mul(-1j, ct) if is_complex(b, x) else None,),
    jvp=(lambda b, t, out, x: b.imag(t) if is_complex(b, x) else None,),
    emit=kinds("0", c="imag({0})", f="0.0"),
    traits=ELEMENTWISE | PURE | LINEAR | PART,
    captures=(np.imag,),
)
angle = primitive(
    "angle",
    evaluate=np.angle,
    aval=_angle_aval,
    vjp=(_angle_vjp,),
    jvp=(_angle_jvp,),
    emit={"f": "atan2(0.0, {0})", "c": "atan2(imag({0}), real({0}))"},
    traits=ELEMENTWISE | PURE,
)


def _complex_of(re: Any, im: Any) -> Any:
    dtype = np.result_type(np.result_type(re, im), np.complex64)
    out = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), dtype)
    out.real, out.imag = re, im
    return out if out.ndim else out[()]


def _complex_of_aval(re: Aval, im: Aval) -> Aval:
    if "c" in (re.dtype.kind, im.dtype.kind):
        raise reject("complex_of", (re, im), "expected two real operands", TraceError)
    return Aval(broadcast_avals("complex_of", (re, im)), np.result_type(promote((re, im)), np.complex64))


complex_of = primitive(
    "complex_of",
    evaluate=_complex_of,
    aval=_complex_of_aval,
    vjp=(lambda b, ct, out, re, im: b.real(ct), lambda b, ct, out, re, im: b.neg(b.imag(ct))),
    jvp=(lambda b, t, out, re, im: b.complex_of(t, 0.0), lambda b, t, out, re, im: b.complex_of(0.0, t)),
    emit="complex_of({0}, {1})",
    traits=ELEMENTWISE | PURE | LINEAR,
)

# ---- dtype and marks ----


@lru_cache(maxsize=64)
def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name)


def _convert(x: Any, *, dtype: str) -> Any:
    return x.astype(_dtype(dtype)) if isinstance(x, (np.ndarray, np.generic)) else _dtype(dtype).type(x)


def _convert_aval(x: Aval, *, dtype: str) -> Aval:
    try:
        return Aval(x.shape, _dtype(dtype))
    except TypeError:
        raise reject("convert", (x,), f"{dtype!r} is no numpy dtype; expected a name like 'float32'", TraceError) from None


def _convert_vjp(b: Builder, ct: Any, out: Any, x: Any, *, dtype: str) -> Any:
    return ct if is_inexact(_dtype(dtype)) else None


def _convert_jvp(b: Builder, t: Any, out: Any, x: Any, *, dtype: str) -> Any:
    target = _dtype(dtype)
    if not is_inexact(target):
        return None
    return b.convert(b.real(t) if target.kind == "f" and is_complex(b, t) else t, dtype=dtype)


convert = primitive(
    "convert",
    evaluate=_convert,
    aval=_convert_aval,
    vjp=(_convert_vjp,),
    jvp=(_convert_jvp,),
    emit="{0}",
    traits=ELEMENTWISE | PURE | LINEAR,
)
identity = primitive(
    "identity",
    evaluate=lambda x: x,
    aval=same_aval,
    vjp=(pass_on,),
    jvp=(pass_on,),
    emit="{0}",
    traits=IDENTITY | PURE | LINEAR | ELEMENTWISE,
)
copy = primitive(
    "copy",
    evaluate=lambda x: x.copy(order="K") if isinstance(x, np.ndarray) else x,
    aval=same_aval,
    vjp=(pass_on,),
    jvp=(pass_on,),
    emit="{0}",
    traits=IDENTITY | PURE | LINEAR | ELEMENTWISE,
)
stop_gradient = primitive(
    "stop_gradient",
    evaluate=lambda x: x,
    aval=same_aval,
    vjp=(None,),
    jvp=(None,),
    emit="{0}",
    traits=PURE | ELEMENTWISE,
)

# ---- arithmetic ----


def _minus(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    return b.neg(ct)


def _pow_by_base(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    """y x**(y-1), and 0 at x = y = 0."""
    if not isinstance(y, Value):  # no derivative by y follows, so y = 0 may be flat for every x: no work on arrays
        less = b.where(b.equal(y, 0.0), 0.0, b.sub(y, 1.0))
        if b.dtype(less) != b.dtype(out):
            less = b.convert(less, dtype=b.dtype(out).name)
        return b.mul(ct, b.mul(y, b.pow(x, less)))
    slope = b.mul(y, b.pow(x, b.sub(y, 1.0)))
    return b.mul(ct, b.where(b.logical_and(b.equal(x, 0.0), b.equal(y, 0.0)), 0.0, slope))


def _pow_by_exponent(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    """The logarithm of a negative base is complex where the power is."""
    if is_complex(b, out) and not is_complex(b, x):
        x = complex(x) if isinstance(x, (bool, int, float)) else b.convert(x, dtype=b.dtype(out).name)
    return b.mul(ct, b.mul(out, b.log(nonzero(b, x))))


add = holomorphic("add", np.add, pass_on, pass_on, emit=kinds("{0} + {1}", b="{0} | {1}"), traits=LINEAR | COMMUTATIVE, operator=python.add)
sub = holomorphic("sub", np.subtract, pass_on, _minus, emit=dict.fromkeys("iufc", "{0} - {1}"), traits=LINEAR, operator=python.sub)
mul = holomorphic(
    "mul",
    np.multiply,
    lambda b, ct, out, x, y: b.mul(ct, y),
    lambda b, ct, out, x, y: b.mul(ct, x),
    emit=kinds("{0} * {1}", b="{0} & {1}"),
    traits=COMMUTATIVE,
    operator=python.mul,
)
div = holomorphic(
    "div",
    np.true_divide,
    lambda b, ct, out, x, y: b.div(ct, y),
    lambda b, ct, out, x, y: b.neg(b.div(b.mul(ct, out), y)),
    emit="{0} / {1}",
    operator=python.truediv,
)
pow_ = holomorphic("pow", np.power, _pow_by_base, _pow_by_exponent, emit={"f": "pow({0}, {1})", "c": "pow({0}, {1})"}, operator=python.pow)
floor_divide = flat("floor_divide", np.floor_divide, dict.fromkeys("iuf", "floor_divide({0}, {1})"), operator=python.floordiv)
remainder = holomorphic(  # x - y floor(x / y)
    "remainder",
    np.remainder,
    pass_on,
    lambda b, ct, out, x, y: b.neg(b.mul(ct, b.floor_divide(x, y))),
    emit=dict.fromkeys("iuf", "remainder({0}, {1})"),
    operator=python.mod,
)
fmod = holomorphic(  # x - y trunc(x / y); the quotient of x - out is whole up to rounding
    "fmod",
    np.fmod,
    pass_on,
    lambda b, ct, out, x, y: b.neg(b.mul(ct, b.rint(b.div(b.sub(x, out), y)))),
    emit={"f": "fmod({0}, {1})"},
)


def _along(b: Builder, ct: Any, x: Any, radius: Any) -> Any:
    """ct x / radius, 0 at the origin."""
    return b.div(b.mul(ct, x), nonzero(b, radius))


def _across(b: Builder, ct: Any, x: Any, y: Any, at: Any) -> Any:
    """ct at / (x**2 + y**2), 0 at the origin; no overflow or underflow of the squares."""
    radius = nonzero(b, b.hypot(x, y))
    return b.mul(b.div(ct, radius), b.div(at, radius))


hypot = holomorphic(
    "hypot",
    np.hypot,
    lambda b, ct, out, x, y: _along(b, ct, x, out),
    lambda b, ct, out, x, y: _along(b, ct, y, out),
    emit="hypot({0}, {1})",
    traits=COMMUTATIVE,
)
arctan2 = holomorphic(
    "arctan2",
    np.arctan2,
    lambda b, ct, out, x, y: _across(b, ct, x, y, y),
    lambda b, ct, out, x, y: b.neg(_across(b, ct, x, y, x)),
    emit="atan2({0}, {1})",
)
copysign = holomorphic(
    "copysign",
    np.copysign,
    lambda b, ct, out, x, y: b.mul(ct, b.mul(b.sign(x), b.copysign(1.0, y))),
    None,
    emit="copysign({0}, {1})",
)
nextafter = holomorphic("nextafter", np.nextafter, pass_on, None, emit="nextafter({0}, {1})")

# ---- choices: their cotangents carry the mask of the branch taken ----


def _masked(rule: Callable[..., tuple[Any, Any]]) -> tuple[Rule, Rule]:
    """vjp and jvp of an operand from ``rule(b, ct, *operands) -> (value, mask)``."""

    def vjp(b: Builder, ct: Any, out: Any, *operands: Any) -> Masked:
        return Masked(*rule(b, ct, *operands))

    def jvp(b: Builder, t: Any, out: Any, *operands: Any) -> Any:
        return rule(b, t, *operands)[0]

    return vjp, jvp


def choice(name: str, ufunc: np.ufunc, *rules: Callable[..., tuple[Any, Any]], emit: Emit) -> Primitive:
    pairs = [_masked(rule) for rule in rules]
    return declare(name, ufunc, tuple(vjp for vjp, _ in pairs), tuple(jvp for _, jvp in pairs), emit)


def _winner(wins: str, skips_nan: bool, swap: bool) -> Callable[..., tuple[Any, Any]]:
    """Rule of the operand that the comparison `wins` selects; ties give each operand half."""

    def rule(b: Builder, ct: Any, x: Any, y: Any) -> tuple[Any, Any]:
        if swap:
            x, y = y, x
        mask = getattr(b, wins)(x, y)
        if skips_nan:
            mask = b.logical_or(mask, b.isnan(y))
        return b.where(mask, b.where(b.equal(x, y), b.mul(0.5, ct), ct), 0.0), mask

    return rule


maximum = choice(
    "maximum", np.maximum, _winner("greater_equal", False, False), _winner("greater_equal", False, True),
    emit=ordered("maximum({0}, {1})", of_bool="{0} | {1}"),
)  # fmt: skip
minimum = choice(
    "minimum", np.minimum, _winner("less_equal", False, False), _winner("less_equal", False, True),
    emit=ordered("minimum({0}, {1})", of_bool="{0} & {1}"),
)  # fmt: skip
fmax = choice(
    "fmax", np.fmax, _winner("greater_equal", True, False), _winner("greater_equal", True, True),
    emit=ordered("fmax({0}, {1})", of_bool="{0} | {1}"),
)  # fmt: skip
fmin = choice(
    "fmin", np.fmin, _winner("less_equal", True, False), _winner("less_equal", True, True),
    emit=ordered("fmin({0}, {1})", of_bool="{0} & {1}"),
)  # fmt: skip


def _heaviside_by_height(b: Builder, ct: Any, x: Any, height: Any) -> tuple[Any, Any]:
    mask = b.equal(x, 0.0)
    return b.where(mask, ct, 0.0), mask


_heaviside_vjp, _heaviside_jvp = _masked(_heaviside_by_height)
heaviside = declare(
    "heaviside",
    np.heaviside,
    (None, _heaviside_vjp),
    (None, _heaviside_jvp),
    "select({0} < 0.0, 0.0, select({0} > 0.0, 1.0, select({0} == 0.0, {1}, {0})))",
)


def _condition(b: Builder, cond: Any) -> Any:
    return cond if b.dtype(cond).kind == "b" else b.not_equal(cond, 0)


def _where_true(b: Builder, ct: Any, out: Any, cond: Any, x: Any, y: Any) -> Masked:
    cond = _condition(b, cond)
    return Masked(b.where(cond, ct, 0.0), cond)


def _where_false(b: Builder, ct: Any, out: Any, cond: Any, x: Any, y: Any) -> Masked:
    cond = _condition(b, cond)
    return Masked(b.where(cond, 0.0, ct), b.logical_not(cond))


def _where_jvp(b: Builder, tangents: tuple[Any, Any, Any], out: Any, cond: Any, x: Any, y: Any) -> Any:
    _, tx, ty = tangents
    return b.where(cond, 0.0 if tx is None else tx, 0.0 if ty is None else ty)


def _where_aval(cond: Aval, x: Aval, y: Aval) -> Aval:
    return Aval(broadcast_avals("where", (cond, x, y)), promote((x, y)))


where = primitive(
    "where",
    evaluate=np.where,
    aval=_where_aval,
    vjp=(None, _where_true, _where_false),
    jvp=_where_jvp,
    emit="select({0}, {1}, {2})",
    traits=ELEMENTWISE | PURE,
)


def _clip(x: Any, lo: Any, hi: Any) -> Any:
    return np.minimum(np.maximum(x, lo), hi)


def _clip_aval(x: Aval, lo: Aval, hi: Aval) -> Aval:
    if "c" in (x.dtype.kind, lo.dtype.kind, hi.dtype.kind):
        raise reject("clip", (x, lo, hi), "expected real operands", TraceError)
    return Aval(broadcast_avals("clip", (x, lo, hi)), promote((x, lo, hi)))


def _inside(b: Builder, ct: Any, x: Any, lo: Any, hi: Any) -> tuple[Any, Any]:
    mask = b.logical_and(b.greater(x, lo), b.less(x, hi))
    return b.where(mask, ct, 0.0), mask


def _at_low(b: Builder, ct: Any, x: Any, lo: Any, hi: Any) -> tuple[Any, Any]:
    mask = b.logical_and(b.less_equal(x, lo), b.less(lo, hi))
    return b.where(mask, ct, 0.0), mask


def _at_high(b: Builder, ct: Any, x: Any, lo: Any, hi: Any) -> tuple[Any, Any]:
    mask = b.logical_or(b.greater_equal(x, hi), b.greater_equal(lo, hi))
    return b.where(mask, ct, 0.0), mask


_clip_rules = [_masked(rule) for rule in (_inside, _at_low, _at_high)]
clip = primitive(
    "clip",
    evaluate=_clip,
    aval=_clip_aval,
    vjp=tuple(vjp for vjp, _ in _clip_rules),
    jvp=tuple(jvp for _, jvp in _clip_rules),
    emit=ordered("minimum(maximum({0}, {1}), {2})", of_bool="({0} | {1}) & {2}"),
    traits=ELEMENTWISE | PURE,
)

# ---- bits ----

bitwise_and = flat("bitwise_and", np.bitwise_and, dict.fromkeys("biu", "{0} & {1}"), COMMUTATIVE, operator=python.and_)
bitwise_or = flat("bitwise_or", np.bitwise_or, dict.fromkeys("biu", "{0} | {1}"), COMMUTATIVE, operator=python.or_)
bitwise_xor = flat("bitwise_xor", np.bitwise_xor, dict.fromkeys("biu", "{0} ^ {1}"), COMMUTATIVE, operator=python.xor)
left_shift = flat("left_shift", np.left_shift, dict.fromkeys("iu", "shift_left({0}, {1})"), operator=python.lshift)
right_shift = flat("right_shift", np.right_shift, dict.fromkeys("iu", "shift_right({0}, {1})"), operator=python.rshift)
