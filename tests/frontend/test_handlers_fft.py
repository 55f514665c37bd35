"""numpy.fft in traced code against numpy: values, dtypes, arguments, derivatives, compiled programs, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.errors import TraceError, TraceValueError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.test_util import check_grads
from tests.support.tracing import check_replay, concrete, same, traced, tracing

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(8)
V = RNG.normal(size=5)
M = RNG.normal(size=(4, 3))
T = RNG.normal(size=(3, 4, 5))
C = T + 1j * RNG.normal(size=T.shape)
F = M.astype(np.float32)
N = np.arange(12).reshape(3, 4)

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    **{
        name: [
            {}, {"n": 3}, {"n": 8}, {"axis": 0}, {"axis": 1, "n": 7}, {"norm": "ortho"}, {"norm": "forward", "n": 4}, {"norm": "backward"},
        ]
        for name in ONE
    },
    **{
        name: [
            {}, {"s": (3, 6), "axes": (0, 1)}, {"s": (2, -1), "axes": (1, 2)}, {"axes": (2, 0)}, {"axes": (-1,)}, {"axes": (1, 1)},
            {"axes": (0, 2, 0)}, {"norm": "ortho"}, {"norm": "forward", "axes": (0, 1)}, {"s": (5, 4), "axes": (-1, -2)},
            {"s": (5, 2, 7), "axes": (1, 1, 1)},
        ]
        for name in MANY
    },
}  # fmt: skip
CASES: list[tuple[str, Callable[..., Any], Any]] = [
    (f"{name} {options}", lambda np, x, name=name, options=options: getattr(np.fft, name)(x, **options), x)
    for name, rows in ARGUMENTS.items()
    for options in rows
    for x in ((T,) if name in ("rfft", "ihfft", "rfftn", "rfft2") else (T, C))
]
CASES += [
    (name, lambda np, x, name=name: getattr(np.fft, name)(x), x)
    for name in (*ONE, *MANY)
    for x in (F, N, [[1.0, 2.0, 0.5], [0.0, 1.0, 3.0]], M[::-1, ::2])
]
CASES += [
    ("positions", lambda np, x: (np.fft.fft(x, 3, 0, "ortho"), np.fft.rfftn(x, (2, 3), (0, 1), "ortho")), M),
    ("shift", lambda np, x: (np.fft.fftshift(x), np.fft.ifftshift(x), np.fft.fftshift(x, 1), np.fft.ifftshift(x, axes=(0, 2))), T),
    ("shift negative", lambda np, x: (np.fft.fftshift(x, -1), np.fft.fftshift(x, [-1, 0]), np.fft.ifftshift(x, -2)), T),
    ("frequencies", lambda np, d: (np.fft.fftfreq(7, d), np.fft.fftfreq(8, d), np.fft.rfftfreq(7, d=d), np.fft.rfftfreq(1, d)), 0.3),
    ("plain frequencies", lambda np, x: np.fft.fftfreq(5) * x, V),
    ("hfft scalar axis", lambda np, x: np.fft.hfft(x[0, 0], 1), C),
]  # fmt: skip


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize(("name", "fn", "x"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_agrees_with_numpy(name: str, fn: Callable[..., Any], x: Any, kind: type[Trace]) -> None:
    want = fn(np, x)
    for namespace in (inp,) if isinstance(x, (list, float)) else (inp, np):
        with tracing(kind) as trace:
            got = fn(namespace, [traced(trace, np.array(row)) for row in x] if isinstance(x, list) else traced(trace, x))
            if isinstance(trace, GraphTrace):
                check_replay(trace, got)
            same(concrete(got), want)


@pytest.mark.parametrize("name", [*ONE, *MANY])
def test_derivatives(name: str) -> None:
    """Reverse and forward mode, orders 1 and 2, with lengths that crop and pad, odd and even, and repeated axes."""
    np.random.seed(1)
    transform = getattr(inp.fft, name)
    real = name in ("rfft", "ihfft", "rfftn", "rfft2")
    x = T[:2, :3, :4]
    for operand in (x,) if real else (x, C[:2, :3, :4]):
        for options in ARGUMENTS[name][1:4] + ARGUMENTS[name][-1:]:
            check_grads(lambda x, options=options: inp.sin(transform(x, **options)), order=2)(operand)


def test_the_whole_of_fft_is_a_linear_map() -> None:
    """jacobian of rfft, column by column; irgrad's convention has conjugates nowhere."""
    jacobian = irgrad.jacobian(lambda x: inp.real(inp.fft.rfft(x)))(V)
    np.testing.assert_allclose(jacobian, np.real(np.fft.rfft(np.eye(5))).T, atol=1e-14)


