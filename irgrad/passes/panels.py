"""Products and nests that go through large arrays together, a panel of rows at a time, which stays in the cache meanwhile.

``r = known * (u @ v.T - ratings)`` and then ``r @ v`` and ``r.T @ u``, or ``x @ w``, a nest and ``c @ x``, pass over memory once for each
step. Where every step is about the rows of its arrays alone, a panel of some rows may go through all of them before the next one does:
arrays that nobody else reads are then as large as a panel, and others are read from memory once. A product that sums over the rows is added
up panel by panel.

Here clusters are ordered and grouped; whether each kernel moves along the rows as it should is seen when it is written
(`irgrad.codegen.panels`). Only where a panel has little else to read, and the products are not so large that BLAS had better have them
whole.
"""

from __future__ import annotations

from irgrad.ir.graph import Node, Operand
from irgrad.ir.plan import Cluster, Group, Plan, contiguous
from irgrad.ir.primitive import UPDATE
from irgrad.ir.sizes import is_any
from irgrad.passes.products import is_product

LARGE = 1 << 20  # bytes of an array that the cache of a core does not hold until it is read again
FIXED = 1 << 18  # bytes that each panel reads or writes besides its rows, at most
ROWS = 256  # of an array at least
FLOPS = 60  # of products for each byte that is not moved, at most
NEAR, MOST = 24, 8  # clusters behind the first one that are looked at; that go together


def panels(plan: Plan) -> None:
    """Group the clusters of a plan, in an order that lets them go together."""
    left = list(plan.clusters)
    made: list[Cluster] = []
    while left:
        first = left.pop(0)
        group = _Group(plan, first) if not is_any() else None
        if group is None or not group.can_begin(first):
            made.append(first)
            continue
        before, after, rest = group.grow(left)
        if group.is_worth():
            made += before
            plan.groups[len(made)] = Group(group.extent, group.clusters, frozenset(group.totals), group.row_bytes(), group.saved())
            made += group.clusters
            left = after + rest
        else:
            made.append(first)
    plan.clusters[:] = made


