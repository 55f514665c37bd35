"""Linear systems on stacks of matrices: LU, solves, inverses, determinants, least squares, Sylvester equations.

A trailing operand `factor` of `solve`, `det` and `slogdet` is the packed `lu` of their matrix: computed once, it serves the value,
the derivatives and every other solve with the matrix, and no derivative flows through it. Without it (eagerly) they factorise.
Derivatives follow M. Giles, Collected matrix derivative results (2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, Joint, nondiff, primitive
from irgrad.ops.blas import getrf, getri, trsm
from irgrad.ops.matrices import (
    adjoint,
    block,
    check_matrix,
    check_stacks,
    column,
    conj,
    diagonal,
    identity,
    like,
    lower,
    on_diagonal,
    packed,
    packed_aval,
    product,
    real,
    swapped,
    unpack,
    upper,
)
from irgrad.ops.rules import INDEX, Shape, is_complex, reject


def stack_of(x: Any) -> Any:
    """The matrices of a stack one by one."""
    return np.reshape(x, (math.prod(x.shape[:-2]), *x.shape[-2:]))


# ---- LU ----


def _lu(a: Any) -> Any:
    """L and U in one matrix, LAPACK's row exchanges (from 0), the order of the rows: a[order] = L U."""
    m, n = a.shape[-2:]
    made = np.empty((*a.shape[:-2], m * n + min(m, n) + m), a.dtype)
    for x, out in zip(stack_of(a), made.reshape(-1, made.shape[-1]), strict=True):
        factor, pivots = getrf(x)[:2] if x.size else (x, np.zeros(0, int))
        order = list(range(m))
        for i, j in enumerate(pivots.tolist()):
            order[i], order[j] = order[j], order[i]
        out[: m * n], out[m * n : -m or None], out[m * n + len(pivots) :] = factor.ravel(), pivots, order
    return made


def lu_parts(m: int, n: int) -> tuple[Shape, Shape, Shape]:
    return (m, n), (min(m, n),), (m,)


def _lu_aval(a: Aval) -> Aval:
    check_matrix("lu", a)
    return packed_aval(a, *(math.prod(shape) for shape in lu_parts(*a.shape[-2:])))


def whole(b: Builder, x: Any) -> Any:
    """Whole numbers of a packed result as indices."""
    return b.convert(real(b, x), dtype="int64")


def take_rows(b: Builder, x: Any, order: Any) -> tuple[Any, ...]:
    """Index arrays that read the rows of stacked matrices in an order."""
    lead = b.shape(x)[:-2]
    ones = (1,) * (len(lead) + 1)
    lines = [b.reshape(b.iota(n=n, dtype="int64"), shape=(*ones[:i], n, *ones[i + 1 :])) for i, n in enumerate(lead)]
    return (*lines, order)


def _unit_solve(b: Builder, below: Any, x: Any, trans: bool) -> Any:
    return b.solve_triangular(below, x, lower=True, trans=trans, unit=True)


def _over(b: Builder, x: Any, u: Any, trans: bool) -> Any:
    """x u^-1, or x u^-T."""
    return swapped(b, b.solve_triangular(u, swapped(b, x), lower=False, trans=not trans, unit=False))


