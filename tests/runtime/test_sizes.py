"""Loops over shapes that shrink or grow share kernels that take any size; a few sizes have kernels of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from benchmarks.cases import CASES


def compiled(f: Callable[..., Any], *args: Any) -> Any:
    """`f` compiled; its answer is that of the trace."""
    fast = irgrad.jit(f).compile(*args)
    before = fast.stats().eager_calls
    np.testing.assert_allclose(fast(*args), f(*args), rtol=1e-9, atol=1e-12)
    assert fast.stats().eager_calls == before
    return fast


@pytest.mark.parametrize(("name", "most"), [("lu_40", 24), ("cholesky_40", 36)])
def test_factorisations_have_equal_numbers_of_kernels_for_any_size(name: str, most: int) -> None:
    case = CASES[name]
    counts = [compiled(irgrad.grad(case.make(np, size)), *case.inputs(size)).stats().kernels for size in (20, 28, 40)]
    assert len(set(counts)) == 1 and counts[0] <= most


def shrinking(a: Any, sizes: int) -> Any:
    total = 0.0
    for k in range(sizes):
        b = a[k:, k:]
        total = total + np.sum(np.tanh(b) * b[:, :1]) + np.max(b) + np.sum(np.cumsum(b[0]) ** 2)
    return total


def softmax(a: Any, sizes: int) -> Any:
    total = 0.0
    for k in range(sizes):
        b = a[:, : k + 2]
        e = np.exp(b - np.max(b, axis=1, keepdims=True))
        total = total + np.sum((e / np.sum(e, axis=1, keepdims=True)) ** 2)
    return total


def products(a: Any, sizes: int) -> Any:
    total = 0.0
    for k in range(sizes):
        x, y = a[: k + 1, : 2 * k + 1], a[0, : 2 * k + 1]
        total = total + np.sum((x @ y) ** 2) + np.sum((a[1, : k + 1] @ x) ** 2) + np.sum((x.T @ a[: k + 1, 0]) * y)
        total = total + np.sum((x @ x.T) ** 2) + np.sum((a[2, ::2][: k + 1] @ x) ** 3)
    return total


def written(a: Any, sizes: int) -> Any:
    b = np.zeros(a.shape, a.dtype)
    for k in range(sizes):
        b[k, k:] = a[k, k:] * 2.0 + np.sum(b[:k, k])
        b[k:, k] += a[k:, k] * b[k, k]
    return np.sum(b * b)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", [shrinking, softmax, products, written])
def test_kernels_of_any_size(f: Callable[..., Any], dtype: Any, rng: np.random.Generator) -> None:
    """Values and gradients are those of eager mode, and more sizes need no more kernels."""
    a = (rng.normal(size=(24, 24)) * 0.4).astype(dtype)
    counts = []
    for sizes in (8, 12):
        fast = irgrad.jit(irgrad.value_and_grad(lambda a, sizes=sizes: f(a, sizes))).compile(a)
        value, gradient = fast(a)
        tolerance = 1e-9 if dtype is np.float64 else 2e-3
        np.testing.assert_allclose(value, f(a, sizes), rtol=tolerance)
        expected = irgrad.grad(lambda a, sizes=sizes: f(a, sizes))(a)
        np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance * np.max(np.abs(expected)))
        counts.append(fast.stats().kernels)
    assert counts[1] <= counts[0] + (10 if f is products else 1), (
        counts
    )  # the last iteration's products, of one size, have their own: BLAS or loops


def test_a_few_sizes_have_kernels_of_their_own() -> None:
    """Three small sizes are straight-line code."""

    def f(a: Any) -> Any:
        total = 0.0
        for k in range(3):
            total = total + np.sum(np.sin(a[: k + 2, 0]) * a[0, 0])
        return total

    a = np.linspace(0.1, 0.9, 36).reshape(6, 6)
    assert not any("for i0" in kernel.source for kernel in compiled(f, a).kernels)
