"""Shuffles that take rows apart and put them together, as numpy indexes them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from irgrad.codegen.llvm.groups import Group, near_groups, put_together, taken_apart


def shuffled(a: np.ndarray, b: np.ndarray, mask: str) -> np.ndarray:
    picks = [None if pick == "poison" else int(pick) for pick in re.findall(r"i32 (\w+)", mask.partition("> <")[2])]
    both = np.concatenate([a, b])
    return np.array([-1 if pick is None else both[pick] for pick in picks])


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("step", [2, 3, 4, 5, 8])
def test_elements_of_rows(step: int, lanes: int) -> None:
    rows = np.arange(lanes * step).reshape(lanes, step)
    vectors = rows.reshape(step, lanes)
    for offset in range(step):
        made = vectors[0]
        for vector, mask in zip(vectors[1:], taken_apart(offset, lanes * step, step, lanes), strict=True):
            made = shuffled(made, vector, mask)
        np.testing.assert_array_equal(made, rows[:, offset])
    for number, vector in enumerate(vectors):
        made = rows[:, 0]
        for element, mask in zip(rows.T[1:], put_together(number, step, lanes), strict=True):
            made = shuffled(made, element, mask)
        np.testing.assert_array_equal(made, vector)


def test_what_moves_together() -> None:
    """Reads of any elements within a step, writes of all of them."""
    reads = [("False p", offset, 3) for offset in (4, 0, 5, 8)]
    assert near_groups(reads) == [Group(4, 5, 3), Group(0, 0, 3), Group(4, 5, 3), Group(8, 8, 3)]
    writes = [("True p", offset, 3) for offset in (2, 0, 1, 7)]
    assert near_groups(writes) == [Group(0, 2, 3)] * 3 + [None]
    assert near_groups([("False p", 0, 5), ("False q", 1, 5), ("False q", 2, 5), ("False q", 3, 5)]) == [None] + [Group(1, 3, 5)] * 3
    assert Group(0, 1, 3).count(8) == 23
