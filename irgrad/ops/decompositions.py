"""Decompositions of stacks of matrices: Cholesky, symmetric and general eigenvalues, singular values, QR.

Each is one primitive whose result is packed (`irgrad.ops.matrices`). Derivatives follow M. Giles, Collected matrix derivative
results (2008), and where noted I. Murray, Differentiation of the Cholesky decomposition (2016), J. Townsend, Differentiating
the singular value decomposition (2016), M. Seeger et al., Auto-differentiating linear algebra (2017).

Conventions. Cholesky is a function of the hermitian part of its operand (autograd's convention), `eigh` of the triangle that is read.
Vectors of values that differ by rounding only have no derivative: such pairs contribute zero, which is right for functions of the
values and of the whole subspace. Completed bases (full_matrices, mode "complete") turn as little as they can: right for functions
of the space that the added vectors span.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irgrad.ir.aval import Aval, real_dtype
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, nondiff, primitive
from irgrad.ops.matrices import (
    adjoint,
    block,
    check_matrix,
    conj,
    diagonal,
    from_triangle,
    gaps,
    hermitian_part,
    inverses,
    like,
    lower,
    on_diagonal,
    pack,
    packed,
    packed_aval,
    product,
    real,
    row,
    sums,
    swapped,
    to_triangle,
    unpack,
    upper,
)

# ---- Cholesky ----


def _cholesky_aval(a: Aval) -> Aval:
    check_matrix("cholesky", a, square=True)
    return Aval(a.shape, a.dtype)


def _half_lower(b: Builder, x: Any) -> Any:
    """The lower triangle with half the diagonal."""
    return b.sub(lower(b, x), b.mul(0.5, on_diagonal(b, diagonal(b, x))))


def _cholesky_vjp(b: Builder, ct: Any, out: Any, a: Any) -> Any:
    """Hermitian part of L^-T half_lower(L^T ct) conj(L)^-1 (Murray 2016, eq. 10)."""
    inner = _half_lower(b, product(b, swapped(b, out), lower(b, ct)))
    left = b.solve_triangular(out, inner, lower=True, trans=True, unit=False)
    made = swapped(b, b.solve_triangular(conj(b, out), swapped(b, left), lower=True, trans=True, unit=False))
    return hermitian_part(b, made)


def _cholesky_jvp(b: Builder, t: Any, out: Any, a: Any) -> Any:
    """L half_lower(L^-1 t L^-H) of the hermitian part of t (Murray 2016, eq. 8)."""
    left = b.solve_triangular(out, hermitian_part(b, t), lower=True, trans=False, unit=False)
    inner = swapped(b, b.solve_triangular(conj(b, out), swapped(b, left), lower=True, trans=False, unit=False))
    return product(b, out, _half_lower(b, inner))


cholesky = primitive("cholesky", evaluate=np.linalg.cholesky, aval=_cholesky_aval, vjp=(_cholesky_vjp,), jvp=(_cholesky_jvp,), traits=PURE)

# ---- symmetric eigenvalues ----


def _eigh(a: Any, *, lower: bool, driver: str = "evd") -> Any:
    """Eigenvalues, then the matrix of eigenvectors. `driver` evr is scipy's default, whose vectors may have other signs."""
    if driver == "evd":
        w, v = np.linalg.eigh(a, UPLO="L" if lower else "U")
    else:
        from scipy.linalg import eigh

        w, v = _stacked(lambda x: eigh(x, lower=lower, driver=driver), a, (a.shape[-1:], a.shape[-2:]), (a.real.dtype, a.dtype))
    return packed(a.shape[:-2], a.dtype, w, v)


