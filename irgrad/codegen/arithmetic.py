"""Scalar routines that kernels call by name, as Numba intrinsics: numpy's semantics where Numba's or LLVM's own differ.

Each works for every dtype it is named for and answers in that dtype: float32 stays float32 and small integers wrap. Functions of
complex numbers are libm's, which numpy calls too, where the platform passes a complex number as two registers (probed by
platform), Numba's own otherwise. Names starting with ``c_`` take and return complex128.
"""

from __future__ import annotations

import cmath
import math
import platform
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.ir as ll
from numba.core import cgutils, types
from numba.extending import intrinsic, register_jitable

from irgrad.codegen import polynomial, vector
from irgrad.codegen.scalar import LONE

LN2 = math.log(2.0)
LOG2_E = math.log2(math.e)
LOG10_E = math.log10(math.e)
REAL = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "tgamma")  # fmt: skip
REAL_PAIRS = ("fmod", "atan2", "hypot", "pow", "nextafter", "copysign")
INSTRUCTIONS = ("sqrt", "floor", "ceil", "trunc", "rint", "fabs")
COMPLEX = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh")


# ---- real functions of libm ----


def _library(name: str, arity: int) -> Any:
    """A call of libm's `name`, or of its float form `namef` for float32."""

    @intrinsic
    def unary(typing_context: Any, x: Any) -> Any:
        return _libm_signature(name, (x,))

    @intrinsic
    def binary(typing_context: Any, x: Any, y: Any) -> Any:
        return _libm_signature(name, (x, y))

    return unary if arity == 1 else binary


def _lone(name: str) -> Any:
    """A call of libm's `name` on a number that stands alone: a chain of such calls waits for each of them."""

    @intrinsic
    def unary(typing_context: Any, x: Any) -> Any:
        real = types.float32 if x == types.float32 else types.float64
        return real(real), lambda context, builder, signature, args: _call_symbol(builder, name, args)

    return unary


def _libm_signature(name: str, operands: tuple[Any, ...]) -> Any:
    real = types.float32 if all(o == types.float32 for o in operands) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call_libm(builder, name, args)

    return real(*([real] * len(operands))), codegen


def _call_libm(builder: Any, name: str, args: Any) -> Any:
    type_ = args[0].type
    value = polynomial.written(builder, name, args)
    if value is not None:
        return value
    vectorised = vector.declare(builder.module, name, type_, len(args))
    if vectorised is not None:
        return builder.call(vectorised, args)
    return _call_symbol(builder, name, args)


def _call_symbol(builder: Any, name: str, args: Any) -> Any:
    type_ = args[0].type
    symbol = name + ("f" if isinstance(type_, ll.FloatType) else "")
    function = cgutils.get_or_insert_function(builder.module, ll.FunctionType(type_, [type_] * len(args)), symbol)
    function.attributes.add("nounwind")
    function.attributes.add("readnone")
    return builder.call(function, args)


def _llvm_intrinsic(name: str) -> Any:
    """A call of llvm.`name`, which becomes one instruction where the processor has it."""

    @intrinsic
    def unary(typing_context: Any, x: Any) -> Any:
        real = types.float32 if x == types.float32 else types.float64

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.call(builder.module.declare_intrinsic(f"llvm.{name}", [args[0].type]), args)

        return real(real), codegen

    return unary


# ---- order and sign ----


def _binary(write: Callable[[Any, Any, Any, Any], Any]) -> Any:
    """An intrinsic of two operands of one dtype: ``write(builder, dtype, a, b)`` in that dtype."""

    @intrinsic
    def binary(typing_context: Any, a: Any, b: Any) -> Any:
        dtype = typing_context.unify_types(a, b) if a != b else a

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return write(builder, dtype, *args)

        return dtype(dtype, dtype), codegen

    return binary


def _compare(builder: Any, dtype: Any, relation: str, a: Any, b: Any) -> Any:
    if isinstance(dtype, types.Float):
        return builder.fcmp_ordered(relation, a, b)
    return builder.icmp_signed(relation, a, b) if dtype.signed else builder.icmp_unsigned(relation, a, b)


def _choice(relation: str, skips_nan: bool) -> Any:
    """The operand that `relation` selects; a nan wins, or loses where `skips_nan`."""

    def write(builder: Any, dtype: Any, a: Any, b: Any) -> Any:
        first = _compare(builder, dtype, relation, a, b)
        if isinstance(dtype, types.Float):
            odd = b if skips_nan else a
            first = builder.or_(first, builder.fcmp_unordered("uno", odd, odd))
        return builder.select(first, a, b)

    return _binary(write)


