"""``python -m benchmarks.overhead [--json F]``: what a call of a compiled gradient costs besides arithmetic.

Every function is a sum of squares of arrays of eight numbers, so that the arithmetic is some ten nanoseconds. Beside it, in turn in one
process, the gradient by hand in Numba and `jax.jit(jax.grad(f))`, where they are installed. Differences are medians over rounds of a call
of irgrad less one of the other function in the same round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import clock, pin
from benchmarks.peers import flat
from benchmarks.report import publish, ratio_text, seconds_text

ROUNDS = 201
CALLS = 500  # of each side in a round
SIZE = 8

A0, A1, A2, A3, A4 = (np.full(SIZE, 1.0 + k) for k in range(5))
S0, S1, S2, S3, S4 = 1.5, 2.5, 3.5, 4.5, 5.5


def one(np: Any) -> Callable[..., Any]:
    return lambda x: np.sum(x * x)


def scaled(np: Any) -> Callable[..., Any]:
    return lambda x, scale, shift=0.0: np.sum(scale * x * x) + shift


def arithmetic(np: Any) -> Callable[..., Any]:
    """What `capturing` computes, with literals."""
    return lambda x: np.sum(x * x * 1.0 + 2.0 + 3.0 + 4.0 + 5.0) * 1.5 * 2.5 * 3.5 * 4.5 * 5.5


def capturing(np: Any) -> Callable[..., Any]:
    return lambda x: np.sum(x * x * A0 + A1 + A2 + A3 + A4) * S0 * S1 * S2 * S3 * S4


def leaves(np: Any) -> Callable[..., Any]:
    """The sum of squares of all arrays of a nested value."""

    def total(p: Any) -> Any:
        if isinstance(p, dict):
            return sum(total(part) for part in p.values())
        if isinstance(p, (list, tuple)):
            return sum(total(part) for part in p)
        return np.sum(p * p)

    return total


@dataclass
class Form:
    """A function of a numpy, and its arguments; `target`: the most seconds of a call, or above a call of the one that `above` names."""

    name: str
    make: Callable[[Any], Callable[..., Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: float | None = None
    above: str = ""


def forms() -> list[Form]:
    x = np.linspace(0.1, 1.0, SIZE)
    arrays = [x + k for k in range(20)]
    named = {f"w{k}": v for k, v in enumerate(arrays)}
    nested = {"layers": [{"w": arrays[2 * k], "b": arrays[2 * k + 1]} for k in range(9)], "last": (arrays[18], arrays[19])}
    return [
        Form("one array", one, (x,), {}, 1.0e-6, "Numba"),
        Form("one array by keyword", one, (), {"x": x}, 1.0e-6, "Numba"),
        Form("an array and a float", scaled, (x, 2.0), {}, 1.0e-6, "Numba"),
        Form("an array, an int and a float by keyword", scaled, (x, 2), {"shift": 0.5}, 1.0e-6, "Numba"),
        Form("ten captured values", capturing, (x,), {}, 0.5e-6, "the same with literals"),
        Form("a list of 20 arrays", leaves, (arrays,), {}, 12e-6),
        Form("a dict of 20 arrays", leaves, (named,), {}, 12e-6),
        Form("20 arrays in nested dicts, lists and tuples", leaves, (nested,), {}, 12e-6),
    ]


def by_hand() -> dict[str, Callable[..., Any]]:
    """Gradients in Numba by the name of the form; none where Numba is missing."""
    try:
        import numba
    except ImportError:
        return {}

    def scaled_slope(x: Any, scale: Any) -> Any:
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = 2.0 * scale * x[i]
        return out

    compiled = numba.njit(scaled_slope)
    plain = numba.njit(lambda x: compiled(x, 1.0))
    return {
        "one array": plain,
        "one array by keyword": plain,
        "an array and a float": numba.njit(lambda x, scale: compiled(x, scale)),
        "an array, an int and a float by keyword": numba.njit(lambda x, scale, shift: compiled(x, scale)),
    }


def in_jax(form: Form) -> Callable[[], Any] | None:
    """A call of ``jax.jit(jax.grad(f))`` with its arrays on the device; None without JAX or where `form` has NumPy's arrays in it."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    compiled = jax.jit(jax.grad(form.make(jax.numpy)))
    args, kwargs = jax.tree.map(jax.numpy.asarray, (form.args, form.kwargs))
    first = next(iter(kwargs.values())) if not args else None
    if first is not None:  # jax.grad differentiates positional arguments only
        args, kwargs = (first,), {}
    return lambda: jax.block_until_ready(compiled(*args, **kwargs))


def measure(form: Form, hand: dict[str, Callable[..., Any]], rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, Any]:
    """Median seconds of a call of every side, and of what irgrad takes above the others. Raises AssertionError for a wrong gradient."""
    import irgrad

    gradient = irgrad.grad(form.make(np))
    compiled = irgrad.jit(gradient)
    sides: dict[str, Callable[[], Any]] = {"irgrad": lambda: compiled(*form.args, **form.kwargs)}
    if form.make is capturing:
        without = irgrad.jit(irgrad.grad(arithmetic(np)))
        sides["the same with literals"] = lambda: without(*form.args)
    if form.name in hand:
        function, values = hand[form.name], (*form.args, *form.kwargs.values())
        sides["Numba"] = lambda: function(*values)
    jax = in_jax(form)
    if jax is not None:
        sides["JAX"] = jax
    wanted = flat(gradient(*form.args, **form.kwargs))
    for call in sides.values():
        for _ in range(3):
            found = call()
        np.testing.assert_allclose(flat(found), wanted, rtol=1e-12)
    assert compiled.stats().eager_calls <= 1
    now = clock()
    columns: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            start = now()
            for _ in range(calls):
                call()
            columns[name].append((now() - start) / calls)
    above = {name: statistics.median(a - b for a, b in zip(columns["irgrad"], column, strict=True)) for name, column in columns.items()}
    return {
        "form": form.name,
        "calls": {name: statistics.median(column) for name, column in columns.items()},
        "above": above,
        "target": form.target,
        "of": form.above,
    }


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The results as Markdown."""
    text = ["| arguments | irgrad | Numba | JAX | | target |", "|---|---|---|---|---|---|"]
    for result in found:
        calls, other = result["calls"], result["of"]
        seconds = result["above"].get(other) if other else calls["irgrad"]
        held = "" if seconds is None else f"{seconds * 1e6:+.2f} us against {other}" if other else f"{ratio_text(seconds * 1e6)} us"
        target = "" if result["target"] is None else f"at most {result['target'] * 1e6:.1f} us"
        cells = [result["form"], *(seconds_text(calls.get(name)) for name in ("irgrad", "Numba", "JAX")), held, target]
        text.append(f"| {' | '.join(cells)} |")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="What a call costs besides its arithmetic.")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pin(1)
    hand = by_hand()
    found = [measure(form, hand) for form in forms()]
    publish(lines(found), found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
