"""LAPACK kernels against numpy: every sample row as plain Python kernels, and a bounded slice as machine code.

Factors that are determined up to signs or phases are judged by what they multiply to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import irgrad
from irgrad.codegen.lapack import KERNELS
from irgrad.codegen.llvm import machine, vectors
from irgrad.config import CONFIG
from irgrad.ir.primitive import REGISTRY
from irgrad.ops.blas import lapack
from irgrad.passes.forms import LAPACK
from tests.ops.samples import SAMPLES, Sample
from tests.ops.samples_linalg import definite, matrix
from tests.support.kernels import compiled, program

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=["default", "scipy"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routines of numpy's library where it has them, and SciPy's, whose integers have another width."""
    monkeypatch.setattr(CONFIG, "blas", "" if request.param == "default" else request.param)


def adjoint(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def split(x: Any, *shapes: tuple[int, ...]) -> list[Any]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [part.reshape(*x.shape[:-1], *shape) for part, shape in zip(np.split(x, ends[:-1], -1), shapes, strict=True)]


def invariants(name: str, a: Any, params: dict[str, Any], packed: Any) -> list[Any]:
    """What of a packed result does not depend on signs and phases."""
    if name not in ("eigh", "svd", "qr"):
        return [packed]
    m, n = a.shape[-2:]
    k = min(m, n)
    if name == "eigh":
        w, v = split(packed, (n,), (n, n))
        return [w, (v * w[..., None, :]) @ adjoint(v), adjoint(v) @ v]
    if name == "svd":
        left, right = (m, n) if params["full"] else (k, k)
        u, s, vh = split(packed, (m, left), (k,), (right, n))
        return [s, (u[..., :k] * s[..., None, :]) @ vh[..., :k, :], adjoint(u) @ u, vh @ adjoint(vh)]
    width = m if params["full"] else k
    q, r = split(packed, (m, width), (width, n))
    return [q @ r, adjoint(q) @ q, np.tril(r, -1), abs(r[..., :k, :])]


def check(name: str, sample: Sample, got: Any) -> None:
    want = REGISTRY[name].evaluate(*sample.operands, **sample.params)
    assert got.dtype == want.dtype
    assert np.shape(got) == np.shape(want)
    eps = np.finfo(want.dtype).eps if want.dtype.kind in "fc" else 0.0
    a = sample.operands[0]
    for x, y in zip(*(invariants(name, a, sample.params, each) for each in (got, want)), strict=True):
        np.testing.assert_allclose(x, y, rtol=500 * eps, atol=500 * eps * max(1.0, np.abs(y).max(initial=0.0)), err_msg=f"{name} {sample}")


def one(name: str, sample: Sample) -> Callable[..., Any]:
    """The operation as a program; captured floats would be traced."""
    if name == "pinv":
        cut = sample.params["rcond"] == 0.3
        if "hermitian" in sample.params:
            return (lambda a: np.linalg.pinv(a, 0.3, hermitian=True)) if cut else lambda a: np.linalg.pinv(a, hermitian=True)
        if cut:
            return lambda a: np.linalg.pinv(a, 0.3)
        return (lambda a: np.linalg.pinv(a, 1e-12)) if sample.params["rcond"] == 1e-12 else lambda a: np.linalg.pinv(a)
    return program(REGISTRY[name], sample.params)


def is_singular(name: str, sample: Sample) -> bool:
    """A cofactor that Python computes from singular values."""
    a = sample.operands[0]
    return name == "cofactor" and a.size > 0 and bool(np.linalg.cond(a).max() > 1e6)


def test_passes_and_kernels_name_the_same() -> None:
    assert set(KERNELS) == LAPACK


@pytest.mark.parametrize("name", sorted(LAPACK))
@pytest.mark.usefixtures("plain", "library")
def test_samples_as_plain_kernels(name: str) -> None:
    """Empty matrices and cutoffs of their own are numpy's."""
    for sample in SAMPLES[name]:
        if not is_singular(name, sample):
            got, in_numpy = compiled(one(name, sample), *sample.operands)
            assert bool(in_numpy) == (any(x.size == 0 for x in sample.operands) or sample.params.get("hermitian", False))
            check(name, sample, got)


FAMILIES = {
    "systems": ["cholesky", "inv", "lu", "solve", "solve_triangular", "row_order"],
    "determinants": ["det", "slogdet", "cofactor"],
    "values": ["eigh", "eigvalsh", "svd", "svdvals", "qr", "pinv"],
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("library")
def test_samples_as_machine_code(family: str) -> None:
    """One program for the real rows and a stack of each; complex ones in the slow test."""
    check_together([(name, s) for name in FAMILIES[family] for s in some(name, "f")])


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("family", FAMILIES)
def test_samples_of_other_dtypes_as_machine_code(family: str) -> None:
    check_together([(name, s) for name in FAMILIES[family] for s in [*some(name, "c"), *some(name, "f", "float32")]])


def some(name: str, kind: str, dtype: str = "") -> list[Sample]:
    rows = [s for s in SAMPLES[name] if s.operands[0].dtype.kind in kind + "i" and (not dtype or s.operands[0].dtype == dtype)]
    return [s for s in rows if not is_singular(name, s) and all(x.size for x in s.operands)]


def check_together(rows: list[tuple[str, Sample]]) -> None:
    operands = [x for _, sample in rows for x in sample.operands]

    def together(*given: Any) -> Any:
        outputs, at = [], 0
        for name, sample in rows:
            count = len(sample.operands)
            outputs.append(one(name, sample)(*given[at : at + count]))
            at += count
        return tuple(outputs)

    got, _ = compiled(together, *operands)
    for (name, sample), value in zip(rows, got, strict=True):
        check(name, sample, value)


# ---- layouts and sizes ----

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "columns": np.asfortranarray,
    "reversed": lambda x: np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1],
    "strided": lambda x: np.repeat(np.repeat(x, 2, -1), 3, -2)[..., ::3, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("plain")
def test_operands_of_any_layout(layout: str) -> None:
    for name in ("cholesky", "inv", "eigh", "svd", "qr", "pinv", "solve_triangular"):
        sample = next(s for s in SAMPLES[name] if s.operands[0].shape == (2, 3, 3) or (s.operands[0].ndim == 2 and s.operands[0].size > 4))
        moved = tuple(LAYOUTS[layout](x) for x in sample.operands)
        check(name, sample, compiled(one(name, sample), *moved)[0])


@pytest.mark.parametrize(("n", "columns"), [(40, 30), (33, 40)])
@pytest.mark.parametrize("flags", [(True, False, False), (True, True, True), (False, False, True), (False, True, False)])
@pytest.mark.usefixtures("plain")
def test_triangles_in_blocks(n: int, columns: int, flags: tuple[bool, bool, bool]) -> None:
    lower, trans, unit = flags
    a, x = matrix(n, n) / n + np.eye(n), matrix(n, columns)
    got, _ = compiled(program(REGISTRY["solve_triangular"], {"lower": lower, "trans": trans, "unit": unit}), a, x)
    want = scipy.linalg.solve_triangular(a, x, trans=int(trans), lower=lower, unit_diagonal=unit)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9 * np.abs(want).max())


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 4), (3, 20), (5, 2), (8, 8), (8, 9), (9, 2)])
def test_small_systems_are_solved_by_loops(n: int, columns: int, dtype: str) -> None:
    a, x = (matrix(n, n) / n + np.eye(n)).astype(dtype), matrix(n, columns).astype(dtype)
    solves: dict[str, Callable[..., Any]] = {
        "general": np.linalg.solve,
        "transposed": lambda a, x: np.linalg.solve(a.T, x),
        "triangles": lambda a, x: np.linalg.solve(np.tril(a), np.linalg.solve(np.triu(a), x)),
    }
    for f in solves.values():
        jitted = irgrad.jit(f).compile(a, x)
        want, given = f(a, x), x.copy()
        eps = 500 * np.finfo(dtype).eps * np.linalg.cond(a) ** 2
        np.testing.assert_allclose(jitted(a, x), want, rtol=eps, atol=eps * np.abs(want).max())
        assert jitted(a, x).dtype == want.dtype
        given[0, 0] = np.nan
        assert np.array_equal(np.isnan(jitted(a, given)), np.isnan(f(a, given)))
        few = n <= 8 and n * n * columns <= 512 and dtype != "complex128"
        assert any(f"store(o{n - 1}, " in kernel.source for kernel in jitted.kernels) == few
        assert any("in singles(columns)" in kernel.source for kernel in jitted.kernels) == (few and columns < 4)
        assert any("factors = " in kernel.source for kernel in jitted.kernels) != few  # those that call trsm


