"""Derivatives at the edge: seeds in, results out, each with the shape, dtype and kind of the value it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irgrad.elements import Element, boxed, held_by, unboxed
from irgrad.errors import DifferentiationError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.core import alias
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.trace import describe, here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.value import Number, Static
from irgrad.pytree import Structure, flatten

_ndarray = np.ndarray
_float64 = np.float64
_ONE = np.float64(1.0)


def own(out: Any) -> Any:
    """A plain value that shares no memory with the tape."""
    value = out.value if type(out) is Tracer else out
    if type(value) is Element:
        return value.held
    if type(out) is not Tracer:
        return out
    return value.copy() if isinstance(value, _ndarray) else value


def settle(ct: Any, value: Any) -> Any:
    """A concrete derivative with shape, dtype and kind of `value`, in memory of its own."""
    kind = type(value)
    if kind is _ndarray:
        return np.zeros(value.shape, value.dtype) if ct is None else np.array(ct, value.dtype)
    if type(ct) is _float64 and (kind is float or kind is _float64):
        return ct
    if kind is Element:
        return value.space.zeros() if ct is None else ct.held
    dtype = dtype_of(value)
    return dtype.type(0 if ct is None else ct)


def settle_recorded(b: RecordBuilder, ct: Any, like: Any) -> Any:
    """A recorded derivative with shape, dtype and kind of the value of the tracer `like`."""
    value = like.form if type(like) is Tracer else like
    dense = isinstance(value, _ndarray)
    if type(value) is Element:
        return value.space.zeros() if ct is None else boxed(ct)
    if ct is None:
        return b.zeros_like(like) if dense else dtype_of(value).type(0)
    if type(ct) is Static:
        return b.full(ct, shape=value.shape, dtype=value.dtype.name) if dense else dtype_of(value).type(ct.value)
    if type(ct) is not Tracer:
        return settle(ct.value if type(ct) is Number else ct, value)
    if dense and not isinstance(ct.form, _ndarray):
        return b.reshape(ct, shape=value.shape)
    if not dense and isinstance(ct.form, _ndarray):
        return b.slice(ct, start=(), count=(), step=(), drop=())
    if not dense and not isinstance(ct.form, np.generic):  # an operand that is a Python number: a derivative is numpy's
        return alias(ct, dtype_of(value).type(ct.value))
    return ct


def ones(b: RecordBuilder | None, out: Any) -> Any:
    """A cotangent or tangent of ones for a leaf."""
    value = out.form if type(out) is Tracer else out
    if b is None and (type(value) is _float64 or type(value) is float):
        return _ONE
    if type(value) is Element:
        return Element(value.space.ones())
    dtype = dtype_of(value)
    if dtype.kind not in "fc":
        return None
    one = dtype.type(1)
    shape = np.shape(value)
    if b is None or not isinstance(b.trace, GraphTrace):
        return np.ones(shape, dtype) if shape else one
    return b.full(Static(one), shape=shape, dtype=dtype.name) if shape else Static(one)


def seed(b: RecordBuilder, derivative: Any) -> Any:
    """A derivative that the user gave as an operand of rules."""
    if derivative is None or type(derivative) is Tracer:
        return derivative
    if isinstance(derivative, _ndarray):
        return b.trace.lift(derivative)
    return b.number(derivative)


def leaves_like(what: str, given: Any, likes: Sequence[Any], structure: Structure) -> list[Any]:
    """The leaves of a cotangent or tangent, with the shapes and dtypes of `likes`.

    Raises DifferentiationError where structure, shape or kind differ.
    """
    leaves, have = flatten(given)
    if have != structure:
        raise DifferentiationError(f"expected a {what} of the structure {structure}, got {have} ({here()})")
    made: list[Any] = []
    for leaf, like in zip(leaves, likes, strict=True):
        value = like.form if type(like) is Tracer else like
        if type(value) is Element:
            given_node = unboxed(leaf)
            if type(held_by(given_node)) is not type(value.held):
                raise DifferentiationError(f"expected a {what} like {type(value.held).__name__}, got {describe(given_node)} ({here()})")
            made.append(given_node if type(given_node) is Tracer else Element(leaf))
            continue
        if not is_numeric(value) or dtype_of(value).kind not in "fc":
            made.append(None)  # an integer output: no derivative flows
            continue
        bits = leaf.form if type(leaf) is Tracer else leaf
        bits = bits if isinstance(bits, (np.ndarray, np.generic)) else np.asarray(bits)
        shape, dtype = np.shape(value), dtype_of(value)
        if bits.dtype.kind not in "biufc" or (bits.shape and bits.shape != shape) or (bits.dtype.kind == "c" and dtype.kind != "c"):
            raise DifferentiationError(f"expected a {what} like {describe(value)}, got {describe(leaf)} ({here()})")
        if type(leaf) is Tracer:
            if bits.shape != shape:
                leaf = leaf._trace.call(REGISTRY["broadcast_to"], (leaf,), {"shape": shape})
            made.append(leaf if bits.dtype == dtype else leaf._trace.call(REGISTRY["convert"], (leaf,), {"dtype": dtype.name}))
        else:
            made.append(np.broadcast_to(bits, shape).astype(dtype)[()])
    return made


def is_numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, float, int, complex)) and not isinstance(value, (bool, np.bool_))


def dtype_of(value: Any) -> np.dtype[Any]:
    return value.dtype if isinstance(value, (np.ndarray, np.generic)) else np.result_type(value)
