"""Stacks of small products with what is around them: one loop over the stack, whose turn computes an item on variables.

A product of two 3 by 3 matrices for each of n items is a few numbers of each item. So are elementwise operations on arrays of that stack,
sums over the axes of an item, transposes and slices of items. Where such a product has neighbours of this kind, they are a cluster
"items": nothing between them has memory. Functions as sin and tanh are left to nests, whose vectors lie along memory: in a loop over
items of 9 numbers they take three times as long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from irgrad.ir.graph import Literal, Node
from irgrad.ir.plan import Cluster, is_cheap, is_view
from irgrad.ir.sizes import is_any
from irgrad.passes.forms import REDUCTIONS, has_kernel_dtypes, has_text

if TYPE_CHECKING:
    from irgrad.passes.cluster import _Clustering

LEAST = 16  # items of a stack that is worth a loop
MANY = 36  # multiplications of an item's product, of
WIDE = 16  # numbers at most, which are variables
NEAR = 256  # elements between the numbers of an item
LIGHT = frozenset({"div", "sqrt", "identity"})
STATEMENTS = 400  # of a turn of the loop


def is_light(node: Node) -> bool:
    """Is it no function that costs more one number at a time than in vectors along memory?"""
    return is_cheap(node) or (node.op is not None and node.op.name in LIGHT)


class Items:
    """Finds such nodes, and puts them together."""

    def __init__(self, clustering: _Clustering) -> None:
        self.c = clustering
        self.stacks: dict[int, tuple[int, ...]] = {}  # the stack of each node that is computed by items

    def find(self) -> None:
        """All products with their neighbours; products without are as fast alone."""
        nodes = [node for node in self.c.graph.nodes() if not is_view(node)]
        if is_any() or not any(self.is_seed(node) for node in nodes):
            return
        for node in nodes:
            if self.is_seed(node):
                self.stacks[node.index] = node.aval.shape[:-2]
        before = -1
        while before != len(self.stacks):
            before = len(self.stacks)
            for node in nodes:
                if node.index not in self.stacks:
                    self.add(node)
            for node in reversed(nodes):
                if node.index not in self.stacks:
                    self.add(node)
        for node in nodes:
            if self.is_seed(node) and not any(self.neighbours(node)):
                del self.stacks[node.index]

    def is_seed(self, node: Node) -> bool:
        """Is it a stack of small products of real numbers?"""
        if (
            node.op is None
            or node.op.name != "batch_dot"
            or node.aval.dtype.kind != "f"
            or any(isinstance(o, Literal) for o in node.operands)
        ):
            return False
        stack, work = node.aval.shape[:-2], math.prod(node.aval.shape[-2:]) * node.operands[0].aval.shape[-1]
        return math.prod(stack) >= LEAST and 0 < work <= MANY and has_kernel_dtypes(node) and self.is_possible(node, stack)

    def neighbours(self, node: Node) -> list[int]:
        """The nodes by items that read a node, or that it reads."""
        found = self.users(node)
        found += [self.c.rows.root(o) for o in node.operands if isinstance(o, Node)]
        return [other.index for other in found if self.stacks.get(other.index) == self.stacks[node.index]]

    def add(self, node: Node) -> None:
        """Take a node whose operands, or all of whose users, are by items already."""
        for operand in node.operands:
            if isinstance(operand, Node):
                stack = self.stacks.get(self.c.rows.root(operand).index)
                if stack is not None and self.is_within(operand, stack) and self.is_possible(node, stack):
                    self.stacks[node.index] = stack
                    return
        if self.c.graph.is_output(node) or not self.c.graph.users(node):
            return
        stacks = {self.stacks.get(user.index) for user in self.users(node)}
        stack = stacks.pop() if len(stacks) == 1 else None
        if stack is not None and self.is_possible(node, stack):
            self.stacks[node.index] = stack

    def users(self, node: Node) -> list[Node]:
        """Who reads a value, as it is or through views."""
        found: list[Node] = []
        for user, _ in self.c.graph.users(node):
            found += self.users(user) if is_view(user) else [user]
        return found

    def is_possible(self, node: Node, stack: tuple[int, ...]) -> bool:
        """Is it an operation on each item of a stack, whose operands are where a turn of a loop can read them?"""
        c, shape, depth = self.c, node.aval.shape, len(stack)
        if node.op is None or not has_kernel_dtypes(node) or node.index in c.parts or node.index in c.updates:
            return False
        if shape[:depth] != stack or not 0 < math.prod(shape[depth:]) <= WIDE or node.aval.dtype.kind not in "fb":
            return False
        rank = node.aval.ndim - depth
        if node.op.name in REDUCTIONS or node.op.name == "batch_dot":
            if any(isinstance(o, Literal) or math.prod(o.aval.shape[depth:]) > WIDE for o in node.operands):
                return False
            if node.op.name in REDUCTIONS and min(node.params["axes"], default=-1) < depth:
                return False
            rank = node.operands[0].aval.ndim - depth
        elif not has_text(node) or not is_light(node):
            return False
        return all(isinstance(o, Literal) or self.is_near(o, rank) for o in node.operands)

    def is_near(self, operand: Node, rank: int) -> bool:
        """Are the numbers of an item close to each other?"""
        strides = self.c.rows.view(operand).strides[max(operand.aval.ndim - rank, 0) :]
        return sum((n - 1) * abs(s) for n, s in zip(operand.aval.shape[-len(strides) :] if strides else (), strides, strict=True)) <= NEAR

    def is_within(self, operand: Node, stack: tuple[int, ...]) -> bool:
        """Does an operand show each item of its root, perhaps through views of items?"""
        node, depth = operand, len(stack)
        while self.c.is_memory_view(node):
            source = node.operands[0]
            if not isinstance(source, Node) or node.aval.shape[:depth] != stack or source.aval.shape[:depth] != stack or node.op is None:
                return False
            name, params = node.op.name, node.params
            kept = name in ("reshape", "broadcast_to") and (name == "reshape" or source.aval.ndim == node.aval.ndim)
            kept = kept or (name == "transpose" and params["axes"][:depth] == tuple(range(depth)))
            if name == "slice" and params.get("dynamic") is None:
                whole = (params["start"][:depth], params["count"][:depth], params["step"][:depth])
                kept = whole == ((0,) * depth, stack, (1,) * depth) and min(params["drop"], default=depth) >= depth
            if not kept:
                return False
            node = source
        return True

    # -- clusters --

    def ready(self, operand: Node, stack: tuple[int, ...]) -> int:
        """The earliest cluster in which a node by items can read an operand."""
        root = self.c.rows.root(operand)
        if not root.is_input and self.stacks.get(root.index) == stack and self.is_within(operand, stack):
            return self.c.place[root.index][0]
        return self.c.ready(operand, "own", None)

    def join(self, node: Node) -> None:
        """Put a node into the first cluster of its stack that its operands allow."""
        c, stack = self.c, self.stacks[node.index]
        operands = [operand for operand in node.operands if isinstance(operand, Node)]
        first = max((self.ready(operand, stack) for operand in operands), default=0)
        assert node.op is not None
        cost = max(node.aval.size, *(operand.aval.size for operand in operands), 1) // math.prod(stack)
        if node.op.name == "batch_dot":
            cost = 2 * math.prod(node.aval.shape[-2:]) * operands[0].aval.shape[-1]
        for number in range(first, len(c.clusters)):
            found = c.clusters[number]
            if found.kind == "items" and found.space == stack and c.costs[number] + cost <= STATEMENTS and c.has_room_for(number, node):
                break
        else:
            number = c.open(first, Cluster("items", stack))
        c.readers[number] |= c.pointers(node, number)
        c.costs[number] += cost
        c.clusters[number].inside.append(node)
        c.place[node.index] = (number, "own")
        for operand in operands:
            c.read(operand, number)


__all__ = ["Items"]
