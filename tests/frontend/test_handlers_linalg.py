"""numpy.linalg and scipy.linalg in traced code: values, derivatives to order 2 in both modes, programs, peers, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import irgrad
import irgrad.numpy as inp
import irgrad.scipy.linalg as isl
from irgrad.errors import TraceError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.pytree import flatten
from irgrad.test_util import check_grads
from tests.support.tracing import same, traced, tracing

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(17)


def matrix(*shape: int) -> Any:
    x = RNG.normal(size=shape)
    return x + 3.0 * np.eye(shape[-1]) if shape[-1] == shape[-2] else x


A, B, TALL, WIDE = matrix(3, 3), matrix(2, 3, 3), matrix(4, 3), matrix(3, 4)
C = matrix(3, 3) + 1j * matrix(3, 3)
TURN = np.array([[0.3, 1.0, 0.0], [-1.0, 0.5, 0.2], [0.1, 0.0, 3.0]])  # two complex eigenvalues
CUBE, BANDS = matrix(12, 12), matrix(4, 5) + np.array([[0.0], [0.0], [6.0], [0.0]])
EYE = np.eye(3)


def definite(np: Any, x: Any) -> Any:
    return np.matmul(x, np.conj(np.swapaxes(x, -1, -2))) + np.eye(x.shape[-1])


# ---- numpy.linalg: (name, function of a namespace and an array, array, is it differentiated with differences?) ----

Row = tuple[str, Callable[[Any, Any], Any], Any, bool]
NUMPY: list[Row] = []


def rows(name: str, *cases: tuple[Callable[[Any, Any], Any], Any], smooth: bool = True) -> None:
    NUMPY.extend((name, function, x, smooth) for function, x in cases)


rows(
    "cholesky",
    (lambda np, x: np.linalg.cholesky(definite(np, x)), A),
    (lambda np, x: np.linalg.cholesky(definite(np, x), upper=True), B),
    (lambda np, x: np.linalg.cholesky(definite(np, x)), C),
)
rows("cholesky", (lambda np, x: np.linalg.cholesky(x), definite(np, A.astype("float32"))), smooth=False)
for _name in ("inv", "det", "slogdet"):
    rows(_name, *((lambda np, x, name=_name: getattr(np.linalg, name)(x), x) for x in (A, B, C)))
rows("inv", *((lambda np, x: np.linalg.inv(x), x) for x in (A.astype("float32"), np.array([[2, 1], [1, 1]]))), smooth=False)
rows("det", (lambda np, x: np.linalg.det(x), np.zeros((2, 2))), smooth=False)
rows(
    "solve",
    (lambda np, x: np.linalg.solve(x, x[0]), A),
    (lambda np, x: np.linalg.solve(x, TALL.T), A),
    (lambda np, x: np.linalg.solve(x, x[0, 0]), B),
    (lambda np, x: np.linalg.solve(A, x), B),
    (lambda np, x: np.linalg.solve(B, x), WIDE),
    (lambda np, x: np.linalg.solve(x, A), C),
)
rows("pinv", *((lambda np, x: np.linalg.pinv(x), x) for x in (TALL, WIDE, C, matrix(2, 4, 2))))
rows(
    "pinv",
    (lambda np, x: np.linalg.pinv(x, rtol=None), TALL),
    (lambda np, x: np.linalg.pinv(x, rcond=np.array([0.1, 0.4])), B),
    smooth=False,
)
rows("pinv", (lambda np, x: np.linalg.pinv(x @ x.T, hermitian=True), A))
rows(
    "lstsq",
    (lambda np, x: np.linalg.lstsq(x, TALL[:, :2]), TALL[:, 1:]),
    (lambda np, x: np.linalg.lstsq(x, TALL[:, 0], rcond=1e-12), TALL[:, 1:]),
    (lambda np, x: np.linalg.lstsq(x, A), WIDE),
)
rows("lstsq", (lambda np, x: np.linalg.lstsq(x, TALL), np.outer(TALL[:, 0], A[0])), smooth=False)
for _ord in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
    rows("norm", (lambda np, x, o=_ord: np.linalg.norm(x, o), A))
for _order in (None, 1, 2, 3, 0.5, -1, -2, np.inf, -np.inf, 0):
    rows("norm", (lambda np, x, o=_order: np.linalg.norm(x, o), A[0]), smooth=_order != 0)
rows(
    "norm",
    (lambda np, x: np.linalg.norm(x, "nuc", axis=(0, 2), keepdims=True), B),
    (lambda np, x: np.linalg.norm(x, 2, axis=(2, 0)), B),
    (lambda np, x: np.linalg.norm(x, axis=1), B),
    (lambda np, x: np.linalg.matrix_norm(x, ord="nuc", keepdims=True), B),
    (lambda np, x: np.linalg.vector_norm(x, ord=3), B),
    (lambda np, x: np.linalg.norm(x, 2), C),
)
rows(
    "eigen",
    (lambda np, x: np.linalg.eigh(x), A),
    (lambda np, x: np.linalg.eigh(x, "U"), B),
    (lambda np, x: np.linalg.eigvalsh(x), B),
    (lambda np, x: np.linalg.eigvalsh(x, UPLO="U"), C),
    (lambda np, x: np.linalg.eig(x), A),
    (lambda np, x: np.linalg.eig(x), C),
    (lambda np, x: np.linalg.eig(x), TURN),
    (lambda np, x: np.linalg.eigvals(x), A),
    (lambda np, x: np.linalg.eigvals(x), TURN),
)
rows("eigen", (lambda np, x: np.linalg.eigh(x), C @ C.conj().T), smooth=False)
rows(
    "svd",
    (lambda np, x: np.linalg.svd(x, full_matrices=False), TALL),
    (lambda np, x: np.linalg.svd(x, full_matrices=False), matrix(2, 2, 3)),
    (lambda np, x: np.linalg.svd(x), A),
    (lambda np, x: np.linalg.svd(x, compute_uv=False), B),
    (lambda np, x: np.linalg.svdvals(x), C),
    (lambda np, x: np.linalg.svd(x + x.T, hermitian=True), A),
    (lambda np, x: np.linalg.svd(x + x.T, hermitian=True, compute_uv=False), A - 4 * EYE),
)
rows("svd", (lambda np, x: np.linalg.svd(x), TALL), (lambda np, x: np.linalg.svd(x), C), smooth=False)
rows(
    "qr",
    (lambda np, x: np.linalg.qr(x), TALL),
    (lambda np, x: np.linalg.qr(x), WIDE),
    (lambda np, x: np.linalg.qr(x), B),
    (lambda np, x: np.linalg.qr(x), C),
    (lambda np, x: np.linalg.qr(x, "complete"), WIDE),
    (lambda np, x: np.linalg.qr(x, mode="r"), TALL),
)
rows("qr", (lambda np, x: np.linalg.qr(x, "complete"), TALL), smooth=False)
for _power in (-3, -1, 0, 1, 2, 5):
    rows("matrix_power", (lambda np, x, k=_power: np.linalg.matrix_power(x, k), B), smooth=_power != 0)
rows("matrix_power", (lambda np, x: np.linalg.matrix_power(x, 3), np.array([[2, 1], [1, 1]])), smooth=False)
rows(
    "multi_dot",
    (lambda np, x: np.linalg.multi_dot([x[0], x, A, TALL.T, TALL[:, 0]]), A),
    (lambda np, x: np.linalg.multi_dot([TALL, x, WIDE, TALL]), A),
    (lambda np, x: np.linalg.multi_dot([x, A]), A),
)
rows(
    "tensors",
    (lambda np, x: np.linalg.tensorinv(x.reshape(12, 3, 4), ind=1), CUBE),
    (lambda np, x: np.linalg.tensorsolve(x.reshape(3, 4, 12), WIDE), CUBE),
    (lambda np, x: np.linalg.tensorsolve(x.reshape(12, 3, 4), WIDE, axes=(0,)), CUBE),
)
for _p in (None, 2, -2, 1, -1, "fro", "nuc", np.inf):
    rows("cond", (lambda np, x, p=_p: np.linalg.cond(x, p), A))
rows("cond", (lambda np, x: np.linalg.cond(x), np.zeros((3, 3))), smooth=False)
for _keywords in ({}, {"tol": 0.5}, {"rtol": 0.5}, {"hermitian": True}):
    rows("matrix_rank", (lambda np, x, k=_keywords: np.linalg.matrix_rank(x, **k), B), smooth=False)
rows("matrix_rank", (lambda np, x: np.linalg.matrix_rank(x[0]), A), smooth=False)
rows(
    "others",
    (lambda np, x: np.linalg.trace(x, offset=1), B),
    (lambda np, x: np.linalg.diagonal(x, offset=-1), B),
    (lambda np, x: np.linalg.outer(x[0], x[1]), A),
    (lambda np, x: np.linalg.cross(x, A), A),
    (lambda np, x: np.linalg.vecdot(x, A), C),
    (lambda np, x: np.linalg.matrix_transpose(x), B),
)

# ---- scipy.linalg, in the same form with scipy's module ----

SCIPY: list[Row] = []
H = A + A.T
RHS = matrix(3, 2)


def scipy_rows(name: str, *cases: tuple[Callable[[Any, Any], Any], Any], smooth: bool = True) -> None:
    SCIPY.extend((name, function, x, smooth) for function, x in cases)


def pd(x: Any) -> Any:
    return x @ x.conj().T + np.eye(len(x))


scipy_rows(
    "systems",
    (lambda sl, x: sl.inv(x), B),
    (lambda sl, x: sl.inv(pd(x), assume_a="pos"), A),
    (lambda sl, x: sl.det(x), B),
    (lambda sl, x: sl.solve(x, x[0]), A),
    (lambda sl, x: sl.solve(x, RHS, assume_a="sym"), H),
    (lambda sl, x: sl.solve(x, RHS, assume_a="her", lower=True), C),
    (lambda sl, x: sl.solve(pd(x), RHS, assume_a="pos"), A),
    (lambda sl, x: sl.solve(x, RHS, transposed=True), A),
    (lambda sl, x: sl.solve(x, RHS, assume_a="upper triangular"), A),
    (lambda sl, x: sl.pinv(x), TALL),
    (lambda sl, x: sl.pinv(x, return_rank=True), TALL),
    (lambda sl, x: sl.pinvh(x + x.T), A),
    (lambda sl, x: sl.lstsq(x, TALL[:, 0]), TALL[:, 1:]),
    (lambda sl, x: sl.lstsq(x, TALL), TALL[:, 1:]),
    (lambda sl, x: sl.lstsq(x, A), WIDE),
    (lambda sl, x: sl.norm(x), A),
)
for _lower in (True, False):
    for _trans in (0, 1, "C"):
        scipy_rows("solve_triangular", (lambda sl, x, lower=_lower, trans=_trans: sl.solve_triangular(x, RHS, trans=trans, lower=lower), C))
scipy_rows(
    "factors",
    (lambda sl, x: sl.solve_triangular(x, RHS[:, 0], unit_diagonal=True), A),
    (lambda sl, x: sl.solve_triangular(A, x, lower=True), RHS),
    (lambda sl, x: sl.cholesky(pd(x)), A),
    (lambda sl, x: sl.cholesky(pd(x), lower=True), C),
    (lambda sl, x: sl.cho_solve(sl.cho_factor(pd(x)), RHS), A),
    (lambda sl, x: sl.cho_solve(sl.cho_factor(pd(x), lower=True), x[0]), C),
    (lambda sl, x: sl.lu_factor(x), A[::-1].copy()),
    (lambda sl, x: sl.lu_solve(sl.lu_factor(x), RHS), A[::-1].copy()),
    (lambda sl, x: sl.lu_solve(sl.lu_factor(x), RHS[:, 0], trans=1), A[::-1].copy()),
    (lambda sl, x: sl.lu_solve(sl.lu_factor(x), RHS, trans=2), C[::-1].copy()),
    (lambda sl, x: sl.lu(x), A[::-1].copy()),
    (lambda sl, x: sl.lu(x, permute_l=True), TALL),
    (lambda sl, x: sl.lu(x, p_indices=True), WIDE),
)
scipy_rows(
    "values",
    (lambda sl, x: sl.eigh(x, driver="evd"), A),
    (lambda sl, x: sl.eigh(x, eigvals_only=True, subset_by_index=[0, 1]), A),
    (lambda sl, x: sl.eigvalsh(x + x.T, pd(x.T)), A),
    (lambda sl, x: sl.eig(x), TURN),
    (lambda sl, x: sl.eig(x), A),
    (lambda sl, x: sl.eigvals(x), A),
    (lambda sl, x: sl.svd(x, full_matrices=False), WIDE),
    (lambda sl, x: sl.svd(x, compute_uv=False), WIDE),
    (lambda sl, x: sl.svdvals(x), WIDE),
    (lambda sl, x: sl.qr(x, mode="economic"), TALL),
    (lambda sl, x: sl.qr(x), WIDE),
    (lambda sl, x: sl.qr(x, mode="r"), TALL),
)
scipy_rows("values", (lambda sl, x: sl.eigh(x, lower=False, subset_by_index=[1, 2]), A), (lambda sl, x: sl.eigh(x), A), smooth=False)
scipy_rows("values", (lambda sl, x: sl.qr(x), TALL), (lambda sl, x: sl.svd(x), TALL), smooth=False)
for _type in (1, 2, 3):
    scipy_rows("values", (lambda sl, x, type=_type: abs(sl.eigh(x + x.T, pd(x.T), type=type)[1]), A))
scipy_rows(
    "functions",
    *((lambda sl, x: sl.expm(x), x) for x in (A / 3, C / 4, B / 3)),
    (lambda sl, x: sl.expm_frechet(x, A / 2), A / 3),
    (lambda sl, x: sl.sqrtm(pd(x)), A),
    (lambda sl, x: sl.sqrtm(x), TURN),
    (lambda sl, x: sl.sqrtm(pd(x)), C),
    (lambda sl, x: sl.cosm(x), A / 4),
    (lambda sl, x: sl.sinm(x), A / 4),
    (lambda sl, x: sl.tanm(x), A / 9),
    (lambda sl, x: sl.coshm(x), A / 4),
    (lambda sl, x: sl.sinhm(x), C / 4),
    (lambda sl, x: sl.tanhm(x), A / 4),
)
scipy_rows("functions", (lambda sl, x: sl.logm(pd(x)), A[:2, :2]), (lambda sl, x: sl.sqrtm(x), -A), smooth=False)
scipy_rows(
    "equations",
    (lambda sl, x: sl.solve_sylvester(x, A[:2, :2], RHS), A),
    (lambda sl, x: sl.solve_sylvester(A, x[:2, :2], x[:, :2]), A),
    (lambda sl, x: sl.solve_continuous_lyapunov(x, A), C),
    (lambda sl, x: sl.solve_banded((1, 2), x, BANDS[0]), BANDS),
    (lambda sl, x: sl.solve_banded((1, 2), BANDS, x), BANDS.T.copy()),
    (lambda sl, x: sl.toeplitz(x[0]), C),
    (lambda sl, x: sl.toeplitz(x[0], x[:, 1]), TALL),
    (lambda sl, x: sl.hankel(x[0]), A),
    (lambda sl, x: sl.hankel(x[0], [1.0, 2.0, 3.0, 4.0]), A),
    (lambda sl, x: sl.circulant(x[0]), A),
    (lambda sl, x: sl.block_diag(x, x[0], [[1, 2]], x[0, 0]), A),
)


def namespaces(row: Row) -> tuple[Any, Any]:
    """The traced module and the module itself."""
    return (isl, scipy.linalg) if any(row is each for each in SCIPY) else (inp, np)


ALL = [*NUMPY, *SCIPY]
IDS = [f"{row[0]}-{k}" for k, row in enumerate(ALL)]
SMOOTH = [(row, name) for row, name in zip(ALL, IDS, strict=True) if row[3]]


def leaves(x: Any) -> list[Any]:
    return flatten(x)[0]


def weighed(row: Row) -> Callable[[Any], Any]:
    """A real number that depends on every real and imaginary part of a row's inexact results."""
    function, module = row[1], namespaces(row)[0]

    def total(x: Any) -> Any:
        made = 0.0
        for k, y in enumerate(leaves(function(module, x))):
            if np.result_type(y).kind in "fc" and np.size(y):
                weights = np.cos(np.arange(np.size(y)) + k).reshape(np.shape(y))
                made = made + np.sum(np.real(y) * weights)
                if np.result_type(y).kind == "c":
                    made = made + np.sum(np.imag(y) * weights**2)
        return made

    return total


