"""The native driver for Python: found in the store or compiled, wrapped as builtin functions.

`enter(header, bases, objects)` checks a call's objects and runs the program, `enter_released` does so without the interpreter lock (for
calls long enough to pay for giving it up), `drive(header, bases, row)` goes on from a row. See `irgrad.codegen.driver`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from typing import Any

import numpy as np

from irgrad.codegen.callables import CALLS, builtin, callable_of, releasing
from irgrad.codegen.compile import LIBRARY
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.marks import expect
from irgrad.config import CONFIG


class Entry:
    """The three functions, each made when it is first needed; each answers with a code of `irgrad.codegen.layout`."""

    @cached_property
    def enter(self) -> Callable[[int, int, Any], int]:
        return _callable("enter", False)

    @cached_property
    def enter_released(self) -> Callable[[int, int, Any], int]:
        return _callable("enter", True)

    @cached_property
    def drive(self) -> Callable[[int, int, int], int]:
        return _callable("drive", False)


def _callable(name: str, release: bool) -> Callable[[int, int, Any], int]:
    """A function of the driver: code around it is in its object file, or made for its address."""
    if CONFIG.backend == "llvm":
        with suppress(AttributeError, RuntimeError, Unsupported):
            function = builtin(CALLS[name], LIBRARY.driver(name), {})
            return releasing(function) if release else function
    return callable_of(LIBRARY.driver_address(name), name == "enter", release, LIBRARY.stored)


def prepare(function: Callable[..., Any]) -> None:
    """Before a function is traced for the first time: have another thread, where there may be one, make ready what compiling it needs."""
    if CONFIG.backend != "llvm" or not probe():
        return
    if LIBRARY.ask_driver("enter").is_done and not CONFIG.evaluate:
        expect(function)


@cache
def native() -> Entry:
    """The driver of this process."""
    return Entry()


@cache
def probe() -> bool:
    """Do objects of this interpreter and numpy have the layout that `enter` reads?"""
    if sys.implementation.name != "cpython" or (hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled()):
        return False
    a = np.arange(6.0).reshape(2, 3)

    def word(obj: Any, k: int) -> int:
        import ctypes

        return ctypes.c_int64.from_address(id(obj) + 8 * k).value

    import ctypes

    try:
        pair = (None, a)
        tuple_ok = ctypes.c_int64.from_address(id(pair) + 32).value == id(a)
        number_ok = ctypes.c_double.from_address(id(2.5) + 16).value == 2.5
        scalar = np.float64(3.5)
        scalar_ok = ctypes.c_double.from_address(id(scalar) + 16).value == 3.5
        array_ok = (
            word(a, 1) == id(np.ndarray)
            and word(a, 2) == a.ctypes.data
            and ctypes.c_int32.from_address(id(a) + 24).value == 2
            and word(a, 7) == id(a.dtype)
            and ctypes.c_int64.from_address(word(a, 4)).value == 2
            and ctypes.c_int64.from_address(word(a, 5)).value == 24
            and bool(ctypes.c_int32.from_address(id(a) + 64).value & 256)
        )
    except (ValueError, OSError):
        return False
    return tuple_ok and number_ok and scalar_ok and array_ok
