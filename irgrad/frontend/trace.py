"""Recording: the tape of one trace.

`EagerTrace` is a light append-only tape of values for immediate differentiation. `GraphTrace` records what a program is
built from: every operation with operands of its loop's dtype, its source site and its *segment*, a run of operations between
two boundaries (an iteration's end, a guard). Both hold concrete values, so Python control flow just works.
A trace is closed when its function has returned; its tracers are refused from then on.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from irgrad.config import CONFIG
from irgrad.errors import RuntimeGuardError, TraceError, translate
from irgrad.frontend.promote import loop_dtypes, operand_key
from irgrad.frontend.sites import Site, Sites, is_carried, source_of, user_source
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import aval_of
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, REGISTRY, Primitive
from irgrad.ir.recording import TINY
from irgrad.ir.source import Source
from irgrad.ir.value import Number, Static

_LITERALS = (bool, int, float, complex, np.generic)
_HOLDERS = (Tracer, Static, Number)


class Trace:
    """What both kinds of trace share: a tape, and whether it is open."""

    is_graph = False

    def __init__(self) -> None:
        self.tape: list[Tracer] = []
        self.open = True
        self.inside = False  # within a public function of irgrad: its inner calls are at the caller's site
        self.marks = 0  # differentiations in progress
        self.substitution: Any = None  # runs copies of the user's functions, in which numpy's names are traced ones

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        """Record the elementwise `op` on values and literals; `fn` computes the result."""
        raise NotImplementedError

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        """Record any primitive on operands of the right dtypes, computing with `op.evaluate`."""
        raise NotImplementedError

    def guard(self, tracer: Tracer, kind: str, value: Any) -> None:
        """Note that the program's course relied on `value` of `tracer`."""

    def lift(self, value: Any) -> Any:
        """A constant array or number as an operand."""
        return value

    def check(self, tracer: Tracer) -> None:
        """Refuse a tracer of another or a finished trace."""
        if tracer._trace is self and self.open:
            return
        if not tracer._trace.open:
            raise RuntimeGuardError(
                f"a traced value ({describe(tracer)}) is used after its trace has ended ({here()}); "
                "return it from the traced function instead of storing it"
            )
        raise RuntimeGuardError(f"values of two traces meet ({here()}); traces of different threads cannot share values")

    def failed(self, op: Primitive, args: Sequence[Any], error: Exception) -> TraceError:
        """numpy's error with the operation, its operands and the user's line."""
        operands = ", ".join(describe(a) for a in args)
        return translate(error, f"{op.name}({operands}): {error} ({here()})")

    def close(self) -> None:
        self.open = False
        self.tape = []
        self.__class__ = ClosedTrace


class ClosedTrace(Trace):
    """What a trace becomes when its function has returned: everything but looking is refused."""

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        return self.refuse(args)

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        return self.refuse(args)

    def guard(self, tracer: Tracer, kind: str, value: Any) -> None:
        self.check(tracer)

    def lift(self, value: Any) -> Any:
        return self.refuse((value,))

    def refuse(self, args: Sequence[Any]) -> NoReturn:
        self.check(next(a for a in args if type(a) is Tracer))
        raise RuntimeGuardError(f"a trace is used after its end ({here()})")


