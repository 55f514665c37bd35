"""Traces of bodies: the function of a loop or a branch, run once, becomes a `Body`.

What the function takes from outside (traced values, arrays that it captures) becomes a constant operand of the loop: it turns into an
input of the body when it is used. Python decisions on traced values have no place in a body and are errors that say what to write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from irgrad.errors import TraceError
from irgrad.frontend.context import CURRENT
from irgrad.frontend.draws import fingerprint
from irgrad.frontend.graph_trace import LITERALS, GraphTrace
from irgrad.frontend.record import freeze
from irgrad.frontend.storage import resolve, resolve_all
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.body import Body, interned, with_inputs_first
from irgrad.ir.primitive import EFFECT, PURE, REGISTRY, UPDATE, VIEW, Primitive
from irgrad.ir.recording import TINY
from irgrad.ir.value import Static

_MOVING: Any = object()
_INSTEAD = {"bool": "`if` or `while` on", "int": "int() or an index of a Python object by", "bits": "a plain number from"}


class Constants:
    """What the bodies of one loop take from outside, in the order of their inputs."""

    def __init__(self) -> None:
        self.sources: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number(self, source: Any) -> int:
        known = self._numbers.get(id(source))
        if known is None:
            known = self._numbers[id(source)] = len(self.sources)
            self.sources.append(source)
        return known


class _Outside:
    """The origin of an input that stands for a value from outside of the body."""

    def __init__(self, number: int) -> None:
        self.number = number

    @staticmethod
    def describe() -> str:
        return "an array from outside of the loop"


class BodyTrace(GraphTrace):
    """The trace of a body: see the module. `what` names the loop in messages."""

    is_body = True

    def __init__(self, what: str, parent: Trace | None, constants: Constants, base: FrameType | None = None) -> None:
        super().__init__(base)
        self.what = what
        self.parent = parent
        self.constants_of = constants
        self.arguments: list[Tracer] = []
        self.imported: dict[int, Tracer] = {}
        self.outside: dict[int, Any] = {}  # by index: values that do not depend on the arguments, on the trace around this one
        self.drawn = fingerprint()
        if parent is not None:
            self.substitution = parent.substitution

    def around(self) -> list[Trace]:
        """The traces around this one, the next one first."""
        found: list[Trace] = []
        trace = self.parent
        while trace is not None:
            found.append(trace)
            trace = trace.parent
        return found

    def argument(self, value: Any) -> Tracer:
        """The next argument of the body, with a value to trace with."""
        made = self.input(value, len(self.arguments))
        self.arguments.append(made)
        return made

    def check(self, tracer: Tracer) -> None:
        found = tracer._trace
        if not (found.open and self.is_inside(found)):
            super().check(tracer)

    def own(self, value: Any) -> Any:
        """A value of a trace around this one as an input of the body."""
        if type(value) is not Tracer or value._trace is self:
            return value
        outer = value._trace
        if not (outer.open and self.is_inside(outer)):
            return value
        if outer.storages:
            value = resolve(outer, value)
        return self.imported_of(value, value.value)

    def imported_of(self, source: Any, value: Any) -> Tracer:
        known = self.imported.get(id(source))
        if known is None:
            known = self.imported[id(source)] = self.input(value, _Outside(self.constants_of.number(source)))
        return known

    def outer_of(self, value: Any) -> Any:
        """What a value of the body is on the trace around it, where it is recorded; `_MOVING` if it depends on an argument."""
        if type(value) is not Tracer:
            return value
        known = self.outside.get(value.index)
        if known is None:
            known = self.outside[value.index] = self._outer_of(value)
        return known

    def _outer_of(self, value: Tracer) -> Any:
        op, parent = value.op, self.parent
        if op is None:
            origin = value.params["origin"]
            return self.constants_of.sources[origin.number] if type(origin) is _Outside else _MOVING
        if not op.has(PURE) or op.has(UPDATE):
            return _MOVING
        operands = [self.outer_of(o) for o in value.operands]
        if any(o is _MOVING for o in operands):
            return _MOVING
        if parent is not None and (parent.is_graph or any(type(o) is Tracer for o in operands)):
            return type(parent).call(parent, op, operands, value.params)  # the parent's own: a body's stands in for it while that runs
        return op.evaluate(*[o.value if type(o) is Static else o for o in operands], **value.params)

    def lift_out(self) -> None:
        """Compute what is the same in all iterations once, outside: operations on arrays of more than a few elements.

        Views are free, and small values cost no more than an operand (and its cotangent) does.
        """
        same = bytearray(len(self.tape))
        heavy: list[Tracer] = []
        for t in self.tape:
            op = t.op
            if op is None:
                same[t.index] = type(t.params["origin"]) is _Outside
                continue
            inner = [o for o in t.operands if type(o) is Tracer]
            if not inner or not op.has(PURE) or op.has(UPDATE) or not all(same[o.index] for o in inner):
                continue
            same[t.index] = 1
            if not op.has(VIEW) and max(np.size(o.value) for o in inner) > TINY:
                heavy.append(t)
        for t in heavy:
            self.outer_of(t)
        for t in heavy:
            t.op, t.operands, t.params = None, (), {"origin": _Outside(self.constants_of.number(self.outside[t.index]))}
            t.segment, t.site = -1, None

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        return super().apply(op, fn, *[self.own(a) for a in args])

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        return super().call(op, [self.own(a) for a in args], params)

    def record(self, op: Primitive | None, operands: tuple[Any, ...], params: dict[str, Any], value: Any) -> Tracer:
        if op is not None and op.has(EFFECT):
            self.refuse_draws()
        return super().record(op, tuple([self.own(o) for o in operands]), params, value)

    def refuse_draws(self) -> NoReturn:
        raise TraceError(
            f"a random draw inside the body of {self.what} ({here()}); draw all numbers before the loop and let it read them as xs"
        )

    def guard(self, tracer: Tracer, kind: str, value: Any) -> None:
        outer = self.outer_of(tracer)
        if outer is not _MOVING:  # it is decided once, before the loop
            if type(outer) is Tracer:
                outer._trace.guard(outer, kind, value)
            return
        raise TraceError(
            f"{_INSTEAD[kind]} a traced value inside the body of {self.what} ({here()}): the body is recorded once for all iterations; "
            "use irgrad.cond or np.where for a choice, irgrad.while_loop for a data-dependent loop, an array in place of a list"
        )

    def literal(self, value: Any) -> Any:
        parent = self.parent
        return self.own(parent.literal(value)) if isinstance(parent, GraphTrace) else self.lift(value)

    def lift(self, value: Any) -> Any:
        if isinstance(value, LITERALS):
            return value
        if isinstance(self.parent, GraphTrace):
            return self.own(self.parent.lift(value))
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise TraceError(f"an operand of dtype {array.dtype} cannot be traced ({here()}); convert it to a number first")
        return self.imported_of(value, array)

    def close(self) -> None:
        super().close()
        self.imported = {}


def run_body(trace: BodyTrace, fun: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function with `trace` open; nothing may be written into arrays of the traces around it."""
    token = CURRENT.set(trace)
    before = [(outer, outer.suspended, outer.apply, outer.call) for outer in trace.around()]
    for outer, *_ in before:  # operations on values from outside are the body's too
        outer.suspended, outer.apply, outer.call = trace.what, trace.apply, trace.call  # type: ignore[method-assign]
    try:
        with np.errstate(all="ignore"):
            found = fun(*args)
        if trace.drawn != fingerprint():
            trace.refuse_draws()
        return found
    finally:
        CURRENT.reset(token)
        for outer, suspended, apply, call in before:
            outer.suspended, outer.apply, outer.call = suspended, apply, call  # type: ignore[method-assign]
            if not suspended:
                del outer.apply, outer.call
        if isinstance(trace.parent, GraphTrace):
            trace.parent.drawn = trace.drawn