# ---- values ----


@pytest.mark.parametrize("kind", [EagerTrace, GraphTrace])
@pytest.mark.parametrize("row", ALL, ids=IDS)
def test_values(row: Row, kind: type[Trace]) -> None:
    """Value, dtype, shape, kind and structure, through irgrad's module; numpy's own module dispatches on tracers."""
    _, function, x, _ = row
    module, plain = namespaces(row)
    want = function(plain, x)
    for each in (module, np) if plain is np else (module,):
        with tracing(kind) as trace:
            got = function(each, traced(trace, x))
            assert type(got) is Tracer or type(got) is type(want)
            for g, w in zip(leaves(got), leaves(want), strict=True):
                value = g.value if type(g) is Tracer else g
                same(value, np.float64(w) if type(w) is float else w)


def test_scipys_determinant_is_double() -> None:
    """scipy factorises in single precision and multiplies in double; here both are double."""
    x = A.astype("float32")
    with tracing(EagerTrace) as trace:
        got = isl.det(traced(trace, x)).value
    assert got.dtype == scipy.linalg.det(x).dtype == np.float64
    np.testing.assert_allclose(got, scipy.linalg.det(x), rtol=1e-6)


# ---- derivatives ----


@pytest.mark.parametrize("row", [row for row, _ in SMOOTH], ids=[name for _, name in SMOOTH])
def test_derivatives(row: Row) -> None:
    check_grads(weighed(row), order=2)(row[2])


