"""Vector mathematics: libm's functions in the lanes of a vector, from glibc's libmvec (Linux on x86-64 with AVX2).

A kernel calls ``irgrad_exp(x)``, a function defined in its own module that runs libmvec's routine and takes the first lane. An attribute on
it names the routine as its vector form (and one of half the lanes that runs it too), so that LLVM's vectoriser puts whole vectors
through it. Loops, their remainders and arrays without loops thus run one routine, and a value does not depend on its position. Numbers that
are no elements of an array go through libm where its answer comes sooner (`irgrad.codegen.scalar.lone`).
libmvec's routines err by at most 4 ulp.

Where the library, the processor or a name is missing, calls go to libm, one number at a time.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from irgrad.codegen import processor

LIBRARY = "libmvec.so.1"
UNARY = frozenset({
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "erf", "erfc",
})  # fmt: skip
BINARY = frozenset({"atan2", "hypot", "pow"})


@cache
def library() -> Any:
    """libmvec, loaded for kernels too; None where it cannot be used."""
    if not _is_known():
        return None
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return None


def _is_known() -> bool:
    """Is this a system whose routines kernels may call?"""
    return sys.platform == "linux" and platform.machine() == "x86_64" and processor.has("avx2")


@cache
def is_there() -> bool:
    """Is there the library? It lies beside libm, which the process has: loading it takes 100 kB, and most kernels call none of it."""
    if not _is_known():
        return False
    libm = _path_of_libm()
    return (libm is not None and (libm.parent / LIBRARY).exists()) or library() is not None


def _path_of_libm() -> Path | None:
    """Where libm of this process lies, None where the system does not say."""
    found = (ctypes.c_void_p * 4)()  # Dl_info: the file's name comes first
    try:
        known = ctypes.CDLL(None).dladdr(ctypes.cast(ctypes.CDLL("libm.so.6").sin, ctypes.c_void_p), found)
    except (OSError, AttributeError):
        return None
    return Path(os.fsdecode(ctypes.string_at(found[0]))) if known and found[0] else None


@cache
def load_for_llvm() -> None:
    """Let LLVM find the library's routines: before it links code that calls them."""
    if library() is not None:
        import llvmlite.binding as llvm

        llvm.load_library_permanently(LIBRARY)


def address(symbol: str) -> int:
    """Of one of the library's routines, 0 where there is none of that name."""
    if not symbol.startswith("_ZGV") or library() is None or not hasattr(library(), symbol):
        return 0
    return ctypes.cast(library()[symbol], ctypes.c_void_p).value or 0


@cache
def identity() -> str:
    """What kernels depend on: the C library and its version, or nothing."""
    return "-".join(platform.libc_ver()) if is_there() else ""


@cache
def width() -> int:
    """Bits of a vector: 512 where the processor runs at full speed with them (Ice Lake, Zen 4 and later), 256 elsewhere."""
    if not is_there():
        return 256
    return 512 if processor.has("avx512f", "avx512dq", "avx512vl", "avx512vbmi2") else 256


@cache
def variant(name: str, single: bool) -> tuple[str, int] | None:
    """Symbol and lanes of the routine that computes `name` in vectors; None where there is none."""
    arity = 1 if name in UNARY else 2 if name in BINARY else 0
    if not arity or library() is None:
        return None
    lanes = width() // (32 if single else 64)
    symbol = f"_ZGV{'e' if width() == 512 else 'd'}N{lanes}{'v' * arity}_{name}{'f' if single else ''}"
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
    routine = ll.Function(module, ll.FunctionType(ll.VectorType(type_, lanes), [ll.VectorType(type_, lanes)] * arity), symbol)
    _annotate(routine, _PURE)
    half = _part(module, f"{scalar}_half", routine, lanes // 2)
    forms = [f"_ZGV_LLVM_N{count}{'v' * arity}_{scalar}({form.name})" for count, form in ((lanes, routine), (lanes // 2, half))]
    return _part(module, scalar, routine, 1, f'"vector-function-abi-variant"="{",".join(forms)}"')


def _part(module: Any, name: str, routine: Any, lanes: int, *attributes: str) -> Any:
    """A function that runs a vector routine on fewer lanes: one (a number) or some."""
    import llvmlite.ir as ll

    whole = routine.function_type.args[0]
    type_ = whole.element if lanes == 1 else ll.VectorType(whole.element, lanes)
    function = ll.Function(module, ll.FunctionType(type_, [type_] * len(routine.args)), name)
    # not internal: LLVM would drop arguments that are constant, and the form with them; a form is kept though nobody calls it yet
    function.linkage = "linkonce_odr" if lanes == 1 else "weak_odr"
    function.attributes.add("noinline")
    _annotate(function, (*_PURE, *attributes))
    builder = ll.IRBuilder(function.append_basic_block())
    index = ll.IntType(32)
    undefined = ll.Constant(whole, ll.Undefined)
    if lanes == 1:
        spread = ll.Constant(ll.VectorType(index, whole.count), [0] * whole.count)
        filled = [builder.insert_element(undefined, x, ll.Constant(index, 0)) for x in function.args]
        vectors = [builder.shuffle_vector(x, undefined, spread) for x in filled]
        builder.ret(builder.extract_element(builder.call(routine, vectors), ll.Constant(index, 0)))
        return function
    twice = ll.Constant(ll.VectorType(index, whole.count), [k % lanes for k in range(whole.count)])
    vectors = [builder.shuffle_vector(x, ll.Constant(type_, ll.Undefined), twice) for x in function.args]
    some = ll.Constant(ll.VectorType(index, lanes), list(range(lanes)))
    builder.ret(builder.shuffle_vector(builder.call(routine, vectors), undefined, some))
    return function


_PURE = ("nounwind", "willreturn", "memory(none)")


def widen(function: Any) -> None:
    """Let LLVM use vectors of `width()` in a function."""
    if width() != 256:
        _annotate(function, (f'"prefer-vector-width"="{width()}"',))


def _annotate(function: Any, attributes: tuple[str, ...]) -> None:
    """Add attributes of LLVM that llvmlite has no names for."""
    for attribute in attributes:
        set.add(function.attributes, attribute)
