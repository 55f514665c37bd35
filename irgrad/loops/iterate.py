"""`scan`, `fori_loop` and `while_loop`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad.errors import TraceError
from irgrad.extend import concrete_of
from irgrad.frontend.context import current
from irgrad.frontend.trace import describe, here
from irgrad.frontend.tracer import Tracer
from irgrad.loops.primitives import SCAN, WHILE
from irgrad.loops.record import Leaves, Opened, as_operand, call_body, emit, frozen, kinds_of, read, trace_carry
from irgrad.operators.run import in_trace
from irgrad.pytree import flatten, tree_map, unflatten


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    *,
    checkpoint: bool | int = False,
) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` for each x in `xs`: the last carry, and the ys stacked along a new first axis.

    `init` is a pytree of numbers and arrays; a carry keeps its structure, shapes and dtypes (a Python number takes the dtype that the
    first iteration gives it). `xs` is a pytree of arrays of shape (T, ...), of which f sees rows of shape (...), or None with
    `length` T. ys has the structure of y and leaves of shape (T, ...). With `reverse`, xs is read and ys written from the last row to
    the first. `f` is traced once, so it takes no Python decision on traced values; what it closes over is read as it is now.

    Differentiable to any order in both modes. Reverse mode keeps the T carries; with `checkpoint` k it keeps T/k and recomputes the
    rest, k at a time (True: k = sqrt(T)). Raises TraceError for a carry that changes, for arrays of different lengths, and for an
    ``if`` on a traced value in `f`.
    """
    state, rows = Leaves("init", init), Leaves("xs", xs)
    count = _length(rows, length)
    if checkpoint is not False and checkpoint is not None:
        every = math.isqrt(max(count - 1, 0)) + 1 if checkpoint is True else int(checkpoint)
        if every < 1:
            raise ValueError(f"checkpoint is True or a positive number of iterations, got {checkpoint!r} ({here()})")
        if 1 < every < count:
            return _checkpointed(f, init, xs, rows, count, reverse, every)
    opened = Opened("scan")
    structure: list[Any] = []

    def run(trace: Any, carry: Any, leaves: list[Any]) -> tuple[Any, list[Any]]:
        out = call_body(trace, f, carry, unflatten(rows.structure, leaves))
        if type(out) is not tuple or len(out) != 2:
            raise TraceError(f"the body of scan returns a pair (carry, y), got {_described(out)} ({here()})")
        ys, structure[:] = (pair := flatten(out[1]))[0], [pair[1]]
        return out[0], ys

    try:
        firsts = [_row(leaf, count) for leaf in rows.leaves]
        trace, outs, given, _ = trace_carry(opened, run, state, firsts, "the body of scan")
        kinds = kinds_of(outs[: len(given)])
        if count:
            trace.lift_out()
        body = frozen("scan_body", trace, outs)
    finally:
        opened.finish()
    parent = opened.parent
    consts, carries = len(opened.constants.sources), len(state.leaves)
    operands = [
        *opened.constants.sources,
        *[as_operand(parent, leaf, aval) for leaf, aval in zip(state.leaves, body.inputs[consts : consts + carries], strict=True)],
        *rows.leaves,
    ]
    params = {
        "body": body, "length": count, "reverse": bool(reverse), "carries": carries, "xs": len(rows.leaves),
        "saved": parent is not None and parent.saving > 0, "counted": False,
    }  # fmt: skip
    found = emit(parent, SCAN, operands, params, kinds)
    return unflatten(state.structure, found[:carries]), unflatten(structure[0], found[carries : len(body.results)])


def _length(rows: Leaves, length: int | None) -> int:
    """The number of iterations. Raises TraceError where the arrays do not agree on it."""
    count = None if length is None else int(length)
    where = "length"
    if count is not None and count < 0:
        raise TraceError(f"scan: length is {count} ({here()}); it is a number of iterations")
    for number, leaf in enumerate(rows.leaves):
        shape = np.shape(concrete_of(leaf))
        if not shape:
            raise TraceError(f"scan: {rows.name(number)} is a number ({here()}); each leaf of xs has one row for each iteration")
        if count is None:
            count, where = shape[0], rows.name(number)
        if shape[0] != count:
            raise TraceError(f"scan: {rows.name(number)} has {shape[0]} rows and {where} says {count} ({here()})")
    if count is None:
        raise TraceError(f"scan: neither xs nor length says how many iterations there are ({here()})")
    return count


def _row(leaf: Any, count: int) -> Any:
    value = concrete_of(leaf)
    return read(value[0] if count else np.zeros(value.shape[1:], value.dtype), weak=False)


def _described(out: Any) -> str:
    return f"a {type(out).__name__} of {len(out)}" if isinstance(out, (tuple, list)) else describe(out)


