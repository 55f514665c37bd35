"""Stacks of small products in one loop with what is around them: what is a cluster of items, and that the answers are numpy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.test_util import check_grads
from tests.support.passes import plan

Array = Any
COUNT = 24


def draw(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


R, S, P, M = draw(COUNT, 3, 3), draw(COUNT, 3, 3) / 2, draw(COUNT, 3), draw(3, 3)


def unit(q: Array) -> Array:
    return q / np.sqrt(np.sum(q * q, axis=1, keepdims=True))


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "matrices": (lambda r, s: (2.0 * r) @ s - 1.0, (R, S)),
    "points": (lambda r, p: np.einsum("nij,nj->ni", r, p) ** 2, (R, P)),
    "points as columns": (lambda r, p: (r @ p[:, :, None])[:, :, 0] * p, (R, P)),
    "one after the other": (lambda r, s, p: (r @ s @ p[..., None])[..., 0], (R, S, P)),
    "transposes and slices": (lambda r, s: np.swapaxes(r @ s, 1, 2)[:, :2] * s[:, 1:, ::-1], (R, S)),
    "a form": (lambda r, p: np.einsum("ni,nij,nj->n", p, r, p), (R, P)),
    "unit vectors": (lambda r, p: unit((r @ unit(p)[..., None])[..., 0]), (R, P)),
    "one matrix for all": (lambda r, m: np.maximum(r @ np.broadcast_to(m, r.shape), 0.1 * r), (R, M)),
    "greatest": (lambda r, s: np.max(r @ s, axis=(1, 2)), (R, S)),
    "a stack of two axes": (lambda r, s: (r @ s) * (s - r), (R.reshape(4, 6, 3, 3), S.reshape(4, 6, 3, 3))),
}


def loss(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: np.sum(f(*arguments) ** 3)


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_loop(name: str) -> None:
    f, arguments = PROGRAMS[name]
    made = plan(f, *arguments)
    assert [each.kind for each in made.clusters] == ["items"]
    assert made.stored == {made.clusters[0].inside[-1].index}
    if name not in ("one matrix for all", "transposes and slices"):  # whose cotangents are sums over the stack, and of slices
        made = plan(irgrad.grad(loss(f), tuple(range(len(arguments)))), *arguments)
        assert [each.kind for each in made.clusters] == ["items"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_derivatives(name: str, dtype: str) -> None:
    f, arguments = PROGRAMS[name]
    arguments = tuple(x.astype(dtype) for x in arguments)
    bound = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(irgrad.jit(f).compile(*arguments)(*arguments), f(*arguments), rtol=bound, atol=bound)
    places = tuple(range(len(arguments)))
    gradient = irgrad.grad(loss(f), places)
    compiled = irgrad.jit(gradient).compile(*arguments)
    for got, want in zip(compiled(*arguments), gradient(*arguments), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=20 * bound, atol=20 * bound * np.max(np.abs(want)))
    if dtype == "float64":
        check_grads(loss(f), places, order=2)(*[x[:2] if x.shape[0] == COUNT else x for x in arguments])
        along = tuple(np.sin(3.0 * x + 1.0) for x in arguments)
        pushed = irgrad.jit(lambda xs, ts: irgrad.make_jvp(lambda xs: loss(f)(*xs))(xs)(ts)[1]).compile(arguments, along)(arguments, along)
        np.testing.assert_allclose(pushed, sum(np.sum(g * t) for g, t in zip(compiled(*arguments), along, strict=True)), rtol=1e-9)


@pytest.mark.parametrize("layout", ["F", "backwards", "steps", "moved"])
def test_items_in_any_layout(layout: str) -> None:
    layouts = {"F": np.asfortranarray(R), "backwards": R[::-1], "steps": np.repeat(R, 2, axis=2)[..., ::2]}
    r = layouts.get(layout, np.moveaxis(np.moveaxis(R, 0, 2).copy(), 2, 0))
    for f, arguments in (PROGRAMS["one after the other"], PROGRAMS["transposes and slices"]):
        arguments = (r, *arguments[1:])
        np.testing.assert_allclose(irgrad.jit(f).compile(*arguments)(*arguments), f(*arguments), rtol=1e-12, atol=1e-12)


def test_chunks_have_the_values_of_the_whole() -> None:
    f, _ = PROGRAMS["matrices"]
    r, s = draw(60_000, 3, 3), draw(60_000, 3, 3)
    compiled = irgrad.jit(f).compile(r, s)
    assert compiled.stats().parallel_rows == 1
    assert np.array_equal(compiled(r, s)[-100:], irgrad.jit(f).compile(r[-100:], s[-100:])(r[-100:], s[-100:]))
    np.testing.assert_allclose(compiled(r, s), f(r, s), rtol=1e-12, atol=1e-12)


def test_what_stays_a_kernel_of_its_own() -> None:
    """A product without neighbours, functions that are better in vectors along memory, matrices that fill vectors, and few of them."""
    wide = draw(COUNT, 4, 4)
    for f, arguments in (
        (lambda r, s: r @ s, (R, S)),
        (lambda r, s: np.tanh(r @ s), (R, S)),
        (lambda r, s: 2.0 * (r @ s), (wide, wide)),
        (lambda r, s: 2.0 * (r @ s), (R[:5], S[:5])),
    ):
        assert "items" not in [each.kind for each in plan(f, *arguments).clusters]
