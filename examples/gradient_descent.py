"""Gradient descent into the curved valley of Rosenbrock's function, each step as long as a line search allows."""

from __future__ import annotations

import irgrad
import irgrad.numpy as np


def rosenbrock(p):
    return 100.0 * (p[1] - p[0] ** 2) ** 2 + (1.0 - p[0]) ** 2


def main(compiled: bool = False, steps: int = 200) -> dict[str, object]:
    """Where the descent from (-1.2, 1) gets to, and the values on the way."""
    value, gradient = rosenbrock, irgrad.grad(rosenbrock)
    if compiled:
        value, gradient = irgrad.jit(value), irgrad.jit(gradient)
    p = np.array([-1.2, 1.0])
    values = [float(value(p))]
    for _ in range(steps):
        g = gradient(p)
        length = 1.0
        while value(p - length * g) > values[-1] - 0.5 * length * np.dot(g, g):
            length = length / 2
        p = p - length * g
        values.append(float(value(p)))
    return {"point": p, "values": np.array(values)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=2000)
        print("compiled" if compiled else "eager")
        print(f"  value {found['values'][0]:.3f} -> {found['values'][-1]:.2e} at {found['point'].round(4)} (the minimum is at [1, 1])")
