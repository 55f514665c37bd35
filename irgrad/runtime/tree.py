"""The path tree of one signature: recorded paths with shared prefixes, cut into instances of templates.

A node holds the records between two guards; its children are the outcomes of the guard that ends it; a leaf holds outputs. What one
path added to the tree, the chain of nodes from where it left the others to its leaf, is a *limb*.

Liveness and exports are worked out for the whole tree, so that a shared prefix is the same program on every path. Where a new path asks
nothing of its prefix that others did not ask before, only its limb is looked at: the cost of a path does not depend on the others'.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from irgrad.ir.blocks import Block, is_input, items_of, joined, same_number
from irgrad.ir.primitive import GUARD, PURE
from irgrad.ir.recording import Record, Recording, guard_outcome, is_guard
from irgrad.ir.template import Instance, Template, TemplateTable
from irgrad.runtime.instances import analyse_node
from irgrad.runtime.turns import checkpoint


class PathNode:
    """Records [start, end) of every path below; ends in a guard (with children) or in outputs."""

    __slots__ = (
        "asked",
        "blocks",
        "calls",
        "children",
        "end",
        "first",
        "form",
        "guard",
        "instances",
        "is_prefix",
        "limb",
        "number",
        "outputs",
        "path",
        "place",
        "start",
        "uses",
    )

    def __init__(self, start: int, end: int, limb: Limb) -> None:
        self.start = start
        self.first = start  # what is computed here begins: a leaf may do all of its path once more
        self.end = end
        self.limb = limb
        self.place = len(limb.nodes)  # in the limb
        self.path: Sequence[Record] = []  # of the whole path that first came here
        self.guard: Record | None = None
        self.children: dict[int, PathNode] = {}  # by `guard_outcome`
        self.outputs: list[Any] | None = None
        self.blocks: list[Block] = []  # records of it that are alike
        self.instances: list[Instance] = []
        self.asked: set[int] = set()  # values of this node that later nodes use
        self.uses: set[int] = set()  # values of earlier nodes that this one uses
        self.number = -1
        self.is_prefix = False  # what a limb that starts from the arguments does before its own nodes
        self.form: Any = None
        self.calls = np.zeros(1, np.int64)  # of a leaf: counted by the driver

    @property
    def records(self) -> Sequence[Record]:
        return self.path[self.start : self.end]

    @property
    def num_calls(self) -> int:
        """Compiled calls that went through here."""
        found, stack = 0, [self]
        while stack:
            node = stack.pop()
            found += int(node.calls[0])
            stack.extend(node.children.values())
        return found

    @property
    def is_leaf(self) -> bool:
        return self.guard is None and not self.is_prefix


class Limb:
    """The nodes that one path added, below `parent`.

    Its program goes on from the values at `parent`, or, where these are not all there, starts from the arguments: its first node is then
    a *prefix*, the records up to there without their guards, which have been asked.

    `exports` has what the templates of its instances gave away when it was linked, as flags and positions. `last` tells for each value
    that is needed in the limb, or in limbs that start from it, until when: k is inside its k-th node, k + 0.5 behind that node's guard,
    where another limb starts that needs it. `external` are those from before the limb.
    """

    __slots__ = ("exports", "external", "is_analysed", "is_linked", "kept", "last", "nodes", "parent")

    def __init__(self, parent: PathNode | None) -> None:
        self.parent = parent
        self.nodes: list[PathNode] = []
        self.last: dict[int, float] = {}
        self.external: set[int] = set()
        self.exports: dict[Template, tuple[bytes, tuple[int, ...]]] = {}
        self.kept: dict[int, list[int]] | None = None
        self.is_analysed = False
        self.is_linked = False

    @property
    def start(self) -> int:
        return self.nodes[0].start

    def waiting(self, place: int) -> list[int]:
        """The values that limbs which start behind the node at `place` need, and this one does not from there on."""
        if self.kept is None:
            self.kept = {}
            for value, when in self.last.items():
                if when % 1:
                    self.kept.setdefault(int(when), []).append(value)
        return self.kept.get(place, [])

    def ancestry(self) -> list[PathNode]:
        """The nodes of the path from the root to the end of this limb."""
        parts: list[list[PathNode]] = [self.nodes]
        limb = self
        while limb.parent is not None and not limb.is_restarted:
            parent = limb.parent
            limb = parent.limb
            parts.append(limb.nodes[: parent.place + 1])
        return [node for part in reversed(parts) for node in part]

    def is_pure(self, stop: int) -> bool:
        """May the records of its path up to `stop` be computed twice?"""
        return all(record.op is None or record.op.traits & (PURE | GUARD) for record in self.nodes[-1].path[:stop])

    def replay(self) -> None:
        """Let the leaf compute all of the path once more, so that nothing is kept for it across the guards."""
        leaf = self.nodes[-1]
        if leaf.first == 0 or not self.is_pure(leaf.start):
            return
        leaf.blocks = [block for node in self.ancestry() for block in node.blocks]
        leaf.first = 0
        self.forget()
        self.is_analysed = False

    def keep(self) -> None:
        """Undo `replay`."""
        leaf = self.nodes[-1]
        if leaf.first != leaf.start:
            leaf.first = leaf.start
            leaf.blocks = [block for block in leaf.blocks if block.first >= leaf.start]

    @property
    def is_restarted(self) -> bool:
        return self.nodes[0].is_prefix

    def restart(self) -> None:
        """Start from the arguments, with a prefix."""
        line = self.ancestry()
        prefix = PathNode(0, self.start, self)
        prefix.place, prefix.is_prefix, prefix.path = 0, True, self.nodes[0].path
        prefix.blocks = [block for node in line[: -len(self.nodes)] for block in node.blocks]
        for node in self.nodes:
            node.place += 1
        self.nodes.insert(0, prefix)
        self.forget()

    def go_on(self) -> None:
        """Go on from the parent's values, without a prefix."""
        del self.nodes[0]
        for node in self.nodes:
            node.place -= 1

    def forget(self) -> None:
        """Leave what was found out about it."""
        self.last, self.external, self.kept, self.exports = {}, set(), None, {}
        for node in self.nodes:
            node.asked = set()


