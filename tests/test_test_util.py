"""The numerical checks pass on right derivatives and fail, with autograd's words, on planted wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.extend import defjvp, defvjp, primitive
from irgrad.test_util import check_equivalent, check_grads, check_jvp, check_vjp, combo_check, make_numerical_jvp, scalar_close


@pytest.fixture(autouse=True)
def seed() -> None:
    np.random.seed(0)


def wrong_sine(vjp_factor: float = 1.0, jvp_factor: float = 1.0) -> Any:
    @primitive
    def sine(x):
        return np.sin(x)

    defvjp(sine, lambda ans, x: lambda g: vjp_factor * g * np.cos(x))
    defjvp(sine, lambda g, ans, x: jvp_factor * g * np.cos(x))
    return sine


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.sin, 0.5),
        (lambda x: np.tanh(x) ** 2, np.array([0.3, -2.0])),
        (lambda x: {"a": np.exp(x["q"]), "b": (x["r"] ** 2,)}, {"q": np.ones(2), "r": 1.5}),
        (lambda z: np.exp(z) * np.conj(z), 1.0 + 2.0j),
        (lambda z: np.real(z) * 2.0 + np.abs(z) ** 2, np.array([1.0 + 2.0j, -0.5j])),
        (lambda x: x * (1.0 + 2.0j), np.ones(2)),
        (lambda x: x**2, 3),
    ],
)
def test_right_derivatives(f: Any, x: Any) -> None:
    check_grads(f)(x)


def test_several_arguments() -> None:
    f = lambda x, k, y: np.sum(x * y) ** k
    check_grads(f, (0, 2), order=3)(np.ones(3), 2, np.arange(3.0))
    check_grads(f, argnum=-1, modes=["fwd"])(np.ones(3), 2, np.arange(3.0))
    check_grads(f, "y", modes=["rev"], order=1)(np.ones(3), 2, y=np.arange(3.0))


def test_wrong_vjp() -> None:
    sine = wrong_sine(vjp_factor=1.01)
    check_jvp(sine, 0.5)
    check_grads(sine, modes=["fwd"], order=1)(0.5)
    with pytest.raises(AssertionError, match=r"Derivative \(VJP\) check of sine failed with arg 0.5:\nanalytic: .*\nnumeric:  "):
        check_vjp(sine, 0.5)
    with pytest.raises(AssertionError, match=r"Derivative \(VJP\) check of sine failed"):
        check_grads(sine)(0.5)


def test_wrong_jvp() -> None:
    sine = wrong_sine(jvp_factor=0.99)
    check_vjp(sine, 0.5)
    with pytest.raises(AssertionError, match=r"Value mismatch:\nx: .*\ny: "):
        check_grads(sine, modes=["fwd"])(0.5)


def test_wrong_second_order() -> None:
    @primitive
    def square(x):
        return x**2

    defvjp(square, lambda ans, x: lambda g: g * 2 * irgrad.stop_gradient(x))
    check_grads(square, modes=["rev"], order=1)(1.5)
    with pytest.raises(AssertionError, match=r"Derivative \(VJP\) check of vjp_square failed"):
        check_grads(square, modes=["rev"], order=2)(1.5)


def test_check_equivalent() -> None:
    check_equivalent([1.0, np.ones(2)], [np.array(1.0), np.ones(2)])
    with pytest.raises(AssertionError, match=r"VSpace mismatch:\nx: \['f64\[\]', 'f64\[2\]'\]\ny: \['f64\[\]', 'f64\[3\]'\]"):
        check_equivalent([1.0, np.ones(2)], [1.0, np.ones(3)])
    with pytest.raises(AssertionError, match=r"VSpace mismatch:\nx: f32\[2\]\ny: f64\[2\]"):
        check_equivalent(np.ones(2, np.float32), np.ones(2))
    with pytest.raises(AssertionError, match="Value mismatch:"):
        check_equivalent(np.ones(2), np.array([1.0, 1.1]))


def test_combo_check() -> None:
    calls: list[tuple[Any, ...]] = []

    def f(x, y, axis=None):
        calls.append((np.shape(x), np.shape(y), axis))
        return np.sum(x * y, axis=axis)

    combo_check(f, (0, 1), modes=["rev"], order=1)([np.ones((2, 3)), np.ones((1, 3))], [2.0, np.ones(3)], axis=[None, 0])
    assert len(set(calls)) == 8


def test_small_pieces() -> None:
    assert scalar_close(1.0, 1.0 + 1e-7)
    assert scalar_close(1e9, 1e9 + 1)
    assert not scalar_close(1.0, 1.001)
    assert make_numerical_jvp(lambda x: x**2, 3.0)(1.0) == pytest.approx(6.0)
    with pytest.raises(ValueError, match="modes are 'fwd' and 'rev', not 'reverse'"):
        check_grads(np.sin, modes=["reverse"])
