"""Creation: arrays from params, and one value repeated."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import CREATION, LINEAR, PURE, nondiff, primitive
from irgrad.ops.rules import Shape, is_inexact, reject


def _full(value: Any, *, shape: Shape, dtype: str) -> Any:
    out = np.empty(shape, dtype)
    out[...] = value
    return out


def _full_aval(value: Aval, *, shape: Shape, dtype: str) -> Aval:
    if value.shape:
        raise reject("full", (value,), "expected a scalar value")
    return Aval(shape, np.dtype(dtype))


def _full_vjp(b: Builder, ct: Any, out: Any, value: Any, *, shape: Shape, dtype: str) -> Any:
    return ct if is_inexact(np.dtype(dtype)) else None


def _full_jvp(b: Builder, t: Any, out: Any, value: Any, *, shape: Shape, dtype: str) -> Any:
    return b.full(t, shape=shape, dtype=dtype) if is_inexact(np.dtype(dtype)) else None


full = primitive("full", evaluate=_full, aval=_full_aval, vjp=(_full_vjp,), jvp=(_full_jvp,), traits=PURE | LINEAR)
zeros = primitive(
    "zeros",
    evaluate=lambda *, shape, dtype: np.zeros(shape, dtype),
    aval=lambda *, shape, dtype: Aval(shape, np.dtype(dtype)),
    vjp=nondiff("no operands"),
    jvp=nondiff("no operands"),
    traits=CREATION | PURE,
)
iota = primitive(
    "iota",
    evaluate=lambda *, n, dtype: np.arange(n, dtype=dtype),
    aval=lambda *, n, dtype: Aval((n,), np.dtype(dtype)),
    vjp=nondiff("no operands"),
    jvp=nondiff("no operands"),
    traits=CREATION | PURE,
)
empty = primitive(
    "empty",
    evaluate=lambda *, shape, dtype: np.zeros(shape, dtype),
    aval=lambda *, shape, dtype: Aval(shape, np.dtype(dtype)),
    vjp=nondiff("no operands"),
    jvp=nondiff("no operands"),
    traits=CREATION | PURE,
)
