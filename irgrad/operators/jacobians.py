"""Jacobians and Hessians: one run of the function, and one batched walk over it.

What the outputs depend on by construction (`passes/sparsity.py`) decides what is walked. Where rows or columns of the Jacobian fall into
few groups that share no entry, as in a diagonal or banded one, there is one seed for each group, and what comes out is spread over the
matrix.
Otherwise there is one seed for each output, or in forward mode for each input where these are far fewer. All seeds go in one walk
(`passes/batch.py`), whose operations have an axis for them; only what has no batched form, as the rules of a user's primitive, is walked
seed by seed. Where full rows and full columns keep both from having few groups, as in an arrow, the full rows have cotangents of their own
and the rest goes forward. An entry that is zero by construction is exactly 0, also where a dense walk would multiply a zero with an inf
or nan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import MissingRuleError
from irgrad.frontend.trace import Trace
from irgrad.operators.arguments import Argnum
from irgrad.operators.jacobian_blocks import block_dtype, of_kind
from irgrad.operators.jacobian_structure import Leaf, Mixed
from irgrad.operators.jacobian_walks import Walks
from irgrad.operators.operator import Operator
from irgrad.operators.run import Run, concretely, write
from irgrad.passes.adjoint import CONCRETE
from irgrad.passes.sparsity import Colouring
from irgrad.pytree import unflatten

ENOUGH = 8  # seeds of one mode, from which on both are thought of
FEW = 10  # rows that are walked one by one on concrete values


def whole_jacobian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the operator `jacobian` computes."""
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("jacobian")
    if run.concrete:
        found = _few_rows(run)
        if found is None:
            walks = Walks(run, CONCRETE)
            with concretely(), np.errstate(all="ignore"):
                found = _walked(walks)
        blocks, met = found
        run.note_zeros(met)
    else:
        blocks = write(trace, lambda b: _walked(Walks(run, b))[0])
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
        blocks.append([of_kind(row.reshape(out.shape + mark.shape), out, mark) for row, mark in zip(rows, marks, strict=True)])
    return blocks, met


