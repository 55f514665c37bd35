"""Stand-ins for `irgrad.codegen.native` on numpy: with them a kernel's source runs as plain Python, the oracle of its tests.

A pointer is a numpy array over the memory at an address; loads answer numpy scalars, so dtypes are numpy's.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from irgrad.codegen import polynomial, written
from irgrad.codegen.scalar import LONE


class Pointer:
    """Elements of one dtype from an address on; an index may lead anywhere."""

    __slots__ = ("address", "dtype")

    def __init__(self, address: int, dtype: str) -> None:
        self.address = int(address)
        self.dtype = np.dtype(dtype)

    def at(self, index: int) -> Any:
        raw: Any = (ctypes.c_char * self.dtype.itemsize).from_address(self.address + int(index) * self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype, 1)


def load(pointer: Pointer, index: int) -> Any:
    return pointer.at(index)[0]


def store(pointer: Pointer, index: int, value: Any) -> None:
    pointer.at(index)[0] = value


def size(table: int, index: int) -> int:
    return int(Pointer(table, "int64").at(index)[0])


def select(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def put(table: int, index: int, value: int) -> None:
    Pointer(table, "int64").at(index)[0] = value


def half_at(address: int) -> int:
    return int(Pointer(address, "int32").at(0)[0])


def byte_at(address: int) -> int:
    return int(Pointer(address, "uint8").at(0)[0])


def count_ones(x: int) -> int:
    return int(x).bit_count()


class _Frames(threading.local):
    """The memory that kernels on their way have on their stack."""

    def __init__(self) -> None:
        self.tables: list[Any] = []


_frames = _Frames()


def stack(count: int) -> int:
    table = np.zeros(512, np.int64)
    _frames.tables.append(table)
    return int(table.ctypes.data)


def run(function: Callable[[int, int], Any], pointers: int, sizes: int) -> int:
    """Call a kernel; what it took from the stack is free again behind it."""
    depth = len(_frames.tables)
    try:
        with np.errstate(all="ignore"):
            return int(function(pointers, sizes))
    finally:
        del _frames.tables[depth:]


def call_blas(function: int, arguments: tuple[int, ...]) -> None:
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arguments))(int(function))(*[int(a) for a in arguments])


def call_kernel(function: int, pointers: int, sizes: int) -> int:
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(int(function))(int(pointers), int(sizes)))


def _call_real(routine: int, *operands: Any) -> Any:
    function = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * len(operands), ctypes.c_int)(int(routine))
    out = np.float64(function(*map(float, operands), 0))
    floats = [o for o in map(np.asarray, operands) if o.dtype.kind == "f"]
    return np.float32(out) if floats and all(o.dtype == np.float32 for o in floats) else out


def _hurwitz_zeta(s: Any, q: Any) -> Any:
    from scipy.special import zeta

    return zeta(s, q)


def _special(name: str) -> Any:
    def call(x: Any) -> Any:
        from scipy import special

        return getattr(special, name)(x)

    return call


def _complex_of(re: Any, im: Any) -> Any:
    return (np.complex64 if np.asarray(re).dtype == np.float32 else np.complex128)(complex(re, im))


def line(pointer: Pointer) -> Any:
    """A line buffer for what `stream` moves to a pointer."""
    return _scratch(pointer.dtype.name)(0, 128)


def stream(pointer: Pointer, index: int, line: Any, count: int) -> None:
    for k in range(count):
        store(pointer, index + k, load(line, k))


def _scratch(name: str) -> Any:
    class Scratch:
        def __init__(self, unused: int, count: int = 64) -> None:
            self.data = np.empty(count, name)

        def at(self, index: int) -> Any:
            return self.data[index : index + 1]

    return Scratch


def _as(name: str) -> Any:
    dtype = np.dtype(name)

    def convert(x: Any) -> Any:
        return np.asarray(x).astype(dtype)[()]

    return convert


def _pointer(name: str) -> Any:
    return lambda table, index, *scope: Pointer(size(table, index), name)


def names() -> dict[str, Any]:
    """The same names as `native.names`, in numpy."""
    found: dict[str, Any] = {
        "load": load, "store": store, "size": size, "select": select, "add_any_order": lambda a, b: a + b,
        "count_ones": count_ones, "byte_at": byte_at, "half_at": half_at, "shift_left": np.left_shift, "shift_right": np.right_shift,
        "math": math, "inf": math.inf, "nan": math.nan,
        "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
        "atan2": np.arctan2, "pow": np.power, "square": lambda x: x * x, "real": np.real, "imag": np.imag, "conj": np.conj,
        "erf": _special("erf"), "erfc": _special("erfc"), "lgamma": _special("gammaln"), "tgamma": _special("gamma"),
        "hurwitz_zeta": _hurwitz_zeta, **{f"call_real{n}": _call_real for n in (1, 2, 3, 4)},
        "greatest": np.maximum, "least": np.minimum, "complex_of": _complex_of, "divide_complex": np.divide,
        "reciprocal_complex": np.reciprocal, "stack": stack, "put": put, "call_blas": call_blas,
        "call_kernel": call_kernel, "line": line, "stream": stream, "fence": lambda: None, "lanes": range, "pairs": range, "singles": range,
    }  # fmt: skip
    found["ahead"] = lambda pointer, index: None
    for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt",
                 "floor", "ceil", "trunc", "rint", "fabs", "fmod", "hypot", "copysign", "nextafter", "maximum", "minimum", "fmax", "fmin",
                 "sign", "signbit", "floor_divide", "remainder", "isnan", "isinf", "isfinite"):  # fmt: skip
        found[name] = getattr(np, name)
    for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign"):
        found["c_" + name] = getattr(np, name)
    for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh"):
        found["c_" + name] = getattr(np, "arc" + name[1:])
    for name in LONE:
        found["lone_" + name] = found[name]
    found.update({f"special_{name}": _special(name) for name in polynomial.SPECIAL})
    found["power_below"] = lambda x, exponent, above: np.power(x, exponent)
    found["c_pow"] = lambda z, w, one: np.power(z, w)
    found.update({"library_pow": np.power, "zeta": _hurwitz_zeta})
    for name in (
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ):
        found[f"pointer_{name}"] = found[f"scoped_{name}"] = _pointer(name)
        found[f"as_{name}"] = _as(name)
        found[f"scratch_{name}"] = _scratch(name)
    for name in ("push", "collect"):
        found[name] = FunctionType(written.ROUTINES[name].__code__, found, name)
    return found
