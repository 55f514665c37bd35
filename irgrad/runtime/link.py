"""Linking: a path tree to a program. Templates are optimised and lowered once; instances become rows.

For each instance the linker binds its external values, literals and offsets, plans the lifetimes of its buffers in the arena,
and appends references. Nothing is compiled for a template that any function of this user has compiled before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irgrad.codegen.compile import LIBRARY, Counts
from irgrad.codegen.layout import ARRAY, FREE, NUMBER, OP_GUARD, OP_HOST, OP_RETURN
from irgrad.codegen.lower import lower
from irgrad.codegen.lowered import HostRow, Lowered, Ref
from irgrad.codegen.program import ARENA, FIRST_INPUT, NUMBERS, Argument, HostCall, Numbers, Program, reference, symbol_address
from irgrad.codegen.scalar import conversion
from irgrad.ir.graph import Graph
from irgrad.ir.plan import contiguous
from irgrad.ir.recording import INTERNED, Record
from irgrad.ir.template import Instance, Template, TemplateTable, template_graph
from irgrad.passes.cluster import cluster
from irgrad.passes.legalize import legalize
from irgrad.passes.pipeline import optimize
from irgrad.runtime.memory import Arena, Buffer, Place, copied
from irgrad.runtime.tree import PathNode, PathTree, analyse

_GUARDED = {"bool": np.dtype(bool), "int": np.dtype(np.int64), "bits": np.dtype(np.float64)}


@dataclass
class Output:
    """How a result is handed out: its fresh array, or the constant it is."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    constant: Any = None
    is_constant: bool = False


@dataclass
class LinkCounts:
    """Seconds and counts of linking."""

    passes: float = 0.0
    kernels: Counts = field(default_factory=Counts)
    pass_counts: dict[str, int] = field(default_factory=dict)
    templates: int = 0


_lowered: dict[Any, Lowered] = {}


def lowered_template(
    template: Template, instance: Instance, records: Any, strides: tuple[tuple[int, ...], ...], counts: LinkCounts
) -> Lowered:
    """The rows of a template for inputs with these strides, from cache or by passes and lowering."""
    key = (template.key, bytes(template.exported), strides)
    found = _lowered.get(key)
    if found is None:
        start = time.perf_counter()
        graph, nodes = template_graph(instance, records, f"template_{template.number}")
        graph.set_outputs([node for node, exported in zip(nodes, template.exported, strict=True) if exported])
        for name, result in optimize(graph):
            for what, count in result.counts.items():
                counts.pass_counts[f"{name} {what}"] = counts.pass_counts.get(f"{name} {what}", 0) + count
        legalize(graph)
        numbers = tuple(() for _ in range(len(graph.inputs) - len(strides)))
        found = _lowered[key] = lower(cluster(graph, [*strides, *numbers]))
        counts.templates += 1
        counts.passes += time.perf_counter() - start
    return found


