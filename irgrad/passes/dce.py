"""Dead code elimination: nodes that no output and no guard needs."""

from __future__ import annotations

from irgrad.ir.graph import Graph, Node
from irgrad.passes.result import PassResult


def dce(graph: Graph) -> PassResult:
    """Remove nodes whose value nobody reads, last first."""
    result = PassResult(graph)
    outputs = {output.index for output in graph.outputs if isinstance(output, Node)}
    for node in reversed(graph.nodes()):
        if not node.is_guard and node.index not in outputs and not graph.num_users(node):
            graph.remove(node)
            result.count("removed")
    return result
