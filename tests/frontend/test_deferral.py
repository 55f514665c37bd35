"""Large values of a trace are computed when somebody looks: results, errors, writes, doubts; what is computed is counted."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest

import irgrad
import irgrad.frontend.deferral as deferral
from irgrad.ir.primitive import VIEW
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import Traced, trace_call

N = 20_000  # numbers: 160 kB
x0 = np.linspace(0.1, 2.0, N)
m0 = np.linspace(-1.0, 1.0, N).reshape(200, 100)
places = np.arange(0, N, 3) % N


def deferred(fun, *args) -> Traced:
    """A trace that may defer."""
    return trace_call(fun, call_form(args, {}, (), (), False), defer=True)


def num_computed(traced: Traced) -> int:
    return sum(t.op is not None and t.op.name != "guard" and not deferral.is_deferred(t) for t in traced.trace.tape)


FUNCTIONS = {
    "chain": lambda x: np.sum(np.tanh(x) ** 2 + np.exp(-x) / x),
    "where": lambda x: np.sum(np.where(x > 1.0, np.sqrt(x), x**3)),
    "mean, std, max": lambda x: np.mean(x * x) + np.std(x) + np.max(x - x[3]),
    "slices": lambda x: np.sum(x[1:] * x[:-1]) + x[7] * np.sum(x[::-1][:50] ** 2),
    "parts of a matrix": lambda x: np.sum(x.reshape(200, 100).T[3:7] @ x.reshape(200, 100)[:, 2]),
    "products": lambda x: np.sum((x.reshape(200, 100) @ x.reshape(100, 200)) ** 2) * 1e-6 + np.dot(x, x),
    "outer": lambda x: np.sum(np.exp(-((x[:300, None] - x[None, 300:600]) ** 2))),
    "concatenate, cumsum": lambda x: np.sum(np.cumsum(np.concatenate([x[:100], x, x[5:]])) * 1e-3),
    "gather": lambda x: np.sum(np.sin(x[places]) * x[places + 1 - (places == N - 1)]),
    "norm": lambda x: np.linalg.norm(x * 2.0) + np.linalg.norm(x.reshape(200, 100), axis=1).sum(),
    "stack of rows": lambda x: np.sum(np.stack([x, 2 * x, x / 3], axis=1).prod(axis=1)),
    "softmax": lambda x: np.sum(np.exp(x - np.max(x)) / np.sum(np.exp(x - np.max(x))) * x),
    "sort": lambda x: np.sum(np.sort(np.cos(x))[:77]),
    "transform": lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2) * 1e-5,
    "parts of complex numbers": lambda x: np.sum(np.real(np.exp(1j * x)) * np.imag((1 + 2j) * x)),
    "single precision": lambda x: np.sum(x.astype(np.float32) ** 2).astype(np.float64),
    "integers": lambda x: np.sum(x * np.arange(N) % 7),
    "systems": lambda x: np.sum(np.linalg.solve(np.eye(100) * 3 + m0.T @ (x.reshape(200, 100) * 1e-2), x[:100])),
    "loop": lambda x: [x := np.sin(x) + 0.1 for _ in range(12)][-1].sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_first_call_is_compiled_and_right(name):
    fun = FUNCTIONS[name]
    value_and_grad = irgrad.value_and_grad(fun)
    value, slope = value_and_grad(x0)
    jitted = irgrad.jit(value_and_grad)
    for _ in range(2):
        got, found = jitted(x0)
        assert type(got) is type(value) and found.dtype == slope.dtype
        np.testing.assert_allclose(got, value, rtol=1e-9)
        np.testing.assert_allclose(found, slope, rtol=1e-7, atol=1e-9 * np.max(np.abs(slope)))
    stats = jitted.stats()
    assert (stats.calls, stats.eager_calls, stats.traces, stats.paths) == (2, 0, 1, 1)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"gather", "integers", "systems", "sort"}))
def test_nothing_large_is_computed(name):
    traced = deferred(irgrad.value_and_grad(FUNCTIONS[name]), x0)
    tape = [t for t in traced.trace.tape if t.op is not None and not t.op.has(VIEW) and not deferral.is_deferred(t)]
    assert {t.op.name for t in tape if np.size(t.value) * 8 > deferral.LARGE} <= {"mark", "zeros", "iota"}
    assert traced.is_deferred
    traced.trace.close()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_asked_for_later_are_those_of_eager_calls(name):
    value_and_grad = irgrad.value_and_grad(FUNCTIONS[name])
    traced = deferred(value_and_grad, x0)
    traced.trace.close()
    value, slope = value_and_grad(x0)
    got, found = traced.result
    assert type(got) is type(value)
    np.testing.assert_allclose(got, value, rtol=1e-12)
    np.testing.assert_allclose(found, slope, rtol=1e-9, atol=1e-12 * np.max(np.abs(slope)))
    assert not deferral.is_deferred(next(t for t in traced.outputs))


def test_memory_of_a_trace():
    """Forty values of 160 kB, of which numpy would keep all for the adjoint."""
    chain = irgrad.grad(lambda x: np.sum(FUNCTIONS["loop"](np.tanh(x))))
    deferred(chain, x0).trace.close()
    tracemalloc.start()
    traced = deferred(chain, x0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    traced.trace.close()
    assert len(traced.trace.tape) == 0 and peak < 4 * x0.nbytes


def test_second_derivatives_and_jacobians():
    product = irgrad.hessian_vector_product(FUNCTIONS["chain"])
    v = np.cos(x0)
    np.testing.assert_allclose(irgrad.jit(product)(x0, v), product(x0, v), rtol=1e-9, atol=1e-12)
    forward = irgrad.make_jvp(FUNCTIONS["softmax"])
    np.testing.assert_allclose(irgrad.jit(lambda x, t: forward(x)(t)[1])(x0, v), forward(x0)(v)[1], rtol=1e-9)
    rows = irgrad.jacobian(lambda x: np.stack([np.sum(x**2), np.sum(np.sin(x))]))
    np.testing.assert_allclose(irgrad.jit(rows)(x0), rows(x0), rtol=1e-12)


def test_decisions_compute_what_they_ask_for_only():
    def fun(x):
        y = np.exp(x)
        z = np.sin(x)
        if np.sum(y) > 0:
            return np.sum(y * z)
        return np.sum(z)

    traced = deferred(fun, x0)
    assert [t.op.name for t in traced.trace.tape if t.op is not None and t.op.name != "guard" and not deferral.is_deferred(t)] == [
        "exp", "reduce_sum", "greater",
    ]  # fmt: skip
    traced.trace.close()
    jitted = irgrad.jit(fun)
    assert jitted(x0) == pytest.approx(fun(x0)) and jitted(-x0) == pytest.approx(fun(-x0))


def test_branches_that_flip():
    def fun(x):
        y = x * 2.0
        return np.sum(y**2) if np.mean(y) > 0 else np.sum(np.exp(y))

    jitted = irgrad.jit(irgrad.grad(fun))
    for k in range(6):
        x = x0 if k % 2 else -x0
        np.testing.assert_allclose(jitted(x), irgrad.grad(fun)(x), rtol=1e-12)
    assert jitted.stats().paths == 2


@pytest.mark.parametrize("number", [1.5, 3, 1 + 2j, np.float64(1.5), np.float32(1.5), np.int32(3)])
def test_powers_of_numbers_beside_large_arrays_keep_their_type(number):
    def fun(x, s):
        one = np.sum(x * 2).item()
        return np.sum(x), s**2, s**3, s**-1.0, one**3, x[7] ** 3, (x * s)[7] ** 3

    jitted = irgrad.jit(fun)
    for _ in range(2):
        got, expected = jitted(x0, number), fun(x0, number)
        assert [type(v) for v in got] == [type(v) for v in expected]
        np.testing.assert_allclose(got, expected, rtol=1e-6)


# ---- writes ----


def sweeps(x):
    a = np.array(x.reshape(200, 100))
    for _ in range(20):
        a[1:-1, 1:-1] = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:])
    return np.sum(a**2)


def test_writes_to_much_of_an_array_are_deferred():
    """The trace would keep a version for each write, and numpy's values of the rules that read it."""
    fun = irgrad.grad(sweeps)
    deferred(fun, x0).trace.close()
    tracemalloc.start()
    traced = deferred(fun, x0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tape = [t for t in traced.trace.tape if t.op is not None and not t.op.has(VIEW) and not deferral.is_deferred(t)]
    assert {t.op.name for t in tape if np.size(t.value) * 8 > deferral.LARGE} <= {"mark", "zeros"}
    assert peak < 5 * x0.nbytes
    np.testing.assert_allclose(traced.result, fun(x0), rtol=1e-12)  # computed after all
    traced.trace.close()
    jitted = irgrad.jit(fun)
    np.testing.assert_allclose(jitted(x0), fun(x0), rtol=1e-12)
    assert (jitted.stats().eager_calls, jitted.stats().traces) == (0, 1)


def test_what_was_read_before_a_deferred_write_is_computed_from_before():
    def fun(x):
        y = x * 2.0
        first, part, turned, pair = np.sin(y), y[5:50], y.reshape(200, 100).T, y.reshape(200, 100).T.reshape(2, -1)
        kept = part * 1.0
        y[: N // 2] = first[N // 2 :] + part[0]
        turned[:, 3:] *= x.reshape(200, 100).T[:, 3:]
        y[places] = np.cos(x[places])
        y[y < 0.5] = 0.25
        small = np.zeros(7)
        small[2] = np.sum(y * first)
        return np.sum(first) + np.sum(part) * 2 + np.sum(turned**2) + np.sum(kept) * 3 + np.sum(pair[0] * pair[1]) + np.sum(small)

    value, slope = irgrad.value_and_grad(fun)(x0)
    assert value == pytest.approx(fun(x0), rel=1e-12)
    traced = deferred(irgrad.value_and_grad(fun), x0)
    assert traced.is_deferred
    for got, found in (traced.result, irgrad.jit(irgrad.value_and_grad(fun))(x0)):
        assert got == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(found, slope, rtol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_reshapes_of_deferred_memory_are_views_where_numpys_are(order):
    def fun(m):
        a = (m.T if order == "F" else m) * 2.0
        a[5:] = a[5:] * 3.0
        flat, other = a.reshape(-1), a.T.reshape(-1)  # a view and a copy, or the other way round
        a[: len(a) // 2] = 1.0
        b = np.sin(a)
        b[1:] = 0.5
        turned = b.T.reshape(-1)
        b[:2] = 7.0
        a[...] = np.cos(a.T).reshape(a.shape)
        c = np.sin(a)
        last = c.T.reshape(-1)
        c[:2] = 7.0
        return np.sum(flat[:4000] * m[0, 0]), np.sum(other[:4000] * m[1, 1]), np.sum(turned[::3]), np.sum(last[::3])

    for m in (m0, m0[:20, :10].copy()):  # which is computed at once
        expected = fun(m)
        for got in (deferred(fun, m).result, irgrad.jit(fun)(m)):
            np.testing.assert_allclose(got, expected, rtol=1e-12)
        assert irgrad.value_and_grad(lambda m: sum(fun(m)))(m)[0] == pytest.approx(sum(expected), rel=1e-12)


def test_small_writes_settle():
    def fun(x):
        y = np.exp(x)
        before = np.sum(y)
        part = y[5:50]
        y[3:9] = x[0] * 2.0
        part *= 3.0
        y += np.sin(x)
        return before + np.sum(y**2) + np.sum(part)

    value, slope = irgrad.value_and_grad(fun)(x0)
    got, found = irgrad.jit(irgrad.value_and_grad(fun))(x0)
    assert got == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found, slope, rtol=1e-12)
    traced = deferred(fun, x0)
    assert not traced.trace.defers and num_computed(traced) == sum(t.op is not None and t.op.name != "guard" for t in traced.trace.tape)
    traced.trace.close()


def test_a_scalar_handle_of_a_deferred_value_keeps_its_bits():
    def fun(x):
        y = x * 2.0
        first, again = y[0], +y
        y[0] = 100.0
        return first + np.sum(again) + y[0]

    for jitted in (irgrad.jit(fun), irgrad.jit(irgrad.grad(fun))):
        np.testing.assert_allclose(jitted(x0), jitted.fun(x0), rtol=1e-12)


def test_arguments_are_not_read_after_the_call():
    x = x0.copy()
    jitted = irgrad.jit(lambda x: (x * 2.0, np.sum(x)))
    doubled, total = jitted(x)
    x[:] = 0.0
    np.testing.assert_array_equal(doubled, x0 * 2.0)
    assert total == pytest.approx(np.sum(x0))


def test_a_result_that_is_an_argument_is_a_copy():
    x = x0.copy()
    same, half = irgrad.jit(lambda x: (x, x / 2))(x)
    same[0] = 5.0
    assert x[0] == x0[0] and half[0] == x0[0] / 2


# ---- doubts, errors ----


def test_doubtful_functions_are_computed_as_they_run():
    def fun(x):
        y = np.exp(x)
        print(end="")
        return np.sum(y)

    traced = deferred(fun, x0)
    assert traced.doubt and not traced.is_deferred
    traced.trace.close()


def test_a_captured_array_changed_before_the_doubt_is_read_before():
    weights = np.ones(N)
    memory, fives = memoryview(weights), memoryview(np.full(N, 5.0))

    def fun(x):
        y = x * weights
        memory[:] = fives
        return np.sum(y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert irgrad.jit(fun)(x0) == pytest.approx(np.sum(x0))


@pytest.mark.parametrize(
    ("fun", "error"),
    [
        (lambda x: x + x[:7], ValueError),
        (lambda x: x.reshape(3, 7), ValueError),
        (lambda x: (x * 2)[N], IndexError),
        (lambda x: (x * 2)[np.array([1, N])], IndexError),
        (lambda x: np.concatenate([x * 2, m0 * 2]), ValueError),
        (lambda x: (x * 2) @ (m0 * 2), ValueError),
        (lambda x: np.sum(x * 2, axis=3), ValueError),
        (lambda x: np.linalg.cholesky(-(x[:100, None] * x[:100])), np.linalg.LinAlgError),
        (lambda x: np.linalg.solve(x[:100, None] * np.zeros(100), x[:100]), np.linalg.LinAlgError),
    ],
)
def test_errors_are_numpys(fun, error):
    with pytest.raises(error):
        fun(x0)
    with pytest.raises(error, match=r"test_deferral\.py"):
        irgrad.jit(fun)(x0)


def test_floating_point_errors_that_numpy_is_to_raise():
    def fun(x):
        before = 1.0 / (x * 0.0)  # deferred, where numpy does not raise
        with np.errstate(all="raise"):
            safe = np.minimum(before, 3.0) + x
            try:
                return 1.0 / (x * 0.0)
            except FloatingPointError:
                return safe

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(irgrad.jit(fun)(x0), fun(x0))


def test_linked_later_where_that_is_asked_for():
    jitted = irgrad.jit(FUNCTIONS["chain"], compile_after=3)
    assert jitted(x0) == pytest.approx(FUNCTIONS["chain"](x0))
    assert jitted.stats().eager_calls == 1 and jitted.stats().kernels == 0


def test_small_arrays_are_computed_at_once():
    traced = deferred(FUNCTIONS["chain"], x0[:100])
    assert not traced.trace.defers and not traced.is_deferred
    traced.trace.close()
