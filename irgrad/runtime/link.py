"""Linking: a path tree to a program. Templates are optimised and lowered once; instances become rows.

For each instance the linker binds its external values, literals and offsets, plans the lifetimes of its buffers in the arena,
and appends references. Nothing is compiled for a template that any function of this user has compiled before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from irgrad.codegen.compile import LIBRARY, Kernel
from irgrad.codegen.layout import OP_HOST, OP_RETURN
from irgrad.codegen.loops import find_linked
from irgrad.codegen.lowered import HostRow, Lowered, Row
from irgrad.codegen.program import FIRST_INPUT, NUMBERS, Argument, HostCall, Numbers, Program, reference, symbol_address
from irgrad.codegen.scalar import conversion_kernel
from irgrad.codegen.split import CALLED_CHUNK
from irgrad.codegen.team import shared
from irgrad.ir.blocks import inputs_of, is_input
from irgrad.ir.plan import contiguous
from irgrad.ir.recording import INTERNED, Record, guard_outcome
from irgrad.ir.sizes import Structures
from irgrad.ir.template import Instance, Template, TemplateTable
from irgrad.runtime.binding import Symbols, bind
from irgrad.runtime.lowering import LinkCounts, lowered_instance
from irgrad.runtime.memory import Arena, Buffer, Place, States, Use, copied
from irgrad.runtime.recompute import Schedule, plan
from irgrad.runtime.repeated import OFTEN, Repeated, repeated
from irgrad.runtime.runs import Forms, Runs
from irgrad.runtime.tables import Tables
from irgrad.runtime.tree import Limb, PathNode, PathTree, analyse, analyse_limb, extends
from irgrad.runtime.turns import checkpoint

_FLOAT64 = np.dtype(np.float64)
TURN = 8  # uses between checkpoints
_GUARDED = {"bool": np.dtype(bool), "int": np.dtype(np.int64), "bits": np.dtype(np.float64)}


@dataclass
class Output:
    """How a result is handed out: its fresh array, or the constant it is."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    constant: Any = None
    is_constant: bool = False


