"""Traces as tests of handlers open them, and a recording run again by the evaluator's means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from irgrad.frontend.context import CURRENT
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.primitive import REGISTRY


@contextmanager
def tracing(kind: type[Trace]) -> Iterator[Trace]:
    trace = kind()
    token = CURRENT.set(trace)
    try:
        yield trace
    finally:
        CURRENT.reset(token)
        if isinstance(trace, EagerTrace):
            trace.close()  # plain operands may be written again


def traced(trace: Trace, x: Any) -> Any:
    if isinstance(trace, GraphTrace):
        return trace.input(x, None)
    return trace.call(REGISTRY["mark"], (x,), {})


def concrete(x: Any) -> Any:
    if type(x) is Tracer:
        return x.value
    return type(x)(concrete(v) for v in x) if isinstance(x, (list, tuple)) else x


def same(got: Any, want: Any) -> None:
    """Equal in structure, kind, dtype, shape and value."""
    if isinstance(want, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w)
        return
    if want is None or isinstance(want, (str, np.dtype)):
        assert got == want
        return
    assert aval_of(got) == aval_of(want), f"{aval_of(got)} instead of {aval_of(want)}"
    exact = np.asarray(want).dtype.kind in "biu"
    tolerance = 0 if exact else 1e-12 if np.asarray(want).dtype.itemsize >= 8 and np.asarray(want).dtype.name != "complex64" else 2e-3
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=tolerance, atol=tolerance)


def replayed(trace: GraphTrace) -> dict[int, Any]:
    """Values of the tape computed from its inputs by the primitives alone."""
    env: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for node in trace.tape:
            if node.op is None:
                env[node.index] = node.value
                continue
            operands = [env[o.index] if type(o) is Tracer else o for o in node.operands]
            env[node.index] = node.op.evaluate(*operands, **node.params)
            if node.op.name == "guard":
                assert env[node.index]
                continue
            aval: Aval = node.op.aval(*[aval_of(o) for o in operands], **node.params)
            assert aval.same_array(aval_of(env[node.index])), f"{node.op.name}: {aval} declared, {aval_of(env[node.index])} computed"
            assert np.shape(node.value) == np.shape(env[node.index]), node.op.name
    return env


def check_replay(trace: GraphTrace, got: Any, env: dict[int, Any] | None = None) -> None:
    env = replayed(trace) if env is None else env
    if isinstance(got, (list, tuple)) and type(got) is not Tracer:
        for g in got:
            check_replay(trace, g, env)
    elif type(got) is Tracer:
        again = env[got.index]
        assert np.shape(again) == np.shape(got.value)
        assert aval_of(again).dtype == aval_of(got.value).dtype
        wide = np.asarray(got.value).dtype.itemsize >= 8 and np.asarray(got.value).dtype.name != "complex64"
        np.testing.assert_allclose(np.asarray(again), np.asarray(got.value), rtol=1e-9 if wide else 2e-3, atol=1e-9 if wide else 2e-3)


def traced_call(kind: type[Trace], fn: Callable[..., Any], *inputs: Any) -> Any:
    """What `fn` gives for traced inputs, as plain values; what a graph recorded must give the same when it is run again."""
    with tracing(kind) as trace:
        got = fn(*[traced(trace, x) for x in inputs])
        if isinstance(trace, GraphTrace):
            check_replay(trace, got)
        return concrete(got)
