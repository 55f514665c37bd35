"""Reads and writes of elements that skip the general handlers: the same records, whatever was written and viewed before."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.handlers import indexing, writing
from tests.support.repeated import recorded

X = np.random.default_rng(8).uniform(0.2, 0.9, 12)
pytestmark = pytest.mark.filterwarnings("ignore:the traced function writes into its argument")


def program(seed: int, dtype: type = float) -> Callable[[Any], Any]:
    """Random reads and writes through an array, views of it, an array of its own, one of one element and an argument."""
    rng = random.Random(seed)
    steps = [(rng.randrange(9), rng.randrange(8), rng.randrange(4), rng.randrange(3), rng.random()) for _ in range(30)]

    def run(x: Any) -> Any:
        a = np.array(x).reshape(3, 4).astype(dtype)
        many = [a, a[1:], a.T, a[::-1, ::2], np.zeros((4, 3), dtype), np.ones((1, 1), dtype), x.reshape(6, 2), (a * (1 + 1j)).real]
        s = x[0]
        for what, array, i, j, number in steps:
            m = many[array]
            v = np.real(s) if m.dtype.kind == "f" else s
            i, j = i % m.shape[0], j % m.shape[1] - (m.shape[1] if number < 0.3 else 0)
            if what == 0:
                s = s * number + m[i, j]
            elif what == 1:
                m[i, j] = v * number
            elif what == 2:
                m[i, j] = number
            elif what == 3:
                m[i, j] += v
            elif what == 4:
                m[i] = m[i] * v
            elif what == 5:
                m[:, j] = m[:, j] + m[i, 0]
            elif what == 6:
                s = s + np.sum(m[i : i + 2] * number) / 9.0
            elif what == 7:
                s = s + m[i][..., j] - m[..., j][i] * number + np.sum(m[None, i])
            else:
                many[4] = many[4] * number + a[0, 0]
        return np.sum(np.real(s)) + sum(np.sum(np.real(m)) for m in many)

    return run


def both(f: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Records and results with and without the short ways."""
    fast = recorded(f, X)
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "holder_of", lambda trace, x: None)
        patch.setattr(writing, "_set_element", lambda *args: False)
        return fast, recorded(f, X)


@pytest.mark.parametrize("seed", range(40))
def test_the_same_records(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = float if seed % 4 else np.float32 if seed % 8 else complex
    f = irgrad.value_and_grad(program(seed, dtype))
    (fast, found), (plain, expected) = both(f, monkeypatch)
    assert fast == plain
    np.testing.assert_array_equal(found[0][1], expected[0][1])
    value = program(seed, dtype)(X.copy())
    np.testing.assert_allclose(found[0][0], value, rtol=1e-12)


def test_elements_of_written_arrays_take_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"read": 0, "write": 0}

    def sweep(x: Any) -> Any:
        a = np.array(x)
        for i in range(1, 11):
            a[i] = 0.5 * (a[i - 1] + a[i + 1]) * x[i]
        return np.sum(a)

    def counted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            calls[name] += 1
            return plain(*args)

        return run

    monkeypatch.setattr(indexing, "read", counted("read", indexing.read))
    monkeypatch.setattr(writing, "_set", counted("write", writing._set))
    recorded(sweep, X)
    assert calls == {"read": 0, "write": 1}  # the first write opens the storage


@pytest.mark.parametrize("index", [2, np.int64(3), -1])
def test_traced_numbers_as_indices(index: Any) -> None:
    """Python numbers and numpy's, which have no dtype or no axes."""

    def f(x: Any, i: Any) -> Any:
        a = np.array(x)
        a[i] = x[i] * x[0]
        a[i % 4] += x[1]
        return np.sum(a**2)

    fast = irgrad.jit(irgrad.grad(f))
    expected = [(f(X + h, index) - f(X - h, index)) / 2e-6 for h in 1e-6 * np.eye(12)]
    for _ in range(3):
        np.testing.assert_allclose(fast(X, index), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(irgrad.grad(f)(X, index), expected, rtol=1e-6, atol=1e-8)


def test_errors_are_those_of_the_handlers() -> None:
    def late(x: Any) -> Any:
        a = np.array(x)
        a[0] = x[1]
        a[12] = x[2]
        return a

    with pytest.raises(IndexError, match=r"index 12 is out of bounds.*test_elements.py"):
        irgrad.jit(late)(X)
    with pytest.raises(IndexError, match=r"index -13 is out of bounds.*test_elements.py"):
        irgrad.jit(lambda x: x[-13])(X)
