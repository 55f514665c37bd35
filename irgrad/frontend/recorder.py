"""The builder through which derivative rules record into a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.alike import Look, find_active, used
from irgrad.frontend.graph_trace import LITERALS, GraphTrace
from irgrad.frontend.promote import LOOPS, find_loop
from irgrad.frontend.record import Freezer, freezer_of
from irgrad.frontend.replay import SHORT, Replays
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import dtype_name
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, REGISTRY, Primitive
from irgrad.ir.recording import TINY
from irgrad.ir.value import Number, Static

_HOLDERS = frozenset((Tracer, Static, Number))
TOGETHER = 8  # buffers of cotangents in one segment
_NO_PARAMS: dict[str, Any] = {}
_FLOAT64 = np.dtype(np.float64)
_float64 = np.float64
_ndarray = np.ndarray


class RecordBuilder(Builder):
    """Lets derivative rules record into a graph trace (or an eager tape, for nested differentiation)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.last: int | None = trace.segment if isinstance(trace, GraphTrace) and not trace.pending else None
        self.extra = 0  # loops around this walk: the rows of a Jacobian are iterations
        self.numbers: dict[int, Any] = {}  # by id: those that depend on shapes

    def row(self) -> None:
        """Start an iteration of a loop of walks."""
        trace = self.trace
        self.extra, self.last = 1, None
        if isinstance(trace, GraphTrace):
            trace.new_segment(trace.sites.depth + 1)

    def bind(self, op: Primitive) -> Callable[..., Any]:
        trace = self.trace
        if not isinstance(trace, GraphTrace):
            return lambda *operands, **params: self.eager(op, operands, params)
        if not op.has(ELEMENTWISE):
            return lambda *operands, **params: self.plain(trace, op, operands, params)
        ufunc = next((f for f in op.captures if isinstance(f, np.ufunc)), None)
        if ufunc is not None and ufunc.nin == 2:
            return self.binary(trace, op)
        return lambda *operands, **params: self.elementwise(trace, op, operands, params)

    def eager(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        if any(type(o) is Tracer for o in operands):
            return self.trace.call(op, operands, params)
        return op.evaluate(*[o.value if type(o) is Static else o for o in operands], **params)

    def binary(self, trace: GraphTrace, op: Primitive) -> Callable[[Any, Any], Any]:
        """`elementwise` for two operands: most of what rules record."""
        product = op.name == "mul"

        def record(x: Any, y: Any) -> Any:
            if type(x) not in _HOLDERS:
                x = boxed(trace, x)
            if type(y) not in _HOLDERS:
                y = boxed(trace, y)
            if product and (type(x) is Static or type(y) is Static):  # by one: the seed of a scalar output
                for one, other in ((x, y), (y, x)):
                    if type(one) is Static and one.value == 1 and type(other) is Tracer and self.dtype(one) == self.dtype(other):
                        return other
            if trace.defers and (made := trace.deferral.elementwise(op, (x, y))) is not None:
                return made
            a, b = x.value, y.value
            call = (op, a.dtype if type(a) is _ndarray else type(a), b.dtype if type(b) is _ndarray else type(b))
            evaluate, dtypes = LOOPS.get(call) or find_loop(call, (a, b))
            out = evaluate(a, b)
            if dtypes is None and type(x) is Tracer and type(y) is Tracer and x._trace is trace is y._trace:
                return trace.record(op, (x, y), _NO_PARAMS, out)
            return self.finish(trace, op, (x, y), dtypes, _NO_PARAMS, out)

        return record

    def elementwise(self, trace: GraphTrace, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        made = [o if type(o) in _HOLDERS else boxed(trace, o) for o in operands]
        if trace.defers:
            later = trace.deferral.call(op, made, params) if params else trace.deferral.elementwise(op, made)
            if later is not None:
                return later
        values = [o.value for o in made]
        dtypes = None
        if len(values) > 1:
            call = (op, *[v.dtype if type(v) is _ndarray else type(v) for v in values])
            _, dtypes = LOOPS.get(call) or find_loop(call, values)
        return self.finish(trace, op, made, dtypes, params, op.evaluate(*values, **params))

    @staticmethod
    def finish(trace: GraphTrace, op: Primitive, made: Sequence[Any], dtypes: Any, params: dict[str, Any], out: Any) -> Any:
        """Record a result; one of static numbers is a static number."""
        if all(type(o) is Static for o in made):
            return Static(out)
        for o in made:
            if type(o) is Tracer:
                trace.check(o)
        operands = tuple([o.value if type(o) is Number else o for o in made])
        return trace.record(op, operands if dtypes is None else trace.converted(operands, dtypes), params, out)

    def plain(self, trace: GraphTrace, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        made = [o if type(o) in _HOLDERS else boxed(trace, o) for o in operands]
        if trace.defers and (later := trace.deferral.call(op, made, params)) is not None:
            return later
        out = op.evaluate(*[o.value for o in made], **params)
        return trace.record(op, tuple([o.value if type(o) is Number else o for o in made]), params, out)

    def update(self, op: Primitive, buffer: Any, *operands: Any, **params: Any) -> Any:
        """An update of a buffer that no one else reads: its bits are changed in place."""
        trace = self.trace
        evaluate = op.in_place or op.evaluate
        if isinstance(trace, GraphTrace):
            made = [o if type(o) in _HOLDERS else boxed(trace, o) for o in (buffer, *operands)]
            if trace.defers and (later := trace.deferral.call(op, made, params)) is not None:
                return later
            out = evaluate(*[o.value for o in made], **params)
            return trace.record(op, tuple([o.value if type(o) is Number else o for o in made]), params, out)
        values = [o.value if type(o) is Tracer or type(o) is Static else o for o in operands]
        out = evaluate(buffer.value if type(buffer) is Tracer else buffer, *values, **params)
        if type(buffer) is not Tracer and all(type(o) is not Tracer for o in operands):
            return out
        tracer = Tracer(trace, out, op, (buffer, *operands), params, len(trace.tape))
        trace.tape.append(tracer)
        return tracer

    def at(self, node: Tracer) -> Sequence[Any]:
        """What is recorded next belongs to the adjoint of `node`: its segment is mirrored, its site kept.

        Returns the operands as rules see them: the user's literals stay data.
        """
        trace = self.trace
        if not isinstance(trace, GraphTrace):
            return node.operands
        trace.site = node.site
        trace.primal = node.index
        if node.segment != self.last:
            trace.new_segment(trace.depths[node.segment] + self.extra)
            self.last = node.segment
        return [o if type(o) in _HOLDERS else Number(o) for o in node.operands]

    def seed(self, node: Tracer, ct: Any) -> Any:
        """The first cotangent of a walk: data, where the output was made in a loop, so that its last iteration is like the others."""
        trace = self.trace
        if type(ct) is not Static or not isinstance(trace, GraphTrace) or trace.depths[node.segment] == 0:
            return ct
        return self.full(ct, shape=self.shape(ct), dtype=dtype_name(self.dtype(ct)))

    def prepare(self, tape: Sequence[Tracer], start: int, stop: int, active: bytearray) -> dict[int, tuple[Tracer, bool]]:
        """Zeroed cotangents to begin with, so that all iterations of a loop, the first and the last included, add to what is there.

        Values made outside a loop and used by iterations of it have a buffer each (True: the walk may change it in place); of more
        than a few elements only where two or more iterations use them. What an iteration passes on to another has shared zeros.
        """
        trace = self.trace
        if not isinstance(trace, GraphTrace):
            return {}
        if trace.pause is not None:
            trace.pause()
        users = self.users(trace, tape, start, stop, active)
        if trace.pause is not None:
            trace.pause()
        depths = trace.depths
        prepared: dict[int, tuple[Tracer, bool]] = {}
        shared: dict[Any, Tracer] = {}
        producer, ordinal, number = -2, 0, 0
        places: dict[Any, int] = {}
        for index in sorted(users):
            o = tape[index]
            segments = users[index]
            tiny = _is_tiny(o.form)
            if self.dtype(o).kind not in "fc" or not (tiny or len(segments) > 1):
                continue
            if segments and (o.segment < 0 or depths[o.segment] < depths[segments[0]]):
                number += 1
                if number >= TOGETHER:  # a segment each, whatever their number
                    trace.new_segment(depths[o.segment] if o.segment >= 0 else 0)
                    self.last = None
                prepared[index] = (self.zeros_like(o), True)
            elif tiny:  # the k-th value of its form that this iteration passes on; neighbouring iterations have zeros of their own
                if o.segment != producer:
                    producer, ordinal, places = o.segment, ordinal + 1, {}
                form = (self.shape(o), self.dtype(o))
                place = places[form] = places.get(form, -1) + 1
                key = (ordinal % 2, place, *form)
                if key not in shared:
                    shared[key] = self.zeros_like(o)
                prepared[index] = (shared[key], False)
        return prepared

    @staticmethod
    def users(trace: GraphTrace, tape: Sequence[Tracer], start: int, stop: int, active: bytearray) -> dict[int, list[int]]:
        """Values -> the first two segments of loops that use them; none of what an iteration hands on to the next and nobody here uses."""
        depths, sites, freezer = trace.depths, trace.sites, trace.freezer
        users: dict[int, list[int]] = {}
        stretches = [(start, stop, None)] if freezer is None or len(freezer.items) < stop else freezer.stretches(start, stop)
        for first, last, match in stretches:
            if match is not None:  # of a loop
                flags, segment = bytes(active[first - start : last - start]), tape[first].segment
                for n in used(match, flags, freezer.records):
                    x = match.externals[n]
                    if x >= start and active[x - start]:
                        _note(users, x, segment)
                for k in match.carried:
                    if flags[k]:
                        users[first + k] = []
                continue
            for i in range(first, last):
                if not active[i - start]:
                    continue
                node = tape[i]
                segment = node.segment
                if depths[segment] == 0:
                    continue
                for o in node.operands:
                    if type(o) is Tracer and o.segment != segment and o.index >= start and active[o.index - start]:
                        _note(users, o.index, segment)
                site = node.site
                if (
                    site is not None
                    and site[1] in site[0].info.marked
                    and i not in users
                    and sites.is_carried(site)
                    and _is_tiny(node.form)
                ):
                    users[i] = []
        return users

    def frozen(self, tape: Sequence[Tracer], start: int, stop: int) -> Freezer | None:
        """The records of what a walk goes over, where there may be much that repeats."""
        trace = self.trace
        if not isinstance(trace, GraphTrace) or trace.is_body or trace.primals is not None or stop - start < SHORT:
            return None
        if tape is not trace.tape or (trace.defers and trace.deferral.pending):  # replays compute
            return None
        freezer = freezer_of(trace)
        freezer.advance_alike(stop)
        return freezer

    def find_active(self, tape: Sequence[Tracer], start: int, stop: int, wanted: Sequence[Tracer], look: Look) -> bytearray | None:
        """`passes.adjoint.find_active` by segments that are alike; None where there are none."""
        freezer = self.frozen(tape, start, stop)
        if freezer is None or not freezer.in_order:
            return None
        active = bytearray(stop - start)
        marks = [value.index for value in wanted]
        for index in marks:
            active[index - start] = 1
        find_active(freezer.stretches(start, stop), tape, start, marks, active, look)
        return active

    def replays(self, tape: Sequence[Tracer], start: int, stop: int, active: bytearray, keep: set[int]) -> Replays | None:
        """What goes through the segments of a walk without rules, where they repeat; None for walks without much to repeat."""
        freezer = self.frozen(tape, start, stop)
        return None if freezer is None else Replays(self, freezer.trace, freezer, start, stop, active, keep)

    def shape(self, x: Any) -> tuple[int, ...]:
        kind = type(x)
        value = x.form if kind is Tracer else x.value if kind in _HOLDERS else x
        kind = type(value)
        if kind is _float64:
            return ()
        return value.shape if kind is _ndarray else np.shape(value)

    def dtype(self, x: Any) -> np.dtype[Any]:
        kind = type(x)
        value = x.form if kind is Tracer else x.value if kind in _HOLDERS else x
        kind = type(value)
        if kind is _float64:
            return _FLOAT64
        return value.dtype if kind is _ndarray or isinstance(value, np.generic) else np.result_type(value)

    def number(self, value: Any) -> Any:
        if not isinstance(self.trace, GraphTrace):
            return value
        self.numbers[id(value)] = value
        return Number(value)

    def zeros_like(self, x: Any) -> Any:
        shape, dtype = self.shape(x), self.dtype(x)
        value = np.zeros(shape, dtype)
        params = {"shape": shape, "dtype": dtype_name(dtype)}
        if isinstance(self.trace, GraphTrace):
            return self.trace.record(REGISTRY["zeros"], (), params, value)
        return self.trace.call(REGISTRY["zeros"], (), params)


def boxed(trace: GraphTrace, operand: Any) -> Any:
    """A number that a rule wrote down, or an array, as an operand."""
    return Static(operand) if isinstance(operand, LITERALS) else trace.lift(operand)


def _note(users: dict[int, list[int]], x: int, segment: int) -> None:
    """A segment uses a value: the first two are kept."""
    found = users.get(x)
    if not found:
        users[x] = [segment]
    elif found[-1] != segment and len(found) < 2:
        found.append(segment)


def _is_tiny(value: Any) -> bool:
    return type(value) is not _ndarray or value.size <= TINY
