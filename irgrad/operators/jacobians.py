"""Jacobians and Hessians: one run, and one walk back per output entry, or forward per argument entry where there are far fewer of these."""

from __future__ import annotations

from collections.abc import Callable
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
from irgrad.operators.run import Run, write
from irgrad.operators.values import dtype_of
from irgrad.passes.adjoint import find_active
from irgrad.pytree import unflatten

_ndarray = np.ndarray


def whole_jacobian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the operator `jacobian` computes."""
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("jacobian")
    blocks = _concrete_blocks(run) if run.concrete else write(trace, lambda b: _recorded_blocks(b, run))
    return unflatten(run.out_structure, [unflatten(run.structure, row) for row in blocks])


def _hessian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    inner = Operator("jacobian", whole_jacobian, d.fun, d.argnum)
    return whole_jacobian(Operator("jacobian", whole_jacobian, inner, d.argnum), trace, args, kwargs)


def _block_dtype(out: Any, mark: Any) -> np.dtype[Any]:
    """Of one block: complex where output or argument is. A real argument of a complex output takes two walks a row."""
    return np.result_type(dtype_of(mark.value), np.complex64) if dtype_of(out).kind == "c" else dtype_of(mark.value)


def _concrete_blocks(run: Run) -> list[list[Any]]:
    blocks: list[list[Any]] = []
    zeros: list[Any] = []  # None for every cotangent of a row that is zero
    for k, out in enumerate(run.outs):
        value = out.value if type(out) is Tracer else out
        shape, size, dtype = np.shape(value), int(np.size(value)), dtype_of(value)
        row = [np.zeros((size, *np.shape(mark.value)), _block_dtype(value, mark)) for mark in run.marks]
        if type(out) is Tracer and dtype.kind in "fc":
            cts: list[Any] = [None] * len(run.outs)
            twice = dtype.kind == "c" and any(dtype_of(mark.value).kind != "c" for mark in run.marks)
            for j in range(size):
                basis = np.zeros(size, dtype)
                basis[j] = 1
                cts[k] = basis.reshape(shape)[()]
                for block, c in zip(row, run.pull(cts), strict=True):
                    zeros.append(None if c is None else False)
                    if c is not None:
                        block[j] = c
                if twice:  # dv/dx is minus what a cotangent of i gives
                    cts[k] = (basis * 1j).reshape(shape)[()]
                    for block, c, mark in zip(row, run.pull(cts), run.marks, strict=True):
                        if c is not None and dtype_of(mark.value).kind != "c":
                            block[j] -= 1j * c
        blocks.append([_shaped(block, value, mark.value) for block, mark in zip(row, run.marks, strict=True)])
    run.note_zeros(zeros)
    return blocks


def _shaped(block: Any, value: Any, argument: Any) -> Any:
    block = block.reshape(np.shape(value) + np.shape(argument))
    return block if isinstance(value, _ndarray) or isinstance(argument, _ndarray) else block[()]


def _recorded_blocks(b: RecordBuilder, run: Run) -> list[list[Any]]:
    if _is_wide(run):
        try:
            return _columns(b, run)
        except MissingRuleError:  # of a primitive with a rule for cotangents alone
            pass
    return _rows(b, run)


def _is_wide(run: Run) -> bool:
    """Are there so many fewer numbers in the arguments than in the outputs that one push forward for each is less work?"""
    values = [out.value for out in run.outs if type(out) is Tracer]
    if any(dtype_of(value).kind != "f" for value in (*values, *(mark.value for mark in run.marks))):
        return False
    return 2 * sum(int(np.size(mark.value)) for mark in run.marks) < sum(int(np.size(value)) for value in values)


def _columns(b: RecordBuilder, run: Run) -> list[list[Any]]:
    """Blocks by one walk forward per argument entry: the columns as rows, transposed at the end."""
    marks, trace = run.marks, b.trace
    blocks: list[list[Any]] = [[] for _ in run.outs]
    tangents: list[Any] = [None] * len(marks)
    for k, mark in enumerate(marks):
        shape, size, dtype = np.shape(mark.value), int(np.size(mark.value)), dtype_of(mark.value)
        found: list[list[Any]] = [[] for _ in run.outs]
        for j in range(size):
            b.row()
            tangents[k] = _basis(b, dtype.type(1), shape, size, j)
            for column, out, t in zip(found, run.outs, run.push(b, tangents), strict=True):
                column.append(_row(b, t, None, out, dtype) if type(out) is Tracer else None)
        tangents[k] = None
        if isinstance(trace, GraphTrace):
            trace.new_segment(trace.sites.depth)
        for block, column, out in zip(blocks, found, run.outs, strict=True):
            value = out.value if type(out) is Tracer else out
            if type(out) is not Tracer or not size:
                block.append(_shaped(np.zeros(np.shape(value) + shape, dtype), value, mark.value))
                continue
            whole = b.reshape(column[0] if size == 1 else b.concatenate(*column, axis=0), shape=(*shape, *np.shape(value)))
            rank, count = len(shape), len(np.shape(value))
            if rank and count:
                whole = b.transpose(whole, axes=(*range(rank, rank + count), *range(rank)))
            block.append(_stacked(b, [whole], value, mark.value))
    return blocks


def _rows(b: RecordBuilder, run: Run) -> list[list[Any]]:
    """Blocks by one walk back per output entry."""
    marks, trace = run.marks, b.trace
    active = find_active(run.tape, run.start, run.stop, marks)
    blocks: list[list[Any]] = []
    for k, out in enumerate(run.outs):
        value = out.value if type(out) is Tracer else out
        shape, size, dtype = np.shape(value), int(np.size(value)), dtype_of(value)
        if type(out) is not Tracer or dtype.kind not in "fc" or size == 0 or out.index < run.start or not active[out.index - run.start]:
            blocks.append([_shaped(np.zeros(shape + np.shape(m.value), _block_dtype(value, m)), value, m.value) for m in marks])
            continue
        cts: list[Any] = [None] * len(run.outs)
        twice = dtype.kind == "c" and any(dtype_of(mark.value).kind != "c" for mark in marks)
        rows: list[list[Any]] = [[] for _ in marks]
        for j in range(size):
            b.row()
            cts[k] = _basis(b, dtype.type(1), shape, size, j)
            found = run.pull_recorded(b, cts, active=active)
            imaginary: list[Any] = [None] * len(marks)
            if twice:
                b.row()
                cts[k] = _basis(b, dtype.type(1j), shape, size, j)
                imaginary = run.pull_recorded(b, cts, active=active)
            for row, c, i, mark in zip(rows, found, imaginary, marks, strict=True):
                row.append(_row(b, c, i, mark, _block_dtype(value, mark)))
        if isinstance(trace, GraphTrace):
            trace.new_segment(trace.sites.depth)
        blocks.append([_stacked(b, row, value, mark.value) for row, mark in zip(rows, marks, strict=True)])
    return blocks


def _basis(b: RecordBuilder, one: Any, shape: tuple[int, ...], size: int, j: int) -> Any:
    """The cotangent that picks entry `j`."""
    if not isinstance(b.trace, GraphTrace):
        basis = np.zeros(size, one.dtype)
        basis[j] = one
        return basis.reshape(shape)[()]
    if not shape:
        return Static(one)
    basis = b.slice_update(b.zeros(shape=(size,), dtype=one.dtype.name), Static(one), start=(j,), count=(1,), step=(1,), drop=())
    return basis if shape == (size,) else b.reshape(basis, shape=shape)


def _row(b: RecordBuilder, c: Any, imaginary: Any, mark: Any, dtype: np.dtype[Any]) -> Any:
    """One row of a block, of shape (1, ...)."""
    shape = np.shape(mark.value)
    if c is None and imaginary is None:
        return b.zeros(shape=(1, *shape), dtype=dtype.name)
    if imaginary is not None and dtype_of(mark.value).kind != "c":
        zero = b.zeros_like(mark)
        c = b.complex_of(zero if c is None else c, b.neg(imaginary))
    if type(c) is Static or not isinstance(c, (Tracer, np.ndarray, np.generic)):
        return b.full(c, shape=(1, *shape), dtype=dtype.name)
    if b.dtype(c) != dtype:
        c = b.convert(c, dtype=dtype.name)
    return b.reshape(c, shape=(1, *shape))


def _stacked(b: RecordBuilder, rows: list[Any], value: Any, argument: Any) -> Any:
    shape = np.shape(value) + np.shape(argument)
    whole = rows[0] if len(rows) == 1 else b.concatenate(*rows, axis=0)
    if b.shape(whole) != shape:
        whole = b.reshape(whole, shape=shape)
    if not shape and not isinstance(value, _ndarray) and not isinstance(argument, _ndarray):
        whole = b.slice(whole, start=(), count=(), step=(), drop=())
    return whole


def jacobian(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The Jacobian, of shape output + input, by one reverse walk per output entry.

    For pytrees: the output's structure, with the argument's structure in place of each leaf. A complex output of a real
    argument has a complex Jacobian; for a complex argument it is the derivative of a holomorphic function.
    """
    return Operator("jacobian", whole_jacobian, fun, argnum)


def hessian(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The Jacobian of the Jacobian: of shape output + input + input."""
    return Operator("hessian", _hessian, fun, argnum)
