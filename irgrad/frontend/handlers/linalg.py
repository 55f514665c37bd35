"""`numpy.linalg`: decompositions, systems and what is made of them, on primitives of stacks of matrices.

Several results are parts of one packed result (`irgrad.ops.matrices`), handed out in numpy's named tuples. A graph records the
LU factor of a system apart from its solution, so that every other use of the matrix shares it; eagerly numpy solves at once.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.contraction import conj, matmul, multiply
from irgrad.frontend.handlers.core import (
    NO_VALUE,
    PUBLIC,
    Shape,
    alias,
    apply,
    as_array,
    axis_tuple,
    broadcast,
    call,
    cast,
    dtype_of,
    form_of,
    handles,
    reshape,
    shape_of,
    take_slice,
    transpose,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.creation import eye
from irgrad.frontend.handlers.householder import raw
from irgrad.frontend.handlers.norms import scalar_where
from irgrad.frontend.handlers.ordering import argsort
from irgrad.frontend.handlers.reduction import reduce
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.installed import cond_of_nan, eigenvalues_are_complex
from irgrad.frontend.trace import Trace
from irgrad.ir.aval import real_dtype

LinAlgError = np.linalg.LinAlgError
_ONE = np.ones((1, 1))
EIGH, EIG, SVD = type(np.linalg.eigh(_ONE)), type(np.linalg.eig(_ONE)), type(np.linalg.svd(_ONE))
QR, SLOGDET = type(np.linalg.qr(_ONE)), type(np.linalg.slogdet(_ONE))

# ---- operands ----


def matrices(trace: Trace, *arrays: Any) -> list[Any]:
    """The arrays in the dtype that LAPACK computes in.

    Raises TypeError for dtypes that it has no routines for.
    """
    made = [as_array(trace, a) for a in arrays]
    dtypes = [dtype_of(x) for x in made]
    first = dtypes[0]
    if first.char in "dfDF" and (len(dtypes) == 1 or all(dtype is first for dtype in dtypes)):
        return made
    for dtype in dtypes:
        if dtype.kind not in "biufc" or dtype.name in ("float16", "longdouble", "clongdouble", "float128", "complex256"):
            raise TypeError(f"array type {dtype.name} is unsupported in linalg")
    common = np.result_type(*[dtype if dtype.kind in "fc" else np.dtype(np.float64) for dtype in dtypes])
    return [cast(trace, x, common) for x in made]


def stacked(x: Any) -> Shape:
    """The shape of a stack of matrices.

    Raises LinAlgError for fewer than two axes.
    """
    shape = shape_of(x)
    if len(shape) < 2:
        raise LinAlgError(f"{len(shape)}-dimensional array given. Array must be at least two-dimensional")
    return shape


def squares(x: Any) -> Shape:
    """The shape of a stack of square matrices. Raises LinAlgError for others."""
    shape = stacked(x)
    if shape[-1] != shape[-2]:
        raise LinAlgError("Last 2 dimensions of the array must be square")
    return shape


def swap(trace: Trace, x: Any) -> Any:
    n = len(shape_of(x))
    return transpose(trace, x, (*range(n - 2), n - 1, n - 2))


def adjoint(trace: Trace, x: Any) -> Any:
    return conj(trace, swap(trace, x))


def real(trace: Trace, x: Any) -> Any:
    return apply(trace, "real", np.real, x) if dtype_of(x).kind == "c" else x


def parts(trace: Trace, x: Any, *shapes: Shape) -> list[Any]:
    """The parts of a packed result, as views."""
    lead = shape_of(x)[:-1]
    made: list[Any] = []
    at = 0
    for shape in shapes:
        size = size_of(shape)
        if shape:
            made.append(reshape(trace, take_slice(trace, x, len(lead), at, size), (*lead, *shape)))
        else:
            made.append(take_slice(trace, x, len(lead), at, 1, drop=True))
        at += size
    return made


def row(trace: Trace, v: Any) -> Any:
    *lead, n = shape_of(v)
    return reshape(trace, v, (*lead, 1, n))


# ---- systems ----


def factor(trace: Trace, a: Any) -> tuple[Any, ...]:
    """The LU factor that uses of a matrix share; none eagerly."""
    return (call(trace, "lu", a),) if trace.is_graph and size_of(shape_of(a)) else ()


def solve_system(trace: Trace, a: Any, b: Any, name: str, *extra: Any, shared: bool = False, **params: Any) -> Any:
    """``a x = b`` by the primitive `name` for stacks that broadcast, or for one vector.

    One matrix for a stack of right-hand sides meets them side by side: it is factorised once.
    """
    is_vector = len(shape_of(b)) == 1
    if is_vector:
        b = reshape(trace, b, (*shape_of(b), 1))
    left, right = squares(a), stacked(b)
    if left[-1] != right[-2]:
        raise ValueError(f"solve: Input operand 1 has a mismatch in its core dimension 0 (size {right[-2]} is different from {left[-1]})")
    if len(left) == len(right) == 2:
        made = call(trace, name, a, b, *(factor(trace, a) if shared and not extra else extra), **params)
        return reshape(trace, made, right[:1]) if is_vector else made
    if len(left) == 2 and len(right) > 2:
        *lead, n, m = right
        axes = (len(lead), *range(len(lead)), len(lead) + 1)
        side_by_side = reshape(trace, transpose(trace, b, axes), (n, size_of(lead) * m))
        made = solve_system(trace, a, side_by_side, name, *extra, shared=shared, **params)
        return transpose(trace, reshape(trace, made, (n, *lead, m)), (*range(1, len(lead) + 1), 0, len(lead) + 1))
    lead = list(np.broadcast_shapes(left[:-2], right[:-2]))
    if shared and not extra:
        extra = factor(trace, a)
    extra = tuple(broadcast(trace, x, (*lead, *shape_of(x)[len(left) - 2 :])) for x in extra)
    a = broadcast(trace, a, (*lead, *left[-2:]))
    made = call(trace, name, a, broadcast(trace, b, (*lead, *right[-2:])), *extra, **params)
    return reshape(trace, made, shape_of(made)[:-1]) if is_vector else made


@handles(np.linalg.solve)
def solve(trace: Trace, a: Any, b: Any) -> Any:
    a, b = matrices(trace, a, b)
    squares(a)
    return solve_system(trace, a, b, "solve", shared=True, trans=False)


@handles(np.linalg.inv)
def inv(trace: Trace, a: Any) -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    return call(trace, "inv", x)


@handles(np.linalg.det)
def det(trace: Trace, a: Any) -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    return call(trace, "det", x, *factor(trace, x))


@handles(np.linalg.slogdet)
def slogdet(trace: Trace, a: Any) -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    sign, log = parts(trace, call(trace, "slogdet", x, *factor(trace, x)), (), ())
    return SLOGDET(sign, real(trace, log))


def cutoff_of(value: Any) -> float:
    """A cutoff as a number; a traced one is guarded."""
    return float(value)


def _cutoffs(value: Any) -> Any:
    """Cutoffs as a param: a number, or nested tuples of them."""
    return tuple(map(_cutoffs, value)) if np.ndim(form_of(value)) else cutoff_of(value)


@handles(np.linalg.pinv)
def pinv(trace: Trace, a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = NO_VALUE) -> Any:
    (x,) = matrices(trace, a)
    shape = stacked(x)
    if rcond is not None and rtol is not NO_VALUE:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rcond is None:
        rcond = 1e-15 if rtol is NO_VALUE else max(shape[-2:]) * float(np.finfo(dtype_of(x)).eps) if rtol is None else rtol
    if size_of(shape) == 0:
        return swap(trace, x)
    options = {"hermitian": True} if hermitian else {}
    return call(trace, "pinv", x, rcond=_cutoffs(rcond), **options)


@handles(np.linalg.lstsq)
def lstsq(trace: Trace, a: Any, b: Any, rcond: Any = None) -> Any:
    a, b = matrices(trace, a, b)
    is_vector = len(shape_of(b)) == 1
    if is_vector:
        b = reshape(trace, b, (*shape_of(b), 1))
    for x in (a, b):
        if len(shape_of(x)) != 2:
            raise LinAlgError(f"{len(shape_of(x))}-dimensional array given. Array must be two-dimensional")
    m, n = shape_of(a)
    if m != shape_of(b)[0]:
        raise LinAlgError("Incompatible dimensions")
    eps = float(np.finfo(dtype_of(a)).eps)
    cutoff = eps * max(m, n) if rcond is None else cutoff_of(rcond)
    made = call(trace, "lstsq", a, b, rcond=cutoff)
    s = call(trace, "svdvals", a)
    largest = take_slice(trace, s, 0, 0, 1)
    limit = multiply(trace, largest, dtype_of(s).type(max(cutoff, eps if cutoff < 0 else 0.0)))
    rank = reduce(trace, "reduce_sum", cast(trace, apply(trace, "greater", np.greater, s, limit), np.int64), (0,), False)
    residuals: Any = np.zeros(0, real_dtype(dtype_of(a)))
    if m > n and int(rank) == n:  # numpy answers none for a matrix of lower rank
        rest = apply(trace, "sub", np.subtract, b, matmul(trace, a, made))
        residuals = reduce(trace, "reduce_sum", real(trace, multiply(trace, rest, conj(trace, rest))), (0,), False)
    if is_vector:
        made = reshape(trace, made, (n,))
    return made, residuals, cast(trace, rank, np.int32), s


# ---- decompositions ----


@handles(np.linalg.cholesky)
def cholesky(trace: Trace, a: Any, /, *, upper: bool = False) -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    return adjoint(trace, call(trace, "cholesky", adjoint(trace, x))) if upper else call(trace, "cholesky", x)


def _is_lower(UPLO: str) -> bool:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper() == "L"


def eigh_parts(trace: Trace, x: Any, **params: Any) -> tuple[Any, Any]:
    """Eigenvalues and vectors of hermitian matrices."""
    n = squares(x)[-1]
    w, v = parts(trace, call(trace, "eigh", x, **params), (n,), (n, n))
    return real(trace, w), v


@handles(np.linalg.eigh)
def eigh(trace: Trace, a: Any, UPLO: str = "L") -> Any:
    (x,) = matrices(trace, a)
    return EIGH(*eigh_parts(trace, x, lower=_is_lower(UPLO)))


@handles(np.linalg.eigvalsh)
def eigvalsh(trace: Trace, a: Any, UPLO: str = "L") -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    return call(trace, "eigvalsh", x, lower=_is_lower(UPLO))


def narrowed(trace: Trace, like: Any, *values: Any) -> tuple[Any, ...]:
    """Complex results as real ones where `like` is real: numpy's choice, which a graph guards."""
    imaginary = apply(trace, "imag", np.imag, like)
    whole = tuple(range(len(shape_of(like))))
    is_complex = reduce(trace, "reduce_any", apply(trace, "not_equal", np.not_equal, imaginary, 0), whole, False)
    return values if bool(is_complex) else tuple(real(trace, x) for x in values)


