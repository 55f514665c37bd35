"""numpy.linalg and scipy.linalg over dtypes and forms of arrays (stacks, empty, views, whole numbers), and norms of all orders."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import irgrad
import irgrad.numpy as inp
import irgrad.scipy.linalg as isl
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.pytree import flatten
from irgrad.test_util import check_grads
from tests.support.tracing import traced, tracing

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")]
RNG = np.random.default_rng(23)


def forms(*shapes: tuple[int, ...]) -> list[Any]:
    """Every dtype that LAPACK knows for each shape, then views of a larger array, whole numbers and bools."""
    made: list[Any] = []
    for shape in shapes:
        for dtype in "fdFD":
            x = RNG.normal(size=shape) + 1j * RNG.normal(size=shape)
            x = x if dtype in "FD" else x.real
            made.append((x + 3 * np.eye(shape[-1]) if shape[-1] == shape[-2] else x).astype(dtype))
    big = RNG.normal(size=(6, 6))
    big[::2, ::2] += 3 * np.eye(3)
    whole = RNG.integers(1, 5, size=(3, 3)) + 6 * np.eye(3, dtype=int)
    return [*made, big[::2, ::2], big[::-2, ::-2].T, np.asfortranarray(big[::2, ::2]), whole, whole.astype("int8"), np.tri(3, dtype=bool)]


def positive(_: Any, x: Any) -> Any:
    return x @ x.conj().swapaxes(-1, -2) + np.eye(x.shape[-1], dtype=x.dtype)


SQUARE = forms((3, 3), (1, 1), (0, 0), (2, 3, 3), (2, 1, 3, 3), (0, 3, 3))
ANY = forms((4, 3), (3, 4), (3, 3), (1, 1), (0, 3), (3, 0), (2, 4, 3), (2, 1, 3, 4), (0, 4, 3))

Case = tuple[str, Callable[[Any, Any], Any], list[Any]]
NUMPY: list[Case] = [
    *((name, lambda np, x, f=name: getattr(np.linalg, f)(x), SQUARE) for name in ("inv", "det", "slogdet", "eigvals", "eigvalsh")),
    *((name, lambda np, x, f=name: getattr(np.linalg, f)(x), ANY) for name in ("pinv", "svdvals", "matrix_rank", "trace", "diagonal")),
    ("cholesky", lambda np, x: np.linalg.cholesky(positive(np, x)), SQUARE),
    ("solve", lambda np, x: np.linalg.solve(x, x), SQUARE),
    ("solve vector", lambda np, x: np.linalg.solve(x, np.arange(1.0, 1 + x.shape[-1])), SQUARE),
    ("lstsq", lambda np, x: np.linalg.lstsq(x, np.arange(1.0, 1 + x.shape[-2])), [x for x in ANY if x.ndim == 2]),
    ("svd", lambda np, x: tuple(abs(y) for y in np.linalg.svd(x, full_matrices=False)), ANY),
    ("svd full", lambda np, x: tuple(abs(y) for y in np.linalg.svd(x)), ANY),
    ("eigh", lambda np, x: tuple(abs(y) for y in np.linalg.eigh(x)), SQUARE),
    *((f"qr {mode}", lambda np, x, mode=mode: np.linalg.qr(x, mode), ANY) for mode in ("reduced", "complete", "r")),
    *((f"power {k}", lambda np, x, k=k: np.linalg.matrix_power(x, k), SQUARE[:-1]) for k in (-2, 0, 1, 5)),
    *((f"cond {p}", lambda np, x, p=p: np.linalg.cond(x, p), SQUARE) for p in (None, -2, 1, -1, "fro", "nuc", np.inf)),
    ("multi_dot", lambda np, x: np.linalg.multi_dot([x, x, x]), SQUARE),
]  # fmt: skip
for _order in (None, 0, 1, -1, 2, -2, 3, 0.5, -2.5, np.inf, -np.inf):
    NUMPY += [
        (f"norm of vectors {_order}", lambda np, x, o=_order: np.linalg.norm(x, o, axis=-1), ANY),
        (f"vector_norm {_order}", lambda np, x, o=_order: np.linalg.vector_norm(x, ord=2 if o is None else o, keepdims=True), ANY),
    ]
for _ord in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
    NUMPY.append((f"norm of matrices {_ord}", lambda np, x, o=_ord: np.linalg.norm(x, o, axis=(-1, -2), keepdims=True), ANY))


SCIPY: list[Case] = [
    *((name, lambda sl, x, name=name: getattr(sl, name)(x), SQUARE) for name in ("inv", "expm", "lu_factor", "cosm", "sinm")),
    *((name, lambda sl, x, name=name: getattr(sl, name)(x), ANY) for name in ("pinv", "svdvals", "norm", "qr")),
    ("eigvals", lambda sl, x: (sl.eigvals(x) ** 2).sum(-1), SQUARE),  # in single precision they may come in another order
    ("lu", lambda sl, x: sl.lu(x)[1:], ANY),
    ("lu indices", lambda sl, x: sl.lu(x, p_indices=True), [x for x in ANY if x.shape[0] > 1]),  # scipy's of one row is int64
    *((f"qr {mode}", lambda sl, x, mode=mode: sl.qr(x, mode=mode, pivoting=True), ANY) for mode in ("full", "r", "economic")),
    ("cholesky", lambda sl, x: sl.cholesky(positive(sl, x)), SQUARE),
    *((f"cho_factor {low}", lambda sl, x, low=low: sl.cho_factor(positive(sl, x), lower=low)[0], SQUARE) for low in (True, False)),
    ("cho_solve", lambda sl, x: sl.cho_solve((x, True), np.ones(x.shape[-1])), SQUARE),
    ("lu_solve", lambda sl, x: sl.lu_solve(sl.lu_factor(x), np.arange(1.0, 1 + x.shape[-1])), SQUARE),
    ("solve", lambda sl, x: sl.solve(x, np.ones(x.shape[-1])), SQUARE),
    ("solve_triangular", lambda sl, x: sl.solve_triangular(x, x, trans=1), SQUARE),
    ("solve_sylvester", lambda sl, x: sl.solve_sylvester(x, x, x), [x for x in SQUARE if x.dtype.kind in "fc"]),
    ("expm_frechet", lambda sl, x: sl.expm_frechet(x, x), [x for x in SQUARE if x.dtype.char in "dD"]),
    ("toeplitz", lambda sl, x: sl.toeplitz(x.ravel()), ANY),
    ("circulant", lambda sl, x: sl.circulant(x.ravel()), ANY),
]


def leaves(x: Any) -> list[Any]:
    return flatten(x)[0]


def attempt(function: Callable[[], Any]) -> Any:
    """A result, or the exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function()
    except (ValueError, TypeError, np.linalg.LinAlgError) as error:
        return error


