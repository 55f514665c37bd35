"""Products of vectors and matrices. Every other contraction is lowered onto these by transposes and reshapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, UPDATE, primitive
from irgrad.ops.matrices import swapped
from irgrad.ops.rules import promote, reject


def _dot_aval(x: Aval, y: Aval) -> Aval:
    if x.ndim not in (1, 2) or y.ndim not in (1, 2):
        raise reject("dot", (x, y), "expected vectors and matrices")
    if x.shape[-1] != y.shape[0]:
        raise reject("dot", (x, y), f"inner extents {x.shape[-1]} and {y.shape[0]} differ; expected them equal")
    return Aval(x.shape[:-1] + y.shape[1:], promote((x, y)))


def _outer(b: Builder, x: Any, y: Any) -> Any:
    return b.mul(b.reshape(x, shape=(*b.shape(x), 1)), y)


def left_cotangent(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    left, right = len(b.shape(x)), len(b.shape(y))
    if right == 1:
        return b.mul(ct, y) if left == 1 else _outer(b, ct, y)
    return b.dot(y, ct) if left == 1 else b.dot(ct, b.transpose(y, axes=(1, 0)))


def right_cotangent(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    left, right = len(b.shape(x)), len(b.shape(y))
    if left == 1:
        return b.mul(ct, x) if right == 1 else _outer(b, x, ct)
    return b.dot(ct, x) if right == 1 else b.dot(b.transpose(x, axes=(1, 0)), ct)


def _tangents(op: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """jvp of a bilinear op."""
    return lambda b, t, out, x, y: getattr(b, op)(t, y), lambda b, t, out, x, y: getattr(b, op)(x, t)


dot = primitive("dot", evaluate=np.dot, aval=_dot_aval, vjp=(left_cotangent, right_cotangent), jvp=_tangents("dot"), traits=PURE)


def _dot_add(buffer: Any, x: Any, y: Any, *, negative: bool) -> Any:
    return buffer - np.dot(x, y) if negative else buffer + np.dot(x, y)


def _dot_add_aval(buffer: Aval, x: Aval, y: Aval, *, negative: bool) -> Aval:
    product = _dot_aval(x, y)
    if product.shape != buffer.shape or promote((buffer, product)) != buffer.dtype:
        raise reject("dot_add", (buffer, x, y), f"expected a buffer like the product, {product}")
    return buffer.with_kind("array")


def _signed(b: Builder, x: Any, negative: bool) -> Any:
    return b.neg(x) if negative else x


dot_add = primitive(
    "dot_add",
    evaluate=_dot_add,
    aval=_dot_add_aval,
    vjp=(
        lambda b, ct, out, buffer, x, y, *, negative: ct,
        lambda b, ct, out, buffer, x, y, *, negative: _signed(b, left_cotangent(b, ct, out, x, y), negative),
        lambda b, ct, out, buffer, x, y, *, negative: _signed(b, right_cotangent(b, ct, out, x, y), negative),
    ),
    jvp=(
        lambda b, t, out, buffer, x, y, *, negative: t,
        lambda b, t, out, buffer, x, y, *, negative: _signed(b, b.dot(t, y), negative),
        lambda b, t, out, buffer, x, y, *, negative: _signed(b, b.dot(x, t), negative),
    ),
    traits=UPDATE | PURE,
)


def _batch_dot_aval(x: Aval, y: Aval) -> Aval:
    if x.ndim < 3 or x.ndim != y.ndim or x.shape[:-2] != y.shape[:-2]:
        raise reject("batch_dot", (x, y), "expected equal leading extents and at least three axes")
    if x.shape[-1] != y.shape[-2]:
        raise reject("batch_dot", (x, y), f"inner extents {x.shape[-1]} and {y.shape[-2]} differ; expected them equal")
    return Aval((*x.shape[:-1], y.shape[-1]), promote((x, y)))


batch_dot = primitive(
    "batch_dot",
    evaluate=np.matmul,
    aval=_batch_dot_aval,
    vjp=(
        lambda b, ct, out, x, y: b.batch_dot(ct, swapped(b, y)),
        lambda b, ct, out, x, y: b.batch_dot(swapped(b, x), ct),
    ),
    jvp=_tangents("batch_dot"),
    traits=PURE,
)
