"""Jacobians row by row: what the batched ones are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.operators import make_vjp
from irgrad.pytree import flatten


def row_by_row(f: Callable[..., Any], x: Any, *others: Any) -> list[list[Any]]:
    """Blocks by output and argument leaf, one vjp for each output entry; a real argument of a complex output takes two."""
    vjp, value = make_vjp(f)(x, *others)
    outs, structure = flatten(value)
    marks = flatten(x)[0]
    blocks = []
    for k, out in enumerate(outs):
        shape, dtype = np.shape(out), np.result_type(out)
        rows: list[list[Any]] = [[] for _ in marks]
        for j in range(int(np.prod(shape))):
            found = _pull(vjp, outs, structure, k, j, 1.0)
            turned = _pull(vjp, outs, structure, k, j, 1j) if dtype.kind == "c" else found
            for row, c, i in zip(rows, found, turned, strict=True):
                row.append(c - 1j * i if dtype.kind == "c" and np.result_type(c).kind != "c" else c)
        blocks.append([np.reshape(np.array(row), shape + np.shape(mark)) for row, mark in zip(rows, marks, strict=True)])
    return blocks


def _pull(vjp: Callable[..., Any], outs: list[Any], structure: Any, k: int, j: int, one: Any) -> list[Any]:
    from irgrad.pytree import unflatten

    cts = [np.zeros(np.shape(out), np.result_type(out)) for out in outs]
    cts[k].reshape(-1)[j] = one
    return flatten(vjp(unflatten(structure, [ct[()] for ct in cts])))[0]


def blocks_of(jacobian: Any, num_outs: int, num_marks: int) -> list[list[Any]]:
    """The leaves of a Jacobian by output and argument leaf."""
    leaves = flatten(jacobian)[0]
    assert len(leaves) == num_outs * num_marks
    return [leaves[k * num_marks : (k + 1) * num_marks] for k in range(num_outs)]