def _lu_jvp(b: Builder, t: Any, out: Any, a: Any) -> Any:
    """With M = L^-1 t[order] U^-1: dL = L tril(M, -1), dU = triu(M) U; the rest of a tall or wide matrix follows."""
    m, n = b.shape(a)[-2:]
    k, last = min(m, n), len(b.shape(a)) - 1
    packed_lu, _, order = unpack(b, out, *lu_parts(m, n))
    t = b.gather(t, *take_rows(b, t, whole(b, order)))
    l1, u1 = block(b, packed_lu, (0, 0), (k, k)), upper(b, block(b, packed_lu, (0, 0), (k, k)))
    inner = _over(b, _unit_solve(b, l1, block(b, t, (0, 0), (k, k)), False), u1, False)
    below, above = lower(b, inner, -1), upper(b, inner)
    unit = b.add(lower(b, l1, -1), identity(b, k, b.dtype(a)))
    made = b.add(product(b, unit, below), product(b, above, u1))
    if m > n:
        l2, t2 = block(b, packed_lu, (k, 0), (m - k, k)), block(b, t, (k, 0), (m - k, k))
        made = b.concatenate(made, b.sub(_over(b, t2, u1, False), product(b, l2, above)), axis=last - 1)
    if n > m:
        u2, t2 = block(b, packed_lu, (0, k), (k, n - k)), block(b, t, (0, k), (k, n - k))
        made = b.concatenate(made, b.sub(_unit_solve(b, l1, t2, False), product(b, below, u2)), axis=last)
    lead = b.shape(a)[:-2]
    flat = b.reshape(made, shape=(*lead, m * n))
    return b.concatenate(flat, b.zeros(shape=(*lead, k + m), dtype=b.dtype(a).name), axis=len(lead))


def _lu_vjp(b: Builder, ct: Any, out: Any, a: Any) -> Any:
    """The transpose of the jvp."""
    m, n = b.shape(a)[-2:]
    k, last = min(m, n), len(b.shape(a)) - 1
    packed_lu, _, order = unpack(b, out, *lu_parts(m, n))
    ct, _, _ = unpack(b, ct, *lu_parts(m, n))
    l1, u1 = block(b, packed_lu, (0, 0), (k, k)), upper(b, block(b, packed_lu, (0, 0), (k, k)))
    unit = b.add(lower(b, l1, -1), identity(b, k, b.dtype(a)))
    ct1 = block(b, ct, (0, 0), (k, k))
    below = product(b, swapped(b, unit), lower(b, ct1, -1))
    above = product(b, upper(b, ct1), swapped(b, u1))
    if m > n:
        ct2 = block(b, ct, (k, 0), (m - k, k))
        above = b.sub(above, product(b, swapped(b, block(b, packed_lu, (k, 0), (m - k, k))), ct2))
    if n > m:
        ct2 = block(b, ct, (0, k), (k, n - k))
        below = b.sub(below, product(b, ct2, swapped(b, block(b, packed_lu, (0, k), (k, n - k)))))
    inner = b.add(lower(b, below, -1), upper(b, above))
    made = _over(b, _unit_solve(b, l1, inner, True), u1, True)
    if m > n:
        made = b.concatenate(made, _over(b, ct2, u1, True), axis=last - 1)
    if n > m:
        made = b.concatenate(made, _unit_solve(b, l1, ct2, True), axis=last)
    return b.scatter_add(b.zeros_like(a), made, *take_rows(b, a, whole(b, order)))


def _row_order(pivots: Any) -> Any:
    """The order of the rows after exchanges i with pivots[i], one after the other."""
    order = np.broadcast_to(np.arange(pivots.shape[-1], dtype=INDEX), pivots.shape).copy()
    for row, exchanges in zip(order.reshape(-1, order.shape[-1]), pivots.reshape(-1, order.shape[-1]), strict=True):
        for i, j in enumerate(exchanges):
            row[[i, j]] = row[[j, i]]
    return order


def _row_order_aval(pivots: Aval) -> Aval:
    if pivots.ndim < 1 or pivots.dtype.kind not in "iu":
        raise reject("row_order", (pivots,), "expected vectors of row numbers")
    return Aval(pivots.shape, INDEX)


row_order = primitive(
    "row_order",
    evaluate=_row_order,
    aval=_row_order_aval,
    vjp=nondiff("indices are integers"),
    jvp=nondiff("indices are integers"),
    traits=PURE,
)
lu = primitive("lu", evaluate=_lu, aval=_lu_aval, vjp=(_lu_vjp,), jvp=(_lu_jvp,), traits=PURE)

# ---- triangular systems ----


