"""Numbers of float64 with operators, by a writer of `irgrad.codegen.formulas`: what longer functions are written out with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Real:
    """An operand of float64, one number or the lanes of a vector. Comparisons answer operands of the writer, for `where`."""

    __slots__ = ("value", "writer")

    def __init__(self, writer: Any, value: Any) -> None:
        self.writer = writer
        self.value = value

    def of(self, x: Real | float) -> Any:
        """The operand of another number, or of a constant."""
        return x.value if isinstance(x, Real) else self.value.type(x)

    def made(self, value: Any) -> Real:
        return Real(self.writer, value)

    # -- arithmetic --

    def __add__(self, other: Real | float) -> Real:
        return self.made(self.writer.fadd(self.value, self.of(other)))

    def __radd__(self, other: float) -> Real:
        return self + other

    def __sub__(self, other: Real | float) -> Real:
        return self.made(self.writer.fsub(self.value, self.of(other)))

    def __rsub__(self, other: float) -> Real:
        return self.made(self.writer.fsub(self.of(other), self.value))

    def __mul__(self, other: Real | float) -> Real:
        return self.made(self.writer.fmul(self.value, self.of(other)))

    def __rmul__(self, other: float) -> Real:
        return self * other

    def __truediv__(self, other: Real | float) -> Real:
        return self.made(self.writer.fdiv(self.value, self.of(other)))

    def __rtruediv__(self, other: float) -> Real:
        return self.made(self.writer.fdiv(self.of(other), self.value))

    def __neg__(self) -> Real:
        return self.made(self.writer.fneg(self.value))

    def fma(self, factor: Real | float, term: Real | float) -> Real:
        """self * factor + term, rounded once."""
        return self.call("fma", factor, term)

    def polynomial(self, coefficients: Sequence[float]) -> Real:
        """By Horner's rule, the constant term first."""
        total = self.fma(coefficients[-1], coefficients[-2])
        for coefficient in reversed(coefficients[:-2]):
            total = total.fma(self, coefficient)
        return total

    # -- functions --

    def call(self, name: str, *others: Real | float) -> Real:
        """An intrinsic of LLVM."""
        return self.made(self.writer.intrinsic(name, self.value, *map(self.of, others)))

    def libm(self, name: str, *others: Real | float) -> Real:
        """A function of libm, in its vector form where there is one."""
        return self.made(self.writer.libm(name, self.value, *map(self.of, others)))

    def __abs__(self) -> Real:
        return self.call("fabs")

    def least(self, other: Real | float) -> Real:
        """The smaller of two numbers; nan stays."""
        return self.call("minimum", other)

    # -- choices --

    def compared(self, relation: str, other: Real | float) -> Any:
        """An ordered comparison: false for nan."""
        return self.writer.fcmp_ordered(relation, self.value, self.of(other))

    def where(self, condition: Any, other: Real | float) -> Real:
        """This number where a condition holds, the other elsewhere."""
        return self.made(self.writer.select(condition, self.value, self.of(other)))

    def but(self, condition: Any, other: Real | float) -> Real:
        """The other number where a condition holds, this one elsewhere."""
        return self.made(self.writer.select(condition, self.of(other), self.value))
