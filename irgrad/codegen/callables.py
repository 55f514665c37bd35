"""Python callables from addresses of machine code.

A builtin function (METH_FASTCALL) around the address takes 40 ns a call, where one by ctypes takes 300. Its code is the same for all
addresses: the function it calls, and the interpreter's, are names that linking resolves. It is compiled once and kept in the store.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from irgrad.codegen import objects

FASTCALL = 0x80  # METH_FASTCALL
TARGET = "irgrad_target"
SYMBOL = "irgrad_call"
INTERPRETER = ("PyLong_AsLongLong", "PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread")
_kept: list[Any] = []  # method definitions that callables point into

Stored = Callable[[str, Callable[[], tuple[str, bytes]]], tuple[str, bytes]]


def callable_of(address: int, tuple_last: bool, release: bool, stored: Stored) -> Callable[[int, int, Any], int]:
    """A Python function of three integers for `int64 f(int64, int64, int64)` at an address.

    With `tuple_last` the third argument is any object, and its address is passed. With `release` other threads may run meanwhile.
    `stored(key, make)` is the symbol and object code kept under a key, or made by `make()`.
    """
    try:
        return _builtin(address, tuple_last, release, stored)
    except (AttributeError, RuntimeError, ImportError, ValueError):
        kind = (ctypes.CFUNCTYPE if release else ctypes.PYFUNCTYPE)(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        function = kind(address)
        return (lambda a, b, c: function(a, b, id(c))) if tuple_last else function


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def _builtin(address: int, tuple_last: bool, release: bool, stored: Stored) -> Callable[[int, int, Any], int]:
    if sys.implementation.name != "cpython":
        raise RuntimeError("builtin functions of this interpreter are made otherwise")
    symbol, code = stored(f"{SYMBOL}_{tuple_last:d}{release:d}", lambda: (SYMBOL, _code(tuple_last, release)))
    names = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in INTERPRETER}
    function = objects.load(symbol, code, {**names, TARGET: address})
    if not function:
        raise RuntimeError("the code around the function cannot be linked")
    method = _MethodDef(b"irgrad_native", function, FASTCALL, None)
    _kept.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.POINTER(_MethodDef), ctypes.c_void_p, ctypes.c_void_p]
    return make(ctypes.byref(method), None, None)  # type: ignore[no-any-return]


def _code(tuple_last: bool, release: bool) -> bytes:
    """An object file with the METH_FASTCALL function around the native one."""
    import llvmlite.binding as llvm
    import llvmlite.ir as ll

    word, pointer = ll.IntType(64), ll.IntType(8).as_pointer()
    module = ll.Module(SYMBOL)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module.triple = llvm.get_process_triple()
    function = ll.Function(module, ll.FunctionType(pointer, [pointer, pointer.as_pointer(), word]), SYMBOL)
    builder = ll.IRBuilder(function.append_basic_block())

    def call(name: str, result: Any, *operands: Any) -> Any:
        callee = module.globals.get(name) or ll.Function(module, ll.FunctionType(result, [operand.type for operand in operands]), name)
        return builder.call(callee, operands)

    given = [builder.load(builder.gep(function.args[1], [ll.Constant(word, k)])) for k in range(3)]
    last = builder.ptrtoint(given[2], word) if tuple_last else call("PyLong_AsLongLong", word, given[2])
    numbers = [*(call("PyLong_AsLongLong", word, value) for value in given[:2]), last]
    state = call("PyEval_SaveThread", pointer) if release else None
    result = call(TARGET, word, *numbers)
    if state is not None:
        call("PyEval_RestoreThread", ll.VoidType(), state)
    builder.ret(call("PyLong_FromLongLong", pointer, result))
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return bytes(machine.emit_object(llvm.parse_assembly(str(module))))
