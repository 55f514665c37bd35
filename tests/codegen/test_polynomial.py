"""Functions written out in arithmetic: as exact as they say, and vectorised without a call of a library."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import polynomial
from irgrad.codegen.llvm import vectors
from tests.support.machine import BACKENDS, optimised, vector_body

FAST = pytest.mark.skipif(not polynomial.is_fast(), reason="no fused multiply-add here")
EDGES = [0.0, 5e-324, 1e-310, 0.625, np.nextafter(0.625, 0), 19.0, 22.0, np.nextafter(22.0, 23), 22.5, 354.9, 355.0, 709.0, 1e308]


def compiled(x: Any) -> Any:
    jitted = irgrad.jit(lambda x: np.tanh(x), compile_after=1)
    jitted(x)
    return jitted(x)


@FAST
def test_tanh_is_within_two_ulp(rng: np.random.Generator) -> None:
    mpmath = pytest.importorskip("mpmath")
    x = np.concatenate([rng.uniform(-1, 1, 1500), rng.uniform(-25, 25, 500), 10.0 ** rng.uniform(-320, 1.5, 500), EDGES])
    with mpmath.workprec(120):
        for point, value in zip(x, compiled(x), strict=True):
            error = abs(mpmath.tanh(mpmath.mpf(point)) - mpmath.mpf(value))
            assert error <= 2 * mpmath.mpf(float(np.spacing(abs(value)))), point


def test_tanh_is_odd_bounded_and_passes_nan_on(rng: np.random.Generator) -> None:
    x = np.concatenate([rng.uniform(-3, 3, 50), EDGES, [np.inf]])
    np.testing.assert_array_equal(compiled(-x), -compiled(x))
    assert np.all(np.abs(compiled(x)) <= 1)
    assert np.isnan(compiled(np.full(9, np.nan))).all()
    np.testing.assert_array_equal(compiled(np.array([np.inf, 710.0, 1e300] * 6)), 1.0)
    assert np.signbit(compiled(np.full(9, -0.0))).all()


LOOP = """def kernel(p, n):
    x = scoped_float64(p, 0, 0, 2)
    o = scoped_float64(p, 1, 1, 2)
    for i in range(size(n, 0)):
        store(o, i, tanh(load(x, i)))
    return 0
"""
CALLS = re.compile(r"call [^@]*@(?!llvm\.)(\w+)")


@FAST
@pytest.mark.parametrize("backend", BACKENDS)
def test_loops_have_no_calls(backend: str) -> None:
    body = vector_body(optimised(LOOP, backend))
    assert body
    assert not CALLS.search(body)


@FAST
@pytest.mark.skipif(not vectors.is_possible(), reason="no masks here")
def test_the_arithmetic_of_long_chains_is_there_once() -> None:
    found = optimised(LOOP.replace("range(", "pairs(0, ").replace("tanh(load(x, i))", "tanh(tanh(tanh(load(x, i))))"), "llvm")
    (written,) = re.findall(r"^define [^@]*@irgrad_tanh8(.*?)^}", found, re.M | re.S)
    assert CALLS.findall(found) == ["irgrad_tanh8"] * 9  # two whole vectors, and what is left over
    assert not CALLS.search(written)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_fused_arithmetic_a_library_is_called(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polynomial, "is_fast", lambda: False)
    text = "def kernel(p, n):\n    o = pointer_float64(p, 0)\n    store(o, 0, tanh(load(o, 0)))\n    return 0\n"
    found = optimised(text, backend)
    assert re.search(r"call double @(irgrad_)?tanh\(", found)
