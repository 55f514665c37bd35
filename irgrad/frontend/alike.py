"""Segments that are alike are frozen whole.

Once a segment's content (`replay.run_key`) has come by often, a *shape* is made of it: a function, generated from one of its segments, that
looks at each value of a later one for what it may not differ in (operations, params, forms, which operand is which) and writes the records,
or answers None at the first difference. What depends on the content alone is kept with the shape: its key and kind, which of its values are
active for which active operands, and which of these the walk meets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import ELEMENTWISE, GUARD
from irgrad.ir.recording import DYNAMIC, SMALL, TINY, Data, Kind, Record
from irgrad.ir.value import Static

OFTEN = 24  # segments of one content in a trace from which there is a shape: making it costs as much as it saves in about 40
LONGEST = 400  # values of a segment
MOST = 512  # shapes
CANDIDATES = 4  # shapes that begin with one operation at one place
_ndarray = np.ndarray
Made = tuple[tuple[Record, ...], list[int], list[int]]


class Shape:
    """``freeze(tracers, first, literal, is_carried)`` gives records, external values and the places of tiny values that the next
    iteration reads; None where the segment is another."""

    __slots__ = ("activity", "content", "count", "freeze", "guards", "keys", "kind", "users")

    def __init__(self, freeze: Callable[..., Made | None], records: Sequence[Record], content: Any, kind: Kind) -> None:
        self.freeze = freeze
        self.count = len(records)
        self.content = content
        self.kind = kind
        self.guards = [k for k, record in enumerate(records) if record.op is not None and record.op.traits & GUARD]
        self.keys: dict[Any, Any] = {}  # by active values and externals
        self.activity: dict[bytes, bytes] = {}  # active externals -> active values
        self.users: dict[bytes, tuple[int, ...]] = {}  # active values -> externals that they use


class Match(NamedTuple):
    """A segment of a shape: records [first, last), the values from before, and where it hands tiny values on."""

    first: int
    last: int
    shape: Shape
    externals: list[int]
    carried: list[int]


_shapes: dict[Any, list[Shape]] = {}  # by the first operation and its instruction


def shapes_at(tracer: Tracer) -> Sequence[Shape]:
    """The shapes that a segment may have that begins with this value."""
    site = tracer.site
    return _shapes.get((tracer.op, site[1]), ()) if site is not None else ()


def learn(tracers: Sequence[Tracer], records: Sequence[Record], first: int, content: Any, kind: Kind) -> None:
    """Make the shape of a segment, where that is possible."""
    site = tracers[0].site
    if len(tracers) > LONGEST or site is None:
        return
    freeze = _Text(tracers, records, first).compiled()
    if freeze is None:
        return
    if sum(map(len, _shapes.values())) >= MOST:
        _shapes.clear()
    known = _shapes.setdefault((tracers[0].op, site[1]), [])
    known.insert(0, Shape(freeze, records, content, kind))
    del known[CANDIDATES:]


class _Other(Exception):
    """There is no text for a segment."""


class _Text:
    """The function of a shape."""

    def __init__(self, tracers: Sequence[Tracer], records: Sequence[Record], first: int) -> None:
        self.tracers = tracers
        self.records = records
        self.first = first
        self.names: dict[str, Any] = {"Tracer": Tracer, "Record": Record, "new": object.__new__, "ndarray": _ndarray, "Static": Static}
        self.checks: list[str] = []
        self.lines: list[str] = []
        self.externals: dict[int, int] = {}
        self.floats: dict[int, int] = {}  # slots of the user's floats, by id

    def compiled(self) -> Callable[..., Made | None] | None:
        count = len(self.tracers)
        try:
            for k in range(count):
                self.value(k)
        except _Other:
            return None
        head = [f"{''.join(f't{k}, ' for k in range(count))}= T"]
        head.append(f"if {' or '.join(f't{k}.op is not {self.const(t.op)}' for k, t in enumerate(self.tracers))}: return None")
        for kind, number in (("i", len(self.externals)), ("f", len(self.floats))):
            if number > 1:
                each = ", ".join(f"i{k}" if kind == "i" else f"id(f{k})" for k in range(number))
                self.checks.append(f"if len({{{each}}}) != {number}: return None")
        self.checks += ["segment = t0.segment", "C = []", *[f"d{k} = literal(f{k})" for k in range(len(self.floats))]]
        records = "".join(f"r{k}, " for k in range(count))
        last = f"return ({records}), [{', '.join(f'i{k}' for k in range(len(self.externals)))}], C"
        body = "\n    ".join([*head, *self.checks, *self.lines, last])
        exec(compile(f"def freeze(T, first, literal, is_carried):\n    {body}\n", "<irgrad segment>", "exec"), self.names)
        made: Callable[..., Made | None] = self.names["freeze"]
        return made

    def const(self, value: Any) -> str:
        """A name for an object."""
        name = f"k{id(value)}"
        self.names[name] = value
        return name

    def check(self, condition: str) -> None:
        self.checks.append(f"if {condition}: return None")

    def value(self, k: int) -> None:
        tracer, record = self.tracers[k], self.records[k]
        op = record.op
        if op is None or type(tracer) is not Tracer or len(record.operands) != len(tracer.operands):
            raise _Other
        self.checks.append(f"x = t{k}.operands")
        self.check(f"len(x) != {len(record.operands)}")
        operands = [self.operand(k, j, o, tracer.operands[j]) for j, o in enumerate(record.operands)]
        is_guard = bool(op.traits & GUARD)
        self.params(k, record, tracer)
        if not is_guard:
            self.form(f"t{k}.form", tracer.form)
        self.lines += [
            f"r{k} = new(Record)", f"r{k}.op = {self.const(op)}", f"r{k}.operands = ({''.join(f'{o}, ' for o in operands)})",
            f"r{k}.params = t{k}.params", f"r{k}.aval = {record.aval}", f"r{k}.segment = segment", f"r{k}.site = s = t{k}.site",
            f"r{k}.code = {record.code}",
        ]  # fmt: skip
        value = tracer.form
        size = value.size if type(value) is _ndarray else 1
        if not is_guard and (size <= TINY or (size <= SMALL and op.traits & ELEMENTWISE)):
            self.lines.append("if s is not None and s[1] in s[0].info.marked and is_carried(s):")
            self.lines.append(f"    r{k}.carried = True{f'; C.append({k})' if size <= TINY else ''}")
            self.lines.append(f"else: r{k}.carried = False")
        else:
            self.lines.append(f"r{k}.carried = False")

    def operand(self, k: int, j: int, o: Any, given: Any) -> str:
        """Checks of an operand; what it is in the record."""
        x, kind = f"x[{j}]", type(o)
        if kind is int:
            if o >= self.first:
                self.check(f"{x} is not t{o - self.first}")
                return f"t{o - self.first}.index"
            number = self.externals.get(o)
            if number is not None:
                self.check(f"{x} is not e{number}")
                return f"i{number}"
            number = self.externals[o] = len(self.externals)
            self.checks.append(f"e{number} = {x}")
            self.check(f"type(e{number}) is not Tracer or (i{number} := e{number}.index) >= first")
            self.form(f"e{number}.form", given.form)
            return f"i{number}"
        if kind is Static:
            self.check(f"{x} is not {self.const(o)}")
            return self.const(o)
        if kind is not Data:
            raise _Other
        value = o.value
        if type(value) is float:
            slot = self.floats.get(id(value))
            if slot is None:
                slot = self.floats[id(value)] = len(self.floats)
                self.checks.append(f"f{slot} = {x}")
                self.check(f"type(f{slot}) is not float")
            else:
                self.check(f"{x} is not f{slot}")
            return f"d{slot}"
        if type(value) is int or type(value) is bool:
            self.check(f"type({x}) is not {type(value).__name__} or {x} != {value!r}")
            return f"literal(t{k}.operands[{j}])"
        raise _Other

    def params(self, k: int, record: Record, tracer: Tracer) -> None:
        """Checks of what belongs to the code of a record (`Freezer`)."""
        op, params = record.op, record.params
        assert op is not None
        if op.traits & GUARD:
            self.check(f"t{k}.params['kind'] != {params['kind']!r}")
        elif not params:
            self.check(f"t{k}.params")
        elif op.name in DYNAMIC and tracer.operands[0].form.size > TINY:
            self.checks.append(f"q = t{k}.params")
            self.check(" or ".join(f"q[{name!r}] != {self.const(params[name])}" for name in ("count", "step", "drop")))
        else:
            self.check(f"t{k}.params != {self.const(params)}")

    def form(self, text: str, value: Any) -> None:
        """Is the form of a value the same?"""
        if type(value) is _ndarray:
            self.checks.append(f"v = {text}")
            self.check(f"type(v) is not ndarray or v.shape != {self.const(value.shape)} or v.dtype is not {self.const(value.dtype)}")
        else:
            self.check(f"type({text}) is not {self.const(type(value))}")


# ---- walks ----

Look = Callable[[Sequence[Any], int, int, int, bytearray], None]


def find_active(
    stretches: Iterable[tuple[int, int, Match | None]],
    tape: Sequence[Any],
    start: int,
    wanted: Sequence[int],
    active: bytearray,
    look: Look,
) -> None:
    """`passes.adjoint.find_active`, a segment of a known shape at a time; `look(tape, start, first, last, active)` does the rest."""
    for first, last, match in stretches:
        if match is None or any(first <= mark < last for mark in wanted):
            look(tape, start, first, last, active)
            continue
        flags, activity = bytes([x >= start and active[x - start] for x in match.externals]), match.shape.activity
        known = activity.get(flags)
        if known is None:
            look(tape, start, first, last, active)
            activity[flags] = bytes(active[first - start : last - start])
        else:
            active[first - start : last - start] = known


def used(match: Match, active: bytes, records: Sequence[Record]) -> tuple[int, ...]:
    """The numbers of the externals that active values of a segment use."""
    known = match.shape.users.get(active)
    if known is None:
        first, numbers = match.first, {x: n for n, x in enumerate(match.externals)}
        each = [o for k, flag in enumerate(active) if flag for o in records[first + k].operands if type(o) is int and o < first]
        known = match.shape.users[active] = tuple(sorted({numbers[x] for x in each}))
    return known
