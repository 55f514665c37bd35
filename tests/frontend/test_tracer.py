"""Tracers: they look like the value they stand for, and nothing of their own is in the way."""

from __future__ import annotations

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
