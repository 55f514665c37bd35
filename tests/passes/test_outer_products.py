"""Outer products that only products and sums of products read: neither they nor the matrices of their derivatives are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.ir.graph import Graph
from irgrad.test_util import check_grads
from tests.support.kernels import difference

Array = Any
ROWS, COLUMNS, DEPTH = 50, 60, 20


def draw(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


U, V, W, Z, M = draw(ROWS), draw(COLUMNS), draw(COLUMNS) / 3, draw(ROWS) / 3, draw(COLUMNS, DEPTH) / 9

LOSSES: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "times a vector": (lambda u, v, w: np.sum((np.outer(u, v) @ w) ** 2), (U, V, W)),
    "a vector times it": (lambda z, u, v: np.sum((z @ np.outer(u, v)) ** 2), (Z, U, V)),
    "turned": (lambda u, v, z: np.sum((np.outer(u, v).T @ z) ** 2), (U, V, Z)),
    "broadcasts": (lambda u, v, m: np.sum(np.sin((u[:, None] * v[None, :]) @ m)), (U, V, M)),
    "with a factor": (lambda u, v, w: np.sum(np.tanh((np.outer(u, v) * 0.3) @ w)), (U, V, W)),
    "with a sign and a factor": (lambda u, v, w: np.mean(np.tanh(2.0 * (-np.outer(u, v) / 7.0) @ w)), (U, V, W)),
    "of another order": (lambda u, v, w: np.sum((np.einsum("i,j->ij", u, v) @ w) ** 2), (U, V, W)),
    "from both sides": (lambda z, u, v, w: np.sin(0.1 * (z @ np.outer(u, v) @ w)), (Z, U, V, W)),
    "three of them": (lambda u, v, w, z: np.sum(np.cos(np.outer(u, v) @ np.outer(w, z) @ u)), (U / 5, V / 5, W, Z)),
    "added up by hand": (lambda u, v, w: np.sum(np.sin((np.outer(u, v) * w).sum(1))), (U, V, W)),
    "read twice": (lambda u, v, w: np.sum((np.outer(u, v) @ w) ** 2) + np.sum(np.sin(u @ np.outer(u, v))), (U / 7, V, W)),
    "factors of it": (lambda u, v, w: np.sum(np.sin((0.1 * np.outer(u, v)) @ w)) + np.sum(u @ (-np.outer(u, v))), (U, V, W)),
}


def largest(graph: Graph) -> int:
    """Elements of the largest value that the graph computes."""
    return max(node.aval.size for node in graph.nodes())


@pytest.mark.parametrize("name", LOSSES)
def test_no_value_is_as_large_as_the_outer_product(name: str) -> None:
    f, arguments = LOSSES[name]
    for each in (f, irgrad.value_and_grad(f, tuple(range(len(arguments))))):
        graph, _ = irgrad.optimized(irgrad.trace(each)(*arguments))
        assert largest(graph) <= max(COLUMNS * DEPTH if name == "broadcasts" else COLUMNS, ROWS)


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_derivatives(name: str) -> None:
    f, arguments = LOSSES[name]
    places = tuple(range(len(arguments)))
    both = irgrad.value_and_grad(f, places)
    value, slopes = irgrad.jit(both).compile(*arguments)(*arguments)
    np.testing.assert_allclose(value, f(*arguments), rtol=1e-11)
    for got, want in zip(slopes, both(*arguments)[1], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * np.max(np.abs(want)))
    check_grads(f, places, order=2)(*[x[:4] if len(x) == COLUMNS else x[:3] for x in arguments])
    tangents = [draw(*x.shape) / 3 for x in arguments]
    forward = irgrad.jit(lambda xs, ts: irgrad.make_jvp(lambda xs: f(*xs))(xs)(ts)[1])
    along = sum(np.sum(slope * t) for slope, t in zip(slopes, tangents, strict=True))
    np.testing.assert_allclose(forward.compile(arguments, tuple(tangents))(arguments, tuple(tangents)), along, rtol=1e-8)
    twice = irgrad.hessian_vector_product(f)
    np.testing.assert_allclose(
        irgrad.jit(twice).compile(*arguments, tangents[0])(*arguments, tangents[0]), twice(*arguments, tangents[0]), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_finite_is_where_numpy_has_it(name: str, bad: float) -> None:
    """Also beside zeros: an infinity times a zero is nan wherever the product is written out."""
    f, arguments = LOSSES[name]
    places = tuple(range(len(arguments)))
    gradient = irgrad.grad(f, places)
    fast = irgrad.jit(gradient).compile(*arguments)
    for place in places:
        moved = [np.array(x) for x in arguments]
        moved[place].flat[2] = bad
        moved[place - 1].flat[2:4] = 0.0
        with np.errstate(all="ignore"):
            got, want = fast(*moved), gradient(*moved)
        for a, b in zip(got, want, strict=True):
            wrong = difference(a, b, 100, 1e4)
            assert not wrong, wrong


def test_nor_is_there_memory_for_it() -> None:
    """Also where the order as written is asked for: an infinity is looked at row by row."""
    f, arguments = LOSSES["with a factor"]
    compiled = irgrad.jit(irgrad.value_and_grad(f, (0, 1, 2))).compile(*arguments)
    assert compiled.stats().arena_bytes < ROWS * COLUMNS * 8


def test_what_is_read_as_it_is_stays() -> None:
    """The product that is a result, or whose square is wanted, is there; its sums with vectors are taken on the way."""
    for f in (lambda u, v, w: (np.outer(u, v), (np.outer(u, v) * w).sum(1)), lambda u, v, w: np.sum(np.outer(u, v) ** 2)):
        graph, _ = irgrad.optimized(irgrad.trace(f)(U, V, W))
        assert largest(graph) == ROWS * COLUMNS
        assert not [node for node in graph.nodes() if node.op is not None and node.op.name in ("dot", "product")]


def test_exact_computes_it_as_written() -> None:
    f, arguments = LOSSES["times a vector"]
    assert np.array_equal(irgrad.jit(f, exact=True).compile(*arguments)(*arguments), f(*arguments))
