"""Sums of gathered rows: added up as they are read, with numpy's bits, and only where nobody else reads the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.passes.legalize import legalize
from irgrad.test_util import check_grads

RNG = np.random.default_rng(3)
TABLE = RNG.normal(size=(30, 16))
CUBE = RNG.normal(size=(5, 6, 2, 9))
BAGS = RNG.integers(-30, 30, (7, 4))

SUMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "bags": (lambda x, i: np.sum(x[i], axis=1), (TABLE, BAGS)),
    "one bag": (lambda x, i: np.sum(x[i], axis=0), (TABLE, BAGS[0])),
    "kept": (lambda x, i: np.sum(x[i], axis=1, keepdims=True), (TABLE, BAGS)),
    "means": (lambda x, i: np.mean(x[i], axis=1) * 3.0, (TABLE, BAGS)),
    "of columns": (lambda x, i: np.sum(x.T[i], axis=1), (TABLE, BAGS % 16)),
    "of reversed rows": (lambda x, i: np.sum(x[::-2, ::-1][i], axis=1), (TABLE, BAGS % 15)),
    "bags of another layout": (lambda x, i: np.sum(x[i.T], axis=1), (TABLE, BAGS)),
    "deep": (lambda x, i: np.sum(x[i], axis=2), (TABLE, RNG.integers(0, 30, (2, 3, 5)))),
    "two indices": (lambda x, i, j: np.sum(x[i, j], axis=1), (CUBE, BAGS % 5, BAGS % 6)),
    "indices that broadcast": (lambda x, i, j: np.sum(x[i, j], axis=1), (CUBE, np.arange(5)[:, None], np.arange(-6, 6))),
    "narrow integers": (lambda x, i: np.sum(x[i.astype(np.int8)], axis=1), (TABLE, BAGS)),
    "single precision": (lambda x, i: np.sum(x[i], axis=1), (TABLE.astype(np.float32), BAGS)),
    "complex": (lambda x, i: np.sum(x[i], axis=1), (TABLE + 1j * TABLE[::-1], BAGS)),
    "integers": (lambda x, i: np.sum(x[i], axis=1), ((100 * TABLE).astype(np.int64), BAGS)),
    "many": (lambda x, i: np.sum(x[i], axis=1), (TABLE, RNG.integers(0, 30, (900, 300)))),
    "no rows": (lambda x, i: np.sum(x[i], axis=1), (TABLE, np.zeros((3, 0), int))),
    "with nan": (lambda x, i: np.sum(x[i], axis=1), (np.where(TABLE > 1.5, np.nan, np.where(TABLE < -1.5, np.inf, TABLE)), BAGS)),
}


def names(f: Callable[..., Any], *arguments: Any) -> list[str]:
    graph, _ = irgrad.optimized(irgrad.trace(f)(*arguments))
    legalize(graph)
    return [node.op.name for node in graph.nodes() if node.op is not None]


@pytest.mark.parametrize("name", SUMS)
def test_bits_are_numpys(name: str) -> None:
    f, arguments = SUMS[name]
    made = names(f, *arguments)
    assert "gather" not in made or name in ("no rows",)
    assert ("gather_sum" in made) == (name != "no rows")
    jitted = irgrad.jit(f).compile(*arguments)
    got, want = jitted(*arguments), f(*arguments)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    assert np.array_equal(got, want, equal_nan=want.dtype.kind in "fc")


LEFT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "rows read twice": (lambda x, i: (lambda r: np.sum(r, axis=1) + np.max(r, axis=1))(x[i]), (TABLE, BAGS)),
    "rows handed out": (lambda x, i: (lambda r: (r, np.sum(r, axis=1)))(x[i]), (TABLE, BAGS)),
    "the first axis": (lambda x, i: np.sum(x[i], axis=0), (TABLE, BAGS)),
    "elements of rows": (lambda x, i: np.sum(x[i], axis=2), (TABLE, BAGS)),
    "everything": (lambda x, i: np.sum(x[i]), (TABLE, BAGS)),
    "short rows": (lambda x, i: np.sum(x[i], axis=1), (TABLE[:, :3], BAGS)),
    "elements": (lambda x, i: np.sum(x[i], axis=1), (TABLE[:, 0], BAGS)),
    "another dtype": (lambda x, i: np.sum(x[i], axis=1), ((100 * TABLE).astype(np.int8), BAGS)),
}


@pytest.mark.parametrize("name", LEFT)
def test_rows_that_are_read_elsewhere_are_gathered(name: str) -> None:
    f, arguments = LEFT[name]
    assert "gather_sum" not in names(f, *arguments)
    got, want = irgrad.jit(f).compile(*arguments)(*arguments), f(*arguments)
    for one, other in zip(got if isinstance(got, tuple) else (got,), want if isinstance(want, tuple) else (want,), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_derivatives() -> None:
    def loss(x: Any) -> Any:
        return np.sum(np.sin(np.sum(x[BAGS], axis=1)) ** 2)

    check_grads(loss, order=2, modes=["fwd", "rev"])(TABLE)
    for each in (irgrad.grad(loss), irgrad.grad(lambda x: np.sum(irgrad.grad(loss)(x) ** 3))):
        np.testing.assert_allclose(irgrad.jit(each).compile(TABLE)(TABLE), each(TABLE), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bad", [30, -31])
def test_an_index_outside_is_numpys_error(bad: int) -> None:
    jitted = irgrad.jit(lambda x, i: np.sum(x[i], axis=1)).compile(TABLE, BAGS)
    wrong = BAGS.copy()
    wrong[3, 2] = bad
    with pytest.raises(IndexError, match="out of bounds"):
        jitted(TABLE, wrong)
    assert np.array_equal(jitted(TABLE, BAGS), np.sum(TABLE[BAGS], axis=1))
