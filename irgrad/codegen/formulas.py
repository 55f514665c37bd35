"""Scalar formulas written into LLVM code: numpy's semantics where a processor's or LLVM's own differ.

Each takes a writer and operands and answers operands. Both ways to machine code provide writers: that of `irgrad.codegen.llvm` writes text,
that of `irgrad.codegen.arithmetic` fills Numba's functions. A writer has the methods of llvmlite's builder for arithmetic, comparisons
and choices, and besides them ``intrinsic(name, *operands)`` for ``llvm.name``, ``libm(name, *operands)`` and ``whole(bits)`` for
an integer type. An operand has a `type`, which called with a number makes a constant. A complex number is a pair of operands.
"""

from __future__ import annotations

import math
from typing import Any

Pair = tuple[Any, Any]
FLOAT, SIGNED, UNSIGNED = "f", "i", "u"  # kinds of operands, which LLVM's integer types do not tell apart
LAST_EXP = 709.0  # a whole number whose exponential is finite


def compare(w: Any, kind: str, relation: str, a: Any, b: Any) -> Any:
    """An ordered comparison of two operands of one kind."""
    if kind == FLOAT:
        return w.fcmp_ordered(relation, a, b)
    return w.icmp_signed(relation, a, b) if kind == SIGNED else w.icmp_unsigned(relation, a, b)


# ---- order and sign ----


def choice(w: Any, kind: str, relation: str, skips_nan: bool, a: Any, b: Any) -> Any:
    """The operand that `relation` selects; a nan wins, or loses where `skips_nan`."""
    first = compare(w, kind, relation, a, b)
    if kind == FLOAT:
        odd = b if skips_nan else a
        first = w.or_(first, w.fcmp_unordered("uno", odd, odd))
    return w.select(first, a, b)


CHOICES = {"maximum": (">=", False), "minimum": ("<=", False), "fmax": (">=", True), "fmin": ("<=", True)}
# the same for folds: llvm.maximum and llvm.minimum, where a nan wins; a loop that folds with them vectorises (a choice does not)
EXTREMES = {"greatest": "maximum", "least": "minimum"}


def sign(w: Any, kind: str, x: Any) -> Any:
    """1, 0 or -1 in the dtype of x; nan stays."""
    zero, one = x.type(0), x.type(1)
    positive = w.select(compare(w, kind, ">", x, zero), one, zero)
    if kind == UNSIGNED:
        return positive
    signed = w.select(compare(w, kind, "<", x, zero), x.type(-1), positive)
    return signed if kind == SIGNED else w.select(w.fcmp_unordered("uno", x, x), x, signed)


def has_digits(w: Any, x: Any) -> Any:
    """Is a float neither zero, subnormal, infinite nor nan?"""
    size, least = w.intrinsic("fabs", x), 2.0 ** (-126 if str(getattr(x.type, "element", x.type)) == "float" else -1022)
    return w.and_(w.fcmp_ordered(">=", size, x.type(least)), w.fcmp_ordered("<", size, x.type(math.inf)))


def quotient_power(w: Any, x: Any, exponent: Any, above: Any) -> Any:
    """x**exponent, where `above` is x**(exponent + 1) and `has_digits`, or the exponent is 0."""
    return w.select(w.fcmp_ordered("==", exponent, x.type(0.0)), x.type(1.0), w.fdiv(above, x))


def power_below(w: Any, x: Any, exponent: Any, above: Any) -> Any:
    """x**exponent, where `above` is x**(exponent + 1), or the exponent is 0."""
    return w.select(has_digits(w, above), quotient_power(w, x, exponent, above), w.libm("pow", x, exponent))


# ---- division and shifts ----


