"""Python's control flow in differentiated functions: branches, loops, recursion, and derivatives of derivatives."""

from __future__ import annotations

import numpy as np

import irgrad


def absolute_cube(x):
    if x >= 0:
        return x**3
    return -(x**3)


def powers_for(x):
    """1 + x + x^2 + ... + x^9."""
    total = 0.0
    for k in range(10):
        total = total + x**k
    return total


def powers_while(x):
    total = 0.0
    k = 0
    while k < 10:
        total = total + x**k
        k += 1
    return total


def halve_until_small(x):
    """How many halvings depends on the value."""
    product = 1.0
    while x > 0.5:
        product = product * x
        x = x / 2
    return product


def factorial(n):
    """Recursion on a real number: its derivative is that of the product that was computed."""
    if n <= 1.0:
        return n
    return n * factorial(n - 1.0)


def combination(x):
    return 2 * x[0] + 3 * x[1] + 5 * x[2] + 7 * x[3] + 11 * x[4] ** 2


def two_variables(x, y):
    return 3 * x**3 + y * (x - 5) + 1


def wave(x):
    return np.sqrt(1 + x**2) + np.exp(x) + np.sin(2 * np.pi * x)


def main(compiled: bool = False) -> dict[str, object]:
    """A derivative of each function above, and the fourth derivative of the last."""
    grad = irgrad.grad
    cases = {
        "absolute_cube, left": (grad(absolute_cube), -1.5),
        "absolute_cube, right": (grad(absolute_cube), 1.5),
        "powers_for": (grad(powers_for), 0.7),
        "powers_while": (grad(powers_while), 0.7),
        "halve_until_small": (grad(halve_until_small), 9.0),
        "factorial": (grad(factorial), 5.5),
        "combination": (grad(combination), np.array([1.0, 2.0, 3.0, 4.0, 5.0])),
        "two_variables": (grad(two_variables, (0, 1)), 2.0, 3.0),
        "wave": (grad(wave), 0.3),
        "fourth derivative of wave": (grad(grad(grad(grad(wave)))), 0.3),
    }
    return {name: (irgrad.jit(f) if compiled else f)(*args) for name, (f, *args) in cases.items()}


if __name__ == "__main__":
    for compiled in (False, True):
        print("compiled" if compiled else "eager")
        for name, value in main(compiled).items():
            print(f"  {name}: {value}")
