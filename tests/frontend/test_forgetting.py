"""Values that a trace gives up: which ones, and that whoever asks for them gets them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.tracer import Tracer, is_deferred
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import trace_call

X = np.linspace(0.1, 1.0, 256)  # 2 kB
N = 40


def stencil(x: Any) -> Any:
    a = x * 1.0
    for _ in range(N):
        a[1:-1] = 0.25 * (a[:-2] + a[2:] - x[1:-1] + a[1:-1])
    return np.sum(a * a)


def held(x: Any) -> Any:
    """Results that the function looks at much later, themselves and by views."""
    sums, views = [], []
    for k in range(N):
        s = x + 0.5 * (x - float(k))
        sums.append(s + 1.0)
        views.append((x + s)[::2])
        views.append((0.1 * s).reshape(16, 16)[3])
    total = np.sum(x)
    for s in sums:
        total = total + np.sum(s * s)
    for v in views:
        total = total + np.sum(v) * 0.1
    return total


def branches(x: Any) -> Any:
    y = x
    for _ in range(N):
        s = y + x - 0.3 * y
        y = np.tanh(s) if s[5] + s[7] > 0.2 else s
        y += 0.01 * x
    return np.sum(y)


def squares(x: Any) -> Any:
    """Sums that rules do look at."""
    y = x
    for _ in range(N):
        s = y + 0.1 * x
        y = s * s - 0.5 * (s + x)
    return np.sum(y)


PROGRAMS = [stencil, held, branches, squares]


def tape_of(f: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    traced = trace_call(f, call_form((X,), {}))
    tape, result = list(traced.trace.tape), traced.result
    return tape, result


@pytest.mark.parametrize("f", PROGRAMS)
def test_values_come_again(f: Callable[[Any], Any]) -> None:
    tape, result = tape_of(f)
    np.testing.assert_array_equal(result, f(X))
    forgotten = [t for t in tape if is_deferred(t)]
    assert len(forgotten) >= N // 2
    for t in forgotten:
        form = t.form
        values = [o.value if type(o) is Tracer else o for o in t.operands]
        np.testing.assert_array_equal(t.value, t.op.evaluate(*values, **t.params))
        assert (t.value.shape, t.value.dtype) == (form.shape, form.dtype)


def test_most_sums_of_a_stencil_are_forgotten() -> None:
    tape, _ = tape_of(stencil)
    sums = [t for t in tape if t.op is not None and t.op.name in ("add", "sub")]
    assert sum(map(is_deferred, sums)) >= 0.8 * len(sums)


@pytest.mark.parametrize("f", PROGRAMS)
def test_derivatives(f: Callable[[Any], Any]) -> None:
    v = np.cos(np.arange(256.0))
    second = lambda x: irgrad.grad(lambda y: np.sum(irgrad.grad(f)(y) * v))(x)
    for operator in (irgrad.grad(f), second, lambda x: irgrad.make_jvp(f)(x)(v)[1]):
        eager = operator(X)
        fast = irgrad.jit(operator, compile_after=1)
        np.testing.assert_allclose(fast(X), eager, rtol=1e-11, atol=1e-12)  # as the trace computed it
        np.testing.assert_allclose(fast(X), eager, rtol=1e-11, atol=1e-12)
    h = 1e-6
    np.testing.assert_allclose(irgrad.grad(f)(X) @ v, (f(X + h * v) - f(X - h * v)) / (2 * h), rtol=2e-5, atol=1e-6)
