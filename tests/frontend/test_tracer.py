"""Tracers: they look like the value they stand for, and nothing of their own is in the way."""

from __future__ import annotations

import operator
import statistics
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.tracer import Tracer

X = np.array([[0.3, 0.7], [1.1, -0.4]])
# What a tracer answers from its value. Everything else that arrays have must reach the handlers.
ANSWERED = {
    "shape",
    "ndim",
    "size",
    "dtype",
    "itemsize",
    "nbytes",
    "real",
    "imag",
    "flat",
}  # the last three by handlers, as they can be assigned


@pytest.mark.parametrize("kind", [np.ndarray, np.generic, float, int, complex])
def test_nothing_hides_an_attribute_of_the_value(kind: type) -> None:
    own = {name for name in dir(Tracer) if not name.startswith("__")}
    assert own & set(dir(kind)) <= ANSWERED


def test_the_method_trace_is_numpys() -> None:
    def f(x: Any) -> Any:
        return (x @ x).trace() + x.trace(1) * x.T.trace(offset=-1)

    jitted = irgrad.jit(irgrad.grad(f), compile_after=1)
    want = 2 * X.T + np.array([[0.0, 2 * X[0, 1]], [0.0, 0.0]])
    np.testing.assert_allclose(irgrad.grad(f)(X), want, rtol=1e-14)
    for _ in range(2):
        np.testing.assert_allclose(jitted(X), want, rtol=1e-14)


BOOLS: list[Any] = [
    operator.add, operator.sub, operator.mul, operator.pow, operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor,
    operator.lt, operator.eq, lambda b, c: -b, lambda b, c: +b, lambda b, c: abs(b), lambda b, c: b + b + c, lambda b, c: sum([b, c, b]),
    lambda b, c: True - b, lambda b, c: b**True, lambda b, c: round(b), lambda b, c: b + 1, lambda b, c: b * 1.5, lambda b, c: 2 // (b + 1),
    lambda b, c: divmod(b, b + 1), lambda b, c: np.add(b, c), lambda b, c: b + np.bool_(c), lambda b, c: b + np.float32(1.5),
    lambda b, c: b * np.ones(2, bool), lambda b, c: b * np.ones(2, np.int8), lambda b, c: np.sum([b, c]),
]  # fmt: skip


@pytest.mark.parametrize("f", BOOLS)
def test_bools_of_python_are_integers_in_arithmetic(f: Any) -> None:
    g = lambda x: f(x < 1.0, x < 2.0)
    compiled = irgrad.jit(g)
    for x in (0.5, 1.5, 2.5) * 3:
        found, want = compiled(x), g(x)
        assert type(found) is type(want)
        assert getattr(found, "dtype", None) == getattr(want, "dtype", None)
        assert np.array_equal(found, want)
    slope = irgrad.jit(irgrad.grad(lambda x: x * x * ((x < 1.0) + (x < 2.0))))
    assert [slope(x) for x in (0.5, 1.5, 2.5) * 2] == [2.0, 3.0, 0.0] * 2


def test_text_by_percent_shows_the_value_and_loses_nothing() -> None:
    form, named = "%5.2f", "%(k).1f"

    def f(x: Any) -> Any:
        text = form % x[0]
        text += "; %g"
        text %= x[1]
        assert named % {"k": x[0]} in ("0.8", "0.7")
        assert text in (" 0.75; 2", " 0.76; 2.02"), text
        return np.sum(x**2) + 5.0 % x[0]

    x = np.array([0.75, 2.0])
    fast = irgrad.jit(irgrad.grad(f))
    for k in (1.0, 1.0, 1.01, 1.01):
        np.testing.assert_allclose(fast(x * k), [1.5 * k - 6, 4.0 * k])
    assert fast.stats().paths == 1
    with pytest.raises(irgrad.errors.ConcretizationError, match="float"):
        irgrad.grad(lambda x: statistics.fmean([x[0]]))(x)
