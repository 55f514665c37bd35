"""Sine by its Taylor series: how many terms are summed depends on the value, and the loop is differentiated as it ran.

Compiled, each number of terms is a path of its own; all of them share their kernels.
"""

from __future__ import annotations

import numpy as np

import irgrad


def sine(x):
    """Add terms of x - x^3/3! + x^5/5! - ... until they no longer count."""
    total = term = x
    n = 1
    while np.abs(term) > 1e-12:
        term = -term * x**2 / ((n + 1) * (n + 2))
        total = total + term
        n += 2
    return total


def main(compiled: bool = False) -> dict[str, np.ndarray]:
    """Sine, cosine as its derivative, and minus sine as the next one."""
    functions = {"value": sine, "slope": irgrad.grad(sine), "bend": irgrad.grad(irgrad.grad(sine))}
    if compiled:
        functions = {name: irgrad.jit(f) for name, f in functions.items()}
    points = np.linspace(-6.0, 6.0, 8)
    return {"x": points, **{name: np.array([f(x) for x in points]) for name, f in functions.items()}}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled)
        print("compiled" if compiled else "eager")
        for row in zip(*found.values(), strict=True):
            print("  x = {:5.2f}   sin {:9.6f}   cos {:9.6f}   -sin {:9.6f}".format(*row))