def _solve_triangular(a: Any, x: Any, *, lower: bool, trans: bool, unit: bool) -> Any:
    """By BLAS for one matrix; a stack goes through numpy's solve of the triangle, which loops in C.

    So do matrices of middle size, for which OpenBLAS' trsm wakes its threads, to wait for them on a busy machine.
    Raises LinAlgError where the triangle is singular.
    """
    if a.ndim > 2 or a.size == 0 or (x.size >= 1024 and len(a) < 128):
        triangle = np.tril(a, -int(unit)) if lower else np.triu(a, int(unit))
        if unit:
            triangle += np.eye(a.shape[-1], dtype=a.dtype)
        return np.linalg.solve(np.swapaxes(triangle, -1, -2) if trans else triangle, x)
    if not unit and not np.diagonal(a).all():
        raise np.linalg.LinAlgError(f"singular matrix: resolution failed at diagonal {int(np.argmin(np.diagonal(a) != 0))}")
    by_columns = a.flags.f_contiguous
    return trsm(a if by_columns else np.ascontiguousarray(a).T, x, lower == by_columns, trans == by_columns, unit)


def _solve_triangular_aval(a: Aval, x: Aval, *, lower: bool, trans: bool, unit: bool) -> Aval:
    return _system_aval("solve_triangular", a, x)


def _system_aval(op: str, a: Aval, x: Aval, *others: Aval) -> Aval:
    check_matrix(op, a, x, *others, square=True)
    check_matrix(op, x, a, *others)
    check_stacks(op, a, x)
    if a.shape[-1] != x.shape[-2]:
        raise reject(op, (a, x, *others), f"{x.shape[-2]} equations for {a.shape[-1]} unknowns; expected them equal")
    return Aval(x.shape, x.dtype)


def _triangle_of(b: Builder, x: Any, is_lower: bool, unit: bool) -> Any:
    return lower(b, x, -int(unit)) if is_lower else upper(b, x, int(unit))


def _triangular_vjp_a(b: Builder, ct: Any, out: Any, a: Any, x: Any, *, lower: bool, trans: bool, unit: bool) -> Any:
    back = b.solve_triangular(a, ct, lower=lower, trans=not trans, unit=unit)
    made = product(b, out, swapped(b, back)) if trans else product(b, back, swapped(b, out))
    return b.neg(_triangle_of(b, made, lower, unit))


def _triangular_jvp_a(b: Builder, t: Any, out: Any, a: Any, x: Any, *, lower: bool, trans: bool, unit: bool) -> Any:
    t = _triangle_of(b, t, lower, unit)
    return b.neg(b.solve_triangular(a, product(b, swapped(b, t) if trans else t, out), lower=lower, trans=trans, unit=unit))


solve_triangular = primitive(
    "solve_triangular",
    evaluate=_solve_triangular,
    aval=_solve_triangular_aval,
    vjp=(
        _triangular_vjp_a,
        lambda b, ct, out, a, x, *, lower, trans, unit: b.solve_triangular(a, ct, lower=lower, trans=not trans, unit=unit),
    ),
    jvp=(_triangular_jvp_a, lambda b, t, out, a, x, **params: b.solve_triangular(a, t, **params)),
    traits=PURE,
)

# ---- general systems ----


def _check_factor(op: str, a: Aval, factor: tuple[Aval, ...]) -> None:
    if any(not f.same_array(_lu_aval(a)) for f in factor):
        raise reject(op, (a, *factor), "expected the packed lu of the matrix")


def _solve_aval(a: Aval, x: Aval, *factor: Aval, trans: bool) -> Aval:
    _check_factor("solve", a, factor)
    return _system_aval("solve", a, x)


def _solve_vjp(b: Builder, wanted: Sequence[int], ct: Any, out: Any, a: Any, x: Any, *factor: Any, trans: bool) -> dict[int, Any]:
    """A^-T ct for the right-hand sides; minus that times out^T for the matrix."""
    if not {0, 1}.intersection(wanted):
        return {}
    back = b.solve(a, ct, *factor, trans=not trans)
    made = {1: back} if 1 in wanted else {}
    if 0 in wanted:
        made[0] = b.neg(product(b, out, swapped(b, back)) if trans else product(b, back, swapped(b, out)))
    return made


