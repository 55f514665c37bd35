"""Programs that the runtime tests count kernels and rows of: plain numpy, as a user writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def taylor_sine(x: Any) -> Any:
    total = term = x
    i = 0
    while np.abs(term) > 0.001:
        term = -term * x**2 / ((2 * i + 3) * (2 * i + 2))
        total = total + term
        i += 1
    return total


def lotka_volterra(s: Any, p: Any) -> Any:
    x, y = s[0], s[1]
    return np.stack([p[0] * x - p[1] * x * y, p[2] * x * y - p[3] * y])


def rk4_loss(steps: int, h: float = 0.01) -> Callable[[Any, Any], Any]:
    def loss(p: Any, s: Any) -> Any:
        for _ in range(steps):
            k1 = lotka_volterra(s, p)
            k2 = lotka_volterra(s + 0.5 * h * k1, p)
            k3 = lotka_volterra(s + 0.5 * h * k2, p)
            k4 = lotka_volterra(s + h * k3, p)
            s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return np.sum(s**2)

    return loss


def small_loss(w: Any, x: Any, y: Any) -> Any:
    return np.sum((np.tanh(x @ w) - y) ** 2)


def rosenbrock(x: Any) -> Any:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def three_way(x: Any) -> Any:
    """20 steps, each through one of three branches chosen by the data."""
    for i in range(20):
        if x > 0.7:
            x = 3.7 * x * (1.0 - x) + 0.001 * i
        elif x > 0.4:
            x = np.sin(2.0 * x) * 0.9
        else:
            x = np.exp(-x) * 0.95
    return x


P0 = np.array([1.5, 1.0, 0.5, 2.0])
S0 = np.array([1.0, 2.0])
