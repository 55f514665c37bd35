"""The number of kernels of a loop does not depend on how often it runs: values, gradients and products with Hessians, trip by trip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.runtime.runs import MANY

ROWS = np.random.default_rng(0).normal(size=(220, 6)) * 0.3
WIDE = np.random.default_rng(1).normal(size=(220, 20)) * 0.3
NUMBERS = [0.3 + 0.01 * ((7 * k) % 11) for k in range(220)]
SHORT = np.linspace(0.1, 0.9, 6)
LONG = np.linspace(0.1, 0.9, 220)


def number(x: Any, count: int) -> Any:
    for _ in range(count):
        x = np.sin(x) * 1.1 + 0.2 * x
    return x


def vector(x: Any, count: int) -> Any:
    for _ in range(count):
        x = np.sin(x) * 1.1 + 0.2 * x
    return np.sum(x)


def constants(x: Any, count: int) -> Any:
    for t in range(count):
        x = np.sin(x * NUMBERS[t]) + 0.1 * t
    return x


def nested(x: Any, count: int) -> Any:
    for i in range(count):
        for j in range(3):
            x = x + 0.1 * np.sin(x * (0.1 * i + 0.2 * j))
        x = np.cos(x)
    return x


def deep(x: Any, count: int) -> Any:
    for i in range(4):
        for j in range(count):
            x = x + 0.1 * np.sin(x * (0.1 * i + 0.2 * j))
        x = np.cos(x)
    return x


def two_bodies(x: Any, count: int) -> Any:
    for i in range(count):
        x = np.sin(x) * 0.9 if i % 2 == 0 else np.exp(-x) + 0.1 * x
    return x


def three_bodies(x: Any, count: int) -> Any:
    for i in range(count):
        if i % 3 == 1:
            x = np.sin(x) * 0.9
        elif i % 3 == 0:
            x = np.exp(-x) + 0.1 * x
        else:
            x = np.tanh(x) * x
    return x


def three_vectors(x: Any, count: int) -> Any:
    for i in range(count):
        x = np.sin(x) * 0.9 if i % 3 == 1 else np.exp(-x) + 0.1 * x if i % 3 == 0 else np.tanh(x) * x
    return np.sum(x)


def element_writes(x: Any, count: int) -> Any:
    a = np.zeros(count + 12)
    a[0] = x[0]
    for i in range(1, count + 1):
        a[i] = np.sin(a[i - 1]) + x[i % 6] * a[i - 1]
    return np.sum(a * a)


def slices(x: Any, count: int) -> Any:
    total = 0.0
    for t in range(count):
        total = total + x[t] * x[t] * np.cos(total)
    return total


def captured_rows(x: Any, count: int) -> Any:
    h = x
    for t in range(count):
        h = np.tanh(h * x + ROWS[t])
    return np.sum(h)


def wide_rows(x: Any, count: int) -> Any:
    h = WIDE[0] * x[0]
    for t in range(count):
        h = np.tanh(h * 0.5 + WIDE[t])
    return np.sum(h)


def branching(x: Any, count: int) -> Any:
    for _ in range(count):
        x = np.sin(x) * 1.2 if x > 0.5 else np.cos(x) + 0.1
    return x


def searching(x: Any, count: int) -> Any:
    y = x
    while np.abs(y) < 0.5 + count:
        y = y + np.cos(y) * 0.1 + 1.0
    return y * y


def runge_kutta(p: Any, count: int) -> Any:
    def change(z: Any) -> Any:
        return np.stack([p[0] * z[0] - p[1] * z[0] * z[1], p[2] * z[0] * z[1] - p[3] * z[1]])

    z, h = np.array([1.0, 1.0]), 0.01
    for _ in range(count):
        k1 = change(z)
        k2 = change(z + h / 2 * k1)
        z = z + h / 2 * (k1 + k2)
    return np.sum(z**2)


def product(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, count: irgrad.grad(lambda y: np.sum(irgrad.grad(f)(y, count) * 0.7))(x)


OPERATORS: dict[str, Callable[..., Any]] = {"value": lambda f: f, "gradient": irgrad.grad, "product": product}
LOOPS = [
    (number, 0.7), (vector, SHORT), (vector, LONG), (constants, 0.7), (nested, 0.7), (deep, 0.7), (two_bodies, 0.7), (three_bodies, 0.7),
    (three_vectors, LONG[:20]), (element_writes, LONG), (slices, LONG),
    (captured_rows, SHORT), (wide_rows, SHORT), (branching, 0.7), (searching, 0.3), (runge_kutta, SHORT),
]  # fmt: skip
TRIPS = (6, 7, 8, 11, 17, MANY - 1, MANY, MANY + 1, 200)  # the first and the last two or three iterations may be of other kernels


def kernels(f: Callable[..., Any], x: Any, count: int) -> int:
    fast = irgrad.jit(f, static_argnums=1).compile(x, count)
    stats = fast.stats()
    if count == TRIPS[2]:
        np.testing.assert_allclose(fast(x, count), f(x, count), rtol=1e-10)
        assert fast.stats().eager_calls == stats.eager_calls
    return stats.kernels


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("f", "x"), LOOPS, ids=[f"{f.__name__}-{np.size(x)}" for f, x in LOOPS])
def test_kernels_do_not_depend_on_the_trip_count(f: Callable[..., Any], x: Any, operator: str) -> None:
    counts = {count: kernels(OPERATORS[operator](f), x, count) for count in TRIPS}
    if f is three_vectors and operator == "product":  # one kernel depends on which of the bodies comes last
        assert len({(count % 3, found) for count, found in counts.items()}) == 3, counts
        assert max(counts.values()) - min(counts.values()) <= 1
        return
    assert len(set(counts.values())) == 1, counts


def test_paths_of_other_lengths_take_the_kernels_that_are_there() -> None:
    """A path that comes later uses a repeat kernel of the first one, and makes none where the first had too few uses for one."""

    def steps(x: Any, end: Any) -> Any:
        while x < end:
            x = x + 0.1 * np.cos(x) ** 2 + 1.0
        return x * x

    for first in (3.0, 30.0):
        fast = irgrad.jit(irgrad.grad(steps), compile_after=1)
        fast(0.5, first)
        before = fast.stats().kernels
        for end in (8.0, 12.0, 25.0, 40.0, 3.0, 50.0):
            fast(0.5, end)
            np.testing.assert_allclose(fast(0.5, end), irgrad.grad(steps)(0.5, end), rtol=1e-12)
        assert fast.stats().kernels == before
