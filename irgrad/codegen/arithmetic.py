"""Scalar routines that kernels call by name, as Numba intrinsics: numpy's semantics where Numba's or LLVM's own differ.

Each works for every dtype it is named for and answers in that dtype: float32 stays float32 and small integers wrap. Functions of
complex numbers are libm's, which numpy calls too, where the platform passes a complex number as two registers (probed by
platform), Numba's own otherwise. Names starting with ``c_`` take and return complex128. What an operation computes is written in
`irgrad.codegen.formulas` and `irgrad.codegen.written`, for both ways to machine code.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import llvmlite.ir as ll
from numba.core import cgutils, types
from numba.extending import intrinsic, register_jitable

from irgrad.codegen import formulas, polynomial, vector, written
from irgrad.codegen.scalar import LONE
from irgrad.codegen.written import COMPLEX, INSTRUCTIONS, REAL, REAL_PAIRS, passes_complex_in_registers


class Writer:
    """What `formulas` writes with: Numba's builder, and calls by name."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.builder, name)

    def whole(self, bits: int) -> Any:
        return ll.IntType(bits)

    def double(self) -> Any:
        return ll.DoubleType()

    def intrinsic(self, name: str, *operands: Any) -> Any:
        """A call of ``llvm.name`` on operands of one type."""
        type_ = operands[0].type
        kind = ll.FunctionType(type_, [type_] * len(operands))
        return self.builder.call(self.builder.module.declare_intrinsic(f"llvm.{name}", [type_], kind), operands)

    def libm(self, name: str, *operands: Any) -> Any:
        """A function of libm, in its vector form, or written out."""
        type_ = operands[0].type
        value = polynomial.written(self, name, operands)
        if value is not None:
            return value
        vectorised = vector.declare(self.builder.module, name, type_, len(operands))
        return self.scalar_libm(name, *operands) if vectorised is None else self.builder.call(vectorised, operands)

    def scalar_libm(self, name: str, *operands: Any) -> Any:
        """A function of libm, called for each number."""
        type_ = operands[0].type
        symbol = name + ("f" if isinstance(type_, ll.FloatType) else "")
        function = cgutils.get_or_insert_function(self.builder.module, ll.FunctionType(type_, [type_] * len(operands)), symbol)
        function.attributes.add("nounwind")
        function.attributes.add("readnone")
        return self.builder.call(function, operands)


# ---- real functions of libm ----


def _library(name: str, arity: int) -> Any:
    """A call of libm's `name`, or of its float form `namef` for float32."""

    @intrinsic
    def unary(typing_context: Any, x: Any) -> Any:
        return _libm_signature(name, (x,))

    @intrinsic
    def binary(typing_context: Any, x: Any, y: Any) -> Any:
        return _libm_signature(name, (x, y))

    return unary if arity == 1 else binary


def _lone(name: str) -> Any:
    """A call of libm's `name` on a number that stands alone: a chain of such calls waits for each of them."""

    @intrinsic
    def unary(typing_context: Any, x: Any) -> Any:
        return _libm_signature(name, (x,), lone=True)

    return unary


@intrinsic
def power_below(typing_context: Any, x: Any, exponent: Any, above: Any) -> Any:
    """x**exponent from x**(exponent + 1)."""
    real = types.float32 if all(o == types.float32 for o in (x, exponent, above)) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return formulas.power_below(Writer(builder), *args)

    return real(real, real, real), codegen


def _libm_signature(name: str, operands: tuple[Any, ...], lone: bool = False) -> Any:
    real = types.float32 if all(o == types.float32 for o in operands) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(builder)
        return w.scalar_libm(name, *args) if lone else w.libm(name, *args)

    return real(*([real] * len(operands))), codegen


def _llvm_intrinsic(name: str) -> Any:
    """A call of llvm.`name`, which becomes one instruction where the processor has it."""

    @intrinsic
    def unary(typing_context: Any, x: Any) -> Any:
        real = types.float32 if x == types.float32 else types.float64

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return Writer(builder).intrinsic(name, *args)

        return real(real), codegen

    return unary


# ---- order, sign, division, shifts ----


def _kind(dtype: Any) -> str:
    if isinstance(dtype, types.Float):
        return formulas.FLOAT
    return formulas.SIGNED if dtype.signed else formulas.UNSIGNED


def _binary(write: Callable[[Any, str, Any, Any], Any]) -> Any:
    """An intrinsic of two operands of one dtype: ``write(writer, kind, a, b)`` in that dtype."""

    @intrinsic
    def binary(typing_context: Any, a: Any, b: Any) -> Any:
        dtype = typing_context.unify_types(a, b) if a != b else a

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return write(Writer(builder), _kind(dtype), *args)

        return dtype(dtype, dtype), codegen

    return binary


def _choice(name: str) -> Any:
    relation, skips_nan = formulas.CHOICES[name]
    return _binary(lambda w, kind, a, b: formulas.choice(w, kind, relation, skips_nan, a, b))


def _extreme(name: str) -> Any:
    return _binary(lambda w, kind, a, b: w.intrinsic(formulas.EXTREMES[name], a, b))


