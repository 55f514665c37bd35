"""Parts of concatenations are written where they belong: the nests and the memory of joined values, and what they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.lower import lower
from irgrad.codegen.lowered import Row
from tests.passes.test_fusion import kept, kinds
from tests.support.passes import plan

Function = Callable[..., Any]
RNG = np.random.default_rng(21)
A, B, C = RNG.normal(size=(3, 90))
X, Y = RNG.normal(size=(2, 30, 40))

ONE_NEST: dict[str, tuple[Function, tuple[Any, ...]]] = {
    "computed parts": (lambda a, b, c: np.concatenate([a * c, b * 2.0, np.sin(c)]), (A, B, C)),
    "views": (lambda a, b: np.concatenate([a[::-1], b]), (A, B)),
    "halves": (lambda a: np.concatenate([-a[45:], a[:45]]), (A,)),
    "stacked rows": (lambda a, b: np.stack([a * b, np.exp(a)]), (A, B)),
    "stacked columns": (lambda a, b: np.stack([a * b, b, np.exp(a)], axis=1), (A, B)),
    "side by side": (lambda x, y: np.hstack([x, y * x]), (X, Y)),
    "blocks": (lambda x, y: np.block([[x, y], [y * 2.0, x * x]]), (X, Y)),
    "one value twice": (lambda a: np.concatenate([np.sin(a), np.sin(a)]), (A,)),
    "a value and its part": (lambda a, b: (np.concatenate([a * b, b]), np.sin(a * b)), (A, B)),
}


@pytest.mark.parametrize("name", ONE_NEST)
def test_parts_of_one_extent_are_one_nest_without_memory(name: str) -> None:
    f, arguments = ONE_NEST[name]
    made = plan(f, *arguments)
    assert kinds(made) == ["nest"]
    assert kept(made) == 0
    wanted = f(*arguments)
    got = irgrad.jit(f).compile(*arguments)(*arguments)
    for x, y in zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]:
        assert x.shape == y.shape
        assert np.allclose(x, y, rtol=1e-14, atol=1e-14)


def test_products_and_running_sums_are_written_in_place() -> None:
    made = plan(lambda a: np.concatenate([[0.0], np.cumsum(a)]), A)
    assert kinds(made) == ["cumsum", "scalar"]
    assert kept(made) == 0
    made = plan(lambda x, y: np.concatenate([x, x @ y.T @ x]), X, Y)
    assert kinds(made) == ["dot", "dot", "nest"]
    assert kept(made) == 30 * 30 * 8


def test_columns_of_a_product_are_copied() -> None:
    """BLAS writes whole rows."""
    made = plan(lambda x, y: np.hstack([x @ y.T, x]), X, Y)
    assert sorted(kinds(made)) == ["dot", "nest", "nest"]


def test_rows_of_a_few_elements_are_copied_behind_the_loop_that_computes_them() -> None:
    made = plan(lambda x, y: np.hstack([np.tanh(x), y * x]), X[:, :3].copy(), Y[:, :3].copy())
    assert [each.space for each in made.clusters] == [(30, 3), (1, 30, 3)]
    assert kept(made) == 2 * 30 * 3 * 8


def test_what_others_see_through_views_has_memory_of_its_own() -> None:
    made = plan(lambda a, b: (np.concatenate([a * b, b]), np.sin((a * b)[1:])), A, B)
    assert kept(made) == A.nbytes


def test_a_whole_that_is_changed_keeps_its_parts_apart() -> None:
    """What is read of a part behind the change is the part as it was."""

    def f(a: Any, b: Any) -> Any:
        part = a * b
        whole = np.concatenate([part, b])
        whole[3:70] = 0.5
        return np.sum(np.sin(whole)) + np.sum(np.exp(part) * part[::-1])

    fast = irgrad.jit(irgrad.value_and_grad(f, (0, 1))).compile(A, B)
    value, slopes = fast(A, B)
    wanted, eager = irgrad.value_and_grad(f, (0, 1))(A, B)
    assert np.isclose(value, wanted, rtol=1e-12)
    assert all(np.allclose(x, y, rtol=1e-10, atol=1e-12) for x, y in zip(slopes, eager, strict=True))
    made = plan(f, A, B)
    assert all(made.views[index].root.op.name == "concatenate" for index in made.parts)  # type: ignore[union-attr]


def test_parts_have_scopes_of_their_own_and_may_be_split() -> None:
    n = 400_000
    a, b = RNG.normal(size=(2, n))
    (row,) = lower(plan(lambda a, b: np.concatenate([np.tanh(a), np.sin(b)]), a, b)).rows
    assert isinstance(row, Row)
    assert row.chunks is not None
    assert [line.split("(")[1] for line in row.source.splitlines() if "scoped_" in line] == [f"p, {k}, {k}, 4)" for k in range(4)]


def test_a_part_of_two_wholes_is_copied_into_the_one_of_short_rows() -> None:
    """It lives in the other, so that nobody may have a view of it."""

    def f(x: Any, y: Any, z: Any) -> Any:
        part = 0.4375 - x
        return np.sum(np.tanh(np.stack([part, y], axis=2))) + np.sum(np.tanh(np.concatenate([x, part, part, z], axis=1)) * 1.25)

    arguments = [RNG.normal(size=(3, 4)) for _ in range(3)]
    fast = irgrad.jit(irgrad.value_and_grad(f, (0, 1, 2))).compile(*arguments)
    value, slopes = fast(*arguments)
    wanted, eager = irgrad.value_and_grad(f, (0, 1, 2))(*arguments)
    assert np.isclose(value, wanted, rtol=1e-12)
    assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(slopes, eager, strict=True))
