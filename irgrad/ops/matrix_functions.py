"""Functions of matrices and matrix equations, from scipy: exponential, logarithm, square root, Sylvester and banded systems.

The Frechet derivative L(A, E) of a matrix function is a block of its value: f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]]
(R. Mathias 1996; A. Al-Mohy and N. Higham, Computing the Frechet derivative of the matrix exponential, 2009); its transpose is
L(A^T, ct). The derivative of a square root solves a Sylvester equation.
Host rows: scaling, squaring and Schur forms branch on data.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, Primitive, primitive
from irgrad.ops.matrices import block, check_matrix, check_stacks, like, product, swapped
from irgrad.ops.rules import reject


def _over_stack(name: str, x: Any, dtype: Any) -> Any:
    """scipy's function `name` of every matrix of a stack, without its warnings about accuracy."""
    import scipy.linalg

    function = getattr(scipy.linalg, name)
    made = np.empty(x.shape, dtype)
    state = np.random.get_state(legacy=False) if name == "logm" else None  # scipy's draws test vectors for a norm: nobody's business
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for index in np.ndindex(*x.shape[:-2]):
                made[index] = function(x[index]) if x.shape[-1] else x[index]
    finally:
        if state is not None:
            np.random.set_state(state)
    return made


def _frechet(b: Builder, name: str, a: Any, e: Any) -> Any:
    n, last = b.shape(a)[-1], len(b.shape(a)) - 1
    above = b.concatenate(a, e, axis=last)
    below = b.concatenate(b.zeros(shape=b.shape(a), dtype=b.dtype(a).name), a, axis=last)
    made = getattr(b, name)(b.concatenate(above, below, axis=last - 1))
    return block(b, made, (0, n), (n, n))


def _function(name: str, always_complex: bool) -> Primitive:
    """`always_complex`: whether the result of a real matrix is real depends on its entries."""

    def result(dtype: Any) -> Any:
        return np.result_type(dtype, np.complex64) if always_complex else dtype

    def aval(a: Aval) -> Aval:
        check_matrix(name, a, square=True)
        return Aval(a.shape, result(a.dtype))

    return primitive(
        name,
        evaluate=lambda a: _over_stack(name, a, result(a.dtype)),
        aval=aval,
        vjp=(lambda b, ct, out, a: _frechet(b, name, swapped(b, a), ct),),
        jvp=(lambda b, t, out, a: _frechet(b, name, a, t),),
        traits=PURE,
        host=True,
    )


expm = _function("expm", False)
logm = _function("logm", True)


def _sqrtm_aval(a: Aval) -> Aval:
    check_matrix("sqrtm", a, square=True)
    return Aval(a.shape, np.result_type(a.dtype, np.complex64))


sqrtm = primitive(
    "sqrtm",
    evaluate=lambda a: _over_stack("sqrtm", a, np.result_type(a.dtype, np.complex64)),
    aval=_sqrtm_aval,
    vjp=(lambda b, ct, out, a: b.solve_sylvester(swapped(b, out), swapped(b, out), ct),),
    jvp=(lambda b, t, out, a: b.solve_sylvester(out, out, like(b, t, out)),),
    traits=PURE,
    host=True,
)

# ---- A X + X B = Q ----


def _solve_sylvester(a: Any, c: Any, q: Any) -> Any:
    from scipy.linalg import solve_sylvester

    made = np.empty(q.shape, q.dtype)
    for index in np.ndindex(*q.shape[:-2]):
        made[index] = solve_sylvester(a[index], c[index], q[index])
    return made


def _sylvester_aval(a: Aval, c: Aval, q: Aval) -> Aval:
    for x in (a, c):
        check_matrix("solve_sylvester", x, square=True)
    check_matrix("solve_sylvester", q)
    check_stacks("solve_sylvester", a, c, q)
    if q.shape[-2:] != (a.shape[-1], c.shape[-1]):
        raise reject("solve_sylvester", (a, c, q), f"expected a right-hand side of {a.shape[-1]} by {c.shape[-1]}")
    return q.with_kind("array")


def _sylvester_vjp(b: Builder, index: int, ct: Any, out: Any, a: Any, c: Any, q: Any) -> Any:
    """Of Q: the transposed equation for ct; of A and B: minus that times out^T, from either side."""
    back = b.solve_sylvester(swapped(b, a), swapped(b, c), ct)
    if index == 2:
        return back
    return b.neg(product(b, swapped(b, out), back) if index else product(b, back, swapped(b, out)))


