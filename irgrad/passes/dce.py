"""Dead code elimination: nodes that no output and no guard needs, and that have no effect."""

from __future__ import annotations

from irgrad.ir.graph import Graph, Node
from irgrad.ir.primitive import EFFECT
from irgrad.passes.result import PassResult


def dce(graph: Graph) -> PassResult:
    """Remove nodes whose value nobody reads, last first."""
    result = PassResult(graph)
    outputs = {output.index for output in graph.outputs if isinstance(output, Node)}
    for node in reversed(graph.nodes()):
        keeps = node.is_guard or (node.op is not None and node.op.has(EFFECT))
        if not keeps and node.index not in outputs and not graph.num_users(node):
            graph.remove(node)
            result.count("removed")
    return result
