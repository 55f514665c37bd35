"""Rows: nests with several loops over each row of an array, one after the other, inside one loop over the rows.

A nest that reduces the trailing axes of its space holds the totals of a row in variables. What depends on them, once a row or once
an element, may follow in the same nest: stage k is code once a row and then a loop over the row, and a value that reads a total
of stage k is in stage k + 1. What a later stage reads of an earlier one is computed again where that costs no more than
reading it, and kept for the length of a row otherwise (the row stays in the cache).

Rows of a few elements have no loops: every element has variables of its own, whatever the axis, and LLVM vectorises over the rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from irgrad.ir.graph import Node, Operand
from irgrad.ir.plan import Cluster, View, contiguous, is_cheap, is_view
from irgrad.ir.primitive import UPDATE
from irgrad.ir.sizes import is_any
from irgrad.passes.forms import EXTREMES, REDUCTIONS, has_text, is_reduction

if TYPE_CHECKING:
    from irgrad.passes.cluster import _Clustering

WHOLE = 1 << 14  # elements up to which a nest without rows (a total over everything) has several loops: it stays in the cache
LONG = 1 << 16  # elements of a row, and
HUGE = 1 << 22  # of one of at least
MANY = 3  # rows, which threads can share, beyond which nothing is won
SHORT = 17  # elements of a row below which costly code once a row is better done in vectors of rows
FEW = 16  # elements of a row that need no loop, where
STATEMENTS = 320  # all elements of a row together have at most this many operations
NARROW, WIDE = 128, 256  # columns that go through the stages of a nest together, so many that
CACHE = 1 << 20  # bytes hold what is read and written of them; fewer take longer, as every element of a column is on another page
ONE, TWO = 128, 512  # elements of a column that panels gain up to, with one total, with two of which one is an extreme (softmax), and
DEEP = 1 << 13  # with others
RUN = 16  # elements side by side from which a row may be in several places
RECOMPUTED = 4  # operations, and
RELOADED = 2  # loads, up to which a value is computed again


def kept_extents(space: tuple[int, ...], reduced: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for axis, n in enumerate(space) if axis not in reduced)


def squeezed(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]


def has_columns(space: tuple[int, ...], reduced: tuple[int, ...]) -> bool:
    """Is the last axis, of more than a few elements, one that is not reduced?"""
    wide = [axis for axis, n in enumerate(space) if n != 1]
    return bool(wide) and wide[-1] not in reduced and space[wide[-1]] >= FEW


def stretch(space: tuple[int, ...], reduced: tuple[int, ...]) -> int:
    """The first of the axes behind the last one that is not reduced: along these, elements of a row are side by side."""
    return 1 + max((axis for axis, n in enumerate(space) if n != 1 and axis not in reduced), default=-1)


def is_trailing(space: tuple[int, ...], reduced: tuple[int, ...]) -> bool:
    """Are the reduced axes behind the others? Axes of 1 are nowhere."""
    kept = [axis for axis, n in enumerate(space) if n != 1 and axis not in reduced]
    return all(axis > kept[-1] for axis in reduced if space[axis] != 1) if kept else True


def spread(shape: tuple[int, ...], strides: tuple[int, ...], space: tuple[int, ...]) -> tuple[int, ...]:
    """Strides over the axes of the space that an operand broadcasts to."""
    extra = len(space) - len(shape)
    return (0,) * extra + tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def is_by_columns(strides: tuple[int, ...], space: tuple[int, ...]) -> bool:
    """Does an access walk memory along the last axis, or stay where it is?"""
    steps = [abs(s) for s, n in zip(strides, space, strict=True) if n != 1]
    return not steps or steps[-1] == 0 or steps[-1] == min(s for s in steps if s)


def panel_of(space: tuple[int, ...], reduced: tuple[int, ...], arrays: int) -> int:
    """How many columns go through the stages together: those whose elements of that many arrays fit into a cache."""
    length = math.prod(space[axis] for axis in reduced)
    return 64 if is_any() else max(NARROW, min(WIDE, 1 << max(int(math.log2(CACHE / (8 * max(length * arrays, 1)))), 0)))


def is_by_rows(strides: tuple[int, ...], space: tuple[int, ...], reduced: tuple[int, ...]) -> bool:
    """Does an access walk memory along the rows, or along stretches of them (those of all images in one channel)?"""
    inner = [abs(s) for axis, s in enumerate(strides) if s and space[axis] != 1 and axis in reduced]
    outer = [abs(s) for axis, s in enumerate(strides) if s and space[axis] != 1 and axis not in reduced]
    if not inner or not outer or max(inner) <= min(outer):
        return True
    behind = stretch(space, reduced)
    return math.prod(space[behind:]) >= RUN and all(abs(s) <= min(outer) for s in strides[behind:])


def is_short(space: tuple[int, ...], reduced: tuple[int, ...], statements: int) -> bool:
    """Is a row short enough for code without a loop over it?"""
    length = math.prod(space[axis] for axis in reduced)
    return 0 < length <= FEW and not is_any() and statements * length <= STATEMENTS and math.prod(kept_extents(space, reduced)) > 1


def is_total(node: Node) -> bool:
    """One number that a nest leaves in a variable."""
    return node.aval.size == 1 and is_reduction(node)


class Rows:
    """Finds the stage of nodes in the nests of a clustering."""

    def __init__(self, clustering: _Clustering) -> None:
        self.clustering = clustering
        self.limits: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}

    def root(self, operand: Node) -> Node:
        c = self.clustering
        return c.views[operand.index].root if c.is_memory_view(operand) else operand

    def view(self, operand: Node) -> View:
        known = self.clustering.views.get(operand.index)
        return View(operand, contiguous(operand.aval.shape)) if known is None else known

    def is_open(self, number: int) -> bool:
        """May a nest have more than one loop?"""
        found = self.clustering.clusters[number]
        if found.kind != "nest" or found.space is None or found.reduced is None:
            return False
        return found.unrolled or self.may_open(number, found.reduced)

    def may_open(self, number: int, reduced: tuple[int, ...]) -> bool:
        """May a nest have more than one loop over rows along these axes?"""
        space = self.clustering.clusters[number].space
        assert space is not None
        length = math.prod(space[axis] for axis in reduced)
        if has_columns(space, reduced):
            if not 0 < length <= self.tallest(space, reduced):
                return False
            return all(is_by_columns(strides, space) for strides in self.clustering.strides[number])
        rows = math.prod(kept_extents(space, reduced))
        limit = WHOLE if rows == 1 else LONG if rows < MANY else HUGE
        if not 0 < length <= limit or not (is_trailing(space, reduced) or math.prod(space[stretch(space, reduced) :]) >= RUN):
            return False
        return all(is_by_rows(strides, space, reduced) for strides in self.clustering.strides[number])

    def tallest(self, space: tuple[int, ...], reduced: tuple[int, ...]) -> int:
        """Elements of a column up to which panels gain: by the totals of arrays of this shape along these axes, and perhaps others."""
        known = self.limits.get((space, reduced))
        if known is None:
            nodes = self.clustering.graph.nodes()
            totals = [n for n in nodes if is_reduction(n) and n.operands[0].aval.shape == space and set(reduced) <= set(n.params["axes"])]
            has_extreme = any(n.op is not None and n.op.name in EXTREMES for n in totals)
            known = ONE if len(totals) == 1 else TWO if len(totals) == 2 and has_extreme else DEEP
            self.limits[space, reduced] = known
        return known

    def is_along(self, operand: Node, space: tuple[int, ...], reduced: tuple[int, ...]) -> bool:
        """Does an operand lie along rows (or columns) of these axes?"""
        if has_columns(space, reduced):
            return is_by_columns(spread(operand.aval.shape, self.view(operand).strides, space), space)
        return is_by_rows(spread(operand.aval.shape, self.view(operand).strides, space), space, reduced)

    def is_along_rows(self, number: int, operand: Node) -> bool:
        found = self.clustering.clusters[number]
        assert found.space is not None
        assert found.reduced is not None
        if found.unrolled:
            return True
        return self.is_along(operand, found.space, found.reduced)

    def is_across(self, number: int, node: Node) -> bool:
        """Does a reduction run over all rows of a nest that reduces along them?"""
        found = self.clustering.clusters[number]
        if not self.is_open(number) or found.unrolled or node.aval.size == 1:
            return False
        assert found.space is not None
        assert found.reduced is not None
        if has_columns(found.space, found.reduced):
            return False
        kept = {axis for axis, n in enumerate(found.space) if n != 1 and axis not in found.reduced}
        return {axis for axis in node.params["axes"] if found.space[axis] != 1} == kept

    def total_stage(self, number: int, operand: Node, by_row: bool) -> int | None:
        """The first stage that can read a value of a row (a total, or code once a row) through `operand`, None where it is none."""
        found = self.clustering.clusters[number]
        root = self.root(operand)
        assert found.space is not None
        assert found.reduced is not None
        assert root.op is not None
        is_total = root.op.name in REDUCTIONS and root.index not in found.by_column
        if root.index not in found.stage or not (is_total or root.index in found.by_row):
            return None
        view = self.view(operand)
        kept = kept_extents(found.space, found.reduced)
        if view.offset or view.terms:
            return None
        if by_row:
            if squeezed(operand.aval.shape, view.strides) != squeezed(kept, contiguous(kept)):
                return None
        else:
            steps = iter(contiguous(kept))
            wanted = [0 if axis in found.reduced else next(steps) for axis in range(len(found.space))]
            have = spread(operand.aval.shape, view.strides, found.space)
            if any(n != 1 and h != w for n, h, w in zip(found.space, have, wanted, strict=True)):
                return None
        return found.stage[root.index] + is_total

    def stage(self, number: int, node: Node, space: tuple[int, ...]) -> int | None:
        """The stage of a node of the loops over the space, None where it cannot be in the cluster."""
        c = self.clustering
        found = c.clusters[number]
        stage = 0
        outside: list[Node] = []
        for position, operand in enumerate(node.operands):
            if not isinstance(operand, Node):
                continue
            root = self.root(operand)
            if position == 0 and node.index in c.updates:
                if c.ready(operand, "nest", space) > number:
                    return None
            elif root.is_input or c.place[root.index][0] != number:
                if c.ready(operand, "nest", space) > number:
                    return None
                outside.append(operand)
            elif c.ready(operand, "nest", space) <= number:
                stage = max(stage, found.stage.get(root.index, 0))
            else:
                if not self.is_open(number):
                    return None
                if c.place[root.index][1] == "after" and not self.promote(number, root):
                    return None
                first = self.total_stage(number, operand, False)
                if first is None:
                    return None
                stage = max(stage, first)
        if (stage or found.has_rows) and not all(self.is_along_rows(number, operand) for operand in outside):
            return None
        return stage

    def once_a_row(self, node: Node) -> tuple[int, int] | None:
        """Cluster and stage in which a node can be code once a row."""
        c = self.clustering
        operands = [operand for operand in node.operands if isinstance(operand, Node)]
        at = [c.place[self.root(o).index][0] for o in operands if not self.root(o).is_input and c.place[self.root(o).index][1] == "inside"]
        same = node.op is not None and node.op.name == "reshape"  # of a few rows, else memory that is seen in another way
        if not at or not (has_text(node) or same):
            return None
        number = max(at)
        found = c.clusters[number]
        if not self.is_open(number) or not c.has_room(number, node, 1):
            return None
        assert found.space is not None
        assert found.reduced is not None
        kept = kept_extents(found.space, found.reduced)
        if [n for n in node.aval.shape if n != 1] != [n for n in kept if n != 1]:
            return None
        if not (found.unrolled or is_cheap(node) or same) and math.prod(found.space[axis] for axis in found.reduced) < SHORT:
            return None
        stage = -1
        for operand in operands:
            root = self.root(operand)
            if not root.is_input and c.place[root.index][0] == number and c.place[root.index][1] == "inside":
                first = self.total_stage(number, operand, True)
                if first is None:
                    return None
                stage = max(stage, first)
            elif c.ready(operand, "nest", node.aval.shape) > number:
                return None
        return (number, stage) if stage >= 0 else None

    def promote(self, number: int, node: Node) -> bool:
        """Move scalar code behind a nest's loop, up to `node`, in front of the next loop."""
        c = self.clustering
        found = c.clusters[number]
        if any(other.op is not None and other.op.has(UPDATE) for other in found.after):
            return False
        wanted: set[int] = {node.index}
        stages: dict[int, int] = {}
        for other in reversed(found.after):
            if other.index in wanted:
                if other.aval.size != 1 or not (has_text(other) or is_view(other)):
                    return False
                wanted |= {o.index for o in other.operands if isinstance(o, Node)}
        moved = [other for other in found.after if other.index in wanted]
        for other in moved:
            for operand in other.operands:
                if isinstance(operand, Node) and operand.aval.size != 1:
                    return False
                if isinstance(operand, Node) and operand.index in found.stage:
                    total = operand.op is not None and operand.op.name in REDUCTIONS
                    stages[other.index] = max(stages.get(other.index, 0), found.stage[operand.index] + total)
                elif isinstance(operand, Node) and operand.index in stages:
                    stages[other.index] = max(stages.get(other.index, 0), stages[operand.index])
        for other in moved:
            found.after.remove(other)
            found.inside.append(other)
            found.stage[other.index] = stages.get(other.index, 0)
            found.by_row.add(other.index)
            c.place[other.index] = (number, "inside")
        return True


