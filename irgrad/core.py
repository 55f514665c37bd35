"""Names of autograd's module `core` that other code imports: rules, spaces, and derivatives of functions of one argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irgrad import operators
from irgrad.extend import (
    JVPNode,
    VJPNode,
    def_linear,
    defjvp,
    defjvp_argnum,
    defjvp_argnums,
    defvjp,
    defvjp_argnum,
    defvjp_argnums,
    primitive,
)
from irgrad.spaces import Box, SparseObject, VSpace, getval, isbox, vspace

__all__ = [
    "Box", "JVPNode", "SparseObject", "VJPNode", "VSpace", "def_linear", "defjvp", "defjvp_argnum", "defjvp_argnums",
    "defvjp", "defvjp_argnum", "defvjp_argnums", "getval", "isbox", "make_jvp", "make_vjp", "primitive", "vspace",
]  # fmt: skip


def make_vjp(fun: Callable[[Any], Any], x: Any) -> tuple[Callable[[Any], Any], Any]:
    """``(vjp, value)`` of a function of one argument at `x`; `irgrad.make_vjp` takes the function first, the arguments later."""
    return operators.make_vjp(fun)(x)


def make_jvp(fun: Callable[[Any], Any], x: Any) -> Callable[[Any], tuple[Any, Any]]:
    """``jvp(g) -> (value, tangent)`` of a function of one argument at `x`."""
    return operators.make_jvp(fun)(x)
