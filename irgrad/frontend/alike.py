"""Segments that are alike are frozen whole.

Once a segment's content (`replay.run_key`) has come by often, a *shape* is made of it: a function, generated from one of its segments, that
looks at each value of a later one for what it may not differ in (operations, params, forms, which operand is which) and makes a block of it
(`ir.blocks`), or answers None at the first difference. What depends on the content alone is kept with the shape: its key and kind, which of
its values are active for which active operands, and which of these the walk meets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from irgrad.frontend.tracer import Tracer
from irgrad.ir.blocks import Block, Entry, Kind, Mould
from irgrad.ir.primitive import ELEMENTWISE, GUARD
from irgrad.ir.recording import DYNAMIC, SMALL, TINY, Data, Record
from irgrad.ir.value import Static

OFTEN = 24  # segments of one content in a trace from which there is a shape: making it costs as much as it saves in about 40
LONGEST = 400  # values of a segment
MOST = 512  # shapes
CANDIDATES = 4  # shapes that begin with one operation at one place
_ndarray = np.ndarray
_FRESH: tuple[Any, ...] = ((), (), ())


class Shape(Mould):
    """``freeze(tracers, first, literal, is_carried)`` gives the block of a segment; None where it is another. `latest` are the sites of the
    one before, with the places of what is carried and of tiny values among it, which segments of the same sites share."""

    __slots__ = ("activity", "content", "count", "freeze", "guards", "keys", "kind", "latest", "users")

    def __init__(self, text: _Text, records: Sequence[Record], content: Any, kind: Kind) -> None:
        super().__init__(text.entries)
        self.freeze = text.compiled(self, kind)
        self.count = len(records)
        self.content = content
        self.kind = kind
        self.guards = [k for k, record in enumerate(records) if record.op is not None and record.op.traits & GUARD]
        self.keys: dict[Any, Any] = {}  # by active values and externals
        self.activity: dict[bytes, bytes] = {}  # active externals -> active values
        self.users: dict[bytes, tuple[int, ...]] = {}  # active values -> externals that they use
        self.latest = _FRESH


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
    text = _Text(tracers, records, first)
    if not text.is_possible():
        return
    if sum(map(len, _shapes.values())) >= MOST:
        _shapes.clear()
    known = _shapes.setdefault((tracers[0].op, site[1]), [])
    known.insert(0, Shape(text, records, content, kind))
    del known[CANDIDATES:]


class _Other(Exception):
    """There is no text for a segment."""


class _Text:
    """The function of a shape."""

    def __init__(self, tracers: Sequence[Tracer], records: Sequence[Record], first: int) -> None:
        self.tracers = tracers
        self.records = records
        self.first = first
        self.names: dict[str, Any] = {"Tracer": Tracer, "Block": Block, "new": object.__new__, "ndarray": _ndarray}
        self.checks: list[str] = []
        self.entries: list[Entry] = []
        self.externals: dict[int, int] = {}
        self.floats: dict[int, int] = {}  # slots of the user's floats, by id
        self.literals: list[str] = []  # of the block
        self.params: list[str] = []
        self.small: list[int] = []  # values that may be carried
        self.tiny: list[int] = []  # the tiny ones of them

    def is_possible(self) -> bool:
        """Look at all values; is there a text?"""
        try:
            for k in range(len(self.tracers)):
                self.value(k)
        except _Other:
            return False
        return True

    def compiled(self, shape: Shape, kind: Kind) -> Callable[..., Block | None]:
        count, names = len(self.tracers), self.names
        names |= {"kind": kind, "shape": shape, "carries": partial(_carries, tuple(self.small), frozenset(self.tiny))}
        lines = [f"{''.join(f't{k}, ' for k in range(count))}= T"]
        lines.append(f"if {' or '.join(f't{k}.op is not {self.const(t.op)}' for k, t in enumerate(self.tracers))}: return None")
        for letter, number in (("i", len(self.externals)), ("f", len(self.floats))):
            if number > 1:
                each = ", ".join(f"i{k}" if letter == "i" else f"id(f{k})" for k in range(number))
                self.checks.append(f"if len({{{each}}}) != {number}: return None")
        lines += ["try:", *[f"    {check}" for check in self.checks]]
        lines += ["except ValueError: return None"]  # another number of operands
        lines += [f"sites = ({''.join(f't{k}.site, ' for k in range(count))})", "latest = shape.latest"]
        lines += ["if sites != latest[0]: latest = shape.latest = carries(sites, is_carried)", "b = new(Block)", "b.first = first"]
        lines += [f"b.last = first + {count}", "b.kind = kind", f"b.externals = [{', '.join(f'i{k}' for k in range(len(self.externals)))}]"]
        lines += ["b.mould = shape", "b.segment = t0.segment", f"b.literals = ({''.join(f'{x}, ' for x in self.literals)})"]
        lines += [f"b.params = ({''.join(f'{x}, ' for x in self.params)})", "b.sites, b.kept, b.carried = latest", "return b"]
        body = "\n    ".join(lines)
        exec(compile(f"def freeze(T, first, literal, is_carried):\n    {body}\n", "<irgrad segment>", "exec"), names)
        made: Callable[..., Block | None] = names["freeze"]
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
        if record.operands:
            self.checks.append(f"{''.join(f'x{j}, ' for j in range(len(record.operands)))}= t{k}.operands")
        else:
            self.check(f"t{k}.operands")
        operands = [self.operand(k, j, o, tracer.operands[j]) for j, o in enumerate(record.operands)]
        params = self.param(k, record, tracer)
        self.entries.append(Entry(op, tuple(operands), params, record.aval, record.code, k))
        if op.traits & GUARD:
            return
        self.form(f"t{k}.form", tracer.form)
        value = tracer.form
        size = value.size if type(value) is _ndarray else 1
        if size <= TINY or (size <= SMALL and op.traits & ELEMENTWISE):
            self.small.append(k)
            if size <= TINY:
                self.tiny.append(k)

    def operand(self, k: int, j: int, o: Any, given: Any) -> tuple[str, Any]:
        """Checks of an operand; what it is in the mould."""
        x, kind = f"x{j}", type(o)
        if kind is int:
            if o >= self.first:
                self.check(f"{x} is not t{o - self.first}")
                return "own", o - self.first
            number = self.externals.get(o)
            if number is not None:
                self.check(f"{x} is not e{number}")
                return "external", number
            number = self.externals[o] = len(self.externals)
            self.checks.append(f"e{number} = {x}")
            self.check(f"type(e{number}) is not Tracer or (i{number} := e{number}.index) >= first")
            self.form(f"e{number}.form", given.form)
            return "external", number
        if kind is Static:
            self.check(f"{x} is not {self.const(o)}")
            return "is", o
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
            return "literal", self.place(self.literals, f"literal(f{slot})")
        if type(value) is int or type(value) is bool:
            self.check(f"type({x}) is not {type(value).__name__} or {x} != {value!r}")
            self.literals.append(f"literal(t{k}.operands[{j}])")
            return "literal", len(self.literals) - 1
        raise _Other

    @staticmethod
    def place(known: list[str], text: str) -> int:
        if text not in known:
            known.append(text)
        return known.index(text)

    def param(self, k: int, record: Record, tracer: Tracer) -> dict[str, Any] | int:
        """Checks of what belongs to the code of a record (`Freezer`); its params, or their number where they are the block's own."""
        op, params = record.op, record.params
        assert op is not None
        if op.traits & GUARD:
            self.check(f"t{k}.params['kind'] != {params['kind']!r}")
        elif not params:
            self.check(f"t{k}.params")
            return params
        elif op.name in DYNAMIC and tracer.operands[0].form.size > TINY:
            self.checks.append(f"q = t{k}.params")
            each = [(name, self.const(params[name])) for name in ("count", "step", "drop")]
            self.check(" or ".join(f"(p := q[{name!r}]) is not {wanted} and p != {wanted}" for name, wanted in each))
        else:
            self.check(f"t{k}.params != {self.const(params)}")
            return params
        return self.place(self.params, f"t{k}.params")

    def form(self, text: str, value: Any) -> None:
        """Is the form of a value the same?"""
        if type(value) is _ndarray:
            self.checks.append(f"v = {text}")
            self.check(f"type(v) is not ndarray or v.shape != {self.const(value.shape)} or v.dtype is not {self.const(value.dtype)}")
        else:
            self.check(f"type({text}) is not {self.const(type(value))}")


