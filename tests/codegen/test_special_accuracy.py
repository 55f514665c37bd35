"""Functions of scipy.special that kernels write out: errors against mpmath, special values as scipy's, loops of vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special

import irgrad
from irgrad.codegen import polynomial
from tests.support.machine import BACKENDS, optimised, vector_body

mp = pytest.importorskip("mpmath")
FAST = pytest.mark.skipif(not polynomial.is_fast(), reason="no fused multiply-add here: scipy's routines are called")
COUNT = 250


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"), mp.workprec(300):
        yield


def _log_ndtr(x: Any) -> Any:
    return mp.log(mp.erfc(-x / mp.sqrt(2)) / 2) if x < 0 else mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2)


def _erfcinv(y: Any) -> Any:
    """By Newton's steps on the logarithm of erfc, from scipy's answer."""
    if y > 1:
        return -_erfcinv(2 - y)
    z = mp.mpf(float(scipy.special.erfcinv(float(y)))) if y > mp.mpf(10) ** -300 else mp.sqrt(-mp.log(y))
    for _ in range(12):
        tail = mp.erfc(z)
        z += (mp.log(tail) - mp.log(y)) * tail * mp.sqrt(mp.pi) / 2 * mp.exp(z * z)
    return z


TRUTH: dict[str, tuple[Callable[[Any], Any], float]] = {  # and the largest error in units in the last place
    "gammaln": (lambda x: mp.log(abs(mp.gamma(x))), 6), "gamma": (mp.gamma, 8), "rgamma": (mp.rgamma, 8), "psi": (mp.digamma, 6),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), 6), "log_ndtr": (_log_ndtr, 6), "erfcinv": (_erfcinv, 6),
    "erfinv": (lambda x: _erfcinv(1 - x), 6), "ndtri": (lambda p: -mp.sqrt(2) * _erfcinv(2 * p), 6),
    "i0": (lambda x: mp.besseli(0, x), 6), "i1": (lambda x: mp.besseli(1, x), 6),
    "i0e": (lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), 6), "i1e": (lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), 6),
    "exprel": (lambda x: mp.expm1(x) / x, 6), "exp10": (lambda x: mp.power(10, x), 6), "entr": (lambda x: -x * mp.log(x), 6),
}  # fmt: skip


def points(name: str, rng: np.random.Generator) -> Any:
    """Numbers where a function is relatively exact: all over its domain, and near the ends of its ranges."""
    small, unit = 10.0 ** rng.uniform(-300, 0, COUNT), rng.uniform(0, 1, COUNT)
    near = 10.0 ** rng.uniform(-15, -1, COUNT)
    if name in ("erfinv", "exprel"):
        return np.concatenate([unit, -unit, near, 1 - near, 0.85 + np.linspace(-1e-3, 1e-3, 9)])
    if name in ("erfcinv", "ndtri"):
        top = 2.0 if name == "erfcinv" else 1.0
        return np.concatenate([top * unit, small, top * (1 - near), [5e-324, 1e-310, 0.15, 0.075, np.exp(-(4.25**2))]])
    if name in ("erfcx", "log_ndtr", "exp10"):
        return np.concatenate([rng.uniform(-26, 26, COUNT), rng.uniform(-1, 1, COUNT), -small, small])
    if name in ("i0", "i1", "i0e", "i1e"):
        return np.concatenate([rng.uniform(-12, 12, COUNT), rng.uniform(-700, 700, COUNT // 2), -small, [8.0, np.nextafter(8.0, 9.0), 1e5]])
    large = rng.uniform(0, 170 if "gamma" in name[-5:] else 1e4, COUNT)
    ends = [0.5, 1.5, 8.5, np.nextafter(0.5, 0), np.nextafter(1.5, 0), np.nextafter(8.5, 0), 6.0, 1e-310]
    found = np.concatenate([10 * unit, large, small, 1 + near, 2 - near, 1.4616321449683622 + near, ends])
    return np.concatenate([found, -0.5 * unit]) if name in ("gammaln", "gamma", "rgamma") else found


def compiled(name: str, x: Any) -> Any:
    call = getattr(scipy.special, name)
    jitted = irgrad.jit(lambda x: call(x), compile_after=1)
    return jitted.compile(x)(x)


def _unit(truth: Any, dtype: Any) -> Any:
    return mp.mpf(float(np.spacing(np.asarray(abs(float(truth))).astype(dtype))))


@FAST
@pytest.mark.parametrize("name", TRUTH)
def test_errors(name: str, rng: np.random.Generator) -> None:
    truth, bound = TRUTH[name]
    x = points(name, rng)
    for point, value in zip(x[x != 0], compiled(name, x[x != 0]), strict=True):
        exact = truth(mp.mpf(float(point)))
        if np.isfinite(float(exact)):
            assert abs(mp.mpf(float(value)) - exact) <= bound * _unit(exact, "float64"), point


@FAST
@pytest.mark.parametrize("name", [*TRUTH, "ndtr", "rel_entr", "kl_div", "huber", "pseudo_huber"])
def test_single_precision_is_the_rounded_double(name: str, rng: np.random.Generator) -> None:
    """But for one unit: scipy rounds what it computes in float64."""
    x = np.asarray(points("psi", rng) if name not in TRUTH else points(name, rng)).astype("float32")
    call = getattr(scipy.special, name)
    operands = (x,) * 1 if call.nin == 1 else (x, x[::-1].copy())
    found = irgrad.jit(lambda *x: call(*x)).compile(*operands)(*operands)
    assert found.dtype == np.float32
    wide = irgrad.jit(lambda *x: call(*x)).compile(*[o.astype(float) for o in operands])(*[o.astype(float) for o in operands])
    units = {"exp10": 4.0, "entr": 4.0}.get(name, 1.0)
    want = wide.astype("float32")
    same = (found == want) | (np.isnan(found) & np.isnan(want)) | (abs(found - wide) <= units * np.spacing(abs(want)))
    assert same.all(), x[~same]


@FAST
@pytest.mark.parametrize("name", ["gammaln", "psi", "gamma", "rgamma"])
def test_reflected_arguments(name: str, rng: np.random.Generator) -> None:
    """Below -1/2 errors are relative to the terms of the reflection, of which the result is a difference."""
    x = np.concatenate([-rng.uniform(0.5, 40, COUNT), -rng.integers(1, 30, 40) + 10.0 ** rng.uniform(-12, -1, 40)])
    truth = TRUTH[name][0]
    for point, value in zip(x, compiled(name, x), strict=True):
        at = mp.mpf(float(point))
        exact = truth(at)
        scale = abs(exact)
        if name == "gammaln":
            scale = max(scale, abs(mp.loggamma(-at)), mp.mpf(1), abs(mp.log(abs(mp.sinpi(at)))))
        if name == "psi":
            scale = max(scale, abs(mp.digamma(1 - at)), abs(mp.pi * mp.cospi(at) / mp.sinpi(at)), mp.mpf(1))
        assert abs(mp.mpf(float(value)) - exact) <= 8 * _unit(scale, "float64"), point


EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    -2.0,
    -3.0,
    0.5,
    np.inf,
    -np.inf,
    np.nan,
    1e308,
    -1e308,
    1e17,
    -1e17,
    170.5,
    -170.5,
    200.0,
    717.5,
    -745.0,
]
UNARY = [*TRUTH, "ndtr"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", UNARY)
def test_zeros_infinities_nan_and_poles(name: str, dtype: str) -> None:
    x = np.array(EDGES).astype(dtype)
    want = getattr(scipy.special, name)(x)
    found = compiled(name, x)
    np.testing.assert_allclose(found, want, rtol=1e-14 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["rel_entr", "kl_div", "huber", "pseudo_huber"])
def test_pairs_of_special_numbers(name: str, dtype: str) -> None:
    numbers = np.array([*EDGES, 1e-30, 3e-39, 1e30])
    if name == "pseudo_huber":  # scipy's is infinite where the square of the ratio is
        numbers = numbers[~((abs(numbers) > 1e100) & np.isfinite(numbers))]
    x, y = (part.ravel().astype(dtype) for part in np.meshgrid(numbers, numbers))
    call = getattr(scipy.special, name)
    found = irgrad.jit(lambda x, y: call(x, y)).compile(x, y)(x, y)
    np.testing.assert_allclose(found, call(x, y), rtol=1e-13 if dtype == "float64" else 1e-6)


LOOP = """def kernel(p, n):
    x = scoped_{dtype}(p, 0, 0, 2)
    o = scoped_{dtype}(p, 1, 1, 2)
    for i in range(size(n, 0)):
        store(o, i, special_{name}(load(x, i)))
    return 0
