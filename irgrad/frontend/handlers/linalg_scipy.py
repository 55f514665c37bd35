"""`scipy.linalg`: its decompositions and solvers on the primitives of `numpy.linalg`, and its matrix functions.

Loaded with `irgrad.scipy.linalg`. Options that only save copies or checks (overwrite_a, check_finite) are accepted and mean nothing.
Where scipy leaves random data in a triangle that nobody reads (cho_factor), there are zeros.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from irgrad.frontend.documented import described
from irgrad.frontend.handlers import linalg as dense
from irgrad.frontend.handlers.contraction import conj, matmul
from irgrad.frontend.handlers.core import (
    PUBLIC,
    Handler,
    apply,
    as_array,
    broadcast,
    call,
    cast,
    dtype_of,
    handles,
    iota,
    join,
    reshape,
    shape_of,
    take_slice,
    unsupported,
)
from irgrad.frontend.handlers.creation import band
from irgrad.frontend.handlers.householder import reflections
from irgrad.frontend.handlers.linalg import adjoint, real, row, solve_system, squares, stacked, swap
from irgrad.frontend.handlers.norms import norm as norm_
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.installed import cho_factor_cleans, lstsq_fills
from irgrad.frontend.trace import Trace
from irgrad.ir.aval import real_dtype

_MEANINGLESS = frozenset({"overwrite_a", "overwrite_b", "overwrite_ab", "check_finite", "lwork"})


def records(function: Callable[..., Any]) -> Callable[[Handler], Handler]:
    """Register a handler for a function of scipy; it gets what matters of the arguments by name."""
    signature = inspect.signature(function)

    def register(impl: Handler) -> Handler:
        def bound(trace: Trace, *args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            return impl(trace, **{name: value for name, value in given.items() if name not in _MEANINGLESS})

        handles(function)(bound)
        PUBLIC[function].__doc__ = described(function, impl)
        return impl

    return register


def not_traced(what: str, instead: str = "") -> None:
    unsupported(f"linalg.{what}", instead, library="scipy")


_SHORT = ("bool", "int8", "uint8", "int16", "uint16")


def matrices(trace: Trace, *arrays: Any) -> list[Any]:
    """The arrays in the dtype that scipy takes for LAPACK: single precision for bools and short integers."""
    made = [as_array(trace, a) for a in arrays]
    return dense.matrices(trace, *(cast(trace, x, np.float32) if dtype_of(x).name in _SHORT else x for x in made))


# ---- triangles ----


def _triangle(trace: Trace, x: Any, lower: bool, k: int = 0) -> Any:
    n, m = shape_of(x)[-2:]
    mask = band(trace, n, m, k, "less_equal" if lower else "greater_equal", np.less_equal if lower else np.greater_equal)
    return apply(trace, "where", np.where, mask, x, dtype_of(x).type(0))


def _from_triangle(trace: Trace, x: Any, lower: bool, is_hermitian: bool) -> Any:
    """The symmetric or hermitian matrix whose one triangle is that of `x`."""
    inside = _triangle(trace, x, lower, -1 if lower else 1)
    other = adjoint(trace, inside) if is_hermitian else swap(trace, inside)
    n = shape_of(x)[-1]
    values = cast(trace, real(trace, x), dtype_of(x)) if is_hermitian else x
    on_diagonal = apply(trace, "where", np.where, band(trace, n, n, 0, "equal", np.equal), values, dtype_of(x).type(0))
    return apply(trace, "add", np.add, apply(trace, "add", np.add, inside, other), on_diagonal)


def _solve_triangle(trace: Trace, a: Any, b: Any, lower: bool, trans: int, unit: bool = False) -> Any:
    a = conj(trace, a) if trans == 2 else a
    return solve_system(trace, a, b, "solve_triangular", lower=bool(lower), trans=trans != 0, unit=bool(unit))


def _transposition(trans: Any) -> int:
    kinds: dict[Any, int] = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}
    if trans not in kinds:
        raise ValueError(f"trans is 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    return kinds[trans]


@records(linalg.solve_triangular)
def solve_triangular(trace: Trace, a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """a (..., n, n), b (n,) or (..., n, k), of one dtype after promotion; only the triangle is read and has a derivative.

    Raises LinAlgError for a zero on the diagonal. Derivatives: M. Giles, Collected matrix derivative results (2008), 2.2.
    """
    a, b = matrices(trace, a, b)
    squares(a)
    return _solve_triangle(trace, a, b, lower, _transposition(trans), unit_diagonal)


@records(linalg.cholesky)
def cholesky(trace: Trace, a: Any, lower: bool = False) -> Any:
    """a (..., n, n), hermitian positive definite, as a function of its hermitian part; the factor has the dtype of `a`.

    Raises LinAlgError where it is not positive definite. Derivatives: I. Murray, Differentiation of the Cholesky decomposition (2016).
    """
    (x,) = matrices(trace, a)
    return dense.cholesky(trace, x, upper=not lower)


@records(linalg.cho_factor)
def cho_factor(trace: Trace, a: Any, lower: bool = False) -> Any:
    """The other triangle is that of the matrix, as LAPACK leaves it, or zero, as SciPy 1.18 does."""
    given = as_array(trace, a)
    (x,) = matrices(trace, given)
    made = cholesky(trace, x, lower)
    n = shape_of(made)[-1]
    if cho_factor_cleans() and (dtype_of(given) == dtype_of(x) or len(shape_of(x)) > 2):  # not in a copy of its own
        return made, lower
    mask = band(trace, n, n, 0, "less_equal" if lower else "greater_equal", np.less_equal if lower else np.greater_equal)
    return apply(trace, "where", np.where, mask, made, x), lower


@records(linalg.cho_solve)
def cho_solve(trace: Trace, c_and_lower: Any, b: Any) -> Any:
    """A factor (..., n, n) from `cho_factor` or `cholesky` and b (n,) or (..., n, k): two triangular systems and their derivatives."""
    c, lower = c_and_lower
    c, b = matrices(trace, c, b)
    squares(c)
    return _cho_solve(trace, c, b, bool(lower))


def _as_column(trace: Trace, solve: Callable[[Any], Any], b: Any) -> Any:
    """What `solve` makes of one vector, through a matrix of one column."""
    made = solve(reshape(trace, b, (*shape_of(b), 1)))
    return reshape(trace, made, shape_of(made)[:-1])


def _cho_solve(trace: Trace, c: Any, b: Any, lower: bool) -> Any:
    if len(shape_of(b)) == 1:
        return _as_column(trace, lambda x: _cho_solve(trace, c, x, lower), b)
    first, second = (0, 2) if lower else (2, 0)
    return _solve_triangle(trace, c, _solve_triangle(trace, c, b, lower, first), lower, second)


# ---- systems ----


@records(linalg.inv)
def inv(trace: Trace, a: Any, *, assume_a: Any = None, lower: bool = False) -> Any:
    """a (..., n, n); only the triangle or half that `assume_a` names is read. Compiled: LAPACK's getrf and getri.

    Raises LinAlgError for a singular matrix. Derivatives: M. Giles, Collected matrix derivative results (2008), 2.2.3.
    """
    (x,) = matrices(trace, a)
    squares(x)
    return dense.inv(trace, _assumed(trace, x, assume_a, lower))


_TRIANGULAR = {"upper triangular": False, "lower triangular": True}
_SYMMETRIC = {"sym": False, "symmetric": False, "her": True, "hermitian": True, "pos": True, "positive definite": True}
_GENERAL = (None, "gen", "general", "banded", "tridiagonal", "diagonal")


def _assumed(trace: Trace, x: Any, assume_a: Any, lower: bool) -> Any:
    """The matrix that scipy reads for an assumed structure."""
    if assume_a in _TRIANGULAR:
        return _triangle(trace, x, _TRIANGULAR[assume_a])
    if assume_a in _SYMMETRIC:
        return _from_triangle(trace, x, lower, _SYMMETRIC[assume_a])
    if assume_a not in _GENERAL:
        raise ValueError(f"{assume_a} is not a recognized matrix structure")
    return x


@records(linalg.solve)
def solve(
    trace: Trace,
    a: Any,
    b: Any,
    lower: bool = False,
    assume_a: Any = None,
    transposed: bool = False,
) -> Any:
    """a (..., n, n), b (n,) or (..., n, k); the factor of `a` is shared with the derivatives.

    Raises LinAlgError for a singular matrix, ValueError for shapes that do not fit. Derivatives: M. Giles (2008), 2.3.1.
    """
    a, b = dense.matrices(trace, a, b)
    squares(a)
    if assume_a in _TRIANGULAR:
        return _solve_triangle(trace, a, b, _TRIANGULAR[assume_a], int(transposed))
    if assume_a in ("pos", "positive definite"):
        c = cholesky(trace, a, lower)
        return _cho_solve(trace, conj(trace, c) if transposed else c, b, lower)
    return solve_system(trace, _assumed(trace, a, assume_a, lower), b, "solve", shared=True, trans=bool(transposed))


@records(linalg.det)
def det(trace: Trace, a: Any) -> Any:
    """a (..., n, n); float64 or complex128 always, as in scipy. The gradient is the matrix of cofactors, for singular matrices too."""
    (x,) = dense.matrices(trace, a)
    return dense.det(trace, cast(trace, x, np.result_type(dtype_of(x), np.float64)))


@records(linalg.pinv)
def pinv(trace: Trace, a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False) -> Any:
    """a (..., m, n); singular values up to rtol times the largest count as 0. Derivatives where the rank stays the same.

    Golub and Pereyra (1973); for a cutoff that drops more than rounding, Noferini (2017): see `irgrad.ops.least_squares`.
    """
    if atol is not None and dense.cutoff_of(atol) != 0:
        not_traced("pinv(atol=)", "give a relative tolerance by rtol")
    (x,) = matrices(trace, a)
    cutoff = max(stacked(x)[-2:]) * float(np.finfo(dtype_of(x)).eps) if rtol is None else dense.cutoff_of(rtol)
    made = dense.pinv(trace, x, cutoff)
    return (made, dense.matrix_rank(trace, x, rtol=cutoff)) if return_rank else made


@records(linalg.pinvh)
def pinvh(trace: Trace, a: Any, atol: Any = None, rtol: Any = None, lower: bool = True, return_rank: bool = False) -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    return pinv(trace, _from_triangle(trace, x, lower, True), atol=atol, rtol=rtol, return_rank=return_rank)


@records(linalg.lstsq)
def lstsq(trace: Trace, a: Any, b: Any, cond: Any = None, lapack_driver: Any = None) -> Any:
    """a (m, n), b (m,) or (m, k); the rank is a guarded int. A host call: it depends on the rank that LAPACK finds."""
    if lapack_driver not in (None, "gelsd"):
        not_traced(f"lstsq(lapack_driver={lapack_driver!r})", "leave the driver out")
    a, b = matrices(trace, a, b)
    x, residuals, rank, s = dense.lstsq(trace, a, b, float(np.finfo(dtype_of(a)).eps) if cond is None else cond)
    (m, n), found, is_vector = shape_of(a), int(rank), len(shape_of(b)) == 1
    if lstsq_fills() and m and n:
        if m > n:
            filled = cast(trace, residuals, dtype_of(x)) if found == n else np.full(1 if is_vector else shape_of(b)[1], np.nan, dtype_of(x))
            return x, reshape(trace, filled, ()) if is_vector else filled, np.int64(found), s
        return x, np.zeros(0, dtype_of(x)), np.int64(found), s
    if size_of(shape_of(residuals)) == 0:
        residuals = np.zeros(0, dtype_of(x))
    elif is_vector:
        residuals = take_slice(trace, residuals, 0, 0, 1, drop=True)
    return x, residuals, found, s


# ---- LU ----


@records(linalg.lu_factor)
def lu_factor(trace: Trace, a: Any) -> Any:
    """a (..., m, n): the packed factor with a derivative and the row exchanges (int32) without."""
    (x,) = matrices(trace, a)
    if size_of(shape_of(x)) == 0 and len(shape_of(x)) == 2:
        return x, np.zeros(0, np.int32)
    packed, pivots, _ = _lu_parts(trace, x)
    return packed, _whole(trace, pivots, np.int32)


def _lu_parts(trace: Trace, x: Any) -> list[Any]:
    m, n = stacked(x)[-2:]
    return dense.parts(trace, call(trace, "lu", x), (m, n), (min(m, n),), (m,))


def _whole(trace: Trace, x: Any, dtype: Any = np.int64) -> Any:
    return cast(trace, real(trace, x), dtype)


@records(linalg.lu_solve)
def lu_solve(trace: Trace, lu_and_piv: Any, b: Any, trans: Any = 0) -> Any:
    """A pair from `lu_factor` and b (n,) or (..., n, k): a permutation and two triangular systems."""
    packed, b = matrices(trace, lu_and_piv[0], b)
    pivots = as_array(trace, lu_and_piv[1])
    lead, n = squares(packed)[:-2], shape_of(packed)[-1]
    if len(shape_of(b)) == 1:
        return _as_column(trace, lambda x: lu_solve(trace, (packed, pivots), x, trans), b)
    if n == 0:
        return broadcast(trace, b, (*np.broadcast_shapes(lead, shape_of(b)[:-2]), *shape_of(b)[-2:]))
    lead = np.broadcast_shapes(lead, shape_of(b)[:-2])
    packed, b = broadcast(trace, packed, (*lead, n, n)), broadcast(trace, b, (*lead, *shape_of(b)[-2:]))
    order = orders(trace, broadcast(trace, call(trace, "row_order", pivots), (*lead, n)))
    kind = _transposition(trans)
    if kind == 0:
        below = _solve_triangle(trace, packed, call(trace, "gather", b, *order), True, 0, True)
        return _solve_triangle(trace, packed, below, False, 0)
    made = _solve_triangle(trace, packed, _solve_triangle(trace, packed, b, False, kind), True, kind, True)
    return call(trace, "scatter_add", call(trace, "zeros", shape=shape_of(made), dtype=dtype_of(made).name), made, *order)


def orders(trace: Trace, order: Any) -> tuple[Any, ...]:
    """Index arrays for rows of stacked matrices in an order."""
    lead = shape_of(order)[:-1]
    ones = (1,) * len(shape_of(order))
    lines = [reshape(trace, iota(trace, n), (*ones[:i], n, *ones[i + 1 :])) for i, n in enumerate(lead)]
    return (*lines, order)


@records(linalg.lu)
def lu(trace: Trace, a: Any, permute_l: bool = False, p_indices: bool = False) -> Any:
    """a (..., m, n): permutation, L and U; the permutation has no derivative."""
    (x,) = matrices(trace, a)
    m, n = stacked(x)[-2:]
    k = min(m, n)
    if m * n == 0 and len(shape_of(x)) == 2:
        below, above = (np.zeros(shape, dtype_of(x)) for shape in ((m, k), (k, n)))
        empty = [] if permute_l else [np.zeros(0, np.int32) if p_indices else np.zeros((0, 0), real_dtype(dtype_of(x)))]
        return (*empty, below, above)
    packed, _, order = _lu_parts(trace, x)
    last = len(shape_of(packed)) - 1
    unit = cast(trace, band(trace, m, k, 0, "equal", np.equal), dtype_of(packed))
    below = apply(trace, "add", np.add, _triangle(trace, take_slice(trace, packed, last, 0, k), True, -1), unit)
    above = _triangle(trace, take_slice(trace, packed, last - 1, 0, k), False)
    order = _whole(trace, order)
    rows = reshape(trace, iota(trace, m), (m, 1))
    is_from = apply(trace, "equal", np.equal, rows, row(trace, order))
    if not permute_l and not p_indices:
        return cast(trace, is_from, real_dtype(dtype_of(packed))), below, above
    places = apply(trace, "where", np.where, is_from, iota(trace, m), np.int64(0))
    back = call(trace, "reduce_sum", places, axes=(len(shape_of(places)) - 1,))
    if permute_l:
        return call(trace, "gather", below, *orders(trace, back)), above
    return cast(trace, back, np.int32), below, above


# ---- eigenvalues, singular values, QR ----


def _selected(trace: Trace, w: Any, v: Any, subset_by_index: Any, subset_by_value: Any) -> tuple[Any, Any]:
    if subset_by_value is not None:
        not_traced("eigh(subset_by_value=)", "select by index, or with a mask")
    if subset_by_index is None:
        return w, v
    first, last = map(operator.index, subset_by_index)
    count = last - first + 1
    w = take_slice(trace, w, len(shape_of(w)) - 1, first, count)
    return w, None if v is None else take_slice(trace, v, len(shape_of(v)) - 1, first, count)


@records(linalg.eigh)
def eigh(
    trace: Trace,
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    type: int = 1,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: Any = None,
) -> Any:
    """a (..., n, n), one triangle of it read; with b by b's Cholesky factor.

    Vectors of equal eigenvalues have no derivative: such pairs contribute 0. Derivatives: M. Giles (2008), 3.1.
    """
    if driver not in (None, "ev", "evd", "evr", "evx", "gv", "gvd", "gvx"):
        raise ValueError(f'"{driver}" is unknown. Possible values are "None", "ev", "evd", "evr", "evx", "gv", "gvd", "gvx".')
    if b is not None:
        return _generalised(trace, a, b, lower, eigvals_only, type, subset_by_index, subset_by_value)
    (x,) = matrices(trace, a)
    squares(x)
    if eigvals_only:
        w = call(trace, "eigvalsh", x, lower=bool(lower))
        return _selected(trace, w, None, subset_by_index, subset_by_value)[0]
    options = {} if driver == "evd" else {"driver": driver or "evr"}
    w, v = dense.eigh_parts(trace, x, lower=bool(lower), **options)
    return _selected(trace, w, v, subset_by_index, subset_by_value)


def _generalised(trace: Trace, a: Any, b: Any, lower: bool, eigvals_only: bool, kind: int, *subsets: Any) -> Any:
    """By the Cholesky factor of b: a v = w b v (type 1), a b v = w v (2), b a v = w v (3)."""
    a, b = matrices(trace, a, b)
    factor = cholesky(trace, b, True) if lower else adjoint(trace, cholesky(trace, b, False))
    a = _from_triangle(trace, a, lower, True)
    if kind == 1:
        half = _solve_triangle(trace, factor, a, True, 0)
        reduced = adjoint(trace, _solve_triangle(trace, factor, adjoint(trace, half), True, 0))
    else:
        reduced = matmul(trace, matmul(trace, adjoint(trace, factor), a), factor)
    if eigvals_only:
        return _selected(trace, call(trace, "eigvalsh", reduced, lower=True), None, *subsets)[0]
    w, v = dense.eigh_parts(trace, reduced, lower=True)
    v = matmul(trace, factor, v) if kind == 3 else _solve_triangle(trace, factor, v, True, 2)
    return _selected(trace, w, v, *subsets)


@records(linalg.eigvalsh)
def eigvalsh(
    trace: Trace,
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    type: int = 1,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: Any = None,
) -> Any:
    subsets = {"subset_by_index": subset_by_index, "subset_by_value": subset_by_value}
    return eigh(trace, a, b, lower=lower, eigvals_only=True, type=type, driver=driver, **subsets)


@records(linalg.eig)
def eig(
    trace: Trace,
    a: Any,
    b: Any = None,
    left: bool = False,
    right: bool = True,
    homogeneous_eigvals: bool = False,
) -> Any:
    """a (..., n, n); a host call (LAPACK's geev). Vectors of length 1 with the phase of LAPACK, which is held fixed by the derivative."""
    if b is not None or left or homogeneous_eigvals:
        not_traced("eig of a pencil, or with left vectors", "solve with the second matrix first, or take the transposed one")
    if not right:
        return eigvals(trace, a)
    (x,) = matrices(trace, a)
    n = squares(x)[-1]
    w, v = dense.parts(trace, call(trace, "eig", x), (n,), (n, n))
    return w, v if dtype_of(x).kind == "c" else dense.narrowed(trace, w, v)[0]


@records(linalg.eigvals)
def eigvals(trace: Trace, a: Any, b: Any = None, homogeneous_eigvals: bool = False) -> Any:
    if b is not None or homogeneous_eigvals:
        not_traced("eigvals of a pencil", "solve with the second matrix first")
    (x,) = matrices(trace, a)
    squares(x)
    return call(trace, "eigvals", x)


@records(linalg.svd)
def svd(trace: Trace, a: Any, full_matrices: bool = True, compute_uv: bool = True, lapack_driver: str = "gesdd") -> Any:
    """a (..., m, n). Vectors of equal singular values, and those that complete a basis, are conventions; what they span has
    derivatives. J. Townsend, Differentiating the singular value decomposition (2016).
    """
    if lapack_driver != "gesdd":
        not_traced(f"svd(lapack_driver={lapack_driver!r})", "leave the driver out")
    made = dense.svd(trace, *matrices(trace, a), full_matrices, compute_uv)
    return tuple(made) if compute_uv else made


@records(linalg.svdvals)
def svdvals(trace: Trace, a: Any) -> Any:
    return dense.svd(trace, *matrices(trace, a), compute_uv=False)


@records(linalg.qr)
def qr(trace: Trace, a: Any, mode: str = "full", pivoting: bool = False) -> Any:
    """With pivoting the columns are permuted first: the permutation is piecewise constant and has no derivative."""
    if mode not in ("full", "r", "economic", "raw"):
        raise ValueError("Mode argument should be one of ['full', 'r', 'economic', 'raw']")
    (x,) = matrices(trace, a)
    pivots: tuple[Any, ...] = ()
    if pivoting:
        pivots = (call(trace, "column_order", x),)
        order = cast(trace, pivots[0], np.int64)
        x = swap(trace, call(trace, "gather", swap(trace, x), *orders(trace, order)))
    if mode == "r":
        m, n = stacked(x)[-2:]
        _, r = dense.qr_parts(trace, x, False)
        rest = call(trace, "zeros", shape=(*shape_of(r)[:-2], m - min(m, n), n), dtype=dtype_of(r).name)
        return (join(trace, [r, rest], len(shape_of(r)) - 2) if m > n else r, *pivots)
    if mode == "raw":
        return (reflections(trace, x), PUBLIC[np.triu](dense.qr_parts(trace, x, False)[1]), *pivots)
    return (*dense.qr_parts(trace, x, mode == "full"), *pivots)


# ---- norms ----


@records(linalg.norm)
def norm(trace: Trace, a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    return norm_(trace, a, ord, axis, keepdims)


if hasattr(linalg, "kron"):  # removed from scipy 1.17
    handles(linalg.kron)(lambda trace, a, b: PUBLIC[np.kron](a, b))
