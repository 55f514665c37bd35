"""Functions of numpy that answer integers, bits or spacings: no derivative and no kernel, numpy computes them.

The shape and dtype of the result are params, as they were when the call was recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.errors import RuntimeGuardError
from irgrad.ir.aval import Aval
from irgrad.ir.primitive import PURE, nondiff, primitive


def _opaque(
    *operands: Any, function: str, options: tuple[tuple[str, Any], ...], part: int | None, shape: tuple[int, ...], dtype: str
) -> Any:
    made = getattr(np, function)(*operands, **dict(options))
    found = np.asarray(made if part is None else made[part])
    if found.shape != shape or found.dtype != dtype:
        raise RuntimeGuardError(f"{function} answers {found.dtype}{found.shape}; expected {dtype}{shape}, as when it was recorded")
    return found


def _opaque_aval(*avals: Aval, function: str, options: Any, part: int | None, shape: tuple[int, ...], dtype: str) -> Aval:
    return Aval(shape, np.dtype(dtype))


opaque = primitive(
    "opaque",
    evaluate=_opaque,
    aval=_opaque_aval,
    vjp=nondiff("integers, bits and spacings have no derivative"),
    jvp=nondiff("integers, bits and spacings have no derivative"),
    traits=PURE,
    host=True,
)