@pytest.mark.skipif(not vectors.is_possible(), reason="no masks here")
@pytest.mark.parametrize(("n", "columns"), [(2, 2), (5, 8), (12, 3)])
def test_no_loop_of_a_solve_is_left_to_llvms_vectoriser(n: int, columns: int) -> None:
    a, x = matrix(n, n) + 4 * np.eye(n), matrix(n, columns)
    jitted = irgrad.jit(irgrad.grad(lambda a, x: (np.linalg.solve(a, x) * x).sum(), (0, 1))).compile(a, x)
    texts = [kernel.source for kernel in jitted.kernels if "call_blas(" in kernel.source or "store(o0, " in kernel.source]
    assert len(texts) >= 3
    for text in texts:
        name = text.partition("(")[0].removeprefix("def ")
        assert machine.translated(name, text)[1].level == 0


@pytest.mark.usefixtures("plain")
def test_a_factor_is_made_once() -> None:
    """Two systems and a determinant of one matrix, and their gradient: one LU factorisation."""

    def f(a: Any, x: Any) -> Any:
        return np.sum(np.linalg.solve(a, x) * np.linalg.solve(a, x[::-1])) + np.linalg.slogdet(a)[1]

    jitted = irgrad.jit(irgrad.value_and_grad(f), compile_after=1)
    a, x = matrix(4, 4), matrix(4, 2)
    jitted(a, x)
    jitted(a, x)
    assert sum("getrf" in str(kernel.source) or "pivots" in kernel.source for kernel in jitted.kernels) == 1


