"""Routines written in the language of kernels: complex functions that libm lacks, and the zeta function.

They are compiled on demand for the types they meet, with the names of kernels around them: by Numba from their byte code
(`irgrad.codegen.arithmetic`), by `irgrad.codegen.llvm` from their text. So a body uses names of kernels, numbers of this module and
tuples of numbers, and what it computes with is imported nowhere.
"""
# ruff: noqa: F821
# mypy: disable-error-code="name-defined"
# pyright: reportUndefinedVariable=false

from __future__ import annotations

import math
import platform
import sys
from typing import Any

REAL = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "tgamma")  # fmt: skip
REAL_PAIRS = ("fmod", "atan2", "hypot", "pow", "nextafter", "copysign")
INSTRUCTIONS = ("sqrt", "floor", "ceil", "trunc", "rint", "fabs")
COMPLEX = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh")


def passes_complex_in_registers() -> bool:
    """Does libm take a complex number in two floating-point registers here (System V x86-64 and AArch64)?"""
    return sys.platform in ("linux", "darwin") and platform.machine() in ("x86_64", "aarch64", "arm64")


def bernoulli_divisors(count: int) -> tuple[float, ...]:
    """(2j)! / B_2j for j = 1, 2, ..., from sum_k C(n+1, k) B_k = 0 (DLMF 24.5.3).

    In whole numbers, B_k times what all denominators divide (von Staudt and Clausen): `fractions` would be imported for this alone.
    """
    scale = math.factorial(2 * count + 1)
    numbers = [scale]
    for n in range(1, 2 * count + 1):
        numbers.append(-sum(math.comb(n + 1, k) * b for k, b in enumerate(numbers)) // (n + 1))
    return tuple(math.factorial(2 * j) * scale / numbers[2 * j] for j in range(1, count + 1))


CONSTANTS: dict[str, Any] = {"LN2": math.log(2.0), "LOG2_E": math.log2(math.e), "LOG10_E": math.log10(math.e),
                             "DIVISORS": bernoulli_divisors(12)}  # fmt: skip


# ---- partial sums: a stack that combines pairwise, like the bits of a binary counter ----


def push(parts: Any, count: Any, value: Any) -> Any:
    """Add the sum of the count-th block to a stack of partial sums."""
    top = count_ones(count - 1)
    while count & 1 == 0:
        top -= 1
        value = load(parts, top) + value
        count >>= 1
    store(parts, top, value)


def collect(parts: Any, count: Any, zero: Any) -> Any:
    """The sum of what `count` calls of `push` gave."""
    total = zero
    top = count_ones(count)
    while top > 0:
        top -= 1
        total = total + load(parts, top)
    return total


# ---- complex functions ----


def c_exp2(z: Any) -> Any:
    return c_exp(complex(z.real * LN2, z.imag * LN2))


def c_log2(z: Any) -> Any:
    w = c_log(z)
    return complex(w.real * LOG2_E, w.imag * LOG2_E)


def c_log10(z: Any) -> Any:
    w = c_log(z)
    return complex(w.real * LOG10_E, w.imag * LOG10_E)


def c_expm1(z: Any) -> Any:
    half = math.sin(z.imag / 2)
    return complex(math.expm1(z.real) * math.cos(z.imag) - 2 * half * half, math.exp(z.real) * math.sin(z.imag))


def c_log1p(z: Any) -> Any:
    return complex(math.log(math.hypot(z.real + 1, z.imag)), math.atan2(z.imag, z.real + 1))


def c_pow(z: Any, w: Any, one: Any) -> Any:
    """numpy's power: products in the precision of z for small whole exponents, libm's otherwise."""
    if w.real == 0 and w.imag == 0:
        return one
    if z.real == 0 and z.imag == 0:
        return one * 0 if w.real > 0 else one * math.nan
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
        return power if w.real > 0 else divide_complex(one, power)
    return library_pow(z, w)


# ---- the zeta function ----


def zeta(s: Any, q: Any) -> Any:
    """Sum of (k + q)**-s by Euler and Maclaurin from the first k with k >= 9 and k + q > 9 (DLMF 25.11.5), for s > 1."""
    if s == 1.0:
        return math.inf
    if not s >= 1.0:
        return math.nan
    if q <= 0.0:
        if q == math.floor(q):
            return math.inf
        if s != math.floor(s):
            return math.nan
    if q > 1e8:
        return (1.0 / (s - 1.0) + 0.5 / q) * q ** (1.0 - s)
    total = q**-s
    at = q
    term = 0.0
    count = 0
    while count < 9 or at <= 9.0:
        count += 1
        at += 1.0
        term = at**-s
        total += term
        if abs(term) < 1.2e-16 * abs(total):
            return total
    total += term * at / (s - 1.0) - 0.5 * term
    factor = 1.0
    k = 0.0
    for j in range(12):
        factor *= s + k
        term /= at
        part = factor * term / DIVISORS[j]
        total += part
        if abs(part) < 1.2e-16 * abs(total):
            break
        factor *= s + k + 1.0
        term /= at
        k += 2.0
    return total


ROUTINES = {routine.__name__: routine for routine in (push, collect, c_exp2, c_log2, c_log10, c_expm1, c_log1p, c_pow, zeta)}
