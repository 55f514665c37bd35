"""Traces: the tape of one run.

A trace holds concrete values, so Python control flow just works. `EagerTrace` is a light append-only tape for immediate
differentiation; `graph_trace.GraphTrace` records what a program is built from. A trace is closed when its function has returned;
its tracers are refused from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from irgrad.errors import RuntimeGuardError, TraceError, translate
from irgrad.frontend.context import COURSE
from irgrad.frontend.sites import user_source
from irgrad.frontend.storage import SHARES, is_view, note_view, resolve_all, slice_of, view_of_part
from irgrad.frontend.tracer import Tracer, depends_on_mark
from irgrad.ir.aval import aval_of
from irgrad.ir.primitive import PART, VIEW, Primitive
from irgrad.ir.source import Source
from irgrad.ir.value import Static

_NO_PARAMS: dict[str, Any] = {}
_new = object.__new__
_ndarray = np.ndarray


class Trace:
    """What both kinds of trace share: a tape, and whether it is open."""

    is_graph = False
    is_body = False
    defers = False  # are large values computed later?
    what = ""  # of the trace of a body: the loop that it belongs to
    parent: Trace | None = None  # of the trace of a body: the one around it, if any
    # what most traces leave as it is: an eager gradient of a number makes a trace at every call
    open = True
    inside = False  # within a public function of irgrad: its inner calls are at the caller's site
    marks = 0  # differentiations in progress
    near = False  # arguments may share memory, or all of them are to be traced
    full = False  # all arrays are traced, also where no derivative depends on them
    needs_full = False  # a full eager trace, closed: would another one have met plain arrays that are written into?
    suspended = ""  # the loop whose body is being traced: nothing may be written here
    saving = 0  # reverse-mode differentiations in progress
    course = 0  # a hash of what has been decided by values of an eager trace
    raw = False  # derivative rules record: operands are values, not handles
    substitution: Any = None  # runs copies of the user's functions, in which numpy's names are traced ones

    def __init__(self) -> None:
        self.tape: list[Tracer] = []
        self.storages: dict[int, Any] = {}  # memory that was written, by the index of its first handle and of its versions
        self.written_arguments: set[int] = set()
        self.given: list[Any] = []  # the caller's objects behind the inputs that are arguments
        self.bases: set[int] = set()  # inputs that are the memory of several arguments
        self.shared: dict[int, int] = {}  # differentiated arguments -> the memory that others are in as well (-1: each by itself)
        self.fixed: set[int] = set()  # views that numpy makes read-only
        self.choices: dict[int, tuple[Any, Any, Any]] = {}  # numbers selected among several types: condition, candidates
        self.buffers: set[int] = set()  # arrays that an eager trace traces in any case: they may be written into
        self.views: dict[int, bool] = {}  # reshapes of such memory: do they share it?

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        """Record the elementwise `op` on values and literals; `fn` computes the result."""
        raise NotImplementedError

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        """Record any primitive on operands of the right dtypes, computing with `op.evaluate`."""
        raise NotImplementedError

    def append(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any], value: Any) -> Tracer:
        """Put a computed value on the tape."""
        tracer = Tracer(self, value, op, operands, params, len(self.tape))
        self.tape.append(tracer)
        return tracer

    def input(self, value: Any, origin: Any) -> Tracer:
        """An array from outside, which is not differentiated."""
        tracer = Tracer(self, value, None, (), {"origin": origin}, len(self.tape))
        self.tape.append(tracer)
        return tracer

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

    def is_inside(self, other: Trace) -> bool:
        """Is this the trace of a body that is traced while `other` is open around it?"""
        trace = self.parent
        while trace is not None and trace is not other:
            trace = trace.parent
        return trace is not None

    def failed(self, op: Primitive, args: Sequence[Any], error: Exception) -> TraceError:
        """numpy's error with the operation, its operands and the user's line."""
        shown = [a for a in args if not (type(a) is Tracer and a.op is not None and a.op.name == "lu")]  # a factor is no operand of numpy's
        operands = ", ".join(map(describe, shown))
        return translate(error, f"{op.name}({operands}): {error} ({here()})")

    def settle(self) -> None:
        """Compute all values that were deferred."""

    def update_later(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Tracer | None:
        """The update of a whole buffer that is not computed now; None where it is to be."""
        return None

    def close(self) -> None:
        self.open = False
        self.tape = []
        self.storages = {}
        self.__class__ = ClosedTrace  # pyright: ignore[reportAttributeAccessIssue]


class ClosedTrace(Trace):
    """What a trace becomes when its function has returned: everything but looking is refused. An open one need not ask whether it is."""

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        return self.refuse(args)

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        return self.refuse(args)

    def refuse(self, args: Sequence[Any]) -> NoReturn:
        for a in args:
            if type(a) is Tracer:
                self.check(a)
        raise RuntimeGuardError(f"a traced value is used after its trace has ended ({here()})")


class EagerTrace(Trace):
    """A tape for differentiation at once: values as numpy computed them, no conversions, no provenance."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen: list[Any] = []  # plain arrays that rules will read

    def freeze(self, array: Any) -> None:
        """Let nobody write into a plain operand until the trace ends: the derivative needs the bits that it had."""
        base = array.base
        viewed = type(base) is _ndarray
        owner = base.base if viewed else base
        if owner is not None and type(owner) is not _ndarray:
            return  # a view that numpy does not make writable again, as broadcast_arrays gives them
        if viewed and not base.flags.writeable and not any(each is base for each in self.frozen):
            return  # nor one of an array that others made read-only since
        if viewed and base.flags.writeable:
            base.setflags(False)
            self.frozen.append(base)
        array.setflags(False)
        self.frozen.append(array)

    def close(self) -> None:
        COURSE.value = hash((COURSE.value, self.course))
        if self.full and self.storages:
            self.needs_full = any(self.is_plain_else(storage) for storage in self.storages.values())
        if self.frozen:
            for array in self.frozen:  # what is viewed comes before its views
                array.setflags(True)
            self.frozen = []
        super().close()

    def is_plain_else(self, storage: Any) -> bool:
        """Is written memory of a full trace a plain array in one that is not?"""
        root = storage.root
        if root.op is None:
            return True
        if root.index in self.buffers or depends_on_mark(root):
            return False
        return depends_on_mark(storage.version)

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        if self.storages and not self.raw:
            args = tuple(resolve_all(self, args, True))
        values = []
        for a in args:
            if type(a) is Tracer:
                if a._trace is not self:
                    self.check(a)
                values.append(a.value)
            else:
                values.append(a)
                if type(a) is _ndarray:
                    if self.marks and a.flags.writeable and not self.raw:
                        self.freeze(a)
                elif isinstance(a, _ndarray):
                    refuse_operators(a)
        try:
            out = fn(*values)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        tape = self.tape
        tracer = _new(Tracer)  # slot by slot: a call of the class costs 0.1 us more
        tracer._trace = self
        tracer.value = tracer.form = out
        tracer.op = op
        tracer.operands = args
        tracer.params = _NO_PARAMS
        tracer.index = len(tape)
        tape.append(tracer)
        return tracer

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        if op.traits & VIEW and type(args[0]) is Tracer and args[0].op is not None and args[0].op.traits & PART and is_view(self, args[0]):
            return view_of_part(self, op, args[0], params)
        handles = self.storages and not self.raw
        if handles:
            if op.name == "slice" and type(args[0]) is Tracer and args[0]._trace is self:
                (x, params) = slice_of(self, args[0], params)
                args = (x,)
            args = resolve_all(self, args, not op.traits & SHARES)
        values = []
        for a in args:
            kind = type(a)
            if kind is Tracer:
                if a._trace is not self:
                    self.check(a)
                values.append(a.value)
            else:
                values.append(a.value if kind is Static else a)
                if kind is _ndarray:
                    if self.marks and a.flags.writeable and not self.raw:
                        self.freeze(a)
                elif isinstance(a, _ndarray):
                    refuse_operators(a)
        try:
            out = op.evaluate(*values, **params) if self.raw or not op.traits & PART else getattr(values[0], op.name)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        tape = self.tape
        tracer = Tracer(self, out, op, tuple(args), params, len(tape))
        tape.append(tracer)
        if handles and op.has(VIEW):
            note_view(self, tracer)
        return tracer


def refuse_operators(array: np.ndarray[Any, Any]) -> None:
    """Raise for an array whose class has operators of its own: a product with an np.matrix is no product of entries."""
    if array.__array_priority__ > 0:
        name = type(array).__name__
        raise TraceError(f"a {name} has operators of its own, which cannot be traced ({here()}); use np.asarray, np.where for masks")


def describe(value: Any) -> str:
    """An operand for a message: its aval, or what it is."""
    value = value.form if type(value) is Tracer else value.value if type(value) is Static else value
    try:
        return str(aval_of(value))
    except TypeError:
        return type(value).__name__


def here() -> Source | None:
    """File and line of the user's code that called into irgrad."""
    return user_source(sys._getframe(1))
