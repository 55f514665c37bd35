"""The reference interpreter: runs a graph node by node with the numpy meaning of each primitive.

Every pass and every kernel is tested against it. A guard's `evaluate` says whether it holds. A value is dropped after its last use,
so memory follows liveness.
"""

from __future__ import annotations

from typing import Any

from irgrad.errors import RuntimeGuardError
from irgrad.ir.effects import Effects
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.primitive import EFFECT


def evaluate(graph: Graph, *inputs: Any) -> list[Any]:
    """The outputs of `graph` for these inputs.

    Raises RuntimeGuardError where a guard does not hold, TypeError for a wrong number of inputs.
    """
    if len(inputs) != len(graph.inputs):
        raise TypeError(f"graph {graph.name} takes {len(graph.inputs)} inputs, got {len(inputs)}")
    nodes = graph.nodes()
    values: dict[int, Any] = dict(zip((node.index for node in graph.inputs), inputs, strict=True))
    last_use = {operand.index: node.index for node in nodes for operand in node.operands if isinstance(operand, Node)}
    kept = {output.index for output in graph.outputs if isinstance(output, Node)}

    def read(operand: Operand) -> Any:
        return operand.value if isinstance(operand, Literal) else values[operand.index]

    effects = Effects()
    for node in nodes:
        assert node.op is not None
        operands = [read(operand) for operand in node.operands]
        options = {**node.params, "effects": effects} if node.op.has(EFFECT) else node.params
        value = node.op.evaluate(*operands, **options)
        if not node.is_guard:
            values[node.index] = value
        elif not value:
            where = f" ({node.source})" if node.source is not None else ""
            raise RuntimeGuardError(f"guard failed: the trace holds for {node.params['value']!r}, got {operands[0]!r}{where}")
        for operand in node.operands:
            if isinstance(operand, Node) and last_use[operand.index] == node.index and operand.index not in kept:
                values.pop(operand.index, None)
    return [read(output) for output in graph.outputs]
