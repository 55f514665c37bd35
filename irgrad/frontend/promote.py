"""numpy's own loop selection (NEP 50): what an elementwise primitive converts its operands to, and what computes it.

Core primitives in the IR take operands of the loop's dtype; this says which. Python numbers are weak.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from irgrad.ir.primitive import Primitive

Kind: TypeAlias = "np.dtype[Any] | type"  # of an operand: the dtype of an array, the type of a number
Loop: TypeAlias = "tuple[Callable[..., Any], tuple[np.dtype[Any], ...] | None]"  # computes; dtypes, None if they fit already

# Correctly rounded: on numbers Python's operator gives the bits of numpy's function, at a tenth of its cost.
_EXACT = (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg)
_FITTING: dict[Any, np.dtype[Any]] = {float: np.dtype(np.float64), int: np.dtype(np.int64)}  # literals that stay as they are
_COMPARISONS = frozenset(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"))  # with integers of any size
LOOPS: dict[tuple[Any, ...], Loop] = {}  # (op, *kinds of its operands) -> loop, as `find_loop` found it


def find_loop(call: tuple[Any, ...], values: Sequence[Any]) -> Loop:
    """Enter into `LOOPS` what numpy would run for (op, *kinds of its operands), of which `values` are an example.

    Raises TypeError where numpy has no loop.
    """
    op, *kinds = call
    keys = tuple([_key(v) for v in values])
    dtypes = _resolve(op, keys)
    fits = all(_fits(kind, key, dtype) for kind, key, dtype in zip(kinds, keys, dtypes, strict=True))
    if int in kinds and op.name in _COMPARISONS:
        fits = False  # the integer is looked at each time
    scalars = np.float64 in kinds and all(kind is np.float64 or kind is float for kind in kinds)
    evaluate = op.operator if scalars and op.operator in _EXACT else op.evaluate
    loop = LOOPS[call] = (evaluate, None if fits else dtypes)
    return loop


def _fits(kind: Kind, key: Kind, dtype: np.dtype[Any]) -> bool:
    return key == dtype if isinstance(key, np.dtype) else kind in _FITTING and _FITTING[kind] == dtype


def _key(value: Any) -> Kind:
    """A dtype, or the type of a Python number."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype
    return bool if isinstance(value, bool) else int if isinstance(value, int) else float if isinstance(value, float) else complex


def _resolve(op: Primitive, keys: tuple[Kind, ...]) -> tuple[np.dtype[Any], ...]:
    ufunc = next((f for f in op.captures if isinstance(f, np.ufunc)), None)
    plain = tuple(np.dtype(bool) if k is bool else k for k in keys)
    if ufunc is not None and ufunc.nin == len(keys):
        return _same(ufunc.resolve_dtypes(_strong(plain) + (None,) * ufunc.nout)[: ufunc.nin])
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
