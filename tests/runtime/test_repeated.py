"""Uses of a template that repeat are linked by a function; the program is the one that is linked use by use."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.runtime import link, lowering, repeated, runs
from irgrad.runtime.memory import Buffer
from tests.support.repeated import PROGRAMS, W, X

pytestmark = pytest.mark.filterwarnings("ignore:Output seems independent")


def several_in_one(x: Any) -> Any:
    """Views of one result, and large values that take over memory."""
    a = np.ones((24, 400)) * x[0]
    for i in range(12):
        a = np.sin(a) * x[i] + a
        total = np.sum(a[:, 1:] * a[:, :-1], axis=1)
        a = a + 0.01 * np.outer(total, a[0])
    return np.sum(a)


def kept_parts(x: Any) -> Any:
    """Elements that the adjoint reads after their array was written."""
    a = np.array(x)
    total = 0.0
    for _ in range(3):
        for i in range(1, 11):
            a[i] = np.sin(a[i - 1]) * a[i + 1]
            total = total + a[i] ** 2
    return total + np.sum(a)


def library(x: Any) -> Any:
    y = x
    for i in range(8):
        y = np.linalg.solve(W @ W.T + np.eye(12) * (i + 1), y) + np.sort(y)[::-1]
    return np.sum(y)


def branching(x: Any) -> Any:
    y = x
    for i in range(10):
        y = np.sin(y) * x if y[i] > 0.3 else y * 1.5 + x
    return np.sum(y)


OTHERS = {f.__name__: f for f in (several_in_one, kept_parts, library, branching)}


def linked(f: Any, often: int, monkeypatch: pytest.MonkeyPatch, budget: int | None) -> Any:
    monkeypatch.setattr(link, "OFTEN", often)
    monkeypatch.setattr(lowering, "_lowered", {})
    calls = [0, 0]
    plain = repeated.repeated

    def counted(*args: Any) -> Any:
        made = plain(*args)
        if made is None:
            return None
        inner = made.link

        def count(*args: Any) -> Any:
            found = inner(*args)
            calls[found is not None] += 1
            return found

        made.link = count
        return made

    monkeypatch.setattr(link, "repeated", counted)
    compiled = irgrad.jit(irgrad.grad(f), memory_budget=budget)
    inputs = [X, X[::-1].copy(), X * 0.5, X * 1.4]
    results = []
    for x in inputs:
        compiled.compile(x)
        results.append(compiled(x))
    (variant,) = compiled.variants
    program = variant.program
    guards = [(row, node.start) for row, node in program.guards.items()]
    same = [program.refs.tobytes(), program.num_rows, program.arena_bytes, sorted(program.leaf_rows.items()), guards, program.flops]
    return same, results, calls[1]


@pytest.mark.parametrize("budget", [None, 2000])
@pytest.mark.parametrize("name", [*PROGRAMS, *OTHERS])
@pytest.mark.filterwarnings("ignore:.*memory_budget")
def test_the_same_program(name: str, budget: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    f = PROGRAMS.get(name) or OTHERS[name]
    expected, results, none = linked(f, 1 << 60, monkeypatch, budget)
    found, same, count = linked(f, 1, monkeypatch, budget)
    assert found == expected
    assert none == 0
    assert (count > 0) == (name != "library")  # which has host calls
    for a, b in zip(same, results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_most_uses_of_a_loop_are_linked_by_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(x: Any) -> Any:
        for _ in range(200):
            x = 3.2 * x * (1.0 - x)
        return x

    monkeypatch.setattr(lowering, "_lowered", {})
    slow = []
    plain = link.lowered_instance
    monkeypatch.setattr(link, "lowered_instance", lambda *args: (slow.append(1), plain(*args))[1])
    irgrad.jit(irgrad.grad(loss)).compile(0.3)
    assert 0 < len(slow) < 20


def test_another_form_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strides that change in between."""

    def loss(x: Any) -> Any:
        a = np.outer(x, x)
        total = 0.0
        for k in range(16):
            a = a.T * 1.01 if k % 3 == 0 else np.array(a)
            total = total + np.sum(np.sin(a[1:, :] * x))
        return total

    expected = irgrad.grad(loss)(X)
    found, results, _ = linked(loss, 1, monkeypatch, None)
    np.testing.assert_allclose(results[0], expected, rtol=1e-12)
    assert found == linked(loss, 1 << 60, monkeypatch, None)[0]


def test_the_values_in_a_buffer() -> None:
    buffer, seen = Buffer(0, 64), set[int]()
    assert buffer.others(3) == []
    for value in (7, 3, 9):
        buffer.take(value)
        seen.add(value)
        assert buffer.values == len(seen)
        assert buffer.others(3) == sorted(seen - {3})
    for value in (3, 9, 7):
        buffer.leave(value)
        seen.discard(value)
        assert buffer.others(3) == sorted(seen)
        assert buffer.values == len(seen)
    one = Buffer(0, 64)
    one.take(5)
    assert (one.others(5), one.others(6)) == ([], [5])


def test_memory_of_a_long_loop() -> None:
    """Bytes an operation at the peak of recording and linking."""

    def chain(x: Any) -> Any:
        for _ in range(2000):
            x = 0.9 * x + 0.1 * x * x
        return x

    irgrad.jit(irgrad.grad(chain)).compile(0.5)
    compiled = irgrad.jit(irgrad.grad(chain))
    tracemalloc.start()
    try:
        compiled.compile(0.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 450 * compiled.stats().recorded_ops


def test_runs_of_inner_loops_are_analysed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    u = np.random.default_rng(3).uniform(size=(9, 18))

    def sweeps(u: Any, count: int) -> Any:
        a = np.array(u)
        for _ in range(count):
            for i in range(1, 8):
                for j in range(1, 17):
                    a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1])
        return np.sum(a**2)

    calls = [0]
    plain = runs.analysed
    monkeypatch.setattr(runs, "analysed", lambda *args: (calls.__setitem__(0, calls[0] + 1), plain(*args))[1])
    seen, programs, results = [], [], []
    for short, count in ((1 << 20, 3), (1 << 20, 6), (0, 6)):
        monkeypatch.setattr(runs, "SHORT", short)
        calls[0] = 0
        compiled = irgrad.jit(irgrad.grad(sweeps), static_argnums=1).compile(u, count)
        seen.append(calls[0])
        program = compiled.variants[0].program
        programs.append([program.refs.tobytes(), program.sizes[1:].tobytes(), program.num_rows])
        results.append(compiled(u, count))
    assert seen[0] == seen[1] < seen[2] // 4
    assert programs[1] == programs[2]
    np.testing.assert_array_equal(results[1], results[2])
    np.testing.assert_allclose(results[1], irgrad.grad(sweeps)(u, 6), rtol=1e-12)
