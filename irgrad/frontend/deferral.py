"""Values of a trace that are computed only when somebody looks at them.

A trace of large arrays would compute, and keep, what the compiled program computes again. Where it is evident that the function is pure
(`purity`), operations on large arrays whose result's type, dtype and shape are known are *deferred*: a `form` stands for the value, an
array of that dtype and shape whose entries share one element of memory. `Tracer.value` computes on demand, and `jit` answers the call by
the program that it links at once.

A deferred value reads its operands later than numpy would. Operands are values that never change (`storage`): a version of written memory
that was an operand is copied before the next write. A write to a good part of large memory is deferred like any operation, its buffer a
copy if it is ever computed. With the first small write to such memory, where copies would cost more than the writes, or the first doubt
about the function, what was deferred is computed and nothing is deferred any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.errors import translate
from irgrad.frontend.promote import LOOPS, find_loop
from irgrad.frontend.sites import source_of
from irgrad.frontend.storage import laid_like
from irgrad.frontend.trace import describe
from irgrad.frontend.tracer import COMPUTE, Tracer, is_deferred
from irgrad.ir.aval import Aval
from irgrad.ir.primitive import ELEMENTWISE, PART, REDUCTION, VIEW, Primitive
from irgrad.ir.value import Number, Static

if TYPE_CHECKING:
    from irgrad.frontend.graph_trace import GraphTrace

LARGE = 1 << 16  # bytes of a value, from which it is deferred
_PART = 8  # of how many elements a deferred write changes one, at least
_NO_PARAMS: dict[str, Any] = {}
_NAMES = (
    "dot batch_dot concatenate pad cumsum cumprod correlate slice_add slice_update norm2 fft rfft irfft full zeros argmax argmin sort "
    "cholesky lu inv solve solve_triangular slogdet pick"
)
_PLAIN = frozenset(_NAMES.split())  # whose results go by forms alone
_INDEXED = {"gather": 1, "scatter_add": 2, "scatter_update": 2}  # first index among the operands
_ndarray = np.ndarray
_ones: dict[np.dtype[Any], np.ndarray[Any, Any]] = {}
_as_it_is = nullcontext()
_forms: dict[Any, Any] = {}
_scalars: dict[Any, Any] = {}


class Deferral:
    """What one trace has deferred."""

    def __init__(self, trace: GraphTrace) -> None:
        self.trace = trace
        self.pending: list[Tracer] = []
        self.in_range: dict[tuple[int, int], bool] = {}  # (index of an array of indices, extent) -> do they fit?

    def elementwise(self, op: Primitive, args: Sequence[Any], fn: Callable[..., Any] | None = None) -> Tracer | None:
        """`op` on tracers and literals, with numpy's conversions; None where it is to be computed now.

        `fn` computes what the user is to see, where that may be of another type than the primitive's result.
        """
        forms = [_form(a) for a in args]
        if not self.is_large(args, forms):
            return None
        key = (op, *[f.dtype if type(f) is _ndarray else type(f) for f in forms])
        try:
            dtypes = (LOOPS.get(key) or find_loop(key, forms))[1] if len(forms) > 1 else None
            made = tuple([a.value if type(a) is Number else a for a in args])
            operands = made if dtypes is None else self.trace.converted(made, dtypes)
            form = self.form(op, operands, _NO_PARAMS)
            if fn is not None and np.shape(form) == ():
                with np.errstate(all="ignore"):
                    form = fn(*forms)
        except (ValueError, TypeError, ArithmeticError):
            return None  # numpy raises it
        return None if form is None else self.defer(op, operands, _NO_PARAMS, form)

    def call(self, op: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tracer | None:
        """Any primitive on operands of the right dtypes; None where it is to be computed now."""
        if op.traits & (VIEW | PART):
            if type(args[0]) is not Tracer:
                return None
            copied = op.name == "reshape" and _is_copied(args[0].form) and not self.trace.storages  # else a view of what may be written
            if not (copied or is_deferred(args[0])):
                return None
        elif not op.traits & (ELEMENTWISE | REDUCTION) and op.name not in _PLAIN and not self.is_in_range(op, args):
            return None
        if not self.is_large(args, [_form(a) for a in args]) and not _is_created(op, params):
            return None
        operands = tuple([a.value if type(a) is Number else a for a in args])
        try:
            form = self.form(op, operands, params)
        except (ValueError, IndexError, TypeError, ArithmeticError):
            return None
        return None if form is None else self.defer(op, operands, params, form)

    def update(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Tracer | None:
        """The update of memory, operand 0; None where it is to be computed now, in place, as small ones are."""
        if not self.is_large(operands, [_form(o) for o in operands]):
            return None
        made = self.call(op, operands, params) if _written(op, operands, params) * _PART >= operands[0].form.size else None
        if made is None:
            self.trace.settle()
        return made

    def is_large(self, args: Sequence[Any], forms: Sequence[Any]) -> bool:
        """Is an operand deferred or large, or, of an elementwise operation, the result? Nothing is where numpy is to raise."""
        pending = bool(self.pending)
        shapes: set[tuple[int, ...]] = set()
        for a, f in zip(args, forms, strict=True):
            if (type(f) is _ndarray and f.nbytes >= LARGE) or (pending and type(a) is Tracer and is_deferred(a)):
                return not is_strict()
            if type(f) is _ndarray and f.ndim > 0:
                shapes.add(f.shape)
        if len(shapes) < 2:
            return False
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            return False
        return math.prod(shape) * max(f.itemsize for f in forms if type(f) is _ndarray) >= LARGE and not is_strict()

    def is_in_range(self, op: Primitive, args: Sequence[Any]) -> bool:
        """Of an operation by arrays of indices: are they known, and do they fit?"""
        first = _INDEXED.get(op.name)
        if first is None or type(args[0]) is not Tracer:
            return False
        for extent, index in zip(args[0].form.shape, args[first:], strict=False):
            if type(index) is not Tracer or is_deferred(index):
                return False
            key = (index.index, extent)
            known = self.in_range.get(key)
            if known is None:
                bits = index.value
                known = self.in_range[key] = np.size(bits) > 0 and bool(np.min(bits) >= -extent) and bool(np.max(bits) < extent)
            if not known:
                return False
        return True

    def form(self, op: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> Any:
        """A stand-in of the result's type, dtype and shape; None where they are not known without computing."""
        likes = [_form(o) for o in operands]
        if op.traits & VIEW:
            return op.evaluate(*likes, **params)
        if op.traits & PART:
            return getattr(likes[0], op.name)
        avals = [Aval(np.shape(v), v.dtype if hasattr(v, "dtype") else np.asarray(v).dtype) for v in likes]
        aval = op.aval(*avals, **params)
        if aval.shape:
            return stand_in(aval.shape, aval.dtype)
        return self.number(op, likes, aval, params)

    def number(self, op: Primitive, likes: Sequence[Any], aval: Aval, params: dict[str, Any]) -> Any:
        """A stand-in for a result without axes: a number or an array, as numpy has it for operands of one entry."""
        if op.traits & ELEMENTWISE or op.traits & REDUCTION or op.name in ("dot", "norm2"):
            key = (op, *[(type(v), np.ndim(v), v.dtype if hasattr(v, "dtype") else None) for v in likes], *params.items())
            made = _scalars.get(key)
            if made is None:
                if len(_scalars) >= 4096:
                    _scalars.clear()
                small = [np.ones((1,) * v.ndim, v.dtype) if type(v) is _ndarray else v for v in likes]
                with np.errstate(all="ignore"):
                    made = _scalars[key] = op.evaluate(*small, **params)
            if np.shape(made) == () and made.dtype == aval.dtype:
                return made
        return None

    def defer(self, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any], form: Any) -> Tracer:
        tracer = self.trace.record(op, operands, params, form)
        postpone(tracer)
        return tracer

    def settle(self) -> None:
        """Compute what was deferred; nothing is from now on."""
        self.trace.defers = self.trace.may_defer = False
        pending, self.pending = self.pending, []
        for tracer in pending:
            compute(tracer)


