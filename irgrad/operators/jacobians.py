"""Jacobians and Hessians: one run of the function, and one batched walk over it.

What the outputs depend on by construction (`passes/sparsity.py`) decides what is walked. Where rows or columns of the Jacobian fall into
few groups that share no entry, as in a diagonal or banded one, there is one seed for each group, and what comes out is spread over the
matrix.
Otherwise there is one seed for each output, or in forward mode for each input where these are far fewer. All seeds go in one walk
(`passes/batch.py`), whose operations have an axis for them; only what has no batched form, as the rules of a user's primitive, is walked
seed by seed. An entry that is zero by construction is exactly 0, also where a dense walk would multiply a zero with an inf or nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from irgrad.errors import MissingRuleError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.value import Static
from irgrad.operators.arguments import Argnum
from irgrad.operators.operator import Operator
from irgrad.operators.run import Run, concretely, write
from irgrad.operators.values import dtype_of
from irgrad.passes.adjoint import CONCRETE, find_active
from irgrad.passes.batch import BatchBuilder, TooLarge, Unbatched
from irgrad.passes.batch_rules import Batched
from irgrad.passes.sparsity import FULL, Colouring, Finder, Pattern, colour
from irgrad.pytree import unflatten

FEW = 10  # rows that are walked one by one on concrete values
CHUNK = 1 << 21  # entries that a value of a walk may have over all seeds; where it would have more, seeds go in several walks
RESULTS = 2  # or as many entries as that many results
_ndarray = np.ndarray


def whole_jacobian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the operator `jacobian` computes."""
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("jacobian")
    if run.concrete:
        found = _few_rows(run)
        if found is None:
            walks = Walks(run, CONCRETE)
            with concretely(), np.errstate(all="ignore"):
                found = walks.blocks(), walks.met
        blocks, met = found
        run.note_zeros(met)
    else:
        blocks = write(trace, lambda b: Walks(run, b).blocks())
    return unflatten(run.out_structure, [unflatten(run.structure, row) for row in blocks])


def _hessian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    inner = Operator("jacobian", whole_jacobian, d.fun, d.argnum)
    return whole_jacobian(Operator("jacobian", whole_jacobian, inner, d.argnum), trace, args, kwargs)


def _few_rows(run: Run) -> tuple[list[list[Any]], list[Any]] | None:
    """The blocks of a small real Jacobian walked row by row on concrete values, and what met the marks: no analysis pays here.

    None for other ones, and where a value is not finite: then it matters what is zero by construction.
    """
    outs, marks = [Leaf(out) for out in run.outs], [Leaf(mark) for mark in run.marks]
    if sum(out.size for out in outs) > FEW or any(leaf.dtype.kind != "f" for leaf in (*outs, *marks)):
        return None
    blocks: list[list[Any]] = []
    met: list[Any] = []
    cts: list[Any] = [None] * len(outs)
    for k, out in enumerate(outs):
        rows = [np.zeros((out.size, *mark.shape), mark.dtype) for mark in marks]
        for j in range(out.size if out.tracer is not None else 0):
            basis = np.zeros(out.size, out.dtype)
            basis[j] = 1
            cts[k] = basis.reshape(out.shape)[()]
            found = run.pull(cts)
            met += found
            for row, c in zip(rows, found, strict=True):
                if c is not None:
                    row[j] = c
        cts[k] = None
        if not all(np.isfinite(row).all() for row in rows):
            return None
        blocks.append([_kind(row.reshape(out.shape + mark.shape), out, mark) for row, mark in zip(rows, marks, strict=True)])
    return blocks, met


class Leaf:
    """An output or a marked leaf: its value, shape, number of entries and dtype."""

    __slots__ = ("dtype", "shape", "size", "tracer", "value")

    def __init__(self, leaf: Any) -> None:
        self.tracer = leaf if type(leaf) is Tracer else None
        self.value = leaf.value if type(leaf) is Tracer else leaf
        self.shape: tuple[int, ...] = np.shape(self.value)
        self.size = math.prod(self.shape)
        self.dtype = dtype_of(self.value)


