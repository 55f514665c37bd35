"""Compiled scalar routines against numpy, and what their kernels look like inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import native, plain
from irgrad.config import CONFIG
from tests.support.machine import BACKENDS, optimised

SINGLE = [
    "x * y + x", "np.exp(x)", "np.sqrt(np.abs(x)) / y", "np.maximum(x, y)", "x // y", "x % y", "np.where(x > 0, x, 2 * y)", "np.sum(x)",
    "np.mean(x * y)", "np.max(x)", "np.tanh(x) ** 3", "np.hypot(x, y)", "np.logaddexp(x, y)", "np.clip(x, -1, 1)", "np.cumsum(x)",
    "np.sign(x)", "np.arctan2(x, y)", "np.heaviside(x, y)", "x / 3", "1.5 - x", "x @ y", "np.copysign(x, y)", "np.var(x)", "np.angle(x)",
]  # fmt: skip


def kernels(f: Any, *arguments: Any) -> list[Any]:
    return irgrad.jit(f, compile_after=1).compile(*arguments).kernels


@pytest.fixture(params=BACKENDS)
def llvm(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """What a kernel's text becomes by either way."""
    return lambda source: optimised(source.replace(source[4 : source.index("(")], "kernel", 1), request.param)


def test_single_precision_stays_single(llvm: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No float64 arises in a kernel of float32: neither from a number in the text nor from Numba's promotions."""
    monkeypatch.setattr(CONFIG, "evaluate", True)
    x, y = np.linspace(0.5, 2, 40, dtype=np.float32), np.linspace(1, 3, 40, dtype=np.float32)
    f = eval(f"lambda x, y: ({', '.join(SINGLE)})", {"np": np})
    found = [k for k in kernels(f, x, y) if "_float64(p" not in k.source]
    assert found
    for kernel in found:
        text = llvm(kernel.source)
        doubles = {line.strip() for line in text.splitlines() if re.search(r"= (fadd|fmul|fsub|fdiv|fpext|call) .*double", line)}
        assert not doubles, f"{kernel.source}\n{doubles}"


def test_every_name_has_a_stand_in() -> None:
    assert set(native.names()) <= set(plain.names())


def test_elementwise_loops_and_sums_are_vectorised(llvm: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)
    x, y, z = np.ones((3, 100))
    m = np.ones((20, 30))
    for f, arguments in (
        (lambda x, y, z: x * y + z, (x, y, z)),
        (lambda x, y: np.sum(x * y), (x, y)),
        (lambda x: np.max(x), (x,)),
        (lambda m: np.sum(m, axis=0), (m,)),
        (lambda m: np.sum(m, axis=1), (m,)),
        (lambda m: np.min(m, axis=0), (np.asfortranarray(m),)),
        (lambda x, y: np.where(x > y, x, y - x), (x, y)),
        (lambda *xs: sum(x * x for x in xs), tuple(np.ones((30, 100)))),
    ):
        for kernel in kernels(f, *arguments):
            assert re.search(r"<\d+ x (double|i64)>", llvm(kernel.source)), kernel.source


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int64", "uint64"])
def test_shifts_by_any_number_are_numpys(dtype: str) -> None:
    """Past the width and by negative numbers too, where C promises nothing."""
    info = np.iinfo(dtype)
    values = np.array([0, 1, 5, info.max, info.min, info.max // 3], dtype)[:, None]
    counts = np.array([0, 1, 3, info.bits - 1, info.bits, info.bits + 1, 100], dtype)
    if info.min:
        counts = np.concatenate([counts, np.array([-1, -info.bits, info.min], dtype)])
    f = irgrad.jit(lambda x, y: (x << y, x >> y, x << 2), compile_after=1)
    f(values, counts)
    for got, want in zip(f(values, counts), (values << counts, values >> counts, values << 2), strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
    assert f.stats().host_calls == 0
