"""Rows that go through their arrays together: the kernels of a group of clusters, each on one panel of rows at a time.

A panel is to a kernel what a chunk is (`irgrad.codegen.split`): pointers move by whole panels, and one extent is that of a panel, so that
nothing is compiled for it. What only the group reads has memory for one panel. A product that sums over the rows writes its result in
the first panel and adds to it in the others; where chunks of panels may run side by side, each has a result and panels of its own,
and rows behind the group add the results up. Chunks depend on kernels and sizes alone: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from irgrad.codegen import products, split
from irgrad.codegen.lowered import Panels, Part, Ref, Row
from irgrad.codegen.nest import NestText, Reduction
from irgrad.codegen.scalar import literal, plus
from irgrad.ir.graph import Node
from irgrad.ir.plan import Cluster, Group, is_view

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

PANEL = 1 << 19  # bytes that a panel has in the cache
SMALL = 1_000_000  # multiplications of a product that OpenBLAS does without copies of its operands, and in one thread
NEAREST = 26_000  # bytes of a panel whose products are with vectors: most of the cache next to the core, and one thread of OpenBLAS's
LEAST, UNIT = 16, 8  # rows of a panel
FLOPS, MOVED = 16.0, 0.04  # flops a nanosecond, and nanoseconds a byte
PRIVATE = 4  # bytes that are saved for each that a chunk has for itself
ALWAYS, FIRST, LATER = range(3)  # the panels of a chunk that a part runs in
HEAD, WORDS = 8, 8  # words of the size table before those of the parts, and of each part

MOST = 400  # pointers: the driver's table has 512 entries
Home = tuple[str, int]

PANEL_OF = f"""def kernel(p, n):
    pointers = size(p, 2)
    sizes = size(p, 3)
    panels = size(sizes, 5)
    begin = n * size(sizes, 6)
    end = min(begin + size(sizes, 6), panels)
    slots = stack(512)
    for q in range(begin, end):
        other = {LATER} if q == begin else {FIRST}
        for k in range(size(sizes, 7)):
            at = sizes + {8 * HEAD} + {8 * WORDS} * k
            if size(at, 1) != other:
                first = pointers + 8 * size(at, 2)
                steps = sizes + 8 * size(at, 4)
                for j in range(size(at, 3)):
                    put(slots, j, size(first, j) + q * size(steps, 2 * j) + n * size(steps, 2 * j + 1))
                table = sizes + 8 * size(at, 6 if q + 1 == panels else 5)
                status = call_kernel(size(at, 0), slots, table)
                if status != 0:
                    return status
    return 0
"""


def table(team: int, counts: int, panels: Panels) -> tuple[list[int], list[int]]:
    """The size table of SPLIT for rows in panels, and the places in it of the parts' kernels; CALLED_CHUNK is for PANEL_OF."""
    head = [team, counts, 0, 0, panels.chunks, panels.count, panels.length, len(panels.parts)]
    data: list[int] = []
    first, begin = 0, HEAD + WORDS * len(panels.parts)
    for part in panels.parts:
        steps = begin + len(data)
        data += [step for pair in zip(part.steps, part.own, strict=True) for step in pair]
        sizes = begin + len(data)
        data += part.row.sizes
        last = begin + len(data)
        data += part.last
        head += [0, part.when, first, len(part.row.pointers), steps, sizes, last, 0]
        first += len(part.row.pointers)
    return [*head, *data], [HEAD + WORDS * k for k in range(len(panels.parts))]


@dataclass(slots=True)
class _Member:
    """A cluster of the group: its row for all rows of the arrays, bytes by which pointers move with one of them, and the place of the
    size that counts them, `times` for each. `more` adds to the result of a product."""

    cluster: Cluster
    row: Row
    steps: list[int]
    place: int
    times: int = 1
    more: Row | None = None
    private: Sequence[split.Private] = ()


def rows(lowering: _Lowering, group: Group) -> list[Row] | None:
    """The rows of a group, None where a kernel does not go by rows."""
    back = lowering.undo()
    found = _rows(lowering, group)
    if found is None:
        back()
    return found