def invariant(name: str) -> Callable[[Any], Any]:
    """Functions of a decomposition that do not see signs and phases."""

    def f(x: Any) -> Any:
        if name == "eigh":
            w, v = inp.linalg.eigh(x + inp.conj(x.T))
            return inp.real(inp.sum((v * w**2) @ inp.conj(v.T) * C))
        if name == "svd":
            u, s, vh = inp.linalg.svd(x, full_matrices=False)
            return inp.real(inp.sum((u * s**2) @ vh * C[: x.shape[0], : x.shape[1]]))
        u, _, vh = inp.linalg.svd(x)
        q, _ = inp.linalg.qr(x, "complete")
        k = min(x.shape)
        spaces = [u[:, k:] @ u[:, k:].T, q[:, k:] @ q[:, k:].T, vh[k:].T @ vh[k:]]
        return sum(inp.sum(s[0] * np.arange(s.shape[0])) for s in spaces if s.shape[0] > 0)

    return f


@pytest.mark.parametrize(("name", "x"), [("eigh", C), ("svd", C), ("svd", C[:, :2]), ("added", TALL), ("added", WIDE)])
def test_derivatives_of_what_is_determined(name: str, x: Any) -> None:
    """Phases of complex vectors and the vectors that complete a basis are conventions; what they span is differentiated."""
    check_grads(invariant(name), order=2)(x)


