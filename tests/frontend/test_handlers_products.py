"""Products, statistics, interpolation and polynomials against numpy, as in test_handlers_numpy."""

from __future__ import annotations

import numpy as np
import pytest

from irgrad.frontend.trace import Trace
from tests.support.handled import B, C, Case, Cases, F, M, N, P, Q, T, U, V, agrees_with_numpy

CASES = Cases()
case, dropin = CASES.case, CASES.dropin

# ---- products ----

OPERANDS = [
    (V, V),
    (M, V[:4]),
    (V[:3], M),
    (M, M.T),
    (T, V[:4]),
    (T, M.T),
    (V[:4], np.swapaxes(T, 1, 2)),
    (T, np.swapaxes(T, 1, 2)),
    (N, N.T),
    (F, M.T),
    (F, N.T),
    (C, M.T),
    (B, B.T),
]
for _x, _y in OPERANDS:
    for _f in ("dot", "matmul"):
        case(f"{_f} {_x.shape} {_y.shape} {_x.dtype}", lambda np, x, y, f=_f: getattr(np, f)(x, y), _x, _y)
case("matmul broadcast", lambda np, x, y: np.matmul(x, y), T[:, None], np.swapaxes(T, 1, 2))
case("dot numbers", lambda np, x, p: (np.dot(x, p), np.dot(p, x), np.dot(p, p), np.dot(x, 2)), M, P)
for _x in (F, N, C.astype(np.complex64), B):
    for _p in (0.5, 3, 2j, True, np.float32(0.5)):
        case("a number beside small numbers", lambda np, x, p: (np.dot(x, p), np.dot(p, x), np.inner(x, p), np.kron(p, x)), _x, _p)
        case("a literal", lambda np, x, p=_p: (np.dot(x, p), x.dot(p), np.inner(p, x), np.kron(x, p)), _x)
case("dot method", lambda np, x: x.dot(x.T), M)
case("dot mixed", lambda np, x: np.dot(np.array([1.0, 2.0, 3.0]), x), M)
for _x, _y in ((V, V), (M, M), (C, C), (M, C), (N, N)):
    case("vecdot along", lambda np, x, y: (np.vecdot(x, y, axis=0), np.linalg.vecdot(x, y, axis=0)), _x, _y)
    case("vdot", lambda np, x, y: (np.vdot(x, y), np.inner(x, y), np.vecdot(x, y), np.outer(x, y)), _x, _y)
case("kron", lambda np, x, y: (np.kron(x, y), np.kron(x, y[:2]), np.kron(y, x)), M, V)
case("cross", lambda np, x, y: (np.cross(x, y), np.cross(x, y[0]), np.linalg.cross(x, y), np.cross(x, y, axisc=0)), Q, Q.T)
for _axes in (0, 1, ([1], [0]), (1, 0), ([0, 1], [1, 0])):
    case("tensordot", lambda np, x, y, a=_axes: np.tensordot(x, y, a), Q, Q + 1)
case("tensordot 3d", lambda np, x, y: (np.tensordot(x, y, ([2, 1], [1, 0])), np.tensordot(x, y, ((-2,), (0,)))), T, M)
case("matvec", lambda np, x, v, w: (np.matvec(x, v), np.vecmat(w, x)), T, V[:4], V[:3])
case("multi_dot", lambda np, x: (np.linalg.multi_dot([x, x.T, x]), np.linalg.matrix_power(x @ x.T, 3)), M)
for _subscripts, _operands in (
    ("ij->ji", (M,)), ("ij->", (M,)), ("ij", (M,)), ("ji", (M,)), ("ii", (Q,)), ("ii->i", (Q,)), ("iij->j", (T[:, :2],)),
    ("ij,jk->ik", (M, M.T)),
    ("ij,jk", (M, M.T)), ("ij,ij->", (M, M)), ("ij,ij->i", (M, M)), ("ij,ij->ij", (M, M)), ("i,j->ij", (V, V)), ("i,i", (V, V)),
    ("bij,bjk->bik", (T, np.swapaxes(T, 1, 2))),
    ("bij,bkj->bik", (T, T)), ("bij,jk->bik", (T, M.T)), ("...ij,...jk->...ik", (T, np.swapaxes(T, 1, 2))), ("i...,i...->...", (T, T)),
    ("...j,j->...", (T, V[:4])),
    ("ij,jk,kl->il", (M, M.T, M)), ("i,ij,j->", (V[:3], M, V[:4])), ("a,ab,abc->c", (V[:2], T[:, :, 0], T)), ("ij,kj->ikj", (M, M)),
    ("ij,k->ik", (M, V)), ("ij, jk -> ki", (M, M.T)),
    ("ii,ij->j", (Q, M)), ("ij,jk->ik", (N, N.T)), ("ij,jk->ik", (C, M.T)), ("ij,jk->ik", (F, M.T)), (",ij->ij", (P, M)),
    ("i,i,i->i", (V, V, V)), ("ij,ij->ij", (M[:, :1], M)),
):  # fmt: skip
    case(f"einsum {_subscripts}", lambda np, *xs, s=_subscripts: np.einsum(s, *xs), *_operands)
