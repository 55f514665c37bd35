"""Collections of cyclic garbage while a trace is recorded and linked: none, and none of what was recorded right behind it.

What a trace leaves is kept for long and hardly part of a cycle: CPython's young collections would go over millions of objects, twice,
for nothing. They become old objects at once instead: `gc.freeze` and `gc.unfreeze` move them without a look at them. What is moved
does not count for CPython when it decides on a full collection, so it is counted here.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

FEW = 2_000  # new objects that a collection may as well look at
MANY = 1_000_000  # objects that are moved before the old ones are collected


class _Moved:
    """How many objects were moved since the last full collection, and how many old ones there were then."""

    objects = 0
    old = 0


@contextmanager
def paused_gc() -> Iterator[None]:
    """No collections while millions of small objects are made and kept: they would find nothing (3.9 against 2.0 us an operation)."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            pass_over()
            gc.enable()


def pass_over() -> None:
    """Make old objects of all new ones, where these are many; collects where garbage may have come together (a quarter, as in CPython).

    What the process has frozen itself stays so: nothing is moved then. Python 3.12 freezes a few hundred objects at its start: those do
    not matter.
    """
    count = gc.get_count()[0]
    if count < FEW or gc.get_freeze_count() >= FEW:
        return
    _Moved.objects += count
    if _Moved.objects > max(MANY, _Moved.old // 4):
        gc.collect()
        _Moved.objects, _Moved.old = 0, len(gc.get_objects(2))
    else:
        gc.freeze()
        gc.unfreeze()
