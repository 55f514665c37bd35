"""Clustering: which nodes of a template share a kernel.

Greedy, in program order: a node joins the earliest cluster that its operands allow and that is compatible. A cluster is straight-line
scalar code (arrays of a few elements live in scalar variables), then at most one loop nest over one space with a trailing
reduction, then scalar code that uses the nest's totals. A costly producer is never duplicated into consumers. Products,
gathers and other special operations are clusters of their own. The graph is legalized (`irgrad.passes.legalize`).
"""

from __future__ import annotations

import math

from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.plan import Cluster, Plan, View, contiguous, is_view, layout_of, region_view, view_through
from irgrad.ir.primitive import REGISTRY, UPDATE
from irgrad.ir.recording import TINY
from irgrad.ir.sizes import is_any
from irgrad.passes.again import Again
from irgrad.passes.forms import (
    FILLS,
    LAPACK,
    LOOPS,
    PRODUCTS,
    REDUCTIONS,
    has_kernel_dtypes,
    has_own_kernel,
    has_text,
    is_reduction,
    is_scalar_form,
    multiplications,
)
from irgrad.passes.items import Items
from irgrad.passes.parts import place_parts
from irgrad.passes.rows import SHORT, Rows, has_columns, is_short, is_total, panel_of, plan_stages, spread
from irgrad.passes.totals import Totals

MAX_POINTERS = 48
STRIDED = PRODUCTS | {"batch_dot"}  # operations that read transposes and slices where they are
MAX_STATEMENTS = 500


def cluster(graph: Graph, strides: list[tuple[int, ...]]) -> Plan:
    """The plan of a legalized graph whose inputs have these strides (in elements)."""
    return _Clustering(graph, strides).run()


