"""Nested containers of numbers and arrays as one vector, and back. Both ways are differentiable and compile.

Integers and bools become floats where they are the only leaves. The vector's dtype is numpy's common one; a leaf comes back
with its own dtype from a vector of that dtype, and with the vector's from any other (a complex step stays complex).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.operators.run import in_trace
from irgrad.pytree import flatten as leaves_of
from irgrad.pytree import paths, unflatten


def flatten(value: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The leaves of any pytree as one vector, and the function from such a vector to such a pytree.

    Raises TypeError for a leaf that is no number or numeric array.
    """
    leaves, structure = leaves_of(value)
    shapes: list[tuple[int, ...] | None] = []
    dtypes: list[np.dtype[Any]] = []
    for number, leaf in enumerate(leaves):
        bits = leaf.value if type(leaf) is Tracer else leaf
        is_array = isinstance(bits, np.ndarray)
        if not is_array and not isinstance(bits, (int, float, complex, np.number, np.bool_)):
            raise TypeError(f"flatten: {_path(value, number)} is {type(bits).__name__}; expected numbers and arrays ({here()})")
        dtype = bits.dtype if is_array else np.result_type(bits)
        if dtype.kind not in "biufc":
            raise TypeError(f"flatten: {_path(value, number)} is an array of dtype {dtype}; expected numbers ({here()})")
        shapes.append(bits.shape if is_array else None)
        dtypes.append(dtype if dtype.kind in "fc" else np.dtype(np.float64))
    common = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
    extents = [1 if shape is None else math.prod(shape) for shape in shapes]
    size = sum(extents)
    vector = inp.concatenate([inp.reshape(inp.asarray(leaf, common), (-1,)) for leaf in leaves]) if leaves else inp.zeros(0)

    def restore(vector: Any) -> Any:
        """The pytree of the flattened value's structure and shapes."""
        vector = vector if isinstance(vector, np.ndarray) else inp.asarray(vector)
        if vector.shape != (size,):
            raise ValueError(f"unflatten expects a vector of shape ({size},), got shape {vector.shape} ({here()})")
        pieces: list[Any] = []
        at = 0
        for shape, dtype, extent in zip(shapes, dtypes, extents, strict=True):
            end = at + extent
            piece: Any = vector[at] if shape is None else inp.reshape(vector[at:end], shape)
            if dtype != vector.dtype == common:
                piece = (piece if dtype.kind == "c" else piece.real).astype(dtype)
            pieces.append(piece)
            at = end
        return unflatten(structure, pieces)

    return vector, restore


def flatten_func(func: Callable[..., Any], example: Any) -> tuple[Callable[..., Any], Callable[[Any], Any], Any]:
    """`func` as a function from vectors to vectors, `unflatten` for its argument, and `example` as a vector."""
    vector, restore = flatten(example)

    @functools.wraps(func)
    def flat(x: Any, *args: Any, **kwargs: Any) -> Any:
        return flatten(in_trace(func)(restore(x), *args, **kwargs))[0]

    return flat, restore, vector


def _path(value: Any, number: int) -> str:
    return paths(value)[number] or "the value"
