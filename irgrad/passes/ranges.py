"""Elementwise work on concatenations is done part by part: each range of the whole reads its part, and the whole has no memory.

A component is a concatenation with the elementwise nodes of its shape around it, and the totals that they are added up to. Where nothing
else needs the concatenation, all nodes of the component are cut along its axis: a range of a result is computed from the ranges of
operands, which are parts, or slices of memory. A range of one element has the axis no more, so that rows that are stacked are
nests over one row. What others read of the component is joined again. Totals along the axis are those of the ranges combined.

A component whose totals come back into it (softmax) is cut only where all ranges have one extent and all totals are along the axis: one
nest with several loops takes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from irgrad.ir.aval import Aval, dtype_name
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.primitive import PURE, REGISTRY
from irgrad.ir.sizes import is_any
from irgrad.passes.dce import dce
from irgrad.passes.forms import REDUCTIONS, has_kernel_dtypes, has_text
from irgrad.passes.result import PassResult, has_fuel

LEAST = 64  # elements of a concatenation that is worth it
MOST = 8  # ranges, and
STATEMENTS = 120  # operations of all ranges together
SHORT = 32  # elements of a row of a range, below which a loop over the whole is faster
COMBINED = {"reduce_sum": "add", "reduce_prod": "mul", "reduce_max": "maximum", "reduce_min": "minimum"}
Range = tuple[int, int]  # first element and number of elements


def ranges(graph: Graph) -> PassResult:
    """Cut the components of all concatenations, the last one first: parts may be concatenations."""
    result = PassResult(graph)
    if is_any():
        return result
    for node in reversed(graph.nodes()):
        axis = _axis(graph, node) if node in graph and node.aval.size >= LEAST else None
        if axis is not None:
            component = _Component(graph, node, axis)
            if component.is_worth() and has_fuel():
                component.cut()
                result.count("ranges")
    if result.changed:
        dce(graph)
    return result


def _is_joined(node: Node) -> bool:
    return node.op is not None and node.op.name == "concatenate" and has_kernel_dtypes(node)


def _axis(graph: Graph, node: Node) -> int | None:
    """Along which axis a node may be cut: that of a concatenation, or of the slices by which alone a computed value is read."""
    if _is_joined(node):
        axis: int = node.params["axis"]
        return axis
    if not _is_loop(node) or graph.is_output(node):
        return None
    partial = {k for user, _ in graph.users(node) for k in _cut_axes(user)}
    return partial.pop() if len(partial) == 1 else None


def _cut_axes(user: Node) -> list[int]:
    """The axes along which a node takes a part of its operand; more than there are for what is no slice."""
    if user.op is None or user.op.name != "slice" or user.params.get("dynamic") is not None:
        return [-1, -2]
    return [k for k, n in enumerate(user.operands[0].aval.shape) if user.params["count"][k] != n]


def _is_loop(node: Node) -> bool:
    return node.op is not None and node.op.has(PURE) and has_text(node)


def _extents(node: Node, axis: int) -> list[Range]:
    """The ranges of a concatenation's parts."""
    found, at = [], 0
    for part in node.operands:
        found.append((at, part.aval.shape[axis]))
        at += found[-1][1]
    return [each for each in found if each[1]]


