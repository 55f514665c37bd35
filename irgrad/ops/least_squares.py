"""Pseudo-inverses and least squares. Their derivatives hold where the rank stays the same.

G. Golub and V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate (1973), for
cutoffs at the size of rounding. A larger cutoff drops singular values that are not 0, and the spaces of what is kept and what is dropped
turn against each other: then the derivative is that of a function of singular values (V. Noferini, A formula for the Frechet
derivative of a generalized matrix function, 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, primitive
from irgrad.ops.matrices import (
    adjoint,
    check_matrix,
    check_stacks,
    column,
    conj,
    from_triangle,
    largest,
    like,
    product,
    real,
    row,
    swapped,
    to_triangle,
    unpack,
)
from irgrad.ops.rules import reject


def _pinv_aval(a: Aval, *, rcond: Any, hermitian: bool = False) -> Aval:
    check_matrix("pinv", a, square=hermitian)
    return Aval((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)


def _drops(b: Builder, a: Any, rcond: Any) -> bool:
    """Is the cutoff larger than rounding?"""
    cutoff = max(np.ravel(np.asarray(rcond)), default=0.0)
    return bool(cutoff > 1e3 * max(b.shape(a)[-2:]) * float(np.finfo(b.dtype(a)).eps))


def _cut_derivative(b: Builder, t: Any, a: Any, rcond: Any) -> Any:
    """The derivative along `t` of U g(S) V^H, whose adjoint is the pseudo-inverse: g is 1/s of what is kept, 0 of the rest.

    With P = U^H t V the hermitian part of P is multiplied by (g_i - g_j) / (s_i - s_j), the other one by (g_i + g_j) / (s_i + s_j).
    The map is its own transpose in Re(sum(conj(x) y)).
    """
    m, n = b.shape(a)[-2:]
    k = min(m, n)
    u, s, vh = unpack(b, b.svd(a, full=False), (m, k), (k,), (k, n))
    s = real(b, s)
    cutoff = np.asarray(rcond)[..., None] if np.ndim(rcond) else rcond
    keep = b.greater(s, b.mul(cutoff, b.reshape(largest(b, s), shape=(*b.shape(s)[:-1], 1))))
    g = b.where(keep, b.div(1.0, b.where(keep, s, 1.0)), 0.0)
    gi, gj, si, sj = column(b, g), row(b, g), column(b, s), row(b, s)
    one = b.not_equal(column(b, keep), row(b, keep))
    both = b.mul(gi, gj)  # 0 unless both are kept
    even = b.where(one, b.div(b.sub(gi, gj), b.where(one, b.sub(si, sj), 1.0)), b.neg(both))
    odd = b.where(one, b.div(b.add(gi, gj), b.where(one, b.add(si, sj), 1.0)), both)
    right = product(b, t, adjoint(b, vh))
    inner = product(b, adjoint(b, u), right)
    back = adjoint(b, inner)
    turned = b.add(b.mul(like(b, b.mul(0.5, even), inner), b.add(inner, back)), b.mul(like(b, b.mul(0.5, odd), inner), b.sub(inner, back)))
    made = product(b, u, turned, vh)
    square = like(b, b.mul(g, g), inner)
    if m > n:
        rest = b.sub(right, product(b, u, inner))
        made = b.add(made, product(b, b.mul(rest, row(b, square)), vh))
    if n > m:
        rest = b.sub(product(b, adjoint(b, u), t), product(b, inner, vh))
        made = b.add(made, product(b, u, b.mul(column(b, square), rest)))
    return made


def _pinv_jvp(b: Builder, t: Any, out: Any, a: Any, *, rcond: Any, hermitian: bool = False) -> Any:
    """-X t X + X X^H t^H (1 - A X) + (1 - X A) t^H X^H X."""
    if hermitian:
        t, a = from_triangle(b, t, True), from_triangle(b, a, True)
    if _drops(b, a, rcond):
        return adjoint(b, _cut_derivative(b, t, a, rcond))
    th, xh = adjoint(b, t), adjoint(b, out)
    left = product(b, out, product(b, xh, b.sub(th, product(b, product(b, th, a), out))))
    right = product(b, product(b, b.sub(th, product(b, out, product(b, a, th))), xh), out)
    return b.sub(b.add(left, right), product(b, out, t, out))


def _pinv_vjp(b: Builder, ct: Any, out: Any, a: Any, *, rcond: Any, hermitian: bool = False) -> Any:
    """-X^T ct X^T + conj((1 - A X) ct^T X X^H + X^H X ct^T (1 - X A))."""
    if hermitian:
        made = _pinv_vjp(b, ct, out, from_triangle(b, a, True), rcond=rcond)
        return conj(b, to_triangle(b, conj(b, made), True))
    if _drops(b, a, rcond):
        return conj(b, _cut_derivative(b, swapped(b, ct), a, rcond))
    xh, xt, back = adjoint(b, out), swapped(b, out), swapped(b, ct)
    left = product(b, product(b, b.sub(back, product(b, a, product(b, out, back))), out), xh)
    right = product(b, xh, product(b, out, b.sub(back, product(b, product(b, back, out), a))))
    return b.sub(conj(b, b.add(left, right)), product(b, xt, ct, xt))


pinv = primitive(
    "pinv",
    evaluate=lambda a, *, rcond, hermitian=False: np.linalg.pinv(a, rcond=np.asarray(rcond), hermitian=hermitian),
    aval=_pinv_aval,
    vjp=(_pinv_vjp,),
    jvp=(_pinv_jvp,),
    traits=PURE,
)


def _lstsq_aval(a: Aval, y: Aval, *, rcond: float) -> Aval:
    check_matrix("lstsq", a, y)
    check_stacks("lstsq", a, y)
    if a.ndim != 2 or a.shape[0] != y.shape[0]:
        raise reject("lstsq", (a, y), "expected two matrices with equally many rows")
    return Aval((a.shape[1], y.shape[1]), a.dtype)


def _inverse(b: Builder, a: Any, rcond: float) -> Any:
    return b.pinv(a, rcond=max(rcond, float(np.finfo(b.dtype(a)).eps)))


def _lstsq_jvp(b: Builder, ts: Any, out: Any, a: Any, y: Any, *, rcond: float) -> Any:
    """X (dy - dA out) + X X^H dA^H r + (1 - X A) dA^H X^H out for the residual r."""
    ta, ty = ts
    x = _inverse(b, a, rcond)
    if ta is None:
        return product(b, x, ty)
    if _drops(b, a, rcond):
        moved = product(b, adjoint(b, _cut_derivative(b, ta, a, rcond)), y)
        return moved if ty is None else b.add(moved, product(b, x, ty))
    xh, th = adjoint(b, x), adjoint(b, ta)
    change = b.neg(product(b, ta, out)) if ty is None else b.sub(ty, product(b, ta, out))
    change = b.add(change, product(b, xh, product(b, th, b.sub(y, product(b, a, out)))))
    free = product(b, th, product(b, xh, out))
    return b.add(product(b, x, change), b.sub(free, product(b, x, product(b, a, free))))


def _lstsq_vjp(b: Builder, index: int, ct: Any, out: Any, a: Any, y: Any, *, rcond: float) -> Any:
    """X^T ct, and conj(r ct^T X X^H + X^H out ct^T (1 - X A)) - X^T ct out^T."""
    x = _inverse(b, a, rcond)
    back = product(b, swapped(b, x), ct)
    if index:
        return back
    if _drops(b, a, rcond):
        return conj(b, _cut_derivative(b, product(b, y, swapped(b, ct)), a, rcond))
    xh, ct_t = adjoint(b, x), swapped(b, ct)
    left = product(b, b.sub(y, product(b, a, out)), product(b, product(b, ct_t, x), xh))
    right = product(b, product(b, xh, out), b.sub(ct_t, product(b, product(b, ct_t, x), a)))
    return b.sub(conj(b, b.add(left, right)), product(b, back, swapped(b, out)))


# A host row: its result depends on the rank that LAPACK's gelsd finds.
lstsq = primitive(
    "lstsq",
    evaluate=lambda a, y, *, rcond: np.linalg.lstsq(a, y, rcond)[0],
    aval=_lstsq_aval,
    vjp=_lstsq_vjp,
    jvp=_lstsq_jvp,
    traits=PURE,
    host=True,
)