def _sylvester_jvp(b: Builder, ts: Any, out: Any, a: Any, c: Any, q: Any) -> Any:
    ta, tc, tq = ts
    parts = [x for x in (None if ta is None else product(b, ta, out), None if tc is None else product(b, out, tc)) if x is not None]
    for part in parts:
        tq = b.neg(part) if tq is None else b.sub(tq, part)
    return None if tq is None else b.solve_sylvester(a, c, tq)


solve_sylvester = primitive(
    "solve_sylvester", evaluate=_solve_sylvester, aval=_sylvester_aval, vjp=_sylvester_vjp, jvp=_sylvester_jvp, traits=PURE, host=True
)

# ---- banded systems ----


def _transposed_band(ab: Any, below: int, above: int) -> Any:
    """The diagonals of the transposed matrix: those of the matrix in reverse order, shifted."""
    made = np.zeros_like(ab)
    n = ab.shape[-1]
    for r in range(below + above + 1):
        d = r - below
        start, stop = max(0, -d), min(n, n - d)
        if start < stop:
            made[r, start:stop] = ab[above - d, start + d : stop + d]
    return made


def _solve_banded(ab: Any, x: Any, *, below: int, above: int, trans: bool) -> Any:
    from scipy.linalg import solve_banded

    if trans:
        return solve_banded((above, below), _transposed_band(ab, below, above), x)
    return solve_banded((below, above), ab, x)


def _banded_aval(ab: Aval, x: Aval, *, below: int, above: int, trans: bool) -> Aval:
    check_matrix("solve_banded", ab, x)
    check_matrix("solve_banded", x, ab)
    check_stacks("solve_banded", ab, x)
    if ab.ndim != 2 or ab.shape != (below + above + 1, x.shape[0]):
        raise reject("solve_banded", (ab, x), f"expected {below + above + 1} diagonals as long as the right-hand side")
    return x.with_kind("array")


def _band_index(b: Builder, ab: Any, shift: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Which row (or column) of the matrix each stored entry meets, and whether it is inside."""
    rows, n = b.shape(ab)
    at = shift(b.iota(n=n, dtype="int64"), b.reshape(b.iota(n=rows, dtype="int64"), shape=(rows, 1)))
    inside = b.logical_and(b.greater_equal(at, 0), b.less(at, b.number(n)))
    return b.where(inside, at, 0), inside


def _banded_vjp_ab(b: Builder, ct: Any, out: Any, ab: Any, x: Any, *, below: int, above: int, trans: bool) -> Any:
    """Of the entry (i, j): minus row i of the solution of the transposed system times row j of the result."""
    back = b.solve_banded(ab, ct, below=below, above=above, trans=not trans)
    left, right = (out, back) if trans else (back, out)
    at, inside = _band_index(b, ab, lambda j, r: b.add(j, b.sub(r, b.number(above))))
    return b.where(inside, b.neg(b.reduce_sum(b.mul(b.gather(left, at), right), axes=(2,))), 0.0)


def _banded_jvp_ab(b: Builder, t: Any, out: Any, ab: Any, x: Any, *, below: int, above: int, trans: bool) -> Any:
    rows, n = b.shape(ab)
    if trans:
        at, inside = _band_index(b, ab, lambda j, r: b.add(j, b.sub(r, b.number(above))))
        entries = t
    else:
        at, inside = _band_index(b, ab, lambda i, r: b.add(i, b.sub(b.number(above), r)))
        entries = b.gather(t, b.reshape(b.iota(n=rows, dtype="int64"), shape=(rows, 1)), at)
    entries = b.reshape(b.where(inside, entries, 0.0), shape=(rows, n, 1))
    change = b.reduce_sum(b.mul(entries, b.gather(out, at)), axes=(0,))
    return b.neg(b.solve_banded(ab, change, below=below, above=above, trans=trans))


solve_banded = primitive(
    "solve_banded",
    evaluate=_solve_banded,
    aval=_banded_aval,
    vjp=(
        _banded_vjp_ab,
        lambda b, ct, out, ab, x, *, below, above, trans: b.solve_banded(ab, ct, below=below, above=above, trans=not trans),
    ),
    jvp=(_banded_jvp_ab, lambda b, t, out, ab, x, **params: b.solve_banded(ab, t, **params)),
    traits=PURE,
    host=True,
)