def _solve_jvp(b: Builder, ts: Any, out: Any, a: Any, x: Any, *factor: Any, trans: bool) -> Any:
    """A^-1 (dx - dA out)."""
    ta, tx = ts[:2]
    if ta is not None:
        change = product(b, swapped(b, ta) if trans else ta, out)
        tx = b.neg(change) if tx is None else b.sub(tx, change)
    return None if tx is None else b.solve(a, tx, *factor, trans=trans)


solve = primitive(
    "solve",
    evaluate=lambda a, x, *factor, trans: np.linalg.solve(np.swapaxes(a, -1, -2) if trans else a, x),
    aval=_solve_aval,
    vjp=Joint(_solve_vjp),
    jvp=_solve_jvp,
    traits=PURE,
)


def _inv_aval(a: Aval) -> Aval:
    check_matrix("inv", a, square=True)
    return Aval(a.shape, a.dtype)


inv = primitive(
    "inv",
    evaluate=np.linalg.inv,
    aval=_inv_aval,
    vjp=(lambda b, ct, out, a: b.neg(product(b, swapped(b, out), ct, swapped(b, out))),),
    jvp=(lambda b, t, out, a: b.neg(product(b, out, t, out)),),
    traits=PURE,
)

# ---- determinants ----


def _number_aval(op: str, a: Aval, factor: tuple[Aval, ...]) -> Aval:
    check_matrix(op, a, *factor, square=True)
    _check_factor(op, a, factor)
    return Aval(a.shape[:-2], a.dtype)


def _spread(b: Builder, ct: Any) -> Any:
    """A number per matrix, to be multiplied with the matrices."""
    return column(b, column(b, ct)) if b.shape(ct) else ct


def _full_sum(b: Builder, x: Any) -> Any:
    n = len(b.shape(x))
    return b.reduce_sum(x, axes=(n - 2, n - 1))


det = primitive(
    "det",
    evaluate=lambda a, *factor: np.linalg.det(a),
    aval=lambda a, *factor: _number_aval("det", a, factor),
    vjp=lambda b, index, ct, out, a, *factor: None if index else b.mul(_spread(b, ct), b.cofactor(a)),
    jvp=lambda b, ts, out, a, *factor: None if ts[0] is None else _full_sum(b, b.mul(ts[0], b.cofactor(a))),
    traits=PURE,
)


_LIMITS = {char: 10.0 / float(np.sqrt(np.finfo(char).eps)) for char in "fdFD"}


def _by_inverse(a: Any) -> Any:
    """det(a) a^-T; None where a matrix, by its norm and that of its inverse, is close to a singular one."""
    limit = _LIMITS[a.dtype.char]
    if a.ndim == 2:  # one factorisation for both; that of a^T, which is in LAPACK's order
        lu, pivots, singular = getrf(a.T)
        if singular:
            return None
        inverse = getri(lu, pivots)
        if not np.vdot(a, a).real * np.vdot(inverse, inverse).real < limit * limit:
            return None
        odd = np.count_nonzero(pivots != np.arange(len(pivots))) % 2
        det = lu.diagonal().prod()
        return (-det if odd else det) * inverse
    try:
        inverse = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return None
    if np.all(np.abs(a).sum(-2).max(-1) * np.abs(inverse).sum(-2).max(-1) < limit):
        return np.linalg.det(a)[..., None, None] * np.swapaxes(inverse, -1, -2)
    return None


