"""Addresses of BLAS and LAPACK routines: of the library that numpy has loaded, or else of SciPy's.

numpy's wheels bring a library whose integers have 64 bits and whose names say so; it is in the process already. The extension module that
is linked with it finds its routines by name, wherever it is. Other builds of numpy have libraries whose integers no name tells the width
of: there the routines are those that SciPy exports to C code (32 bits), for which its library is loaded beside numpy's.

An integer is passed by the address of 64 bits: on a little-endian machine they are read as 32 bits just as well. Only arrays of
integers (pivots, work space) differ, in `Routines.integer`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from irgrad.config import CONFIG
from irgrad.ops.routines import address_in
from irgrad.ops.scipy_modules import extension

NAMES = ("scipy_{}_64_", "{}_64_", "{}$NEWLAPACK$ILP64")  # numpy 2's wheels, numpy 1's, and Apple's Accelerate
REAL = ("gemm", "gemv", "trsm"), ("potrf", "getrf", "getri", "gesdd", "geqrf", "orgqr", "syevd", "syevr")
COMPLEX = ("gemm", "gemv", "trsm"), ("potrf", "getrf", "getri", "gesdd", "geqrf", "ungqr", "heevd", "heevr")
PREFIX = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
BLAS, LAPACK = 0, 1  # parts of the libraries


@dataclass(frozen=True, slots=True)
class Routines:
    """Routines of one library: whose it is, the type of its integers, and the address of a routine by its name (``dgemm``)."""

    owner: str
    integer: np.dtype[Any]
    address: Callable[[str], int]


def blas() -> Routines:
    return _routines(CONFIG.blas, BLAS)


def lapack(owner: str = "") -> Routines:
    """Of the library in force, or of an owner's: kernels with arrays of integers are written for one."""
    return _routines(owner or CONFIG.blas, LAPACK)


@cache
def _routines(asked: str, part: int) -> Routines:
    """Those of numpy's library where it has all that are used. Raises ImportError where the setting asks for it in vain."""
    find = None if asked == "scipy" else _numpys(part)
    if find is not None:
        return Routines("numpy", np.dtype(np.int64), cache(find))
    if asked == "numpy":
        raise ImportError("IRGRAD_BLAS=numpy: this numpy has no BLAS and LAPACK with 64-bit integers; unset it to take SciPy's")
    if sys.byteorder != "little":
        raise ImportError("SciPy's BLAS reads integers of 32 bits where 64 are passed: not on a big-endian machine")
    library = ("cython_blas", "cython_lapack")[part]
    return Routines("scipy", np.dtype(np.int32), cache(lambda name: scipy_address(library, name)))


# ---- numpy's library ----


def _numpys(part: int) -> Callable[[str], int] | None:
    """How a routine is found in the library that numpy has loaded; None where one that is used is not there."""
    wanted = [prefix + name for prefix in "sd" for name in REAL[part]] + [prefix + name for prefix in "cz" for name in COMPLEX[part]]
    for library in _libraries():
        for names in NAMES:
            found = [_symbol(library, names.format(name)) for name in wanted]
            if all(found):
                return _finder(library, names)
    return None


def _finder(library: Any, names: str) -> Callable[[str], int]:
    def find(name: str) -> int:
        found = _symbol(library, names.format(name))
        if not found:
            raise KeyError(name)
        return found

    return find


