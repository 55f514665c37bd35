"""Results in the memory of what they replace: an accumulator of a loop is changed where it is, instead of moving to new memory each time.

Where a plain nest alone reads an external value, element by element, and computes a result of its shape and dtype, the result may take
over the memory: it is read and written through one pointer, so that loops stay vectors, and a pass needs one array less in the cache.
Whether nobody else has the value any more is known for each instance only, when it is linked.
"""

from __future__ import annotations

from irgrad.ir.graph import Node
from irgrad.ir.plan import Cluster, Plan, contiguous
from irgrad.passes.forms import has_text

LEAST = 1 << 15  # bytes: what is in the nearest cache anyway gains nothing


def replaceable(plan: Plan) -> dict[int, Node]:
    """Inputs whose memory a result may take over, by number, each with that result."""
    found: dict[int, Node] = {}
    taken: set[int] = set()
    nests = {node.index: each for each in plan.clusters if _is_plain(each) for node in each.inside}
    for slot, value in enumerate(plan.graph.inputs):
        aval = value.aval
        if aval.nbytes < LEAST or plan.graph.is_output(value) or plan.views[value.index].strides != contiguous(aval.shape):
            continue
        users = [user for user, _ in plan.graph.users(value)]
        nest = nests.get(users[0].index) if users else None
        if nest is None or any(nests.get(user.index) is not nest or not has_text(user) for user in users):
            continue
        if value in plan.updates.values() or nest.space != aval.shape or any(user.aval.shape != aval.shape for user in users):
            continue
        for node in users:
            alike = node.aval.dtype == aval.dtype and plan.graph.outputs.count(node) == 1
            if alike and node.index not in taken and node.index in plan.stored and plan.views[node.index].root is node:
                found[slot] = node
                taken.add(node.index)
                break
    return found


def _is_plain(cluster: Cluster) -> bool:
    return cluster.kind == "nest" and cluster.reduced is None and not cluster.has_rows and not cluster.unrolled


def take_over(plan: Plan, slots: tuple[int, ...]) -> None:
    """Let the results of `replaceable` live in the memory of these inputs."""
    found = replaceable(plan)
    for slot in slots:
        plan.updates[found[slot].index] = plan.graph.inputs[slot]
