"""Special functions in kernels: calls of scipy's compiled routines by address, and the one routine of our own (`irgrad.codegen.written`).

Kernel text ``special_name(x, ...)`` of a primitive becomes ``call_realN(address, x, ...)``, where the address of the routine comes through
the kernel's pointer table under the name ``special:name``. Everything is computed in float64 and answered in the dtype of the
operands, as scipy's float32 loops do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import llvmlite.ir as ll
from numba.core import types
from numba.extending import intrinsic

from irgrad.codegen import written

MAX_ARITY = 4


def _real_result(operands: tuple[Any, ...]) -> Any:
    floats = [o for o in operands if isinstance(o, types.Float)]
    return types.float32 if floats and all(o == types.float32 for o in floats) else types.float64


def _typed(arity: int, signature: Callable[[tuple[Any, ...]], Any]) -> Any:
    """An intrinsic of `arity` operands from ``signature(operand types) -> (numba signature, codegen)``."""

    @intrinsic
    def one(typing_context: Any, a: Any) -> Any:
        return signature((a,))

    @intrinsic
    def two(typing_context: Any, a: Any, b: Any) -> Any:
        return signature((a, b))

    @intrinsic
    def three(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        return signature((a, b, c))

    @intrinsic
    def four(typing_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        return signature((a, b, c, d))

    @intrinsic
    def five(typing_context: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        return signature((a, b, c, d, e))

    return (one, two, three, four, five)[arity - 1]


def _call_by_address(operands: tuple[Any, ...]) -> Any:
    """``double routine(double, ..., int)``; the last argument is Cython's flag of its own calls."""
    result = _real_result(operands[1:])

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double, flag = ll.DoubleType(), ll.IntType(32)
        target = builder.inttoptr(args[0], ll.FunctionType(double, [*[double] * len(args[1:]), flag]).as_pointer())
        wide = [context.cast(builder, a, t, types.float64) for a, t in zip(args[1:], signature.args[1:], strict=True)]
        out = builder.call(target, [*wide, ll.Constant(flag, 0)])
        return context.cast(builder, out, types.float64, result)

    return result(*operands), codegen


def _in_double(function: Callable[..., float], arity: int) -> Any:
    """A Python routine of float64 for operands of any real dtype."""

    def signature(operands: tuple[Any, ...]) -> Any:
        result = _real_result(operands)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide = [context.cast(builder, a, t, types.float64) for a, t in zip(args, signature.args, strict=True)]
            out = context.compile_internal(builder, function, types.float64(*[types.float64] * arity), wide)
            return context.cast(builder, out, types.float64, result)

        return result(*operands), codegen

    return _typed(arity, signature)


def names() -> dict[str, Any]:
    """The names of this module that kernel source may use."""
    found: dict[str, Any] = {f"call_real{n}": _typed(n + 1, _call_by_address) for n in range(1, MAX_ARITY + 1)}
    zeta = FunctionType(written.zeta.__code__, {"math": math, **written.CONSTANTS}, "zeta")
    found["hurwitz_zeta"] = _in_double(zeta, 2)
    return found