@dataclass
class _Component:
    graph: Graph
    origin: Node
    axis: int
    members: dict[int, Node] = field(default_factory=dict)
    totals: dict[int, Node] = field(default_factory=dict)
    ranges: list[Range] = field(default_factory=list)
    pieces: dict[int, list[Operand]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape = self.origin.aval.shape
        self.collect()
        found = [each for node in self.joined() for each in _extents(node, self.axis)]
        if not _is_joined(self.origin):
            found += [(u.params["start"][self.axis], u.params["count"][self.axis]) for u, _ in self.graph.users(self.origin)]
        ends = sorted({0, self.shape[self.axis]} | {at for at, _ in found} | {at + n for at, n in found})
        self.ranges = [(a, b - a) for a, b in itertools.pairwise(ends)]

    def joined(self) -> list[Node]:
        """The concatenations along the axis."""
        return [node for node in self.members.values() if _is_joined(node) and node.params["axis"] == self.axis]

    def collect(self) -> None:
        """The elementwise nodes and concatenations of one shape that are connected, and their totals."""
        graph, stack = self.graph, [self.origin]
        while stack and 2 * len(self.members) <= STATEMENTS:
            node = stack.pop()
            if node.index in self.members:
                continue
            self.members[node.index] = node
            near = [user for user, _ in graph.users(node)] + ([] if _is_joined(node) else [o for o in node.operands if isinstance(o, Node)])
            for other in near:
                if other.aval.shape == self.shape and (_is_loop(other) or (_is_joined(other) and other.params["axis"] == self.axis)):
                    stack.append(other)
        for node in self.members.values():
            for user, _ in graph.users(node):
                if user.op is not None and user.op.name in COMBINED and user.aval.dtype == node.aval.dtype and node.aval.dtype.kind == "f":
                    self.totals[user.index] = user

    # -- is it worth it ----------------------------------------------------------------------------------------------

    def is_worth(self) -> bool:
        """Does a concatenation go, within the limits, and without totals that come back?"""
        count = len(self.ranges)
        if not 1 < count <= MOST or count * len(self.members) > STATEMENTS or self.has_short_rows() or not self.can_cut():
            return False
        if not any(_is_loop(node) for node in self.members.values()) and not self.totals:
            return False
        if not any(self.is_absorbed(node) for node in [*self.joined(), self.origin]):
            return False
        extents = {n for _, n in self.ranges}
        alike = len(extents) == 1 and all(self.axis in node.params["axes"] for node in self.totals.values())
        return alike or extents == {1} or not self.has_feedback()

    def has_short_rows(self) -> bool:
        """Are there rows in a range, of a few elements each? A column is no row."""
        behind = math.prod(self.shape[self.axis + 1 :])
        return math.prod(self.shape[: self.axis]) > 1 and any(1 < n * behind < SHORT for _, n in self.ranges)

    def can_cut(self) -> bool:
        """Are all operands arrays that have ranges, and all parts ranges of what needs no more memory?"""
        literals = (o for node in self.members.values() for o in node.operands if isinstance(o, Literal))
        if any(literal.aval.shape for literal in literals):
            return False
        for node in self.joined():
            at = 0
            for part in node.operands:
                n = part.aval.shape[self.axis]
                whole = not n or (at, n) in self.ranges
                if not whole and (isinstance(part, Literal) or not _is_memory(part)):
                    return False
                at += n
        return True

    def is_absorbed(self, node: Node) -> bool:
        """Does everybody who reads a concatenation read it by ranges?"""
        users = [user for user, _ in self.graph.users(node)]
        return not self.graph.is_output(node) and all(u.index in self.members or u.index in self.totals or self.is_range(u) for u in users)

    def is_range(self, user: Node) -> bool:
        return self.range_of(user) is not None

    def range_of(self, user: Node) -> int | None:
        """Which range a slice takes."""
        if user.op is None or user.op.name != "slice" or user.params.get("dynamic") is not None:
            return None
        start, count, step = user.params["start"], user.params["count"], user.params["step"]
        for axis, n in enumerate(self.shape):
            if (step[axis] != 1 and count[axis] != 1) or (axis != self.axis and count[axis] != n):
                return None
        wanted = (start[self.axis], count[self.axis])
        return self.ranges.index(wanted) if wanted in self.ranges else None

    def has_feedback(self) -> bool:
        """Does a member depend on a total of members?"""
        tainted: set[int] = set(self.totals)
        for node in self.graph.nodes():
            if any(isinstance(o, Node) and o.index in tainted for o in node.operands):
                if node.index in self.members:
                    return True
                tainted.add(node.index)
        return False

    # -- the cut -----------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        nodes = [node for node in self.graph.nodes() if node.index in self.members or node.index in self.totals]
        for node in nodes:
            if node.index in self.totals:
                self.graph.replace_uses(node, self.total(node))
            else:
                self.pieces[node.index] = self.pieces_of(node)
        for node in reversed(nodes):
            if node.index in self.members:
                self.replace(node)
            if not self.graph.num_users(node) and not self.graph.is_output(node):
                self.graph.remove(node)

    def drops(self, number: int) -> bool:
        return self.ranges[number][1] == 1

    def piece_shape(self, number: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        axis, n = self.axis, self.ranges[number][1]
        return (*shape[:axis], *(() if n == 1 else (n,)), *shape[axis + 1 :])

    def pieces_of(self, node: Node) -> list[Operand]:
        if node in self.joined():
            return [self.part(node, number) for number in range(len(self.ranges))]
        assert node.op is not None
        made: list[Operand] = []
        for number in range(len(self.ranges)):
            operands = [self.taken(node, operand, number) for operand in node.operands]
            aval = Aval(self.piece_shape(number, self.shape), node.aval.dtype)
            made.append(self.graph.add_from(node, node.op, operands, node.params, aval))
        return made

    def part(self, node: Node, number: int) -> Operand:
        """The range of a concatenation: a part, or a slice of one."""
        first, n = self.ranges[number]
        at = 0
        for part in node.operands:
            extent = part.aval.shape[self.axis]
            if at <= first and first + n <= at + extent:
                return self.sliced(node, part, self.axis, first - at, n)
            at += extent
        raise AssertionError("ranges end where parts end")

    def taken(self, node: Node, operand: Operand, number: int) -> Operand:
        """What a range of `node` reads of an operand."""
        if isinstance(operand, Literal):
            return operand
        known = self.pieces.get(operand.index)
        if known is not None:
            return known[number]
        axis = self.axis - (len(self.shape) - operand.aval.ndim)
        if axis < 0:
            return operand
        first, n = self.ranges[number]
        if operand.aval.shape[axis] == 1:
            return self.sliced(node, operand, axis, 0, 1) if n == 1 else operand
        return self.sliced(node, operand, axis, first, n)

    def sliced(self, node: Node, x: Operand, axis: int, first: int, n: int) -> Operand:
        """A range of a value along an axis, which goes where there is one element, read through what spreads or grows values."""
        shape = x.aval.shape
        if first == 0 and n == shape[axis] and n != 1:
            return x
        wanted = (*shape[:axis], *(() if n == 1 else (n,)), *shape[axis + 1 :])
        if isinstance(x, Literal):
            return self.graph.add_from(node, REGISTRY["full"], (x,), {"shape": wanted, "dtype": dtype_name(x.aval.dtype)}) if shape else x
        if x.op is not None:
            inner = x.operands[0] if x.operands else x
            if x.op.name == "reshape" and n == 1 == shape[axis] and inner.aval.shape == wanted:
                return inner
            if x.op.name == "broadcast_to":
                lower = axis - (len(shape) - inner.aval.ndim)
                if lower < 0:
                    return inner
                if inner.aval.shape[lower] == 1:
                    return inner if n != 1 else self.sliced(node, inner, lower, 0, 1)
                return self.sliced(node, inner, lower, first, n)
            if x.op.name in ("zeros", "full"):
                return self.graph.add_from(node, x.op, x.operands, dict(x.params, shape=wanted), Aval(wanted, x.aval.dtype))
        params = {
            "start": tuple(first if k == axis else 0 for k in range(len(shape))),
            "count": tuple(n if k == axis else extent for k, extent in enumerate(shape)),
            "step": (1,) * len(shape),
            "drop": (axis,) if n == 1 else (),
        }
        return self.graph.add_from(node, REGISTRY["slice"], (x,), params)

    def total(self, node: Node) -> Operand:
        """Totals of the ranges: combined, or side by side."""
        graph, op = self.graph, node.op
        (x,) = node.operands
        assert op is not None
        assert isinstance(x, Node)
        axes = node.params["axes"]
        along = self.axis in axes
        found: list[Operand] = []
        for number, piece in enumerate(self.pieces[x.index]):
            piece = self.spread(node, piece, number)
            gone = self.drops(number)
            left = tuple(a - (gone and a > self.axis) for a in axes if not (gone and a == self.axis))
            if left:
                kept = tuple(n for k, n in enumerate(piece.aval.shape) if k not in left)
                piece = graph.add_from(node, op, (piece,), dict(node.params, axes=left), Aval(kept, node.aval.dtype))
            found.append(piece)
        if not along:
            return self.together(node, found, self.axis - sum(a < self.axis for a in axes), node.aval.shape)
        combine = REGISTRY[COMBINED[op.name]]
        total = found[0]
        for other in found[1:]:
            total = graph.add_from(node, combine, (total, other), {}, node.aval)
        return total

    def spread(self, node: Node, piece: Operand, number: int) -> Operand:
        """A range in its full shape: parts of what is broadcast may be smaller."""
        shape = self.piece_shape(number, self.shape)
        if piece.aval.shape == shape:
            return piece
        return self.graph.add_from(node, REGISTRY["broadcast_to"], (piece,), {"shape": shape}, Aval(shape, piece.aval.dtype))

    def together(self, node: Node, pieces: Iterable[Operand], axis: int, shape: tuple[int, ...]) -> Node:
        """Ranges joined along an axis, which those of one element get back."""
        parts: list[Operand] = []
        for (_, n), piece in zip(self.ranges, pieces, strict=True):
            wanted = (*shape[:axis], n, *shape[axis + 1 :])
            parts.append(
                piece if piece.aval.shape == wanted else self.graph.add_from(node, REGISTRY["reshape"], (piece,), {"shape": wanted})
            )
        return self.graph.add_from(node, REGISTRY["concatenate"], parts, {"axis": axis}, Aval(shape, node.aval.dtype))

    def replace(self, node: Node) -> None:
        """Let those who read a member read its ranges, or the ranges joined again."""
        graph, pieces = self.graph, self.pieces[node.index]
        for user, _ in list(graph.users(node)):
            number = self.range_of(user)
            if number is not None:
                self.read_piece(user, self.spread(node, pieces[number], number))
        if (graph.num_users(node) or graph.is_output(node)) and node not in self.joined():
            full = [self.spread(node, piece, number) for number, piece in enumerate(pieces)]
            graph.replace_uses(node, self.together(node, full, self.axis, self.shape))

    def read_piece(self, user: Node, piece: Operand) -> None:
        """Put a range in the place of a slice that takes it, and of reshapes of this that only take away its axis of 1."""
        graph, shape = self.graph, user.aval.shape
        for reader, _ in list(graph.users(user)):
            if reader.op is not None and reader.op.name == "reshape" and reader.aval.shape == piece.aval.shape:
                graph.replace_uses(reader, piece)
                graph.remove(reader)
        if piece.aval.shape != shape:
            piece = graph.add_from(user, REGISTRY["reshape"], (piece,), {"shape": shape})
        graph.replace_uses(user, piece)
        graph.remove(user)


def _is_memory(part: Node) -> bool:
    """Is a part there to be read by ranges, without memory that it would not have otherwise?"""
    return not _is_loop(part) and (part.op is None or part.op.name not in REDUCTIONS)
