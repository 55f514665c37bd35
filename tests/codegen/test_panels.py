"""Rows that go through their arrays together: which do, numpy's values, the same bits by one thread and by several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import panels, split
from irgrad.codegen.lowered import Panels
from irgrad.codegen.team import PATIENT, PENALTY, SKIP, TEAM
from irgrad.config import CONFIG
from irgrad.passes import panels as passes
from irgrad.runtime import lowering
from tests.codegen.test_split import both, leaves
from tests.support.panels import program

rng = np.random.default_rng(0)
U, V, R = rng.normal(size=(700, 20)), rng.normal(size=(300, 20)), rng.normal(size=(700, 300))
X, Y, W, D = rng.normal(size=(3000, 60)), rng.normal(size=3000), rng.normal(size=60), rng.normal(size=60)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Panels]]:
    """The panels of programs that are linked from now on, by a team of two."""
    made: list[Panels] = []
    rows = panels.rows

    def kept(*args: Any) -> Any:
        result = rows(*args)
        if result is not None:
            assert result[0].panels is not None
            made.append(result[0].panels)
        return result

    monkeypatch.setattr(panels, "rows", kept)
    monkeypatch.setattr(lowering, "_lowered", {})
    monkeypatch.setattr(CONFIG, "threads", 2)
    TEAM.start()
    TEAM.table[[SKIP, PENALTY, PATIENT]] = 0, 0, 1
    yield made
    TEAM.table[PATIENT] = 0
    monkeypatch.undo()
    TEAM.start()


@pytest.fixture
def anywhere(found: list[Panels], monkeypatch: pytest.MonkeyPatch) -> list[Panels]:
    """Everything that can go together does, a few rows at a time and in several chunks."""
    for name, value in (("LARGE", 1), ("ROWS", 2), ("FIXED", 1 << 30), ("FLOPS", 1e9)):
        monkeypatch.setattr(passes, name, value)
    for name, value in (("PANEL", 3000), ("NEAREST", 2000), ("LEAST", 3), ("UNIT", 1), ("PRIVATE", 0.001)):
        monkeypatch.setattr(panels, name, value)
    monkeypatch.setattr(split, "LEAST", 0)
    monkeypatch.setattr(split, "CHUNK", 200)
    return found


def factorisation(u: Any, v: Any, r: Any) -> Any:
    return np.sum((u @ v.T - r) ** 2) + 0.1 * np.sum(u**2)


def logistic(w: Any, x: Any, y: Any) -> Any:
    return np.mean(np.log1p(np.exp(-y * (x @ w)))) + 0.001 * np.sum(w**2)


def softmax(w: Any, x: Any, r: Any) -> Any:
    s = x @ w
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    return np.sum(e / np.sum(e, axis=1, keepdims=True) * r)


CASES: list[tuple[Callable[..., Any], tuple[Any, ...], list[int]]] = [  # with the parts that each group has
    (irgrad.grad(factorisation, (0, 1)), (U, V, R), [6]),  # a product, a nest, a product, a nest, and a product that has two forms
    (irgrad.value_and_grad(factorisation), (U, V, R), [3]),
    (irgrad.grad(logistic), (W, X, Y), [4]),
    (irgrad.hessian_vector_product(logistic), (W, X, Y, D), [6]),
    (irgrad.value_and_grad(softmax), (V.T.copy(), U, R), [5]),
    (lambda x, w: (x @ w, x.T @ (x @ w)), (X, W), [3]),  # what is handed out has memory for all rows
    (lambda u, v, r: np.exp(u @ v.T) @ r[:300, :20], (U, V, R), [3]),
    (lambda u, v, r: np.sum(u @ v.T, axis=0), (U, V, R), [2]),
    (lambda u, v, r: (u @ v.T)[::-1] * r, (U, V, R), []),  # a row of one array, and another row of the other
    (lambda u, v, r: np.exp(u[:200] @ v.T).sum(), (U, V, R), []),  # too few rows
    (lambda x, w: np.tanh(x[:1000] @ w), (X, W), []),  # nothing is read again
    (lambda x: np.tanh(x @ x[:60]) @ x[:60], (X[:, :60],), [3]),
    (lambda x, y: np.exp(x @ y) @ y.T, (X, rng.normal(size=(60, 3000))), []),  # each panel would read all of y
]  # fmt: skip


@pytest.mark.parametrize(("f", "arguments", "parts"), CASES)
def test_what_goes_together(found: list[Panels], f: Callable[..., Any], arguments: tuple[Any, ...], parts: list[int]) -> None:
    jitted = irgrad.jit(f).compile(*arguments)
    assert [len(each.parts) for each in found] == parts
    for got, want in zip(both(jitted, *arguments), leaves(f(*arguments)), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-9)


def test_memory_is_for_a_panel_of_each_chunk(found: list[Panels]) -> None:
    jitted = irgrad.jit(irgrad.grad(factorisation, (0, 1))).compile(U, V, R)
    jitted(U, V, R)
    (each,) = found
    (variant,) = jitted.variants
    assert variant.program is not None
    assert each.count * each.parts[0].row.sizes[0] >= 700 > (each.count - 1) * each.parts[0].row.sizes[0]
    assert variant.program.arena_bytes < R.nbytes
    assert jitted.stats().parallel_rows == 1
    assert jitted.stats().parallel_entries == (1 if TEAM.threads else 0)


def test_exact_programs_keep_numpys_order(found: list[Panels]) -> None:
    irgrad.jit(irgrad.grad(factorisation, (0, 1)), exact=True).compile(U, V, R)
    assert not found


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(found: list[Panels], bad: float) -> None:
    x = X.copy()
    x[[5, -1]] = bad
    f = lambda x, w: (np.tanh(x @ w) * 2.0) @ x
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(irgrad.jit(f).compile(X, W)(x, W), f(x, W))
        g = lambda u, v, r: np.exp(u @ v.T - r) @ v
        r = R.copy()
        r[3, 4] = bad
        np.testing.assert_allclose(irgrad.jit(g).compile(U, V, R)(U, V, r), g(U, V, r), rtol=1e-10)
    assert len(found) == 2


@pytest.mark.filterwarnings("ignore:Output seems independent")
def test_random_programs(anywhere: list[Panels]) -> None:
    for seed in range(120):
        f, arguments = program(seed)
        jitted = irgrad.jit(f).compile(*arguments)
        single = any(a.dtype == np.float32 for a in arguments)
        tolerance = 2e-3 if single else 1e-8
        for got, want in zip(both(jitted, *arguments), leaves(f(*arguments)), strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype), seed
            bound = tolerance * max(1.0, float(np.max(np.abs(want), initial=0.0)))
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=bound, err_msg=str(seed))
    assert len(anywhere) >= 12
    assert sum(each.chunks > 1 for each in anywhere) >= 8