class _Group:
    """Clusters that go through arrays of `extent` rows together."""

    def __init__(self, plan: Plan, first: Cluster) -> None:
        self.plan = plan
        self.extent = 0
        self.clusters: list[Cluster] = []
        self.local: set[int] = set()  # what they make row by row, by the node's index
        self.totals: set[int] = set()  # what they make that is there when all rows are done,
        self.late: set[int] = set()  # and what depends on it
        self.touched: dict[int, list[int]] = {}  # arrays that are walked through by rows: bytes, each time
        self.flops = 0

    def can_begin(self, first: Cluster) -> bool:
        node = first.nodes[0] if first.kind == "dot" else None
        if node is None or node.operands[0].aval.ndim != 2:
            return False
        self.extent = node.operands[0].aval.shape[0]
        x = node.operands[0]
        large = max(x.aval.nbytes, node.aval.nbytes) >= LARGE and self.extent >= ROWS
        return large and self.joins(first, True)

    def grow(self, clusters: list[Cluster]) -> tuple[list[Cluster], list[Cluster], list[Cluster]]:
        """Take in clusters of those that follow; the ones between them that come before the group, that come behind it, and the rest."""
        before: list[Cluster] = []
        after: list[Cluster] = []
        rest: list[Cluster] = []
        end = 0
        for place, cluster in enumerate(clusters[:NEAR]):
            if self.is_barrier(cluster) or len(self.clusters) == MOST:
                break
            roots = {self.root(o).index for o in self.operands(cluster)}
            if not roots & self.late and self.joins(cluster):
                end = place + 1
            elif roots & (self.local | self.late):
                self.late |= {node.index for node in cluster.nodes}
        members = {id(each) for each in self.clusters}
        late: set[int] = set()
        for cluster in clusters[:end]:
            if id(cluster) in members:
                continue
            roots = {self.root(o).index for o in self.operands(cluster)}
            if roots & (self.made() | late):
                late |= {node.index for node in cluster.nodes}
                after.append(cluster)
            else:
                before.append(cluster)
        rest = clusters[end:]
        return before, after, rest

    def made(self) -> set[int]:
        return {node.index for cluster in self.clusters for node in cluster.nodes}

    def is_barrier(self, cluster: Cluster) -> bool:
        """Does it change memory, or a part of a larger value, or run code that may?"""
        if cluster.kind == "host":
            return True
        apart = self.plan.updates.keys() | self.plan.parts
        return any(node.index in apart or (node.op is not None and node.op.has(UPDATE)) for node in cluster.nodes)

    def operands(self, cluster: Cluster) -> list[Node]:
        """What a cluster reads of others."""
        inside = {node.index for node in cluster.nodes}
        found = {o.index: o for node in cluster.nodes for o in node.operands if isinstance(o, Node)}
        return [o for o in found.values() if self.root(o).index not in inside]

    def root(self, operand: Node) -> Node:
        view = self.plan.views.get(operand.index)
        return operand if view is None else view.root

    def is_along(self, operand: Operand, axis: int) -> bool:
        """Is an axis of an operand that of the rows? An array of the group's own moves by whole rows along it."""
        if not isinstance(operand, Node) or operand.aval.shape[axis] != self.extent:
            return False
        root = self.root(operand)
        if root.index not in self.local:
            return True
        view = self.plan.views.get(operand.index)
        strides = contiguous(operand.aval.shape) if view is None else view.strides
        return strides[axis] == root.aval.size // self.extent

    def is_shared(self, operand: Operand) -> bool:
        """Is it an array that the group has, large enough to be worth it?"""
        if not isinstance(operand, Node):
            return False
        root = self.root(operand).index
        return root in self.local or (root in self.touched and operand.aval.nbytes >= LARGE)

    def joins(self, cluster: Cluster, first: bool = False) -> bool:
        """Take in a cluster that goes by rows, and shares an array with those that are there."""
        if self.is_barrier(cluster):
            return False
        if cluster.kind == "dot":
            return self.joins_product(cluster, first)
        return cluster.kind == "nest" and self.joins_nest(cluster)

    def joins_product(self, cluster: Cluster, first: bool) -> bool:
        node = cluster.nodes[0]
        if not is_product(node) or self.root(node) is not node:
            return False
        x, y = node.operands
        if not isinstance(x, Node) or not isinstance(y, Node) or not (first or self.is_shared(x) or self.is_shared(y)):
            return False
        if x.aval.ndim == 2 and self.is_along(x, 0) and self.root(y).index not in self.local and y.aval.nbytes <= FIXED:
            self.touch(x)
            self.add(cluster, [node], [])
        elif not first and self.is_along(x, -1) and self.is_along(y, 0) and node.aval.nbytes <= FIXED:
            self.touch(x)
            self.touch(y)
            self.add(cluster, [], [node])
        else:
            return False
        self.flops += 2 * node.aval.size * x.aval.shape[-1]
        return True

    def joins_nest(self, cluster: Cluster) -> bool:
        space, reduced = cluster.space, cluster.reduced or ()
        if not space or space[0] != self.extent or cluster.after or cluster.panel or (0 in reduced and cluster.has_rows):
            return False
        if any(node.op is None or node.op.name == "iota" for node in cluster.inside):
            return False
        if any(node.index in self.plan.stored for node in cluster.before):
            return False
        read = self.operands(cluster)
        if not any(self.is_shared(operand) for operand in read):
            return False
        if any(self.root(o).index in self.local for node in cluster.before for o in node.operands if isinstance(o, Node)):
            return False
        rows: list[Node] = []
        totals: list[Node] = []
        for node in cluster.inside:
            if node.index in self.plan.stored:
                over = node.params.get("axes", ()) if node.op is not None and node.op.name.startswith("reduce_") else ()
                (totals if 0 in over or node.aval.shape[:1] != (self.extent,) else rows).append(node)
        for operand in read:
            if operand.aval.ndim and operand.aval.shape[0] == self.extent:
                self.touch(operand)
        self.add(cluster, rows, totals)
        return True

    def touch(self, operand: Node) -> None:
        self.touched.setdefault(self.root(operand).index, []).append(operand.aval.nbytes)

    def add(self, cluster: Cluster, rows: list[Node], totals: list[Node]) -> None:
        self.clusters.append(cluster)
        for node in rows:
            self.local.add(node.index)
            self.touched[node.index] = [node.aval.nbytes]
        self.totals |= {node.index for node in totals}
        self.late |= self.totals

    def saved(self) -> int:
        """Bytes that are not moved between the cache and memory."""
        return sum(sum(each[1:]) for each in self.touched.values() if each[0] >= LARGE)

    def row_bytes(self) -> int:
        """Of what a panel reads again, for each row."""
        return sum(max(each) for each in self.touched.values() if len(each) > 1) // self.extent

    def is_worth(self) -> bool:
        return len(self.clusters) > 1 and self.saved() >= LARGE and self.flops <= FLOPS * self.saved()


__all__ = ["panels"]
