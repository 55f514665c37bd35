"""Typed memory access, library calls and the few LLVM-level pieces that kernels and the driver are made of.

Only this module, `arithmetic` and `special` (scalar routines) import numba. Kernels read a pointer table and a size
table (`int64 kernel(int64 pointers, int64 sizes)`) through the intrinsics here; `irgrad.codegen.plain` has stand-ins of the
same names, with which a kernel runs as plain Python.
"""

from __future__ import annotations

import ast
import contextlib
from functools import cache
from typing import Any

import llvmlite.ir as ll
from numba import cfunc, njit
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from irgrad.codegen import arithmetic, special, vector

I64 = ll.IntType(64)
I32 = ll.IntType(32)

TYPES: dict[str, Any] = {
    "bool": types.boolean, "int8": types.int8, "int16": types.int16, "int32": types.int32, "int64": types.int64,
    "uint8": types.uint8, "uint16": types.uint16, "uint32": types.uint32, "uint64": types.uint64,
    "float32": types.float32, "float64": types.float64, "complex64": types.complex64, "complex128": types.complex128,
}  # fmt: skip


class ScopedPointer(types.CPointer):
    """A pointer whose accesses do not overlap those of another scope: LLVM then needs no checks to vectorise a loop."""

    def __init__(self, element: Any, scope: int, scopes: int) -> None:
        super().__init__(element)
        self.scope = scope
        self.scopes = scopes
        self.name = f"{element}*[{scope}/{scopes}]"

    @property
    def key(self) -> Any:
        return (self.dtype, self.scope, self.scopes)


register_model(ScopedPointer)(models.PointerModel)


def _pointer_intrinsic(element: Any) -> Any:
    @intrinsic
    def pointer(typing_context: Any, table: Any, index: Any) -> Any:
        """The index-th pointer of a pointer table."""
        return types.CPointer(element)(types.int64, types.int64), _read_pointer

    return pointer


def _scoped_intrinsic(element: Any) -> Any:
    @intrinsic(prefer_literal=True)
    def scoped(typing_context: Any, table: Any, index: Any, scope: Any, scopes: Any) -> Any:
        """The index-th pointer of a pointer table, in scope number `scope` of `scopes`, both literal."""
        if not isinstance(scope, types.IntegerLiteral):
            return None
        pointer = ScopedPointer(element, scope.literal_value, scopes.literal_value)
        return pointer(types.int64, types.int64, types.int64, types.int64), _read_scoped

    return scoped


def _read_pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    address = builder.load(builder.gep(builder.inttoptr(args[0], I64.as_pointer()), [args[1]]))
    return builder.inttoptr(address, context.get_value_type(signature.return_type))


def _read_scoped(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    vector.widen(builder.function)
    return _read_pointer(context, builder, signature, args)


POINTERS = {name: _pointer_intrinsic(type_) for name, type_ in TYPES.items()}
SCOPED = {name: _scoped_intrinsic(type_) for name, type_ in TYPES.items()}


def _scoped(builder: Any, pointer: Any, instruction: Any) -> Any:
    """Say in LLVM's words that an access of a scoped pointer overlaps no access of the other scopes."""
    if isinstance(pointer, ScopedPointer) and pointer.scopes > 1:
        module = builder.module
        domain = module.add_metadata(["irgrad"])
        scopes = [module.add_metadata([f"irgrad {k}", domain]) for k in range(pointer.scopes)]
        instruction.set_metadata("alias.scope", module.add_metadata([scopes[pointer.scope]]))
        instruction.set_metadata("noalias", module.add_metadata([s for k, s in enumerate(scopes) if k != pointer.scope]))
    return instruction


@intrinsic
def load(typing_context: Any, pointer: Any, index: Any) -> Any:
    """pointer[index], no checks."""
    element = pointer.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = builder.gep(args[0], [args[1]])
        if isinstance(element, types.Complex):
            z = context.make_complex(builder, element)
            z.real, z.imag = [_scoped(builder, pointer, builder.load(cgutils.gep_inbounds(builder, at, 0, part))) for part in (0, 1)]
            return z._getvalue()  # noqa: SLF001
        return context.data_model_manager[element].from_data(builder, _scoped(builder, pointer, builder.load(at)))

    return element(pointer, types.int64), codegen


@intrinsic
def store(typing_context: Any, pointer: Any, index: Any, value: Any) -> Any:
    """pointer[index] = value, cast to the pointer's element type."""
    element = pointer.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = builder.gep(args[0], [args[1]])
        if isinstance(element, types.Complex):
            z = context.make_complex(builder, element, value=args[2])
            for part, number in enumerate((z.real, z.imag)):
                _scoped(builder, pointer, builder.store(number, cgutils.gep_inbounds(builder, at, 0, part)))
        else:
            _scoped(builder, pointer, builder.store(context.data_model_manager[element].as_data(builder, args[2]), at))
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


@intrinsic
def line(typing_context: Any, pointer: Any) -> Any:
    """128 elements on the stack, of a pointer's kind."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.alloca_once(builder, context.get_data_type(pointer.dtype), size=ll.Constant(I64, 128))

    return types.CPointer(pointer.dtype)(pointer), codegen


@intrinsic
def stream(typing_context: Any, pointer: Any, index: Any, line: Any, count: Any) -> Any:
    """Copy the first elements of a line buffer to pointer[index:]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        width = context.get_abi_sizeof(context.get_data_type(pointer.dtype))
        cgutils.raw_memcpy(builder, builder.gep(args[0], [args[1]]), args[2], args[3], width)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, line, types.int64), codegen


@intrinsic
def ahead(typing_context: Any, pointer: Any, index: Any) -> Any:
    """Tell the processor that elements from pointer[index] on are read soon: it does without."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic
def fence(typing_context: Any) -> Any:
    """Stores before it are seen before those behind it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


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
def count_ones(typing_context: Any, x: Any) -> Any:
    """How many bits of an int64 are set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), codegen


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
        "count_ones": count_ones, "byte_at": byte_at, "half_at": half_at, "stack": stack,
        "call_blas": call_blas, "call_kernel": call_kernel,
        "line": line, "stream": stream, "fence": fence, "ahead": ahead, "lanes": range, "pairs": range, "singles": range,
    }  # fmt: skip
    for name, type_ in TYPES.items():
        found[f"pointer_{name}"] = POINTERS[name]
        found[f"scoped_{name}"] = SCOPED[name]
        found[f"as_{name}"] = type_
    for name, scratch in SCRATCH.items():
        found[f"scratch_{name}"] = scratch
    arithmetic.write(found)
    return found


@cache
def _names() -> dict[str, Any]:
    return names()


def machine_code(name: str, text: str, constants: dict[str, Any]) -> tuple[int, Any, str, bytes]:
    """The function `name` of a text by Numba, all whose parameters are int64, as its result.

    Its address, what keeps it, its symbol, and its object code: empty where this Numba does not show it.
    """
    vector.load_for_llvm()
    space = {**_names(), **constants}
    tree = ast.parse(text)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    exec(compile(tree, f"<irgrad {name}>", "exec"), space)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name != name:
            space[node.name] = njit(inline="always")(space[node.name])  # a call would keep a path for errors, and helpers of Numba
    function = space[name]
    compiled: Any = cfunc(f"int64({','.join(['int64'] * function.__code__.co_argcount)})", error_model="numpy")(function)
    code = b""
    with contextlib.suppress(AttributeError, RuntimeError):  # private names of numba: without them nothing is kept on disk
        code = bytes(compiled._library._get_compiled_object())  # noqa: SLF001
    return int(compiled.address), compiled, getattr(compiled, "_wrapper_name", ""), code
