"""How a reduction folds: what enters it, where it starts, how two partial results combine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irgrad.codegen.scalar import conversion, literal, plus, times
from irgrad.ir.graph import Node


def folded(node: Node, text: str, dtype: np.dtype[Any]) -> str:
    """The text that a reduction folds: truth for any and all, the value otherwise."""
    assert node.op is not None
    return conversion(text, dtype, np.dtype(bool)) if node.op.name in ("reduce_any", "reduce_all") else text


def fold(node: Node, dtype: np.dtype[Any]) -> tuple[str, Any]:
    """Initial text and combination of a reduction."""
    assert node.op is not None
    name, out = node.op.name, node.aval.dtype
    if name == "reduce_sum":
        return literal(0, out), lambda a, v: plus(a, v, out)
    if name == "reduce_prod":
        return literal(1, out), lambda a, v: times(a, v, out)
    if name == "reduce_any":
        return "False", lambda a, v: f"{a} | {v}"
    if name == "reduce_all":
        return "True", lambda a, v: f"{a} & {v}"
    high = name == "reduce_max"
    if out.kind == "f":
        initial = literal(-math.inf if high else math.inf, out)
    elif out.kind == "b":
        initial = "False" if high else "True"
        return initial, lambda a, v: f"{a} | {v}" if high else f"{a} & {v}"
    else:
        initial = literal(np.iinfo(out).min if high else np.iinfo(out).max, out)
    choose = ("greatest" if high else "least") if out.kind == "f" else "maximum" if high else "minimum"
    return initial, lambda a, v: f"{choose}({a}, {v})"