@intrinsic
def sign(typing_context: Any, x: Any) -> Any:
    """1, 0 or -1 in the dtype of x; nan stays."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return formulas.sign(Writer(builder), _kind(x), *args)

    return x(x), codegen


@intrinsic
def signbit(typing_context: Any, x: Any) -> Any:
    """Is the sign bit of a float set?"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = ll.IntType(32 if x == types.float32 else 64)
        return builder.icmp_signed("<", builder.bitcast(args[0], bits), ll.Constant(bits, 0))

    return types.boolean(x), codegen


# ---- complex numbers ----


@register_jitable
def square(x: Any) -> Any:
    return x * x


@register_jitable
def real(z: Any) -> Any:
    return z.real


@register_jitable
def imag(z: Any) -> Any:
    return z.imag


@register_jitable
def conj(z: Any) -> Any:
    return z.conjugate()


def _made(context: Any, builder: Any, type_: Any, parts: tuple[Any, Any]) -> Any:
    z = context.make_complex(builder, type_)
    z.real, z.imag = parts
    return z._getvalue()  # noqa: SLF001


def _pair(context: Any, builder: Any, type_: Any, value: Any) -> tuple[Any, Any]:
    z = context.make_complex(builder, type_, value=value)
    return z.real, z.imag


@intrinsic
def complex_of(typing_context: Any, re: Any, im: Any) -> Any:
    """re + i im, in the precision of the parts."""
    part = types.float32 if re == types.float32 and im == types.float32 else types.float64
    result = types.complex64 if part == types.float32 else types.complex128

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _made(context, builder, signature.return_type, args)

    return result(part, part), codegen


def _of_complex(write: Callable[..., Any], arity: int, double: bool) -> Any:
    """An intrinsic of complex numbers of one dtype (of complex128 where `double`): ``write(writer, *pairs)``."""

    def typed(type_: Any) -> Any:
        type_ = types.complex128 if double else type_

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = [_pair(context, builder, type_, value) for value in args]
            return _made(context, builder, type_, write(Writer(builder), *pairs))

        return type_(*[type_] * arity), codegen

    @intrinsic
    def unary(typing_context: Any, z: Any) -> Any:
        return typed(z)

    @intrinsic
    def binary(typing_context: Any, z: Any, w: Any) -> Any:
        return typed(z)

    return unary if arity == 1 else binary


def _library_complex(name: str, w: Writer, *pairs: Any) -> Any:
    """libm's complex function; complex numbers travel as pairs of registers."""
    double = ll.DoubleType()
    function_type = ll.FunctionType(ll.LiteralStructType([double, double]), [double] * (2 * len(pairs)))
    function = cgutils.get_or_insert_function(w.builder.module, function_type, "c" + name)
    function.attributes.add("nounwind")
    made = w.builder.call(function, [part for pair in pairs for part in pair])
    return w.builder.extract_value(made, 0), w.builder.extract_value(made, 1)


def _complex_functions() -> dict[str, Any]:
    if passes_complex_in_registers():
        found = {name: _of_complex(partial(_library_complex, name), 1, True) for name in COMPLEX}
        found["pow"] = _of_complex(partial(_library_complex, "pow"), 2, True)
    else:
        found = {name: getattr(cmath, name) for name in COMPLEX}
        found["pow"] = register_jitable(lambda z, w: z**w)
    if vector.library() is not None:
        found["exp"] = _of_complex(formulas.exp_complex, 1, True)
    return found


def write(space: dict[str, Any]) -> None:
    """Add the routines of `irgrad.codegen.written` to the names of kernels, which they use."""
    known = {**space, **written.CONSTANTS}
    for name, function in written.ROUTINES.items():
        space[name] = known[name] = register_jitable(FunctionType(function.__code__, known, name))


def names() -> dict[str, Any]:
    """The names of this module that kernel source may use."""
    found: dict[str, Any] = {
        "sign": sign, "signbit": signbit, "isnan": math.isnan, "isinf": math.isinf, "isfinite": math.isfinite,
        "square": square, "power_below": power_below, "real": real, "imag": imag, "conj": conj, "complex_of": complex_of,
        "divide_complex": _of_complex(formulas.divide_complex, 2, False),
        "reciprocal_complex": _of_complex(formulas.reciprocal_complex, 1, False),
        "c_sign": _of_complex(formulas.sign_complex, 1, True), "math": math, "inf": math.inf, "nan": math.nan,
    }  # fmt: skip
    found.update({name: _choice(name) for name in formulas.CHOICES})
    found.update({name: _extreme(name) for name in formulas.EXTREMES})
    found.update({name: _binary(getattr(formulas, name)) for name in ("shift_left", "shift_right", "floor_divide", "remainder")})
    found.update({name: _library(name, 1) for name in REAL})
    found.update({name: _library(name, 2) for name in REAL_PAIRS})
    found.update({f"special_{name}": _library(name, 1) for name in polynomial.SPECIAL})
    found.update({f"lone_{name}": _lone(name) for name in LONE})
    found.update({name: _llvm_intrinsic(name) for name in INSTRUCTIONS})
    functions = _complex_functions()
    found["library_pow"] = functions.pop("pow")
    found.update({f"c_{name}": function for name, function in functions.items()})
    return found
