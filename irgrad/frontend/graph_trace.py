"""A trace to build programs from.

Every operation is recorded with operands of its loop's dtype, its source site and its *segment*, a run of operations between two
boundaries (an iteration's end, a guard).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import numpy as np

from irgrad.config import CONFIG
from irgrad.errors import TraceError
from irgrad.frontend.deferral import LARGE, Deferral
from irgrad.frontend.forgetting import forget
from irgrad.frontend.origins import Finder
from irgrad.frontend.promote import LOOPS, find_loop
from irgrad.frontend.sites import Site, Sites, source_of
from irgrad.frontend.storage import SHARES, is_view, note_view, resolve_all, slice_of, view_of_part
from irgrad.frontend.trace import Trace, here, refuse_operators
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import dtype_name
from irgrad.ir.effects import Effects
from irgrad.ir.primitive import PART, REGISTRY, VIEW, Primitive
from irgrad.ir.value import Static

LITERALS = (bool, int, float, complex, np.generic)
BETWEEN = 8  # operations between pauses of a trace in turns
SWEEP = 64  # operations after which one looks for values that nobody needs
RARELY = 1024  # the same where there were none
_NO_PARAMS: dict[str, Any] = {}
_USER = 3  # frames from `locate` to the user's, at least: of the trace's method and of the public entry that called it
_new = object.__new__
_getframe = sys._getframe
_ndarray = np.ndarray


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
        self.finder: Finder | None = None  # finds where a captured array or float comes from
        self.most = CONFIG.max_nodes
        self.limit = min(SWEEP, self.most)
        self.pace = SWEEP
        self.swept = 0  # up to where values that nobody needs have been looked for
        self.pause: Callable[[], None] | None = None  # called every few operations, where the trace is made in turns
        self.primals: dict[int, int] | None = None  # for graphs that people read: adjoint value -> primal value
        self.primal: int | None = None
        self.effects = Effects()  # what this run has drawn
        self.generators: list[Any] = []  # that the traced function made
        self.drawn: bytes | None = None  # the state of numpy's global generator when the trace last looked
        self.written = Spans()  # what derivative rules recorded
        self.deferral = Deferral(self)
        self.may_defer = False  # are large values to be deferred, once there are any?
        self.freezer: Any = None  # the records so far, where someone asked for them (`record`)

    def locate(self, up: int = 1) -> None:
        """Note the user's position, at least `up` frames above this one; called at each public entry."""
        frame = _getframe(up)
        sites = self.sites
        top = sites.top
        if top is not None and top.frame is frame:  # `Sites.locate` for the commonest move, further in straight-line code
            lasti = frame.f_lasti
            if lasti > top.lasti and top.info.zone[lasti] == top.zone:
                known = top.sites
                if known is None:
                    top.lasti = lasti
                    self.site = sites.site = (top, lasti)
                else:
                    self.site = sites.site = site = known.get(lasti) or known.setdefault(lasti, (top, lasti))
                    top.lasti = site[1]
                return
        if sites.locate(frame):
            self.pending = True
        self.site = sites.site

    def record(self, op: Primitive | None, operands: tuple[Any, ...], params: dict[str, Any], value: Any) -> Tracer:
        """Append one value. Operands are tracers of this trace, `Static` numbers or literal numbers."""
        if self.pending:
            self.new_segment(self.sites.depth)
        tape = self.tape
        tracer = _new(Tracer)  # slot by slot: a call of the class costs 0.2 us more
        tracer._trace = self
        tracer.value = tracer.form = value
        tracer.op = op
        tracer.operands = operands
        tracer.params = params
        tracer.index = index = len(tape)
        tracer.segment = self.segment
        tracer.site = self.site
        tape.append(tracer)
        if self.primals is not None and self.primal is not None:
            self.primals[index] = self.primal
        if index >= self.limit:
            self.too_long()
        if self.may_defer and type(value) is _ndarray and value.nbytes >= LARGE:
            self.defers = True
        return tracer

    def append(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any], value: Any) -> Tracer:
        return self.record(op, operands, params, value)

    def settle(self) -> None:
        if self.defers:
            self.deferral.settle()
        self.may_defer = False

    def update_later(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Tracer | None:
        return self.deferral.update(op, operands, params)

    def new_segment(self, depth: int) -> None:
        self.pending = False
        self.segment += 1
        self.depths.append(depth)

    def pause_with(self, pause: Callable[[], None]) -> None:
        """Call `pause` every few operations."""
        self.pause, self.limit = pause, min(BETWEEN, self.most)

    def too_long(self) -> None:
        """Give up values that nobody needs, pause; raise where too much has been recorded."""
        length = len(self.tape)
        if length <= self.most:
            if length - self.swept >= self.pace and not self.inside and type(self) is GraphTrace and self.primals is None:
                self.pace = SWEEP if forget(self, length if self.pace == SWEEP else SWEEP) else min(2 * self.pace, RARELY)
            self.limit = min(length + (self.pace if self.pause is None else BETWEEN), self.most)
            if self.pause is not None:
                self.pause()
            return
        source = source_of(self.site)
        raise TraceError(
            f"more than {self.most} operations were recorded (the loop at {source}); is it endless? "
            "IRGRAD_MAX_NODES raises the limit; irgrad.while_loop records a loop as one node"
        )

    def apply(self, op: Primitive, fn: Callable[..., Any], *args: Any) -> Tracer:
        if not self.inside:
            self.locate(_USER)
        if self.storages and not self.raw:
            for a in args:
                if type(a) is Tracer and type(a.form) is _ndarray:
                    args = tuple(resolve_all(self, args, True))
                    break
        lifted = self.defers
        if lifted:
            for a in args:
                if type(a) is Tracer and a._trace is not self:
                    self.check(a)
            args = tuple([a if type(a) is Tracer or type(a) is int else self.literal(a) for a in args])
            if self.choices and (made := self.retyped(op, fn, args)) is not None:
                return made
            if (made := self.deferral.elementwise(op, args, fn)) is not None:
                return made
        if len(args) == 2:
            x, y = args
            if type(x) is Tracer:
                if type(y) is Tracer:
                    return self.apply_both(op, fn, args)
                number = type(y)
            else:
                number = type(x) if type(y) is Tracer else _ndarray
            if number is int or (number is float and (top := self.sites.top) is not None and not top.searched):
                return self.apply_number(op, fn, args)
        operands: Any = args
        values: list[Any] = []
        call: list[Any] = [op]
        for a in args:
            kind = type(a)
            if (
                kind is not Tracer
                and kind is not int
                and not lifted
                and (kind is not float or (top := self.sites.top) is None or top.searched)
            ):
                a = self.literal(a)
                operands = [*operands[: len(values)], a, *args[len(values) + 1 :]]
                kind = type(a)
            if kind is Tracer:
                if a._trace is not self:
                    self.check(a)
                a = a.value
                kind = type(a)
            values.append(a)
            call.append(a.dtype if kind is _ndarray else kind)
        try:
            out = fn(*values)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        key = tuple(call)
        dtypes = (LOOPS.get(key) or find_loop(key, values))[1]
        if dtypes is not None and self.choices and (made := self.retyped(op, fn, args)) is not None:
            return made
        return self.record(op, tuple(operands) if dtypes is None else self.converted(operands, dtypes), _NO_PARAMS, out)

    def apply_both(self, op: Primitive, fn: Callable[..., Any], args: tuple[Any, ...]) -> Tracer:
        """`apply` to two tracers: most operations."""
        x, y = args
        if x._trace is not self or y._trace is not self:
            self.check(x)
            self.check(y)
        a, b = x.value, y.value
        try:
            out = fn(a, b)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        key = (op, a.dtype if type(a) is _ndarray else type(a), b.dtype if type(b) is _ndarray else type(b))
        dtypes = (LOOPS.get(key) or find_loop(key, (a, b)))[1]
        if dtypes is not None and self.choices and (made := self.retyped(op, fn, args)) is not None:
            return made
        return self.record(op, args if dtypes is None else self.converted(args, dtypes), _NO_PARAMS, out)

    def apply_number(self, op: Primitive, fn: Callable[..., Any], args: tuple[Any, ...]) -> Tracer:
        """`apply` to a tracer and a number that is a literal in any case."""
        x, y = args
        if type(x) is Tracer:
            if x._trace is not self:
                self.check(x)
            x = x.value
        else:
            if y._trace is not self:
                self.check(y)
            y = y.value
        try:
            out = fn(x, y)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        key = (op, x.dtype if type(x) is _ndarray else type(x), y.dtype if type(y) is _ndarray else type(y))
        dtypes = (LOOPS.get(key) or find_loop(key, (x, y)))[1]
        if dtypes is not None and self.choices and (made := self.retyped(op, fn, args)) is not None:
            return made
        return self.record(op, args if dtypes is None else self.converted(args, dtypes), _NO_PARAMS, out)

    def retyped(self, op: Primitive, fn: Callable[..., Any], args: Sequence[Any]) -> Tracer | None:
        """The operation on numbers of Python's, where choices among these and numpy's gave such; None if none did."""
        from irgrad.frontend.choices import weakened

        operands = weakened(self, args)
        return None if operands is None else self.apply(op, fn, *operands)

    def converted(self, operands: Sequence[Any], dtypes: Sequence[np.dtype[Any]]) -> tuple[Any, ...]:
        """The operands with these dtypes."""
        made: list[Any] = []
        for operand, dtype in zip(operands, dtypes, strict=True):
            kind = type(operand)
            if kind is Tracer:
                value = operand.form
                have = value.dtype if isinstance(value, (np.ndarray, np.generic)) else operand.aval.dtype
                made.append(operand if have == dtype else self.convert(operand, dtype))
            else:
                try:
                    made.append(Static(_cast_number(operand.value, dtype)) if kind is Static else _cast_number(operand, dtype))
                except OverflowError:
                    return self.beside_infinity(operands)
        return tuple(made)

    def beside_infinity(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        """Operands of a comparison with an integer that the other's dtype does not hold: infinity compares as it does."""
        return tuple(
            [
                self.convert(o, np.dtype(np.float64)) if type(o) is Tracer else np.copysign(np.inf, o.value if type(o) is Static else o)
                for o in operands
            ]
        )

    def convert(self, tracer: Tracer, dtype: np.dtype[Any]) -> Tracer:
        if self.defers and isinstance(tracer.form, (np.ndarray, np.generic)):
            x = tracer if tracer.dtype.kind != "c" or dtype.kind == "c" else self.call(REGISTRY["real"], (tracer,), {})
            made = self.deferral.call(REGISTRY["convert"], (x,), {"dtype": dtype_name(dtype)})
            if made is not None:
                return made
        value: Any = np.asarray(tracer.value)
        if value.dtype.kind == "c" and dtype.kind != "c":
            value = value.real
        return self.record(REGISTRY["convert"], (tracer,), {"dtype": dtype_name(dtype)}, value.astype(dtype)[()])

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer:
        if not self.inside:
            self.locate(_USER)
        if op.traits & VIEW and type(args[0]) is Tracer and args[0].op is not None and args[0].op.traits & PART and is_view(self, args[0]):
            return view_of_part(self, op, args[0], params)
        handles = self.storages and not self.raw
        if handles:
            if op.name == "slice" and type(args[0]) is Tracer and args[0]._trace is self:
                (x, params) = slice_of(self, args[0], params)
                args = (x,)
            args = resolve_all(self, args, not op.traits & SHARES)
        if self.defers:
            args = [a if type(a) is Tracer or isinstance(a, LITERALS) or type(a) is Static else self.lift(a) for a in args]
            made = self.deferral.call(op, args, params)
            if made is not None:
                if handles and op.has(VIEW):
                    note_view(self, made)
                return made
        if not handles and len(args) == 1 and type(args[0]) is Tracer and args[0]._trace is self and (self.raw or not op.traits & PART):
            try:
                out = op.evaluate(args[0].value, **params)
            except (ValueError, IndexError, TypeError) as error:
                raise self.failed(op, args, error) from error
            return self.record(op, (args[0],), params, out)
        operands = tuple([a if type(a) is Tracer or isinstance(a, LITERALS) or type(a) is Static else self.lift(a) for a in args])
        values = []
        for a in operands:
            if type(a) is Tracer:
                if a._trace is not self:
                    self.check(a)
                values.append(a.value)
            else:
                values.append(a.value if type(a) is Static else a)
        try:
            out = op.evaluate(*values, **params) if self.raw or not op.traits & PART else getattr(values[0], op.name)
        except (ValueError, IndexError, TypeError) as error:
            raise self.failed(op, args, error) from error
        made = self.record(op, tuple(operands), params, out)
        if handles and op.has(VIEW):
            note_view(self, made)
        return made

    def guard(self, tracer: Tracer, kind: str, value: Any) -> None:
        self.check(tracer)
        if not self.inside:
            self.locate(_USER)
        self.record(REGISTRY["guard"], (tracer,), {"kind": kind, "value": value}, None)
        self.pending = True

    def literal(self, value: Any) -> Any:
        """A plain operand: a float that library code got from a place that can be read again is an input."""
        finder = self.finder
        if finder is not None and isinstance(value, float) and finder.searches(self.sites.top):
            origin = finder.find(value, sys._getframe(1))
            if origin is not None:
                known = self.constants.get(id(value))
                if known is None or known.params["origin"] != origin:
                    known = self.constants[id(value)] = self.input(value, origin)
                    finder.inputs.append(known)
                    self.keep.append(value)
                return known
        return self.lift(value)

    def lift(self, value: Any) -> Any:
        """A constant as an operand: arrays become inputs of the program with their origin, numbers stay literals."""
        if isinstance(value, LITERALS):
            return value
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if type(array) is not np.ndarray:
            refuse_operators(array)
        if array.dtype.kind not in "biufc":
            raise TraceError(f"an operand of dtype {array.dtype} cannot be traced ({here()}); convert it to a number first")
        known = self.constants.get(id(value))
        if known is not None and (known.params["origin"] is not None or _same_content(known.value, array)):
            return known
        plain = type(value) is np.ndarray and value.dtype.isnative
        origin = self.finder.find(value, sys._getframe(1)) if plain and self.finder is not None else None
        tracer = self.input(array if origin is not None else np.array(array), origin)  # of numpy's own class
        self.constants[id(value)] = tracer
        if origin is not None and self.finder is not None:
            self.finder.inputs.append(tracer)
        self.keep.append(value)
        return tracer

    def input(self, value: Any, origin: Any) -> Tracer:
        """An input of the program: an argument leaf, a captured value (with its origin) or a constant (None)."""
        index = len(self.tape)
        tracer = Tracer(self, value, None, (), {"origin": origin}, index)
        tracer.segment = -1
        tracer.site = None
        self.tape.append(tracer)
        if self.may_defer and isinstance(value, _ndarray) and value.nbytes >= LARGE:
            self.defers = True
        return tracer

    def close(self) -> None:
        super().close()
        self.sites.close()
        if self.finder is not None:
            self.finder.base = None  # a frame, which knows the finder and the results: values would stay until a collection
        self.freezer = self.finder = self.substitution = None


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

    def flags(self, first: int, last: int) -> bytearray:
        """Which of the indices from `first` to `last` are in a range."""
        found = bytearray(last - first)
        for k in range(len(self.starts) - 1, -1, -1):
            if self.stops[k] <= first:
                break
            start, stop = max(self.starts[k] - first, 0), min(self.stops[k], last) - first
            if start < stop:
                found[start:stop] = b"\1" * (stop - start)
        return found


def _cast_number(number: Any, dtype: np.dtype[Any]) -> Any:
    """A literal in the dtype of its loop; 64-bit numbers stay Python numbers."""
    if isinstance(number, float) and dtype == np.float64:
        return number
    if isinstance(number, (bool, int)) and not isinstance(number, np.generic):
        if dtype == np.float64:
            return float(number)
        if dtype == np.int64 and not isinstance(number, bool):
            if not -(2**63) <= number < 2**63:
                raise OverflowError(f"Python integer {number} out of bounds for int64")
            return number
    if isinstance(number, complex) and dtype.kind != "c":
        number = number.real
    return dtype.type(number)


def _same_content(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal bits: a captured array may have been written between two uses."""
    return a.shape == b.shape and a.dtype == b.dtype and (a is b or a.tobytes() == b.tobytes())