class Walks:
    """The walks of one Jacobian through a builder: concrete values, or what is recorded."""

    def __init__(self, run: Run, b: Any) -> None:
        self.run = run
        self.b: Any = b
        self.concrete = b is CONCRETE
        self.marks = [Leaf(mark) for mark in run.marks]
        self.outs = [Leaf(out) for out in run.outs]
        results = sum(out.size for out in self.outs) * sum(mark.size for mark in self.marks)
        self.limit = max(CHUNK, RESULTS * results)
        self._active: bytearray | None = None
        self.met: list[Any] = []  # for each seed and leaf whether anything came out: None for nothing
        self.patterns = self.find_patterns()

    @property
    def active(self) -> bytearray:
        """Which values of the run derivatives flow through."""
        if self._active is None:
            run = self.run
            self._active = find_active(run.tape, run.start, run.stop, run.marks)
        return self._active

    # -- what is walked ----------------------------------------------------------------------------------------------

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

    def blocks(self) -> list[list[Any]]:
        """The blocks of the Jacobian, by output and argument leaf."""
        rows = [self.colour_rows(k) for k in range(len(self.outs))]
        if all(leaf.dtype.kind == "f" for leaf in (*self.marks, *(out for out in self.outs if out.tracer is not None))):
            columns = [self.colour_columns(k) for k in range(len(self.marks))]
            back = sum(c.count if c else out.size for c, out in zip(rows, self.outs, strict=True) if self.is_live(out))
            if self.is_wide(back, sum(c.count if c else mark.size for c, mark in zip(columns, self.marks, strict=True))):
                try:
                    return self.forward(columns)
                except MissingRuleError:  # of a primitive with a rule for cotangents alone
                    pass
        return [self.backward(k, found) for k, found in enumerate(rows)]

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
        for out, pattern, block in zip(self.outs, self.patterns, self.entries_of(k), strict=True):
            if not self.is_live(out):
                continue
            if pattern is FULL:
                return None
            rows.append(block[0] + height)
            columns.append(block[1])
            height += out.size
        if not rows:
            return None
        row, column = np.concatenate(rows), np.concatenate(columns)
        order = np.argsort(column, kind="stable")
        return _useful(colour(column[order], row[order], mark.size, height), mark.size)

    def entries_of(self, k: int) -> Iterator[tuple[Any, Any]]:
        """Row and column of each entry of the blocks of a marked leaf."""
        first = sum(mark.size for mark in self.marks[:k])
        for pattern in self.patterns:
            rows, columns = pattern.entries()
            mine = (columns >= first) & (columns < first + self.marks[k].size)
            yield rows[mine], columns[mine] - first

    # -- walks -------------------------------------------------------------------------------------------------------

    def forward(self, colourings: Sequence[Colouring | None]) -> list[list[Any]]:
        """Blocks by tangents of the entries of each marked leaf."""
        blocks: list[list[Any]] = [[] for _ in self.outs]
        for k, (mark, colouring) in enumerate(zip(self.marks, colourings, strict=True)):
            pieces: list[list[Any]] = [[] for _ in self.outs]

            def walk(seed: Any, count: int, k: int = k) -> list[Any]:
                tangents: list[Any] = [None] * len(self.marks)
                tangents[k] = seed
                return self.push(tangents, count)

            for found, count in self.in_parts(mark, colouring, True, walk) if mark.size else ():
                for piece, t in zip(pieces, found, strict=True):
                    self.met.append(None if t is None else False)
                    piece.append((t, count))
            self.back_outside()
            for block, piece, out, entries, pattern in zip(blocks, pieces, self.outs, self.entries_of(k), self.patterns, strict=True):
                if not self.is_live(out) or not mark.size:
                    block.append(self.nothing(out, mark))
                    continue
                whole = self.joined([self.dense(t, n, out.shape, mark.dtype, True) for t, n in piece], len(out.shape))
                block.append(self.finished(whole, out, mark, colouring, entries, pattern, True))
        return blocks

    def backward(self, k: int, colouring: Colouring | None) -> list[Any]:
        """Blocks of an output by cotangents of its entries."""
        out, marks = self.outs[k], self.marks
        if not self.is_live(out):
            return [self.nothing(out, mark) for mark in marks]
        twice = out.dtype.kind == "c" and any(mark.dtype.kind != "c" for mark in marks)
        pieces: list[list[Any]] = [[] for _ in marks]

        def walk(seed: Any, count: int) -> list[Any]:
            cts: list[Any] = [None] * len(self.outs)
            cts[k] = seed
            found = self.pull(cts, count)
            if not twice:
                return found
            cts[k] = self.times_i(seed, count)
            turned = self.pull(cts, count)
            return [self.combined(c, i, count, mark) for c, i, mark in zip(found, turned, marks, strict=True)]

        for found, count in self.in_parts(out, colouring, False, walk):
            for piece, c in zip(pieces, found, strict=True):
                self.met.append(None if c is None else False)
                piece.append((c, count))
        self.back_outside()
        blocks = []
        for j, (piece, mark) in enumerate(zip(pieces, marks, strict=True)):
            whole = self.joined([self.dense(c, n, mark.shape, _block_dtype(out, mark), False) for c, n in piece], 0)
            entries = next(e for i, e in enumerate(self.entries_of(j)) if i == k)
            blocks.append(self.finished(whole, out, mark, colouring, entries, self.patterns[k], False))
        return blocks

    def in_parts(
        self, leaf: Leaf, colouring: Colouring | None, last: bool, walk: Callable[[Any, int], list[Any]]
    ) -> list[tuple[list[Any], int]]:
        """What the walks from the seeds at a leaf answer, with the number of seeds of each; several where a batch becomes too large."""
        if leaf.size == 1 or (colouring is not None and colouring.count == 1):
            return [(walk(self.ones(leaf), 0), 0)]
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
        return Batched(self.constant(rows.astype(leaf.dtype)), leaf.shape, leaf.dtype)

    def batch(self, count: int, last: bool) -> BatchBuilder:
        """The builder of a walk; a single seed has no limit."""
        return BatchBuilder(self.b, count, last, self.limit if count > 1 else None)

    def pull(self, cts: Sequence[Any], count: int) -> list[Any]:
        """The cotangents of the marks; `count` is 0 for a single seed that is not batched."""
        if count == 0:
            if self.concrete:
                return self.run.pull(cts)
            return self.run.pull_recorded(self.b, cts, active=self.active)
        b = self.batch(count, False)
        try:
            return self.run.pull_recorded(b, cts, detached=self.concrete, active=self.active)
        except Unbatched:
            return self.one_by_one(cts, count, False, lambda each: self.pull(each, 0))

    def push(self, tangents: Sequence[Any], count: int) -> list[Any]:
        if count == 0:
            return self.run.push(self.b, tangents)
        b = self.batch(count, True)
        try:
            return self.run.push(b, tangents, detached=self.concrete)
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
        rows = [self.dense(part, 0, shape, dtype, False) for part in parts]
        return b.from_leading(rows[0] if len(rows) == 1 else self.b.concatenate(*rows, axis=0), shape)

    def back_outside(self) -> None:
        """What follows is in no loop over seeds."""
        trace = getattr(self.b, "trace", None)
        if isinstance(trace, GraphTrace) and self.b.extra:
            trace.new_segment(trace.sites.depth)
            self.b.extra = 0

    # -- values ------------------------------------------------------------------------------------------------------

    def constant(self, value: Any) -> Any:
        return value if self.concrete else self.b.trace.lift(value)

    def number(self, value: Any) -> Any:
        return value if self.concrete else Static(value)

    def ones(self, leaf: Leaf) -> Any:
        one = self.number(leaf.dtype.type(1))
        return self.b.full(one, shape=leaf.shape, dtype=leaf.dtype.name) if leaf.shape else one

    def times_i(self, seed: Any, count: int) -> Any:
        b = BatchBuilder(self.b, count, False) if count else self.b
        return b.mul(seed, self.number(b.dtype(seed).type(1j)))

    def combined(self, c: Any, turned: Any, count: int, mark: Leaf) -> Any:
        """Rows of a block: dv/dx of a complex output of a real argument is minus what a cotangent of i gives."""
        if turned is None or mark.dtype.kind == "c":
            return c
        b = BatchBuilder(self.b, count, False) if count else self.b
        zero = b.zeros_like(mark.value)
        return b.complex_of(zero if c is None else c, b.neg(turned))

    def dense(self, c: Any, count: int, shape: tuple[int, ...], dtype: np.dtype[Any], last: bool) -> Any:
        """What came out of a walk as an array with the axis of the seeds."""
        whole = (*shape, max(count, 1)) if last else (max(count, 1), *shape)
        if c is None:
            return self.b.zeros(shape=whole, dtype=dtype.name)
        if count:
            c = BatchBuilder(self.b, count, last).dense(c).value
        elif type(c) is Static or not isinstance(c, (Tracer, np.ndarray, np.generic)):
            return self.b.full(c, shape=whole, dtype=dtype.name)
        if self.b.dtype(c) != dtype:
            c = self.b.convert(c, dtype=dtype.name)
        return c if self.b.shape(c) == whole else self.b.reshape(c, shape=whole)

    def joined(self, pieces: list[Any], axis: int) -> Any:
        return pieces[0] if len(pieces) == 1 else self.b.concatenate(*pieces, axis=axis)

    def nothing(self, out: Leaf, mark: Leaf) -> Any:
        if out.tracer is not None and out.size and out.dtype.kind in "fc":
            self.met.append(None)
        return _kind(np.zeros(out.shape + mark.shape, _block_dtype(out, mark)), out, mark)

    def finished(
        self, whole: Any, out: Leaf, mark: Leaf, colouring: Colouring | None, entries: tuple[Any, Any], pattern: Pattern, last: bool
    ) -> Any:
        """A block from the derivatives for all seeds, with the zeros that it has by construction."""
        b, shape = self.b, out.shape + mark.shape
        rows, columns = entries
        if colouring is not None:
            if last:
                places = rows * colouring.count + colouring.colours[columns]
            else:
                places = colouring.colours[rows] * mark.size + columns
            whole = self.spread(whole, places, rows * mark.size + columns, out.size * mark.size)
        elif pattern is not FULL and len(rows) < out.size * mark.size:
            mask = np.zeros((out.size, mark.size), bool)
            mask[rows, columns] = True
            whole = b.where(self.constant(mask.reshape(shape)), self.reshaped(whole, shape), self.number(whole.dtype.type(0)))
        whole = self.reshaped(whole, shape)
        if self.concrete:
            whole = whole if colouring is not None else np.array(whole)
        elif not shape and not isinstance(out.value, _ndarray) and not isinstance(mark.value, _ndarray):
            return b.slice(whole, start=(), count=(), step=(), drop=())
        return _kind(whole, out, mark)

    def reshaped(self, value: Any, shape: tuple[int, ...]) -> Any:
        return value if self.b.shape(value) == shape else self.b.reshape(value, shape=shape)

    def spread(self, whole: Any, read: Any, write: Any, size: int) -> Any:
        """A vector of zeros but for entries `write`, which are entries `read` of `whole`."""
        b = self.b
        dtype = b.dtype(whole)
        flat = self.reshaped(whole, (math.prod(b.shape(whole)),))
        zeros = b.zeros(shape=(size,), dtype=dtype.name)
        if not len(read):
            return zeros
        order = np.argsort(write)
        read, write = read[order], write[order]
        by, step = _even(read), _even(write)
        if by and step:
            part = b.slice(flat, start=(int(read[0]),), count=(len(read),), step=(by,), drop=())
            region = {"start": (int(write[0]),), "count": (len(write),), "step": (step,), "drop": ()}
            return b.slice_update(zeros, part, **region)
        return b.scatter_add(zeros, b.gather(flat, self.constant(read)), self.constant(write))


