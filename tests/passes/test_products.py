"""Chains of products in the cheapest order, factors that products take in: which are rewritten, and that the answers are numpy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.passes.products import best_order, price
from tests.support.kernels import difference

Array = Any
DTYPES = ["float32", "float64", "complex64", "complex128"]


def draw(*shape: int, dtype: str = "float64", seed: int = 0) -> Array:
    rng = np.random.default_rng(seed + sum(shape))
    x = rng.standard_normal(shape)
    return np.asarray(x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)[()]


def rewritten(f: Callable[..., Any], *arguments: Any) -> list[tuple[Any, ...]]:
    """Order, order as written, factor and sign of the products in the optimised graph; other operations of linear algebra by name."""
    graph, _ = irgrad.optimized(irgrad.trace(f)(*arguments))
    found: list[tuple[Any, ...]] = []
    for node in graph.nodes():
        assert node.op is not None
        if node.op.name == "product":
            found.append(tuple(node.params[key] for key in ("order", "written", "factor", "negative")))
        elif node.op.name in ("dot", "mul", "div", "neg"):
            found.append((node.op.name,))
    return found


def rows(f: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    jitted = irgrad.jit(f, **options).compile(*arguments)
    jitted(*arguments)
    assert jitted.stats().host_calls == 0
    return jitted.stats().rows_last_call


A, B, V, X, R = draw(60, 50), draw(60, 70), draw(70), draw(100, 70), draw(100)
CHAINS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], list[tuple[Any, ...]]]] = {
    "matrix, matrix, vector": (lambda a, b, v: (a.T @ b) @ v, (A, B, V), [((0, (1, 2)), ((0, 1), 2), "", False)]),
    "vector, matrix, matrix": (lambda a, b, v: v @ (b.T @ a), (A, B, V), [(((0, 1), 2), (0, (1, 2)), "", False)]),
    "turned": (lambda a, b, v: (b.T @ a).T @ v, (A, B, V), [((0, (1, 2)), ((0, 1), 2), "", False)]),
    "einsum": (lambda a, b, v: np.einsum("ij,ik->jk", a, b) @ v, (A, B, V), [((0, (1, 2)), ((0, 1), 2), "", False)]),
    "swapaxes": (lambda a, b, v: np.dot(np.dot(a.swapaxes(0, 1), b), v), (A, B, V), [((0, (1, 2)), ((0, 1), 2), "", False)]),
    "thin": (lambda a, b: a @ b @ b.T @ a, (draw(60, 60), draw(60, 2)), [(((0, 1), (2, 3)), (((0, 1), 2), 3), "", False)]),
    "outer": (lambda a, u, v: a @ np.outer(u, v), (A, draw(50), V), [(((0, 1), 2), (0, (1, 2)), "", False)]),
    "outer of a row": (lambda a, u, v: (u[:, None] * v).T @ a, (A, draw(60), V), [((0, (1, 2)), ((0, 1), 2), "", False)]),
    "factor inside": (lambda a, b, v: 3.0 * (a.T @ b) @ v, (A, B, V), [((0, (1, 2)), (("scaled", (0, 1)), 2), "mul", False)]),
    "factor behind": (lambda a, b, v: -((a.T @ b) @ v / 3.0), (A, B, V), [((0, (1, 2)), ("scaled", ((0, 1), 2)), "div", True)]),
    "scaled matrix": (lambda x, r: 2.0 / 100 * x.T @ r, (X, R), [((0, 1), (("scaled", 0), 1), "mul", False)]),
    "negative matrix": (lambda x, r: -x.T @ r, (X, R), [((0, 1), (0, 1), "", True)]),
    "scaled product": (lambda x, y: 3.0 * (x @ y), (X, B.T), [((0, 1), None, "mul", False)]),
    "scaled from the right": (lambda x, y: (x @ y) * 3.0, (X, B.T), [((0, 1), None, "mul", False)]),
    "divided product": (lambda x, y: (x @ y) / 3.0, (X, B.T), [((0, 1), None, "div", False)]),
    "negative product": (lambda x, y: -(x @ y), (X, B.T), [((0, 1), None, "", True)]),
    "divided, then read by loops": (lambda x, y: np.exp((x @ y) / 3.0), (X, B.T), [((0, 1), None, "div", False)]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_is_rewritten(name: str) -> None:
    f, arguments, wanted = CHAINS[name]
    assert rewritten(f, *arguments) == wanted
    assert rows(f, *arguments) == (3 if "loops" in name else 2)  # the kernel and the end


LEFT_ALONE: dict[str, tuple[Callable[..., Any], tuple[Any, ...], list[str]]] = {
    "the cheapest order": (lambda a, b, v: a.T @ (b @ v), (A, B, V), ["dot", "dot"]),
    "the product is a result": (lambda a, b, v: ((m := a.T @ b), m @ v)[1:] + (m,), (A, B, V), ["dot", "dot"]),
    "the product is read by loops": (lambda a, b, v: (a.T @ b) @ v + np.sum(np.exp(a.T @ b)), (A, B, V), ["dot", "dot"]),
    "many read the product": (lambda a, b, *v: [(a.T @ b) @ w for w in v], (A, B, *[V] * 60), ["dot"] * 61),
    "of a few numbers": (lambda a, b, v: (a @ b) @ v, (draw(3, 3), draw(3, 3), draw(3)), ["dot", "dot"]),
    "integers": (lambda a, b, v: (a.T @ b) @ v, tuple(x.astype(int) for x in (A, B, V)), ["dot", "dot"]),
    "scaled by loops": (lambda x, y: np.tanh(3.0 * (x @ y)), (X, B.T), ["dot", "mul"]),
    "complex factors": (lambda x, y: 3.0 * (x @ y), (X + 0j, B.T), ["dot", "mul"]),
    "an array as factor": (lambda x, y, r: r[:, None] * (x @ y), (X, B.T, R), ["dot", "mul"]),
    "nothing to multiply": (lambda a, b, v: (a.T @ b) @ v, (A[:0], B[:0], V), ["dot", "dot"]),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_left_alone(name: str) -> None:
    f, arguments, wanted = LEFT_ALONE[name]
    assert [found[0] for found in rewritten(f, *arguments)] == wanted


def test_products_that_several_chains_read() -> None:
    """Both readers go without the product, and the product is gone."""

    def both(a: Array, b: Array, v: Array, w: Array) -> Any:
        m = a.T @ b
        return m @ v, m.T @ w

    found = rewritten(both, A, B, V, draw(50))
    assert [each[:2] for each in found] == [((0, (1, 2)), ((0, 1), 2))] * 2
    assert rows(both, A, B, V, draw(50)) == 3
    for got, want in zip(irgrad.jit(both).compile(A, B, V, draw(50))(A, B, V, draw(50)), both(A, B, V, draw(50)), strict=True):
        assert np.allclose(got, want, rtol=1e-12)


def test_exact_keeps_the_order() -> None:
    f, arguments, _ = CHAINS["matrix, matrix, vector"]
    assert rows(f, *arguments, exact=True) == rows(f, *arguments) + 1
    for exact in (False, True):
        assert np.allclose(irgrad.jit(f, exact=exact).compile(*arguments)(*arguments), f(*arguments), rtol=1e-12)
    same = irgrad.jit(f, exact=True).compile(*arguments)(*arguments)
    assert np.array_equal(same, f(*arguments))  # the same calls as numpy's


def test_the_best_order_is_the_best() -> None:
    rng = np.random.default_rng(3)

    def every(extents: tuple[int, ...]) -> list[int]:
        if len(extents) == 2:
            return [0]
        cuts = range(1, len(extents) - 1)
        own = {cut: price(extents[0], extents[cut], extents[-1]) for cut in cuts}
        return [own[c] + i + k for c in cuts for i in every(extents[: c + 1]) for k in every(extents[c:])]

    for count in (1, 2, 3, 4, 5):
        for _ in range(20):
            extents = tuple(int(n) for n in rng.integers(1, 50, count + 1))
            assert best_order(extents)[0] == min(every(extents))


def laid_out(x: Array, k: int) -> Array:
    """The same values by rows, by columns, as every other element, and backwards."""
    if x.ndim == 0:
        return x
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    wide[(slice(None, None, 2),) * x.ndim] = x
    turned = np.ascontiguousarray(x[(slice(None, None, -1),) * x.ndim])[(slice(None, None, -1),) * x.ndim]
    return [x, np.asfortranarray(x), wide[(slice(None, None, 2),) * x.ndim], turned][k % 4]


def programs(dtype: str) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    def d(*shape: int) -> Any:
        return draw(*shape, dtype=dtype, seed=len(shape))

    return {
        "chain": (lambda a, b, v: (a.T @ b) @ v, (d(60, 51), d(60, 70), d(70))),
        "row": (lambda a, b, v: v @ (a @ b), (d(60, 51), d(51, 33), d(60))),
        "turned": (lambda a, b, v: (a @ b).T @ v, (d(60, 51), d(51, 70), d(60))),
        "thin": (lambda a, b, c: a @ b @ c, (d(60, 51), d(51, 70), d(70, 3))),
        "one": (lambda a, b, c: a @ b @ c, (d(60, 51), d(51, 70), d(70, 1))),
        "column": (lambda a, b, c: a @ (b @ c), (d(60, 1), d(1, 70), d(70, 40))),
        "outer": (lambda a, u, v: a @ np.outer(u, v), (d(60, 51), d(51), d(70))),
        "outer and row": (lambda a, u, v: np.outer(u, v) @ a, (d(60, 51), d(51), d(60))),
        "scaled": (lambda x, r, c: c * x.T @ r, (d(101, 70), d(101), d())),
        "divided": (lambda x, r, c: (x / c).T @ r, (d(101, 70), d(101), d())),
        "behind": (lambda x, y, c: c * (x @ y), (d(30, 70), d(70, 21), d())),
        "behind, divided": (lambda x, y, c: -((x @ y) / c), (d(30, 70), d(70, 21), d())),
        "behind a vector": (lambda x, y, c: -(c * (x @ y)), (d(30, 70), d(70), d())),
        "behind a few": (lambda x, y, c: (x @ y) / c, (d(5, 4), d(4, 6), d())),
        "negative": (lambda x, y: -(x @ y), (d(30, 70), d(70, 21))),
        "negative vector": (lambda x, y: -(x @ y), (d(30), d(30, 21))),
        "all": (lambda x, y, c: -(c * (x @ y) @ x[:, :2]), (d(70, 70), d(70, 70), d())),
    }


def agree(f: Callable[..., Any], jitted: Any, arguments: tuple[Any, ...], largest: float) -> None:
    with np.errstate(all="ignore"):
        got, want = jitted(*arguments), f(*arguments)
    wrong = difference(got, want, 300, largest)
    assert not wrong, wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", programs("float64"))
def test_values_in_every_layout(name: str, dtype: str) -> None:
    f, arguments = programs(dtype)[name]
    largest = float(np.max(np.abs(f(*arguments)))) + 10
    for k in range(4):
        given = tuple(laid_out(x, k + j) for j, x in enumerate(arguments))
        kept = [np.copy(x) for x in given]
        agree(f, irgrad.jit(f).compile(*given), given, largest)
        assert all(np.array_equal(x, y) for x, y in zip(given, kept, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", programs("float64"))
def test_what_is_not_finite_is_where_numpy_has_it(name: str, dtype: str) -> None:
    f, arguments = programs(dtype)[name]
    jitted = irgrad.jit(f).compile(*arguments)
    largest = float(np.max(np.abs(f(*arguments)))) + 10
    info = np.finfo(dtype)
    for k, place in enumerate(arguments):
        for bad in (np.nan, np.inf, -np.inf, 0.0, info.smallest_subnormal, float(info.tiny) ** 0.5):
            given = [np.copy(x)[()] for x in arguments]
            if given[k].ndim:
                given[k].flat[place.size // 2] = bad
            else:
                given[k] = place.dtype.type(bad)
            with np.errstate(all="ignore"):
                sizes = np.abs(f(*given))
            agree(f, jitted, tuple(given), max(largest, float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))))


def test_a_product_that_would_overflow_on_its_way() -> None:
    """The finite answer, which is the more accurate one; where the cheap order overflows, that of the order as written."""
    f, _, _ = CHAINS["matrix, matrix, vector"]
    jitted = irgrad.jit(f).compile(A, B, V)
    a, b, v = np.full_like(A, 1e200), np.full_like(B, 1e200), np.full_like(V, 1e-250)
    with np.errstate(all="ignore"):
        assert np.all(np.isinf(f(a, b, v)))
    assert np.allclose(jitted(a, b, v), 1e150 * A.shape[0] * len(V), rtol=1e-12)
    a, b, v = np.full_like(A, 1e-200), np.full_like(B, 1e200), np.full_like(V, 1e200)
    assert np.array_equal(jitted(a, b, v), f(a, b, v))
    assert np.all(np.isfinite(f(a, b, v)))


def derived(f: Callable[..., Any], x: Array, t: Array, h: float = 1e-5) -> Any:
    return (f(x + h * t) - f(x - h * t)) / (2 * h)


LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "least squares": lambda a, b, v: np.sum(((a.T @ b) @ v) ** 2),
    "step": lambda a, b, v: np.sum((v - 0.1 * b.T @ (b @ v)) ** 2) + np.sum(a),
    "scaled": lambda a, b, v: np.sum(np.tanh(-(a.T @ b) / 7.0) @ v) ** 2,
    "projection": lambda a, b, v: np.sum(np.outer(v, v) @ b.T @ a) ** 3 / 1e6,
}


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_to_the_second_order(name: str) -> None:
    f = LOSSES[name]
    arguments = draw(40, 30) / 5, draw(40, 35) / 5, draw(35) / 3
    for k in range(3):
        t = draw(*arguments[k].shape, seed=9)

        def along(x: Array, k: int = k) -> Any:
            return f(*arguments[:k], x, *arguments[k + 1 :])

        compiled = irgrad.jit(irgrad.grad(f, k)).compile(*arguments)(*arguments)
        eager = irgrad.grad(f, k)(*arguments)
        assert np.allclose(compiled, eager, rtol=1e-9, atol=1e-11 * np.max(np.abs(eager), initial=1.0))
        assert np.allclose(np.sum(compiled * t), derived(along, arguments[k], t), rtol=1e-5, atol=1e-7)
        forward = irgrad.jit(lambda x, t, along=along: irgrad.make_jvp(along)(x)(t)[1]).compile(arguments[k], t)(arguments[k], t)
        assert np.allclose(forward, np.sum(compiled * t), rtol=1e-8, atol=1e-9)
        twice = irgrad.jit(irgrad.hessian_vector_product(along)).compile(arguments[k], t)(arguments[k], t)
        assert np.allclose(twice, derived(irgrad.grad(along), arguments[k], t), rtol=1e-4, atol=1e-5 * (1 + np.max(np.abs(twice))))


def test_the_gradient_of_a_chain_has_no_product_of_matrices() -> None:
    """Twice the value, by a chain with a factor, and three cotangents: outer products, and the matrices on both sides of the value."""
    f = LOSSES["least squares"]
    found = rewritten(irgrad.grad(f, (0, 1, 2)), A, B, V)
    assert not [each for each in found if each == ("dot",)]
    assert len(found) == 4


def test_a_loop_that_steps_by_scaled_products() -> None:
    """w - 0.1 * x.T @ r into the memory of w: the factor and the sum are the call's."""

    def fit(count: int) -> Callable[..., Any]:
        def run(x: Array, y: Array, w: Array, rate: float) -> Any:
            for _ in range(count):
                w = w - rate * (x.T @ (x @ w - y))
            return w

        return run

    x, y, w, rate = draw(40, 12), draw(40, 9), draw(12, 9), 1e-3
    counts = [rows(fit(count), x, y, w, rate) for count in (20, 30)]
    assert counts[1] - counts[0] <= 10 * 3
    run = fit(20)
    for step in (rate, 0.0, np.nan, np.inf, 1e-310):
        agree(run, irgrad.jit(run).compile(x, y, w, rate), (x, y, w, step), 100.0)


def test_transposes_of_products_are_products() -> None:
    """Results by rows without a copy: of einsum, and of the cotangent of a transposed operand."""
    x, y = draw(40, 50), draw(50, 30)
    turned = irgrad.grad(lambda y, x: np.sum(np.tanh(x @ y.T) ** 2))
    programs: list[tuple[Callable[..., Any], Array, Array]] = [
        (lambda x, y: (x @ y).T, x, y),
        (lambda x, y: np.einsum("ij,jk->ki", x, y), x, y),
        (turned, y.T.copy(), x),
    ]
    for f, *arguments in programs:
        assert "transpose" not in [node.op.name for node in last_of(f, *arguments)]
        assert np.allclose(irgrad.jit(f).compile(*arguments)(*arguments), f(*arguments), rtol=1e-11, atol=1e-12)
    assert rows(lambda x, y: (x @ y).T, x, y) == 2
    assert rewritten(lambda x, y: ((m := x @ y), m.T), x, y) == [("dot",)]


def last_of(f: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The operation that gives the result."""
    graph, _ = irgrad.optimized(irgrad.trace(f)(*arguments))
    return graph.nodes()[-1:]
