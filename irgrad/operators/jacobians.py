"""Jacobians and Hessians: one run of the function, and one batched walk over it.

What the outputs depend on by construction (`passes/sparsity.py`) decides what is walked. Where rows or columns of the Jacobian fall into
few groups that share no entry, as in a diagonal or banded one, there is one seed for each group, and what comes out is spread over the
matrix.
Otherwise there is one seed for each output, or in forward mode for each input where these are far fewer. All seeds go in one walk
(`passes/batch.py`), whose operations have an axis for them; only what has no batched form, as the rules of a user's primitive, is walked
seed by seed. An entry that is zero by construction is exactly 0, also where a dense walk would multiply a zero with an inf or nan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import MissingRuleError
from irgrad.frontend.trace import Trace
from irgrad.operators.arguments import Argnum
from irgrad.operators.jacobian_blocks import block_dtype, of_kind
from irgrad.operators.jacobian_structure import Leaf
from irgrad.operators.jacobian_walks import Walks
from irgrad.operators.operator import Operator
from irgrad.operators.run import Run, concretely, write
from irgrad.passes.adjoint import CONCRETE
from irgrad.passes.sparsity import Colouring
from irgrad.pytree import unflatten

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
        if s.is_wide(back, sum(c.count if c else mark.size for c, mark in zip(columns, s.marks, strict=True))):
            try:
                return _forward(walks, columns, met), met
            except MissingRuleError:  # of a primitive with a rule for cotangents alone
                pass
    return [_backward(walks, k, found, met) for k, found in enumerate(rows)], met


def _forward(walks: Walks, colourings: Sequence[Colouring | None], met: list[Any]) -> list[list[Any]]:
    """Blocks by tangents of the entries of each marked leaf."""
    s, made = walks.structure, walks.blocks
    blocks: list[list[Any]] = [[] for _ in s.outs]
    for k, (mark, colouring) in enumerate(zip(s.marks, colourings, strict=True)):
        pieces: list[list[Any]] = [[] for _ in s.outs]

        def walk(seed: Any, count: int, k: int = k) -> list[Any]:
            tangents: list[Any] = [None] * len(s.marks)
            tangents[k] = seed
            return walks.push(tangents, count)

        for found, count in walks.in_parts(mark, colouring, True, walk) if mark.size else ():
            for piece, t in zip(pieces, found, strict=True):
                met.append(None if t is None else False)
                piece.append((t, count))
        walks.back_outside()
        for block, piece, out, entries in zip(blocks, pieces, s.outs, s.entries, strict=True):
            if not s.is_live(out) or not mark.size:
                block.append(_nothing(out, mark, met))
                continue
            whole = made.joined([made.dense(t, n, out.shape, mark.dtype, True) for t, n in piece], len(out.shape))
            block.append(made.finished(whole, out, mark, colouring, entries[k], True))
    return blocks


def _backward(walks: Walks, k: int, colouring: Colouring | None, met: list[Any]) -> list[Any]:
    """Blocks of an output by cotangents of its entries."""
    s, made = walks.structure, walks.blocks
    out, marks = s.outs[k], s.marks
    if not s.is_live(out):
        return [_nothing(out, mark, met) for mark in marks]
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
    blocks = []
    for piece, mark, entries in zip(pieces, marks, s.entries[k], strict=True):
        whole = made.joined([made.dense(c, n, mark.shape, block_dtype(out, mark), False) for c, n in piece], 0)
        blocks.append(made.finished(whole, out, mark, colouring, entries, False))
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
