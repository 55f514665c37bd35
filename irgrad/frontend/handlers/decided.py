"""What a handler decides, kept for calls that are alike.

A handler turns a call into a few recorded operations, and most go by the forms of the traced arguments, their order in memory included,
and by the other arguments alone: a second call with the same ones records the same operations. `Decisions` keeps these as steps over the
arguments; a repeated call computes and records them without the handler. Only pure operations on the arguments, on each other and on
numbers are kept, and only where computing them again gave the very bits, type and strides that the handler's did. Eager traces keep those
on plain arrays of floats as well, where the handler does not look into them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import GUARD, PART, PURE, VIEW, Primitive
from irgrad.ir.value import Static

_LIMIT = 2048  # of calls that are kept for a handler
_PLAIN = frozenset((int, bool, str, type, type(None)))
_NUMBERS = (int, float)
_INEXACT = frozenset((float, complex, np.float64, np.float32, np.float16, np.complex128, np.complex64))
_ndarray = np.ndarray


class Step(NamedTuple):
    """An operation; its operands are places among the arguments, the constants and what the steps before made, in this order."""

    op: Primitive
    evaluate: Callable[..., Any]
    operands: tuple[int, ...]
    params: dict[str, Any]


class Decision(NamedTuple):
    constants: tuple[Any, ...]
    steps: tuple[Step, ...]
    result: int  # which step made what is returned


class Decisions:
    """Those of one handler: None for a call that is not to be repeated."""

    def __init__(self, is_eager: bool = True, takes_plain: bool = False) -> None:
        self.takes_plain = takes_plain
        self.recorded: dict[Any, Decision | None] = {}
        self.eager: dict[Any, Decision | None] | None = {} if is_eager else None  # None: the handler looks at values there

    def run(self, trace: Trace, impl: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """``impl(trace, *args, **kwargs)``."""
        known: Any = self.recorded if type(trace) is GraphTrace else self.eager if type(trace) is EagerTrace else None
        key: list[Any] = []
        leaves: list[Any] = []
        floats: list[float] = []
        plain: list[Any] | None = [] if self.takes_plain and known is self.eager else None
        if known is None or trace.defers or not _describe(args, key, leaves, floats, plain):
            return impl(trace, *args, **kwargs)
        if kwargs:
            key += kwargs
            if not _describe(kwargs.values(), key, leaves, floats, plain):
                return impl(trace, *args, **kwargs)
        for leaf in leaves:
            if leaf._trace is not trace:
                return impl(trace, *args, **kwargs)
        if len(leaves) == 2:
            key.append(leaves[0].index == leaves[1].index)
        elif len(leaves) > 2:
            key += _places([leaf.index for leaf in leaves])
        if plain:
            key += _places([id(array) for array in plain])
            leaves += plain
        if floats:
            if known is self.recorded and _are_searched(trace):
                return impl(trace, *args, **kwargs)
            key += _places([id(number) for number in floats])
            leaves += floats
        form = tuple(key)
        decision = known.get(form, self)
        if decision is None:
            return impl(trace, *args, **kwargs)
        if decision is not self:
            if plain and trace.marks and not trace.raw and isinstance(trace, EagerTrace):
                for array in plain:
                    if array.flags.writeable:
                        trace.freeze(array)
            try:
                return _play(trace, decision, leaves)
            except (ValueError, IndexError, TypeError, ArithmeticError):
                return impl(trace, *args, **kwargs)  # it says what is wrong
        start, fixed = len(trace.tape), len(trace.fixed)
        made = impl(trace, *args, **kwargs)
        if len(known) >= _LIMIT:
            known.clear()
        known[form] = _decision(trace.tape[start:], leaves, made, len(trace.fixed) > fixed)
        return made


def _places(names: list[int]) -> list[int]:
    """Which of several are the same."""
    first: dict[int, int] = {}
    return [first.setdefault(name, k) for k, name in enumerate(names)]


def _are_searched(trace: Any) -> bool:
    """May floats come from places that can be read again?"""
    return trace.finder is not None and bool(trace.finder.searches(trace.sites.top))


def _describe(values: Iterable[Any], key: list[Any], leaves: list[Any], floats: list[float], plain: list[Any] | None) -> bool:
    """Extend a key by arguments; False for those that a handler may look into.

    Collects tracers, floats, which may be literals, and plain arrays, where there is a list for them.
    """
    for value in values:
        kind = type(value)
        if kind is Tracer:
            form = value.form
            if type(form) is _ndarray:
                if form.dtype.kind not in "fc":
                    return False
                key += (form.shape, form.dtype, form.strides)
            elif type(form) in _INEXACT:
                key.append(type(form))
            else:
                return False  # integers and bools may decide
            leaves.append(value)
        elif kind in _PLAIN:
            if kind is str and value == "A":  # an order that goes by where the memory came from
                return False
            key += (kind, value)
        elif kind is list or kind is tuple:
            key += (kind, len(value))
            if not _describe(value, key, leaves, floats, plain):
                return False
        elif kind is float:  # handlers choose constants by value: zeros
            key += (kind, value.hex())
            floats.append(value)
        elif kind is _ndarray and plain is not None and value.dtype.kind in "fc":
            key += (kind, value.shape, value.dtype, value.strides)
            plain.append(value)
        elif isinstance(value, np.dtype):
            key += (kind, value)
        else:
            return False
    return True


def _play(trace: Trace, decision: Decision, leaves: list[Any]) -> Tracer:
    """Compute and record; nothing is recorded where computing raises."""
    constants, steps, result = decision
    append = trace.record if type(trace) is GraphTrace else trace.append
    if len(steps) == 1 and not constants:
        op, evaluate, operands, params = steps[0]
        if len(operands) == 1:
            x = leaves[operands[0]]
            return append(op, (x,), params, evaluate(x.value if type(x) is Tracer else x, **params))
        given = tuple([leaves[k] for k in operands])
        return append(op, given, params, evaluate(*[x.value if type(x) is Tracer else x for x in given], **params))
    made = [*leaves, *constants] if constants else leaves
    values = [x.value if type(x) is Tracer or type(x) is Static else x for x in made]
    first = len(values)
    for _, evaluate, operands, params in steps:
        values.append(evaluate(*[values[k] for k in operands], **params))
    place = first
    for op, _, operands, params in steps:
        made.append(append(op, tuple([made[k] for k in operands]), params, values[place]))
        place += 1
    tracer: Tracer = made[first + result]
    return tracer


def _decision(tape: Sequence[Tracer], leaves: Sequence[Any], made: Any, has_fixed: bool) -> Decision | None:
    """What a call recorded, in terms of its arguments; None where that is not all it did."""
    result = next((k for k, t in enumerate(tape) if t is made or _is_alias(made, t)), None)
    if result is None or any(t.op is None or t.op.traits & (GUARD | PART) or not t.op.traits & PURE or t.op.name == "opaque" for t in tape):
        return None
    if has_fixed and tape[result].op.traits & VIEW:  # type: ignore[union-attr]
        return None  # a view that is read-only
    plain = {id(o): o for t in tape for o in t.operands if type(o) is not Tracer}
    constants = [o for o in plain.values() if not any(o is leaf for leaf in leaves)]
    if not all(_is_kept(c) for c in constants):
        return None
    known = [*leaves, *constants]
    values = [k.value if type(k) in (Tracer, Static) else k for k in known]
    steps: list[Step] = []
    for t in tape:
        operands = [next((k for k, each in enumerate(known) if each is o), -1) for o in t.operands]
        if min(operands, default=0) < 0:
            return None
        assert t.op is not None
        value = t.op.evaluate(*[values[k] for k in operands], **t.params)
        if not _is_same(value, t.value):
            return None
        steps.append(Step(t.op, t.op.evaluate, tuple(operands), t.params))
        known.append(t)
        values.append(t.value)
    return Decision(tuple(constants), tuple(steps), result)


_FORMS: dict[int, Any] = {}  # by id


def form_array(array: Any) -> Any:
    """A small array that a handler made for arguments of one form, whatever their values: kept with the decision. It becomes read-only."""
    array.flags.writeable = False
    if len(_FORMS) < _LIMIT and array.nbytes <= _LIMIT:
        _FORMS[id(array)] = array
    return array


def _is_kept(constant: Any) -> bool:
    """Does a constant belong to the form of a call? The handler made it, from the numbers in the key if from any."""
    if type(constant) is _ndarray:
        return _FORMS.get(id(constant)) is constant
    return type(constant) is Static or type(constant) in _NUMBERS or isinstance(constant, np.generic)


def _is_alias(made: Any, t: Tracer) -> bool:
    return type(made) is Tracer and made.index == t.index and made._trace is t._trace and made.form is t.form


def _is_same(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or not isinstance(a, (np.ndarray, np.generic)):
        return False
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() and (a.size < 2 or a.strides == b.strides)


_NAMES = (
    "sum prod mean std var max min dot matmul vdot inner outer tensordot einsum cross kron trace transpose reshape ravel squeeze "
    "expand_dims moveaxis swapaxes concatenate stack vstack hstack column_stack dstack array cumsum cumprod repeat tile roll flip "
    "diff broadcast_to zeros ones full eye atleast_1d atleast_2d ptp append tril triu flipud fliplr rot90 rollaxis diag "
    "clip zeros_like ones_like full_like linalg.solve linalg.inv linalg.det linalg.cholesky"
)
_TAKING_PLAIN = "dot matmul vdot inner outer tensordot einsum cross kron concatenate stack vstack hstack column_stack append linalg.solve"
DECIDED = frozenset(operator.attrgetter(name)(np) for name in _NAMES.split())  # whose handlers go by forms, whatever the values are
PLAIN_TOO = frozenset(operator.attrgetter(name)(np) for name in _TAKING_PLAIN.split())  # the values of plain arrays included
ONLY_RECORDED = frozenset((np.std,))
DECISIONS: dict[Any, Decisions] = {}  # handler -> its decisions
