"""Derivatives of what an iteration converges to, without differentiating the iteration: square roots, and an orbit of Kepler.

`fixed_point` needs one step, ``f(a)(x)``, and gets the derivative from the implicit function theorem, at the end point only.
"""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc.fixed_points import fixed_point


def distance(x, y):
    return np.max(np.abs(x - y))


def root(a):
    """The square root, by the mean of x and a / x."""
    return fixed_point(lambda a: lambda x: 0.5 * (x + a / x), a, 1.0 + 0.0 * a, distance, 1e-13)


def kepler(orbit):
    """The eccentric anomaly E of an orbit: E = M + e sin(E), for eccentricity e and mean anomaly M."""
    return fixed_point(lambda orbit: lambda x: orbit[1] + orbit[0] * np.sin(x), orbit, 0.0, distance, 1e-13)


def main(compiled: bool = False) -> dict[str, object]:
    """Values with first and second derivatives."""
    orbit = np.array([0.3, 1.2])
    functions = {
        "root": (root, 2.0), "slope of the root": (irgrad.grad(root), 2.0), "bend of the root": (irgrad.grad(irgrad.grad(root)), 2.0),
        "anomaly": (kepler, orbit), "slopes of the anomaly": (irgrad.grad(kepler), orbit),
        "bends of the anomaly": (irgrad.jacobian(irgrad.grad(kepler)), orbit),
    }  # fmt: skip
    if compiled:
        functions = {name: (irgrad.jit(f), at) for name, (f, at) in functions.items()}
    return {name: f(at) for name, (f, at) in functions.items()}


if __name__ == "__main__":
    for compiled in (False, True):
        print("compiled" if compiled else "eager")
        for name, value in main(compiled).items():
            print(f"  {name}: {np.round(value, 6)}")