def as_outputs(trace: BodyTrace, leaves: Sequence[Any]) -> list[Tracer]:
    """Results of a body's function as values of its trace.

    Raises TraceError for a result that is neither a number nor an array.
    """
    made: list[Tracer] = []
    trace.inside = True
    for leaf in resolve_all(trace, leaves, True):
        leaf = trace.own(leaf)
        if type(leaf) is not Tracer:
            number = leaf.value if type(leaf) is Static else leaf
            if not isinstance(number, (*LITERALS, np.ndarray)):
                raise TraceError(f"the body of {trace.what} returns {type(number).__name__} ({here()}); return numbers and arrays")
            leaf = trace.lift(number)
            if type(leaf) is not Tracer:
                leaf = trace.record(REGISTRY["identity"], (leaf,), {}, leaf)
        made.append(leaf)
    return made


def freeze_body(name: str, trace: BodyTrace, outputs: Sequence[Tracer]) -> Body:
    """The body of a finished trace: constants first, then arguments. All bodies of the loop have been traced."""
    count = len(trace.constants_of.sources)
    avals: list[Aval] = [_array_aval(source.value if type(source) is Tracer else source) for source in trace.constants_of.sources]
    avals += [_array_aval(argument.value) for argument in trace.arguments]

    def number(tracer: Tracer) -> int:
        origin = tracer.params["origin"]
        return origin.number if type(origin) is _Outside else count + origin

    recording = freeze(trace, list(outputs), number)
    indices = [output for output in recording.outputs if type(output) is int]
    records, indices = with_inputs_first(list(recording.records), indices, avals)
    return interned(Body(name, records, avals, indices, list(trace.depths)))


def _array_aval(value: Any) -> Aval:
    return aval_of(value if isinstance(value, LITERALS) else np.asarray(value))