def _float_remainder(w: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """fmod(a, b), whether its sign differs from the divisor's, and whether it is zero."""
    zero = a.type(0.0)
    mod = w.libm("fmod", a, b)
    is_zero = w.fcmp_ordered("==", mod, zero)
    other = w.xor(w.fcmp_ordered("<", b, zero), w.fcmp_ordered("<", mod, zero))
    return mod, w.and_(w.not_(is_zero), other), is_zero


def floor_divide(w: Any, kind: str, a: Any, b: Any) -> Any:
    """numpy's floor division: npy_divmod for floats; integers divided by 0 give 0, the least integer by -1 itself."""
    if kind == FLOAT:
        zero, one = a.type(0.0), a.type(1.0)
        mod, other, _ = _float_remainder(w, a, b)
        quotient = w.fdiv(w.fsub(a, mod), b)
        quotient = w.select(other, w.fsub(quotient, one), quotient)
        low = w.intrinsic("floor", quotient)
        far = w.fcmp_ordered(">", w.fsub(quotient, low), a.type(0.5))
        whole = w.select(far, w.fadd(low, one), low)
        ratio = w.fdiv(a, b)
        whole = w.select(w.fcmp_ordered("==", quotient, zero), w.intrinsic("copysign", zero, ratio), whole)
        return w.select(w.fcmp_ordered("==", b, zero), ratio, whole)
    zero = a.type(0)
    safe, is_zero = _safe_divisor(w, kind, a, b)
    if kind == UNSIGNED:
        return w.select(is_zero, zero, w.udiv(a, safe))
    quotient = w.sdiv(a, safe)
    rest = w.sub(a, w.mul(quotient, safe))
    down = w.and_(w.icmp_signed("!=", rest, zero), w.icmp_signed("<", w.xor(rest, safe), zero))
    return w.select(is_zero, zero, w.sub(quotient, w.zext(down, a.type)))


def remainder(w: Any, kind: str, a: Any, b: Any) -> Any:
    """numpy's remainder, which has the sign of the divisor; integers by 0 give 0."""
    if kind == FLOAT:
        mod, other, is_zero = _float_remainder(w, a, b)
        mod = w.select(other, w.fadd(mod, b), mod)
        return w.select(is_zero, w.intrinsic("copysign", a.type(0.0), b), mod)
    zero = a.type(0)
    safe, is_zero = _safe_divisor(w, kind, a, b)
    if kind == UNSIGNED:
        return w.select(is_zero, zero, w.urem(a, safe))
    rest = w.srem(a, safe)
    other = w.and_(w.icmp_signed("!=", rest, zero), w.icmp_signed("<", w.xor(rest, safe), zero))
    return w.select(is_zero, zero, w.select(other, w.add(rest, safe), rest))


def _safe_divisor(w: Any, kind: str, a: Any, b: Any) -> Pair:
    """The divisor, or 1 where the processor would trap; and whether it is 0."""
    is_zero = w.icmp_signed("==", b, b.type(0))
    traps = is_zero
    if kind == SIGNED:
        least = a.type(-(1 << (a.type.width - 1)))
        traps = w.or_(is_zero, w.and_(w.icmp_signed("==", a, least), w.icmp_signed("==", b, b.type(-1))))
    return w.select(traps, b.type(1), b), is_zero


def shift_left(w: Any, kind: str, a: Any, b: Any) -> Any:
    """numpy's a << b: 0 for shifts by the width or more, and by negative numbers."""
    zero = a.type(0)
    fits = w.icmp_unsigned("<", b, b.type(a.type.width))
    return w.select(fits, w.shl(a, w.select(fits, b, zero)), zero)


def shift_right(w: Any, kind: str, a: Any, b: Any) -> Any:
    """numpy's a >> b: what is left of the sign for shifts by the width or more, and by negative numbers."""
    zero = a.type(0)
    fits = w.icmp_unsigned("<", b, b.type(a.type.width))
    if kind == SIGNED:
        return w.ashr(a, w.select(fits, b, b.type(a.type.width - 1)))
    return w.select(fits, w.lshr(a, w.select(fits, b, zero)), zero)


# ---- complex numbers ----


def divide_complex(w: Any, x: Pair, y: Pair) -> Pair:
    """numpy's complex quotient (Smith 1962), in the precision of the operands."""
    (xr, xi), (yr, yi) = x, y
    zero, one = yr.type(0.0), yr.type(1.0)
    wide, high = w.intrinsic("fabs", yr), w.intrinsic("fabs", yi)
    by_real = w.fcmp_ordered(">=", wide, high)
    big, small = w.select(by_real, yr, yi), w.select(by_real, yi, yr)
    ratio = w.fdiv(small, big)
    scale = w.fdiv(one, w.fadd(big, w.fmul(small, ratio)))
    first, second = w.select(by_real, xr, xi), w.select(by_real, xi, xr)
    re = w.fadd(first, w.fmul(second, ratio))
    im = w.fsub(second, w.fmul(first, ratio))
    im = w.select(by_real, im, w.fsub(w.fmul(xi, ratio), xr))
    is_zero = w.and_(w.fcmp_ordered("==", wide, zero), w.fcmp_ordered("==", high, zero))
    return w.select(is_zero, w.fdiv(xr, wide), w.fmul(re, scale)), w.select(is_zero, w.fdiv(xi, wide), w.fmul(im, scale))


def reciprocal_complex(w: Any, y: Pair) -> Pair:
    """numpy's complex reciprocal, which is not 1 / z for zeros and infinities."""
    yr, yi = y
    one = yr.type(1.0)
    by_real = w.fcmp_ordered("<=", w.intrinsic("fabs", yi), w.intrinsic("fabs", yr))
    big, small = w.select(by_real, yr, yi), w.select(by_real, yi, yr)
    ratio = w.fdiv(small, big)
    denominator = w.fadd(big, w.fmul(small, ratio))
    plain, turned = w.fdiv(one, denominator), w.fdiv(ratio, denominator)
    return w.select(by_real, plain, turned), w.fneg(w.select(by_real, turned, plain))


def exp_complex(w: Any, z: Pair) -> Pair:
    """exp(re) (cos(im) + i sin(im)) by the real routines, which have vector forms; zeros, infinities and nan as in C99, annex G."""
    re, im = z
    number = re.type
    far = w.fcmp_ordered(">", re, number(LAST_EXP))  # the exponential alone may overflow where the products do not
    size = w.libm("exp", w.select(far, w.fsub(re, number(LAST_EXP)), re))
    factor = w.select(far, number(math.exp(LAST_EXP)), number(1.0))
    cos, sin = w.libm("cos", im), w.libm("sin", im)
    is_real = w.fcmp_ordered("==", im, number(0.0))
    has_angle = w.fcmp_ordered("==", w.fsub(im, im), number(0.0))  # im is finite
    vanishes = w.and_(w.fcmp_ordered("==", re, number(-math.inf)), w.not_(has_angle))
    explodes = w.and_(w.fcmp_ordered("==", re, number(math.inf)), w.not_(has_angle))
    parts = []
    for part in (cos, sin):
        product = w.fmul(w.fmul(w.select(is_real, number(1.0), part), factor), size)
        if part is sin:
            product = w.select(is_real, im, product)
        parts.append(w.select(vanishes, number(0.0), product))
    return w.select(explodes, number(math.inf), parts[0]), parts[1]


def sign_complex(w: Any, z: Pair) -> Pair:
    """z / |z|, 0 at 0; a direction for infinite numbers along an axis."""
    number = z[0].type
    size = w.libm("hypot", *z)
    endless = w.fcmp_ordered("==", size, number(math.inf))
    zero = w.fcmp_ordered("==", size, number(0.0))
    safe = w.select(zero, number(1.0), size)
    infinite = [w.fcmp_ordered("==", w.intrinsic("fabs", part), number(math.inf)) for part in z]
    both = w.and_(*infinite)
    parts = []
    for part, far in zip(z, infinite, strict=True):
        direction = w.select(far, w.intrinsic("copysign", number(1.0), part), number(0.0))
        made = w.select(zero, number(0.0), w.select(endless, direction, w.fdiv(part, safe)))
        parts.append(w.select(both, number(math.nan), made))
    return parts[0], parts[1]
