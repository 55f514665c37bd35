"""Long loops over arrays: recurrent networks, bodies that attract each other, dynamic programming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import rng

STEP = 0.01  # of the integration


def rnn(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    def loss(weights: Any, x: Any, y: Any) -> Any:
        wx, wh, b = weights
        h = np.zeros((x.shape[1], wh.shape[0]))
        for t in range(x.shape[0]):
            h = np.tanh(x[t] @ wx + h @ wh + b)
        return np.mean((h - y) ** 2)

    return loss


def rnn_lax(jax: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    np = jax.numpy

    def loss(weights: Any, x: Any, y: Any) -> Any:
        wx, wh, b = weights
        h = np.zeros((x.shape[1], wh.shape[0]))
        h, _ = jax.lax.scan(lambda h, now: (np.tanh(now @ wx + h @ wh + b), None), h, x)
        return np.mean((h - y) ** 2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def lstm_step(np: Any, weights: Any, h: Any, c: Any, now: Any) -> tuple[Any, Any]:
    wx, wh, b = weights
    n = wh.shape[0]
    gates = now @ wx + h @ wh + b
    keep, add, out = (1.0 / (1.0 + np.exp(-gates[:, k * n : (k + 1) * n])) for k in range(3))
    c = keep * c + add * np.tanh(gates[:, 3 * n :])
    return out * np.tanh(c), c


def lstm(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    def loss(weights: Any, x: Any, y: Any) -> Any:
        h = c = np.zeros((x.shape[1], weights[1].shape[0]))
        for t in range(x.shape[0]):
            h, c = lstm_step(np, weights, h, c, x[t])
        return np.mean((h - y) ** 2)

    return loss


def lstm_lax(jax: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    np = jax.numpy

    def loss(weights: Any, x: Any, y: Any) -> Any:
        def step(state: Any, now: Any) -> Any:
            return lstm_step(np, weights, *state, now), None

        h = np.zeros((x.shape[1], weights[1].shape[0]))
        (h, _), _ = jax.lax.scan(step, (h, h), x)
        return np.mean((h - y) ** 2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def accelerations(np: Any, x: Any, masses: Any) -> Any:
    d = x[None, :, :] - x[:, None, :]
    square = np.sum(d**2, axis=2) + 0.01
    return np.sum((masses / (square * np.sqrt(square)))[:, :, None] * d, axis=1)


def n_body(np: Any, size: tuple[int, int]) -> Callable[[Any, Any, Any], Any]:
    """How far the bodies are from the origin after so many leapfrog steps, by their first velocities."""

    def loss(v: Any, x: Any, masses: Any) -> Any:
        for _ in range(size[1]):
            x = x + 0.5 * STEP * v
            v = v + STEP * accelerations(np, x, masses)
            x = x + 0.5 * STEP * v
        return np.sum(x**2)

    return loss


def n_body_lax(jax: Any, size: tuple[int, int]) -> Callable[[Any, Any, Any], Any]:
    def loss(v: Any, x: Any, masses: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            x, v = state
            x = x + 0.5 * STEP * v
            v = v + STEP * accelerations(jax.numpy, x, masses)
            return (x + 0.5 * STEP * v, v), None

        (x, _), _ = jax.lax.scan(step, (x, v), None, length=size[1])
        return jax.numpy.sum(x**2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def n_body_by_hand(size: tuple[int, int]) -> Callable[[Any, Any, Any], Any]:
    """Positions at which forces act are kept; the force between two bodies is computed again on the way back."""
    steps = size[1]

    def gradient(v: Any, x: Any, masses: Any) -> Any:
        count = x.shape[0]
        at = numpy.empty((steps, count, 3))
        x, v = x.copy(), v.copy()
        for t in range(steps):
            for i in range(count):
                for k in range(3):
                    x[i, k] += 0.5 * STEP * v[i, k]
                    at[t, i, k] = x[i, k]
            for i in range(count):
                a0 = a1 = a2 = 0.0
                for j in range(count):
                    d0, d1, d2 = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
                    square = d0 * d0 + d1 * d1 + d2 * d2 + 0.01
                    w = masses[j] / (square * numpy.sqrt(square))
                    a0, a1, a2 = a0 + w * d0, a1 + w * d1, a2 + w * d2
                v[i, 0] += STEP * a0
                v[i, 1] += STEP * a1
                v[i, 2] += STEP * a2
            for i in range(count):
                for k in range(3):
                    x[i, k] += 0.5 * STEP * v[i, k]
        gx, gv = 2.0 * x, numpy.zeros((count, 3))
        for t in range(steps - 1, -1, -1):
            for i in range(count):
                for k in range(3):
                    gv[i, k] += 0.5 * STEP * gx[i, k]
            for i in range(count):
                u0, u1, u2 = STEP * gv[i, 0], STEP * gv[i, 1], STEP * gv[i, 2]
                for j in range(count):
                    d0, d1, d2 = at[t, j, 0] - at[t, i, 0], at[t, j, 1] - at[t, i, 1], at[t, j, 2] - at[t, i, 2]
                    square = d0 * d0 + d1 * d1 + d2 * d2 + 0.01
                    w = masses[j] / (square * numpy.sqrt(square))
                    s = -3.0 * w / square * (u0 * d0 + u1 * d1 + u2 * d2)
                    g0, g1, g2 = w * u0 + s * d0, w * u1 + s * d1, w * u2 + s * d2
                    gx[j, 0] += g0
                    gx[j, 1] += g1
                    gx[j, 2] += g2
                    gx[i, 0] -= g0
                    gx[i, 1] -= g1
                    gx[i, 2] -= g2
            for i in range(count):
                for k in range(3):
                    gv[i, k] += 0.5 * STEP * gx[i, k]
        return gv

    return gradient


def softmin(np: Any, a: Any, b: Any, c: Any) -> Any:
    return -np.log(np.exp(-a) + np.exp(-b) + np.exp(-c))


def soft_distance(np: Any, size: Any) -> Callable[[Any, Any], Any]:
    """Of two sequences, each element against each: the cheapest path through the table, with a soft minimum; plain lists of numbers."""

    def cost(x: Any, y: Any) -> Any:
        n, m = x.shape[0], y.shape[0]
        table = (x[:, None] - y) ** 2
        before = [0.0] + [100.0] * m
        for i in range(n):
            now = [100.0]
            for j in range(m):
                now.append(table[i, j] + softmin(np, before[j], before[j + 1], now[j]))
            before = now
        return before[m]

    return cost


def soft_distance_lax(jax: Any, size: Any) -> Callable[[Any, Any], Any]:
    np, scan = jax.numpy, jax.lax.scan

    def cost(x: Any, y: Any) -> Any:
        def row(before: Any, costs: Any) -> Any:
            def cell(left: Any, parts: Any) -> Any:
                value = parts[0] + softmin(np, parts[1], parts[2], left)
                return value, value

            _, now = scan(cell, 100.0, (costs, before[:-1], before[1:]))
            return np.concatenate([np.full(1, 100.0), now]), None

        first = np.concatenate([np.zeros(1), np.full(y.shape[0], 100.0)])
        return scan(row, first, (x[:, None] - y) ** 2)[0][-1]

    return jax.grad(cost)  # type: ignore[no-any-return]


def soft_distance_by_hand(size: Any) -> Callable[[Any, Any], Any]:
    def gradient(x: Any, y: Any) -> Any:
        n, m = x.shape[0], y.shape[0]
        d = numpy.full((n + 1, m + 1), 100.0)
        d[0, 0] = 0.0
        g = numpy.zeros((n + 1, m + 1))
        for i in range(n):
            for j in range(m):
                total = numpy.exp(-d[i, j]) + numpy.exp(-d[i, j + 1]) + numpy.exp(-d[i + 1, j])
                d[i + 1, j + 1] = (x[i] - y[j]) ** 2 - numpy.log(total)
        g[n, m] = 1.0
        result = numpy.zeros(n)
        for i in range(n - 1, -1, -1):
            for j in range(m - 1, -1, -1):
                u = g[i + 1, j + 1]
                result[i] += 2.0 * u * (x[i] - y[j])
                a, b, c = numpy.exp(-d[i, j]), numpy.exp(-d[i, j + 1]), numpy.exp(-d[i + 1, j])
                u /= a + b + c
                g[i, j] += u * a
                g[i, j + 1] += u * b
                g[i + 1, j] += u * c
        return result

    return gradient


def _network(size: tuple[int, int, int, int], gates: int = 1) -> tuple[Any, ...]:
    steps, batch, features, units = size
    r = rng()
    weights = (
        r.normal(size=(features, gates * units)),
        r.normal(size=(units, gates * units)) / numpy.sqrt(units),
        numpy.zeros(gates * units),
    )
    return weights, r.normal(size=(steps, batch, features)), r.normal(size=(batch, units))


def _network_flops(size: tuple[int, int, int, int], gates: int = 1) -> int:
    """Forward, for the state before, and for both weights; the observations need no gradient."""
    steps, batch, features, units = size
    return 2 * steps * batch * gates * units * (2 * features + 3 * units)


def _bodies(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    count = size[0]
    return 0.3 * r.normal(size=(count, 3)), r.normal(size=(count, 3)), r.uniform(0.5, 1.5, count)


def _two_sequences(count: int) -> tuple[Any, ...]:
    r = rng()
    return numpy.cumsum(0.3 * r.normal(size=count)), numpy.cumsum(0.3 * r.normal(size=count))


LONG = {"jax": "unrolled, compiles for minutes or longer"}
NETWORKS = {"tiny": (3, 2, 3, 4), "S": (200, 8, 8, 32), "M": (200, 64, 64, 128)}

CASES = (
    Case("rnn_200", rnn, _network, NETWORKS, lax=rnn_lax, flops=_network_flops, skip=LONG),
    Case(
        "lstm_200",
        lstm,
        lambda size: _network(size, 4),
        NETWORKS,
        lax=lstm_lax,
        flops=lambda size: _network_flops(size, 4),
        skip=LONG,
    ),
    Case("n_body_100", n_body, _bodies, {"tiny": (3, 3), "S": (5, 100), "M": (64, 100)}, numba=n_body_by_hand, lax=n_body_lax, skip=LONG),
    Case(
        "soft_distance_60",
        soft_distance,
        _two_sequences,
        {"tiny": 4, "S": 60},
        numba=soft_distance_by_hand,
        lax=soft_distance_lax,
        skip=LONG,
    ),
)
