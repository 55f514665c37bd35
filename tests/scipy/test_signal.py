"""Convolutions against scipy and autograd: values, both signatures, derivatives, the kernel as plain Python and machine code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.signal as ss

import irgrad
import irgrad.scipy.signal as isg
from irgrad.config import CONFIG
from irgrad.errors import TraceValueError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.ir.primitive import REGISTRY
from irgrad.test_util import check_grads
from tests.ops.samples import samples_fft
from tests.support.kernels import compiled, difference, program
from tests.support.tracing import same, traced_call

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(21)
V, W = RNG.normal(size=9), RNG.normal(size=4)
M, K = RNG.normal(size=(5, 6)), RNG.normal(size=(2, 3))
C = V + 1j * RNG.normal(size=9)
N = np.arange(6)
ROWS = samples_fft.SAMPLES["correlate"]

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]
CASES: list[Case] = []
for _x, _y in ((V, W), (W, V), (M, K), (K, M), (C, W), (C, C[:3]), (V.astype("float32"), W.astype("float32")), (N, N[1:4])):
    for _mode in ("full", "same", "valid"):
        for _method in ("auto", "direct", "fft"):
            if _mode == "same" and _x.shape < _y.shape and _method == "direct":
                continue  # scipy's direct sum centres on the longer operand, its transform on the first
            CASES.append(("convolve", lambda s, x, y, m=_mode, h=_method: s.convolve(x, y, m, h), (_x, _y)))
            CASES.append(("correlate", lambda s, x, y, m=_mode, h=_method: s.correlate(x, y, mode=m, method=h), (_x, _y)))
        CASES.append(("fftconvolve", lambda s, x, y, m=_mode: s.fftconvolve(x, y, m), (_x, _y)))
CASES += [
    ("numbers", lambda s, x: (s.convolve(x, 2.0), s.fftconvolve(2.0, x)), (1.5,)),
    ("fft axes", lambda s, x, y: (s.fftconvolve(x, y, axes=1), s.fftconvolve(x, y, "same", axes=[-1])), (M, M[:, :3])),
    ("fft broadcast", lambda s, x, y: (s.fftconvolve(x, y, axes=1), s.fftconvolve(x, y, "valid", axes=(1,))), (M, K[:1])),
    ("fft ones", lambda s, x: s.fftconvolve(x, np.ones((1, 1))), (M,)),
    ("keywords", lambda s, x, y: s.convolve(in1=x, in2=y, mode="same"), (V, W)),
    ("long", lambda s, x, y: s.convolve(x, y), (np.tile(V, 90), np.tile(W, 120))),
]


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize(("name", "fn", "inputs"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_agrees_with_scipy(name: str, fn: Callable[..., Any], inputs: tuple[Any, ...], kind: type[Trace]) -> None:
    want = fn(ss, *inputs)
    same(traced_call(kind, partial(fn, isg), *inputs), want)


# ---- autograd's signature ----

IMAGES, FILTERS = RNG.normal(size=(3, 2, 6, 7)), RNG.normal(size=(2, 4, 3, 2))
PAIRS: list[tuple[tuple[Any, Any], dict[str, Any]]] = [
    ((V, W), {}), ((W, V), {}), ((M, K), {}), ((K, M), {}),
    ((IMAGES, FILTERS), {"axes": ([2, 3], [2, 3]), "dot_axes": ([1], [0])}),
    ((FILTERS, IMAGES), {"axes": ([2, 3], [2, 3]), "dot_axes": ([0], [1])}),
    ((M, K), {"axes": ([1], [1])}),
    ((M, M), {"axes": ([1], [1]), "dot_axes": ([0], [0])}),
    ((M, K.T), {"axes": ([1], [0]), "dot_axes": ((), ())}),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("arrays", "options"), PAIRS, ids=range(len(PAIRS)))
def test_agrees_with_autograd(arrays: tuple[Any, Any], options: dict[str, Any], mode: str) -> None:
    reference = pytest.importorskip("autograd.scipy.signal").convolve
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    want = reference(*arrays, mode=mode, **options)
    np.testing.assert_allclose(isg.convolve(*arrays, mode=mode, **options), want, rtol=1e-12, atol=1e-12)
    weight = RNG.normal(size=want.shape)
    got = irgrad.grad(lambda a, b: np.sum(weight * np.tanh(isg.convolve(a, b, mode=mode, **options))), (0, 1))(*arrays)
    expected = autograd.grad(lambda a, b: anp.sum(weight * anp.tanh(reference(a, b, mode=mode, **options))), (0, 1))(*arrays)
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-12)


def test_axes_that_are_in_no_pair_are_all_combined() -> None:
    """autograd fails here."""
    got = isg.convolve(IMAGES, FILTERS[0], axes=([-2, -1], [-2, -1]), mode="full")
    want = [[[ss.convolve(x, w) for w in FILTERS[0]] for x in image] for image in IMAGES]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_positions_tell_the_signatures_apart() -> None:
    want = isg.convolve(IMAGES, FILTERS, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid")
    f = lambda x: isg.convolve(x, FILTERS, ([2, 3], [2, 3]), ([1], [0]), "valid")
    np.testing.assert_allclose(irgrad.make_vjp(f)(IMAGES)[1], want)
    np.testing.assert_allclose(isg.convolve(A=V, B=W, mode="same"), ss.convolve(V, W, "same"))
    np.testing.assert_allclose(isg.convolve(V, W, None), ss.convolve(V, W))


# ---- derivatives ----


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_derivatives(mode: str) -> None:
    np.random.seed(2)
    for method in ("direct", "fft"):
        check_grads(lambda x, y, h=method: isg.convolve(x, y, mode, h), argnum=(0, 1), order=2)(M, K)
        check_grads(lambda x, y, h=method: isg.correlate(x, y, mode, h), argnum=(0, 1), order=2)(C, W + 0.5j)
    check_grads(lambda x, y: isg.fftconvolve(x, y, mode, axes=1), argnum=(0, 1), order=2)(M, K[:1])
    options: dict[str, Any] = {"axes": ([2, 3], [2, 3]), "dot_axes": ([1], [0]), "mode": mode}
    check_grads(lambda x, y: isg.convolve(x, y, **options), argnum=(0, 1), order=2)(IMAGES[:2, :, :4, :4], FILTERS[:, :2])


# ---- the kernel ----


@pytest.mark.parametrize("plain", [True, False])
def test_samples_as_kernels(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", plain)
    op = REGISTRY["correlate"]
    for sample in ROWS if plain else [ROWS[i] for i in (0, 1, 5, 9, 10, 11, 12, 13, 14, 15, 19)]:
        got, in_numpy = compiled(program(op, sample.params), *sample.operands)
        assert in_numpy == 0
        wrong = difference(got, op.evaluate(*sample.operands, **sample.params), 32, 100.0)
        assert not wrong, f"{[x.shape for x in sample.operands]}: {wrong}"


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n, m", [(7, 3), (3, 7), (2, 40), (40, 2), (5, 5)])
def test_what_is_not_multiplied_is_not_nan(name: str, mode: str, n: int, m: int) -> None:
    """An infinity or nan in the shorter operand, as numpy has it: eagerly, compiled, and in the derivative by the longer one."""
    apart = getattr(np, name)
    fast = irgrad.jit(lambda x, y: apart(x, y, mode), compile_after=1)
    by_first = irgrad.grad(lambda x, y: np.sum(apart(x, y, mode)))
    met = np.array([[apart(a, b, mode).sum() != 0 for b in np.eye(m)] for a in np.eye(n)])
    for value in (np.inf, -np.inf, np.nan):
        x, y = RNG.normal(size=n), RNG.normal(size=m)
        (x if n <= m else y)[0] = value
        want = apart(x, y, mode)
        np.testing.assert_allclose(fast(x, y), want, rtol=1e-12)
        np.testing.assert_allclose(irgrad.make_vjp(lambda x, f=apart: f(x, y, mode))(x)[1], want, rtol=1e-12)
        if n >= m:
            with np.errstate(invalid="ignore"):
                got = by_first(x, y)
            np.testing.assert_allclose(got, [sum(y[row]) for row in met], rtol=1e-12)


@pytest.mark.parametrize("mode", ["full", "same"])
def test_chunks_of_a_margin(mode: str) -> None:
    """A long convolution in chunks has the margin at its ends alone."""
    x, y = RNG.normal(size=300_000), RNG.normal(size=9)
    fast = irgrad.jit(lambda x, y: np.convolve(x, y, mode), compile_after=1)
    np.testing.assert_allclose(fast(x, y), np.convolve(x, y, mode), rtol=1e-10, atol=1e-12)
    assert fast.stats().parallel_rows == 1


def test_long_signals_are_summed_row_by_row() -> None:
    """The windows of long signals are not laid out in memory."""
    x, w = RNG.normal(size=(1, 2, 6000)), RNG.normal(size=(3, 2, 900))
    got = REGISTRY["correlate"].evaluate(x, w)
    want = [sum(np.correlate(x[0, d], w[b, d]) for d in range(2)) for b in range(3)]
    np.testing.assert_allclose(got[0], want, rtol=1e-10, atol=1e-9)


def network(x: Any, w: Any) -> Any:
    hidden = np.tanh(isg.convolve(x, w, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid"))
    return np.sum(ss.convolve(hidden[0, 0], np.ones((2, 2)), "same") ** 2) + np.sum(hidden)


def test_a_gradient_compiles_without_host_calls() -> None:
    jitted = irgrad.jit(irgrad.value_and_grad(network, (0, 1)), compile_after=1)
    jitted(IMAGES, FILTERS)
    value, gradients = jitted(IMAGES, FILTERS)
    want, expected = irgrad.value_and_grad(network, (0, 1))(IMAGES, FILTERS)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    for got, should in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, should, rtol=1e-10, atol=1e-12)
    assert jitted.stats().host_calls == 0


# ---- refusals ----


def test_bad_arguments_and_other_functions_are_refused() -> None:
    for call, message in (
        (lambda x: isg.convolve(x, W, "no"), "acceptable mode flags are"),
        (lambda x: isg.convolve(x, W, method="no"), "Acceptable method flags are"),
        (lambda x: isg.convolve(x, M), "same dimensionality"),
        (lambda x: isg.fftconvolve(x, M), "same dimensionality"),
        (lambda x: isg.convolve(x.reshape(3, 3), np.ones((2, 4)), "valid"), "at least as large as the other"),
        (lambda x: isg.convolve(x, W, axes=([0], [])), "do not pair up"),
    ):
        with pytest.raises(TraceValueError, match=message):
            irgrad.grad(lambda x, call=call: np.sum(call(x)))(V)
    with pytest.raises(AssertionError, match="Mode no undefined"):
        isg.convolve(V, W, axes=([0], [0]), mode="no")
    with pytest.raises(UnsupportedError, match=r"scipy\.signal\.lfilter is not traced yet"):
        irgrad.grad(lambda x: np.sum(isg.lfilter([1.0], [1.0, 0.5], x)))(V)
    assert isg.detrend(V).shape == V.shape
