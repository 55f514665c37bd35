"""Products that add to memory: which sums they take in, the counts of rows, and the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.ir.evaluate import evaluate
from irgrad.ir.parser import parse
from irgrad.ir.verify import verify
from irgrad.passes.accumulate import accumulate
from irgrad.passes.result import PassResult
from irgrad.runtime import lowering

HEAD = "graph g(e0: f64[3,4], e1: f64[4,5], e2: f64[3,2], e3: f64[2,5], e4: f64[3,5], e5: f64[]) -> ({outputs})\nprimal\n"
TWO = "  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = dot %e2 %e3\n"
WHOLE = "count=(3, 5), drop=(), start=(0, 0), step=(1, 1)"


def operations(body: str) -> list[str]:
    """The operations of a graph behind the pass, which leaves its values."""
    returned = body.rsplit("return ", 1)[1].split(", ")
    avals = ["f64[3,5]", "f64[3,4]" if "[3,4] = slice_update" in body else "f64[3,5]"]
    graph = parse(HEAD.format(outputs=", ".join(avals[: len(returned)])) + body)
    shapes = [node.aval.shape for node in graph.inputs]
    inputs = [np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(shapes)]
    wanted = evaluate(graph, *inputs)
    accumulate(graph)
    verify(graph, after="accumulate")
    for a, b in zip(evaluate(graph, *inputs), wanted, strict=True):
        assert np.allclose(a, b, rtol=1e-13, atol=1e-13)
    return [node.op.name + "-" * bool(node.params.get("negative")) for node in graph.nodes() if node.op is not None]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (TWO + "  %2: f64[3,5] = add %0 %1\nreturn %2", ["dot", "dot_add"]),
        (TWO + "  %2: f64[3,5] = add %1 %0\nreturn %2", ["dot", "dot_add"]),
        (TWO + "  %2: f64[3,5] = sub %0 %1\nreturn %2", ["dot", "dot_add-"]),
        (TWO + "  %2: f64[3,5] = sub %1 %0\nreturn %2", ["dot", "dot", "sub"]),
        (TWO + "  %2: f64[3,5] = add %0 %1\n  %3: f64[3,5] = add %2 %0\nreturn %3", ["dot", "dot", "add", "add"]),
        (TWO + "  %2: f64[3,5] = add %0 %1\nreturn %2, %1", ["dot", "dot", "add"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = add %0 %0\nreturn %1", ["dot", "add"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = add %e4 %0\nreturn %1", ["dot_add"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = sub %e4 %0\nreturn %1", ["dot_add-"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = sub %0 %e4\nreturn %1", ["dot", "sub"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = add %e4 %0\n  %2: f64[3,5] = tanh %1\nreturn %2", ["dot", "add", "tanh"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = add %e4 %0\nreturn %1, %e4", ["dot", "add"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = mul %e5 %0\n  %2: f64[3,5] = sub %e4 %1\nreturn %2", ["product_add-"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = div %0 %e5\n  %2: f64[3,5] = add %1 %e4\nreturn %2", ["product_add"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = div %e5 %0\n  %2: f64[3,5] = add %1 %e4\nreturn %2", ["dot", "div", "add"]),
        ("  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = mul %e4 %0\n  %2: f64[3,5] = add %1 %e4\nreturn %2", ["dot", "mul", "add"]),
        (
            "  %0: f64[3,5] = tanh %e4\n  %1: f64[3,5] = dot %e0 %e1\n  %2: f64[3,5] = add %e4 %1\nreturn %2, %0",
            ["tanh", "dot_add"],  # what is replaced is read before
        ),
        (
            "  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = add %e4 %0\n  %2: f64[3,5] = tanh %e4\nreturn %1, %2",
            ["dot", "add", "tanh"],  # and behind
        ),
        (f"  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = slice_add[{WHOLE}] %e4 %0\nreturn %1", ["dot_add"]),
        (f"  %0: f64[3,5] = dot %e0 %e1\n  %1: f64[3,5] = neg %0\n  %2: f64[3,5] = slice_add[{WHOLE}] %e4 %1\nreturn %2", ["dot_add-"]),
        (
            "  %0: f64[3,2] = slice[count=(3, 2), drop=(), start=(0, 0), step=(1, 1)] %e4\n"
            f"  %1: f64[3,5] = dot %0 %e3\n  %2: f64[3,5] = slice_add[{WHOLE}] %e4 %1\nreturn %2",
            ["slice", "dot", "slice_add"],
        ),
        (
            "  %0: f64[3,5] = dot %e0 %e1\n"
            "  %1: f64[3,4] = slice_update[count=(1, 4), drop=(0,), start=(0, 0), step=(1, 1)] %e0 0.0\n"
            "  %2: f64[3,5] = add %e4 %0\nreturn %2, %1",
            ["dot", "slice_update", "add"],
        ),
    ],
)
def test_sums_that_products_take_in(body: str, wanted: list[str]) -> None:
    assert operations(body) == wanted


def orders(x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The same matrix by rows, by columns, as every other element, and backwards."""
    wide = np.zeros((2 * x.shape[0], 2 * x.shape[1]), x.dtype)
    wide[::2, ::2] = x
    return [x, np.asfortranarray(x), wide[::2, ::2], np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "int64"])
