"""Scalars and small vectors: what a call costs besides arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case


def taylor_sine(np: Any, size: None) -> Callable[[Any], Any]:
    """The sine series with as many terms as the argument needs."""

    def sine(x: Any) -> Any:
        total = term = x
        i = 0
        while np.abs(term) > 0.001:
            term = -term * x**2 / ((2 * i + 3) * (2 * i + 2))
            total = total + term
            i += 1
        return total

    return sine


def taylor_sine_by_hand(size: None) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        """term_k = c_k x^(2k+1): the derivative of a term is (2k+1) term / x, without the division."""
        term, derivative, total = x, 1.0, 1.0
        i = 0
        while abs(term) > 0.001:
            scale = -1.0 / ((2 * i + 3) * (2 * i + 2))
            derivative = scale * (derivative * x * x + 2.0 * term * x)
            term = scale * term * x * x
            total += derivative
            i += 1
        return total

    return gradient


def taylor_sine_lax(jax: Any, size: None) -> Callable[[Any], Any]:
    """`lax.while_loop` has no reverse derivative: forward mode."""

    def sine(x: Any) -> Any:
        def step(state: Any) -> Any:
            i, term, total = state
            term = -term * x**2 / ((2 * i + 3) * (2 * i + 2))
            return i + 1, term, total + term

        return jax.lax.while_loop(lambda state: jax.numpy.abs(state[1]) > 0.001, step, (0, x, x))[2]

    return jax.jacfwd(sine)  # type: ignore[no-any-return]


def rosenbrock_2(np: Any, size: None) -> Callable[[Any], Any]:
    def rosenbrock(x: Any) -> Any:
        return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    return rosenbrock


def rosenbrock_2_by_hand(size: None) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        result = numpy.empty(2)
        slope = 200.0 * (x[1] - x[0] * x[0])
        result[0] = -2.0 * x[0] * slope - 2.0 * (1.0 - x[0])
        result[1] = slope
        return result

    return gradient


def beale(np: Any, size: None) -> Callable[[Any], Any]:
    def value(p: Any) -> Any:
        x, y = p[0], p[1]
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    return value


def beale_by_hand(size: None) -> Callable[[Any], Any]:
    def gradient(p: Any) -> Any:
        x, y = p[0], p[1]
        a, b, c = 1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y * y * y
        result = numpy.empty(2)
        result[0] = 2.0 * (a * (y - 1.0) + b * (y * y - 1.0) + c * (y * y * y - 1.0))
        result[1] = 2.0 * x * (a + 2.0 * b * y + 3.0 * c * y * y)
        return result

    return gradient


def rosenbrock_n(np: Any, size: int) -> Callable[[Any], Any]:
    def rosenbrock(x: Any) -> Any:
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return rosenbrock


def rosenbrock_n_by_hand(size: int) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        count = x.shape[0]
        result = numpy.zeros(count)
        for i in range(count - 1):
            slope = 200.0 * (x[i + 1] - x[i] * x[i])
            result[i] += -2.0 * x[i] * slope - 2.0 * (1.0 - x[i])
            result[i + 1] += slope
        return result

    return gradient


def decay(np: Any, size: int) -> Callable[[Any, Any, Any], Any]:
    """Least squares with six parameters: two exponentials and a line."""

    def loss(p: Any, t: Any, y: Any) -> Any:
        model = p[0] * np.exp(-p[1] * t) + p[2] * np.exp(-p[3] * t) + p[4] + p[5] * t
        return np.sum((model - y) ** 2)

    return loss


def decay_by_hand(size: int) -> Callable[[Any, Any, Any], Any]:
    def gradient(p: Any, t: Any, y: Any) -> Any:
        result = numpy.zeros(6)
        for i in range(t.shape[0]):
            a, b = numpy.exp(-p[1] * t[i]), numpy.exp(-p[3] * t[i])
            r = 2.0 * (p[0] * a + p[2] * b + p[4] + p[5] * t[i] - y[i])
            result[0] += r * a
            result[1] -= r * p[0] * a * t[i]
            result[2] += r * b
            result[3] -= r * p[2] * b * t[i]
            result[4] += r
            result[5] += r * t[i]
        return result

    return gradient


def _decay_data(count: int) -> tuple[Any, ...]:
    t = numpy.linspace(0.0, 3.0, count)
    p = numpy.array([1.0, 0.5, 0.7, 2.0, 0.1, -0.2])
    return p, t, 1.2 * numpy.exp(-0.4 * t) + 0.5 * numpy.exp(-3.0 * t) + 0.01 * numpy.sin(50.0 * t)


CASES = (
    Case(
        "taylor_sine",
        taylor_sine,
        lambda size: (2.4,),
        {"S": None},
        numba=taylor_sine_by_hand,
        lax=taylor_sine_lax,
        skip={"jax": "cannot be traced: `while` on a traced value"},
    ),
    Case("rosenbrock_2", rosenbrock_2, lambda size: (numpy.array([1.2, 0.7]),), {"S": None}, numba=rosenbrock_2_by_hand),
    Case("beale", beale, lambda size: (numpy.array([1.1, 0.4]),), {"S": None}, numba=beale_by_hand),
    Case(
        "rosenbrock_100",
        rosenbrock_n,
        lambda size: (numpy.sin(numpy.arange(size, dtype=float)),),
        {"tiny": 5, "S": 100},
        numba=rosenbrock_n_by_hand,
    ),
    Case("least_squares_6", decay, _decay_data, {"tiny": 7, "S": 50}, numba=decay_by_hand),
)
