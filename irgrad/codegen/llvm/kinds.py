"""Numbers in kernel text: their kinds, which are the names of dtypes, and the rules for operations between kinds, which are Numba's.

Integers are computed with in 64 bits, signed where one of two is; float32 stays float32 beside small integers only.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from irgrad.codegen.llvm.writer import DOUBLE, I1, I8, I16, I32, I64, SINGLE, Type, Value, Writer


class Unsupported(Exception):
    """Kernel text that is not understood here."""


class Serial(Unsupported):
    """A loop that is no vectors, for LLVM neither."""


LLVM: dict[str, Type] = {
    "bool": I1, "int8": I8, "int16": I16, "int32": I32, "int64": I64, "uint8": I8, "uint16": I16, "uint32": I32, "uint64": I64,
    "float32": SINGLE, "float64": DOUBLE, "complex64": SINGLE, "complex128": DOUBLE,
}  # fmt: skip
MEMORY = {**LLVM, "bool": I8}
SIGNED = frozenset({"int8", "int16", "int32", "int64"})
UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64"})
FLOATS = frozenset({"float32", "float64"})
COMPLEX = frozenset({"complex64", "complex128"})
PART = {"complex64": "float32", "complex128": "float64"}
WHOLE = {"float32": "complex64", "float64": "complex128"}
_WITH_SINGLE = frozenset({"bool", "int8", "int16", "uint8", "float32", "complex64"})  # what leaves arithmetic in single precision


class Number:
    """A value of a kernel: its kind and its operand; `im` is the imaginary part of a complex one."""

    __slots__ = ("im", "kind", "re")

    def __init__(self, kind: str, re: Value, im: Value | None = None) -> None:
        self.kind = kind
        self.re = re
        self.im = im

    @property
    def parts(self) -> tuple[Value, Value]:
        assert self.im is not None
        return self.re, self.im


class Pointer:
    """The address of elements of a kind; accesses carry a note of LLVM on what they overlap."""

    __slots__ = ("address", "element", "note")

    def __init__(self, element: str, address: Value, note: str = "") -> None:
        self.element = element
        self.address = address
        self.note = note

    @property
    def kind(self) -> str:
        return f"{self.element}*"


def whole(number: int) -> Number:
    return Number("int64", I64(number))


def letter(kind: str) -> str:
    """The kind of an operand in the words of `irgrad.codegen.formulas`."""
    if kind in FLOATS:
        return "f"
    return "u" if kind in UNSIGNED or kind == "bool" else "i"


def _wide(kind: str) -> str:
    return "uint64" if kind in UNSIGNED else "int64"


@cache
def arithmetic(a: str, b: str) -> tuple[str, str, str]:
    """The kinds in which two operands enter a sum or product, and its kind."""
    if not ({a, b} & (FLOATS | COMPLEX)):
        first, second = _wide(a), _wide(b)
        return first, second, "int64" if "int64" in (first, second) else "uint64"
    single = a in _WITH_SINGLE and b in _WITH_SINGLE
    if {a, b} & COMPLEX:
        kind = "complex64" if single else "complex128"
    else:
        kind = "float32" if single else "float64"
    return kind, kind, kind


@cache
def unified(a: str, b: str) -> str:
    """The kind that holds values of two."""
    if a == b:
        return a
    if a not in LLVM or b not in LLVM:
        raise Unsupported(f"{a} and {b} in one variable")
    import numpy as np

    return np.promote_types(a, b).name


def cast(w: Writer, x: Number, kind: str) -> Number:
    """`x` in a kind, as C converts."""
    have = x.kind
    if have == kind:
        return x
    if have in COMPLEX:
        return _cast_complex(w, x, kind)
    if kind in COMPLEX:
        part = cast(w, x, PART[kind])
        return Number(kind, part.re, part.re.type(0.0))
    return Number(kind, _cast_real(w, x.re, have, kind))


def _cast_complex(w: Writer, x: Number, kind: str) -> Number:
    part = PART[x.kind]
    if kind in COMPLEX:
        re, im = (cast(w, Number(part, value), PART[kind]).re for value in x.parts)
        return Number(kind, re, im)
    if kind == "bool":
        return Number(kind, truth(w, x))
    raise Unsupported(f"{x.kind} as {kind}")


def _cast_real(w: Writer, x: Value, have: str, kind: str) -> Value:
    type_ = LLVM[kind]
    if have in FLOATS:
        if kind in FLOATS:
            return w.fpext(x, type_) if type_ is DOUBLE else w.fptrunc(x, type_)
        if kind == "bool":
            return w.fcmp_unordered("!=", x, x.type(0.0))
        return w.fptosi(x, type_) if kind in SIGNED else w.fptoui(x, type_)
    if kind == "bool":
        return w.icmp_signed("!=", x, x.type(0))
    constant = w.is_constant(x)
    if kind in FLOATS:
        if constant:
            return type_(_number(x, have))
        return w.sitofp(x, type_) if have in SIGNED else w.uitofp(x, type_)
    if type_.width == x.type.width:
        return x
    if constant:
        number = _number(x, have) & ((1 << type_.width) - 1)
        return type_(number - (1 << type_.width) if kind in SIGNED and number >> (type_.width - 1) else number)
    if type_.width < x.type.width:
        return w.trunc(x, type_)
    return w.sext(x, type_) if have in SIGNED else w.zext(x, type_)


def _number(x: Value, have: str) -> int:
    """The integer that a constant operand is."""
    if x.text in ("true", "false"):
        return int(x.text == "true")
    number = int(x.text)
    return number if have in SIGNED or number >= 0 else number + (1 << x.type.width)


def truth(w: Writer, x: Number) -> Value:
    """Is a number not zero?"""
    if x.kind == "bool":
        return x.re
    if x.kind in FLOATS or x.kind in COMPLEX:
        found = w.fcmp_unordered("!=", x.re, x.re.type(0.0))
        return found if x.im is None else w.or_(found, w.fcmp_unordered("!=", x.im, x.im.type(0.0)))
    return w.icmp_signed("!=", x.re, x.re.type(0))


def constant(value: Any) -> Number:
    """A number of Python."""
    if isinstance(value, bool):
        return Number("bool", Value(I1, "true" if value else "false"))
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise Unsupported(f"the number {value}")
        return Number("int64" if value < 2**63 else "uint64", I64(value))
    if isinstance(value, float):
        return Number("float64", DOUBLE(value))
    raise Unsupported(f"the constant {value!r}")
