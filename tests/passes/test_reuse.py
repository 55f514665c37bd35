"""Results in the memory of what they replace: where, how much memory it saves, and that what is read later stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.passes import reuse
from irgrad.runtime import lowering

SIZE = 8_000


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The slots that results took over, by template."""
    found: list[tuple[int, ...]] = []
    inner = lowering.take_over
    monkeypatch.setattr(lowering, "take_over", lambda plan, slots: (found.append(slots), inner(plan, slots))[1])
    monkeypatch.setattr(lowering, "_lowered", {})
    return found


def accumulate(x: Any, w: Any, steps: int) -> Any:
    total = w * 0.0
    for k in range(steps):
        total = total + np.abs(x * float(k))
    return total


def powers(x: Any, steps: int) -> Any:
    """Every state is read again by the adjoint."""
    for _ in range(steps):
        x = np.sin(x) * 1.5
    return np.sum(x)


def compiled(f: Any, *arguments: Any) -> Any:
    static = [k for k, each in enumerate(arguments) if isinstance(each, int)]
    return irgrad.jit(f, static_argnums=tuple(static)).compile(*arguments)


def test_an_accumulator_stays_where_it_is(taken: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = np.random.default_rng(0).normal(size=(2, SIZE))
    kept = x.copy(), w.copy()
    here = compiled(accumulate, x, w, 12)
    assert sum(map(len, taken)) == 1
    np.testing.assert_array_equal(here(x, w, 12), accumulate(x, w, 12))
    np.testing.assert_array_equal((x, w), kept)
    monkeypatch.setattr(reuse, "LEAST", 1 << 40)
    monkeypatch.setattr(lowering, "_lowered", {})
    elsewhere = compiled(accumulate, x, w, 12)
    np.testing.assert_array_equal(elsewhere(x, w, 12), accumulate(x, w, 12))
    assert here.stats().arena_bytes <= elsewhere.stats().arena_bytes - 8 * SIZE
    assert here.stats().rows_last_call == elsewhere.stats().rows_last_call


def test_what_the_adjoint_reads_is_not_written_over(taken: list[tuple[int, ...]]) -> None:
    x = np.random.default_rng(0).normal(size=SIZE)
    fast = compiled(irgrad.grad(powers), x, 9)
    np.testing.assert_allclose(fast(x, 9), irgrad.grad(powers)(x, 9), rtol=1e-12)
    assert all(len(set(slots)) == len(slots) for slots in taken)


@pytest.mark.parametrize("steps", [4, 11])
def test_small_arrays_and_arguments_stay(steps: int, taken: list[tuple[int, ...]]) -> None:
    x, w = np.random.default_rng(0).normal(size=(2, 50))
    np.testing.assert_array_equal(compiled(accumulate, x, w, steps)(x, w, steps), accumulate(x, w, steps))
    large = np.random.default_rng(0).normal(size=SIZE)
    np.testing.assert_array_equal(irgrad.jit(lambda x: x * 2.0 + 1.0).compile(large)(large), large * 2.0 + 1.0)
    assert taken == []


@pytest.mark.parametrize("seed", range(6))
def test_loops_of_any_arrays(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with every array large enough."""
    monkeypatch.setattr(reuse, "LEAST", 8)
    monkeypatch.setattr(lowering, "_lowered", {})
    rng = np.random.default_rng(seed)

    def f(x: Any, p: Any) -> Any:
        a, b, total = x * 1.0, np.cos(x), 0.0 * x
        for k in range(6):
            if seed % 2:
                a, b = a + 0.1 * b, b - 0.1 * np.sin(a) * p
            else:
                a = a * 0.9 + p
            total = total + (a if k % 3 else b * a)
            if seed % 3 == 0:
                b[1:-1] = a[:-2] + a[2:]
        return np.sum(total * a) + np.sum(b)

    x, p = rng.normal(size=(2, 30))
    fast, slow = compiled(irgrad.grad(f, (0, 1)), x, p), irgrad.grad(f, (0, 1))
    for found, wanted in zip(fast(x, p), slow(x, p), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
