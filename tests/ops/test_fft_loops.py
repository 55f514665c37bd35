"""Transforms by numpy's own loops: bit for bit what `numpy.fft` gives, and `numpy.fft` itself where the loops are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import split
from irgrad.config import CONFIG
from irgrad.ops import fft, fft_loops
from irgrad.runtime import lowering


@pytest.fixture
def without_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def missing(name: str) -> None:
        raise ImportError(name)

    def forget() -> None:
        for cached in (fft._loops, fft_loops.loops):
            cached.cache_clear()

    forget()
    for module in (fft, fft_loops):
        monkeypatch.setattr(module, "import_module", missing)
    monkeypatch.setattr(lowering, "_lowered", {})
    yield
    monkeypatch.undo()
    forget()


def agree() -> None:
    rng = np.random.default_rng(0)
    for dtype, shape, inverse, norm in product("dDfFi", ((1,), (7,), (8, 5)), (False, True), ("backward", "ortho", "forward")):
        x = (3.0 * rng.normal(size=shape)).astype(dtype)
        if dtype in "DF":
            x = x + x.dtype.type(1j) * x[::-1]
        for axes in [(axis,) for axis in range(x.ndim)] + [tuple(range(x.ndim))]:
            for given in (x, x.T, x[::-1]):
                expected = (np.fft.ifftn if inverse else np.fft.fftn)(given, axes=axes, norm=norm)
                found = fft._fft(given, axes=axes, inverse=inverse, norm=norm)
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found, expected)


def test_the_loops_give_numpys_bits() -> None:
    assert fft._loops() is not None
    agree()


def test_numpys_functions_serve_where_there_are_no_loops(without_loops: None) -> None:
    assert fft._loops() is None
    agree()


def transforms() -> Iterator[tuple[Callable[..., Any], dict[str, Any], np.ndarray[Any, Any]]]:
    """Every transform of `numpy.fft` on arrays that it takes: dtypes, odd and even lengths, one to four axes, views, cropped and padded."""
    rng = np.random.default_rng(1)
    names = [name for name in np.fft.__all__ if "freq" not in name and "shift" not in name]
    for name, letter, shape in product(names, "dfDFi", ((7,), (8,), (3, 8), (5, 6, 7), (4, 2, 3, 5))):
        if (letter in "DF" and (name.startswith("r") or name == "ihfft")) or (name.endswith("2") and len(shape) == 1):
            continue
        x = (3.0 * rng.normal(size=shape)).astype(letter)
        if letter in "DF":
            x = x + x.dtype.type(1j) * x[::-1]
        f = getattr(np.fft, name)
        keywords = [{}] if name.endswith(("n", "2")) else [{"axis": 0}, {"n": 5}, {"n": 10, "norm": "ortho"}]
        yield f, {"norm": "forward"}, x.T
        for each in keywords:
            yield f, each, x[::-1]


def test_all_transforms_are_compiled() -> None:
    count = 0
    for f, keywords, x in transforms():
        expected = f(x, **keywords)
        jitted = irgrad.jit(lambda x, f=f, keywords=keywords: f(x, **keywords)).compile(x)
        found = jitted(x)
        assert jitted.stats().host_calls == 0
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if x.dtype.char in "dDi" and f not in (np.fft.irfftn, np.fft.irfft2):  # these begin with another axis
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6 * float(np.max(np.abs(expected))))
        count += 1
    assert count > 300


def test_float32_is_computed_as_numpy_computes_it() -> None:
    x = np.cos(np.arange(30.0)).astype(np.complex64)
    for f in (np.fft.fft, np.fft.ifft, np.fft.irfft):
        for norm in fft.SWAPPED:
            np.testing.assert_array_equal(irgrad.jit(lambda x, f=f, norm=norm: f(x, norm=norm)).compile(x)(x), f(x, norm=norm))


def test_a_host_call_where_there_are_no_loops(without_loops: None) -> None:
    x = np.cos(np.arange(24.0)).reshape(4, 6)
    for f in (np.fft.fft2, np.fft.rfftn, np.fft.hfft):
        jitted = irgrad.jit(f).compile(x)
        np.testing.assert_allclose(jitted(x), f(x), rtol=1e-12, atol=1e-12)
        assert jitted.stats().host_calls > 0


def test_large_batches_run_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LEAST", 0), ("CHUNK", 1)):
        monkeypatch.setattr(split, name, value)
    monkeypatch.setattr(lowering, "_lowered", {})
    monkeypatch.setattr(CONFIG, "threads", 2)
    x = np.random.default_rng(0).normal(size=(9, 37, 10))
    for axis in range(3):
        for f in (np.fft.fft, np.fft.rfft, np.fft.irfft):
            jitted = irgrad.jit(lambda x, f=f, axis=axis: f(x, axis=axis)).compile(x)
            np.testing.assert_array_equal(jitted(x), f(x, axis=axis))
            assert jitted.stats().parallel_rows >= 1


def test_what_is_not_as_expected_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    ufunc = np.fft._pocketfft_umath.fft
    assert fft_loops._find(ufunc, "fft", "d")[0] > 0
    for wrong, name, real in ((np.add, "add", "d"), (ufunc, "ifft", "d"), (ufunc, "fft", "q"), (len, "fft", "d")):
        with pytest.raises(ValueError):
            fft_loops._find(wrong, name, real)
    addresses = fft_loops.loops()
    assert not fft_loops._agrees("ifft", "d", *addresses["fft", "d"])
    assert not fft_loops._agrees("rfft_n_even", "d", *addresses["rfft_n_odd", "d"])