def _form(operand: Any) -> Any:
    """An operand's form; a number itself."""
    kind = type(operand)
    return operand.form if kind is Tracer else operand.value if kind is Static or kind is Number else operand


def postpone(tracer: Tracer) -> None:
    """Compute the value of a tracer, which has a stand-in so far, when it is asked for."""
    del tracer.value
    tracer._trace.deferral.pending.append(tracer)  # type: ignore[attr-defined]


def _written(op: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> int:
    """How many elements an update writes."""
    if op.name not in _INDEXED:
        return math.prod(params["count"])
    shapes = [np.shape(_form(o)) for o in operands[_INDEXED[op.name] :]]
    return math.prod(np.broadcast_shapes(*shapes)) * math.prod(operands[0].form.shape[len(shapes) :])


def _is_created(op: Primitive, params: dict[str, Any]) -> bool:
    """Is it a large array made of nothing?"""
    return op.name in ("full", "zeros") and math.prod(params["shape"]) * np.dtype(params["dtype"]).itemsize >= LARGE


def _is_copied(array: Any) -> bool:
    """Does a reshape copy?"""
    return type(array) is _ndarray and not array.flags.c_contiguous


def is_strict() -> bool:
    """Does numpy raise, or call, where a division by zero and the like happen? Only where they are computed is that seen."""
    found = np.geterr().values()
    return "raise" in found or "call" in found


def compute(tracer: Tracer) -> Any:
    """The value of a tracer, with those that it needs."""
    stack = [tracer]
    while stack:
        node = stack[-1]
        if not is_deferred(node):
            stack.pop()
            continue
        waiting = [o for o in node.operands if type(o) is Tracer and is_deferred(o)]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        tape = node._trace.tape
        if node.index < len(tape) and tape[node.index] is not node:  # another handle of it
            same = tape[node.index].value
            node.value = node.form = _like(node.form, same)
            continue
        op = node.op
        assert op is not None
        values = [o.value if type(o) is Tracer or type(o) is Static else o for o in node.operands]
        try:
            with np.errstate(all="warn") if is_strict() else _as_it_is:  # it was recorded where numpy does not raise
                value = getattr(values[0], op.name) if op.traits & PART else op.evaluate(*values, **node.params)
            if (storage := node._trace.storages.get(node.index)) is not None and storage.root.index != node.index:
                value = laid_like(storage.root.value, value)
            node.value = node.form = _like(node.form, value)
        except ValueError as error:  # numpy's LinAlgError
            raise translate(error, f"{op.name}({', '.join(map(describe, node.operands))}): {error} ({source_of(node.site)})") from error
    return tracer.value


def _like(form: Any, value: Any) -> Any:
    """A value without axes as the number or the array that it was announced as."""
    if type(value) is type(form):
        return value
    return np.asarray(value) if type(form) is _ndarray else value[()]


def stand_in(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An array of `shape` that takes the memory of one element."""
    key = (shape, dtype)
    made = _forms.get(key)
    if made is None:
        one = _ones.get(dtype)
        if one is None:
            one = _ones[dtype] = np.ones((), dtype)
        if len(_forms) >= 4096:
            _forms.clear()
        made = _forms[key] = np.ndarray(shape, dtype, one, 0, (0,) * len(shape))
        made.flags.writeable = False
    return made


COMPUTE.append(compute)