"""
CALLS = re.compile(r"call [^@]*@(?!llvm\.|_ZGV)(\w+)")


@FAST
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", list(polynomial.SPECIAL))
def test_loops_are_vectors(name: str, dtype: str) -> None:
    text = optimised(LOOP.format(name=name, dtype=dtype), "llvm")
    symbol = f"irgrad_{name}{'f' if dtype == 'float32' else ''}8"
    assert set(CALLS.findall(vector_body(text))) == {symbol}
    written = re.search(rf"^define [^@]*@{symbol}\((.*?)^}}", text, re.M | re.S)
    assert written and not CALLS.search(written[1])


def test_single_numbers_take_scipys_routines() -> None:
    """As fast, and nothing to compile."""
    jitted = irgrad.jit(lambda x: scipy.special.gammaln(x) * 2.0).compile(2.5)
    assert all("call_real1(" in kernel.source for kernel in jitted.kernels)
    assert jitted(3.7) == scipy.special.gammaln(3.7) * 2.0


@FAST
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", list(polynomial.SPECIAL))
def test_a_value_does_not_depend_on_its_position(
    name: str, backend: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from irgrad.config import CONFIG

    monkeypatch.setattr(CONFIG, "backend", backend)
    x = rng.uniform(0.01, 0.99, 37)
    whole = compiled(name, x)
    for part in (slice(1, None), slice(3, 12), slice(36, 37)):
        np.testing.assert_array_equal(compiled(name, x[part].copy()), whole[part])


def test_without_fused_arithmetic_scipys_routines_are_called(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(polynomial, "is_fast", lambda: False)
    x = rng.uniform(0.01, 0.99, 11)
    for name in set(polynomial.SPECIAL) - {"ndtr"}:  # of float64 it is text
        np.testing.assert_array_equal(compiled(name, x), getattr(scipy.special, name)(x))
