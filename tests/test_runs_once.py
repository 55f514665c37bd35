"""An eager derivative runs the function once, on the first call as well, whatever arrays it writes into."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.stores import may_write

pytestmark = pytest.mark.filterwarnings("ignore:the traced function writes into its argument")
X = np.array([1.0, 2.0, 3.0, 4.0])
U = np.array([0.5, -1.0, 2.0, 0.25])
LARGE = np.linspace(0.0, 1.0, 5000)
OUTSIDE = np.array([2.0, 3.0, 1.0, 1.0])
runs: list[int] = []
numbers = itertools.count()


def copied(x: Any, u: Any) -> Any:
    runs.append(1)
    v = u.copy()
    v[0] = x[0]
    return np.sum(v * x)


def computed(x: Any, u: Any) -> Any:
    runs.append(1)
    v = u * 2.0
    v += x
    return np.sum(v * v)


def argument(x: Any, u: Any) -> Any:
    runs.append(1)
    before = np.sum(u * x)
    u[0] = 7.0
    return before + np.sum(u * x * x)


def captured(x: Any, u: Any) -> Any:
    runs.append(1)
    v = OUTSIDE.reshape(2, 2).copy()
    v[1] = x[:2] * u[:2]
    return np.sum(v**2)


def helper(v: Any, x: Any) -> None:
    np.multiply(v, x, out=v)


def by_helper(x: Any, u: Any) -> Any:
    runs.append(1)
    v = u + 1.0
    helper(v, x)
    return np.sum(v)


def own(x: Any, u: Any) -> Any:
    runs.append(1)
    w = np.zeros(4)
    for i in range(4):
        w[i] = x[i] * u[i]
    return np.sum(w * w)


def total(x: Any, u: Any) -> Any:
    runs.append(1)
    s = 0.0
    for i in range(4):
        s += x[i] * u[i]
    return s * s


def plain_writes(x: Any, u: Any) -> Any:
    runs.append(1)
    v = u.copy()
    v[0] = 5.0
    return np.sum(v * x)


FUNCTIONS = (copied, computed, argument, captured, by_helper, own, total, plain_writes)


def differences(f: Callable[..., Any], *more: Any) -> np.ndarray[Any, Any]:
    found = []
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-6
        found.append((f(X + step, *[m.copy() for m in more]) - f(X - step, *[m.copy() for m in more])) / 2e-6)
    return np.array(found)


def wrapped(f: Callable[..., Any]) -> Callable[..., Any]:
    """Another function that does the same, which no call has seen: what is known of a code is kept."""
    return types.FunctionType(f.__code__.replace(co_name=f"{f.__name__}_{next(numbers)}"), f.__globals__, f.__name__)


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("large", [False, True])
def test_each_call_is_one_run(f: Callable[..., Any], large: bool) -> None:
    u = np.concatenate([U, LARGE])[:4] if large else U.copy()
    kept = u.copy()
    gradient = irgrad.grad(wrapped(f))
    expected = differences(f, kept)
    for _ in range(3):
        runs.clear()
        np.testing.assert_allclose(gradient(X, u), expected, rtol=1e-6, atol=1e-8)
        assert len(runs) == 1
        np.testing.assert_array_equal(u, kept)
    assert OUTSIDE.tolist() == [2.0, 3.0, 1.0, 1.0]


@pytest.mark.parametrize("f", [copied, argument])
def test_large_arguments_need_no_second_call(f: Callable[..., Any]) -> None:
    gradient = irgrad.grad(wrapped(f))
    u = np.tile(U, 5000)  # more than is copied before every call
    x = np.tile(X, 5000)
    runs.clear()
    found = gradient(x, u)
    assert len(runs) == 1
    np.testing.assert_array_equal(found[4:8], gradient(x, u)[4:8])
    np.testing.assert_array_equal(u, np.tile(U, 5000))


def test_what_cannot_be_traced_runs_plainly() -> None:
    def f(x: Any, u: Any) -> Any:
        runs.append(1)
        total = 0.0
        total += np.sum(x * np.frombuffer(u.tobytes()))
        return total

    gradient = irgrad.grad(f)
    runs.clear()
    for _ in range(2):
        np.testing.assert_array_equal(gradient(X, U), U)
    assert len(runs) <= 3


def test_draws_are_those_of_one_run() -> None:
    def f(x: Any, u: Any) -> Any:
        v = u.copy()
        v[0] = x[0] * np.random.rand()
        return np.sum(v * x)

    np.random.seed(3)
    first = irgrad.grad(f)(X, U)
    drawn = np.random.rand()
    np.random.seed(3)
    factor = np.random.rand()
    assert drawn == np.random.rand()
    np.testing.assert_allclose(first, [2 * factor * X[0], *U[1:]])


def test_errors_of_the_function_are_raised() -> None:
    def f(x: Any, u: Any) -> Any:
        u[1] = x[0]
        raise KeyError("mine")

    u = U.copy()
    with pytest.raises(KeyError, match="mine"):
        irgrad.grad(f)(X, u)
    np.testing.assert_array_equal(u, U)


def test_code_that_writes_is_told_from_code_that_does_not() -> None:
    assert all(may_write(f) for f in FUNCTIONS)
    assert not may_write(lambda x, u: np.sum(x * u))
    assert not may_write(differences.__class__)
    assert may_write(lambda x, u: helper(x, u))
    assert may_write(lambda x, u: [np.add(x, u, out=v) for v in (x, u)])
    assert may_write(lambda x, u: u.sort())
