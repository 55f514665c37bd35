"""One trace where it is evident that another would be the same; two where it is not, and right answers in any case."""

from __future__ import annotations

import functools
import itertools
import math
import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.frontend import purity

RATE = 0.5
WEIGHTS = np.array([1.0, 2.0, 3.0])
LAYERS = [{"w": np.ones(3), "b": 0.1}, {"w": np.full(3, 2.0), "b": 0.2}]
CALLED: list[Callable[[Any], Any]] = [np.sin, lambda x: x * RATE]
SETTINGS = SimpleNamespace(rate=2.0)
X = np.array([0.1, 0.2, 0.3])


class Pair(NamedTuple):
    a: Any
    b: Any


class Model:
    rate = 2.0

    def loss(self, x: Any) -> Any:
        return np.sum(x * self.rate)


@functools.lru_cache
def cached(n: int) -> float:
    return n * 1.5


def inner(x: Any, n: int = 3) -> Any:
    return x * n


def loops(x: Any) -> Any:
    parts = []
    for i, row in enumerate(LAYERS):
        parts.append(inner(np.tanh(x * row["w"] + row["b"]), i + 1))
    return np.sum(np.stack([p for p in parts if p.ndim == 1]))


def functions_of_its_own(x: Any) -> Any:
    """With cells, defaults and annotations, which 3.13 sets by an instruction of their own."""
    factor = x + 1.0

    def scaled(y: Any, rate: float = 2.0, *, shift: float = 0.5) -> Any:
        return y * factor * rate + shift

    return np.sum(scaled(x) + (lambda y, n=3: y * n * factor)(x))


def closures(x: Any) -> Any:
    total = 0.0

    def step(y: Any) -> Any:
        nonlocal total
        total = total + np.sum(y)
        return y * 2

    return np.sum(step(step(x))) + total


def branches(x: Any) -> Any:
    if x[0] > 5:
        raise ValueError("too large")
    while x[0] < 1.0:
        x = x * 1.7
    return np.sum(x)


def writes(x: Any) -> Any:
    y = np.zeros((2, 3))
    y[0] = x
    y[1, 1:] += x[:2]
    return np.sum(y**2)


EVIDENT: dict[str, Callable[[Any], Any]] = {
    "captured data": lambda x: np.sum(WEIGHTS * x) * RATE,
    "loops over captured containers": loops,
    "closures": closures,
    "functions of its own": functions_of_its_own,
    "functions in a list": lambda x: np.sum(CALLED[1](CALLED[0](x))),
    "branches": branches,
    "writes": writes,
    "math": lambda x: math.exp(math.sin(x[0])) + math.pi * x[1],
    "irgrad's numpy": lambda x: inp.sum(inp.linalg.norm(x) * inp.cos(x)),
    "a derivative inside": lambda x: np.sum(irgrad.grad(lambda y: np.sum(y**3))(x)),
    "scan": lambda x: irgrad.scan(lambda c, y: (c * y, c), 1.0, x)[0],
}
DOUBTFUL: dict[str, Callable[[Any], Any]] = {
    "a method": Model().loss,
    "an attribute": lambda x: np.sum(x * SETTINGS.rate),
    "a cache": lambda x: np.sum(x * cached(2)),
    "getattr": lambda x: getattr(np, "sum")(x),
    "itertools": lambda x: np.sum(np.stack([a * b for a, b in itertools.product(x, x)])),
    "an import": lambda x: __import__("numpy").sum(x),
    "text": lambda x: np.sum(x) * len(repr(3)),
}


@pytest.mark.parametrize("name", EVIDENT)
def test_one_trace_is_enough(name: str) -> None:
    f = EVIDENT[name]
    fast = irgrad.jit(irgrad.grad(f))
    for scale in (1.0, 1.0, 0.99):
        np.testing.assert_allclose(fast(scale * X), irgrad.grad(f)(scale * X), rtol=1e-12)
    assert (fast.stats().traces, fast.stats().eager_calls, fast.stats().paths) == (1, 1, 1)


@pytest.mark.parametrize("name", DOUBTFUL)
def test_two_traces_where_it_is_not_evident(name: str) -> None:
    f = DOUBTFUL[name]
    fast = irgrad.jit(irgrad.grad(f))
    for _ in range(3):
        np.testing.assert_allclose(fast(X), irgrad.grad(f)(X), rtol=1e-12)
    assert not fast.impure
    assert (fast.stats().traces, fast.stats().eager_calls, fast.stats().paths) == (2, 2, 1)


def _counting() -> Callable[[Any], Any]:
    numbers = itertools.count(1)
    return lambda x: x * next(numbers)


def _popping() -> Callable[[Any], Any]:
    numbers = list(range(20))
    return lambda x: x * numbers.pop(0)


def _attribute() -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        f.calls += 1  # type: ignore[attr-defined]
        return x * f.calls  # type: ignore[attr-defined]

    f.calls = 0  # type: ignore[attr-defined]
    return f


def _generator() -> Callable[[Any], Any]:
    numbers = (float(n * n) for n in range(20))
    return lambda x: x * next(numbers)


def _rebinding() -> Callable[[Any], Any]:
    count = 0

    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * count

    return f


def _random() -> Callable[[Any], Any]:
    source = random.Random(3)
    return lambda x: x * source.random()


def _buffer() -> Callable[[Any], Any]:
    """A default that is kept from call to call."""

    def f(x: Any, kept: list[float] = []) -> Any:
        kept.append(1.0)
        return x * len(kept)

    return f


IMPURE = {make.__name__[1:]: make for make in (_counting, _popping, _attribute, _generator, _rebinding, _random, _buffer)}


@pytest.mark.filterwarnings("ignore:irgrad.jit")
@pytest.mark.parametrize("name", IMPURE)
def test_what_changes_from_call_to_call_is_never_frozen(name: str) -> None:
    fast, plain = irgrad.jit(IMPURE[name]()), IMPURE[name]()
    for _ in range(6):
        assert fast(2.0) == plain(2.0)
    assert fast.impure


def test_arguments_that_are_no_plain_data_are_looked_at_twice() -> None:
    for argument, traces in (([X, {"a": X}], 1), ((X, (X, 2.0)), 1), (Pair(X, X), 2)):
        fast = irgrad.jit(lambda p: p[0] * 2)
        for _ in range(3):
            np.testing.assert_array_equal(fast(argument), argument[0] * 2)
        assert fast.stats().traces == traces
    times = irgrad.jit(lambda x, f: x * f(2), static_argnums=1)
    for _ in range(3):
        assert times(3.0, abs) == 6.0
    assert times.stats().traces == 2


def test_names_that_read_or_change_the_outside_are_doubtful() -> None:
    for name in ("load", "save", "random", "fromfile", "seterr", "set_printoptions", "memmap", "loadtxt", "lib"):
        made: Any = eval(f"lambda x: np.{name}")
        assert name in purity.doubt_of_code(made.__code__)
    for text in ("np.sum(x).tolist()", "np.linalg.solve(x, x)", "x.reshape(2).T @ x", "[y.append(1) for y in x]"):
        assert purity.doubt_of_code(eval(f"lambda x: {text}").__code__) == ""
    for value in (time, random, np.load, np.datetime64, print, object(), Model, iter([])):
        assert purity.doubt_of_value(value)
    for value in (np, math, inp, np.sum, np.exp, np.float64, math.sin, irgrad.grad, irgrad.jit(abs), inp.sin, np.dtype("f8")):
        assert purity.doubt_of_value(value) == ""
    for name in ("print", "open", "input", "globals", "setattr", "id", "eval", "vars"):
        assert purity.doubt_of_builtin(name) == name
