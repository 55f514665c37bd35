"""BLAS and LAPACK: whose they are, that both libraries answer alike, and that numpy's needs nothing of SciPy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import irgrad
from irgrad.config import CONFIG
from irgrad.ops import blas

RNG = np.random.default_rng(5)
ROOT = Path(__file__).parents[2]
DTYPES = ["float32", "float64", "complex64", "complex128"]
WHEEL = pytest.mark.skipif(blas._numpys(blas.LAPACK) is None, reason="this numpy has no BLAS with 64-bit integers")


def matrix(rows: int, columns: int) -> Any:
    return RNG.normal(size=(rows, columns))


def definite(n: int) -> Any:
    x = matrix(n, n)
    return x @ x.T + n * np.eye(n)


@pytest.fixture(params=["", "scipy"], ids=["default", "scipy"])
def owner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(CONFIG, "blas", request.param)
    return blas.lapack().owner


@pytest.fixture
def other_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Look for numpy's routines under other names."""

    def look(*names: str) -> None:
        monkeypatch.setattr(blas, "NAMES", names)
        blas._routines.cache_clear()

    yield look
    monkeypatch.undo()
    blas._routines.cache_clear()


@WHEEL
def test_numpys_library_is_taken_where_it_is_found() -> None:
    assert (blas.blas().owner, blas.lapack().owner) == ("numpy", "numpy")
    assert blas.lapack().integer == np.int64


def test_without_it_scipys_is_taken(other_names: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    other_names("no_{}_such")
    assert (blas.blas().owner, blas.lapack().owner) == ("scipy", "scipy")
    assert blas.blas().integer == np.int32
    a = definite(20)
    jitted = irgrad.jit(lambda a: np.linalg.inv(a) @ a).compile(a)
    np.testing.assert_allclose(jitted(a), np.eye(20), atol=1e-12)
    monkeypatch.setattr(CONFIG, "blas", "numpy")
    with pytest.raises(ImportError, match="IRGRAD_BLAS=numpy: this numpy has no BLAS and LAPACK with 64-bit integers; unset it"):
        blas.lapack()


@WHEEL
def test_a_library_without_lapack_serves_products(monkeypatch: pytest.MonkeyPatch, other_names: Callable[..., None]) -> None:
    symbol = blas._symbol
    monkeypatch.setattr(blas, "_symbol", lambda library, name: 0 if "orgqr" in name else symbol(library, name))
    other_names(*blas.NAMES)
    assert (blas.blas().owner, blas.lapack().owner) == ("numpy", "scipy")
    a = definite(20)

    def f(a: Any) -> Any:
        return np.sum(np.linalg.inv(a @ a) @ scipy.linalg.solve_triangular(a, a, lower=True))

    jitted = irgrad.jit(irgrad.grad(f)).compile(a)
    np.testing.assert_allclose(jitted(a), irgrad.grad(f)(a), rtol=1e-9)


def test_addresses_are_of_routines(owner: str) -> None:
    names = [prefix + name for prefix in "sdcz" for name in ("gemm", "gemv", "trsm")]
    assert len({blas.blas().address(name) for name in names}) == len(names)
    with pytest.raises(KeyError):
        blas.lapack().address("dnothing")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 3), (3, 5), (0, 3)], ids=str)