def _finite(x: Any) -> None:
    if not np.isfinite(unwrap(x)).all():
        raise LinAlgError("Array must not contain infs or NaNs")


@handles(np.linalg.eig)
def eig(trace: Trace, a: Any) -> Any:
    (x,) = matrices(trace, a)
    n = squares(x)[-1]
    _finite(x)
    w, v = parts(trace, call(trace, "eig", x), (n,), (n, n))
    return EIG(*((w, v) if dtype_of(x).kind == "c" or eigenvalues_are_complex() else narrowed(trace, w, w, v)))


@handles(np.linalg.eigvals)
def eigvals(trace: Trace, a: Any) -> Any:
    (x,) = matrices(trace, a)
    squares(x)
    _finite(x)
    w = call(trace, "eigvals", x)
    return w if dtype_of(x).kind == "c" or eigenvalues_are_complex() else narrowed(trace, w, w)[0]


def svd_parts(trace: Trace, x: Any, full: bool) -> list[Any]:
    m, n = stacked(x)[-2:]
    k = min(m, n)
    u, s, vh = parts(trace, call(trace, "svd", x, full=full), (m, m if full else k), (k,), (n if full else k, n))
    return [u, real(trace, s), vh]


@handles(np.linalg.svd)
def svd(trace: Trace, a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    (x,) = matrices(trace, a)
    if hermitian:
        return _hermitian_svd(trace, x, compute_uv)
    stacked(x)
    return SVD(*svd_parts(trace, x, bool(full_matrices))) if compute_uv else call(trace, "svdvals", x)


def _hermitian_svd(trace: Trace, x: Any, compute_uv: bool) -> Any:
    """By eigenvalues, in the order of their size."""
    last = len(squares(x)) - 2
    n = shape_of(x)[-1]
    if not compute_uv:
        size = apply(trace, "abs", np.absolute, call(trace, "eigvalsh", x, lower=True))
        return take_slice(trace, call(trace, "sort", size, axis=last), last, n - 1, n, -1) if n else size
    w, v = eigh_parts(trace, x, lower=True)
    size = apply(trace, "abs", np.absolute, w)
    order = PUBLIC[np.flip](argsort(trace, size), -1)
    pick = PUBLIC[np.take_along_axis]
    sign, u = pick(apply(trace, "sign", np.sign, w), order, axis=-1), pick(v, row(trace, order), axis=-1)
    return SVD(u, pick(size, order, axis=-1), adjoint(trace, multiply(trace, u, row(trace, sign))))


@handles(np.linalg.svdvals)
def svdvals(trace: Trace, x: Any, /) -> Any:
    return svd(trace, x, compute_uv=False)


def qr_parts(trace: Trace, x: Any, full: bool) -> list[Any]:
    m, n = stacked(x)[-2:]
    k = m if full else min(m, n)
    return parts(trace, call(trace, "qr", x, full=full), (m, k), (k, n))


@handles(np.linalg.qr)
def qr(trace: Trace, a: Any, mode: str = "reduced") -> Any:
    mode = {"full": "reduced", "f": "reduced"}.get(mode, mode)
    if mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    (x,) = matrices(trace, a)
    if mode == "raw":
        return raw(trace, x)
    q, r = qr_parts(trace, x, mode == "complete")
    return r if mode == "r" else QR(q, r)


# ---- composed ----


@handles(np.linalg.matrix_power)
def matrix_power(trace: Trace, a: Any, n: Any) -> Any:
    x = as_array(trace, a)
    shape = squares(x)
    k = operator.index(n)
    if k == 0:
        return broadcast(trace, eye(trace, shape[-1], dtype=dtype_of(x)), shape)
    if k < 0:
        x, k = inv(trace, x), -k
    made: Any = None
    power = x
    while k:
        if k % 2:
            made = power if made is None else matmul(trace, made, power)
        k //= 2
        power = matmul(trace, power, power) if k else power
    return alias(made)


@handles(np.linalg.multi_dot)
def multi_dot(trace: Trace, arrays: Any, *, out: Any = None) -> Any:
    if out is not None:
        unsupported("linalg.multi_dot(out=)", "use the returned array")
    xs = [as_array(trace, x) for x in arrays]
    if len(xs) < 2:
        raise ValueError("Expecting at least two arrays.")
    first, last = len(shape_of(xs[0])) == 1, len(shape_of(xs[-1])) == 1
    if first:
        xs[0] = reshape(trace, xs[0], (1, *shape_of(xs[0])))
    if last:
        xs[-1] = reshape(trace, xs[-1], (*shape_of(xs[-1]), 1))
    for x in xs:
        if len(shape_of(x)) != 2:
            raise LinAlgError(f"{len(shape_of(x))}-dimensional array given. Array must be two-dimensional")
    cuts = _cheapest_order([shape_of(x)[0] for x in xs] + [shape_of(xs[-1])[1]])

    def chain(i: int, j: int) -> Any:
        return xs[i] if i == j else matmul(trace, chain(i, cuts[i, j]), chain(cuts[i, j] + 1, j))

    made = chain(0, len(xs) - 1)
    if first and last:
        return PUBLIC[np.ravel](made)[0]
    return PUBLIC[np.ravel](made) if first or last else made


def _cheapest_order(extents: list[int]) -> dict[tuple[int, int], int]:
    """Where to cut each chain of products (T. Cormen et al., Introduction to Algorithms, 15.2)."""
    n = len(extents) - 1
    cost = {(i, i): 0 for i in range(n)}
    cuts: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            prices = [cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1] for k in range(i, j)]
            cost[i, j] = min(prices)
            cuts[i, j] = i + prices.index(min(prices))
    return cuts


