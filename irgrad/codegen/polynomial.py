"""Functions of float64 written out in arithmetic: faster than a call where a processor multiplies and adds in one rounding.

No branches, so that loops vectorise at any width and a value does not depend on its position. Errors are stated with each function and
tested against mpmath. Where the processor has no fused multiply-add, calls go to a library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from irgrad.codegen import bessels, gammas, normals, processor

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fefa3800p-1"), float.fromhex("0x1.ef35793c76730p-45")
ROUNDER = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest whole number in the low bits
# (exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2, interpolated at Chebyshev points: relative error of exp 2e-17
EXP = (0.5000000000000001, 0.16666666666666669, 0.04166666666662064, 0.008333333333329793, 0.0013888888918939168,
       0.00019841269864380513, 2.4801518641395993e-05, 2.75572664186123e-06, 2.7621338669142925e-07, 2.510134692835034e-08)  # fmt: skip
# Cephes (Moshier, Methods and Programs for Mathematical Functions, 1989): tanh(x) = x + x**3 P(x**2) / Q(x**2) for |x| <= 0.625
TANH_P = (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1)
TANH_Q = (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0)
TANH_SMALL, TANH_ONE = 0.625, 22.0  # beyond the second, tanh is 1


@cache
def is_fast() -> bool:
    """Has the processor a fused multiply-add?"""
    return processor.has("fma") or processor.has("neon")


class _Arithmetic:
    """Arithmetic on float64 by a writer of `irgrad.codegen.formulas`."""

    def __init__(self, writer: Any, real: Any) -> None:
        self.builder = writer
        self.intrinsic = writer.intrinsic
        self.real, self.number = real, real
        self.whole = self.bits = writer.whole(64)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.intrinsic("fma", a, b, c)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """By Horner's rule, the constant term first."""
        total = self.number(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = self.fma(total, x, self.number(coefficient))
        return total

    def short_polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """The same by Estrin's scheme: pairs, then pairs of pairs, so that few operations wait for each other."""
        terms = [self.number(coefficient) for coefficient in coefficients]
        power = x
        while len(terms) > 1:
            paired = [self.fma(high, power, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
            terms = paired + terms[2 * len(paired) :]
            power = self.builder.fmul(power, power) if len(terms) > 1 else power
        return terms[0]

    def exp_of_double(self, x: Any) -> tuple[Any, Any]:
        """Two factors of exp(2 x) for 0 <= x < 350, and nan: within 1 ulp. The second is a power of two."""
        shifted = self.fma(x, self.number(2 * LOG2_E), self.number(ROUNDER))
        count = self.builder.fsub(shifted, self.number(ROUNDER))
        rest = self.fma(count, self.number(-LN2_HIGH), self.builder.fadd(x, x))
        rest = self.fma(count, self.number(-LN2_LOW), rest)
        square = self.builder.fmul(rest, rest)
        one = self.fma(square, self.short_polynomial(rest, EXP), self.builder.fadd(rest, self.number(1.0)))
        power = self.builder.add(self.builder.shl(self.builder.bitcast(shifted, self.whole), self.bits(52)), self.bits(1023 << 52))
        return one, self.builder.bitcast(power, self.real)


def tanh(builder: Any, x: Any) -> Any:
    """tanh(x): within 2 ulp. A rational function near 0, 1 - 2 / (exp(2 |x|) + 1) elsewhere, by one division.

    Chains of it wait for each other, so that few operations of it are one behind the other: what is too large is put right at the end.
    """
    a = _Arithmetic(builder, x.type)
    size = a.intrinsic("fabs", x)
    small = builder.fcmp_ordered("<", size, a.number(TANH_SMALL))
    square = builder.fmul(x, x)
    above = builder.fmul(builder.fmul(size, square), a.polynomial(square, TANH_P))
    below = a.polynomial(square, TANH_Q)
    one, power = a.exp_of_double(size)
    grown = a.fma(one, power, a.number(1.0))
    elsewhere = builder.select(builder.fcmp_ordered(">", size, a.number(TANH_ONE)), a.number(math.inf), grown)
    quotient = builder.fdiv(builder.select(small, above, a.number(-2.0)), builder.select(small, below, elsewhere))
    return a.intrinsic("copysign", builder.fadd(builder.select(small, size, a.number(1.0)), quotient), x)


WRITTEN = {"tanh": tanh}
# of scipy's: with operands of float32, computed in float64 as scipy does
SPECIAL: dict[str, Any] = {**gammas.FUNCTIONS, **normals.FUNCTIONS, **bessels.FUNCTIONS}


def is_written(name: str, single: bool = False) -> bool:
    """Is a function written out here?"""
    return (name in SPECIAL or (name in WRITTEN and not single)) and is_fast()


def written(writer: Any, name: str, args: Any) -> Any:
    """The value of a function that is written out here, None for the others."""
    type_ = args[0].type
    single = str(getattr(type_, "element", type_)) == "float"
    if not is_written(name, single):
        return None
    if name in WRITTEN:
        return WRITTEN[name](writer, *args)
    if not single:
        return SPECIAL[name](writer, *args)
    return writer.fptrunc(SPECIAL[name](writer, *[writer.fpext(x, writer.double()) for x in args]), type_)
