"""Addresses of BLAS and LAPACK routines from SciPy.

SciPy exports them to C code through two extension modules. Importing the package around these takes 0.15 s, which a process that finds its
kernels in the store would pay for a product of two matrices; so the modules are loaded by themselves, and forgotten, so that a later
import of `scipy.linalg` finds them its own way (it gets the same modules, at the same addresses).
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any


@cache
def address(library: str, name: str) -> int:
    """Of a routine that ``scipy.linalg.cython_blas`` or ``cython_lapack`` exports."""
    capsule = _module(library).__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found = pointer_of(capsule, name_of(capsule))
    assert found is not None
    return int(found)


@cache
def _module(library: str) -> Any:
    name = f"scipy.linalg.{library}"
    if "scipy.linalg" not in sys.modules:
        try:
            return _alone(name)
        except (ImportError, AttributeError, TypeError):  # a package of another shape
            pass
    return importlib.import_module(name)


def _alone(name: str) -> Any:
    """An extension module of scipy.linalg without the package."""
    scipy = importlib.import_module("scipy")  # finds the libraries that the module needs
    spec = PathFinder.find_spec(name, [f"{path}/linalg" for path in scipy.__path__])
    if spec is None or spec.loader is None or not hasattr(spec.loader, "create_module"):
        raise ImportError(name)
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.__pyx_capi__  # noqa: B018
    finally:
        if "scipy.linalg" not in sys.modules:
            sys.modules.pop(name, None)
    return module
