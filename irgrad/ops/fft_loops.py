"""numpy's own transforms by address: the inner loops of the ufuncs of ``numpy.fft._pocketfft_umath``.

An inner loop is ``void loop(char **args, npy_intp const *dimensions, npy_intp const *steps, void *data)``. It needs no interpreter lock,
takes any strides, and may write over its operand. The arguments are operand, factor and result; the dimensions their number, and the
points of operand and result; the steps, in bytes, from one to the next of each argument, then from point to point. The loops are
found in the ufunc object (numpy's ``PyUFuncObject``), and used only where they give the bits that `numpy.fft` gives.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

NAMES = ("fft", "ifft", "rfft_n_even", "rfft_n_odd", "irfft")
REAL = ("d", "f")  # dtypes of the factor
_SIZES = (1, 2, 5, 8, 11, 30)


class _Ufunc(ctypes.Structure):
    """The head of a ``PyUFuncObject``."""

    _fields_ = (
        ("head", ctypes.c_ssize_t * 2),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )


@cache
def loops() -> dict[tuple[str, str], tuple[int, int]]:
    """Address of the loop and of its data by name and dtype; nothing where numpy's objects are not as expected."""
    try:
        if sys.implementation.name != "cpython":
            return {}
        module = import_module("numpy.fft._pocketfft_umath")
        found = {(name, real): _find(getattr(module, name), name, real) for name in NAMES for real in REAL}
        return found if all(_agrees(*key, *addresses) for key, addresses in found.items()) else {}
    except (ImportError, AttributeError, ValueError, OSError):
        return {}


def _find(ufunc: Any, name: str, real: str) -> tuple[int, int]:
    """Addresses of the loop for the types of a factor. Raises ValueError where the object is not as expected."""
    if type(ufunc) is not np.ufunc or (ufunc.nin, ufunc.nout) != (2, 1):
        raise ValueError(f"numpy's {name} is no ufunc of two operands")
    head = _Ufunc.from_address(id(ufunc))
    if (head.nin, head.nout, head.nargs, head.ntypes) != (2, 1, 3, len(ufunc.types)) or head.name != name.encode():
        raise ValueError("ufunc objects have another layout")
    wide = real.upper()
    wanted = f"{real}{real}->{wide}" if name.startswith("r") else f"{wide}{real}->{real if name == 'irfft' else wide}"
    place = ufunc.types.index(wanted)
    numbers = bytes(np.dtype(letter).num for letter in wanted.replace("->", ""))
    if head.types[3 * place : 3 * place + 3] != numbers:
        raise ValueError("types of loops are kept otherwise")
    function = head.functions[place]
    if not function:
        raise ValueError("a loop has no address")
    return int(function), int(head.data[place] or 0) if head.data else 0


def _agrees(name: str, real: str, function: int, data: int) -> bool:
    """Does the loop give the bits of its ufunc, with strides, for several signals, and does the ufunc give those of `numpy.fft`?"""
    loop = ctypes.PYFUNCTYPE(None, *[ctypes.c_void_p] * 4)(function)
    ufunc = getattr(import_module("numpy.fft._pocketfft_umath"), name)
    factor = np.dtype(real).type(0.3)
    for n in (n for n in _SIZES if not name.startswith("rfft_n") or (n % 2 == 0) == (name == "rfft_n_even")):
        have, count = n // 2 + 1 if name == "irfft" else n, n // 2 + 1 if name.startswith("r") else n
        phase = np.arange(4.0 * have).reshape(2, 2 * have)
        x = np.cos(phase).astype(real) if name.startswith("r") else np.exp(1j * phase).astype(real.upper())
        x, out = x[:, ::2], np.zeros((count, 2), real if name == "irfft" else real.upper()).T
        held = np.array(factor)
        pointers = np.array([x.ctypes.data, held.ctypes.data, out.ctypes.data], np.intp)
        dimensions = np.array([2, have, count], np.intp)
        steps = np.array([x.strides[0], 0, out.strides[0], x.strides[1], out.strides[1]], np.intp)
        loop(pointers.ctypes.data, dimensions.ctypes.data, steps.ctypes.data, data)
        axes = [(1,), (), (1,)]
        if not np.array_equal(out, ufunc(x, factor, axes=axes, out=np.empty_like(out))):
            return False
        usual = np.fft.irfft(x, n) if name == "irfft" else {"fft": np.fft.fft, "ifft": np.fft.ifft}.get(name, np.fft.rfft)(x)
        scale = np.reciprocal(n, dtype=real) if name.startswith("i") else 1
        if not np.array_equal(usual, ufunc(x, scale, axes=axes, out=np.empty_like(out))):
            return False
    return True


@cache
def widens(name: str, operand: np.dtype[Any], factor: Any) -> bool:
    """Does numpy run the float64 loop for an operand of 32 bits a number? The plain number 1 selects it, and a real operand of `fft`."""
    ufunc = getattr(import_module("numpy.fft._pocketfft_umath"), name)
    return bool(ufunc.resolve_dtypes((operand, factor, None))[1] == np.float64)


def loop_address(name: str) -> int:
    """Address of "<loop>.<dtype>", or of its data "<loop>.<dtype>.data"."""
    loop, real, *data = name.split(".")
    return loops()[loop, real][len(data)]
