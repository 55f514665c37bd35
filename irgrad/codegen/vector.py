"""Vector mathematics: libm's functions in the lanes of a vector, from glibc's libmvec (Linux on x86-64 with AVX2).

A kernel calls ``irgrad_exp(x)``, a function defined in its own module that runs libmvec's routine and takes the first lane. An attribute on
it names the routine as its vector form, so that LLVM's vectoriser puts whole vectors through it. Loops, their remainders and
scalar code thus run one routine, and a value does not depend on its position. libmvec's routines err by at most 4 ulp.

Where the library, the processor or a name is missing, calls go to libm, one number at a time.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

LIBRARY = "libmvec.so.1"
UNARY = frozenset({
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "erf", "erfc",
})  # fmt: skip
BINARY = frozenset({"atan2", "hypot", "pow"})


@cache
def library() -> Any:
    """libmvec, loaded for kernels too; None where it cannot be used."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    import llvmlite.binding as llvm

    if not llvm.get_host_cpu_features().get("avx2"):
        return None
    try:
        found = ctypes.CDLL(LIBRARY)
        llvm.load_library_permanently(LIBRARY)
    except (OSError, RuntimeError):
        return None
    return found


@cache
def identity() -> str:
    """What kernels depend on: the C library and its version, or nothing."""
    return "-".join(platform.libc_ver()) if library() is not None else ""


@cache
def variant(name: str, single: bool) -> tuple[str, int] | None:
    """Symbol and lanes of the routine that computes `name` in vectors; None where there is none."""
    arity = 1 if name in UNARY else 2 if name in BINARY else 0
    if not arity or library() is None:
        return None
    lanes = 8 if single else 4
    symbol = f"_ZGVdN{lanes}{'v' * arity}_{name}{'f' if single else ''}"
    return (symbol, lanes) if hasattr(library(), symbol) else None


def declare(module: Any, name: str, type_: Any, arity: int) -> Any:
    """The function of a module that computes `name` and may be vectorised; None where there is no vector routine."""
    import llvmlite.ir as ll

    single = isinstance(type_, ll.FloatType)
    found = variant(name, single)
    if found is None:
        return None
    symbol, lanes = found
    scalar = f"irgrad_{name}{'f' if single else ''}"
    known = module.globals.get(scalar)
    if known is not None:
        return known
    vector_type = ll.VectorType(type_, lanes)
    routine = ll.Function(module, ll.FunctionType(vector_type, [vector_type] * arity), symbol)
    function = ll.Function(module, ll.FunctionType(type_, [type_] * arity), scalar)
    function.linkage = "linkonce_odr"  # not internal: LLVM would drop arguments that are constant, and the form with them
    function.attributes.add("noinline")
    _annotate(routine, ("nounwind", "willreturn", "memory(none)"))
    form = f'"vector-function-abi-variant"="_ZGV_LLVM_N{lanes}{"v" * arity}_{scalar}({symbol})"'
    _annotate(function, ("nounwind", "willreturn", "memory(none)", form))
    builder = ll.IRBuilder(function.append_basic_block())
    first = ll.Constant(ll.IntType(32), 0)
    spread = ll.Constant(ll.VectorType(ll.IntType(32), lanes), [0] * lanes)
    undefined = ll.Constant(vector_type, ll.Undefined)
    vectors = [builder.shuffle_vector(builder.insert_element(undefined, x, first), undefined, spread) for x in function.args]
    builder.ret(builder.extract_element(builder.call(routine, vectors), first))
    return function


def _annotate(function: Any, attributes: tuple[str, ...]) -> None:
    """Add attributes of LLVM that llvmlite has no names for."""
    for attribute in attributes:
        set.add(function.attributes, attribute)
