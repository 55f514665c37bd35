"""What is fused: for each pattern the nests that a person would write by hand, and no memory but for results and what is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.lower import lower
from irgrad.config import CONFIG
from irgrad.ir.graph import Node
from irgrad.ir.plan import Plan, is_view
from irgrad.test_util import check_grads
from tests.support.passes import plan

Function = Callable[..., Any]
RNG = np.random.default_rng(20)
X, Y = RNG.normal(size=(2, 30, 40))
T, U = RNG.normal(size=(2, 6, 20, 30))
V, W = RNG.normal(size=(2, 90))


def kept(made: Plan) -> int:
    """Bytes of the values that have memory and are no results."""
    results = {made.views[o.index].root.index if o.index in made.views else o.index for o in made.graph.outputs if isinstance(o, Node)}
    return sum(made.graph[index].aval.nbytes for index in made.stored - results if index not in made.updates and index not in made.parts)


def kinds(made: Plan) -> list[str]:
    return [each.kind for each in made.clusters]


def loss(f: Function) -> Function:
    """A number of all results, whose cotangents are arrays."""

    def total(*arguments: Any) -> Any:
        found = f(*arguments)
        return sum(np.sum(np.sin(y)) for y in (found if isinstance(found, tuple) else (found,)))

    return total


def entropy(x: Any, y: Any) -> Any:
    moved = x - np.max(x, axis=1, keepdims=True)
    return -np.sum(y * (moved - np.log(np.sum(np.exp(moved), axis=1, keepdims=True)))) / len(x)


def distances(x: Any, y: Any) -> Any:
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)


def normalised(axes: tuple[int, ...]) -> Function:
    """Values with mean 0 and variance 1 over some axes, scaled and shifted."""

    def norm(x: Any, g: Any, b: Any) -> Any:
        mean, variance = np.mean(x, axis=axes, keepdims=True), np.var(x, axis=axes, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-5) * g + b

    return norm


IMAGES, CHANNELS = RNG.normal(size=(6, 5, 4, 8)), RNG.normal(size=(5, 1, 1))
NORMS: dict[str, tuple[Function, tuple[Any, ...]]] = {
    "batch norm": (normalised((0, 2, 3)), (IMAGES, CHANNELS, CHANNELS)),
    "batch norm of three channels": (normalised((0, 2, 3)), (IMAGES[:, :3], CHANNELS[:3], CHANNELS[:3])),
    "batch norm of signals": (normalised((0, 2)), (T, T[0, :, :1], T[0, :, :1])),
    "layer norm over two axes": (normalised((-2, -1)), (IMAGES, IMAGES[0, 0], IMAGES[0, 0])),
    "standardised columns": (normalised((0,)), (T, T[0], T[0])),
}
ONE_NEST: dict[str, tuple[Function, tuple[Any, ...]]] = {
    "broadcasts": (lambda x, a, b: np.tanh(x * a + b), (X, X[0], X[:, :1])),
    "transposes": (lambda x, y: np.sin(x.T) * y.T, (X, Y)),
    "slices": (lambda x: (x[1:, 1:] - x[:-1, :-1]) ** 2, (X,)),
    "steps": (lambda x: np.exp(-x[::2, :20]) * x[1::2, 20:], (X,)),
    "backwards": (lambda x: np.sin(x[::-1]) * x, (V,)),
    "masks": (lambda x, y: np.where(x > 0, np.exp(-x) * y, y * y), (V, W)),
    "choices": (lambda x: np.select([x > 1, x > 0], [x * 2, x * x], default=-x), (V,)),
    "clipped": (lambda x, y: np.maximum(x, 0) * y + np.clip(y, -1, 1), (V, W)),
    "several results": (lambda x, y: (x * y, np.sin(x * y), x - y), (V, W)),
    "sum of products": (lambda x, y: np.sum(x * y), (V, W)),
    "products of vectors": (lambda x, y: x @ y, (V, W)),
    "sum of an outer product": (lambda x, y, m: np.sum(np.outer(x, y) * m, axis=1), (X[:, 0], X[0], Y)),
    "products of rows": (lambda x, y: np.einsum("ij,ij->i", x, y), (X, Y)),
    "totals of everything": (lambda x: (np.mean(x), np.max(x), np.sum(x * x)), (X,)),
    "totals of rows": (lambda x: np.max(x, axis=1) - np.min(x, axis=1), (X,)),
    "totals of rows and columns": (lambda x: (np.sum(x, axis=0), np.sum(x, axis=1)), (X,)),
    "softmax": (lambda x: np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True), (X,)),
    "root mean square": (lambda x, y: x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-5) * y, (X, X[0])),
    "deviation": (lambda x: np.std(x, axis=1), (X,)),
    "cosines": (lambda x, y: np.sum(x * y, axis=1) / np.sqrt(np.sum(x * x, axis=1) * np.sum(y * y, axis=1)), (X, Y)),
    **{
        f"sum along {axes}": (lambda x, y, axes=axes: np.sum(np.exp(x) * y, axis=axes, keepdims=True), (T, U))
        for axes in (0, 1, 2, (0, 1), (0, 2), (1, 2), None)
    },
    **NORMS,
    "sum of a transpose": (lambda x: np.sum(np.exp(x.T), axis=0), (X,)),
}


@pytest.mark.parametrize("name", ONE_NEST)
def test_one_nest_without_memory(name: str) -> None:
    f, arguments = ONE_NEST[name]
    made = plan(f, *arguments)
    assert kinds(made) == ["nest"]
    assert kept(made) == 0


ONE_NEST_DERIVED = ["broadcasts", "masks", "choices", "clipped", "several results", "sum of products", "products of rows", "softmax",
                    "root mean square", "deviation", "totals of rows", *NORMS]  # fmt: skip


@pytest.mark.parametrize("name", ONE_NEST_DERIVED)
def test_one_nest_for_the_gradient_too(name: str) -> None:
    f, arguments = ONE_NEST[name]
    made = plan(irgrad.grad(loss(f), tuple(range(len(arguments)))), *arguments)
    assert kinds(made) == ["nest"]
    assert kept(made) == 0


def test_a_row_of_a_norm_is_kept_once() -> None:
    """Of the gradient's values that cost more than a load, one is read by two loops; the others are computed again."""
    for name in NORMS:
        f, arguments = NORMS[name]
        made = plan(irgrad.grad(loss(f), (0, 1, 2)), *arguments)
        assert [len(each.row_buffers) for each in made.clusters] == [0 if name == "standardised columns" else 1]