@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
@pytest.mark.usefixtures("plain")
def test_nan_and_infinities_are_where_numpy_has_them(dtype: str) -> None:
    rng = np.random.default_rng(3)

    def f(a: Any) -> Any:
        return np.linalg.inv(a), np.linalg.det(a), np.linalg.solve(a, a[..., :1] + 1)

    jitted = irgrad.jit(f, compile_after=1)
    for n in (1, 2, 3, 9):
        for bad in (np.nan, np.inf, -np.inf):
            for _ in range(3):
                a = (matrix(n, n) + n * np.eye(n)).astype(dtype)
                jitted(a)
                a[tuple(rng.integers(n, size=2))] = bad
                with np.errstate(all="ignore"):
                    pairs = zip(jitted(a), f(a), strict=True)
                for got, each in pairs:
                    assert np.array_equal(np.isnan(got), np.isnan(each))
                    assert np.array_equal(np.isinf(got), np.isinf(each))


# ---- failure ----

FAILURES: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "inv": (np.linalg.inv, np.zeros((3, 3)), "Singular matrix"),
    "solve": (lambda a: np.linalg.solve(a, np.ones(3)), np.ones((3, 3)), "Singular matrix"),
    "cholesky": (np.linalg.cholesky, -np.eye(3), "not positive definite"),
    "triangle": (lambda a: scipy.linalg.solve_triangular(a, np.ones(3)), np.diag([1.0, 0.0, 1.0]), "resolution failed at diagonal 1"),
    "svd": (lambda a: np.linalg.svd(a)[1], np.full((3, 3), np.nan), "did not converge"),
    "eig": (lambda a: np.linalg.eig(a)[0], np.full((3, 3), np.nan), "infs or NaNs"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.usefixtures("plain")
def test_failure_is_numpys_error_with_the_line(name: str) -> None:
    function, bad, message = FAILURES[name]
    jitted = irgrad.jit(function, compile_after=1)
    good = definite(3, 3)
    jitted(good)
    jitted(good)
    with pytest.raises(np.linalg.LinAlgError, match=rf"{message}.*\(test_lapack\.py:\d+\)"):
        jitted(bad)
    np.testing.assert_allclose(np.asarray(jitted(good), complex), np.asarray(function(good), complex), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("plain")
def test_a_singular_gradient_of_det_is_computed_in_python() -> None:
    jitted = irgrad.jit(irgrad.grad(np.linalg.det), compile_after=1)
    jitted(np.eye(3))
    np.testing.assert_allclose(jitted(np.diag([2.0, 3.0, 0.0])), np.diag([0.0, 0.0, 6.0]), atol=1e-15)


def test_addresses_are_of_routines() -> None:
    assert lapack().address("dgetrf") != lapack().address("sgetrf")
    with pytest.raises(KeyError):
        lapack().address("dnothing")