def same_content(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal bits: a captured array may have been written between two uses."""
    return a.shape == b.shape and a.dtype == b.dtype and (a is b or a.tobytes() == b.tobytes())


class EagerTrace(Trace):
    """A tape for differentiation at once: values as numpy computed them, no conversions, no provenance."""

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        values = []
        for a in args:
            if type(a) is Tracer:
                if a._trace is not self:
                    self.check(a)
                values.append(a.value)
            else:
                values.append(a)
        try:
            out = fn(*values)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        tape = self.tape
        tracer = Tracer(self, out, op, args, _NO_PARAMS, len(tape))
        tape.append(tracer)
        return tracer

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        values = []
        for a in args:
            kind = type(a)
            if kind is Tracer:
                if a._trace is not self:
                    self.check(a)
                values.append(a.value)
            else:
                values.append(a.value if kind is Static else a)
        try:
            out = op.evaluate(*values, **params)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        tape = self.tape
        tracer = Tracer(self, out, op, tuple(args), params, len(tape))
        tape.append(tracer)
        return tracer

    def close(self) -> None:
        super().close()
        self.__class__ = ClosedTrace


class ClosedTrace(EagerTrace):
    """An eager trace that has ended: an open one need not ask whether it is."""

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        return self.call(op, args, _NO_PARAMS)

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        for a in args:
            if type(a) is Tracer:
                self.check(a)
        raise RuntimeGuardError(f"a traced value is used after its trace has ended ({here()})")


_NO_PARAMS: dict[str, Any] = {}


class GraphTrace(Trace):
    """A tape to build programs from."""

    is_graph = True

    def __init__(self, base: FrameType | None = None) -> None:
        super().__init__()
        self.sites = Sites(base)
        self.segment = 0
        self.depths: list[int] = [0]  # open loops around each segment
        self.pending = False  # the next operation starts a segment
        self.site: Site | None = None
        self.constants: dict[int, Tracer] = {}
        self.keep: list[Any] = []
        self.origin: Callable[[Any], Any] | None = None  # finds where a captured array comes from
        self.limit = CONFIG.max_nodes
        self.primals: dict[int, int] | None = None  # for graphs that people read: adjoint value -> primal value
        self.primal: int | None = None
        self.written = Spans()  # what derivative rules recorded

    def locate(self) -> None:
        """Note the user's position; called at each public entry."""
        if self.sites.locate(sys._getframe(1)):
            self.pending = True
        self.site = self.sites.site

    def record(self, op: Primitive | None, operands: tuple[Any, ...], params: dict[str, Any], value: Any) -> Tracer:
        """Append one value. Operands are tracers of this trace, `Static` numbers or literal numbers."""
        if self.pending:
            self.new_segment(self.sites.depth)
        tape = self.tape
        index = len(tape)
        tracer = Tracer(self, value, op, operands, params, index)
        tracer.segment = self.segment
        tracer.site = self.site
        tape.append(tracer)
        if self.primals is not None and self.primal is not None:
            self.primals[index] = self.primal
        if index >= self.limit:
            self.too_long()
        return tracer

    def new_segment(self, depth: int) -> None:
        self.pending = False
        self.segment += 1
        self.depths.append(depth)

    def too_long(self) -> None:
        source = source_of(self.site)
        raise TraceError(
            f"more than {self.limit} operations were recorded (the loop at {source}); is it endless? "
            "IRGRAD_MAX_NODES raises the limit; irgrad.while_loop records a loop as one node"
        )

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        if not self.open:
            self.check(next(a for a in args if type(a) is Tracer))
        if not self.inside:
            self.locate()
        operands = [a if type(a) is Tracer or isinstance(a, _LITERALS) else self.lift(a) for a in args]
        values = [a.value if type(a) is Tracer else a for a in operands]
        try:
            out = fn(*values)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        return self.record(op, self.converted(op, operands, values), {}, out)

    def converted(self, op: Primitive, operands: list[Any], values: list[Any]) -> tuple[Any, ...]:
        """The operands with the dtypes of numpy's loop."""
        dtypes = loop_dtypes(op, tuple([operand_key(v) for v in values]))
        for i, (operand, dtype) in enumerate(zip(operands, dtypes, strict=True)):
            if type(operand) is Tracer:
                if operand._trace is not self:
                    self.check(operand)
                value = operand.value
                have = value.dtype if isinstance(value, (np.ndarray, np.generic)) else operand.aval.dtype
                if have != dtype:
                    operands[i] = self.convert(operand, dtype)
            elif type(operand) is Static:
                operands[i] = Static(_cast_number(operand.value, dtype))
            else:
                operands[i] = _cast_number(operand, dtype)
        return tuple(operands)

    def convert(self, tracer: Tracer, dtype: np.dtype[Any]) -> Tracer:
        value = np.asarray(tracer.value)
        if value.dtype.kind == "c" and dtype.kind != "c":
            value = value.real
        return self.record(REGISTRY["convert"], (tracer,), {"dtype": dtype.name}, value.astype(dtype)[()])

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        if not self.open:
            self.check(next(a for a in args if type(a) is Tracer))
        if not self.inside:
            self.locate()
        operands = tuple([a if type(a) is Tracer or isinstance(a, _LITERALS) or type(a) is Static else self.lift(a) for a in args])
        values = []
        for a in operands:
            if type(a) is Tracer:
                if a._trace is not self:
                    self.check(a)
                values.append(a.value)
            else:
                values.append(a.value if type(a) is Static else a)
        try:
            out = op.evaluate(*values, **params)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        return self.record(op, operands, params, out)

    def guard(self, tracer: Tracer, kind: str, value: Any) -> None:
        self.check(tracer)
        if not self.inside:
            self.locate()
        self.record(REGISTRY["guard"], (tracer,), {"kind": kind, "value": value}, None)
        self.pending = True

    def lift(self, value: Any) -> Any:
        """A constant as an operand: arrays become inputs of the program with their origin, numbers stay literals."""
        if isinstance(value, _LITERALS):
            return value
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise TraceError(f"an operand of dtype {array.dtype} cannot be traced ({here()}); convert it to a number first")
        known = self.constants.get(id(value))
        if known is not None and (known.params["origin"] is not None or same_content(known.value, array)):
            return known
        origin = self.origin(value) if self.origin is not None else None
        tracer = self.input(array if origin is not None else array.copy(), origin)
        self.constants[id(value)] = tracer
        self.keep.append(value)
        return tracer

    def input(self, value: Any, origin: Any) -> Tracer:
        """An input of the program: an argument leaf, a captured value (with its origin) or a constant (None)."""
        index = len(self.tape)
        tracer = Tracer(self, value, None, (), {"origin": origin}, index)
        tracer.segment = -1
        tracer.site = None
        self.tape.append(tracer)
        return tracer

    def close(self) -> None:
        super().close()
        self.sites.close()


class Spans:
    """Ranges of indices, in ascending order, that do not overlap."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        while self.starts and self.starts[-1] >= start:  # an inner range ends with the outer one
            self.starts.pop()
            self.stops.pop()
        self.starts.append(start)
        self.stops.append(stop)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self.starts, index) - 1
        return at >= 0 and index < self.stops[at]


def _cast_number(number: Any, dtype: np.dtype[Any]) -> Any:
    """A literal in the dtype of its loop; 64-bit numbers stay Python numbers."""
    if isinstance(number, float) and dtype == np.float64:
        return number
    if isinstance(number, (bool, int)) and not isinstance(number, np.generic):
        if dtype == np.float64:
            return float(number)
        if dtype == np.int64 and not isinstance(number, bool):
            return number
    if isinstance(number, complex) and dtype.kind != "c":
        number = number.real
    return dtype.type(number)


def describe(value: Any) -> str:
    """An operand for a message: its aval, or what it is."""
    value = value.value if isinstance(value, (Tracer, Static)) else value
    try:
        return str(aval_of(value))
    except TypeError:
        return type(value).__name__


def here() -> Source | None:
    """File and line of the user's code that called into irgrad."""
    return user_source(sys._getframe(1))


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
        return Static(o) if isinstance(o, _LITERALS) else trace.lift(o)

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