@pytest.mark.parametrize("shape", [(6, 5, 4, 8), (4, 3, 7, 7), (20, 2, 33), (3, 1, 40), (1, 4, 5, 5), (5, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("layout", ["C", "F", "steps"])
def test_values_of_norms_over_several_axes(shape: tuple[int, ...], layout: str, rng: np.random.Generator) -> None:
    x = np.asarray(rng.normal(size=shape), order="F" if layout == "F" else "C")
    x = np.repeat(x, 2, axis=-1)[..., ::2] if layout == "steps" else x
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    f = normalised(axes)
    g, b = rng.normal(size=(2, shape[1], *[1] * (x.ndim - 2)))
    np.testing.assert_allclose(irgrad.jit(f).compile(x, g, b)(x, g, b), f(x, g, b), rtol=1e-12, atol=1e-13)
    check_grads(loss(f), (0, 1, 2), modes=["fwd", "rev"], order=2)(x, g, b)
    gradient = irgrad.grad(loss(f), (0, 1, 2))
    for got, want in zip(irgrad.jit(gradient).compile(x, g, b)(x, g, b), gradient(x, g, b), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-11)


def test_a_total_of_everything_is_one_of_each_row_first() -> None:
    """Cross entropy: the terms have no memory, their sums by rows have."""
    made = plan(entropy, X, Y)
    assert kinds(made) == ["nest", "nest"]
    assert kept(made) == X[:, 0].nbytes
    made = plan(irgrad.value_and_grad(entropy), X, Y)
    assert kinds(made) == ["nest", "nest"]
    assert kept(made) == X[:, 0].nbytes


def test_totals_of_rows_columns_and_everything_are_one_traversal() -> None:
    made = plan(lambda x: (np.sum(x, axis=0), np.max(x, axis=1), np.sum(x * x)), X)
    assert [each.space for each in made.clusters] == [X.shape, X[:, 0].shape]
    assert len(made.clusters[0].by_column) == 1


@pytest.mark.parametrize("shape", [(30, 40), (7, 20, 30), (40, 3), (1, 50), (50, 1)], ids=str)
def test_values_of_totals_of_several_kinds(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.normal(size=shape)

    def totals(x: Any) -> tuple[Any, ...]:
        last, first = np.ndim(x) - 1, tuple(range(np.ndim(x) - 1))
        y = np.exp(x)
        down, high, both = np.sum(y, axis=first), np.max(x, axis=last), np.sum(y, axis=last) * np.max(x, last)
        return down, high, np.sum(y * x) / np.size(x), np.min(x), np.any(x > 2), np.mean(both)

    for got, want in zip(irgrad.jit(totals).compile(x)(x), totals(x), strict=True):
        assert np.shape(got) == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=1e-13)
    gradient = irgrad.grad(loss(lambda x: tuple(y for y in totals(x) if y.dtype != bool)))
    np.testing.assert_allclose(irgrad.jit(gradient).compile(x)(x), gradient(x), rtol=1e-11, atol=1e-12)


def test_what_a_total_of_pairs_gives_back_is_computed_again() -> None:
    """The cotangents of all distances are kept; those of all differences are not."""
    x, y = RNG.normal(size=(60, 20)), RNG.normal(size=(70, 20))
    gradient = irgrad.grad(loss(distances), (0, 1))
    made = plan(gradient, x, y)
    assert kept(made) == 60 * 70 * 8
    for got, want in zip(irgrad.jit(gradient).compile(x, y)(x, y), gradient(x, y), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("extents", [(1, 7, 1), (5, 1, 6), (1, 1, 6), (5, 1, 1), (1, 1, 1)], ids=str)
def test_stacks_of_products_of_vectors_are_loops(extents: tuple[int, int, int], dtype: str, rng: np.random.Generator) -> None:
    rows, inner, columns = extents
    x = (rng.normal(size=(12, rows, inner)) + 1j * rng.normal(size=(12, rows, inner))).astype(dtype) if dtype[0] == "c" else None
    x = rng.normal(size=(12, rows, inner)).astype(dtype) if x is None else x
    y = rng.normal(size=(12, inner, columns)).astype(dtype)
    made = plan(lambda x, y: np.sin(x @ y), x, y)
    assert kinds(made) == ["nest"]
    assert kept(made) == 0
    for f in (lambda x, y: np.sin(x @ y), lambda x, y: (x @ y)[:, 0, 0], irgrad.grad(lambda x, y: np.sum(np.abs(np.sin(x @ y)) ** 2))):
        np.testing.assert_allclose(irgrad.jit(f).compile(x, y)(x, y), f(x, y), rtol=1e-4 if dtype == "float32" else 1e-11)


def test_an_index_of_an_axis_of_one_is_a_view() -> None:
    """Forward, and backward: no zeros, no additions to a region."""
    made = plan(irgrad.grad(lambda x, y: np.sum(np.sin((x * y)[:, :, 0]) ** 2)), X[:, :, None], Y[:, :, None])
    assert kinds(made) == ["nest"]
    assert not any(is_view(node) and node.op is not None and node.op.name == "slice" for node in made.graph.nodes())
    assert not any(node.op is not None and node.op.name == "zeros" for node in made.graph.nodes())


# ---- columns ----


def centred(x: Any) -> Any:
    return (x - np.mean(x, axis=0)) / np.std(x, axis=0)


def batch_norm(x: Any) -> Any:
    high = np.max(x, axis=0, keepdims=True)
    variance = np.mean((x - np.mean(x, axis=0, keepdims=True)) ** 2, axis=0, keepdims=True)
    return x / np.sqrt(variance + 1e-5) - 0.1 * high


def softmax_of_columns(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=0))
    return e / np.sum(e, axis=0)


def log_sums(x: Any) -> Any:
    high = np.max(x, axis=0)
    return high + np.log(np.sum(np.exp(x - high), axis=0))


COLUMNS = [centred, batch_norm, softmax_of_columns, log_sums]


@pytest.mark.parametrize("f", COLUMNS, ids=lambda f: f.__name__)
def test_columns_are_one_nest_with_memory_for_a_panel(f: Function) -> None:
    """Values and gradients: what is kept for later loops has the length of some columns, what there is once a column that of a row."""
    x = RNG.normal(size=(20, 300))
    for each in (f, irgrad.grad(loss(f))):
        made = plan(each, x)
        assert kinds(made) == ["nest"]
        assert made.clusters[0].panel == 256
        assert kept(made) <= 24 * x[0].nbytes
        largest = sorted(lower(made).buffers)
        assert all(size <= 256 * x[:, 0].nbytes for size in largest[:-1])


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("shape", [(20, 16), (20, 40), (30, 300), (5, 17, 20), (9, 1, 30), (18, 257)], ids=str)
@pytest.mark.parametrize("f", COLUMNS, ids=lambda f: f.__name__)
def test_columns(f: Function, shape: tuple[int, ...], native: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native and np.prod(shape) > 1000:
        pytest.skip("slow as plain Python")
    monkeypatch.setattr(CONFIG, "evaluate", not native)
    x, offset = rng.normal(size=shape), rng.normal(size=shape[0])
    offset = offset.reshape(-1, *[1] * (len(shape) - 1))
    for dtype in ("float64", "float32") if native else ("float64",):
        given = x.astype(dtype), offset.astype(dtype)

        def total(x: Any, offset: Any) -> Any:
            return loss(f)(x * offset)

        gradient = irgrad.grad(total, (0, 1))
        tolerance = {"rtol": 1e-10, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-3, "atol": 2e-3}
        np.testing.assert_allclose(irgrad.jit(f).compile(given[0])(given[0]), f(given[0]), **tolerance)
        for got, want in zip(irgrad.jit(gradient).compile(*given)(*given), gradient(*given), strict=True):
            np.testing.assert_allclose(got, want, **tolerance)


def test_columns_of_parts_of_arrays(rng: np.random.Generator) -> None:
    wide = rng.normal(size=(60, 200))
    for f in COLUMNS:
        for part in (lambda x: x[::2, 10:90], lambda x: x[:, ::-1], lambda x: x.T, lambda x: x[:, ::3]):

            def of_part(x: Any, f: Function = f, part: Function = part) -> Any:
                return f(part(x))

            gradient = irgrad.grad(loss(of_part))
            np.testing.assert_allclose(irgrad.jit(gradient).compile(wide)(wide), gradient(wide), rtol=1e-10, atol=1e-11)


def test_columns_of_large_arrays_are_shared_by_threads(rng: np.random.Generator) -> None:
    """With the same bits as one thread's; results past the caches too."""
    x = rng.normal(size=(700, 1100))
    for f in COLUMNS:
        gradient = irgrad.grad(loss(f))
        jitted = irgrad.jit(gradient).compile(x)
        assert jitted.stats().parallel_rows
        np.testing.assert_allclose(jitted(x), gradient(x), rtol=1e-9, atol=1e-10)


# ---- products of a few numbers ----


@pytest.mark.parametrize("shapes", [((3, 3), (3,)), ((8, 4), (4,)), ((2, 4), (4, 4)), ((4,), (4, 8))], ids=str)
def test_small_products_are_among_what_is_around_them(shapes: tuple[Any, Any], rng: np.random.Generator) -> None:
    a, b = rng.normal(size=shapes[0]), rng.normal(size=shapes[1])

    def f(a: Any, b: Any) -> Any:
        return np.tanh(np.exp(0.1 * a) @ b if a.size <= 8 else a @ np.sin(b) + 1.0)

    made = plan(f, a, b)
    assert kinds(made) == ["scalar"]
    assert kept(made) == 0
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):
        x, y = a.astype(dtype), b.astype(dtype)
        for each in (f, irgrad.grad(loss(f), (0, 1)), lambda a, b: f(a[::-1], b), lambda a, b: f(a.T[::-1].T, b[..., ::-1][..., ::-1])):
            got, want = irgrad.jit(each).compile(x, y)(x, y), each(x, y)
            for one, other in zip(*((found if isinstance(found, tuple) else (found,)) for found in (got, want)), strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_larger_products_and_complex_ones_have_kernels_of_their_own() -> None:
    for x, y in ((np.ones((4, 4)), np.ones((4, 4))), (np.ones((9, 4)), np.ones(4)), (np.ones((3, 3), complex), np.ones(3))):
        assert "dot" in kinds(plan(lambda x, y: np.tanh(x @ y), x, y))


@pytest.mark.parametrize("width", [3, 4])
def test_steps_with_a_small_matrix_are_one_row(width: int, rng: np.random.Generator) -> None:
    """A loop whose step is a product and a function has as many rows for any number of steps."""
    matrix, x = rng.normal(size=(width, width)) / 2, rng.normal(size=width)

    def steps(count: int) -> Function:
        def run(x: Any) -> Any:
            total = 0.0
            for _ in range(count):
                x = np.tanh(matrix @ x)
                total = total + np.sum(x**2)
            return total

        return run

    short, long = (irgrad.jit(irgrad.grad(steps(count))).compile(x) for count in (40, 80))
    for fast, count in ((short, 40), (long, 80)):
        np.testing.assert_allclose(fast(x), irgrad.grad(steps(count))(x), rtol=1e-11, atol=1e-14)
    assert short.stats().rows_last_call == long.stats().rows_last_call
    assert short.stats().rows_last_call < 20
    assert long.stats().kernels_compiled + long.stats().kernels_loaded == 0
