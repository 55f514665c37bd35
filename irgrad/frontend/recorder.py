"""The builder through which derivative rules record into a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.graph_trace import LITERALS, GraphTrace
from irgrad.frontend.sites import is_carried
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, REGISTRY, Primitive
from irgrad.ir.recording import TINY
from irgrad.ir.value import Number, Static

_HOLDERS = (Tracer, Static, Number)


class RecordBuilder(Builder):
    """Lets derivative rules record into a graph trace (or an eager tape, for nested differentiation)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.last: int | None = trace.segment if isinstance(trace, GraphTrace) and not trace.pending else None
        self.extra = 0  # loops around this walk: the rows of a Jacobian are iterations

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
        if op.has(ELEMENTWISE):
            return lambda *operands, **params: self.elementwise(trace, op, operands, params)
        return lambda *operands, **params: self.plain(trace, op, operands, params)

    def eager(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        if any(type(o) is Tracer for o in operands):
            return self.trace.call(op, operands, params)
        return op.evaluate(*[o.value if type(o) is Static else o for o in operands], **params)

    def elementwise(self, trace: GraphTrace, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        made = [self.operand(trace, o) for o in operands]
        if op.name == "mul":  # the seed of a scalar output
            for one, other in ((made[0], made[1]), (made[1], made[0])):
                if type(one) is Static and one.value == 1 and type(other) is Tracer and self.dtype(one) == self.dtype(other):
                    return other
        values = [o.value if type(o) is Tracer or type(o) is Static else o for o in made]
        out = op.evaluate(*values, **params)
        if all(type(o) is Static for o in made):
            return Static(out)
        return trace.record(op, trace.converted(op, made, values) if len(made) > 1 else tuple(made), params, out)

    def plain(self, trace: GraphTrace, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        made = tuple([self.operand(trace, o) for o in operands])
        values = [o.value if type(o) is Tracer or type(o) is Static else o for o in made]
        return trace.record(op, made, params, op.evaluate(*values, **params))

    @staticmethod
    def operand(trace: GraphTrace, o: Any) -> Any:
        kind = type(o)
        if kind is Tracer or kind is Static:
            return o
        if kind is Number:
            return o.value
        return Static(o) if isinstance(o, LITERALS) else trace.lift(o)

    def update(self, op: Primitive, buffer: Any, *operands: Any, **params: Any) -> Any:
        """An update of a buffer that no one else reads: its bits are changed in place."""
        trace = self.trace
        evaluate = op.in_place or op.evaluate
        if isinstance(trace, GraphTrace):
            buffer, *operands = [self.operand(trace, o) for o in (buffer, *operands)]  # type: ignore[assignment]
        values = [o.value if type(o) is Tracer or type(o) is Static else o for o in operands]
        out = evaluate(buffer.value if type(buffer) is Tracer else buffer, *values, **params)
        if isinstance(trace, GraphTrace):
            return trace.record(op, (buffer, *operands), params, out)
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
        return self.full(ct, shape=self.shape(ct), dtype=self.dtype(ct).name)

    def prepare(self, tape: Sequence[Tracer], start: int, stop: int, active: bytearray) -> dict[int, tuple[Tracer, bool]]:
        """Zeroed cotangents to begin with, so that all iterations of a loop, the first and the last included, add to what is there.

        Values made outside a loop and used by iterations of it have a buffer each (True: the walk may change it in place); of more
        than a few elements only where two or more iterations use them. What an iteration passes on to another has shared zeros.
        """
        trace = self.trace
        if not isinstance(trace, GraphTrace):
            return {}
        depths = trace.depths
        users: dict[int, list[int]] = {}
        for i in range(start, stop):
            if not active[i - start]:
                continue
            node = tape[i]
            segment = node.segment
            if depths[segment] == 0:
                continue
            for o in node.operands:
                if type(o) is Tracer and o.segment != segment and o.index >= start and active[o.index - start]:
                    found = users.get(o.index)
                    if not found:
                        users[o.index] = [segment]
                    elif found[-1] != segment and len(found) < 2:
                        found.append(segment)
            if i not in users and np.size(node.value) <= TINY and is_carried(node.site):
                users[i] = []
        prepared: dict[int, tuple[Tracer, bool]] = {}
        shared: dict[Any, Tracer] = {}
        producer, ordinal = -2, 0
        places: dict[Any, int] = {}
        for index in sorted(users):
            o = tape[index]
            segments = users[index]
            tiny = np.size(o.value) <= TINY
            if self.dtype(o).kind not in "fc" or not (tiny or len(segments) > 1):
                continue
            if segments and (o.segment < 0 or depths[o.segment] < depths[segments[0]]):
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

    def shape(self, x: Any) -> tuple[int, ...]:
        value = x.value if type(x) in _HOLDERS else x
        return value.shape if isinstance(value, np.ndarray) else np.shape(value)

    def dtype(self, x: Any) -> np.dtype[Any]:
        value = x.value if type(x) in _HOLDERS else x
        return value.dtype if isinstance(value, (np.ndarray, np.generic)) else np.result_type(value)

    def number(self, value: Any) -> Any:
        return Number(value) if isinstance(self.trace, GraphTrace) else value

    def zeros_like(self, x: Any) -> Any:
        shape, dtype = self.shape(x), self.dtype(x)
        value = np.zeros(shape, dtype)
        params = {"shape": shape, "dtype": dtype.name}
        if isinstance(self.trace, GraphTrace):
            return self.trace.record(REGISTRY["zeros"], (), params, value)
        return self.trace.call(REGISTRY["zeros"], (), params)