@pytest.mark.parametrize("kind", [EagerTrace, GraphTrace])
@pytest.mark.parametrize("library", ["numpy", "scipy"])
def test_values_dtypes_and_shapes(library: str, kind: type[Trace]) -> None:
    cases, plain, mine = (NUMPY, np, inp) if library == "numpy" else (SCIPY, scipy.linalg, isl)
    count = 0
    for name, function, inputs in cases:
        for x in inputs:
            where = f"{name} of {x.dtype}{x.shape}"
            want = attempt(lambda function=function, x=x: function(plain, x))
            with tracing(kind) as trace:
                got = attempt(lambda function=function, x=x, trace=trace: function(mine, traced(trace, x)))
                if library == "scipy" and name.split()[0] in ("svdvals", "qr") and 0 in x.shape[:-2]:
                    continue  # scipy refuses no matrices, or answers in another shape
                if isinstance(want, Exception):
                    if "zero-size batches" not in str(want):  # scipy's refusal of what has an answer
                        assert isinstance(got, type(want)), f"{where}: {got!r} instead of {want!r}"
                    continue
                assert not isinstance(got, Exception), f"{where}: {got!r}"
                pairs = zip(leaves(got), leaves(want), strict=True)
            for g, w in ((g.value if type(g) is Tracer else g, w) for g, w in pairs):
                assert np.shape(g) == np.shape(w), where
                assert np.result_type(g) == np.result_type(w), where
                assert isinstance(g, np.ndarray) == isinstance(w, np.ndarray), where
                rough = np.result_type(w).char in "fF" or x.dtype.char in "fF"
                np.testing.assert_allclose(g, w, rtol=3e-4 if rough else 1e-9, atol=3e-4 if rough else 1e-9, err_msg=where)
                count += 1
    assert count > 800