def test_determinants_of_singular_matrices_have_derivatives() -> None:
    for x in (np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 2.0]), np.diag([1.0, 0.0, 2.0]), np.outer([1.0, 1j, 2.0], [0.5, 1.0, 2.0])):
        check_grads(lambda a: inp.real(inp.linalg.det(a)) + inp.imag(inp.linalg.det(a)), order=2)(x)


def test_equal_values_give_finite_right_derivatives() -> None:
    """Sums over degenerate eigenvalues, singular values and the spaces of separate ones."""
    x = np.diag([2.0, 2.0, 5.0])
    gradient = irgrad.grad(lambda a: inp.sum(inp.linalg.eigh(a)[0] ** 3))(x)
    np.testing.assert_allclose(gradient, 3 * x**2, atol=1e-12)
    last = irgrad.grad(lambda a: inp.sum((inp.linalg.eigh(a)[1][:, 2:] @ inp.linalg.eigh(a)[1][:, 2:].T) * A))(x)
    step = 1e-6 * (A + A.T)

    def projector(a: Any) -> float:
        v = np.linalg.eigh(a)[1][:, 2:]
        return float(np.sum(v @ v.T * A))

    np.testing.assert_allclose(np.sum(last * step), (projector(x + step) - projector(x - step)) / 2, rtol=1e-6)
    for function in (lambda a: inp.sum(inp.linalg.svd(a)[1]), lambda a: inp.linalg.norm(a, "nuc"), lambda a: inp.linalg.norm(a, 2)):
        assert np.isfinite(irgrad.grad(function)(np.eye(3))).all()
        assert np.isfinite(irgrad.grad(function)(np.zeros((3, 3)))).all()
    assert np.isfinite(irgrad.grad(lambda a: inp.sum(inp.linalg.svd(a, full_matrices=False)[0]))(np.ones((4, 3)))).all()


