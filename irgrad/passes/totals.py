"""Totals of several kinds over one traversal: which reductions a nest that already reads their operand takes in.

A nest by rows has totals of rows in variables, and totals of columns in memory. A total of more axes than those of its rows is that of
each row, taken there, and then the total of these, which are few; sums of each of them are in pairs. A nest of totals of columns alone
becomes one by rows where a total of rows asks for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from irgrad.ir.graph import Node
from irgrad.passes.forms import is_reduction
from irgrad.passes.rows import has_columns, is_short, is_trailing, kept_extents

if TYPE_CHECKING:
    from irgrad.passes.cluster import _Clustering


class Totals:
    """Finds the nests of reductions along other axes than theirs."""

    def __init__(self, clustering: _Clustering) -> None:
        self.c = clustering

    def prepare(self, node: Node) -> bool:
        """Make a nest, or the reduction, such that it can join; was the reduction split?"""
        (operand,) = node.operands
        axes = tuple(node.params["axes"])
        if not isinstance(operand, Node):
            return False
        for number in self.readers(operand):
            found = self.c.clusters[number]
            reduced = found.reduced
            if found.space != operand.aval.shape or reduced is None or set(reduced) == set(axes):
                continue
            if self.is_turned(number, operand, axes):
                self.turn(number, axes)
                return False
            many = math.prod(kept_extents(operand.aval.shape, reduced)) > 1
            if many and set(reduced) < set(axes) and self.c.rows.is_open(number) and self.c.has_room(number, node, 1):
                self.split(node, operand, reduced)
                return True
        return False

    def readers(self, operand: Node) -> list[int]:
        """Nests that compute the operand in their loops, or read it there."""
        c = self.c
        root = c.rows.root(operand)
        at = c.place.get(root.index)
        if not root.is_input and root is operand and at is not None and at[1] == "inside":
            return [at[0]]
        users = [c.place.get(user.index) for user, _ in c.graph.users(operand)]
        return sorted({at[0] for at in users if at is not None and at[1] == "inside"})

    def is_turned(self, number: int, operand: Node, axes: tuple[int, ...]) -> bool:
        """May a nest of totals of columns be one by rows, whose rows are those of this total?"""
        c = self.c
        found = c.clusters[number]
        if found.has_rows or found.unrolled or found.reduced is None or found.space is None or found.after or number in c.closed:
            return False
        space, wide = found.space, [axis for axis, n in enumerate(found.space) if n != 1]
        both = sorted(axis for axis in (*found.reduced, *axes) if axis in wide)
        if both != wide or has_columns(space, axes) or not is_trailing(space, axes) or is_short(space, axes, c.costs[number]):
            return False
        totals = [node for node in found.inside if is_reduction(node)]
        if any(node.aval.size == 1 for node in totals) or any(node.op is not None and node.op.name == "iota" for node in found.inside):
            return False
        return c.rows.may_open(number, axes) and c.rows.is_along(operand, space, axes)

    def turn(self, number: int, axes: tuple[int, ...]) -> None:
        c = self.c
        found = c.clusters[number]
        for node in found.inside:
            if is_reduction(node):
                found.by_column.add(node.index)
                c.stored.add(node.index)
                c.view(node)
        found.reduced = axes

    def split(self, node: Node, operand: Node, reduced: tuple[int, ...]) -> None:
        """The total of each row, which joins the nest, becomes what the node adds up."""
        c = self.c
        assert node.op is not None
        part = c.graph.add_from(node, node.op, (operand,), {"axes": reduced})
        c.order[part.index] = c.order[node.index]
        c.assign(part)
        kept = [axis for axis in range(operand.aval.ndim) if axis not in reduced]
        left = tuple(kept.index(axis) for axis in node.params["axes"] if axis not in reduced)
        c.graph.set_operand(node, 0, part, {"axes": left})
        c.scalars.pop(node.index, None)