def _useful(found: Colouring | None, size: int) -> Colouring | None:
    """A colouring that saves work."""
    return found if found is not None and 2 * found.count <= size else None


def _even(places: Any) -> int:
    """The step of evenly spaced places, 0 for others."""
    if len(places) == 1:
        return 1
    steps = np.diff(places)
    return int(steps[0]) if (steps == steps[0]).all() else 0


def _block_dtype(out: Leaf, mark: Leaf) -> np.dtype[Any]:
    """Of one block: complex where output or argument is. A real argument of a complex output takes two walks."""
    return np.result_type(mark.dtype, np.complex64) if out.dtype.kind == "c" else mark.dtype


def _kind(block: Any, out: Leaf, mark: Leaf) -> Any:
    """A plain block of no axes is a number where neither is an array."""
    return block if isinstance(out.value, _ndarray) or isinstance(mark.value, _ndarray) or type(block) is Tracer else block[()]


def jacobian(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The Jacobian, of shape output + input.

    For pytrees: the output's structure, with the argument's structure in place of each leaf. A complex output of a real
    argument has a complex Jacobian; for a complex argument it is the derivative of a holomorphic function.

    The function runs once, and all rows (or columns, where there are far fewer) come out of one batched walk over it; a Jacobian that is
    diagonal or banded by construction takes one walk for each group of rows without a common entry. Entries that the
    output does not depend on by construction are exactly 0. Raises DifferentiationError for outputs that are no numbers,
    MissingRuleError where an operation has no rule.
    """
    return Operator("jacobian", whole_jacobian, fun, argnum)


def hessian(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The Jacobian of the Jacobian: of shape output + input + input. As in `jacobian`, what is zero by construction costs nothing."""
    return Operator("hessian", _hessian, fun, argnum)
