"""Python callables from addresses of machine code.

A builtin function (METH_FASTCALL) around the address takes 40 ns a call, where one by ctypes takes 300. Its code is the same for all
addresses: the function it calls, and the interpreter's, are names that linking resolves. It is compiled once and kept in the store.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any

from irgrad.codegen import objects
from irgrad.codegen.llvm.kinds import Unsupported

FASTCALL = 0x80  # METH_FASTCALL
TARGET = "irgrad_target"
SYMBOL = "irgrad_call"
INTERPRETER = ("PyLong_AsLongLong", "PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread")
CALLS = {"enter": "irgrad_enter", "drive": "irgrad_drive"}  # symbols of the callables of the driver
_kept: list[Any] = []  # method definitions that callables point into

Stored = Callable[[str, Callable[[], tuple[str, bytes]]], tuple[str, bytes]]


def callable_of(address: int, tuple_last: bool, release: bool, stored: Stored) -> Callable[[int, int, Any], int]:
    """A Python function of three integers for `int64 f(int64, int64, int64)` at an address.

    With `tuple_last` the third argument is any object, and its address is passed. With `release` other threads may run meanwhile.
    `stored(key, make)` is the symbol and object code kept under a key, or made by `make()`.
    """
    try:
        return _builtin(address, tuple_last, release, stored)
    except (AttributeError, RuntimeError, ImportError, ValueError, Unsupported):
        kind = (ctypes.CFUNCTYPE if release else ctypes.PYFUNCTYPE)(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        function = kind(address)
        return (lambda a, b, c: function(a, b, id(c))) if tuple_last else function


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def _builtin(address: int, tuple_last: bool, release: bool, stored: Stored) -> Callable[[int, int, Any], int]:
    symbol, code = stored(f"{SYMBOL}_{tuple_last:d}", lambda: (SYMBOL, _code(tuple_last)))
    function = builtin(symbol, code, {TARGET: address})
    return releasing(function) if release else function


def releasing(function: Callable[..., int]) -> Callable[[int, int, Any], int]:
    """A builtin function of `_wrapper` that lets other threads run meanwhile."""
    return lambda a, b, c: function(a, b, c, None)


def builtin(symbol: str, code: bytes, names: Mapping[str, int]) -> Callable[..., int]:
    """The builtin function around the METH_FASTCALL function `symbol` of an object file; `names` are addresses of what it calls.

    Raises RuntimeError or AttributeError where this interpreter, or linking, does not allow it.
    """
    if sys.implementation.name != "cpython":
        raise RuntimeError("builtin functions of this interpreter are made otherwise")
    known = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in INTERPRETER}
    function = objects.load(symbol, code, {**known, **names})
    if not function:
        raise RuntimeError("the code around the function cannot be linked")
    method = _MethodDef(b"irgrad_native", function, FASTCALL, None)
    _kept.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.POINTER(_MethodDef), ctypes.c_void_p, ctypes.c_void_p]
    return make(ctypes.byref(method), None, None)


def _wrapper(symbol: str, target: str, tuple_last: bool) -> str:
    """LLVM's text of the METH_FASTCALL function `symbol` around the native function `target`.

    With a fourth argument, whatever it is, it gives up the interpreter lock meanwhile.
    """
    last = "ptrtoint ptr %o2 to i64" if tuple_last else "call i64 @PyLong_AsLongLong(ptr %o2)"
    return f"""
define ptr @{symbol}(ptr %self, ptr %given, i64 %count) nounwind {{
entry:
  %p1 = getelementptr i64, ptr %given, i64 1
  %p2 = getelementptr i64, ptr %given, i64 2
  %o0 = load ptr, ptr %given
  %o1 = load ptr, ptr %p1
  %o2 = load ptr, ptr %p2
  %a = call i64 @PyLong_AsLongLong(ptr %o0)
  %b = call i64 @PyLong_AsLongLong(ptr %o1)
  %c = {last}
  %release = icmp sgt i64 %count, 3
  br i1 %release, label %save, label %run
save:
  %saved = call ptr @PyEval_SaveThread()
  br label %run
run:
  %state = phi ptr [ null, %entry ], [ %saved, %save ]
  %r = call i64 @{target}(i64 %a, i64 %b, i64 %c)
  br i1 %release, label %restore, label %answer
restore:
  call void @PyEval_RestoreThread(ptr %state)
  br label %answer
answer:
  %o = call ptr @PyLong_FromLongLong(i64 %r)
  ret ptr %o
}}
declare i64 @PyLong_AsLongLong(ptr) nounwind
declare ptr @PyLong_FromLongLong(i64) nounwind
declare ptr @PyEval_SaveThread() nounwind
declare void @PyEval_RestoreThread(ptr) nounwind
"""


def around(name: str, text: str) -> str:
    """LLVM's text of a function of the driver together with that of its callable (`CALLS`), which it becomes a part of."""
    if sys.implementation.name != "cpython":
        return text
    inner = text.replace(f"define i64 @{name}(", f"define internal i64 @{name}(").replace(") nounwind {", ") alwaysinline nounwind {")
    return inner + _wrapper(CALLS[name], name, name == "enter")


def _code(tuple_last: bool) -> bytes:
    """An object file with the METH_FASTCALL function around one that linking finds."""
    from irgrad.codegen.llvm.binding import LIGHT
    from irgrad.codegen.llvm.machine import object_code

    return object_code(f"declare i64 @{TARGET}(i64, i64, i64) nounwind\n{_wrapper(SYMBOL, TARGET, tuple_last)}", LIGHT)
