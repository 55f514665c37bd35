"""A plan: how a template's graph becomes kernels, before any text is written.

A `View` says where a value lives: over the memory of which root node, from which offset, by which strides (in elements).
A `Cluster` is one kernel: nodes before, inside and after at most one loop nest over `space`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from irgrad.ir.graph import Graph, Node
from irgrad.ir.primitive import ELEMENTWISE, VIEW
from irgrad.ir.recording import TINY

Terms = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class View:
    """Memory of a value: `offset` elements into `root`, plus, for each term (k, strides), start k of the instance times strides."""

    root: Node
    strides: tuple[int, ...]
    offset: int = 0
    terms: Terms = ()

    @property
    def where(self) -> tuple[int, int, Terms]:
        return (self.root.index, self.offset, self.terms)


@dataclass
class Cluster:
    """One kernel. `kind` is "scalar", "nest" or the name of a primitive with a kernel of its own (or "host").

    A nest may have several loops over each row of its space, one a stage: `stage` numbers the nodes inside, those `by_row` are
    code in front of the stage's loop, `loops` has the nodes that each loop computes, `row_buffers` what is kept for later loops.
    Totals `by_column`, of all rows, are accumulated in memory as the rows pass.
    Where rows have a few elements only, `unrolled`, there are no loops over them, and the loop over the rows is vectorised.
    Where what is reduced lies across memory, a "row" is a column, and `panel` of them that lie side by side go through the stages
    together.
    """

    kind: str
    space: tuple[int, ...] | None = None
    reduced: tuple[int, ...] | None = None
    before: list[Node] = field(default_factory=list)
    inside: list[Node] = field(default_factory=list)
    after: list[Node] = field(default_factory=list)
    stage: dict[int, int] = field(default_factory=dict)
    by_row: set[int] = field(default_factory=set)
    by_column: set[int] = field(default_factory=set)
    loops: list[set[int]] = field(default_factory=list)
    row_buffers: set[int] = field(default_factory=set)
    unrolled: bool = False
    panel: int = 0

    @property
    def has_rows(self) -> bool:
        """Is there more than one loop over each row, or code once a row?"""
        return bool(self.by_row or self.by_column) or any(self.stage.values())

    @property
    def nodes(self) -> list[Node]:
        return [*self.before, *self.inside, *self.after]


@dataclass(frozen=True, slots=True)
class Group:
    """Clusters that go through arrays of `extent` rows together, a panel of rows at a time.

    `totals` are values that are there when all rows are done, by the node's index; `row_bytes` what a panel reads again of each row,
    `saved` the bytes that are not moved for it.
    """

    extent: int
    clusters: list[Cluster]
    totals: frozenset[int]
    row_bytes: int
    saved: int


@dataclass
class Plan:
    """Clusters in execution order, and where each value that has memory lives."""

    graph: Graph
    clusters: list[Cluster]
    views: dict[int, View]  # of inputs, views and every node once it is given memory
    stored: set[int]  # nodes that need memory of their own
    updates: dict[int, Node]  # buffers changed in place: node -> the node or input whose memory it takes over
    parts: set[int] = field(default_factory=set)  # nodes that live in the memory of a concatenation, each in a region of its own
    groups: dict[int, Group] = field(default_factory=dict)  # by the place of their first cluster


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a C-contiguous array."""
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def view_through(node: Node, source: View) -> View | None:
    """The view that a VIEW node gives over its operand's memory; None where its elements have to be copied."""
    assert node.op is not None
    name, params = node.op.name, node.params
    shape = node.operands[0].aval.shape
    strides = source.strides
    if name == "transpose":
        return View(source.root, tuple(strides[a] for a in params["axes"]), source.offset, source.terms)
    if name == "broadcast_to":
        new = node.aval.shape
        extra = len(new) - len(shape)
        kept = tuple(0 if n == 1 and m != 1 else s for s, n, m in zip(strides, shape, new[extra:], strict=True))
        return View(source.root, (0,) * extra + kept, source.offset, source.terms)
    if name == "slice":
        start, step, drop = params["start"], params["step"], params["drop"]
        kept = tuple(s * d for axis, (s, d) in enumerate(zip(strides, step, strict=True)) if axis not in drop)
        dynamic = params.get("dynamic")
        if dynamic is None:
            return View(source.root, kept, source.offset + sum(a * s for a, s in zip(start, strides, strict=True)), source.terms)
        return View(source.root, kept, source.offset, (*source.terms, (dynamic, strides)))
    if name == "window":
        if strides != contiguous(shape):
            return None
        first, back = source.offset + (shape[0] - params["shape"][0]) * strides[0], tuple(-s for s in strides)
        dynamic = params.get("dynamic")
        if dynamic is None:
            return View(source.root, strides, first + sum(a * s for a, s in zip(params["start"], back, strict=True)), source.terms)
        return View(source.root, strides, first, (*source.terms, (dynamic, back)))
    if name == "reshape":
        new_strides = reshape_strides(shape, strides, node.aval.shape)
        return None if new_strides is None else View(source.root, new_strides, source.offset, source.terms)
    return None


