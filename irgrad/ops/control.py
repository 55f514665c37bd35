"""Marks and guards: what a trace notes about the program's course."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.primitive import ELEMENTWISE, GUARD, IDENTITY, LINEAR, NONE, PURE, nondiff, primitive

mark = primitive(
    "mark",
    evaluate=lambda x: x,
    aval=lambda x: x,
    vjp=(lambda b, ct, out, x: ct,),
    jvp=(lambda b, t, out, x: t,),
    traits=IDENTITY | ELEMENTWISE | LINEAR | PURE,
)


def _guard(x: Any, *, kind: str, value: Any) -> Any:
    return np.bool_(_holds(x, kind, value))


def _holds(x: Any, kind: str, value: Any) -> bool:
    if kind == "bool":
        return bool(x) == value
    if kind == "int":
        return int(x) == value
    return np.asarray(x).tobytes() == np.asarray(value).astype(np.asarray(x).dtype).tobytes()


guard = primitive(
    "guard",
    evaluate=_guard,
    aval=lambda x, *, kind, value: Aval((), np.dtype(bool), "scalar"),
    vjp=nondiff("a guard has no value"),
    jvp=nondiff("a guard has no value"),
    traits=GUARD | NONE,
)
