"""What tests of kernels share: one-operation programs, and numpy's answer by the rule of the numerics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad
from irgrad.frontend.context import current
from irgrad.ir.primitive import ELEMENTWISE, Primitive

EXACT = frozenset({
    "neg", "abs", "sign", "sqrt", "square", "reciprocal", "floor", "ceil", "trunc", "rint", "conj", "real", "imag", "complex_of",
    "convert", "identity", "stop_gradient", "mark", "add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "copysign",
    "nextafter", "maximum", "minimum", "fmax", "fmin", "heaviside", "where", "clip",
})  # fmt: skip
ULPS = 4


def program(op: Primitive, params: dict[str, Any]) -> Callable[..., Any]:
    """The operation as a function to trace; operands get the dtypes of numpy's loop, as traced programs give them."""

    def call(*operands: Any) -> Any:
        trace = current()
        if op.has(ELEMENTWISE) and not params:
            return trace.apply(op, op.evaluate, *operands)
        return trace.call(op, operands, params)

    return call


def compiled(f: Callable[..., Any], *operands: Any) -> tuple[Any, int]:
    """The answer of `f`'s program on these operands, and how many operations ran in numpy."""
    jitted = irgrad.jit(f, compile_after=1)
    jitted(*operands)
    traces = jitted.stats().eager_calls
    got = jitted(*operands)
    assert jitted.stats().eager_calls == traces == 1, jitted.impure or "the program did not run"
    return got, jitted.stats().host_calls


def difference(got: Any, want: Any, ulps: int = 0, scale: Any = None) -> str:
    """How `got` breaks the rule: shape, dtype, nan and infinity pattern, and at most `ulps` of `scale` (by default of `want`)."""
    g, w = np.asarray(got), np.asarray(want)
    if g.shape != w.shape or g.dtype != w.dtype:
        return f"{g.dtype}{g.shape} instead of {w.dtype}{w.shape}"
    if w.dtype.kind not in "fc":
        return "" if np.array_equal(g, w) else f"{g} instead of {w}"
    wrong = np.zeros(w.shape, bool)
    with np.errstate(all="ignore"):
        for a, b in ((g.real, w.real), (g.imag, w.imag)):
            wrong |= np.isnan(a) != np.isnan(b)
            wrong |= (np.isinf(a) | np.isinf(b)) & (a != b) & ~np.isnan(b)
            if ulps == 0:
                wrong |= (np.signbit(a) != np.signbit(b)) & ~np.isnan(b) & (w.dtype.kind == "f")
        size = np.abs(w) if scale is None else scale
        info = np.finfo(w.dtype)
        wrong |= np.isfinite(w) & np.isfinite(g) & ~(np.abs(g - w) <= ulps * (info.eps * size + info.smallest_subnormal))
    return f"{g[wrong][:5]} instead of {w[wrong][:5]}" if wrong.any() else ""
