"""Segments that are frozen whole: the same recording as value by value, whatever differs between iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend import alike, record, recorder, replay
from tests.support.repeated import OPERATORS, PROGRAMS, X, recorded

pytestmark = pytest.mark.filterwarnings("ignore:Output seems independent")
N = 40
NUMBERS = [0.5 + 0.01 * k for k in range(N)]


def other_operand(x: Any) -> Any:
    """Which value an operation takes changes, and so do equal externals."""
    a, b = x, np.cos(x)
    for i in range(N):
        c = np.tanh(a * (b if i % 7 else a) + (a if i % 11 else b))
        a, b = (b, c) if i % 5 else (c, b)
    return np.sum(a * b)


def other_shape(x: Any) -> Any:
    total = 0.0
    for i in range(N):
        y = x[: 12 - i // 8] * 0.5
        total = total + np.sum(np.sin(y) * y)
    return total


def other_axis(x: Any) -> Any:
    total = np.zeros(12)
    for i in range(N):
        y = np.outer(total, x) + np.outer(x, x)
        total = np.sum(np.tanh(y), axis=i // 9 % 2) * 0.1
    return np.sum(total)


def other_literal(x: Any) -> Any:
    """Kinds of numbers, and which of them are one."""
    y, h = x, 0.1
    for i in range(N):
        y = y * (h if i % 6 else NUMBERS[i]) + (h if i % 4 else 1) - (2 if i % 9 else 2.0) * y * (np.float64(0.1) if i % 13 == 0 else 0.1)
    return np.sum(y)


def other_branch(x: Any) -> Any:
    y = x
    for i in range(N):
        if i % 10 == 9:
            y = np.maximum(y, x) * 0.5
            continue
        y = np.exp(-y) * x
        if y[i % 12] > 0.3:
            y = y * 0.9
    return np.sum(y)


def captured(x: Any) -> Any:
    """Inputs that are made in the middle of an iteration."""
    y = x
    for i in range(N):
        y = np.sin(y) + np.array(NUMBERS[:12]) * (X if i % 8 else np.arange(12.0)) * y
    return np.sum(y)


def cut_by_gradients(x: Any) -> Any:
    """Derivatives that begin and end within iterations."""
    y = x
    for i in range(N):
        z = np.sin(y) * 0.5
        if i % 12 == 5:
            z = z + irgrad.grad(lambda v: np.sum(np.cosh(v) * v))(z)
        y = z * 1.5 + x
    return np.sum(y)


def descends(x: Any) -> Any:
    def inner(w: Any) -> Any:
        for _ in range(N):
            w = np.sin(w) * x + 0.1 * w
        return np.sum(w * w)

    for _ in range(3):
        x = x - 0.01 * irgrad.grad(inner)(x * 1.1)
    return np.sum(x * x)


OTHERS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (other_operand, other_shape, other_axis, other_literal, other_branch, captured, cut_by_gradients, descends)
}  # fmt: skip
ALL = PROGRAMS | OTHERS


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "_shapes", {})
    monkeypatch.setattr(replay, "_plans", {})
    monkeypatch.setattr(record, "LEAST", 8)
    monkeypatch.setattr(recorder, "SHORT", 8)
    monkeypatch.setattr(replay, "REPEATED", 3)


def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many segments were matched, from now on."""
    seen = [0]
    plain = record.Freezer.match

    def match(self: Any, at: int, *args: Any) -> int:
        end = plain(self, at, *args)
        seen[0] += end > at
        return end

    monkeypatch.setattr(record.Freezer, "match", match)
    return seen


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", ALL)
def test_the_same_recording(name: str, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = OPERATORS[operator](ALL[name])
    monkeypatch.setattr(record, "OFTEN", 1 << 60)
    expected, values = recorded(f, X)
    monkeypatch.setattr(record, "OFTEN", 2)
    monkeypatch.setattr(replay, "_plans", {})
    found, same = recorded(f, X)
    again, _ = recorded(f, X)  # with the shapes of the first
    assert len(found) == len(expected)
    for a, b, c in zip(expected, found, again, strict=True):
        assert a == b == c
    for a, b in zip(irgrad.pytree.flatten(values)[0], irgrad.pytree.flatten(same)[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ALL)
def test_segments_are_matched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "OFTEN", 2)
    seen = counts(monkeypatch)
    recorded(irgrad.grad(ALL[name]), X)
    assert (seen[0] > 0) == (name != "solving")  # whose rules are no plain functions


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("name", ["carried", "slices", "recurrent", "other_operand", "other_shape"])
def test_other_dtypes(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return np.real(ALL[name](x))

    x = X.astype(dtype)
    monkeypatch.setattr(record, "OFTEN", 1 << 60)
    expected, _ = recorded(irgrad.grad(f), x)
    monkeypatch.setattr(record, "OFTEN", 2)
    for y in (X, x, x):  # shapes of other dtypes are there
        found, _ = recorded(irgrad.grad(f), y)
    assert found == expected


@pytest.mark.parametrize("name", OTHERS)
def test_compiled_agrees_with_eager(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "OFTEN", 2)
    f = ALL[name]
    fast = irgrad.jit(irgrad.grad(f))
    for scale in (1.0, 1.0, 0.97, 1.02):
        np.testing.assert_allclose(fast(scale * X), irgrad.grad(f)(scale * X), rtol=1e-9, atol=1e-12)


def test_a_long_loop_goes_value_by_value_for_a_few_iterations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LEAST", 256)
    seen = counts(monkeypatch)

    def loss(x: Any) -> Any:
        for _ in range(300):
            x = np.sin(x) * 0.9 + x * 0.1
        return np.sum(x)

    recorded(irgrad.grad(loss), X)
    assert seen[0] >= 300 - alike.OFTEN - 3
    first = seen[0]
    recorded(irgrad.grad(loss), X)  # which has learnt the shape
    assert seen[0] - first >= 298
    np.testing.assert_allclose(irgrad.jit(irgrad.grad(loss), compile_after=1)(X), irgrad.grad(loss)(X), rtol=1e-9)
