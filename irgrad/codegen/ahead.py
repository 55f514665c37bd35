"""What a loop that stores past the caches has the processor fetch: such stores take the room in which it sees by itself what comes next.

Worth it where loops do little but wait for memory: the adjoint of a Huber loss on a million elements takes 0.85 of the time, sums and
products 0.93 to 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

AHEAD = 128  # elements between what a loop works on and what it has fetched
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\(")
_LOADED = re.compile(r"load\((p\d+), @(\d+)@\)")
_LIGHT = frozenset({"load", "store", "select", "fabs", "greatest", "least", "maximum", "minimum", "sign", "sqrt", "square"})


def fetched(body: Sequence[str], axis: int, strides: Sequence[int], bases: Mapping[int, str], depth: int) -> list[str]:
    """Lines in front of a part of the loop over an axis, with what its accesses move by and begin at; none where it computes much."""
    if not _LIGHT.issuperset(call for line in body for call in _CALLED.findall(line)):
        return []
    loads = [(pointer, int(number)) for line in body for pointer, number in _LOADED.findall(line)]
    places = [
        (pointer, f"{bases[number]} + j{axis}" if number in bases else f"j{axis}") for pointer, number in loads if strides[number] == 1
    ]
    return [f"{'    ' * depth}ahead({pointer}, {at} + {AHEAD})" for pointer, at in dict.fromkeys(places)]
