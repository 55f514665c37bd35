"""Typed memory access, library calls and the few LLVM-level pieces that kernels and the driver are made of.

Only this module, `arithmetic` and `special` (scalar routines), `driver` and `compile` import numba. Kernels read a pointer table and a size
table (`int64 kernel(int64 pointers, int64 sizes)`) through the intrinsics here; `irgrad.codegen.plain` has stand-ins of the
same names, with which a kernel runs as plain Python.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll
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


def _parts(context: Any, builder: Any, dtype: Any, pointer: Any, index: Any) -> list[Any]:
    """Addresses of the real numbers that pointer[index] consists of."""
    at = builder.gep(pointer, [index])
    return [cgutils.gep_inbounds(builder, at, 0, part) for part in (0, 1)] if isinstance(dtype, types.Complex) else [at]


def _numbers(context: Any, builder: Any, dtype: Any, value: Any) -> list[Any]:
    if isinstance(dtype, types.Complex):
        z = context.make_complex(builder, dtype, value=value)
        return [z.real, z.imag]
    return [value]


def _fold_parts(builder: Any, context: Any, dtype: Any, pointer: Any, top: Any, totals: list[Any], carry: Any) -> tuple[Any, list[Any]]:
    """Add partial sums from the top of a stack into `totals`: all of them, or (given a counter) one for each trailing zero bit."""
    zero, one = ll.Constant(I64, 0), ll.Constant(I64, 1)
    before = builder.block
    check, body, after = [builder.append_basic_block(name) for name in ("fold.check", "fold.body", "fold.after")]
    builder.branch(check)
    builder.position_at_end(check)
    at = builder.phi(I64)
    sums = [builder.phi(total.type) for total in totals]
    at.add_incoming(top, before)
    for number, total in zip(sums, totals, strict=True):
        number.add_incoming(total, before)
    if carry is None:
        more = builder.icmp_signed(">", at, zero)
    else:
        bits = builder.phi(I64)
        bits.add_incoming(carry, before)
        more = builder.icmp_signed("==", builder.and_(bits, one), zero)
    builder.cbranch(more, body, after)
    builder.position_at_end(body)
    below = builder.sub(at, one)
    at.add_incoming(below, body)
    parts = [builder.load(part) for part in _parts(context, builder, dtype, pointer, below)]
    for number, part in zip(sums, parts, strict=True):
        number.add_incoming(builder.fadd(part, number) if carry is not None else builder.fadd(number, part), body)
    if carry is not None:
        bits.add_incoming(builder.lshr(bits, one), body)
    builder.branch(check)
    builder.position_at_end(after)
    return at, sums


@intrinsic
def push(typing_context: Any, parts: Any, count: Any, value: Any) -> Any:
    """Add the sum of the count-th block to a stack of partial sums, which combine pairwise like the bits of a binary counter."""
    dtype = parts.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number, total = args
        top = builder.ctpop(builder.sub(number, ll.Constant(I64, 1)))
        at, sums = _fold_parts(builder, context, dtype, pointer, top, _numbers(context, builder, dtype, total), number)
        for place, part in zip(_parts(context, builder, dtype, pointer, at), sums, strict=True):
            builder.store(part, place)
        return context.get_dummy_value()

    return types.void(parts, types.int64, dtype), codegen


@intrinsic
def collect(typing_context: Any, parts: Any, count: Any) -> Any:
    """The sum of what `count` calls of `push` gave."""
    dtype = parts.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number = args
        real = context.get_value_type(dtype.underlying_float) if isinstance(dtype, types.Complex) else context.get_value_type(dtype)
        zeros = [ll.Constant(real, 0.0)] * (2 if isinstance(dtype, types.Complex) else 1)
        _, sums = _fold_parts(builder, context, dtype, pointer, builder.ctpop(number), zeros, None)
        if not isinstance(dtype, types.Complex):
            return sums[0]
        z = context.make_complex(builder, dtype)
        z.real, z.imag = sums
        return z._getvalue()  # noqa: SLF001

    return dtype(parts, types.int64), codegen


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
        "push": push, "collect": collect,
        "stack": stack, "call_blas": call_blas, "half_put": half_put, "call_kernel": call_kernel,
    }  # fmt: skip
    for name, type_ in TYPES.items():
        found[f"pointer_{name}"] = POINTERS[name]
        found[f"scoped_{name}"] = SCOPED[name]
        found[f"as_{name}"] = type_
    for name, scratch in SCRATCH.items():
        found[f"scratch_{name}"] = scratch
    return found