class Linker:
    """Builds the program of one path tree."""

    def __init__(
        self, tree: PathTree, table: TemplateTable, arguments: list[Argument], constants: list[np.ndarray[Any, Any]], counts: LinkCounts
    ) -> None:
        self.tree = tree
        self.table = table
        self.arguments = arguments
        self.constants = constants
        self.counts = counts
        self.rows: list[int] = []
        self.refs: list[int] = []
        self.size_pool: list[int] = []
        self.size_places: dict[tuple[int, ...], int] = {}
        self.size_fixups: list[tuple[int, int]] = []
        self.guard_tables: list[list[int]] = []
        self.guard_fixups: list[tuple[int, int]] = []
        self.numbers = Numbers()
        self.symbols: dict[str, int] = {}
        self.symbol_addresses: list[int] = []
        self.leaves: dict[int, Any] = {}
        self.leaf_rows: dict[int, int] = {}
        self.guards: dict[int, Any] = {}
        self.hosts: dict[int, HostCall] = {}
        self.kernels: dict[str, Any] = {}
        self.arena_top = 0
        self.flops = 0
        self.num_inputs = len(arguments)
        self.num_outs = 0
        self.constant_bases: dict[int, int] = {}

    def link(self) -> Program:
        analyse(self.tree, self.table)
        root = self.tree.root
        assert root is not None
        self.num_outs = max(sum(1 for o in node.outputs if type(o) is int) for node in self.tree.nodes() if node.outputs is not None)
        self.first_symbol = FIRST_INPUT + self.num_inputs + self.num_outs
        stack: list[tuple[PathNode, dict[int, Place], Arena, list[Record], tuple[int, int] | None, int]] = [
            (root, {}, Arena(), [], None, 0)
        ]
        while stack:
            node, places, arena, prefix, patch, before = stack.pop()
            if patch is not None:
                self.guard_tables[patch[0]][patch[1]] = self.num_rows
            path = prefix + node.records if prefix else node.records
            first = self.num_rows
            self.node(node, path, places, arena)
            before += self.num_rows - first
            if node.is_leaf:
                self.leaf_rows[self.num_rows - 1] = before
            self.arena_top = max(self.arena_top, arena.top)
            if node.guard is not None:
                table = len(self.guard_tables) - 1
                children = list(node.children.items())
                for position, (_, child) in enumerate(children):
                    last = position == len(children) - 1
                    own = places if last and len(children) == 1 else copied(places)
                    stack.append((child, own, arena.copy(), path, (table, 2 + 2 * position), before))
        return self.finish()

    def input(self, record: Record) -> Place:
        """Arguments and captured values have a base each, filled at every call; constants have an address of their own."""
        number = record.params["input"]
        aval = INTERNED.avals[record.aval]
        if number >= 0:
            return Place(FIRST_INPUT + number, 0, tuple([stride // aval.dtype.itemsize for stride in self.arguments[number].strides]))
        base = self.constant_bases.get(number)
        if base is None:
            base = self.constant_bases[number] = self.first_symbol + len(self.symbol_addresses)
            self.symbol_addresses.append(self.constants[~number].ctypes.data)
        return Place(base, 0, contiguous(aval.shape))

    @property
    def num_rows(self) -> int:
        return len(self.rows) // 4

    # -- one node ----------------------------------------------------------------------------------------------------

    def node(self, node: PathNode, path: list[Record], places: dict[int, Place], arena: Arena) -> None:
        later: set[int] = set()
        for child in node.children.values():
            later |= child.uses
        for index, record in enumerate(node.records, node.start):
            if record.op is None:
                places[index] = self.input(record)
        last_use: dict[int, int] = {}
        for position, instance in enumerate(node.instances):
            for value in instance.externals:
                last_use[value] = position
        ending = len(node.instances)
        if node.guard is not None:
            last_use[node.guard.operands[0]] = ending
        outputs: list[int] = [o for o in node.outputs if type(o) is int] if node.outputs is not None else []
        for value in outputs:
            last_use[value] = ending
        for value in later:
            last_use[value] = ending + 1
        dying: list[list[int]] = [[] for _ in range(ending)]
        for value, position in last_use.items():
            if position < ending:
                dying[position].append(value)
        for value in list(places):  # values of the prefix that this branch does not need
            if value not in last_use and value not in later:
                self.drop(value, places.pop(value), arena)
        direct = self.direct_outputs(node, outputs) if node.is_leaf else {}
        for position, instance in enumerate(node.instances):
            self.instance(instance, path, places, arena, last_use, position, direct)
            for value in dying[position]:
                place = places.pop(value, None)
                if place is not None:
                    self.drop(value, place, arena)
        if node.guard is not None:
            self.guard(node, path, places, arena)
        else:
            self.leaf(node, path, places, outputs, direct)

    def drop(self, value: int, place: Place, arena: Arena) -> None:
        buffer = place.buffer
        if buffer is not None:
            buffer.holders.discard(value)
            buffer.values -= 1
            if buffer.values == 0:
                arena.release(buffer)

    def direct_outputs(self, node: PathNode, outputs: list[int]) -> dict[int, int]:
        """Results that may be computed straight into their fresh arrays: values made in the leaf, each handed out once."""
        direct: dict[int, int] = {}
        for number, value in enumerate(outputs):
            if value >= node.start and outputs.count(value) == 1:
                direct[value] = FIRST_INPUT + self.num_inputs + number
        return direct

    def instance(
        self,
        instance: Instance,
        path: list[Record],
        places: dict[int, Place],
        arena: Arena,
        last_use: dict[int, int],
        position: int,
        direct: dict[int, int],
    ) -> None:
        template = instance.template
        bound = [places[value] for value in instance.externals]
        lowered = lowered_template(template, instance, path, tuple([p.strides for p in bound]), self.counts)
        slots = [(p.base, p.offset) for p in bound]
        for data in instance.literals:
            slots.append((NUMBERS, self.numbers.offset(data.value, data.dtype)))
        slot_buffers: list[Buffer | None] = [p.buffer for p in bound]
        for slot in sorted(lowered.changed):
            self.own(instance, slot, path, places, bound, slots, slot_buffers, arena, last_use, position)
        buffers = self.buffers(instance, lowered, arena, direct)
        starts = instance.starts
        for row in lowered.rows:
            if isinstance(row, HostRow):
                self.host(row, slots, buffers, starts)
            else:
                self.row(row, slots, buffers, starts)
        exported = template.exported
        number = 0
        for local, value in enumerate(instance.values):
            if not exported[local]:
                continue
            export = lowered.exports[number]
            number += 1
            if value not in last_use:
                continue
            if export.ref is None:
                dtype = INTERNED.avals[path[value].aval].dtype
                places[value] = Place(NUMBERS, self.numbers.offset(export.number, dtype), ())
                continue
            base, offset = self.address(export.ref, slots, buffers, starts)
            kind, index = export.ref.home
            buffer = (
                slot_buffers[index] if kind == "slot" and index < len(slot_buffers) else buffers[index][2] if kind == "buffer" else None
            )
            if buffer is not None:
                buffer.values += 1
                buffer.holders.add(value)
            places[value] = Place(base, offset, export.strides, buffer)
        for _, _, buffer in buffers:
            if buffer is not None:
                buffer.values -= 1
                if buffer.values == 0:
                    arena.release(buffer)

    def buffers(self, instance: Instance, lowered: Lowered, arena: Arena, direct: dict[int, int]) -> list[tuple[int, int, Buffer | None]]:
        """(base, offset, arena buffer) of each local buffer; results in their fresh arrays."""
        chosen: dict[int, int] = {}
        if direct:
            number = 0
            for local, value in enumerate(instance.values):
                if instance.template.exported[local]:
                    export = lowered.exports[number]
                    number += 1
                    if (
                        value in direct
                        and export.ref is not None
                        and export.ref.home[0] == "buffer"
                        and not export.ref.terms
                        and not export.ref.offset
                    ):
                        index = export.ref.home[1]
                        nbytes = (
                            int(np.prod(instance_shape(lowered, number - 1), dtype=np.int64))
                            * lowered.graph.outputs[number - 1].aval.dtype.itemsize
                        )
                        if (
                            index not in chosen
                            and export.strides == contiguous(instance_shape(lowered, number - 1))
                            and nbytes == lowered.buffers[index]
                        ):
                            chosen[index] = direct[value]
        made: list[tuple[int, int, Buffer | None]] = []
        for index, nbytes in enumerate(lowered.buffers):
            base = chosen.get(index)
            if base is not None:
                made.append((base, 0, None))
            else:
                buffer = arena.allocate(nbytes)
                buffer.values = 1
                made.append((ARENA, buffer.offset, buffer))
        return made

    def own(
        self,
        instance: Instance,
        slot: int,
        path: list[Record],
        places: dict[int, Place],
        bound: list[Place],
        slots: list[tuple[int, int]],
        slot_buffers: list[Buffer | None],
        arena: Arena,
        last_use: dict[int, int],
        position: int,
    ) -> None:
        """Give a slot that is changed in place memory that nobody else reads: its own if it dies here, a copy otherwise.

        Where others have small parts of it (elements that an adjoint reads later), these get copies in its place.
        """
        place = bound[slot]
        value = instance.externals[slot]
        buffer = place.buffer
        if buffer is not None and last_use.get(value, -1) == position:
            if buffer.values > 1:
                self.move_parts(instance, value, buffer, path, places, bound, slots, slot_buffers, arena)
            if buffer.values == 1 and sum(p.buffer is buffer for p in bound) == 1:
                return
        aval = INTERNED.avals[path[value].aval]
        fresh = arena.allocate(aval.nbytes)
        fresh.values = 0
        self.copy_row(slots[slot], place.strides, (ARENA, fresh.offset), aval.shape, aval.dtype)
        slots[slot] = (ARENA, fresh.offset)
        slot_buffers[slot] = fresh

    def move_parts(
        self,
        instance: Instance,
        value: int,
        buffer: Buffer,
        path: list[Record],
        places: dict[int, Place],
        bound: list[Place],
        slots: list[tuple[int, int]],
        slot_buffers: list[Buffer | None],
        arena: Arena,
    ) -> None:
        """Copy what other values have of a buffer elsewhere, if that is at most half of it."""
        parts = sorted(buffer.holders - {value})
        avals = [INTERNED.avals[path[part].aval] for part in parts]
        if len(parts) + 1 != buffer.values or 2 * sum(aval.nbytes for aval in avals) > buffer.size:
            return
        used = {part: instance.externals.index(part) for part in parts if part in instance.externals}
        if any(bound[k].strides != contiguous(path_shape(path, part)) for part, k in used.items()):
            return  # the instance's kernels are of these strides
        for part, aval in zip(parts, avals, strict=True):
            place, fresh = places[part], arena.allocate(aval.nbytes)
            fresh.values, fresh.holders = 1, {part}
            self.copy_row((place.base, place.offset), place.strides, (ARENA, fresh.offset), aval.shape, aval.dtype)
            places[part] = made = Place(ARENA, fresh.offset, contiguous(aval.shape), fresh)
            buffer.holders.discard(part)
            buffer.values -= 1
            if part in used:
                k = used[part]
                bound[k], slots[k], slot_buffers[k] = made, (ARENA, fresh.offset), fresh

    def copy_row(
        self, source: tuple[int, int], strides: tuple[int, ...], target: tuple[int, int], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        from irgrad.codegen.nest import Nest, NestText

        nest = Nest(shape, ())
        a = nest.access("x", strides)
        b = nest.access("o", contiguous(shape))
        nest.body.append(f"store(o, @{b}@, load(x, @{a}@))")
        lines, sizes = NestText(nest, 0).write()
        name = dtype.name if dtype.name != "float16" else "int16"  # bits of a dtype that kernels do not compute with
        head = ["def kernel(p, n):", f"    x = pointer_{name}(p, 0)", f"    o = pointer_{name}(p, 1)"]
        text = "\n".join([*head, *[line if line.startswith("    ") else f"    {line}" for line in lines], "    return 0", ""])
        self.emit(text, [reference(*source), reference(*target)], sizes)

    def address(
        self, ref: Ref, slots: list[tuple[int, int]], buffers: list[tuple[int, int, Buffer | None]], starts: list[tuple[int, ...]]
    ) -> tuple[int, int]:
        kind, index = ref.home
        if kind == "slot":
            base, offset = slots[index]
        else:
            base, offset, _ = buffers[index]
        offset += ref.offset
        for k, strides in ref.terms:
            for start, stride in zip(starts[k], strides, strict=True):
                offset += start * stride
        return base, offset

    def row(
        self, row: Any, slots: list[tuple[int, int]], buffers: list[tuple[int, int, Buffer | None]], starts: list[tuple[int, ...]]
    ) -> None:
        refs: list[int] = []
        for pointer in row.pointers:
            if isinstance(pointer, str):
                refs.append(self.symbol(pointer))
            elif not pointer.terms:
                kind, index = pointer.home
                if kind == "slot":
                    base, offset = slots[index]
                else:
                    base, offset, _ = buffers[index]
                refs.append(base | ((offset + pointer.offset) << 16))
            else:
                base, offset = self.address(pointer, slots, buffers, starts)
                refs.append(base | (offset << 16))
        self.flops += row.flops
        self.emit(row.source, refs, row.sizes)

    def emit(self, source: str, refs: list[int], sizes: list[int]) -> None:
        kernel = self.kernels.get(source)
        if kernel is None:
            kernel = self.kernels[source] = LIBRARY.get(source, self.counts.kernels)
        key = tuple(sizes)
        place = self.size_places.get(key)
        if place is None:
            place = self.size_places[key] = len(self.size_pool)
            self.size_pool.extend(sizes or [0])
        self.size_fixups.append((len(self.rows) + 3, place))
        self.rows += (kernel.address, len(self.refs), len(refs), 0)
        self.refs += refs

    def symbol(self, name: str) -> int:
        known = self.symbols.get(name)
        if known is None:
            address = symbol_address(name, self.numbers)
            if isinstance(address, tuple):
                known = reference(*address)
            else:
                known = reference(self.first_symbol + len(self.symbol_addresses), 0)
                self.symbol_addresses.append(address)
            self.symbols[name] = known
        return known

    def host(
        self, row: HostRow, slots: list[tuple[int, int]], buffers: list[tuple[int, int, Buffer | None]], starts: list[tuple[int, ...]]
    ) -> None:
        operands: list[Any] = []
        for operand in row.operands:
            if isinstance(operand, tuple):
                ref, aval, strides = operand
                operands.append((reference(*self.address(ref, slots, buffers, starts)), aval.shape, strides, aval.dtype))
            else:
                operands.append(operand)
        ref, aval = row.result
        self.hosts[self.num_rows] = HostCall(
            row.op, row.params, operands, (reference(*self.address(ref, slots, buffers, starts)), aval.shape, aval.dtype)
        )
        self.rows += (OP_HOST, 0, 0, 0)

    def guard(self, node: PathNode, path: list[Record], places: dict[int, Place], arena: Arena) -> None:
        guard = node.guard
        assert guard is not None
        value = guard.operands[0]
        place = places[value]
        at = reference(place.base, place.offset)
        have = INTERNED.avals[path[value].aval].dtype
        want = _GUARDED[guard.params["kind"]]
        if have != want:
            buffer = arena.allocate(8)  # free again behind the guard
            text = conversion_kernel(have, want)
            self.emit(text, [at, reference(ARENA, buffer.offset)], [])
            at = reference(ARENA, buffer.offset)
            arena.release(buffer)
        width = want.itemsize
        table: list[int] = [len(node.children)]
        for outcome in node.children:
            table += [outcome, -1]
        self.guard_fixups.append((len(self.rows) + 3, len(self.guard_tables)))
        self.guard_tables.append(table)
        self.guards[self.num_rows] = node
        self.rows += (OP_GUARD, at, width, 0)

    def leaf(self, node: PathNode, path: list[Record], places: dict[int, Place], outputs: list[int], direct: dict[int, int]) -> None:
        described: list[Output] = []
        number = 0
        assert node.outputs is not None
        for output in node.outputs:
            if type(output) is not int:
                described.append(Output((), np.dtype(float), output[0], True))
                continue
            aval = INTERNED.avals[path[output].aval]
            base = FIRST_INPUT + self.num_inputs + number
            place = places[output]
            if (place.base, place.offset) != (base, 0):
                self.copy_row((place.base, place.offset), place.strides, (base, 0), aval.shape, aval.dtype)
            described.append(Output(aval.shape, aval.dtype))
            number += 1
        self.leaves[self.num_rows] = (node, described)
        self.rows += (OP_RETURN, node.number, 0, node.calls.ctypes.data)

    # -- the whole ---------------------------------------------------------------------------------------------------

    def finish(self) -> Program:
        sizes = np.array(self.size_pool or [0], np.int64)
        rows = np.array(self.rows, np.int64)
        refs = np.array(self.refs or [0], np.int64)
        offsets: list[int] = []
        flat: list[int] = []
        for table in self.guard_tables:
            offsets.append(len(flat))
            flat += table
        tables = np.array(flat or [0], np.int64)
        for at, place in self.size_fixups:
            rows[at] = sizes.ctypes.data + 8 * place
        for at, number in self.guard_fixups:
            rows[at] = tables.ctypes.data + 8 * offsets[number]
        block = np.frombuffer(bytes(self.numbers.bytes) or b"\0" * 8, np.uint8).copy()
        if block.ctypes.data % 16:
            aligned = np.empty(len(block) + 16, np.uint8)
            skip = -aligned.ctypes.data % 16
            aligned[skip : skip + len(block)] = block
            block = aligned[skip : skip + len(block)]
        bases = np.zeros(self.first_symbol + len(self.symbol_addresses) + 1, np.int64)
        bases[NUMBERS] = block.ctypes.data
        bases[self.first_symbol : self.first_symbol + len(self.symbol_addresses)] = self.symbol_addresses
        program = Program(
            rows, refs, sizes, tables, block, self.arguments, self.arena_top, bases, self.leaves, self.guards, self.hosts,
            list(self.kernels.values()), list(self.constants),
        )  # fmt: skip
        program.flops = self.flops
        program.leaf_rows = self.leaf_rows
        program.seal(self.num_outs)
        return program


def path_shape(path: list[Record], value: int) -> tuple[int, ...]:
    return INTERNED.avals[path[value].aval].shape


def instance_shape(lowered: Lowered, number: int) -> tuple[int, ...]:
    return lowered.graph.outputs[number].aval.shape


def conversion_kernel(have: np.dtype[Any], want: np.dtype[Any]) -> str:
    """A kernel that converts one number to what a guard compares."""
    text = conversion("value", have, want)
    pointers = f"    x = pointer_{have.name}(p, 0)\n    o = pointer_{want.name}(p, 1)\n    value = load(x, 0)\n"
    return f"def kernel(p, n):\n{pointers}    store(o, 0, {text})\n    return 0\n"


__all__ = ["ARRAY", "FREE", "NUMBER", "Graph", "LinkCounts", "Linker", "Place"]