@handles(np.linalg.tensorinv)
def tensorinv(trace: Trace, a: Any, ind: int = 2) -> Any:
    x = as_array(trace, a)
    shape = shape_of(x)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    n = size_of(shape[ind:])
    return reshape(trace, inv(trace, reshape(trace, x, (size_of(shape) // n, n))), (*shape[ind:], *shape[:ind]))


@handles(np.linalg.tensorsolve)
def tensorsolve(trace: Trace, a: Any, b: Any, axes: Any = None) -> Any:
    x, y = as_array(trace, a), as_array(trace, b)
    ndim = len(shape_of(x))
    if axes is not None:
        last = axis_tuple(axes, ndim)
        x = transpose(trace, x, (*(k for k in range(ndim) if k not in last), *last))
    shape = shape_of(x)[len(shape_of(y)) - ndim :] if ndim > len(shape_of(y)) else ()
    n = size_of(shape)
    if size_of(shape_of(x)) != n * n:
        raise LinAlgError("Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])")
    return reshape(trace, solve(trace, reshape(trace, x, (n, n)), flattened(trace, y)), shape)


@handles(np.linalg.cond)
def cond(trace: Trace, x: Any, p: Any = None) -> Any:
    (a,) = matrices(trace, x)
    if 0 in shape_of(a)[-2:] and len(shape_of(a)) >= 2:
        raise LinAlgError("cond is not defined on empty arrays")
    norm = PUBLIC[np.linalg.norm]
    if p is None or p in (2, -2):
        s = _singular_values(trace, a)
        last, k = len(shape_of(s)) - 1, shape_of(s)[-1]
        first, final = (take_slice(trace, s, last, i, 1, drop=True) for i in (0, k - 1))
        made = apply(trace, "div", _quotient, *((final, first) if p == -2 else (first, final)))
    else:
        squares(a)
        first, final = a, _inverses(trace, a)
        if p == "nuc" and cond_of_nan():
            total = PUBLIC[np.sum]
            made = multiply(trace, *(total(_singular_values(trace, each), axis=-1) for each in (first, final)))
        else:
            made = multiply(trace, norm(first, p, axis=(-2, -1)), norm(final, p, axis=(-2, -1)))
    if not trace.is_graph and not np.isnan(unwrap(made)).any():
        return made
    is_nan = apply(trace, "isnan", np.isnan, made)
    of_input = reduce(trace, "reduce_any", apply(trace, "isnan", np.isnan, a), (len(shape_of(a)) - 2, len(shape_of(a)) - 1), False)
    singular = apply(trace, "logical_and", np.logical_and, is_nan, apply(trace, "logical_not", np.logical_not, of_input))
    return apply(trace, "where", scalar_where, singular, dtype_of(made).type(np.inf), made)


def _inverses(trace: Trace, a: Any) -> Any:
    """Those of `cond`: nan for a singular matrix."""
    try:
        return inv(trace, a)
    except LinAlgError:
        is_singular = apply(trace, "equal", np.equal, slogdet(trace, a)[0], 0)
        whole = reshape(trace, is_singular, (*shape_of(a)[:-2], 1, 1))
        regular = apply(trace, "where", np.where, whole, eye(trace, shape_of(a)[-1], dtype=dtype_of(a)), a)
        return apply(trace, "where", np.where, whole, dtype_of(a).type(np.nan), inv(trace, regular))


def _singular_values(trace: Trace, a: Any) -> Any:
    """Those of `cond`: nan for a matrix that is not finite where numpy says so, an error elsewhere."""
    if not cond_of_nan() or np.isfinite(unwrap(a)).all():
        return svdvals(trace, a)
    lead = len(shape_of(a)) - 2
    is_bad = apply(trace, "logical_not", np.logical_not, apply(trace, "isfinite", np.isfinite, a))
    whole = reduce(trace, "reduce_any", is_bad, (lead, lead + 1), True)
    s = svdvals(trace, apply(trace, "where", np.where, whole, dtype_of(a).type(1), a))
    bad = reshape(trace, whole, (*shape_of(a)[:-2], 1))
    return apply(trace, "where", np.where, bad, dtype_of(s).type(np.nan), s)


def _quotient(x: Any, y: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.divide(x, y)


@handles(np.linalg.matrix_rank)
def matrix_rank(trace: Trace, A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    x = as_array(trace, A)
    shape = shape_of(x)
    if len(shape) < 2:
        return int(PUBLIC[np.any](apply(trace, "not_equal", np.not_equal, x, 0)))
    s = svd(trace, x, compute_uv=False, hermitian=hermitian)
    last = len(shape_of(s)) - 1
    expand = PUBLIC[np.expand_dims]
    if tol is None:
        largest = reduce(trace, "reduce_max" if shape_of(s)[-1] else "reduce_sum", s, (last,), True)
        limit = max(shape[-2:]) * float(np.finfo(dtype_of(s)).eps) if rtol is None else expand(as_array(trace, rtol), -1)
        tol = multiply(trace, largest, dtype_of(s).type(limit) if isinstance(limit, float) else limit)
    else:
        tol = expand(as_array(trace, tol), -1)
    above = apply(trace, "greater", np.greater, s, tol)
    return reduce(trace, "reduce_sum", cast(trace, above, np.int64), (last,), False)
