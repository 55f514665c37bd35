"""The path tree of one signature: recorded paths with shared prefixes, cut into instances of templates.

A node holds the records between two guards; its children are the outcomes of the guard that ends it; a leaf holds outputs.
Liveness and exports are worked out for the whole tree, so that a shared prefix is the same program on every path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from irgrad.ir.primitive import EFFECT, GUARD
from irgrad.ir.recording import INTERNED, Record, Recording, guard_outcome, is_guard
from irgrad.ir.template import Instance, TemplateTable

JOINED = 96  # records of all segments up to which
LARGE = 1 << 15  # arrays of this many elements have them in one template
LONG = 160  # records of a segment beyond which it is cut at call sites
CHUNK = 900  # and by count, as the last resort


class PathNode:
    """Records [start, start + len(records)) of every path below; ends in a guard (with children) or in outputs."""

    __slots__ = ("calls", "children", "form", "guard", "instances", "needed", "number", "outputs", "records", "start", "uses")

    def __init__(self, start: int, records: list[Record]) -> None:
        self.start = start
        self.records = records
        self.guard: Record | None = None
        self.children: dict[int, PathNode] = {}  # by `guard_outcome`
        self.outputs: list[Any] | None = None
        self.instances: list[Instance] = []
        self.uses: set[int] = set()  # values of earlier nodes needed here or below
        self.needed: set[int] | None = None  # what children and results asked of this node and its prefix at the last analysis
        self.number = -1
        self.form: Any = None
        self.calls = np.zeros(1, np.int64)  # of a leaf: counted by the driver

    @property
    def end(self) -> int:
        return self.start + len(self.records)

    @property
    def num_calls(self) -> int:
        """Compiled calls that went through here."""
        return int(self.calls[0]) + sum(child.num_calls for child in self.children.values())

    @property
    def is_leaf(self) -> bool:
        return self.guard is None


class PathTree:
    """All compiled paths of one signature."""

    def __init__(self) -> None:
        self.root: PathNode | None = None
        self.num_paths = 0
        self.next_leaf = 0

    def attach(self, recording: Recording) -> PathNode:
        """Add a path; returns its leaf. The path's records agree with the tree's on the shared prefix."""
        records = recording.records
        cuts = [i for i, record in enumerate(records) if is_guard(record)]
        start = 0
        parent: PathNode | None = None
        node = self.root
        for cut in cuts:
            if node is None:
                node = PathNode(start, records[start : cut + 1])
                node.guard = records[cut]
                self._link(parent, node, records)
            outcome = guard_outcome(records[cut])
            parent, start = node, cut + 1
            node = node.children.get(outcome)
        if node is None:
            node = PathNode(start, records[start:])
            self._link(parent, node, records)
            self.num_paths += 1
            node.number = self.next_leaf
            self.next_leaf += 1
        node.outputs = recording.outputs
        return node

    def _link(self, parent: PathNode | None, node: PathNode, records: list[Record]) -> None:
        if parent is None:
            self.root = node
        else:
            parent.children[guard_outcome(records[node.start - 1])] = node

    def differs(self, recording: Recording) -> str | None:
        """Where a recording contradicts the tree's records on a shared prefix; None where it agrees."""
        node = self.root
        records = recording.records
        position = 0
        while node is not None:
            for mine in node.records:
                if position >= len(records):
                    return "the path ends early"
                other = records[position]
                guards = is_guard(mine) and is_guard(other) and mine.operands == other.operands
                if not guards and (mine.code != other.code or not same_operands(mine, other)):
                    return describe_difference(mine, other)
                position += 1
            if node.guard is None:
                return None if position == len(records) else "the path goes on"
            node = node.children.get(guard_outcome(records[position - 1]))
        return None

    def nodes(self) -> Iterator[PathNode]:
        stack = [self.root] if self.root is not None else []
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())


def same_operands(a: Record, b: Record) -> bool:
    """Equal references and equal numbers."""
    if len(a.operands) != len(b.operands):
        return False
    for x, y in zip(a.operands, b.operands, strict=True):
        if type(x) is int or type(y) is int:
            if x != y or type(x) is not type(y):
                return False
        elif not _same_number(x.value, y.value):
            return False
    start_a, start_b = a.params.get("start"), b.params.get("start")
    return start_a == start_b


