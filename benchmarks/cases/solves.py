"""Linear algebra: factorisations, solves, and small ones in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import rng


def gaussian_process(np: Any, size: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """Negative log marginal likelihood by the logarithms of amplitude, length and noise; `square` holds squared distances."""

    def loss(theta: Any, square: Any, identity: Any, y: Any) -> Any:
        k = np.exp(theta[0]) * np.exp(-0.5 * square / np.exp(theta[1])) + np.exp(theta[2]) * identity
        return 0.5 * np.dot(y, np.linalg.solve(k, y)) + np.sum(np.log(np.diag(np.linalg.cholesky(k))))

    return loss


def kalman_step(np: Any, m: Any, c: Any, z: Any, f: Any, h: Any, q: Any, r: Any) -> tuple[Any, Any, Any]:
    """Predict, then correct by an observation: mean, covariance and the observation's negative log likelihood."""
    m, c = f @ m, f @ c @ f.T + q
    e, s = z - h @ m, h @ c @ h.T + r
    gain = np.linalg.solve(s, h @ c).T
    return m + gain @ e, c - gain @ h @ c, 0.5 * (np.dot(e, np.linalg.solve(s, e)) + np.log(np.linalg.det(s)))


def kalman(np: Any, steps: int) -> Callable[..., Any]:
    """Of a point that moves in a plane, by the logarithms of the variances of its acceleration and its observation."""

    def loss(theta: Any, z: Any, f: Any, h: Any, noise: Any, m: Any, c: Any) -> Any:
        q, r = np.exp(theta[0]) * noise, np.exp(theta[1]) * np.eye(2)
        total = 0.0
        for t in range(steps):
            m, c, term = kalman_step(np, m, c, z[t], f, h, q, r)
            total = total + term
        return total

    return loss


def kalman_lax(jax: Any, steps: int) -> Callable[..., Any]:
    np = jax.numpy

    def loss(theta: Any, z: Any, f: Any, h: Any, noise: Any, m: Any, c: Any) -> Any:
        q, r = np.exp(theta[0]) * noise, np.exp(theta[1]) * np.eye(2)

        def step(state: Any, now: Any) -> Any:
            m, c, term = kalman_step(np, *state, now, f, h, q, r)
            return (m, c), term

        return np.sum(jax.lax.scan(step, (m, c), z)[1])

    return jax.grad(loss)  # type: ignore[no-any-return]


def _process(count: int) -> tuple[Any, ...]:
    r = rng()
    x = numpy.sort(r.uniform(0.0, 10.0, count))
    return numpy.array([0.1, 0.2, -1.0]), (x[:, None] - x) ** 2, numpy.eye(count), numpy.sin(x) + 0.3 * r.normal(size=count)


def _process_flops(count: int) -> int:
    """A factorisation, and an inverse made of it for the derivative of the determinant."""
    return count**3


def _track(steps: int) -> tuple[Any, ...]:
    r = rng()
    f = numpy.kron(numpy.array([[1.0, 0.1], [0.0, 1.0]]), numpy.eye(2))
    h = numpy.eye(2, 4)
    noise = numpy.kron(numpy.array([[0.0025, 0.05], [0.05, 1.0]]), numpy.eye(2))
    z = numpy.cumsum(r.normal(size=(steps, 2)), axis=0) * 0.1
    return numpy.array([-1.0, -2.0]), z, f, h, noise, numpy.zeros(4), numpy.eye(4)


CASES = (
    Case("gaussian_process_50", gaussian_process, _process, {"tiny": 5, "S": 50}, flops=_process_flops),
    Case("gaussian_process_500", gaussian_process, _process, {"tiny": 6, "S": 200, "M": 500, "L": 2000}, flops=_process_flops),
    Case(
        "kalman_500",
        kalman,
        _track,
        {"tiny": 3, "S": 500},
        lax=kalman_lax,
        skip={"jax": "500 unrolled steps, compiles for minutes or longer"},
    ),
)
