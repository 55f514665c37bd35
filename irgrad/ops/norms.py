"""The Euclidean norm, one primitive for its use in every program; other norms are roots of sums of powers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irgrad.ir.aval import Aval, real_dtype
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, PURE, primitive
from irgrad.ops.matrices import conj, real
from irgrad.ops.rules import Axes, check_axes, expand, is_complex, is_inexact, reject, removed, ufunc_aval


def _norm2(x: Any, *, axes: Axes) -> Any:
    if len(axes) == x.ndim:
        flat = x.ravel(order="K")
        if flat.dtype.kind != "c":
            return np.sqrt(flat.dot(flat))
        return np.sqrt(flat.real.dot(flat.real) + flat.imag.dot(flat.imag))
    square = (np.conj(x) * x).real if x.dtype.kind == "c" else x * x
    return np.sqrt(np.add.reduce(square, axis=axes))


def _aval(x: Aval, *, axes: Axes) -> Aval:
    check_axes("norm2", x, axes)
    if not is_inexact(x.dtype):
        raise reject("norm2", (x,), "expected a float or complex dtype")
    return Aval(removed(x.shape, axes), real_dtype(x.dtype))


def _over(b: Builder, t: Any, out: Any) -> Any:
    """t / out, and 0 where out is: the norm is flat at 0."""
    return b.div(t, b.where(b.equal(out, 0.0), math.inf, out))


def _vjp(b: Builder, ct: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    """conj(x) ct / out."""
    return b.mul(conj(b, x), expand(b, _over(b, ct, out), x, axes))


def _jvp(b: Builder, t: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    """The sum of Re(conj(x) t), over out."""
    if not is_complex(b, x) and len(b.shape(x)) == len(axes) == 1:
        return _over(b, b.dot(x, t), out)
    return _over(b, b.reduce_sum(real(b, b.mul(conj(b, x), t)), axes=axes), out)


norm2 = primitive("norm2", evaluate=_norm2, aval=_aval, vjp=(_vjp,), jvp=(_jvp,), traits=PURE)


def _root_rule(b: Builder, ct: Any, out: Any, s: Any, exponent: Any) -> Any:
    """exponent out / s, and 0 where s is: a norm is flat at 0."""
    return b.where(b.equal(s, 0.0), 0.0, b.mul(ct, b.div(b.mul(exponent, out), s)))


root = primitive(  # of a sum of powers, s >= 0
    "root",
    evaluate=np.power,
    aval=ufunc_aval("root", np.power),
    vjp=(_root_rule, None),
    jvp=(_root_rule, None),
    emit={"f": "pow({0}, {1})"},
    traits=ELEMENTWISE | PURE,
)
