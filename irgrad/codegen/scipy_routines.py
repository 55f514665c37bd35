"""Addresses of BLAS and LAPACK routines from SciPy.

SciPy exports them to C code through two extension modules, which are loaded by themselves (`ops.scipy_modules`): a process that finds its
kernels in the store does not pay for the package around them.
"""

from __future__ import annotations

import ctypes
from functools import cache

from irgrad.ops.scipy_modules import extension


@cache
def address(library: str, name: str) -> int:
    """Of a routine that ``scipy.linalg.cython_blas`` or ``cython_lapack`` exports."""
    capsule = extension(library, "__pyx_capi__").__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found = pointer_of(capsule, name_of(capsule))
    assert found is not None
    return int(found)
