"""Random programs that write in place: numpy, eager, compiled and differentiated must agree."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pytest

import irgrad
from tests.support.writing import Writer

FIRST, LAST = map(int, os.environ.get("IRGRAD_FUZZ", "20000:20300").split(":"))


def check(seed: int, order: int = 1) -> None:
    program = Writer(seed)
    f, points = program.function(), [program.arguments() for _ in range(3)]
    message = f"seed {seed}\n{program.source()}"
    values = irgrad.jit(f, compile_after=1)
    g = irgrad.grad(f, (0, 1))
    if order == 2:
        first = g
        g = irgrad.grad(lambda x, m: sum(np.sum(np.sin(part)) for part in first(x, m)), (0, 1))
    gradient = irgrad.jit(g, compile_after=1, memory_budget=0 if seed % 2 else None)
    for _ in range(2):
        for x, m in points:
            before = x.copy(), m.copy()
            np.testing.assert_allclose(values(x, m), f(x, m), rtol=1e-9, atol=1e-9, err_msg=message)
            for got, want in zip(gradient(x, m), g(x, m), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-8, err_msg=message)
            assert np.array_equal(x, before[0]), message
            assert np.array_equal(m, before[1]), message
    if order == 1:
        check_slope(f, g, *points[0], message)


def check_slope(f: Any, g: Any, x: Any, m: Any, message: str) -> None:
    rng = np.random.default_rng(5)
    dx, dm = rng.normal(size=x.shape), rng.normal(size=m.shape)
    slope = sum(np.sum(part * d) for part, d in zip(g(x, m), (dx, dm), strict=True))
    tangent = irgrad.make_jvp(f, (0, 1))(x, m)((dx, dm))[1]
    np.testing.assert_allclose(tangent, slope, rtol=1e-8, atol=1e-8, err_msg=message)
    rough, fine = ((f(x + h * dx, m + h * dm) - f(x - h * dx, m - h * dm)) / (2 * h) for h in (1e-5, 2e-6))
    if abs(rough - fine) < 1e-6 * (1 + abs(fine)):
        assert abs(slope - fine) < 2e-5 * (1 + abs(fine)), f"{slope} {fine} {message}"


def check_shared(seed: int) -> None:
    """Arguments in common memory: numpy's values, and its slope along another argument."""
    program = Writer(seed, shared=True)
    f, patterns = program.function(), [program.overlapping() for _ in range(2)]
    message = f"seed {seed}\n{program.source()}"
    values, gradient = irgrad.jit(f, compile_after=1), irgrad.grad(f, 2)
    compiled = irgrad.jit(gradient, compile_after=1)
    for _ in range(2):
        for make in patterns:
            x, m = make()
            want = f(*make(), 0.3)
            np.testing.assert_allclose(values(x, m, 0.3), want, rtol=1e-9, atol=1e-9, err_msg=message)
            slope = gradient(*make(), 0.3)
            np.testing.assert_allclose(compiled(x, m, 0.3), slope, rtol=1e-7, atol=1e-8, err_msg=message)
            assert all(np.array_equal(a, b) for a, b in zip((x, m), make(), strict=True)), message
            rough, fine = ((f(*make(), 0.3 + h) - f(*make(), 0.3 - h)) / (2 * h) for h in (1e-5, 2e-6))
            lost = np.finfo(float).eps * abs(want) / 2e-6  # of a difference, where values are large
            if abs(rough - fine) < 1e-6 * (1 + abs(fine)) and lost < 1e-6 * (1 + abs(fine)):
                assert abs(slope - fine) < 2e-5 * (1 + abs(fine)), f"{slope} {fine} {message}"


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("start", range(0, 100, 25))
def test_gradients(start: int) -> None:
    for seed in range(start, start + 25):
        check(seed)


@pytest.mark.usefixtures("plain")
def test_second_gradients() -> None:
    for seed in range(1000, 1020):
        check(seed, 2)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("start", range(3000, 3060, 30))
def test_arguments_in_common_memory(start: int) -> None:
    for seed in range(start, start + 30):
        check_shared(seed)


def test_machine_code() -> None:
    for seed in range(2000, 2006):
        check(seed)
    for seed in range(4000, 4003):
        check_shared(seed)


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
def test_many() -> None:
    for seed in range(FIRST, LAST):
        check(seed)
        check_shared(seed)
