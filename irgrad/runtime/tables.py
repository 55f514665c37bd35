"""The tables of a program while it is built: rows, references, sizes and outcomes of guards, which paths that come later add to."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from irgrad.codegen.compile import Kernel
from irgrad.codegen.layout import OP_GUARD

_PLAIN, _SIZES, _OUTCOMES = 0, 1, 2  # what the last word of a row is: itself, or a place in the sizes or in the outcomes


class Tables:
    """Rows of four words. A guard's outcomes are (count, outcome, row, outcome, row, ...); those of a guard that gets more move."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.kinds = array("b")
        self.refs = array("q")
        self.sizes = array("q", [0])
        self.places: dict[tuple[Any, ...], int] = {}
        self.outcomes = array("q", [0])
        self.callees: list[Kernel] = []  # which rows call by number until `arrays`
        self.numbers: dict[str, int] = {}  # of callees, by name
        self.called: list[tuple[int, Kernel]] = []  # places of the sizes where addresses of kernels go
        self.known: dict[Any, tuple[int, list[int]]] = {}  # guard -> its row, and its outcomes so far

    @property
    def num_rows(self) -> int:
        return len(self.kinds)

    def row(self, what: int, a: int = 0, b: int = 0, c: int = 0, kind: int = _PLAIN) -> None:
        self.rows.extend((what, a, b, c))
        self.kinds.append(kind)

    def kernel(self, kernel: Kernel, refs: list[int], sizes: list[int], callees: dict[int, Kernel] | None = None) -> None:
        """A row that calls a kernel with pointers and sizes; equal sizes are stored once.

        `callees` are kernels whose addresses are sizes, by place.
        """
        self.row(self._callee(kernel), len(self.refs), len(refs), self._place(sizes, callees), _SIZES)
        self.refs.extend(refs)

    def later(self, refs: list[int]) -> int:
        """The number of a row with these references, whose kernel and sizes `settle` gives."""
        self.row(-1, len(self.refs), len(refs), 0, _SIZES)
        self.refs.extend(refs)
        return self.num_rows - 1

    def settle(self, row: int, kernel: Kernel, sizes: list[int]) -> None:
        self.rows[4 * row], self.rows[4 * row + 3] = self._callee(kernel), self._place(sizes, None)

    def _callee(self, kernel: Kernel) -> int:
        number = self.numbers.setdefault(kernel.name, len(self.callees))
        if number == len(self.callees):
            self.callees.append(kernel)
        return number

    def _place(self, sizes: list[int], callees: dict[int, Kernel] | None) -> int:
        names = tuple((place, callee.name) for place, callee in callees.items()) if callees else ()
        key = (*sizes, *names)
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = len(self.sizes) if sizes else 0
            if callees:
                self.called += [(place + at, callee) for at, callee in callees.items()]
            self.sizes.extend(sizes)
        return place

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
        """Rows, references, sizes and outcomes, with the addresses of these and of kernels, which are settled, in the rows."""
        rows, refs, sizes, outcomes = (
            np.array(part, np.int64) if len(part) else np.zeros(1, np.int64) for part in (self.rows, self.refs, self.sizes, self.outcomes)
        )
        kinds = np.frombuffer(self.kinds, np.int8)
        for at, callee in self.called:
            sizes[at] = callee.address
        calls = kinds == _SIZES
        if self.callees:
            rows[0::4][calls] = np.array([kernel.address for kernel in self.callees], np.int64)[rows[0::4][calls]]
        last = rows[3::4]
        for kind, table in ((_SIZES, sizes), (_OUTCOMES, outcomes)):
            chosen = kinds == kind
            last[chosen] = last[chosen] * 8 + table.ctypes.data
        return rows, refs, sizes, outcomes
