"""Random programs around a loop, for any namespace that has loops."""

from __future__ import annotations

from typing import Any

import numpy as np

import irgrad


def steps(L: Any, a: int, b: int, k: float, p: Any, w: Any) -> list[Any]:
    """What a body may do, as functions of its state: a number s, a vector v, a matrix m, the number i of the iteration, and a row x."""

    def update(s: Any, v: Any, m: Any, i: Any, x: Any) -> Any:
        u = v * 1.0
        u[a] = s
        u[i % 5] += x[b]
        return s, u * 0.8, m

    def inner_scan(s: Any, v: Any, m: Any, i: Any, x: Any) -> Any:
        s, ys = L.scan(lambda c, r: (np.sin(c + np.sum(r) * 0.1), c * r[b]), s, w)
        return s + 0.1 * np.sum(ys), v, m

    def smooth_choice(s: Any, v: Any, m: Any, i: Any, x: Any) -> Any:
        return L.cond(s > k, lambda s, v: s * 0.3 + v[a], lambda s, v: np.sin(s) * p[b], s, v), v, m

    return [
        lambda s, v, m, i, x: (np.tanh(s * k + x[a]), v, m),
        lambda s, v, m, i, x: (s, np.sin(v * p[a]) + x * k, m),
        lambda s, v, m, i, x: (s, v * s + w[a], m),
        lambda s, v, m, i, x: (s + 0.1 * np.sum(v[:3] * w[a, b]), v, m),
        lambda s, v, m, i, x: (s, v, np.tanh(m + np.reshape(np.concatenate([v, [s]]), (2, 3)) * k)),
        lambda s, v, m, i, x: (s, L.cond(x[a] > 0, lambda v: v * 0.5, lambda v: v[::-1] * k, v), m),
        lambda s, v, m, i, x: (s, np.tanh(L.fori_loop(0, 3, lambda j, u: u * 0.9 + w[j] * s, v)), m),
        lambda s, v, m, i, x: (s, np.where(v > k, v, np.cos(v) * s), m),
        lambda s, v, m, i, x: (L.while_loop(lambda u: u > 1.5, lambda u: u * 0.7 - 0.1 * p[a] ** 2, s * 1.0, max_steps=40), v, m),
        lambda s, v, m, i, x: (s + 0.1 * v[i % 5] * w[i % 5, a], v, m),
        lambda s, v, m, i, x: (s, v - 0.01 * np.dot(w, v) * np.sum(m), m),
        lambda s, v, m, i, x: (np.tanh(s + irgrad.grad(lambda q: np.sum(np.sin(q * v)))(p[a])), v, m),
        update,
        inner_scan,
        smooth_choice,
    ]


def program(seed: int) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    code = [(int(rng.integers(15)), int(rng.integers(5)), int(rng.integers(5)), float(rng.normal())) for _ in range(rng.integers(3, 9))]
    count, reverse = int(rng.integers(1, 5)), bool(rng.integers(2))
    checkpoint = (False, False, 2, True)[rng.integers(4)]

    def make(L: Any) -> Any:
        def f(args: Any) -> Any:
            def body(c: Any, x: Any) -> Any:
                s, v, m, i = c["s"], c["v"], c["m"], c["i"]
                y = s * 0.5
                for number, a, b, k in code:
                    s, v, m = steps(L, a, b, k, args["p"], args["w"])[number](s, v, m, i, x)
                return {"s": s, "v": v, "m": m, "i": i + 1}, {"y": y + np.sum(m * m), "w": v[:2] * s}

            c, ys = L.scan(body, {**args["init"], "i": 0}, args["xs"], reverse=reverse, checkpoint=checkpoint)
            total = np.sum(ys["y"] * np.arange(1.0, count + 1)) + np.sum(ys["w"] ** 2)
            return total + c["s"] + np.sum(np.sin(c["v"])) + np.sum(c["m"] ** 2)

        return f

    init = {"s": float(rng.normal()), "v": rng.normal(size=5), "m": rng.normal(size=(2, 3))}
    return make, {"p": rng.normal(size=5), "w": rng.normal(size=(5, 5)) * 0.5, "init": init, "xs": rng.normal(size=(count, 5))}
