"""Segments and templates: what is distinct in a path, and where it is repeated.

A *segment* is a run of records between two boundaries. Its *template* is its content under canonical names: values of the
segment by position, external values and the user's literals numbered by first appearance, start offsets of slices
numbered by equality. Literals, offsets and external values are bindings of each use (`Instance`), never part of the
template, so an unrolled loop is one template and a list of bindings. Passes run once per template.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from irgrad.ir.blocks import aval_at
from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.primitive import GUARD
from irgrad.ir.recording import INTERNED, Data, Record, is_dynamic
from irgrad.ir.value import Static

_STATIC = 1 << 40


class Template:
    """One distinct segment. `exported[k]` tells whether the k-th value is used outside any of its instances.

    `lowered` holds what was made of it, by whoever made it.
    """

    __slots__ = ("_positions", "exported", "key", "lowered", "number")

    def __init__(self, key: tuple[int, ...], number: int, count: int) -> None:
        self.key = key
        self.number = number
        self.exported = bytearray(count)
        self.lowered: dict[Any, Any] = {}
        self._positions: tuple[int, ...] | None = None

    def export(self, positions: Iterable[int]) -> None:
        """Note that these values are used outside."""
        for position in positions:
            if not self.exported[position]:
                self.exported[position] = 1
                self._positions = None

    @property
    def positions(self) -> tuple[int, ...]:
        """Which values are used outside."""
        if self._positions is None:
            self._positions = tuple([k for k, exported in enumerate(self.exported) if exported])
        return self._positions


class Instance:
    """One use of a template: record indices of its values, and its bindings."""

    __slots__ = ("externals", "literals", "starts", "template", "values")

    def __init__(
        self, template: Template, values: Sequence[int], externals: list[int], literals: list[Data], starts: list[tuple[int, ...]]
    ) -> None:
        self.template = template
        self.values = values
        self.externals = externals
        self.literals = literals
        self.starts = starts

    def results(self) -> list[int]:
        """The values that it gives to others, in the order of its template's exports."""
        values = self.values
        return [values[k] for k in self.template.positions]


class TemplateTable:
    """Templates by content, for one jitted function; segments of more than `long` records are cut at call sites."""

    def __init__(self, long: int = 160) -> None:
        self.long = long
        self.templates: dict[tuple[int, ...], Template] = {}
        self.forms: dict[Any, Any] = {}  # of instances of records that are alike, by who makes them

    def instance(self, records: Sequence[Record], indices: list[int]) -> Instance:
        """The instance of the records at `indices` (live ones of a segment, in program order)."""
        key: list[int] = []
        local: dict[int, int] = {}
        external: dict[int, int] = {}
        externals: list[int] = []
        literals: list[Data] = []
        literal_keys: dict[Any, int] = {}
        starts: list[tuple[int, ...]] = []
        patterns: dict[Any, int] = {}
        for index in indices:
            record = records[index]
            key.append(record.code)
            for operand in record.operands:
                kind = type(operand)
                if kind is int:
                    name = local.get(operand)
                    if name is None:
                        name = external.get(operand)
                        if name is None:
                            name = external[operand] = ~len(externals)
                            externals.append(operand)
                            key.append(aval_at(records, operand))
                    key.append(name)
                elif kind is Static:
                    key.append(_STATIC + INTERNED.static(operand.value))
                else:
                    slot = literal_keys.get(operand.key)
                    if slot is None:
                        slot = literal_keys[operand.key] = len(literals)
                        literals.append(operand)
                        key.append(INTERNED.aval((), operand.dtype))
                    key.append(2 * _STATIC + slot)
            start = record.params.get("start") if record.params else None
            if start is not None:
                first = record.operands[0]
                if is_dynamic(record.op, INTERNED.avals[aval_at(records, first)]):  # type: ignore[arg-type]
                    pattern = patterns.get((first, start))
                    if pattern is None:
                        pattern = patterns[first, start] = len(starts)
                        starts.append(start)
                    key.append(pattern)
            local[index] = len(local)
        frozen = tuple(key)
        template = self.templates.get(frozen)
        if template is None:
            template = self.templates[frozen] = Template(frozen, len(self.templates), len(indices))
        return Instance(template, indices, externals, literals, starts)


def template_graph(instance: Instance, records: Sequence[Record], name: str) -> tuple[Graph, list[Node]]:
    """The template of `instance` as a graph: inputs are its externals, then its literals; outputs are set by the caller.

    Returns the graph and the node of each value. Slices with offsets that are data have a param ``dynamic``, the number of
    their start among the instance's.
    """
    graph = Graph(name)
    inputs = [graph.add_input(f"e{k}", INTERNED.avals[aval_at(records, index)]) for k, index in enumerate(instance.externals)]
    numbers = [graph.add_input(f"c{k}", INTERNED.avals[INTERNED.aval((), data.dtype)]) for k, data in enumerate(instance.literals)]
    by_key = {data.key: numbers[k] for k, data in enumerate(instance.literals)}
    named: dict[int, Node] = dict(zip(instance.externals, inputs, strict=True))
    starts: dict[Any, int] = {}
    nodes: list[Node] = []
    for index in instance.values:
        record = records[index]
        assert record.op is not None
        operands: list[Any] = []
        for operand in record.operands:
            if type(operand) is int:
                operands.append(named[operand])
            elif type(operand) is Static:
                operands.append(Literal(operand.value, static=True))
            else:
                operands.append(by_key[operand.key])
        params = record.params
        if "start" in params:
            first = record.operands[0]
            if is_dynamic(record.op, INTERNED.avals[aval_at(records, first)]):
                params = {**params, "dynamic": starts.setdefault((first, params["start"]), len(starts))}
        node = graph.add(record.op, operands, params, INTERNED.avals[record.aval])
        named[index] = node
        nodes.append(node)
    return graph, nodes


def find_live(records: Sequence[Record], outputs: Sequence[int], live: bytearray | None = None) -> bytearray:
    """Which records the outputs and the guards need."""
    live = bytearray(len(records)) if live is None else live
    for index in outputs:
        live[index] = 1
    for index in range(len(records) - 1, -1, -1):
        record = records[index]
        if record.op is None:
            continue
        if live[index] or record.op.traits & GUARD:
            live[index] = 1
            for operand in record.operands:
                if type(operand) is int:
                    live[operand] = 1
    return live
