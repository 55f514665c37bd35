"""scipy's compiled special functions by address: the entries of ``scipy.special.cython_special`` on real numbers.

The module exports C functions in capsules whose names are their signatures; an overloaded function has one entry
``__pyx_fuse_<k>name`` per overload.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache

_SIGNATURE = re.compile(r"double \(double(, double)*(, int __pyx_skip_dispatch)?\)$")
_ENTRY = re.compile(r"(?:__pyx_fuse_\d+)?(\w+)$")


def address_in(capsule: object) -> int:
    """The pointer that a capsule of Python's C interface holds, whatever its name."""
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found = pointer_of(capsule, name_of(capsule))
    assert found is not None
    return int(found)


@cache
def _entries() -> dict[str, int]:
    from scipy.special import cython_special

    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    found: dict[str, int] = {}
    for entry, capsule in cython_special.__pyx_capi__.items():
        signature, match = name_of(capsule), _ENTRY.match(entry)
        if match is not None and _SIGNATURE.match(signature.decode()):
            found.setdefault(match[1], address_in(capsule))
    return found


def has_routine(name: str) -> bool:
    """Does this scipy export ``name`` on float64?"""
    return name in _entries()


def special_address(name: str) -> int:
    """Address of the C function ``double name(double, ...)``."""
    return _entries()[name]
