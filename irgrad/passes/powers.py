"""A power is its neighbour over the base: derivatives of powers evaluate no second one.

Where x**y is computed, x**(y - 1) behind it becomes `power_below`, which divides where the neighbour has all of its digits.
"""

from __future__ import annotations

from typing import Any

from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.primitive import REGISTRY
from irgrad.passes.result import PassResult, has_fuel

PRODUCTS = 4  # largest exponent that kernels write as products


def powers(graph: Graph) -> PassResult:
    """Let powers of real numbers read that of the next exponent, where it is there."""
    result = PassResult(graph)
    known: dict[Any, Node] = {}
    for node in graph.nodes():
        assert node.op is not None
        if node.op.name not in ("pow", "integer_pow") or node.aval.dtype.kind != "f":
            continue
        x, exponent = node.operands[0], _exponent(node)
        if not isinstance(x, Node) or exponent is None or x.aval.dtype != node.aval.dtype or x.aval.shape != node.aval.shape:
            continue
        above = next((known[key] for key in _next(x, exponent) if key in known), None)
        if above is not None and has_fuel():
            made = graph.add_from(node, REGISTRY["power_below"], (x, exponent, above), {}, node.aval)
            graph.replace_uses(node, made)
            graph.remove(node)
            node = made
            result.count("powers")
        known.setdefault((x.index, _key(exponent)), node)
    return result


def _exponent(node: Node) -> Operand | None:
    """The exponent as an operand of the power's dtype, or a number; None where it is of another one."""
    if node.op is not None and node.op.name == "integer_pow":
        n = node.params["n"]
        return Literal(float(n), static=True) if abs(n) > PRODUCTS else None
    exponent = node.operands[1]
    return exponent if exponent.aval.kind == "python" or exponent.aval.dtype == node.aval.dtype else None


def _key(operand: Operand) -> Any:
    if isinstance(operand, Node):
        return operand.index
    return float(operand.value) if operand.static else (operand, operand.aval)


def _next(x: Node, exponent: Operand) -> list[Any]:
    """Keys of the power of the next exponent: of a number, or of y in y - 1 and in the form of it that is 0 where y is."""
    if not isinstance(exponent, Node):
        return [(x.index, float(exponent.value) + 1.0)] if exponent.static and float(exponent.value) + 1.0 - 1.0 == exponent.value else []
    inner, condition = exponent, None
    if _is_made_by(exponent, "where") and _is(exponent.operands[1], 0.0) and isinstance(exponent.operands[2], Node):
        inner, condition = exponent.operands[2], exponent.operands[0]
    if not _is_made_by(inner, "sub") or not _is(inner.operands[1], 1.0):
        return []
    if condition is not None and not _asks_for_zero(condition, inner.operands[0]):
        return []
    return [(x.index, _key(inner.operands[0]))]


def _is_made_by(node: Node, name: str) -> bool:
    return node.op is not None and node.op.name == name


def _is(operand: Operand, number: float) -> bool:
    return isinstance(operand, Literal) and operand.static and bool(operand.value == number)


def _asks_for_zero(condition: Operand, y: Operand) -> bool:
    if not isinstance(condition, Node) or not _is_made_by(condition, "equal"):
        return False
    return _key(condition.operands[0]) == _key(y) and _is(condition.operands[1], 0.0)
