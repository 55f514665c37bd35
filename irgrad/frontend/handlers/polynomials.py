"""Polynomials as arrays of coefficients, the highest power first (numpy's older interface)."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    LA,
    NP,
    as_array,
    cast,
    dtype_of,
    full,
    handles,
    join,
    reshape,
    shape_of,
    take_slice,
    unwrap,
)
from irgrad.frontend.handlers.joining import parts_of
from irgrad.frontend.handlers.linalg import narrowed
from irgrad.frontend.installed import eigenvalues_are_complex
from irgrad.frontend.trace import Trace


def _coefficients(trace: Trace, p: Any) -> Any:
    x = as_array(trace, p)
    return reshape(trace, x, (1,)) if not shape_of(x) else x


def _zeros(trace: Trace, n: int, dtype: Any) -> Any:
    return full(trace, (n,), 0, np.dtype(dtype))


def _aligned(trace: Trace, a: Any, b: Any) -> list[Any]:
    """Two polynomials with equally many coefficients of one dtype."""
    pair = parts_of(trace, [_coefficients(trace, a), _coefficients(trace, b)])
    n = max(shape_of(p)[0] for p in pair)
    return [p if shape_of(p)[0] == n else join(trace, [_zeros(trace, n - shape_of(p)[0], dtype_of(p)), p], 0) for p in pair]


@handles(np.polyadd)
def polyadd(trace: Trace, a1: Any, a2: Any) -> Any:
    return NP.add(*_aligned(trace, a1, a2))


@handles(np.polysub)
def polysub(trace: Trace, a1: Any, a2: Any) -> Any:
    return NP.subtract(*_aligned(trace, a1, a2))


@handles(np.polymul)
def polymul(trace: Trace, a1: Any, a2: Any) -> Any:
    return NP.convolve(*(_trimmed(trace, _coefficients(trace, p)) for p in (a1, a2)))


def _trimmed(trace: Trace, p: Any) -> Any:
    """Without leading zeros, as numpy reads operands of a product; which coefficients are zero is guarded."""
    return p if shape_of(p)[0] < 2 or bool(NP.not_equal(take_slice(trace, p, 0, 0, 1, drop=True), 0)) else _without_zeros(trace, p)


def _without_zeros(trace: Trace, p: Any) -> Any:
    trimmed = NP.trim_zeros(p, trim="f")
    return trimmed if shape_of(trimmed)[0] else _zeros(trace, 1, dtype_of(p))


@handles(np.polydiv)
def polydiv(trace: Trace, u: Any, v: Any) -> tuple[Any, Any]:
    """Long division; leading zeros of the remainder are guarded."""
    rest, divisor = parts_of(trace, [_coefficients(trace, p) for p in (u, v)])
    dtype = np.result_type(dtype_of(rest), 0.0)  # numpy adds 0.0 to both
    rest, divisor = cast(trace, rest, dtype), cast(trace, divisor, dtype)
    m, n = shape_of(rest)[0] - 1, shape_of(divisor)[0] - 1
    scale = NP.divide(1.0, take_slice(trace, divisor, 0, 0, 1))
    quotient: list[Any] = []
    for k in range(m - n + 1):
        digit = NP.multiply(scale, take_slice(trace, rest, 0, k, 1))
        quotient.append(digit)
        part = NP.subtract(take_slice(trace, rest, 0, k, n + 1), NP.multiply(digit, divisor))
        pieces = [take_slice(trace, rest, 0, 0, k), part, take_slice(trace, rest, 0, k + n + 1, m - k - n)]
        rest = join(trace, [p for p in pieces if shape_of(p)[0]], 0)
    while shape_of(rest)[0] > 1 and bool(NP.isclose(take_slice(trace, rest, 0, 0, 1, drop=True), 0, rtol=1e-14)):
        rest = take_slice(trace, rest, 0, 1, shape_of(rest)[0] - 1)
    return (join(trace, quotient, 0) if quotient else _zeros(trace, 1, dtype)), rest


@handles(np.polyder)
def polyder(trace: Trace, p: Any, m: Any = 1) -> Any:
    times = operator.index(m)
    if times < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    made = _coefficients(trace, p)
    for _ in range(times):
        n = shape_of(made)[0] - 1
        made = NP.multiply(take_slice(trace, made, 0, 0, max(n, 0)), trace.lift(np.arange(n, 0, -1)))
    return made


@handles(np.polyint)
def polyint(trace: Trace, p: Any, m: Any = 1, k: Any = None) -> Any:
    times = operator.index(m)
    if times < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = _zeros(trace, times, float) if k is None else _coefficients(trace, k)
    if shape_of(constants)[0] == 1 and times > 1:
        constants = NP.multiply(constants, trace.lift(np.ones(times)))
    if shape_of(constants)[0] < times:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    made = _coefficients(trace, p)
    for i in range(times):
        divided = NP.divide(made, trace.lift(np.arange(shape_of(made)[0], 0, -1)))
        made = join(trace, parts_of(trace, [divided, take_slice(trace, constants, 0, i, 1)]), 0)
    return made


@handles(np.poly)
def poly(trace: Trace, seq_of_zeros: Any) -> Any:
    """The polynomial with these roots, or the characteristic polynomial of a matrix."""
    x = _coefficients(trace, seq_of_zeros)
    shape = shape_of(x)
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] != 0:
        roots = LA.eigvals(x)
    elif len(shape) == 1:
        roots = x if dtype_of(x).kind in "fc" else cast(trace, x, np.float64)
    else:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    if not shape_of(roots)[0]:
        return 1.0
    made: Any = full(trace, (1,), 1, dtype_of(roots))
    for i in range(shape_of(roots)[0]):
        root = take_slice(trace, roots, 0, i, 1)
        made = NP.convolve(made, join(trace, [full(trace, (1,), 1, dtype_of(roots)), NP.negative(root)], 0))
    if dtype_of(made).kind == "c":
        first, second = (np.sort(unwrap(r)) for r in (roots, NP.conjugate(roots)))
        if bool(NP.array_equal(NP.sort(roots), NP.sort(NP.conjugate(roots)))) and np.array_equal(first, second):
            made = NP.real(made)
    return made


@handles(np.roots)
def roots(trace: Trace, p: Any) -> Any:
    """Eigenvalues of the companion matrix. Which leading and trailing coefficients are zero is guarded."""
    x = _coefficients(trace, p)
    if len(shape_of(x)) != 1:
        raise ValueError("Input must be a rank-1 array.")
    kept = NP.trim_zeros(x)
    n = shape_of(kept)[0]
    if n == 0:
        return full(trace, (0,), 0.0, np.dtype(np.float64))
    trailing = shape_of(x)[0] - shape_of(NP.trim_zeros(x, trim="b"))[0]
    if dtype_of(kept).kind not in "fc":
        kept = cast(trace, kept, np.float64)
    if n < 2:
        return full(trace, (trailing,), 0.0, np.dtype(np.float64)) if trailing else full(trace, (0,), 0.0, np.dtype(np.float64))
    row = NP.divide(NP.negative(take_slice(trace, kept, 0, 1, n - 1)), take_slice(trace, kept, 0, 0, 1))
    below = trace.lift(np.eye(n - 2, n - 1, dtype=dtype_of(row)))
    found = LA.eigvals(join(trace, [reshape(trace, row, (1, n - 1)), below], 0) if n > 2 else reshape(trace, row, (1, 1)))
    if dtype_of(row).kind != "c" and eigenvalues_are_complex():
        (found,) = narrowed(trace, found, found)
    if not trailing:
        return found
    return join(trace, [found, _zeros(trace, trailing, dtype_of(found))], 0)


@handles(np.polyfit)
def polyfit(trace: Trace, x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    """Least squares with numpy's scaling of columns; `deg` is one degree."""
    degree = operator.index(deg)
    if degree < 0:
        raise ValueError("expected deg >= 0")
    points, values = (NP.add(as_array(trace, v), 0.0) for v in (x, y))
    if len(shape_of(points)) != 1:
        raise TypeError("expected 1D vector for x")
    if shape_of(points)[0] == 0:
        raise TypeError("expected non-empty vector for x")
    if not 1 <= len(shape_of(values)) <= 2:
        raise TypeError("expected 1D or 2D array for y")
    n = shape_of(points)[0]
    if shape_of(values)[0] != n:
        raise TypeError("expected x and y to have same length")
    if rcond is None:
        rcond = n * float(np.finfo(dtype_of(points)).eps)
    columns = NP.vander(points, degree + 1)
    if w is not None:
        weight = NP.add(as_array(trace, w), 0.0)
        if shape_of(weight) != (n,):
            raise TypeError(
                "expected a 1-d array for weights" if len(shape_of(weight)) != 1 else "expected w and y to have the same length"
            )
        column = reshape(trace, weight, (n, 1))
        columns = NP.multiply(columns, column)
        values = NP.multiply(values, weight if len(shape_of(values)) == 1 else column)
    scale = NP.sqrt(NP.sum(NP.multiply(columns, columns), axis=0))
    made, residuals, rank, s = LA.lstsq(NP.divide(columns, scale), values, rcond)
    spread = len(shape_of(made)) == 2
    made = NP.divide(made, reshape(trace, scale, (degree + 1, 1)) if spread else scale)
    if full:
        return made, residuals, rank, s, rcond
    if not cov:
        return made
    return made, _covariance(trace, columns, scale, residuals, n, degree + 1, cov == "unscaled", spread)


def _covariance(
    trace: Trace, columns: Any, scale: Any, residuals: Any, n: int, order: int, unscaled: bool, spread: bool
) -> Any:  # of the fitted coefficients
    scaled = NP.divide(columns, scale)
    base = LA.inv(NP.matmul(NP.transpose(scaled), scaled))
    base = NP.divide(base, NP.outer(scale, scale))
    if unscaled:
        factor: Any = 1
    else:
        if n <= order:
            raise ValueError("the number of data points must exceed order to scale the covariance matrix")
        factor = NP.divide(residuals, n - order)
    if not spread:
        return NP.multiply(base, factor)
    return NP.multiply(reshape(trace, base, (order, order, 1)), factor)