@pytest.mark.parametrize("ord", [None, 2, 3, 1, np.inf, 0.5])
def test_norms_are_flat_at_zero(ord: Any) -> None:
    np.testing.assert_array_equal(irgrad.grad(lambda x: inp.linalg.norm(x, ord))(np.zeros(3)), np.zeros(3))


def test_norm_of_a_matrix_is_flat_at_zero() -> None:
    for ord in (None, "fro", 1, np.inf):
        np.testing.assert_array_equal(irgrad.grad(lambda x, o=ord: inp.linalg.norm(x, o))(np.zeros((2, 2))), np.zeros((2, 2)))


def test_triangles_that_are_read() -> None:
    """Cholesky is a function of the symmetric part, eigh of the triangle that it reads: autograd's conventions."""
    s = definite(np, A)
    gradient = irgrad.grad(lambda x: inp.sum(inp.linalg.cholesky(x) ** 2))(s)
    np.testing.assert_allclose(gradient, EYE, atol=1e-12)
    below = irgrad.grad(lambda x: inp.sum(inp.linalg.eigh(x)[1][0] * A[0]))(s)
    assert not np.triu(below, 1).any()
    assert np.tril(below, -1).any()
    above = irgrad.grad(lambda x: inp.sum(inp.linalg.eigvalsh(x, "U") * A[0]))(s)
    assert not np.tril(above, -1).any()


