"""Which entries a Jacobian has by construction, and which of its rows and columns share a seed."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from irgrad.frontend.tracer import Tracer
from irgrad.operators.run import Run
from irgrad.operators.values import dtype_of
from irgrad.passes.adjoint import find_active
from irgrad.passes.sparsity import FULL, Colouring, Finder, Pattern, chosen, colour, dense_rows

Entries: TypeAlias = "tuple[Any, Any]"  # rows and columns


_NONE = np.zeros(0, np.int64)


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

    def colour_columns(self, k: int, entries: list[list[Entries | None]] | None = None) -> Colouring | None:
        """For the entries of a marked leaf, over all outputs; or for some of the entries."""
        mark = self.marks[k]
        rows, columns, height = [], [], 0
        for out, blocks in zip(self.outs, self.entries if entries is None else entries, strict=True):
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

    def mixed(self, limit: int) -> Mixed | None:
        """Long rows by cotangents, the entries of the others by tangents, where that may take no more than `limit` seeds."""
        counts = [
            np.diff(pattern.starts) if self.is_live(out) and pattern is not FULL else _NONE
            for pattern, out in zip(self.patterns, self.outs, strict=True)
        ]
        together = np.concatenate(counts)
        if not len(together):
            return None
        long, least = dense_rows(together)
        if least > limit:
            return None
        rows: list[Colouring | None] = []
        first = 0
        for count in counts:
            mine = long[(long >= first) & (long < first + len(count))] - first
            first += len(count)
            rows.append(chosen(mine, len(count)) if len(count) else None)
        found = Mixed(self, rows)
        return found if found.count <= limit else None


class Mixed:
    """A Jacobian in two parts: for each output the rows with seeds of their own (None: all), and colours for the rest of each leaf."""

    def __init__(self, structure: Structure, rows: list[Colouring | None]) -> None:
        s = structure
        self.rows = rows
        self.rest: list[list[Entries | None]] = []
        for found, blocks in zip(rows, s.entries, strict=True):
            if found is None:
                self.rest.append([(_NONE, _NONE)] * len(s.marks))
                continue
            left = [(entries[0], entries[1], found.colours[entries[0]] < 0) for entries in blocks if entries is not None]
            self.rest.append([(row[kept], column[kept]) for row, column, kept in left])
        self.columns = [s.colour_columns(k, self.rest) for k in range(len(s.marks))]
        backward = sum(out.size if found is None else found.count for found, out in zip(rows, s.outs, strict=True) if s.is_live(out))
        self.count = backward + sum(mark.size if c is None else c.count for c, mark in zip(self.columns, s.marks, strict=True))


def _useful(found: Colouring | None, size: int) -> Colouring | None:
    """A colouring that saves work."""
    return found if found is not None and 2 * found.count <= size else None
