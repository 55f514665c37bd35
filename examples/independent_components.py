"""Independent component analysis: mixed signals taken apart again, by the likelihood of a linear map to heavy-tailed sources."""

from __future__ import annotations

from scipy.optimize import minimize

import irgrad
import irgrad.numpy as np

MIXING = np.array([[1.0, 0.6, -0.4], [-0.3, 1.0, 0.5], [0.4, -0.2, 1.0]])


def signals(count: int) -> np.ndarray:
    """Rows: spikes, a square wave with noise, and noise of a double exponential distribution."""
    rng = np.random.RandomState(6)
    t = np.arange(count)
    rows = [rng.standard_t(3, count), np.sign(np.sin(t / 7.0)) * (1.0 + rng.exponential(1.0, count)), rng.laplace(0.0, 1.0, count)]
    sources = np.stack(rows)
    return sources / np.std(sources, axis=1, keepdims=True)


def surprise(entries, mixed):
    """Minus the mean log likelihood of sources with the density of a hyperbolic secant."""
    unmixing = np.reshape(entries, MIXING.shape)
    size = np.abs(np.dot(unmixing, mixed)) * (np.pi / 2.0)
    log_cosh = size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0)
    return np.mean(np.sum(log_cosh, axis=0)) - np.linalg.slogdet(unmixing)[1]


def main(compiled: bool = False, count: int = 400, steps: int = 40) -> dict[str, object]:
    """Surprise before and after, and how much of one source each row has found (1: all)."""
    value_and_gradient = irgrad.value_and_grad(surprise)
    if compiled:
        value_and_gradient = irgrad.jit(value_and_gradient)
    sources = signals(count)
    mixed = np.dot(MIXING, sources)
    start = np.ravel(np.eye(3))
    fitted = minimize(value_and_gradient, start, args=(mixed,), jac=True, method="BFGS", options={"maxiter": steps})
    found = np.dot(np.reshape(fitted.x, MIXING.shape), mixed)
    alike = np.abs(np.corrcoef(found, sources)[:3, 3:])
    return {"before": float(surprise(start, mixed)), "after": float(fitted.fun), "alike": np.max(alike, axis=1)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, count=2000)
        print("compiled" if compiled else "eager")
        print(f"  surprise {found['before']:.4f} -> {found['after']:.4f}, correlation with the nearest source {found['alike'].round(4)}")
