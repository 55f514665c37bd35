"""tanh, written with the exponential function, and its first four derivatives over a grid.

``python tanh_derivatives.py curves.png`` saves a plot where matplotlib is installed.
"""

from __future__ import annotations

import sys

import irgrad
import irgrad.numpy as np


def tanh(x):
    y = np.exp(-2.0 * x)
    return (1.0 - y) / (1.0 + y)


def main(compiled: bool = False) -> dict[str, np.ndarray]:
    """The grid, and one curve for each order of derivative from 0 to 4."""
    x = np.linspace(-3.0, 3.0, 61)
    curves = {"x": x}
    f = tanh
    for order in range(5):
        curves[f"order {order}"] = (irgrad.jit(f) if compiled else f)(x)
        f = irgrad.elementwise_grad(f)
    return curves


def plot(curves: dict[str, np.ndarray], path: str) -> None:
    """Save the curves as a picture; does nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    for name, curve in curves.items():
        if name != "x":
            axes.plot(curves["x"], curve, label=name)
    axes.set_ylim(-4.5, 4.5)
    axes.set_title("tanh and its derivatives")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    for compiled in (False, True):
        curves = main(compiled)
        print("compiled" if compiled else "eager")
        for name, curve in curves.items():
            print(f"  {name:8}", np.array2string(curve[::12], precision=4, suppress_small=True))
    if len(sys.argv) > 1:
        plot(curves, sys.argv[1])
