"""Jacobians and Hessians with full rows and full columns: rows by cotangents, the rest by tangents, and the same numbers as dense ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.operators.jacobian_structure import Structure
from irgrad.operators.jacobian_walks import Walks
from irgrad.passes.sparsity import dense_rows

X = np.linspace(0.1, 2.0, 30)


def arrow(x: Any) -> Any:
    return np.concatenate([np.sum(x**2)[None], np.sin(x[1:]) * x[0]])


def spider(x: Any) -> Any:
    """Two full rows, two full columns, a band."""
    band = x[2:] ** 2 * x[0] + np.cos(x[1]) * x[2:]
    return np.concatenate([band[:10], np.sum(np.exp(0.1 * x))[None], band[10:], np.mean(x[::2] * x[0])[None]])


def around(x: Any) -> Any:
    return np.sum((x[1:] - x[0]) ** 4) + np.sum(x[1:] ** 3) + np.sum(x[2:] * x[1:-1])


def shared(t: Any, x: Any) -> Any:
    """Parameters of all, and of each."""
    return np.sum(np.exp(t[0] * np.sin(x))) + t[1] * np.sum(np.cos(x)) + np.sum(x[1:] * x[:-1])


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Direction and number of the seeds of each walk."""
    found: list[tuple[str, int]] = []
    inner = Walks.in_parts

    def in_parts(self: Walks, leaf: Any, colouring: Any, last: bool, walk: Any) -> Any:
        parts = inner(self, leaf, colouring, last, walk)
        found.append(("forward" if last else "back", sum(max(count, 1) for _, count in parts)))
        return parts

    monkeypatch.setattr(Walks, "in_parts", in_parts)
    return found


@pytest.mark.parametrize(
    ("operator", "f", "expected"),
    [
        (irgrad.jacobian, arrow, [("forward", 2), ("back", 1)]),
        (irgrad.jacobian, spider, [("forward", 3), ("back", 2)]),
        (irgrad.hessian, around, [("back", 1), ("forward", 4), ("back", 1)]),
    ],
    ids=["arrow", "spider", "hessian"],
)
def test_few_seeds(operator: Any, f: Any, expected: Any, seeds: list[tuple[str, int]]) -> None:
    operator(f)(X)
    assert seeds == expected
    seeds.clear()
    irgrad.jit(operator(f)).compile(X)
    assert seeds == expected


def test_parameters_of_all_in_a_leaf_of_their_own(seeds: list[tuple[str, int]]) -> None:
    irgrad.hessian(shared, (0, 1))(np.array([0.3, 0.7]), X)
    assert seeds == [("back", 1), ("forward", 2), ("forward", 3), ("back", 2)]


def test_the_number_of_operations_does_not_depend_on_the_size() -> None:
    found = []
    for n in (40, 80):
        x = np.linspace(0.1, 2.0, n)
        fast = irgrad.jit(irgrad.hessian(around)).compile(x)
        fast(x)
        found.append(fast.stats().rows_last_call)
    assert found[0] == found[1] < 30


def test_a_full_matrix_is_left_alone(seeds: list[tuple[str, int]]) -> None:
    w = np.random.default_rng(0).normal(size=(20, 20))
    irgrad.jacobian(lambda x: np.tanh(w @ x))(X[:20])
    irgrad.jacobian(lambda x: np.cumsum(x**2))(X[:20])  # a triangle
    assert seeds == [("back", 20), ("back", 20)]


def test_the_longest_rows() -> None:
    for counts, rows, total in (([9, 1, 2, 8], [0, 3], 4), ([3, 3, 3], [], 3), ([5, 1], [0], 2), ([4], [], 4)):
        found, number = dense_rows(np.array(counts))
        assert (found.tolist(), number) == (rows, total)


