"""`scipy.linalg`: functions of matrices, matrix equations, and matrices made of vectors and blocks.

Loaded with `irgrad.scipy.linalg`, beside `irgrad.frontend.handlers.linalg_scipy`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import linalg

from irgrad.frontend.handlers import linalg as dense
from irgrad.frontend.handlers.contraction import conj, multiply
from irgrad.frontend.handlers.core import (
    Shape,
    apply,
    as_array,
    call,
    cast,
    dtype_of,
    handles,
    join,
    reshape,
    shape_of,
    take_slice,
)
from irgrad.frontend.handlers.linalg import adjoint, real, squares
from irgrad.frontend.handlers.linalg_scipy import matrices, not_traced, records
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.trace import Trace

# ---- functions of matrices ----


@records(linalg.expm)
def expm(trace: Trace, A: Any) -> Any:
    """A (..., n, n) of floats or complex numbers; a host call. The derivative is a block of expm of a matrix of twice the size:
    N. Higham, Functions of Matrices (2008), 3.16.
    """
    (x,) = dense.matrices(trace, A)
    squares(x)
    return call(trace, "expm", x)


@records(linalg.expm_frechet)
def expm_frechet(trace: Trace, A: Any, E: Any, method: Any = None, compute_expm: bool = True) -> Any:
    """In double precision, as scipy computes it."""
    a, e = (cast(trace, x, np.result_type(dtype_of(x), np.float64)) for x in dense.matrices(trace, A, E))
    shape = squares(a)
    n, last = shape[-1], len(shape) - 1
    zeros = call(trace, "zeros", shape=shape, dtype=dtype_of(a).name)
    made = call(trace, "expm", join(trace, [join(trace, [a, e], last), join(trace, [zeros, a], last)], last - 1))
    top = take_slice(trace, made, last - 1, 0, n)
    derivative = take_slice(trace, top, last, n, n)
    return (take_slice(trace, top, last, 0, n), derivative) if compute_expm else derivative


@records(linalg.logm)
def logm(trace: Trace, A: Any, disp: Any = True) -> Any:
    """A (..., n, n), computed in double precision; real where the entries allow, which is guarded. A host call; derivative as expm."""
    return _maybe_real(trace, "logm", A, disp)


@records(linalg.sqrtm)
def sqrtm(trace: Trace, A: Any, disp: Any = True, blocksize: Any = 64) -> Any:
    """A (..., n, n); real where the entries allow, which is guarded. A host call; the derivative solves a Sylvester equation."""
    return _maybe_real(trace, "sqrtm", A, disp)


def _maybe_real(trace: Trace, name: str, a: Any, disp: Any) -> Any:
    if disp is False:
        not_traced(f"{name}(disp=False)", "leave disp out")
    (x,) = dense.matrices(trace, a)
    squares(x)
    if name == "logm":  # computed in double precision
        x = cast(trace, x, np.result_type(dtype_of(x), np.float64))
    made = call(trace, name, x)
    return made if dtype_of(x).kind == "c" else dense.narrowed(trace, made, made)[0]


def _combination(function: Callable[..., Any], factor: complex, combine: Callable[[Trace, Any, Any], Any]) -> None:
    """A function that is made of exp(f A) and exp(-f A)."""

    @records(function)
    def combined(trace: Trace, A: Any) -> Any:
        (x,) = dense.matrices(trace, A)
        squares(x)
        turned = multiply(trace, x, np.result_type(dtype_of(x), np.complex64).type(factor)) if isinstance(factor, complex) else x
        made = combine(trace, call(trace, "expm", turned), call(trace, "expm", apply(trace, "neg", np.negative, turned)))
        return real(trace, made) if dtype_of(x).kind != "c" else made


def _scaled(trace: Trace, name: str, fn: Any, x: Any, y: Any, scale: complex) -> Any:
    return multiply(trace, apply(trace, name, fn, x, y), dtype_of(x).type(scale))


def _quotient(difference: complex, total: complex) -> Callable[[Trace, Any, Any], Any]:
    def combine(trace: Trace, up: Any, down: Any) -> Any:
        upper, lower = _scaled(trace, "sub", np.subtract, up, down, difference), _scaled(trace, "add", np.add, up, down, total)
        return dense.solve(trace, lower, upper)

    return combine


_combination(linalg.cosm, 1j, lambda trace, up, down: _scaled(trace, "add", np.add, up, down, 0.5))
_combination(linalg.sinm, 1j, lambda trace, up, down: _scaled(trace, "sub", np.subtract, up, down, -0.5j))
_combination(linalg.tanm, 1j, _quotient(-0.5j, 0.5))
_combination(linalg.coshm, 1.0, lambda trace, up, down: _scaled(trace, "add", np.add, up, down, 0.5))
_combination(linalg.sinhm, 1.0, lambda trace, up, down: _scaled(trace, "sub", np.subtract, up, down, 0.5))
_combination(linalg.tanhm, 1.0, _quotient(0.5, 0.5))


# ---- equations ----


@records(linalg.solve_sylvester)
def solve_sylvester(trace: Trace, a: Any, b: Any, q: Any) -> Any:
    """a (..., m, m), b (..., n, n), q (..., m, n); a host call (Schur forms). The derivative solves the transposed equation."""
    a, b, q = matrices(trace, a, b, q)
    squares(a)
    squares(b)
    return call(trace, "solve_sylvester", a, b, q)


@records(linalg.solve_continuous_lyapunov)
def solve_continuous_lyapunov(trace: Trace, a: Any, q: Any) -> Any:
    a, q = matrices(trace, a, q)
    squares(a)
    return call(trace, "solve_sylvester", a, adjoint(trace, a), q)


@records(linalg.solve_banded)
def solve_banded(trace: Trace, l_and_u: Any, ab: Any, b: Any) -> Any:
    """ab (l + u + 1, n), b (n,) or (n, k); a host call (LAPACK's gbsv). Raises ValueError for shapes that do not fit."""
    below, above = map(operator.index, l_and_u)
    ab, b = matrices(trace, ab, b)
    if len(shape_of(ab)) != 2 or len(shape_of(b)) > 2:
        not_traced("solve_banded of a stack", "loop over the stack")
    n = shape_of(ab)[-1]
    if n != shape_of(b)[0]:
        raise ValueError("shapes of ab and b are not compatible.")
    if below + above + 1 != shape_of(ab)[0]:
        have, want = shape_of(ab)[0], below + above + 1
        raise ValueError(f"invalid values for the number of lower and upper diagonals: l+u+1 ({want}) does not equal ab.shape[0] ({have})")
    columns = reshape(trace, b, (n, size_of(shape_of(b)[1:])))
    return reshape(trace, call(trace, "solve_banded", ab, columns, below=below, above=above, trans=False), shape_of(b))


# ---- made of vectors and blocks ----


def _vector(trace: Trace, x: Any, name: str) -> Any:
    x = as_array(trace, x)
    if len(shape_of(x)) > 1:
        not_traced(f"{name} of a stack", "loop over the stack")
    return flattened(trace, x)


def _spread(trace: Trace, values: Any, index: Any) -> Any:
    """``values[index]`` for a constant index array."""
    return call(trace, "gather", values, trace.lift(index))


def _joined(trace: Trace, parts: Sequence[Any]) -> Any:
    dtype = np.result_type(*map(dtype_of, parts))
    return join(trace, [cast(trace, part, dtype) for part in parts], 0)


@records(linalg.toeplitz)
def toeplitz(trace: Trace, c: Any, r: Any = None) -> Any:
    """Vectors c (n,) and r (m,): a matrix (n, m) that gathers from both; r defaults to conj(c)."""
    c = _vector(trace, c, "toeplitz")
    r = conj(trace, c) if r is None else _vector(trace, r, "toeplitz")
    n, m = shape_of(c)[0], shape_of(r)[0]
    backwards = take_slice(trace, c, 0, n - 1, n, -1)
    values = _joined(trace, [backwards, take_slice(trace, r, 0, 1, m - 1)]) if m > 1 else backwards
    return _spread(trace, values, np.arange(m) - np.arange(n)[:, None] + n - 1)


@records(linalg.hankel)
def hankel(trace: Trace, c: Any, r: Any = None) -> Any:
    c = _vector(trace, c, "hankel")
    n = shape_of(c)[0]
    r = call(trace, "zeros", shape=(n,), dtype=dtype_of(c).name) if r is None else _vector(trace, r, "hankel")
    m = shape_of(r)[0]
    values = _joined(trace, [c, take_slice(trace, r, 0, 1, m - 1)]) if m > 1 else c
    return _spread(trace, values, np.arange(m) + np.arange(n)[:, None])


@records(linalg.circulant)
def circulant(trace: Trace, c: Any) -> Any:
    c = _vector(trace, c, "circulant")
    n = shape_of(c)[0]
    return _spread(trace, c, (np.arange(n)[:, None] - np.arange(n)) % max(n, 1))


@handles(linalg.block_diag)
def block_diag(trace: Trace, *arrs: Any) -> Any:
    blocks = [as_array(trace, x) for x in arrs] or [as_array(trace, np.zeros((1, 0)))]
    if any(len(shape_of(x)) > 2 for x in blocks):
        not_traced("block_diag of stacks", "loop over the stacks")
    blocks = [reshape(trace, x, _as_matrix(shape_of(x))) for x in blocks]
    dtype = np.result_type(*map(dtype_of, blocks))
    shape = (sum(shape_of(x)[0] for x in blocks), sum(shape_of(x)[1] for x in blocks))
    made = call(trace, "zeros", shape=shape, dtype=dtype.name)
    i = j = 0
    for x in blocks:
        n, m = shape_of(x)
        if n and m:
            made = call(trace, "slice_update", made, cast(trace, x, dtype), start=(i, j), count=(n, m), step=(1, 1), drop=())
        i, j = i + n, j + m
    return made


def _as_matrix(shape: Shape) -> Shape:
    return (1,) * (2 - len(shape)) + shape