def _rows(lowering: _Lowering, group: Group) -> list[Row] | None:
    members: list[_Member] = []
    for cluster in group.clusters:
        member = _product(lowering, cluster, group) if cluster.kind == "dot" else _nest(lowering, cluster, group)
        if member is None:
            return None
        members.append(member)
    return _Together(lowering, group, members).rows()


def _product(lowering: _Lowering, cluster: Cluster, group: Group) -> _Member | None:
    """A product whose left operand has the rows, or which sums over them."""
    node = cluster.nodes[0]
    lowering.check_operands(node)
    row = products.dot(lowering, node)
    if len(row.pointers) != 5:
        return None  # loops, with extents in their text
    x, y = (products.operand_of(lowering, node, k) for k in (0, 1))
    width = node.aval.dtype.itemsize
    if node.index not in group.totals:
        return _Member(cluster, row, [x[2][0] * width, 0, row.sizes[1] * width, 0, 0], 0)
    return _Member(cluster, row, [x[2][-1] * width, y[2][0] * width, 0, 0, 0], 2, more=products.dot_more(lowering, node))


def _nest(lowering: _Lowering, cluster: Cluster, group: Group, apart: bool = False) -> _Member | None:
    """A nest whose outermost axis are the rows."""
    writer = lowering.writer(cluster, apart)
    row = writer.write()
    text = writer.written
    found = _axis(text, group.extent) if text is not None else None
    if row is None or text is None or found is None:
        return None
    axis, times = found
    moves = split.strides_along(writer, row, text, axis)
    if moves is None:
        return None if apart else _nest(lowering, cluster, group, True)
    steps = [each * times for each in moves]
    private = split.private_memory(writer, cluster, row, steps)
    row.streamed = None
    return None if private is None else _Member(cluster, row, steps, text.first + axis, times, private=private)


def _axis(text: NestText, extent: int) -> tuple[int, int] | None:
    """The axis of a nest's text that has the first axis of its space, and how many of its elements are a row."""
    for axis, (length, reduced, strides) in enumerate(text.axes):
        times, rest = divmod(length, extent)
        if rest or (reduced and text.nest.has_rows) or text.extents[axis].isdigit():
            continue
        if all(each.strides[0] == times * stride for each, stride in zip(text.nest.accesses, strides, strict=True)):
            return axis, times
    return None


