"""Patterns of values and colours of rows: by construction, never too small."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irgrad.passes.sparsity import FULL, Finder, Pattern, colour, from_entries
from tests.support.rules import Tape

X = np.linspace(0.1, 1.2, 12)


def pattern_of(f: Callable[[Any, Any], Any], x: Any = X) -> Any:
    """The pattern of f(b, x) as a matrix of bools; None if it is full."""
    b = Tape()
    mark = b.input(x)
    out = f(b, mark)
    found = Finder(b.nodes, 0, len(b.nodes), [mark]).found[out.index]
    if found is FULL:
        return None
    made = np.zeros((found.size, found.width), bool)
    made[found.entries()] = True
    return made


def region(start: int, count: int, step: int = 1) -> dict[str, Any]:
    return {"start": (start,), "count": (count,), "step": (step,), "drop": ()}


EYE = np.eye(12, dtype=bool)
PATTERNS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "entrywise": (lambda b, x: b.mul(b.sin(x), x), EYE),
    "part": (lambda b, x: b.slice(x, **region(10, 5, -2)), EYE[10:0:-2]),
    "neighbours": (lambda b, x: b.mul(b.slice(x, **region(1, 11)), b.slice(x, **region(0, 11))), EYE[1:] | EYE[:-1]),
    "sum": (lambda b, x: b.reduce_sum(x, axes=(0,)), np.ones((1, 12), bool)),
    "sums of rows": (
        lambda b, x: b.reduce_sum(b.reshape(x, shape=(3, 4)), axes=(1,)),
        np.kron(np.eye(3, dtype=bool), np.ones((1, 4), bool)),
    ),
    "padded": (lambda b, x: b.pad(x, 0.0, low=(1,), high=(2,)), np.pad(EYE, ((1, 2), (0, 0)))),
    "joined": (lambda b, x: b.concatenate(b.sin(x), np.ones(2), x, axis=0), np.concatenate([EYE, np.zeros((2, 12), bool), EYE])),
    "written": (lambda b, x: b.slice_update(x, b.slice(x, **region(0, 2)), **region(5, 2)), EYE[[0, 1, 2, 3, 4, 0, 1, 7, 8, 9, 10, 11]]),
    "added": (lambda b, x: b.slice_add(x, b.slice(x, **region(0, 2)), **region(5, 2)), EYE | np.roll(EYE, 5, 0) & (np.arange(12) < 2)),
    "turned": (lambda b, x: b.transpose(b.reshape(x, shape=(3, 4)), axes=(1, 0)), EYE[np.arange(12).reshape(3, 4).T.ravel()]),
    "repeated": (lambda b, x: b.broadcast_to(x, shape=(2, 12)), np.tile(EYE, (2, 1))),
    "rows times matrix": (
        lambda b, x: b.dot(b.reshape(x, shape=(3, 4)), np.ones((4, 2))),
        np.kron(np.eye(3, dtype=bool), np.ones((2, 4), bool)),
    ),
    "index arrays are data": (lambda b, x: b.gather(b.reshape(x, shape=(3, 4)), np.array([0])), np.tile(np.eye(4, dtype=bool), 3)),
    "constants": (lambda b, x: b.where(np.arange(12) > 3, x, 0.0), EYE),
    "windows": (
        lambda b, x: b.correlate(b.reshape(x, shape=(1, 1, 12)), np.ones((1, 1, 3))),
        np.array([[i <= j < i + 3 for j in range(12)] for i in range(10)]),
    ),
    "windows with a margin": (
        lambda b, x: b.correlate(b.reshape(x, shape=(1, 1, 12)), np.ones((1, 1, 3)), low=(2,), high=(1,)),
        np.array([[i - 2 <= j <= i for j in range(12)] for i in range(13)]),
    ),
    "lines": (lambda b, x: b.cumsum(b.reshape(x, shape=(3, 4)), axis=1), np.kron(np.eye(3, dtype=bool), np.ones((4, 4), bool))),
    "anything else": (lambda b, x: b.inv(b.reshape(b.slice(x, **region(0, 4)), shape=(2, 2))), np.tile(np.arange(12) < 4, (4, 1))),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name: str) -> None:
    f, expected = PATTERNS[name]
    np.testing.assert_array_equal(pattern_of(f), expected)


def test_large_full_patterns_are_not_kept() -> None:
    assert pattern_of(lambda b, x: b.dot(np.ones((400, 12)), x)) is None
    assert pattern_of(lambda b, x: b.concatenate(x, b.dot(np.ones((400, 12)), x), axis=0)) is None


def test_no_derivative_flows_into_whole_numbers_and_through_stops() -> None:
    b = Tape()
    mark = b.input(X)
    b.mul(b.floor(mark), b.stop_gradient(mark))
    b.greater(mark, 0.0)
    assert set(Finder(b.nodes, 0, len(b.nodes), [mark]).found) == {mark.index}


def coloured(matrix: Any) -> Any:
    rows, columns = np.nonzero(matrix)
    return colour(rows, columns, *matrix.shape)


@pytest.mark.parametrize(
    ("matrix", "count"),
    [
        (np.eye(9), 1),
        (np.eye(9)[::-1], 1),
        (np.eye(9) + np.eye(9, k=1) + np.eye(9, k=-1), 3),
        (np.kron(np.eye(5), np.ones((3, 4))), 3),
        (np.concatenate([np.eye(9), np.ones((1, 9))]), 2),
        (np.zeros((4, 3)), 1),
        (np.eye(10) + np.roll(np.eye(10), 1, 0), 2),
        (np.eye(11) + np.roll(np.eye(11), 1, 0), 3),
    ],
    ids=["diagonal", "turned", "band", "blocks", "one full row", "empty", "even ring", "odd ring"],
)
def test_colours(matrix: Any, count: int) -> None:
    found = coloured(matrix)
    assert found is not None and found.count == count
    for number in range(count):
        assert (matrix[found.colours == number] != 0).sum(0).max(initial=0) <= 1


def test_random_patterns_are_coloured_validly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        size, width = int(rng.integers(1, 40)), int(rng.integers(1, 30))
        matrix = rng.random((size, width)) < rng.choice([0.02, 0.1])
        found = coloured(matrix)
        if found is not None:
            assert found.colours.max() < found.count
            assert all(matrix[found.colours == number].sum(0).max() <= 1 for number in set(found.colours.tolist()))


def test_what_shares_a_column_with_most_has_no_colours() -> None:
    assert coloured(np.ones((6, 2))) is None


def test_entries_may_come_in_any_order_and_repeatedly() -> None:
    made = from_entries(np.array([2, 0, 2, 2]), np.array([1, 3, 0, 1]), 4, 5)
    assert made.starts.tolist() == [0, 1, 1, 3, 3] and made.columns.tolist() == [3, 0, 1]
    assert isinstance(made, Pattern) and not made.full


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_random_entries_are_sorted_and_distinct(count: int) -> None:
    rng = np.random.default_rng(count)
    rows, columns = rng.integers(0, 20, count), rng.integers(0, 6, count)
    made = from_entries(rows, columns, 20, 6)
    matrix = np.zeros((20, 6), bool)
    matrix[rows, columns] = True
    assert [each.tolist() for each in made.entries()] == [each.tolist() for each in np.nonzero(matrix)]


JACOBIANS = """
import sys
import numpy as np
import irgrad
x = np.linspace(0.0, 1.0, 20)
f = lambda x: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
jitted = irgrad.jit(irgrad.hessian(f)).compile(x)
assert jitted(x).shape == (20, 20)
print([name for name in sys.modules if name.split(".")[:2] == ["numpy", "ma"] or name.startswith("scipy")])
"""


def test_a_hessian_imports_no_masked_arrays() -> None:
    """What finds patterns must not need them: 1.4 MB."""
    done = subprocess.run([sys.executable, "-c", JACOBIANS], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