case(
    "einsum lists",
    lambda np, x, y: (np.einsum(x, [0, 1], y, [1, 2], [0, 2]), np.einsum(x, [0, 1], y, [1, 2]), np.einsum(x, [Ellipsis, 1], [1, Ellipsis])),
    M,
    M.T,
)
for _ord in (None, 2, 1, 0, 3, 0.5, np.inf, -np.inf):
    case("norm vector", lambda np, x, o=_ord: np.linalg.norm(x, o), V)
    case("norm axis", lambda np, x, o=_ord: (np.linalg.norm(x, o, axis=1), np.linalg.norm(x, o, 0, True)), M)
    case("norm complex", lambda np, x, o=_ord: np.linalg.norm(x, o, axis=0), C)
for _ord in (None, "fro", 1, -1, np.inf, -np.inf):
    case("norm matrix", lambda np, x, o=_ord: (np.linalg.norm(x, o), np.linalg.norm(x, o, keepdims=True)), M)
    case("norm matrices", lambda np, x, o=_ord: np.linalg.norm(x, o, axis=(0, 2)), T)
case("norm others", lambda np, x: (np.linalg.norm(x), np.linalg.norm(x[0] * 0), np.linalg.vector_norm(x), np.linalg.matrix_norm(x)), C)
case("norm int", lambda np, x: (np.linalg.norm(x), np.linalg.norm(x[0]), np.linalg.norm(x, axis=1)), N)

# ---- statistics and the rest ----

for _q in (0.3, 0.75, [0.0, 0.5, 1.0]):
    case("quantile", lambda np, x, q=_q: (np.quantile(x, q), np.quantile(x, q, axis=0), np.quantile(x, q, axis=1, keepdims=True)), M)
case("percentile", lambda np, x: (np.percentile(x, 30), np.percentile(x, [10, 90], axis=1)), M)
case("quantile nan", lambda np, x: np.quantile(x, 0.5, axis=0), np.array([[1.0, np.nan], [2.0, 3.0]]))
case("quantile int", lambda np, x: np.quantile(x, 0.3), N)
case(
    "cov", lambda np, x: (np.cov(x), np.cov(x, rowvar=False), np.cov(x[0]), np.cov(x[0], x[1]), np.cov(x, bias=True), np.cov(x, ddof=0)), M
)
case("cov complex", lambda np, x: np.cov(x), C)
case("corrcoef", lambda np, x: (np.corrcoef(x), np.corrcoef(x[0], x[1])), M)
case(
    "searchsorted",
    lambda np, x: (np.searchsorted(np.sort(x), x), np.searchsorted(np.sort(x), x, "right"), np.searchsorted(np.sort(x), 0.0)),
    V,
)
case("interp", lambda np, x: np.interp(x, np.array([-1.0, 0.0, 0.5]), np.array([2.0, -1.0, 4.0])), np.append(V, [-1.0, 0.5, 0.0]))
case("interp ends", lambda np, x, y: np.interp(x, np.array([-1.0, 0.0, 0.5]), y, left=-9, right=9), V, np.array([2.0, -1.0, 4.0]))
case("interp number", lambda np, x, y: (np.interp(x, np.array([0.0, 1.0]), y[:2]), np.interp(x, np.array([0.0]), y[:1])), P, V)
for _m in ("full", "same", "valid"):
    case("convolve", lambda np, x, y, m=_m: (np.convolve(x, y, m), np.convolve(y, x, m), np.convolve(x, y[:2], m)), V, U[0][:3])
    case("correlate", lambda np, x, y, m=_m: (np.correlate(x, y, m), np.correlate(x, y[:2], m)), V, U[0][:3])
case("correlate complex", lambda np, x: np.correlate(x[0], x[1][:2], "full"), C)
case("polyval", lambda np, p, x: (np.polyval(p, x), np.polyval(p, 2.0), np.polyval([1.0, 2.0], x)), V, M)
case("trapezoid", lambda np, y: (np.trapezoid(y), np.trapezoid(y, dx=0.5, axis=0), np.trapezoid(y, x=np.array([0.0, 1.0, 3.0, 4.0]))), M)
case("trapezoid grid", lambda np, y, x: (np.trapezoid(y, x), np.trapezoid(y, x, axis=0)), M, U)
case("delete", lambda np, x: (np.delete(x, 1, axis=0), np.delete(x, [0, 2], axis=1), np.delete(x, slice(1, 3))), M)
dropin("r_ c_", lambda np, x: (np.r_[x, 1.0, x], np.c_[x, x], np.r_[x, 0:3]), V)


@CASES.parametrized
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_agrees_with_numpy(case: Case, kind: type[Trace]) -> None:
    agrees_with_numpy(case, kind)
