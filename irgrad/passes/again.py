"""Recomputation between nests: a value that a nest stores for later nests alone is computed again by each of them, where that takes a
few cheap operations and reads no more memory than the value would be. Saves the store, and the memory; in cases such as
``2 * (x[:, None] - y)`` nearly all of the reading too.

The value is that of the memory it reads, so none of that may be changed in place in the template.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from irgrad.ir.graph import Node
from irgrad.ir.plan import Cluster, is_cheap
from irgrad.passes.forms import has_text, is_reduction
from irgrad.passes.rows import RECOMPUTED, RELOADED

if TYPE_CHECKING:
    from irgrad.passes.cluster import _Clustering

LARGE = 1 << 12  # elements from which it is worth while
FEWER = 4  # times as many elements in a value as in memory that it is broadcast from, whose load costs little


class Again:
    """Finds and moves such values, once all nodes have their clusters."""

    def __init__(self, clustering: _Clustering) -> None:
        self.c = clustering
        roots = [clustering.views[buffer.index].root for buffer in clustering.updates.values()]
        self.changed = {root.index for root in roots} | set(clustering.updates)

    def run(self) -> None:
        for made in [c for c in self.c.clusters if c.kind == "nest"]:
            for node in reversed(list(made.inside)):
                if node.index in self.c.stored and self.is_wanted(node, made):
                    self.compute_again(node, made)

    def is_wanted(self, node: Node, made: Cluster) -> bool:
        """Is the value stored only for nests over the same space, all of which may compute it?"""
        c = self.c
        if node.aval.size < LARGE or c.graph.is_output(node) or node.index in self.changed | c.parts or node.index in made.by_row:
            return False
        chain: list[Node] = []
        leaves: dict[int, Node] = {}
        if not self.price(node, made, chain, leaves) or len(chain) > RECOMPUTED:
            return False
        read = [self.nbytes(leaf) for leaf in leaves.values()]
        if sum(read) > node.aval.nbytes or len(read) > 2 * RELOADED or sum(FEWER * n > node.aval.nbytes for n in read) > RELOADED:
            return False
        return all(user in made.inside or self.can_take(user, node, made, leaves) for user, _ in c.graph.users(node)) and all(
            any(user in each.inside for each in c.clusters) for user, _ in c.graph.users(node)
        )

    def price(self, node: Node, made: Cluster, chain: list[Node], leaves: dict[int, Node]) -> bool:
        """Collect the operations of a value and the memory that they read; False where it cannot be computed elsewhere."""
        if node in chain:
            return True
        if not is_cheap(node) or not has_text(node) or len(chain) > RECOMPUTED:
            return False
        for operand in node.operands:
            if not isinstance(operand, Node):
                continue
            root = self.c.rows.root(operand)
            if root.index in self.changed:
                return False
            inside = operand is root and operand in made.inside and not is_reduction(operand)
            if inside and operand.index not in made.by_row and operand.index not in self.c.stored:
                if not self.price(operand, made, chain, leaves):
                    return False
            elif root.is_input or root.index in self.c.stored or (root in made.inside and self.is_of_rows(root, made)):
                leaves[operand.index] = operand
            else:
                return False
        chain.append(node)
        return True

    def is_of_rows(self, node: Node, made: Cluster) -> bool:
        """Is it a total, or code once a row, which other nests may read from memory?"""
        return made.has_rows and (node.index in made.by_row or is_reduction(node))

    def nbytes(self, leaf: Node) -> int:
        """Memory that a leaf covers."""
        strides = self.c.rows.view(leaf).strides
        return math.prod(n for n, s in zip(leaf.aval.shape, strides, strict=True) if s) * leaf.aval.dtype.itemsize

    def can_take(self, user: Node, node: Node, made: Cluster, leaves: dict[int, Node]) -> bool:
        """May the nest of a user compute the value? It runs over the same space, behind the memory that is read."""
        c = self.c
        number, section = c.place.get(user.index, (-1, ""))
        if section != "inside":
            return False
        target = c.clusters[number]
        if target.kind != "nest" or target.space != node.aval.shape or user.index in target.by_row or user.index in c.updates:
            return False
        if len(c.readers[number]) + len(leaves) > 48 or (target.unrolled and len(target.inside) > 12):
            return False
        return not target.has_rows or all(c.rows.is_along_rows(number, leaf) for leaf in leaves.values())

    def compute_again(self, node: Node, made: Cluster) -> None:
        c = self.c
        copies: dict[tuple[int, int], Node] = {}
        users = [(user, position) for user, position in c.graph.users(node) if user not in made.inside]
        places = {n.index: place for k in {c.place[user.index][0] for user, _ in users} for place, n in enumerate(c.clusters[k].inside)}
        for user, position in sorted(users, key=lambda use: places[use[0].index]):  # the copy is in front of its first user
            number = c.place[user.index][0]
            c.graph.set_operand(user, position, self.copied(node, made, number, user, copies))
        c.stored.discard(node.index)
        if not c.graph.users(node):
            self.forget(node, made)

    def copied(self, node: Node, made: Cluster, number: int, user: Node, copies: dict[tuple[int, int], Node]) -> Node:
        """The value's copy in another cluster, in front of its first user there."""
        c, target = self.c, self.c.clusters[number]
        known = copies.get((node.index, number))
        if known is not None:
            target.stage[known.index] = min(target.stage[known.index], target.stage[user.index])
            return known
        operands = [
            self.copied(o, made, number, user, copies)
            if isinstance(o, Node) and o in made.inside and o.index not in c.stored and c.rows.root(o) is o and not self.is_of_rows(o, made)
            else o
            for o in node.operands
        ]
        assert node.op is not None
        copy = c.graph.add_from(node, node.op, operands, dict(node.params), node.aval, before=user)
        target.inside.insert(target.inside.index(user), copy)
        target.stage[copy.index] = target.stage[user.index]
        c.place[copy.index] = (number, "inside")
        c.readers[number] |= c.pointers(copy, number)
        c.note_strides(number, copy)
        for operand in operands:
            if isinstance(operand, Node):
                c.read(operand, number)
        copies[node.index, number] = copy
        return copy

    def forget(self, node: Node, made: Cluster) -> None:
        """Drop a value that nobody reads any more, and what only it read."""
        operands = [o for o in node.operands if isinstance(o, Node)]
        made.inside.remove(node)
        self.c.graph.remove(node)
        for operand in operands:
            if operand in made.inside and not self.c.graph.users(operand) and operand.index not in self.c.stored:
                self.forget(operand, made)
