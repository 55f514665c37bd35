"""Runs: rows with one straight-line kernel, one after the other, which become rows of a kernel with a loop over its uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from irgrad.codegen.repeat import LEAST, Table, form, repeated, segments

MANY = 64  # rows from which they repeat in a program with guards: a new path of it should compile nothing
MOST = 3  # repeat kernels of one kernel in a program


class Runs:
    """Collects rows until one with another kernel comes; `write` takes a kernel's text, references and sizes of a row."""

    def __init__(self, write: Callable[[str, list[int], list[int]], None], is_apart: bool, has_guards: bool) -> None:
        self.write = write
        self.is_apart = is_apart  # different bases are different memory
        self.least = MANY if has_guards else LEAST
        self.source = ""
        self.rows: list[list[int]] = []
        self.texts: dict[str, set[str]] = {}  # of the repeat kernels of each kernel

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
        """Write what has been collected: uses that advance by constant steps as one row."""
        rows, self.rows = self.rows, []
        source, self.source = self.source, ""
        if len(rows) < self.least:
            for refs in rows:
                self.write(source, refs, [])
            return
        table = np.array(rows, np.int64)
        for start, end in segments(table):
            made = self.repeated(source, table[start:end]) if end - start >= LEAST else None
            if made is not None:
                self.write(made[0], rows[start], made[1])
                continue
            for refs in rows[start:end]:
                self.write(source, refs, [])

    def repeated(self, source: str, refs: Table) -> tuple[str, list[int]] | None:
        """Text and sizes of the repeat kernel for some uses; None where there is none, or there are enough others."""
        made = repeated(source, refs, self.is_apart)
        if made is None:
            return None
        texts = self.texts.setdefault(source, set())
        if made[0] not in texts and len(texts) == MOST:
            return None
        texts.add(made[0])
        return made
