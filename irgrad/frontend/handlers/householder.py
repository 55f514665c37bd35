"""The factored form of qr: reflections as LAPACK's ``geqrf`` keeps them, built column by column so that they have derivatives."""

from __future__ import annotations

from typing import Any

from irgrad.frontend.handlers.core import NP, cast, dtype_of, reshape, shape_of, take_slice
from irgrad.frontend.trace import Trace


def reflections(trace: Trace, a: Any) -> tuple[Any, Any]:
    """Of matrices (..., m, n): R with the tails of the reflections below it (..., m, n), and their factors (..., min(m, n)).

    Step j maps the rest of column j to a multiple of a unit vector (Golub and Van Loan, Matrix Computations, 5.1 and 5.2); a column
    that is one already stays, and its factor is 0.
    """
    *lead, m, n = shape_of(a)
    rows: list[Any] = []  # finished rows of R
    tails: list[Any] = []
    factors: list[Any] = []
    k = min(m, n)
    for j in range(k):
        column = take_slice(trace, a, len(lead) + 1, 0, 1, drop=True)
        tail, factor, edge = _reflection(trace, column)
        rest = take_slice(trace, a, len(lead) + 1, 1, n - j - 1)
        vector = NP.concatenate([NP.ones((*lead, 1), dtype_of(a)), tail], axis=-1)
        weights = NP.multiply(NP.conj(factor)[..., None], NP.vecmat(vector, rest))  # vecmat conjugates
        rest = NP.subtract(rest, NP.multiply(vector[..., :, None], weights[..., None, :]))
        first = NP.concatenate([edge[..., None], take_slice(trace, rest, len(lead), 0, 1, drop=True)], axis=-1)
        rows.append(NP.concatenate([NP.zeros((*lead, j), dtype_of(a)), first], axis=-1))
        tails.append(NP.concatenate([NP.zeros((*lead, j + 1), dtype_of(a)), tail], axis=-1))
        factors.append(factor)
        a = take_slice(trace, rest, len(lead), 1, m - j - 1)
    upper = NP.stack(rows, axis=-2)
    if m > k:
        upper = NP.concatenate([upper, NP.zeros((*lead, m - k, n), dtype_of(upper))], axis=-2)
    lower = NP.stack(tails, axis=-1)
    if n > k:
        lower = NP.concatenate([lower, NP.zeros((*lead, m, n - k), dtype_of(lower))], axis=-1)
    return NP.add(upper, lower), NP.stack(factors, axis=-1)


def _reflection(trace: Trace, x: Any) -> tuple[Any, Any, Any]:
    """Of vectors (..., m): the tail of v, the factor t and the entry b with ``(1 - t v v*)* x = b e1``, ``v[0] = 1``."""
    last = len(shape_of(x)) - 1
    m = shape_of(x)[last]
    first, tail = take_slice(trace, x, last, 0, 1, drop=True), take_slice(trace, x, last, 1, m - 1)
    if m == 1 and dtype_of(x).kind != "c":
        return tail, NP.zeros_like(first), first
    real = NP.real(first)
    size = NP.sum(NP.real(NP.multiply(NP.conj(tail), tail)), axis=-1) if m > 1 else NP.zeros_like(real)
    below = NP.add(size, NP.square(NP.imag(first))) if dtype_of(x).kind == "c" else size
    stays = NP.equal(below, 0)
    length = NP.sqrt(NP.where(stays, 1, NP.add(below, NP.square(real))))
    edge = NP.where(stays, real, NP.negative(NP.copysign(length, real)))
    factor = NP.where(stays, 0, NP.divide(NP.subtract(edge, first), NP.where(stays, 1, edge)))
    tail = NP.divide(tail, NP.where(stays, 1, NP.subtract(first, edge))[..., None])
    return tail, cast(trace, factor, dtype_of(x)), cast(trace, edge, dtype_of(x))


def raw(trace: Trace, x: Any) -> tuple[Any, Any]:
    """``numpy.linalg.qr(x, "raw")``: the reflections of each matrix, transposed, and their factors."""
    if min(shape_of(x)[-2:]) == 0:
        shape = shape_of(x)
        return reshape(trace, x, (*shape[:-2], shape[-1], shape[-2])), NP.zeros((*shape[:-2], 0), dtype_of(x))
    packed, factors = reflections(trace, x)
    return NP.swapaxes(packed, -1, -2), factors