def _carries(small: Sequence[int], tiny: Collection[int], sites: tuple[Any, ...], is_carried: Callable[[Any], bool]) -> tuple[Any, ...]:
    """These sites, with the places of small values that the next iteration reads, and of the tiny ones among them."""
    kept = [k for k in small if (site := sites[k]) is not None and site[1] in site[0].info.marked and is_carried(site)]
    return sites, tuple(kept), tuple([k for k in kept if k in tiny])


# ---- walks ----

Look = Callable[[Sequence[Any], int, int, int, bytearray], None]


def find_active(
    stretches: Iterable[tuple[int, int, Block | None]],
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
        flags, activity = bytes([x >= start and active[x - start] for x in match.externals]), match.mould.activity
        known = activity.get(flags)
        if known is None:
            look(tape, start, first, last, active)
            activity[flags] = bytes(active[first - start : last - start])
        else:
            active[first - start : last - start] = known


def used(match: Block, active: bytes, records: Sequence[Record]) -> tuple[int, ...]:
    """The numbers of the externals that active values of a segment use."""
    known = match.mould.users.get(active)
    if known is None:
        first, numbers = match.first, {x: n for n, x in enumerate(match.externals)}
        each = [o for k, flag in enumerate(active) if flag for o in records[first + k].operands if type(o) is int and o < first]
        known = match.mould.users[active] = tuple(sorted({numbers[x] for x in each}))
    return known
