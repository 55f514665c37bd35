"""Arguments of a call: flattened, put into a form that programs read in place, and described for look-up.

Arrays in C or Fortran order are read where they are; others (strided, byte-swapped, misaligned) are copied. Python floats and
complex numbers are data, Python ints data too (as int64); bools, strings, None and other objects are static.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.codegen.driver import ARRAY, NUMBER
from irgrad.codegen.program import Argument

_NATIVE = {np.dtype(name): np.dtype(name) for name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "complex64",
    "complex128")}  # fmt: skip


class StaticLeaf:
    """A leaf that is part of the signature: equal values, equal programs."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticLeaf):
            return False
        try:
            return type(self.value) is type(other.value) and bool(self.value == other.value)
        except Exception:  # an object whose comparison fails is itself only
            return self.value is other.value

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            return id(self.value)


def normalise(leaf: Any) -> Any:
    """The leaf as a program reads it, or a StaticLeaf."""
    kind = type(leaf)
    if kind is float or kind is np.float64:
        return leaf
    if isinstance(leaf, np.ndarray):
        native = _NATIVE.get(leaf.dtype)
        if native is None:
            if leaf.dtype.kind in "biufc" and leaf.dtype.newbyteorder("=") in _NATIVE:
                return np.ascontiguousarray(leaf, leaf.dtype.newbyteorder("="))
            return StaticLeaf(leaf)
        if type(leaf) is not np.ndarray:
            return StaticLeaf(leaf)
        if leaf.dtype is not native:
            leaf = leaf.view(native)
        flags = leaf.flags
        if flags.aligned and (flags.c_contiguous or flags.f_contiguous):
            return leaf
        return np.ascontiguousarray(leaf) if leaf.ndim else leaf.copy()
    if isinstance(leaf, np.generic):
        return leaf if leaf.dtype in _NATIVE else StaticLeaf(leaf)
    if isinstance(leaf, bool):
        return StaticLeaf(leaf)
    if isinstance(leaf, int):
        return np.int64(leaf) if -(2**63) <= leaf < 2**63 else StaticLeaf(leaf)
    if isinstance(leaf, (float, complex)):
        return complex(leaf) if isinstance(leaf, complex) else float(leaf)
    return StaticLeaf(leaf)


def leaf_key(leaf: Any) -> Any:
    """What of a normalised leaf decides the program."""
    if type(leaf) is StaticLeaf:
        return leaf
    if isinstance(leaf, np.ndarray):
        return (leaf.dtype, leaf.shape, leaf.strides)
    return type(leaf)


def argument(leaf: Any) -> Argument:
    """What the entry checks of this leaf."""
    if isinstance(leaf, np.ndarray):
        return Argument(ARRAY, np.ndarray, _NATIVE[leaf.dtype], leaf.shape, leaf.strides)
    dtype = leaf.dtype if isinstance(leaf, np.generic) else np.dtype(type(leaf))
    return Argument(NUMBER, type(leaf), dtype, (), ())
