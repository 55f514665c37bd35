"""Sums over broadcast products: which become products of matrices, and that the answers are numpy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from tests.support.kernels import difference

Array = Any
Program = tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]


def draw(*shape: int, dtype: str = "float64") -> Array:
    rng = np.random.default_rng(sum(shape))
    x = rng.standard_normal(shape) * (5 if np.dtype(dtype).kind in "iu" else 1)
    return (x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)


def operations(f: Callable[..., Any], *arguments: Any) -> list[str]:
    """What does the work in the optimised graph."""
    graph, _ = irgrad.optimized(irgrad.trace(f)(*arguments))
    names = [node.op.name for node in graph.nodes() if node.op is not None]
    return [name for name in names if name in ("dot", "batch_dot", "product", "mul", "reduce_sum")]


PRODUCTS: dict[str, tuple[Program, list[str]]] = {
    "matrices": ((lambda x, w: (x[:, :, None] * w[None]).sum(1), ((9, 20), (20, 13))), ["dot"]),
    "in the other order": ((lambda x, w: np.sum(w[None] * x[:, :, None], axis=1), ((9, 20), (20, 13))), ["dot"]),
    "rows by rows": ((lambda x, w: (x[:, None, :] * w).sum(-1), ((9, 20), (13, 20))), ["dot"]),
    "columns first": ((lambda x, w: (x[None] * w[:, :, None]).sum(1), ((20, 9), (13, 20))), ["dot"]),
    "columns between rows": ((lambda x, w: (x[:, None] * w[:, :, None]).sum(0), ((20, 9), (20, 13))), ["dot"]),
    "extents of 1 stay": ((lambda x, w: (x[:, :, None] * w[None]).sum(1, keepdims=True), ((9, 20), (20, 13))), ["dot"]),
    "axes of 1": ((lambda x, w: (x[:, :, None] * w).sum(1), ((9, 20), (1, 20, 13))), ["dot"]),
    "several summed": ((lambda x, w: (x[..., None] * w).sum((1, 2)), ((9, 4, 5), (4, 5, 13))), ["dot"]),
    "several rows": ((lambda x, w: (x[:, :, :, None] * w).sum(2), ((3, 4, 20), (20, 13))), ["dot"]),
    "rows and columns in turn": ((lambda x, w: (x[:, None, :, None] * w[None, :, None]).sum(4), ((3, 4, 20), (5, 6, 20))), ["dot"]),
    "a stack": ((lambda x, w: (x[:, :, :, None] * w[:, None]).sum(2), ((3, 9, 20), (3, 20, 13))), ["batch_dot"]),
    "a stack behind": ((lambda x, w: (x[:, :, None, :] * w[:, None]).sum(0), ((20, 9, 3), (20, 13, 3))), ["batch_dot"]),
    "an outer product": ((lambda x, w: (x[:, :, None] * w[:, None]).sum(0), ((20, 9), (20, 13))), ["dot"]),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "complex128"])
def test_what_becomes_a_product(name: str, dtype: str) -> None:
    (f, shapes), wanted = PRODUCTS[name]
    arguments = [draw(*shape, dtype=dtype) for shape in shapes]
    assert operations(f, *arguments) == wanted
    jitted = irgrad.jit(f).compile(*arguments)
    wrong = difference(jitted(*arguments), f(*arguments), 100, 30.0)
    assert not wrong, wrong
    for k, bad in ((0, np.nan), (1, np.inf), (0, -np.inf)):
        arguments[k].flat[7] = bad
        with np.errstate(all="ignore"):
            got, want = jitted(*arguments), f(*arguments)
        assert np.array_equal(np.isfinite(got), np.isfinite(want))
        if dtype.startswith("float"):
            assert not difference(got, want, 100, 30.0)


LEFT_ALONE: dict[str, Program] = {
    "a vector": (lambda x, w: (x * w).sum(1), ((90, 200), (200,))),
    "columns alone": (lambda x, w: (x[:, None] * w).sum(0), ((90,), (90, 200))),
    "a small outer product": (lambda x, w: (x[:, None] * w).sum(0), ((90,), (100,))),
    "an operand alone is summed": (lambda x, w: (x[:, None] * w).sum(0), ((90, 1), (90, 1, 200))),
    "few": (lambda x, w: (x[:, :, None] * w[None]).sum(1), ((9, 5), (5, 13))),
    "few terms": (lambda x, w: (x[:, :, None] * w[None]).sum(1), ((90, 3), (3, 130))),
    "few terms of a stack": (lambda x, w: (x[:, :, :, None] * w[:, None]).sum(2), ((3, 50, 5), (3, 5, 50))),
    "many terms that numpy adds in pairs": (lambda x, w: (x[:, None, :] * w).sum(2), ((5, 2000), (6, 2000))),
    "nothing is summed over both": (lambda x, w: np.sum(x * w), ((90, 20), (90, 20))),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_left_alone(name: str) -> None:
    f, shapes = LEFT_ALONE[name]
    arguments = [draw(*shape) for shape in shapes]
    assert operations(f, *arguments) == ["mul", "reduce_sum"]
    assert np.allclose(irgrad.jit(f).compile(*arguments)(*arguments), f(*arguments), rtol=1e-11)


def test_integers_and_products_that_are_read_elsewhere() -> None:
    x, w = draw(9, 20), draw(20, 13)

    def both(x: Array, w: Array) -> Any:
        terms = x[:, :, None] * w
        return terms.sum(1), np.max(terms)

    assert operations(both, x, w) == ["mul", "reduce_sum"]
    f = PRODUCTS["matrices"][0][0]
    whole = [draw(9, 20, dtype="int64"), draw(20, 13, dtype="int64")]
    assert operations(f, *whole) == ["mul", "reduce_sum"]
    assert np.array_equal(irgrad.jit(f).compile(*whole)(*whole), f(*whole))
    mixed = draw(9, 20, dtype="float32"), w
    assert not difference(irgrad.jit(f).compile(*mixed)(*mixed), f(*mixed), 100, 30.0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sums_of_outer_products(axis: int, dtype: str) -> None:
    """A sum and a number times a vector, but where something is not finite: there the terms decide what is nan."""

    def f(x: Array, w: Array) -> Any:
        return np.sum(np.outer(x, w), axis=axis)

    x, w = draw(150, dtype=dtype), draw(200, dtype=dtype)
    graph, _ = irgrad.optimized(irgrad.trace(f)(x, w))
    assert "mul" not in [node.op.name for node in graph.nodes() if node.op is not None]
    jitted = irgrad.jit(f).compile(x, w)
    assert not difference(jitted(x, w), f(x, w), 500, 50.0)
    for bad in (np.nan, np.inf, -np.inf, 0.0):
        for place in (x, w):
            kept, place[3] = place[3], bad
            x[5] = 0.0
            with np.errstate(all="ignore"):
                got, want = jitted(x, w), f(x, w)
            assert np.array_equal(np.isfinite(got), np.isfinite(want))
            if dtype != "complex128":
                assert not difference(got, want, 500, 50.0)
            place[3] = kept
    loss = irgrad.grad(lambda x, w: np.sum(np.real(f(x, w)) ** 2), (0, 1))
    for a, b in zip(irgrad.jit(loss).compile(x, w)(x, w), loss(x, w), strict=True):
        rtol = 1e-3 if dtype == "float32" else 1e-10
        assert np.allclose(a, b, rtol=rtol, atol=rtol * np.max(np.abs(b)))


def test_exact_keeps_the_sum() -> None:
    (f, shapes), _ = PRODUCTS["matrices"]
    arguments = [draw(*shape) for shape in shapes]
    assert "call_blas" in "".join(k.source for k in irgrad.jit(f).compile(*arguments).kernels)
    assert "call_blas" not in "".join(k.source for k in irgrad.jit(f, exact=True).compile(*arguments).kernels)


def test_a_sum_and_its_derivatives_are_three_products() -> None:
    """No loop over rows, columns and terms; derivatives to the second order are numpy's differences."""
    x, w = draw(16, 20), draw(20, 18)

    def loss(x: Array, w: Array) -> Any:
        return np.sum(np.tanh((x[:, :, None] * w[None]).sum(1)))

    found = operations(irgrad.grad(loss, (0, 1)), x, w)
    assert found.count("dot") == 3
    assert "reduce_sum" not in found
    for k, of in ((0, x), (1, w)):
        t = draw(*of.shape) / 3

        def along(z: Array, k: int = k) -> Any:
            return loss(z, w) if k == 0 else loss(x, z)

        gradient = irgrad.jit(irgrad.grad(along)).compile(of)(of)
        assert np.allclose(gradient, irgrad.grad(along)(of), rtol=1e-11, atol=1e-12)
        assert np.allclose(np.sum(gradient * t), (along(of + 1e-6 * t) - along(of - 1e-6 * t)) / 2e-6, rtol=1e-6, atol=1e-7)
        twice = irgrad.jit(irgrad.hessian_vector_product(along)).compile(of, t)(of, t)
        assert np.allclose(twice, (irgrad.grad(along)(of + 1e-5 * t) - irgrad.grad(along)(of - 1e-5 * t)) / 2e-5, rtol=1e-5, atol=1e-7)
        forward = irgrad.jit(lambda z, t, along=along: irgrad.make_jvp(along)(z)(t)[1]).compile(of, t)(of, t)
        assert np.allclose(forward, np.sum(gradient * t), rtol=1e-10)
