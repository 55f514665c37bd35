"""The user's functions as bodies: traced once, results checked against the carry, recorded as one node."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import TraceError, translate
from irgrad.extend import concrete_of, readable
from irgrad.frontend.body_trace import BodyTrace, Constants, as_outputs, freeze_body, run_body
from irgrad.frontend.context import current
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.names import default_names
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval, aval_of, kind_of
from irgrad.ir.body import Body
from irgrad.ir.primitive import REGISTRY, Primitive
from irgrad.loops.primitives import PICK, pick_params
from irgrad.operators.run import traced_form
from irgrad.pytree import Structure, flatten, paths, unflatten

NUMBERS = (int, float, complex, np.number, np.bool_)
PYTHON = (bool, int, float, complex)


class Leaves:
    """A pytree of numbers and arrays as flat leaves."""

    def __init__(self, what: str, tree: Any) -> None:
        self.what = what
        self.tree = tree
        self.leaves, self.structure = flatten(tree)
        for number, leaf in enumerate(self.leaves):
            value = concrete_of(leaf)
            dtype = value.dtype if isinstance(value, np.ndarray) else None
            if not isinstance(value, (*NUMBERS, np.ndarray)) or (dtype is not None and dtype.kind not in "biufc"):
                kind = f"an array of dtype {dtype}" if dtype is not None else type(value).__name__
                raise TraceError(f"{self.name(number)} is {kind} ({here()}); it is a pytree of numbers and numeric arrays")

    def name(self, number: int) -> str:
        return f"{self.what}{(paths(self.tree) or [''])[number]}"


class Opened:
    """The traces of the bodies of one loop, and the constants that they share."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.parent = current()
        self.constants = Constants()
        self.substitutions: list[Substitution] = []

    def trace(self) -> BodyTrace:
        made = BodyTrace(self.what, self.parent, self.constants, sys._getframe(2))
        if made.substitution is None or made.substitution.wrap is None:  # no program is recorded: captured arrays are still raw

            def wrap(value: Any, origin: Any) -> Any:
                numeric = type(value) is np.ndarray and value.dtype.kind in "biufc"
                return made.imported_of(value, value) if numeric else value

            made.substitution = Substitution(wrap, default_names())
            self.substitutions.append(made.substitution)
        return made

    def finish(self) -> None:
        for substitution in self.substitutions:
            substitution.finish()


def call_body(trace: BodyTrace, fun: Callable[..., Any], *args: Any) -> Any:
    return run_body(trace, traced_form(trace, fun), *args)


def read(value: Any, weak: bool = True) -> Any:
    """A concrete leaf to trace with; Python numbers stay what they are."""
    value = concrete_of(value)
    return value if (weak and isinstance(value, PYTHON)) or isinstance(value, np.ndarray) else np.asarray(value)[()]


def trace_carry(
    opened: Opened, fun: Callable[..., tuple[Any, list[Any]]], carry: Leaves, rows: Sequence[Any], written: str
) -> tuple[BodyTrace, list[Tracer], list[Any], list[Any]]:
    """Trace a function from carry and rows to a carry and other results, until the carry comes back as it went in.

    A Python number of the first carry takes the dtype that the body gives it. Returns the trace, its results, the carry leaves of
    the first iteration with that dtype, and the other results' leaves. Raises TraceError for a carry of another structure, shape or dtype.
    """
    given = [read(leaf) for leaf in carry.leaves]
    for _ in range(4):
        trace = opened.trace()
        arguments = [trace.argument(value) for value in [*given, *rows]]
        count = len(given)
        tree, others = fun(trace, unflatten(carry.structure, arguments[:count]), arguments[count:])
        leaves, structure = flatten(tree)
        if structure != carry.structure:
            raise TraceError(f"{written} returned a carry of the structure {structure}; it began as {carry.structure} ({here()})")
        leaves = [cast_number(leaf, value) for leaf, value in zip(leaves, given, strict=True)]
        outs = as_outputs(trace, [*leaves, *others])
        grown = [_grown(value, out.value) for value, out in zip(given, outs[:count], strict=True)]
        if all(new is old for new, old in zip(grown, given, strict=True)):
            return trace, outs, given, others
        for number, (new, old, out) in enumerate(zip(grown, given, outs[:count], strict=True)):
            if new is None:
                raise TraceError(
                    f"{carry.name(number)} is {_array_form(old)} and {written} returns {_array_form(out.value)} for it ({here()}); "
                    "a carry keeps its shape and dtype: convert one of them"
                )
        given = grown
        trace.close()
    raise TraceError(f"the carry of {written} takes another dtype in each iteration ({here()}); give it the dtype that it should have")


