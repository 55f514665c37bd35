"""The derivative of sin(2 pi x + x^2) over a grid, beside the one worked out by hand.

``python derivative_of_sine.py curves.png`` saves a plot where matplotlib is installed.
"""

from __future__ import annotations

import sys

import numpy as np

import irgrad


def f(x):
    return np.sin(2 * np.pi * x + x**2)


def slope_by_hand(x):
    return np.cos(2 * np.pi * x + x**2) * (2 * np.pi + 2 * x)


def main(compiled: bool = False) -> dict[str, np.ndarray]:
    """The grid, the function and both derivatives."""
    slope = irgrad.elementwise_grad(f)
    if compiled:
        slope = irgrad.jit(slope)
    x = np.linspace(0.0, 1.0, 1000)
    return {"x": x, "f": f(x), "automatic": slope(x), "by hand": slope_by_hand(x)}


def plot(curves: dict[str, np.ndarray], path: str) -> None:
    """Save both derivatives as a picture; does nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot(curves["x"], curves["by hand"], linewidth=4, alpha=0.4, label="by hand")
    axes.plot(curves["x"], curves["automatic"], "--", label="automatic")
    axes.set_title("derivative of sin(2 pi x + x^2)")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    for compiled in (False, True):
        curves = main(compiled)
        print("compiled" if compiled else "eager")
        print(f"  largest difference over {len(curves['x'])} points: {np.max(np.abs(curves['automatic'] - curves['by hand'])):.1e}")
    if len(sys.argv) > 1:
        plot(curves, sys.argv[1])
