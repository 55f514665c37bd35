"""Loops that write into arrays, as textbooks have them; beside each the same function without writes, for those who cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import rng


def jacobi(np: Any, size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    """Sweeps of Jacobi's method for Poisson's equation, with `u` on the boundary."""

    def loss(f: Any, u: Any) -> Any:
        a = np.array(u)
        for _ in range(size[1]):
            a[1:-1, 1:-1] = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + f)
        return np.sum(a**2)

    return loss


def jacobi_joined(np: Any, size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    def loss(f: Any, u: Any) -> Any:
        a = u
        for _ in range(size[1]):
            inner = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + f)
            a = np.concatenate([u[:1], np.concatenate([u[1:-1, :1], inner, u[1:-1, -1:]], axis=1), u[-1:]])
        return np.sum(a**2)

    return loss


def jacobi_lax(jax: Any, size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    def loss(f: Any, u: Any) -> Any:
        def sweep(_: Any, a: Any) -> Any:
            return a.at[1:-1, 1:-1].set(0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + f))

        return jax.numpy.sum(jax.lax.fori_loop(0, size[1], sweep, u) ** 2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def jacobi_by_hand(size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    """The sweep is linear: nothing is kept but the last state."""
    sweeps = size[1]

    def gradient(f: Any, u: Any) -> Any:
        n, m = u.shape
        a, b = u.copy(), u.copy()
        for _ in range(sweeps):
            for i in range(1, n - 1):
                for j in range(1, m - 1):
                    b[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1] + f[i - 1, j - 1])
            a, b = b, a
        result = numpy.zeros((n - 2, m - 2))
        g, h = numpy.zeros((n, m)), numpy.zeros((n, m))
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                g[i, j] = 0.5 * a[i, j]  # a quarter of the cotangent, everywhere
        for _ in range(sweeps):
            for i in range(1, n - 1):
                for j in range(1, m - 1):
                    result[i - 1, j - 1] += g[i, j]
                    h[i, j] = 0.25 * (g[i - 1, j] + g[i + 1, j] + g[i, j - 1] + g[i, j + 1])
            g, h = h, g
        return result

    return gradient


def gauss_seidel(np: Any, size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    """The same equation, each element written in turn."""

    def loss(f: Any, u: Any) -> Any:
        a = np.array(u)
        n = a.shape[0]
        for _ in range(size[1]):
            for i in range(1, n - 1):
                for j in range(1, n - 1):
                    a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1] + f[i - 1, j - 1])
        return np.sum(a**2)

    return loss


def gauss_seidel_lists(np: Any, size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    def loss(f: Any, u: Any) -> Any:
        n = u.shape[0]
        a = [[u[i, j] for j in range(n)] for i in range(n)]
        for _ in range(size[1]):
            for i in range(1, n - 1):
                for j in range(1, n - 1):
                    a[i][j] = 0.25 * (a[i - 1][j] + a[i + 1][j] + a[i][j - 1] + a[i][j + 1] + f[i - 1, j - 1])
        return sum(value**2 for row in a for value in row)

    return loss


def gauss_seidel_lax(jax: Any, size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    def loss(f: Any, u: Any) -> Any:
        inner = u.shape[0] - 2

        def element(k: Any, a: Any) -> Any:
            i, j = k // inner % inner + 1, k % inner + 1
            return a.at[i, j].set(0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1] + f[i - 1, j - 1]))

        return jax.numpy.sum(jax.lax.fori_loop(0, size[1] * inner**2, element, u) ** 2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def gauss_seidel_by_hand(size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    sweeps = size[1]

    def gradient(f: Any, u: Any) -> Any:
        n, m = u.shape
        a = u.copy()
        for _ in range(sweeps):
            for i in range(1, n - 1):
                for j in range(1, m - 1):
                    a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1] + f[i - 1, j - 1])
        g = 2.0 * a
        result = numpy.zeros((n - 2, m - 2))
        for _ in range(sweeps):
            for i in range(n - 2, 0, -1):
                for j in range(m - 2, 0, -1):
                    c = 0.25 * g[i, j]
                    g[i, j] = 0.0
                    result[i - 1, j - 1] += c
                    g[i - 1, j] += c
                    g[i + 1, j] += c
                    g[i, j - 1] += c
                    g[i, j + 1] += c
        return result

    return gradient


def lu(np: Any, size: int) -> Callable[[Any], Any]:
    """Logarithm of the determinant, by elimination in place."""

    def loss(matrix: Any) -> Any:
        a = matrix.copy()
        for k in range(size - 1):
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
        return np.sum(np.log(np.abs(np.diag(a))))

    return loss


def lu_shrinking(np: Any, size: int) -> Callable[[Any], Any]:
    def loss(a: Any) -> Any:
        total = 0.0
        for _ in range(size):
            total = total + np.log(np.abs(a[0, 0]))
            a = a[1:, 1:] - np.outer(a[1:, 0] / a[0, 0], a[0, 1:])
        return total

    return loss


def cholesky(np: Any, size: int) -> Callable[[Any], Any]:
    """Sum of the elements of the factor, written column by column."""

    def loss(matrix: Any) -> Any:
        a = np.zeros((size, size))
        for j in range(size):
            a[j, j] = np.sqrt(matrix[j, j] - np.dot(a[j, :j], a[j, :j]))
            a[j + 1 :, j] = (matrix[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j]) / a[j, j]
        return np.sum(a)

    return loss


def cholesky_shrinking(np: Any, size: int) -> Callable[[Any], Any]:
    def loss(a: Any) -> Any:
        total = 0.0
        for _ in range(size):
            column = a[:, 0] / np.sqrt(a[0, 0])
            total = total + np.sum(column)
            a = a[1:, 1:] - np.outer(column[1:], column[1:])
        return total

    return loss


def min_plus(np: Any, size: int) -> Callable[[Any], Any]:
    """Sum of the shortest distances between all pairs, by Floyd and Warshall."""

    def total(lengths: Any) -> Any:
        d = lengths.copy()
        for k in range(size):
            d[:] = np.minimum(d, d[:, k : k + 1] + d[k : k + 1, :])
        return np.sum(d)

    return total


def min_plus_rebound(np: Any, size: int) -> Callable[[Any], Any]:
    def total(d: Any) -> Any:
        for k in range(size):
            d = np.minimum(d, d[:, k : k + 1] + d[k : k + 1, :])
        return np.sum(d)

    return total


def min_plus_lax(jax: Any, size: int) -> Callable[[Any], Any]:
    np, lax = jax.numpy, jax.lax

    def total(d: Any) -> Any:
        def step(k: Any, d: Any) -> Any:
            return np.minimum(d, lax.dynamic_slice(d, (0, k), (size, 1)) + lax.dynamic_slice(d, (k, 0), (1, size)))

        return np.sum(lax.fori_loop(0, size, step, d))

    return jax.grad(total)  # type: ignore[no-any-return]


def _field(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    return r.normal(size=(size[0] - 2, size[0] - 2)), r.normal(size=(size[0], size[0]))


def _general(count: int) -> tuple[Any, ...]:
    return (rng().normal(size=(count, count)) + 4.0 * numpy.eye(count) * numpy.sqrt(count),)


def _definite(count: int) -> tuple[Any, ...]:
    a = rng().normal(size=(count, count))
    return (a @ a.T / count + numpy.eye(count),)


def _lengths(count: int) -> tuple[Any, ...]:
    lengths = rng().uniform(0.1, 1.0, (count, count)) ** 3
    numpy.fill_diagonal(lengths, 0.0)
    return (lengths,)


MINUTES = {"jax": "unrolled, compiles for minutes or longer"}


def _without_writes(make: Callable[[Any, Any], Callable[..., Any]]) -> dict[str, Callable[[Any, Any], Callable[..., Any]]]:
    return dict.fromkeys(("autograd", "jax", "torch"), make)


CASES = (
    Case(
        "jacobi_128", jacobi, _field, {"tiny": (6, 3), "S": (32, 100), "M": (128, 100), "L": (1024, 100)},
        forms=_without_writes(jacobi_joined),
        numba=jacobi_by_hand, lax=jacobi_lax, skip=MINUTES,
    ),
    Case(
        "gauss_seidel_32", gauss_seidel, _field, {"tiny": (4, 2), "S": (32, 10)}, forms=_without_writes(gauss_seidel_lists),
        numba=gauss_seidel_by_hand, lax=gauss_seidel_lax, skip=MINUTES,
    ),
    Case("lu_40", lu, _general, {"tiny": 4, "S": 40}, forms=_without_writes(lu_shrinking)),
    Case("cholesky_40", cholesky, _definite, {"tiny": 4, "S": 40}, forms=_without_writes(cholesky_shrinking)),
    Case("min_plus_24", min_plus, _lengths, {"tiny": 4, "S": 24}, forms=_without_writes(min_plus_rebound), lax=min_plus_lax),
)  # fmt: skip
