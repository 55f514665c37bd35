"""Copies of functions that serve several eager runs: made once, and given up as soon as something that they name is another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.frontend.ready as ready_module
import irgrad.operators.operator as operator_module
from irgrad.frontend.names import default_names
from irgrad.frontend.ready import ready
from irgrad.frontend.substitute import Substitution

X = np.array([0.3, 1.2, -0.7])
scale = np.array([1.0, 2.0, 3.0])
power = 2


def helper(v: Any) -> Any:
    return np.sin(v) * scale


def uses_helper(x: Any) -> Any:
    return np.sum(helper(x) ** power)


def uses_math(x: Any) -> Any:
    return math.exp(x[0]) + float(x[1]) * abs(x[2])


def recursive(x: Any, n: int = 3) -> Any:
    return np.sum(x) if n == 0 else recursive(x * x[0], n - 1)


def listed(x: Any) -> Any:
    return sum([np.cos(v) * scale[k] for k, v in enumerate(x)]) + sum(v * v for v in x)


def inner(x: Any) -> Any:
    return np.sum(irgrad.grad(uses_helper)(x) * x)


def step(carry: Any, _: Any) -> Any:
    return helper(carry), None


def scanned(x: Any) -> Any:
    return np.sum(irgrad.scan(step, x, None, 3)[0])


def makes_functions(x: Any) -> Any:
    return np.sum((lambda v: np.tanh(v))(x))


def with_keywords(x: Any) -> Any:
    return np.sum(np.sum(x[None] * scale, axis=0, keepdims=True) ** power)


def differences(f: Callable[..., Any]) -> Any:
    found = []
    for k in range(3):
        h = np.zeros(3)
        h[k] = 1e-6
        found.append((f(X + h) - f(X - h)) / 2e-6)
    return np.array(found)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts substitutions of runs."""
    counts: list[int] = []

    def counted(*args: Any) -> Substitution:
        counts.append(1)
        return Substitution(*args)

    monkeypatch.setattr(ready_module, "Substitution", counted)
    monkeypatch.setattr(operator_module, "Substitution", counted)
    yield counts


@pytest.mark.parametrize("f", [uses_helper, uses_math, recursive, listed, with_keywords])
def test_calls_need_no_substitution(f: Callable[..., Any], made: list[int]) -> None:
    gradient = irgrad.grad(f)
    for _ in range(3):
        np.testing.assert_allclose(gradient(X), differences(f), rtol=1e-6)
    assert not made


@pytest.mark.parametrize("f", [inner, scanned, makes_functions])
def test_what_needs_more_gets_it(f: Callable[..., Any]) -> None:
    gradient = irgrad.grad(f)
    for _ in range(3):
        np.testing.assert_allclose(gradient(X), differences(f), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", np.array([-1.0, 0.5, 2.0])), ("power", 3), ("helper", lambda v: v * v * scale), ("np", irgrad.numpy),
        ("sum", lambda values: 2.0 * next(iter(values))), ("scale", [1.0, 2.0, 5.0]),
        ("abs", lambda v: v * 3.0), ("float", lambda v: v * 2.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("f", [uses_helper, listed, uses_math, scanned, inner])
def test_names_may_be_rebound(f: Callable[..., Any], name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = irgrad.grad(f)
    before = gradient(X)
    gradient(X)
    with monkeypatch.context() as patch:
        patch.setitem(globals(), name, value)
        for _ in range(2):
            np.testing.assert_allclose(gradient(X), differences(f), rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(gradient(X), before)


def test_cells_defaults_and_code_may_change() -> None:
    factor: Any = 2.0
    function: Any = np.sin

    def f(x: Any, more: Any = 1.0) -> Any:
        return np.sum(function(x) * factor) * more

    gradient = irgrad.grad(f)
    np.testing.assert_allclose(gradient(X), 2 * np.cos(X))
    np.testing.assert_allclose(gradient(X), 2 * np.cos(X))
    factor = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(gradient(X), factor * np.cos(X))
    function = helper
    np.testing.assert_allclose(gradient(X), factor * np.cos(X) * scale)
    f.__defaults__ = (4.0,)
    np.testing.assert_allclose(gradient(X), 4 * factor * np.cos(X) * scale)
    factor = math  # nothing that multiplies
    with pytest.raises(TypeError):
        gradient(X)
    factor = 1.0

    def other(x: Any, more: Any = 1.0) -> Any:
        return np.sum(function(x) / factor) * more

    f.__code__ = other.__code__
    np.testing.assert_allclose(gradient(X), 4 * np.cos(X) * scale)


def test_an_attribute_of_the_function_is_seen() -> None:
    gradient = irgrad.grad(attributed)
    np.testing.assert_allclose(gradient(X), [1.0, 1.0, 1.0])
    attributed.factor = 3.0  # type: ignore[attr-defined]
    try:
        np.testing.assert_allclose(gradient(X), [3.0, 3.0, 3.0])
    finally:
        del attributed.factor  # type: ignore[attr-defined]


def attributed(x: Any) -> Any:
    return np.sum(x) * (attributed.factor if hasattr(attributed, "factor") else 1.0)  # type: ignore[attr-defined]


def test_simple_functions_are_told_from_others() -> None:
    names = default_names()
    assert ready(uses_helper, names).form is not uses_helper  # type: ignore[union-attr]
    plain = ready(numbers_only, names)
    assert plain is not None
    assert plain.form is numbers_only
    assert ready(makes_functions, names) is None
    assert ready(np.sum, names) is None
    assert ready(abs, names) is None
    assert ready(X.sum, names) is None


def numbers_only(x: Any) -> Any:
    return x * x + 1.0


def test_copies_are_not_kept_by_other_names() -> None:
    """What the user finds by name inside a run is not the function outside: it means the same there."""
    found: list[Any] = []

    def f(x: Any) -> Any:
        found.append(helper)
        return np.sum(helper(x))

    gradient = irgrad.grad(f)
    gradient(X)
    gradient(X)
    for each in found:
        np.testing.assert_array_equal(each(X), helper(X))
        np.testing.assert_allclose(irgrad.grad(lambda x, each=each: np.sum(each(x)))(X), np.cos(X) * scale)
