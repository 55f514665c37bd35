"""Objects that a traced function makes: what they hold, and what the code of their classes reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import irgrad

RATE, COUNT, SMALL, LARGE = 2.0, 2, np.ones(4), np.ones(2000)
SETTINGS: dict[str, Any] = {"rate": 2.0, "sizes": [1, 2]}
KEPT: list[Any] = []
W = np.array([0.3, -0.7, 1.2, 0.5])


def helper() -> float:
    return RATE * 3


class Model:
    whole = 2
    real = 2.0

    def __init__(self, w: Any, how: str) -> None:
        self.w = w
        self.b = {
            "literal": lambda: 0.5,
            "whole": lambda: Model.whole,
            "real": lambda: type(self).real * 1.5,
            "global": lambda: RATE,
            "count": lambda: COUNT,
            "small": lambda: SMALL * 2,
            "large": lambda: LARGE[:4] * 2,
            "settings": lambda: SETTINGS["rate"] + SETTINGS["sizes"][1],
            "helper": helper,
            "zeros": lambda: np.zeros(4),
        }[how]()

    def __call__(self, x: Any) -> Any:
        return x * self.w + self.b


@dataclasses.dataclass
class Line:
    w: Any
    b: float = 0.1

    def __call__(self, x: Any) -> Any:
        return x * self.w + self.b


@pytest.fixture(autouse=True)
def as_before() -> Any:
    before = dict(globals())
    yield
    globals().update({name: before[name] for name in ("RATE", "COUNT", "SMALL", "LARGE", "SETTINGS")})
    Model.whole, Model.real = 2, 2.0
    SETTINGS["rate"] = 2.0
    KEPT.clear()


def change() -> None:
    global RATE, COUNT, SMALL, LARGE
    RATE, COUNT, LARGE = 3.0, 3, np.full(2000, 3.0)
    SMALL[0] += 1.0
    Model.whole, Model.real = 3, 3.0
    SETTINGS["rate"] = 5.0


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("how", ["literal", "whole", "real", "global", "count", "small", "large", "settings", "helper", "zeros"])
def test_what_a_class_reads_when_it_makes_an_object_is_guarded(how: str, after: int) -> None:
    def loss(w: Any) -> Any:
        return np.sum(Model(w, how)(np.ones(4)) ** 2)

    fast = irgrad.jit(irgrad.grad(loss), compile_after=after)
    for _ in range(4):
        np.testing.assert_allclose(fast(W), irgrad.grad(loss)(W), rtol=1e-12)
    assert fast.stats().eager_calls == after
    change()
    for _ in range(3):
        np.testing.assert_allclose(fast(W), irgrad.grad(loss)(W), rtol=1e-12)


def test_objects_of_a_run_hold_constants() -> None:
    def loss(w: Any) -> Any:
        line = Line(w)
        other = dataclasses.replace(line, b=0.5)
        return np.sum(line(np.ones(4)) ** 2 + other(line(w)))

    fast = irgrad.jit(irgrad.grad(loss))
    for _ in range(4):
        np.testing.assert_allclose(fast(W), irgrad.grad(loss)(W), rtol=1e-12)
    assert fast.stats().eager_calls == 2 and fast.stats().traces == 2


def test_objects_that_outlive_the_run_are_read_again() -> None:
    kept = Line(W * 2, 0.25)

    def loss(w: Any) -> Any:
        return np.sum(Line.__call__(kept, w) ** 2)

    fast = irgrad.jit(irgrad.grad(loss), compile_after=1)
    for b in (0.25, 0.25, 1.5):
        kept.b = b
        np.testing.assert_allclose(fast(W), irgrad.grad(loss)(W), rtol=1e-12)


def test_floats_that_methods_compute_with_stay_inputs() -> None:
    """A rate that changes at every call costs no trace."""
    global RATE

    class Rated:
        def __call__(self, x: Any) -> Any:
            return x * x * RATE

    def loss(w: Any) -> Any:
        return np.sum(Rated()(w))

    fast = irgrad.jit(irgrad.grad(loss), compile_after=1)
    for rate in (1.0, 2.0, 3.0, 4.0):
        RATE = rate
        np.testing.assert_allclose(fast(W), 2 * rate * W, rtol=1e-12)
    assert fast.stats().traces == 1


def test_counts_of_instances_are_no_condition() -> None:
    class Counted:
        count = 0

        def __init__(self, w: Any) -> None:
            type(self).count += 1
            self.w = w

    def loss(w: Any) -> Any:
        return np.sum(Counted(w).w ** 2)

    fast = irgrad.jit(irgrad.grad(loss))
    for _ in range(5):
        np.testing.assert_allclose(fast(W), 2 * W)
    assert fast.stats().traces == 2


def test_names_of_attributes_are_no_names_of_globals() -> None:
    """A global that has the name of an attribute, such as the variable of a loop, is no condition."""
    global b

    def loss(w: Any) -> Any:
        return np.sum(Line(w, 0.3)(np.ones(4)) ** 2)

    fast = irgrad.jit(irgrad.grad(loss), compile_after=1)
    for b in range(4):
        fast(W)
    assert fast.stats().traces == 1


def test_objects_that_hold_themselves_say_so() -> None:
    class Node:
        def __init__(self, w: Any) -> None:
            self.w, self.k, self.me = w, 0.5, self

        def value(self) -> Any:
            return np.sum(self.w**2 * self.k)

    def loss(w: Any) -> Any:
        return Node(w).value()

    fast = irgrad.jit(irgrad.grad(loss))
    with pytest.warns(Warning, match="captured values from different objects"):
        for _ in range(3):
            np.testing.assert_allclose(fast(W), W)
