"""Recomputation between nests: what is stored, and that the answers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.lower import lower
from irgrad.codegen.nest import Nest, NestText, Reduction
from irgrad.ir.plan import Plan
from irgrad.passes import again
from tests.support.passes import plan


def stored(made: Plan) -> list[int]:
    """Bytes of the values that have memory, the largest first."""
    return sorted((made.graph[index].aval.nbytes for index in made.stored), reverse=True)


def k_means(centres: Any, points: Any) -> Any:
    return np.sum(np.min(np.sum((points[:, None, :] - centres) ** 2, axis=2), axis=1))


def costly(centres: Any, points: Any) -> Any:
    return np.sum(np.min(np.sum(np.exp(points[:, None, :] - centres), axis=2), axis=1))


CENTRES, POINTS = np.random.default_rng(1).normal(size=(10, 8)), np.random.default_rng(2).normal(size=(600, 8))


def test_differences_of_all_pairs_are_not_stored() -> None:
    assert stored(plan(irgrad.grad(k_means), CENTRES, POINTS))[0] == 600 * 10 * 8
    (*_, last) = plan(irgrad.grad(k_means), CENTRES, POINTS).clusters
    assert next(node.op.name for node in last.inside if node.op is not None) == "sub"


def test_costly_values_and_small_ones_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored(plan(irgrad.grad(costly), CENTRES, POINTS))[0] == 600 * 10 * 8 * 8
    assert stored(plan(irgrad.grad(k_means), CENTRES, POINTS[:20]))[0] == 20 * 10 * 8 * 8
    monkeypatch.setattr(again, "LARGE", 1)
    assert stored(plan(irgrad.grad(k_means), CENTRES, POINTS[:20]))[0] == 20 * 10 * 8


def test_results_and_what_is_changed_in_place_are_stored() -> None:
    def both(x: Any, y: Any) -> Any:
        z = x[:, None] - y
        return z, np.sum(z * z, axis=0)

    def changed(x: Any, y: Any) -> Any:
        a = x * 1.5
        z = a[:, None] - y
        total = np.sum(z, axis=1)
        a[:40] = total[:40]
        return np.sum(z * total[:, None], axis=0) + np.sum(a)

    x, y = np.linspace(0, 1, 90), np.linspace(1, 2, 80)
    assert stored(plan(both, x, y))[0] == 90 * 80 * 8
    for f in (both, changed):
        found, exact = irgrad.jit(f).compile(x, y)(x, y), f(x, y)
        for one, other in zip(found, exact, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("f", [k_means, costly], ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(10, 8), (7, 3), (5, 1), (1, 3), (20, 2), (4, 17)], ids=str)
def test_answers(f: Callable[..., Any], shape: tuple[int, int], rng: np.random.Generator) -> None:
    centres, points = rng.normal(size=shape), rng.normal(size=(700, shape[1]))
    for number in (0, 1):
        gradient = irgrad.grad(f, number)
        np.testing.assert_allclose(irgrad.jit(gradient).compile(centres, points)(centres, points), gradient(centres, points), rtol=1e-11)


def forces(x: Any) -> Any:
    d = x[None] - x[:, None]
    return np.sum(d / (np.sum(d * d, axis=2) + 0.01)[..., None] ** 1.5, axis=1)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_totals_side_by_side(width: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, width))
    fast = irgrad.jit(irgrad.grad(lambda x: np.sum(forces(x) ** 2))).compile(x)
    np.testing.assert_allclose(fast(x), irgrad.grad(lambda x: np.sum(forces(x) ** 2))(x), rtol=1e-10)


def test_few_totals_side_by_side_are_in_variables() -> None:
    nest = Nest((30, 40, 3), (1,))
    nest.access("x", (120, 3, 1))
    out = nest.access("o", (3, 0, 1))
    nest.body.append("v1 = load(x, @0@)")
    nest.reductions.append(Reduction("a0", "sum", "float64", "0.0", "v1", lambda a, b: f"{a} + {b}", out))
    lines, sizes = NestText(nest, 0).write()
    text = "\n".join(lines)
    assert text.count("for ") == 2
    assert text.count("load(x") == text.count("store(o") == text.count("add_any_order(a0_") == 3
    assert sizes[:3] == [30, 40, 3]


def test_rows_of_the_plan_have_text() -> None:
    assert len(lower(plan(irgrad.grad(k_means), CENTRES, POINTS)).rows) == 3


@pytest.mark.parametrize("shape", [(256, 64), (130, 257)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_totals_that_are_read_by_what_is_computed_again_stay_in_their_nest(
    axis: int, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    """The gradient of a maximum is a total, code once a column and a choice; the choice is made again behind an update, from memory."""

    def loss(x: Any) -> Any:
        lse = np.log(np.sum(np.exp(x - np.max(x, axis=axis, keepdims=True)), axis=axis, keepdims=True))
        part = x[:, 3:] if axis == 0 else x[3:]
        return np.sum((lse + x) * np.cos(np.arange(x.size).reshape(x.shape))) + np.sum(
            part * np.cos(np.arange(part.size).reshape(part.shape))
        )

    gradient, args = irgrad.grad(loss), (rng.normal(size=shape),)
    np.testing.assert_allclose(irgrad.jit(gradient).compile(*args)(*args), gradient(*args), rtol=1e-10, atol=1e-10)
    made = plan(gradient, *args)
    for each in made.clusters:
        totals = {node.index for node in each.inside if node.op is not None and node.op.name.startswith("reduce_")}
        for node in each.inside:
            for operand in node.operands:
                if getattr(operand, "index", None) in totals:
                    assert each.stage[node.index] > each.stage[operand.index]  # type: ignore[union-attr]


def test_copies_are_in_front_of_all_their_users(rng: np.random.Generator) -> None:
    """Rewriting leaves users in another order than that of the program."""

    def loss(x: Any) -> Any:
        return np.sum(weights * np.abs(np.fft.rfft(x)) ** 2)

    weights, x, d = rng.normal(size=(256, 129)), rng.normal(size=(256, 256)), rng.normal(size=(256, 256))
    second = irgrad.grad(lambda x: np.sum(irgrad.grad(loss)(x) * d))
    np.testing.assert_allclose(irgrad.jit(second).compile(x)(x), second(x), rtol=1e-9, atol=1e-9)