class PathTree:
    """All compiled paths of one signature."""

    def __init__(self) -> None:
        self.root: PathNode | None = None
        self.limbs: list[Limb] = []

    @property
    def num_paths(self) -> int:
        return len(self.limbs)

    @property
    def num_records(self) -> int:
        return sum(limb.nodes[-1].end - limb.start for limb in self.limbs)

    def attach(self, recording: Recording) -> PathNode:
        """Add a path; returns its leaf. The path's records agree with the tree's on the shared prefix."""
        records = recording.records
        cuts, blocks = recording.guards, iter(recording.blocks)
        block = next(blocks, None)
        start = 0
        parent: PathNode | None = None
        node = self.root
        limb: Limb | None = None
        path = records
        for cut in [*cuts, len(records)]:
            if node is None:
                if limb is None:
                    limb = Limb(parent)
                    if parent is not None:
                        path = joined(parent.path, records, start - 1)
                node = PathNode(start, min(cut + 1, len(records)), limb)
                node.path = path
                node.guard = records[cut] if cut < len(records) else None
                while block is not None and block.last <= node.end:
                    if block.first >= start:
                        node.blocks.append(block)
                    block = next(blocks, None)
                limb.nodes.append(node)
                if parent is None:
                    self.root = node
                else:
                    parent.children[guard_outcome(records[start - 1])] = node
            if cut == len(records):
                break
            parent, start = node, cut + 1
            node = node.children.get(guard_outcome(records[cut]))
        assert node is not None
        if limb is not None:
            node.number = len(self.limbs)
            self.limbs.append(limb)
        node.outputs = recording.outputs
        return node

    def detach(self, limb: Limb) -> None:
        """Take back the path that was attached last."""
        assert limb is self.limbs[-1]
        assert limb.parent is not None
        self.limbs.pop()
        del limb.parent.children[guard_outcome(limb.nodes[0].path[limb.start - 1])]

    def differs(self, recording: Recording) -> str | None:
        """Where a recording contradicts the tree's records on a shared prefix; None where it agrees."""
        node = self.root
        records = recording.records
        given = items_of(records)
        position = 0
        while node is not None:
            path, ours = node.path, items_of(node.path)
            while position < node.end:
                if position >= len(records):
                    return "the path ends early"
                item, block = ours[position], given[position]
                if type(item) is Block and type(block) is Block and item.last <= node.end and item.agrees(block):
                    position = item.last
                    continue
                mine, other = path[position], records[position]
                guards = is_guard(mine) and is_guard(other) and mine.operands == other.operands
                if not guards and (mine.code != other.code or not same_operands(mine, other)):
                    return describe_difference(mine, other)
                position += 1
            checkpoint()
            if node.guard is None:
                return None if position == len(records) else "the path goes on"
            node = node.children.get(guard_outcome(records[position - 1]))
        return None

    def nodes(self) -> Iterator[PathNode]:
        for limb in self.limbs:
            yield from limb.nodes


def same_operands(a: Record, b: Record) -> bool:
    """Equal references and equal numbers."""
    if len(a.operands) != len(b.operands):
        return False
    for x, y in zip(a.operands, b.operands, strict=True):
        if type(x) is int or type(y) is int:
            if x != y or type(x) is not type(y):
                return False
        elif not same_number(x.value, y.value):
            return False
    start_a, start_b = a.params.get("start"), b.params.get("start")
    return start_a == start_b


