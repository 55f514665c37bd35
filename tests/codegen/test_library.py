"""Products over every layout, by loops and by BLAS; batches; and the text that chooses between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.products import SMALL
from irgrad.config import CONFIG
from tests.support.kernels import compiled, difference

# name -> (shape of the array given, the view of it that is multiplied)
VECTORS: dict[str, tuple[Callable[[int], tuple[int, ...]], Callable[[Any, int], Any]]] = {
    "plain": (lambda n: (n,), lambda x, n: x),
    "step": (lambda n: (2 * n,), lambda x, n: x[::2]),
    "reversed": (lambda n: (n,), lambda x, n: x[::-1]),
    "column": (lambda n: (n, 3), lambda x, n: x[:, 1]),
    "one value": (lambda n: (1,), lambda x, n: np.broadcast_to(x, (n,))),
}
MATRICES: dict[str, tuple[Callable[[int, int], tuple[int, ...]], Callable[[Any, int, int], Any]]] = {
    "rows": (lambda r, c: (r, c), lambda x, r, c: x),
    "columns": (lambda r, c: (c, r), lambda x, r, c: x.T),
    "part": (lambda r, c: (r + 2, c + 3), lambda x, r, c: x[1 : r + 1, 2 : c + 2]),
    "part of columns": (lambda r, c: (c + 2, r + 3), lambda x, r, c: x[1 : c + 1, 2 : r + 2].T),
    "step": (lambda r, c: (r, 2 * c), lambda x, r, c: x[:, ::2]),
    "reversed": (lambda r, c: (r, c), lambda x, r, c: x[::-1]),
    "one row": (lambda r, c: (1, c), lambda x, r, c: np.broadcast_to(x, (r, c))),
    "one column": (lambda r, c: (r, 1), lambda x, r, c: np.broadcast_to(x, (r, c))),
}
EXTENTS = [(1, 1, 1), (3, 2, 3), (9, 0, 4), (0, 3, 2), (9, 10, 8), (1, 40, 30), (30, 40, 1)]
FEW = [(4, 4, 4), (2, 9, 3), (7, 3, 5), (16, 2, 16), (5, 1, 6), (1, 17, 32), (31, 20, 1)]  # extents in the text


def array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    x = rng.integers(-3, 4, shape)
    y = x + rng.normal(size=shape) if np.dtype(dtype).kind in "fc" else np.abs(x) if dtype == "uint8" else x
    return (y + 1j * rng.normal(size=shape) if dtype.startswith("complex") else y).astype(dtype)


def check_products(rng: np.random.Generator, ranks: tuple[int, int], extents: tuple[int, int, int], dtype: str, every: int = 1) -> None:
    """All pairs of layouts (or every so-many-th) in one program."""
    r, k, c = extents
    kinds = [VECTORS if rank == 1 else MATRICES for rank in ranks]
    shapes = [(k,) if ranks[0] == 1 else (r, k), (k,) if ranks[1] == 1 else (k, c)]
    pairs = list(itertools.product(*kinds))[::every]
    operands: list[Any] = []
    for pair in pairs:
        for kind, name, shape in zip(kinds, pair, shapes, strict=True):
            operands.append(array(rng, kind[name][0](*shape), dtype))

    def products(*xs: Any) -> tuple[Any, ...]:
        outputs = []
        for number, (left, right) in enumerate(pairs):
            x = kinds[0][left][1](xs[2 * number], *shapes[0])
            y = kinds[1][right][1](xs[2 * number + 1], *shapes[1])
            outputs.append(np.dot(x, y))
        return tuple(outputs)

    got, in_numpy = compiled(products, *operands)
    assert in_numpy == 0
    scale = max(k, 1) * max(float(np.max(np.abs(x), initial=1.0)) for x in operands) ** 2
    for pair, g, w in zip(pairs, got, products(*operands), strict=True):
        wrong = difference(g, w, 8 * max(k, 1), scale)
        assert not wrong, f"{pair} {extents} {dtype}: {wrong}"


@pytest.mark.parametrize("ranks", [(1, 1), (2, 1), (1, 2), (2, 2)], ids=str)
def test_products_of_every_layout(ranks: tuple[int, int], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)
    for extents in (*EXTENTS, *FEW):
        check_products(rng, ranks, extents, "float64")
    for extents in FEW:
        check_products(rng, ranks, extents, "float32", every=3)
    for dtype in ("float32", "complex64", "int32", "uint8", "bool"):
        check_products(rng, ranks, (9, 10, 8), dtype, every=3)


@pytest.mark.parametrize("ranks", [(1, 1), (2, 1), (1, 2), (2, 2)], ids=str)
def test_products_as_machine_code(ranks: tuple[int, int], rng: np.random.Generator) -> None:
    for extents in ((3, 2, 3), (9, 10, 8)):
        check_products(rng, ranks, extents, "float64")
    check_products(rng, ranks, (9, 10, 8), "complex128", every=5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "int32"])
def test_batches(dtype: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)
    for r, k, c in ((2, 3, 4), (2, 9, 4), (9, 10, 8), (3, 0, 2), (30, 20, 1)):
        x, y = array(rng, (2, 3, r, k), dtype), array(rng, (2, 3, k, c), dtype)
        for f in (
            lambda x, y: x @ y,
            lambda x, y: np.matmul(np.swapaxes(x, -1, -2), np.swapaxes(y, -1, -2)) if x.shape[-2] == y.shape[-1] else x @ y,
        ):
            got, _ = compiled(f, x, y)
            assert not difference(got, f(x, y), 8 * max(k, 1), 20 * max(k, 1))


def test_small_products_are_written_out_and_large_ones_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)

    def source(*shapes: tuple[int, ...]) -> str:
        f = irgrad.jit(lambda x, y: np.dot(x, y) + 0.0, compile_after=1)
        return "".join(kernel.source for kernel in f.compile(*map(np.ones, shapes)).kernels)

    assert f"< {SMALL}" in source((2, 20), (20, 2))
    assert "call_blas" in source((20, 30), (30, 20))
    assert "range" not in source((20, 30), (30, 20)).partition("return 0")[0]  # loops would take time to compile
    assert "call_blas" in source((20, 40), (40,))
    assert "call_blas" not in source((20, 30), (30,))  # a vector, and extents in the text
    assert "call_blas" not in source((8, 8), (8, 8))
    assert "call_blas" in source((8, 8), (8, 9))
    assert source((8, 8), (8, 8)).count("load(x") == 8
    assert len(source((32, 32), (32,)).splitlines()) < 30
    assert "call_blas" not in source((3, 2), (2,))  # a few elements: straight-line code
    assert "add_any_order" in source((200,), (200,))  # two vectors: a sum in the loop around it


STACKS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "plain": (lambda x, y: x @ y, ((3, 9, 10), (3, 10, 8))),
    "transposed": (lambda x, y: x @ y.swapaxes(-1, -2), ((3, 9, 10), (3, 8, 10))),
    "transposed on the left": (lambda x, y: x.swapaxes(-1, -2) @ y, ((3, 10, 9), (3, 10, 8))),
    "both": (lambda x, y: np.einsum("bji,bkj->bik", x, y), ((3, 10, 9), (3, 8, 10))),
    "slices": (lambda x, y: x[1:, :, 2:9] @ y[:-1, 2:9, 1:], ((3, 9, 10), (3, 10, 8))),
    "broadcast": (lambda x, y: x[:, None] @ y, ((3, 9, 10), (4, 10, 8))),
    "one matrix on the left": (lambda x, y: x @ y, ((9, 10), (4, 10, 8))),
    "heads": (lambda x, y: np.einsum("qhd,khd->hqk", x, y), ((9, 3, 10), (8, 3, 10))),
    "axes turned": (lambda x, y: np.einsum("abij,bajk->abik", x, y), ((2, 3, 9, 10), (3, 2, 10, 8))),
    "backwards": (lambda x, y: x[::-1] @ y, ((3, 9, 10), (3, 10, 8))),
    "vectors": (lambda x, y: x @ y[..., None], ((3, 29, 40), (3, 40))),
    "vectors on the left": (lambda x, y: np.swapaxes(y[..., None], 1, 2) @ x, ((3, 29, 40), (3, 29))),
    "small": (lambda x, y: x @ y.swapaxes(-1, -2), ((5, 4, 3), (5, 2, 3))),
    "small with steps": (lambda x, y: x[..., :3] @ y[:, 1:4, ::1], ((5, 4, 7), (5, 6, 2))),
    "small vectors": (lambda x, y: x.swapaxes(1, 2) @ y[..., None], ((5, 4, 7), (5, 4))),
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
def test_stacks_are_read_where_they_are(name: str, dtype: str, rng: np.random.Generator) -> None:
    f, shapes = STACKS[name]
    x, y = (array(rng, shape, dtype) for shape in shapes)
    jitted = irgrad.jit(f).compile(x, y)
    wrong = difference(jitted(x, y), f(x, y), 500, 50.0)
    assert not wrong, wrong
    assert jitted.stats().rows_last_call == 2  # the product and the end: nothing is copied
    if dtype == "float64":
        loss = irgrad.grad(lambda x, y: np.sum(np.tanh(f(x, y) / 5)), (0, 1))
        for a, b in zip(irgrad.jit(loss).compile(x, y)(x, y), loss(x, y), strict=True):
            assert np.allclose(a, b, rtol=1e-9, atol=1e-11)
        x[0, 0] = np.nan
        with np.errstate(all="ignore"):
            assert np.array_equal(np.isnan(jitted(x, y)), np.isnan(f(x, y)))


def test_large_stacks_may_be_split() -> None:
    """Into chunks of products that do not depend on the number of threads."""
    x, y = np.ones((4000, 6, 5)), np.arange(4000 * 30.0).reshape(4000, 5, 6)
    for few in (False, True):
        a, b = (x[:20], y[:20]) if few else (x, y)
        jitted = irgrad.jit(lambda x, y: x @ y).compile(a, b)
        assert np.array_equal(jitted(a, b), a @ b)
        assert jitted.stats().parallel_rows == (0 if few else 1)
