"""Batches of seeds: every rule against the operation done seed by seed, with the seeds along the first and along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irgrad.ir.primitive import REGISTRY
from irgrad.passes.adjoint import CONCRETE
from irgrad.passes.batch import BatchBuilder, TooLarge
from irgrad.passes.batch_rules import RULES, Batched

RNG = np.random.default_rng(3)
B = "batched"


def draw(*shape: int) -> Any:
    return RNG.normal(size=shape)


REGION = {"start": (2, 0), "count": (1, 3), "step": (1, 2), "drop": (0,)}
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("mul", ((B, 3, 4), draw(4)), {}),
    ("mul", (draw(3, 1), (B, 3, 4)), {}),
    ("mul", (draw(2, 3, 4), (B, 3, 4)), {}),
    ("mul", ((B,), draw(3)), {}),
    ("div", ((B, 3), draw(3)), {}),
    ("add", ((B, 3), (B, 3)), {}),
    ("add", ((B,), (B, 2, 3)), {}),
    ("add", ((B, 3), draw(2, 3)), {}),
    ("where", (draw(4) > 0, (B, 4), 0.0), {}),
    ("where", (draw(4) > 0, 1.0, (B, 4)), {}),
    ("neg", ((B, 2, 2),), {}),
    ("reshape", ((B, 2, 6),), {"shape": (3, 4)}),
    ("transpose", ((B, 2, 3, 4),), {"axes": (2, 0, 1)}),
    ("broadcast_to", ((B, 3),), {"shape": (2, 3)}),
    ("broadcast_to", ((B, 3),), {"shape": (3,)}),
    ("full", ((B,),), {"shape": (2, 3), "dtype": "float64"}),
    ("concatenate", ((B, 2, 3), draw(1, 3), (B, 2, 3)), {"axis": 0}),
    ("pad", ((B, 3), 0.0), {"low": (1,), "high": (2,)}),
    ("pad", (draw(3), (B,)), {"low": (1,), "high": (2,)}),
    ("slice", ((B, 4, 6),), REGION),
    ("slice_add", ((B, 4, 6), draw(3)), REGION),
    ("slice_add", (draw(4, 6), (B, 3)), REGION),
    ("slice_update", ((B, 4, 6), (B, 3)), REGION),
    ("slice_update", ((B, 4, 6), 0.0), REGION),
    ("gather", ((B, 4, 3), np.array([0, 3, 3])), {}),
    ("gather", ((B, 4, 3), np.array([[0], [2]]), np.array([1, 1, 0])), {}),
    ("gather", ((B, 4), np.int64(2)), {}),
    ("scatter_add", ((B, 4, 3), draw(3, 3), np.array([0, 3, 3])), {}),
    ("scatter_add", (draw(4), (B, 2), np.array([1, 1])), {}),
    ("scatter_add", (draw(4, 3), (B, 3), np.array([1, 2])), {}),
    ("scatter_update", ((B, 4), (B, 2), np.array([1, 3])), {}),
    ("reduce_sum", ((B, 2, 3, 4),), {"axes": (0, 2)}),
    ("reduce_sum", ((B, 2, 3),), {"axes": (0, 1)}),
    ("cumsum", ((B, 2, 3),), {"axis": 1}),
    ("fft", ((B, 4),), {"axes": (0,), "inverse": False, "norm": "backward"}),
    ("rfft", ((B, 2, 4),), {"axis": 1, "norm": "ortho"}),
    ("irfft", ((B, 3),), {"axis": 0, "n": 4, "norm": "forward"}),
    ("dot", ((B, 4), draw(4)), {}),
    ("dot", ((B, 4), draw(4, 3)), {}),
    ("dot", ((B, 2, 4), draw(4)), {}),
    ("dot", ((B, 2, 4), draw(4, 3)), {}),
    ("dot", (draw(4), (B, 4)), {}),
    ("dot", (draw(2, 4), (B, 4)), {}),
    ("dot", (draw(4), (B, 4, 3)), {}),
    ("dot", (draw(2, 4), (B, 4, 3)), {}),
    ("batch_dot", ((B, 2, 3, 4), draw(2, 4, 5)), {}),
    ("batch_dot", (draw(2, 3, 4), (B, 2, 4, 5)), {}),
    ("correlate", ((B, 2, 3, 7), draw(4, 3, 2)), {}),
    ("correlate", (draw(2, 3, 7), (B, 4, 3, 2)), {}),
    ("solve", (draw(3, 3) + 4 * np.eye(3), (B, 3, 2)), {"trans": True}),
    ("solve", (draw(2, 3, 3) + 4 * np.eye(3), (B, 2, 3, 1)), {"trans": False}),
    ("solve_triangular", (draw(3, 3) + 4 * np.eye(3), (B, 3, 2)), {"lower": True, "trans": False, "unit": False}),
    ("solve_sylvester", (draw(2, 2) + 4 * np.eye(2), draw(3, 3) + 4 * np.eye(3), (B, 2, 3)), {}),
]


def test_every_rule_has_a_case() -> None:
    assert set(RULES) <= {name for name, _, _ in CASES} | {"scan", "cond", "checkpoint", "while_loop", "pick"}


@pytest.mark.parametrize("single", [False, True], ids=["all entries", "one entry each"])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{name} {k}" for k, (name, _, _) in enumerate(CASES)])
def test_rules(number: int, last: bool, single: bool) -> None:
    name, operands, params = CASES[number]
    if any(np.prod(o[1:]) == 1 for o in operands if isinstance(o, tuple)):
        single = False
    sizes = [int(np.prod(o[1:])) for o in operands if isinstance(o, tuple)]
    count = min(*sizes, 3) if single else 3
    b = BatchBuilder(CONCRETE, count, last)
    made: list[Any] = []
    rows: list[list[Any]] = []
    for operand in operands:
        if not isinstance(operand, tuple):
            made.append(operand)
            rows.append([operand] * count)
            continue
        shape = operand[1:]
        if single:
            place = int(np.prod(shape)) - count
            values = draw(count)
            each = np.zeros((count, int(np.prod(shape))))
            each[np.arange(count), place + np.arange(count)] = values
            made.append(Batched(values, shape, values.dtype, place))
            rows.append(list(each.reshape(count, *shape)))
        else:
            each = draw(count, *shape)
            made.append(Batched(np.moveaxis(each, 0, -1) if last else each, shape, each.dtype))
            rows.append([row[()] for row in each])
    op = REGISTRY[name]
    expected = [op.evaluate(*[row[j] for row in rows], **params) for j in range(count)]
    before = [np.array(o, copy=True) for o in operands if isinstance(o, np.ndarray)]
    found = getattr(b, name)(*made, **params)
    assert found.shape == np.shape(expected[0])
    got = b.leading(found)
    np.testing.assert_allclose(got, np.stack(expected), rtol=1e-12, atol=1e-13)
    assert found.dtype == np.result_type(expected[0])
    for o, kept in zip([o for o in operands if isinstance(o, np.ndarray)], before, strict=True):
        np.testing.assert_array_equal(o, kept)


@pytest.mark.parametrize("last", [False, True])
def test_single_entries_stay_single_through_entrywise_operations(last: bool) -> None:
    b = BatchBuilder(CONCRETE, 4, last)
    seed = Batched(None, (4,), np.dtype(float), 0)
    y = np.array([np.inf, 2.0, np.nan, 3.0])
    found = b.neg(b.mul(b.mul(seed, y), 2.0))
    assert found.place == 0
    np.testing.assert_array_equal(b.dense(found).value, np.where(np.eye(4) > 0, -2.0 * y, 0.0))
    w = draw(4, 3)
    rows = b.dot(seed, w) if not last else b.dot(w.T, seed)
    assert rows.value.base is w or rows.value is w
    np.testing.assert_array_equal(b.leading(rows), w)


def test_factors_are_multiplied_once() -> None:
    b = BatchBuilder(CONCRETE, 4, False)
    w, c, d = draw(4, 3), draw(3), draw(3)
    found = b.mul(b.mul(b.dot(Batched(None, (4,), w.dtype, 0), w), c), d)
    assert found.value is w and found.by_entry.shape == (3,)
    np.testing.assert_allclose(b.dense(found).value, w * c * d, rtol=1e-15)


def test_batches_have_a_limit() -> None:
    b = BatchBuilder(CONCRETE, 4, False, limit=40)
    small = b.mul(b.broadcast_to(Batched(np.ones(4), (), np.dtype(float)), shape=(10,)), 2.0)
    assert small.shape == (10,)
    with pytest.raises(TooLarge):
        b.add(small, np.ones((2, 10)))
