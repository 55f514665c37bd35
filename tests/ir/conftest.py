"""Primitives of the IR tests: the IR is tested without the ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.primitive import ELEMENTWISE, GUARD, NONE, PURE, REDUCTION, nondiff, primitive


def _broadcast(*avals: Aval, **_: Any) -> Aval:
    dtype = np.result_type(*[0 * 1.0 if aval.kind == "python" else aval.dtype for aval in avals])
    return Aval(np.broadcast_shapes(*[aval.shape for aval in avals]), dtype)


def _binary(a: Aval, b: Aval) -> Aval:
    return _broadcast(a, b)


def _reduced(x: Aval, axis: int) -> Aval:
    if not 0 <= axis < x.ndim:
        raise ValueError(f"axis {axis} out of range for {x}")
    return Aval(x.shape[:axis] + x.shape[axis + 1 :], x.dtype)


def _guard(x: Aval, kind: str, value: Any) -> Aval:
    return Aval((), np.dtype(bool))


def _holds(x: Any, kind: str, value: Any) -> bool:
    if kind in ("bool", "int"):
        return bool(x == value)
    return np.asarray(x).tobytes() == np.asarray(value).tobytes()


_NONE = nondiff("a test")
primitive("t_mul", evaluate=np.multiply, aval=_binary, vjp=_NONE, jvp=_NONE, traits=ELEMENTWISE | PURE)
primitive("t_greater", evaluate=np.greater, aval=lambda a, b: Aval(_binary(a, b).shape, np.dtype(bool)), vjp=_NONE, jvp=_NONE)
primitive("t_sum", evaluate=lambda x, axis: np.sum(x, axis=axis), aval=_reduced, vjp=_NONE, jvp=_NONE, traits=REDUCTION | PURE)
primitive(
    "t_zeros",
    evaluate=lambda shape, dtype: np.zeros(shape, dtype),
    aval=lambda shape, dtype: Aval(shape, np.dtype(dtype)),
    vjp=_NONE,
    jvp=_NONE,
)
primitive("t_any", evaluate=lambda *xs, **_: xs[0], aval=lambda *xs, **_: xs[0], vjp=_NONE, jvp=_NONE)
primitive("t_draw", evaluate=lambda x: x, aval=lambda x: x, vjp=_NONE, jvp=_NONE, traits=NONE)
primitive("t_guard", evaluate=_holds, aval=_guard, vjp=_NONE, jvp=_NONE, traits=GUARD)
