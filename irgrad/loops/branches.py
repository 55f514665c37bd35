"""`cond` and `checkpoint`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.extend import concrete_of
from irgrad.frontend.body_trace import BodyTrace, as_outputs
from irgrad.frontend.context import current
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY
from irgrad.loops.primitives import CHECKPOINT, COND
from irgrad.loops.record import NUMBERS, PYTHON, Opened, call_body, cast_number, emit, frozen, kinds_of, read
from irgrad.operators.run import traced_form
from irgrad.pytree import flatten, unflatten


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands) if pred else false_fun(*operands)``, with both branches in one node of a compiled program.

    `pred` is one bool (or a number: true unless zero). Operands and results are pytrees of numbers and arrays; both branches return
    the same structure, shapes and dtypes. Only the branch that is chosen runs, in derivatives too. Where nothing is compiled it is
    called as an ordinary function. Raises TraceError for branches whose results differ, and for an ``if`` on a traced value.
    """
    value = concrete_of(pred)
    if np.ndim(value) or not isinstance(value, (*NUMBERS, np.ndarray)):
        raise TraceError(f"cond: the predicate is {type(value).__name__} of shape {np.shape(value)} ({here()}); it is one bool or number")
    trace = current()
    if trace is None or not trace.is_graph or type(pred) is not Tracer:
        chosen = true_fun if bool(value) else false_fun
        return (chosen if trace is None else traced_form(trace, chosen))(*operands)
    index = pred
    if np.asarray(value).dtype.kind != "b":
        index = trace.call(REGISTRY["not_equal"], (index, 0), {})
    index = trace.call(REGISTRY["convert"], (index,), {"dtype": "int64"})
    return _branch("cond", COND, index, (false_fun, true_fun), ("false_fun", "true_fun"), operands)


def checkpoint(fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun` with nothing of its inside kept for reverse mode: it runs again when its derivative is needed.

    The result takes the arguments of `fun`, pytrees with numbers and arrays, and returns what it returns, with gradients of any order.
    `fun` is traced as the body of a loop is, without Python decisions on traced values. Where nothing is differentiated it is `fun`.
    """
    if not callable(fun):
        raise TypeError(f"checkpoint expects a function, got {type(fun).__name__} ({here()})")

    @functools.wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is None or not (trace.marks or trace.is_body):
            return (fun if trace is None else traced_form(trace, fun))(*args, **kwargs)
        return _branch("checkpoint", CHECKPOINT, 0, (lambda given: _apply(fun, given),), ("fun",), ((args, kwargs),))

    return checkpointed


def _apply(fun: Callable[..., Any], given: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    trace = current()
    return (fun if trace is None else traced_form(trace, fun))(*given[0], **given[1])


def _branch(what: str, op: Any, index: Any, functions: Sequence[Callable[..., Any]], names: Sequence[str], operands: Sequence[Any]) -> Any:
    """One of several functions of the same operands, by a traced index."""
    leaves, structure = flatten(tuple(operands))
    data = [k for k, leaf in enumerate(leaves) if isinstance(concrete_of(leaf), (*NUMBERS, np.ndarray)) and not isinstance(leaf, bool)]
    opened = Opened(what)
    traced: list[tuple[BodyTrace, list[Any], Any]] = []
    try:
        for function in functions:
            trace = opened.trace()
            filled = list(leaves)
            for k in data:
                filled[k] = trace.argument(read(leaves[k]))
            out, out_structure = flatten(call_body(trace, function, *unflatten(structure, filled)))
            traced.append((trace, out, out_structure))
        results = _results(what, traced, names)
        kinds = kinds_of(results[-1])
        bodies = [frozen(f"{what}_{name}", trace, outs) for (trace, _, _), outs, name in zip(traced, results, names, strict=True)]
    finally:
        opened.finish()
    found = emit(opened.parent, op, [index, *opened.constants.sources, *[leaves[k] for k in data]], {"branches": tuple(bodies)}, kinds)
    return unflatten(traced[0][2], found)


def _results(what: str, traced: Sequence[tuple[BodyTrace, list[Any], Any]], names: Sequence[str]) -> list[list[Tracer]]:
    """The branches' results as traced values of equal shapes and dtypes."""
    first = traced[0][2]
    for (_, _, structure), name in zip(traced[1:], names[1:], strict=True):
        if structure != first:
            raise TraceError(f"{what}: {name} returns {structure} and {names[0]} returns {first} ({here()}); branches return the same")
    columns = list(zip(*[out for _, out, _ in traced], strict=True))
    settled: list[list[Any]] = [[] for _ in traced]
    for leaves in columns:
        like = next((concrete_of(leaf) for leaf in leaves if not isinstance(concrete_of(leaf), PYTHON)), concrete_of(leaves[0]))
        for mine, leaf in zip(settled, leaves, strict=True):
            mine.append(cast_number(leaf, like) if isinstance(like, (np.ndarray, np.generic)) else leaf)
    results = [as_outputs(trace, mine) for (trace, _, _), mine in zip(traced, settled, strict=True)]
    for number, outs in enumerate(zip(*results, strict=True)):
        avals = [np.asarray(out.value) for out in outs]
        if any(a.shape != avals[0].shape or a.dtype != avals[0].dtype for a in avals):
            listed = " and ".join(f"{name} returns {out.aval}" for name, out in zip(names, outs, strict=True))
            raise TraceError(f"{what}: {listed} as result {number} ({here()}); branches return equal shapes and dtypes: convert one")
    return results