def _same_number(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


def describe_difference(mine: Record, other: Record) -> str:
    from irgrad.frontend.sites import source_of

    name = other.op.name if other.op is not None else "an input"
    return f"{name} at {source_of(other.site) or source_of(mine.site)}"


def analyse(tree: PathTree, table: TemplateTable) -> None:
    """Cut every node into instances of templates and mark what templates export."""
    assert tree.root is not None
    order: list[tuple[PathNode, list[Record]]] = []
    stack: list[tuple[PathNode, list[Record]]] = [(tree.root, [])]
    while stack:
        node, prefix = stack.pop()
        path = prefix + node.records if prefix else node.records
        order.append((node, path))
        stack.extend((child, path) for child in node.children.values())
    for node, path in reversed(order):
        _analyse_node(node, path, table)


def _analyse_node(node: PathNode, path: list[Record], table: TemplateTable) -> None:
    start, end = node.start, node.end
    needed: set[Any] = set()
    for child in node.children.values():
        needed |= {index for index in child.uses if index < end}
    if node.outputs is not None:
        needed |= {output for output in node.outputs if type(output) is int}
    if node.needed == needed and node.instances:
        return  # as at the last analysis: a new path elsewhere asks for nothing more
    node.needed = needed
    below = {index for index in needed if index < start}
    live = bytearray(end - start)
    for index in needed:
        if index >= start:
            live[index - start] = 1
    outside = {index for index in needed if index >= start}  # exported by this node
    uses = set(below)
    for index in range(end - 1, start - 1, -1):
        record = path[index]
        if record.op is None or not (live[index - start] or record.op.traits & (GUARD | EFFECT)):
            continue
        live[index - start] = 1
        for operand in record.operands:
            if type(operand) is int:
                if operand < start:
                    uses.add(operand)
                else:
                    live[operand - start] = 1
    _revive_carried(path, start, end, live, uses)
    node.uses = uses
    runs = _runs(path, start, end, live)
    owner: dict[int, int] = {}
    for number, run in enumerate(runs):
        for index in run:
            owner[index] = number
    if node.guard is not None:
        guarded = node.guard.operands[0]
        if type(guarded) is int and guarded >= start:
            outside.add(guarded)
    for number, run in enumerate(runs):
        for index in run:
            for operand in path[index].operands:
                if type(operand) is int and operand >= start and owner.get(operand, number) != number:
                    outside.add(operand)
    node.instances = []
    for run in runs:
        instance = table.instance(path, run, set())
        exported = instance.template.exported
        for position, index in enumerate(run):
            if index in outside:
                exported[position] = 1
        node.instances.append(instance)


def _revive_carried(path: list[Record], start: int, end: int, live: bytearray, uses: set[int]) -> None:
    """Compute what a last iteration hands to no one, if it computes anything: it is then like the other iterations."""
    dead = [i for i in range(start, end) if path[i].carried and not live[i - start]]
    if not dead:
        return
    alive = {path[i].segment for i in range(start, end) if live[i - start]}
    stack = [i for i in dead if path[i].segment in alive]
    while stack:
        index = stack.pop()
        if index < start:
            uses.add(index)
        elif not live[index - start]:
            live[index - start] = 1
            stack.extend(operand for operand in path[index].operands if type(operand) is int)


def _runs(path: list[Record], start: int, end: int, live: bytearray) -> list[list[int]]:
    """Live records by segment, long segments cut at call sites."""
    runs: list[list[int]] = []
    current: list[int] = []
    segment = None
    for index in range(start, end):
        record = path[index]
        if record.op is None or not live[index - start] or record.op.traits & GUARD:
            continue
        if record.segment != segment:
            if current:
                runs.extend(_cut(path, current))
            current, segment = [], record.segment
        current.append(index)
    if current:
        runs.extend(_cut(path, current))
    return [[index for run in runs for index in run]] if _is_heavy(path, runs) else runs


def _is_heavy(path: list[Record], runs: list[list[int]]) -> bool:
    """Are these a few operations on large arrays? Then passes over memory cost more than a kernel for this number of iterations."""
    if not 1 < len(runs) <= sum(map(len, runs)) <= JOINED:
        return False
    return any(INTERNED.avals[path[index].aval].size >= LARGE for run in runs for index in run)


def _cut(path: list[Record], run: list[int]) -> list[list[int]]:
    if len(run) <= LONG:
        return [run]
    chains = [_chain(path[index].site) for index in run]
    depth = 0
    shortest = min(map(len, chains))
    while depth < shortest and len({id(chain[depth]) for chain in chains}) == 1:
        depth += 1
    parts: list[list[int]] = []
    last: Any = run
    for index, chain in zip(run, chains, strict=True):
        here = chain[depth] if depth < len(chain) else None
        if here is not last:
            parts.append([])
            last = here
        parts[-1].append(index)
    if len(parts) == 1:
        return [run[i : i + CHUNK] for i in range(0, len(run), CHUNK)]
    joined: list[list[int]] = []
    for part in parts:  # a few operations between two calls go with the call before them
        if joined and len(part) < 4:
            joined[-1].extend(part)
        else:
            joined.append(part)
    if len(joined) == 1:
        return [run[i : i + CHUNK] for i in range(0, len(run), CHUNK)]
    return [piece for part in joined for piece in _cut(path, part)]


def _chain(site: Any) -> list[Any]:
    chain: list[Any] = []
    activation = site[0] if site is not None else None
    while activation is not None:
        chain.append(activation)
        activation = activation.parent
    chain.reverse()
    return chain