def test_zeros_by_construction_are_zero() -> None:
    """An infinite slope stays in its entry; the full row has a zero beside it."""

    def f(x: Any) -> Any:
        return np.concatenate([np.sum(x[:-1] ** 2)[None], np.sqrt(x[1:]) * x[0], np.zeros(2)])

    x = X.copy()
    x[-1] = 0.0
    for found in (irgrad.jacobian(f)(x), irgrad.jit(irgrad.jacobian(f)).compile(x)(x)):
        assert found[0, -1] == 0.0 and found[29, 29] == np.inf
        assert found[29, 0] == 0.0  # a cotangent meets the root, a tangent its infinite slope
        assert np.isfinite(found[:29]).all() and not found[29:, 1:29].any() and not found[30:].any()
        assert np.count_nonzero(found[:29]) == 29 + 2 * 28


def without_mixing(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(Structure, "mixed", lambda self, limit: None)
        return make()


def random_function(rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function of two vectors whose Jacobian has bands, full rows, full columns and empty rows at random places."""
    n = int(rng.integers(14, 40))
    full = rng.integers(0, n, rng.integers(0, 3)).tolist()
    order = [int(k) for k in rng.permutation(3)]
    shift, stride = int(rng.integers(0, 3)), int(rng.integers(1, 3))
    in_place = bool(rng.integers(2))

    def f(t: Any, x: Any) -> Any:
        local = np.sin(x[: n - shift]) * x[shift:]
        for k in full:
            local = local * (1.0 + 0.1 * x[k])
        local = local + np.exp(0.1 * t[0]) * x[: n - shift] ** 2
        rows = np.stack([np.sum(x[::stride] ** 2) * t[-1], np.prod(1.0 + 0.01 * x) + np.sum(t)])
        parts = [local, rows, np.cos(x[:2]) * 0.0]
        if in_place:
            whole = np.zeros(n + 5)
            whole[3 : 3 + n - shift] += local
            whole[1:3] = rows
            return whole
        return np.concatenate([parts[k] for k in order])

    return f, (rng.normal(size=int(rng.integers(1, 4))), rng.uniform(0.2, 1.5, n))


@pytest.mark.parametrize("seed", range(12))
def test_random_functions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    f, args = random_function(rng)
    for operator, g in ((irgrad.jacobian, f), (irgrad.hessian, lambda t, x: np.sum(f(t, x) ** 2 * 0.1))):
        d = operator(g, (0, 1))
        found, dense = d(*args), without_mixing(lambda d=d: d(*args), monkeypatch)
        compiled = irgrad.jit(d).compile(*args)(*args) if seed % 3 == 0 else found
        for a, b, c in zip(*map(leaves, (found, dense, compiled)), strict=True):
            assert a.shape == b.shape == c.shape and a.dtype == b.dtype == c.dtype
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(c, b, rtol=1e-10, atol=1e-12)


def leaves(tree: Any) -> list[Any]:
    return [leaf for each in tree for leaf in leaves(each)] if isinstance(tree, (tuple, list)) else [tree]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_differences(dtype: str) -> None:
    x = X.astype(dtype)
    for f in (arrow, spider, irgrad.grad(around)):
        found = irgrad.jacobian(f)(x)
        assert found.dtype == dtype
        wide, step = X, 1e-6
        columns = [(f(wide + step * e) - f(wide - step * e)) / (2 * step) for e in np.eye(30)]
        np.testing.assert_allclose(
            found, np.transpose(columns), rtol=1e-4 if dtype == "float32" else 1e-7, atol=1e-4 if dtype == "float32" else 1e-7
        )


def test_derivatives_of_arrows() -> None:
    """The walks are recorded operations: they have derivatives."""
    x = X[:12]
    third = irgrad.jacobian(irgrad.hessian(around))
    step = 1e-6
    hessian = irgrad.hessian(around)
    differences = np.stack([(hessian(x + step * e) - hessian(x - step * e)) / (2 * step) for e in np.eye(12)], axis=-1)
    np.testing.assert_allclose(third(x), differences, atol=1e-5)
    np.testing.assert_allclose(irgrad.jit(third).compile(x)(x), third(x), rtol=1e-10, atol=1e-10)
