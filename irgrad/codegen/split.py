"""Large rows in chunks: which kernels may be split, along which axis, and what combines the totals of the chunks.

A chunk is the kernel as it is, on a part of one axis of its nest: pointers move by whole chunks, and the extent of the axis is that of a
chunk. So nothing is compiled for it, and an elementwise result has the same bits either way. Totals over the split axis go to
memory of each chunk, and a row behind it adds them up, in the order of the chunks. Scalar code around the nest becomes rows of its
own where it must run once.

What is split, and how, depends on the kernel and its sizes alone, never on how many threads there are: SPLIT runs the chunks one after
the other, or has the team (`irgrad.codegen.team`) do it, with the same bits.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from irgrad.codegen.folds import fold
from irgrad.codegen.lowered import Chunks, Ref, Row
from irgrad.codegen.nest import Nest, NestText, Reduction
from irgrad.ir.graph import Node
from irgrad.ir.plan import Cluster, Plan, contiguous, is_cheap
from irgrad.ir.primitive import ELEMENTWISE, UPDATE

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering, _Writer

LEAST = 80_000  # nanoseconds that a row must be expected to take: to wake a thread costs up to 30,000
CHUNK = 40_000  # nanoseconds of a chunk, until there are
MOST = 32  # chunks
FEW = 8  # chunks that may each have memory for a row, where that of all does not fit into a cache
UNIT = 128  # elements of the innermost loop that stay together: blocks of sums, vectors, lines of the cache
NEAR, FAR = 0.01, 0.06  # nanoseconds a byte in and out of the cache of a core, which has about
CACHE = 1 << 20  # bytes

CALLED, CALLED_CHUNK = 2, 3  # places in the size table of SPLIT

SPLIT = """def kernel(p, n):
    team = size(n, 0)
    counts = size(n, 1)
    chunk = size(n, 3)
    count = size(n, 4)
    record = stack(512)
    put(record, 0, chunk)
    put(record, 1, team)
    put(record, 2, p)
    put(record, 3, n)
    entry = size(team, 0) if count > 1 else 0
    if entry != 0:
        status = call_kernel(entry, record, count)
        if status >= 0:
            put(counts, 0, size(counts, 0) + 1)
            return status
    for c in range(count):
        status = call_kernel(chunk, record, c)
        if status != 0:
            return status
    return 0
"""

CHUNK_OF = """def kernel(p, n):
    pointers = size(p, 2)
    sizes = size(p, 3)
    count = size(sizes, 5)
    slots = stack(512)
    for j in range(count):
        put(slots, j, size(pointers, j) + n * size(sizes, 7 + j))
    table = sizes + 56 + 8 * count
    if n + 1 == size(sizes, 4):
        table += 8 * size(sizes, 6)
    return call_kernel(size(sizes, 2), slots, table)
