"""Transforms by numpy's own loops: bit for bit what `numpy.fft` gives, and `numpy.fft` itself where the loops are not there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from irgrad.ops import fft


@pytest.fixture
def without_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def missing(name: str) -> None:
        raise ImportError(name)

    fft._loops.cache_clear()
    monkeypatch.setattr(fft, "import_module", missing)
    yield
    monkeypatch.undo()
    fft._loops.cache_clear()


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
