"""The dtype each operand of an elementwise primitive is converted to: numpy's own loop selection (NEP 50).

Core primitives in the IR take operands of the loop's dtype; this says which. Python numbers are weak.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.primitive import Primitive

Key = np.dtype[Any] | type
_PYTHON = (bool, int, float, complex)
_cache: dict[tuple[Any, ...], tuple[np.dtype[Any], ...]] = {}


def operand_key(value: Any) -> Key:
    """A dtype, or the type of a Python number."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype
    return bool if isinstance(value, bool) else int if isinstance(value, int) else float if isinstance(value, float) else complex


def loop_dtypes(op: Primitive, keys: tuple[Key, ...]) -> tuple[np.dtype[Any], ...]:
    """The dtype of each operand in the loop that numpy would run for `op` on operands of these dtypes."""
    cached = _cache.get((op, keys))
    if cached is None:
        cached = _cache[op, keys] = _resolve(op, keys)
    return cached


def _resolve(op: Primitive, keys: tuple[Key, ...]) -> tuple[np.dtype[Any], ...]:
    ufunc = next((f for f in op.captures if isinstance(f, np.ufunc)), None)
    plain = tuple(np.dtype(bool) if k is bool else k for k in keys)
    if ufunc is not None and ufunc.nin == len(keys):
        return _same(ufunc.resolve_dtypes(_strong(plain) + (None,) * ufunc.nout)[: ufunc.nin])  # type: ignore[arg-type]
    if op.name == "where":
        both = _common(plain[1:])
        return (np.dtype(bool), both, both)
    common = _common(plain)
    return (common,) * len(keys)


def _strong(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Python types only beside dtypes: on their own they have their default dtype."""
    if any(isinstance(k, np.dtype) for k in keys):
        return keys
    return tuple(np.dtype(k) for k in keys)


def _same(dtypes: tuple[Any, ...]) -> tuple[np.dtype[Any], ...]:
    return tuple(np.dtype(d) for d in dtypes)


def _common(keys: tuple[Any, ...]) -> np.dtype[Any]:
    dtypes = [k for k in keys if isinstance(k, np.dtype)]
    weak = [k for k in keys if not isinstance(k, np.dtype)]
    if not dtypes:
        return np.result_type(*[np.dtype(k) for k in weak])
    return np.result_type(*dtypes, *[k(0) for k in weak])
