"""The derivative of the logistic function three times: by hand in stages, by `grad`, and by a difference quotient."""

from __future__ import annotations

import numpy as np

import irgrad


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def sigmoid_slope_by_hand(x):
    """Compute the value in small stages, then walk the stages backwards with the chain rule."""
    minus_x = -x
    power = np.exp(minus_x)
    below = 1.0 + power
    slope_of_below = -1.0 / below**2  # of 1 / below
    slope_of_power = slope_of_below  # below moves as power does
    slope_of_minus_x = slope_of_power * power  # exp is its own derivative
    return -slope_of_minus_x


def main(compiled: bool = False) -> dict[str, np.ndarray]:
    """Slopes at a few points, from each method."""
    slope = irgrad.grad(sigmoid)
    by_hand = sigmoid_slope_by_hand
    if compiled:
        slope, by_hand = irgrad.jit(slope), irgrad.jit(by_hand)
    points = np.array([-4.0, -1.0, 0.0, 0.5, 2.0, 6.0])
    h = 1e-4
    return {
        "x": points,
        "automatic": np.array([slope(x) for x in points]),
        "by hand": np.array([by_hand(x) for x in points]),
        "difference": np.array([(sigmoid(x + h) - sigmoid(x - h)) / (2 * h) for x in points]),
    }


if __name__ == "__main__":
    for compiled in (False, True):
        print("compiled" if compiled else "eager")
        for name, values in main(compiled).items():
            print(f"  {name:10}", np.array2string(values, precision=8))
