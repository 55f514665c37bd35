"""Arrays that are written in place, where functions of the user are called again: in primitives, rules, equations and iterations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.extend import defjvp, defvjp, primitive
from irgrad.misc.fixed_points import fixed_point
from irgrad.scipy.integrate import odeint
from irgrad.scipy.optimize import root

WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, lambda f: irgrad.jit(f, compile_after=1)], ids=["eager", "compiled"])


@primitive
def squares(x):
    return np.sum(x**2)


@primitive
def first(x):
    return x[0] ** 2


def first_vjp(ans, x):
    """A rule that writes into arrays, its cotangent too."""

    def vjp(g):
        slope = np.zeros(3)
        slope[0] = x[0]
        slope *= 2.0
        slope[0] *= g
        return slope

    return vjp


def first_jvp(g, ans, x):
    twice = np.zeros(1)
    twice[0] = 2.0 * x[0]
    return twice[0] * g[0]


defvjp(squares, lambda ans, x: lambda g: 2.0 * g * x)
defvjp(first, first_vjp)
defjvp(first, first_jvp)


def check(f: Any, wrap: Any, x: float, slope: float, bend: float, rtol: float = 1e-9, forward: bool = True) -> None:
    """First and second derivatives, twice: compiled functions trace and run."""
    for operator, expected in ((irgrad.grad, slope), (lambda f: irgrad.grad(irgrad.grad(f)), bend), (irgrad.deriv, slope)):
        if operator is irgrad.deriv and not forward:
            continue
        g = wrap(operator(f))
        for _ in range(2):
            np.testing.assert_allclose(g(x), expected, rtol=rtol)


@WRAPS
def test_primitives_see_what_was_written(wrap: Any) -> None:
    def f(x):
        z = np.zeros(3)
        z[0] = x
        z[1] = 2.0 * x
        before = squares(z)
        z[0] = 0.0
        return before * squares(z[:2])

    np.testing.assert_allclose(wrap(f)(3.0), 45.0 * 36.0)
    check(f, wrap, 3.0, 80.0 * 27.0, 240.0 * 9.0, forward=False)


@WRAPS
def test_rules_that_write(wrap: Any) -> None:
    f = lambda x: first(np.stack([x**2, x, x])) + x
    check(f, wrap, 1.5, 4 * 1.5**3 + 1, 12 * 1.5**2)


@WRAPS
def test_rules_after_writes(wrap: Any) -> None:
    """A rule gets the value that its argument had at the call, not what was written later."""

    def f(x):
        z = np.zeros(3)
        z[0] = x**2
        made = first(z)
        z[0] = x
        return made * first(z)

    check(f, wrap, 1.5, 6 * 1.5**5, 30 * 1.5**4)


@WRAPS
def test_rules_that_make_arrays(wrap: Any) -> None:
    pick = primitive(lambda x, i: x[i])
    defvjp(pick, lambda ans, x, i: lambda g: inp.dot(g, inp.eye(3)[i]), None)
    order = np.array([2, 0, 1])
    gradient = wrap(irgrad.grad(lambda x: np.sum(pick(x, order) ** 2) + np.sum(x)))
    for _ in range(2):
        found = gradient(np.arange(3.0))
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, [1.0, 3.0, 5.0])


def change(y, t, w):
    """The equation of a spring, written entry by entry."""
    made = np.zeros(2)
    made[0] = y[1]
    made[1] = -w[0] * y[0]
    return made


@WRAPS
def test_equations_that_write(wrap: Any) -> None:
    def end(k):
        start, w = np.ones(2), np.zeros(1)
        start[1] = 0.0
        w[0] = k
        return odeint(change, start, np.linspace(0.0, 1.0, 3), (w,), rtol=1e-10, atol=1e-10)[-1, 0]

    r = np.sqrt(2.0)  # the end is cos(sqrt(k))
    check(end, wrap, 2.0, -np.sin(r) / (2 * r), (np.sin(r) / r - np.cos(r)) / 8.0, rtol=1e-6)


@WRAPS
def test_iterations_that_write(wrap: Any) -> None:
    def step(a):
        def apply(x):
            made = np.zeros(2)
            made[0] = 0.5 * (x[0] + a[0] / x[0])
            made[1] = 0.3 * x[1] + x[0]
            return made

        return apply

    def total(k):
        a = np.zeros(1)
        a[0] = k
        return np.sum(fixed_point(step, a, np.ones(2), lambda x, y: np.max(np.abs(x - y)), 1e-13))

    scale = 1.0 + 1.0 / 0.7
    check(total, wrap, 2.0, scale / (2 * np.sqrt(2.0)), -scale / (4 * 2.0**1.5))


@WRAPS
def test_roots_that_write(wrap: Any) -> None:
    def residual(x, w):
        made = np.zeros(1)
        made[0] = x[0] ** 2 - w[0]
        return made

    def solved(k):
        w = np.zeros(1)
        w[0] = k
        return root(residual, np.ones(1), (w,), tol=1e-13).x[0]

    check(solved, wrap, 2.0, 1 / (2 * np.sqrt(2.0)), -1 / (4 * 2.0**1.5), rtol=1e-8)


# ---- rules that differentiate ----


def written(x):
    """A sum of sines of a vector that is made entry by entry."""
    z = np.zeros(3)
    z[:] = x
    z[1] *= x[0]
    return np.sum(np.sin(z))


@primitive
def opaque(x):
    return float(written(np.asarray(x)))


defvjp(opaque, lambda ans, x: lambda g: g * irgrad.grad(written)(x))


def alone(f: Any) -> Any:
    return lambda x: f(x) * x[0]


def between_writes(f: Any) -> Any:
    def outer(x):
        w = np.ones(3)
        w[0] = x[2]
        a = f(w * x)
        w[1] = a
        w *= x
        b = f(w)
        w[2] = 0.0
        return a * b + np.sum(w)

    return outer


def pulled_later(f: Any) -> Any:
    def outer(x):
        w = np.zeros(3)
        w[:] = x**2
        pull, value = irgrad.make_vjp(f)(w)
        w[0] = 5.0 * x[1]
        return np.sum(pull(x[0]) * w) + value

    return outer


def same_without_writes(x):
    w = x**2
    return np.sum(irgrad.grad(written)(w) * x[0] * np.stack([5.0 * x[1], w[1], w[2]])) + written(w)


@WRAPS
@pytest.mark.parametrize(
    ("f", "same"),
    [
        (alone(opaque), alone(written)),
        (between_writes(opaque), between_writes(written)),
        (pulled_later(opaque), same_without_writes),
        (pulled_later(written), same_without_writes),
    ],
    ids=["alone", "between writes", "pulled later", "pulled later, traced"],
)
def test_rules_that_differentiate(f: Any, same: Any, wrap: Any) -> None:
    x = np.array([0.3, 1.2, -0.7])
    for operator in (irgrad.grad, irgrad.hessian, lambda f: irgrad.grad(lambda x: np.sum(irgrad.grad(f)(x) ** 2))):
        expected = operator(same)(x)
        found = wrap(operator(f))
        for _ in range(2):
            np.testing.assert_allclose(found(x), expected, rtol=1e-10)
