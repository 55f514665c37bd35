"""Jacobians of maps with far fewer arguments than outputs: tangents of all argument entries, the same numbers as row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.extend import defvjp, primitive
from irgrad.pytree import flatten

RNG = np.random.default_rng(0)
W = RNG.normal(size=(20, 5))
X = RNG.normal(size=5)
SINGLE = X.astype(np.float32)

CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    "vector to vector": (lambda x: np.sin(W @ np.tanh(x)), X),
    "vector to matrix": (lambda x: np.outer(np.sin(x), W[:, 0]), X),
    "number to matrix": (lambda s: s * W, 1.5),
    "number to vector": (lambda s: np.stack([s, s * s, s**3, 2.0 * s]), 1.5),
    "matrix to array": (lambda a: np.reshape(np.concatenate([a, a * a, a * a * a]), (3, 2, 3)), RNG.normal(size=(2, 3))),
    "trees": (lambda p: (np.sin(W @ p["a"]) * p["b"], p["a"] * 2.0, np.ones((9, 4))), {"a": X, "b": 2.0}),
    "one that does not depend": (lambda p: p[0] * W, [2.0, X[:2]]),
    "single precision": (lambda x: np.concatenate([np.exp(x), x[:1] * np.ones(30, np.float32)]), SINGLE),
    "one entry": (lambda x: x * np.arange(4.0), X[:1]),
}


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_eager_and_differences(name: str) -> None:
    function, at = CASES[name]
    eager = irgrad.jacobian(function)(at)
    fast = irgrad.jit(irgrad.jacobian(function))
    for _ in range(3):
        compiled = fast(at)
    assert fast.stats().eager_calls == 1
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if name == "single precision" else {"rtol": 1e-12, "atol": 1e-14}
    for a, b in zip(flatten(eager)[0], flatten(compiled)[0], strict=True):
        assert type(a) is type(b)
        assert np.shape(a) == np.shape(b)
        assert np.result_type(a) == np.result_type(b)
        np.testing.assert_allclose(b, a, **tolerance)  # type: ignore[call-overload]


def test_a_wide_jacobian_takes_one_walk() -> None:
    def num_rows(size: int, count: int) -> int:
        w = np.ones((count, size))
        fast = irgrad.jit(irgrad.jacobian(lambda x: np.sin(w @ np.tanh(x)))).compile(np.ones(size))
        return sum(variant.program.num_rows for variant in fast.variants)

    assert num_rows(8, 40) == num_rows(8, 80)
    assert num_rows(16, 80) == num_rows(8, 80)


def test_a_square_one_still_walks_back() -> None:
    fast = irgrad.jit(irgrad.jacobian(lambda x: np.sin(x) * x))
    for _ in range(3):
        found = fast(X)
    np.testing.assert_allclose(found, np.diag(np.cos(X) * X + np.sin(X)), rtol=1e-12, atol=1e-15)


def test_second_derivatives_of_a_wide_map() -> None:
    found = irgrad.jacobian(irgrad.jacobian(lambda x: np.sin(W @ x)))(X)
    fast = irgrad.jit(irgrad.jacobian(irgrad.jacobian(lambda x: np.sin(W @ x))))
    for _ in range(3):
        compiled = fast(X)
    expected = -np.sin(W @ X)[:, None, None] * W[:, :, None] * W[:, None, :]
    np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(compiled, expected, atol=1e-13)


def test_a_primitive_without_a_rule_for_tangents_is_walked_back_through() -> None:
    @primitive
    def opaque(x: Any) -> Any:
        return W @ x

    defvjp(opaque, lambda ans, x: lambda g: W.T @ g)
    fast = irgrad.jit(irgrad.jacobian(lambda x: np.sin(opaque(x))))
    for _ in range(3):
        found = fast(X)
    np.testing.assert_allclose(found, np.cos(W @ X)[:, None] * W, rtol=1e-12)
