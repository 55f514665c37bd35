"""Vector mathematics: within 4 ulp of the truth, the same for every position in an array, and optional."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import vector
from irgrad.config import CONFIG
from tests.support.machine import BACKENDS, optimised, vector_body

HAS_LIBRARY = pytest.mark.skipif(vector.library() is None, reason="no libmvec here")
FUNCTIONS: dict[str, tuple[float, float]] = {
    "exp": (-40, 40), "exp2": (-40, 40), "expm1": (-3, 3), "log": (1e-3, 1e3), "log2": (1e-3, 9), "log10": (1e-3, 9), "log1p": (-0.9, 9),
    "cbrt": (-9, 9), "sin": (-30, 30), "cos": (-30, 30), "tan": (-1.5, 1.5), "arcsin": (-1, 1), "arccos": (-1, 1), "arctan": (-9, 9),
    "sinh": (-9, 9), "cosh": (-9, 9), "tanh": (-3, 3), "arcsinh": (-9, 9), "arccosh": (1, 9), "arctanh": (-0.99, 0.99),
}  # fmt: skip


def answers(x: Any) -> list[Any]:
    """Every function on its domain, from x in (0, 1), in one program."""

    def f(x: Any) -> tuple[Any, ...]:
        points = [(x * (high - low) + low).astype(x.dtype) for low, high in FUNCTIONS.values()]
        return (*points, *[getattr(np, name)(p) for name, p in zip(FUNCTIONS, points, strict=True)])

    jitted = irgrad.jit(f, compile_after=1)
    jitted(x)
    return list(jitted(x))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_accuracy(dtype: str, rng: np.random.Generator) -> None:
    x = rng.random(4001).astype(dtype)
    found = answers(x)
    points, values = found[: len(FUNCTIONS)], found[len(FUNCTIONS) :]
    wide = np.longdouble if dtype == "float64" else np.float64
    for name, point, value in zip(FUNCTIONS, points, values, strict=True):
        truth = getattr(np, name)(point.astype(wide))
        unit = np.spacing(np.abs(truth).astype(dtype)).astype(wide)
        worst = float(np.max(np.abs(value.astype(wide) - truth) / unit))
        assert worst <= 4, f"{name}: {worst:.2f} ulp"


def test_a_value_does_not_depend_on_its_position(rng: np.random.Generator) -> None:
    """In a loop, in what remains of it, and alone."""
    x = rng.random(37)
    whole = answers(x)
    for part in (slice(1, None), slice(3, 12), slice(36, 37)):
        for name, all_of_it, some in zip([*FUNCTIONS, *FUNCTIONS], whole, answers(x[part].copy()), strict=True):
            np.testing.assert_array_equal(some, all_of_it[part], err_msg=name)


@pytest.fixture(params=BACKENDS)
def llvm(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """What a kernel's text becomes by either way."""
    return lambda source: optimised(source, request.param)


LOOP = """def kernel(p, n):
    x = scoped_float64(p, 0, 0, 2)
    o = scoped_float64(p, 1, 1, 2)
    for i in range(size(n, 0)):
        store(o, i, exp(load(x, i)) * pow(load(x, i), 1.5))
    return 0
"""


@HAS_LIBRARY
def test_loops_call_the_vector_routine(llvm: Callable[[str], str]) -> None:
    lanes = vector.width() // 64
    body = vector_body(llvm(LOOP))
    assert len(set(re.findall(rf"call <{lanes} x double> @(_ZGV[de]N{lanes}\w+)\(", body))) == 2


@HAS_LIBRARY
def test_half_a_vector_runs_the_same_routine(llvm: Callable[[str], str]) -> None:
    """Loops that LLVM cuts into shorter vectors give the same bits."""
    lanes = vector.width() // 64
    text = llvm(LOOP.replace("store(o, i,", "store(o, i - i % 2,"))
    half = text[text.index(f"define weak_odr <{lanes // 2} x double> @irgrad_exp_half") :].partition("}")[0]
    assert re.search(rf"@_ZGV[de]N{lanes}v_exp\(", half)