@pytest.mark.parametrize("shape", [(9, 8, 11), (3, 4, 5), (1, 20, 30), (30, 20, 1), (7, 0, 6), (0, 3, 4), (40, 300, 17)])
def test_values_of_all_orders(dtype: str, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    rows, inner, columns = shape

    def draw(*extents: int) -> Any:
        return (10 * rng.standard_normal(extents)).astype(dtype)

    def sums(x: Any, w: Any, y: Any, v: Any, c: Any) -> Any:
        return x @ w + y @ v, y @ v - x @ w, c + x @ w, c - x @ w, np.tanh(np.real(x @ w + y @ v - x @ w))

    x, w, y, v, c = draw(rows, inner), draw(inner, columns), draw(rows, 5), draw(5, columns), draw(rows, columns)
    rtol = 1e-3 if dtype in ("float32", "complex64") else 1e-11
    for k in range(4):
        arguments = orders(x)[k], orders(w)[k - 1], orders(y)[k - 2], orders(v)[k - 3], orders(c)[k]
        kept = [a.copy() for a in arguments]
        found = irgrad.jit(sums).compile(*arguments)(*arguments)
        for a, b in zip(found, sums(*arguments), strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert np.allclose(a, b, rtol=rtol, atol=rtol * 100)
        for a, b in zip(arguments, kept, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("size", [4, 20])
def test_nan_and_infinities_of_both_parts(size: int) -> None:
    x, w, c = (np.random.default_rng(k).standard_normal((size, size)) for k in range(3))
    x[0, 0], x[1, 1], c[2, 2], c[3, 3], c[1, 0] = np.nan, np.inf, np.nan, -np.inf, np.inf

    def sums(x: Any, w: Any, c: Any) -> Any:
        return c + x @ w, c - x @ w, x @ w + c @ w

    with np.errstate(all="ignore"):
        for a, b in zip(irgrad.jit(sums).compile(x, w, c)(x, w, c), sums(x, w, c), strict=True):
            assert np.allclose(a, b, rtol=1e-12, equal_nan=True)


def recurrent(w: Any, u: Any, x: Any) -> Any:
    h = np.zeros((x.shape[1], u.shape[0]))
    for part in x:
        h = np.tanh(part @ w + h @ u)
    return np.sum(h**2)


def steps(count: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(count)
    return rng.standard_normal((6, 12)) / 3, rng.standard_normal((12, 12)) / 4, rng.standard_normal((count, 5, 6))


def gradient(count: int) -> Any:
    return irgrad.jit(irgrad.grad(recurrent, (0, 1))).compile(*steps(count))


def rows_a_step() -> float:
    arguments = [steps(count) for count in (10, 20)]
    rows = []
    for each in arguments:
        jitted = irgrad.jit(irgrad.grad(recurrent, (0, 1))).compile(*each)
        jitted(*each)
        rows.append(jitted.stats().rows_last_call)
    return (rows[1] - rows[0]) / 10


def test_gradients_of_a_loop_and_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = steps(12)
    found = gradient(12)(*arguments)
    for a, b in zip(found, irgrad.grad(recurrent, (0, 1))(*arguments), strict=True):
        assert np.allclose(a, b, rtol=1e-11, atol=1e-13)
    few = rows_a_step()

    def nothing(graph: Any) -> PassResult:
        return PassResult(graph)

    monkeypatch.setattr(lowering, "accumulate", nothing)
    monkeypatch.setattr(lowering, "_lowered", {})
    assert rows_a_step() == few + 2  # the cotangents of two matrices


def difference(f: Callable[..., Any], x: Any, v: Any, h: float = 1e-6) -> Any:
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


def test_derivatives_of_both_modes_and_orders() -> None:
    w, u, x = steps(3)
    v = np.random.default_rng(7).standard_normal(u.shape)

    def f(u: Any) -> Any:
        return recurrent(w, u, x)

    forward = irgrad.jit(lambda u, v: irgrad.make_jvp(f)(u)(v)[1]).compile(u, v)(u, v)
    reverse = irgrad.jit(irgrad.grad(f)).compile(u)(u)
    assert np.allclose(forward, np.sum(reverse * v), rtol=1e-12)
    assert np.allclose(forward, difference(f, u, v), rtol=1e-6)
    twice = irgrad.jit(irgrad.hessian_vector_product(f)).compile(u, v)(u, v)
    assert np.allclose(twice, difference(irgrad.grad(f), u, v), rtol=1e-5, atol=1e-7)
