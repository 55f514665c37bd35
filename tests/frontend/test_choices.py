"""``min`` and ``max`` of traced numbers are selections: Python's values and types, no guards."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend import deferral, graph_trace
from irgrad.test_util import check_grads

NUMBERS = [1.0, 2.0, np.nan, -0.0, 0.0, -np.inf]

CHOICES: list[Callable[..., Any]] = [
    lambda x: min(x),
    lambda x: max(x[0], x[1], x[2]),
    lambda x: max([x[2], x[1]]),
    lambda x: max(v for v in x),
    lambda x: functools.reduce(min, x),
    lambda x: min(x[0], 0.0),
    lambda x: max(0.0, x[0]) * 2,
    lambda x: max(0.0, x[0]) * min(x[1], 1.0),
    lambda x: x[2] + max(0.0, x[0]) * max(x[1], 1.0),
    lambda x: sum(max(v, 0.0) for v in x),
    lambda x: abs(-max(0.0, x[1])) ** 2,
    lambda x: max(min(float(x[0]), 1.0), 0.0) + max(x[1], 0.5),
    lambda x: np.exp(-max(x[0], 0.0)),
    lambda x: max(x[0], 0),
    lambda x: max(min(x[0], 1), 0),
    lambda x: max(True, x[0]),
    lambda x: max(x, key=lambda t: -t),
    lambda x: min([], default=3.0) + x[0],
    lambda x: max(np.float32(1.5), x[0]),
    lambda x: max(range(3)) * x[0],
]


@pytest.mark.parametrize("f", CHOICES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_and_types_are_those_of_python(f: Callable[..., Any]) -> None:
    compiled = irgrad.jit(f)
    for numbers in itertools.product(NUMBERS, repeat=3):
        x = np.array(numbers)
        want = f(x)
        for _ in range(2):
            found = compiled(x)
            assert type(found) is type(want)
            assert np.array_equal(found, want, equal_nan=True)
            assert np.signbit(found) == np.signbit(want) or np.isnan(want)


POWERS: list[Callable[..., Any]] = [
    lambda x: min(x[0], -2.0) ** 0.5,
    lambda x: (min(x[0], 0.0) - 1.0) ** 0.5,
    lambda x: (-2.0) ** max(x[0], 0.5),
    lambda x: (-2) ** max(x[0], 0.5),
    lambda x: max(x[0], 0.0) ** 0.5,
    lambda x: (max(x[0], 0.0) * 2.0 + 1.0) ** x[1],
    lambda x: max(x[0], -1.0) ** x[1],
    lambda x: max(x[0], -1.0) ** 2.0,
    lambda x: max(x[0], -1.0) ** max(x[1], 3.0),
]


@pytest.mark.parametrize("f", POWERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_negative_choice_to_a_fractional_power(f: Callable[..., Any]) -> None:
    """Python's number has a complex power, which is not traced; numpy's has nan."""
    compiled = irgrad.jit(f, compile_after=1)
    for numbers in 2 * list(itertools.product([3.0, 0.2, -3.0, -0.2], repeat=2)):
        x = np.array(numbers)
        want = f(x)
        try:
            found = compiled(x)
        except irgrad.errors.UnsupportedError as error:
            assert type(want) is complex
            assert "fractional power is complex" in str(error)
            assert "test_choices.py" in str(error)
        else:
            assert type(found) is type(want)
            np.testing.assert_allclose(found, want, rtol=1e-14)


@pytest.mark.parametrize("f", [lambda x: x[1] + max(x[0], 0.0) ** 0.5, lambda x: x[1] + (max(x[1], 0.0) * 2.0 + 1.0) ** 1.5])
def test_a_power_of_a_choice_that_is_never_negative_has_one_path(f: Callable[..., Any]) -> None:
    compiled = irgrad.jit(f, compile_after=1)
    for numbers in itertools.product([3.0, -3.0], repeat=2):
        compiled(np.array(numbers))
    assert compiled.stats().paths == 1


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_numbers_of_one_type(kind: type) -> None:
    f = lambda a, b: (min(a, b), max(a, b))
    compiled = irgrad.jit(f)
    for a, b in itertools.product(NUMBERS, repeat=2):
        found, want = compiled(kind(a), kind(b)), f(kind(a), kind(b))
        assert [type(v) for v in found] == [type(v) for v in want] == [kind, kind]
        np.testing.assert_array_equal(found, want)
    assert compiled.stats().paths == 1


BESIDE_SMALL: list[Callable[..., Any]] = [
    lambda x, a: a * max(x[0], 0.0),
    lambda x, a: max(x[0], 0.0) * a[0],
    lambda x, a: a * (max(x[0], 1.0) * 2.0 - 1.0),
    lambda x, a: a * max(max(x[0], 0.0) * 2.0, x[1]),
    lambda x, a: a * np.exp(max(x[0], 0.0)),
    lambda x, a: np.where(a > 2.0, a, max(x[0], 0.0)),
    lambda x, a: np.select([a > 2.0], [a], max(x[0], 0.0)),
    lambda x, a: np.clip(a.real, max(x[0], 0.0), 2.0),
    lambda x, a: np.dot(a, max(x[0], 0.0)),
    lambda x, a: np.float64(max(x[0], 0.0)) * a,
    lambda x, a: np.float64(max(x[0], 0.0)),
    lambda x, a: np.arctan2(a, max(x[0], 0.0)),
    lambda x, a: a ** max(x[0], 1.0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.float64, np.int8])
@pytest.mark.parametrize("f", BESIDE_SMALL)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_choice_beside_small_floats_is_a_number_of_its_own_type(f: Callable[..., Any], dtype: Any) -> None:
    a = np.array([1.5, 2.5], dtype)
    try:
        f(np.ones(3), a)
    except TypeError:
        return  # complex numbers have no angle
    compiled = irgrad.jit(f)
    for _ in range(2):
        for x in (np.array([0.5, -1.0, 2.0]), np.array([-0.5, -1.0, 2.0]), np.array([2.5, 1.0, 2.0])):
            for _ in range(2):
                found, want = compiled(x, a), f(x, a)
                assert type(found) is type(want) and found.dtype == np.asarray(want).dtype
                np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("f", BESIDE_SMALL)
def test_so_it_is_where_values_are_deferred(f: Callable[..., Any]) -> None:
    test_a_choice_beside_small_floats_is_a_number_of_its_own_type(f, np.float32)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """All arrays are deferred."""
    monkeypatch.setattr(deferral, "LARGE", 8)
    monkeypatch.setattr(graph_trace, "LARGE", 8)


def test_a_choice_made_of_another_keeps_its_type() -> None:
    f = lambda x: max(max(x[0], 0.0) * 2.0, x[1])
    compiled = irgrad.jit(f)
    for numbers in [(1.0, 0.0), (-1.0, -2.0), (-1.0, 3.0)] * 2:
        found, want = compiled(np.array(numbers)), f(np.array(numbers))
        assert type(found) is type(want) and found == want


def warped(a: Any, b: Any) -> Any:
    """Dynamic time warping."""
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0.0
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost[i, j] = (a[i - 1] - b[j - 1]) ** 2 + min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
    return cost[-1, -1]


def test_a_table_of_minima_has_one_path() -> None:
    rng = np.random.default_rng(0)
    gradient = irgrad.grad(warped)
    compiled = irgrad.jit(gradient)
    for _ in range(6):
        a, b = rng.normal(size=4), rng.normal(size=5)
        np.testing.assert_allclose(compiled(a, b), gradient(a, b), rtol=1e-12)
        check_grads(lambda a, b=b: warped(a, b), modes=["fwd", "rev"], order=1)(a)
    assert (compiled.stats().traces, compiled.stats().paths, compiled.stats().eager_calls) == (1, 1, 1)


def test_the_first_of_equal_ones_has_the_derivative() -> None:
    f = lambda x: max(x[0], x[1]) * 3.0 + min(x)
    compiled = irgrad.jit(irgrad.grad(f))
    for _ in range(3):
        np.testing.assert_array_equal(compiled(np.array([2.0, 2.0, 2.0])), [4.0, 0.0, 0.0])
        np.testing.assert_array_equal(irgrad.grad(f)(np.array([2.0, 2.0, 2.0])), [4.0, 0.0, 0.0])
