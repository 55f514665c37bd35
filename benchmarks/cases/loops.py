"""Python loops: what a recorded operation costs, and whether a long loop is one kernel or a thousand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case

H = 0.01  # step of the integration


def lotka_volterra(np: Any, s: Any, p: Any) -> Any:
    x, y = s[0], s[1]
    return np.stack([p[0] * x - p[1] * x * y, p[2] * x * y - p[3] * y])


def rk4_step(np: Any, s: Any, p: Any) -> Any:
    k1 = lotka_volterra(np, s, p)
    k2 = lotka_volterra(np, s + 0.5 * H * k1, p)
    k3 = lotka_volterra(np, s + 0.5 * H * k2, p)
    k4 = lotka_volterra(np, s + H * k3, p)
    return s + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def rk4(np: Any, steps: int) -> Callable[[Any, Any], Any]:
    """Squared norm of the populations after so many steps, by the four rates."""

    def loss(p: Any, s: Any) -> Any:
        for _ in range(steps):
            s = rk4_step(np, s, p)
        return np.sum(s**2)

    return loss


def rk4_by_hand(steps: int) -> Callable[[Any, Any], Any]:
    """States kept, stages computed again on the way back."""

    def gradient(p: Any, s: Any) -> Any:
        a, b, c, d = p[0], p[1], p[2], p[3]
        xs, ys = numpy.empty(steps + 1), numpy.empty(steps + 1)
        xs[0], ys[0] = s[0], s[1]
        for i in range(steps):
            x, y = xs[i], ys[i]
            k1x, k1y = a * x - b * x * y, c * x * y - d * y
            x2, y2 = x + 0.5 * H * k1x, y + 0.5 * H * k1y
            k2x, k2y = a * x2 - b * x2 * y2, c * x2 * y2 - d * y2
            x3, y3 = x + 0.5 * H * k2x, y + 0.5 * H * k2y
            k3x, k3y = a * x3 - b * x3 * y3, c * x3 * y3 - d * y3
            x4, y4 = x + H * k3x, y + H * k3y
            k4x, k4y = a * x4 - b * x4 * y4, c * x4 * y4 - d * y4
            xs[i + 1] = x + H / 6 * (k1x + 2 * k2x + 2 * k3x + k4x)
            ys[i + 1] = y + H / 6 * (k1y + 2 * k2y + 2 * k3y + k4y)
        ga = gb = gc = gd = 0.0
        gx, gy = 2.0 * xs[steps], 2.0 * ys[steps]
        for i in range(steps - 1, -1, -1):
            x, y = xs[i], ys[i]
            x2, y2 = x + 0.5 * H * (a * x - b * x * y), y + 0.5 * H * (c * x * y - d * y)
            x3, y3 = x + 0.5 * H * (a * x2 - b * x2 * y2), y + 0.5 * H * (c * x2 * y2 - d * y2)
            x4, y4 = x + H * (a * x3 - b * x3 * y3), y + H * (c * x3 * y3 - d * y3)
            # stage j: cotangent (ux, uy) of its slope gives that of its state, (sx, sy)
            ux, uy = H / 6 * gx, H / 6 * gy
            ga, gb, gc, gd = ga + ux * x4, gb - ux * x4 * y4, gc + uy * x4 * y4, gd - uy * y4
            sx, sy = ux * (a - b * y4) + uy * c * y4, -ux * b * x4 + uy * (c * x4 - d)
            nx, ny = gx + sx, gy + sy
            ux, uy = H / 3 * gx + H * sx, H / 3 * gy + H * sy
            ga, gb, gc, gd = ga + ux * x3, gb - ux * x3 * y3, gc + uy * x3 * y3, gd - uy * y3
            sx, sy = ux * (a - b * y3) + uy * c * y3, -ux * b * x3 + uy * (c * x3 - d)
            nx, ny = nx + sx, ny + sy
            ux, uy = H / 3 * gx + 0.5 * H * sx, H / 3 * gy + 0.5 * H * sy
            ga, gb, gc, gd = ga + ux * x2, gb - ux * x2 * y2, gc + uy * x2 * y2, gd - uy * y2
            sx, sy = ux * (a - b * y2) + uy * c * y2, -ux * b * x2 + uy * (c * x2 - d)
            nx, ny = nx + sx, ny + sy
            ux, uy = H / 6 * gx + 0.5 * H * sx, H / 6 * gy + 0.5 * H * sy
            ga, gb, gc, gd = ga + ux * x, gb - ux * x * y, gc + uy * x * y, gd - uy * y
            gx, gy = nx + ux * (a - b * y) + uy * c * y, ny - ux * b * x + uy * (c * x - d)
        result = numpy.empty(4)
        result[0], result[1], result[2], result[3] = ga, gb, gc, gd
        return result

    return gradient


def rk4_lax(jax: Any, steps: int) -> Callable[[Any, Any], Any]:
    def loss(p: Any, s: Any) -> Any:
        last, _ = jax.lax.scan(lambda s, _: (rk4_step(jax.numpy, s, p), None), s, None, length=steps)
        return jax.numpy.sum(last**2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def rk4_scan(np: Any, steps: int) -> Callable[[Any, Any], Any]:
    """The loop as one node (peers of irgrad do without irgrad)."""
    import irgrad

    def loss(p: Any, s: Any) -> Any:
        last, _ = irgrad.scan(lambda s, _: (rk4_step(np, s, p), None), s, None, steps)
        return np.sum(last**2)

    return loss


def logistic_map(np: Any, steps: int) -> Callable[[Any, Any], Any]:
    """Where the map is, by its parameter (in the stable range: elsewhere rounding grows with the derivative)."""

    def last(r: Any, x: Any) -> Any:
        for _ in range(steps):
            x = r * x * (1.0 - x)
        return x

    return last


def logistic_map_by_hand(steps: int) -> Callable[[Any, Any], Any]:
    def gradient(r: Any, x: Any) -> Any:
        states = numpy.empty(steps)
        for i in range(steps):
            states[i] = x
            x = r * x * (1.0 - x)
        total, cotangent = 0.0, 1.0
        for i in range(steps - 1, -1, -1):
            x = states[i]
            total += cotangent * x * (1.0 - x)
            cotangent *= r * (1.0 - 2.0 * x)
        return total

    return gradient


def logistic_map_lax(jax: Any, steps: int) -> Callable[[Any, Any], Any]:
    def last(r: Any, x: Any) -> Any:
        return jax.lax.scan(lambda x, _: (r * x * (1.0 - x), None), x, None, length=steps)[0]

    return jax.grad(last)  # type: ignore[no-any-return]


def sine_chain(np: Any, count: int) -> Callable[[Any], Any]:
    """So many operations on one number."""

    def chain(x: Any) -> Any:
        for _ in range(count):
            x = np.sin(x)
        return x

    return chain


def sine_chain_by_hand(count: int) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        states = numpy.empty(count)
        for i in range(count):
            states[i] = x
            x = numpy.sin(x)
        cotangent = 1.0
        for i in range(count - 1, -1, -1):
            cotangent *= numpy.cos(states[i])
        return cotangent

    return gradient


def sine_chain_lax(jax: Any, count: int) -> Callable[[Any], Any]:
    def chain(x: Any) -> Any:
        return jax.lax.scan(lambda x, _: (jax.numpy.sin(x), None), x, None, length=count)[0]

    return jax.grad(chain)  # type: ignore[no-any-return]


def vector_chain(np: Any, count: int) -> Callable[[Any], Any]:
    """So many operations, four to a step, on ten elements."""

    def chain(x: Any) -> Any:
        for _ in range(count // 4):
            x = 0.9 * np.sin(x) + 0.1 * x
        return np.sum(x)

    return chain


def vector_chain_by_hand(count: int) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        steps, width = count // 4, x.shape[0]
        states = numpy.empty((steps, width))
        state = x.copy()
        for i in range(steps):
            for j in range(width):
                states[i, j] = state[j]
                state[j] = 0.9 * numpy.sin(state[j]) + 0.1 * state[j]
        cotangent = numpy.ones(width)
        for i in range(steps - 1, -1, -1):
            for j in range(width):
                cotangent[j] *= 0.9 * numpy.cos(states[i, j]) + 0.1
        return cotangent

    return gradient


def vector_chain_lax(jax: Any, count: int) -> Callable[[Any], Any]:
    def chain(x: Any) -> Any:
        last, _ = jax.lax.scan(lambda x, _: (0.9 * jax.numpy.sin(x) + 0.1 * x, None), x, None, length=count // 4)
        return jax.numpy.sum(last)

    return jax.grad(chain)  # type: ignore[no-any-return]


def _populations(steps: int) -> tuple[Any, ...]:
    return numpy.array([1.5, 1.0, 0.5, 2.0]), numpy.array([1.0, 2.0])


UNROLLED = {"jax": "unrolled, compiles for minutes or longer"}

CASES = (
    Case(
        "rk4_10",
        rk4,
        _populations,
        {"tiny": 3, "S": 10},
        numba=rk4_by_hand,
        lax=rk4_lax,
        slow={"jax": "unrolled, compiles for about a minute"},
    ),
    Case("rk4_100", rk4, _populations, {"tiny": 4, "S": 100}, numba=rk4_by_hand, lax=rk4_lax, skip=UNROLLED),
    Case("rk4_1000", rk4, _populations, {"tiny": 5, "S": 1000}, numba=rk4_by_hand, lax=rk4_lax, skip=UNROLLED),
    Case(
        "rk4_scan_10000",
        rk4_scan,
        _populations,
        {"tiny": 6, "S": 10_000},
        forms=dict.fromkeys(("autograd", "jax", "torch"), rk4),
        numba=rk4_by_hand,
        lax=rk4_lax,
        skip={**UNROLLED, "autograd": "unrolled, half a minute a call"},
    ),
    Case("logistic_map", logistic_map, lambda steps: (3.2, 0.3), {"tiny": 6, "S": 1000}, numba=logistic_map_by_hand, lax=logistic_map_lax),
    Case("sine_chain", sine_chain, lambda count: (0.7,), {"tiny": 6, "S": 1000}, numba=sine_chain_by_hand, lax=sine_chain_lax),
    Case(
        "vector_chain",
        vector_chain,
        lambda count: (numpy.linspace(0.1, 1.0, 10),),
        {"tiny": 16, "S": 1000},
        numba=vector_chain_by_hand,
        lax=vector_chain_lax,
    ),
)
