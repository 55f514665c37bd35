"""The adjoint of a repeated segment: recorded by rules twice, written down without them from then on.

What the rules record for a segment depends on its operations, the forms of its operands and on which cotangents it meets, not on
numbers: that is the *key* of a segment under a walk. What was recorded for one is kept as a `Plan` in terms of the segment: values by
position, external values and cotangents by order, literals by where they stand. A second segment of the same key is recorded by rules as
well, and the plan is believed where both agree; a function generated from it (`replay_text`) then stands for the rules.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from irgrad.frontend.contents import run_key, shared_kind
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.record import Freezer
from irgrad.frontend.replay_text import Emission, Exit, Plan, compile_plan
from irgrad.frontend.tracer import Tracer
from irgrad.ir.blocks import Block, Kind
from irgrad.ir.primitive import GUARD
from irgrad.ir.recording import DYNAMIC, Data
from irgrad.ir.value import Static

REPEATED = 6  # segments of one key from which they are replayed
SHORT = 64  # values of a walk up to which it is not looked for them
MAX_PLANS = 2048
MAX_KEYS = 8192

Stretch = Callable[[int, int], None]
_plans: dict[Any, _Known | None] = {}  # None: not to be replayed
_keys: dict[Any, int] = {}
_numbers = itertools.count(1)


class _Known:
    """A plan, which a second segment has to confirm, and its functions: for values that a later walk may meet, and for others."""

    __slots__ = ("functions", "is_confirmed", "kind", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.is_confirmed = False
        self.kind = Kind()  # of what it records
        self.functions: dict[bool, Callable[..., None]] = {}

    def function(self, light: bool) -> Callable[..., None]:
        found = self.functions.get(light)
        if found is None:
            found = self.functions[light] = compile_plan(self.plan, self.kind, light)
        return found


class Run(NamedTuple):
    """A segment on the tape: the number of its key (None: it is not replayed), the values from before, and which of them get cotangents."""

    first: int
    last: int
    key: Any
    externals: Sequence[int]
    targets: list[int]
    content: Any = None  # the part of the key that tells what is recorded here
    block: Block | None = None  # what is known to be alike


class Entry(NamedTuple):
    """What a walk brings to a segment: its key, and the cotangents and masks by order. `positions` are those of its own values."""

    key: Any
    held: list[Tracer]
    positions: list[int]


class Replays:
    """The segments of one reverse walk over tape[start:stop]."""

    def __init__(self, builder: Any, trace: GraphTrace, freezer: Freezer, start: int, stop: int, active: bytearray, keep: set[int]) -> None:
        self.builder = builder
        self.trace = trace
        self.start = start
        self.active = active
        self.freezer = freezer
        self.records = freezer.records
        self.light = trace.marks == 0 and not trace.written_arguments
        self.runs: list[Run] = []
        for first, last, match in self.segments(start, stop):
            self.runs.append(self.run(first, last, match, keep))
            if trace.pause is not None:
                trace.pause()
        self.counts = Counter(run.key for run in self.runs)
        for run in self.runs:
            if run.key is not None and self.counts[run.key] >= REPEATED:
                self.freezer.block(run.block or Block(run.first, run.last, shared_kind(run.content), run.externals))

    def segments(self, start: int, stop: int) -> Iterator[tuple[int, int, Block | None]]:
        tape, matches, at = self.trace.tape, self.freezer.matches, start
        while at < stop:
            segment, match = tape[at].segment, matches.get(at)
            if match is not None and (match.last == stop or (match.last < stop and tape[match.last].segment != segment)):
                yield at, match.last, match
                at = match.last
                continue
            first = at
            while at < stop and tape[at].segment == segment:
                at += 1
            yield first, at, None

    def run(self, first: int, last: int, match: Block | None, keep: set[int]) -> Run:
        if any(first <= k < last for k in keep):
            return Run(first, last, None, [], [])
        content: Any = None
        externals: Sequence[int]
        if match is not None:
            externals = match.externals
        else:
            end, content, externals = self.freezer.contents.get(first, (-1, None, []))
            if end != last:
                found: dict[int, int] = {}
                key = run_key(self.records, first, last, found)
                content, externals = None if key is None else tuple(key), list(found)
            if content is None:
                return Run(first, last, None, [], [])
        offset, active = self.start, self.active
        flags = bytes([x >= offset and active[x - offset] for x in externals])
        values = bytes(active[first - offset : last - offset])
        if match is None:
            number = key_of((content, values, flags))
        else:
            shape = match.mould
            number = shape.keys.get((values, flags)) or shape.keys.setdefault((values, flags), key_of((shape.content, values, flags)))
        return Run(first, last, number, externals, [x for x, flag in zip(externals, flags, strict=True) if flag], content, match)

    # -- the walk ----------------------------------------------------------------------------------------------------

    def walk(self, walk: Any, stretch: Stretch) -> None:
        """Go through all segments backwards, by rules (`stretch`) or by replaying."""
        pause = self.trace.pause
        for run in reversed(self.runs):
            if pause is not None:
                pause()
            entry = self.entry(walk, run) if run.key is not None and self.counts[run.key] >= REPEATED else None
            if entry is None:
                stretch(run.first, run.last)
                continue
            key = (run.key, entry.key)
            known = _plans.get(key, self)
            if known is None:
                stretch(run.first, run.last)
            elif known is self:
                plan = self.capture(walk, stretch, run, entry)
                if len(_plans) >= MAX_PLANS:
                    _plans.clear()
                _plans[key] = None if plan is None else _Known(plan)
            elif not known.is_confirmed:  # type: ignore[union-attr]
                plan = self.capture(walk, stretch, run, entry)
                if plan is None or plan != known.plan:  # type: ignore[union-attr]
                    _plans[key] = None
                else:
                    known.is_confirmed = True  # type: ignore[union-attr]
            else:
                self.play(walk, run, entry, known)  # type: ignore[arg-type]
        for ct in walk.cts.values():
            self.freezer.keep(ct)

    def entry(self, walk: Any, run: Run) -> Entry | None:
        """What the walk brings; None where that is more than tracers."""
        cts, masks, owned, blank = walk.cts, walk.masks, walk.owned, walk.blank
        first = run.first
        key: list[Any] = [self.builder.last == self.trace.tape[first].segment]
        held: list[Tracer] = []
        names: dict[int, int] = {}
        positions = [i for i in range(first, run.last) if i in cts]
        for i in (*positions, *run.targets):
            ct = cts.get(i)
            if ct is None:
                continue
            if type(ct) is not Tracer:
                return None
            held.append(ct)
            flags = (i in owned) + 2 * (i in blank)
            mask = masks.get(i) if masks else None
            key += (i - first if i >= first else ~run.externals.index(i), flags, self.name(ct, run, names))
            if mask is not None:
                if type(mask) is not Tracer:
                    return None
                held.append(mask)
                key += ("mask", self.name(mask, run, names), mask.value.shape if hasattr(mask.value, "shape") else ())
        return Entry(tuple(key), held, positions)

    def name(self, t: Tracer, run: Run, names: dict[int, int]) -> Any:
        """Which of the values that a segment meets a cotangent is."""
        index = t.index
        if index >= run.last:
            return names.setdefault(index, len(names))
        if run.first <= index:
            return ("own", index - run.first)
        if index in run.externals:
            return ("external", run.externals.index(index))
        return names.setdefault(index, len(names))

    def play(self, walk: Any, run: Run, entry: Entry, known: _Known) -> None:
        trace, builder = self.trace, self.builder
        first = run.first
        segment = trace.tape[first].segment
        if known.plan.opens:
            trace.new_segment(trace.depths[segment] + builder.extra)
            builder.last = segment
        cts, masks = walk.cts, walk.masks
        for i in entry.positions:
            del cts[i]
            if masks:
                masks.pop(i, None)
        known.function(self.light)(walk, trace, self.freezer, len(trace.tape), first, run.externals, entry.held, trace.segment)
        if self.light and not masks:
            for held in entry.held[: len(entry.positions)]:
                self.freezer.drop(held)
        if known.plan.at >= 0:
            trace.site = trace.tape[first + known.plan.at].site
        if len(trace.tape) > trace.limit:
            trace.too_long()

    # -- plans -------------------------------------------------------------------------------------------------------

    def capture(self, walk: Any, stretch: Stretch, run: Run, entry: Entry) -> Plan | None:
        """Record a segment's adjoint by rules, and tell what was recorded in its own terms; None where that is not possible."""
        trace, records = self.trace, self.records
        start, segment = len(trace.tape), trace.segment
        before = [_state(walk, x) for x in run.targets]
        visited: dict[int, int] = {}
        trace.primals = visited
        try:
            stretch(run.first, run.last)
        finally:
            trace.primals = None
        stop = len(trace.tape)
        self.freezer.advance(stop, True)
        opens = trace.segment - segment
        if opens not in (0, 1) or (stop > start and any(r.segment != trace.segment for r in records[start:stop])):
            return None
        naming = _Naming(self, run, entry, start)
        emissions: list[Emission] = []
        for index in range(start, stop):
            emission = naming.emission(index, visited.get(index, -1))
            if emission is None:
                return None
            emissions.append(emission)
        exits: list[Exit] = []
        for x, was in zip(run.targets, before, strict=True):
            now = _state(walk, x)
            if all(a is b for a, b in zip(was, now, strict=True)):
                continue
            ct, mask, owned, blank = now
            names = [None if t is None else naming.tracer(t) for t in (ct, mask)]
            if ct is None or names[0] is None or (mask is not None and names[1] is None):
                return None
            exits.append(Exit(run.externals.index(x), names[0], names[1], owned, blank))
        at = next((j for j in range(run.last - run.first) if trace.tape[run.first + j].site == trace.site), -1)
        return Plan(tuple(emissions), tuple(exits), bool(opens), at)