# ---- norms ----

V, M = RNG.normal(size=5), RNG.normal(size=(3, 4))
VECTOR_ORDERS = (None, 1, 2, 3, 0.5, 2.5, -1, -2, -0.5, np.inf, -np.inf)
MATRIX_ORDERS = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)


@pytest.mark.parametrize("is_complex", [False, True])
def test_derivatives_of_norms(is_complex: bool) -> None:
    v, m = (V + 1j * V**2, M + 1j * M**3) if is_complex else (V, M)
    for order in VECTOR_ORDERS:
        check_grads(lambda x, o=order: inp.linalg.norm(x, o) ** 2, order=2)(v)
        check_grads(lambda x, o=order: inp.linalg.norm(x, o, axis=0, keepdims=True), order=2)(m)
        check_grads(lambda x, o=order: inp.linalg.vector_norm(x, ord=2 if o is None else o, axis=1), order=2)(m)
    for order in MATRIX_ORDERS:
        check_grads(lambda x, o=order: inp.linalg.norm(x, o), order=2)(m)
        check_grads(lambda x, o=order: inp.linalg.norm(x, o, axis=(1, 0)), order=2)(np.stack([m, 2 * m], axis=2))


def test_norms_at_zero_and_beyond() -> None:
    zero = np.zeros((2, 3))
    for order in (*VECTOR_ORDERS[:-5], np.inf):
        np.testing.assert_array_equal(irgrad.grad(lambda x, o=order: inp.sum(inp.linalg.norm(x, o, axis=1)))(zero), zero)
    half = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    for f in (lambda x: inp.linalg.norm(x, axis=1), lambda x: inp.linalg.vector_norm(x, axis=1)):
        first = irgrad.grad(lambda x, f=f: inp.sum(f(x)))(half)
        np.testing.assert_allclose(first, [[0, 0, 0], [0.6, 0, 0.8]], rtol=1e-15)
        assert np.isfinite(irgrad.hessian(lambda x, f=f: inp.sum(f(x)))(half)).all()
        assert np.isfinite(irgrad.make_jvp(f)(half)(np.ones_like(half))[1]).all()
    np.testing.assert_array_equal(irgrad.grad(lambda x: inp.linalg.norm(x, -1))(np.array([np.inf, np.inf])), [0, 0])