class _Clustering:
    def __init__(self, graph: Graph, strides: list[tuple[int, ...]]) -> None:
        self.graph = graph
        self.views: dict[int, View] = {node.index: View(node, s) for node, s in zip(graph.inputs, strides, strict=True)}
        self.clusters: list[Cluster] = []
        self.place: dict[int, tuple[int, str]] = {}  # node -> cluster number, section
        self.stored: set[int] = set()
        self.updates: dict[int, Node] = {}
        self.parts: set[int] = set()  # what lives in the memory of a concatenation
        self.joined: dict[int, list[Node]] = {}  # concatenations, each with what lives in its memory
        self.position: dict[int, float] = {node.index: number for number, node in enumerate(graph.nodes())}
        self.order: dict[int, int] = {}
        self.scalars: dict[int, bool] = {}
        self.costs: list[int] = []
        self.readers: list[set[tuple[int, ...]]] = []
        self.strides: list[set[tuple[int, ...]]] = []  # of what each nest reads, over its space
        self.closed: dict[int, Node] = {}  # clusters with an update of a region, which take few more nodes
        self.rows = Rows(self)
        self.totals = Totals(self)
        self.items = Items(self)

    def run(self) -> Plan:
        place_parts(self)
        self.legalize_memory()
        nodes = self.graph.nodes()
        for number, node in enumerate(nodes):
            self.order[node.index] = number
        self.items.find()
        for node in nodes:
            if not self.is_memory_view(node):
                self.assign(node)
        for output in self.graph.outputs:
            if isinstance(output, Node):
                self.need_memory(output)
        Again(self).run()
        for made in self.clusters:
            if made.kind == "nest":
                self.finish(made)
        return Plan(self.graph, [c for c in self.clusters if c.nodes], self.views, self.stored, self.updates, self.parts)

    # -- memory: views, copies, updates -----------------------------------------------------------------------------

    def legalize_memory(self) -> None:
        """Work out the view of every node that has one; insert copies where a view or an update cannot be had."""
        graph = self.graph
        for node in graph.nodes():
            assert node.op is not None
            if is_view(node) and not self.is_scalar(node):
                source = node.operands[0]
                if isinstance(source, Literal):
                    source = self.as_full(node, source)
                view = view_through(node, self.view(source))
                if view is None:
                    copy = self.copy_before(node, source)
                    graph.set_operand(node, 0, copy)
                    view = view_through(node, self.view(copy))
                assert view is not None
                self.views[node.index] = view
            elif node.op.has(UPDATE) and not self.is_scalar(node):
                if node.op.name in PRODUCTS:
                    self.regular_operands(node, 1)
                self.tie(node)
            elif (node.op.name in STRIDED or node.op.name in LAPACK or node.op.name in LOOPS) and not self.is_scalar(node):
                self.regular_operands(node)

    def as_full(self, node: Node, literal: Literal, position: int = 0) -> Node:
        shape = literal.aval.shape
        made = self.graph.add(REGISTRY["full"], (literal,), {"shape": shape, "dtype": dtype_name(node.aval.dtype)}, before=node)
        self.graph.set_operand(node, position, made)
        return made

    def view(self, node: Node) -> View:
        """Memory view of a node that has or will have memory."""
        known = self.views.get(node.index)
        if known is None:
            known = self.views[node.index] = View(node, contiguous(node.aval.shape))
        return known

    def copy_before(self, node: Node, source: Node) -> Node:
        made = self.graph.add_from(node, REGISTRY["identity"], (source,), {}, source.aval)
        self.position[made.index] = self.position[node.index] - 0.5
        return made

    def tie(self, node: Node) -> None:
        """Let an update take over the memory of its buffer, or of a copy where someone else still reads it."""
        buffer = node.operands[0]
        if isinstance(buffer, Literal):
            buffer = self.as_full(node, buffer)
        view = self.view(buffer)
        free = view.root is buffer and not self.graph.is_output(buffer) and (not buffer.is_input or buffer.name.startswith("e"))
        if free and view.strides != contiguous(buffer.aval.shape):
            free = False
        if free:
            self.read_first(buffer, node)
            self.copy_small_views(buffer, node)
            free = not self.read_later(buffer, node)
        if not free:
            buffer = self.copy_before(node, buffer)
            self.graph.set_operand(node, 0, buffer)
            self.view(buffer)
        self.updates[node.index] = buffer
        self.views[node.index] = View(node, contiguous(node.aval.shape))

    def late_readers(self, buffer: Node, update: Node) -> list[Node] | None:
        """What reads a buffer behind an update in program order; None where that is more than a few elementwise operations."""
        graph, position = self.graph, self.position
        found: dict[int, Node] = {}
        stack = [buffer]
        while stack:
            for user, _ in graph.users(stack.pop()):
                if user is update:
                    continue
                is_late = position[user.index] > position[update.index]
                if is_view(user) and not self.is_scalar(user):
                    if graph.is_output(user) or is_late:
                        return None
                    stack.append(user)
                elif is_late:
                    found[user.index] = user
        late = sorted(found.values(), key=lambda node: position[node.index])
        if len(late) > 4 or any(not has_text(node) or (node.op is not None and node.op.has(UPDATE)) for node in late):
            return None
        return late

    def read_first(self, buffer: Node, update: Node) -> None:
        """Move what reads a buffer behind an update in front of it, if that is all that keeps the update from being in place."""
        late = self.late_readers(buffer, update)
        if not late:
            return
        limit = self.position[update.index]
        for node in late:
            if any(isinstance(o, Node) and self.position.get(o.index, -1) >= limit and o not in late for o in node.operands):
                return
        for number, node in enumerate(late):
            self.graph.move(node, update)
            self.position[node.index] = limit - 0.4 + 0.1 * number / len(late)

    def copy_small_views(self, buffer: Node, update: Node) -> None:
        """Copy parts of the buffer that are read after the update, where that is less than to copy the buffer."""
        position = self.position
        stack, room = [buffer], buffer.aval.size // 2
        while stack:
            for view in [user for user, _ in self.graph.users(stack.pop())]:
                if not is_view(view) or self.is_scalar(view) or position[view.index] > position[update.index]:
                    continue
                late = [(user, k) for user, k in self.graph.users(view) if position[user.index] > position[update.index]]
                if (late or self.graph.is_output(view)) and view.aval.size <= room:
                    room -= view.aval.size
                    self.copy_view(view, late)
                stack.append(view)

    def copy_view(self, view: Node, late: list[tuple[Node, int]]) -> None:
        """Let `late` uses of a view, and the outputs, read a copy made beside it."""
        graph = self.graph
        made = graph.add(REGISTRY["identity"], (view,), {}, view.aval, view.source, view.primal, view.section, before=view.next)
        self.position[made.index] = self.position[view.index] + 0.25
        for user, k in late:
            graph.set_operand(user, k, made)
        graph.set_outputs([made if output is view else output for output in graph.outputs])

    def read_later(self, buffer: Node, update: Node) -> bool:
        """Is the buffer (or a view of it) read after the update, by program order?"""
        position = self.position
        stack = [buffer]
        while stack:
            node = stack.pop()
            for user, _ in self.graph.users(node):
                if user is not update and position[user.index] > position[update.index]:
                    return True
                if is_view(user) and not self.is_scalar(user):
                    if self.graph.is_output(user):
                        return True
                    stack.append(user)
        return False

    def regular_operands(self, node: Node, first: int = 0) -> None:
        """Products want matrices with one unit stride (the other positive), LAPACK contiguous operands."""
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Literal) or position < first:
                continue
            strides, shape = self.view(operand).strides, operand.aval.shape
            if node.op is not None and node.op.name not in STRIDED:
                regular = strides == contiguous(shape)
            else:
                strides, shape = strides[-2:], shape[-2:]  # those of one matrix of a stack
                regular = all(s > 0 or n == 1 for s, n in zip(strides, shape, strict=True)) and (
                    len(shape) < 2 or any(layout_of(shape, strides))
                )
            if not regular:
                self.graph.set_operand(node, position, self.copy_before(node, operand))

    def is_scalar(self, node: Node) -> bool:
        """Straight-line code on scalar variables; a view of memory stays a view, however small."""
        known = self.scalars.get(node.index)
        if known is None:
            known = is_scalar_form(node)
            if known and is_view(node):
                source = node.operands[0]
                known = isinstance(source, Literal) or (not source.is_input and (self.is_scalar(source) or is_total(source)))
            self.scalars[node.index] = known
        return known

    def is_memory_view(self, node: Node) -> bool:
        return is_view(node) and not self.is_scalar(node)

    def need_memory(self, node: Node) -> None:
        """Mark the root of a value as stored."""
        if node.is_input:
            return
        root = self.views[node.index].root if self.is_memory_view(node) else node
        if not root.is_input:
            self.stored.add(root.index)
            self.view(root)

    # -- assignment --------------------------------------------------------------------------------------------------

    def assign(self, node: Node) -> None:
        op = node.op
        assert op is not None
        if node.index in self.joined:
            self.join_parts(node)
            return
        if node.index in self.items.stacks:
            self.items.join(node)
            return
        by_row = self.rows.once_a_row(node) if node.aval.size > 1 or not self.is_scalar(node) else None
        if by_row is not None:
            self.enter(by_row[0], node, "row", None, None, 1, by_row[1])
        elif self.is_scalar(node):
            self.join(node, "scalar", None, None)
        elif not has_kernel_dtypes(node):
            self.alone(node, "host")
        elif op.has(UPDATE) and op.name.startswith("slice"):
            region = tuple(node.params["count"])
            size = 1
            for n in region:
                size *= n
            space = tuple(n for axis, n in enumerate(region) if axis not in node.params["drop"])
            limit = 1 if is_any() else TINY
            if size <= limit and node.operands[1].aval.size <= limit:
                self.join(node, "scalar", None, None)
            elif op.name != "slice_add" or not self.join_adds(node, space):
                self.join(node, "nest", space, None)
        elif op.name == "empty":  # memory only: ready before the first cluster
            self.place[node.index] = (-1, "own")
            self.stored.add(node.index)
            self.view(node)
        elif has_text(node) or op.name in FILLS:
            self.join(node, "nest", node.aval.shape, None)
        elif is_reduction(node) and self.totals.prepare(node):
            self.assign(node)
        elif is_reduction(node):
            self.join(node, "nest", node.operands[0].aval.shape, tuple(node.params["axes"]))
        else:
            self.alone(node, op.name if has_own_kernel(node) else "host")

    def join_parts(self, node: Node) -> None:
        """A concatenation is there when its parts are: straight-line code reads it behind that of the parts."""
        latest = max((self.place[part.index] for part in self.joined[node.index]), default=(-1, "own"))
        number = latest[0]
        apart = any(self.place[part.index] in ((number, "inside"), (number, "own")) for part in self.joined[node.index])
        self.place[node.index] = (number, "own" if apart or number < 0 else "joined")
        for part in self.joined[node.index]:
            if part.index not in self.joined:
                self.stored.add(part.index)

    def alone(self, node: Node, kind: str) -> None:
        first = 0
        for operand in node.operands:
            if isinstance(operand, Node):
                first = max(first, self.ready(operand, "own", None))
                self.need_memory(operand)
        if node.index in self.updates:
            first = max(first, self.after_readers(node, False))
        number = self.open(first, Cluster(kind, inside=[node]))
        self.place[node.index] = (number, "own")
        self.stored.add(node.index)
        self.view(node)

    def open(self, first: int, made: Cluster) -> int:
        self.clusters.append(made)
        self.costs.append(0)
        self.readers.append(set())
        self.strides.append(set())
        return len(self.clusters) - 1

    def ready(self, operand: Node, want: str, space: tuple[int, ...] | None) -> int:
        """The earliest cluster in which `operand` can be read by a "scalar", "nest" or "own" consumer."""
        through_view = self.is_memory_view(operand)
        root = self.views[operand.index].root if through_view else operand
        if root.is_input:
            return 0
        number, section = self.place[root.index]
        if section == "own":
            return number + 1
        if section == "joined":
            return number if want == "scalar" else number + 1
        if root.index in self.updates:
            return number if want == "scalar" and section != "inside" else number + 1
        if (through_view and root.aval.size != 1) or want == "own":  # one number is the same through every view
            return number + 1
        if section == "inside":
            if root.op is not None and (root.op.name in REDUCTIONS or root.index in self.clusters[number].by_row):
                return number if want == "scalar" and root.aval.size == 1 else number + 1
            return number if want == "nest" and root.aval.shape == space else number + 1
        if want == "scalar":
            return number
        return number if root.aval.size == 1 and section == "before" else number + 1

    def after_readers(self, update: Node, scalar: bool) -> int:
        """The earliest cluster in which the memory of an update's buffer may be changed."""
        first = 0
        stack: list[Node] = [self.updates[update.index]]
        while stack:
            node = stack.pop()
            for user, _ in self.graph.users(node):
                if user is update or self.order[user.index] > self.order[update.index]:
                    continue
                if self.is_memory_view(user):
                    stack.append(user)
                    continue
                number, section = self.place[user.index]
                together = (scalar and section in ("before", "after")) or (not scalar and self.is_in_step(update, user))
                first = max(first, number if together else number + 1)
        return first

    def is_in_step(self, update: Node, user: Node) -> bool:
        """Does a node of a plain nest read just the elements of its buffer that the update writes, each where it is written?"""
        number, section = self.place[user.index]
        found = self.clusters[number]
        if section != "inside" or found.has_rows or found.unrolled or found.reduced is not None or number in self.closed:
            return False
        if update.op is None or not update.op.name.startswith("slice"):
            return False
        buffer = self.view(self.updates[update.index])
        region = region_view(update, buffer)
        if found.space != tuple(n for axis, n in enumerate(update.params["count"]) if axis not in update.params["drop"]):
            return False
        reading = [self.view(o) for o in user.operands if isinstance(o, Node) and self.rows.root(o) is buffer.root]
        return all((view.where, view.strides) == (region.where, region.strides) for view in reading)

    def soonest(self, operand: Node, want: str, space: tuple[int, ...] | None) -> int:
        """The earliest cluster in which a consumer may be: that of the operand where a later stage can read it."""
        root = self.rows.root(operand)
        ready = self.ready(operand, want, space)
        if want == "nest" and not root.is_input and self.place[root.index][1] in ("inside", "after"):
            return min(ready, max(self.place[root.index][0], 0))
        return ready

    def join(self, node: Node, want: str, space: tuple[int, ...] | None, reduced: tuple[int, ...] | None) -> None:
        operands = [operand for operand in node.operands if isinstance(operand, Node)]
        first = 0
        for operand in operands:
            first = max(first, self.soonest(operand, want, space))
        buffer = self.updates.get(node.index)
        if buffer is not None:  # all of it is in memory before a region is changed; a chain of small updates is straight-line code
            chained = want == "scalar" and buffer.index in self.updates
            first = max(first, self.ready(buffer, want if chained else "own", None), self.after_readers(node, want == "scalar"))
            self.need_memory(buffer)
        cost = 1
        if want == "scalar":
            product = node.op is not None and node.op.name == "dot"
            cost = multiplications(node) if product else math.prod(node.params["count"]) if buffer is not None else max(node.aval.size, 1)
        stage: int | None = 0
        for number in range(first, len(self.clusters)):
            stage = self.fits(number, node, want, space, reduced, cost)
            if stage is not None:
                break
        else:
            number, stage = self.open(first, Cluster(want, space)), 0
        self.enter(number, node, want, space, reduced, cost, stage)
        if buffer is not None and want == "nest":
            self.closed[number] = node

    def join_adds(self, node: Node, space: tuple[int, ...]) -> bool:
        """Put one more addition to regions of a buffer into the nest of those before it: one loop each, over every row in turn.

        The elements get their terms in another order, row by row instead of region by region.
        """
        before, term = node.operands
        if (
            not isinstance(before, Node)
            or before.op is not node.op
            or before.index not in self.updates
            or len(space) < 2
            or space[-1] < SHORT
        ):
            return False
        number, section = self.place[before.index]
        found = self.clusters[number]
        if section != "inside" or found.space != space or self.graph.num_users(before) != 1 or node.aval.dtype.kind not in "fc":
            return False
        if any(other.op is not node.op for other in found.inside) or found.before or found.after or not self.has_room_for(number, node):
            return False
        if isinstance(term, Node) and (self.ready(term, "nest", space) > number or self.rows.root(term).index in found.stage):
            return False
        found.reduced = (len(space) - 1,)
        self.enter(number, node, "nest", space, found.reduced, 1, found.stage[before.index] + 1)
        return True

    def has_room_for(self, number: int, node: Node) -> bool:
        return len(self.readers[number] | self.pointers(node, number)) <= MAX_POINTERS

    def has_room(self, number: int, node: Node, cost: int) -> bool:
        found = self.clusters[number]
        if self.costs[number] + cost > MAX_STATEMENTS or (number in self.closed and not self.is_beside(number, node)):
            return False
        if found.unrolled and not is_short(found.space or (), found.reduced or (), self.costs[number] + cost):
            return False
        return self.has_room_for(number, node)

    def is_beside(self, number: int, node: Node) -> bool:
        """May a plain nest that overwrites a region go on with this node? It reads what is computed there, and makes memory in any case."""
        found, closing, op = self.clusters[number], self.closed[number].op, node.op
        if found.reduced is not None or found.has_rows or found.unrolled or closing is None or op is None:
            return False
        result = has_text(node) and self.graph.is_output(node) and not self.graph.num_users(node)
        if closing.name != "slice_update" or self.is_scalar(node) or not (op.name == "slice_update" or result):
            return False
        return any(
            isinstance(o, Node) and self.place.get(o.index) == (number, "inside") and o.index not in self.updates for o in node.operands
        )

    def fits(
        self, number: int, node: Node, want: str, space: tuple[int, ...] | None, reduced: tuple[int, ...] | None, cost: int
    ) -> int | None:
        """The stage in which a cluster takes the node, None where it cannot."""
        found = self.clusters[number]
        if found.kind not in ("scalar", "nest") or not self.has_room(number, node, cost):
            return None
        if want == "scalar":
            return 0
        assert space is not None
        if found.kind == "scalar":
            fit = not found.after and self.before_is_ready(number, node)
            return 0 if fit and all(self.ready(o, want, space) <= number for o in node.operands if isinstance(o, Node)) else None
        if found.space != space or (
            reduced not in (None, found.reduced) and found.reduced is not None and not self.rows.is_across(number, node)
        ):
            return None
        if found.has_rows and node.op is not None and node.op.name == "iota":
            return None
        return self.rows.stage(number, node, space)

    def before_is_ready(self, number: int, node: Node) -> bool:
        """A scalar cluster may grow a nest where nothing in it needs memory that the nest reads."""
        return all(not isinstance(o, Node) or self.place.get(o.index, (-1, ""))[0] != number or o.aval.size == 1 for o in node.operands)

    def pointers(self, node: Node, number: int) -> set[tuple[int, ...]]:
        """Pointer slots that `node` adds to a cluster's table."""
        found: set[tuple[int, ...]] = {(node.index,)} if node.index in self.stored or self.graph.is_output(node) else set()
        for operand in node.operands:
            if isinstance(operand, Node) and self.place.get(operand.index, (-1, ""))[0] != number:
                view = self.views.get(operand.index)
                found.add((operand.index,) if view is None else view.where)  # type: ignore[arg-type]
        return found

    def enter(
        self, number: int, node: Node, want: str, space: tuple[int, ...] | None, reduced: tuple[int, ...] | None, cost: int, stage: int
    ) -> None:
        found = self.clusters[number]
        self.readers[number] |= self.pointers(node, number)
        self.costs[number] += cost
        for operand in node.operands:
            if isinstance(operand, Node):
                self.read(operand, number)
        if want == "scalar":
            late = found.kind == "nest" and self.needs_after(node, number)
            (found.after if late else found.before).append(node)
            section = "after" if late else "before"
        else:
            if found.kind == "scalar":
                found.kind, found.space = "nest", space
            if reduced is not None and found.reduced not in (None, reduced):
                found.by_column.add(node.index)
                self.stored.add(node.index)
                self.view(node)
            elif found.reduced is None and reduced is not None:
                found.reduced = reduced
                found.unrolled = is_short(found.space or (), reduced, self.costs[number])
            found.inside.append(node)
            found.stage[node.index] = stage
            section = "inside"
            if want == "row":
                found.by_row.add(node.index)
            else:
                self.note_strides(number, node)
        self.place[node.index] = (number, section)
        if node.index in self.updates:
            self.stored.add(node.index)
            self.view(node)

    def note_strides(self, number: int, node: Node) -> None:
        """Remember how a nest walks the memory that a node of its loops reads."""
        space = self.clusters[number].space
        assert space is not None
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node) and (position or node.index not in self.updates):
                root = self.rows.root(operand)
                if root.is_input or self.place[root.index][0] != number:
                    self.strides[number].add(spread(operand.aval.shape, self.rows.view(operand).strides, space))

    def finish(self, made: Cluster) -> None:
        """Stages of a nest with rows; memory for the totals of one without, which may be accumulated there."""
        space, reduced = made.space or (), made.reduced or ()
        by_columns = made.has_rows and not made.unrolled and has_columns(space, reduced)
        for node in made.inside if by_columns else ():  # what there is once a column is in memory, for all loops
            if node.index in made.by_row or is_reduction(node):
                self.stored.add(node.index)
                self.view(node)
        if made.has_rows or made.unrolled:
            plan_stages(made, self.stored)
            if by_columns:
                read = [s for s in self.strides[self.clusters.index(made)] if any(s[axis] for axis in reduced)]
                results = [node for node in made.inside if node.index in self.stored and node.aval.shape == space]
                made.panel = panel_of(space, reduced, len(read) + len(results) + len(made.row_buffers))
            return
        for node in made.inside:
            if node.op is not None and node.op.name in REDUCTIONS and node.aval.size != 1:
                self.stored.add(node.index)
                self.view(node)

    def needs_after(self, node: Node, number: int) -> bool:
        """Does scalar code in a nest cluster depend on the nest (or change what the nest reads)?"""
        if node.index in self.updates:
            return True
        for operand in node.operands:
            if isinstance(operand, Node):
                root = self.views[operand.index].root if self.is_memory_view(operand) else operand
                at = self.place.get(root.index)
                if at is not None and at[0] == number and at[1] != "before":
                    return True
        return False

    def read(self, operand: Node, number: int) -> None:
        """A value read from memory needs memory."""
        if operand.is_input:
            return
        at = self.place.get(self.rows.root(operand).index)
        if at is None or at[0] != number:
            self.need_memory(operand)
