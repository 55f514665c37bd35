"""Operands: values, and the literals that stand beside them.

A `Value` is one result in a linear IR: a tracer (with its bits) or a node of a graph (without). Anything else in an
operand tuple is a literal: a plain number or array comes from the user's program and is data to a kernel; a
`Static` number comes from a derivative rule and is part of the kernel's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irgrad.ir.primitive import Primitive


class Value:
    """One result: `op` applied to `operands` with `params`; `index` is its place in program order."""

    __slots__ = ()
    op: Primitive | None
    operands: tuple[Any, ...]
    params: dict[str, Any]
    index: int


class Static:
    """A number that a derivative rule wrote down: folded by value and printed into kernels."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Static, self.value))

    def __repr__(self) -> str:
        return f"Static({self.value!r})"


class Number:
    """A number in a derivative rule that depends on shapes: data to a kernel, as the user's own literals are."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
