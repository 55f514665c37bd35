"""From a trace to a recording: values are dropped, operations get their interned identity.

A trace is frozen as a whole at its end, or up to where a derivative begins, which goes by the identity of what it walks over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.alike import OFTEN, learn, shapes_at
from irgrad.frontend.contents import run_key, shared_kind
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import kind_of
from irgrad.ir.blocks import Block, Item, Records
from irgrad.ir.primitive import ELEMENTWISE, GUARD, Primitive
from irgrad.ir.recording import DYNAMIC, INTERNED, SMALL, TINY, Data, Input, Record, Recording
from irgrad.ir.value import Static

_FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
_ndarray = np.ndarray
_new = object.__new__
_TRACERS = {Tracer}
LEAST = 256  # values from which one looks for segments that are alike
TURN = 32  # records between pauses of a trace in turns


def freeze(trace: GraphTrace, outputs: list[Any], number_input: Callable[[Tracer], int]) -> Recording:
    """The recording of `trace` with these output leaves; `number_input` gives each input its number in the program."""
    results: list[Any] = []
    kinds: list[str] = []
    freezer = freezer_of(trace)
    freezer.advance(len(trace.tape))
    inputs = freezer.number(number_input)
    for output in outputs:
        if type(output) is Tracer:
            results.append(output.index)
            kinds.append(kind_of(output.form))
        else:
            results.append((output,))
            kinds.append("constant")
    return Recording(freezer.finished(), inputs, results, kinds, freezer.guards, freezer.blocks)


def _first(block: Block) -> int:
    return block.first


def freezer_of(trace: GraphTrace) -> Freezer:
    """The records of a trace so far."""
    if trace.freezer is None:
        trace.freezer = Freezer(trace)
    freezer: Freezer = trace.freezer
    return freezer


class Freezer:
    """The records of one trace, with what was looked up before: a long trace repeats few operations at few sites.

    `items` has them, and blocks in the places of those that nobody has asked for (`ir.blocks`). `ready` holds what stands there for tracers
    that were replayed (`replay`); for replayed values that nobody has it stands on the tape.
    """

    def __init__(self, trace: GraphTrace) -> None:
        self.trace = trace
        self.items: list[Item] = []
        self.records = Records(self.items)
        self.is_compact = False  # are there blocks among them?
        self.ready: dict[int, Item] = {}
        self.inputs: list[Tracer] = []
        self.guards: list[int] = []
        self.blocks: list[Block] = []
        self.matches: dict[int, Block] = {}  # segments of known shapes, by where they begin
        self.in_order: list[Block] = []
        self.contents: dict[int, tuple[int, Any, list[int]]] = {}  # of others: where they end, content (`run_key`) and values from before
        self.seen: dict[Any, list[Any]] = {}  # content -> itself, and how often it has come by
        self.num_literals = 0
        self.floats: dict[int, Data] = {}  # literals by id
        self.scalars: dict[type, int] = {}  # type of a number -> its aval
        self.avals: dict[Any, int] = {}  # (shape, dtype) of an array -> its aval
        self.codes: dict[tuple[Any, ...], int] = {}  # (op, aval, *params as they were given)

    def advance(self, stop: int, derived: bool = False) -> None:
        """Freeze the tape up to `stop`; `derived` says that rules have recorded what is not frozen yet."""
        pause = self.trace.pause
        while pause is not None and len(self.items) + TURN < stop:
            self._advance(len(self.items) + TURN, derived)
            pause()
        self._advance(stop, derived)

    def advance_alike(self, stop: int) -> None:
        """`advance` over what the user's function has recorded, a segment at a time, where many may be alike."""
        trace, tape = self.trace, self.trace.tape
        at, paused = len(self.items), len(self.items)
        if stop - at < LEAST:
            self.advance(stop)
            return
        rules, base, turns = trace.written.flags(at, stop), at, trace.pause is not None
        while at < stop:
            begins = self.begins(at)
            end = self.match(at, stop, rules, base) if begins else at
            if end == at:
                segment = tape[at].segment
                while end < stop and tape[end].segment == segment and not (turns and end - at >= TURN):
                    end += 1
                self._advance(end, False, rules, base)
                if begins:
                    self.look(at, end, rules, base)
            at = end
            if trace.pause is not None and at - paused >= TURN:
                paused = at
                trace.pause()

    def begins(self, at: int) -> bool:
        """Does a segment of a loop begin here?"""
        tape = self.trace.tape
        tracer = tape[at]
        if type(tracer) is not Tracer or tracer.op is None:
            return False
        return not (at and tape[at - 1].segment == tracer.segment) and self.trace.depths[tracer.segment] != 0

    def match(self, at: int, stop: int, rules: bytearray, base: int) -> int:
        """Freeze the segment that begins at `at`, if it has a shape; returns where it ends, or `at`."""
        trace, tape = self.trace, self.trace.tape
        tracer = tape[at]
        assert type(tracer) is Tracer
        segment = tracer.segment
        for shape in shapes_at(tracer):
            end = at + shape.count
            if end > stop or (end < stop and tape[end].segment == segment) or rules.find(1, at - base, end - base) >= 0:
                continue
            tracers = tape[at:end]
            if set(map(type, tracers)) != _TRACERS or tracers[-1].segment != segment:
                continue
            match = shape.freeze(tracers, at, self.literal, trace.sites.is_carried)
            if match is None:
                continue
            self.items += [match] * shape.count
            self.is_compact = True
            self.matches[at] = match
            self.in_order.append(match)
            self.guards += [at + k for k in shape.guards]
            return end
        return at

    def look(self, at: int, end: int, rules: bytearray, base: int) -> None:
        """Note the content of a segment; what has come by often gets a shape."""
        tape = self.trace.tape
        first = tape[at]
        if rules.find(1, at - base, end - base) >= 0 or (end < len(tape) and tape[end].segment == first.segment):
            return
        externals: dict[int, int] = {}
        key = run_key(self.records, at, end, externals)
        content = None if key is None else tuple(key)
        if content is not None:
            seen = self.seen.setdefault(content, [content, 0])
            content = seen[0]  # one object
            seen[1] += 1
            if seen[1] == OFTEN:
                learn(tape[at:end], self.records[at:end], at, content, shared_kind(content))
        self.contents[at] = (end, content, list(externals))

    def stretches(self, start: int, stop: int) -> Iterator[tuple[int, int, Block | None]]:
        """Ranges that make up [start, stop): segments of known shapes, and what lies between."""
        at, matches = start, self.in_order
        for k in range(bisect_left(matches, start, key=_first), len(matches)):
            match = matches[k]
            if match.last > stop:
                break
            if at < match.first:
                yield at, match.first, None
            yield match.first, match.last, match
            at = match.last
        if at < stop:
            yield at, stop, None

    def _advance(self, stop: int, derived: bool, rules: bytearray | None = None, base: int = 0) -> None:
        trace, records, ready = self.trace, self.items, self.ready
        first = len(records)
        if first >= stop:
            return
        tape = trace.tape if first == 0 and stop == len(trace.tape) else trace.tape[first:stop]
        depths = trace.depths
        if rules is None:
            rules, base = trace.written.flags(first, stop), first
        scalars, codes, avals, is_carried = self.scalars, self.codes, self.avals, trace.sites.is_carried
        for tracer in tape:
            if type(tracer) is Block or type(tracer) is Record:
                records.append(tracer)
                continue
            op = tracer.op
            if op is None:
                records.append(self.input(tracer))
                continue
            if ready and tracer.index in ready:
                records.append(ready[tracer.index])
                continue
            operands = tuple([o.index if type(o) is Tracer else o if type(o) is Static else self.literal(o) for o in tracer.operands])
            params, segment, site, value = tracer.params, tracer.segment, tracer.site, tracer.form
            if op.traits & GUARD:
                self.guards.append(len(records))
                records.append(Record(op, operands, params, 0, segment, site, INTERNED.code((op, params["kind"]))))
                continue
            kind = type(value)
            if kind is _ndarray:
                form = (value.shape, value.dtype)
                aval = avals.get(form) or self.array(form)
                small = value.size <= TINY or (value.size <= SMALL and bool(op.traits & ELEMENTWISE))
            else:
                aval = scalars.get(kind) or self.scalar(value)
                small = True
            if not params:
                code = codes.get((op, aval)) or self.code(op, aval, params)
            elif op.name in DYNAMIC and tracer.operands[0].form.size > TINY:
                code = INTERNED.code((op, aval, params["count"], params["step"], params["drop"]))
            else:
                code = codes.get((op, aval, *params.items())) or self.code(op, aval, params)
            record = _new(Record)  # slot by slot: a call of the class costs 0.1 us more
            record.op = op
            record.operands = operands
            record.params = params
            record.aval = aval
            record.segment = segment
            record.site = site
            record.code = code
            record.carried = (
                small
                and site is not None
                and site[1] in site[0].info.marked
                and depths[segment] > 0
                and not (derived or rules[tracer.index - base])
                and is_carried(site)
            )
            records.append(record)

    def drop(self, tracer: Any) -> None:
        """A cotangent that was replayed has been taken over: its record stands on the tape for it, so that its value is not kept."""
        item = self.ready.pop(tracer.index, None) if type(tracer) is Tracer else None
        if item is not None:
            self.trace.tape[tracer.index] = item  # type: ignore[call-overload]

    def keep(self, tracer: Any) -> None:
        """Undo `drop` for one that a walk has at its end."""
        if type(tracer) is Tracer and type(item := self.trace.tape[tracer.index]) is not Tracer:
            self.ready[tracer.index] = item  # type: ignore[assignment]
            self.trace.tape[tracer.index] = tracer

    def block(self, block: Block) -> None:
        """Note what is alike, unless it is known: several walks may come by."""
        self.is_compact = self.is_compact or block.mould is not None
        if block.last > block.first and (not self.blocks or self.blocks[-1].last <= block.first):
            self.blocks.append(block)

    def finished(self) -> Sequence[Record]:
        """All records: a list, which is quicker, where there are no blocks in their place."""
        return self.records if self.is_compact else self.items  # type: ignore[return-value]

    def input(self, tracer: Tracer) -> Record:
        """The record of an input, which has no number yet."""
        value = tracer.value
        aval = INTERNED.aval(value.shape, value.dtype) if isinstance(value, _ndarray) else self.scalar(value)
        self.inputs.append(tracer)
        return Record(None, (), {}, aval, -1, None, 0)

    def number(self, number_input: Callable[[Tracer], int]) -> list[Input]:
        """Number the inputs."""
        for tracer in self.inputs:
            number, record = number_input(tracer), self.records[tracer.index]
            record.params, record.code = {"input": number}, INTERNED.code(("input", number, record.aval))
        return [Input(tracer.index, tracer.params["origin"], tracer.value) for tracer in self.inputs]

    def scalar(self, value: Any) -> int:
        """The aval of a number, known by its type."""
        dtype = value.dtype if isinstance(value, np.generic) else np.asarray(value).dtype
        aval = self.scalars[type(value)] = INTERNED.aval((), dtype)
        return aval

    def array(self, form: tuple[tuple[int, ...], np.dtype[Any]]) -> int:
        aval = self.avals[form] = INTERNED.aval(*form)
        return aval

    def code(self, op: Primitive, aval: int, params: dict[str, Any]) -> int:
        code = self.codes[op, aval, *params.items()] = INTERNED.code((op, aval, *sorted(params.items())))
        return code

    def literal(self, value: Any) -> Data:
        """A literal; equal Python float objects (the constants of a loop body) are one."""
        if type(value) is float:
            name = id(value)
            known = self.floats.get(name)
            if known is None:
                known = self.floats[name] = Data(value, _FLOAT64, name)
            return known
        self.num_literals += 1
        return Data(value, _INT64 if type(value) is int else np.asarray(value).dtype, -self.num_literals)
