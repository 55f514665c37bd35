"""Typed memory access, library calls and the few LLVM-level pieces that kernels and the driver are made of.

Only this module, `arithmetic` and `special` (scalar routines), `driver` and `compile` import numba. Kernels read a pointer table and a size
table (`int64 kernel(int64 pointers, int64 sizes)`) through the intrinsics here; `irgrad.codegen.plain` has stand-ins of the
same names, with which a kernel runs as plain Python.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll
from numba.core import cgutils, types
from numba.extending import intrinsic

from irgrad.codegen import arithmetic, special

I64 = ll.IntType(64)
I32 = ll.IntType(32)

TYPES: dict[str, Any] = {
    "bool": types.boolean, "int8": types.int8, "int16": types.int16, "int32": types.int32, "int64": types.int64,
    "uint8": types.uint8, "uint16": types.uint16, "uint32": types.uint32, "uint64": types.uint64,
    "float32": types.float32, "float64": types.float64, "complex64": types.complex64, "complex128": types.complex128,
}  # fmt: skip


def _pointer_intrinsic(element: Any) -> Any:
    @intrinsic
    def pointer(typing_context: Any, table: Any, index: Any) -> Any:
        """The index-th pointer of a pointer table."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = builder.load(builder.gep(builder.inttoptr(args[0], I64.as_pointer()), [args[1]]))
            return builder.inttoptr(address, context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64, types.int64), codegen

    return pointer


POINTERS = {name: _pointer_intrinsic(type_) for name, type_ in TYPES.items()}


@intrinsic
def load(typing_context: Any, pointer: Any, index: Any) -> Any:
    """pointer[index], no checks."""
    element = pointer.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.unpack_value(builder, element, builder.gep(args[0], [args[1]]))

    return element(pointer, types.int64), codegen


@intrinsic
def store(typing_context: Any, pointer: Any, index: Any, value: Any) -> Any:
    """pointer[index] = value, cast to the pointer's element type."""
    element = pointer.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        context.pack_value(builder, element, args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, element), codegen


@intrinsic
def size(typing_context: Any, table: Any, index: Any) -> Any:
    """The index-th int64 of a table given by address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(builder.inttoptr(args[0], I64.as_pointer()), [args[1]]))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def put(typing_context: Any, table: Any, index: Any, value: Any) -> Any:
    """Store an int64 in a table given by address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], I64.as_pointer()), [args[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def half_at(typing_context: Any, address: Any) -> Any:
    """The int32 at an address, as int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.load(builder.inttoptr(args[0], I32.as_pointer())), I64)

    return types.int64(types.int64), codegen


@intrinsic
def byte_at(typing_context: Any, address: Any) -> Any:
    """The byte at an address, as int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(builder.inttoptr(args[0], ll.IntType(8).as_pointer())), I64)

    return types.int64(types.int64), codegen


@intrinsic
def stack(typing_context: Any, count: Any) -> Any:
    """Address of 512 int64 slots on the stack (the count is for the reader)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        slots = cgutils.alloca_once(builder, I64, size=ll.Constant(I64, 512))
        return builder.ptrtoint(slots, I64)

    return types.int64(types.int64), codegen


def _scratch_intrinsic(element: Any) -> Any:
    @intrinsic
    def scratch(typing_context: Any, unused: Any) -> Any:
        """64 elements on the stack."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return cgutils.alloca_once(builder, context.get_data_type(element), size=ll.Constant(I64, 64))

        return types.CPointer(element)(types.int64), codegen

    return scratch


SCRATCH = {name: _scratch_intrinsic(type_) for name, type_ in TYPES.items() if type_ in (
    types.float32, types.float64, types.complex64, types.complex128, types.int64, types.uint64)}  # fmt: skip


@intrinsic
def call_kernel(typing_context: Any, function: Any, pointers: Any, sizes: Any) -> Any:
    """Call a kernel by address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = builder.inttoptr(args[0], ll.FunctionType(I64, [I64, I64]).as_pointer())
        return builder.call(target, args[1:])

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def select(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    """a if condition else b, without a branch."""
    result = typing_context.unify_types(a, b) or a

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left = context.cast(builder, args[1], signature.args[1], signature.return_type)
        right = context.cast(builder, args[2], signature.args[2], signature.return_type)
        return builder.select(args[0], left, right)

    return result(types.boolean, a, b), codegen


@intrinsic
def add_any_order(typing_context: Any, a: Any, b: Any) -> Any:
    """a + b that LLVM may reassociate with its kind (inside a block of a sum): vectorises the reduction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if isinstance(signature.return_type, types.Complex):
            left = context.make_complex(builder, signature.return_type, value=args[0])
            right = context.make_complex(builder, signature.return_type, value=args[1])
            left.real = builder.fadd(left.real, right.real, flags=("reassoc",))
            left.imag = builder.fadd(left.imag, right.imag, flags=("reassoc",))
            return left._getvalue()  # noqa: SLF001
        return builder.fadd(args[0], args[1], flags=("reassoc",))

    return a(a, b), codegen


@intrinsic
def half_put(typing_context: Any, table: Any, index: Any, value: Any) -> Any:
    """Store an int32 at 8 * index of a table given by address: an integer argument of BLAS."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        slot = builder.ptrtoint(builder.gep(builder.inttoptr(args[0], I64.as_pointer()), [args[1]]), I64)
        builder.store(builder.trunc(args[2], I32), builder.inttoptr(slot, I32.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def call_blas(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call a Fortran-style routine by address: every argument is a pointer, all given as a tuple of addresses."""
    count = len(arguments)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ll.IntType(8).as_pointer()
        target = builder.inttoptr(args[0], ll.FunctionType(ll.VoidType(), [byte] * count).as_pointer())
        parts = cgutils.unpack_tuple(builder, args[1], count)
        builder.call(target, [builder.inttoptr(part, byte) for part in parts])
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


def names() -> dict[str, Any]:
    """The names that kernel source may use."""
    found: dict[str, Any] = {
        **arithmetic.names(),
        **special.names(),
        "load": load, "store": store, "size": size, "put": put, "select": select, "add_any_order": add_any_order,
        "stack": stack, "call_blas": call_blas, "half_put": half_put, "call_kernel": call_kernel,
    }  # fmt: skip
    for name, type_ in TYPES.items():
        found[f"pointer_{name}"] = POINTERS[name]
        found[f"as_{name}"] = type_
    for name, scratch in SCRATCH.items():
        found[f"scratch_{name}"] = scratch
    return found
