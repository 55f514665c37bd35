"""Regions of one piece of memory that a kernel may treat as memory of their own: parts of a concatenation that it writes.

Parts do not overlap. Where a kernel has nothing else of that memory, loops that write several parts are vectors without checks, they may be
split, and large parts go past the caches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from irgrad.codegen.lowered import Ref
from irgrad.ir.graph import Node
from irgrad.ir.plan import Cluster

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering


def regions(lowering: _Lowering, cluster: Cluster) -> frozenset[Ref]:
    """The parts that the kernel of a cluster writes, if it reads and writes nothing else in the memory around them."""
    plan = lowering.plan
    if plan.parts.isdisjoint(node.index for node in cluster.nodes):
        return frozenset()
    written = {lowering.ref(plan.views[node.index]) for node in cluster.nodes if node.index in plan.parts}
    own = {node.index for node in cluster.nodes}
    mixed = {lowering.home(node) for node in cluster.nodes if node.index in plan.updates}
    for operand in (o for node in cluster.nodes for o in node.operands if isinstance(o, Node)):
        if operand.index not in own:
            view = plan.views.get(operand.index)
            mixed.add(lowering.homes.get((operand if view is None else view.root).index, ("none", 0)))
    return frozenset(ref for ref in written if ref.home not in mixed)
