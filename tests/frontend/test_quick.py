"""Operators that a trace of a loop is made of: which go the short way, and that both ways record the same."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.errors import TraceError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY

X = np.linspace(0.5, 2.0, 4)
OPERATORS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}
DUNDERS = {"add": "add", "sub": "sub", "mul": "mul", "div": "truediv"}


def short(x: Any) -> Any:
    y = x[0]
    for _ in range(5):
        y = (2.0 - y * x[1]) / (x[2] + 0.5) - y
    return np.sum(x * y + 1.5)


def written(x: Any) -> Any:
    a = x * 2.0
    a[1] = a[0] * 3.0
    return np.sum(a * x - a)


def mixed(x: Any) -> Any:
    return np.sum(x * 2 + x.astype(np.float32) * x - np.arange(4) * x + (x > 1.0) * x)


def bools(x: Any) -> Any:
    flags = x > 1.0
    return np.sum(x * (flags[1] + flags[2])) + (True * x[0])


PROGRAMS = [short, written, mixed, bools]


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    plain = GraphTrace.apply

    def apply(self: GraphTrace, op: Any, fn: Callable[..., Any], *args: Any) -> Any:
        seen.append(op.name)
        return plain(self, op, fn, *args)

    monkeypatch.setattr(GraphTrace, "apply", apply)
    return seen


def test_numbers_and_arrays_of_one_dtype_go_the_short_way(applied: list[Any]) -> None:
    for f in (short, written):
        irgrad.trace(f)(X)  # the loops of numpy's are known from here on
    applied.clear()
    irgrad.trace(short)(X)
    assert applied == []
    irgrad.trace(written)(X)
    assert applied.count("mul") == applied.count("sub") == 1  # with the memory that was written


@pytest.mark.parametrize("f", PROGRAMS)
def test_both_ways_record_the_same(f: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    irgrad.trace(f)(X)
    expected, value, slope = str(irgrad.trace(f)(X)), f(X), irgrad.grad(f)(X)
    np.testing.assert_allclose(irgrad.jit(f, compile_after=1)(X), value, rtol=1e-14)
    for name, fn in OPERATORS.items():
        op = REGISTRY[name]
        forward = lambda x, y, op=op, fn=fn: x._trace.apply(op, fn, x, y)
        backward = lambda x, y, op=op, fn=fn: x._trace.apply(op, fn, y, x)
        if f is not bools:
            monkeypatch.setattr(Tracer, f"__{DUNDERS[name]}__", forward)
            monkeypatch.setattr(Tracer, f"__r{DUNDERS[name]}__", backward)
    assert str(irgrad.trace(f)(X)) == expected
    np.testing.assert_array_equal(irgrad.grad(f)(X), slope)


def test_errors_are_those_of_the_long_way() -> None:
    def f(x: Any) -> Any:
        return np.sum(x * x[:3])

    for _ in range(2):
        with pytest.raises(TraceError, match=r"mul\(f64\[4\], f64\[3\]\).*test_quick.py:\d+"):
            irgrad.trace(f)(X)
    with pytest.raises(ZeroDivisionError):
        irgrad.trace(lambda x: 1.0 / x)(0.0)
