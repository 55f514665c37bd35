"""Common subexpression elimination: equal operation, params and operands are one value.

Only pure primitives take part, so random draws, user primitives and updates of buffers are never merged. Operands of
commutative primitives compare in either order. Zeros that an update changes in place stay their own: merged, all but one
would be copied. Follows Click, Global Code Motion / Global Value Numbering (PLDI 1995), for
straight-line code.
"""

from __future__ import annotations

from typing import Any

from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.primitive import COMMUTATIVE, CREATION, PURE, UPDATE
from irgrad.passes.result import PassResult, has_fuel


def cse(graph: Graph) -> PassResult:
    """Let every use of a repeated computation read the first one."""
    result = PassResult(graph)
    seen: dict[Any, Node] = {}
    for node in graph.nodes():
        op = node.op
        assert op is not None
        if not op.has(PURE) or op.has(UPDATE) or op.host or (op.has(CREATION) and _is_changed(graph, node)):
            continue
        operands: Any = tuple(_key(operand) for operand in node.operands)
        if op.has(COMMUTATIVE) and len(operands) == 2:
            operands = frozenset(operands) if operands[0] != operands[1] else operands
        key = (op, operands, tuple(sorted(node.params.items())), node.aval.shape, node.aval.dtype)
        first = seen.setdefault(key, node)
        if first is not node and has_fuel():
            graph.replace_uses(node, first)
            graph.remove(node)
            result.count("merged")
    return result


def _is_changed(graph: Graph, node: Node) -> bool:
    """Does an update take over the node's memory?"""
    return any(position == 0 and user.op is not None and user.op.has(UPDATE) for user, position in graph.users(node))


def _key(operand: Node | Literal) -> Any:
    return operand.index if isinstance(operand, Node) else (operand, operand.aval)