def describe_difference(mine: Record, other: Record) -> str:
    from irgrad.frontend.sites import source_of

    if other.op is None:
        return "they read captured values from different objects"
    return f"{other.op.name} at {source_of(other.site) or source_of(mine.site)}"


def analyse(tree: PathTree, table: TemplateTable, replays: bool = False) -> None:
    """Cut every node into instances of templates, mark what templates export, and work out how long values are needed.

    `replays` says that leaves compute all of their path once more.
    """
    for limb in tree.limbs:
        if limb.is_restarted:
            limb.go_on()
        limb.forget()
        if replays:
            limb.replay()
        else:
            limb.keep()
    for limb in reversed(tree.limbs):  # a limb starts from an earlier one
        analyse_limb(limb, table)
        _ask_parent(limb)


def extends(limb: Limb, parent: PathNode) -> bool:
    """Are all values that an analysed limb needs of its prefix kept behind `parent`, as other limbs need them?"""
    kept, path = parent.limb.last, parent.path
    return all(kept.get(value, -1.0) >= parent.place + 0.5 or is_input(path, value) for value in limb.external)


def _ask_parent(limb: Limb) -> None:
    """What a limb needs of its prefix is needed at its start, in the limb that it starts from."""
    parent = limb.parent
    if parent is None:
        return
    other = parent.limb
    when, start = parent.place + 0.5, other.start
    for value in limb.external:
        if other.last.get(value, -1.0) < when:
            other.last[value] = when
        if value < start:
            other.external.add(value)


def analyse_limb(limb: Limb, table: TemplateTable) -> None:
    """Instances and last uses of one limb, and what it asks of earlier nodes."""
    line = limb.ancestry()
    starts = [node.start for node in line]
    _analyse_nodes(limb, line, starts, table, set(limb.nodes))
    _note_last(limb)
    expected = list(_expected(limb, line))
    changed: set[PathNode] = set()
    for _, value, node in expected:
        if value not in node.asked:
            node.asked.add(value)
            changed.add(node)
    if changed:
        _analyse_nodes(limb, line, starts, table, changed)
        _note_last(limb)
    for place, value, _ in expected:
        if limb.last.get(value, -1.0) < place + 0.5:
            limb.last[value] = place + 0.5
    limb.is_analysed = True


def _analyse_nodes(limb: Limb, line: list[PathNode], starts: list[int], table: TemplateTable, changed: set[PathNode]) -> None:
    """Those nodes of a limb that are asked for other values than before, the last first."""
    for node in reversed(limb.nodes):
        if node in changed:
            checkpoint()
            analyse_node(node, table)
            for value in node.uses:
                owner = line[bisect_right(starts, value) - 1]
                if value not in owner.asked:
                    owner.asked.add(value)
                    changed.add(owner)


def _note_last(limb: Limb) -> None:
    start, last = limb.start, limb.last
    for place, node in enumerate(limb.nodes):
        for value in node.uses:
            if last.get(value, -1.0) < place:
                last[value] = place
            if value < start:
                limb.external.add(value)


def _expected(limb: Limb, line: list[PathNode]) -> Iterator[tuple[int, int, PathNode]]:
    """What one more iteration of a loop would need of this limb: (place of the guard that left the loop, value, its node).

    A guard left a loop if the last one like it, an iteration before, went the other way. What that way needed of the last two iterations
    is kept one iteration later as well, so that a path with more iterations than any before is a limb of its own.
    """
    known: dict[tuple[int, int], int] = {}  # form of a node -> the last one
    path = limb.nodes[0].path
    first = len(line) - len(limb.nodes)
    for at, node in enumerate(line):
        if node.guard is None:
            continue
        form = (node.end - node.start, node.guard.code)
        before = known.get(form)
        known[form] = at
        if at < first or before is None or not _left(path, line[before], node):
            continue
        other, step = line[before], at - before
        last = line[before + 1].limb.last
        place = other.place if line[before + 1].limb is other.limb else -1.0
        for k in range(max(before - 2 * step + 1, 0), before + 1):
            source, target = line[k], line[k + step]
            if target.limb is not limb or source.end - source.start != target.end - target.start:
                continue
            shift = target.start - source.start
            for instance in source.instances:
                for value in instance.results():
                    if last.get(value, -2.0) > place and path[value].code == path[value + shift].code:
                        yield node.place, value + shift, target


def _left(path: Sequence[Record], before: PathNode, node: PathNode) -> bool:
    """Do two nodes have the same records, and their guards different outcomes on this path?"""
    shift = node.start - before.start
    if guard_outcome(path[before.end - 1]) == guard_outcome(path[node.end - 1]):
        return False
    return all(path[k].code == path[k + shift].code for k in range(before.start, before.end))
