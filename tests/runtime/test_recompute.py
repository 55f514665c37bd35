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