maximum = _choice(">=", False)
minimum = _choice("<=", False)
fmax = _choice(">=", True)
fmin = _choice("<=", True)


def _extreme(name: str) -> Any:
    """llvm.`name`: a nan wins, and a loop that folds with it vectorises (the choice above does not)."""

    def write(builder: Any, dtype: Any, a: Any, b: Any) -> Any:
        function_type = ll.FunctionType(a.type, [a.type] * 2)
        return builder.call(builder.module.declare_intrinsic(f"llvm.{name}", [a.type], function_type), (a, b))

    return _binary(write)


greatest = _extreme("maximum")
least = _extreme("minimum")


@intrinsic
def sign(typing_context: Any, x: Any) -> Any:
    """1, 0 or -1 in the dtype of x; nan stays."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,) = args
        zero, one = ll.Constant(value.type, 0), ll.Constant(value.type, 1)
        positive = builder.select(_compare(builder, x, ">", value, zero), one, zero)
        if not isinstance(x, types.Float):
            if not x.signed:
                return positive
            return builder.select(_compare(builder, x, "<", value, zero), ll.Constant(value.type, -1), positive)
        signed = builder.select(_compare(builder, x, "<", value, zero), ll.Constant(value.type, -1.0), positive)
        return builder.select(builder.fcmp_unordered("uno", value, value), value, signed)

    return x(x), codegen


@intrinsic
def signbit(typing_context: Any, x: Any) -> Any:
    """Is the sign bit of a float set?"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = ll.IntType(32 if x == types.float32 else 64)
        return builder.icmp_signed("<", builder.bitcast(args[0], bits), ll.Constant(bits, 0))

    return types.boolean(x), codegen


# ---- division ----