def cast_number(leaf: Any, like: Any) -> Any:
    """A Python number that a body returns, in the dtype of the carry that it becomes."""
    dtype = aval_of(like).dtype
    if isinstance(like, PYTHON) or type(leaf) is Tracer or not isinstance(leaf, PYTHON):
        return leaf
    return dtype.type(leaf) if np.can_cast(np.min_scalar_type(leaf), dtype, "same_kind") else leaf


def _grown(old: Any, new: Any) -> Any:
    """The first carry in the form of the next one: itself, a Python number with a dtype, or None."""
    have, want = aval_of(old), aval_of(new)
    if have.same_array(want):
        return old if not isinstance(old, PYTHON) or isinstance(new, PYTHON) else want.dtype.type(old)
    if not isinstance(old, PYTHON) or want.shape or not np.can_cast(have.dtype, want.dtype, "same_kind"):
        return None
    kind: Any = type(new)
    return kind(old) if isinstance(new, PYTHON) else want.dtype.type(old)


def _array_form(value: Any) -> Aval:
    return aval_of(value if isinstance(value, np.ndarray) else np.asarray(value))


def as_operand(parent: Trace | None, leaf: Any, aval: Aval) -> Any:
    """A leaf with the dtype of the body's input."""
    have = np.asarray(concrete_of(leaf)).dtype if not isinstance(concrete_of(leaf), PYTHON) else aval_of(concrete_of(leaf)).dtype
    if have == aval.dtype:
        return leaf
    if type(leaf) is Tracer and parent is not None:
        return parent.call(REGISTRY["convert"], (leaf,), {"dtype": aval.dtype.name})
    return aval.dtype.type(leaf)


def emit(parent: Trace | None, op: Primitive, operands: Sequence[Any], params: dict[str, Any], kinds: Sequence[str]) -> list[Any]:
    """Record a loop on the trace around it, or run it where nothing is traced; its parts."""
    picks = pick_params(op.name, params, kinds)
    if parent is None or not (parent.is_graph or any(type(o) is Tracer for o in operands)):
        try:
            packed = op.evaluate(*[readable(o) for o in operands], **params)
        except (ValueError, IndexError, TypeError) as error:
            raise translate(error, f"{op.name}: {error} ({here()})") from error
        found = [PICK.evaluate(packed, **each) for each in picks]
        return [value.copy() if isinstance(value, np.ndarray) else value for value in found]
    before = parent.inside
    if isinstance(parent, GraphTrace) and not before:
        parent.locate()
    parent.inside = True
    try:
        packed = parent.call(op, operands, params)
        return [parent.call(PICK, (packed,), each) for each in picks]
    finally:
        parent.inside = before


def kinds_of(outs: Sequence[Tracer]) -> list[str]:
    return [kind_of(out.value) if np.ndim(out.value) == 0 and not isinstance(out.value, np.ndarray) else "scalar" for out in outs]


def frozen(name: str, trace: BodyTrace, outs: Sequence[Tracer]) -> Body:
    body = freeze_body(name, trace, outs)
    trace.close()
    return body


__all__ = ["Leaves", "Opened", "Structure", "as_operand", "call_body", "emit", "frozen", "kinds_of", "read", "trace_carry"]