def test_lu_is_scipys(owner: str, shape: tuple[int, int], dtype: str) -> None:
    a = matrix(*shape).astype(dtype)
    made = blas.getrf(a)
    if a.size == 0:
        assert made[0].shape == shape
        return
    want = scipy.linalg.lapack.get_lapack_funcs("getrf", (a,))(a)
    np.testing.assert_allclose(made[0], want[0], rtol=1e-5 if a.dtype.itemsize < 16 and dtype != "float64" else 1e-12)
    assert made[0].dtype == dtype
    np.testing.assert_array_equal(made[1], want[1])
    assert made[2] == want[2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_status_inverses_and_triangles(owner: str, dtype: str) -> None:
    eps = 100 * float(np.finfo(dtype).eps)
    singular = np.ones((3, 3), dtype)
    assert blas.getrf(singular)[2] == 2
    a = definite(7).astype(dtype)
    factor, pivots, status = blas.getrf(a)
    assert status == 0
    kept = factor.copy(), pivots.copy()
    np.testing.assert_allclose(blas.getri(factor, pivots) @ a, np.eye(7), atol=eps * 100)
    assert np.array_equal(kept[0], factor)
    assert np.array_equal(kept[1], pivots)
    x = matrix(7, 4).astype(dtype)
    triangle = np.asfortranarray(a)
    for lower in (True, False):
        for trans in (True, False):
            for unit in (True, False):
                want = scipy.linalg.solve_triangular(a, x, trans=int(trans), lower=lower, unit_diagonal=unit)
                got = blas.trsm(triangle, x, lower, trans, unit)
                np.testing.assert_allclose(got, want, rtol=eps * 100, atol=eps * np.abs(want).max())
                assert got.dtype == dtype


def test_work_space_is_what_scipy_is_told(owner: str) -> None:
    """The queries, by numbers that do not depend on the library: those of divide and conquer."""
    integer, real, wide = blas.lapack().integer, np.dtype(float), np.dtype(complex)
    n = 30
    assert blas.best_work("dsyevd", "V", "L", n, None, n, None, real, integer, integer=integer)[1] == 3 + 5 * n
    assert blas.best_work("zheevd", "V", "L", n, None, n, None, wide, real, integer, integer=integer)[2] == 3 + 5 * n
    assert blas.best_work("dgeqrf", n, n, None, n, None, real, integer=integer)[0] >= n
    assert blas.inverse_work(n, real) >= n


@WHEEL
def test_kernels_with_integers_of_their_own_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of integers are in a kernel's text, by which the store knows it; a product's text serves both libraries."""
    a = definite(20)
    found = {}
    for asked in ("numpy", "scipy"):
        monkeypatch.setattr(CONFIG, "blas", asked)
        jitted = irgrad.jit(lambda a: np.linalg.inv(a) @ a).compile(a)
        np.testing.assert_allclose(jitted(a), np.eye(20), atol=1e-12)
        found[asked] = {kernel.source for kernel in jitted.kernels}
    (ours,), (others,) = found["numpy"] - found["scipy"], found["scipy"] - found["numpy"]
    assert "pivots = scoped_int64(" in ours
    assert "pivots = scoped_int32(" in others
    assert found["numpy"] & found["scipy"]


PROGRAM = """
import sys
import numpy as np
import irgrad
def f(a):
    return np.sum(np.linalg.cholesky(a @ a.T + 20 * np.eye(20))) + np.linalg.det(a / 9) + np.sum(np.linalg.inv(a))
a = np.random.default_rng(3).normal(size=(20, 20))
eager = irgrad.grad(f)(a)
jitted = irgrad.jit(irgrad.grad(f))
for _ in range(3):
    made = jitted(a)
assert jitted.stats().eager_calls < 3, jitted.impure
np.testing.assert_allclose(made, eager, rtol=1e-9)
print(int("scipy" in sys.modules), jitted.stats().kernels_compiled)
"""


@WHEEL
def test_a_program_with_numpys_routines_does_without_scipy(tmp_path: Path) -> None:
    """Neither tracing nor compiling nor finding kernels loads it; told to, it is taken, with kernels of its own in one store."""
    answers = []
    for asked in ("", "", "scipy", "scipy", "numpy"):
        environment = {**os.environ, "IRGRAD_STORE": str(tmp_path / "store"), "IRGRAD_BLAS": asked, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answers.append(tuple(map(int, done.stdout.split())))
    loaded, compiled = zip(*answers, strict=True)
    assert loaded == (0, 0, 1, 1, 0)
    assert compiled[0] > compiled[2] > 0  # the second library needs those with pivots only
    assert (compiled[1], compiled[3], compiled[4]) == (0, 0, 0)


@WHEEL
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_are_numpys_bits(dtype: str, rng: np.random.Generator) -> None:
    """One library and one routine."""
    a, b = rng.normal(size=(40, 30)).astype(dtype), rng.normal(size=(30, 50)).astype(dtype)
    jitted = irgrad.jit(lambda a, b: a @ b).compile(a, b)
    assert np.array_equal(jitted(a, b), a @ b)
