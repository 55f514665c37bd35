"""Random programs of matrix products and what stands between them, for arrays that are gone through a panel of rows at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad

PAIRS = (
    "{a} * {b}", "{a} + {b}", "{a} - {b}", "np.tanh({a}) * {b}", "np.exp(-abs({a})) * {b}", "{a} + {b}[0]", "{a}[:, None] * {b}",
    "{a}.T - {b}", "{a} * {b}[:, :1]",
)  # fmt: skip
ALONE = (
    "np.sin({a})", "{a} ** 2", "np.where({a}.real > 0, {a}, 0.1 * {a})", "{a}.sum(1)", "{a}.sum(0)", "{a}.mean() * {a}",
    "{a}.sum(1, keepdims=True) + {a}", "np.max(abs({a}), 1)", "{a} - {a}.sum(0)", "np.exp({a} - np.max({a}.real, 1, keepdims=True))",
    "{a}[1:]", "{a}[::-1]", "{a}[:, 1:]", "{a}[:, ::2]", "np.concatenate([{a}, {a}], -1)", "np.cumsum({a}, 0)", "{a}.copy()",
)  # fmt: skip


class _Program:
    def __init__(self, seed: int) -> None:
        self.r, self.rng = random.Random(seed), np.random.default_rng(seed)
        rows, inner = self.r.choice([37, 64, 65, 100, 129, 257]), self.r.choice([1, 3, 8, 20, 33])
        columns = self.r.choice([5, 17, 33, rows])
        self.dtype = self.r.choice([np.float64] * 5 + [np.float32, np.complex128])
        shapes = {"x": (rows, inner), "w": (inner, columns), "v": (columns, inner), "u": (rows, columns), "y": (rows,), "c": (columns,)}
        self.arguments = {name: self.array(shape) for name, shape in shapes.items()}
        self.values: dict[str, Any] = {**self.arguments, "np": np}
        self.lines: list[str] = []

    def array(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        made = self.rng.normal(size=shape) / np.sqrt(shape[-1])
        if self.dtype is np.complex128:
            made = made + 1j * self.rng.normal(size=shape)
        made = made.astype(self.dtype)
        kind = self.r.random()
        return np.asfortranarray(made) if kind < 0.15 else made[::-1] if kind < 0.2 else made

    def name(self) -> str:
        known = [name for name, value in self.values.items() if isinstance(value, np.ndarray)]
        return self.r.choice(known[-5:] if self.r.random() < 0.6 else known)

    def step(self) -> bool:
        a, b = (self.name() + self.r.choice(["", "", ".T"]) for _ in range(2))
        kind = self.r.random()
        text = f"{self.r.choice(['', '', '', '0.5 * ', '-'])}({a} @ {b})" if kind < 0.5 else self.r.choice(PAIRS if kind < 0.75 else ALONE)
        text = text.format(a=a, b=b)
        try:
            value = eval(text, dict(self.values))
        except (ValueError, IndexError, np.exceptions.AxisError):
            return False
        if not isinstance(value, np.ndarray) or not 0 < value.size < 80_000 or not np.abs(value).max() < 1e3:
            return False
        name = f"v{len(self.lines)}"
        self.lines.append(f"    {name} = {text}")
        self.values[name] = value
        return True


def program(seed: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function of numpy's, or its gradient, and its arguments."""
    made = _Program(seed)
    while len(made.lines) < 3 + seed % 6:
        made.step()
    names = [f"v{k}" for k in range(len(made.lines))]
    chosen = made.r.sample(names, min(len(names), made.r.choice([1, 2, 3])))
    what = ", ".join(chosen)
    if seed % 4:
        what = " + ".join(f"np.sum(abs({name}) ** 2)" if made.dtype is np.complex128 else f"np.sum(np.cos({name}))" for name in chosen)
    source = "\n".join([f"def f({', '.join(made.arguments)}):", *made.lines, f"    return {what}", ""])
    space: dict[str, Any] = {"np": np}
    exec(source, space)
    operator = (None, irgrad.grad, irgrad.value_and_grad, irgrad.grad)[seed % 4]
    active = tuple(sorted(made.r.sample(range(6), 2)))
    return (space["f"] if operator is None else operator(space["f"], active)), tuple(made.arguments.values())
