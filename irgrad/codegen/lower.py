"""Lowering: a plan's clusters to kernel text and rows.

Scalar sections keep arrays of a few elements in variables, one per element; nests read and write through accesses
(`irgrad.codegen.nest`); products and other operations with kernels of their own come from `irgrad.codegen.library`.
Loads happen at their program position, because an update may change the memory that they read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from irgrad.codegen import beside, items, library, panels, polynomial, split, staged, streams
from irgrad.codegen.buffers import share_buffers
from irgrad.codegen.folds import fold, folded
from irgrad.codegen.lowered import Export, HostRow, Lowered, Ref, Row, Streamed
from irgrad.codegen.nest import Nest, NestText, Reduction
from irgrad.codegen.regions import regions
from irgrad.codegen.scalar import ROUTINE, conversion, expand, literal, lone, operand_dtypes, plus, times
from irgrad.errors import InternalError
from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.plan import Cluster, Plan, View, contiguous, region_view, view_through
from irgrad.ir.primitive import UPDATE
from irgrad.ops.index import region_of

_NAME = re.compile(r"v\d+$")
Names = Any  # an object array of variable names, shaped like the value


def lower(plan: Plan) -> Lowered:
    """Rows of a plan."""
    return _Lowering(plan).run()


class _Lowering:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.graph: Graph = plan.graph
        self.homes: dict[int, tuple[str, int]] = {node.index: ("slot", k) for k, node in enumerate(self.graph.inputs)}
        self.buffers: list[int] = []
        self.work: int | None = None  # the buffer that rows use one after the other as work space
        self.changed: set[int] = set()
        self.missing: dict[int, set[int]] = {}  # parts that no kernel has written so far, by the whole that has their memory
        for node in (node for cluster in plan.clusters if plan.parts for node in cluster.nodes if node.index in plan.parts):
            self.missing.setdefault(plan.views[node.index].root.index, set()).add(node.index)

    def run(self) -> Lowered:
        rows: list[Row | HostRow] = []
        written: list[set[beside.Home]] = []
        place = 0
        while place < len(self.plan.clusters):
            group = self.plan.groups.get(place)
            together = panels.rows(self, group) if group is not None else None
            clusters = self.plan.clusters[place : place + (len(group.clusters) if group is not None else 1)]
            for cluster in clusters if together is None else ():
                rows += self.rows(cluster)
                written += [beside.written([cluster], self.plan, self.homes)] * (len(rows) - len(written))
            rows += together or ()
            written += [beside.written(clusters, self.plan, self.homes)] * (len(rows) - len(written))
            place += len(clusters)
        exports = [self.export(output) for output in self.graph.outputs]
        counts = {"clusters": len(rows), "nodes": len(self.graph)}
        rows = beside.grouped(streams.keep_what_is_read(rows), written, self.work, self.buffers)
        return Lowered(len(self.graph.inputs), rows, share_buffers(rows, self.buffers, exports), exports, frozenset(self.changed), counts)

    def rows(self, cluster: Cluster) -> list[Row | HostRow]:
        if cluster.kind == "host":
            self.check_operands(cluster.inside[0])
            return [self.host_row(cluster.inside[0])]
        if cluster.kind == "items":
            return [items.row(self, cluster)]
        if cluster.kind in ("scalar", "nest"):
            found: Sequence[Row | None] = split.rows(self, cluster) or [self.write(cluster)]
            return [row for row in found if row is not None]
        self.check_operands(cluster.inside[0])
        return [library.row(self, cluster.inside[0], cluster.kind)]

    def writer(self, cluster: Cluster, apart: bool = False) -> _Writer:
        return _Writer(self, cluster, apart)

    def write(self, cluster: Cluster) -> Row | None:
        return _Writer(self, cluster).write()

    def home(self, root: Node) -> tuple[str, int]:
        """Slot or buffer of a root; an update lives where its buffer lives."""
        known = self.homes.get(root.index)
        if known is None:
            taken = self.plan.updates.get(root.index)
            if taken is not None:
                known = self.home(self.plan.views[taken.index].root)
                if known[0] == "slot":
                    self.changed.add(known[1])
            else:
                known = ("buffer", len(self.buffers))
                self.buffers.append(root.aval.nbytes)
            self.homes[root.index] = known
        return known

    def scratch(self, nbytes: int) -> tuple[str, int]:
        """The home of work space for one row, shared with the other rows of the template."""
        if self.work is None:
            self.work = len(self.buffers)
            self.buffers.append(0)
        self.buffers[self.work] = max(self.buffers[self.work], nbytes)
        return ("buffer", self.work)

    def row_buffer(self, node: Node, cluster: Cluster) -> None:
        """Give a value of a nest memory for one row, which every row uses."""
        assert cluster.space is not None
        assert cluster.reduced is not None
        size, strides = staged.row_layout(cluster.space, cluster.reduced, cluster.panel)
        self.homes[node.index] = ("buffer", len(self.buffers))
        self.buffers.append(size * node.aval.dtype.itemsize)
        self.plan.views[node.index] = View(node, strides)

    def undo(self) -> Callable[[], None]:
        """What takes back all that is stored, and all memory, from now on."""
        stored, buffers, homes = set(self.plan.stored), list(self.buffers), dict(self.homes)

        def back() -> None:
            self.plan.stored, self.buffers, self.homes = stored, buffers, homes

        return back

    def row_bytes(self, cluster: Cluster) -> int:
        """Bytes of what a nest keeps for one row."""
        elements, _ = staged.row_layout(cluster.space or (), cluster.reduced or (), cluster.panel)
        return sum(elements * node.aval.dtype.itemsize for node in cluster.inside if node.index in cluster.row_buffers)

    def view(self, node: Node) -> View:
        known = self.plan.views.get(node.index)
        if known is None:
            known = self.plan.views[node.index] = View(node, contiguous(node.aval.shape))
        return known

    def ref(self, view: View) -> Ref:
        size = view.root.aval.dtype.itemsize
        terms = tuple((k, tuple(s * size for s in strides)) for k, strides in view.terms)
        return Ref(self.home(view.root), view.offset * size, terms)

    def wrote(self, node: Node) -> None:
        """A kernel has written a value."""
        if node.index in self.plan.parts:
            self.missing[self.plan.views[node.index].root.index].discard(node.index)

    def check_read(self, operand: Node, view: View) -> None:
        """Raise InternalError for memory that no kernel so far writes: clusters, or nodes of one, in a wrong order."""
        missing = self.missing.get(view.root.index, ())
        if view.root.index not in self.homes or (missing and (operand.index in missing or operand.index not in self.plan.parts)):
            raise InternalError(f"a kernel of {self.graph.name} reads {view.root} from memory before it is there")

    def check_operands(self, node: Node) -> None:
        """Check what a row of one operation reads."""
        for operand in node.operands:
            if isinstance(operand, Node):
                self.check_read(operand, self.view(operand))
        self.wrote(node)

    def export(self, output: Operand) -> Export:
        if isinstance(output, Literal):
            return Export(None, output.aval, (), output.aval.dtype.type(output.value))
        view = self.view(output)
        self.check_read(output, view)
        return Export(self.ref(view), output.aval, view.strides)

    def host_row(self, node: Node) -> HostRow:
        operands: list[Any] = []
        for operand, dtype in zip(node.operands, operand_dtypes(node), strict=True):
            if isinstance(operand, Literal):
                operands.append(operand.value if operand.static is False else dtype.type(operand.value))
            else:
                view = self.view(operand)
                size = operand.aval.dtype.itemsize
                operands.append((self.ref(view), operand.aval, tuple(s * size for s in view.strides)))
        assert node.op is not None
        params = {k: v for k, v in node.params.items() if k != "dynamic"}
        return HostRow(node.op, params, operands, (self.ref(self.view(node)), node.aval), node.op.name)


class _Writer:
    """Writes one scalar or nest cluster."""

    def __init__(self, lowering: _Lowering, cluster: Cluster, apart: bool = False) -> None:
        self.apart = apart  # a pointer for each way of walking through an array
        self.lowering = lowering
        self.plan = lowering.plan
        self.cluster = cluster
        self.pointers: dict[Any, str] = {}
        self.regions = regions(lowering, cluster)
        self.scopes: dict[Ref | tuple[str, int], int] = {}  # pointers into one home may overlap, but for regions, others never
        self.table: list[Ref | str] = []
        self.head: list[str] = []
        self.lines: list[str] = []
        self.values: dict[int, Names] = {}
        self.loads: dict[int, Names] = {}
        self.inside: dict[int, str] = {}
        self.inside_loads: dict[Any, str] = {}
        self.by_row: set[int] = set()  # what is in variables for a whole row: totals and code once a row
        self.adding: set[int] = set()  # totals that the loop at hand adds to, and those over all rows
        self.count = 0
        self.sizes: list[int] = []
        self.flops = 0
        self.written: NestText | None = None
        self.scalars: set[str] = set()  # pointers that scalar code reads or writes
        self.streamed: tuple[list[str], set[tuple[str, int]]] | None = None  # the nest past the caches, and where it writes
        self.nest_lines = (0, 0)

    def write(self) -> Row | None:
        for node in self.cluster.before:
            self.scalar(node)
        if self.cluster.inside:
            self.nest()
        for node in self.cluster.after:
            self.scalar(node)
        if not self.table:
            return None
        source = self.source(self.lines)
        what = " ".join(dict.fromkeys(node.op.name for node in self.cluster.nodes if node.op is not None))
        return Row(source, self.table, self.sizes, what, self.flops, streamed=self.streamed_text())

    def streamed_text(self) -> Streamed | None:
        if self.streamed is None:
            return None
        lines, homes = self.streamed
        first, end = self.nest_lines
        return Streamed(self.source([*self.lines[:first], *lines, *self.lines[end:]]), homes)

    def source(self, lines: list[str]) -> str:
        head = [line.replace("{scopes}", str(len(self.scopes))) for line in self.head]
        return "def kernel(p, n):\n" + "".join(f"    {line}\n" for line in [*head, *lines, "return 0"])

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def pointer(self, view: View, dtype: np.dtype[Any]) -> str:
        ref = self.lowering.ref(view)
        key = (ref, dtype_name(dtype), view.strides if self.apart else ())
        known = self.pointers.get(key)
        if known is None:
            known = self.pointers[key] = f"p{len(self.table)}"
            if self.cluster.inside:
                scope = self.scopes.setdefault(ref if ref in self.regions else ref.home, len(self.scopes))
                self.head.append(f"{known} = scoped_{dtype_name(dtype)}(p, {len(self.table)}, {scope}, {{scopes}})")
            else:
                self.head.append(f"{known} = pointer_{dtype_name(dtype)}(p, {len(self.table)})")
            self.table.append(ref)
        return known

    def root_pointer(self, view: View, dtype: np.dtype[Any]) -> str:
        """The pointer of a scalar access: the static offset is an index in the text."""
        name = self.pointer(View(view.root, (), 0, view.terms), dtype)
        self.scalars.add(name)
        return name

    # -- scalar sections ---------------------------------------------------------------------------------------------

    def names(self, operand: Operand, dtype: np.dtype[Any]) -> Names:
        """The variable of each element of a tiny operand; memory is loaded on first use."""
        if isinstance(operand, Literal):
            made = np.empty(np.shape(operand.value), object)
            made[...] = literal(operand.value, dtype)
            return made
        known = self.values.get(operand.index)
        if known is None:
            known = self.number(operand)
        if known is None:
            known = self.loads.get(operand.index)
        if known is None:
            known = self.loads[operand.index] = self.load_all(operand)
        return known

    def number(self, operand: Node) -> Names | None:
        """One number of this cluster, seen through views."""
        view = self.plan.views.get(operand.index)
        if view is None or view.root.aval.size != 1 or view.root.index not in self.values:
            return None
        return np.broadcast_to(self.values[view.root.index].reshape(()), operand.aval.shape)

    def load_all(self, operand: Node) -> Names:
        view = self.lowering.view(operand)
        self.lowering.check_read(operand, view)
        pointer = self.root_pointer(view, operand.aval.dtype)
        made = np.empty(operand.aval.shape, object)
        for index in np.ndindex(*operand.aval.shape):
            at = view.offset + sum(i * s for i, s in zip(index, view.strides, strict=True))
            name = self.fresh()
            self.lines.append(f"{name} = load({pointer}, {at})")
            made[index] = name
        return made

    def scalar(self, node: Node) -> None:
        op = node.op
        assert op is not None
        if node.index in self.plan.updates:
            self.store_region(node)
            return
        dtypes = operand_dtypes(node)
        operands = [self.names(o, d) for o, d in zip(node.operands, dtypes, strict=True)]
        handler = getattr(self, f"tiny_{op.name}", None)
        made = handler(node, *operands) if handler is not None else self.tiny_elementwise(node, operands)
        self.values[node.index] = made
        if node.index in self.plan.stored:
            self.store_all(node, made)

    def store_all(self, node: Node, made: Names) -> None:
        self.lowering.wrote(node)
        view = self.lowering.view(node)
        pointer = self.root_pointer(view, node.aval.dtype)
        for index in np.ndindex(*node.aval.shape):
            at = view.offset + sum(i * s for i, s in zip(index, view.strides, strict=True))
            self.lines.append(f"store({pointer}, {at}, {made[index]})")

    def store_region(self, node: Node) -> None:
        """An update of a few elements of a large buffer."""
        assert node.op is not None
        buffer = node.operands[0]
        assert isinstance(buffer, Node)
        view = region_view(node, self.lowering.view(node))
        shape = tuple(n for axis, n in enumerate(node.params["count"]) if axis not in node.params["drop"])
        values = np.broadcast_to(self.names(node.operands[1], node.aval.dtype), shape)
        pointer = self.root_pointer(view, node.aval.dtype)
        for index in np.ndindex(*shape):
            at = view.offset + sum(i * s for i, s in zip(index, view.strides, strict=True))
            value = str(values[index])
            if node.op.name == "slice_add":
                old = self.fresh()
                self.lines.append(f"{old} = load({pointer}, {at})")
                value = self.let(plus(old, value, node.aval.dtype))
            self.lines.append(f"store({pointer}, {at}, {value})")
        home = self.lowering.home(node)
        self.loads = {k: v for k, v in self.loads.items() if self.lowering.home(self.plan.views[k].root) != home}

    def text(self, node: Node, operands: list[str]) -> str:
        """The scalar text of a node; a routine of scipy is written out, or called by the address that the pointer table has for it."""

        def called(call: re.Match[str]) -> str:
            if node.aval.ndim and polynomial.is_written(call[1]):  # of a single number scipy's answer comes as soon, and without compiling
                return call[0]
            return f"call_real{len(operands)}({self.routine(call[1])}, "

        return ROUTINE.sub(called, expand(node, operands))

    def routine(self, name: str) -> str:
        known = self.pointers.get(name)
        if known is None:
            known = self.pointers[name] = f"routine_{name}"
            self.head.append(f"{known} = size(p, {len(self.table)})")
            self.table.append(f"special:{name}")
        return known

    def let(self, text: str) -> str:
        """The variable that holds `text`, a new one unless it is one."""
        if _NAME.match(text):
            return text
        name = self.fresh()
        self.lines.append(f"{name} = {text}")
        return name

    def tiny_elementwise(self, node: Node, operands: list[Names]) -> Names:
        made = np.empty(node.aval.shape, object)
        spread = [np.broadcast_to(o, node.aval.shape) for o in operands]
        known: dict[tuple[str, ...], str] = {}
        for index in np.ndindex(*node.aval.shape):
            texts = tuple(str(o[index]) for o in spread)
            if texts not in known:
                text = self.text(node, list(texts))
                known[texts] = self.let(text if node.aval.ndim else lone(text))
            made[index] = known[texts]
        return made

    def tiny_reshape(self, node: Node, x: Names) -> Names:
        return x.reshape(node.params["shape"])

    def tiny_transpose(self, node: Node, x: Names) -> Names:
        return x.transpose(node.params["axes"])

    def tiny_broadcast_to(self, node: Node, x: Names) -> Names:
        return np.broadcast_to(x, node.params["shape"])

    def tiny_slice(self, node: Node, x: Names) -> Names:
        found = x[region_of(node.params)]
        if isinstance(found, np.ndarray):
            return found
        made = np.empty((), object)
        made[()] = found
        return made

    def tiny_slice_add(self, node: Node, buffer: Names, x: Names) -> Names:
        return self.changed_region(node, buffer, x, True)

    def tiny_slice_update(self, node: Node, buffer: Names, x: Names) -> Names:
        return self.changed_region(node, buffer, x, False)

    def changed_region(self, node: Node, buffer: Names, x: Names, add: bool) -> Names:
        made = np.array(buffer, object)
        numbers = np.arange(made.size).reshape(made.shape)[region_of(node.params)]
        flat = made.reshape(-1)
        for position, value in zip(np.ravel(numbers), np.ravel(np.broadcast_to(x, np.shape(numbers))), strict=True):
            flat[position] = self.let(plus(flat[position], value, node.aval.dtype)) if add else value
        return flat.reshape(made.shape)

    def tiny_concatenate(self, node: Node, *parts: Names) -> Names:
        return np.concatenate(parts, axis=node.params["axis"])

    def tiny_pad(self, node: Node, x: Names, value: Names) -> Names:
        made = np.empty(node.aval.shape, object)
        made[...] = value[()]
        made[tuple(slice(low, low + n) for low, n in zip(node.params["low"], x.shape, strict=True))] = x
        return made

    def tiny_full(self, node: Node, value: Names) -> Names:
        made = np.empty(node.aval.shape, object)
        made[...] = value[()]
        return made

    def tiny_zeros(self, node: Node) -> Names:
        made = np.empty(node.aval.shape, object)
        made[...] = literal(0, node.aval.dtype)
        return made

    tiny_empty = tiny_zeros

    def tiny_iota(self, node: Node) -> Names:
        made = np.empty(node.aval.shape, object)
        for i in range(node.aval.size):
            made[i] = literal(i, node.aval.dtype)
        return made

    def tiny_cumsum(self, node: Node, x: Names) -> Names:
        moved = np.array(np.moveaxis(x, node.params["axis"], 0), object)
        for i in range(1, len(moved)):
            for index in np.ndindex(*moved.shape[1:]):
                moved[(i, *index)] = self.let(plus(moved[(i - 1, *index)], moved[(i, *index)], node.aval.dtype))
        return np.moveaxis(moved, 0, node.params["axis"])

    def tiny_dot(self, node: Node, x: Names, y: Names) -> Names:
        dtype = node.aval.dtype
        return self.matrix_product(x if x.ndim == 2 else x[None, :], y if y.ndim == 2 else y[:, None], dtype).reshape(node.aval.shape)

    def matrix_product(self, x: Names, y: Names, dtype: np.dtype[Any]) -> Names:
        made = np.empty((x.shape[0], y.shape[1]), object)
        for i, j in np.ndindex(*made.shape):
            terms = [times(x[i, k], y[k, j], dtype) for k in range(x.shape[1])]
            made[i, j] = self.let(reduce(lambda a, b: plus(a, b, dtype), terms)) if terms else literal(0, dtype)
        return made

    def tiny_reduction(self, node: Node, x: Names) -> Names:
        dtype = node.operands[0].aval.dtype
        axes = node.params["axes"]
        flat = np.moveaxis(x, axes, range(len(axes))).reshape((math.prod(x.shape[a] for a in axes), *node.aval.shape))
        made = np.empty(node.aval.shape, object)
        initial, combine = fold(node, dtype)
        for index in np.ndindex(*node.aval.shape):
            column = [str(flat[(i, *index)]) for i in range(len(flat))]
            column = [folded(node, c, dtype) for c in column]
            total = column[0] if column else initial
            for c in column[1:]:
                total = combine(total, c)
            made[index] = self.let(total)
        return made

    tiny_reduce_sum = tiny_reduce_prod = tiny_reduce_max = tiny_reduce_min = tiny_reduce_any = tiny_reduce_all = tiny_reduction

    # -- the nest ----------------------------------------------------------------------------------------------------

    def nest(self) -> None:
        cluster = self.cluster
        assert cluster.space is not None
        nest = Nest(cluster.space, cluster.reduced or (), cluster.unrolled, cluster.panel)
        if cluster.has_rows or cluster.unrolled:
            staged.stages(self, nest)
        else:
            for node in cluster.inside:
                self.in_nest(nest, node)
        text = self.written = NestText(nest, len(self.sizes))
        lines, sizes = text.write()
        self.sizes.extend(sizes)
        self.nest_lines = (len(self.lines), len(self.lines) + len(lines))
        self.lines.extend([line.removeprefix("    ") for line in lines])
        self.streamed = streams.streamed(self, nest, text)
        self.flops += math.prod(cluster.space) * len(cluster.inside)
        for node in cluster.inside:
            total = self.inside.get(node.index)
            total_of_all = node.op is not None and (node.op.name.startswith("reduce_") or node.index in cluster.by_row)
            if total is not None and total_of_all and node.aval.size == 1:
                made = np.empty(node.aval.shape, object)
                made[...] = total
                self.values[node.index] = made
                if node.index in self.plan.stored:
                    self.store_all(node, made)

    def in_nest(self, nest: Nest, node: Node) -> None:
        op = node.op
        assert op is not None
        if op.name.startswith("reduce_"):
            self.reduction(nest, node)
            return
        dtypes = operand_dtypes(node)
        if op.has(UPDATE):
            self.update(nest, node)
            return
        operands = [self.operand(nest, o, d) for o, d in zip(node.operands, dtypes, strict=True)]
        if op.name == "zeros":
            text = literal(0, node.aval.dtype)
        elif op.name == "full":
            text = operands[0]
        elif op.name == "iota":
            text = conversion("i0", np.dtype(np.int64), node.aval.dtype)
        else:
            text = self.text(node, operands)
        name = text
        if not _NAME.match(text):
            name = self.fresh()
            nest.body.append(f"{name} = {text}")
        self.inside[node.index] = name
        at = len(nest.stages) - 1
        if self.cluster.stage[node.index] == at and (node.index in self.plan.stored or node.index in self.cluster.row_buffers):
            self.lowering.wrote(node)
            number = self.access(nest, self.lowering.view(node), node.aval.dtype)
            nest.body.append(f"store({nest.accesses[number].pointer}, @{number}@, {name})")

    def access(self, nest: Nest, view: View, dtype: np.dtype[Any]) -> int:
        pointer = self.pointer(view, dtype)
        extra = len(nest.space) - len(view.strides)
        local = bool(nest.panel) and view.root.index in self.cluster.row_buffers
        return nest.access(pointer, (0,) * extra + view.strides, local)

    def operand(self, nest: Nest, operand: Operand, dtype: np.dtype[Any]) -> str:
        """The text of an operand inside the nest: a variable, a literal, or a load through an access."""
        if isinstance(operand, Literal):
            return literal(operand.value, dtype)
        self.check_total(operand)
        known = self.inside.get(operand.index) or staged.row_name(self, operand)
        if known is not None:
            return known
        value = self.values.get(operand.index, self.number(operand))
        if value is not None:
            return str(value.reshape(-1)[0])
        view = self.lowering.view(operand)
        self.lowering.check_read(operand, view)
        shape = operand.aval.shape
        if operand.aval.size == 1:
            return str(self.names(operand, dtype).reshape(-1)[0])
        strides = tuple(0 if n == 1 else s for n, s in zip(shape, view.strides, strict=True))
        key = (view.where, strides)
        name = self.inside_loads.get(key)
        if name is None:
            number = self.access(nest, View(view.root, strides, view.offset, view.terms), operand.aval.dtype)
            name = self.inside_loads[key] = self.fresh()
            nest.body.append(f"{name} = load({nest.accesses[number].pointer}, @{number}@)")
        return name

    def check_total(self, operand: Node) -> None:
        """Raise InternalError for a total that is read, through views or not, by a loop that still adds to it."""
        view = self.plan.views.get(operand.index)
        root = operand if view is None else view.root
        if root.index in self.adding:
            raise InternalError(f"a kernel of {self.lowering.graph.name} reads the total {root} before it is complete")

    def update(self, nest: Nest, node: Node) -> None:
        assert node.op is not None
        value = self.operand(nest, node.operands[1], node.aval.dtype)
        number = self.access(nest, region_view(node, self.lowering.view(node)), node.aval.dtype)
        pointer = nest.accesses[number].pointer
        if node.op.name == "slice_add":
            name = self.fresh()
            nest.body.append(f"{name} = load({pointer}, @{number}@)")
            value = plus(name, value, node.aval.dtype)
        nest.body.append(f"store({pointer}, @{number}@, {value})")

    def reduction(self, nest: Nest, node: Node) -> None:
        assert node.op is not None
        operand = node.operands[0]
        value = self.operand(nest, operand, operand.aval.dtype)
        value = folded(node, value, operand.aval.dtype)
        initial, combine = fold(node, operand.aval.dtype)
        self.adding.add(node.index)
        if node.index in self.cluster.by_column:
            staged.across(self, nest, node, value, initial, combine)
            return
        kind = "sum" if node.op.name == "reduce_sum" and node.aval.dtype.kind in "fc" else "fold"
        name = f"a{nest.num_reductions}"
        out = None
        if node.aval.size != 1 and node.index in self.plan.stored:
            self.lowering.wrote(node)
            out = nest.access(self.pointer(self.lowering.view(node), node.aval.dtype), staged.strides_of_total(node, len(nest.space)))
        nest.reductions.append(Reduction(name, kind, dtype_name(node.aval.dtype), initial, value, combine, out))
        if not nest.panel:  # where the total of a column is in memory
            self.inside[node.index] = name
            self.by_row.add(node.index)


__all__ = ["lower", "view_through"]
