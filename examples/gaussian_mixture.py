"""A mixture of Gaussians fitted by Newton's method with conjugate gradients: only products of the Hessian with vectors are needed."""

from __future__ import annotations

from scipy.optimize import minimize

import irgrad
import irgrad.numpy as np
from irgrad.misc.flatten import flatten_func
from irgrad.scipy.special import logsumexp


def points(count: int) -> np.ndarray:
    """Three arms, each a stretched cloud."""
    rng = np.random.RandomState(1)
    turns = 2.0 * np.pi * rng.randint(0, 3, count) / 3.0
    along, across = 2.0 + 0.6 * rng.randn(count), 0.2 * rng.randn(count)
    return np.stack([along * np.cos(turns) - across * np.sin(turns), along * np.sin(turns) + across * np.cos(turns)], axis=1)


def initial_parameters(kinds: int) -> dict[str, np.ndarray]:
    """`roots` are lower triangular factors of inverse covariances, by rows; the logarithms of their diagonals are free."""
    rng = np.random.RandomState(2)
    return {"shares": np.zeros(kinds), "means": rng.randn(kinds, 2), "roots": np.zeros((kinds, 3))}


def surprise(parameters, x):
    """Minus the mean logarithm of the density."""
    shares = parameters["shares"] - logsumexp(parameters["shares"])
    apart = x[:, None, :] - parameters["means"]
    a, b, c = parameters["roots"][:, 0], parameters["roots"][:, 1], parameters["roots"][:, 2]
    white = np.stack([np.exp(a) * apart[:, :, 0] + b * apart[:, :, 1], np.exp(c) * apart[:, :, 1]], axis=2)
    densities = a + c - np.log(2.0 * np.pi) - 0.5 * np.sum(white**2, axis=2)
    return -np.mean(logsumexp(shares + densities, axis=1))


def main(compiled: bool = False, count: int = 150, kinds: int = 3, steps: int = 20) -> dict[str, object]:
    """Surprise before and after, and the means found."""
    x = points(count)
    value, restore, start = flatten_func(lambda parameters: surprise(parameters, x), initial_parameters(kinds))
    objective = lambda vector: value(vector)[0]
    gradient = irgrad.grad(objective)
    product = irgrad.hessian_vector_product(objective)
    if compiled:
        objective, gradient, product = irgrad.jit(objective), irgrad.jit(gradient), irgrad.jit(product)
    fitted = minimize(objective, start, jac=gradient, hessp=product, method="Newton-CG", options={"maxiter": steps})
    return {"before": float(objective(start)), "after": float(fitted.fun), "means": restore(fitted.x)["means"]}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled)
        print("compiled" if compiled else "eager")
        print(f"  surprise {found['before']:.4f} -> {found['after']:.4f}, means {found['means'].round(3).tolist()}")
