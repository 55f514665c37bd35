"""Pseudo-inverses and least squares. Their derivatives hold where the rank stays the same.

G. Golub and V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate (1973).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, primitive
from irgrad.ops.matrices import adjoint, check_matrix, check_stacks, conj, product, swapped
from irgrad.ops.rules import reject


def _pinv_aval(a: Aval, *, rcond: Any, hermitian: bool = False) -> Aval:
    check_matrix("pinv", a, square=hermitian)
    return Aval((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)


def _pinv_jvp(b: Builder, t: Any, out: Any, a: Any, *, rcond: Any, hermitian: bool = False) -> Any:
    """-X t X + X X^H t^H (1 - A X) + (1 - X A) t^H X^H X."""
    th, xh = adjoint(b, t), adjoint(b, out)
    left = product(b, out, product(b, xh, b.sub(th, product(b, product(b, th, a), out))))
    right = product(b, product(b, b.sub(th, product(b, out, product(b, a, th))), xh), out)
    return b.sub(b.add(left, right), product(b, out, t, out))


def _pinv_vjp(b: Builder, ct: Any, out: Any, a: Any, *, rcond: Any, hermitian: bool = False) -> Any:
    """-X^T ct X^T + conj((1 - A X) ct^T X X^H + X^H X ct^T (1 - X A))."""
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
