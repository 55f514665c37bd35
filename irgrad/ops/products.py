"""Products of several matrices in an order that is chosen for its cost, and with a factor: what `passes/products.py` makes of them.

An *order* is a tree: a number is an operand, a pair the product of two trees. In the order *as written* ``("scaled", tree)`` says where
the factor, the last operand, was multiplied in, or divided by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, UPDATE, primitive
from irgrad.ops.linalg import dot, left_cotangent, right_cotangent
from irgrad.ops.rules import promote, reject

Tree = Any  # int, a pair of trees, or ("scaled", tree)
FACTORS = ("", "mul", "div")


def is_scaled(tree: Tree) -> bool:
    return isinstance(tree, tuple) and tree[0] == "scaled"


def _scaled(b: Any, x: Any, factor: Any, how: str) -> Any:
    return b.div(x, factor) if how == "div" else b.mul(factor, x)


class _Numpy:
    """The builder's names as functions of numpy."""

    dot = staticmethod(np.dot)
    mul = staticmethod(np.multiply)
    div = staticmethod(np.divide)
    neg = staticmethod(np.negative)


def _as_written(b: Any, operands: tuple[Any, ...], order: Tree, written: Tree, factor: str, negative: bool) -> Any:
    """The product by other operations."""

    def value(tree: Tree) -> Any:
        if isinstance(tree, int):
            return operands[tree]
        if is_scaled(tree):
            return _scaled(b, value(tree[1]), operands[-1], factor)
        return b.dot(value(tree[0]), value(tree[1]))

    made = value(order if written is None else written)
    if factor and written is None:
        made = _scaled(b, made, operands[-1], factor)
    return b.neg(made) if negative else made


def _evaluate(*operands: Any, order: Tree, written: Tree, factor: str, negative: bool) -> Any:
    return _as_written(_Numpy, operands, order, written, factor, negative)


def _aval(*operands: Aval, order: Tree, written: Tree, factor: str, negative: bool) -> Aval:
    if factor not in FACTORS or (factor and operands[-1].shape):
        raise reject("product", operands, f"expected a number as the factor ({factor!r})")

    def result(tree: Tree) -> Aval:
        return operands[tree] if isinstance(tree, int) else dot.aval(result(tree[0]), result(tree[1]))

    return Aval(result(order).shape, promote(operands))


def _vjp(b: Builder, index: int, ct: Any, out: Any, *operands: Any, order: Tree, written: Tree, factor: str, negative: bool) -> Any:
    """The cotangent of one operand, by the written order, or of the factor."""
    ct = b.neg(ct) if negative else ct
    last = len(operands) - 1
    if factor and index == last:
        plain = _as_written(b, (*operands[:-1], None), order, None, "", False)
        if factor == "mul":
            return _sum(b, b.mul(ct, plain))
        return b.neg(_sum(b, b.div(b.mul(ct, plain), b.mul(operands[-1], operands[-1]))))
    if factor:
        ct = _scaled(b, ct, operands[-1], factor)

    def value(tree: Tree) -> Any:
        return operands[tree] if isinstance(tree, int) else b.dot(value(tree[0]), value(tree[1]))

    def down(tree: Tree, ct: Any) -> Any:
        if isinstance(tree, int):
            return ct
        left, right = value(tree[0]), value(tree[1])
        if index in leaves(tree[0]):
            return down(tree[0], left_cotangent(b, ct, None, left, right))
        return down(tree[1], right_cotangent(b, ct, None, left, right))

    return down(order, ct)


def _sum(b: Builder, x: Any) -> Any:
    axes = tuple(range(len(b.shape(x))))
    return b.reduce_sum(x, axes=axes) if axes else x


def leaves(tree: Tree) -> tuple[int, ...]:
    """The operands of an order, from left to right."""
    if isinstance(tree, int):
        return (tree,)
    return leaves(tree[1]) if is_scaled(tree) else leaves(tree[0]) + leaves(tree[1])


def _jvp(b: Builder, tangents: Any, out: Any, *operands: Any, order: Tree, written: Tree, factor: str, negative: bool) -> Any:
    total = None
    for k, t in enumerate(tangents):
        if t is None:
            continue
        if factor == "div" and k == len(operands) - 1:
            part = b.neg(b.mul(b.div(t, operands[-1]), out))
        else:
            moved = (*operands[:k], t, *operands[k + 1 :])
            part = _as_written(b, moved, order, None, factor, negative)
        total = part if total is None else b.add(total, part)
    return total


def _added(*operands: Any, factor: str, negative: bool) -> Any:
    buffer, x, y, number = operands
    made = _scaled(_Numpy, np.dot(x, y), number, factor)
    return buffer - made if negative else buffer + made


def _added_aval(buffer: Aval, x: Aval, y: Aval, number: Aval, *, factor: str, negative: bool) -> Aval:
    made = dot.aval(x, y)
    if made.shape != buffer.shape or promote((buffer, made, number)) != buffer.dtype or number.shape or factor not in FACTORS[1:]:
        raise reject("product_add", (buffer, x, y, number), f"expected a buffer like the product, {made}, and a number as the factor")
    return buffer.with_kind("array")


def _added_vjp(b: Builder, index: int, ct: Any, out: Any, *operands: Any, factor: str, negative: bool) -> Any:
    if index == 0:
        return ct
    return _vjp(b, index - 1, ct, None, *operands[1:], order=(0, 1), written=None, factor=factor, negative=negative)


def _added_jvp(b: Builder, tangents: Any, out: Any, *operands: Any, factor: str, negative: bool) -> Any:
    params: dict[str, Any] = {"order": (0, 1), "written": None, "factor": factor, "negative": negative}
    first, *others = tangents
    if all(t is None for t in others):
        return first
    plain = _as_written(b, operands[1:], **params)
    made = _jvp(b, others, plain, *operands[1:], **params)
    return made if first is None else b.add(first, made)


product = primitive("product", evaluate=_evaluate, aval=_aval, vjp=_vjp, jvp=_jvp, traits=PURE)
product_add = primitive(
    "product_add", evaluate=_added, aval=_added_aval, vjp=_added_vjp, jvp=_added_jvp, traits=UPDATE | PURE
)  # a product times a factor, or divided by it, added to memory or subtracted from it
