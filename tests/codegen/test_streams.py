"""Large results written past the caches: when, with which bits, and that nothing beside them is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import compile as kernels
from irgrad.codegen import plain, streams
from irgrad.config import CONFIG
from irgrad.runtime import lowering

KERNEL = """def kernel(p, n):
    x = scoped_{dtype}(p, 0, 0, 2)
    o = scoped_{dtype}(p, 1, 1, 2)
    count = size(n, 0)
    buffer = line(o)
    for j in range(0, count, 64):
        ahead(x, j + 128)
        for i in range(j, min(j + 64, count)):
            store(buffer, i - j, load(x, i))
        stream(o, j, buffer, min(64, count - j))
    fence()
    return 0
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every result is large, every row long."""
    monkeypatch.setattr(streams, "STREAM", 8)
    monkeypatch.setattr(streams, "LEAST", 2)
    monkeypatch.setattr(lowering, "_lowered", {})


def num_streams(jitted: Any) -> int:
    return sum(kernel.source.count("stream(") for kernel in jitted.kernels)


def kernel_of(backend: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], int]:
    text = KERNEL.format(dtype=dtype)
    if backend == "plain":
        space = plain.names()
        exec(text, space)
        return lambda p, n: plain.run(space["kernel"], p, n)
    monkeypatch.setattr(CONFIG, "backend", backend)
    kernel = kernels.Library().get(text, kernels.Counts())
    return lambda p, n: int(kernels.SIGNATURE(kernel.address)(p, n))


@pytest.mark.parametrize("backend", ["plain", "llvm", "numba"])
@pytest.mark.parametrize("dtype", sorted(streams.WORDS))
def test_lines_from_any_address_with_any_length(backend: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_of(backend, dtype, monkeypatch)
    width = np.dtype(dtype).itemsize
    source = np.arange(1, 400).astype(dtype)
    block = np.zeros(400 + 128 // width, dtype)
    skip = -block.ctypes.data % 64 // width
    for start in range(64 // width + 1):
        for count in (0, 1, 2, 7, 8, 63, 64, 65, 130, 383):
            block[:] = -1
            pointers = np.array([source.ctypes.data, block.ctypes.data + (skip + start) * width])
            assert kernel(pointers.ctypes.data, np.array([count]).ctypes.data) == 0
            wanted = np.full_like(block, -1)
            wanted[skip + start : skip + start + count] = source[:count]
            assert block.tobytes() == wanted.tobytes()


def test_large_results_stream_and_small_ones_do_not() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * x)

    count = streams.STREAM // 8
    large, small = (irgrad.jit(irgrad.grad(f)).compile(np.ones(n)) for n in (count, count - 1))
    assert num_streams(large) == 1
    assert num_streams(small) == 0
    x = np.random.default_rng(0).standard_normal(count)
    assert np.array_equal(large(x)[:-1], small(x[:-1]))
    assert np.allclose(large(x), np.sin(x) + x * np.cos(x), rtol=1e-14, atol=1e-14)


def test_what_is_read_again_stays_in_the_cache(small: None) -> None:
    def f(x: Any) -> Any:
        y = np.exp(x)
        return y, np.linalg.inv(y)  # a kernel of its own reads the result

    x = np.random.default_rng(0).standard_normal((5, 5))
    jitted = irgrad.jit(f).compile(x)
    assert num_streams(jitted) == 0
    for found, wanted in zip(jitted(x), f(x), strict=True):
        assert np.allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(1000,), (7, 33), (3, 5, 13), (1, 300), (300, 1), (2, 129), (0, 4), (4, 0)])
def test_values_are_those_of_eager_calls(small: None, dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype(dtype)
    w = rng.standard_normal(shape[-1:]).astype(dtype)

    def f(x: Any, w: Any) -> Any:
        z = x * w
        return np.sum(np.real(z * z)) + np.sum(np.abs(np.sum(x, axis=-1)) ** 2)

    function = irgrad.value_and_grad(f, (0, 1))
    found = irgrad.jit(function).compile(x, w)(x, w)
    value, gradients = function(x, w)
    assert np.allclose(found[0], value, rtol=1e-5)
    for a, b in zip(found[1], gradients, strict=True):
        assert a.dtype == b.dtype
        assert np.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_rows_of_stages_and_totals_stream(small: None) -> None:
    def f(x: Any) -> Any:
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        return e / np.sum(e, axis=1, keepdims=True)

    for shape in ((5, 7), (4, 64), (3, 200), (9, 1001)):
        x = np.random.default_rng(2).standard_normal(shape)
        jitted = irgrad.jit(f).compile(x)
        assert np.allclose(jitted(x), f(x), rtol=1e-14)
        assert num_streams(jitted) == (shape[1] > 16)  # shorter rows have no loop


def test_several_results_and_transposed_operands(small: None) -> None:
    def f(x: Any, y: Any) -> Any:
        return x + y, x * y, x.T - 1.0, np.sum(x * y)

    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((37, 41)), np.asfortranarray(rng.standard_normal((37, 41)))
    jitted = irgrad.jit(f).compile(x, y)
    for a, b in zip(jitted(x, y), f(x, y), strict=True):
        assert np.allclose(a, b, rtol=1e-13, atol=1e-13)
    assert num_streams(jitted) > 0


def test_results_behind_memory_that_values_share(small: None) -> None:
    """What a nest writes is known by the number of its memory, which changes where others become one piece."""

    def f(x: Any) -> Any:
        return np.cumsum(np.cumsum(np.cumsum(x * 2.0) + 1.0) * 0.5) * 3.0

    x = np.random.default_rng(4).standard_normal(600)
    jitted = irgrad.jit(f).compile(x)
    assert np.allclose(jitted(x), f(x), rtol=1e-12)
    assert num_streams(jitted) == 1


@pytest.mark.parametrize(
    ("f", "count"),
    [
        (lambda x, y: x * y + x, 2),  # once for each array
        (lambda x, y: np.abs(x - y) + x[0], 2),  # a number stays where it is
        (lambda x, y: np.exp(x) * y, 0),  # memory is not what takes the time
        (lambda x, y: x[::-1] * y, 1),
    ],
)
def test_what_loops_of_little_arithmetic_read_is_fetched_ahead(small: None, f: Callable[..., Any], count: int) -> None:
    for size in (64, 65, 200):
        x, y = np.linspace(-1.0, 1.0, size), np.linspace(2.0, 3.0, size)
        jitted = irgrad.jit(f).compile(x, y)
        np.testing.assert_allclose(jitted(x, y), f(x, y), rtol=1e-14)
        assert sum(kernel.source.count("ahead(") for kernel in jitted.kernels) == count