def _walked(walks: Walks) -> tuple[list[list[Any]], list[Any]]:
    """The blocks of the Jacobian, by output and argument leaf, and for each seed and leaf whether anything came out: None for nothing."""
    s = walks.structure
    met: list[Any] = []
    rows = [s.colour_rows(k) for k in range(len(s.outs))]
    if all(leaf.dtype.kind == "f" for leaf in (*s.marks, *(out for out in s.outs if out.tracer is not None))):
        columns = [s.colour_columns(k) for k in range(len(s.marks))]
        back = sum(c.count if c else out.size for c, out in zip(rows, s.outs, strict=True) if s.is_live(out))
        across = sum(c.count if c else mark.size for c, mark in zip(columns, s.marks, strict=True))
        mixed = s.mixed(min(back, across) // 2) if min(back, across) > ENOUGH else None
        try:
            if mixed is not None:
                blocks = _both_ways(walks, mixed, met)
                if _are_finite(walks, blocks):
                    return blocks, met
                met.clear()  # a tangent of zero times an infinite slope is nan, where a cotangent may meet the other factor first
            elif s.is_wide(back, across):
                return _forward(walks, columns, met), met
        except MissingRuleError:  # of a primitive with a rule for cotangents alone
            walks.back_outside()
    return [_backward(walks, k, found, met) for k, found in enumerate(rows)], met


def _are_finite(walks: Walks, blocks: Sequence[Sequence[Any]]) -> bool:
    """Is every entry a finite number? What is recorded asks as a user's `if` does."""
    b = walks.b
    return all(
        np.isfinite(block).all() if walks.blocks.concrete else b.reduce_all(b.isfinite(block), axes=tuple(range(len(b.shape(block)))))
        for row in blocks
        for block in row
    )


def _forward(walks: Walks, colourings: Sequence[Colouring | None], met: list[Any]) -> list[list[Any]]:
    """Blocks by tangents of the entries of each marked leaf."""
    s, made = walks.structure, walks.blocks
    blocks: list[list[Any]] = [[] for _ in s.outs]
    for k, (mark, colouring) in enumerate(zip(s.marks, colourings, strict=True)):
        found = _pushed(walks, k, colouring, met)
        for block, whole, out, entries in zip(blocks, found, s.outs, s.entries, strict=True):
            block.append(_nothing(out, mark, met) if whole is None else made.finished(whole, out, mark, colouring, entries[k], True))
    return blocks


def _pushed(walks: Walks, k: int, colouring: Colouring | None, met: list[Any]) -> list[Any]:
    """What the tangents of a marked leaf give for each output, with an axis for the seeds behind its own; None for nothing."""
    s, made, mark = walks.structure, walks.blocks, walks.structure.marks[k]
    pieces: list[list[Any]] = [[] for _ in s.outs]

    def walk(seed: Any, count: int) -> list[Any]:
        tangents: list[Any] = [None] * len(s.marks)
        tangents[k] = seed
        return walks.push(tangents, count)

    for found, count in walks.in_parts(mark, colouring, True, walk) if mark.size else ():
        for piece, t in zip(pieces, found, strict=True):
            met.append(None if t is None else False)
            piece.append((t, count))
    walks.back_outside()
    wholes = []
    for piece, out in zip(pieces, s.outs, strict=True):
        live = s.is_live(out) and mark.size
        wholes.append(made.joined([made.dense(t, n, out.shape, mark.dtype, True) for t, n in piece], len(out.shape)) if live else None)
    return wholes


def _backward(walks: Walks, k: int, colouring: Colouring | None, met: list[Any]) -> list[Any]:
    """Blocks of an output by cotangents of its entries."""
    s, out = walks.structure, walks.structure.outs[k]
    if not s.is_live(out):
        return [_nothing(out, mark, met) for mark in s.marks]
    found = _pulled(walks, k, colouring, met)
    return [
        walks.blocks.finished(whole, out, mark, colouring, entries, False)
        for whole, mark, entries in zip(found, s.marks, s.entries[k], strict=True)
    ]


def _pulled(walks: Walks, k: int, colouring: Colouring | None, met: list[Any]) -> list[Any]:
    """What the cotangents of an output give for each marked leaf, with an axis for the seeds in front."""
    s, made = walks.structure, walks.blocks
    out, marks = s.outs[k], s.marks
    twice = out.dtype.kind == "c" and any(mark.dtype.kind != "c" for mark in marks)
    pieces: list[list[Any]] = [[] for _ in marks]

    def walk(seed: Any, count: int) -> list[Any]:
        cts: list[Any] = [None] * len(s.outs)
        cts[k] = seed
        found = walks.pull(cts, count)
        if not twice:
            return found
        cts[k] = walks.times_i(seed, count)
        turned = walks.pull(cts, count)
        return [walks.combined(c, i, count, mark) for c, i, mark in zip(found, turned, marks, strict=True)]

    for found, count in walks.in_parts(out, colouring, False, walk):
        for piece, c in zip(pieces, found, strict=True):
            met.append(None if c is None else False)
            piece.append((c, count))
    walks.back_outside()
    return [
        made.joined([made.dense(c, n, mark.shape, block_dtype(out, mark), False) for c, n in piece], 0)
        for piece, mark in zip(pieces, marks, strict=True)
    ]


def _both_ways(walks: Walks, mixed: Mixed, met: list[Any]) -> list[list[Any]]:
    """Blocks by tangents, but for the rows that have cotangents of their own (Coleman and Verma, 1998)."""
    s, made = walks.structure, walks.blocks
    across = [_pushed(walks, k, colouring, met) for k, colouring in enumerate(mixed.columns)]
    blocks: list[list[Any]] = []
    for i, (out, rows) in enumerate(zip(s.outs, mixed.rows, strict=True)):
        if rows is None or not s.is_live(out):
            blocks.append(_backward(walks, i, None, met))
            continue
        back = _pulled(walks, i, rows, met) if rows.count else [None] * len(s.marks)
        block = []
        for k, mark in enumerate(s.marks):
            entries = s.entries[i][k]
            if across[k][i] is None or entries is None:
                block.append(_nothing(out, mark, met))
            else:
                block.append(made.from_both(across[k][i], back[k], out, mark, mixed.columns[k], rows, entries))
        blocks.append(block)
    return blocks


def _nothing(out: Leaf, mark: Leaf, met: list[Any]) -> Any:
    """The block of what depends on nothing."""
    if out.tracer is not None and out.size and out.dtype.kind in "fc":
        met.append(None)
    return of_kind(np.zeros(out.shape + mark.shape, block_dtype(out, mark)), out, mark)


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
