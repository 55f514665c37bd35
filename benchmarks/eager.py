"""``python -m benchmarks.eager [--case NAME ...] [--json F]``: irgrad's eager gradients beside autograd's, ten small programs.

Sizes are small on purpose: at these, time is what an operation costs besides its arithmetic. Both sides run in turn in one process,
`ROUNDS` rounds; the ratio is the median over rounds of autograd's time to irgrad's, above 1 where irgrad is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy

from benchmarks.machine import clock, pin
from benchmarks.peers import flat
from benchmarks.report import geometric_mean, publish, ratio_text, seconds_text

ROUNDS = 41
SHORTEST = 2e-3  # seconds that one round takes at least, in repeated calls

Program = tuple[Callable[[Any], Callable[..., Any]], tuple[Any, ...]]


def rosenbrock(np: Any) -> Callable[..., Any]:
    return lambda x: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def taylor(np: Any) -> Callable[..., Any]:
    """The sine of a number by its series."""

    def sine(x: Any) -> Any:
        term, total = x, x
        for k in range(1, 12):
            term = -term * x * x / ((2 * k) * (2 * k + 1))
            total = total + term
        return total

    return sine


def logistic(np: Any) -> Callable[..., Any]:
    return lambda w, x, y: np.mean(np.log1p(np.exp(-y * np.dot(x, w)))) + 0.01 * np.sum(w**2)


def network(np: Any) -> Callable[..., Any]:
    def loss(p: Any, x: Any, y: Any) -> Any:
        hidden = np.tanh(np.dot(x, p["w"]) + p["b"])
        return np.mean((np.dot(hidden, p["v"]) - y) ** 2)

    return loss


def softmax(np: Any) -> Callable[..., Any]:
    """Cross-entropy of rows."""

    def loss(x: Any, labels: Any) -> Any:
        shifted = x - np.max(x, axis=1, keepdims=True)
        logs = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
        return -np.mean(logs[np.arange(len(labels)), labels])

    return loss


def process(np: Any) -> Callable[..., Any]:
    """A Gaussian process: its marginal likelihood by the width and the noise."""

    def loss(p: Any, x: Any, y: Any) -> Any:
        cov = np.exp(-0.5 * ((x[:, None] - x[None, :]) / p[0]) ** 2) + p[1] ** 2 * np.eye(len(x))
        factor = np.linalg.cholesky(cov)
        white = np.linalg.solve(factor, y)
        return 0.5 * np.sum(white**2) + np.sum(np.log(np.diag(factor)))

    return loss


def matrices(np: Any) -> Callable[..., Any]:
    def loss(a: Any, b: Any) -> Any:
        inverse = np.linalg.inv(a)
        return np.linalg.slogdet(a)[1] + np.sum(inverse**2) + np.sum(np.linalg.solve(a, b) ** 2) + np.linalg.norm(a)

    return loss


def markov(np: Any) -> Callable[..., Any]:
    """The likelihood of a hidden Markov model, in logarithms."""

    def loss(p: Any, seen: Any) -> Any:
        step = p[0] - np.log(np.sum(np.exp(p[0]), axis=1, keepdims=True))
        emit = p[1] - np.log(np.sum(np.exp(p[1]), axis=1, keepdims=True))
        state = emit[:, seen[0]]
        for o in seen[1:]:
            paths = state[:, None] + step
            top = np.max(paths, axis=0)
            state = top + np.log(np.sum(np.exp(paths - top), axis=0)) + emit[:, o]
        return -np.log(np.sum(np.exp(state)))

    return loss


def recurrent(np: Any) -> Callable[..., Any]:
    def loss(p: Any, xs: Any) -> Any:
        state = np.zeros((xs.shape[1], p["u"].shape[0]))
        for x in xs:
            state = np.tanh(np.dot(x, p["w"]) + np.dot(state, p["u"]))
        return np.mean(state**2)

    return loss


def stencil(np: Any) -> Callable[..., Any]:
    """Steps of heat along a rod."""

    def loss(u: Any) -> Any:
        for _ in range(15):
            inner = u[1:-1] + 0.2 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
            u = np.concatenate([u[:1], inner, u[-1:]])
        return np.sum(u**2)

    return loss


def programs() -> dict[str, Program]:
    """The ten, with their arguments; derivatives are by the first."""
    rng = numpy.random.default_rng(0)
    normal = rng.normal
    square = normal(size=(8, 8)) + 8.0 * numpy.eye(8)
    return {
        "rosenbrock": (rosenbrock, (normal(size=10),)),
        "taylor": (taylor, (0.7,)),
        "logistic": (logistic, (normal(size=10), normal(size=(100, 10)), numpy.sign(normal(size=100)))),
        "network": (
            network,
            ({"w": normal(size=(5, 16)), "b": normal(size=16), "v": normal(size=16)}, normal(size=(50, 5)), normal(size=50)),
        ),
        "softmax": (softmax, (normal(size=(50, 8)), rng.integers(0, 8, 50))),
        "process": (process, (numpy.array([1.0, 0.3]), numpy.linspace(0.0, 3.0, 20), normal(size=20))),
        "matrices": (matrices, (square, normal(size=8))),
        "markov": (markov, ([normal(size=(4, 4)), normal(size=(4, 5))], [int(k) for k in rng.integers(0, 5, 30)])),
        "recurrent": (recurrent, ({"w": normal(size=(5, 16)), "u": 0.2 * normal(size=(16, 16))}, normal(size=(20, 4, 5)))),
        "stencil": (stencil, (normal(size=50),)),
    }


def compare(name: str, program: Program, rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds of a call of both, and the median ratio. Raises AssertionError where the gradients differ."""
    import irgrad

    make, arguments = program
    ours = irgrad.grad(make(import_module("irgrad.numpy")))
    theirs = import_module("autograd").grad(make(import_module("autograd.numpy")))
    numpy.testing.assert_allclose(flat(ours(*arguments)), flat(theirs(*arguments)), rtol=1e-9, atol=1e-12)
    now = clock()

    def seconds(f: Callable[..., Any], count: int) -> float:
        start = now()
        for _ in range(count):
            f(*arguments)
        return (now() - start) / count

    count = max(1, int(SHORTEST / max(seconds(ours, 3), 1e-7)))
    pairs = [(seconds(ours, count), seconds(theirs, count)) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"case": name, "irgrad": mine, "autograd": other, "ratio": statistics.median(b / a for a, b in pairs)}


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The results as Markdown."""
    text = ["| program | irgrad, eager | autograd | / autograd |", "|---|---|---|---|"]
    text += [
        f"| {one['case']} | {seconds_text(one['irgrad'])} | {seconds_text(one['autograd'])} | {ratio_text(one['ratio'])} |" for one in found
    ]
    return [*text, f"| geometric mean | | | {ratio_text(geometric_mean([one['ratio'] for one in found]))} |"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eager", description="Eager gradients beside autograd's.")
    parser.add_argument("--case", nargs="+", metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pin(1)
    known = programs()
    unknown = [name for name in options.case or () if name not in known]
    if unknown:
        print(f"no case {unknown[0]!r}; cases: {', '.join(known)}", file=sys.stderr)
        return 2
    found = [compare(name, known[name]) for name in options.case or known]
    publish(lines(found), found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
