"""Memory budgets: values are computed again instead of kept, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad

SIZE, STEPS = 500, 120


def smooth(x: Any) -> Any:
    for _ in range(STEPS):
        x = np.sin(x) * 1.01 + x * x * 0.1
    return np.sum(x)


def written(x: Any) -> Any:
    a, b = x * 1.0, np.zeros(SIZE)
    for k in range(STEPS):
        a[1:-1] = np.cos(a[1:-1]) * 0.5 + np.sin(a[:-2] * a[2:]) * 0.3
        b[k] = a[k] * a[k + 1]
    return np.sum(a * a) + np.sum(np.sin(b))


def noisy(x: Any) -> Any:
    for _ in range(STEPS):
        x = np.sin(x) + irgrad.numpy.random.normal(0.0, 0.1, SIZE) * x
    return np.sum(x)


def branching(x: Any) -> Any:
    for _ in range(STEPS):
        x = np.sin(x) * 1.01 + x * x * 0.1
        if np.sum(x) > 3.0:
            x = x * 0.9
    return np.sum(x)


def until(x: Any) -> Any:
    count = 0
    while np.sum(x * x) > 1.0 and count < STEPS:
        x, count = np.sin(x) * 0.99, count + 1
    return np.sum(x**3) * count


def early(x: Any) -> Any:
    a = np.zeros(SIZE)
    for k in range(STEPS):
        a[1:-1] = np.cos(a[1:-1]) * 0.5 + np.sin(a[:-2] * x[2:]) * 0.3
        x = x * 1.01
        if np.max(x) > 3.0:
            return np.sum(a * a) * k
    return np.sum(a * x)


def answers(f: Any, x: Any, budget: int | None) -> tuple[Any, Any]:
    jitted = irgrad.jit(irgrad.grad(f), memory_budget=budget)
    for _ in range(2):
        jitted(x)
    irgrad.numpy.random.seed(3)
    return jitted(x), jitted.stats()


@pytest.mark.parametrize(("f", "share"), [(smooth, 0.3), (written, 0.4)])
def test_a_budget_changes_memory_and_rows_and_nothing_else(f: Any, share: float, rng: np.random.Generator) -> None:
    x = rng.normal(size=SIZE) * 0.3
    want, plain = answers(f, x, None)
    got, bounded = answers(f, x, int(plain.arena_bytes * share))
    np.testing.assert_array_equal(got, want)
    assert bounded.arena_bytes <= plain.arena_bytes * share
    assert plain.rows_last_call < bounded.rows_last_call <= 1.6 * plain.rows_last_call
    assert bounded.kernels <= plain.kernels + 1  # to copy what an update would overwrite


@pytest.mark.parametrize(("f", "share"), [(branching, 0.4), (until, 0.3), (early, 0.5)])
def test_loops_that_branch_run_again_behind_their_last_guard(f: Any, share: float, rng: np.random.Generator) -> None:
    """The guards' part keeps what guards need; what lies before the adjoint runs again, in blocks, as straight-line code."""
    x = rng.normal(size=SIZE) * (1.0 if f is until else 0.3)
    want, plain = answers(f, x, None)
    got, bounded = answers(f, x, int(plain.arena_bytes * share))
    np.testing.assert_array_equal(got, want)
    assert plain.paths == bounded.paths == 1
    assert bounded.arena_bytes <= plain.arena_bytes * share
    assert plain.rows_last_call < bounded.rows_last_call <= 2.2 * plain.rows_last_call
    assert bounded.kernels <= plain.kernels + 1
    _, met = answers(f, x, plain.arena_bytes)
    assert met.rows_last_call == plain.rows_last_call


@pytest.mark.parametrize("f", [branching, until, early])
def test_trees_grow_within_a_budget(f: Any, rng: np.random.Generator) -> None:
    points = [rng.normal(size=SIZE) * scale for scale in (0.1, 0.3, 0.5, 0.7, 0.9, 1.1)]
    plain, bounded = (irgrad.jit(irgrad.grad(f), memory_budget=budget) for budget in (None, 300_000))
    for _ in range(4):
        for x in points:
            plain(x), bounded(x)
    for x in points:
        np.testing.assert_array_equal(bounded(x), plain(x))
    a, b = plain.stats(), bounded.stats()
    assert a.paths == b.paths > 1
    assert a.traces == b.traces
    assert b.arena_bytes <= 300_000 < a.arena_bytes
    assert b.kernels <= a.kernels + 3


def test_what_is_impure_before_a_guard_is_kept(rng: np.random.Generator) -> None:
    def f(x: Any) -> Any:
        for _ in range(40):
            x = np.sin(x) + irgrad.numpy.random.normal(0.0, 0.1, SIZE) * x
            if np.sum(x) > 1e9:
                x = x * 0.5
        return np.sum(x)

    x = rng.normal(size=SIZE) * 0.3
    want, _ = answers(f, x, None)
    with pytest.warns(RuntimeWarning, match="more than memory_budget"):
        got, _ = answers(f, x, 1000)
    np.testing.assert_array_equal(got, want)


def test_a_budget_that_is_met_costs_nothing(rng: np.random.Generator) -> None:
    x = rng.normal(size=SIZE) * 0.3
    _, plain = answers(smooth, x, None)
    _, bounded = answers(smooth, x, 2 * plain.arena_bytes)
    assert bounded.rows_last_call == plain.rows_last_call


def test_a_budget_that_cannot_be_met_warns_and_answers(rng: np.random.Generator) -> None:
    x = rng.normal(size=SIZE) * 0.3
    with pytest.warns(RuntimeWarning, match=r"needs \d+ bytes, more than memory_budget=1000"):
        got, stats = answers(smooth, x, 1000)
    np.testing.assert_allclose(got, irgrad.grad(smooth)(x), rtol=1e-9)
    assert stats.arena_bytes < 40 * 8 * SIZE  # about 2 sqrt(STEPS) vectors


def test_draws_are_never_repeated(rng: np.random.Generator) -> None:
    x = rng.normal(size=SIZE) * 0.3
    want, _ = answers(noisy, x, None)
    with pytest.warns(RuntimeWarning, match="more than memory_budget"):
        got, _ = answers(noisy, x, 1000)
    np.testing.assert_array_equal(got, want)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="memory_budget is a number of bytes, got -1"):
        irgrad.jit(smooth, memory_budget=-1)