def _checkpointed(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, rows: Leaves, count: int, reverse: bool, every: int
) -> tuple[Any, Any]:
    """A scan of scans over `every` rows each, and one over what is left."""
    chunks = count // every
    edge = count - chunks * every if reverse else chunks * every  # where the rows that are left begin or end

    def part(start: int, stop: int) -> Any:
        return tree_map(lambda leaf: leaf[start:stop], xs)

    def split(leaf: Any) -> Any:
        piece = leaf[edge:] if reverse else leaf[:edge]
        return piece.reshape((chunks, every, *piece.shape[1:]))

    def chunk(carry: Any, piece: Any) -> tuple[Any, Any]:
        return scan(f, carry, piece, every, reverse)

    carry, ys = scan(chunk, init, tree_map(split, xs), chunks, reverse)
    ys = tree_map(lambda leaf: leaf.reshape((chunks * every, *leaf.shape[2:])), ys)
    left = part(0, edge) if reverse else part(edge, count)
    if chunks * every == count:
        return carry, ys
    carry, rest = scan(f, carry, left, count - chunks * every, reverse)
    both = (rest, ys) if reverse else (ys, rest)
    return carry, tree_map(lambda a, b: inp.concatenate([a, b]), *both)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``for i in range(lower, upper): val = body_fun(i, val)``; the last val.

    `val` is a pytree of numbers and arrays that keeps its structure, shapes and dtypes; in `body_fun`, i is a traced int. With bounds
    that are plain ints it is a `scan`; with traced ones a `while_loop`. Raises as these do.
    """
    first, last = _bound("lower", lower), _bound("upper", upper)
    if type(first) is int and type(last) is int:

        def step(carry: Any, _: Any) -> tuple[Any, None]:
            i, value = carry
            return (i + 1, in_trace(body_fun)(i, value)), None

        (_, result), _ = scan(step, (first, init_val), None, max(last - first, 0))
        return result

    def go_on(carry: Any) -> Any:
        return carry[0] < carry[1]

    def move(carry: Any) -> Any:
        i, stop, value = carry
        return i + 1, stop, in_trace(body_fun)(i, value)

    return while_loop(go_on, move, (first, last, init_val))[2]


def _bound(name: str, value: Any) -> Any:
    """A bound as a Python int, or a traced integer where a program is recorded."""
    concrete = concrete_of(value)
    if isinstance(concrete, (bool, np.bool_)) or np.ndim(concrete) or not hasattr(concrete, "__index__"):
        raise TraceError(f"fori_loop: {name} is {type(concrete).__name__} ({here()}); it is an integer")
    trace = current()
    if type(value) is Tracer and trace is not None and trace.is_graph:
        return value
    return int(concrete)


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, max_steps: int | None = None) -> Any:
    """``while cond_fun(val): val = body_fun(val)``; the last val.

    `val` is a pytree of numbers and arrays that keeps its structure, shapes and dtypes; `cond_fun` returns one bool. Both are
    traced once. Forward mode carries tangents along. Reverse mode runs the loop again as a scan that keeps the carries, with room for
    the next power of two of iterations (a compiled path for each power that occurs), or for `max_steps` iterations, which are needed
    inside of other bodies. Raises RuntimeGuardError for more than `max_steps` iterations, TraceError for a carry that changes, for
    a condition that is no bool, and for an ``if`` on a traced value.
    """
    state = Leaves("init_val", init_val)
    opened = Opened("while_loop")

    def run(trace: Any, carry: Any, _: list[Any]) -> tuple[Any, list[Any]]:
        return call_body(trace, body_fun, carry), []

    def ask(trace: Any, carry: Any, _: list[Any]) -> tuple[Any, list[Any]]:
        answer = call_body(trace, cond_fun, carry)
        value = concrete_of(answer)
        if np.ndim(value) or not isinstance(value, (bool, np.bool_, np.ndarray)) or np.asarray(value).dtype.kind != "b":
            raise TraceError(f"the condition of while_loop returned {_described(answer)} ({here()}); it returns one bool: a comparison")
        return carry, [answer]

    try:
        trace, outs, given, _ = trace_carry(opened, run, state, [], "the body of while_loop")
        settled = Leaves("init_val", unflatten(state.structure, given))
        asking, answers, _, _ = trace_carry(opened, ask, settled, [], "the condition of while_loop")
        kinds = kinds_of(outs)
        test = frozen("while_condition", asking, answers[len(given) :])
        body = frozen("while_body", trace, outs)
    finally:
        opened.finish()
    parent, consts = opened.parent, len(opened.constants.sources)
    operands = [
        *opened.constants.sources,
        *[as_operand(parent, leaf, aval) for leaf, aval in zip(state.leaves, body.inputs[consts:], strict=True)],
    ]
    params = {"test": test, "body": body, "max_steps": None if max_steps is None else int(max_steps)}
    found = emit(parent, WHILE, operands, params, kinds)
    return unflatten(state.structure, found[: len(state.leaves)])