def region_view(node: Node, buffer: View) -> View:
    """The view that an update writes: its params are those of a slice."""
    params = node.params
    start, step, drop = params["start"], params["step"], params["drop"]
    kept = tuple(s * d for axis, (s, d) in enumerate(zip(buffer.strides, step, strict=True)) if axis not in drop)
    dynamic = params.get("dynamic")
    if dynamic is None:
        return View(buffer.root, kept, buffer.offset + sum(a * s for a, s in zip(start, buffer.strides, strict=True)), buffer.terms)
    return View(buffer.root, kept, buffer.offset, (*buffer.terms, (dynamic, buffer.strides)))


def layout_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[bool, bool]:
    """Can BLAS read a matrix by rows (unit column stride), by columns?"""
    rows, columns = shape
    by_rows = (strides[1] == 1 or columns == 1) and (rows == 1 or strides[0] >= max(columns, 1))
    by_columns = (strides[0] == 1 or rows == 1) and (columns == 1 or strides[1] >= max(rows, 1))
    return by_rows, by_columns


def reshape_strides(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of a reshape without a copy, None where there are none (numpy's rule)."""
    if 0 in shape or 0 in new:
        return contiguous(new)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    position = 0
    i = 0
    while i < len(new):
        if new[i] == 1:
            result.append(0)
            i += 1
            continue
        if position >= len(old):
            return None
        have, want = old[position][0], new[i]
        last_old, last_new = position + 1, i + 1
        while have != want:
            if have < want:
                if last_old >= len(old):
                    return None
                have *= old[last_old][0]
                last_old += 1
            else:
                if last_new >= len(new):
                    return None
                want *= new[last_new]
                last_new += 1
        for j in range(position, last_old - 1):
            if old[j][1] != old[j + 1][0] * old[j + 1][1]:
                return None
        step = old[last_old - 1][1]
        part: list[int] = []
        for n in reversed(new[i:last_new]):
            part.append(step)
            step *= n
        result.extend(reversed(part))
        position, i = last_old, last_new
    return tuple(result)


def is_view(node: Node) -> bool:
    return node.op is not None and node.op.has(VIEW)


_CALL = re.compile(r"([A-Za-z_]\w*)\(")
_CHEAP_CALLS = frozenset({"select", "fabs", "maximum", "minimum", "fmax", "fmin", "real", "imag", "conj", "sign", "square"})


def is_cheap(node: Node) -> bool:
    """Does an elementwise operation cost no more than a load or two?"""
    op = node.op
    if op is None:
        return False
    if op.name in ("convert", "full", "zeros"):
        return True
    if op.name == "integer_pow":
        return 1 <= node.params["n"] <= 3 and node.aval.dtype.kind == "f"
    texts = [op.emit] if isinstance(op.emit, str) else list((op.emit or {}).values())
    if not op.has(ELEMENTWISE) or not texts:
        return False
    return all("/" not in text and set(_CALL.findall(text)) <= _CHEAP_CALLS for text in texts)


def is_tiny(node: Node) -> bool:
    return node.aval.size <= TINY
