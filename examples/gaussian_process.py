"""Regression by a Gaussian process whose length scale, amplitude and noise are fitted to the marginal likelihood."""

from __future__ import annotations

from scipy.optimize import minimize

import irgrad
import irgrad.numpy as np


def observations(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(3)
    x = np.sort(rng.uniform(-3.0, 3.0, count))
    return x, np.sin(2.0 * x) * np.exp(-0.1 * x**2) + 0.1 * rng.randn(count)


def covariance(a, b, scale, amplitude):
    return amplitude**2 * np.exp(-0.5 * ((a[:, None] - b[None, :]) / scale) ** 2)


def factor(logs, x):
    """The Cholesky factor of the covariance of what is observed; `logs` of length scale, amplitude and noise."""
    scale, amplitude, noise = np.exp(logs)
    return np.linalg.cholesky(covariance(x, x, scale, amplitude) + (noise**2 + 1e-8) * np.eye(len(x)))


def surprise(logs, x, y):
    """Minus the logarithm of the marginal likelihood."""
    lower = factor(logs, x)
    white = np.linalg.solve(lower, y)
    return 0.5 * np.dot(white, white) + np.sum(np.log(np.diag(lower))) + 0.5 * len(y) * np.log(2.0 * np.pi)


def predict(logs, x, y, where):
    """Mean and standard deviation of the function at new places."""
    scale, amplitude, _ = np.exp(logs)
    lower = factor(logs, x)
    cross = np.linalg.solve(lower, covariance(x, where, scale, amplitude))
    return np.dot(cross.T, np.linalg.solve(lower, y)), np.sqrt(amplitude**2 - np.sum(cross**2, axis=0))


def main(compiled: bool = False, count: int = 40, steps: int = 30) -> dict[str, object]:
    """The fitted parameters, and predictions."""
    value_and_gradient = irgrad.value_and_grad(surprise)
    if compiled:
        value_and_gradient = irgrad.jit(value_and_gradient)
    x, y = observations(count)
    fitted = minimize(value_and_gradient, np.zeros(3), args=(x, y), jac=True, method="BFGS", options={"maxiter": steps})
    mean, deviation = predict(fitted.x, x, y, np.linspace(-3.0, 3.0, 13))
    return {"surprise": fitted.fun, "parameters": np.exp(fitted.x), "mean": mean, "deviation": deviation}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled)
        print("compiled" if compiled else "eager")
        print(f"  minus log likelihood {found['surprise']:.4f}; length scale, amplitude, noise {found['parameters'].round(4)}")
        print(f"  mean at 13 places {found['mean'].round(3)}")