class Linker:
    """Builds the program of one path tree, and adds limbs to it."""

    is_apart = True  # inputs and results of the program are distinct memory

    def __init__(
        self,
        tree: PathTree,
        table: TemplateTable,
        arguments: list[Argument],
        constants: list[np.ndarray[Any, Any]],
        budget: int | None = None,
    ) -> None:
        self.tree = tree
        self.table = table
        self.arguments = arguments
        self.constants = constants
        self.budget = budget  # bytes of the arena, if possible
        self.replays = False  # paths with guards are computed again behind the last one
        self.may_replay = True
        self.counts = LinkCounts()
        self.num_added = 0  # paths that the last program has more than the one before
        self.is_broken = False  # linking was left halfway: all is to be linked again
        self.num_waiting = 0  # paths, and calls on them, since one of them needed a whole new program
        self.forms: Forms = {}
        self.structures = Structures()
        self.parallel_entries = np.zeros(1, np.int64)  # rows whose chunks the team has run: native code counts
        self.reset()

    def reset(self) -> None:
        self.tables = Tables()
        self.numbers = Numbers()
        self.literals: dict[int, tuple[int, Any]] = {}  # id of a float -> its reference, itself
        self.symbols = Symbols(self.symbol)
        self.symbol_addresses: list[int] = []
        self.leaves: dict[int, Any] = {}
        self.leaf_rows: dict[int, int] = {}
        self.guards: dict[int, Any] = {}
        self.hosts: dict[int, HostCall] = {}
        self.kernels: dict[str, Any] = {}
        self.runs = Runs(self.tables, self.kernel, self.is_apart, self.forms)
        self.bodies: list[Any] = []
        self.runners: list[Any] = []  # of rows in chunks
        self.costs: dict[PathNode, tuple[int, int]] = {}  # rows and operations up to the end of a node
        self.schedules: dict[PathNode, Schedule] = {}
        self.arena_top = 0
        self.states = States()
        self.repeated: dict[Template, Repeated] = {}  # of the limb at hand: how the latest use of a template was linked
        self.flops = 0  # of the node at hand
        self.parallel_rows = 0
        self.silent = False  # only follow where values are
        self.num_inputs = len(self.arguments)
        self.num_outs = 0
        self.first_symbol = 0
        self.constant_bases: dict[int, int] = {}

    def link(self, counts: LinkCounts) -> Program:
        """The program of the whole tree; adds to `counts`."""
        self.counts, self.is_broken = counts, True
        self.num_added = sum(not limb.is_linked for limb in self.tree.limbs)
        self.num_waiting = 0
        self.reset()
        analyse(self.tree, self.table, self.replays)
        self.structures.note(node for limb in self.tree.limbs for node in limb.nodes)
        self.num_outs = max(map(_num_outs, self.tree.limbs))
        self.first_symbol = FIRST_INPUT + self.num_inputs + self.num_outs
        wanted: dict[PathNode | None, int] = Counter(limb.parent for limb in self.tree.limbs)
        states: dict[PathNode | None, tuple[dict[int, Place], Arena]] = {None: ({}, Arena())}
        for limb in self.tree.limbs:
            places, arena = states[limb.parent]
            wanted[limb.parent] -= 1
            if wanted[limb.parent]:
                places, arena = copied(places), arena.copy()
            else:
                del states[limb.parent]
            limb.is_linked = True
            self.enter(limb, places, arena)
            for node in limb.nodes:
                self.node(node, places, arena)
                if wanted.get(node):
                    states[node] = copied(places), arena.copy()
                checkpoint()
        return self.within(self.finish())

    def fits(self, limb: Limb) -> bool:
        """Can a limb be added to what is linked as it is? One that lacks values starts from the arguments, if nothing impure is there."""
        parent = limb.parent
        if parent is None or not parent.limb.is_linked or _num_outs(limb) > self.num_outs or len(self.arguments) != self.num_inputs:
            return False
        if self.replays:
            limb.replay()
        if not limb.is_analysed:
            analyse_limb(limb, self.table)
            self.structures.note(limb.nodes)
        if extends(limb, parent):
            return True
        if not limb.is_pure(limb.start):
            return False
        limb.restart()
        analyse_limb(limb, self.table)
        return True

    def extend(self, limb: Limb, counts: LinkCounts) -> Program | None:
        """The program with one more limb: its rows are added to what is there.

        Where it asks for values that are not there any more, it starts from the arguments. Where that will not do, because results have
        another form or something impure lies before it, all of the program is built again, if there are few paths; else some of
        them wait for each other (None), so that the cost of a path stays bounded. The prefix of the limb is followed without writing
        rows, to know where its values are.
        """
        if self.is_broken:
            return self.link(counts)
        if not self.fits(limb):
            self.num_waiting += 1
            return self.link(counts) if self.num_waiting > self.tree.num_paths / 8 - 2 else None
        limb.is_linked, self.num_added = True, 1
        self.counts, self.is_broken = counts, True
        line = limb.ancestry()
        first, places, arena = self.states.nearest(line)
        self.repeated = {}
        self.silent = True
        for node in line[first:]:
            if node.place == 0:
                self.enter(node.limb, places, arena)
            if node.limb is limb:
                self.silent = False
            self.node(node, places, arena)
            if node is limb.parent:
                self.states.keep(node, places, arena)
            checkpoint()
        return self.within(self.finish())

    def within(self, program: Program) -> Program:
        """A program within the budget: paths with guards compute all of their values again, behind the last one, if they need less then."""
        if self.budget is None or program.arena_bytes <= self.budget or self.replays or not self.may_replay:
            return program
        if not any(limb.parent is not None or len(limb.nodes) > 1 for limb in self.tree.limbs):
            return program
        added, self.replays = self.num_added, True
        other = self.link(self.counts)
        if other.arena_bytes >= program.arena_bytes:
            self.replays = self.may_replay = False
            other = self.link(self.counts)
        self.num_added = added
        return other

    def enter(self, limb: Limb, places: dict[int, Place], arena: Arena) -> None:
        """Leave the values of the prefix that this limb does not need."""
        for value in [value for value in places if value not in limb.last]:
            self.drop(value, places.pop(value), arena)
        self.repeated = {}
        path = limb.nodes[0].path
        for value in limb.external:
            if value not in places and is_input(path, value):
                places[value] = self.input(path[value])  # at any time where it was

    def input(self, record: Record) -> Place:
        """Arguments and captured values have a base each, filled at every call; constants have an address of their own."""
        number = record.params["input"]
        aval = INTERNED.avals[record.aval]
        if number >= 0:
            return Place(FIRST_INPUT + number, tuple([stride // aval.dtype.itemsize for stride in self.arguments[number].strides]))
        base = self.constant_bases.get(number)
        if base is None:
            base = self.constant_bases[number] = self.first_symbol + len(self.symbol_addresses)
            self.symbol_addresses.append(self.constants[~number].ctypes.data)
        return Place(base, contiguous(aval.shape))

    @property
    def num_rows(self) -> int:
        self.runs.settle()
        return self.tables.num_rows

    # -- one node ----------------------------------------------------------------------------------------------------

    def node(self, node: PathNode, places: dict[int, Place], arena: Arena) -> None:
        limb, place = node.limb, node.place
        if place:
            self.leave(limb.nodes[place - 1], places, arena)
        if not self.silent:
            self.begin(node)
        start = node.first
        if start < node.start:  # all of the path once more
            for value in [value for value in places if not is_input(node.path, value)]:
                self.forget(value, places, arena)
        for index in inputs_of(node.path, start, node.end):
            places[index] = self.input(node.path[index])
        outputs: list[int] = [o for o in node.outputs if type(o) is int] if node.outputs is not None else []
        schedule = self.schedule(node, outputs)
        direct = self.direct_outputs(node, outputs) if node.is_leaf else {}
        repeated, literal, symbols = self.repeated, self.literal, self.symbols
        each = zip(schedule.instances, schedule.dying, schedule.kept, strict=False)  # `dying` has an end of its own
        for k, (instance, dying, kept) in enumerate(each):
            known = repeated.get(instance.template)
            refs = known.link(instance, places, arena, dying, kept, direct, literal, symbols) if known is not None else None
            if refs is None:
                self.instance(instance, node, places, arena, dying, kept, direct)
            elif not self.silent:
                self.again(known, refs)  # type: ignore[arg-type]
            for value in dying:
                self.forget(value, places, arena)
            if refs is None or not k % TURN:
                checkpoint()
        if node.guard is not None:
            self.guard(node, places, arena)
            for value in schedule.dying[-1]:
                self.forget(value, places, arena)
        elif not self.silent:
            if node.is_leaf:
                self.leaf(node, places, outputs)
            else:
                self.settle(node)
        self.arena_top = max(self.arena_top, arena.top)

    def schedule(self, node: PathNode, outputs: list[int]) -> Schedule:
        """In which order a node's instances run, and how long values are needed."""
        known = self.schedules.get(node)
        if known is None:
            last, place = node.limb.last, node.place
            ending = [node.guard.operands[0]] if node.guard is not None else outputs
            known = plan(node.instances, node.path, ending, lambda value: last.get(value, -1.0) > place, self.budget)
            if self.budget is not None:  # followed again with every limb
                self.schedules[node] = known
        return known

    def begin(self, node: PathNode) -> None:
        """Let the guard before a node go on here; count rows and operations from the root."""
        parent = node.limb.nodes[node.place - 1] if node.place else node.limb.parent
        self.num_before, self.flops = self.num_rows, 0
        self.above = (0, 0)
        if parent is not None:
            if not parent.is_prefix:
                guard = node.end if node.is_prefix else node.start
                self.tables.go_on(parent, guard_outcome(node.path[guard - 1]), self.num_rows)
            self.above = self.costs[parent]

    def settle(self, node: PathNode) -> None:
        """Note what it takes to come to the end of a node."""
        rows, flops = self.above
        self.costs[node] = (rows + self.num_rows - self.num_before, flops + self.flops)

    def leave(self, node: PathNode, places: dict[int, Place], arena: Arena) -> None:
        """Leave the values that only other limbs needed behind the guard of `node`."""
        for value in node.limb.waiting(node.place):
            self.forget(value, places, arena)

    def forget(self, value: int, places: dict[int, Place], arena: Arena) -> None:
        place = places.pop(value, None)
        if place is None or (buffer := place.buffer) is None:
            return
        if buffer.values == 1 and buffer.holders == value:  # most of them
            buffer.values, buffer.holders = 0, -1
            arena.release(buffer)
        else:
            self.drop(value, place, arena)

    def drop(self, value: int, place: Place, arena: Arena) -> None:
        buffer = place.buffer
        if buffer is not None:
            buffer.leave(value)
            if buffer.values == 0:
                arena.release(buffer)

    def direct_outputs(self, node: PathNode, outputs: list[int]) -> dict[int, int]:
        """Results that may be computed straight into their fresh arrays: values made in the leaf, each handed out once."""
        direct: dict[int, int] = {}
        for number, value in enumerate(outputs):
            if value >= node.first and outputs.count(value) == 1:
                direct[value] = FIRST_INPUT + self.num_inputs + number
        return direct

    def instance(
        self,
        instance: Instance,
        node: PathNode,
        places: dict[int, Place],
        arena: Arena,
        dying: list[int],
        kept: Collection[int],
        direct: dict[int, int],
    ) -> None:
        template, path = instance.template, node.path
        shown = node.limb.exports.get(template)
        if shown is None:  # another limb may add to them
            shown = node.limb.exports[template] = bytes(template.exported), template.positions
        results = [instance.values[k] for k in shown[1]]
        bound = [places[value] for value in instance.externals]
        many = self.structures.has_many(template)
        lowered, may_take, taken = lowered_instance(template, shown[0], instance, path, bound, results, dying, direct, self.counts, many)
        if lowered.uses >= OFTEN:
            if lowered.linked is None:
                lowered.linked = repeated(lowered, shown[1], [p.strides for p in bound], may_take, taken) or False
            if lowered.linked:
                self.repeated[template] = lowered.linked
        slots = [p.ref for p in bound]
        for data in instance.literals:
            slots.append(self.literal(data.value, data.dtype))
        slot_buffers: list[Buffer | None] = [p.buffer for p in bound]
        if lowered.changed:
            use = Use(instance, path, places, bound, slots, slot_buffers)
            for slot in sorted(lowered.changed):
                self.own(slot, use, arena, dying)
        memory, buffers = self.buffers(results, lowered, arena, direct)
        rows, exports = bind(lowered, slots, memory, instance.starts, self.symbols)
        if not self.silent:
            for row, refs in zip(lowered.rows, rows, strict=True):
                if isinstance(row, HostRow):
                    self.host(row, refs)
                else:
                    self.row(row, refs, buffers)
        for value, export, ref in zip(results, lowered.exports, exports, strict=True):
            if value not in kept:
                continue
            if ref is None:
                places[value] = Place(self.literal(export.number, INTERNED.avals[path[value].aval].dtype), ())
                continue
            kind, index = export.ref.home  # type: ignore[union-attr]
            buffer = buffers[index] if kind == "buffer" else slot_buffers[index] if index < len(slot_buffers) else None
            if buffer is not None:
                buffer.take(value)
            places[value] = Place(ref, export.strides, buffer)
        for buffer in buffers:
            if buffer is not None:
                buffer.values -= 1
                if buffer.values == 0:
                    arena.release(buffer)

    def again(self, known: Repeated, refs: tuple[list[int], ...]) -> None:
        """Write the rows of a use that its function has linked, with these references."""
        self.flops += known.flops
        runs = self.runs
        if known.source == runs.source:
            runs.rows.append(refs[0])
            return
        for (source, sizes), each in zip(known.rows, refs, strict=True):
            self.emit(source, each, sizes)

    def literal(self, value: Any, dtype: np.dtype[Any]) -> int:
        """The reference of a number; a float of the user's program is asked for in every iteration."""
        if type(value) is not float or dtype is not _FLOAT64:
            return reference(NUMBERS, self.numbers.offset(value, dtype))
        known = self.literals.get(id(value))
        if known is None:
            known = self.literals[id(value)] = (reference(NUMBERS, self.numbers.offset(value, dtype)), value)
        return known[0]

    def buffers(self, results: list[int], lowered: Lowered, arena: Arena, direct: dict[int, int]) -> tuple[list[int], list[Buffer | None]]:
        """References of local buffers, and those of the arena among them; results in their fresh arrays."""
        chosen: dict[int, int] = {}
        if direct:
            for value, export in zip(results, lowered.exports, strict=True):
                ref, aval = export.ref, export.aval
                if value not in direct or ref is None or ref.home[0] != "buffer" or ref.terms or ref.offset:
                    continue
                index = ref.home[1]
                if index not in chosen and export.strides == contiguous(aval.shape) and aval.nbytes == lowered.buffers[index]:
                    chosen[index] = direct[value]
        memory: list[int] = []
        made: list[Buffer | None] = []
        for index, nbytes in enumerate(lowered.buffers):
            base = chosen.get(index)
            if base is not None:
                memory.append(base)
                made.append(None)
            else:
                buffer = arena.allocate(nbytes)
                buffer.values = 1
                memory.append(buffer.ref)
                made.append(buffer)
        return memory, made

    def own(self, slot: int, use: Use, arena: Arena, dying: list[int]) -> None:
        """Give a slot that is changed in place memory that nobody else reads: its own if it dies here, a copy otherwise.

        Where others have small parts of it (elements that an adjoint reads later), these get copies in its place.
        """
        place = use.bound[slot]
        value = use.instance.externals[slot]
        buffer = place.buffer
        if buffer is not None and value in dying:
            if buffer.values > 1:
                self.move_parts(value, buffer, use, arena)
            if buffer.values == 1 and sum(p.buffer is buffer for p in use.bound) == 1:
                return
        aval = INTERNED.avals[use.path[value].aval]
        fresh = arena.allocate(aval.nbytes)
        self.copy_row(use.slots[slot], place.strides, fresh.ref, aval.shape, aval.dtype)
        use.slots[slot], use.buffers[slot] = fresh.ref, fresh

    def move_parts(self, value: int, buffer: Buffer, use: Use, arena: Arena) -> None:
        """Copy what other values have of a buffer elsewhere, if that is at most half of it."""
        parts = buffer.others(value)
        avals = [INTERNED.avals[use.path[part].aval] for part in parts]
        if len(parts) + 1 != buffer.values or 2 * sum(aval.nbytes for aval in avals) > buffer.size:
            return
        externals = use.instance.externals
        used = {part: externals.index(part) for part in parts if part in externals}
        if any(use.bound[k].strides != contiguous(INTERNED.avals[use.path[part].aval].shape) for part, k in used.items()):
            return  # the instance's kernels are of these strides
        for part, aval in zip(parts, avals, strict=True):
            place, fresh = use.places[part], arena.allocate(aval.nbytes)
            self.copy_row(place.ref, place.strides, fresh.ref, aval.shape, aval.dtype)
            self.drop(part, place, arena)
            fresh.take(part)
            use.places[part] = made = Place(fresh.ref, contiguous(aval.shape), fresh)
            if part in used:
                k = used[part]
                use.bound[k], use.slots[k], use.buffers[k] = made, fresh.ref, fresh

    def copy_row(self, source: int, strides: tuple[int, ...], target: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        from irgrad.codegen.nest import copy_kernel

        if dtype.char in "gG":  # of a kind that kernels do not have: as words
            words = dtype.itemsize // 8
            strides, shape, dtype = (*(words * s for s in strides), 1), (*shape, words), np.dtype(np.uint64)
        text, sizes = copy_kernel(strides, shape, dtype.name, self.is_apart)
        self.emit(text, [source, target], sizes)

    def row(self, row: Any, refs: list[int], buffers: list[Buffer | None]) -> None:
        self.flops += row.flops
        source = row.source
        if row.streamed is not None and all(buffers[index] is None for _, index in row.streamed.homes):
            source = row.streamed.source
        if row.is_plain:
            self.emit(source, refs, row.sizes)
        else:
            self.emit_shared(row, source, refs)

    def emit_shared(self, row: Row, source: str, refs: list[int]) -> None:
        """A row whose chunks, parts or panels the team may share."""
        if self.silent:
            return
        self.runs.settle()
        self.parallel_rows += row.panels is None or row.panels.chunks > 1
        run, sizes, called = shared(row, source, self.parallel_entries.ctypes.data, self.kernel)
        self.runners += [run, called[CALLED_CHUNK]]
        self.tables.kernel(run, refs, sizes, called)

    def emit(self, source: str, refs: list[int], sizes: list[int]) -> None:
        if self.silent:
            return
        if sizes or not self.runs.add(source, refs):
            self.runs.settle()
            self.tables.kernel(self.kernel(source), refs, sizes)

    def kernel(self, source: str) -> Kernel:
        """The kernel of a text."""
        kernel = self.kernels.get(source)
        if kernel is None:
            kernel = self.kernels[source] = LIBRARY.ask(source, self.counts.kernels)
        return kernel

    def symbol(self, name: str) -> int:
        """The reference of a library routine, or of the body of a loop."""
        linked = find_linked(name)
        if linked is not None:  # what the body calls, this program calls
            self.kernels.update({kernel.name: kernel for kernel in linked.program.kernels})
            self.bodies.append(linked)
        address = symbol_address(name, self.numbers)
        if isinstance(address, tuple):
            return reference(*address)
        self.symbol_addresses.append(address)
        return reference(self.first_symbol + len(self.symbol_addresses) - 1, 0)

    def host(self, row: HostRow, refs: list[int]) -> None:
        given = iter(refs)
        operands: list[Any] = []
        for operand in row.operands:
            if isinstance(operand, tuple):
                _, aval, strides = operand
                operands.append((next(given), aval.shape, strides, aval.dtype))
            else:
                operands.append(operand)
        aval = row.result[1]
        self.hosts[self.num_rows] = HostCall(row.op, row.params, operands, (next(given), aval.shape, aval.dtype))
        self.tables.row(OP_HOST)

    def guard(self, node: PathNode, places: dict[int, Place], arena: Arena) -> None:
        guard = node.guard
        assert guard is not None
        value = guard.operands[0]
        place = places[value]
        at = place.ref
        have = INTERNED.avals[node.path[value].aval].dtype
        want = _GUARDED[guard.params["kind"]]
        if have != want:
            buffer = arena.allocate(8)  # free again behind the guard
            text = conversion_kernel(have, want)
            self.emit(text, [at, buffer.ref], [])
            at = buffer.ref
            arena.release(buffer)
        if not self.silent:
            self.guards[self.num_rows] = node
            self.tables.guard(node, at, want.itemsize)
            self.settle(node)

    def leaf(self, node: PathNode, places: dict[int, Place], outputs: list[int]) -> None:
        described: list[Output] = []
        number = 0
        assert node.outputs is not None
        for output in node.outputs:
            if type(output) is not int:
                described.append(Output((), np.dtype(float), output[0], True))
                continue
            aval = INTERNED.avals[node.path[output].aval]
            base = FIRST_INPUT + self.num_inputs + number
            place = places[output]
            if place.ref != base:
                self.copy_row(place.ref, place.strides, base, aval.shape, aval.dtype)
            described.append(Output(aval.shape, aval.dtype))
            number += 1
        self.leaves[self.num_rows] = (node, described)
        self.tables.row(OP_RETURN, node.number, 0, node.calls.ctypes.data)
        self.settle(node)
        self.leaf_rows[self.num_rows - 1] = self.costs[node][0]

    # -- the whole ---------------------------------------------------------------------------------------------------

    def finish(self) -> Program:
        self.runs.finish()
        LIBRARY.settle([*self.kernels.values(), *self.runners], self.counts.kernels)
        checkpoint()
        rows, refs, sizes, tables = self.tables.arrays()
        checkpoint()
        block = self.numbers.block()
        bases = np.zeros(self.first_symbol + len(self.symbol_addresses) + 1, np.int64)
        bases[NUMBERS] = block.ctypes.data
        bases[self.first_symbol : self.first_symbol + len(self.symbol_addresses)] = self.symbol_addresses
        program = Program(
            rows, refs, sizes, tables, block, list(self.arguments), self.arena_top, bases, dict(self.leaves), dict(self.guards),
            dict(self.hosts), list(self.kernels.values()), [*self.constants, *self.bodies, *self.runners],
        )  # fmt: skip
        program.flops = max(self.costs[limb.nodes[-1]][1] for limb in self.tree.limbs if limb.is_linked)
        program.leaf_rows = dict(self.leaf_rows)
        inner = [body.program for body in self.bodies]
        program.parallel_rows = self.parallel_rows + sum(each.parallel_rows for each in inner)
        program.parallel_entries = [self.parallel_entries, *[count for each in inner for count in each.parallel_entries]]
        program.seal(self.num_outs)
        self.is_broken = False
        return program


def _num_outs(limb: Limb) -> int:
    outputs = limb.nodes[-1].outputs
    assert outputs is not None
    return sum(1 for o in outputs if type(o) is int)