# ---- programs ----


@pytest.mark.parametrize("row", [row for row, _ in SMOOTH], ids=[name for _, name in SMOOTH])
@pytest.mark.usefixtures("plain")
def test_programs_of_gradients(row: Row) -> None:
    """A compiled gradient is the eager one; user code reaches the handlers by substitution."""
    total = weighed(row)
    eager = irgrad.grad(total)(row[2])
    jitted = irgrad.jit(irgrad.grad(total), compile_after=1)
    jitted(row[2])
    got = jitted(row[2])
    assert jitted.stats().eager_calls == 1, jitted.impure
    np.testing.assert_allclose(got, eager, rtol=1e-7, atol=1e-7)


def test_machine_code() -> None:
    """A Gaussian process' likelihood and its gradient, compiled: one factorisation, no host calls."""

    def likelihood(x: Any, y: Any) -> Any:
        k = np.exp(-((x[:, None] - x) ** 2)) + 0.1 * np.eye(len(x))
        root = scipy.linalg.cholesky(k, lower=True)
        z = scipy.linalg.solve_triangular(root, y, lower=True)
        return np.sum(z**2) + np.sum(np.log(np.diag(root)))

    x, y = np.linspace(0.0, 3.0, 12), RNG.normal(size=12)
    jitted = irgrad.jit(irgrad.value_and_grad(likelihood), compile_after=1)
    jitted(x, y)
    value, gradient = jitted(x, y)
    assert jitted.stats().host_calls == 0
    want = irgrad.value_and_grad(likelihood)(x, y)
    np.testing.assert_allclose(value, want[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, want[1], rtol=1e-9)


@pytest.mark.usefixtures("plain")
def test_real_and_complex_eigenvalues_are_two_paths_where_numpy_tells_them_apart() -> None:
    jitted = irgrad.jit(lambda x: np.linalg.eig(x)[0], compile_after=1)
    real, turned = np.diag([1.0, 2.0, 3.0]), TURN
    for x in (real, turned, real, turned):
        same(jitted(x), np.linalg.eig(x)[0])
    assert jitted.stats().paths == len({np.linalg.eigvals(x).dtype for x in (real, turned)})


CUTOFF = 1e-15


@pytest.mark.usefixtures("plain")
def test_a_captured_cutoff_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = irgrad.jit(lambda x: np.linalg.pinv(x, CUTOFF), compile_after=1)
    x = np.diag([1.0, 0.1])
    jitted(x)
    same(jitted(x), np.linalg.pinv(x))
    monkeypatch.setitem(globals(), "CUTOFF", 0.5)
    same(jitted(x), np.linalg.pinv(x, 0.5))


# ---- peers ----


def test_gradients_are_autograds() -> None:
    """Where autograd's rules are right: not complex pinv, not the phases of eig."""
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    cases: list[tuple[Callable[[Any, Any], Any], Any]] = [
        (lambda np, x: np.sum(np.linalg.inv(x) ** 2), B),
        (lambda np, x: np.real(np.sum(np.linalg.inv(x) ** 2)), C),
        (lambda np, x: np.sum(np.linalg.det(x)), B),
        (lambda np, x: np.linalg.slogdet(x)[1], A),
        (lambda np, x: np.sum(np.linalg.solve(x, RHS) ** 3), A),
        (lambda np, x: np.sum(np.linalg.cholesky(x) ** 3), definite(np, A)),
        (lambda np, x: np.sum(np.linalg.eigh(x)[1] ** 3), definite(np, A)),
        (lambda np, x: np.sum(np.linalg.eigh(x, "U")[0] * A[0]), C),
        (lambda np, x: np.real(np.sum(np.linalg.eig(x)[0] ** 2)), TURN),
        (lambda np, x: np.sum(abs(np.linalg.eig(x)[1]) ** 3), TURN),
        (lambda np, x: np.sum(np.linalg.svd(x, full_matrices=False)[0] ** 3), TALL),
        (lambda np, x: np.sum(np.linalg.svd(x, full_matrices=False)[2] ** 3), WIDE),
        (lambda np, x: np.sum(np.linalg.svd(x, compute_uv=False) * A[0]), C),
        (lambda np, x: np.sum(np.linalg.pinv(x) ** 3), TALL),
        (lambda np, x: np.linalg.norm(x), C),
        (lambda np, x: np.linalg.norm(x, "nuc"), A),
        (lambda np, x: np.sum(np.linalg.norm(x, 3, axis=1)), A),
    ]
    for k, (f, x) in enumerate(cases):
        want = autograd.grad(lambda y, f=f: f(anp, y))(x)
        np.testing.assert_allclose(irgrad.grad(lambda y, f=f: f(inp, y))(x), want, rtol=1e-7, atol=1e-9, err_msg=str(k))


@pytest.mark.slow
def test_gradients_are_jaxs() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp, jsl = jax.numpy, jax.scipy.linalg
    cases: list[tuple[Callable[[Any, Any], Callable[[Any], Any]], Any]] = [
        (lambda np, sl: lambda x: np.sum(np.linalg.cholesky(definite(np, x)) ** 3), A),
        (lambda np, sl: lambda x: np.sum(np.linalg.eigh(x + x.T)[1] ** 2 * A), A),
        (lambda np, sl: lambda x: np.sum(np.linalg.svd(x, full_matrices=False)[0] ** 2 * TALL), TALL),
        (lambda np, sl: lambda x: np.sum(np.linalg.qr(x)[0] ** 2 * TALL), TALL),
        (lambda np, sl: lambda x: np.sum(np.linalg.pinv(x) ** 3), TALL),
        (lambda np, sl: lambda x: np.linalg.slogdet(x)[1] + np.linalg.det(x), A),
        (lambda np, sl: lambda x: np.sum(sl.expm(x) ** 2), A / 3),
        (lambda np, sl: lambda x: np.sum(sl.solve_triangular(x, RHS, lower=True) ** 2), A),
        (lambda np, sl: lambda x: np.sum(sl.lu(x)[1] ** 3) + np.sum(sl.lu(x)[2] ** 3), TALL),
        (lambda np, sl: lambda x: np.linalg.norm(x, "nuc") + np.linalg.norm(x, 2) + np.linalg.cond(x), A),
    ]
    for k, (make, x) in enumerate(cases):
        np.testing.assert_allclose(irgrad.grad(make(inp, isl))(x), jax.grad(make(jnp, jsl))(x), rtol=1e-6, atol=1e-8, err_msg=str(k))


# ---- errors ----

ERRORS: list[tuple[Callable[[Any], Any], Any, type[Exception], str]] = [
    (lambda x: inp.linalg.inv(x), np.zeros((2, 2)), np.linalg.LinAlgError, r"inv.*Singular matrix.*test_handlers_linalg\.py:\d+"),
    (lambda x: inp.linalg.cholesky(x), -EYE, np.linalg.LinAlgError, r"cholesky.*not positive definite"),
    (lambda x: inp.linalg.det(x), np.ones(3), np.linalg.LinAlgError, r"1-dimensional array given. Array must be at least two-dimensional"),
    (lambda x: inp.linalg.eigvals(x), np.ones((2, 3)), np.linalg.LinAlgError, r"Last 2 dimensions of the array must be square"),
    (lambda x: inp.linalg.solve(x, np.ones(2)), EYE, ValueError, r"mismatch in its core dimension"),
    (lambda x: inp.linalg.eigh(x, "Q"), EYE, ValueError, r"UPLO argument must be 'L' or 'U'"),
    (lambda x: inp.linalg.inv(x), EYE.astype("float16"), TypeError, r"array type float16 is unsupported in linalg"),
    (lambda x: inp.linalg.lstsq(x, np.ones(2)), EYE, np.linalg.LinAlgError, r"Incompatible dimensions"),
    (lambda x: inp.linalg.cond(x[:0]), EYE, np.linalg.LinAlgError, r"not defined on empty arrays"),
    (lambda x: isl.solve_triangular(x, np.ones(3)), np.zeros((3, 3)), np.linalg.LinAlgError, r"resolution failed at diagonal 0"),
    (lambda x: isl.schur(x), EYE, UnsupportedError, r"scipy\.linalg\.schur is not traced"),
    (lambda x: isl.eigh(x, subset_by_value=[0, 1]), EYE, UnsupportedError, r"eigh\(subset_by_value=\)"),
    (lambda x: isl.solve(x, np.ones(3), assume_a="odd"), EYE, ValueError, r"odd is not a recognized matrix structure"),
]


@pytest.mark.parametrize("k", range(len(ERRORS)))
@pytest.mark.parametrize("kind", [EagerTrace, GraphTrace])
def test_errors(k: int, kind: type[Trace]) -> None:
    function, x, error, message = ERRORS[k]
    with tracing(kind) as trace, pytest.raises(error, match=message) as caught:
        function(traced(trace, x))
    assert isinstance(caught.value, TraceError)


def test_an_error_shows_the_operands_of_the_call() -> None:
    with pytest.raises(np.linalg.LinAlgError, match=r"solve\(f64\[3,3\], f64\[3,1\]\): Singular matrix"):
        irgrad.jit(lambda a: np.linalg.solve(a, np.ones(3)))(np.ones((3, 3)))


def test_what_has_no_gradient_at_a_singular_matrix() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        irgrad.grad(lambda x: inp.linalg.slogdet(x)[1])(np.zeros((2, 2)))
