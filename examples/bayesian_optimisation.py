"""Bayesian optimisation: where to look next for the minimum of a function that is costly to evaluate.

A Gaussian process knows what the evaluations so far say; the next one is where the expected improvement is greatest, which is found by
its gradient from several starts.
"""

from __future__ import annotations

from scipy.optimize import minimize

import irgrad
import irgrad.numpy as np
from irgrad.scipy.stats import norm

SCALE, NOISE = 0.35, 1e-4


def costly(x):
    """Has several minima; the lowest of -1 < x < 2 is at 0.9, about."""
    return np.sin(5.0 * x) + 0.6 * (x - 0.5) ** 2


def covariance(a, b):
    return np.exp(-0.5 * ((a[:, None] - b[None, :]) / SCALE) ** 2)


def expected_improvement(x, places, values):
    """At `x`, over the lowest of the values seen at `places`; negative, to be minimised."""
    among = covariance(places, places) + NOISE * np.eye(len(places))
    to = covariance(np.reshape(x, (1,)), places)[0]
    mean = np.dot(to, np.linalg.solve(among, values))
    deviation = np.sqrt(np.maximum(1.0 + NOISE - np.dot(to, np.linalg.solve(among, to)), 1e-10))
    gain = (np.min(values) - mean) / deviation
    return -deviation * (gain * norm.cdf(gain) + norm.pdf(gain))


def main(compiled: bool = False, rounds: int = 5, starts: int = 6) -> dict[str, object]:
    """Where it looked, and what it found."""
    value_and_gradient = irgrad.value_and_grad(lambda x, places, values: expected_improvement(x[0], places, values))
    if compiled:
        value_and_gradient = irgrad.jit(value_and_gradient)
    places = np.array([-0.8, 0.1, 1.7])
    for _ in range(rounds):
        values = costly(places)
        centred = (values - np.mean(values)) / np.std(values)
        found = [
            minimize(value_and_gradient, [start], args=(places, centred), jac=True, method="L-BFGS-B", bounds=[(-1.0, 2.0)])
            for start in np.linspace(-1.0, 2.0, starts)
        ]
        best = min(found, key=lambda each: float(np.round(each.fun, 9)))
        places = np.concatenate([places, best.x])
    values = costly(places)
    return {"places": places, "best place": places[np.argmin(values)], "best value": np.min(values)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, rounds=9)
        print("compiled" if compiled else "eager")
        print(f"  looked at {found['places'].round(3)}")
        print(f"  lowest value {found['best value']:.4f} at {found['best place']:.4f}")
