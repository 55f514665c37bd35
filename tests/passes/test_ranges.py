"""Elementwise work on concatenations by ranges: the nests and the memory it takes, and random programs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.passes.ranges import ranges
from tests.passes.test_fusion import kept, kinds, loss
from tests.support.passes import check_unchanged, plan

Function = Callable[..., Any]
RNG = np.random.default_rng(23)
A, B, C = RNG.normal(size=(3, 90))
X, Y = RNG.normal(size=(2, 30, 128))


def softmax(x: Any, axis: int) -> Any:
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def gates(x: Any, y: Any) -> Any:
    i, f, o, g = np.split(x + y, 4, axis=1)
    return np.tanh(i) * np.tanh(g) + f * np.tanh(o)


ONE_NEST: dict[str, tuple[Function, tuple[Any, ...]]] = {
    "a function of joined values": (lambda a, b, c: np.tanh(np.concatenate([a, b * 2.0, c])), (A, B, C)),
    "a sum": (lambda a, b, c: np.sum(np.concatenate([a, b * 2.0, c]) ** 2), (A, B, C)),
    "rows": (lambda a, b: np.sum(np.stack([a * b, np.sin(b)]) ** 2, axis=0), (A, B)),
    "columns": (lambda a, b, c: np.log(np.sum(np.exp(np.stack([a * b, b, c], axis=1)), axis=1)), (A, B, C)),
    "the largest of rows": (lambda a, b: np.max(np.stack([a, b * b, a + b]), axis=0), (A, B)),
    "side by side": (lambda x, y: np.tanh(np.hstack([x, y * x])), (X, Y)),
    "blocks": (lambda x, y: np.block([[x, y], [y * 2.0, x * x]]) ** 2, (X, Y)),
    "halves": (lambda x: np.concatenate([-x[:, 64:], x[:, :64]], axis=1) * np.sin(x) + x * np.cos(x), (X,)),
    "probabilities of rows": (lambda a, b: softmax(np.stack([a, b, a * b]), 0), (A, B)),
    "probabilities side by side": (lambda x, y: softmax(np.hstack([x, y * 2.0]), 1), (X, Y)),
    "gates": (gates, (X, Y)),
}


@pytest.mark.parametrize("name", ONE_NEST)
def test_one_nest_without_memory(name: str) -> None:
    f, arguments = ONE_NEST[name]
    for g in (f, irgrad.grad(loss(f), tuple(range(len(arguments))))):
        made = plan(g, *arguments)
        assert kinds(made) == ["nest"]
        assert kept(made) == 0


FEW_NESTS: dict[str, tuple[Function, tuple[Any, ...], int]] = {
    "differences with an end": (lambda a, b: np.sum(np.append(np.diff(a), 0.0) ** 2 * b), (A, B), 1),
    "a turn": (lambda a: np.sum(np.sin(a) * np.roll(a, 1)), (A,), 1),
    "neighbours": (lambda a: np.sum((np.roll(a, 1) - 2.0 * a + np.roll(a, -1)) ** 2), (A,), 1),
    "a margin": (lambda a: np.sum(np.sin(np.pad(a, 3) * 2.0)), (A,), 1),
    "two extents": (lambda a, x: np.sum(np.concatenate([a, x[0]]) ** 2), (A, X), 2),
}


@pytest.mark.parametrize("name", FEW_NESTS)
def test_a_nest_for_each_extent(name: str) -> None:
    f, arguments, count = FEW_NESTS[name]
    made = plan(f, *arguments)
    assert kinds(made) == ["nest"] * count
    assert kept(made) <= 8 * count


def test_totals_that_come_back_are_one_nest_with_rows() -> None:
    """Ranges of several extents would be several."""
    made = plan(lambda x, y: softmax(np.hstack([x, y[:, :7]]), 1), X, Y)
    assert kinds(made) == ["nest", "nest", "nest"]
    assert kept(made) == 30 * 135 * 8


def test_short_rows_stay_together() -> None:
    """A loop over everything is faster than one over a few elements of each row in turn."""
    made = plan(lambda x, y: np.tanh(np.hstack([x, y * x])), X[:, :20].copy(), Y[:, :20].copy())
    assert [each.space for each in made.clusters] == [(30, 20), (30, 40)]
    assert kept(made) == 30 * 40 * 8


def test_left_alone() -> None:
    """What is small, an output, read by others, or only moved."""
    check_unchanged(
        ranges,
        """
        graph f(x: f64[40], y: f64[50], z: f64[3]) -> (f64[90], f64[90], f64[90], f64[6], f64[90])
        primal
          %0: f64[90] = concatenate[axis=0] %x %y
          %1: f64[90] = sin %0
          %2: f64[90] = concatenate[axis=0] %y %x
          %3: f64[90] = sin %2
          %4: f64[90] = cumsum[axis=0] %2
          %5: f64[6]  = concatenate[axis=0] %z %z
          %6: f64[6]  = sin %5
          %7: f64[90] = concatenate[axis=0] %y %x
          %8: f64[90] = cumsum[axis=0] %7
        return %0, %1, %3, %6, %8
        """,
    )


def _program(seed: int) -> tuple[str, dict[str, Any]]:
    """Text of a random function of joined values, and its arguments."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    shape = draw.choice([(70,), (33,), (9, 12), (12, 9), (4, 5, 7)])
    arguments = {name: rng.normal(size=shape) for name in ("x", "y")}
    known, lines = dict(arguments), []

    def of(value: Any) -> str:
        return draw.choice(["{}", "({} * 2.0)", "np.sin({})", "(-{})", "({} ** 2)", "np.tanh({})"]).replace("{}", value)

    for number in range(draw.randint(3, 8)):
        a = draw.choice(list(known)[-4:])
        there = known[a]
        axis = draw.randrange(max(there.ndim, 1))
        n, before = there.shape[axis] if there.ndim else 0, ":, " * axis
        like = [k for k, v in known.items() if v.shape == there.shape]
        b = draw.choice(like)
        choices = [f"{of(a)} * {of(b)}", f"{of(a)} + {of(b)}", f"np.where({a} > 0.1, {of(a)}, {of(b)})"]
        if n > 3:
            k = draw.randrange(1, n)
            choices += [
                f"np.concatenate([{of(a)}, {of(b)}], axis={axis})",
                f"np.concatenate([{of(a)}, {b}[{before}{k}:], {of(a)}[{before}:{k}]], axis={axis})",
                f"np.stack([{of(a)}, {of(b)}, {of(a)}], axis={draw.randrange(there.ndim + 1)})",
                f"np.roll({of(a)}, {draw.choice([1, -2, 3])}, axis={axis})",
                f"np.pad({of(a)}, {draw.choice([1, '(0, 2)'])}, constant_values={draw.choice([0.0, 1.5])})",
                f"np.diff({of(a)}, axis={axis})",
                f"np.append({of(a)}, {b})",
                f"{draw.choice(['np.sum', 'np.max', 'np.mean'])}({of(a)}, axis={axis}, keepdims={draw.random() < 0.5})",
                f"{of(a)} / (1.0 + np.sum({of(b)} ** 2, axis={axis}, keepdims=True))",
                f"{of(a)}[{before}{k}:]",
            ]
        text = draw.choice(choices)
        made = eval(text, {"np": np, **known})
        if made.size < 3000 and np.abs(made).max() < 1e3:
            known[f"v{number}"] = made
            lines.append(f"    v{number} = {text}\n")
    results = [k for k in known if k not in arguments][-2:] or ["x"]
    total = " + ".join(f"np.sum({k} * np.cos(np.arange({known[k].size}.0).reshape({known[k].shape})))" for k in results)
    return f"def f(x, y):\n{''.join(lines)}    return {total} + np.sum(x * x * y)\n", arguments


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    """Values are numpy's, gradients those of eager mode and of central differences, to order 2."""
    text, arguments = _program(seed)
    space: dict[str, Any] = {"np": np}
    exec(text, space)
    f, (x, y) = space["f"], arguments.values()
    fast = irgrad.jit(irgrad.value_and_grad(f, (0, 1))).compile(x, y)
    value, slopes = fast(x, y)
    assert np.isclose(value, f(x, y), rtol=1e-11, atol=1e-11), text
    eager = irgrad.grad(f, (0, 1))(x, y)
    for got, wanted in zip(slopes, eager, strict=True):
        assert np.allclose(got, wanted, rtol=1e-9, atol=1e-9 * (1 + np.abs(wanted).max())), text
    d = np.cos(np.arange(float(x.size))).reshape(x.shape)
    step = 1e-6
    central = (f(x + step * d, y + step * d) - f(x - step * d, y - step * d)) / (2 * step)
    scale = 1 + sum(np.abs(s * d).sum() for s in slopes)
    assert abs(central - sum(np.sum(s * d) for s in slopes)) < 1e-5 * scale, text

    def along(x: Any, y: Any) -> Any:
        return np.sum(irgrad.grad(f)(x, y) * d)

    curved, wanted = irgrad.jit(irgrad.grad(along)).compile(x, y)(x, y), irgrad.grad(along)(x, y)
    assert np.allclose(curved, wanted, rtol=1e-8, atol=1e-8 * (1 + np.abs(wanted).max())), text
