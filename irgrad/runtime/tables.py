"""The tables of a program while it is built: rows, references, sizes and outcomes of guards, which paths that come later add to."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from irgrad.codegen.layout import OP_GUARD

_PLAIN, _SIZES, _OUTCOMES = 0, 1, 2  # what the last word of a row is: itself, or a place in the sizes or in the outcomes


class Tables:
    """Rows of four words. A guard's outcomes are (count, outcome, row, outcome, row, ...); those of a guard that gets more move."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.kinds = array("b")
        self.refs = array("q")
        self.sizes = array("q", [0])
        self.places: dict[tuple[int, ...], int] = {}
        self.outcomes = array("q", [0])
        self.known: dict[Any, tuple[int, list[int]]] = {}  # guard -> its row, and its outcomes so far

    @property
    def num_rows(self) -> int:
        return len(self.kinds)

    def row(self, what: int, a: int = 0, b: int = 0, c: int = 0, kind: int = _PLAIN) -> None:
        self.rows.extend((what, a, b, c))
        self.kinds.append(kind)

    def kernel(self, address: int, refs: list[int], sizes: list[int]) -> None:
        """A row that calls a kernel with pointers and sizes; equal sizes are stored once."""
        key = tuple(sizes)
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = len(self.sizes) if sizes else 0
            self.sizes.extend(sizes)
        self.row(address, len(self.refs), len(refs), place, _SIZES)
        self.refs.extend(refs)

    def guard(self, node: Any, at: int, width: int) -> None:
        """A row that compares the value at `at`; no outcome is known yet."""
        self.known[node] = (self.num_rows, [0])
        self.row(OP_GUARD, at, width, 0, _OUTCOMES)

    def go_on(self, node: Any, outcome: int, row: int) -> None:
        """Let the guard of `node` continue at `row` for an outcome."""
        at, outcomes = self.known[node]
        outcomes[0] += 1
        outcomes += (outcome, row)
        self.rows[4 * at + 3] = len(self.outcomes)
        self.outcomes.extend(outcomes)

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Rows, references, sizes and outcomes, with the addresses of these in the rows."""
        rows, refs, sizes, outcomes = (
            np.array(part, np.int64) if len(part) else np.zeros(1, np.int64) for part in (self.rows, self.refs, self.sizes, self.outcomes)
        )
        kinds = np.frombuffer(self.kinds, np.int8)
        last = rows[3::4]
        for kind, table in ((_SIZES, sizes), (_OUTCOMES, outcomes)):
            chosen = kinds == kind
            last[chosen] = last[chosen] * 8 + table.ctypes.data
        return rows, refs, sizes, outcomes
