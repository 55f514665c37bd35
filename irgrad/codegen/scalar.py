"""Scalar text: names of values, literals and the expansion of one primitive on scalar operands.

Operands are always simple names or literals, so that text may repeat them. The text of a value has exactly its dtype: small
integers wrap and float32 stays float32, whatever Numba would promote them to.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Literal, Node

_COMPLEX_NAMES = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh",
                  "asin", "acos", "atan", "asinh", "acosh", "atanh", "sign")  # fmt: skip
_COMPLEX_CALL = re.compile(rf"({'|'.join(_COMPLEX_NAMES)})\((.*)\)$", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.}])(\d+\.\d*(?:e[+-]?\d+)?|(?:inf|nan)\b)")
ROUTINE = re.compile(r"\bspecial_(\w+)\(")  # text that calls a routine of scipy.special
# functions of which libm's answer comes sooner than one lane of a vector routine
LONE = ("exp", "exp2", "log", "log2", "sin", "cos", "tan", "atan", "erf", "erfc")
_LONE = re.compile(rf"(?<![\w.])({'|'.join(LONE)})\(")
PRODUCTS = 4  # largest exponent that is written as products: beyond it their rounding errors pass 4 ulp


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """A number of `dtype` as kernel text."""
    kind, name = dtype.kind, dtype_name(dtype)
    if kind == "b":
        return "True" if value else "False"
    if kind in "iu":
        whole = int(np.asarray(value).astype(dtype))
        return f"as_{name}({whole})" if name != "int64" else str(whole)
    if kind == "c":
        z = complex(value)
        return f"as_{name}(complex({_real(z.real)}, {_real(z.imag)}))"
    text = _real(float(np.real(value)))
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
    dtypes = operand_dtypes(node)
    if op.name == "integer_pow":
        return _power(operands[0], node.params["n"], node.aval.dtype)
    if op.name == "convert":
        return conversion(operands[0], dtypes[0], node.aval.dtype)
    first = dtypes[1] if op.name == "where" else dtypes[0]
    emit = op.emit
    text = emit if isinstance(emit, str) else (emit or {}).get(first.name, (emit or {}).get(first.kind))
    if text is None:
        raise KeyError(f"{op.name} has no text for {first}")
    if first.kind == "c":
        text = _complex_text(op.name, text, first)
    elif first.name == "float32":
        text = _NUMBER.sub(r"as_float32(\1)", text)
    return exact(text.format(*operands), text, node.aval.dtype)


def lone(text: str) -> str:
    """`text` for a number that is no element of an array: no loop computes the same elsewhere, and chains of calls wait for each."""
    return _LONE.sub(r"lone_\1(", text)


def exact(text: str, form: str, dtype: np.dtype[Any]) -> str:
    """`text` in `dtype`: Numba computes with small integers in 64 bits, and truth values made of numbers are numbers."""
    if form == "{0}" or dtype.kind == "f" or dtype.kind == "c" or dtype_name(dtype) == "int64":
        return text
    if dtype.kind == "b":
        return "False" if form == "0" else text
    return f"as_{dtype_name(dtype)}({text})"


def plus(a: str, b: str, dtype: np.dtype[Any]) -> str:
    """a + b in `dtype`, which both have."""
    return f"{a} | {b}" if dtype.kind == "b" else exact(f"{a} + {b}", "", dtype)


def times(a: str, b: str, dtype: np.dtype[Any]) -> str:
    """a * b in `dtype`, which both have."""
    return f"{a} & {b}" if dtype.kind == "b" else exact(f"{a} * {b}", "", dtype)


def _complex_text(name: str, text: str, dtype: np.dtype[Any]) -> str:
    if name == "div":
        return "divide_complex({0}, {1})"
    if name == "reciprocal":
        return "reciprocal_complex({0})"
    if name == "pow":
        return _complex_power("{0}", "{1}", dtype)
    call = _COMPLEX_CALL.match(text)
    if call is None:
        return text
    if dtype_name(dtype) == "complex128":
        return f"c_{text}"
    wide = re.sub(r"(\{\d\})", r"as_complex128(\1)", call[2])
    return f"as_complex64(c_{call[1]}({wide}))"


def _complex_power(x: str, y: str, dtype: np.dtype[Any]) -> str:
    text = f"c_pow({x}, {y}, {literal(1, dtype)})"
    return text if dtype_name(dtype) == "complex128" else f"as_complex64({text})"


def operand_dtypes(node: Node) -> list[np.dtype[Any]]:
    """The dtype in which each operand is read: a static number takes that of the operands beside it."""
    known = [None if isinstance(o, Literal) and o.static else o.aval.dtype for o in node.operands]
    name = node.op.name if node.op is not None else ""
    beside = next((d for d in (known[1:] if name == "where" else known) if d is not None), None)
    if beside is None:
        beside = node.aval.dtype
    return [d if d is not None else (np.dtype(bool) if name == "where" and k == 0 else beside) for k, d in enumerate(known)]


def _power(x: str, n: int, dtype: np.dtype[Any]) -> str:
    """x**n by products, left to right binary; by the library's pow where they would be less exact."""
    if n == 0:
        return literal(1, dtype)
    if abs(n) > PRODUCTS and dtype.kind == "f":
        return f"pow({x}, {literal(n, dtype)})"
    if dtype.kind == "c" and n not in (1, 2):
        return f"reciprocal_complex({x})" if n == -1 else _complex_power(x, literal(n, dtype), dtype)
    if dtype.kind == "b":
        return x
    text = x
    for bit in bin(abs(n))[3:]:
        text = f"square({text})"
        if bit == "1":
            text = f"{text} * {x}"
    return f"{literal(1, dtype)} / ({text})" if n < 0 else exact(text, "", dtype)


def conversion(x: str, have: np.dtype[Any], want: np.dtype[Any]) -> str:
    """`x` of dtype `have` in dtype `want`, as ``ndarray.astype`` converts."""
    if have == want:
        return x
    if have.kind == "c" and want.kind not in "cb":
        x, have = f"real({x})", np.dtype(f"f{have.itemsize // 2}")
    if want.kind == "b":
        return f"({x} != 0)"
    if have.kind == "f" and want.kind in "iu" and want.name not in ("int32", "int64", "uint64"):
        x = f"as_int64({x})"  # out of range, C goes through a wider integer too
    if have == want:
        return x
    return f"as_{want.name}({x})"


def conversion_kernel(have: np.dtype[Any], want: np.dtype[Any]) -> str:
    """A kernel that converts one number to what a guard compares."""
    text = conversion("value", have, want)
    pointers = f"    x = pointer_{have.name}(p, 0)\n    o = pointer_{want.name}(p, 1)\n    value = load(x, 0)\n"
    return f"def kernel(p, n):\n{pointers}    store(o, 0, {text})\n    return 0\n"


__all__ = ["LONE", "ROUTINE", "conversion", "conversion_kernel", "exact", "expand", "literal", "lone", "operand_dtypes", "plus", "times"]