def _cofactor(a: Any) -> Any:
    """det(a) a^-T, the gradient of det: by the inverse, or where the matrix is close to singular by its singular values."""
    if a.shape[-1] == 0:
        return a.copy()
    made = _by_inverse(a)
    if made is not None:
        return made
    if not np.isfinite(a).all():
        return np.full_like(a, np.nan)
    u, s, vh = np.linalg.svd(a)
    others = np.stack([np.prod(np.delete(s, i, -1), -1) for i in range(s.shape[-1])], -1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return (sign[..., None, None] * (np.conj(u) * others[..., None, :]) @ np.conj(vh)).astype(a.dtype, copy=False)


def _cofactor_rule(b: Builder, t: Any, out: Any, a: Any) -> Any:
    """The second derivative of det, a symmetric form: its jvp is its vjp.

    In the bases of a = U S V^H with P = U^H t V: the diagonal is sum over j != i of (product of the others than i and j) P_jj,
    the rest minus that product times P^T.
    """
    lead, n = b.shape(a)[:-2], b.shape(a)[-1]
    u, s, vh = unpack(b, b.svd(a, full=False), (n, n), (n,), (n, n))
    s = real(b, s)
    inner = product(b, adjoint(b, u), t, adjoint(b, vh))
    others = like(b, _products_of_others(b, s), inner)
    kept = product(b, others, column(b, diagonal(b, inner)))
    made = b.sub(on_diagonal(b, b.reshape(kept, shape=(*lead, n))), b.mul(others, swapped(b, inner)))
    sign = b.mul(b.det(u), b.det(vh))
    return b.mul(_spread(b, sign), product(b, conj(b, u), made, conj(b, vh)))


def _products_of_others(b: Builder, s: Any) -> Any:
    """Products of all but the i-th and the j-th value; zeros on the diagonal."""
    *lead, n = b.shape(s)
    eye = b.convert(identity(b, n, np.dtype(np.int64)), dtype="bool")
    skipped = b.logical_or(b.reshape(eye, shape=(n, 1, n)), b.reshape(eye, shape=(1, n, n)))
    rows = b.where(skipped, 1.0, b.reshape(s, shape=(*lead, 1, 1, n)))
    return b.where(eye, 0.0, b.reduce_prod(rows, axes=(len(lead) + 2,)))


def _cofactor_aval(a: Aval) -> Aval:
    check_matrix("cofactor", a, square=True)
    return Aval(a.shape, a.dtype)


cofactor = primitive("cofactor", evaluate=_cofactor, aval=_cofactor_aval, vjp=(_cofactor_rule,), jvp=(_cofactor_rule,), traits=PURE)


def _slogdet_aval(a: Aval, *factor: Aval) -> Aval:
    check_matrix("slogdet", a, *factor, square=True)
    _check_factor("slogdet", a, factor)
    return packed_aval(a, 1, 1)


def _inverse_transposed(b: Builder, a: Any, factor: tuple[Any, ...]) -> Any:
    if not factor:
        return swapped(b, b.inv(a))
    return b.solve(a, identity(b, b.shape(a)[-1], b.dtype(a), b.shape(a)[:-2]), *factor, trans=True)


def _slogdet_vjp(b: Builder, index: int, ct: Any, out: Any, a: Any, *factor: Any) -> Any:
    """A^-T Re(ct_log); a complex sign s turns by i Im(tr(A^-1 dA)) s."""
    if index:
        return None
    ct_sign, ct_log = unpack(b, ct, (), ())
    if is_complex(b, a):
        turn = b.imag(b.mul(ct_sign, unpack(b, out, (), ())[0]))
        ct_log = b.complex_of(b.real(ct_log), turn)
    return b.mul(_spread(b, ct_log), _inverse_transposed(b, a, factor))


def _slogdet_jvp(b: Builder, ts: Any, out: Any, a: Any, *factor: Any) -> Any:
    if ts[0] is None:
        return None
    lead = b.shape(a)[:-2]
    change = _full_sum(b, b.mul(ts[0], _inverse_transposed(b, a, factor)))
    if not is_complex(b, a):
        return b.concatenate(b.zeros(shape=(*lead, 1), dtype=b.dtype(a).name), column(b, change), axis=len(lead))
    sign = unpack(b, out, (), ())[0]
    turned = b.mul(b.complex_of(0.0, b.imag(change)), sign)
    size = b.convert(b.real(change), dtype=b.dtype(a).name)
    return b.concatenate(column(b, turned), column(b, size), axis=len(lead))


slogdet = primitive(
    "slogdet",
    evaluate=lambda a, *factor: packed(a.shape[:-2], a.dtype, *np.linalg.slogdet(a)),
    aval=_slogdet_aval,
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    traits=PURE,
)