class _Together:
    """Rows of a group: panels, chunks, and memory of either."""

    def __init__(self, lowering: _Lowering, group: Group, members: list[_Member]) -> None:
        self.lowering, self.group, self.members = lowering, group, members
        self.made = {node.index: node for member in members for node in member.cluster.nodes}
        self.length = self.panel()
        self.count = -(-group.extent // self.length)
        self.local: dict[Home, tuple[int, int]] = {}  # bytes of a row, and of a panel where that is all there is of it
        self.chunks = self.chunk = 0
        self.fits = True
        self.behind: list[Row] = []

    def rows(self) -> list[Row] | None:
        if self.count < 2 or not self.find_local():
            return None
        self.divide()
        parts = [part for member in self.members for part in self.parts(member)]
        pointers = [ref for part in parts for ref in part.row.pointers]
        what = " and ".join(dict.fromkeys(member.row.what for member in self.members))
        flops = sum(member.row.flops for member in self.members)
        made = Row(split.SPLIT, pointers, [], what, flops, panels=Panels(self.count, self.chunk, self.chunks, parts))
        return [made, *self.behind] if self.fits and len(pointers) <= MOST else None

    def panel(self) -> int:
        """Rows of a panel: as many as the cache holds, and small products where that leaves some."""
        length = PANEL // max(self.group.row_bytes, 1)
        for member in self.members:
            if member.cluster.kind == "dot":
                extents = member.row.sizes[:3]
                others = extents[0] * extents[1] * extents[2] // self.group.extent
                small = NEAREST // member.cluster.nodes[0].aval.dtype.itemsize if 1 in extents[:2] else SMALL
                length = min(length, small // max(others, 1)) if small >= LEAST * others else length
        return max(length - length % UNIT, LEAST)

    def find_local(self) -> bool:
        """Find memory that the group writes row by row; False where it is not written so."""
        graph, lowering = self.lowering.graph, self.lowering
        private = {own.node.index for member in self.members for own in member.private}
        for node in self.made.values():
            home = lowering.homes.get(node.index)
            if home is None or node.index in private or node.index in self.group.totals:
                continue
            if home[0] != "buffer" or node.aval.shape[:1] != (self.group.extent,):
                return False
            step = node.aval.nbytes // self.group.extent
            alone = not graph.is_output(node) and not self.is_read_elsewhere(node)
            self.local[home] = step, -(-self.length * step // 64) * 64 if alone else 0
        return True

    def is_read_elsewhere(self, node: Node) -> bool:
        """Does anybody but the group read a value, or a view of it?"""
        graph = self.lowering.graph
        users = [user for user, _ in graph.users(node) if user.index not in self.made]
        return any(not is_view(user) or graph.is_output(user) or self.is_read_elsewhere(user) for user in users)

    def divide(self) -> None:
        """Decide how many chunks there are, and make room for what each has for itself."""
        buffers = self.lowering.buffers
        sums = [self.made[index].aval.nbytes for index in self.group.totals]
        rows = [own.nbytes for member in self.members for own in member.private if own.node.index in member.cluster.row_buffers]
        private = sum(sums) + sum(rows) + sum(panel for _, panel in self.local.values())
        nanoseconds = sum(member.row.flops for member in self.members) / FLOPS + self.group.saved * MOVED
        most = max(1, int(self.group.saved / (PRIVATE * max(private, 1))))
        wanted = min(split.wanted(nanoseconds), self.count, 1 << (most.bit_length() - 1))
        self.chunk = -(-self.count // wanted)
        self.chunks = -(-self.count // self.chunk)
        for home, (_, panel) in self.local.items():
            if panel:
                buffers[home[1]] = self.chunks * panel

    def parts(self, member: _Member) -> list[Part]:
        """The part of a cluster, or the two of a product that sums over the rows."""
        steps = [step * self.length for step in member.steps]
        own = [0] * len(steps)
        private = {each.pointer: each for each in member.private}
        for number, ref in enumerate(member.row.pointers):
            if isinstance(ref, str):
                continue
            if number in private:
                self.own_total(member, private[number], steps, own)
            elif ref.home in self.local:
                step, panel = self.local[ref.home]
                self.fits = self.fits and member.steps[number] == step
                if panel:
                    steps[number], own[number] = 0, panel
        rest = (self.group.extent - (self.count - 1) * self.length) * member.times
        last = list(member.row.sizes)
        last[member.place] = rest
        member.row.sizes[member.place] = self.length * member.times
        if member.more is None:
            return [Part(member.row, ALWAYS, steps, own, last)]
        if self.chunks > 1:
            self.own_sum(member, own)
        member.more.pointers[2], member.more.sizes = member.row.pointers[2], member.row.sizes
        return [Part(member.row, FIRST, steps, own, last), Part(member.more, LATER, steps, own, last)]

    def own_total(self, member: _Member, each: split.Private, steps: list[int], own: list[int]) -> None:
        """Memory of a nest's total for each panel, or of a value kept for one row for each chunk."""
        buffers, row = self.lowering.buffers, member.row
        if each.node.index in member.cluster.row_buffers:
            buffers[self.lowering.homes[each.node.index][1]] = self.chunks * each.nbytes
            own[each.pointer] = each.nbytes
            return
        target, parts = row.pointers[each.pointer], Ref(("buffer", len(buffers)))
        assert isinstance(target, Ref)
        buffers.append(self.count * each.nbytes)
        row.pointers[each.pointer] = parts
        steps[each.pointer] = each.nbytes
        self.behind.append(split.combining(each, parts, target, self.count))

    def own_sum(self, member: _Member, own: list[int]) -> None:
        """Memory of a product's result for each chunk."""
        (node,) = member.cluster.nodes
        buffers, target, dtype = self.lowering.buffers, member.row.pointers[2], node.aval.dtype
        assert isinstance(target, Ref)
        nbytes = -(-node.aval.nbytes // 64) * 64
        parts = Ref(("buffer", len(buffers)))
        buffers.append(self.chunks * nbytes)
        member.row.pointers[2], own[2] = parts, nbytes
        total = Reduction("a0", "sum", dtype.name, literal(0, dtype), "v1", lambda a, v: plus(a, v, dtype))
        self.behind.append(split.combined(node, total, nbytes, parts, target, self.chunks))
