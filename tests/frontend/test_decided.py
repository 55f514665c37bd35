"""Decisions of handlers that are kept: what a repeated call records is what its handler would have recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.decided import DECISIONS
from irgrad.frontend.trace import EagerTrace
from irgrad.frontend.tracer import Tracer
from tests.support.tracing import tracing

half = 0.5


def forget() -> None:
    for decisions in DECISIONS.values():
        decisions.recorded.clear()
        (decisions.eager or {}).clear()


def kept() -> int:
    """How many calls would be repeated without their handler."""
    return sum(d is not None for each in DECISIONS.values() for known in (each.recorded, each.eager or {}) for d in known.values())


x0 = np.array([0.5, 1.5, -2.0, 3.0])
A0 = np.arange(16.0).reshape(4, 4) + 5 * np.eye(4)
CALLS = {
    "stack": lambda x, A: np.stack([x[0], x[1], x[0]]),
    "array": lambda x, A: np.array([[x[0], 0.0], [-0.0, x[1]]]),
    "which are the same": lambda x, A: np.outer(x, x) + np.outer(x, A[0]) + np.outer(A[1], A[1]),
    "mean, std": lambda x, A: np.mean(A, axis=0) + np.std(A, axis=1) + x.mean(),
    "products": lambda x, A: A @ x + A.T @ x + np.dot(x, A) + np.dot(A, A)[0],
    "orders in memory": lambda x, A: A.ravel() * A.T.ravel() + A.T.reshape(16) * A.reshape(-1),
    "systems": lambda x, A: np.linalg.solve(A, x) * np.linalg.det(A) + np.linalg.inv(A) @ x,
    "numbers": lambda x, A: np.full(4, 0.0) + np.full(4, 2.0) + np.full(4, 1) + np.full(4, True) * x,
    "axes and flags": lambda x, A: np.sum(A, axis=1) + np.sum(A, 0, keepdims=True)[0] + np.prod(A, -1, initial=2.0),
    "joined": lambda x, A: np.concatenate([x, A[0], x]) + np.hstack([x, x, A[0]]),
    "dtypes": lambda x, A: np.sum(x, dtype=np.float32) + np.sum(x.astype(np.float32), dtype=float) + np.sum(x > 0) + np.sum(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_repeated_calls_record_the_same(name: str) -> None:
    call = CALLS[name]
    forget()
    traced = irgrad.trace(lambda x, A: [call(x, A), call(x, A)])
    lines = [str(traced(x0, A0)) for _ in range(3)]
    assert kept() > 0
    assert lines[0] == lines[1] == lines[2]

    def total(x: Any, A: Any) -> Any:
        return sum(np.sum(call(x, A) * k) for k in (1.0, 2.0, 3.0))

    value, slopes = irgrad.value_and_grad(total, (0, 1))(x0, A0)
    got, found = irgrad.jit(irgrad.value_and_grad(total, (0, 1)))(x0, A0)
    assert value == pytest.approx(total(x0, A0), rel=1e-12)
    assert got == pytest.approx(value, rel=1e-12)
    forget()
    first = irgrad.grad(lambda x, A: 6.0 * np.sum(call(x, A)), (0, 1))(x0, A0)
    for one, other, third in zip(slopes, found, first, strict=True):
        np.testing.assert_allclose(one, third, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(other, third, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["graph", "eager"])
def test_results_have_numpys_type_and_memory(kind: str) -> None:
    with tracing(GraphTrace if kind == "graph" else EagerTrace) as trace:
        flat, turned = trace.input(A0, None), trace.input(A0.T, None)
        for x in (flat, turned, flat, turned):
            for name in ("ravel", "transpose", "sum", "mean", "array", "std", "trace", "atleast_2d"):
                made, want = getattr(irgrad.numpy, name)(x), getattr(np, name)(x.value)
                assert type(made) is Tracer and type(made.value) is type(want)
                np.testing.assert_allclose(made.value, want, rtol=1e-12)
                if np.ndim(want):
                    assert made.value.strides == want.strides
                    assert name == "array" or np.may_share_memory(made.value, x.value) == np.may_share_memory(want, x.value)


def test_numbers_from_places_that_can_be_read_again_stay_inputs() -> None:
    global half

    def fun(x: Any) -> Any:
        return np.sum(np.array([x[0], half, 0.5])) + np.sum(np.append(x, half))

    forget()
    jitted = irgrad.jit(fun, compile_after=1)
    half = 0.5
    assert jitted(x0) == pytest.approx(fun(x0))
    half = 4.0
    assert jitted(x0) == pytest.approx(fun(x0))
    half = 0.5


def test_errors_and_warnings_are_those_of_the_handler() -> None:
    forget()
    solve = irgrad.grad(lambda a: np.sum(np.linalg.solve(a, a[0])))
    solve(A0)
    assert kept() > 0
    with pytest.raises(np.linalg.LinAlgError, match=r"test_decided\.py"):
        solve(np.zeros((4, 4)))
    mean = irgrad.jit(lambda x: np.mean(x), compile_after=10)
    for _ in range(2):
        with pytest.warns(RuntimeWarning):
            mean(np.zeros(0))


def test_eager_handlers_that_look_at_values_run_each_time() -> None:
    forget()
    slope = irgrad.grad(lambda x: np.std(x) + x.std())
    assert np.all(np.isfinite(slope(x0)))
    np.testing.assert_array_equal(slope(np.ones(4)), np.zeros(4))
    norm = irgrad.grad(lambda x, p: np.linalg.norm(x, p))
    for p in (2.0, 3.0, 1.0):
        want = np.sign(x0) * np.abs(x0) ** (p - 1) * np.sum(np.abs(x0) ** p) ** (1 / p - 1)
        np.testing.assert_allclose(norm(x0, p), want, rtol=1e-12)
    mean = irgrad.grad(lambda x, w: np.average(x, weights=w))
    mean(x0, np.ones(4))
    with pytest.raises(ZeroDivisionError):
        mean(x0, np.zeros(4))


def test_traced_integers_decide_by_value() -> None:
    def fun(x: Any, n: Any) -> Any:
        return np.sum(np.roll(x, n) * x) + np.sum(np.tile(x, n) ** 2) + np.repeat(x, n)[1] * x[2]

    forget()
    for gradient in (irgrad.grad(fun), irgrad.jit(irgrad.grad(fun), compile_after=1)):
        for n in (1, 2, 3, 1, 2):
            total = np.roll(x0, n) + np.roll(x0, -n) + 2 * n * x0
            total[2] += np.repeat(x0, n)[1]
            total[1 // n] += x0[2]
            np.testing.assert_allclose(gradient(x0, n), total, rtol=1e-12)


def test_writes_end_the_shortcut() -> None:
    def fun(x: Any) -> Any:
        a = np.array([x[0], x[1], x[2], x[3]])
        b = a.reshape(2, 2)
        total = np.sum(b @ b)
        b[0] = x[3]
        return total + np.sum(b @ b) + np.sum(a.reshape(2, 2).T @ b)

    for _ in range(3):
        value, slope = irgrad.value_and_grad(fun)(x0)
        assert value == pytest.approx(fun(x0))
        compiled = irgrad.jit(irgrad.grad(fun), compile_after=1)(x0)
        np.testing.assert_allclose(compiled, slope, rtol=1e-12)
    step = 1e-6
    for k in range(4):
        up, down = x0.copy(), x0.copy()
        up[k] += step
        down[k] -= step
        assert slope[k] == pytest.approx((fun(up) - fun(down)) / (2 * step), rel=1e-7)


PLAIN = {
    "outer": lambda x, y: np.outer(x, y),
    "dot": lambda x, y: np.dot(x, y) * np.dot(y, x),
    "einsum": lambda x, y: np.einsum("i,j->ij", x, y),
    "cross": lambda x, y: np.cross(x[:3], y[:3]),
    "joined": lambda x, y: np.concatenate([x, y, y]),
    "the same twice": lambda x, y: np.concatenate([y, x, y]) * np.concatenate([x, y, y]),
    "systems": lambda x, y: np.linalg.solve(A0 * x, y),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_arrays_are_read_at_each_call(name: str) -> None:
    def total(x: Any, y: Any) -> Any:
        return np.sum(PLAIN[name](x, y) ** 2 * np.arange(1.0, 2.0)[0])

    gradient, compiled = irgrad.grad(total), irgrad.jit(irgrad.grad(total))
    forget()
    gradient(x0, x0 * 0.5)
    assert kept() > 0
    for scale in (0.5, -2.0, 3.0):
        y = x0[::-1] * scale
        repeated = [gradient(x0, y), gradient(x0, y)]
        want = compiled(x0, y)
        forget()
        fresh = gradient(x0, y)
        for found in repeated:
            np.testing.assert_array_equal(found, fresh)
        np.testing.assert_allclose(fresh, want, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:the traced function writes into its argument")
def test_a_plain_array_of_a_kept_call_may_be_written_later() -> None:
    def total(x: Any, y: Any) -> Any:
        before = np.sum(np.outer(x, y))
        y[0] = 10.0
        return before + np.dot(x, y)

    y = np.array([1.0, 2.0, 3.0, 4.0])
    for _ in range(3):
        np.testing.assert_allclose(irgrad.grad(total)(x0, y), 10.0 + np.array([10.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(y, [1.0, 2.0, 3.0, 4.0])


FEWER = {
    "cross": lambda x: np.cross(x.reshape(2, 3), x.reshape(2, 3)[::-1] ** 2),
    "cross, first axis": lambda x: np.cross(x.reshape(3, 2), x.reshape(3, 2)[::-1] ** 2, axis=0),
    "diag": lambda x: np.diag(x) @ np.diag(x**2) + np.diag(x[1:] ** 2, 1) + np.diag(x[1:] ** 3, -1),
    "triangles": lambda x: np.triu(np.outer(x, x**2), 1) + np.tril(np.outer(x, x), -1) + np.tril(x),
    "linspace": lambda x: np.linspace(x[0], x[1] ** 2, 7) + np.linspace(1.0, x[2] ** 2, 7) + np.linspace(x[3] ** 3, 0.0, 7),
    "repairs": lambda x: np.nan_to_num(x**2 / np.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])) + np.nan_to_num(x**3),
    "picks": lambda x: x[[1, 0, 0]] ** 2 + x[np.array([2, 2, 5])] ** 3 + x[np.arange(6) < 3] ** 2,
    "rolled": lambda x: np.roll(x, 2) * np.roll(x**2, -1) + np.flipud(x) ** 2 + np.roll(x, 0),
    "spread": lambda x: np.std(x.reshape(2, 3) ** 2, axis=1) + np.std(x),
    "degrees": lambda x: np.deg2rad(x**2) + np.degrees(x) + np.fabs(x),
}


@pytest.mark.parametrize("name", FEWER)
@pytest.mark.filterwarnings("ignore")
def test_what_eager_traces_record_otherwise_has_the_same_derivatives(name: str) -> None:
    def total(x: Any) -> Any:
        made = FEWER[name](x)
        return np.sum(made * np.cos(np.arange(made.size) + 1.0).reshape(made.shape))

    x = np.array([0.7, 1.3, -0.4, 0.9, 2.1, -1.2])
    with np.errstate(all="ignore"):
        value, slope = irgrad.value_and_grad(total)(x)
        assert value == total(x)
        compiled = irgrad.jit(irgrad.value_and_grad(total), compile_after=1)(x)
        assert compiled[0] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(slope, compiled[1], rtol=1e-11, atol=1e-12)
        second = [irgrad.grad(lambda y: np.sum(irgrad.grad(total)(y) * np.arange(1.0, 7.0)))(x) for _ in range(2)]
        want = irgrad.jit(irgrad.grad(lambda y: np.sum(irgrad.grad(total)(y) * np.arange(1.0, 7.0))), compile_after=1)(x)
        for found in second:
            np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-11)