@HAS_LIBRARY
def test_processors_without_wide_vectors_take_narrow_ones(llvm: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "width", lambda: 256)
    vector.variant.cache_clear()
    try:
        assert vector.variant("exp", False) == ("_ZGVdN4v_exp", 4)
        assert vector.variant("pow", True) == ("_ZGVdN8vv_powf", 8)
        assert len(set(re.findall(r"call <4 x double> @(_ZGVdN4\w+)\(", llvm(LOOP)))) == 2
    finally:
        vector.variant.cache_clear()


def test_loops_over_many_arrays_need_no_checks(llvm: Callable[[str], str]) -> None:
    """Accesses of distinct memory are distinct to LLVM, however many there are."""
    count = 24
    names = [f"    p{k} = scoped_float64(p, {k}, {k}, {count})\n" for k in range(count)]
    body = [f"        store(p{k}, i, load(p{k + 1}, i) + 1.5)\n" for k in range(0, count, 2)]
    text = llvm(f"def kernel(p, n):\n{''.join(names)}    for i in range(size(n, 0)):\n{''.join(body)}    return 0\n")
    assert vector_body(text)
    assert "vector.memcheck" not in text


def test_without_the_library_calls_go_to_libm(llvm: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "variant", lambda name, single: None)
    text = llvm(LOOP)
    assert "_ZGV" not in text
    assert re.search(r"call double @(llvm\.)?exp", text)


@HAS_LIBRARY
def test_stored_kernels_find_the_routine_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, rng: np.random.Generator) -> None:
    from irgrad.codegen.compile import LIBRARY

    monkeypatch.setattr(CONFIG, "store", tmp_path / "store")
    x = rng.random(50)
    first = irgrad.jit(lambda x: np.sinh(x) * np.cosh(x), compile_after=1)
    first(x)
    want = first(x)
    LIBRARY.forget()
    second = irgrad.jit(lambda x: np.sinh(x) * np.cosh(x), compile_after=1)
    second(x)
    np.testing.assert_array_equal(second(x), want)
    assert (second.stats().kernels_loaded, second.stats().kernels_compiled) in ((1, 0), (0, 0))


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 710.0, -745.0, 720.0, 1400.0, 1e-310, 1e308, np.pi / 2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("f", [np.exp, np.sign], ids=["exp", "sign"])
def test_complex_functions_at_zeros_infinities_and_nan(f: Any) -> None:
    z = np.array([complex(a, b) for a in SPECIAL for b in SPECIAL])
    jitted = irgrad.jit(lambda z: f(z), compile_after=1)
    with np.errstate(all="ignore"):
        jitted(z)
        got, want = jitted(z), f(z)
    for g, w in ((got.real, want.real), (got.imag, want.imag)):
        np.testing.assert_allclose(g, w, rtol=1e-14, atol=0)
        known = ~np.isnan(w) & (np.isfinite(z) if f is np.exp else True)  # signs of zeros at infinity are not specified
        np.testing.assert_array_equal(np.signbit(g)[known], np.signbit(w)[known])


def test_complex_exponentials_are_accurate(rng: np.random.Generator) -> None:
    """Each part within 5 ulp: the exponential's 4 and a product."""
    mpmath = pytest.importorskip("mpmath")
    z = rng.uniform(-30, 30, 500) + 1j * rng.uniform(-30, 30, 500)
    jitted = irgrad.jit(lambda z: np.exp(z), compile_after=1)
    jitted(z)
    with mpmath.workprec(200):
        for point, value in zip(z, jitted(z), strict=True):
            truth = mpmath.exp(mpmath.mpc(point.real, point.imag))
            for t, v in ((truth.real, value.real), (truth.imag, value.imag)):
                assert abs(t - mpmath.mpf(v)) <= 5 * float(np.spacing(abs(v)))


@HAS_LIBRARY
def test_complex_loops_are_vectorised(llvm: Callable[[str], str]) -> None:
    body = "store(o, i, c_sign(c_exp(load(x, i)) * load(x, i)))"
    head = "    x = scoped_complex128(p, 0, 0, 2)\n    o = scoped_complex128(p, 1, 1, 2)\n"
    text = llvm(f"def kernel(p, n):\n{head}    for i in range(size(n, 0)):\n        {body}\n    return 0\n")
    assert vector_body(text)