def energy(x: Any, k: Any) -> Any:
    spectrum = np.fft.rfftn(x) * k
    return np.sum(np.abs(np.fft.irfftn(spectrum, x.shape, (0, 1, 2))) ** 2) + np.sum(np.fft.fftshift(np.fft.fft2(x)).imag ** 2)


def test_compiled_programs_transform_without_python() -> None:
    k = np.abs(RNG.normal(size=np.fft.rfftn(T).shape))
    f = irgrad.value_and_grad(energy, (0, 1))
    jitted = irgrad.jit(f, compile_after=1)
    jitted(T, k)
    (value, gradients), (want, expected) = jitted(T + 0.5, k), f(T + 0.5, k)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    for got, should in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, should, rtol=1e-10, atol=1e-12)
    assert jitted.stats().eager_calls == 1
    assert jitted.stats().host_calls == 0


def test_single_precision_stays() -> None:
    x = F.copy()
    assert irgrad.grad(lambda x: inp.sum(inp.abs(inp.fft.rfft2(x))))(x).dtype == np.float32
    assert irgrad.grad(lambda x: inp.sum(inp.fft.irfft(x)))(x.astype(np.complex64)).dtype == np.complex64


def test_bad_arguments_have_numpys_words() -> None:
    for call, message in (
        (lambda x: inp.fft.fft(x, norm="no"), 'Invalid norm value no; should be "backward", "ortho" or "forward"'),
        (lambda x: inp.fft.fft(x, 0), r"Invalid number of FFT data points \(0\) specified"),
        (lambda x: inp.fft.fftn(x, (2, 2), (0,)), "Shape and axes have different lengths"),
        (lambda x: inp.fft.fft(x, axis=2), "axis 2 is out of bounds"),
        (lambda x: inp.fft.irfft(x[:1]), r"Invalid number of FFT data points \(0\)"),
    ):
        with pytest.raises(TraceValueError, match=message):
            irgrad.grad(lambda x, call=call: inp.sum(inp.abs(call(x))))(V)
    with pytest.raises(TraceError, match="real input"):
        irgrad.grad(lambda x: inp.sum(inp.abs(inp.fft.rfft(x * 1j))))(V)
    with pytest.raises(UnsupportedError, match=r"fft\(out=\)|fft\.fft\(out=\)"):
        made_outside = np.empty(5, complex)
        irgrad.grad(lambda x: inp.sum(inp.abs(inp.fft.fft(x, out=made_outside))))(V)


def test_deprecated_forms_warn_and_work() -> None:
    for options in ({"s": (2, 3)}, {"s": (2, None), "axes": (0, 1)}):
        with pytest.warns(DeprecationWarning):
            want = np.fft.fftn(M, **options)
        with pytest.warns(DeprecationWarning), tracing(EagerTrace) as trace:
            np.testing.assert_allclose(concrete(inp.fft.fftn(traced(trace, M), **options)), want, rtol=1e-12)


def test_agrees_with_autograd() -> None:
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    even = RNG.normal(size=(4, 6))
    weights = RNG.normal(size=(4, 4))
    count = 0
    for name in ("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn", "rfft", "rfft2", "rfftn"):
        k = weights[:, : 6 // 2 + 1] if name.startswith("r") else RNG.normal(size=even.shape)
        got = irgrad.grad(lambda x: inp.sum(inp.abs(getattr(inp.fft, name)(x)) * k))(even)
        want = autograd.grad(lambda x: anp.sum(anp.abs(getattr(anp.fft, name)(x)) * k))(even)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=name)
        count += 1
    z = RNG.normal(size=(4, 4)) + 1j * RNG.normal(size=(4, 4))
    for name in ("irfft", "irfft2", "irfftn"):
        got = irgrad.grad(lambda x: inp.sum(inp.sin(getattr(inp.fft, name)(x))))(z)
        want = autograd.grad(lambda x: anp.sum(anp.sin(getattr(anp.fft, name)(x))))(z)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=name)
        count += 1
    assert count == 12
