"""Abstract values: what is known of a value without its bits.

An `Aval` is shape, dtype and kind. The kind is "array", "scalar" (a numpy scalar) or "python" (a Python number); numpy's
promotion (NEP 50) and augmented assignment differ by it. Text: ``f64[3,4]`` array, ``f64[]`` 0-d array,
``f64`` numpy scalar, ``float`` Python number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

SHORT = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
    "float16": "f16", "float32": "f32", "float64": "f64", "complex64": "c64", "complex128": "c128",
}  # fmt: skip
LONG = {short: long for long, short in SHORT.items()}
PYTHON = {"bool": np.dtype(bool), "int": np.dtype(np.int64), "float": np.dtype(np.float64), "complex": np.dtype(np.complex128)}


@cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """``dtype.name``, which numpy works out each time in Python."""
    return dtype.name


@dataclass(frozen=True, slots=True)
class Aval:
    """Shape, dtype and kind of a value."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str = "array"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for extent in self.shape:
            n *= extent
        return n

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def with_kind(self, kind: str) -> Aval:
        return Aval(self.shape, self.dtype, kind)

    def same_array(self, other: Aval) -> bool:
        """Equal shape and dtype, whatever the kind."""
        return self.shape == other.shape and self.dtype == other.dtype

    def __str__(self) -> str:
        if self.kind == "python":
            return python_name(self.dtype)
        name = short_name(self.dtype)
        return name if self.kind == "scalar" else f"{name}[{','.join(map(str, self.shape))}]"


def short_name(dtype: np.dtype[Any]) -> str:
    """`f64` for float64 and so on; numpy's own name for dtypes outside the core."""
    return SHORT.get(dtype.name, dtype.name)


def python_name(dtype: np.dtype[Any]) -> str:
    return {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}[dtype.kind]


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the parts of a number."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def kind_of(value: Any) -> str:
    """The kind of a concrete value."""
    if isinstance(value, np.ndarray):
        return "array"
    return "scalar" if isinstance(value, np.generic) else "python"


def as_kind(value: Any, kind: str) -> Any:
    """A concrete value, 0-d or of this kind already, as one of the kind."""
    if kind == "python":
        return value.item() if isinstance(value, (np.ndarray, np.generic)) else value
    return value[()] if kind == "scalar" and isinstance(value, np.ndarray) else value


def aval_of(value: Any) -> Aval:
    """The aval of a concrete Python number, numpy scalar or array."""
    if isinstance(value, np.ndarray):
        return Aval(value.shape, value.dtype)
    if isinstance(value, np.generic):
        return Aval((), value.dtype, "scalar")
    for type_, name in ((bool, "bool"), (int, "int"), (float, "float"), (complex, "complex")):
        if isinstance(value, type_):
            return Aval((), PYTHON[name], "python")
    raise TypeError(f"no aval for a value of type {type(value).__name__}")


_TEXT = re.compile(r"([a-z]+\d*)(?:\[([\d,]*)\])?$")


def parse_aval(text: str) -> Aval:
    """The inverse of ``str(aval)``.

    Raises ValueError for text that is no aval.
    """
    match = _TEXT.match(text)
    if match is None:
        raise ValueError(f"not an aval: {text!r}")
    name, dims = match.groups()
    if dims is None:
        return Aval((), PYTHON[name], "python") if name in PYTHON and name != "bool" else Aval((), np.dtype(LONG[name]), "scalar")
    return Aval(tuple(int(d) for d in dims.split(",") if d), np.dtype(LONG.get(name, name)))