"""


def table(team: int, counts: int, row: Row) -> list[int]:
    """The size table of SPLIT for a row: addresses, numbers of chunks, pointers and sizes, steps of the pointers, both size tables.

    The addresses at CALLED and CALLED_CHUNK, of the row's kernel and of CHUNK_OF, are for others to fill in.
    """
    chunks = row.chunks
    assert chunks is not None
    return [team, counts, 0, 0, chunks.count, len(row.pointers), len(row.sizes), *chunks.steps, *row.sizes, *chunks.last]


# ---- what a row costs ----

_CALL = re.compile(r"([A-Za-z_]\w*)\(")
_VECTOR = frozenset({"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sin", "cos", "erf", "sqrt"})


def nanoseconds(node: Node) -> float:
    """About what one element of a node costs in a nest whose data are in the cache."""
    op = node.op
    assert op is not None
    dtype = (node.operands[0] if node.operands else node).aval.dtype
    width = 4.0 if dtype.kind == "c" else dtype.itemsize / 8
    if is_cheap(node) or not op.has(ELEMENTWISE):
        return 0.1 * width
    text = op.emit if isinstance(op.emit, str) else (op.emit or {}).get(dtype.kind, "")
    calls = set(_CALL.findall(text)) - {"select", "fabs"}
    if not calls:
        return 0.5 * width
    return (1.0 if calls <= _VECTOR and dtype.kind == "f" else 6.0) * width


def cost(cluster: Cluster, plan: Plan) -> float:
    """Nanoseconds that a nest is expected to take."""
    total = 0.0
    inside = {node.index for node in cluster.inside}
    memory: dict[int, int] = {}  # bytes of what is read and written
    for node in cluster.inside:
        assert node.op is not None
        is_update = node.op.has(UPDATE)
        count = math.prod(node.params["count"]) if is_update else max(o.aval.size for o in (node, *node.operands))
        total += count * nanoseconds(node)
        if node.index in plan.stored:
            memory[node.index] = count * node.aval.dtype.itemsize
        memory |= {o.index: o.aval.nbytes for o in node.operands[is_update:] if isinstance(o, Node) and o.index not in inside}
    moved = sum(memory.values())
    return total + (NEAR + (FAR - NEAR) * (moved > CACHE)) * moved


def wanted(nanoseconds: float) -> int:
    """How many chunks a row of this cost should have: a power of two, 1 where it is not worth it."""
    if nanoseconds < LEAST:
        return 1
    return min(MOST, 1 << max(int(math.log2(max(nanoseconds, 1.0) / CHUNK)), 1))


def parts(nanoseconds: float, extent: int, unit: int = 1) -> tuple[int, int]:
    """How many chunks, and how long, an axis of that extent is split into, in whole units: (1, extent) where it is not."""
    count = min(wanted(nanoseconds), extent // unit)
    if count < 2:
        return 1, extent
    length = -(-extent // (count * unit)) * unit
    return -(-extent // length), length


def divide(row: Row, nanoseconds: float, place: int, steps: list[int], unit: int = 1) -> None:
    """Split a row with a kernel of its own along a loop whose extent is at `place` of its sizes, where the row costs enough.

    `steps` are the bytes by which pointers move with an iteration; the iterations have nothing to do with each other.
    """
    row.cost = nanoseconds
    extent = row.sizes[place]
    count, length = parts(nanoseconds, extent, unit)
    if count > 1:
        last = list(row.sizes)
        last[place] = extent - (count - 1) * length
        row.sizes[place] = length
        row.chunks = Chunks(count, [step * length for step in steps], last)


# ---- clusters ----


def rows(lowering: _Lowering, cluster: Cluster) -> list[Row] | None:
    """The rows of a large nest in chunks, None where it is small or cannot be split."""
    count = wanted(cost(cluster, lowering.plan)) if cluster.kind == "nest" else 1
    if cluster.row_buffers:
        count = min(count, max(FEW, CACHE // lowering.row_bytes(cluster)))
    names = [node.op.name for node in cluster.inside if node.op is not None]
    if count < 2 or "iota" in names or names.count("slice_add") > 1:  # additions to regions of one buffer overlap
        return None
    back = lowering.undo()
    first, nest, last = _parts(lowering, cluster)
    made: list[Row | None] = [lowering.write(first)] if first is not None else []
    found = _chunked(lowering, nest, count)
    if found is None:
        back()
        return None
    made += found
    if last is not None:
        made.append(lowering.write(last))
    return [row for row in made if row is not None]


def _parts(lowering: _Lowering, cluster: Cluster) -> tuple[Cluster | None, Cluster, Cluster | None]:
    """Scalar code that must run once, the nest, and scalar code behind it; what crosses over is stored."""
    plan = lowering.plan
    before = {node.index for node in cluster.before}

    def read_by(nodes: list[Node]) -> set[int]:
        views = [(o, plan.views.get(o.index)) for node in nodes for o in node.operands if isinstance(o, Node)]
        return {(operand if view is None else view.root).index for operand, view in views}

    late = read_by(cluster.after)
    updates = any(node.op is not None and node.op.has(UPDATE) for node in (*cluster.before, *cluster.inside))
    once = bool(before) and (updates or bool(before & (late | plan.stored)))
    plan.stored |= late & {node.index for node in cluster.inside}
    if once:
        plan.stored |= before & (late | read_by(cluster.inside))
    nest = replace(cluster, before=[] if once else cluster.before, after=[])
    last = Cluster("scalar", before=cluster.after) if cluster.after else None
    return (Cluster("scalar", before=cluster.before) if once else None), nest, last


@dataclass(slots=True)
class Private:
    """Memory that each chunk has for itself: of a total, whose parts a row adds up, or of a value kept for one row."""

    pointer: int
    node: Node
    nbytes: int


def _chunked(lowering: _Lowering, cluster: Cluster, count: int, apart: bool = False) -> list[Row] | None:
    """The row of a nest with its chunks, and the rows that combine its totals.

    An array that is read in two ways, along the axis and not, needs a pointer for each: it is written again, `apart`.
    """
    writer = lowering.writer(cluster, apart)
    row = writer.write()
    text = writer.written
    if row is None or text is None:
        return None
    chosen = _axis(text, count, cluster.has_rows)
    if chosen is None:
        return None
    axis, length = chosen
    extent = text.axes[axis][0]
    count = -(-extent // length)
    moves = strides_along(writer, row, text, axis)
    if moves is None:
        return None if apart else _chunked(lowering, cluster, count, True)
    steps = [each * length for each in moves]
    private = private_memory(writer, cluster, row, steps)
    if private is None:
        return None
    added: list[Row] = []
    for own in private:
        steps[own.pointer] = own.nbytes
        if own.node.index in cluster.row_buffers:
            lowering.buffers[lowering.homes[own.node.index][1]] = count * own.nbytes
            continue
        target, buffer = row.pointers[own.pointer], len(lowering.buffers)
        assert isinstance(target, Ref)
        lowering.buffers.append(count * own.nbytes)
        row.pointers[own.pointer] = Ref(("buffer", buffer))
        added.append(combining(own, Ref(("buffer", buffer)), target, count))
    last = list(row.sizes)
    last[text.first + axis] = extent - (count - 1) * length
    row.sizes[text.first + axis] = length
    row.chunks = Chunks(count, steps, last)
    return [row, *added]


def strides_along(writer: _Writer, row: Row, text: NestText, axis: int) -> list[int] | None:
    """Bytes by which each pointer of a nest moves with an axis of its text; None where one moves in two ways."""
    dtypes = {int(name[1:]): np.dtype(key[1]) for key, name in writer.pointers.items() if isinstance(key, tuple)}
    moves: list[set[int]] = [set() for _ in row.pointers]
    for number, access in enumerate(text.nest.accesses):
        moves[int(access.pointer[1:])].add(0 if access.local else text.axes[axis][2][number])
    for name in writer.scalars:
        moves[int(name[1:])].add(0)
    if any(len(each) > 1 for each in moves):
        return None
    return [each.pop() * dtypes[j].itemsize if each else 0 for j, each in enumerate(moves)]


def _axis(text: NestText, count: int, has_rows: bool) -> tuple[int, int] | None:
    """Along which axis to split, and how much of it is a chunk: the outermost one that is long enough, kept ones first."""
    best: tuple[int, int] | None = None
    last = len(text.axes) - 1
    for axis, (extent, reduced, _) in sorted(enumerate(text.axes), key=lambda each: each[1][1]):
        if (reduced and has_rows) or text.extents[axis].isdigit():  # an extent in the text is not for chunks to change
            continue
        unit = UNIT if axis == last else 1
        parts = min(count, extent // unit)
        if parts >= 2 and (best is None or parts > best[0]):
            best = parts, axis
    if best is None:
        return None
    parts, axis = best
    unit = UNIT if axis == last else 1
    return axis, -(-text.axes[axis][0] // (parts * unit)) * unit


def private_memory(writer: _Writer, cluster: Cluster, row: Row, steps: list[int]) -> list[Private] | None:
    """The memory that chunks would write to together; None where it is anything but totals and values of a row."""
    lowering = writer.lowering
    owners: dict[str, Node] = {}
    for node in cluster.inside:
        assert node.op is not None
        if node.op.name.startswith("reduce_") or node.index in cluster.row_buffers:
            view = lowering.plan.views.get(node.index)
            key = (lowering.ref(view), node.aval.dtype.name) if view is not None else ()
            owners |= {name: node for known, name in writer.pointers.items() if known[:2] == key}
    found: list[Private] = []
    for name in sorted(set(re.findall(r"store\((p\d+),", row.source))):
        pointer = int(name[1:])
        ref = row.pointers[pointer]
        homes = [other.home for other in row.pointers if isinstance(other, Ref)]
        if isinstance(ref, Ref) and ref not in writer.regions and homes.count(ref.home) > 1:
            return None  # read or written through another pointer too
        if steps[pointer]:
            continue
        owner = owners.get(name)
        if owner is None or not isinstance(ref, Ref) or ref.home[0] != "buffer" or ref.offset or ref.terms:
            return None
        nbytes = lowering.buffers[ref.home[1]] if owner.index in cluster.row_buffers else owner.aval.nbytes
        found.append(Private(pointer, owner, -(-nbytes // 64) * 64))
    return found


def combining(own: Private, parts: Ref, target: Ref, count: int) -> Row:
    """The row that combines the totals of the chunks."""
    node = own.node
    assert node.op is not None
    initial, combine = fold(node, node.operands[0].aval.dtype)
    kind = "sum" if node.op.name == "reduce_sum" and node.aval.dtype.kind in "fc" else "fold"
    total = Reduction("a0", kind, node.aval.dtype.name, initial, "v1", combine)
    return combined(node, total, own.nbytes, parts, target, count)


def combined(node: Node, total: Reduction, nbytes: int, parts: Ref, target: Ref, count: int) -> Row:
    """The row that combines `count` parts of a value, `nbytes` apart."""
    shape, dtype = node.aval.shape, node.aval.dtype
    nest = Nest((count, *shape), (0,))
    nest.access("p0", (nbytes // dtype.itemsize, *contiguous(shape)))
    total.out = nest.access("p1", (0, *contiguous(shape)))
    nest.body.append("v1 = load(p0, @0@)")
    nest.reductions.append(total)
    lines, sizes = NestText(nest, 0).write()
    head = ["def kernel(p, n):", *[f"    p{k} = scoped_{dtype.name}(p, {k}, {k}, 2)" for k in range(2)]]
    text = "\n".join([*head, *[line if line.startswith("    ") else f"    {line}" for line in lines], "    return 0", ""])
    assert node.op is not None
    return Row(text, [parts, target], sizes, node.op.name, node.aval.size * count)
