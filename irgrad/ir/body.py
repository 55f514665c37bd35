"""Bodies: a recorded function as the param of a node (the body of a loop, a branch).

A body closes over nothing: what its function captured is an input. Bodies are compared by content, literals included, so that two
traces of one program have equal params; equal bodies are one object while one of them is in use (`interned`).
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from irgrad.ir.aval import Aval
from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.primitive import NonDiff
from irgrad.ir.recording import INTERNED, Data, Record, is_dynamic
from irgrad.ir.template import find_live
from irgrad.ir.value import Static

KEPT = 256  # bodies used last that stay known though nobody holds them: functions outside `jit` are traced at each call


class Body:
    """Records in program order, the inputs first used and their order, and outputs as record indices.

    `linked` is what the runtime made of it; `derived` has the bodies of its derivatives.
    """

    __slots__ = ("__weakref__", "depths", "derived", "inputs", "key", "linked", "name", "outputs", "records", "results")

    def __init__(self, name: str, records: list[Record], inputs: Sequence[Aval], outputs: list[int], depths: list[int]) -> None:
        self.name = name
        self.records = records
        self.inputs = tuple(inputs)
        self.outputs = outputs
        self.results = tuple(INTERNED.avals[records[index].aval] for index in outputs)
        self.depths = depths
        self.key = (tuple(_record_key(record) for record in records), self.inputs, tuple(outputs))
        self.linked: Any = None
        self.derived: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.records)} values"

    @property
    def graph(self) -> Graph:
        """The body as a graph, for people."""
        graph = Graph(self.name)
        inputs = [graph.add_input(f"x{k}", aval) for k, aval in enumerate(self.inputs)]
        nodes: list[Node] = []
        for record in self.records:
            if record.op is None:
                nodes.append(inputs[record.params["input"]])
                continue
            operands = [
                nodes[o] if type(o) is int else Literal(o.value, static=True) if type(o) is Static else Literal(o.value)
                for o in record.operands
            ]
            nodes.append(graph.add(record.op, operands, record.params, INTERNED.avals[record.aval]))
        graph.set_outputs([nodes[index] for index in self.outputs])
        return graph

    def flows(self, forward: bool = False) -> list[int]:
        """For each output the set of inputs, as bits, that a derivative can flow from, by the rules of reverse or forward mode."""
        sets: list[int] = []
        for record in self.records:
            if record.op is None:
                sets.append(1 << record.params["input"])
                continue
            rules = record.op.jvp if forward else record.op.vjp
            total = 0
            if not isinstance(rules, NonDiff) and INTERNED.avals[record.aval].dtype.kind in "fc":
                for k, o in enumerate(record.operands):
                    if type(o) is int and not (isinstance(rules, tuple) and k < len(rules) and rules[k] is None):
                        total |= sets[o]
            sets.append(total)
        return [sets[index] for index in self.outputs]


_known: weakref.WeakValueDictionary[Any, Body] = weakref.WeakValueDictionary()
_recent: OrderedDict[Any, Body] = OrderedDict()


def interned(body: Body) -> Body:
    """The one body of this content."""
    found = _known.setdefault(body.key, body)
    _recent[found.key] = found
    _recent.move_to_end(found.key)
    while len(_recent) > KEPT:
        _recent.popitem(last=False)
    return found


def with_inputs_first(records: list[Record], outputs: list[int], inputs: Sequence[Aval]) -> tuple[list[Record], list[int]]:
    """The records that the outputs need behind one for each input, used or not, and what the outputs are then."""
    live = find_live(records, outputs)
    made: list[Record] = []
    for number, aval in enumerate(inputs):
        known = INTERNED.aval(aval.shape, aval.dtype)
        made.append(Record(None, (), {"input": number}, known, -1, None, INTERNED.code(("input", number, known))))
    places: list[int] = []
    for record, needed in zip(records, live, strict=True):
        if record.op is None:
            places.append(record.params["input"])
            continue
        places.append(len(made))
        if not needed:
            continue
        operands = tuple([places[o] if type(o) is int else o for o in record.operands])
        made.append(Record(record.op, operands, record.params, record.aval, record.segment, record.site, record.code, record.carried))
    return made, [places[index] for index in outputs]


def body_of(graph: Graph) -> Body:
    """The body that a graph describes."""
    records, _ = with_inputs_first([], [], [node.aval for node in graph.inputs])
    places = {node.index: number for number, node in enumerate(graph.inputs)}
    for node in graph.nodes():
        assert node.op is not None
        operands: list[Any] = []
        for k, o in enumerate(node.operands):
            if isinstance(o, Literal):
                operands.append(Static(o.value) if o.static else Data(o.value, o.aval.dtype, -len(records) * 1000 - k))
            else:
                operands.append(places[o.index])
        aval = INTERNED.aval(node.aval.shape, node.aval.dtype)
        params = node.params
        if is_dynamic(node.op, node.operands[0].aval) if node.operands else False:
            code = INTERNED.code((node.op, aval, params["count"], params["step"], params["drop"]))
        else:
            code = INTERNED.code((node.op, aval, *sorted(params.items())))
        places[node.index] = len(records)
        records.append(Record(node.op, tuple(operands), params, aval, 0, None, code))
    outputs = [places[output.index] for output in graph.outputs if isinstance(output, Node)]
    return interned(Body(graph.name, records, [node.aval for node in graph.inputs], outputs, [0]))


def _record_key(record: Record) -> Any:
    operands = tuple([_operand_key(o) for o in record.operands])
    return record.code, operands, record.params.get("start")


def _operand_key(operand: Any) -> Any:
    if type(operand) is int:
        return operand
    if type(operand) is Static:
        return ("static", INTERNED.static(operand.value))
    return (operand.dtype, operand.dtype.type(operand.value).tobytes())
