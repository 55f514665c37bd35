"""Scalar text: names of values, literals and the expansion of one primitive on scalar operands.

Operands are always simple names or literals, so that text may repeat them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from irgrad.ir.graph import Literal, Node

MACROS = {
    "maximum": "select(({0} >= {1}) | ({0} != {0}), {0}, {1})",
    "minimum": "select(({0} <= {1}) | ({0} != {0}), {0}, {1})",
    "fmax": "select(({0} >= {1}) | ({1} != {1}), {0}, {1})",
    "fmin": "select(({0} <= {1}) | ({1} != {1}), {0}, {1})",
}
COMPLEX = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh")
_COMPLEX_CALL = re.compile(rf"\b({'|'.join(COMPLEX)})\(")
_CALL = re.compile(r"^(\w+)\((.*)\)$", re.DOTALL)


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """A number of `dtype` as kernel text."""
    kind, name = dtype.kind, dtype.name
    if kind == "b":
        return "True" if value else "False"
    if kind in "iu":
        return f"as_{name}({int(value)})" if name != "int64" else str(int(value))
    if kind == "c":
        z = complex(value)
        return f"as_{name}(complex({_real(z.real)}, {_real(z.imag)}))"
    text = _real(float(value))
    return text if name == "float64" else f"as_{name}({text})"


def _real(value: float) -> str:
    if value != value:
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "(-inf)"
    return repr(value) if value >= 0 and not (value == 0 and np.signbit(value)) else f"({value!r})"


def expand(node: Node, operands: list[str]) -> str:
    """The text of `node` on scalar operand texts of the dtypes its operands have."""
    op = node.op
    assert op is not None
    dtypes = [_operand_dtype(node, k) for k in range(len(operands))]
    if op.name == "integer_pow":
        return _power(operands[0], node.params["n"], node.aval.dtype)
    if op.name == "convert":
        return _convert(operands[0], dtypes[0], node.aval.dtype)
    first = dtypes[1] if op.name == "where" else dtypes[0]
    emit = op.emit
    text = emit if isinstance(emit, str) else (emit or {}).get(first.kind)
    if text is None:
        raise KeyError(f"{op.name} has no text for {first}")
    call = _CALL.match(text)
    if call is not None and call[1] in MACROS and call[2] == "{0}, {1}":
        text = MACROS[call[1]]
    if text == "sign({0})":
        one, zero = literal(1, first), literal(0, first)
        text = f"select({{0}} > {zero}, {one}, select({{0}} < {zero}, {literal(-1, first)}, {{0}}))" if first.kind != "u" else f"select({{0}} > {zero}, {one}, {zero})"
    if first.kind == "c":
        text = _COMPLEX_CALL.sub(r"c_\1(", text)
    if first.kind == "f" and first.name != "float64":
        text = re.sub(r"(?<![\w.}])(\d+\.\d*(?:e[+-]?\d+)?)", lambda m: f"as_{first.name}({m[1]})", text)
    return text.format(*operands)


def _operand_dtype(node: Node, position: int) -> np.dtype[Any]:
    return operand_dtypes(node)[position]


def operand_dtypes(node: Node) -> list[np.dtype[Any]]:
    """The dtype in which each operand is read: a static number takes that of the operands beside it."""
    known = [None if isinstance(o, Literal) and o.static else o.aval.dtype for o in node.operands]
    name = node.op.name if node.op is not None else ""
    beside = next((d for d in (known[1:] if name == "where" else known) if d is not None), None)
    if beside is None:
        beside = node.aval.dtype
    return [d if d is not None else (np.dtype(bool) if name == "where" and k == 0 else beside) for k, d in enumerate(known)]


def _power(x: str, n: int, dtype: np.dtype[Any]) -> str:
    """x**n by products, left to right binary."""
    if n == 0:
        return literal(1, dtype)
    text = x
    for bit in bin(abs(n))[3:]:
        text = f"{text} * {text}" if text == x else f"square({text})"
        if bit == "1":
            text = f"{text} * {x}"
    return text if n > 0 else f"{literal(1, dtype)} / ({text})"


def _convert(x: str, have: np.dtype[Any], want: np.dtype[Any]) -> str:
    if want.kind == "b":
        return f"({x} != 0)"
    if have.kind == "c" and want.kind != "c":
        return f"as_{want.name}({x}.real)"
    if have.kind == "b" and want.kind in "iu":
        return f"as_{want.name}({x})"
    return f"as_{want.name}({x})"