def _symbol(library: Any, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _libraries() -> list[Any]:
    """Libraries in which numpy's routines may be found, all loaded already: its extension modules stand for what they are linked with."""
    files: list[Path] = []
    for name in ("numpy.linalg._umath_linalg", "numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        file = getattr(sys.modules.get(name), "__file__", None)
        files += [Path(file)] if file else []
    if sys.platform == "win32":  # a name is looked for in a library itself, not in those that it needs
        folder = Path(np.__file__).parent
        files = [*folder.parent.glob("numpy.libs/*openblas*.dll"), *folder.glob(".libs/*openblas*.dll")]
    found = []
    for file in files:
        try:
            found.append(ctypes.CDLL(str(file), mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_LAZY", 0)))
        except OSError:
            continue
    return found


# ---- SciPy's ----


def scipy_address(library: str, name: str) -> int:
    """Of a routine that ``scipy.linalg.cython_blas`` or ``cython_lapack`` exports. Raises KeyError where it does not."""
    capsule = extension(library, "__pyx_capi__").__pyx_capi__[name]
    return address_in(capsule)


# ---- calls from Python ----


def call(routines: Routines, name: str, *arguments: int) -> None:
    """Call a routine with addresses; the interpreter lock is given up meanwhile."""
    _function(routines.address(name), len(arguments))(*arguments)


@cache
def _function(address: int, count: int) -> Any:
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)(address)


def address_of(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@lru_cache(maxsize=1024)
def best_work(routine: str, *arguments: str | int | np.dtype[Any] | None, integer: np.dtype[Any]) -> tuple[int, ...]:
    """What a LAPACK routine answers about its best work space.

    Arguments in the routine's order without the last: letters, numbers, None for what a query does not read, and a dtype for a work
    space with its length. `integer` is that of the library. One whole number for each work space.
    """
    table = np.zeros((2 * len(arguments) + 2, 2), np.int64)
    places: list[int] = []
    spaces: list[np.ndarray[Any, Any]] = []
    for argument in arguments:
        place = table[len(places)]
        places.append(address_of(place))
        if isinstance(argument, np.dtype):
            spaces.append(place.view(argument)[:1])
            table[len(places), 0] = -1
            places.append(address_of(table[len(places)]))
        elif argument is not None:
            place[0] = ord(argument) if isinstance(argument, str) else argument
    call(lapack(), routine, *places, address_of(table[len(places)]))
    return tuple(int(space[0]) if space.dtype == integer else int(space[0].real * (1 + 1e-6)) + 1 for space in spaces)


# ---- routines as functions of arrays ----


def getrf(a: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """LU factors of a matrix by columns, row exchanges (from 0), and the routine's status."""
    routines = lapack()
    factor = np.array(a, order="F")
    m, n = a.shape
    numbers = np.array((m, n, max(m, 1), 0), np.int64)
    pivots = np.empty(min(m, n), routines.integer)
    at = address_of(numbers)
    call(routines, f"{PREFIX[a.dtype.name]}getrf", at, at + 8, address_of(factor), at + 16, address_of(pivots), at + 24)
    pivots -= 1
    return factor, pivots, int(numbers[3])


def getri(factor: np.ndarray[Any, Any], pivots: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The inverse of a matrix by columns from what `getrf` made of it."""
    routines = lapack()
    made, (n, _) = factor.copy(order="F"), factor.shape
    length = inverse_work(n, made.dtype)
    numbers = np.array((n, length, 0), np.int64)
    exchanges, work, at = pivots + routines.integer.type(1), np.empty(length, made.dtype), address_of(numbers)
    call(routines, f"{PREFIX[made.dtype.name]}getri", at, address_of(made), at, address_of(exchanges), address_of(work), at + 8, at + 16)
    return made


def inverse_work(n: int, dtype: np.dtype[Any]) -> int:
    """Elements of work space of `getri`."""
    return max(best_work(f"{PREFIX[dtype.name]}getri", n, None, n, None, dtype, integer=lapack().integer)[0], n)


def trsm(a: np.ndarray[Any, Any], x: np.ndarray[Any, Any], lower: bool, trans: bool, unit: bool) -> np.ndarray[Any, Any]:
    """Solve with a triangle by columns: a copy of `x`, by columns."""
    made = np.array(x, order="F")
    rows, columns = x.shape
    letters = b"L" + b"UL"[lower : lower + 1] + b"NT"[trans : trans + 1] + b"NU"[unit : unit + 1]
    numbers = np.array((*letters, rows, columns, max(rows, 1)), np.int64)
    one, at = np.ones(1, made.dtype), address_of(numbers)
    flags = [at, at + 8, at + 16, at + 24, at + 32, at + 40, address_of(one)]
    call(blas(), f"{PREFIX[made.dtype.name]}trsm", *flags, address_of(a), at + 48, address_of(made), at + 48)
    return made