def _float_remainder(builder: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """fmod(a, b), whether its sign differs from the divisor's, and whether it is zero."""
    zero = ll.Constant(a.type, 0.0)
    mod = _call_libm(builder, "fmod", (a, b))
    is_zero = builder.fcmp_ordered("==", mod, zero)
    other = builder.xor(builder.fcmp_ordered("<", b, zero), builder.fcmp_ordered("<", mod, zero))
    return mod, builder.and_(builder.not_(is_zero), other), is_zero


def _copy_sign(builder: Any, size: Any, sign_of: Any) -> Any:
    function_type = ll.FunctionType(size.type, [size.type] * 2)
    return builder.call(builder.module.declare_intrinsic("llvm.copysign", [size.type], function_type), (size, sign_of))


def _floor_divide(builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    """numpy's floor division: npy_divmod for floats; integers divided by 0 give 0, the least integer by -1 itself."""
    if isinstance(dtype, types.Float):
        zero, one = ll.Constant(a.type, 0.0), ll.Constant(a.type, 1.0)
        mod, other, _ = _float_remainder(builder, a, b)
        quotient = builder.fdiv(builder.fsub(a, mod), b)
        quotient = builder.select(other, builder.fsub(quotient, one), quotient)
        low = builder.call(builder.module.declare_intrinsic("llvm.floor", [a.type]), (quotient,))
        far = builder.fcmp_ordered(">", builder.fsub(quotient, low), ll.Constant(a.type, 0.5))
        whole = builder.select(far, builder.fadd(low, one), low)
        ratio = builder.fdiv(a, b)
        whole = builder.select(builder.fcmp_ordered("==", quotient, zero), _copy_sign(builder, zero, ratio), whole)
        return builder.select(builder.fcmp_ordered("==", b, zero), ratio, whole)
    zero = ll.Constant(a.type, 0)
    safe, is_zero = _safe_divisor(builder, dtype, a, b)
    if not dtype.signed:
        return builder.select(is_zero, zero, builder.udiv(a, safe))
    quotient = builder.sdiv(a, safe)
    rest = builder.sub(a, builder.mul(quotient, safe))
    down = builder.and_(builder.icmp_signed("!=", rest, zero), builder.icmp_signed("<", builder.xor(rest, safe), zero))
    return builder.select(is_zero, zero, builder.sub(quotient, builder.zext(down, a.type)))


def _remainder(builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    """numpy's remainder, which has the sign of the divisor; integers by 0 give 0."""
    if isinstance(dtype, types.Float):
        mod, other, is_zero = _float_remainder(builder, a, b)
        mod = builder.select(other, builder.fadd(mod, b), mod)
        return builder.select(is_zero, _copy_sign(builder, ll.Constant(a.type, 0.0), b), mod)
    zero = ll.Constant(a.type, 0)
    safe, is_zero = _safe_divisor(builder, dtype, a, b)
    if not dtype.signed:
        return builder.select(is_zero, zero, builder.urem(a, safe))
    rest = builder.srem(a, safe)
    other = builder.and_(builder.icmp_signed("!=", rest, zero), builder.icmp_signed("<", builder.xor(rest, safe), zero))
    return builder.select(is_zero, zero, builder.select(other, builder.add(rest, safe), rest))


def _safe_divisor(builder: Any, dtype: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The divisor, or 1 where the processor would trap; and whether it is 0."""
    is_zero = builder.icmp_signed("==", b, ll.Constant(b.type, 0))
    traps = is_zero
    if dtype.signed:
        least = ll.Constant(a.type, -(1 << (a.type.width - 1)))
        overflows = builder.and_(builder.icmp_signed("==", a, least), builder.icmp_signed("==", b, ll.Constant(b.type, -1)))
        traps = builder.or_(is_zero, overflows)
    return builder.select(traps, ll.Constant(b.type, 1), b), is_zero


def _shift_left(builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    """numpy's a << b: 0 for shifts by the width or more, and by negative numbers."""
    zero = ll.Constant(a.type, 0)
    fits = builder.icmp_unsigned("<", b, ll.Constant(b.type, a.type.width))
    return builder.select(fits, builder.shl(a, builder.select(fits, b, zero)), zero)


def _shift_right(builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    """numpy's a >> b: what is left of the sign for shifts by the width or more, and by negative numbers."""
    zero = ll.Constant(a.type, 0)
    fits = builder.icmp_unsigned("<", b, ll.Constant(b.type, a.type.width))
    if dtype.signed:
        return builder.ashr(a, builder.select(fits, b, ll.Constant(b.type, a.type.width - 1)))
    return builder.select(fits, builder.lshr(a, builder.select(fits, b, zero)), zero)


shift_left = _binary(_shift_left)
shift_right = _binary(_shift_right)
floor_divide = _binary(_floor_divide)
remainder = _binary(_remainder)


# ---- complex numbers ----


@register_jitable
def square(x: Any) -> Any:
    return x * x


@register_jitable
def real(z: Any) -> Any:
    return z.real


@register_jitable
def imag(z: Any) -> Any:
    return z.imag


@register_jitable
def conj(z: Any) -> Any:
    return z.conjugate()


@intrinsic
def complex_of(typing_context: Any, re: Any, im: Any) -> Any:
    """re + i im, in the precision of the parts."""
    part = types.float32 if re == types.float32 and im == types.float32 else types.float64
    result = types.complex64 if part == types.float32 else types.complex128

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        z = context.make_complex(builder, signature.return_type)
        z.real, z.imag = args
        return z._getvalue()  # noqa: SLF001

    return result(part, part), codegen


@intrinsic
def divide_complex(typing_context: Any, a: Any, b: Any) -> Any:
    """numpy's complex quotient (Smith 1962), in the precision of the operands."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = context.make_complex(builder, a, value=args[0])
        y = context.make_complex(builder, a, value=args[1])
        fabs = builder.module.declare_intrinsic("llvm.fabs", [y.real.type])
        zero, one = ll.Constant(y.real.type, 0.0), ll.Constant(y.real.type, 1.0)
        wide, high = builder.call(fabs, (y.real,)), builder.call(fabs, (y.imag,))
        by_real = builder.fcmp_ordered(">=", wide, high)
        big = builder.select(by_real, y.real, y.imag)
        small = builder.select(by_real, y.imag, y.real)
        ratio = builder.fdiv(small, big)
        scale = builder.fdiv(one, builder.fadd(big, builder.fmul(small, ratio)))
        first = builder.select(by_real, x.real, x.imag)
        second = builder.select(by_real, x.imag, x.real)
        re = builder.fadd(first, builder.fmul(second, ratio))
        im = builder.fsub(second, builder.fmul(first, ratio))
        im = builder.select(by_real, im, builder.fsub(builder.fmul(x.imag, ratio), x.real))
        is_zero = builder.and_(builder.fcmp_ordered("==", wide, zero), builder.fcmp_ordered("==", high, zero))
        z = context.make_complex(builder, a)
        z.real = builder.select(is_zero, builder.fdiv(x.real, wide), builder.fmul(re, scale))
        z.imag = builder.select(is_zero, builder.fdiv(x.imag, wide), builder.fmul(im, scale))
        return z._getvalue()  # noqa: SLF001

    return a(a, a), codegen


@intrinsic
def reciprocal_complex(typing_context: Any, z: Any) -> Any:
    """numpy's complex reciprocal, which is not 1 / z for zeros and infinities."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        y = context.make_complex(builder, z, value=args[0])
        fabs = builder.module.declare_intrinsic("llvm.fabs", [y.real.type])
        one = ll.Constant(y.real.type, 1.0)
        by_real = builder.fcmp_ordered("<=", builder.call(fabs, (y.imag,)), builder.call(fabs, (y.real,)))
        big = builder.select(by_real, y.real, y.imag)
        small = builder.select(by_real, y.imag, y.real)
        ratio = builder.fdiv(small, big)
        denominator = builder.fadd(big, builder.fmul(small, ratio))
        plain, turned = builder.fdiv(one, denominator), builder.fdiv(ratio, denominator)
        out = context.make_complex(builder, z)
        out.real = builder.select(by_real, plain, turned)
        out.imag = builder.fneg(builder.select(by_real, turned, plain))
        return out._getvalue()  # noqa: SLF001

    return z(z), codegen


def _complex_function(name: str, arity: int) -> Any:
    """libm's complex function; complex numbers travel as pairs of registers."""

    def write(context: Any, builder: Any, args: Any) -> Any:
        double = ll.DoubleType()
        function_type = ll.FunctionType(ll.LiteralStructType([double, double]), [double] * (2 * arity))
        function = cgutils.get_or_insert_function(builder.module, function_type, "c" + name)
        function.attributes.add("nounwind")
        parts = [part for z in (context.make_complex(builder, types.complex128, value=a) for a in args) for part in (z.real, z.imag)]
        return builder.call(function, parts)

    @intrinsic
    def unary(typing_context: Any, z: Any) -> Any:
        return types.complex128(types.complex128), lambda context, builder, signature, args: write(context, builder, args)

    @intrinsic
    def binary(typing_context: Any, z: Any, w: Any) -> Any:
        return types.complex128(*[types.complex128] * 2), lambda context, builder, signature, args: write(context, builder, args)

    return unary if arity == 1 else binary


LAST_EXP = 709.0  # a whole number whose exponential is finite


@intrinsic
def exp_complex(typing_context: Any, z: Any) -> Any:
    """exp(re) (cos(im) + i sin(im)) by the real routines, which have vector forms; zeros, infinities and nan as in C99, annex G."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = context.make_complex(builder, types.complex128, value=args[0])
        re, im = x.real, x.imag
        number = partial(ll.Constant, re.type)
        far = builder.fcmp_ordered(">", re, number(LAST_EXP))  # the exponential alone may overflow where the products do not
        size = _call_libm(builder, "exp", (builder.select(far, builder.fsub(re, number(LAST_EXP)), re),))
        factor = builder.select(far, number(math.exp(LAST_EXP)), number(1.0))
        cos, sin = _call_libm(builder, "cos", (im,)), _call_libm(builder, "sin", (im,))
        is_real = builder.fcmp_ordered("==", im, number(0.0))
        has_angle = builder.fcmp_ordered("==", builder.fsub(im, im), number(0.0))  # im is finite
        vanishes = builder.and_(builder.fcmp_ordered("==", re, number(-math.inf)), builder.not_(has_angle))
        explodes = builder.and_(builder.fcmp_ordered("==", re, number(math.inf)), builder.not_(has_angle))
        parts = []
        for part in (cos, sin):
            product = builder.fmul(builder.fmul(builder.select(is_real, number(1.0), part), factor), size)
            if part is sin:
                product = builder.select(is_real, im, product)
            parts.append(builder.select(vanishes, number(0.0), product))
        out = context.make_complex(builder, types.complex128)
        out.real = builder.select(explodes, number(math.inf), parts[0])
        out.imag = parts[1]
        return out._getvalue()  # noqa: SLF001

    return types.complex128(types.complex128), codegen


def passes_complex_in_registers() -> bool:
    """Does libm take a complex number in two floating-point registers here (System V x86-64 and AArch64)?"""
    return sys.platform in ("linux", "darwin") and platform.machine() in ("x86_64", "aarch64", "arm64")


@register_jitable
def _cmath_pow(z: complex, w: complex) -> complex:
    return z**w


def _complex_functions() -> dict[str, Any]:
    if passes_complex_in_registers():
        found = {name: _complex_function(name, 1) for name in COMPLEX}
        found["pow"] = _complex_function("pow", 2)
    else:
        found = {name: getattr(cmath, name) for name in COMPLEX}
        found["pow"] = _cmath_pow
    if vector.library() is not None:
        found["exp"] = exp_complex
    return found


_FOUND = _complex_functions()
_c_exp, _c_log, _c_pow = _FOUND["exp"], _FOUND["log"], _FOUND["pow"]


@register_jitable
def c_exp2(z: complex) -> complex:
    return _c_exp(complex(z.real * LN2, z.imag * LN2))


@register_jitable
def c_log2(z: complex) -> complex:
    w = _c_log(z)
    return complex(w.real * LOG2_E, w.imag * LOG2_E)


@register_jitable
def c_log10(z: complex) -> complex:
    w = _c_log(z)
    return complex(w.real * LOG10_E, w.imag * LOG10_E)


@register_jitable
def c_expm1(z: complex) -> complex:
    half = math.sin(z.imag / 2)
    return complex(math.expm1(z.real) * math.cos(z.imag) - 2 * half * half, math.exp(z.real) * math.sin(z.imag))


@register_jitable
def c_log1p(z: complex) -> complex:
    return complex(math.log(math.hypot(z.real + 1, z.imag)), math.atan2(z.imag, z.real + 1))


@intrinsic
def c_sign(typing_context: Any, z: Any) -> Any:
    """z / |z|, 0 at 0; a direction for infinite numbers along an axis."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = context.make_complex(builder, types.complex128, value=args[0])
        number = partial(ll.Constant, x.real.type)
        fabs = builder.module.declare_intrinsic("llvm.fabs", [x.real.type])
        size = _call_libm(builder, "hypot", (x.real, x.imag))
        endless = builder.fcmp_ordered("==", size, number(math.inf))
        safe = builder.select(builder.fcmp_ordered("==", size, number(0.0)), number(1.0), size)
        out = context.make_complex(builder, types.complex128)
        for name in ("real", "imag"):
            part = getattr(x, name)
            infinite = builder.fcmp_ordered("==", builder.call(fabs, (part,)), number(math.inf))
            direction = builder.select(infinite, _copy_sign(builder, number(1.0), part), number(0.0))
            setattr(out, name, builder.select(endless, direction, builder.fdiv(part, safe)))
        both = builder.and_(*[builder.fcmp_ordered("==", builder.call(fabs, (p,)), number(math.inf)) for p in (x.real, x.imag)])
        zero = builder.fcmp_ordered("==", size, number(0.0))
        for name in ("real", "imag"):
            part = builder.select(zero, number(0.0), getattr(out, name))
            setattr(out, name, builder.select(both, number(math.nan), part))
        return out._getvalue()  # noqa: SLF001

    return types.complex128(types.complex128), codegen


@register_jitable
def c_pow(z: Any, w: Any, one: Any) -> Any:
    """numpy's power: products in the precision of z for small whole exponents, libm's otherwise."""
    if w.real == 0 and w.imag == 0:
        return one
    if z.real == 0 and z.imag == 0:
        return one * 0 if w.real > 0 and w.imag == 0 else one * math.nan
    if w.imag == 0 and abs(w.real) < 100 and w.real == math.floor(w.real):
        n = abs(int(w.real))
        power, square = z, z
        if n <= 3:
            for _ in range(n - 1):
                power = z * power
        else:
            power = one
            while n:
                if n & 1:
                    power = power * square
                n >>= 1
                square = square * square
        return power if w.real > 0 else divide_complex(one, power)  # pyright: ignore[reportCallIssue]
    return _c_pow(z, w)


def names() -> dict[str, Any]:
    """The names of this module that kernel source may use."""
    found: dict[str, Any] = {
        "maximum": maximum, "minimum": minimum, "fmax": fmax, "fmin": fmin,
        "greatest": greatest, "least": least, "sign": sign, "signbit": signbit,
        "shift_left": shift_left, "shift_right": shift_right,
        "floor_divide": floor_divide, "remainder": remainder, "isnan": math.isnan, "isinf": math.isinf, "isfinite": math.isfinite,
        "square": square, "real": real, "imag": imag, "conj": conj, "complex_of": complex_of, "divide_complex": divide_complex,
        "reciprocal_complex": reciprocal_complex,
        "c_exp2": c_exp2, "c_log2": c_log2, "c_log10": c_log10, "c_expm1": c_expm1, "c_log1p": c_log1p, "c_sign": c_sign, "c_pow": c_pow,
        "math": math, "inf": math.inf, "nan": math.nan,
    }  # fmt: skip
    found.update({name: _library(name, 1) for name in REAL})
    found.update({name: _library(name, 2) for name in REAL_PAIRS})
    found.update({f"lone_{name}": _lone(name) for name in LONE})
    found.update({name: _llvm_intrinsic(name) for name in INSTRUCTIONS})
    found.update({f"c_{name}": _FOUND[name] for name in COMPLEX})
    return found