def is_of_row(operand: Node, cluster: Cluster) -> bool:
    """Is a value one number for each row of a nest?"""
    extra = len(cluster.space or ()) - operand.aval.ndim
    return all(n == 1 or axis + extra not in (cluster.reduced or ()) for axis, n in enumerate(operand.aval.shape))


def plan_stages(cluster: Cluster, stored: set[int]) -> None:
    """Fill in which values each loop computes, and which are kept for the length of a row."""
    inside = {node.index: node for node in cluster.inside}
    count = 1 + max(cluster.stage.values(), default=0)
    cluster.loops = [set() for _ in range(count)]
    if cluster.unrolled:
        for index in inside.keys() - cluster.by_row:
            cluster.loops[cluster.stage[index]].add(index)
        return

    def is_element(operand: Operand) -> bool:
        if not isinstance(operand, Node) or operand.index not in inside or operand.index in cluster.by_row:
            return False
        return operand.op is not None and operand.op.name not in REDUCTIONS

    def is_kept(operand: Node, node: Node) -> bool:
        """Does the stage of a node that reads a costly value of an earlier one find it kept?"""
        return cluster.stage[operand.index] < cluster.stage[node.index] and not is_cheap(operand)

    def price(node: Node, stage: int, leaves: set[int], known: set[int]) -> int:
        """Operations, but those `known`, to compute a value of an earlier stage again; its loads go into `leaves`."""
        if not is_cheap(node):
            return RECOMPUTED + 1
        known.add(node.index)
        total = 1
        for operand in node.operands:
            if isinstance(operand, Node) and not (operand.index in inside and not is_element(operand)) and not is_of_row(operand, cluster):
                if not is_element(operand) or operand.index in stored or operand.index in cluster.row_buffers or is_kept(operand, node):
                    leaves.add(operand.index)
                elif operand.index not in cluster.loops[stage] and operand.index not in known:
                    total += price(operand, stage, leaves, known)
        return total

    def visit(node: Node, stage: int) -> None:
        if node.index in cluster.loops[stage]:
            return
        if cluster.stage[node.index] < stage:
            if node.index in stored or node.index in cluster.row_buffers:
                return
            leaves: set[int] = set()
            if price(node, stage, leaves, set()) > RECOMPUTED or len(leaves) > RELOADED:
                cluster.row_buffers.add(node.index)
                return
        cluster.loops[stage].add(node.index)
        for operand in node.operands:
            if is_element(operand):
                assert isinstance(operand, Node)
                visit(operand, stage)

    for stage in reversed(range(count)):
        for node in cluster.inside:
            if cluster.stage[node.index] != stage or node.index in cluster.by_row:
                continue
            assert node.op is not None
            ends = node.op.name in REDUCTIONS or node.op.has(UPDATE)
            if ends or node.index in stored or node.index in cluster.row_buffers:
                visit(node, stage)
