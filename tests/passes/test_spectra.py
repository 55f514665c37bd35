"""Transforms of real signals, and real parts of transforms: which are done at half their cost, and that the answers are numpy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.ops.fft_loops import loops
from irgrad.passes.pipeline import PIPELINE, optimize
from irgrad.passes.ranges import ranges

pytestmark = pytest.mark.skipif(not loops(), reason="numpy's loops are not as expected")

Array = Any
FFT = np.fft


def signals(*shape: int) -> tuple[Array, Array]:
    """A real signal and a complex one."""
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape), rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def transforms(f: Callable[..., Any], *arguments: Any) -> list[str]:
    """The transforms of the optimised graph."""
    graph, _ = irgrad.optimized(irgrad.trace(f)(*arguments))
    return [node.op.name for node in graph.nodes() if node.op is not None and "fft" in node.op.name]


def same(got: Any, want: Any) -> None:
    assert (np.shape(got), np.result_type(got)) == (np.shape(want), np.result_type(want))
    assert np.max(np.abs(got - want)) <= 20 * np.finfo(want.dtype).eps * np.max(np.abs(want))


def blurred(x: Array, z: Array, **options: Any) -> Array:
    return np.real(FFT.ifft(FFT.fft(x, **options) * z, **options))


PROGRAMS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "a convolution": (blurred, ["rfft", "irfft"]),
    "the other way round": (lambda x, z, **o: np.real(FFT.fft(z * FFT.ifft(x, **o), **o)), ["rfft", "irfft"]),
    "with a real factor": (lambda x, z, **o: np.real(FFT.ifft(x * FFT.fft(x.astype(complex), **o), **o)), ["rfft", "irfft"]),
    "with a factor of single precision": (lambda x, z, **o: blurred(x, z.astype(np.complex64), **o), ["rfft", "irfft"]),
    "with integers": (lambda x, z, **o: blurred(x, (100 * x).astype(np.int8), **o), ["rfft", "irfft"]),
    "a spectrum": (lambda x, z, **o: FFT.fft(x, **o), ["rfft"]),
    "the inverse of a real signal": (lambda x, z, **o: FFT.ifft(x, **o), ["rfft"]),
    "a real part": (lambda x, z, **o: np.real(FFT.ifft(z, **o)), ["irfft"]),
    "a real part forwards": (lambda x, z, **o: np.real(FFT.fft(z, **o)), ["irfft"]),
    "there and back": (lambda x, z, **o: np.real(FFT.ifft(FFT.fft(x, **o), **o)), ["rfft", "irfft"]),
    "the spectrum of a real part": (lambda x, z, **o: FFT.fft(blurred(x, z, **o), **o), ["rfft", "irfft", "rfft"]),
    "the spectrum of the real part of an inverse": (lambda x, z, **o: FFT.fft(np.real(FFT.ifft(z, **o)), **o), ["rfft", "irfft"]),
    "two of one factor": (lambda x, z, **o: blurred(x, z, **o) + blurred(x * x, z, **o), ["rfft", "irfft"] * 2),
    "a spectrum read elsewhere too": (lambda x, z, **o: blurred(x, z, **o) + np.abs(FFT.fft(x, **o)), ["rfft", "irfft"]),
    "both parts of the result": (lambda x, z, **o: (lambda y: np.real(y) + np.imag(y))(FFT.ifft(z, **o)), ["fft"]),
    "a complex signal": (lambda x, z, **o: FFT.fft(z, **o), ["fft"]),
    "single precision": (lambda x, z, **o: FFT.fft(x.astype(np.float32), **o), ["fft"]),
}


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("points", [600, 1025])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, points: int, norm: str) -> None:
    program, wanted = PROGRAMS[name]
    x, z = signals(points)

    def f(x: Array, z: Array) -> Array:
        return program(x, z, norm=norm)

    assert sorted(transforms(f, x, z)) == sorted(wanted)
    same(irgrad.jit(f).compile(x, z)(x, z), f(x, z))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_an_axis(axis: int) -> None:
    x, z = signals(70, 65, 64)
    factor = z[tuple(slice(None) if k == axis else slice(1) for k in range(3))]
    for f in (lambda x, z: blurred(x, z, axis=axis), lambda x, z: np.real(FFT.ifft(FFT.fft(x, axis=axis), axis=(axis + 1) % 3)) * 1.0):
        for other in (z, factor):
            same(irgrad.jit(f).compile(x, other)(x, other), f(x, other))


def test_gradients() -> None:
    """All four transforms of a deconvolution and its gradient are real ones, and what is symmetric of the factor is made once."""

    def loss(x: Array, z: Array, y: Array) -> Array:
        return np.sum((np.real(FFT.ifft(FFT.fft(x) * z)) - y) ** 2)

    (x, z), (y, _) = signals(700), signals(700)
    gradient = irgrad.grad(loss)
    assert transforms(gradient, x, z, y) == ["rfft", "irfft"] * 2
    graph = irgrad.trace(gradient)(x, z, y)
    optimize(graph, tuple(each for each in PIPELINE if each is not ranges))
    assert sum(node.op is not None and node.op.name == "concatenate" for node in graph.nodes()) == 1
    same(irgrad.jit(gradient).compile(x, z, y)(x, z, y), gradient(x, z, y))
    by_factor = irgrad.grad(lambda z: loss(x, z, y))
    same(irgrad.jit(by_factor).compile(z)(z), by_factor(z))
    v, _ = signals(700)
    curved = irgrad.hessian_vector_product(lambda x: np.sum(np.real(FFT.ifft(FFT.fft(x) * z)) ** 4))
    same(irgrad.jit(curved).compile(x, v)(x, v), curved(x, v))


@pytest.mark.parametrize("points", [600, 601])
@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0.0, np.nan), complex(0.0, -np.inf)])
def test_what_is_not_finite_stays_so(points: int, bad: complex) -> None:
    """Also in the imaginary part of an entry that is its own mirror image."""
    x, z = signals(points)
    jitted = irgrad.jit(blurred).compile(x, z)
    alone = irgrad.jit(lambda z: np.real(FFT.ifft(z))).compile(z)
    for place in (0, 7, points // 2, points - 1):
        broken = z.copy()
        broken[place] += bad
        assert not np.isfinite(jitted(x, broken)).any()
        assert not np.isfinite(alone(broken)).any()


def test_small_transforms_stay() -> None:
    x, z = signals(60)
    assert transforms(blurred, x, z) == ["fft", "fft"]
    x, z = signals(9, 200)
    assert transforms(lambda x: FFT.fft2(x), x) == ["fft"]


def test_exact_functions_keep_numpys_transforms() -> None:
    x, z = signals(700)
    for f in (lambda x, z: FFT.ifft(FFT.fft(x)), lambda x, z: np.real(FFT.ifft(z))):
        assert np.array_equal(irgrad.jit(f, exact=True).compile(x, z)(x, z), f(x, z))
