"""Functions that run as they are in eager traces, because no name in them means anything else there; and those that do not."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.frontend.names import default_names
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.unchanged import is_unchanged

SCALE = 2.0
PARAMETERS = {"a": [1.0, 2.0]}
RNG = np.random.RandomState(0)
count = 0


class Model:
    weight = 3.0

    def loss(self, x: Any) -> Any:
        return inp.sum(x) * self.weight


MODEL = Model()


def helper(x: Any) -> Any:
    return inp.sin(x) * SCALE


def by_numpy(x: Any) -> Any:
    return np.sum(x)


def closing(value: Any) -> Callable[[Any], Any]:
    return lambda x: inp.sum(x) * (value(x) if callable(value) else value)


def nested(x: Any) -> Any:
    def inner(y: Any) -> Any:
        return helper(y) * PARAMETERS["a"][0] + len([k * k for k in range(3)])

    return inp.sum(inner(x))


def recursive(x: Any, n: int = 3) -> Any:
    return x if n == 0 else recursive(inp.sin(x), n - 1)


def assigning(x: Any) -> Any:
    global count
    count = count + 1
    return x


def importing(x: Any) -> Any:
    import numpy

    return numpy.sum(x)


def making_a_class(x: Any) -> Any:
    class Inner:
        value = np

    return Inner.value.sum(x)


def counter() -> Callable[[Any], Any]:
    calls = 0

    def counting(x: Any) -> Any:
        nonlocal calls
        calls = x
        return x

    return counting


def defaulted(x: Any, f: Any = by_numpy) -> Any:
    return f(x)


def keyworded(x: Any, *, f: Any = by_numpy) -> Any:
    return f(x)


UNCHANGED: dict[str, Any] = {
    "names of irgrad.numpy": helper,
    "nested": nested,
    "recursive": recursive,
    "a number in a cell": closing(2.0),
    "a function in a cell": closing(helper),
    "operators": lambda x: irgrad.grad(lambda y: inp.sum(helper(y)))(x),
}
CHANGED: dict[str, Any] = {
    "numpy": by_numpy,
    "a function that uses numpy": lambda x: by_numpy(x),
    "one in a cell": closing(by_numpy),
    "math": lambda x: math.sin(x),
    "float": lambda x: float(x),
    "an instance": lambda x: MODEL.loss(x),
    "a bound method in a cell": closing(MODEL.loss),
    "an assignment": assigning,
    "a cell that is assigned": counter(),
    "an import": importing,
    "a class body": making_a_class,
    "a default": defaulted,
    "a keyword's default": keyworded,
    "a generator": lambda x: RNG.rand() * x,
    "random": lambda x: random.random() * x,
    "globals": lambda x: globals()["np"].sum(x),
    "eval": lambda x: eval("np.sum(x)"),
    "a partial function": closing(functools.partial(by_numpy)),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_runs_as_it_is(name: str) -> None:
    f: Any = UNCHANGED[name]
    assert is_unchanged(f, default_names())
    assert Substitution(None).function(f) is f
    assert Substitution(lambda value, origin: None).function(f) is not f  # a graph has origins to note


@pytest.mark.parametrize("name", CHANGED)
def test_runs_as_a_copy(name: str) -> None:
    f: Any = CHANGED[name]
    assert not is_unchanged(f, default_names())
    assert Substitution(None).function(f) is not f


def test_derivatives_are_those_of_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([0.3, -0.7])
    for f in UNCHANGED.values():
        loss = lambda x, f=f: inp.sum(f(x))
        found = irgrad.grad(loss)(x)
        with monkeypatch.context() as patched:
            patched.setattr("irgrad.frontend.substitute.is_unchanged", lambda f, names: False)
            np.testing.assert_array_equal(irgrad.grad(loss)(x), found)


def test_a_name_that_changes_its_meaning() -> None:
    """Asked at every call: what was rebound since is seen."""
    space: dict[str, Any] = {"np": inp, "__name__": "changing", "__builtins__": __builtins__}
    exec("def f(x):\n    return np.sum(np.array([x[0], x[1] ** 2]))", space)
    x = np.array([2.0, 3.0])
    np.testing.assert_array_equal(irgrad.grad(space["f"])(x), [1.0, 6.0])
    space["np"] = np
    np.testing.assert_array_equal(irgrad.grad(space["f"])(x), [1.0, 6.0])
