"""Elements near one another: read as whole vectors and taken apart, or put together and written as whole vectors.

Where each iteration has the next `step` elements, as many vectors hold those of all iterations. An element of each iteration is picked
from them by shuffles of two vectors at a time, which take less time than to gather it as long as the step is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

NEAR = 256  # bits: the largest step
FEW = 4  # elements: a step that pays for a single element


class Group(NamedTuple):
    """Elements `first` to `last` of each iteration's, `step` apart from those of the next."""

    first: int
    last: int
    step: int

    def count(self, lanes: int) -> int:
        """How many elements so many iterations have, and those between them."""
        return (lanes - 1) * self.step + self.last - self.first + 1


def near_groups(accesses: Sequence[tuple[str, int, int]]) -> list[Group | None]:
    """For each access (what it is to, offset, step) the group that it moves with, None where it pays to go by itself.

    Accesses to the same memory have the same first word, which begins with True for writes.
    """
    offsets: dict[tuple[str, int], set[int]] = {}
    for key, offset, step in accesses:
        offsets.setdefault((key, step), set()).add(offset)
    found = {key: list(_groups(known, key[1], key[0].startswith("True"))) for key, known in offsets.items()}
    return [next((g for g in found[key, step] if g.first <= offset <= g.last), None) for key, offset, step in accesses]


def _groups(offsets: set[int], step: int, is_store: bool) -> Iterator[Group]:
    """Groups no wider than a step: of writes complete ones, of reads those that hold enough."""
    left = sorted(offsets)
    while left:
        members = [offset for offset in left if offset - left[0] < step]
        if len(members) == step or (not is_store and (step <= FEW or 2 * len(members) >= step)):
            yield Group(members[0], members[-1], step)
        left = left[len(members) :]


@cache
def taken_apart(offset: int, count: int, step: int, lanes: int) -> list[str]:
    """Masks of shuffles that make a vector of elements that begin at `offset` of `count` ones in vectors, `step` apart.

    The first one is of the first two vectors, each other one of what the one before made and the next vector.
    """
    places = [divmod(offset + k * step, lanes) for k in range(lanes)]
    return [
        _mask(
            lanes + element if vector == number else (element if number == 1 else lane) if vector < number else None
            for lane, (vector, element) in enumerate(places)
        )
        for number in range(1, -(-count // lanes))
    ]


@cache
def put_together(number: int, step: int, lanes: int) -> list[str]:
    """Masks of shuffles that make one of `step` vectors of elements that iterations have side by side, of a vector for each of them."""
    places = [divmod(number * lanes + lane, step) for lane in range(lanes)]
    return [
        _mask(
            lanes + iteration if element == other else (iteration if other == 1 else lane) if element < other else None
            for lane, (iteration, element) in enumerate(places)
        )
        for other in range(1, step)
    ]


def _mask(picks: Iterable[int | None]) -> str:
    """For each lane the element of two vectors side by side, or none."""
    found = ["i32 poison" if pick is None else f"i32 {pick}" for pick in picks]
    return f"<{len(found)} x i32> <{', '.join(found)}>"
