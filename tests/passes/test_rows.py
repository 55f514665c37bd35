"""Rows: what depends on totals of a row is in later stages of the nest that makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.lower import lower
from irgrad.codegen.lowered import Ref, Row
from irgrad.config import CONFIG
from irgrad.ir.plan import Cluster
from tests.support.passes import plan


def names(nodes: list[Any]) -> str:
    return " ".join(node.op.name for node in nodes)


def staged(each: Cluster) -> list[str]:
    """One text per stage: ``once a row | in the loop``."""
    found: list[str] = []
    for number, loop in enumerate(each.loops):
        row = [node for node in each.inside if node.index in each.by_row and each.stage[node.index] == number]
        found.append(f"{names(row)} | {names([node for node in each.inside if node.index in loop])}".strip())
    return found


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    moved = x - np.max(x, axis=-1, keepdims=True)
    return moved - np.log(np.sum(np.exp(moved), axis=-1, keepdims=True))


def logsumexp(x: Any) -> Any:
    high = np.max(x, axis=-1)
    return high + np.log(np.sum(np.exp(x - high[:, None]), axis=-1))


def logsumexp_of_columns(x: Any) -> Any:
    high = np.max(x, axis=-1, keepdims=True)
    return high[:, 0] + np.log(np.sum(np.exp(x - high), axis=-1))


def layer_norm(x: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)


def variance(x: Any) -> Any:
    return np.var(x, axis=-1)


def standard(x: Any) -> Any:
    return (x - np.mean(x)) / np.std(x)


ROWS = [softmax, log_softmax, logsumexp, logsumexp_of_columns, layer_norm, variance]


def test_softmax_has_three_stages() -> None:
    (only,) = plan(softmax, np.ones((9, 20))).clusters
    assert staged(only) == ["| reduce_max", "| sub exp reduce_sum", "| div"]
    assert names([node for node in only.inside if node.index in only.row_buffers]) == "exp"


def test_cheap_values_are_computed_again() -> None:
    (only,) = plan(log_softmax, np.ones((9, 20))).clusters
    assert staged(only) == ["| reduce_max", "| sub exp reduce_sum", "log | sub sub"]
    assert not only.row_buffers


def test_totals_that_nobody_else_reads_have_no_memory() -> None:
    made = plan(logsumexp, np.ones((9, 20)))
    (only,) = made.clusters
    assert staged(only) == ["| reduce_max", "| sub exp reduce_sum", "log add |"]
    assert len(made.stored) == 1


@pytest.mark.parametrize("f", ROWS)
def test_one_nest_and_memory_for_one_row(f: Callable[..., Any]) -> None:
    """Values, and all of the gradient: one kernel, and no buffer but the result longer than a row."""
    x = np.ones((9, 20))
    for each in (f, irgrad.grad(lambda x: np.sum(f(x) ** 2))):
        made = plan(each, x)
        assert len(made.clusters) == 1
        lowered = lower(made)
        result = lowered.exports[0].aval.nbytes
        assert sorted(lowered.buffers)[-1:] == [result]
        assert all(size <= x[0].nbytes for size in sorted(lowered.buffers)[:-1])


def test_totals_of_everything_are_rows_where_the_array_is_small() -> None:
    assert len(plan(standard, np.arange(500.0)).clusters) == 1
    assert len(plan(standard, np.arange(50_000.0)).clusters) == 3


def test_totals_over_the_rows_are_taken_as_the_rows_pass() -> None:
    """The gradients of a layer norm by its scale and shift are in the one nest that makes the gradient by its argument."""

    def loss(x: Any, scale: Any, shift: Any) -> Any:
        return np.sum(np.sin(layer_norm(x) * scale + shift))

    made = plan(irgrad.grad(loss, (0, 1, 2)), np.ones((9, 30)), np.ones(30), np.ones(30))
    (only,) = made.clusters
    assert len(only.by_column) == 2
    assert len(made.stored) == 3
    (row,) = lower(made).rows
    assert isinstance(row, Row)
    assert sum(isinstance(place, Ref) and place.home[0] == "slot" for place in row.pointers) == 3


def test_totals_of_columns_have_stages_in_panels() -> None:
    (only,) = plan(lambda x: x / np.sum(x, axis=0), np.ones((100, 300))).clusters
    assert only.panel == 256
    assert staged(only) == ["| reduce_sum", "| div"]
    made = plan(standard_columns, np.arange(4000.0 * 300).reshape(4000, 300))
    assert made.clusters[0].panel == 128  # fewer would be slow, as each row is on another page


def standard_columns(x: Any) -> Any:
    return (x - np.mean(x, axis=0)) / np.std(x, axis=0)


def softmax_columns(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=0))
    return e / np.sum(e, axis=0)


def test_long_columns_with_few_totals_have_nests_of_their_own() -> None:
    """Where panels save no more than a pass over memory, walking along rows is faster."""
    for f, tall in ((lambda x: x / np.sum(x, axis=0), 128), (softmax_columns, 512), (standard_columns, 8192)):
        for length in (tall, tall + 1):
            x = np.linspace(-1.0, 1.0, length * 20).reshape(length, 20) + 2.0
            assert (len(plan(f, x).clusters) == 1) == (length == tall)
            np.testing.assert_allclose(irgrad.jit(f).compile(x)(x), f(x), rtol=1e-12, atol=1e-12)
    gradient = irgrad.grad(lambda x: np.sum(np.sin(softmax_columns(x))))
    assert len(plan(gradient, np.ones((600, 20))).clusters) == 1  # two more totals


def test_totals_across_memory_in_another_order_are_no_columns() -> None:
    assert len(plan(lambda x: x / np.sum(x, axis=0), np.ones((20_000, 300))).clusters) == 2
    assert len(plan(lambda x: x.T / np.sum(x.T, axis=1, keepdims=True), np.ones((200, 300))).clusters) == 2


def test_short_rows_have_no_loops_and_no_memory() -> None:
    """Along any axis: a variable for each element, and one loop over the rows, in which nothing is read twice."""
    for f, shape in [(logsumexp, (900, 10)), (lambda x: x / np.sum(x, axis=0), (5, 900)), (lambda x: np.sum(x, axis=(0, 2)), (2, 900, 3))]:
        made = plan(f, np.ones(shape))
        (only,) = made.clusters
        assert only.unrolled
        assert not only.row_buffers
        (row,) = lower(made).rows
        assert isinstance(row, Row)
        assert row.source.count("for ") == 1
        assert row.source.count("load(p0") == np.prod(shape) / 900


def test_long_code_and_long_rows_have_loops() -> None:
    def chain(x: Any) -> Any:
        for _ in range(40):
            x = np.sin(x) * x
        return np.sum(x, axis=-1)

    assert not any(each.unrolled for each in plan(chain, np.ones((900, 10))).clusters)
    assert not plan(logsumexp, np.ones((900, 17))).clusters[0].unrolled
    assert not plan(lambda x: np.sum(np.sin(x)), np.ones(12)).clusters[0].unrolled


def test_costly_code_once_a_row_of_moderate_length_joins_it() -> None:
    assert len(plan(logsumexp, np.ones((900, 20))).clusters) == 1


def test_a_total_of_another_row_is_no_total_of_this_row() -> None:
    """The same shapes, but the totals run along the columns or backwards."""
    x = np.arange(400.0).reshape(20, 20)
    for f in (lambda x: x / np.sum(x, axis=1), lambda x: x / np.sum(x, axis=1)[::-1, None]):
        assert len(plan(f, x).clusters) == 2


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("shape", [(9, 20), (4, 300), (1, 40), (40, 1), (3, 2, 130), (2, 129), (30, 3), (2, 2, 10)], ids=str)
def test_values_and_gradients(shape: tuple[int, ...], native: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", not native)
    if not native and np.prod(shape) > 400:
        pytest.skip("slow as plain Python")
    x, w = rng.normal(size=(2, *shape))
    centre = rng.normal(size=shape[-1])

    def parts(x: Any) -> tuple[Any, ...]:
        moved = x - np.mean(x, axis=-1, keepdims=True)
        scale = np.sqrt(np.sum(moved**2, axis=-1) + 1.0)
        y = softmax(x * centre) * w + log_softmax(x) * centre
        across = tuple(range(np.ndim(x) - 1))
        return (
            y,
            scale,
            np.sum(y, axis=across),
            np.max(x * scale[..., None], axis=across),
            np.max(np.abs(moved / scale[..., None]), axis=-1),
            np.exp(-scale) * np.min(x, axis=-1),
            standard(x),
        )

    def loss(x: Any) -> Any:
        y, scale, down, peak, high, low, far = parts(x)
        return np.sum(y**2) + np.sum(down * peak) + np.sum(scale * high) + np.sum(np.sin(low)) + np.sum(far**3)

    for f in (parts, irgrad.grad(loss)):
        want = f(x)
        jitted = irgrad.jit(f, compile_after=1)
        jitted(x)
        got = jitted(x)
        for g, want_part in zip(got, want, strict=True):
            np.testing.assert_allclose(g, want_part, rtol=1e-10, atol=1e-12)
    assert isinstance(lower(plan(softmax, x)).rows[0], Row)
