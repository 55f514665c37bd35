"""Which entries a Jacobian has by construction, and which of its rows and columns share a seed."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from irgrad.frontend.tracer import Tracer
from irgrad.operators.run import Run
from irgrad.operators.values import dtype_of
from irgrad.passes.adjoint import find_active
from irgrad.passes.sparsity import FULL, Colouring, Finder, Pattern, colour

Entries: TypeAlias = "tuple[Any, Any]"  # rows and columns


class Leaf:
    """An output or a marked leaf: its value, shape, number of entries and dtype."""

    __slots__ = ("dtype", "form", "shape", "size", "tracer")

    def __init__(self, leaf: Any) -> None:
        self.tracer = leaf if type(leaf) is Tracer else None
        self.form = leaf.form if type(leaf) is Tracer else leaf
        self.shape: tuple[int, ...] = np.shape(self.form)
        self.size = math.prod(self.shape)
        self.dtype = dtype_of(self.form)


class Structure:
    """Outputs and marked leaves of a run, and what of each output depends on what of each leaf."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.marks = [Leaf(mark) for mark in run.marks]
        self.outs = [Leaf(out) for out in run.outs]
        self._active: bytearray | None = None
        self._entries: list[list[Entries | None]] | None = None
        self.patterns = self.find_patterns()

    @property
    def active(self) -> bytearray:
        """Which values of the run derivatives flow through."""
        if self._active is None:
            run = self.run
            self._active = find_active(run.tape, run.start, run.stop, run.marks)
        return self._active

    def is_live(self, out: Leaf) -> bool:
        """Does any derivative flow into the output?"""
        t = out.tracer
        if t is None or out.size == 0 or out.dtype.kind not in "fc" or t.index < self.run.start:
            return False
        return bool(self.active[t.index - self.run.start])

    def find_patterns(self) -> list[Pattern]:
        """Of the outputs; `FULL` where there is nothing to gain."""
        run = self.run
        if sum(out.size for out in self.outs if self.is_live(out)) <= 1 or sum(mark.size for mark in self.marks) <= 1:
            return [FULL for _ in self.outs]
        finder = Finder(run.tape, run.start, run.stop, run.marks)
        found = [finder.found.get(out.tracer.index, FULL) if self.is_live(out) else FULL for out in self.outs]  # type: ignore[union-attr]
        return [FULL if pattern.full else pattern for pattern in found]

    @property
    def entries(self) -> list[list[Entries | None]]:
        """Row and column of each entry, by output and marked leaf; None where all are."""
        if self._entries is None:
            self._entries = [self._split(pattern) for pattern in self.patterns]
        return self._entries

    def _split(self, pattern: Pattern) -> list[Entries | None]:
        """The entries of an output by marked leaf."""
        if pattern is FULL:
            return [None] * len(self.marks)
        rows, columns = pattern.entries()
        found: list[Entries | None] = []
        first = 0
        for mark in self.marks:
            mine = (columns >= first) & (columns < first + mark.size)
            found.append((rows[mine], columns[mine] - first))
            first += mark.size
        return found

    @staticmethod
    def is_wide(rows: int, columns: int) -> bool:
        """Are there so many fewer seeds for columns than for rows that going forward is less work?"""
        return 2 * columns < rows

    def colour_rows(self, k: int) -> Colouring | None:
        pattern, size = self.patterns[k], self.outs[k].size
        if pattern is FULL:
            return None
        return _useful(colour(*pattern.entries(), size, pattern.width), size)

    def colour_columns(self, k: int) -> Colouring | None:
        """For the entries of a marked leaf, over all outputs."""
        mark = self.marks[k]
        rows, columns, height = [], [], 0
        for out, blocks in zip(self.outs, self.entries, strict=True):
            if not self.is_live(out):
                continue
            block = blocks[k]
            if block is None:
                return None
            rows.append(block[0] + height)
            columns.append(block[1])
            height += out.size
        if not rows:
            return None
        row, column = np.concatenate(rows), np.concatenate(columns)
        order = np.argsort(column, kind="stable")
        return _useful(colour(column[order], row[order], mark.size, height), mark.size)


def _useful(found: Colouring | None, size: int) -> Colouring | None:
    """A colouring that saves work."""
    return found if found is not None and 2 * found.count <= size else None
