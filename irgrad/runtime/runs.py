"""Runs: rows with one straight-line kernel, one after the other, which become rows of a kernel with a loop over its uses.

Which text a straight-line kernel gets is settled once all rows are known, so that a program compiles one for each: the kernel with the
loop, where there is a run, also for uses that stand alone. So the number of kernels does not depend on how often a user's loop runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from irgrad.codegen.compile import Kernel
from irgrad.codegen.program import REF_BITS
from irgrad.codegen.repeat import BASE, LEAST, Pattern, Repeat, Table, alone, analysed, covers, form, join, segments, sizes_of, text
from irgrad.runtime.tables import Tables

MANY = 64  # uses from which paths that come later may ask for a kernel of their own
SHORT = 4096  # references of a run whose analysis is kept
MOST = 3  # texts of repeat kernels of one kernel
Forms: TypeAlias = "dict[str, list[Pattern | None]]"  # the texts that a kernel has got, None for itself


@dataclass(slots=True)
class Waiting:
    """Rows of a kernel whose text is not settled: numbers of rows with the references of one use each, and with runs."""

    uses: list[tuple[int, list[int]]] = field(default_factory=list)
    runs: list[tuple[int, Repeat]] = field(default_factory=list)


class Runs:
    """Collects rows until one with another kernel comes, and settles their texts at the end; `ask` gives a text's kernel.

    `forms` are the texts that earlier programs of the function have.
    """

    def __init__(self, tables: Tables, ask: Callable[[str], Kernel], is_apart: bool, forms: Forms) -> None:
        self.tables = tables
        self.ask = ask
        self.is_apart = is_apart  # different bases are different memory
        self.forms = forms
        self.source = ""
        self.rows: list[list[int]] = []
        self.waiting: dict[str, Waiting] = {}
        self.known: dict[Any, Repeat | None] = {}  # what was found out about short runs

    def add(self, source: str, refs: list[int]) -> bool:
        """Take a row of a kernel without sizes; False where it cannot repeat."""
        if source != self.source:
            if form(source) is None:
                return False
            self.settle()
            self.source = source
        self.rows.append(refs)
        return True

    def settle(self) -> None:
        """Number the rows of what has been collected: uses that advance by constant steps are one."""
        rows, self.rows = self.rows, []
        if not rows:
            return
        source, self.source = self.source, ""
        waiting = self.waiting.setdefault(source, Waiting())
        if len(rows) < LEAST:
            waiting.uses += [(self.tables.later(refs), refs) for refs in rows]
            return
        table = np.array(rows, np.int64)
        for start, end in segments(table):
            found = self.analysed(source, table[start:end]) if end - start >= LEAST else None
            if found is not None and self.may_repeat(source, found):
                waiting.runs.append((self.tables.later(rows[start]), found))
            else:
                waiting.uses += [(self.tables.later(refs), refs) for refs in rows[start:end]]

    def analysed(self, source: str, refs: Table) -> Repeat | None:
        """`codegen.repeat.analysed`, which goes by steps and by distances of pointers with one base: those of inner loops repeat."""
        if refs.size > SHORT:
            return analysed(source, refs, self.is_apart)
        origins: dict[int, int] = {}
        first = refs[0].tolist()
        places = tuple([(ref & BASE, (ref >> REF_BITS) - origins.setdefault(ref & BASE, ref >> REF_BITS)) for ref in first])
        key = source, places, (refs - refs[0]).tobytes()
        if key not in self.known:
            self.known[key] = analysed(source, refs, self.is_apart)
        return self.known[key]

    def may_repeat(self, source: str, found: Repeat) -> bool:
        """A path that comes later should compile nothing: a short run wants a text that is there, or one that is made now anyway."""
        known = self.forms.get(source)
        if known is None or found.count >= MANY:
            return True
        return any(pattern is not None and covers(pattern, found.pattern) for pattern in known)

    def finish(self) -> None:
        """Give all rows their kernels."""
        self.settle()
        for source, waiting in self.waiting.items():
            known = self.forms.setdefault(source, [])
            for row, run in waiting.runs:
                pattern = self.chosen(known, run, waiting.runs)
                self.tables.settle(row, self.ask(text(source, pattern)), sizes_of(run, pattern))
            self.finish_uses(source, waiting.uses, known)
        self.waiting = {}

    def chosen(self, known: list[Pattern | None], run: Repeat, runs: list[tuple[int, Repeat]]) -> Pattern:
        """The pattern of a run's kernel: one that is there, or a new one for all runs that carry the same from use to use."""
        for pattern in known:
            if pattern is not None and covers(pattern, run.pattern):
                return pattern
        is_last = sum(pattern is not None for pattern in known) >= MOST - 1
        made = run.pattern
        for _, other in runs:
            if is_last or other.pattern.carried == made.carried:
                made = join(made, other.pattern)
        known.append(made)
        return made

    def finish_uses(self, source: str, uses: list[tuple[int, list[int]]], known: list[Pattern | None]) -> None:
        """Rows of one use: the kernel itself, or one of its repeat kernels that is there and moves no load over a store."""
        if not uses:
            return
        if None not in known:
            table = np.array([refs for _, refs in uses], np.int64)
            for pattern in known:
                assert pattern is not None
                fits = alone(source, pattern, table, self.is_apart)
                if fits.any():
                    kernel, sizes = self.ask(text(source, pattern)), sizes_of(None, pattern)
                    for k in np.flatnonzero(fits).tolist():
                        self.tables.settle(uses[k][0], kernel, sizes)
                    uses = [use for use, fit in zip(uses, fits.tolist(), strict=True) if not fit]
                    table = table[~fits]
                if not uses:
                    return
            known.append(None)
        kernel = self.ask(source)
        for row, _ in uses:
            self.tables.settle(row, kernel, [])


__all__ = ["LEAST", "Forms", "Runs"]
