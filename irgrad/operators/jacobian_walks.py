"""Walks of a Jacobian: from seeds at outputs or at marked leaves, all of them at once, in parts, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.recorder import RecordBuilder
from irgrad.operators.jacobian_blocks import Blocks
from irgrad.operators.jacobian_structure import Leaf, Structure
from irgrad.operators.run import Run
from irgrad.passes.batch import BatchBuilder, TooLarge, Unbatched
from irgrad.passes.batch_rules import Batched
from irgrad.passes.sparsity import Colouring

CHUNK = 1 << 21  # entries that a value of a walk may have over all seeds; where it would have more, seeds go in several walks
RESULTS = 2  # or as many entries as that many results


class Walks:
    """The walks of one Jacobian through a builder: concrete values, or what is recorded."""

    def __init__(self, run: Run, b: Any) -> None:
        self.run = run
        self.b: Any = b
        self.structure = Structure(run)
        self.blocks = Blocks(b)
        results = sum(out.size for out in self.structure.outs) * sum(mark.size for mark in self.structure.marks)
        self.limit = max(CHUNK, RESULTS * results)

    def in_parts(
        self, leaf: Leaf, colouring: Colouring | None, last: bool, walk: Callable[[Any, int], list[Any]]
    ) -> list[tuple[list[Any], int]]:
        """What the walks from the seeds at a leaf answer, with the number of seeds of each; several where a batch becomes too large."""
        if leaf.size == 1 or (colouring is not None and colouring.count == 1 and colouring.is_whole):
            return [(walk(self.blocks.ones(leaf), 0), 0)]
        total = leaf.size if colouring is None else colouring.count
        chunk = total
        while True:
            found: list[tuple[list[Any], int]] = []
            try:
                for first in range(0, total, chunk):
                    if chunk < total and isinstance(self.b, RecordBuilder):
                        self.b.row()
                    count = min(chunk, total - first)
                    found.append((walk(self.seed(leaf, colouring, first, count, last), count), count))
                return found
            except TooLarge as error:
                chunk = min(max(1, self.limit // error.size), chunk - 1)

    def seed(self, leaf: Leaf, colouring: Colouring | None, first: int, count: int, last: bool) -> Batched:
        """Seeds `first` to ``first + count`` at a leaf."""
        if colouring is None:
            return Batched(None, leaf.shape, leaf.dtype, first)
        chosen = np.arange(first, first + count)
        if last:
            rows = (colouring.colours[:, None] == chosen).reshape(*leaf.shape, count)
        else:
            rows = (chosen[:, None] == colouring.colours).reshape(count, *leaf.shape)
        return Batched(self.blocks.constant(rows.astype(leaf.dtype)), leaf.shape, leaf.dtype)

    def batch(self, count: int, last: bool) -> BatchBuilder:
        """The builder of a walk; a single seed has no limit."""
        return BatchBuilder(self.b, count, last, self.limit if count > 1 else None)

    def pull(self, cts: Sequence[Any], count: int) -> list[Any]:
        """The cotangents of the marks; `count` is 0 for a single seed that is not batched."""
        if count == 0:
            if self.blocks.concrete:
                return self.run.pull(cts)
            return self.run.pull_recorded(self.b, cts, active=self.structure.active)
        b = self.batch(count, False)
        try:
            return self.run.pull_recorded(b, cts, detached=self.blocks.concrete, active=self.structure.active)
        except Unbatched:
            return self.one_by_one(cts, count, False, lambda each: self.pull(each, 0))

    def push(self, tangents: Sequence[Any], count: int) -> list[Any]:
        if count == 0:
            return self.run.push(self.b, tangents)
        b = self.batch(count, True)
        try:
            return self.run.push(b, tangents, detached=self.blocks.concrete)
        except Unbatched:
            return self.one_by_one(tangents, count, True, lambda each: self.push(each, 0))

    def one_by_one(self, seeds: Sequence[Any], count: int, last: bool, walk: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """One walk for each seed, as iterations of a loop; the results batched."""
        b = BatchBuilder(self.b, count, last)
        k = next(k for k, seed in enumerate(seeds) if seed is not None)
        found: list[list[Any]] = []
        rows = b.leading(seeds[k])
        shape = seeds[k].shape
        for j in range(count):
            if isinstance(self.b, RecordBuilder):
                self.b.row()
            each: list[Any] = [None] * len(seeds)
            rank = len(shape)
            region = {"start": (j, *(0,) * rank), "count": (1, *shape), "step": (1,) * (rank + 1), "drop": (0,)}
            each[k] = self.b.slice(rows, **region)
            found.append(walk(each))
        self.back_outside()
        return [self.batched(b, list(parts)) for parts in zip(*found, strict=True)]

    def batched(self, b: BatchBuilder, parts: list[Any]) -> Any:
        """The results of single walks as one batch; None where all are zero."""
        like = next((part for part in parts if part is not None), None)
        if like is None:
            return None
        shape, dtype = self.b.shape(like), self.b.dtype(like)
        rows = [self.blocks.dense(part, 0, shape, dtype, False) for part in parts]
        return b.from_leading(rows[0] if len(rows) == 1 else self.b.concatenate(*rows, axis=0), shape)

    def back_outside(self) -> None:
        """What follows is in no loop over seeds."""
        trace = getattr(self.b, "trace", None)
        if isinstance(trace, GraphTrace) and self.b.extra:
            trace.new_segment(trace.sites.depth)
            self.b.extra = 0

    def times_i(self, seed: Any, count: int) -> Any:
        b = BatchBuilder(self.b, count, False) if count else self.b
        return b.mul(seed, self.blocks.number(b.dtype(seed).type(1j)))

    def combined(self, c: Any, turned: Any, count: int, mark: Leaf) -> Any:
        """Rows of a block: dv/dx of a complex output of a real argument is minus what a cotangent of i gives."""
        if turned is None or mark.dtype.kind == "c":
            return c
        b = BatchBuilder(self.b, count, False) if count else self.b
        zero = b.zeros_like(mark.form)
        return b.complex_of(zero if c is None else c, b.neg(turned))