class _Naming:
    """What the values that rules recorded for one segment are called in its plan."""

    def __init__(self, replays: Replays, run: Run, entry: Entry, start: int) -> None:
        self.replays = replays
        self.records = records = replays.records
        self.tape = replays.trace.tape
        self.first, self.last, self.start = run.first, run.last, start
        self.held = entry.held
        self.names: dict[int, Any] = {t.index: ("C", m) for m, t in reversed(list(enumerate(entry.held)))}
        self.names.update({x: ("X", n) for n, x in enumerate(run.externals)})
        own = range(run.first, run.last)
        self.literals: dict[int, tuple[str, int, int]] = {}
        for i in own:
            for k, o in enumerate(records[i].operands):
                if type(o) is Data and type(o.value) not in (int, bool):
                    self.literals.setdefault(id(o.value), ("D", i - run.first, k))

    def index(self, index: int) -> Any:
        if index >= self.start:
            return ("L", index - self.start)
        if self.first <= index < self.last:
            return ("P", index - self.first)
        return self.names.get(index)

    def tracer(self, t: Any) -> Any:
        """The name of a cotangent; None for what is no value of the tape as it stands there."""
        if type(t) is not Tracer:
            return None
        for m, held in enumerate(self.held):
            if held is t:
                return ("C", m)
        return self.index(t.index) if self.tape[t.index] is t else None

    def operand(self, o: Any) -> Any:
        if type(o) is int:
            return self.index(o)
        if type(o) is Static:
            return ("S", o)
        value = o.value
        if type(value) in (int, bool):  # those of the user are part of the key
            return ("K", value, type(value))
        found = self.literals.get(id(value))
        if found is not None:
            return found
        return ("K", value, type(value)) if id(value) in self.replays.builder.numbers else None

    def emission(self, index: int, visited: int) -> Emission | None:
        """What rules recorded at `index`, for the value at `visited`."""
        record, tracer, source = self.records[index], self.tape[index], self.records[visited]
        op = record.op
        if op is None or op.traits & GUARD or type(tracer) is not Tracer or record.site != source.site:
            return None
        operands = [self.operand(o) for o in record.operands]
        if any(o is None for o in operands) or not self.first <= visited < self.last:
            return None
        params: Any = ("K", record.params)
        if "start" in record.params and source.op is not None and source.op.name in DYNAMIC:  # offsets that may be data
            if record.params != source.params:
                return None
            params = ("P", visited - self.first)
        values = [o.value if type(o) is Tracer or type(o) is Static else o for o in tracer.operands]
        in_place = op.in_place is not None and bool(values) and tracer.value is values[0]
        if op.name == "convert" and _kind(values[0]) == "c" and _kind(tracer.value) != "c":
            return None
        forms = tuple(map(_form, values))
        element = op.name if op.name in DYNAMIC and (in_place or op.name == "slice") and _is_element(record.params, values) else ""
        return Emission(op, tuple(operands), params, visited - self.first, record.aval, record.code, in_place, forms, element)


def key_of(whole: Any) -> int:
    """The number of a key; keys that were forgotten get others."""
    if len(_keys) >= MAX_KEYS:
        _keys.clear()
    found = _keys.get(whole)
    if found is None:
        found = _keys[whole] = next(_numbers)
    return found


def _state(walk: Any, x: int) -> tuple[Any, Any, bool, bool]:
    return walk.cts.get(x), walk.masks.get(x), x in walk.owned, x in walk.blank


def _form(value: Any) -> Any:
    """What decides the loop of an elementwise operation."""
    return value.dtype if hasattr(value, "dtype") and hasattr(value, "__len__") else type(value)


def _is_element(params: dict[str, Any], values: list[Any]) -> bool:
    """Is a slice one element of an array, by an integer for each axis, and what is written there a number?"""
    if not len(params["drop"]) == len(params["start"]) > 0 or type(values[0]) is not np.ndarray:
        return False
    return len(values) == 1 or np.ndim(values[1]) == 0


def _kind(value: Any) -> str:
    return value.dtype.kind if hasattr(value, "dtype") else "c" if type(value) is complex else ""