def _stacked(function: Any, a: Any, shapes: Any, dtypes: Any) -> list[Any]:
    """A function of one matrix with several results, over a stack."""
    lead = a.shape[:-2]
    results = [np.empty((*lead, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    for index in np.ndindex(*lead):
        for result, value in zip(results, function(a[index]), strict=True):
            result[index] = value
    return results


def _eigh_aval(a: Aval, *, lower: bool, driver: str = "evd") -> Aval:
    check_matrix("eigh", a, square=True)
    n = a.shape[-1]
    return packed_aval(a, n, n * n)


def _pair(b: Builder, x: Any) -> tuple[Any, Any]:
    """Values and vectors of a packed result, its tangent or cotangent."""
    size = b.shape(x)[-1]
    n = math.isqrt(size)  # n + n^2 is below (n + 1)^2
    values, vectors = unpack(b, x, (n,), (n, n))
    return values, vectors


def _eigh_vjp(b: Builder, ct: Any, out: Any, a: Any, *, lower: bool, driver: str = "evd") -> Any:
    """conj(V) (diag(ct_w) + F o (V^T ct_V)) V^T with F_ij = 1 / (w_j - w_i) (Giles 2008, 3.1)."""
    w, v = _pair(b, out)
    ct_w, ct_v = _pair(b, ct)
    vt = swapped(b, v)
    inner = b.mul(gaps(b, real(b, w), b.shape(a)[-1]), product(b, vt, ct_v))
    inner = b.add(inner, on_diagonal(b, real(b, ct_w)))
    return to_triangle(b, product(b, conj(b, v), inner, vt), lower)


def _eigh_jvp(b: Builder, t: Any, out: Any, a: Any, *, lower: bool, driver: str = "evd") -> Any:
    """diag(P) and V (F o P) with P = V^H t V."""
    w, v = _pair(b, out)
    inner = product(b, adjoint(b, v), from_triangle(b, t, lower), v)
    turned = product(b, v, b.mul(gaps(b, real(b, w), b.shape(a)[-1]), inner))
    values = real(b, diagonal(b, inner))
    return pack(b, b.shape(a)[:-2], like(b, values, v), turned)


eigh = primitive("eigh", evaluate=_eigh, aval=_eigh_aval, vjp=(_eigh_vjp,), jvp=(_eigh_jvp,), traits=PURE)


def _eigvalsh_aval(a: Aval, *, lower: bool) -> Aval:
    check_matrix("eigvalsh", a, square=True)
    return Aval(a.shape[:-1], real_dtype(a.dtype))


def _eigvalsh_vjp(b: Builder, ct: Any, out: Any, a: Any, *, lower: bool) -> Any:
    """conj(V) diag(ct) V^T."""
    _, v = _pair(b, b.eigh(a, lower=lower))
    return to_triangle(b, product(b, b.mul(conj(b, v), row(b, ct)), swapped(b, v)), lower)


def _eigvalsh_jvp(b: Builder, t: Any, out: Any, a: Any, *, lower: bool) -> Any:
    _, v = _pair(b, b.eigh(a, lower=lower))
    return _column_products(b, v, product(b, from_triangle(b, t, lower), v))


def _column_products(b: Builder, x: Any, y: Any) -> Any:
    """Re of the inner products of equal columns."""
    total = b.reduce_sum(b.mul(conj(b, x), y), axes=(len(b.shape(x)) - 2,))
    return real(b, total)


eigvalsh = primitive(
    "eigvalsh",
    evaluate=lambda a, *, lower: np.linalg.eigvalsh(a, UPLO="L" if lower else "U"),
    aval=_eigvalsh_aval,
    vjp=(_eigvalsh_vjp,),
    jvp=(_eigvalsh_jvp,),
    traits=PURE,
)

# ---- general eigenvalues ----


def _complex_of(a: Aval) -> Any:
    return a.dtype if a.dtype.kind == "c" else np.dtype(f"c{2 * a.dtype.itemsize}")


def _eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    return packed(a.shape[:-2], np.result_type(a.dtype, np.complex64), w, v)


def _eig_aval(a: Aval) -> Aval:
    check_matrix("eig", a, square=True)
    n = a.shape[-1]
    return Aval((*a.shape[:-2], n + n * n), _complex_of(a))


def _phase(b: Builder, v: Any) -> Any:
    """1 / v at the largest entry of each column, which LAPACK makes real; 0 elsewhere."""
    n = b.shape(v)[-2]
    first = b.argmax(b.abs(v), axis=len(b.shape(v)) - 2)
    mask = b.equal(b.reshape(b.iota(n=n, dtype="int64"), shape=(n, 1)), row(b, first))
    return b.where(mask, b.div(1.0, b.where(mask, b.real(v), 1.0)), 0.0)


def _eig_jvp(b: Builder, t: Any, out: Any, a: Any) -> Any:
    """diag(P) and V (F o P) with P = V^-1 t V, less what changes the columns' length and phase.

    C. Boeddeker et al., On the computation of complex-valued gradients (2017), eq. 4.77, with the phase that LAPACK chooses.
    """
    w, v = _pair(b, out)
    n = b.shape(v)[-1]
    inner = b.solve(v, product(b, like(b, t, v), v), trans=False)
    free = product(b, v, b.mul(gaps(b, w, n), inner))
    length = _column_products(b, v, free)
    turn = b.reduce_sum(b.mul(_phase(b, v), b.imag(free)), axes=(len(b.shape(v)) - 2,))
    moved = b.sub(free, b.mul(v, row(b, b.complex_of(length, turn))))
    return pack(b, b.shape(a)[:-2], diagonal(b, inner), moved)


def _eig_vjp(b: Builder, ct: Any, out: Any, a: Any) -> Any:
    """The transpose of the jvp."""
    w, v = _pair(b, out)
    ct_w, ct_v = _pair(b, ct)
    n = b.shape(v)[-1]
    axis = (len(b.shape(v)) - 2,)
    along = b.reduce_sum(b.mul(ct_v, v), axes=axis)  # of the length: Re; of the phase: -Im
    free = b.sub(ct_v, b.mul(row(b, b.real(along)), conj(b, v)))
    free = b.sub(free, b.mul(b.mul(row(b, b.imag(along)), _phase(b, v)), 1j))
    vt = swapped(b, v)
    inner = b.add(b.mul(gaps(b, w, n), product(b, vt, free)), on_diagonal(b, ct_w))
    return product(b, b.solve(v, inner, trans=True), vt)


def _eigvals_aval(a: Aval) -> Aval:
    check_matrix("eigvals", a, square=True)
    return Aval(a.shape[:-1], _complex_of(a))


def _eigvals_vjp(b: Builder, ct: Any, out: Any, a: Any) -> Any:
    """V^-T diag(ct) V^T."""
    _, v = _pair(b, b.eig(a))
    return product(b, b.solve(v, on_diagonal(b, ct), trans=True), swapped(b, v))


def _eigvals_jvp(b: Builder, t: Any, out: Any, a: Any) -> Any:
    _, v = _pair(b, b.eig(a))
    return diagonal(b, b.solve(v, product(b, like(b, t, v), v), trans=False))


# Host rows: whether the result is real depends on data, and vectors of real matrices come as pairs of columns to unpack.
eig = primitive("eig", evaluate=_eig, aval=_eig_aval, vjp=(_eig_vjp,), jvp=(_eig_jvp,), traits=PURE, host=True)
eigvals = primitive(
    "eigvals",
    evaluate=lambda a: np.linalg.eigvals(a).astype(np.result_type(a.dtype, np.complex64), copy=False),
    aval=_eigvals_aval,
    vjp=(_eigvals_vjp,),
    jvp=(_eigvals_jvp,),
    traits=PURE,
    host=True,
)

# ---- singular values ----


def _svd(a: Any, *, full: bool) -> Any:
    return packed(a.shape[:-2], a.dtype, *np.linalg.svd(a, full_matrices=full))


def _svd_shapes(m: int, n: int, full: bool) -> tuple[tuple[int, ...], ...]:
    k = min(m, n)
    return ((m, m), (k,), (n, n)) if full else ((m, k), (k,), (k, n))


def _svd_aval(a: Aval, *, full: bool) -> Aval:
    check_matrix("svd", a)
    return packed_aval(a, *map(math.prod, _svd_shapes(a.shape[-2], a.shape[-1], full)))


def _svd_jvp(b: Builder, t: Any, out: Any, a: Any, *, full: bool) -> Any:
    """Turns of the bases from P = U^H t V (Townsend 2016).

    With dU = U X and dV = V Y inside the bases, X + Y = (P + P^H) / (s_j - s_i) and X - Y = (P - P^H) / (s_i + s_j).
    """
    m, n = b.shape(a)[-2:]
    k = min(m, n)
    u, s, vh = unpack(b, out, *_svd_shapes(m, n, full))
    s, v = real(b, s), adjoint(b, vh)
    u1, v1 = block(b, u, (0, 0), (m, k)), block(b, v, (0, 0), (n, k))
    right = product(b, t, v1)
    inner = product(b, adjoint(b, u1), right)
    other = adjoint(b, inner)
    common = b.mul(0.5, b.mul(gaps(b, s, max(m, n)), b.add(inner, other)))
    opposed = b.mul(0.5, b.mul(sums(b, s, max(m, n)), b.sub(inner, other)))
    over = row(b, inverses(b, s, max(m, n)))
    du = _turned(b, u, k, b.add(common, opposed), b.mul(right, over))
    dv = _turned(b, v, k, b.sub(common, opposed), b.mul(product(b, adjoint(b, t), u1), over))
    return pack(b, b.shape(a)[:-2], du, like(b, real(b, diagonal(b, inner)), u), adjoint(b, dv))


def _turned(b: Builder, u: Any, k: int, inside: Any, towards: Any) -> Any:
    """The tangent of a basis: `inside` its first k columns, and what of `towards` lies outside of their span."""
    m, columns = b.shape(u)[-2:]
    u1 = block(b, u, (0, 0), (m, k))
    made = product(b, u1, inside)
    if m == k:
        return made
    if columns == k:
        return b.add(made, b.sub(towards, product(b, u1, product(b, adjoint(b, u1), towards))))
    u2 = block(b, u, (0, k), (m, columns - k))
    across = product(b, adjoint(b, u2), towards)
    added = b.neg(product(b, u1, adjoint(b, across)))
    return b.concatenate(b.add(made, product(b, u2, across)), added, axis=len(b.shape(u)) - 1)


def _outside(b: Builder, g: Any, u: Any, k: int) -> Any:
    """The transpose of `_turned` in `towards`, None where the basis has no outside."""
    m, columns = b.shape(u)[-2:]
    if m == k:
        return None
    u1, g1 = block(b, u, (0, 0), (m, k)), block(b, g, (0, 0), (m, k))
    if columns == k:
        return b.sub(g1, product(b, u1, product(b, adjoint(b, u1), g1)))
    u2, g2 = block(b, u, (0, k), (m, columns - k)), block(b, g, (0, k), (m, columns - k))
    across = b.sub(product(b, adjoint(b, u2), g1), product(b, adjoint(b, g2), u1))
    return product(b, u2, across)


def _svd_vjp(b: Builder, ct: Any, out: Any, a: Any, *, full: bool) -> Any:
    """The transpose of the jvp."""
    m, n = b.shape(a)[-2:]
    k = min(m, n)
    u, s, vh = unpack(b, out, *_svd_shapes(m, n, full))
    gu, gs, gvh = unpack(b, conj(b, ct), *_svd_shapes(m, n, full))
    s, v, gv = real(b, s), adjoint(b, vh), adjoint(b, gvh)
    u1, v1 = block(b, u, (0, 0), (m, k)), block(b, v, (0, 0), (n, k))
    by_u = product(b, adjoint(b, u1), block(b, gu, (0, 0), (m, k)))
    by_v = product(b, adjoint(b, v1), block(b, gv, (0, 0), (n, k)))
    common = b.mul(0.5, b.mul(gaps(b, s, max(m, n)), b.add(by_u, by_v)))
    opposed = b.mul(0.5, b.mul(sums(b, s, max(m, n)), b.sub(by_u, by_v)))
    inner = b.add(b.add(common, adjoint(b, common)), b.sub(opposed, adjoint(b, opposed)))
    made = product(b, u1, b.add(inner, on_diagonal(b, real(b, gs))), adjoint(b, v1))
    over = row(b, inverses(b, s, max(m, n)))
    by_u, by_v = _outside(b, gu, u, k), _outside(b, gv, v, k)
    if by_u is not None:
        made = b.add(made, product(b, b.mul(by_u, over), adjoint(b, v1)))
    if by_v is not None:
        made = b.add(made, product(b, b.mul(u1, over), adjoint(b, by_v)))
    return conj(b, made)


svd = primitive("svd", evaluate=_svd, aval=_svd_aval, vjp=(_svd_vjp,), jvp=(_svd_jvp,), traits=PURE)


def _svdvals_aval(a: Aval) -> Aval:
    check_matrix("svdvals", a)
    return Aval((*a.shape[:-2], min(a.shape[-2:])), real_dtype(a.dtype))


def _bases(b: Builder, a: Any) -> tuple[Any, Any]:
    m, n = b.shape(a)[-2:]
    u, _, vh = unpack(b, b.svd(a, full=False), *_svd_shapes(m, n, False))
    return u, vh


def _svdvals_vjp(b: Builder, ct: Any, out: Any, a: Any) -> Any:
    """conj(U diag(ct) V^H)."""
    u, vh = _bases(b, a)
    return conj(b, product(b, b.mul(u, row(b, ct)), vh))


def _svdvals_jvp(b: Builder, t: Any, out: Any, a: Any) -> Any:
    u, vh = _bases(b, a)
    return _column_products(b, u, product(b, t, adjoint(b, vh)))


svdvals = primitive(
    "svdvals",
    evaluate=lambda a: np.linalg.svd(a, compute_uv=False),
    aval=_svdvals_aval,
    vjp=(_svdvals_vjp,),
    jvp=(_svdvals_jvp,),
    traits=PURE,
)

# ---- QR ----


def _qr(a: Any, *, full: bool) -> Any:
    return packed(a.shape[:-2], a.dtype, *np.linalg.qr(a, mode="complete" if full else "reduced"))


def _qr_shapes(m: int, n: int, full: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    k = m if full else min(m, n)
    return (m, k), (k, n)


def _qr_aval(a: Aval, *, full: bool) -> Aval:
    check_matrix("qr", a)
    return packed_aval(a, *map(math.prod, _qr_shapes(a.shape[-2], a.shape[-1], full)))


def _over(b: Builder, x: Any, r: Any) -> Any:
    """x r^-1 for an upper triangle r."""
    return swapped(b, b.solve_triangular(r, swapped(b, x), lower=False, trans=True, unit=False))


def _over_adjoint(b: Builder, x: Any, r: Any) -> Any:
    """x r^-H for an upper triangle r."""
    return adjoint(b, b.solve_triangular(r, adjoint(b, x), lower=False, trans=False, unit=False))


def _qr_jvp(b: Builder, t: Any, out: Any, a: Any, *, full: bool) -> Any:
    """With C = Q^H t R^-1: dR = E R, dQ = t R^-1 - Q E for the upper triangle E that keeps Q unitary (Seeger et al. 2017)."""
    m, n = b.shape(a)[-2:]
    k = min(m, n)
    q, r = unpack(b, out, *_qr_shapes(m, n, full))
    q1, r1 = block(b, q, (0, 0), (m, k)), block(b, r, (0, 0), (k, k))
    t1 = block(b, t, (0, 0), (m, k))
    right = _over(b, t1, r1)
    inner = product(b, adjoint(b, q1), right)
    change = b.add(b.add(upper(b, inner, 1), adjoint(b, lower(b, inner, -1))), on_diagonal(b, real(b, diagonal(b, inner))))
    dq = b.sub(right, product(b, q1, change))
    dr = product(b, change, r1)
    last = len(b.shape(a)) - 1
    if n > m:
        rest, t2 = block(b, a, (0, k), (m, n - k)), block(b, t, (0, k), (m, n - k))
        dr = b.concatenate(dr, b.add(product(b, adjoint(b, dq), rest), product(b, adjoint(b, q1), t2)), axis=last)
    if full and m > n:
        q2 = block(b, q, (0, k), (m, m - k))
        dq = b.concatenate(dq, b.neg(product(b, q1, adjoint(b, product(b, adjoint(b, q2), right)))), axis=last)
        dr = b.concatenate(dr, b.zeros(shape=(*b.shape(r)[:-2], m - k, n), dtype=b.dtype(r).name), axis=last - 1)
    return pack(b, b.shape(a)[:-2], dq, dr)


def _qr_vjp(b: Builder, ct: Any, out: Any, a: Any, *, full: bool) -> Any:
    """(g_Q + Q sym(g_R R^H - Q^H g_Q)) R^-H, where sym mirrors the upper triangle (Seeger et al. 2017, for LQ)."""
    m, n = b.shape(a)[-2:]
    k = min(m, n)
    q, r = unpack(b, out, *_qr_shapes(m, n, full))
    gq, gr = unpack(b, conj(b, ct), *_qr_shapes(m, n, full))
    q1, r1 = block(b, q, (0, 0), (m, k)), block(b, r, (0, 0), (k, k))
    g1, gr1 = block(b, gq, (0, 0), (m, k)), block(b, gr, (0, 0), (k, k))
    if n > m:
        rest, gr2 = block(b, a, (0, k), (m, n - k)), block(b, gr, (0, k), (m, n - k))
        g1 = b.add(g1, product(b, rest, adjoint(b, gr2)))
    inner = b.sub(product(b, gr1, adjoint(b, r1)), product(b, adjoint(b, q1), g1))
    above = upper(b, inner, 1)
    inner = b.add(b.add(above, adjoint(b, above)), on_diagonal(b, real(b, diagonal(b, inner))))
    left = b.add(g1, product(b, q1, inner))
    if full and m > n:
        q2, g2 = block(b, q, (0, k), (m, m - k)), block(b, gq, (0, k), (m, m - k))
        left = b.sub(left, product(b, q2, adjoint(b, g2), q1))
    made = _over_adjoint(b, left, r1)
    if n > m:
        made = b.concatenate(made, product(b, q1, gr2), axis=len(b.shape(a)) - 1)
    return conj(b, made)


qr = primitive("qr", evaluate=_qr, aval=_qr_aval, vjp=(_qr_vjp,), jvp=(_qr_jvp,), traits=PURE)


def _column_order(a: Any) -> Any:
    from scipy.linalg import qr

    order = np.empty((*a.shape[:-2], a.shape[-1]), np.int32)
    for index in np.ndindex(*a.shape[:-2]):
        order[index] = qr(a[index], mode="r", pivoting=True)[1]
    return order


def _column_order_aval(a: Aval) -> Aval:
    check_matrix("column_order", a)
    return Aval((*a.shape[:-2], a.shape[-1]), np.dtype(np.int32))


# the permutation of a factorisation with pivoting; the factors are those of the permuted matrix
column_order = primitive(
    "column_order",
    evaluate=_column_order,
    aval=_column_order_aval,
    vjp=nondiff("a permutation is constant between ties"),
    jvp=nondiff("a permutation is constant between ties"),
    traits=PURE,
    host=True,
)