@pytest.mark.parametrize("x", [V, M, M.astype("float32"), M + 1j * M[::-1], np.zeros((3, 4)), M.T[::2]])
def test_compiled_norms_are_the_eager_ones(x: Any) -> None:
    def f(x: Any) -> Any:
        return np.linalg.norm(x) + np.sum(np.linalg.norm(x, axis=0) ** 3) + np.linalg.norm(2.0 * x - 1.0)

    gradient = irgrad.value_and_grad(f)
    jitted = irgrad.jit(gradient, compile_after=1)
    jitted(x)
    tolerance = 1e-5 if x.dtype == np.float32 else 1e-12
    for got, want in zip(jitted(x), gradient(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    assert jitted.stats().host_calls == 0


# ---- others ----


def test_derivatives_of_factors_with_pivots() -> None:
    a = RNG.normal(size=(4, 3)) * np.array([1.0, 3.0, 2.0])

    def f(x: Any) -> Any:
        q, r, p = isl.qr(x, mode="economic", pivoting=True)
        return inp.sum(q * np.arange(12).reshape(4, 3)) + inp.sum(inp.triu(r) ** 3) + inp.sum(x[0, p] * np.arange(3))

    check_grads(f, order=2)(a)
    jitted = irgrad.jit(irgrad.grad(f), compile_after=1)
    for x in (a, a[:, ::-1].copy(), a[:, ::-1].copy()):  # another permutation is no other path
        np.testing.assert_allclose(jitted(x), irgrad.grad(f)(x), rtol=1e-9, atol=1e-10)
    assert jitted.stats().traces == 1


def test_the_other_triangle_of_a_factor_is_the_matrix() -> None:
    a = RNG.normal(size=(3, 3))
    check_grads(lambda x: isl.cho_factor(x @ x.T + np.eye(3))[0] ** 2, order=2)(a)
    check_grads(lambda x: isl.cho_solve(isl.cho_factor(x @ x.T + np.eye(3), lower=True), np.arange(3.0)), order=2)(a)


def of_rank(m: int, n: int, is_complex: bool) -> Any:
    """Singular values 3, 2 and 0.5 between random bases."""
    draw = lambda *shape: RNG.normal(size=shape) + 1j * is_complex * RNG.normal(size=shape)
    made = (np.linalg.qr(draw(m, 3))[0] * [3.0, 2.0, 0.5]) @ np.linalg.qr(draw(n, 3))[0].T
    return made if is_complex else made.real


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3)])
@pytest.mark.parametrize("is_complex", [False, True])
def test_derivatives_with_a_cutoff(shape: tuple[int, int], is_complex: bool) -> None:
    """A singular value that the cutoff drops and that is not 0 turns the spaces of the others."""
    x, y = of_rank(*shape, is_complex), RNG.normal(size=(shape[0], 2))
    for f in (
        lambda x: inp.linalg.pinv(x, 0.3),
        lambda x: inp.linalg.pinv(inp.stack([x, 2.0 * x]), rcond=np.array([0.3, 1e-12])),
        lambda x: inp.linalg.lstsq(x, y, 0.3)[0],
        lambda x: isl.pinv(x, rtol=0.3),
    ):
        check_grads(f, order=2)(x)
    left, right = RNG.normal(size=(shape[0], 2)), RNG.normal(size=(2, shape[1]))
    check_grads(lambda a, b: inp.linalg.pinv(a @ b, 1e-10) + inp.linalg.lstsq(a @ b, np.eye(shape[0]))[0], argnum=(0, 1), order=2)(
        left, right
    )
    gradient = irgrad.grad(lambda x: np.real(np.sum(np.linalg.pinv(x, 0.3) ** 2)))
    jitted = irgrad.jit(gradient, compile_after=1)
    jitted(x)
    np.testing.assert_allclose(jitted(x), gradient(x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("is_complex", [False, True])
def test_hermitian_pseudo_inverses_read_the_lower_triangle(is_complex: bool) -> None:
    x = of_rank(3, 3, is_complex)
    x = x @ x.conj().T
    for rcond in (1e-15, 0.3):
        check_grads(lambda x, r=rcond: inp.linalg.pinv(x, r, hermitian=True), order=2)(x)
    assert not np.triu(irgrad.grad(lambda x: np.real(np.sum(np.linalg.pinv(x, hermitian=True))))(x), 1).any()


def cofactors(a: Any) -> Any:
    n = len(a)
    minors = [[np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) * (-1) ** (i + j) for j in range(n)] for i in range(n)]
    return np.array(minors)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_determinants_of_every_rank(dtype: str) -> None:
    """The gradient is the matrix of cofactors, zero two below full rank; eagerly, compiled, and in stacks with regular matrices."""
    gradient = irgrad.grad(lambda x: np.sum(np.real(np.linalg.det(x))))
    jitted = irgrad.jit(gradient, compile_after=1)
    for n in (2, 3, 5):
        for rank in range(max(0, n - 3), n + 1):
            a = RNG.normal(size=(n, rank)) @ RNG.normal(size=(rank, n)) * (1 + 0.5j if dtype == "complex128" else 1.0)
            want = cofactors(a)
            atol = (1e-4 if dtype == "float32" else 1e-12) * max(1.0, np.linalg.norm(a)) ** (n - 1)
            a = np.asarray(a, dtype)
            stack = np.stack([a, 2.0 * np.eye(n, dtype=dtype)])
            for f in (gradient, jitted, jitted):
                np.testing.assert_allclose(f(a), want, rtol=0.0, atol=atol)
                np.testing.assert_allclose(f(stack), [want, 2.0 ** (n - 1) * np.eye(n)], rtol=0.0, atol=atol + 1e-3)
            if rank <= n - 2:
                np.testing.assert_allclose(gradient(a), 0.0, atol=atol)
