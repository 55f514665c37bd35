"""Machine code into this process without Numba: object files by llvmlite, and Python callables from addresses.

Importing Numba and filling its registries takes a third of a second; a process whose kernels are all in the store needs neither. The two
helpers of Numba that raising code refers to are stood in for here; code that needs another one is not taken from the store.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FASTCALL = 0x80  # METH_FASTCALL
HELPER = re.compile(rb"(?:numba|NRT)_\w+")
VERSION = re.compile(r'"version":\s*"([^"]+)"')
_kept: list[Any] = []  # modules and method definitions that machine code and callables point into


def load(symbol: str, code: bytes) -> int:
    """Address of `symbol` in an object file, 0 where it cannot be linked.

    LLVM ends the process at bytes that are no object file: check them first.
    """
    import llvmlite.binding as llvm

    engine = _engine()
    if any(llvm.address_of_symbol(name.decode()) is None for name in HELPER.findall(code)):
        return 0  # a symbol that is not found would end the process
    try:
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return int(engine.get_function_address(symbol))
    except (RuntimeError, AttributeError, ValueError):
        return 0


@cache
def _engine() -> Any:
    """One engine for all code of this process; with the helpers that raising wrappers of Numba refer to."""
    import llvmlite.binding as llvm

    for name, target in (("numba_gil_ensure", _gil_ensure), ("numba_gil_release", _gil_release)):
        address = ctypes.cast(target, ctypes.c_void_p).value
        assert address is not None
        if llvm.address_of_symbol(name) is None:  # Numba is not there
            llvm.add_symbol(name, address)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def numba_version() -> str:
    """Of the Numba that would be imported, without importing it (importlib.metadata alone takes 30 ms)."""
    numba = sys.modules.get("numba")
    if numba is None:
        spec = find_spec("numba")
        file = Path(spec.origin or "").parent / "_version.py" if spec is not None else Path()
        found = VERSION.search(file.read_text()) if file.is_file() else None
        if found:
            return found.group(1)
        numba = import_module("numba")
    return str(numba.__version__)


def callable_of(address: int, tuple_last: bool, release: bool) -> Callable[[int, int, Any], int]:
    """A Python function of three integers for `int64 f(int64, int64, int64)` at an address.

    With `tuple_last` the third argument is any object, and its address is passed. With `release` other threads may run meanwhile.
    """
    try:
        return _builtin(address, tuple_last, release)
    except (AttributeError, RuntimeError, ImportError, ValueError):
        kind = (ctypes.CFUNCTYPE if release else ctypes.PYFUNCTYPE)(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        function = kind(address)
        return (lambda a, b, c: function(a, b, id(c))) if tuple_last else function


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def _builtin(address: int, tuple_last: bool, release: bool) -> Callable[[int, int, Any], int]:
    """A builtin function: 40 ns a call, where one by ctypes takes 300."""
    import llvmlite.binding as llvm

    if sys.implementation.name != "cpython":
        raise RuntimeError("builtin functions of this interpreter are made otherwise")
    engine = _engine()
    name = f"irgrad_call_{len(_kept)}"
    module = llvm.parse_assembly(str(_wrapper(name, address, tuple_last, release)))
    engine.add_module(module)
    engine.finalize_object()
    method = _MethodDef(b"irgrad_native", engine.get_function_address(name), FASTCALL, None)
    _kept.extend((module, method))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.POINTER(_MethodDef), ctypes.c_void_p, ctypes.c_void_p]
    return make(ctypes.byref(method), None, None)  # type: ignore[no-any-return]


def _wrapper(name: str, address: int, tuple_last: bool, release: bool) -> Any:
    """The text of a METH_FASTCALL function around the native one; the interpreter's functions by address."""
    import llvmlite.binding as llvm
    import llvmlite.ir as ll

    word, pointer = ll.IntType(64), ll.IntType(8).as_pointer()
    module = ll.Module(name)
    module.triple = llvm.get_process_triple()
    function = ll.Function(module, ll.FunctionType(pointer, [pointer, pointer.as_pointer(), word]), name)
    builder = ll.IRBuilder(function.append_basic_block())

    def python(symbol: str, result: Any, *operands: Any) -> Any:
        target = ctypes.cast(getattr(ctypes.pythonapi, symbol), ctypes.c_void_p).value
        kind = ll.FunctionType(result, [operand.type for operand in operands])
        return builder.call(builder.inttoptr(ll.Constant(word, target), kind.as_pointer()), operands)

    given = [builder.load(builder.gep(function.args[1], [ll.Constant(word, k)])) for k in range(3)]
    last = builder.ptrtoint(given[2], word) if tuple_last else python("PyLong_AsLongLong", word, given[2])
    numbers = [*(python("PyLong_AsLongLong", word, value) for value in given[:2]), last]
    state = python("PyEval_SaveThread", pointer) if release else None
    kind = ll.FunctionType(word, [word] * 3)
    result = builder.call(builder.inttoptr(ll.Constant(word, address), kind.as_pointer()), numbers)
    if state is not None:
        python("PyEval_RestoreThread", ll.VoidType(), state)
    builder.ret(python("PyLong_FromLongLong", pointer, result))
    return module


def _ensure(state: Any) -> None:
    state[0] = ctypes.pythonapi.PyGILState_Ensure()


def _release(state: Any) -> None:
    ctypes.pythonapi.PyGILState_Release(state[0])


_HELPER_TYPE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int))
_gil_ensure, _gil_release = _HELPER_TYPE(_ensure), _HELPER_TYPE(_release)
